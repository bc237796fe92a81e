//! Several at one key or one upload at a time: one order of events explains what each was told, and nothing is lost.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use strongroom::store::ScanBy;
use strongroom::vault::{
    Judged, ListRequest, ListedItem, ObjectReader, OpenRequest, Precondition, Protection, Stores,
    Vault, VaultConfig, VaultError, VersionItem, Versioning, VersionsRequest, Which,
};

use crate::held::{holder, watched};
use crate::support::*;
use crate::uploads::{begin, blobs, complete, put_part};

const ROUNDS: usize = 20;

fn configuration(node: &str) -> VaultConfig {
    VaultConfig {
        node: node.to_owned(),
        delete_grace: Duration::ZERO,
        ..VaultConfig::default()
    }
}

/// Two vaults over one set of stores.
fn two(dir: &std::path::Path) -> (Stores, [Arc<Vault>; 2]) {
    let stores = stores(dir);
    let vaults = ["a", "b"]
        .map(|node| Vault::start(stores.clone(), keyring(), configuration(node)).unwrap());
    vaults[0].create_bucket("b", "owner").unwrap();
    (stores, vaults)
}

fn at_once<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            barrier.wait();
            one()
        });
        barrier.wait();
        let other = other();
        (one.join().unwrap(), other)
    })
}

#[test]
fn of_a_completion_and_an_abort_one_wins_and_the_other_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, [a, b]) = two(dir.path());
    let mut objects = 0;
    for round in 0..ROUNDS {
        let key = format!("{round}").into_bytes();
        let upload = begin(&a, &key, Protection::Managed);
        let info = put_part(&a, &key, upload, 1, &bytes(100, 1)).unwrap();
        let (completed, aborted) = at_once(
            || complete(&a, &key, upload, &[&info]),
            || b.abort_upload("b", &key, upload),
        );
        match (completed, aborted) {
            (Ok(_), Err(VaultError::NoSuchUpload { .. })) => {
                assert!(get(&b, "b", &key).unwrap() == bytes(100, 1));
                objects += 1;
            }
            (Err(VaultError::NoSuchUpload { .. }), Ok(())) => {
                assert!(matches!(
                    get(&b, "b", &key),
                    Err(VaultError::NoSuchKey { .. })
                ));
            }
            other => panic!("{other:?}"),
        }
    }
    a.maintain().unwrap();
    assert_eq!(blobs(&stores), objects);
    assert_eq!(
        stores.keys.scan(ScanBy::All, None, 100).unwrap().len(),
        objects
    );
}

#[test]
fn two_that_complete_one_upload_with_different_parts_leave_one_whole_object() {
    let dir = tempfile::tempdir().unwrap();
    let (_, [a, b]) = two(dir.path());
    for round in 0..ROUNDS {
        let key = format!("{round}").into_bytes();
        let upload = begin(&a, &key, Protection::Managed);
        let infos = [1, 2].map(|part| {
            let body = bytes(10 * part as usize, u64::from(part));
            put_part(&a, &key, upload, part, &body).unwrap()
        });
        let (one, other) = at_once(
            || complete(&a, &key, upload, &[&infos[0]]),
            || complete(&b, &key, upload, &[&infos[1]]),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.length, other.length, "both are told of the same object");
        assert_eq!(get(&a, "b", &key).unwrap().len() as u64, one.length);
    }
    assert_eq!(a.counters().damaged + b.counters().damaged, 0);
}

/// The same, with one of them held at each step of it while the other gets through.
#[test]
fn a_completion_held_at_any_step_does_not_spoil_another() {
    for step in [
        "before claim_upload",
        "before replace",
        "after replace",
        "before commit",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let real = stores(dir.path());
        let held = holder(step);
        let slow = Vault::start(watched(&real, &held.hook), keyring(), configuration("a")).unwrap();
        let quick = Vault::start(real, keyring(), configuration("b")).unwrap();
        slow.create_bucket("b", "owner").unwrap();
        let upload = begin(&slow, b"x", Protection::Managed);
        let infos = [1, 2].map(|part| {
            let body = bytes(10 * part as usize, u64::from(part));
            put_part(&slow, b"x", upload, part, &body).unwrap()
        });
        let (first, second) = std::thread::scope(|scope| {
            held.arm();
            let first = scope.spawn(|| complete(&slow, b"x", upload, &[&infos[0]]));
            held.wait();
            let second = complete(&quick, b"x", upload, &[&infos[1]]).unwrap();
            assert!(get(&quick, "b", b"x").unwrap() == bytes(20, 2), "{step}");
            held.let_go();
            (first.join().unwrap().unwrap(), second)
        });
        assert_eq!((first.length, second.length), (20, 20), "{step}");
        assert!(get(&slow, "b", b"x").unwrap() == bytes(20, 2), "{step}");
    }
}

#[test]
fn a_part_sent_again_during_the_completion_is_in_it_or_not_and_never_half() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, [a, b]) = two(dir.path());
    for round in 0..ROUNDS {
        let key = format!("{round}").into_bytes();
        let upload = begin(&a, &key, Protection::Managed);
        let old = put_part(&a, &key, upload, 1, b"old").unwrap();
        let (completed, again) = at_once(
            || complete(&a, &key, upload, &[&old]),
            || put_part(&b, &key, upload, 1, b"new"),
        );
        match (completed, again) {
            (Ok(_), Err(VaultError::NoSuchUpload { .. })) => {}
            (Err(VaultError::NoSuchPart(1)), Ok(new)) => {
                complete(&b, &key, upload, &[&new]).unwrap();
            }
            other => panic!("{other:?}"),
        }
        let body = get(&b, "b", &key).unwrap();
        assert!(body == b"old" || body == b"new");
    }
    a.maintain().unwrap();
    assert_eq!(blobs(&stores), ROUNDS);
}

#[test]
fn writers_of_one_key_each_add_a_version() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vaults) = two(dir.path());
    let bucket = vaults[0].bucket("b").unwrap();
    vaults[0]
        .set_versioning(&bucket, Versioning::Enabled)
        .unwrap();
    let labels: HashSet<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6_u64)
            .map(|writer| {
                let vault = &vaults[writer as usize % 2];
                scope.spawn(move || {
                    (0..5)
                        .map(|turn| {
                            let body = bytes(50, writer * 5 + turn + 1);
                            (put(vault, "b", b"x", &body).unwrap().version, body)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    let page = vaults[0].list_versions(&VersionsRequest {
        bucket: "b".into(),
        prefix: b"",
        from: Bound::Unbounded,
        after: None,
        delimiter: None,
        limit: 100,
    });
    let items = page.unwrap().items;
    assert_eq!(items.len(), 30);
    let newest = items.iter().filter(|item| {
        matches!(item, VersionItem::Version(version) if version.noncurrent_since_ms.is_none())
    });
    assert_eq!(newest.count(), 1);
    for (label, body) in labels {
        let request = OpenRequest {
            version: Which::Label(label),
            ..open("b", b"x")
        };
        assert!(read(&vaults[1], request).unwrap() == body);
    }
}

#[test]
fn of_two_writers_of_one_key_one_is_on_top_and_of_two_that_demand_absence_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, [a, b]) = two(dir.path());
    let bodies = [bytes(40_000, 1), bytes(50_000, 2)];
    for round in 0..2 * ROUNDS {
        let key = format!("{round}").into_bytes();
        let demand = match round % 2 {
            0 => Precondition::None,
            _ => Precondition::Absent,
        };
        let (one, other) = at_once(
            || put_if(&a, "b", &key, &bodies[0], demand),
            || put_if(&b, "b", &key, &bodies[1], demand),
        );
        let stat = a.stat("b", &key, Which::Current).unwrap();
        let on_top = match (&one, &other) {
            (Ok(one), Ok(other)) if demand == Precondition::None => {
                // One of them was told that it replaced the other.
                let first = [one, other].map(|done| done.replaced.is_none());
                assert_eq!(first.iter().filter(|first| **first).count(), 1);
                usize::from(first[0])
            }
            (Ok(_), Err(VaultError::PreconditionFailed)) => 0,
            (Err(VaultError::PreconditionFailed), Ok(_)) => 1,
            _ => panic!("{one:?} {other:?}"),
        };
        let winner = [one, other].into_iter().nth(on_top).unwrap();
        assert_eq!(stat.instance, winner.unwrap().instance);
        assert!(get(&b, "b", &key).unwrap() == bodies[on_top]);
    }
    a.maintain().unwrap();
    assert_eq!(blobs(&stores), 2 * ROUNDS);
    let records = stores.keys.scan(ScanBy::All, None, 1000).unwrap();
    assert_eq!(records.len(), 2 * ROUNDS);
}

/// Another key for an object, while it is overwritten, deleted, or deleted as what somebody had judged before. Nothing of
/// its first key is left when that is answered, within one vault: of another one's requests it does not know.
#[test]
fn an_object_that_gets_another_key_is_overwritten_and_deleted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, [a, b]) = two(dir.path());
    let mut objects = 0;
    for round in 0..6 * ROUNDS {
        let key = format!("{round}").into_bytes();
        let old = put(&a, "b", &key, &bytes(40_000, 1)).unwrap();
        let vault = if round % 6 < 3 { &a } else { &b };
        let (rewrapped, ()) = at_once(
            || a.rewrap_object(&open("b", &key), &Protection::Managed, None),
            || {
                match round % 3 {
                    0 => drop(put(vault, "b", &key, &bytes(50_000, 2)).unwrap()),
                    1 => drop(vault.delete("b", &key, Precondition::None).unwrap()),
                    _ => {
                        let judged = Judged {
                            version: old.version,
                            facts: b"",
                        };
                        let removed = vault.delete_version("b", &key, Which::Null, Some(judged));
                        assert!(
                            removed.unwrap().instance.is_some(),
                            "the same version still"
                        );
                    }
                }
                let first = stores.keys.fetch(old.instance).unwrap();
                assert!(first.tombstone || round % 6 >= 3, "round {round}");
            },
        );
        match rewrapped {
            Ok(_) | Err(VaultError::PreconditionFailed | VaultError::NoSuchKey { .. }) => {}
            other => panic!("{other:?}"),
        }
        if round % 3 == 0 {
            assert!(get(&a, "b", &key).unwrap() == bytes(50_000, 2));
            objects += 1;
        } else {
            let gone = get(&a, "b", &key);
            assert!(
                matches!(gone, Err(VaultError::NoSuchKey { .. })),
                "{gone:?}"
            );
        }
    }
    a.maintain().unwrap();
    assert_eq!(blobs(&stores), objects);
    let records = stores.keys.scan(ScanBy::All, None, 1000).unwrap();
    assert_eq!(records.len(), objects, "no key is left behind");
    assert_eq!(a.counters().damaged + b.counters().damaged, 0);
}

/// As lifecycle does: looked at first, then removed. What is written in between stays.
#[test]
fn what_is_written_after_it_was_judged_is_never_removed_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_, [a, b]) = two(dir.path());
    for round in 0..3 * ROUNDS {
        let key = format!("{round}").into_bytes();
        let old = put(&a, "b", &key, b"old").unwrap();
        let (_, removed) = at_once(
            || put(&a, "b", &key, b"new").unwrap(),
            || {
                let judged = Judged {
                    version: old.version,
                    facts: b"",
                };
                match round % 3 {
                    0 => b.delete("b", &key, Precondition::Is(old.instance)),
                    1 => b.delete_judged("b", &key, judged),
                    _ => b.delete_version("b", &key, Which::Null, Some(judged)),
                }
            },
        );
        match removed {
            Ok(_) | Err(VaultError::PreconditionFailed) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(get(&b, "b", &key).unwrap(), b"new");
    }
}

/// Every page is of one moment, and what stays there all the time is on one of them.
#[test]
fn a_listing_during_writes_shows_what_stays_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (_, [a, b]) = two(dir.path());
    let stays: Vec<_> = (0..60)
        .step_by(2)
        .map(|n| format!("{n:02}").into_bytes())
        .collect();
    for key in &stays {
        put(&a, "b", key, b"stays").unwrap();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        scope.spawn(|| {
            for turn in (1_u64..).take_while(|_| !over.load(Ordering::Relaxed)) {
                let comes = format!("{:02}", (turn * 7 % 60) | 1).into_bytes();
                let rewritten = &stays[turn as usize % stays.len()];
                put(&a, "b", &comes, &bytes(20, turn)).unwrap();
                put(&a, "b", rewritten, &bytes(30, turn)).unwrap();
                a.delete("b", &comes, Precondition::None).unwrap();
            }
        });
        for limit in 1..60 {
            let mut seen: Vec<Vec<u8>> = Vec::new();
            let mut next = Some(Vec::new());
            while let Some(from) = next {
                let page = b.list(&ListRequest {
                    bucket: "b".into(),
                    prefix: b"",
                    from: Bound::Included(&from),
                    delimiter: None,
                    limit,
                });
                let page = page.unwrap();
                seen.extend(page.items.into_iter().map(|item| match item {
                    ListedItem::Object(object) => object.key,
                    ListedItem::Prefix(_) => panic!("a prefix without a delimiter"),
                }));
                next = page.next;
            }
            assert!(seen.is_sorted_by(|a, b| a < b), "{limit}: {seen:?}");
            seen.retain(|key| stays.contains(key));
            assert_eq!(seen, stays, "{limit}");
        }
    });
}

/// An object "x" of three parts, and what is in it.
fn in_parts(vault: &Arc<Vault>) -> Vec<u8> {
    let upload = begin(vault, b"x", Protection::Managed);
    let bodies = [bytes(70_000, 1), bytes(70_000, 2), bytes(70_000, 3)];
    let infos: Vec<_> = (1..)
        .zip(&bodies)
        .map(|(part, body)| put_part(vault, b"x", upload, part, body).unwrap())
        .collect();
    complete(vault, b"x", upload, &infos.iter().collect::<Vec<_>>()).unwrap();
    bodies.concat()
}

fn read_on(reader: &mut ObjectReader, mut at: usize) -> Result<Vec<u8>, VaultError> {
    let mut body = vec![0; usize::try_from(reader.info().length).unwrap() - at];
    let from = at;
    while at - from < body.len() {
        at += reader.read_at(at as u64, &mut body[at - from..])?;
    }
    Ok(body)
}

#[test]
fn who_reads_an_object_of_parts_reads_it_to_its_end_although_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), configuration("a")).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let whole = in_parts(&vault);
    let mut readers = [(); 2].map(|()| vault.open(open("b", b"x")).unwrap());
    for reader in &mut readers {
        reader.read_at(0, &mut [0; 100]).unwrap();
    }
    put(&vault, "b", b"x", b"newer").unwrap();
    vault.delete("b", b"x", Precondition::None).unwrap();
    for mut reader in readers {
        vault.maintain().unwrap();
        assert_eq!(blobs(&stores), 3, "the grace is over, a reader is not");
        assert!(read_on(&mut reader, 100).unwrap() == whole[100..]);
    }
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 0);
}

#[test]
fn who_reads_beside_the_vault_that_deletes_is_told_that_the_object_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, [vault, _]) = two(dir.path());
    let reading = Vault::start_to_read(stores.clone(), keyring(), configuration("r")).unwrap();
    let whole = in_parts(&vault);
    let mut reader = reading.open(open("b", b"x")).unwrap();
    reader.read_at(0, &mut [0; 100]).unwrap();
    vault.delete("b", b"x", Precondition::None).unwrap();
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 0, "without any grace");
    let mut first = vec![0; 70_000 - 100];
    let read = reader.read_at(100, &mut first).unwrap();
    assert!(first[..read] == whole[100..100 + read], "the part it is in");
    let rest = read_on(&mut reader, 70_000);
    assert!(matches!(rest, Err(VaultError::Changed)), "{rest:?}");
    assert_eq!(reading.counters().damaged, 0);
}

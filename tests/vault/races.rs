//! Two vaults, two incarnations, over one catalog and one key store; writers held for longer than their lease, and a
//! sweeper that takes what they left for dead. Nothing that was acknowledged is ever lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strongroom::store::{Locator, ScanBy};
use strongroom::vault::{Precondition, Protection, Stores, Vault, VaultConfig, VaultError};

use crate::held::{Hook, holder, watched};
use crate::support::*;

const SMALL: usize = 700;
const LARGE: usize = 150_000;

fn quick(node: &str) -> VaultConfig {
    VaultConfig {
        node: node.to_owned(),
        ..config()
    }
}

/// The steps of a write that touch a store, in order, as a hook sees them.
fn steps_of(operation: impl FnOnce(&Arc<Vault>)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook: Hook = {
        let seen = Arc::clone(&seen);
        Arc::new(move |step| seen.lock().unwrap().push(step.to_owned()))
    };
    let stores = watched(&stores(dir.path()), &hook);
    let vault = Vault::start(stores, keyring(), quick("a")).unwrap();
    prepare(&vault);
    seen.lock().unwrap().clear();
    operation(&vault);
    let mut steps = seen.lock().unwrap().clone();
    steps.sort_unstable();
    steps.dedup();
    steps
}

fn prepare(vault: &Arc<Vault>) {
    vault.create_bucket("b", "owner").unwrap();
    put(vault, "b", b"x", &bytes(SMALL, 1)).unwrap();
}

/// Holds a write at one step; lets its lease run out and another vault sweep, twice; lets it go on.
fn held_at(step: &str, size: usize) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let real = stores(dir.path());
    let holder = holder(step);
    let writer = Vault::start(watched(&real, &holder.hook), keyring(), quick("a")).unwrap();
    prepare(&writer);
    let sweeper = Vault::start(real.clone(), keyring(), quick("b")).unwrap();
    let body = bytes(size, 2);
    let result = std::thread::scope(|scope| {
        holder.arm();
        let write = scope.spawn(|| put(&writer, "b", b"x", &body));
        holder.wait();
        std::thread::sleep(config().lease + Duration::from_millis(10));
        for _ in 0..2 {
            sweeper.maintain().unwrap();
        }
        holder.let_go();
        write.join().unwrap()
    });
    let expected = match &result {
        Ok(_) => &body,
        Err(VaultError::LeaseLost | VaultError::Unavailable(_)) => &bytes(SMALL, 1),
        Err(error) => return Err(format!("{step}, {size}: {error}")),
    };
    let found = get(&sweeper, "b", b"x").map_err(|error| format!("{step}, {size}: {error}"))?;
    if found != *expected {
        return Err(format!(
            "{step}, {size}: {result:?} and {} bytes there",
            found.len()
        ));
    }
    drop(writer);
    std::thread::sleep(config().lease + Duration::from_millis(10));
    sweeper.maintain().map_err(|error| error.to_string())?;
    left_over(&real).map_err(|left| format!("{step}, {size}: {left}"))
}

fn left_over(stores: &Stores) -> Result<(), String> {
    let bucket = stores.catalog.bucket("b").unwrap().unwrap();
    let mut records: Vec<_> = stores.keys.scan(ScanBy::All, None, 10_000).unwrap();
    let mut blobs = blobs_of(&stores.blobs);
    let listing = stores.catalog.list(&strongroom::store::ListQuery {
        bucket: bucket.id,
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        delimiter: None,
        limit: 10_000,
    });
    for item in listing.unwrap().items {
        let strongroom::store::ListItem::Object(object) = item else {
            continue;
        };
        let row = stores
            .catalog
            .object(bucket.id, &object.key)
            .unwrap()
            .unwrap()
            .row;
        records.retain(|record| record.instance != row.instance);
        for blob in row
            .blobs
            .iter()
            .filter(|blob| blob.locator == Locator::File)
        {
            blobs.retain(|id| *id != blob.id);
        }
    }
    match (records.as_slice(), blobs.as_slice()) {
        ([], []) => Ok(()),
        left => Err(format!("left over: {left:?}")),
    }
}

#[test]
fn a_writer_held_at_any_step_for_longer_than_its_lease_loses_its_write_or_keeps_it_whole() {
    for size in [SMALL, LARGE] {
        let steps = steps_of(|vault| {
            put(vault, "b", b"x", &bytes(size, 2)).unwrap();
        });
        for step in [
            "before insert",
            "after insert",
            "before commit",
            "after commit",
            "before shred",
        ] {
            assert!(
                steps.iter().any(|seen| seen == step),
                "{step} is no step: {steps:?}"
            );
        }
        if size == LARGE {
            assert!(
                steps.iter().any(|seen| seen == "before finish"),
                "{steps:?}"
            );
        }
        for step in steps {
            held_at(&step, size).unwrap();
        }
    }
}

#[test]
fn eight_writers_in_two_vaults_held_at_random_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let real = stores(dir.path());
    let lease = Duration::from_millis(20);
    let configuration = |node: &str| VaultConfig {
        lease,
        ..quick(node)
    };
    let chance = AtomicU64::new(0x9e37_79b9);
    let hook: Hook = Arc::new(move |_| {
        // One call in about sixteen takes longer than a lease.
        let turn = chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        if (turn ^ (turn >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 60 == 0 {
            std::thread::sleep(lease + Duration::from_millis(15));
        }
    });
    let vaults = ["a", "b"]
        .map(|node| Vault::start(watched(&real, &hook), keyring(), configuration(node)).unwrap());
    let sweeper = Vault::start(real.clone(), keyring(), configuration("sweeper")).unwrap();
    sweeper.create_bucket("b", "owner").unwrap();
    let over = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(6);
    let (mut acknowledged, mut lost_leases, mut swept) = (0, 0, 0);
    std::thread::scope(|scope| {
        let ends = Ends(&over);
        let sweeping = scope.spawn(|| {
            let mut found = 0;
            while !over.load(Ordering::Relaxed) {
                let done = sweeper.maintain().unwrap();
                found += done.orphan_blobs + done.orphan_records;
            }
            found
        });
        for vault in &vaults {
            // Renews now and then, so that leases are lost and taken anew.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = vault.maintain();
                    std::thread::sleep(lease);
                }
            });
        }
        let writers: Vec<_> = (0..8)
            .map(|number| {
                let vault = &vaults[number % 2];
                scope.spawn(move || write_until(vault, number, end))
            })
            .collect();
        for writer in writers {
            let (history, lost) = writer.join().unwrap();
            lost_leases += lost;
            for (key, written) in history {
                acknowledged += written.acknowledged;
                let found = match get(&sweeper, "b", key.as_bytes()) {
                    Ok(body) => Some(body),
                    Err(VaultError::NoSuchKey { .. }) => None,
                    Err(error) => panic!("{key}: {error}"),
                };
                assert!(
                    written.may_be.contains(&found),
                    "{key}: {:?} bytes",
                    found.map(|f| f.len())
                );
            }
        }
        drop(ends);
        swept = sweeping.join().unwrap();
    });
    println!("{acknowledged} acknowledged, {lost_leases} lost their lease, {swept} orphans swept");
    assert!(acknowledged > 20, "only {acknowledged} writes got through");
    assert!(lost_leases > 0 && swept > 0, "the race never happened");
    drop(vaults);
    std::thread::sleep(lease * 2);
    sweeper.maintain().unwrap();
    left_over(&real).unwrap();
}

/// What a key may hold: the last acknowledged body, or one of which the writer was told that it is not known.
struct Written {
    may_be: Vec<Option<Vec<u8>>>,
    acknowledged: u64,
}

fn write_until(
    vault: &Arc<Vault>,
    number: usize,
    end: Instant,
) -> (BTreeMap<String, Written>, u64) {
    let mut history: BTreeMap<String, Written> = BTreeMap::new();
    let mut lost = 0;
    for turn in 0.. {
        if Instant::now() > end {
            break;
        }
        let key = format!("{number}-{}", turn % 3);
        let written = history.entry(key.clone()).or_insert_with(|| Written {
            may_be: vec![None],
            acknowledged: 0,
        });
        let (after, result) = if turn % 5 == 4 {
            let result = vault.delete("b", key.as_bytes(), Precondition::None);
            (None, result.map(drop))
        } else {
            let body = bytes(if turn % 2 == 0 { SMALL } else { LARGE }, turn as u64 + 1);
            let result = put(vault, "b", key.as_bytes(), &body);
            (Some(body), result.map(drop))
        };
        match result {
            Ok(()) => {
                written.may_be = vec![after];
                written.acknowledged += 1;
            }
            Err(VaultError::OutcomeUnknown(_)) => written.may_be.push(after),
            Err(VaultError::LeaseLost | VaultError::ReadOnly(_)) => lost += 1,
            Err(error) => panic!("{key}: {error}"),
        }
    }
    (history, lost)
}

#[test]
fn a_bucket_made_by_a_writer_held_for_longer_than_its_lease_is_usable_or_not_there() {
    for step in [
        "before insert_bucket_key",
        "after insert_bucket_key",
        "before create_bucket",
        "after create_bucket",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let real = stores(dir.path());
        let holder = holder(step);
        let writer = Vault::start(watched(&real, &holder.hook), keyring(), quick("a")).unwrap();
        let sweeper = Vault::start(real.clone(), keyring(), quick("b")).unwrap();
        let result = std::thread::scope(|scope| {
            holder.arm();
            let make = scope.spawn(|| writer.create_bucket("b", "owner"));
            holder.wait();
            std::thread::sleep(config().lease + Duration::from_millis(10));
            sweeper.maintain().unwrap();
            holder.let_go();
            make.join().unwrap()
        });
        match result {
            Ok(_) => {
                put(&sweeper, "b", b"x", b"1").unwrap();
            }
            Err(_) => {
                assert!(
                    matches!(sweeper.bucket("b"), Err(VaultError::NoSuchBucket(_))),
                    "{step}"
                );
                sweeper.create_bucket("b", "owner").unwrap();
                put(&sweeper, "b", b"x", b"1").unwrap();
            }
        }
    }
}

#[test]
fn what_a_live_writer_has_not_committed_yet_is_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    let real = stores(dir.path());
    let long = VaultConfig {
        lease: Duration::from_secs(60),
        ..quick("a")
    };
    let writer = Vault::start(real.clone(), keyring(), long).unwrap();
    writer.create_bucket("b", "owner").unwrap();
    let mut stream = writer
        .put(put_request("b", b"x", Protection::Managed))
        .unwrap();
    let body = bytes(LARGE, 1);
    stream.write(&body).unwrap();
    let sweeper = Vault::start(real, keyring(), quick("b")).unwrap();
    let done = sweeper.maintain().unwrap();
    assert_eq!((done.orphan_blobs, done.orphan_records), (0, 0));
    stream
        .commit(strongroom::vault::CommitRequest::default())
        .unwrap();
    assert!(get(&sweeper, "b", b"x").unwrap() == body);
}

#[test]
fn a_write_whose_condition_fails_already_makes_no_key_record() {
    let steps = steps_of(|vault| {
        let failed = put_if(vault, "b", b"x", b"2", Precondition::Absent);
        assert!(matches!(failed, Err(VaultError::PreconditionFailed)));
    });
    assert!(
        !steps
            .iter()
            .any(|step| step.contains("insert") || step.contains("shred")),
        "{steps:?}"
    );
}

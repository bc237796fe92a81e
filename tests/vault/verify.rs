//! `verify` finds what is wrong and nothing else, also while objects are replaced under it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::store::{Locator, Versioning};
use strongroom::vault::{CommitRequest, Finding, Precondition, Protection, Vault, VaultConfig};
#[cfg(not(feature = "gcm"))]
use strongroom::{format::Suite, store::Upload};

use crate::held::{holder, watched};
use crate::support::*;
use crate::uploads::{begin, complete, part_request, put_part};

/// The key of the object that a finding is about.
pub fn key_of(finding: &Finding) -> Vec<u8> {
    match finding {
        Finding::Object { key, .. } => key.clone(),
        Finding::Catalog { what } => panic!("the catalog: {what}"),
    }
}

#[test]
fn it_reads_everything_and_names_each_damaged_object_once() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    for bucket in ["a", "b"] {
        vault.create_bucket(bucket, "owner").unwrap();
        for (key, size) in [("empty", 0), ("small", 900), ("large", 2_000_000)] {
            put(&vault, bucket, key.as_bytes(), &bytes(size, 1)).unwrap();
        }
        let mut stream = vault
            .put(put_request(
                bucket,
                b"hers",
                Protection::Customer(secret([3; 32])),
            ))
            .unwrap();
        stream.write(&bytes(300_000, 2)).unwrap();
        stream.commit(CommitRequest::default()).unwrap();
    }
    let whole = vault
        .verify(None, &mut |finding| panic!("{finding:?}"))
        .unwrap();
    assert_eq!(
        (whole.objects, whole.customer_objects, whole.findings),
        (6, 2, 0)
    );
    assert_eq!(whole.bytes, 2 * 2_000_900);

    let bucket = vault.bucket("b").unwrap();
    for key in [&b"large"[..], b"hers"] {
        let row = stores.catalog.object(bucket.id, key).unwrap().unwrap().row;
        assert_eq!(row.blobs[0].locator, Locator::File);
        let shard = format!("{:02x}", row.blobs[0].id.0[8]);
        let path = dir
            .path()
            .join("blobs")
            .join(shard)
            .join(row.blobs[0].id.to_string());
        let mut blob = std::fs::read(&path).unwrap();
        blob[40] ^= 1; // in the salt: what can be seen without the customer's key
        std::fs::write(&path, blob).unwrap();
    }
    let mut found = Vec::new();
    let report = vault
        .verify(None, &mut |finding| {
            let Finding::Object { bucket, key, .. } = finding else {
                panic!("{finding:?}");
            };
            found.push((bucket.clone(), key.clone()));
        })
        .unwrap();
    assert_eq!(report.findings, 2);
    assert_eq!(
        found,
        [
            ("b".to_owned(), b"hers".to_vec()),
            ("b".to_owned(), b"large".to_vec())
        ]
    );
    assert_eq!(vault.verify(Some("a"), &mut |_| ()).unwrap().findings, 0);
}

#[test]
fn it_finds_what_is_wrong_with_any_part_of_an_upload_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let mut uploads = Vec::new();
    for (key, customer) in [(&b"hers"[..], Some([3; 32])), (b"ours", None)] {
        let protection = match customer {
            Some(key) => Protection::Customer(secret(key)),
            None => Protection::Managed,
        };
        let upload = begin(&vault, key, protection);
        for (part, size) in [(1, 200_000), (7, 0)] {
            let request = part_request(key, upload, part, customer);
            put_part_with(&vault, request, &bytes(size, 5)).unwrap();
        }
        uploads.push((key, upload, customer.is_some()));
    }
    let verify = || {
        let mut found = Vec::new();
        let report = vault.verify(None, &mut |finding| found.push(key_of(finding)));
        (report.unwrap(), found)
    };
    let (report, found) = verify();
    assert!(found.is_empty());
    assert_eq!(
        (report.parts, report.bytes),
        (4, 200_000),
        "hers are not opened"
    );
    for (key, upload, is_hers) in &uploads {
        for row in stores.catalog.parts(*upload, 0, 10).unwrap() {
            let shard = format!("{:02x}", row.blob.id.0[8]);
            let path = dir.path().join("blobs").join(shard);
            let path = path.join(row.blob.id.to_string());
            let whole = std::fs::read(&path).unwrap();
            let ends = [0, 40, whole.len() / 2, whole.len() - 1];
            // Without her key only the header can be seen.
            for at in ends.into_iter().filter(|at| !*is_hers || *at < 48) {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                std::fs::write(&path, damaged).unwrap();
                assert_eq!(verify().1, [*key], "part {}, byte {at}", row.part);
            }
            std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
            assert_eq!(verify().1, [*key], "part {} cut", row.part);
            std::fs::remove_file(&path).unwrap();
            assert_eq!(verify().1, [*key], "part {} lost", row.part);
            std::fs::write(&path, &whole).unwrap();
            assert!(verify().1.is_empty());
        }
    }
    stores.keys.shred(&[uploads[1].1]).unwrap();
    assert_eq!(verify().1, [b"ours"], "an upload without its key record");
}

/// Held when it has looked a key up, or is about to: the bucket is deleted then, and its key with it.
#[test]
fn a_bucket_that_is_deleted_meanwhile_is_no_finding() {
    for step in ["before fetch_bucket", "before generation"] {
        for is_completed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let real = stores(dir.path());
            let held = holder(step);
            let vault = Vault::start(real.clone(), keyring(), Default::default()).unwrap();
            let bucket = vault.create_bucket("b", "owner").unwrap();
            let upload = begin(&vault, b"x", Protection::Managed);
            let info = put_part(&vault, b"x", upload, 1, &bytes(1000, 1)).unwrap();
            if is_completed {
                complete(&vault, b"x", upload, &[&info]).unwrap();
            }
            let beside = watched(&real, &held.hook);
            let beside = Vault::start_to_read(beside, keyring(), Default::default()).unwrap();
            held.arm();
            let report = std::thread::scope(|scope| {
                let verified = scope.spawn(|| beside.verify(None, &mut |it| panic!("{it:?}")));
                held.wait();
                vault.delete("b", b"x", Precondition::None).unwrap();
                vault.delete_bucket(&bucket).unwrap();
                vault.create_bucket("b", "another").unwrap();
                held.let_go();
                verified.join().unwrap()
            });
            assert_eq!(report.unwrap().changed, 1, "{step} {is_completed}");
            assert_eq!(beside.counters().alarms, 0, "{step} {is_completed}");
        }
    }
}

/// The catalog says that it is sealed in a way that nothing here knows how to open.
#[cfg(not(feature = "gcm"))]
#[test]
fn an_upload_under_a_suite_that_is_not_built_in_is_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let catalog = &stores.catalog;
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    let bucket = vault.create_bucket("b", "owner").unwrap();
    let upload = begin(&vault, b"x", Protection::Managed);
    put_part(&vault, b"x", upload, 1, b"part").unwrap();
    let row = catalog.upload(bucket.id, b"x", upload).unwrap().unwrap();
    let part = catalog.parts(upload, 0, 1).unwrap().remove(0);
    let garbage = catalog.abort_upload(bucket.id, b"x", upload, 0).unwrap();
    catalog.garbage_done(&[garbage.id]).unwrap();
    let suite = Suite::Gcm as u8;
    catalog.create_upload(Upload { suite, ..row }).unwrap();
    catalog.put_part(part).unwrap();
    let report = vault.verify(None, &mut |it| panic!("{it:?}")).unwrap();
    assert_eq!((report.unopened, report.parts), (1, 0));
}

/// It is listed as the current one; by the time it is read there is a newer one, which is not damaged.
#[test]
fn a_version_that_is_no_longer_the_newest_is_read_all_the_same() {
    for versioning in [None, Some(Versioning::Enabled)] {
        let dir = tempfile::tempdir().unwrap();
        let real = stores(dir.path());
        let held = holder("after list_versions");
        let vault = Vault::start(real.clone(), keyring(), Default::default()).unwrap();
        let bucket = vault.create_bucket("b", "owner").unwrap();
        if let Some(versioning) = versioning {
            vault.set_versioning(&bucket, versioning).unwrap();
        }
        let old = put(&vault, "b", b"x", b"old").unwrap().instance;
        real.keys.shred(&[old]).unwrap();
        let beside = watched(&real, &held.hook);
        let beside = Vault::start_to_read(beside, keyring(), Default::default()).unwrap();
        held.arm();
        let mut found = Vec::new();
        let report = std::thread::scope(|scope| {
            let found = &mut found;
            let verified = scope.spawn(|| beside.verify(None, &mut |it| found.push(key_of(it))));
            held.wait();
            put(&vault, "b", b"x", b"new").unwrap();
            held.let_go();
            verified.join().unwrap().unwrap()
        });
        let (objects, lost) = match versioning {
            None => (1, 0), // the new one has its place
            Some(_) => (0, 1),
        };
        assert_eq!((report.objects, found.len()), (objects, lost));
    }
}

#[test]
fn it_goes_on_behind_rows_of_the_catalog_that_are_damaged_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    let vault = vault(dir.path());
    vault.create_bucket("b", "owner").unwrap();
    put(&vault, "b", b"a", b"1").unwrap();
    let upload = begin(&vault, b"parts", Protection::Managed);
    let infos = [1, 2].map(|part| put_part(&vault, b"parts", upload, part, b"p").unwrap());
    complete(&vault, b"parts", upload, &[&infos[0], &infos[1]]).unwrap();
    put(&vault, "b", b"z", b"2").unwrap();
    drop(vault);
    let edit = |sql: &str| {
        let catalog = rusqlite::Connection::open(dir.path().join("catalog.db")).unwrap();
        assert_eq!(catalog.execute(sql, []).unwrap(), 1);
    };
    edit("DELETE FROM part_attrs");
    edit("UPDATE details SET head = x'00' WHERE number = 1");
    let vault = self::vault(dir.path());
    let mut found = Vec::new();
    let report = vault.verify(None, &mut |finding| {
        found.push(match finding {
            Finding::Object { key, .. } => String::from_utf8_lossy(key).into_owned(),
            Finding::Catalog { .. } => "the catalog".to_owned(),
        });
    });
    assert_eq!(report.unwrap().objects, 1, "z is read");
    assert_eq!(found, ["the catalog", "a", "parts"]);
}

#[test]
fn overwrites_deletes_and_removed_blobs_are_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let configuration = VaultConfig {
        lease: Duration::from_secs(60),
        ..config()
    };
    let vault = Vault::start(stores(dir.path()), keyring(), configuration).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let over = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        for writer in 0..2_u64 {
            let (vault, over) = (&vault, &over);
            scope.spawn(move || {
                for turn in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{}", (writer + turn) % 4);
                    let size = if turn % 3 == 0 { 2_000 } else { 400_000 };
                    put(vault, "b", key.as_bytes(), &bytes(size, turn)).unwrap();
                    if turn % 7 == 0 {
                        vault
                            .delete("b", key.as_bytes(), Precondition::None)
                            .unwrap();
                    }
                    vault.maintain().unwrap(); // blobs go at once
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for key in ["0", "1", "2", "3"] {
                        match get(&vault, "b", key.as_bytes()) {
                            Ok(_) | Err(strongroom::vault::VaultError::NoSuchKey { .. }) => {}
                            Err(error) => panic!("{key}: {error}"),
                        }
                    }
                }
            });
        }
        let mut objects = 0;
        while Instant::now() < end {
            let report = vault.verify(None, &mut |finding| panic!("{finding:?}"));
            objects += report.unwrap().objects;
        }
        assert!(objects >= 4, "verified only {objects} objects");
    });
    assert_eq!(vault.counters().damaged, 0);
}

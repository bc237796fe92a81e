//! `verify` finds what is wrong and nothing else, also while objects are replaced under it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::store::Locator;
use strongroom::vault::{CommitRequest, Protection, Vault, VaultConfig};

use crate::support::*;

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
            found.push((finding.bucket.clone(), finding.key.clone()))
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
                            .delete("b", key.as_bytes(), strongroom::vault::Precondition::None)
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

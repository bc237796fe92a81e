//! The background work: what fails of it keeps nothing else from being done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom::id::BlobId;
use strongroom::vault::{Precondition, Stores, Vault};

use crate::held::{Hook, Unshredding, watched};
use crate::support::*;

#[test]
fn garbage_that_cannot_be_removed_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), config()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    for key in [b"1", b"2", b"3"] {
        put(&vault, "b", key, &bytes(100_000, 1)).unwrap();
    }
    let bucket = vault.bucket("b").unwrap();
    let first = stores.catalog.object(bucket.id, b"1").unwrap().unwrap();
    let path = path_of(dir.path(), first.row.blobs[0].id);
    // A directory cannot be removed like a file.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for key in [b"1", b"2", b"3"] {
        vault.delete("b", key, Precondition::None).unwrap();
    }
    let gone = vault.create_bucket("gone", "owner").unwrap();
    stores.catalog.delete_bucket(gone.id, 0).unwrap(); // and its key is not shredded yet
    for _ in 0..2 {
        vault.maintain().unwrap_err();
        assert_eq!(stores.catalog.garbage(0, 9).unwrap().len(), 1);
        assert!(stores.catalog.deleted_buckets().unwrap().is_empty());
    }
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(vault.maintain().unwrap().reaped, 1);
    assert!(blobs_of(&stores.blobs).is_empty());
}

fn path_of(dir: &std::path::Path, blob: BlobId) -> std::path::PathBuf {
    let shard = format!("{:02x}", blob.0[8]);
    dir.join("blobs").join(shard).join(blob.to_string())
}

/// What is being written would be lost otherwise, for a moment without the key store.
#[test]
fn a_lease_is_prolonged_while_the_key_store_is_away_and_nothing_is_collected() {
    let dir = tempfile::tempdir().unwrap();
    let real = stores(dir.path());
    let keys = Arc::new(Unshredding::new(real.keys.clone()));
    let renewed = Arc::new(AtomicUsize::new(0));
    let hook: Hook = {
        let renewed = renewed.clone();
        Arc::new(move |step| {
            renewed.fetch_add(usize::from(step == "after renew"), Ordering::SeqCst);
        })
    };
    let stores = Stores {
        keys: keys.clone(),
        ..real
    };
    let vault = Vault::start(watched(&stores, &hook), keyring(), config()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    put(&vault, "b", b"x", b"1").unwrap();
    vault.delete("b", b"x", Precondition::None).unwrap();
    keys.away.store(true, Ordering::SeqCst);
    vault.maintain().unwrap_err();
    assert_eq!(renewed.load(Ordering::SeqCst), 1);
    assert_eq!(stores.catalog.garbage(0, 9).unwrap().len(), 1);
    keys.away.store(false, Ordering::SeqCst);
    assert_eq!(vault.maintain().unwrap().reaped, 1);
}

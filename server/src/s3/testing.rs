//! What unit tests of the S3 face share: a vault over embedded stores, its master key in memory.

use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::format::NamedList;
use strongroom::id::{BucketId, RootId};
use strongroom::keys::testing::SoftMasterKey;
use strongroom::keys::{Keyring, KeyringConfig};
use strongroom::store::{Bucket, SqliteKeys, SqliteOptions, SyncMeter, Versioning};
use strongroom::vault::{
    CommitRequest, Protection, PutRequest, StorePaths, Stores, Vault, VaultConfig,
};
use tempfile::TempDir;

/// A bucket that no vault has.
pub(crate) fn bucket(name: &str, owner: &str) -> Bucket {
    Bucket {
        id: BucketId([1; 16]),
        name: name.to_owned(),
        owner: owner.to_owned(),
        created_ms: 0,
        generation: 1,
        versioning: Versioning::Off,
    }
}

/// A new, empty vault, and the directory it lies in, which goes when dropped.
pub(crate) fn vault() -> (TempDir, Arc<Vault>) {
    let (dir, vault, _) = vault_with_keys();
    (dir, vault)
}

/// The same, and the meter that can make its key store fail.
pub(crate) fn vault_with_keys() -> (TempDir, Arc<Vault>, Arc<SyncMeter>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let master = Arc::new(SoftMasterKey::new(RootId([7; 16])));
    let keyring = Keyring::new(vec![master], Arc::new(NullSink), KeyringConfig::default())
        .expect("a soft master key works");
    let meter = Arc::new(SyncMeter::default());
    let options = SqliteOptions {
        meter: Arc::clone(&meter),
        ..SqliteOptions::default()
    };
    let keys = SqliteKeys::open_with(&dir.path().join("other.db"), &options);
    let stores = Stores {
        keys: Arc::new(keys.expect("an empty directory")),
        ..Stores::open(&StorePaths::below(dir.path())).expect("an empty directory")
    };
    let vault = Vault::start(stores, keyring, VaultConfig::default()).expect("empty stores");
    (dir, vault, meter)
}

/// What begins to write an object under the bucket's key.
pub(crate) fn put_request(bucket: &Bucket, key: &str) -> PutRequest {
    PutRequest {
        bucket: bucket.clone().into(),
        key: key.as_bytes().to_vec(),
        protection: Protection::Managed,
        head: NamedList::default(),
        facts: Vec::new(),
        suite: None,
        principal: "tester".to_owned(),
    }
}

/// Writes an object.
pub(crate) fn put(vault: &Arc<Vault>, bucket: &Bucket, key: &str, body: &[u8]) {
    let mut stream = vault.put(put_request(bucket, key)).expect("a bucket");
    stream.write(body).expect("room");
    stream.commit(CommitRequest::default()).expect("stores");
}

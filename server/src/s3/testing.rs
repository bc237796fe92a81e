//! What unit tests of the S3 face share: a vault over embedded stores, its master key in memory.

use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::id::{BucketId, RootId};
use strongroom::keys::testing::SoftMasterKey;
use strongroom::keys::{Keyring, KeyringConfig};
use strongroom::store::{Bucket, Versioning};
use strongroom::vault::{StorePaths, Stores, Vault, VaultConfig};
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
    let dir = tempfile::tempdir().expect("a temporary directory");
    let master = Arc::new(SoftMasterKey::new(RootId([7; 16])));
    let keyring = Keyring::new(vec![master], Arc::new(NullSink), KeyringConfig::default())
        .expect("a soft master key works");
    let stores = Stores::open(&StorePaths::below(dir.path())).expect("an empty directory");
    let vault = Vault::start(stores, keyring, VaultConfig::default()).expect("empty stores");
    (dir, vault)
}

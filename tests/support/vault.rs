//! A vault over embedded stores in a directory, with a master key in memory in the place of an HSM.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom::audit::NullSink;
use strongroom::format::NamedList;
use strongroom::id::{BlobId, InstanceId, RootId};
use strongroom::keys::testing::SoftMasterKey;
use strongroom::keys::{Keyring, KeyringConfig, MasterKey};
use strongroom::secret::Secret;
use strongroom::store::{BlobStore, SyncMeter};
use strongroom::vault::{
    CommitRequest, Committed, CompleteRequest, OpenRequest, PartInfo, PartRequest, Precondition,
    Protection, PutRequest, StorePaths, Stores, Vault, VaultConfig, VaultError, Which,
};

pub const ROOT: RootId = RootId([7; 16]);

/// Opens what any other keyring of the tests wrapped: the double's key follows from its root.
pub fn keyring() -> Keyring {
    keyring_of(Arc::new(SoftMasterKey::new(ROOT)))
}

pub fn keyring_of(master: Arc<dyn MasterKey>) -> Keyring {
    Keyring::new(vec![master], Arc::new(NullSink), KeyringConfig::default()).unwrap()
}

/// Leases and grace periods short enough to wait for.
pub fn config() -> VaultConfig {
    VaultConfig {
        lease: Duration::from_millis(50),
        delete_grace: Duration::ZERO,
        ..VaultConfig::default()
    }
}

pub fn stores(dir: &Path) -> Stores {
    Stores::open(&StorePaths::below(dir)).unwrap()
}

pub fn metered(dir: &Path, meter: &Arc<SyncMeter>) -> Stores {
    Stores::open_metered(&StorePaths::below(dir), meter).unwrap()
}

/// A vault with default leases over stores in `dir`.
pub fn vault(dir: &Path) -> Arc<Vault> {
    Vault::start(stores(dir), keyring(), VaultConfig::default()).unwrap()
}

pub fn list(entries: &[(&str, &[u8])]) -> NamedList {
    NamedList(
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect(),
    )
}

pub fn put_request(bucket: &str, key: &[u8], protection: Protection) -> PutRequest {
    PutRequest {
        bucket: bucket.to_owned().into(),
        key: key.to_vec(),
        protection,
        head: list(&[("content-type", b"text/plain")]),
        facts: Vec::new(),
        suite: None,
        principal: "tester".to_owned(),
    }
}

pub fn put_if(
    vault: &Arc<Vault>,
    bucket: &str,
    key: &[u8],
    body: &[u8],
    precondition: Precondition,
) -> Result<Committed, VaultError> {
    let mut stream = vault.put(put_request(bucket, key, Protection::Managed))?;
    for piece in body.chunks(100_000) {
        stream.write(piece)?;
    }
    stream.commit(CommitRequest {
        precondition,
        attrs: list(&[("etag", &etag(body))]),
        ..Default::default()
    })
}

pub fn put(
    vault: &Arc<Vault>,
    bucket: &str,
    key: &[u8],
    body: &[u8],
) -> Result<Committed, VaultError> {
    put_if(vault, bucket, key, body, Precondition::None)
}

pub fn begin_in(
    vault: &Arc<Vault>,
    bucket: &str,
    key: &[u8],
    protection: Protection,
) -> Result<InstanceId, VaultError> {
    let request = put_request(bucket, key, protection);
    Ok(vault.create_upload(request, b"attrs".to_vec())?.id)
}

pub fn part_in(bucket: &str, key: &[u8], upload: InstanceId, part: u32) -> PartRequest {
    PartRequest {
        bucket: bucket.to_owned().into(),
        key: key.to_vec(),
        upload,
        part,
        customer: None,
        principal: "tester".to_owned(),
    }
}

pub fn put_part_with(
    vault: &Arc<Vault>,
    request: PartRequest,
    body: &[u8],
) -> Result<PartInfo, VaultError> {
    let mut stream = vault.put_part(request)?;
    for piece in body.chunks(90_001) {
        stream.write(piece)?;
    }
    stream.commit(&list(&[("etag", &etag(body))]))
}

pub fn complete_in<'p>(
    vault: &Arc<Vault>,
    bucket: &str,
    key: &[u8],
    upload: InstanceId,
    parts: impl IntoIterator<Item = &'p PartInfo>,
    commit: &CommitRequest,
) -> Result<Committed, VaultError> {
    let parts: Vec<_> = parts
        .into_iter()
        .map(|info| (info.part, info.salt))
        .collect();
    let request = CompleteRequest {
        bucket: bucket.into(),
        key,
        upload,
        parts: &parts,
        principal: "tester",
    };
    vault.complete_upload(&request, commit)
}

/// The ids of all blobs of a store.
pub fn blobs_of(store: &Arc<dyn BlobStore>) -> Vec<BlobId> {
    let shards = (0..=u8::MAX).map(|shard| store.list(shard).unwrap());
    shards.flatten().collect()
}

/// Opens bucket "b" for plain objects.
pub fn allow_plaintext(vault: &Arc<Vault>) {
    let bucket = vault.bucket("b").unwrap();
    vault.allow_plaintext(&bucket, true).unwrap();
}

/// Stands for an entity tag: tells the content.
pub fn etag(body: &[u8]) -> [u8; 8] {
    let sum = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    sum.to_le_bytes()
}

pub fn open<'a>(bucket: &'a str, key: &'a [u8]) -> OpenRequest<'a> {
    OpenRequest {
        bucket: bucket.into(),
        key,
        version: Which::Current,
        customer: None,
        instance: None,
        principal: "tester",
    }
}

pub fn open_with<'a>(bucket: &'a str, key: &'a [u8], customer: [u8; 32]) -> OpenRequest<'a> {
    OpenRequest {
        customer: Some(secret(customer)),
        ..open(bucket, key)
    }
}

pub fn secret(mut bytes: [u8; 32]) -> Secret<32> {
    Secret::take(&mut bytes).unwrap()
}

/// The whole object; its entity tag is compared.
pub fn get(vault: &Arc<Vault>, bucket: &str, key: &[u8]) -> Result<Vec<u8>, VaultError> {
    read(vault, open(bucket, key))
}

pub fn read(vault: &Arc<Vault>, request: OpenRequest<'_>) -> Result<Vec<u8>, VaultError> {
    let mut reader = vault.open(request)?;
    let length = usize::try_from(reader.info().length).unwrap();
    let mut body = vec![0; length];
    let mut at = 0;
    while at < length {
        let read = reader.read_at(at as u64, &mut body[at..])?;
        assert!(read > 0, "a reader stands still at {at} of {length}");
        at += read;
    }
    if let Some(tag) = reader.info().attrs.get("etag") {
        assert_eq!(tag, etag(&body), "the attributes belong to the body");
    }
    Ok(body)
}

/// Sets a flag when dropped, so that threads that look at it end also when a test panics.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Bytes in which no stretch repeats soon.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}

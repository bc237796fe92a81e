//! The key store trait: key records, their tombstones, and the state of master key versions.

use crate::id::{BucketId, InstanceId, RootId};

use super::StoreError;

/// Which store this is, and how often it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Made at random with the store.
    pub id: [u8; 16],
    /// Only grows; a copy restored from a backup is behind.
    pub epoch: u64,
}

/// A data key record to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKeyRecord {
    /// The instance whose data key it wraps.
    pub instance: InstanceId,
    /// The bucket of that instance.
    pub bucket: BucketId,
    /// The generation of the bucket key that wraps it.
    pub generation: u32,
    /// The writer's incarnation.
    pub incarnation: u64,
    /// The record, opaque.
    pub record: Vec<u8>,
}

/// All that decides about one key, from one snapshot. Nothing of it may be cached by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// The data key record.
    pub record: Option<Vec<u8>>,
    /// Whether the record was shredded.
    pub tombstone: bool,
    /// The record of the bucket key that the data key record was filed under, or that was asked for.
    pub bucket_key: Option<Vec<u8>>,
    /// The state of every master key version, by root and version.
    pub masters: Vec<MasterRow>,
}

/// The state of one master key version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterRow {
    /// The root.
    pub root: RootId,
    /// The version.
    pub version: u32,
    /// Its state, opaque.
    pub state: Vec<u8>,
}

/// Which data key records a scan visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanBy {
    /// Those written by an incarnation.
    Incarnation(u64),
    /// Those wrapped under a generation of a bucket key.
    Generation(BucketId, u32),
    /// All.
    All,
}

/// A data key record as a scan shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRow {
    /// The instance.
    pub instance: InstanceId,
    /// Its bucket.
    pub bucket: BucketId,
    /// The generation that wraps it.
    pub generation: u32,
    /// The incarnation that wrote it.
    pub incarnation: u64,
}

/// A store of key records.
///
/// # Contract
/// - A write that returned `Ok` is durable and seen by every later read. One that returned
///   [`StoreError::OutcomeUnknown`] may be seen or not, and may be tried again: every write is idempotent.
/// - Records change in place only by compare-and-swap of their bytes.
/// - A shredded id never takes a record again.
pub trait KeyStore: Send + Sync {
    /// Looks at the whole store for damage that a read of single rows does not meet: rows that are missing as a
    /// whole. Before anything is collected because no row speaks for it. A store that checks itself says `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; any [`StoreError`] of a read.
    fn check(&self) -> Result<(), StoreError>;

    /// Which store this is.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// Makes the epoch one larger, durably, and returns it. Once per start.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn advance_epoch(&self) -> Result<u64, StoreError>;

    /// Keeps a new record. The same record again is `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for other bytes under this instance, or its tombstone.
    fn insert(&self, record: NewKeyRecord) -> Result<(), StoreError>;

    /// What there is about the key of an instance. Absence is not an error.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn fetch(&self, instance: InstanceId) -> Result<KeyView, StoreError>;

    /// What a writer needs: a bucket key record and the master states; `record` is `None`, `tombstone` says that
    /// the bucket's keys were shredded.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn fetch_bucket(&self, bucket: BucketId, generation: u32) -> Result<KeyView, StoreError>;

    /// Puts `new` in the place of `expected`, filed under `generation`. `Ok` also where `new` is there already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`].
    fn replace(
        &self,
        instance: InstanceId,
        expected: &[u8],
        generation: u32,
        new: &[u8],
    ) -> Result<(), StoreError>;

    /// Destroys records: their bytes leave the store's files before this returns, tombstones stay, also where there
    /// was no record. All of them or, on an error, possibly some.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write; try again.
    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError>;

    /// Keeps a new bucket key record. The same record again is `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for other bytes, or after [`KeyStore::shred_bucket`].
    fn insert_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        record: &[u8],
    ) -> Result<(), StoreError>;

    /// Puts `new` in the place of `expected`. `Ok` also where `new` is there already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`].
    fn replace_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        expected: &[u8],
        new: &[u8],
    ) -> Result<(), StoreError>;

    /// Up to `limit` bucket key records after `after`, by bucket and generation.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn bucket_keys(
        &self,
        after: Option<(BucketId, u32)>,
        limit: usize,
    ) -> Result<Vec<(BucketId, u32, Vec<u8>)>, StoreError>;

    /// Destroys all keys of a bucket, as [`KeyStore::shred`] does, after the bucket left the catalog.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write; try again.
    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError>;

    /// Sets the state of a master key version; `expected` is the row there is now, `None` for a new one.
    /// `Ok` also where `new` is there already.
    ///
    /// # Errors
    /// [`StoreError::Stale`].
    fn put_master(&self, expected: Option<&MasterRow>, new: MasterRow) -> Result<(), StoreError>;

    /// Up to `limit` records after `after`, by instance.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn scan(
        &self,
        by: ScanBy,
        after: Option<InstanceId>,
        limit: usize,
    ) -> Result<Vec<KeyRow>, StoreError>;
}

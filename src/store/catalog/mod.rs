//! The catalog trait: buckets, objects, garbage, and the leases of those who write.

mod listing;
mod places;
mod rows;
mod uploads;
mod versions;

pub use listing::{
    ListItem, ListPage, ListQuery, ListedObject, Place, after_prefix, common_prefix,
};
pub use places::{Relocation, Replacement};
pub use rows::{
    Bucket, Commit, CommitError, Committed, DeleteBucketError, Garbage, GenerationState,
    KeyStoreSeen, ObjectRow, ObjectView, Precondition, Standing, Versioning,
};
pub use uploads::{PartRow, Upload, UploadItem, UploadsPage, UploadsQuery};
pub use versions::{
    Deleted, Judged, ListedVersion, Marker, Version, VersionEntry, VersionItem, VersionView,
    VersionsPage, VersionsQuery, Which,
};

use crate::id::{BlobId, BucketId, InstanceId, VersionId};

use super::{StoreError, StoreIdentity};

/// A catalog of buckets and objects.
///
/// # Contract
/// - A write that returned `Ok` is durable and seen by every later read; each write is one transaction.
/// - A blob or an instance is *named* from the commit that makes it visible, or from the moment it belongs to an upload,
///   until [`Catalog::garbage_done`] of the entry it became. What is named cannot be condemned; what is condemned cannot be committed; of a commit and a
///   condemnation that race, exactly one wins.
/// - The versions of a key stand in the order in which they were written. The newest is the current one; where it is
///   a delete marker there is no object of the key.
/// - At most one version of a key is the null version.
/// - An incarnation goes from live to dead to closed and never back.
pub trait Catalog: Send + Sync {
    /// Looks at the whole store for damage that a read of single rows does not meet: rows that are missing as a
    /// whole. Before anything is collected because no row speaks for it. A store that checks itself says `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; any [`StoreError`] of a read.
    fn check(&self) -> Result<(), StoreError>;

    /// Which catalog this is; its epoch is the last incarnation it gave out.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// Compares the key store beside it with what was seen, and remembers the highest epoch.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn key_store_seen(&self, id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError>;

    /// Registers a writer under a lease of `ttl_ms`; returns its incarnation: above 0, never given out before.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn register(&self, name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError>;

    /// Prolongs a lease; `false` if it is over: register again.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn renew(&self, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError>;

    /// Ends a lease early.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn release(&self, incarnation: u64) -> Result<(), StoreError>;

    /// The incarnations that are [`Standing::Dead`], ascending.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn dead_incarnations(&self, now_ms: u64) -> Result<Vec<u64>, StoreError>;

    /// What is known about an incarnation.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn standing(&self, incarnation: u64, now_ms: u64) -> Result<Standing, StoreError>;

    /// Closes an incarnation after a sweep that found nothing of it: its commits fail from now on, and its
    /// condemnations are forgotten.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it was never registered.
    fn close(&self, incarnation: u64) -> Result<(), StoreError>;

    /// Takes or prolongs the lease of a background task; the fencing token grows with each change of holder.
    /// `None` while another holds it, or if the incarnation is not live itself.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn task_lease(
        &self,
        task: &str,
        incarnation: u64,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError>;

    /// Grows with every change of a bucket, a generation or a document: what a daemon may hold a copy of.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn change_counter(&self) -> Result<u64, StoreError>;

    /// Read transactions so far; 0 from a catalog that does not count them.
    fn reads(&self) -> u64 {
        0
    }

    /// Makes a bucket with its first generation.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for the name or the id, and for an id whose maker ([`maker_of`]) is
    /// [`Standing::Closed`]: a sweeper may have taken the key of such a bucket for an orphan.
    fn create_bucket(&self, bucket: Bucket, state: GenerationState) -> Result<(), StoreError>;

    /// A bucket by name.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError>;

    /// A bucket by id.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn bucket_by_id(&self, id: BucketId) -> Result<Option<Bucket>, StoreError>;

    /// Up to `limit` buckets after a name, by name.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError>;

    /// Deletes a bucket without versions, with its documents, generations and uploads, which are garbage then; it stays
    /// among [`Catalog::deleted_buckets`].
    ///
    /// # Errors
    /// As [`DeleteBucketError`] says.
    fn delete_bucket(&self, bucket: BucketId, now_ms: u64) -> Result<(), DeleteBucketError>;

    /// Deleted buckets whose keys are still to be shredded.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn deleted_buckets(&self) -> Result<Vec<BucketId>, StoreError>;

    /// Forgets a deleted bucket, once its keys are shredded.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn bucket_done(&self, bucket: BucketId) -> Result<(), StoreError>;

    /// Changes what a bucket does with what is overwritten and deleted. What is there stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the bucket; [`StoreError::Unsupported`] for a way back to [`Versioning::Off`].
    fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<(), StoreError>;

    /// State of a generation.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn generation(
        &self,
        bucket: BucketId,
        generation: u32,
    ) -> Result<Option<GenerationState>, StoreError>;

    /// Sets the state of a generation; `expected` is what there is now, `None` for a new one. With `make_active`
    /// it is the one that wraps from now on.
    ///
    /// # Errors
    /// [`StoreError::Stale`], [`StoreError::NotFound`] for the bucket.
    fn set_generation(
        &self,
        bucket: BucketId,
        expected: Option<GenerationState>,
        new: GenerationState,
        make_active: bool,
    ) -> Result<(), StoreError>;

    /// A named document of a bucket, or of the catalog, with its revision.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
    ) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// Puts a document in the place of revision `expected` (`None`: of none), or with `bytes` `None` deletes it.
    /// Returns the new revision; no revision is used twice.
    ///
    /// # Errors
    /// [`StoreError::Stale`], [`StoreError::NotFound`] for the bucket.
    fn put_document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
        expected: Option<u64>,
        bytes: Option<&[u8]>,
    ) -> Result<u64, StoreError>;

    /// Makes an instance visible as the current version of its key, in one transaction with all its checks.
    ///
    /// Where versioning is enabled, the former versions stay. Where it is off or suspended, the new row is the null
    /// version and takes the place of the former one, wherever in the history that was.
    ///
    /// # Errors
    /// As [`CommitError`] says; [`StoreError::Exists`] if the instance or one of its blobs was committed before, or
    /// the key has a version of this label.
    fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;

    /// The current version of a key; `None` for nothing, and for a delete marker.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError>;

    /// A version of a key.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Result<Option<VersionView>, StoreError>;

    /// The sealed attributes of the parts of an instance; `None` if it has none, or is not there.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn part_attrs(&self, instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts `facts` in the place of `expected` on a version, if it still is of this instance.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for another instance, a delete marker or nothing, [`StoreError::Stale`] for other
    /// facts.
    fn set_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), StoreError>;

    /// Takes an object out of sight.
    ///
    /// Where versioning is off, it is garbage. Where it is enabled, a delete marker is put on top of the key, even if
    /// there is nothing below; where it is suspended, that marker is the null version and takes the place of the
    /// former one. `marker` is the label it gets, fresh. With `judged`, only if the object is the one that was looked at.
    ///
    /// # Errors
    /// As [`CommitError`] says; [`StoreError::Stale`] if it is not the one that was judged, or has other facts by now.
    fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
        marker: VersionId,
        now_ms: u64,
    ) -> Result<Deleted, CommitError>;

    /// Removes a version or a delete marker for good, if there is one; the newest of the rest is current then.
    ///
    /// # Errors
    /// [`StoreError::Stale`] if it is not the one that was judged, or has other facts by now;
    /// [`CommitError::NoSuchBucket`].
    fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
        now_ms: u64,
    ) -> Result<Deleted, CommitError>;

    /// Gives a version another instance: the same bytes, manifest, head, label and dates, the data key wrapped anew. The
    /// old instance is garbage without a blob. Returns that.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such object, [`StoreError::Stale`] if its instance is another one than
    /// the old, or its facts are not the expected ones; [`CommitError::NoSuchBucket`], [`CommitError::Condemned`]; [`StoreError::Exists`] if the new instance
    /// is named already.
    fn replace_instance(&self, change: Replacement) -> Result<Garbage, CommitError>;

    /// Gives a version other blobs with the same sealed bytes: into the archive, a restored copy out of it, its end.
    /// Names the new ones; returns as garbage those that are no longer used.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such object, [`StoreError::Stale`] if its instance or its facts are not
    /// the expected ones; [`CommitError::NoSuchBucket`], [`CommitError::Condemned`]; [`StoreError::Exists`] if a new
    /// blob is named already, [`StoreError::Unsupported`] if it is inline.
    fn relocate(&self, change: Relocation) -> Result<Option<Garbage>, CommitError>;

    /// A page of a listing. It reads neither heads nor manifests, and looks at no more than three rows per item:
    /// behind a common prefix it goes on at the first key past it.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read. A bucket that is not there lists as empty.
    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError>;

    /// A page of all versions and delete markers. As cheap as [`Catalog::list`].
    ///
    /// # Errors
    /// Any [`StoreError`] of a read. A bucket that is not there lists as empty.
    fn list_versions(&self, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError>;

    /// Begins a multipart upload: names its instance.
    ///
    /// # Errors
    /// As [`CommitError`] says; [`StoreError::Exists`] if the instance is named already.
    fn create_upload(&self, upload: Upload) -> Result<(), CommitError>;

    /// An upload of a key that is neither completed nor aborted.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
    ) -> Result<Option<Upload>, StoreError>;

    /// Adds a part to an upload, in the place of the one of its number, whose blob is garbage then. Names its blob.
    ///
    /// # Errors
    /// [`CommitError::NoSuchUpload`], [`CommitError::Condemned`]; [`StoreError::Exists`] if the blob is named already;
    /// [`StoreError::Unsupported`] for an inline one, or one of another part.
    fn put_part(&self, part: PartRow) -> Result<Option<Garbage>, CommitError>;

    /// Up to `limit` parts of an upload after number `after`, by number.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn parts(
        &self,
        instance: InstanceId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PartRow>, StoreError>;

    /// Says what a completion of the upload is going to commit, in the place of what another one said: whose commit fails
    /// then. Opaque. Who makes it may change the upload's key record between this and its commit.
    ///
    /// # Errors
    /// [`CommitError::NoSuchUpload`], [`CommitError::NoSuchBucket`].
    fn claim_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        claim: &[u8],
    ) -> Result<(), CommitError>;

    /// Ends an upload; its instance and the blobs of its parts are garbage then.
    ///
    /// # Errors
    /// [`CommitError::NoSuchUpload`], [`CommitError::NoSuchBucket`].
    fn abort_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        now_ms: u64,
    ) -> Result<Garbage, CommitError>;

    /// A page of the uploads of a bucket. It looks at no more than three rows per item.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read. A bucket that is not there lists as empty.
    fn list_uploads(&self, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError>;

    /// Up to `limit` uploads of all buckets that began before `created_ms`, by date and instance, behind `after`.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn uploads_before(
        &self,
        created_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Result<Vec<Upload>, StoreError>;

    /// Up to `limit` garbage entries after number `after`.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn garbage(&self, after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError>;

    /// Forgets garbage that is dealt with. Idempotent.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn garbage_done(&self, ids: &[u64]) -> Result<(), StoreError>;

    /// Condemns a blob id: a later commit that names it fails. `false` if it is named already. Idempotent.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn condemn(&self, blob: BlobId) -> Result<bool, StoreError>;

    /// The same for an instance whose key record was found without a visible object; `incarnation` wrote it.
    ///
    /// # Errors
    /// Any [`StoreError`] of a write.
    fn condemn_instance(&self, instance: InstanceId, incarnation: u64) -> Result<bool, StoreError>;
}

/// The incarnation a bucket id was made by: like a blob's, its first 8 bytes.
#[must_use]
pub fn maker_of(id: BucketId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

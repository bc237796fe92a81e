//! The catalog trait: buckets, objects, garbage, and the leases of those who write.

use std::ops::Bound;

use crate::id::{BlobId, BucketId, InstanceId};

use super::{BlobRef, Locator, StoreError, StoreIdentity};

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Made at random with the bucket.
    pub id: BucketId,
    /// Its name, unique.
    pub name: String,
    /// Who owns it, as the caller says.
    pub owner: String,
    /// When it was made.
    pub created_ms: u64,
    /// The generation of its bucket key that wraps now.
    pub generation: u32,
}

/// Revision and state of a bucket key, repeated from its record so that an older record is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationState {
    /// The generation.
    pub generation: u32,
    /// Revision of its record.
    pub rev: u64,
    /// State of its record.
    pub state: u8,
}

/// One instance of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// The object's key; any bytes.
    pub key: Vec<u8>,
    /// The instance.
    pub instance: InstanceId,
    /// How its data key is protected.
    pub mode: u8,
    /// The suite it is sealed with.
    pub suite: u8,
    /// Plaintext length in bytes.
    pub length: u64,
    /// When it became visible.
    pub modified_ms: u64,
    /// The bucket key generation it was committed under.
    pub generation: u32,
    /// Part of the context its key is bound to.
    pub kms_key_id: Vec<u8>,
    /// Part of the context its key is bound to.
    pub encryption_context: Vec<u8>,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Its head.
    pub head: Vec<u8>,
    /// Its attributes, sealed.
    pub attrs: Vec<u8>,
    /// Facts that change after the write, opaque.
    pub facts: Vec<u8>,
    /// Its blobs.
    pub blobs: Vec<BlobRef>,
}

impl ObjectRow {
    /// Whether some of its bytes lie in the catalog.
    #[must_use]
    pub fn has_inline(&self) -> bool {
        self.blobs
            .iter()
            .any(|blob| blob.locator == Locator::Inline)
    }
}

/// An instance with what is needed to read it, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    /// The instance.
    pub row: ObjectRow,
    /// State of the bucket key generation the row names; `None` if the bucket has no such generation.
    pub generation: Option<GenerationState>,
    /// The bytes of its inline blobs.
    pub inline: Vec<(BlobId, Vec<u8>)>,
}

/// What must be so for a commit or a deletion to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// There is no object of this key.
    Absent,
    /// There is one.
    Present,
    /// It is this instance.
    Is(InstanceId),
}

impl Precondition {
    /// Whether it holds where `current` is the visible instance.
    #[must_use]
    pub fn holds(self, current: Option<InstanceId>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Is(instance) => current == Some(instance),
        }
    }
}

/// One instance to become visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The bucket.
    pub bucket: BucketId,
    /// The writer's incarnation.
    pub incarnation: u64,
    /// The instance.
    pub row: ObjectRow,
    /// Bytes of those blobs of the row that are inline, in the order of the row.
    pub inline: Vec<(BlobId, Vec<u8>)>,
    /// What must be so.
    pub precondition: Precondition,
    /// The time now.
    pub now_ms: u64,
}

impl Commit {
    /// Whether the row and the inline bytes go together: the same ids, none twice.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut named: Vec<_> = self.row.blobs.iter().map(|blob| blob.id).collect();
        named.sort_unstable();
        let twice = named.windows(2).any(|pair| pair.first() == pair.last());
        let in_row = self
            .row
            .blobs
            .iter()
            .filter(|blob| blob.locator == Locator::Inline);
        let beside = self
            .inline
            .iter()
            .map(|(id, bytes)| (*id, bytes.len() as u64));
        if twice || !in_row.map(|blob| (blob.id, blob.sealed_len)).eq(beside) {
            return Err(StoreError::Unsupported(format!(
                "instance {}: the inline blobs of the row are not those beside it",
                self.row.instance
            )));
        }
        Ok(())
    }
}

/// An instance that is no longer visible; its key is to be shredded and its blobs are to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Number of the entry; only grows.
    pub id: u64,
    /// The bucket it was in.
    pub bucket: BucketId,
    /// The instance.
    pub instance: InstanceId,
    /// Its blobs. Inline ones are gone already.
    pub blobs: Vec<BlobRef>,
    /// Since when.
    pub since_ms: u64,
}

/// Why a commit or a deletion did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The precondition does not hold.
    #[error("the precondition does not hold")]
    Precondition,
    /// The sweeper gave the instance or one of its blobs up, or the writer's incarnation is closed: start again
    /// with fresh ids.
    #[error(
        "given up by the sweeper: the write took longer than its lease; write the object again"
    )]
    Condemned,
    /// There is no such bucket, perhaps any more.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a bucket was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteBucketError {
    /// There is none of this name.
    #[error("no such bucket")]
    NotFound,
    /// It has objects.
    #[error("the bucket is not empty")]
    NotEmpty,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the key store beside this catalog compares with the one it saw before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStoreSeen {
    /// The same one, not behind.
    Current,
    /// The same one, but a copy from before the epoch seen.
    Older {
        /// The highest epoch seen.
        seen: u64,
    },
    /// Another one.
    Other {
        /// The one seen before.
        id: [u8; 16],
    },
}

/// What the catalog knows about an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds its lease.
    Live,
    /// Its lease is over; what it left behind may be condemned.
    Dead,
    /// Swept and closed: it commits nothing any more.
    Closed,
    /// Never registered here.
    Unknown,
}

/// What to list.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on. [`after_prefix`] helps to continue behind a common prefix.
    pub from: Bound<&'a [u8]>,
    /// Keys that share what stands before and with its first occurrence after the prefix are shown as one item.
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

impl ListQuery<'_> {
    /// The smallest key it may show.
    pub(super) fn start(&self) -> Vec<u8> {
        let from = match self.from {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => [key, &[0]].concat(),
            Bound::Unbounded => Vec::new(),
        };
        from.max(self.prefix.to_vec())
    }
}

/// An item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListItem {
    /// An object.
    Object(ListedObject),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: Vec<u8>,
    /// Its visible instance.
    pub instance: InstanceId,
    /// How its data key is protected.
    pub mode: u8,
    /// The suite it is sealed with.
    pub suite: u8,
    /// Plaintext length in bytes.
    pub length: u64,
    /// When it became visible.
    pub modified_ms: u64,
    /// The bucket key generation it was committed under.
    pub generation: u32,
    /// Its attributes, sealed.
    pub attrs: Vec<u8>,
    /// Facts that change after the write.
    pub facts: Vec<u8>,
}

/// A page of a listing, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The items.
    pub items: Vec<ListItem>,
    /// The key the next page begins with, inclusive; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// How many rows were looked at to make the page.
    pub rows_visited: u64,
}

/// A catalog of buckets and objects.
///
/// # Contract
/// - A write that returned `Ok` is durable and seen by every later read; each write is one transaction.
/// - A blob or an instance is *named* from the commit that makes it visible until [`Catalog::garbage_done`] of the
///   entry it became. What is named cannot be condemned; what is condemned cannot be committed; of a commit and a
///   condemnation that race, exactly one wins.
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

    /// Deletes an empty bucket with its documents and generations; it stays among [`Catalog::deleted_buckets`].
    ///
    /// # Errors
    /// As [`DeleteBucketError`] says.
    fn delete_bucket(&self, name: &str) -> Result<BucketId, DeleteBucketError>;

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

    /// Makes an instance visible, in one transaction with all its checks; returns what it replaced, which is
    /// garbage from now on.
    ///
    /// # Errors
    /// As [`CommitError`] says; [`StoreError::Exists`] if the instance or one of its blobs was committed before.
    fn commit(&self, commit: Commit) -> Result<Option<Garbage>, CommitError>;

    /// The visible instance of a key.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read.
    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError>;

    /// Puts `facts` in the place of `expected` on the instance, if it is still the visible one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for another instance or none, [`StoreError::Stale`] for other facts.
    fn set_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), StoreError>;

    /// Takes an object out of sight; returns the garbage it became, `None` if there was none.
    ///
    /// # Errors
    /// As [`CommitError`] says.
    fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        now_ms: u64,
    ) -> Result<Option<Garbage>, CommitError>;

    /// A page of a listing. It reads neither heads nor manifests, and looks at no more than three rows per item:
    /// behind a common prefix it goes on at the first key past it.
    ///
    /// # Errors
    /// Any [`StoreError`] of a read. A bucket that is not there lists as empty.
    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError>;

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

/// The first key behind all keys that begin with `prefix`; `None` if there is no such key.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix.get(..=end)?.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

/// The common prefix a key falls under: up to the first delimiter after the prefix.
#[must_use]
pub fn common_prefix<'k>(
    key: &'k [u8],
    prefix: &[u8],
    delimiter: Option<&[u8]>,
) -> Option<&'k [u8]> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(prefix.len()..)?;
    let at = rest
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_a_prefix_is_the_smallest_one_past_it() {
        assert_eq!(after_prefix(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_after_the_prefix() {
        assert_eq!(
            common_prefix(b"a/b/c", b"a/", Some(b"/")),
            Some(&b"a/b/"[..])
        );
        assert_eq!(common_prefix(b"a/b", b"a/", Some(b"/")), None);
        assert_eq!(
            common_prefix(b"a::b::c", b"", Some(b"::")),
            Some(&b"a::"[..])
        );
        assert_eq!(common_prefix(b"a/b", b"", Some(b"")), None);
        assert_eq!(common_prefix(b"a/b", b"", None), None);
    }
}

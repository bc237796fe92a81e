//! The blob trait: sealed bytes, written once, read by position.

use crate::id::BlobId;

use super::StoreError;

/// Where the bytes of a blob lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// In the catalog, beside the row that names it.
    Inline,
    /// A file of its own in the blob store.
    File,
    /// A file of its own in the archive, which is a blob store beside the first.
    Archive,
    /// A name in a remote store.
    Remote(String),
    /// A stretch of a large volume file.
    Volume {
        /// Number of the volume.
        volume: u64,
        /// First byte in it.
        offset: u64,
    },
}

/// What a catalog row says about one of its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// Part number the blob was sealed as.
    pub part: u32,
    /// Name of the blob.
    pub id: BlobId,
    /// Where it lies.
    pub locator: Locator,
    /// Sealed length in bytes.
    pub sealed_len: u64,
}

/// A store of sealed blobs.
///
/// The archive is another store of the same kind: whoever opens a blob picks the store by the locator, and a store of
/// files opens [`Locator::File`] and [`Locator::Archive`] alike.
///
/// # Contract
/// - A blob is complete and durable, or it is not there for [`BlobStore::open`] to return as complete: a blob
///   becomes part of an object only by a catalog commit, which comes after [`BlobWriter::finish`].
/// - Ids are made by the caller and never used twice; [`BlobStore::create`] of an id that is there is
///   [`StoreError::Exists`] and leaves the present blob alone.
/// - All calls may come from any number of threads.
pub trait BlobStore: Send + Sync {
    /// Starts a new blob under its final name. A writer dropped unfinished takes its bytes away again.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Full`], [`StoreError::WritePathEnded`], [`StoreError::Io`].
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Opens a blob for reading. A reader stays good after the blob is removed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] where the length is not `blob.sealed_len`;
    /// [`StoreError::Unsupported`] for a locator of another store.
    fn open(&self, blob: &BlobRef) -> Result<Box<dyn BlobReader>, StoreError>;

    /// Removes a blob; `true` if it was there. Idempotent. A power cut may bring a removed blob back.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn remove(&self, id: BlobId) -> Result<bool, StoreError>;

    /// The ids of all blobs, finished or not, of one of the 256 shards (the first random byte of the id), sorted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn list(&self, shard: u8) -> Result<Vec<BlobId>, StoreError>;
}

/// A blob being written.
pub trait BlobWriter: Send {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`]; the blob is lost then and every later call fails.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes the blob and its name durable; returns its length in bytes.
    ///
    /// # Errors
    /// [`StoreError::WritePathEnded`] when an fsync failed: the blob is given up, and the caller should stop
    /// trusting this disk. [`StoreError::Full`], [`StoreError::Io`].
    fn finish(self: Box<Self>) -> Result<u64, StoreError>;
}

/// A blob open for reading.
pub trait BlobReader: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether the blob has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset` on as far as the blob goes; returns the number of bytes, 0 at the end and past it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, StoreError>;
}

/// The shard of a blob id: its first random byte.
#[must_use]
pub fn shard_of(id: BlobId) -> u8 {
    id.0[8]
}

/// The incarnation a blob id was made by: its first 8 bytes.
#[must_use]
pub fn incarnation_of(id: BlobId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

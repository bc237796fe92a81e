//! What the catalog keeps, and how it answers.

use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::{BlobRef, Locator, Place, StoreError, Which};

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
    /// Whether it keeps what is overwritten and deleted.
    pub versioning: Versioning,
}

/// Whether a bucket keeps older versions of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// It never did. Every object is the null version of its key.
    Off,
    /// A write adds a version.
    Enabled,
    /// A write takes the place of the null version and leaves the others alone.
    Suspended,
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
    /// Label of the version, which stays when the version gets another instance. Unique within the key.
    pub version: VersionId,
    /// Whether it is the null version of its key. The catalog sets it at the commit, whatever the writer says.
    pub null: bool,
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
    /// A copy of its blobs for as long as they are in the archive; empty for none.
    pub restored: Vec<BlobRef>,
}

impl ObjectRow {
    /// What it is found as among the versions of its key.
    #[must_use]
    pub fn which(&self) -> Which {
        Which::of(self.version, self.null)
    }

    /// Where its bytes are.
    #[must_use]
    pub fn place(&self) -> Place {
        let archived = |blob: &BlobRef| blob.locator == Locator::Archive;
        Place {
            archived: self.blobs.iter().any(archived),
            restored: !self.restored.is_empty(),
        }
    }

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
    /// Attributes of its parts, sealed; empty for none. Read by [`Catalog::part_attrs`](super::Catalog::part_attrs).
    pub part_attrs: Vec<u8>,
    /// If the row completes the upload of its instance, the last claim on it ([`Catalog::claim_upload`](super::Catalog::claim_upload)), empty if it was
    /// never claimed. Its blobs are chosen among those of the parts then; the
    /// others are garbage, and the upload ends.
    pub completes: Option<Vec<u8>>,
    /// What must be so. Under a delete marker there is no object.
    pub precondition: Precondition,
    /// The time now.
    pub now_ms: u64,
}

impl Commit {
    /// Whether the row and the inline bytes go together: the same ids, none twice.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        let mut named: Vec<_> = self.row.blobs.iter().map(|blob| blob.id).collect();
        named.sort_unstable();
        let twice = named.windows(2).any(|pair| pair.first() == pair.last())
            || !self.row.restored.is_empty()
            || self.completes.is_some() && !self.inline.is_empty();
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

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Whether the new row is the null version.
    pub null: bool,
    /// What is garbage from now on: the null version it replaced, parts it leaves out; in ascending
    /// order of numbers.
    pub garbage: Vec<Garbage>,
}

/// What nobody needs any more: a key record to be shredded, blobs to be removed, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Number of the entry; only grows.
    pub id: u64,
    /// The bucket it was in.
    pub bucket: BucketId,
    /// The instance whose key is to be shredded; `None` where only blobs are left behind.
    pub instance: Option<InstanceId>,
    /// The blobs to be removed. Inline ones are gone already.
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
    /// There is no such upload of the key: never begun, completed, or aborted.
    #[error("no such upload")]
    NoSuchUpload,
    /// The upload was claimed by another completion since.
    #[error("another completion of the upload came in between")]
    NotClaimed,
    /// A part that was chosen is another one now, or not there.
    #[error("part {0} of the upload is not the one that was chosen: list the parts again")]
    PartChanged(u32),
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
    /// It has objects, older versions or delete markers.
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

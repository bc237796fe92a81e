//! What callers hand to the vault and get back from it.

use std::fmt;
use std::sync::Arc;

use super::InBucket;
use crate::format::{NamedList, Suite};
use crate::id::{InstanceId, RootId, VersionId};
use crate::keys::Mode;
use crate::secret::Secret;
use crate::store::{Place, Precondition, Which};

/// How an object is protected.
pub enum Protection {
    /// Sealed, under the bucket's key alone.
    Managed,
    /// Sealed; what opens it is the caller's 256-bit key *and* the bucket's key. The caller's is forgotten with the
    /// stream.
    Customer(Secret<32>),
    /// Sealed, under a key of the bucket that this root alone wraps.
    Kms {
        /// The root; it need not be a primary one.
        root: RootId,
        /// What the object's key is bound to besides, as
        /// [`encode_encryption_context`](crate::keys::encode_encryption_context) makes it; empty for nothing.
        context: Vec<u8>,
    },
    /// Authenticated but readable on the disk (suite 0). Only in buckets that an operator opened for it
    /// ([`Vault::allow_plaintext`](super::Vault::allow_plaintext)). The choice is bound into the object's key record: no
    /// edit of the catalog turns a sealed object into a plain one, or back.
    Plain,
}

impl Protection {
    /// The mode of the data key record.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Managed => Mode::Managed,
            Self::Customer(_) => Mode::Customer,
            Self::Kms { .. } => Mode::Kms,
            Self::Plain => Mode::Plain,
        }
    }

    pub(super) fn customer(&self) -> Option<&Secret<32>> {
        match self {
            Self::Customer(key) => Some(key),
            Self::Managed | Self::Kms { .. } | Self::Plain => None,
        }
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed => f.write_str("Managed"),
            Self::Customer(_) => f.write_str("Customer(..)"),
            Self::Kms { root, .. } => write!(f, "Kms({root})"),
            Self::Plain => f.write_str("Plain"),
        }
    }
}

/// One object to be written.
#[derive(Debug)]
pub struct PutRequest {
    /// The bucket.
    pub bucket: InBucket<'static>,
    /// The object key: any bytes, at most 65,535.
    pub key: Vec<u8>,
    /// How it is protected.
    pub protection: Protection,
    /// The immutable facts: content headers and user metadata. The vault adds `:created`.
    pub head: NamedList,
    /// Facts that may change later; opaque, at most 64 KiB.
    pub facts: Vec<u8>,
    /// A suite other than the vault's own. [`Protection::Plain`] is always suite 0, and nothing else is.
    pub suite: Option<Suite>,
    /// Who asks; written to the audit trail.
    pub principal: String,
}

/// What goes with the end of a write.
#[derive(Debug)]
pub struct CommitRequest {
    /// What must be so for the object to become visible.
    pub precondition: Precondition,
    /// Facts that would tell the content (entity tag, checksums). They are sealed.
    pub attrs: NamedList,
    /// Facts in the place of those the write began with.
    pub facts: Option<Vec<u8>>,
}

impl Default for CommitRequest {
    fn default() -> Self {
        Self {
            precondition: Precondition::None,
            attrs: NamedList(Vec::new()),
            facts: None,
        }
    }
}

/// A write that is durable and visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The instance that is visible now.
    pub instance: InstanceId,
    /// Label of the version.
    pub version: VersionId,
    /// Whether it is the null version of its key: the bucket's versioning is not enabled.
    pub null: bool,
    /// When it became so, Unix milliseconds.
    pub modified_ms: u64,
    /// The instance whose place it took; its key is shredded.
    pub replaced: Option<InstanceId>,
    /// Plaintext length in bytes.
    pub length: u64,
}

/// An object that is under another key now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The instance that is visible now.
    pub instance: InstanceId,
    /// The instance whose place it took; its key is shredded.
    pub replaced: InstanceId,
    /// Label of the version, as before.
    pub version: VersionId,
    /// Whether it is the null version of its key, as before.
    pub null: bool,
}

/// Facts in the place of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactsChange<'a> {
    /// Those there have to be.
    pub expected: &'a [u8],
    /// Those there will be; at most 64 KiB.
    pub facts: &'a [u8],
}

/// One object to be read.
#[derive(Debug)]
pub struct OpenRequest<'a> {
    /// The bucket.
    pub bucket: InBucket<'a>,
    /// The object key.
    pub key: &'a [u8],
    /// Which version of it.
    pub version: Which,
    /// The customer key, for an object stored with one.
    pub customer: Option<Secret<32>>,
    /// Only this instance; another one is [`VaultError::PreconditionFailed`](super::VaultError::PreconditionFailed).
    pub instance: Option<InstanceId>,
    /// Who asks; written to the audit trail.
    pub principal: &'a str,
}

/// What is known of an object once its key record and manifest are verified.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Plaintext length in bytes.
    pub length: u64,
    /// When its writing began, Unix milliseconds; authenticated.
    pub created_ms: u64,
    /// When it became visible, Unix milliseconds; the catalog's word.
    pub modified_ms: u64,
    /// How it is protected.
    pub mode: Mode,
    /// The suite it is sealed with.
    pub suite: Suite,
    /// The instance.
    pub instance: InstanceId,
    /// Label of the version.
    pub version: VersionId,
    /// Whether it is the null version of its key.
    pub null: bool,
    /// The root it is protected under, where one was named.
    pub kms_root: Option<RootId>,
    /// What its key is bound to besides, encoded; see
    /// [`decode_encryption_context`](crate::keys::decode_encryption_context).
    pub encryption_context: Vec<u8>,
    /// The parts it was written in, in order; empty if it was not.
    pub parts: Arc<[PartSpan]>,
    /// Where its bytes are; the catalog's word.
    pub place: Place,
    /// The immutable facts it was written with, authenticated.
    pub head: NamedList,
    /// The sealed attributes it was written with, authenticated.
    pub attrs: NamedList,
    /// Facts that may change; the catalog's word.
    pub facts: Vec<u8>,
}

/// Where a part is in its object; authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSpan {
    /// Its number, 1 to 10,000.
    pub part: u32,
    /// Plaintext bytes of the object before it.
    pub start: u64,
    /// Its plaintext bytes.
    pub length: u64,
}

/// What the catalog says of an object, its sealed attributes apart: nothing here is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The instance.
    pub instance: InstanceId,
    /// Plaintext length in bytes.
    pub length: u64,
    /// When it became visible, Unix milliseconds.
    pub modified_ms: u64,
    /// How it is protected.
    pub mode: Mode,
    /// Label of the version.
    pub version: VersionId,
    /// Whether it is the null version of its key.
    pub null: bool,
    /// The root it is protected under, where one was named.
    pub kms_root: Option<RootId>,
    /// Where its bytes are.
    pub place: Place,
    /// Facts that may change.
    pub facts: Vec<u8>,
    /// The sealed attributes, opened and authenticated. `None` for an object stored with a customer key, and where they
    /// cannot be opened now: one object that does not open never fails a listing.
    pub attrs: Option<NamedList>,
}

/// What one pass of the background work did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// The lease had been lost, and the vault registered anew.
    pub registered: bool,
    /// Garbage whose keys were shredded.
    pub shredded: u64,
    /// Garbage whose blobs are gone, and which is forgotten.
    pub reaped: u64,
    /// Orphaned key records shredded.
    pub orphan_records: u64,
    /// Orphaned blobs removed.
    pub orphan_blobs: u64,
    /// Orphaned bucket keys shredded.
    pub orphan_bucket_keys: u64,
    /// Dead incarnations closed.
    pub closed: u64,
}

/// What is counted as it happens, most of it what went wrong and was not an answer to be expected; only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read transactions of the catalog, as [`Catalog::reads`](crate::store::Catalog::reads).
    pub catalog_reads: u64,
    /// Reads that found an object damaged.
    pub damaged: u64,
    /// Reads that went back to the catalog since the instance had changed under them.
    pub retried: u64,
    /// Requests that found the state of a bucket key to differ between key store and catalog.
    pub alarms: u64,
    /// Writes of which it is not known whether they took effect.
    pub unknown: u64,
    /// Leases lost.
    pub leases_lost: u64,
    /// Passes of the background work that did not get through.
    pub failed_passes: u64,
}

/// Something [`Vault::verify`](super::Vault::verify) found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An object, or an upload under way.
    Object {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
        /// The instance.
        instance: InstanceId,
        /// What is wrong.
        what: String,
    },
    /// The catalog, so that there may be objects which nobody can see.
    Catalog {
        /// What is wrong.
        what: String,
    },
}

/// What a [`Vault::verify`](super::Vault::verify) looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Objects read back and authenticated to the last byte.
    pub objects: u64,
    /// Plaintext bytes of objects and parts.
    pub bytes: u64,
    /// Parts of uploads under way, read back like objects; those under a customer key without their data.
    pub parts: u64,
    /// Objects stored with a customer key: record, manifest, layout and lengths were verified, the data was not.
    pub customer_objects: u64,
    /// Objects, uploads and parts that were replaced, completed or deleted while they were looked at.
    pub changed: u64,
    /// Objects and uploads whose key may not be used now, or whose suite is not built in: not verified.
    pub unopened: u64,
    /// Findings.
    pub findings: u64,
}

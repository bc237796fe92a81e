//! What the vault can answer instead of doing what was asked.

use crate::format::{FormatError, Suite};
use crate::id::{InstanceId, RootId};
use crate::keys::KeyError;
use crate::object::ObjectError;
use crate::store::{Bucket, Marker, StoreError};

/// Why the vault did not do what was asked.
///
/// [`is_transient`](Self::is_transient) tells "later, perhaps" from "no". Only
/// [`VaultError::OutcomeUnknown`] leaves open whether a write took effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no bucket of this name.
    #[error("there is no bucket {0:?}")]
    NoSuchBucket(String),
    /// A bucket of this name exists already: this one.
    #[error("bucket {:?} exists already", .0.name)]
    BucketExists(Box<Bucket>),
    /// Only an empty bucket can be deleted.
    #[error("bucket {0:?} is not empty: delete its objects first")]
    BucketNotEmpty(String),
    /// There is no object of this key.
    #[error("there is no object {} in bucket {bucket:?}", show(.key))]
    NoSuchKey {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
    },
    /// There is an object of this key perhaps, but not this version of it.
    #[error("there is no such version of {} in bucket {bucket:?}", show(.key))]
    NoSuchVersion {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
    },
    /// The version that the request names, or the current one, is a delete marker.
    #[error("{} in bucket {bucket:?} was deleted: this version is a delete marker", show(&.marker.key))]
    DeleteMarker {
        /// The bucket's name.
        bucket: String,
        /// Whether it is the newest version of its key.
        is_current: bool,
        /// The marker.
        marker: Box<Marker>,
    },
    /// There is no upload of this id, or no longer: it was completed or aborted.
    #[error("there is no upload {upload} of {} to bucket {bucket:?}", show(.key))]
    NoSuchUpload {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
        /// The upload.
        upload: InstanceId,
    },
    /// The upload has no such part, or it is another one by now.
    #[error("part {0} is not as the request says: it was not uploaded, or uploaded again since")]
    NoSuchPart(u32),
    /// The object is in the archive and has to be restored first.
    #[error("object {} in bucket {bucket:?} is in the archive: restore it first", show(.key))]
    Archived {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
    },
    /// The object is not as the request demands it to be.
    #[error("the object is not in the state that the request demands")]
    PreconditionFailed,
    /// The object opens only with the customer key it was stored with.
    #[error("the object was stored with a customer key: the request has to bring it")]
    CustomerKeyRequired,
    /// The request brings a customer key, and the object was stored without one.
    #[error("the object was stored without a customer key: the request must not bring one")]
    CustomerKeyNotApplicable,
    /// The customer key is not the one the object was stored with.
    #[error("the customer key is not the one the object was stored with")]
    WrongCustomerKey,
    /// Something that was written is missing or not authentic. Nothing of it was released.
    #[error("object {} in bucket {bucket:?} (instance {instance}) is damaged: {what}; restore it from a copy", show(.key))]
    Damaged {
        /// The bucket's name.
        bucket: String,
        /// The object key.
        key: Vec<u8>,
        /// The instance that is damaged.
        instance: InstanceId,
        /// What is missing or wrong.
        what: String,
    },
    /// What a store says of something is not what was once written there.
    #[error("a store is damaged: {0}; restore it from a backup")]
    StoreDamaged(String),
    /// The object is sealed under a suite of the format that this build leaves out. Nothing is wrong with it.
    #[error("the object is sealed under {}, which is not built in: use a build with the feature `gcm`", .0.name())]
    UnsupportedSuite(Suite),
    /// A key that the catalog knows of is not in the key store, which is older than the catalog or another one.
    #[error("{what} is not in the key store: {why}")]
    KeyMissing {
        /// Which key.
        what: String,
        /// What the vault knows of the reason.
        why: String,
    },
    /// The bucket key, or every master key version it is wrapped by, is disabled.
    #[error("the key of bucket {0:?} is disabled")]
    Disabled(String),
    /// No root of this id is configured.
    #[error("no root {0} is configured")]
    NoSuchRoot(RootId),
    /// The root that the object is protected under is disabled.
    #[error("root {0} is disabled")]
    RootDisabled(RootId),
    /// The root that the object is protected under is to be destroyed.
    #[error("root {0} is pending deletion")]
    RootPendingDeletion(RootId),
    /// The bucket is not opened for plain objects.
    #[error("bucket {0:?} holds sealed objects only: an operator has to open it for plain ones")]
    PlaintextNotAllowed(String),
    /// The bucket key was shredded.
    #[error("the key of bucket {0:?} was shredded: what it protected cannot be opened again")]
    Shredded(String),
    /// Something that is needed is away; the same request may succeed later. Nothing happened.
    #[error("not available: {0}")]
    Unavailable(String),
    /// As many streams as the memory budget allows are open.
    #[error("all of the memory for streams is in use: try again later")]
    Busy,
    /// The write may or may not have taken effect. Nothing was deleted: the sweeper finds out.
    #[error("whether this took effect is not known: {0}")]
    OutcomeUnknown(String),
    /// The vault does not write now.
    #[error("the vault does not write: {0}")]
    ReadOnly(String),
    /// No space is left where the named store lies.
    #[error("no space is left: {0}")]
    Full(String),
    /// This vault's lease ran out while the write was under way; it took no effect.
    #[error("this node lost its lease while the object was written: write it again")]
    LeaseLost,
    /// The object was replaced or deleted while it was read, and what was read of it is gone.
    #[error("the object was replaced while it was read: read it again")]
    Changed,
    /// The request cannot be served as it is.
    #[error("{0}")]
    Invalid(String),
    /// More than 2^28 segments of 64 KiB.
    #[error("an object of one blob ends at 16 TiB")]
    TooLarge,
    /// The stream failed before and cannot go on.
    #[error("this stream failed before and cannot go on")]
    Ended,
}

impl VaultError {
    /// Whether the same request may succeed later with nothing changed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Busy
                | Self::OutcomeUnknown(_)
                | Self::LeaseLost
                | Self::Changed
        )
    }
}

fn show(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}

impl From<FormatError> for VaultError {
    /// Of what the vault itself encodes: the request holds something the format has no room for.
    fn from(error: FormatError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<ObjectError> for VaultError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::TooLong => Self::TooLarge,
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl From<KeyError> for VaultError {
    /// Of a key that is in use already; see `bucket_key_error` for the others.
    fn from(error: KeyError) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.to_string())
        } else {
            Self::Invalid(error.to_string())
        }
    }
}

impl From<getrandom::Error> for VaultError {
    fn from(error: getrandom::Error) -> Self {
        Self::Unavailable(format!("the kernel's random source: {error}"))
    }
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown(error.to_string()),
            StoreError::WritePathEnded(_) => Self::ReadOnly(error.to_string()),
            StoreError::Full(_) => Self::Full(error.to_string()),
            StoreError::Damaged(what) => Self::StoreDamaged(what),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

//! What can go wrong with keys, said so that a person can act on it and an attacker learns nothing.

use std::sync::Arc;

use super::master::MasterKeyError;
use crate::audit::AuditError;
use crate::id::RootId;
use crate::secret::SecretError;

/// Why a key operation failed. Nothing was released.
///
/// Once a key is in play there is one answer, [`KeyError::Unauthentic`]; the sole exception is
/// [`KeyError::WrongCustomerKey`], which the format provides for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are not a record, or the request breaks a rule of the format. No key was used.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A version, mode or strategy that this build does not know. No key was used.
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
    /// The record is damaged, or belongs to another key, object or bucket.
    #[error("not authentic")]
    Unauthentic,
    /// The record is whole and the caller's key is not the one it was made with.
    #[error("the customer key is not the one this object was stored with")]
    WrongCustomerKey,
    /// The bucket key is for reading only; new data needs the next generation.
    #[error("the bucket key only opens; make a new generation to write")]
    UnwrapOnly,
    /// The bucket key, or every master key version that wraps it, is disabled; also the answer to
    /// a record whose state carries no valid tag.
    #[error("the bucket key is disabled; enable it to use it again")]
    Disabled,
    /// The bucket key was shredded.
    #[error("the bucket key was shredded; what it protected cannot be opened")]
    Shredded,
    /// The record's revision or state is not what the catalog says: writing has stopped.
    #[error(
        "the bucket key's state differs between key store and catalog; writing stops until an operator has compared them"
    )]
    StateConflict,
    /// This key's generation has wrapped as many data keys as it may.
    #[error("this generation of the bucket key is used up; make a new generation")]
    Exhausted,
    /// The key was held for as long as it may be and is wiped; ask the keyring again.
    #[error("the bucket key is no longer held; ask the keyring for it again")]
    Expired,
    /// None of the roots a record names is configured here.
    #[error("no configured root can open this bucket key; it is wrapped for {}", list(.roots))]
    NoRoot {
        /// The roots the record names.
        roots: Vec<RootId>,
    },
    /// Every root that could open or wrap this key is stopped; this one is disabled.
    #[error("root {root} is disabled; enable it to use what it protects")]
    RootDisabled {
        /// The root in question.
        root: RootId,
    },
    /// The same; this one is to be destroyed.
    #[error("root {root} is pending deletion; cancel the deletion to use what it protects")]
    RootPendingDeletion {
        /// The root in question.
        root: RootId,
    },
    /// The key was asked of the keyring for less than is now done with it.
    #[error("this bucket key was not asked for this purpose")]
    NotPermitted,
    /// A root of the configuration and a record disagree on how that root wraps.
    #[error("root {root} is configured with another wrapping strategy than the record names")]
    StrategyConflict {
        /// The root in question.
        root: RootId,
    },
    /// A keyring was asked for with no root, or with the same root twice.
    #[error("keyring configuration: {0}")]
    Configuration(&'static str),
    /// An HSM did not do its part.
    #[error(transparent)]
    Hsm(#[from] MasterKeyError),
    /// The audit trail could not be written, so the key was not used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Locked memory could not be had.
    #[error(transparent)]
    Secret(Arc<SecretError>),
    /// The kernel's random source failed.
    #[error("the kernel's random source cannot be read")]
    Random,
}

impl KeyError {
    /// Whether the same request may succeed later with nothing changed: to be answered as
    /// unavailable, not as refused.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Hsm(error) => error.is_transient(),
            Self::Audit(_) | Self::Secret(_) | Self::Random | Self::Expired => true,
            _ => false,
        }
    }
}

impl From<SecretError> for KeyError {
    fn from(error: SecretError) -> Self {
        Self::Secret(Arc::new(error))
    }
}

impl From<getrandom::Error> for KeyError {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}

fn list(roots: &[RootId]) -> String {
    roots
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

//! The one joint to an HSM: what a master key must do, and the ways it can fail.

use std::sync::Arc;

use crate::id::RootId;
use crate::secret::{Secret, SecretError};

/// A root: one master key in all its versions, held where its bytes never come out.
///
/// Calls may block, at most until a deadline chosen when the implementation was made; they never
/// hang. A keyring of `n` roots asks them one after the other, so each deadline should be the time
/// a caller may wait divided by `n`.
pub trait MasterKey: Send + Sync {
    /// Which root this is; the name its wraps carry in records.
    fn root(&self) -> RootId;

    /// How this root wraps. Fixed for the life of a root; a record that names another is refused.
    fn strategy(&self) -> Strategy;

    /// The version that wraps new secrets.
    fn active_version(&self) -> u32;

    /// The versions present in the token, in ascending order.
    fn versions(&self) -> Vec<u32>;

    /// Wraps `secret` under `version`.
    ///
    /// Implementations unwrap what they wrapped once and compare before they answer: a wrap that
    /// does not open is otherwise noticed only by the first read.
    ///
    /// # Errors
    /// [`MasterKeyError`]; nothing was wrapped.
    fn wrap(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError>;

    /// Unwraps `blob` under `version`.
    ///
    /// # Errors
    /// [`MasterKeyError::Rejected`] only if the module is known to be healthy and refuses this
    /// blob; any doubt is [`MasterKeyError::Unavailable`].
    fn unwrap(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError>;

    /// Moves `blob` from one version to another inside the token, without the secret leaving it,
    /// and checks the evidence: wrapping what the new blob holds under `from` gives `blob` again.
    ///
    /// # Errors
    /// [`MasterKeyError`]; `blob` is still the one to keep.
    fn rewrap(
        &self,
        from: u32,
        to: u32,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, MasterKeyError>;

    /// Thirty-two bytes from the token's own random generator.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    fn random(&self) -> Result<Secret<32>, MasterKeyError>;

    /// A known-answer probe: wraps and unwraps under every version present.
    ///
    /// # Errors
    /// [`MasterKeyError`]: the root cannot serve now.
    fn health(&self) -> Result<(), MasterKeyError>;
}

/// A bucket key secret under a master key: 32 bytes and the 8 of AES Key Wrap.
pub type WrappedSecret = [u8; 40];

/// How a root wraps (F-66); the byte beside every wrap in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// AES Key Wrap, RFC 3394, `CKM_AES_KEY_WRAP`.
    Kw = 1,
    /// AES Key Wrap with Padding, RFC 5649; for tokens without plain key wrap.
    Kwp = 2,
}

impl Strategy {
    /// The byte written in records.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Kw => 1,
            Self::Kwp => 2,
        }
    }

    /// The strategy a record's byte names, if format 1 has it.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Kw),
            2 => Some(Self::Kwp),
            _ => None,
        }
    }
}

/// Why a root did not answer. Says nothing of keys.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// The module failed or the token is away; the same call may succeed later.
    #[error(
        "the HSM is not available: {function} returned {code:#x}; check the module, the token and the network to it"
    )]
    Unavailable {
        /// The function of the module that failed.
        function: &'static str,
        /// Its return value (`CKR_...`), 0 where it never returned one.
        code: u64,
    },
    /// The deadline passed before the module answered.
    #[error("the HSM did not answer in time ({function}); check its load and the network to it")]
    TimedOut {
        /// The function of the module that was called.
        function: &'static str,
    },
    /// This version of the master key is not in the token.
    #[error(
        "version {version} of the master key is not in the token; restore it, or open with another root"
    )]
    KeyMissing {
        /// The version that was asked for.
        version: u32,
    },
    /// The module is healthy and refuses this blob: it was not wrapped by this key, or is damaged.
    #[error("the HSM refuses this wrapped key")]
    Rejected,
    /// The PIN was refused and is not tried again.
    #[error(
        "the HSM refused the PIN; it is not tried again, so that the token does not lock: correct the PIN source and start anew"
    )]
    PinRefused,
    /// The module, token or key is not what the configuration says; the text names what to do.
    #[error("{0}")]
    Misconfigured(String),
    /// Locked memory for an answer could not be had.
    #[error(transparent)]
    Secret(Arc<SecretError>),
}

impl From<SecretError> for MasterKeyError {
    fn from(error: SecretError) -> Self {
        Self::Secret(Arc::new(error))
    }
}

impl MasterKeyError {
    /// Whether the same call may succeed later with nothing changed in the record.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::TimedOut { .. } | Self::Secret(_)
        )
    }
}

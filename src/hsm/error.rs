//! What goes wrong between here and a key in a token, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use cryptoki_sys as ck;

use crate::keys::MasterKeyError;
use crate::secret::SecretError;

/// Why a token or a key in it cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The module's file cannot be loaded.
    #[error("cannot load the PKCS#11 module {}: {reason}; install it, or correct the absolute path in the configuration", .module.display())]
    ModuleMissing {
        /// The configured path.
        module: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// No token carries the label.
    #[error("{place} is not there; tokens present: {}; start the HSM or its client, or correct the label", list(.present))]
    TokenMissing {
        /// The module and the label.
        place: Place,
        /// The labels of the tokens that are there.
        present: Vec<String>,
    },
    /// More than one token carries the label.
    #[error("{place} exists {count} times; give every token a label of its own")]
    TokenDuplicate {
        /// The module and the label.
        place: Place,
        /// How many there are.
        count: usize,
    },
    /// A token of this label exists already and is left as it is.
    #[error("{place} exists already and is left as it is; choose another label")]
    TokenExists {
        /// The module and the label.
        place: Place,
    },
    /// There is no uninitialised slot for a new token.
    #[error("module {} has no uninitialised token left; add one with the vendor's tool", .module.display())]
    NoFreeSlot {
        /// The module.
        module: PathBuf,
    },
    /// The PIN cannot be read.
    #[error("cannot read the PIN from {source_name}: {reason}")]
    PinUnreadable {
        /// The PIN source.
        source_name: String,
        /// Why not.
        reason: String,
    },
    /// The PIN was refused; it was sent once and is not sent again.
    #[error(
        "{place} refuses the PIN from {source_name} (code {code:#x}); it was tried once and is not tried again, so that the token does not lock: put the right PIN there"
    )]
    PinWrong {
        /// The module and the token.
        place: Place,
        /// The PIN source.
        source_name: String,
        /// The return value of `C_Login`.
        code: u64,
    },
    /// The PIN is locked.
    #[error(
        "the user PIN of {place} is locked; its security officer must set a new one, then start again"
    )]
    PinLocked {
        /// The module and the token.
        place: Place,
    },
    /// There is no master key, or not this version of it.
    #[error(
        "master key {key} is not in {place}; generate it, restore it from the token's backup, or correct root and token in the configuration"
    )]
    KeyMissing {
        /// The module and the token.
        place: Place,
        /// Label and `CKA_ID`.
        key: String,
        /// The version; 0 where none at all was found.
        version: u32,
    },
    /// Several keys answer to one name.
    #[error("{count} keys in {place} have {name}; remove or rename all but the right one")]
    KeyDuplicate {
        /// The module and the token.
        place: Place,
        /// The label or `CKA_ID` they share.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A key of this version exists already and is left as it is.
    #[error(
        "master key {key} exists already in {place} and is left as it is; use the next version"
    )]
    KeyExists {
        /// The module and the token.
        place: Place,
        /// Label and `CKA_ID`.
        key: String,
    },
    /// A master key could be read or misused by whoever has the PIN.
    #[error(
        "master key {key} in {place} has wrong attributes: {}; make a new key with the attributes in hsm-config/README.md, this one cannot be trusted",
        .wrong.join(", ")
    )]
    KeyPosture {
        /// The module and the token.
        place: Place,
        /// Label and `CKA_ID`.
        key: String,
        /// Each wrong attribute with what it is and what it must be.
        wrong: Vec<String>,
    },
    /// The module does not wrap as the standard says, or not with the key it had before.
    #[error("{place} gave a wrong answer: {what}")]
    WrongAnswer {
        /// The module and the token.
        place: Place,
        /// What was asked and what is wrong.
        what: String,
    },
    /// The module's return value for one function.
    #[error("{place}: {function} returned {code:#x}")]
    Call {
        /// The module and the token.
        place: Place,
        /// The function.
        function: &'static str,
        /// Its return value (`CKR_...`), 0 where it never returned one.
        code: u64,
    },
    /// The deadline passed.
    #[error(
        "{place}: {function} did not return in time; check the load of the HSM and the network to it"
    )]
    TimedOut {
        /// The module and the token.
        place: Place,
        /// The function that was called.
        function: &'static str,
    },
    /// The module is healthy and refuses this blob.
    #[error("{place} refuses this wrapped key")]
    Rejected {
        /// The module and the token.
        place: Place,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// A thread could not be started.
    #[error("cannot start a thread for a session of the HSM: {0}; raise the limit on processes")]
    Thread(String),
    /// Locked memory could not be had.
    #[error(transparent)]
    Secret(Arc<SecretError>),
}

/// A token of a module: what every message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Absolute path of the module.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "token \"{}\" of module {}",
            self.token,
            self.module.display()
        )
    }
}

impl From<SecretError> for HsmError {
    fn from(error: SecretError) -> Self {
        Self::Secret(Arc::new(error))
    }
}

impl From<HsmError> for MasterKeyError {
    fn from(error: HsmError) -> Self {
        match error {
            HsmError::Call { function, code, .. } => Self::Unavailable { function, code },
            HsmError::TimedOut { function, .. } => Self::TimedOut { function },
            HsmError::TokenMissing { .. } => Self::Unavailable {
                function: "C_GetSlotList",
                code: ck::CKR_TOKEN_NOT_PRESENT,
            },
            HsmError::Thread(_) => Self::Unavailable {
                function: "C_OpenSession",
                code: 0,
            },
            HsmError::KeyMissing { version, .. } => Self::KeyMissing { version },
            HsmError::Rejected { .. } => Self::Rejected,
            HsmError::PinWrong { .. } | HsmError::PinLocked { .. } => Self::PinRefused,
            HsmError::Secret(error) => Self::Secret(error),
            other => Self::Misconfigured(other.to_string()),
        }
    }
}

/// What one function of the module returned, before anybody knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallError {
    pub(super) function: &'static str,
    pub(super) code: ck::CK_RV,
}

impl CallError {
    pub(super) fn at(self, place: &Place) -> HsmError {
        HsmError::Call {
            place: place.clone(),
            function: self.function,
            code: self.code,
        }
    }
}

fn list(labels: &[String]) -> String {
    if labels.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = labels.iter().map(|label| format!("\"{label}\"")).collect();
    quoted.join(", ")
}

//! Master keys behind PKCS#11. Layer 2.
//!
//! [`HsmMasterKey`] implements [`MasterKey`](crate::keys::MasterKey) on any token that wraps with
//! AES Key Wrap; [`HsmAdmin`] makes tokens and master keys and shows their posture.
//!
//! Modules of vendors crash, hang, deadlock and answer vaguely, so nothing here trusts one:
//!
//! - every session belongs to one thread, and no caller enters the module itself: it leaves at its
//!   deadline, and a call that hangs costs one thread, which is replaced;
//! - `C_Initialize`, `C_Finalize` and `C_Login` run only while no other thread is in the module;
//! - a vague return code is never believed: the login state and a known answer decide whether the
//!   module is ill or the blob is bad, so damaged blobs cannot stop the service;
//! - a PIN that was refused is never sent again;
//! - a handle is used only in the life of the module that gave it.

mod admin;
mod breaker;
mod class;
mod config;
mod error;
mod gate;
mod key;
mod life;
mod master;
mod module;
mod operation;
mod pool;
mod probe;
mod worker;

pub use admin::{HsmAdmin, TokenStatus, VersionStatus};
pub use config::{HsmConfig, PinSource};
pub use error::{HsmError, Place};
pub use key::{AttributeCheck, key_id};
pub use master::{HsmMasterKey, HsmStats};

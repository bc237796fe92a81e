//! Strongroom: an encryption engine for object storage with its master keys in an HSM.

pub mod audit;
pub mod cipher;
pub mod envelope;
pub mod format;
#[cfg(feature = "hsm")]
pub mod hsm;
pub mod id;
pub mod keys;
pub mod object;
pub mod secret;
#[cfg(feature = "vault")]
pub mod store;
#[cfg(feature = "vault")]
pub mod vault;

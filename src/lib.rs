//! Strongroom: an encryption engine for object storage with its master keys in an HSM.
//!
//! Every object is sealed under a random data key of its own; the data key is wrapped by a bucket key, and that by a master
//! key which never leaves its PKCS#11 token. The library has no async and no HTTP in it, and two doors:
//!
//! - [`envelope`], for a daemon that keeps its own metadata: content goes in, a sealed blob and a wrapped key of 188 bytes
//!   come out, and it stores both. `examples/embed.rs` seals, opens, reads a range and rotates, from end to end.
//! - [`vault`], for one that has none: buckets, versions, listings, uploads in parts, and the durable order in which blob,
//!   key and catalog row are written. `examples/vault.rs` writes, reads, lists and shreds.
//!
//! Either is given a [`keys::Keyring`], which is given master keys ([`hsm::HsmMasterKey`]) and an [`audit`] trail. Below
//! them, usable alone: [`object`], sealed streams and files under a key of the caller's; [`format`](mod@format), the bytes;
//! [`cipher`], the kernels. Arrows between the modules point down only.
//!
//! Features: `hsm` (PKCS#11) and `vault` (the second door, with SQLite) are on; `gcm` builds suite 2, AES-256-GCM,
//! in; `conformance` gives the test suites that a store or a key of one's own must pass.

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

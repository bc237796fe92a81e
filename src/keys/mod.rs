//! Keys: records, wrapping, the encryption context, the keyring and its one joint to an HSM. Layer 1.
//!
//! ```text
//! master key      in the HSM            MasterKey::{wrap, unwrap}, never more than bucket keys
//!   bucket key    cached, at most TTL   Keyring::bucket_key -> BucketKey
//!     data key    one per object        BucketKey::{wrap_data_key, unwrap_data_key}
//! ```
//!
//! A [`Keyring`] holds the roots and an audit sink; nothing reaches a master key but through it.

mod bucket_record;
mod context;
mod error;
mod master;

pub use bucket_record::{BucketKeyRecord, KeyState, Wrap};
pub use context::{Context, Mode, encode_encryption_context, kms_key_id};
pub use error::KeyError;
pub use master::{MasterKey, MasterKeyError, Strategy, WrappedSecret};

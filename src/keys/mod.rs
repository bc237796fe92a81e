//! Keys: records, wrapping, the encryption context, the keyring and its one joint to an HSM. Layer 1.
//!
//! ```text
//! master key      in the HSM            MasterKey::{wrap, unwrap}, never more than bucket keys
//!   bucket key    cached, at most TTL   Keyring::bucket_key -> BucketKey
//!     data key    one per object        BucketKey::{wrap_data_key, unwrap_data_key}
//! ```
//!
//! A [`Keyring`] holds the roots and an audit sink; nothing reaches a master key but through it.
//! The bytes are those of `docs/FORMAT.md`, sections 3 and 4; rules are cited as F-nn.

mod bucket_key;
mod bucket_record;
mod cache;
mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod context;
mod control;
mod counters;
mod data_key;
mod data_record;
mod derive;
mod error;
mod held;
mod keyring;
mod master;
mod prf;
mod roots;
#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use bucket_key::{BucketKey, Purpose, UnwrapRequest, WrapRequest};
pub use bucket_record::{BucketKeyRecord, KeyState, Wrap};
pub use cache::CacheStats;
pub use clock::{BootClock, Clock};
pub use context::{
    Context, Mode, check_encryption_context, decode_encryption_context, encode_encryption_context,
    kms_key_id,
};
pub use control::{ControlRing, MasterStates, MasterVersionState};
pub use data_key::DataKey;
pub use data_record::{DataKeyInfo, DataKeyRecord, RecordState};
pub use error::KeyError;
pub use keyring::{Evidence, KeySource, Keyring, KeyringConfig, Request, Rewrapped};
pub use master::{MasterKey, MasterKeyError, Strategy, WrappedSecret};
pub use roots::{RootInfo, RootState};

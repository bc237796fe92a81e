//! Secrets as types: locked, wiped on drop, never printed, never cloned, compared in constant time.
//!
//! A [`Secret`] or [`SecretBytes`] is a handle to a slot of an arena: pages that are locked in RAM
//! (`mlock`, so they reach no swap device) and left out of core dumps (`MADV_DONTDUMP`). Moving the
//! handle moves a pointer, never the bytes, so no forgotten copy stays on a stack. The slot is wiped
//! when the handle is dropped and used again afterwards; thousands of keys cost a few pages.
//!
//! What this does not do: code that reads [`Secret::expose`] may copy, and expanded key schedules
//! are ordinary memory that their owners wipe. Against a debugger of the same user there is only
//! [`harden_process`].
//!
//! **Fork.** The pages are private and anonymous: a child has copies of its own (not locked: the
//! kernel does not inherit locks), and what either process wipes or writes the other does not see.
//! `memfd_secret` would hide the pages from the kernel's own mappings too, but it exists only as a
//! *shared* mapping: a child that drops its handle would wipe the parent's key. As everywhere, a
//! child forked from a process of several threads may do nothing but `exec`.

use std::{fmt, io};

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

mod arena;

pub use arena::{allow_unlocked, lock_limit_check};

/// `N` secret bytes (at most 4,096) in locked memory.
pub struct Secret<const N: usize> {
    slot: arena::Slot,
}

impl<const N: usize> Secret<N> {
    /// All bytes zero.
    ///
    /// # Errors
    /// [`SecretError::Locked`] or [`SecretError::Map`]: the kernel gives no more locked memory.
    pub fn zeroed() -> Result<Self, SecretError> {
        const { assert!(N <= MAX_LEN, "a secret has at most 4,096 bytes") };
        arena::Slot::zeroed(N).map(|slot| Self { slot })
    }

    /// Fresh from the kernel's random source (F-06).
    ///
    /// # Errors
    /// As [`Secret::zeroed`], and [`SecretError::Random`].
    pub fn random() -> Result<Self, SecretError> {
        let mut secret = Self::zeroed()?;
        getrandom::fill(secret.expose_mut()).map_err(SecretError::Random)?;
        Ok(secret)
    }

    /// Copies `source` and wipes it, also on failure.
    ///
    /// # Errors
    /// As [`Secret::zeroed`].
    pub fn take(source: &mut [u8; N]) -> Result<Self, SecretError> {
        let secret = Self::zeroed().map(|mut secret| {
            secret.expose_mut().copy_from_slice(source);
            secret
        });
        source.zeroize();
        secret
    }

    /// The bytes. Do not copy them to where nobody wipes them.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        self.slot
            .bytes()
            .first_chunk()
            .expect("the slot was made for N bytes")
    }

    /// The bytes, to fill in.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        self.slot
            .bytes_mut()
            .first_chunk_mut()
            .expect("the slot was made for N bytes")
    }
}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.expose().as_slice().ct_eq(other.expose().as_slice())
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

/// Secret bytes of a length known at run time, such as a PIN: at most 4,096, in locked memory.
pub struct SecretBytes {
    slot: arena::Slot,
}

impl SecretBytes {
    /// Copies `source` and wipes it (its whole capacity), also on failure.
    ///
    /// # Errors
    /// [`SecretError::TooLong`], or as [`Secret::zeroed`].
    pub fn take(mut source: Vec<u8>) -> Result<Self, SecretError> {
        let secret = if source.len() > MAX_LEN {
            Err(SecretError::TooLong { len: source.len() })
        } else {
            arena::Slot::zeroed(source.len()).map(|mut slot| {
                slot.bytes_mut().copy_from_slice(&source);
                Self { slot }
            })
        };
        source.zeroize();
        secret
    }

    /// The bytes. Do not copy them to where nobody wipes them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.slot.bytes()
    }
}

impl ConstantTimeEq for SecretBytes {
    /// Constant time for equal lengths; the length itself is not hidden.
    fn ct_eq(&self, other: &Self) -> Choice {
        self.expose().ct_eq(other.expose())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// Why a secret could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The limit on locked memory is too small.
    #[error(
        "cannot lock {wanted} more bytes of memory for keys: the limit is {}; raise it with \
         `ulimit -l`, LimitMEMLOCK= in a systemd unit, or --ulimit memlock= of a container",
        limit.map_or("not the cause".to_owned(), |bytes| format!("{bytes} bytes"))
    )]
    Locked {
        /// Bytes that were asked for on top of what is locked already.
        wanted: usize,
        /// `RLIMIT_MEMLOCK` in bytes; none if unlimited, then the kernel is short of memory.
        limit: Option<u64>,
    },
    /// The kernel gives no memory at all, or refuses a setting of this process.
    #[error("the kernel refused memory or a process setting for keys: {0}")]
    Map(#[source] io::Error),
    /// The kernel's random source cannot be read.
    #[error("the kernel's random source cannot be read: {0}")]
    Random(#[source] getrandom::Error),
    /// More bytes than a secret can have.
    #[error("a secret has at most {MAX_LEN} bytes, not {len}")]
    TooLong {
        /// Bytes that were given.
        len: usize,
    },
}

/// No core dumps and no debugger of the same user from here on: `PR_SET_DUMPABLE` 0 and
/// `RLIMIT_CORE` 0. For a program's first lines; a library does not call it for its host.
///
/// # Errors
/// [`SecretError::Map`]: the kernel refuses.
pub fn harden_process() -> Result<(), SecretError> {
    let refused = |errno: rustix::io::Errno| SecretError::Map(errno.into());
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(refused)
}

/// Longest secret in bytes: the largest slot of an arena.
const MAX_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn take_wipes_its_source() {
        let mut source = [7; 32];
        let secret = Secret::take(&mut source).unwrap();
        assert_eq!(source, [0; 32]);
        assert_eq!(secret.expose(), &[7; 32]);
    }

    #[test]
    fn nothing_is_printed() {
        let secret = Secret::take(&mut [0xAB; 4]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret<4>(..)");
        let pin = SecretBytes::take(b"123456".to_vec()).unwrap();
        assert_eq!(format!("{pin:?}"), "SecretBytes(..)");
    }

    #[test]
    fn equality_is_over_all_bytes() {
        let a = Secret::take(&mut [1; 33]).unwrap();
        let mut b = Secret::take(&mut [1; 33]).unwrap();
        assert!(bool::from(a.ct_eq(&b)));
        b.expose_mut()[32] ^= 1;
        assert!(!bool::from(a.ct_eq(&b)));
        let short = SecretBytes::take(vec![1; 2]).unwrap();
        let long = SecretBytes::take(vec![1; 3]).unwrap();
        assert!(!bool::from(short.ct_eq(&long)));
    }

    #[test]
    fn secrets_of_any_length_up_to_a_page() {
        for len in [0, 1, 31, 32, 33, 63, 64, 65, 4095, 4096] {
            let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            assert_eq!(SecretBytes::take(bytes.clone()).unwrap().expose(), bytes);
        }
        assert!(matches!(
            SecretBytes::take(vec![0; 4097]),
            Err(SecretError::TooLong { len: 4097 })
        ));
    }

    #[test]
    fn a_new_secret_never_shows_an_old_one() {
        drop(Secret::take(&mut [0xEE; 64]).unwrap());
        for _ in 0..1000 {
            assert_eq!(Secret::<64>::zeroed().unwrap().expose(), &[0; 64]);
        }
    }

    #[test]
    fn live_secrets_do_not_overlap() {
        let mut all: Vec<Secret<32>> = (0..5000).map(|_| Secret::zeroed().unwrap()).collect();
        for (i, secret) in all.iter_mut().enumerate() {
            secret.expose_mut()[..8].copy_from_slice(&(i as u64).to_le_bytes());
        }
        for (i, secret) in all.iter().enumerate() {
            assert_eq!(secret.expose()[..8], (i as u64).to_le_bytes());
        }
    }

    #[test]
    fn secrets_may_be_made_and_dropped_by_many_threads() {
        std::thread::scope(|scope| {
            for mark in 1..=4 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let secret = Secret::take(&mut [mark; 48]).unwrap();
                        assert_eq!(secret.expose(), &[mark; 48]);
                    }
                });
            }
        });
    }
}

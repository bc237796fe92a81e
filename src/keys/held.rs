//! What one unwrapped secret gives, for as long as it may be held.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::clock::Clock;
use super::derive::{scrubbed, scrubbed_deeply};
use super::error::KeyError;
use super::prf::{LockedPrf, Prf};
use crate::id::BucketId;
use crate::secret::Secret;

/// The keys that follow from the secret of a bucket key record (F-60, F-62, F-91).
pub(super) struct Keys {
    pub(super) kek: Kek,
    /// None where the KEK is a key file's.
    bucket: Option<BucketKeys>,
}

/// A KEK keys the PRF and nothing else (F-48).
pub(super) enum Kek {
    /// A bucket's, for many records.
    Expanded(LockedPrf),
    /// A key file's, for few.
    Plain(Secret<32>),
}

impl Kek {
    /// For one operation, or a few.
    pub(super) fn prf(&self) -> Prf {
        match self {
            Self::Expanded(prf) => prf.get(),
            Self::Plain(key) => Prf::new(key.expose()),
        }
    }
}

struct BucketKeys {
    meta: Secret<32>,
    state: Secret<32>,
}

impl Keys {
    /// Derives all keys, and the check that a record made from this secret has.
    pub(super) fn derive(
        secret: &Secret<32>,
        bucket: BucketId,
        generation: u32,
    ) -> Result<(Self, [u8; 32]), KeyError> {
        scrubbed(|| {
            let mut ctx = [0; 20];
            ctx[..16].copy_from_slice(&bucket.0);
            ctx[16..].copy_from_slice(&generation.to_le_bytes());
            let mut pair = Zeroizing::new([[0; 32]; 2]);
            let prf = Prf::new(secret.expose());
            prf.kdf(b"sr-bkt-1", &ctx, &mut pair);
            let [kek, check] = &*pair;
            let kek = Kek::Expanded(LockedPrf::new(kek)?);
            let one = |label| -> Result<_, KeyError> {
                let mut key = Zeroizing::new([[0; 32]]);
                prf.kdf(label, &ctx, &mut key);
                Ok(Secret::take(&mut key[0])?)
            };
            let keys = Self {
                kek,
                bucket: Some(BucketKeys {
                    meta: one(b"sr-meta-1")?,
                    state: one(b"sr-bst-1")?,
                }),
            };
            Ok((keys, *check))
        })
    }

    /// A key file's key is a KEK and nothing else (F-97).
    pub(super) const fn of_key_file(key: Secret<32>) -> Self {
        Self {
            kek: Kek::Plain(key),
            bucket: None,
        }
    }

    /// K_meta (F-91).
    pub(super) fn meta(&self) -> Result<&Secret<32>, KeyError> {
        let keys = self.bucket.as_ref().ok_or(KeyError::NotPermitted)?;
        Ok(&keys.meta)
    }

    /// HMAC under the key of the state tag (F-62); `body` begins with a magic of its own.
    pub(super) fn tag(&self, body: &[u8]) -> Result<[u8; 32], KeyError> {
        let keys = self.bucket.as_ref().ok_or(KeyError::NotPermitted)?;
        Ok(Prf::new(keys.state.expose()).mac(&[body]))
    }

    /// Whether `tag` is that of `body`, in constant time.
    pub(super) fn verify_tag(&self, body: &[u8], tag: &[u8; 32]) -> Result<bool, KeyError> {
        Ok(self.tag(body)?.ct_eq(tag).into())
    }
}

/// A bucket key's bytes in the cache. They are gone at `expires` for every user at once, however
/// many handles there are.
pub(super) struct Held {
    pub(super) bucket: BucketId,
    pub(super) generation: u32,
    pub(super) expires: Duration,
    keys: RwLock<Option<Keys>>,
    clock: Arc<dyn Clock>,
    /// Wraps under this generation by this keyring; shared with earlier and later loads.
    pub(super) wraps: Arc<AtomicU64>,
    pub(super) wrap_limit: u64,
    principals: RwLock<HashSet<Box<str>>>,
    alarmed: AtomicBool,
}

impl Held {
    pub(super) fn new(
        bucket: BucketId,
        generation: u32,
        keys: Keys,
        expires: Duration,
        clock: Arc<dyn Clock>,
        wraps: Arc<AtomicU64>,
        wrap_limit: u64,
    ) -> Self {
        Self {
            bucket,
            generation,
            expires,
            keys: RwLock::new(Some(keys)),
            clock,
            wraps,
            wrap_limit,
            principals: RwLock::default(),
            alarmed: AtomicBool::new(false),
        }
    }

    /// Runs `work` with the keys, if they may still be used.
    pub(super) fn with<R>(
        &self,
        work: impl FnOnce(&Keys) -> Result<R, KeyError>,
    ) -> Result<R, KeyError> {
        let keys = self.usable()?;
        scrubbed(|| work(keys.as_ref().ok_or(KeyError::Expired)?))
    }

    /// [`Held::with`], for work on several records side by side, which reaches deeper into the stack.
    pub(super) fn with_for_several<R>(
        &self,
        work: impl FnOnce(&Keys) -> Result<R, KeyError>,
    ) -> Result<R, KeyError> {
        let keys = self.usable()?;
        scrubbed_deeply(|| work(keys.as_ref().ok_or(KeyError::Expired)?))
    }

    fn usable(&self) -> Result<RwLockReadGuard<'_, Option<Keys>>, KeyError> {
        if self.has_expired(self.clock.now()) {
            self.wipe();
            return Err(KeyError::Expired);
        }
        Ok(self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_expired(&self, now: Duration) -> bool {
        now >= self.expires
    }

    /// Wipes the keys now; whoever uses them at this moment is waited for.
    pub(super) fn wipe(&self) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts one wrap, or refuses it.
    pub(super) fn count_wrap(&self) -> Result<(), KeyError> {
        self.wraps
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < self.wrap_limit).then_some(count + 1)
            })
            .map(drop)
            .map_err(|_| KeyError::Exhausted)
    }

    /// Whether this principal's use of this load is on record. Beyond [`MAX_PRINCIPALS`] none is
    /// remembered: the trail then says too much rather than too little.
    pub(super) fn is_use_recorded(&self, principal: &str) -> bool {
        let principals = self.principals.read();
        principals
            .unwrap_or_else(PoisonError::into_inner)
            .contains(principal)
    }

    /// Remembers that it is.
    pub(super) fn use_is_recorded(&self, principal: &str) {
        let principals = self.principals.write();
        let mut principals = principals.unwrap_or_else(PoisonError::into_inner);
        if principals.len() < MAX_PRINCIPALS {
            principals.insert(principal.into());
        }
    }

    /// Whether an alarm about this load's state is on record; others would say the same.
    pub(super) fn is_alarm_recorded(&self) -> bool {
        self.alarmed.load(Ordering::Relaxed)
    }

    /// Remembers that it is.
    pub(super) fn alarm_is_recorded(&self) {
        self.alarmed.store(true, Ordering::Relaxed);
    }
}

const MAX_PRINCIPALS: usize = 1024;

//! Doubles and fixed keys for tests. Behind the `conformance` feature; never in a default build.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::bucket_key::Tier;
use super::derive::{kw_unwrap, kw_wrap, kwp_unwrap, kwp_wrap};
use super::held::{Held, Keys};
use super::master::{MasterKey, MasterKeyError, Strategy, WrappedSecret};
use super::{BucketKey, Clock, Context, DataKey, KeyError, Purpose, RecordState};
use crate::id::{BucketId, RootId};
use crate::secret::Secret;

/// A master key in the process's own memory, **which is what an HSM is there to prevent**: a double
/// for tests, with faults that can be switched on.
pub struct SoftMasterKey {
    root: RootId,
    strategy: Strategy,
    state: Mutex<State>,
    calls: AtomicU64,
}

struct State {
    versions: BTreeMap<u32, [u8; 32]>,
    active: u32,
    fault: Fault,
}

/// How a [`SoftMasterKey`] misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// Answers correctly, after a while.
    Slow(Duration),
    /// The token is away: fails at once.
    Unavailable,
    /// The token is away: fails when this long has passed.
    Hanging(Duration),
    /// Answers unwraps with other bytes than were wrapped.
    WrongBytes,
    /// Panics in the middle of a call.
    Panic,
}

impl SoftMasterKey {
    /// A root that wraps by plain key wrap, with a version 1 that follows from the root's id.
    #[must_use]
    pub fn new(root: RootId) -> Self {
        Self::with_version(root, Strategy::Kw, 1, version_key(root, 1))
    }

    /// A root with one version of a known key.
    #[must_use]
    pub fn with_version(root: RootId, strategy: Strategy, version: u32, key: [u8; 32]) -> Self {
        Self {
            root,
            strategy,
            state: Mutex::new(State {
                versions: BTreeMap::from([(version, key)]),
                active: version,
                fault: Fault::None,
            }),
            calls: AtomicU64::new(0),
        }
    }

    /// Misbehaves from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// Adds the next version and makes it the active one; returns it.
    pub fn rotate(&self) -> u32 {
        let mut state = self.lock();
        let next = state.active + 1;
        state.versions.insert(next, version_key(self.root, next));
        state.active = next;
        next
    }

    /// Loses a version, as a token does whose key was destroyed.
    pub fn lose(&self, version: u32) {
        self.lock().versions.remove(&version);
    }

    /// How many calls reached the token.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and suffers the fault.
    fn enter(&self, function: &'static str) -> Result<Fault, MasterKeyError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = self.lock().fault;
        match fault {
            Fault::None | Fault::WrongBytes => {}
            Fault::Slow(time) => std::thread::sleep(time),
            Fault::Unavailable => {
                return Err(MasterKeyError::Unavailable {
                    function,
                    code: 0x30,
                });
            }
            Fault::Hanging(time) => {
                std::thread::sleep(time);
                return Err(MasterKeyError::TimedOut { function });
            }
            Fault::Panic => panic!("the planted panic of a master key double"),
        }
        Ok(fault)
    }

    fn key(&self, version: u32) -> Result<[u8; 32], MasterKeyError> {
        let state = self.lock();
        let key = state.versions.get(&version);
        key.copied().ok_or(MasterKeyError::KeyMissing { version })
    }

    fn open(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError> {
        let key = self.key(version)?;
        let mut secret = Secret::<32>::zeroed()?;
        match self.strategy {
            Strategy::Kw => kw_unwrap::<5>(&key, blob, secret.expose_mut()),
            Strategy::Kwp => kwp_unwrap(&key, blob)
                .and_then(|plain| plain.try_into().map_err(|_| KeyError::Unauthentic))
                .map(|plain| *secret.expose_mut() = plain),
        }
        .map_err(|_| MasterKeyError::Rejected)?;
        Ok(secret)
    }

    fn close(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError> {
        let key = self.key(version)?;
        let mut blob = [0; 40];
        match self.strategy {
            Strategy::Kw => kw_wrap::<5>(&key, secret.expose(), &mut blob),
            Strategy::Kwp => {
                let wrapped = kwp_wrap(&key, secret.expose()).expect("32 bytes can be wrapped");
                blob.copy_from_slice(&wrapped);
            }
        }
        Ok(blob)
    }
}

impl MasterKey for SoftMasterKey {
    fn root(&self) -> RootId {
        self.root
    }

    fn strategy(&self) -> Strategy {
        self.strategy
    }

    fn active_version(&self) -> u32 {
        self.lock().active
    }

    fn versions(&self) -> Vec<u32> {
        self.lock().versions.keys().copied().collect()
    }

    fn wrap(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError> {
        self.enter("wrap")?;
        self.close(version, secret)
    }

    fn unwrap(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError> {
        let fault = self.enter("unwrap")?;
        let mut secret = self.open(version, blob)?;
        if fault == Fault::WrongBytes {
            secret.expose_mut()[31] ^= 1;
        }
        Ok(secret)
    }

    fn rewrap(
        &self,
        from: u32,
        to: u32,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, MasterKeyError> {
        self.enter("rewrap")?;
        self.close(to, &self.open(from, blob)?)
    }

    fn random(&self) -> Result<Secret<32>, MasterKeyError> {
        self.enter("random")?;
        Ok(Secret::random()?)
    }

    fn health(&self) -> Result<(), MasterKeyError> {
        self.enter("health").map(drop)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).expect("tests last less than 584 years");
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// The bucket key of a known secret, for every purpose and without end; of generation 0 the direct
/// tier's, whose `bucket` is the instance.
///
/// # Errors
/// Locked memory is not to be had.
pub fn bucket_key(
    mut secret: [u8; 32],
    bucket: BucketId,
    generation: u32,
) -> Result<BucketKey, KeyError> {
    let (keys, _) = Keys::derive(&Secret::take(&mut secret)?, bucket, generation)?;
    let held = Held::new(
        bucket,
        generation,
        keys,
        Duration::MAX,
        Arc::new(ManualClock::default()),
        Arc::new(AtomicU64::new(0)),
        u64::MAX,
    );
    let tier = if generation == 0 {
        Tier::Direct
    } else {
        Tier::Bucket
    };
    Ok(BucketKey::new(Arc::new(held), tier, Purpose::Wrap))
}

/// A data key of known bytes.
///
/// # Errors
/// Locked memory is not to be had.
pub fn data_key(mut bytes: [u8; 32]) -> Result<DataKey, KeyError> {
    Ok(DataKey::new(Secret::take(&mut bytes)?))
}

/// The bytes of a data key.
#[must_use]
pub fn data_key_bytes(key: &DataKey) -> [u8; 32] {
    *key.secret().expose()
}

/// [`BucketKey::wrap_data_key`] under a given salt, so that records can be compared with vectors.
///
/// # Errors
/// As the method.
pub fn wrap_data_key_with_salt(
    key: &BucketKey,
    dk: &DataKey,
    ctx: &Context<'_>,
    customer: Option<&Secret<32>>,
    state: RecordState,
    manifest_digest: [u8; 32],
    salt: &[u8; 32],
) -> Result<Vec<u8>, KeyError> {
    key.wrap_with_salt(dk, ctx, customer, state, manifest_digest, salt)
}

fn version_key(root: RootId, version: u32) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(b"not an HSM");
    hash.update(root.0);
    hash.update(version.to_le_bytes());
    hash.finalize().into()
}

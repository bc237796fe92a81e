//! The keyring: the roots, the cache of bucket keys, and the audit trail that sees every use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::bucket_key::{BucketKey, Purpose, Tier};
use super::bucket_record::{BucketKeyRecord, KeyState, Wrap};
use super::cache::{Cache, CacheKey, CacheStats, Limits};
use super::clock::{BootClock, Clock};
use super::control::{ControlRing, MasterStates};
use super::counters::WrapCounters;
use super::error::KeyError;
use super::held::{Held, Keys};
use super::master::{MasterKey, WrappedSecret};
use super::roots::{RootInfo, RootState, Roots, Subject};
use crate::audit::{Outcome, Sink, name};
use crate::id::{BucketId, InstanceId, RootId};

/// How a keyring holds keys. The defaults are right for a daemon.
#[derive(Clone)]
pub struct KeyringConfig {
    /// How long an unwrapped bucket key may be used, whoever uses it and however often: 5 minutes,
    /// and at most that.
    pub ttl: Duration,
    /// How many bucket keys are held at once; three secrets of 32 bytes each. 4,096.
    pub capacity: usize,
    /// How many data keys this process wraps under one generation before it demands a new one:
    /// 2^28. Format 1 allows 2^32 over all processes that ever wrap under it, and a process knows
    /// only its own count, from 0 at every start; sixteen starts that each reach the limit stay
    /// within. Divide further where more daemons write to one bucket. The format's limit is itself
    /// far below any bound of the algorithms: each wrap has a key of its own.
    pub wrap_limit: u64,
    /// How long a failed load is remembered: 1 second.
    pub failure_ttl: Duration,
    /// How long a request waits for another's load of the same key: 2 seconds.
    pub wait: Duration,
    /// Roots that wrap only where they are named, as SSE-KMS names them; all others are primary. None.
    pub named_only: Vec<RootId>,
    /// The clock that time to live is measured by.
    pub clock: Arc<dyn Clock>,
}

impl Default for KeyringConfig {
    fn default() -> Self {
        Self {
            ttl: MAX_TTL,
            capacity: 4096,
            wrap_limit: 1 << 28,
            failure_ttl: Duration::from_secs(1),
            wait: Duration::from_secs(2),
            named_only: Vec::new(),
            clock: Arc::new(BootClock),
        }
    }
}

impl fmt::Debug for KeyringConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringConfig")
            .field("ttl", &self.ttl)
            .field("capacity", &self.capacity)
            .field("wrap_limit", &self.wrap_limit)
            .field("failure_ttl", &self.failure_ttl)
            .field("wait", &self.wait)
            .field("named_only", &self.named_only)
            .finish_non_exhaustive()
    }
}

/// What a request wants of a bucket key, and what the catalog says about it now.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the key is for.
    pub purpose: Purpose,
    /// Revision and state of the key in the catalog, read together with the record. None only where
    /// there is no catalog.
    pub expected: Option<(u64, KeyState)>,
    /// The states of master key versions, read together with the record. None: all may be used.
    pub masters: Option<&'a MasterStates>,
    /// For whom; goes to the audit trail.
    pub principal: &'a str,
}

impl Request<'_> {
    /// A request of nobody in particular, where no catalog and no master states are kept.
    #[must_use]
    pub const fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            expected: None,
            masters: None,
            principal: "",
        }
    }
}

/// A rewrapped bucket key record, and the proof of what was done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rewrapped {
    /// The record to store in the place of the one that was given; equal to it if every wrap was
    /// under its root's active version already.
    pub record: Vec<u8>,
    /// One entry for each wrap that moved (F-70). The old blobs open while the old version exists:
    /// keep them as long as the evidence is wanted, and not beyond a shred.
    pub evidence: Vec<Evidence>,
}

/// Wrapping what `new` holds under `from` gives `old` again: checked in the token when it moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// The root.
    pub root: RootId,
    /// The version it was under.
    pub from: u32,
    /// The version it is under.
    pub to: u32,
    /// The wrap that was replaced.
    pub old: WrappedSecret,
    /// The wrap in its place.
    pub new: WrappedSecret,
}

/// Where bucket key records come from: the vault's key store, or a map the embedding program keeps.
pub trait KeySource: Send + Sync {
    /// The record of a bucket key, as it is now.
    ///
    /// # Errors
    /// The store could not be read; transient errors are reported as such.
    fn bucket_key(&self, bucket: BucketId, generation: u32) -> Result<Option<Vec<u8>>, KeyError>;
}

/// Everything that leads from a master key to a bucket key.
///
/// **Bytes are cached, rights never.** Each request brings the record as it is in the store now, and
/// what the catalog says about it; the keyring checks state and tag every time and takes only the
/// unwrapped bytes from its cache. So a key that is disabled is refused by the very next request.
///
/// **Time to live.** No key is used once [`KeyringConfig::ttl`] has passed since it was loaded; each
/// use compares with the clock. Its bytes are wiped at that moment or soon after: by any later
/// access of the keyring, by a use of that key, or by [`Keyring::purge_expired`]. A program whose
/// keyring can stay idle calls that from a timer (the daemon does so every second); otherwise bytes
/// can outlive their time, unusable, until the next access. Dropping the keyring wipes everything.
///
/// **HSM away.** Keys in the cache go on until their time ends. Everything else fails: within the
/// deadline of the roots the first time, at once for a second afterwards.
///
/// **Several roots.** A record names each root that wraps it and any of them opens it. A root that
/// failed a moment ago is asked last.
pub struct Keyring {
    roots: Roots,
    cache: Cache,
    counters: WrapCounters,
    config: KeyringConfig,
}

impl Keyring {
    /// A keyring over `roots`. Each is probed with a known answer: one that is wrongly set up ends
    /// the start, one that is away does only if no other primary one answers.
    ///
    /// # Errors
    /// [`KeyError::Configuration`]: no primary root, one twice, more than eight, or a bad `config`.
    /// [`KeyError::Hsm`]: as the probes said.
    pub fn new(
        roots: Vec<Arc<dyn MasterKey>>,
        sink: Arc<dyn Sink>,
        config: KeyringConfig,
    ) -> Result<Self, KeyError> {
        if config.ttl.is_zero() || config.ttl > MAX_TTL {
            return Err(KeyError::Configuration(
                "bucket keys are held for more than no time and at most 5 minutes",
            ));
        }
        if config.capacity == 0 {
            return Err(KeyError::Configuration("the cache has no room"));
        }
        let limits = Limits {
            capacity: config.capacity,
            failure_ttl: config.failure_ttl,
            wait: config.wait,
        };
        Ok(Self {
            roots: Roots::probe(roots, &config.named_only, sink, config.clock.clone())?,
            cache: Cache::new(limits, config.clock.clone()),
            counters: WrapCounters::default(),
            config,
        })
    }

    /// The roots, in order of their ids.
    #[must_use]
    pub fn roots(&self) -> Vec<RootInfo> {
        self.roots.infos()
    }

    /// Says whether a root is used at all, from the next request on. It is kept by this process alone:
    /// whoever starts one says it again.
    ///
    /// # Errors
    /// [`KeyError::NoRoot`]. [`KeyError::Audit`]: a root that was to be enabled is not, one that was to
    /// be stopped is stopped.
    pub fn set_root_state(
        &self,
        root: RootId,
        state: RootState,
        principal: &str,
    ) -> Result<(), KeyError> {
        self.roots.set_state(root, state, principal)
    }

    /// Makes the key of a bucket's generation and gives its record, wrapped by every primary root:
    /// 99 + 61 n bytes (F-61). Each generation belongs to one set of roots (F-68).
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: generation 0, or the control ring's id. [`KeyError::Hsm`]: not every
    /// root wrapped it. [`KeyError::RootDisabled`], [`KeyError::RootPendingDeletion`].
    pub fn create_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        principal: &str,
    ) -> Result<Vec<u8>, KeyError> {
        if bucket == CONTROL_RING {
            return Err(IS_CONTROL_RING);
        }
        self.create_numbered(bucket, generation, None, principal)
    }

    /// As [`Keyring::create_bucket_key`], wrapped by these roots and no other: one to eight.
    ///
    /// # Errors
    /// As [`Keyring::create_bucket_key`]; [`KeyError::NoRoot`].
    pub fn create_bucket_key_under(
        &self,
        bucket: BucketId,
        generation: u32,
        roots: &[RootId],
        principal: &str,
    ) -> Result<Vec<u8>, KeyError> {
        if bucket == CONTROL_RING {
            return Err(IS_CONTROL_RING);
        }
        self.create_numbered(bucket, generation, Some(roots), principal)
    }

    /// Makes a generation of the control ring's key (F-73).
    ///
    /// # Errors
    /// As [`Keyring::create_bucket_key`].
    pub fn create_control_ring(
        &self,
        generation: u32,
        principal: &str,
    ) -> Result<Vec<u8>, KeyError> {
        self.create_numbered(CONTROL_RING, generation, None, principal)
    }

    /// Makes a key for one object instance alone (F-69), with its record: the direct tier, which
    /// asks the HSM for every object and caches nothing.
    ///
    /// # Errors
    /// As [`Keyring::create_bucket_key`].
    pub fn create_direct_key(
        &self,
        instance: InstanceId,
        principal: &str,
    ) -> Result<(Vec<u8>, BucketKey), KeyError> {
        let (record, keys) = self.create(BucketId(instance.0), 0, None, principal)?;
        let held = Arc::new(self.hold(&record, keys));
        self.cache.watch(&held);
        let key = BucketKey::new(held, Tier::Direct, Purpose::Wrap);
        Ok((record.encode(), key))
    }

    /// The bucket key of a record that was just read from the store, for one purpose.
    ///
    /// # Errors
    /// See [`Keyring::bucket_key_for`].
    pub fn bucket_key(
        &self,
        record: &[u8],
        expected: Option<(u64, KeyState)>,
        purpose: Purpose,
    ) -> Result<Arc<BucketKey>, KeyError> {
        self.bucket_key_for(
            record,
            &Request {
                expected,
                ..Request::new(purpose)
            },
        )
    }

    /// As [`Keyring::bucket_key`], for a principal, and with the states of master keys.
    ///
    /// # Errors
    /// By the record's structure [`KeyError::Malformed`], [`KeyError::Unsupported`],
    /// [`KeyError::NoRoot`], [`KeyError::StrategyConflict`]; by its state [`KeyError::Disabled`],
    /// [`KeyError::Shredded`], [`KeyError::UnwrapOnly`], [`KeyError::StateConflict`]; by its wraps
    /// [`KeyError::Unauthentic`], [`KeyError::Hsm`]; [`KeyError::Audit`].
    pub fn bucket_key_for(
        &self,
        record: &[u8],
        request: &Request<'_>,
    ) -> Result<Arc<BucketKey>, KeyError> {
        let record = numbered(record)?;
        if record.bucket == CONTROL_RING {
            return Err(IS_CONTROL_RING);
        }
        let held = self.authorize(&record, Tier::Bucket, request)?;
        Ok(Arc::new(BucketKey::new(
            held,
            Tier::Bucket,
            request.purpose,
        )))
    }

    /// The key of a direct tier record, for its object instance.
    ///
    /// # Errors
    /// As [`Keyring::bucket_key_for`]; [`KeyError::Unauthentic`] if the record is not of `instance`.
    pub fn direct_key(
        &self,
        record: &[u8],
        instance: InstanceId,
        request: &Request<'_>,
    ) -> Result<Arc<BucketKey>, KeyError> {
        let record = BucketKeyRecord::parse(record)?;
        if record.generation != 0 {
            return Err(KeyError::Malformed(
                "a direct tier record is of generation 0",
            ));
        }
        if record.bucket.0 != instance.0 {
            return Err(KeyError::Unauthentic);
        }
        let held = self.authorize(&record, Tier::Direct, request)?;
        Ok(Arc::new(BucketKey::new(
            held,
            Tier::Direct,
            request.purpose,
        )))
    }

    /// The control ring of a record (F-73): its key authenticates the states of master versions.
    ///
    /// # Errors
    /// As [`Keyring::bucket_key_for`].
    pub fn control_ring(
        &self,
        record: &[u8],
        request: &Request<'_>,
    ) -> Result<ControlRing, KeyError> {
        let record = numbered(record)?;
        if record.bucket != CONTROL_RING {
            return Err(KeyError::Malformed("not the control ring's record"));
        }
        let held = self.authorize(&record, Tier::Bucket, request)?;
        Ok(ControlRing::new(held, request.purpose))
    }

    /// The record in another state, with the next revision and a new tag; for the store to put in
    /// its place by compare-and-swap, and for the catalog to repeat. A shredded record keeps no
    /// wrap: its blobs are zero, and what is left is a tombstone.
    ///
    /// # Errors
    /// [`KeyError::Shredded`]: there is no way back. [`KeyError::Disabled`]: the state as it is has
    /// no valid tag. Otherwise as [`Keyring::bucket_key_for`].
    pub fn set_state(
        &self,
        record: &[u8],
        state: KeyState,
        principal: &str,
    ) -> Result<Vec<u8>, KeyError> {
        let mut record = BucketKeyRecord::parse(record)?;
        if record.state == KeyState::Shredded {
            return Err(KeyError::Shredded);
        }
        let request = Request {
            principal,
            ..Request::new(Purpose::Wrap)
        };
        let held = self.load(&record, Tier::Bucket, &request)?;
        if !held.with(|keys| keys.verify_tag(&record.body(), &record.tag))? {
            return Err(KeyError::Disabled);
        }
        record.rev = record
            .rev
            .checked_add(1)
            .ok_or(KeyError::Malformed("the last revision is reached"))?;
        record.state = state;
        record.tag = held.with(|keys| keys.tag(&record.body()))?;
        if state == KeyState::Shredded {
            record.wraps.iter_mut().for_each(|wrap| wrap.blob = [0; 40]);
        }
        let event = match state {
            KeyState::Active => name::ENABLE_KEY,
            KeyState::UnwrapOnly => name::RESTRICT_KEY,
            KeyState::Disabled => name::DISABLE_KEY,
            KeyState::Shredded => name::SHRED_KEY,
        };
        let mut event = Subject::of(&record, principal).event(event);
        event.details.push(("rev", record.rev.to_string()));
        self.roots.record(event)?;
        if state >= KeyState::Disabled {
            self.cache.purge(Some((record.bucket, record.generation)));
        }
        Ok(record.encode())
    }

    /// Moves every wrap to the active version of its root, inside the token (F-70). State, revision
    /// and tag stay; the secret does, and with it every data key record. Wraps of roots that are
    /// not configured here stay as they are.
    ///
    /// # Errors
    /// [`KeyError::Hsm`]: a wrap did not move; the record that was given is still the one to keep.
    pub fn rewrap(&self, record: &[u8], principal: &str) -> Result<Rewrapped, KeyError> {
        let mut record = BucketKeyRecord::parse(record)?;
        if record.state == KeyState::Shredded {
            return Err(KeyError::Shredded);
        }
        self.roots.usable(&record, None)?;
        let subject = Subject::of(&record, principal);
        let mut evidence = Vec::new();
        for wrap in &mut record.wraps {
            if let Some((to, new)) = self.roots.rewrap(&subject, wrap)? {
                evidence.push(Evidence {
                    root: wrap.root,
                    from: wrap.version,
                    to,
                    old: wrap.blob,
                    new,
                });
                (wrap.version, wrap.blob) = (to, new);
            }
        }
        Ok(Rewrapped {
            record: record.encode(),
            evidence,
        })
    }

    /// Wipes the keys whose time has ended, and says how long until the next one's does; none if no
    /// key is held. For a timer: see [`Keyring`].
    pub fn purge_expired(&self) -> Option<Duration> {
        self.cache.purge_expired()
    }

    /// Wipes every key now. Requests that are using one end with [`KeyError::Expired`].
    pub fn purge(&self) {
        self.cache.purge(None);
    }

    /// What the cache did and holds.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    fn create_numbered(
        &self,
        bucket: BucketId,
        generation: u32,
        roots: Option<&[RootId]>,
        principal: &str,
    ) -> Result<Vec<u8>, KeyError> {
        if generation == 0 {
            return Err(GENERATION_0);
        }
        let (record, _) = self.create(bucket, generation, roots, principal)?;
        Ok(record.encode())
    }

    fn create(
        &self,
        bucket: BucketId,
        generation: u32,
        roots: Option<&[RootId]>,
        principal: &str,
    ) -> Result<(BucketKeyRecord, Keys), KeyError> {
        let roots = self.roots.to_wrap(roots)?;
        let subject = Subject {
            bucket,
            generation,
            principal,
        };
        let secret = self.roots.new_secret(&subject, &roots)?;
        let (keys, check) = Keys::derive(&secret, bucket, generation)?;
        let mut record = BucketKeyRecord {
            bucket,
            generation,
            rev: 1,
            state: KeyState::Active,
            check,
            wraps: self.roots.wrap(&subject, &roots, &secret)?,
            tag: [0; 32],
        };
        record.tag = keys.tag(&record.body())?;
        self.roots.record(subject.event(name::CREATE_KEY))?;
        Ok((record, keys))
    }

    /// The bytes for a record, and whether this request may use them: states before any HSM is
    /// asked, the tag once the secret is at hand.
    fn authorize(
        &self,
        record: &BucketKeyRecord,
        tier: Tier,
        request: &Request<'_>,
    ) -> Result<Arc<Held>, KeyError> {
        let state = effective_state(record, request.expected);
        refuse_stopped(state)?;
        let held = self.load(record, tier, request)?;
        if !held.with(|keys| keys.verify_tag(&record.body(), &record.tag))? {
            self.alarm(&held, request, "the state has no valid tag")?;
            return Err(KeyError::Disabled);
        }
        let agreed = request
            .expected
            .is_none_or(|expected| expected == (record.rev, record.state));
        if !agreed {
            self.alarm(&held, request, "key store and catalog differ")?;
        }
        if request.purpose == Purpose::Wrap {
            if !agreed {
                return Err(KeyError::StateConflict);
            }
            if state == KeyState::UnwrapOnly {
                return Err(KeyError::UnwrapOnly);
            }
        }
        if !held.is_use_recorded(request.principal) {
            let subject = Subject::of(record, request.principal);
            self.roots.record(subject.event(name::USE_KEY))?;
            held.use_is_recorded(request.principal);
        }
        Ok(held)
    }

    /// The bytes for a record by a wrap that may be used, whatever the record's own state.
    fn load(
        &self,
        record: &BucketKeyRecord,
        tier: Tier,
        request: &Request<'_>,
    ) -> Result<Arc<Held>, KeyError> {
        let usable = self.roots.usable(record, request.masters)?;
        let subject = Subject::of(record, request.principal);
        let load = || {
            let keys = self.open(&subject, record, &usable)?;
            Ok(self.hold(record, keys))
        };
        if tier == Tier::Direct {
            let held = Arc::new(load()?);
            self.cache.watch(&held);
            return Ok(held);
        }
        let id = (record.bucket, record.generation);
        self.cache.get(&cache_key(record, &usable), id, load)
    }

    /// Asks one root after the other until a secret is the record's.
    fn open(
        &self,
        subject: &Subject<'_>,
        record: &BucketKeyRecord,
        usable: &[&Wrap],
    ) -> Result<Keys, KeyError> {
        self.roots.unwrap(subject, usable, |secret| {
            let (keys, check) = Keys::derive(secret, record.bucket, record.generation)?;
            if bool::from(check.ct_eq(&record.check)) {
                Ok(keys)
            } else {
                Err(KeyError::Unauthentic)
            }
        })
    }

    fn hold(&self, record: &BucketKeyRecord, keys: Keys) -> Held {
        // A key of the direct tier wraps for one object and is not loaded to wrap again.
        let wraps = if record.generation == 0 {
            Arc::default()
        } else {
            self.counters.of(record.bucket, record.generation)
        };
        Held::new(
            record.bucket,
            record.generation,
            keys,
            self.config.clock.now() + self.config.ttl,
            self.config.clock.clone(),
            wraps,
            self.config.wrap_limit,
        )
    }

    /// Puts an alarm on record, once for each load of a key.
    fn alarm(
        &self,
        held: &Held,
        request: &Request<'_>,
        reason: &'static str,
    ) -> Result<(), KeyError> {
        if held.is_alarm_recorded() {
            return Ok(());
        }
        let subject = Subject {
            bucket: held.bucket,
            generation: held.generation,
            principal: request.principal,
        };
        let mut event = subject.event(name::KEY_STATE_ALARM);
        event.outcome = Outcome::Failure("StateConflict");
        event.details.push(("reason", reason.into()));
        self.roots.record(event)?;
        held.alarm_is_recorded();
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("roots", &self.roots)
            .field("cache", &self.cache.stats())
            .finish_non_exhaustive()
    }
}

/// The higher revision wins (F-63), with one restriction: the catalog's word has no tag, so it can
/// take rights away and never give any.
fn effective_state(record: &BucketKeyRecord, expected: Option<(u64, KeyState)>) -> KeyState {
    match expected {
        Some((rev, state)) if rev >= record.rev => state.max(record.state),
        _ => record.state,
    }
}

fn refuse_stopped(state: KeyState) -> Result<(), KeyError> {
    match state {
        KeyState::Active | KeyState::UnwrapOnly => Ok(()),
        KeyState::Disabled => Err(KeyError::Disabled),
        KeyState::Shredded => Err(KeyError::Shredded),
    }
}

/// A record of a bucket or of the control ring, whose generations begin at 1.
fn numbered(record: &[u8]) -> Result<BucketKeyRecord, KeyError> {
    let record = BucketKeyRecord::parse(record)?;
    if record.generation == 0 {
        return Err(GENERATION_0);
    }
    Ok(record)
}

/// The record without its state and tag, and the wraps that policy lets open it. Rights are not in
/// it: they are checked with every request.
fn cache_key(record: &BucketKeyRecord, usable: &[&Wrap]) -> CacheKey {
    let mut hash = Sha256::new();
    hash.update(record.bucket.0);
    hash.update(record.generation.to_le_bytes());
    hash.update(record.check_and_wraps());
    for wrap in usable {
        hash.update(wrap.root.0);
    }
    hash.finalize().into()
}

const MAX_TTL: Duration = Duration::from_secs(300);
const CONTROL_RING: BucketId = BucketId([0xff; 16]);
const IS_CONTROL_RING: KeyError =
    KeyError::Malformed("this id is the control ring's, which is no bucket");
const GENERATION_0: KeyError =
    KeyError::Malformed("generations begin at 1; generation 0 is the direct tier's");

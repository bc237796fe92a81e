//! The roots of a keyring: who is asked for what, in which order, and that it is on record.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bucket_record::{BucketKeyRecord, MAX_WRAPS, Wrap};
use super::clock::Clock;
use super::control::MasterStates;
use super::error::KeyError;
use super::master::{MasterKey, MasterKeyError, WrappedSecret};
use crate::audit::{Event, Outcome, Sink, name};
use crate::id::{BucketId, RootId};
use crate::secret::Secret;

/// The roots and the trail. Every call of a master key goes through [`Roots::ask`], which puts it on
/// record before its answer is used.
pub(super) struct Roots {
    roots: Vec<Root>,
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
}

pub(super) struct Root {
    id: RootId,
    master: Arc<dyn MasterKey>,
    is_primary: bool,
    /// A [`RootState`]'s byte.
    state: AtomicU8,
    /// Until when, in milliseconds of the clock, others are asked first.
    doubtful_until: AtomicU64,
}

/// Whether a root is used at all, whatever its master key versions and the records say. Whoever runs
/// the process decides; it holds from the next request on, for keys in the cache as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RootState {
    /// Wraps and unwraps.
    #[default]
    Enabled,
    /// Neither, until it is enabled again.
    Disabled,
    /// Neither; its master key is to be destroyed.
    PendingDeletion,
}

/// A root of a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootInfo {
    /// Which it is.
    pub id: RootId,
    /// Whether it wraps every key for which no root is named; otherwise only where it is named.
    pub is_primary: bool,
    /// Whether it is used at all.
    pub state: RootState,
}

/// What an operation is about, for the trail.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) bucket: BucketId,
    pub(super) generation: u32,
    pub(super) principal: &'a str,
}

impl<'a> Subject<'a> {
    pub(super) fn of(record: &BucketKeyRecord, principal: &'a str) -> Self {
        Self {
            bucket: record.bucket,
            generation: record.generation,
            principal,
        }
    }

    pub(super) fn event(&self, name: &'static str) -> Event {
        let mut event = Event::new(name);
        event.principal = self.principal.to_owned();
        event.bucket = Some(self.bucket);
        event.generation = Some(self.generation);
        event
    }
}

impl Roots {
    /// Takes the roots on after a known-answer probe of each. Those in `named_only` are not primary.
    pub(super) fn probe(
        masters: Vec<Arc<dyn MasterKey>>,
        named_only: &[RootId],
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let mut roots: Vec<_> = masters
            .into_iter()
            .map(|master| Root {
                id: master.root(),
                is_primary: !named_only.contains(&master.root()),
                state: AtomicU8::new(RootState::Enabled as u8),
                master,
                doubtful_until: AtomicU64::new(0),
            })
            .collect();
        roots.sort_by_key(|root| root.id);
        let primary = roots.iter().filter(|root| root.is_primary).count();
        if primary == 0 {
            return Err(KeyError::Configuration(
                "no primary root; a keyring without a master key does not start",
            ));
        }
        if primary > MAX_WRAPS {
            return Err(KeyError::Configuration("more than eight primary roots"));
        }
        if roots.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(KeyError::Configuration("the same root twice"));
        }
        if named_only
            .iter()
            .any(|id| roots.iter().all(|root| root.id != *id))
        {
            return Err(KeyError::Configuration(
                "a root that wraps only where it is named is not among the roots",
            ));
        }
        let roots = Self { roots, sink, clock };
        let mut away = None;
        let mut answered = 0;
        for root in &roots.roots {
            let event = Event::new(name::PROBE_KEY);
            match roots.ask(root, event, |master| Ok(master.health()?)) {
                Ok(()) => answered += usize::from(root.is_primary),
                Err(error) if error.is_transient() => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        match away {
            Some(error) if answered == 0 => Err(error),
            _ => Ok(roots),
        }
    }

    /// The roots, in order of their ids.
    pub(super) fn infos(&self) -> Vec<RootInfo> {
        let info = |root: &Root| RootInfo {
            id: root.id,
            is_primary: root.is_primary,
            state: root.state(),
        };
        self.roots.iter().map(info).collect()
    }

    /// Sets the state of a root and puts it on record: a root is stopped whether or not that can be
    /// recorded, and enabled only if it can.
    pub(super) fn set_state(
        &self,
        id: RootId,
        state: RootState,
        principal: &str,
    ) -> Result<(), KeyError> {
        let root = self.root(id).ok_or_else(|| no_root(id))?;
        if root.state() == state {
            return Ok(());
        }
        if state != RootState::Enabled {
            root.state.store(state as u8, Ordering::SeqCst);
        }
        let mut event = Event::new(match state {
            RootState::Enabled => name::ENABLE_KEY,
            RootState::Disabled => name::DISABLE_KEY,
            RootState::PendingDeletion => name::SCHEDULE_KEY_DELETION,
        });
        event.principal = principal.to_owned();
        event.root = Some(id);
        self.record(event)?;
        root.state.store(state as u8, Ordering::SeqCst);
        Ok(())
    }

    /// The roots of a new key: those that are named, or the primary ones. All of them are to wrap.
    pub(super) fn to_wrap(&self, named: Option<&[RootId]>) -> Result<Vec<&Root>, KeyError> {
        let mut roots: Vec<&Root> = match named {
            None => self.roots.iter().filter(|root| root.is_primary).collect(),
            Some(ids) => ids
                .iter()
                .map(|id| self.root(*id).ok_or_else(|| no_root(*id)))
                .collect::<Result<_, _>>()?,
        };
        roots.sort_by_key(|root| root.id);
        let twice = roots.windows(2).any(|pair| pair[0].id == pair[1].id);
        if roots.is_empty() || roots.len() > MAX_WRAPS || twice {
            return Err(KeyError::Malformed(
                "a bucket key is wrapped by one to eight roots, each named once",
            ));
        }
        roots.iter().try_for_each(|root| root.check())?;
        Ok(roots)
    }

    /// The wraps of a record that may open it here: their root is configured with their strategy
    /// and enabled, and their master version is not stopped.
    pub(super) fn usable<'r>(
        &self,
        record: &'r BucketKeyRecord,
        masters: Option<&MasterStates>,
    ) -> Result<Vec<&'r Wrap>, KeyError> {
        let mut usable = Vec::with_capacity(record.wraps.len());
        let mut is_known = false;
        let mut stopped = None;
        for wrap in &record.wraps {
            let Some(root) = self.root(wrap.root) else {
                continue;
            };
            if root.master.strategy() != wrap.strategy {
                return Err(KeyError::StrategyConflict { root: wrap.root });
            }
            is_known = true;
            if let Err(error) = root.check() {
                stopped.get_or_insert(error);
                continue;
            }
            if masters.is_none_or(|states| states.may_unwrap(wrap.root, wrap.version)) {
                usable.push(wrap);
            }
        }
        if !is_known {
            return Err(KeyError::NoRoot {
                roots: record.wraps.iter().map(|wrap| wrap.root).collect(),
            });
        }
        if usable.is_empty() {
            return Err(stopped.unwrap_or(KeyError::Disabled));
        }
        Ok(usable)
    }

    /// A new secret: the token's randomness and the kernel's, either of which may be bad (F-60).
    pub(super) fn new_secret(
        &self,
        subject: &Subject<'_>,
        roots: &[&Root],
    ) -> Result<Secret<32>, KeyError> {
        let mut secret = Secret::random()?;
        let (root, ()) = self.in_order(roots.iter().map(|root| (*root, ())))[0];
        let event = subject.event(name::GENERATE_RANDOM);
        let token = self.ask(root, event, |master| Ok(master.random()?))?;
        for (byte, other) in secret.expose_mut().iter_mut().zip(token.expose()) {
            *byte ^= other;
        }
        Ok(secret)
    }

    /// Wraps a secret under the active version of each of `roots`, in the order records have them.
    pub(super) fn wrap(
        &self,
        subject: &Subject<'_>,
        roots: &[&Root],
        secret: &Secret<32>,
    ) -> Result<Vec<Wrap>, KeyError> {
        let wrap = |root: &&Root| {
            let version = root.master.active_version();
            let mut event = subject.event(name::ENCRYPT);
            event.version = Some(version);
            let blob = self.ask(root, event, |master| Ok(master.wrap(version, secret)?))?;
            Ok(Wrap {
                root: root.id,
                version,
                strategy: root.master.strategy(),
                blob,
            })
        };
        roots.iter().map(wrap).collect()
    }

    /// Opens one of `wraps` and hands its secret to `accept`, until one is accepted. A wrap that
    /// does not open, or is not accepted, says nothing about the others.
    pub(super) fn unwrap<R>(
        &self,
        subject: &Subject<'_>,
        wraps: &[&Wrap],
        accept: impl Fn(&Secret<32>) -> Result<R, KeyError>,
    ) -> Result<R, KeyError> {
        let mut failure = KeyError::Unauthentic;
        let mut rank = 0;
        let known = wraps
            .iter()
            .filter_map(|wrap| Some((self.root(wrap.root)?, wrap)));
        for (root, wrap) in self.in_order(known) {
            let mut event = subject.event(name::DECRYPT);
            event.version = Some(wrap.version);
            let answer = self.ask(root, event, |master| {
                accept(&master.unwrap(wrap.version, &wrap.blob)?)
            });
            let error = match answer {
                Err(KeyError::Hsm(MasterKeyError::Rejected)) => KeyError::Unauthentic,
                Err(error) if !matches!(error, KeyError::Audit(_)) => error,
                other => return other,
            };
            // Said is what most likely passes: a root that is away may yet open what another
            // refused.
            let weight = match &error {
                KeyError::Unauthentic => 1,
                error if error.is_transient() => 3,
                _ => 2,
            };
            if weight > rank {
                (failure, rank) = (error, weight);
            }
        }
        Err(failure)
    }

    /// Moves one wrap to its root's active version; none if it is there already, or if the root is
    /// not configured here.
    pub(super) fn rewrap(
        &self,
        subject: &Subject<'_>,
        wrap: &Wrap,
    ) -> Result<Option<(u32, WrappedSecret)>, KeyError> {
        let Some(root) = self.root(wrap.root) else {
            return Ok(None);
        };
        root.check()?;
        let to = root.master.active_version();
        if to == wrap.version {
            return Ok(None);
        }
        let mut event = subject.event(name::RE_ENCRYPT);
        event.version = Some(to);
        event
            .details
            .push(("sourceMasterVersion", wrap.version.to_string()));
        let new = self.ask(root, event, |master| {
            Ok(master.rewrap(wrap.version, to, &wrap.blob)?)
        })?;
        Ok(Some((to, new)))
    }

    /// Puts an event on record.
    pub(super) fn record(&self, event: Event) -> Result<(), KeyError> {
        Ok(self.sink.record(event)?)
    }

    fn root(&self, id: RootId) -> Option<&Root> {
        self.roots.iter().find(|root| root.id == id)
    }

    /// The same roots, those in doubt last.
    fn in_order<'s, T>(&'s self, roots: impl Iterator<Item = (&'s Root, T)>) -> Vec<(&'s Root, T)> {
        let now = millis(self.clock.now());
        let mut roots: Vec<_> = roots.collect();
        roots.sort_by_key(|(root, _)| root.doubtful_until.load(Ordering::Relaxed) > now);
        roots
    }

    /// Calls a master key and puts the call on record; without the record there is no answer.
    fn ask<R>(
        &self,
        root: &Root,
        mut event: Event,
        call: impl FnOnce(&dyn MasterKey) -> Result<R, KeyError>,
    ) -> Result<R, KeyError> {
        let start = Instant::now();
        let answer = call(&*root.master);
        event.duration = Some(start.elapsed());
        event.root = Some(root.id);
        let doubtful_until = match &answer {
            Err(error) if error.is_transient() => millis(self.clock.now() + DOUBT),
            _ => 0,
        };
        root.doubtful_until.store(doubtful_until, Ordering::Relaxed);
        if let Err(error) = &answer {
            event.outcome = Outcome::Failure(code(error));
        }
        self.record(event)?;
        answer
    }
}

impl Root {
    fn state(&self) -> RootState {
        match self.state.load(Ordering::SeqCst) {
            ENABLED => RootState::Enabled,
            DISABLED => RootState::Disabled,
            _ => RootState::PendingDeletion,
        }
    }

    /// Whether it may be used.
    fn check(&self) -> Result<(), KeyError> {
        match self.state() {
            RootState::Enabled => Ok(()),
            RootState::Disabled => Err(KeyError::RootDisabled { root: self.id }),
            RootState::PendingDeletion => Err(KeyError::RootPendingDeletion { root: self.id }),
        }
    }
}

fn no_root(id: RootId) -> KeyError {
    KeyError::NoRoot { roots: vec![id] }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.roots.iter().map(|root| root.id))
            .finish()
    }
}

/// The error code of an event.
const fn code(error: &KeyError) -> &'static str {
    match error {
        KeyError::Hsm(MasterKeyError::Unavailable { .. }) => "Unavailable",
        KeyError::Hsm(MasterKeyError::TimedOut { .. }) => "TimedOut",
        KeyError::Hsm(MasterKeyError::KeyMissing { .. }) => "KeyMissing",
        KeyError::Hsm(MasterKeyError::Rejected) => "Rejected",
        KeyError::Hsm(MasterKeyError::PinRefused) => "PinRefused",
        KeyError::Hsm(MasterKeyError::Misconfigured(_)) => "Misconfigured",
        KeyError::Unauthentic => "Unauthentic",
        _ => "InternalFailure",
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

const ENABLED: u8 = RootState::Enabled as u8;
const DISABLED: u8 = RootState::Disabled as u8;
/// How long a root that failed is asked after the others.
const DOUBT: Duration = Duration::from_secs(1);

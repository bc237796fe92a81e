//! The roots of a keyring: who is asked for what, in which order, and that it is on record.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

struct Root {
    id: RootId,
    master: Arc<dyn MasterKey>,
    /// Until when, in milliseconds of the clock, others are asked first.
    doubtful_until: AtomicU64,
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
    /// Takes the roots on after a known-answer probe of each.
    pub(super) fn probe(
        masters: Vec<Arc<dyn MasterKey>>,
        sink: Arc<dyn Sink>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let mut roots: Vec<_> = masters
            .into_iter()
            .map(|master| Root {
                id: master.root(),
                master,
                doubtful_until: AtomicU64::new(0),
            })
            .collect();
        roots.sort_by_key(|root| root.id);
        if roots.is_empty() {
            return Err(KeyError::Configuration(
                "no root; a keyring without a master key does not start",
            ));
        }
        if roots.len() > MAX_WRAPS {
            return Err(KeyError::Configuration("more than eight roots"));
        }
        if roots.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(KeyError::Configuration("the same root twice"));
        }
        let roots = Self { roots, sink, clock };
        let mut away = None;
        let mut answered = 0;
        for root in &roots.roots {
            let event = Event::new(name::PROBE_KEY);
            match roots.ask(root, event, |master| Ok(master.health()?)) {
                Ok(()) => answered += 1,
                Err(error) if error.is_transient() => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        match away {
            Some(error) if answered == 0 => Err(error),
            _ => Ok(roots),
        }
    }

    /// The wraps of a record that may open it here: their root is configured with their strategy,
    /// and their master version is not stopped.
    pub(super) fn usable<'r>(
        &self,
        record: &'r BucketKeyRecord,
        masters: Option<&MasterStates>,
    ) -> Result<Vec<&'r Wrap>, KeyError> {
        let mut usable = Vec::with_capacity(record.wraps.len());
        let mut is_known = false;
        for wrap in &record.wraps {
            let Some(root) = self.root(wrap.root) else {
                continue;
            };
            if root.master.strategy() != wrap.strategy {
                return Err(KeyError::StrategyConflict { root: wrap.root });
            }
            is_known = true;
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
            return Err(KeyError::Disabled);
        }
        Ok(usable)
    }

    /// A new secret: the token's randomness and the kernel's, either of which may be bad (F-60).
    pub(super) fn new_secret(&self, subject: &Subject<'_>) -> Result<Secret<32>, KeyError> {
        let mut secret = Secret::random()?;
        let (root, ()) = self.in_order(self.roots.iter().map(|root| (root, ())))[0];
        let event = subject.event(name::GENERATE_RANDOM);
        let token = self.ask(root, event, |master| Ok(master.random()?))?;
        for (byte, other) in secret.expose_mut().iter_mut().zip(token.expose()) {
            *byte ^= other;
        }
        Ok(secret)
    }

    /// Wraps a secret under the active version of every root, in the order records have them.
    pub(super) fn wrap(
        &self,
        subject: &Subject<'_>,
        secret: &Secret<32>,
    ) -> Result<Vec<Wrap>, KeyError> {
        let wrap = |root: &Root| {
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
        self.roots.iter().map(wrap).collect()
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

/// How long a root that failed is asked after the others.
const DOUBT: Duration = Duration::from_secs(1);

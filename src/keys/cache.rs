//! The cache of unwrapped bucket keys: bytes, never rights.
//!
//! One load per key at a time, whoever else wants it waits; failures are remembered for a moment,
//! so that an HSM that is away is not asked by every request; what has expired is wiped by the next
//! access of any key, or by a sweep.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::clock::Clock;
use super::error::KeyError;
use super::held::Held;
use super::master::MasterKeyError;
use crate::id::BucketId;

/// What cached bytes stand for: a digest over the policy they were loaded by and all of the record
/// but its state. A record that differs in any other way never meets bytes of this one.
pub(super) type CacheKey = [u8; 32];

/// Whose key it is; one may have several records' bytes in the cache.
pub(super) type Id = (BucketId, u32);

/// Counts since the keyring was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests served from the cache.
    pub hits: u64,
    /// Loads that asked an HSM, successful or not.
    pub loads: u64,
    /// Requests that waited for another's load.
    pub waits: u64,
    /// Requests refused because a load had just failed.
    pub refused: u64,
    /// Keys given up for lack of room.
    pub evicted: u64,
    /// Keys held now.
    pub held: usize,
}

pub(super) struct Cache {
    limits: Limits,
    clock: Arc<dyn Clock>,
    inner: RwLock<Inner>,
    /// When the first of the held keys expires, in nanoseconds of the clock.
    sweep_at: AtomicU64,
    counts: Counts,
}

pub(super) struct Limits {
    pub(super) capacity: usize,
    /// How long a failure is remembered.
    pub(super) failure_ttl: Duration,
    /// How long a request waits for another's load.
    pub(super) wait: Duration,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<CacheKey, Slot>,
    /// Keys that are not cached but may still be in use: wiped in time like the others.
    lingering: Vec<Weak<Held>>,
    /// How many of those there may be before the ones that are gone are looked for.
    prune_at: usize,
}

enum Slot {
    Held { held: Arc<Held>, used: AtomicU64 },
    Loading { flight: Arc<Flight>, id: Id },
    Failed { error: KeyError, until: Duration },
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    loads: AtomicU64,
    waits: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
}

type Answer = Result<Arc<Held>, KeyError>;

impl Cache {
    pub(super) fn new(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits,
            clock,
            inner: RwLock::default(),
            sweep_at: AtomicU64::new(u64::MAX),
            counts: Counts::default(),
        }
    }

    /// The keys for `key`, from the cache or by `load`.
    pub(super) fn get(
        &self,
        key: &CacheKey,
        id: Id,
        load: impl FnOnce() -> Result<Held, KeyError>,
    ) -> Answer {
        let now = self.clock.now();
        self.sweep_if_due(now);
        if let Some(answer) = self.look_up(key, now) {
            return answer;
        }
        let flight = Arc::new(Flight::default());
        {
            let mut inner = self.write();
            match inner.slots.get(key).map(|slot| self.read_slot(slot, now)) {
                Some(Found::Answer(answer)) => return answer,
                Some(Found::Loading(other)) => {
                    drop(inner);
                    return self.wait(&other);
                }
                None | Some(Found::Nothing) => {}
            }
            let flight = flight.clone();
            inner.slots.insert(*key, Slot::Loading { flight, id });
        }
        count(&self.counts.loads);
        let mut landing = Landing {
            cache: self,
            key,
            flight: &flight,
            answer: Err(KeyError::Hsm(MasterKeyError::Unavailable {
                function: "a load that panicked",
                code: 0,
            })),
        };
        landing.answer = load().map(Arc::new);
        landing.answer.clone()
    }

    /// Has keys that are not cached wiped in time all the same.
    pub(super) fn watch(&self, held: &Arc<Held>) {
        self.write().linger(held);
        self.sweep_at
            .fetch_min(nanos(held.expires), Ordering::Relaxed);
    }

    /// Wipes what has expired. Returns the time until the next key expires.
    pub(super) fn purge_expired(&self) -> Option<Duration> {
        let now = self.clock.now();
        let next = self.sweep(now);
        next.map(|at| at.saturating_sub(now))
    }

    /// Wipes every key, in use or not, or those of one bucket and generation. What is being loaded
    /// at this moment is wiped when it lands.
    pub(super) fn purge(&self, only: Option<Id>) {
        let concerned = |id: Id| only.is_none_or(|only| only == id);
        let wipe = |held: &Held| {
            let is_concerned = concerned((held.bucket, held.generation));
            if is_concerned {
                held.wipe();
            }
            is_concerned
        };
        let mut inner = self.write();
        inner.slots.retain(|_, slot| match slot {
            Slot::Held { held, .. } => !wipe(held),
            Slot::Loading { id, .. } => !concerned(*id),
            Slot::Failed { .. } => only.is_some(),
        });
        inner
            .lingering
            .retain(|weak| weak.upgrade().is_some_and(|held| !wipe(&held)));
    }

    pub(super) fn stats(&self) -> CacheStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        CacheStats {
            hits: get(&self.counts.hits),
            loads: get(&self.counts.loads),
            waits: get(&self.counts.waits),
            refused: get(&self.counts.refused),
            evicted: get(&self.counts.evicted),
            held: inner
                .slots
                .values()
                .filter(|slot| matches!(slot, Slot::Held { .. }))
                .count(),
        }
    }

    fn look_up(&self, key: &CacheKey, now: Duration) -> Option<Answer> {
        let found = {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            self.read_slot(inner.slots.get(key)?, now)
        };
        match found {
            Found::Answer(answer) => Some(answer),
            Found::Loading(flight) => Some(self.wait(&flight)),
            Found::Nothing => None,
        }
    }

    fn read_slot(&self, slot: &Slot, now: Duration) -> Found {
        match slot {
            Slot::Held { held, used } if !held.has_expired(now) => {
                used.store(nanos(now), Ordering::Relaxed);
                count(&self.counts.hits);
                Found::Answer(Ok(held.clone()))
            }
            Slot::Failed { error, until } if now < *until => {
                count(&self.counts.refused);
                Found::Answer(Err(error.clone()))
            }
            Slot::Loading { flight, .. } => Found::Loading(flight.clone()),
            Slot::Held { .. } | Slot::Failed { .. } => Found::Nothing,
        }
    }

    fn wait(&self, flight: &Flight) -> Answer {
        count(&self.counts.waits);
        flight.wait(self.limits.wait)
    }

    /// Puts the answer of a load where it belongs, if the load is still wanted.
    fn land(&self, key: &CacheKey, flight: &Arc<Flight>, answer: &Answer) {
        let now = self.clock.now();
        let mut inner = self.write();
        let wanted = matches!(
            inner.slots.get(key),
            Some(Slot::Loading { flight: current, .. }) if Arc::ptr_eq(current, flight)
        );
        match answer {
            Ok(held) if wanted => {
                let slot = Slot::Held {
                    held: held.clone(),
                    used: AtomicU64::new(nanos(now)),
                };
                inner.slots.insert(*key, slot);
                self.sweep_at
                    .fetch_min(nanos(held.expires), Ordering::Relaxed);
            }
            Ok(held) => held.wipe(),
            Err(error) if wanted => {
                let slot = Slot::Failed {
                    error: error.clone(),
                    until: now + self.limits.failure_ttl,
                };
                inner.slots.insert(*key, slot);
            }
            Err(_) => {}
        }
        self.make_room(&mut inner, key, now);
    }

    /// Brings the cache back to its bound, sparing loads in progress and `newest`: what is over
    /// goes first, then failures, then the key that was not used for longest.
    fn make_room(&self, inner: &mut Inner, newest: &CacheKey, now: Duration) {
        if inner.slots.len() <= self.limits.capacity {
            return;
        }
        drop_expired(inner, now);
        while inner.slots.len() > self.limits.capacity {
            let victim = inner
                .slots
                .iter()
                .filter(|(key, _)| *key != newest)
                .filter_map(|(key, slot)| match slot {
                    Slot::Held { used, .. } => Some((used.load(Ordering::Relaxed), *key)),
                    Slot::Failed { .. } => Some((0, *key)),
                    Slot::Loading { .. } => None,
                })
                .min();
            let Some((_, victim)) = victim else {
                return;
            };
            if let Some(Slot::Held { held, .. }) = inner.slots.remove(&victim) {
                inner.linger(&held);
                count(&self.counts.evicted);
            }
        }
    }

    fn sweep_if_due(&self, now: Duration) {
        if nanos(now) >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep(now);
        }
    }

    fn sweep(&self, now: Duration) -> Option<Duration> {
        let mut inner = self.write();
        let next = drop_expired(&mut inner, now);
        // Many keys that expire one by one must not make every access a sweep.
        let at = next.map_or(u64::MAX, |next| nanos(next.max(now + SWEEP_PAUSE)));
        self.sweep_at.store(at, Ordering::Relaxed);
        next
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn linger(&mut self, held: &Arc<Held>) {
        if self.lingering.len() >= self.prune_at {
            self.lingering.retain(|weak| weak.strong_count() > 0);
            self.prune_at = MIN_PRUNE.max(2 * self.lingering.len());
        }
        self.lingering.push(Arc::downgrade(held));
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.purge(None);
    }
}

enum Found {
    Answer(Answer),
    Loading(Arc<Flight>),
    Nothing,
}

/// A load in progress, for those who wait for it.
#[derive(Default)]
struct Flight {
    answer: Mutex<Option<Answer>>,
    landed: Condvar,
}

impl Flight {
    fn wait(&self, limit: Duration) -> Answer {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, _) = self
            .landed
            .wait_timeout_while(answer, limit, |answer| answer.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        answer
            .clone()
            .unwrap_or(Err(KeyError::Hsm(MasterKeyError::TimedOut {
                function: "a load that another request began",
            })))
    }
}

/// Lands a flight however the load ends, also by a panic.
struct Landing<'a> {
    cache: &'a Cache,
    key: &'a CacheKey,
    flight: &'a Arc<Flight>,
    answer: Answer,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.cache.land(self.key, self.flight, &self.answer);
        *self
            .flight
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(self.answer.clone());
        self.flight.landed.notify_all();
    }
}

/// Wipes and forgets what is over; returns when the first of the rest will be.
fn drop_expired(inner: &mut Inner, now: Duration) -> Option<Duration> {
    let mut next: Option<Duration> = None;
    let mut keep = |held: &Held| {
        if held.has_expired(now) {
            held.wipe();
            return false;
        }
        next = Some(next.map_or(held.expires, |at| at.min(held.expires)));
        true
    };
    inner.slots.retain(|_, slot| match slot {
        Slot::Held { held, .. } => keep(held),
        Slot::Failed { until, .. } => now < *until,
        Slot::Loading { .. } => true,
    });
    inner
        .lingering
        .retain(|weak| weak.upgrade().is_some_and(|held| keep(&held)));
    next
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

const MIN_PRUNE: usize = 64;
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::keys::held::Keys;
    use crate::keys::testing::ManualClock;
    use crate::secret::Secret;

    const BUCKET: BucketId = BucketId([1; 16]);

    fn cache() -> (Cache, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        let limits = Limits {
            capacity: 8,
            failure_ttl: Duration::from_secs(1),
            wait: Duration::from_secs(2),
        };
        (Cache::new(limits, clock.clone()), clock)
    }

    fn held(clock: &Arc<ManualClock>, generation: u32) -> Held {
        let secret = Secret::random().unwrap();
        let (keys, _) = Keys::derive(&secret, BUCKET, generation).unwrap();
        let (ttl, clock) = (Duration::from_secs(300), clock.clone());
        Held::new(BUCKET, generation, keys, ttl, clock, Arc::default(), 1)
    }

    #[test]
    fn what_is_purged_while_it_is_loaded_is_wiped_when_it_lands() {
        let (cache, clock) = cache();
        let load = |key: u8, generation, purged| {
            cache.get(&[key; 32], (BUCKET, generation), || {
                cache.purge(purged);
                Ok(held(&clock, generation))
            })
        };
        let is_usable = |held: &Held| held.with(|_| Ok(())).is_ok();
        let kept = load(1, 1, Some((BUCKET, 2))).unwrap();
        assert!(is_usable(&kept), "another's purge");
        let gone = load(2, 2, Some((BUCKET, 2))).unwrap();
        assert!(!is_usable(&gone));
        assert!(is_usable(&kept));
        assert_eq!(cache.stats().held, 1);
        let gone = load(3, 3, None).unwrap();
        assert!(!is_usable(&gone) && !is_usable(&kept));
        assert_eq!(cache.stats().held, 0);
    }

    /// The direct tier watches a key for every object; those that are gone leave nothing.
    #[test]
    fn watched_keys_that_are_gone_do_not_pile_up() {
        let (cache, clock) = cache();
        for _ in 0..1000 {
            cache.watch(&Arc::new(held(&clock, 0)));
        }
        assert!(cache.write().lingering.len() <= MIN_PRUNE);
    }
}

//! Memory that streams share: bytes handed out in the order they were asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number of bytes, shared fairly: who asks first is served first, also when a later request is smaller.
pub(super) struct Budget {
    total: usize,
    state: Mutex<State>,
    turn: Condvar,
}

struct State {
    free: usize,
    queue: VecDeque<u64>,
    next: u64,
}

impl Budget {
    pub(super) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            state: Mutex::new(State {
                free: total,
                queue: VecDeque::new(),
                next: 0,
            }),
            turn: Condvar::new(),
        })
    }

    /// Takes `bytes` (at most all there are), waiting up to `patience` behind those who asked before.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, patience: Duration) -> Option<Permit> {
        let bytes = bytes.min(self.total);
        let mut state = self.lock();
        if state.queue.is_empty() && state.free >= bytes {
            state.free -= bytes;
            return Some(self.permit(bytes));
        }
        let ticket = state.next;
        state.next += 1;
        state.queue.push_back(ticket);
        let end = Instant::now() + patience;
        loop {
            let first = state.queue.front() == Some(&ticket);
            if first && state.free >= bytes {
                state.queue.pop_front();
                state.free -= bytes;
                self.turn.notify_all();
                return Some(self.permit(bytes));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.queue.retain(|waiting| *waiting != ticket);
                self.turn.notify_all();
                return None;
            }
            state = self
                .turn
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn permit(self: &Arc<Self>, bytes: usize) -> Permit {
        Permit {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Every change of the state is complete when the lock is released, so a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes taken from a [`Budget`]; they return when it is dropped.
pub(super) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().free += self.bytes;
        self.budget.turn.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::thread;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_taken_returns_and_no_more_than_the_total_is_out() {
        let budget = Budget::new(100);
        let half = budget.take(60, NOW).unwrap();
        assert!(budget.take(60, NOW).is_none());
        drop(half);
        let all = budget.take(1000, NOW).unwrap();
        assert_eq!(all.bytes, 100);
        assert!(budget.take(1, NOW).is_none());
    }

    #[test]
    fn a_large_request_is_not_overtaken_by_small_ones() {
        let budget = Budget::new(100);
        let held = budget.take(50, NOW).unwrap();
        thread::scope(|scope| {
            let large = scope.spawn(|| budget.take(100, LONG).map(drop));
            while budget.lock().queue.is_empty() {
                thread::yield_now();
            }
            assert!(
                budget.take(10, NOW).is_none(),
                "40 are free, but someone waits"
            );
            drop(held);
            assert!(large.join().unwrap().is_some());
        });
        assert!(budget.take(100, NOW).is_some());
    }

    #[test]
    fn who_gives_up_lets_the_next_one_through() {
        let budget = Budget::new(100);
        let held = budget.take(50, NOW).unwrap();
        thread::scope(|scope| {
            let patient = scope.spawn(|| {
                while budget.lock().queue.is_empty() {
                    thread::yield_now();
                }
                budget.take(50, LONG).map(drop)
            });
            assert!(budget.take(100, Duration::from_millis(50)).is_none());
            assert!(patient.join().unwrap().is_some());
        });
        drop(held);
    }
}

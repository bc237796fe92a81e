//! The door of one module: many threads inside, or one alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts the threads inside a module and lets one have it alone. Every wait has an end, so a
/// thread that hangs inside stops no other for longer than that one's own deadline.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

/// Proof that the module is entered; dropping it leaves.
pub(super) struct Inside<'a> {
    gate: &'a Gate,
    ticket: u64,
}

/// Proof that no other thread is inside; dropping it opens the gate.
pub(super) struct Alone<'a> {
    gate: &'a Gate,
}

#[derive(Default)]
struct State {
    inside: Vec<(u64, Instant)>,
    next_ticket: u64,
    alone: bool,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Enters; `None` when somebody has the module alone until the deadline.
    pub(super) fn enter(&self, deadline: Instant) -> Option<Inside<'_>> {
        let mut state = self.lock();
        while state.alone {
            state = self.wait(state, deadline)?;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.inside.push((ticket, Instant::now()));
        Some(Inside { gate: self, ticket })
    }

    /// Waits until nobody is inside and lets nobody in. `None` at the deadline, and at once while a
    /// thread is inside for longer than `stuck`: to wait for that one would stop all the others.
    pub(super) fn alone(&self, deadline: Instant, stuck: Duration) -> Option<Alone<'_>> {
        let mut state = self.lock();
        while state.alone {
            state = self.wait(state, deadline)?;
        }
        if state
            .inside
            .iter()
            .any(|(_, since)| since.elapsed() > stuck)
        {
            return None;
        }
        state.alone = true;
        let alone = Alone { gate: self };
        while !state.inside.is_empty() {
            let waited = self.wait(state, deadline);
            state = waited?;
        }
        Some(alone)
    }

    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        let (state, _) = self
            .changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner);
        Some(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.gate
            .lock()
            .inside
            .retain(|(other, _)| *other != ticket);
        self.gate.changed.notify_all();
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.gate.lock().alone = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_alone_waits_for_all_inside_and_keeps_all_out() {
        let gate = Gate::new();
        let inside = gate.enter(Instant::now() + SOON).unwrap();
        assert!(gate.alone(Instant::now() + SOON, LONG).is_none());
        // A failed attempt leaves the gate open.
        drop(gate.enter(Instant::now() + SOON).unwrap());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| gate.alone(Instant::now() + LONG, LONG).is_some());
            std::thread::sleep(SOON);
            drop(inside);
            assert!(waiter.join().unwrap());
        });
        let alone = gate.alone(Instant::now() + SOON, LONG).unwrap();
        assert!(gate.enter(Instant::now() + SOON).is_none());
        assert!(gate.alone(Instant::now() + SOON, LONG).is_none());
        drop(alone);
        assert!(gate.enter(Instant::now() + SOON).is_some());
    }

    #[test]
    fn a_thread_that_hangs_inside_is_not_waited_for() {
        let gate = Gate::new();
        let _hung = gate.enter(Instant::now() + SOON).unwrap();
        std::thread::sleep(SOON);
        let start = Instant::now();
        assert!(gate.alone(Instant::now() + LONG, SOON / 2).is_none());
        assert!(start.elapsed() < LONG / 2);
        assert!(gate.enter(Instant::now() + SOON).is_some());
    }
}

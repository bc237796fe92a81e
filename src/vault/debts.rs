//! Which keys are still to be shredded of what is out of sight already.
//!
//! An object goes out of sight before its key is shredded. Who deletes it in between finds nothing there, and must not be
//! told "gone" before it is: he waits for those that are at it, and does the work of those that failed.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shreddings that are not done.
#[derive(Default)]
pub(super) struct Debts {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    begun: u64,
    under_way: BTreeSet<u64>,
    /// How many failed.
    owed: u64,
    /// How many of those somebody made up for.
    paid: u64,
}

impl Debts {
    /// To be held from before something goes out of sight until its key is shredded, or owed.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.under_way.insert(number);
        UnderWay {
            debts: self,
            number,
        }
    }

    /// A shredding failed; the garbage says which.
    pub(super) fn owe(&self) {
        self.lock().owed += 1;
    }

    /// How many failed so far.
    pub(super) fn owed(&self) -> u64 {
        self.lock().owed
    }

    /// All garbage was shredded after `owed` had failed. Those that failed since are not among it, perhaps.
    pub(super) fn pay(&self, owed: u64) {
        let mut state = self.lock();
        state.paid = state.paid.max(owed);
    }

    /// Whether there are some that failed and that nobody made up for.
    pub(super) fn is_owing(&self) -> bool {
        let state = self.lock();
        state.paid < state.owed
    }

    /// Waits for all that are under way now.
    pub(super) fn wait(&self) {
        let state = self.lock();
        let last = state.begun;
        let waiting = self.ended.wait_while(state, |state| {
            state.under_way.first().is_some_and(|first| *first <= last)
        });
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that goes out of sight, or has, and whose key is not shredded yet.
pub(super) struct UnderWay<'d> {
    debts: &'d Debts,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.debts.lock().under_way.remove(&self.number);
        self.debts.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_while_another_pays_is_owed_still() {
        let debts = Debts::default();
        debts.owe();
        let owed = debts.owed();
        debts.owe();
        debts.pay(owed);
        assert!(debts.is_owing());
        debts.pay(debts.owed());
        assert!(!debts.is_owing());
    }

    #[test]
    fn who_waits_waits_for_those_before_and_not_for_those_after() {
        let debts = Debts::default();
        let before = debts.begin();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| debts.wait());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!waits.is_finished());
            let _after = debts.begin();
            drop(before);
            assert!(waits.join().is_ok());
        });
    }
}

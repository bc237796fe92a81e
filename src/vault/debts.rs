//! Which keys are still to be shredded of what is out of sight already.
//!
//! What an object was goes out of sight before its key is shredded. Who deletes the object in between, finds nothing there
//! or something newer, and must not be told "gone" before all of it is: he waits for those that are at it, and does the
//! work of those that failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::id::BucketId;

/// Shreddings that are not done.
#[derive(Default)]
pub(super) struct Debts {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    begun: u64,
    under_way: BTreeMap<u64, Of>,
    /// How many failed.
    owed: u64,
    /// How many of those somebody made up for.
    paid: u64,
}

impl Debts {
    /// To be held from before something of an object key goes out of sight until that is shredded, or owed.
    pub(super) fn begin(&self, bucket: BucketId, key: &[u8]) -> UnderWay<'_> {
        let of = Of::new((bucket, key.to_vec()));
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.under_way.insert(number, Of::clone(&of));
        UnderWay {
            debts: self,
            number,
            of,
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

    /// Waits for all that are under way now of an object key.
    pub(super) fn wait(&self, bucket: BucketId, key: &[u8]) {
        self.wait_up_to(self.begun(), bucket, key);
    }

    fn begun(&self) -> u64 {
        self.lock().begun
    }

    fn wait_up_to(&self, last: u64, bucket: BucketId, key: &[u8]) {
        let waiting = self.ended.wait_while(self.lock(), |state| {
            let mut earlier = state.under_way.range(..=last);
            earlier.any(|(_, of)| of.0 == bucket && of.1 == key)
        });
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object key, with its bucket.
type Of = Arc<(BucketId, Vec<u8>)>;

/// Something that goes out of sight, or has, and whose key is not shredded yet.
pub(super) struct UnderWay<'d> {
    debts: &'d Debts,
    number: u64,
    of: Of,
}

impl UnderWay<'_> {
    /// Ends, and waits for the others of the same object key that are under way now.
    pub(super) fn end_and_wait(self) {
        let (debts, of) = (self.debts, Of::clone(&self.of));
        drop(self); // or two would wait for each other
        debts.wait(of.0, &of.1);
    }
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

    const BUCKET: BucketId = BucketId([1; 16]);

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
    fn who_waits_waits_for_those_before_of_the_same_key_and_for_no_others() {
        let debts = Debts::default();
        let before = debts.begin(BUCKET, b"x");
        let _other_key = debts.begin(BUCKET, b"y");
        let _other_bucket = debts.begin(BucketId([2; 16]), b"x");
        let last = debts.begun();
        let _after = debts.begin(BUCKET, b"x");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| debts.wait_up_to(last, BUCKET, b"x"));
            std::thread::sleep(std::time::Duration::from_millis(20));
            let early = waits.is_finished();
            drop(before); // whatever is asserted: the thread has to end
            assert!(!early);
            assert!(waits.join().is_ok());
        });
    }

    #[test]
    fn two_of_one_key_that_end_do_not_wait_for_each_other() {
        let debts = Debts::default();
        let both = [debts.begin(BUCKET, b"x"), debts.begin(BUCKET, b"x")];
        std::thread::scope(|scope| {
            let ends = both.map(|one| scope.spawn(|| one.end_and_wait()));
            assert!(ends.into_iter().all(|end| end.join().is_ok()));
        });
    }
}

//! Stops asking a module that is known to be ill, and asks again after a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::HsmError;

/// Shut while the module works. Open, it answers with the last error at once, and lets one caller
/// through when a pause has passed: 50 ms at first, doubling to 2 s, half of it random, so that
/// many hosts do not return to one HSM in step.
pub(super) struct Breaker {
    open: Mutex<Option<Open>>,
}

struct Open {
    reason: HsmError,
    failures: u32,
    next_try: Instant,
}

/// How a caller got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Normal,
    /// The breaker is open and this call tries whether the module is well again.
    Trial,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::new(None),
        }
    }

    /// # Errors
    /// The reason for which the breaker is open.
    pub(super) fn admit(&self, deadline: Duration) -> Result<Admission, HsmError> {
        let mut open = self.lock();
        let Some(open) = open.as_mut() else {
            return Ok(Admission::Normal);
        };
        let now = Instant::now();
        if now < open.next_try {
            return Err(open.reason.clone());
        }
        // Nobody else tries while this one is on its way; should it be lost, the next one does.
        open.next_try = now + deadline;
        Ok(Admission::Trial)
    }

    pub(super) fn reason(&self) -> Option<HsmError> {
        self.lock().as_ref().map(|open| open.reason.clone())
    }

    pub(super) fn trip(&self, reason: HsmError) {
        let mut open = self.lock();
        let failures = open
            .as_ref()
            .map_or(0, |open| open.failures)
            .saturating_add(1);
        // Whoever tries a module that hangs waits for the whole deadline: not so often.
        let patience = match reason {
            HsmError::TimedOut { .. } => failures.max(MANY),
            _ => failures,
        };
        *open = Some(Open {
            reason,
            failures,
            next_try: Instant::now() + pause(patience),
        });
    }

    pub(super) fn shut(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    let random = getrandom::u32().unwrap_or_default();
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Failures after which the pause is the longest.
const MANY: u32 = 7;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_open_breaker_answers_at_once_and_lets_one_through_later() {
        let breaker = Breaker::new();
        assert_eq!(breaker.admit(LONGEST_PAUSE).unwrap(), Admission::Normal);
        breaker.trip(HsmError::Config("ill".to_owned()));
        assert_eq!(breaker.admit(LONGEST_PAUSE).unwrap_err().to_string(), "ill");
        std::thread::sleep(FIRST_PAUSE);
        assert_eq!(breaker.admit(LONGEST_PAUSE).unwrap(), Admission::Trial);
        assert_eq!(breaker.admit(LONGEST_PAUSE).unwrap_err().to_string(), "ill");
        breaker.shut();
        assert_eq!(breaker.admit(LONGEST_PAUSE).unwrap(), Admission::Normal);
    }

    #[test]
    fn pauses_grow_to_their_limit_and_stay_there() {
        for failures in [1, 2, 6, 7, 40, u32::MAX] {
            let full = FIRST_PAUSE * (1 << failures.min(7).saturating_sub(1));
            let full = full.min(LONGEST_PAUSE);
            for _ in 0..50 {
                let pause = pause(failures);
                assert!(pause >= full / 2 && pause <= full, "{failures}: {pause:?}");
            }
        }
    }
}

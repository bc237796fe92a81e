//! Time as the keyring sees it, so that tests can move it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A clock that never goes back.
pub trait Clock: Send + Sync {
    /// Time since a fixed moment in the past.
    fn now(&self) -> Duration;
}

/// The time since the machine started, counting what it spent suspended: a key's time to live goes
/// on while a laptop sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let part = |value: i64| u64::try_from(value).expect("time since boot is not negative");
        Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
    }
}

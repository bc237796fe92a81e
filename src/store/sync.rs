//! Counting what is made durable; and, for tests, making that slow or making it fail.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts the fsync calls of a store, and stands in front of each.
///
/// [`FileBlobs`](super::FileBlobs) passes here before every fdatasync and fsync it issues, so its count is exact.
/// SQLite issues its own: a commit passes here once (in WAL mode with `synchronous=FULL` it syncs the log once, and
/// twice when it is the first after the log was reset) and a checkpoint twice (the log, then the database).
#[derive(Debug, Default)]
pub struct SyncMeter {
    count: AtomicU64,
    cost_us: AtomicU64,
    failing: AtomicBool,
}

impl SyncMeter {
    /// How many there were so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Makes each take this much longer, as on a slower disk. In whole microseconds.
    #[cfg(feature = "conformance")]
    pub fn set_cost(&self, cost: Duration) {
        let cost = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        self.cost_us.store(cost, Relaxed);
    }

    /// Makes each fail with EIO, from now on or no longer.
    #[cfg(feature = "conformance")]
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Relaxed);
    }

    /// To be passed before `calls` fsync calls.
    pub(super) fn pass(&self, calls: u32) -> io::Result<()> {
        self.count.fetch_add(u64::from(calls), Relaxed);
        let cost = self.cost_us.load(Relaxed);
        if cost > 0 {
            std::thread::sleep(Duration::from_micros(cost) * calls);
        }
        if self.failing.load(Relaxed) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ));
        }
        Ok(())
    }
}

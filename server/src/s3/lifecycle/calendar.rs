//! How lifecycle rules count days.

/// The days of lifecycle rules and restored copies.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Calendar {
    day_ms: u64,
}

impl Calendar {
    /// Days of so many seconds. Only real days (86,400) end at midnight UTC; shorter ones, for
    /// tests, end where they end.
    pub(in crate::s3) const fn of_seconds(seconds: u64) -> Self {
        Self {
            day_ms: seconds.saturating_mul(1000),
        }
    }

    /// When something of `from_ms` is `days` old: as S3 counts, at the midnight UTC that follows.
    pub(in crate::s3) fn after(self, from_ms: u64, days: u64) -> u64 {
        let due = from_ms.saturating_add(days.saturating_mul(self.day_ms));
        if self.day_ms == DAY_MS {
            due.div_ceil(DAY_MS).saturating_mul(DAY_MS)
        } else {
            due
        }
    }
}

const DAY_MS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_days_end_at_midnight_and_short_ones_at_once() {
        let real = Calendar::of_seconds(86_400);
        assert_eq!(real.after(1, 1), 2 * DAY_MS);
        assert_eq!(real.after(DAY_MS, 1), 2 * DAY_MS);
        let short = Calendar::of_seconds(10);
        assert_eq!(short.after(1, 3), 30_001);
        assert_eq!(short.after(u64::MAX, 3), u64::MAX);
    }
}

//! How often each generation of each bucket's key has wrapped, over all the times it was loaded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::BucketId;

/// One counter for each key that wrapped anything; keys that only opened leave none behind.
#[derive(Default)]
pub(super) struct WrapCounters(Mutex<Counters>);

#[derive(Default)]
struct Counters {
    map: HashMap<(BucketId, u32), Arc<AtomicU64>>,
    prune_at: usize,
}

impl WrapCounters {
    pub(super) fn of(&self, bucket: BucketId, generation: u32) -> Arc<AtomicU64> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.map.len() >= counters.prune_at {
            counters.map.retain(|_, count| {
                Arc::strong_count(count) > 1 || count.load(Ordering::Relaxed) > 0
            });
            counters.prune_at = MIN_PRUNE.max(2 * counters.map.len());
        }
        counters
            .map
            .entry((bucket, generation))
            .or_default()
            .clone()
    }
}

const MIN_PRUNE: usize = 1024;

//! Objects of several blobs that are being read, so that what they were made of is not removed under their readers.
//!
//! A reader holds the file it is in open, and comes to the others later. Garbage waits for it, also beyond the grace
//! period; another vault over the same stores knows nothing of it, and waits for that period only.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::find::Miss;
use crate::id::BlobId;
use crate::store::BlobRef;

/// Copies that are being read, or removed. Each goes by its first blob: a copy is removed as a whole.
#[derive(Default)]
pub(super) struct Reading(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many readers each has.
    read: HashMap<BlobId, usize>,
    removed: HashSet<BlobId>,
}

impl Reading {
    /// Keeps a copy until the pin is dropped. One of a single blob needs none, an open file being as good.
    ///
    /// Gone if it is being removed: nothing names it any more.
    pub(super) fn pin(self: &Arc<Self>, blobs: &[BlobRef]) -> Result<Option<Pin>, Miss> {
        let [first, _, ..] = blobs else {
            return Ok(None);
        };
        let mut state = self.lock();
        if state.removed.contains(&first.id) {
            return Err(Miss::Gone("its blobs are being removed".to_owned()));
        }
        *state.read.entry(first.id).or_default() += 1;
        Ok(Some(Pin {
            reading: Arc::clone(self),
            id: first.id,
        }))
    }

    /// The right to remove blobs that nothing names any more; `None` while one of them is needed.
    pub(super) fn remove(&self, blobs: &[BlobRef]) -> Option<Removal<'_>> {
        let ids: Vec<_> = blobs.iter().map(|blob| blob.id).collect();
        let mut state = self.lock();
        if ids.iter().any(|id| state.read.contains_key(id)) {
            return None;
        }
        state.removed.extend(&ids);
        Some(Removal { reading: self, ids })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a copy.
pub(super) struct Pin {
    reading: Arc<Reading>,
    id: BlobId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.reading.lock();
        if let Some(readers) = state.read.get_mut(&self.id) {
            *readers -= 1;
            if *readers == 0 {
                state.read.remove(&self.id);
            }
        }
    }
}

/// Blobs that are being removed.
pub(super) struct Removal<'r> {
    reading: &'r Reading,
    ids: Vec<BlobId>,
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let mut state = self.reading.lock();
        for id in &self.ids {
            state.removed.remove(id);
        }
    }
}

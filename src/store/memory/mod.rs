//! The stores in memory, as plainly as they can be written: what the embedded ones are compared with.
//!
//! A clone is another handle on the same store; they stand in for closing and opening it again.

mod blobs;
mod catalog;
mod keys;

pub use blobs::MemoryBlobs;
pub use catalog::MemoryCatalog;
pub use keys::MemoryKeys;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

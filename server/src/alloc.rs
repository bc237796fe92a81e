//! The global allocator: the system's, with every freed block wiped first.
//!
//! HTTP and TLS code copies request headers into buffers of its own, customer keys and access
//! tokens among them, and frees them without wiping. This allocator makes the free itself the
//! wipe, so that a key is gone from the heap as soon as the last copy of it is dropped.
//!
//! **Large buffers.** Blocks above [`WIPE_LIMIT`] are data, not keys: object batches and file
//! buffers, wiped by their owners where it matters. Wiping them here as well would cost memory
//! bandwidth on every batch. No buffer that can hold a header reaches that size: the listener
//! caps its read buffers at 64 KiB and header blocks at 32 KiB.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of up to this many bytes are wiped when they are freed.
pub(crate) const WIPE_LIMIT: usize = 256 * 1024;

/// The system allocator with wiped frees.
pub(crate) struct Wiping;

// SAFETY: every block comes from and goes back to `System` with the layout the caller gave; a
// block is only written to between the caller giving it up and `System` taking it back.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives up a block of `layout`, so its bytes are ours to write.
        unsafe { wipe(block, layout.size()) };
        // SAFETY: the caller's contract is the contract of `System`.
        unsafe { System.dealloc(block, layout) }
    }

    /// Moves by hand, because `System` would free the old block unwiped. Large blocks, which are
    /// not wiped anyway, keep the system's way of growing in place.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if layout.size() > WIPE_LIMIT {
            // SAFETY: the caller's contract is the contract of `System`.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        // SAFETY: the caller promises that `new_size` is valid for this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: `new_size` is not zero by the caller's contract.
        let moved = unsafe { System.alloc(new_layout) };
        if !moved.is_null() {
            let kept = layout.size().min(new_size);
            // SAFETY: both blocks hold at least `kept` bytes and the new one is not the old one.
            unsafe { moved.copy_from_nonoverlapping(block, kept) };
            // SAFETY: the old block is the caller's, given up by this call.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// Overwrites a block that is about to be freed; the barrier keeps the stores alive.
///
/// # Safety
/// `block` points at `size` writable bytes.
unsafe fn wipe(block: *mut u8, size: usize) {
    if size <= WIPE_LIMIT {
        // SAFETY: the caller's contract.
        unsafe { block.write_bytes(0, size) };
        zeroize::optimization_barrier(&block);
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// How often a pattern stands in the writable memory of this process. The pattern is given
    /// masked, so that the search does not find itself.
    fn count(masked: &[u8; 24]) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let mut found = 0;
        for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let mut at = u64::from_str_radix(from, 16).unwrap();
            let end = u64::from_str_radix(to, 16).unwrap();
            let mut page = [0; 8192];
            while at < end {
                let Ok(length @ 24..) = memory.read_at(&mut page, at) else {
                    break;
                };
                let windows = page[..length].windows(24);
                found += windows
                    .filter(|window| {
                        window
                            .iter()
                            .zip(masked)
                            .all(|(byte, mask)| byte ^ mask == MASK)
                    })
                    .count();
                at += (length - 23) as u64;
            }
            page.fill(0);
        }
        found
    }

    const MASK: u8 = 0xa7;
    const MASKED: [u8; 24] = *b"planted: strongroom test";

    fn planted() -> impl Iterator<Item = u8> {
        MASKED.into_iter().map(|byte| byte ^ MASK)
    }

    #[test]
    fn a_freed_block_and_the_blocks_it_grew_out_of_are_gone_from_memory() {
        let mut kept: Vec<u8> = Vec::with_capacity(24);
        kept.extend(planted());
        assert_eq!(count(&MASKED), 1, "the search finds what is there");
        // Grown in small steps: every step may leave a copy behind.
        let mut blocks = Vec::new();
        for size in [25, 100, 1000, 10_000, 100_000] {
            kept.reserve_exact(size);
            // Keeps the allocator from growing in place.
            blocks.push(vec![1_u8; 64]);
        }
        let boxed: Box<[u8]> = planted().collect();
        let text = kept.clone();
        drop((kept, boxed, text));
        assert_eq!(count(&MASKED), 0);
        drop(blocks);
    }

    #[test]
    fn growing_and_shrinking_keeps_the_content() {
        let mut bytes: Vec<u8> = Vec::new();
        for step in 0..600_000_u32 {
            bytes.push(step.to_le_bytes()[0]);
        }
        bytes.truncate(1000);
        bytes.shrink_to_fit();
        assert!(
            bytes
                .iter()
                .zip(0_u32..)
                .all(|(byte, step)| *byte == step.to_le_bytes()[0])
        );
    }
}

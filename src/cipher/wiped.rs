//! Key schedules that are wiped fast.
//!
//! `aes` and `ghash` wipe their schedules on drop byte by byte: some thousand volatile stores for one
//! AES schedule, more time than sealing a small object takes. Here the same bytes go in words.
#![allow(unsafe_code)]

use std::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

use aes::{Aes256Dec, Aes256Enc};
use ghash::GHash;

/// A `T` whose bytes are all overwritten when it is dropped.
pub(crate) struct Wiped<T: Flat>(ManuallyDrop<T>);

impl<T: Flat> Wiped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T: Flat> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Flat> Drop for Wiped<T> {
    fn drop(&mut self) {
        const { assert!(align_of::<T>() >= align_of::<u64>() && size_of::<T>().is_multiple_of(8)) };
        let start = ptr::from_mut(&mut self.0).cast::<u64>();
        for i in 0..size_of::<T>() / 8 {
            let word = start.wrapping_add(i);
            // SAFETY: word i lies inside the value and is aligned, as asserted above. Nobody else
            // refers to the value, and it is not used again, neither read nor dropped, so that it
            // need not be a valid `T` any more; `Flat` says that its drop may be left out.
            unsafe { word.write_volatile(0) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// Types that own nothing but their bytes: whose drop does nothing, or wipes them.
///
/// # Safety
/// Leaving the drop out leaks nothing and breaks no invariant of other values.
pub(crate) unsafe trait Flat {}

// SAFETY: round keys and detected CPU features; its drop wipes them.
unsafe impl Flat for Aes256Enc {}
// SAFETY: as above.
unsafe impl Flat for Aes256Dec {}
// SAFETY: powers of the hash key, the accumulator and detected CPU features; its drop wipes them.
unsafe impl Flat for GHash {}

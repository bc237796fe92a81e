//! Wiping at the speed of filling.
//!
//! `aes` and `ghash` wipe their schedules on drop byte by byte: some thousand volatile stores for one
//! AES schedule, more time than sealing a small object takes. Here the same bytes are filled at once,
//! and the compiler is told that somebody reads them.
#![allow(unsafe_code)]

use std::{
    hint::black_box,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr,
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

impl<T: Flat> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Flat> Drop for Wiped<T> {
    fn drop(&mut self) {
        let value = ptr::from_mut(&mut self.0);
        // SAFETY: `value` is valid for writes of its size, nobody else refers to it, and it is not
        // used again, neither read nor dropped, so that it need not be a valid `T` any more; `Flat`
        // says that its drop may be left out.
        unsafe { value.write_bytes(0, 1) };
        zeroize::optimization_barrier(&value);
    }
}

/// Overwrites `bytes` with zeros in a way the compiler keeps.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// Overwrites `LEN` bytes of the stack below the caller's frame, where the functions it called before had theirs.
#[inline(never)]
pub(crate) fn overwrite_stack<const LEN: usize>() {
    black_box(&mut [0_u8; LEN]);
}

/// Types that own nothing but their bytes: whose drop does nothing, or wipes them.
///
/// # Safety
/// Leaving the drop out leaks nothing and breaks no invariant of other values.
pub(crate) unsafe trait Flat {}

// SAFETY: bytes.
unsafe impl Flat for [[u8; 16]; 6] {}
// SAFETY: round keys and detected CPU features; its drop wipes them.
unsafe impl Flat for Aes256Enc {}
// SAFETY: as above.
unsafe impl Flat for Aes256Dec {}
// SAFETY: powers of the hash key, the accumulator and detected CPU features; its drop wipes them.
unsafe impl Flat for GHash {}

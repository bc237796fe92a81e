//! Bytes to seal or open, each loaded once.
#![allow(unsafe_code)]

use std::{marker::PhantomData, ptr};

/// Readable bytes that somebody else may change meanwhile, as those of a mapped file: no reference
/// to them exists, and every function here that reads loads each byte once.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    start: *const u8,
    len: usize,
    /// Nobody writes while this exists: it came from a reference.
    steady: bool,
    life: PhantomData<&'a [u8]>,
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self {
            start: bytes.as_ptr(),
            len: bytes.len(),
            steady: true,
            life: PhantomData,
        }
    }
}

impl<'a> Source<'a> {
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Whole pieces of `N` bytes, and what is left over.
    pub(super) fn pieces<const N: usize>(self) -> (impl Iterator<Item = Piece<'a, N>>, Self) {
        let count = self.len / N;
        let (whole, rest) = self.split_at(count * N);
        let pieces = (0..count).map(move |i| Piece {
            start: whole.start.wrapping_add(i * N).cast(),
            life: PhantomData,
        });
        (pieces, rest)
    }

    /// The first `at` bytes and the others; all and none if there are no more than `at`.
    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.len);
        let rest = Self {
            start: self.start.wrapping_add(at),
            len: self.len - at,
            ..self
        };
        (Self { len: at, ..self }, rest)
    }

    /// Copies all bytes to the front of `to`, as far as it has room.
    pub(crate) fn copy_to(self, to: &mut [u8]) {
        let len = self.len.min(to.len());
        // SAFETY: `len` bytes from `start` on are readable for the lifetime (that is what a `Source`
        // is), `len` bytes of `to` are writable and borrowed by nobody else, so they do not overlap.
        // Bytes have no alignment and no invalid value, whoever may be writing them.
        unsafe { ptr::copy_nonoverlapping(self.start, to.as_mut_ptr(), len) };
    }

    /// As a slice: of the bytes themselves if nobody can change them, else of a copy in `copy`.
    pub(super) fn read(self, copy: &'a mut Vec<u8>) -> &'a [u8] {
        if self.steady {
            // SAFETY: made from a slice of this start, length and lifetime, or a part of one.
            return unsafe { std::slice::from_raw_parts(self.start, self.len) };
        }
        copy.resize(self.len, 0);
        self.copy_to(copy);
        copy
    }
}

/// `N` bytes of a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Piece<'a, const N: usize> {
    start: *const [u8; N],
    life: PhantomData<&'a [u8]>,
}

impl<const N: usize> Piece<'_, N> {
    /// The address of the bytes, of which each is to be loaded once, through this pointer alone.
    pub(super) fn as_ptr(self) -> *const [u8; N] {
        self.start
    }
}

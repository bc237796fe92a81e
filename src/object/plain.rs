//! Buffers that hold plaintext. Every one in `object` is of this type, so every one is wiped when it goes.

use std::ops::{Deref, DerefMut};

pub(crate) use crate::cipher::wipe;

/// A heap buffer of fixed length for plaintext, wiped when dropped. It never grows, so it leaves no copy behind.
pub(crate) struct PlainBuf(Box<[u8]>);

impl PlainBuf {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![0; len].into_boxed_slice())
    }
}

impl Deref for PlainBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PlainBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for PlainBuf {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wipe_leaves_only_zeros() {
        let mut bytes = [0xA5; 77];
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 77]);
    }
}

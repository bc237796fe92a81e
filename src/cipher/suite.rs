//! What a backend does for a suite: whole segments sealed and opened under keys it expanded.

use super::{Position, TAG_LEN, Unauthentic};

/// The subkeys of a blob (F-13).
#[derive(Clone, Copy)]
pub(crate) struct Subkeys<'a> {
    pub(crate) enc: &'a [u8; 32],
    pub(crate) iv: &'a [u8; 32],
    pub(crate) mac: &'a [u8; 32],
}

/// Expanded keys to seal with, wiped on drop.
pub(crate) trait SealSegment: Send + Sync {
    /// Writes the ciphertext of `plain` to `out` and returns its tag. In suite 1 `out` has the length
    /// of `plain` for a segment before the last and [`padded_len`] for the last, else always the
    /// length of `plain`.
    fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN];
}

/// Expanded keys to open with, wiped on drop.
pub(crate) trait OpenSegment: Send + Sync {
    /// Verifies `sealed` (without its tag) and writes what it holds to `out`, of the same length;
    /// padding stays. In suite 1 the length is a whole number of blocks, at least one.
    ///
    /// An implementation may write to `out` before it knows whether the tag holds. On failure the
    /// caller wipes `out`, so it must be memory that nobody else can read.
    fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Unauthentic>;
}

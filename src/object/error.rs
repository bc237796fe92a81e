//! What can go wrong with a blob, before any file or store comes into it.

use crate::format::FormatError;

/// Why a blob was not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The bytes are no blob this build reads, or they are not authentic under this data key.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// More than 2^28 segments of 64 KiB.
    #[error("a blob ends at 2^28 segments of 64 KiB (16 TiB): split the object into several blobs")]
    TooLong,
    /// The range ends behind the plaintext, or before it begins.
    #[error("range {start}..{end} is not inside the {length} bytes of the object")]
    OutOfRange {
        /// First byte asked for.
        start: u64,
        /// First byte no longer asked for.
        end: u64,
        /// Plaintext length of the object.
        length: u64,
    },
    /// A range of a blob whose length nobody vouched for: a tag proves key, position and "not last", not the length.
    #[error(
        "the length of this blob is not proven: give the expected length, or open the final segment first"
    )]
    LengthUnproven,
    /// Not as many bytes as the plan, the segment or the output needs.
    #[error("{what}: {needed} bytes are needed and {given} were given")]
    WrongLength {
        /// Which buffer.
        what: &'static str,
        /// Bytes it has to hold.
        needed: usize,
        /// Bytes it holds.
        given: usize,
    },
    /// The sealer or opener failed before and ended with that.
    #[error("this stream failed before and cannot go on: start a new one")]
    Ended,
}

impl ObjectError {
    pub(super) const UNAUTHENTIC: Self = Self::Format(FormatError::Unauthentic);
}

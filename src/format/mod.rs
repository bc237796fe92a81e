//! Format 1: header, layout, derivation, segments, manifests. Bytes in, bytes out, no I/O. Layer 1.
//!
//! The rules cited as F-nn are those of `docs/FORMAT.md`; its integers are little-endian (F-01). A blob is read in the order of F-26:
//! [`parse_header`], then [`BlobShape::from_len`], both without a key; then [`OpenKeys::open`], which
//! checks the commitment; then [`OpenKeys::open_segment`] for each segment. Sealing is
//! [`SealKeys::create`] with a [`Salt::fresh`], then [`SealKeys::seal_segment`].
//!
//! Two types for the two directions, because keys of an opened blob must never seal: a second
//! content under the same data key and salt voids the integrity of both (F-32).

mod header;
mod layout;
mod list;
mod manifest;
mod salt;
mod segment;
#[cfg(test)]
mod tests;

pub use header::{Header, parse_header};
pub use layout::{BlobShape, sealed_len};
pub use list::NamedList;
pub use manifest::{Manifest, ManifestBytes, PartEntry};
pub use salt::Salt;
pub use segment::{OpenKeys, SealKeys};

/// The algorithms a blob is sealed with (F-11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Suite {
    /// Authenticated plaintext: for buckets opened for it and as a measuring baseline (F-23).
    PlainGmac = 0,
    /// AES-256 in 64 interleaved CBC lanes with GMAC: the default (F-17 to F-21).
    Cbc64Gmac = 1,
    /// AES-256-GCM (F-22). Known to layouts and manifests always; sealing and opening are built in
    /// with the feature `gcm`.
    Gcm = 2,
}

impl Suite {
    /// The suite of a suite byte, whether it is built in or not.
    pub(crate) fn from_byte(byte: u8) -> Result<Self, FormatError> {
        match byte {
            0 => Ok(Suite::PlainGmac),
            1 => Ok(Suite::Cbc64Gmac),
            2 => Ok(Suite::Gcm),
            _ => Err(FormatError::Unsupported("suite above 2")),
        }
    }

    /// Whether this build seals and opens it.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        match self {
            Suite::PlainGmac | Suite::Cbc64Gmac => true,
            Suite::Gcm => cfg!(feature = "gcm"),
        }
    }

    /// This suite, if it is built in.
    fn built_in(self) -> Result<Self, FormatError> {
        if self.is_built_in() {
            Ok(self)
        } else {
            Err(FormatError::UnsupportedSuite(self))
        }
    }

    /// The name in `docs/FORMAT.md`, and in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::PlainGmac => "PLAIN-GMAC",
            Suite::Cbc64Gmac => "AES256-CBC64-GMAC",
            Suite::Gcm => "AES256-GCM",
        }
    }

    /// `log2(lanes)` of F-11.
    fn lanes_byte(self) -> u8 {
        match self {
            Suite::Cbc64Gmac => 6,
            Suite::PlainGmac | Suite::Gcm => 0,
        }
    }
}

/// Why bytes could not be read or written. The first four are the error classes of F-04.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The public structure is wrong, found without any key. Says which field.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A format, version or suite this build does not know. Says which.
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
    /// A suite of the format that this build leaves out: also of the class "unsupported".
    #[error("suite {} is not built in: use a build with the feature `gcm`", .0.name())]
    UnsupportedSuite(Suite),
    /// Not sealed by this key, or changed since. Says nothing else on purpose.
    #[error("not authentic")]
    Unauthentic,
    /// The caller broke a rule of the function it called; nothing was read or written.
    #[error("wrong use: {0}")]
    Misuse(&'static str),
    /// The kernel's random source cannot be read.
    #[error("the kernel's random source cannot be read: {0}")]
    Random(getrandom::Error),
}

/// Plaintext bytes of every segment but the last, which has fewer (F-15).
pub const SEGMENT_LEN: usize = 65_536;
/// Bytes of every sealed segment but the last.
pub const SEALED_SEGMENT_LEN: usize = SEGMENT_LEN + TAG_LEN;
/// Bytes of a blob's header (F-10).
pub const HEADER_LEN: usize = 80;
/// Bytes of a tag.
pub const TAG_LEN: usize = crate::cipher::TAG_LEN;
/// Segments of the largest blob (F-25).
pub const MAX_SEGMENTS: u64 = 1 << 28;
/// Highest part number of a multipart object, and most parts of one (F-12, F-82).
pub const MAX_PARTS: u32 = 10_000;

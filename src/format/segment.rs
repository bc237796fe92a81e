//! The keys of one blob, and its segments sealed and opened (F-13 to F-28).

use std::fmt;

use super::{
    FormatError, HEADER_LEN, Header, MAX_SEGMENTS, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, Suite,
    TAG_LEN, parse_header,
};
#[cfg(feature = "gcm")]
use crate::cipher::Gcm;
use crate::{
    cipher::{
        Backend, OpenSegment, Position, SealSegment, Subkeys, padded_len, unpadded_len, wipe,
    },
    secret::Secret,
};

/// The expanded keys of a new blob. Wiped on drop; segments may be sealed in parallel.
pub struct SealKeys {
    backend: Backend,
    suite: Suite,
    cipher: Box<dyn SealSegment>,
}

impl SealKeys {
    /// Derives the keys of a blob and makes its header. `salt` is used up: one salt, one blob.
    ///
    /// # Errors
    /// [`FormatError::UnsupportedSuite`]: it is not built in. [`FormatError::Misuse`]: `part` is
    /// above 10,000.
    pub fn create(
        dk: &Secret<32>,
        suite: Suite,
        part: u32,
        salt: Salt,
    ) -> Result<(Self, [u8; HEADER_LEN]), FormatError> {
        Self::create_on(Backend::detect(), dk, suite, part, salt)
    }

    /// As [`SealKeys::create`], with a backend of the caller's choice: for tests and measurements.
    ///
    /// # Errors
    /// As [`SealKeys::create`].
    pub fn create_on(
        backend: Backend,
        dk: &Secret<32>,
        suite: Suite,
        part: u32,
        salt: Salt,
    ) -> Result<(Self, [u8; HEADER_LEN]), FormatError> {
        suite.built_in()?;
        if part > super::MAX_PARTS {
            return Err(FormatError::Misuse("part numbers go up to 10,000"));
        }
        let header = Header { suite, part, salt };
        let cipher = expand(backend, dk, &header, sealer);
        let bytes = header.encode(dk);
        backend.wipe_stack();
        Ok((
            Self {
                backend,
                suite,
                cipher: cipher?,
            },
            bytes,
        ))
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Seals segment `index` and returns the bytes written to `out`: ciphertext, then tag.
    ///
    /// `plain` is the whole segment, never a piece of it (F-28): 65,536 bytes, or fewer if it is the
    /// last. Each index is sealed once. `out` has room for the sealed segment, at most 65,552 bytes.
    ///
    /// # Errors
    /// [`FormatError::Misuse`], and nothing is written: `plain` is not a whole segment, `out` is too
    /// short, or `index` is beyond the largest blob.
    pub fn seal_segment(
        &self,
        index: u64,
        last: bool,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<usize, FormatError> {
        if last && plain.len() >= SEGMENT_LEN {
            return Err(FormatError::Misuse("a last segment is shorter than 65,536"));
        }
        if !last && plain.len() != SEGMENT_LEN {
            return Err(FormatError::Misuse("only the last segment may be partial"));
        }
        if index >= MAX_SEGMENTS || index == MAX_SEGMENTS - 1 && !last {
            return Err(FormatError::Misuse("a blob has at most 2^28 segments"));
        }
        let len = match self.suite {
            Suite::Cbc64Gmac if last => padded_len(plain.len()),
            _ => plain.len(),
        };
        let Some((body, tag)) = out.split_at_mut_checked(len) else {
            return Err(FormatError::Misuse("no room for the sealed segment"));
        };
        let Some(tag) = tag.first_chunk_mut::<TAG_LEN>() else {
            return Err(FormatError::Misuse("no room for the sealed segment"));
        };
        *tag = self.cipher.seal(Position { index, last }, plain, body);
        self.backend.wipe_stack();
        Ok(len + TAG_LEN)
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({:?}, ..)", self.suite())
    }
}

/// The expanded keys of an existing blob. Wiped on drop; segments may be opened in parallel.
pub struct OpenKeys {
    backend: Backend,
    suite: Suite,
    cipher: Box<dyn OpenSegment>,
}

impl OpenKeys {
    /// Parses a header, checks that it is committed to `dk`, and derives the keys.
    ///
    /// # Errors
    /// As [`parse_header`]; then [`FormatError::Unauthentic`]: another data key's, or damaged.
    pub fn open(dk: &Secret<32>, header: &[u8; HEADER_LEN]) -> Result<(Self, Header), FormatError> {
        Self::open_on(Backend::detect(), dk, header)
    }

    /// As [`OpenKeys::open`], with a backend of the caller's choice: for tests and measurements.
    ///
    /// # Errors
    /// As [`OpenKeys::open`].
    pub fn open_on(
        backend: Backend,
        dk: &Secret<32>,
        header: &[u8; HEADER_LEN],
    ) -> Result<(Self, Header), FormatError> {
        let parsed = parse_header(header)?;
        let suite = parsed.suite;
        let cipher = verify_and_expand(backend, dk, &parsed, header);
        backend.wipe_stack();
        Ok((
            Self {
                backend,
                suite,
                cipher: cipher?,
            },
            parsed,
        ))
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Verifies segment `index`, opens it into the front of `plain` and returns its length.
    ///
    /// `sealed` is the whole segment with its tag, as [`BlobShape`](super::BlobShape) places it, and
    /// `last` is what the shape says. `plain` has room for `sealed` without its tag (65,536 bytes do
    /// always): memory that nobody else can read meanwhile, since it may hold decrypted bytes before
    /// the tag has verified.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`], and all of `plain` is wiped (F-27). [`FormatError::Misuse`]:
    /// `plain` is too short.
    pub fn open_segment(
        &self,
        index: u64,
        last: bool,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<usize, FormatError> {
        let opened = self.try_open(Position { index, last }, sealed, plain);
        self.backend.wipe_stack();
        if opened.is_err() {
            wipe(plain);
        }
        opened
    }

    #[inline(never)]
    fn try_open(
        &self,
        at: Position,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<usize, FormatError> {
        let (body, tag) = sealed
            .split_last_chunk::<TAG_LEN>()
            .ok_or(FormatError::Unauthentic)?;
        let fits = match self.suite {
            _ if !at.last => sealed.len() == SEALED_SEGMENT_LEN,
            Suite::PlainGmac | Suite::Gcm => body.len() < SEGMENT_LEN,
            Suite::Cbc64Gmac => {
                (1..=SEGMENT_LEN).contains(&body.len()) && body.len().is_multiple_of(16)
            }
        };
        if !fits || at.index >= MAX_SEGMENTS {
            return Err(FormatError::Unauthentic);
        }
        let plain = plain
            .get_mut(..body.len())
            .ok_or(FormatError::Misuse("no room for the opened segment"))?;
        let opened = self.cipher.open(at, body, tag, plain);
        let len = opened.and_then(|()| match self.suite {
            Suite::Cbc64Gmac if at.last => unpadded_len(plain),
            _ => Ok(plain.len()),
        });
        len.map_err(|_| FormatError::Unauthentic)
    }
}

impl fmt::Debug for OpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenKeys({:?}, ..)", self.suite())
    }
}

/// Checks the commitment before a subkey exists (F-26).
#[inline(never)]
fn verify_and_expand(
    backend: Backend,
    dk: &Secret<32>,
    parsed: &Header,
    header: &[u8; HEADER_LEN],
) -> Result<Box<dyn OpenSegment>, FormatError> {
    parsed.verify(dk, header)?;
    expand(backend, dk, parsed, opener)
}

/// Derives the subkeys and expands them.
#[inline(never)]
fn expand<Cipher>(
    backend: Backend,
    dk: &Secret<32>,
    header: &Header,
    into: impl FnOnce(Backend, Suite, Subkeys<'_>) -> Result<Cipher, FormatError>,
) -> Result<Cipher, FormatError> {
    let subkeys = header.subkeys(backend, dk);
    let (keys, _) = subkeys.as_flattened().as_chunks::<32>();
    let [enc, iv, mac] = [&keys[0], &keys[1], &keys[2]];
    into(backend, header.suite, Subkeys { enc, iv, mac })
}

fn sealer(
    backend: Backend,
    suite: Suite,
    keys: Subkeys<'_>,
) -> Result<Box<dyn SealSegment>, FormatError> {
    match suite {
        Suite::PlainGmac => Ok(backend.gmac(keys.mac)),
        Suite::Cbc64Gmac => Ok(backend.cbc64_sealer(keys)),
        #[cfg(feature = "gcm")]
        Suite::Gcm => Ok(Box::new(Gcm::new(keys.enc))),
        #[cfg(not(feature = "gcm"))]
        Suite::Gcm => Err(FormatError::UnsupportedSuite(suite)),
    }
}

fn opener(
    backend: Backend,
    suite: Suite,
    keys: Subkeys<'_>,
) -> Result<Box<dyn OpenSegment>, FormatError> {
    match suite {
        Suite::PlainGmac => Ok(backend.gmac(keys.mac)),
        Suite::Cbc64Gmac => Ok(backend.cbc64_opener(keys)),
        #[cfg(feature = "gcm")]
        Suite::Gcm => Ok(Box::new(Gcm::new(keys.enc))),
        #[cfg(not(feature = "gcm"))]
        Suite::Gcm => Err(FormatError::UnsupportedSuite(suite)),
    }
}

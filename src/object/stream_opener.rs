//! Opening one blob from a stream that cannot be read twice and whose length is not known.

use super::batch::open_run;
use super::error::ObjectError;
use super::plain::wipe;
use crate::format::{
    BlobShape, FormatError, HEADER_LEN, Header, MAX_SEGMENTS, OpenKeys, SEALED_SEGMENT_LEN,
    SEGMENT_LEN, TAG_LEN,
};
use crate::keys::DataKey;

/// Opens one blob front to back: sealed bytes in, in pieces of any size; plaintext out, segment by segment as each is
/// verified (F-31). It does no I/O and never waits.
///
/// Which segment is the last one is known only at the end of the stream, so a segment is opened when a byte behind it
/// has come in, and the last one by [`finish`](Self::finish). A blob that was cut off fails there: plaintext that came
/// out before is authentic, but the object is not whole until `finish` succeeds.
pub struct StreamOpener {
    keys: OpenKeys,
    header: Header,
    /// Sealed bytes of the segment that is not complete yet, or not known to be followed by another.
    held: Vec<u8>,
    next: u64,
    plain_len: u64,
    ended: bool,
}

impl StreamOpener {
    /// Reads and authenticates the first 80 bytes of a blob.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] and [`FormatError::Unsupported`] from the structure, before the key is used;
    /// [`FormatError::Unauthentic`] for another key or a changed header.
    pub fn new(key: &DataKey, header: &[u8; HEADER_LEN]) -> Result<Self, ObjectError> {
        let (keys, header) = OpenKeys::open(key.secret(), header)?;
        Ok(Self {
            keys,
            header,
            held: Vec::new(),
            next: 0,
            plain_len: 0,
            ended: false,
        })
    }

    /// Suite, part number and salt.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Plaintext bytes put out so far.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Room that the next [`update_into`](Self::update_into) with `sealed_len` bytes needs.
    pub fn room(&self, sealed_len: usize) -> usize {
        (self.held.len() + sealed_len) / SEALED_SEGMENT_LEN * SEGMENT_LEN
    }

    /// Takes in sealed bytes that follow the header and appends to `out` the plaintext of every segment that is complete
    /// and not the last.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`]; [`FormatError::Malformed`] for more than 2^28 segments. Then nothing of this call is
    /// in `out`, and the opener has ended.
    pub fn update(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let start = out.len();
        out.resize(start + self.room(sealed.len()), 0);
        let result = self.update_into(sealed, &mut out[start..]);
        out.truncate(start + *result.as_ref().unwrap_or(&0));
        result.map(|_| ())
    }

    /// [`update`](Self::update) into memory of the caller's, of at least [`room`](Self::room) bytes. Returns how many
    /// were written; on failure all that was written is wiped.
    ///
    /// # Errors
    /// As [`update`](Self::update), and [`ObjectError::WrongLength`] when `out` is too small; then nothing was taken in.
    pub fn update_into(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        if self.ended {
            return Err(ObjectError::Ended);
        }
        let needed = self.room(sealed.len());
        if out.len() < needed {
            return Err(ObjectError::WrongLength {
                what: "room for plaintext",
                needed,
                given: out.len(),
            });
        }
        self.ended = true; // until this call ends well
        let out = &mut out[..needed];
        let written = self.open_known(sealed, out).inspect_err(|_| wipe(out))?;
        self.plain_len += written as u64;
        self.ended = false;
        Ok(written)
    }

    /// Opens the last segment and appends its plaintext to `out`. The object is whole only when this succeeds. Returns
    /// the length of the whole plaintext.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`] or [`FormatError::Malformed`] when the blob was cut off, extended or changed.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<u64, ObjectError> {
        let start = out.len();
        let before = self.plain_len;
        out.resize(start + self.held.len().saturating_sub(TAG_LEN), 0);
        let opened = self.finish_into(&mut out[start..]);
        out.truncate(start + *opened.as_ref().unwrap_or(&0));
        Ok(before + opened? as u64)
    }

    /// [`finish`](Self::finish) into memory of the caller's: 65,536 bytes are always enough. Returns how many of them are
    /// plaintext.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and [`ObjectError::WrongLength`] when `out` is too small.
    pub fn finish_into(self, out: &mut [u8]) -> Result<usize, ObjectError> {
        if self.ended {
            return Err(ObjectError::Ended);
        }
        let blob_len =
            HEADER_LEN as u64 + self.next * SEALED_SEGMENT_LEN as u64 + self.held.len() as u64;
        let last = BlobShape::from_len(self.header.suite, blob_len)?.segments - 1;
        let needed = self.held.len().saturating_sub(TAG_LEN);
        let given = out.len();
        let out = out.get_mut(..needed).ok_or(ObjectError::WrongLength {
            what: "room for plaintext",
            needed,
            given,
        })?;
        open_run(&self.keys, last, last, &self.held, out)
    }

    /// Opens every segment that has at least one byte behind it.
    fn open_known(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        let mut sealed = sealed;
        let mut at = 0;
        if !self.held.is_empty() {
            let missing = SEALED_SEGMENT_LEN - self.held.len();
            let (take, rest) = sealed.split_at(sealed.len().min(missing));
            self.held.extend_from_slice(take);
            if rest.is_empty() {
                return Ok(0);
            }
            sealed = rest;
            at += self.open_more(1, None, &mut out[..SEGMENT_LEN])?;
            self.held.clear();
        }
        let segments = sealed.len().saturating_sub(1) / SEALED_SEGMENT_LEN;
        let (whole, rest) = sealed.split_at(segments * SEALED_SEGMENT_LEN);
        at += self.open_more(
            segments,
            Some(whole),
            &mut out[at..at + segments * SEGMENT_LEN],
        )?;
        self.held.extend_from_slice(rest);
        Ok(at)
    }

    /// Opens the next `segments`, from `sealed` or from what is held.
    fn open_more(
        &mut self,
        segments: usize,
        sealed: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<usize, ObjectError> {
        if self.next + segments as u64 > MAX_SEGMENTS {
            return Err(FormatError::Malformed("more than 2^28 segments").into());
        }
        let sealed = sealed.unwrap_or(&self.held);
        let opened = open_run(&self.keys, self.next, u64::MAX, sealed, out)?;
        self.next += segments as u64;
        Ok(opened)
    }
}

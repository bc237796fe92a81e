//! Sealing one blob from a stream of plaintext.

use super::batch::seal_run;
use super::error::ObjectError;
use super::plain::PlainBuf;
use crate::format::{
    HEADER_LEN, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite, TAG_LEN, sealed_len,
};
use crate::keys::DataKey;

/// Seals one blob: plaintext in, in pieces of any size; sealed bytes out. It does no I/O and never waits.
///
/// A segment is sealed only from its complete plaintext (64 KiB, or less for the final one in [`finish`](Self::finish)):
/// no byte of its ciphertext comes out before its last plaintext byte went in (F-28). Long pieces are sealed on all
/// cores, straight from the caller's memory. The only plaintext held is the piece of a segment not yet complete, at most
/// 65,535 bytes, in a buffer that is wiped when the sealer ends.
///
/// A sealer ends with its blob: it cannot be cloned, resumed or serialised, since sealing two contents under one salt
/// voids both (F-29). A new attempt is a new sealer under a new data key.
///
/// ```compile_fail,E0599
/// fn twice(sealer: strongroom::object::BlobSealer) {
///     let _ = sealer.clone();
/// }
/// ```
pub struct BlobSealer {
    keys: SealKeys,
    header: [u8; HEADER_LEN],
    salt: [u8; 32],
    part: u32,
    held: Held,
    next: u64,
    plain_len: u64,
    sealed_len: u64,
    ended: bool,
}

/// What became of a blob; the facts a manifest entry and a catalog row need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobSummary {
    /// Suite it is sealed under.
    pub suite: Suite,
    /// Part number, 0 when it is not a part of a multipart object.
    pub part: u32,
    /// Salt in its header.
    pub salt: [u8; 32],
    /// Bytes that went in.
    pub plain_len: u64,
    /// Bytes that came out.
    pub sealed_len: u64,
}

impl BlobSealer {
    /// A sealer for a new blob under `key`, with a fresh salt. `part` is 0, or 1 to 10,000 for a part of a multipart
    /// object.
    ///
    /// # Errors
    /// The suite is not built in, the part number is out of range, or the kernel's random source failed.
    pub fn new(key: &DataKey, suite: Suite, part: u32) -> Result<Self, ObjectError> {
        let salt = Salt::fresh(part)?;
        let bytes = salt.0;
        let (keys, header) = SealKeys::create(key.secret(), suite, part, salt)?;
        Ok(Self {
            keys,
            header,
            salt: bytes,
            part,
            held: Held::default(),
            next: 0,
            plain_len: 0,
            sealed_len: 0,
            ended: false,
        })
    }

    /// The salt in the blob's header.
    pub fn salt(&self) -> [u8; 32] {
        self.salt
    }

    /// Plaintext bytes taken in so far.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Bytes that the next [`update`](Self::update) with `plain_len` bytes puts out.
    pub fn room(&self, plain_len: usize) -> usize {
        self.header_room() + (self.held.len + plain_len) / SEGMENT_LEN * SEALED_SEGMENT_LEN
    }

    /// Takes plaintext in and appends to `out` the header (the first time) and every segment that is now complete.
    ///
    /// # Errors
    /// [`ObjectError::TooLong`], before any byte of this call is sealed; `out` is as it was.
    pub fn update(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let start = out.len();
        out.resize(start + self.room(plain.len()), 0);
        let result = self.update_into(plain, &mut out[start..]);
        if result.is_err() {
            out.truncate(start);
        }
        result.map(|_| ())
    }

    /// [`update`](Self::update) into memory of the caller's, of at least [`room`](Self::room) bytes. Returns how many
    /// were written.
    ///
    /// # Errors
    /// As [`update`](Self::update), and [`ObjectError::WrongLength`] when `out` is too small; then nothing was taken in.
    pub fn update_into(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        let needed = self.room(plain.len());
        self.admit(plain.len())?;
        expect_room(out, needed)?;
        self.ended = true; // until this call ends well
        let taken = plain.len() as u64;
        let mut at = self.put_header(out);
        let mut plain = plain;
        if self.held.len > 0 {
            plain = self.held.fill(plain);
            if let Some(segment) = self.held.complete() {
                self.keys.seal_segment(
                    self.next,
                    false,
                    segment,
                    &mut out[at..][..SEALED_SEGMENT_LEN],
                )?;
                self.next += 1;
                at += SEALED_SEGMENT_LEN;
            }
        }
        let (whole, rest) = plain.split_at(plain.len() / SEGMENT_LEN * SEGMENT_LEN);
        seal_run(&self.keys, self.next, whole, &mut out[at..needed])?;
        self.next += (whole.len() / SEGMENT_LEN) as u64;
        self.held.fill(rest);
        self.plain_len += taken;
        self.sealed_len += needed as u64;
        self.ended = false;
        Ok(needed)
    }

    /// Seals the final segment and appends it to `out`. Without this call the blob cannot be opened.
    ///
    /// # Errors
    /// [`ObjectError::Ended`] after an earlier failure.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<BlobSummary, ObjectError> {
        self.finish_with(&[], out)
    }

    /// Takes the last plaintext in and seals all that is left. A small object is sealed by this one call, without a copy
    /// of its plaintext.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn finish_with(self, plain: &[u8], out: &mut Vec<u8>) -> Result<BlobSummary, ObjectError> {
        let start = out.len();
        out.resize(start + self.room_to_finish(plain.len()), 0);
        let result = self.finish_into(plain, &mut out[start..]);
        out.truncate(start + result.as_ref().map_or(0, |(written, _)| *written));
        result.map(|(_, summary)| summary)
    }

    /// Bytes that [`finish_into`](Self::finish_into) with `plain_len` bytes needs at most.
    pub fn room_to_finish(&self, plain_len: usize) -> usize {
        self.room(plain_len) + (self.held.len + plain_len) % SEGMENT_LEN + BLOCK + TAG_LEN
    }

    /// [`finish_with`](Self::finish_with) into memory of the caller's, of at least
    /// [`room_to_finish`](Self::room_to_finish) bytes. Returns how many were written.
    ///
    /// # Errors
    /// As [`update_into`](Self::update_into).
    pub fn finish_into(
        mut self,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, BlobSummary), ObjectError> {
        self.admit(plain.len())?;
        expect_room(out, self.room_to_finish(plain.len()))?;
        // The final segment is sealed straight from the caller's memory, unless part of it is held.
        let final_len = (self.held.len + plain.len()) % SEGMENT_LEN;
        let before = plain.len().checked_sub(final_len);
        let (before, last) = plain.split_at(before.unwrap_or(plain.len()));
        let mut written = self.update_into(before, out)?;
        let held = self.held.bytes();
        let last = if held.is_empty() { last } else { held };
        let out = &mut out[written..];
        let sealed = self.keys.seal_segment(self.next, true, last, out)?;
        written += sealed;
        let summary = BlobSummary {
            suite: self.keys.suite(),
            part: self.part,
            salt: self.salt,
            plain_len: self.next * SEGMENT_LEN as u64 + final_len as u64,
            sealed_len: self.sealed_len + sealed as u64,
        };
        debug_assert_eq!(
            sealed_len(summary.suite, summary.plain_len),
            Some(summary.sealed_len)
        );
        Ok((written, summary))
    }

    /// Whether `more` bytes may come in. Does not count them.
    fn admit(&self, more: usize) -> Result<(), ObjectError> {
        if self.ended {
            return Err(ObjectError::Ended);
        }
        self.plain_len
            .checked_add(more as u64)
            .and_then(|total| sealed_len(self.keys.suite(), total))
            .ok_or(ObjectError::TooLong)
            .map(|_| ())
    }

    fn header_room(&self) -> usize {
        if self.sealed_len == 0 { HEADER_LEN } else { 0 }
    }

    fn put_header(&self, out: &mut [u8]) -> usize {
        let len = self.header_room();
        out[..len].copy_from_slice(&self.header[..len]);
        len
    }
}

/// The plaintext of a segment that is not complete yet. Its buffer is small for a small object and of one segment for
/// all others; the small one is wiped when it is replaced.
#[derive(Default)]
struct Held {
    buf: Option<PlainBuf>,
    len: usize,
}

impl Held {
    /// Takes in what is missing to a whole segment; returns what is left over.
    fn fill<'p>(&mut self, plain: &'p [u8]) -> &'p [u8] {
        let (take, rest) = plain.split_at(plain.len().min(SEGMENT_LEN - self.len));
        if take.is_empty() {
            return rest;
        }
        let len = self.len + take.len();
        if self.buf.as_ref().is_none_or(|buf| buf.len() < len) {
            let room = if len <= SMALL { SMALL } else { SEGMENT_LEN };
            let mut larger = PlainBuf::new(room);
            larger[..self.len].copy_from_slice(self.bytes());
            self.buf = Some(larger);
        }
        if let Some(buf) = &mut self.buf {
            buf[self.len..len].copy_from_slice(take);
        }
        self.len = len;
        rest
    }

    /// The segment, once it is complete. The next [`fill`](Self::fill) begins a new one over it.
    fn complete(&mut self) -> Option<&[u8]> {
        if self.len < SEGMENT_LEN {
            return None;
        }
        self.len = 0;
        self.buf.as_deref()
    }

    fn bytes(&self) -> &[u8] {
        self.buf.as_ref().map_or(&[], |buf| &buf[..self.len])
    }
}

fn expect_room(out: &[u8], needed: usize) -> Result<(), ObjectError> {
    if out.len() < needed {
        return Err(ObjectError::WrongLength {
            what: "room for sealed bytes",
            needed,
            given: out.len(),
        });
    }
    Ok(())
}

const BLOCK: usize = 16;
/// Objects up to this size get a buffer of this size.
const SMALL: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// F-25, without sealing 16 TiB first.
    #[test]
    fn more_than_the_format_holds_is_refused_before_a_byte_of_it_is_sealed() {
        let key = DataKey::random().unwrap();
        let mut sealer = BlobSealer::new(&key, Suite::Cbc64Gmac, 0).unwrap();
        let mut out = Vec::new();
        sealer.plain_len = (1 << 44) - 11;
        sealer.next = (1 << 28) - 1;
        assert_eq!(sealer.update(&[0; 11], &mut out), Err(ObjectError::TooLong));
        assert!(out.is_empty());
        assert_eq!(sealer.update(&[0; 10], &mut out), Ok(()));
    }
}

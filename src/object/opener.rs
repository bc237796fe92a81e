//! Opening one blob by position: ranges, and whole objects batch by batch.

use std::ops::Range;

use super::batch::open_run;
use super::error::ObjectError;
use super::plain::{PlainBuf, wipe};
use crate::format::{
    BlobShape, FormatError, HEADER_LEN, Header, OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, TAG_LEN,
    sealed_len,
};
use crate::keys::DataKey;

/// Opens one blob whose bytes can be read at any offset. It does no I/O and never waits: [`plan`](Self::plan) says which
/// bytes of the blob cover a range of the plaintext, the caller reads them, [`open`](Self::open) verifies each segment
/// and hands out the range.
///
/// A tag proves key, position and "not the last", not the length of the blob. So the length comes from a caller who
/// knows it (a verified manifest), or from the final segment, which [`prove_length`](Self::prove_length) opens first
/// (F-30); no range is planned before.
pub struct BlobOpener {
    keys: OpenKeys,
    header: Header,
    shape: BlobShape,
    blob_len: u64,
    plain_len: Option<u64>,
}

/// Which bytes of a blob cover a range of its plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    first: u64,
    bytes: Range<u64>,
    room: usize,
    skip: usize,
    take: usize,
    final_len: Option<usize>,
}

impl Plan {
    /// The bytes of the blob to read and hand to [`BlobOpener::open`]: whole segments.
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }

    /// How many bytes of the blob that is.
    pub fn sealed_len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// How many bytes of plaintext come out: the length of the range.
    pub fn plain_len(&self) -> usize {
        self.take
    }

    /// Room that [`BlobOpener::open_into`] needs: the ciphertext of all segments of the plan.
    pub fn room(&self) -> usize {
        self.room
    }
}

impl BlobOpener {
    /// Reads and authenticates the 80-byte header of a blob of `blob_len` bytes. `plain_len` is the length of its
    /// plaintext if the caller knows it from an authenticated place, as from a manifest entry (F-83).
    ///
    /// # Errors
    /// [`FormatError::Malformed`] and [`FormatError::Unsupported`] from the structure, before the key is used, also when
    /// `blob_len` does not belong to `plain_len`; [`FormatError::Unauthentic`] for another key or a changed header.
    pub fn new(
        key: &DataKey,
        header: &[u8],
        blob_len: u64,
        plain_len: Option<u64>,
    ) -> Result<Self, ObjectError> {
        let parsed = crate::format::parse_header(header)?;
        let shape = BlobShape::from_len(parsed.suite, blob_len)?;
        if plain_len.is_some_and(|len| sealed_len(parsed.suite, len) != Some(blob_len)) {
            return Err(FormatError::Malformed("the blob is not as long as its object").into());
        }
        let header: &[u8; HEADER_LEN] = header
            .first_chunk()
            .ok_or(FormatError::Malformed("shorter than a header"))?;
        let (keys, header) = OpenKeys::open(key.secret(), header)?;
        Ok(Self {
            keys,
            header,
            shape,
            blob_len,
            plain_len,
        })
    }

    /// Suite, part number and salt.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of the plaintext, once it is known.
    pub fn plain_len(&self) -> Option<u64> {
        self.plain_len
    }

    /// The bytes of the blob that hold its final segment, for [`prove_length`](Self::prove_length): at most 65,552.
    pub fn final_segment(&self) -> Range<u64> {
        self.shape.segment_range(self.shape.segments - 1)
    }

    /// Opens the final segment: that the blob ends here is then proven, and its length known.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`]; also when the caller gave another length before.
    pub fn prove_length(&mut self, sealed: &[u8]) -> Result<u64, ObjectError> {
        expect_len("the final segment", sealed, self.shape.last_len as u64)?;
        let last = self.shape.segments - 1;
        let mut plain = PlainBuf::new(sealed.len());
        let opened = self.keys.open_segment(last, true, sealed, &mut plain)?;
        let length = last * SEGMENT_LEN as u64 + opened as u64;
        if self.plain_len.is_some_and(|known| known != length) {
            return Err(ObjectError::UNAUTHENTIC);
        }
        self.plain_len = Some(length);
        Ok(length)
    }

    /// The segments that cover `range` of the plaintext. A range that reaches its end always spans the final segment,
    /// also when that holds no byte of it: who reads to the end has verified the end.
    ///
    /// # Errors
    /// [`ObjectError::LengthUnproven`], [`ObjectError::OutOfRange`].
    pub fn plan(&self, range: Range<u64>) -> Result<Plan, ObjectError> {
        let length = self.plain_len.ok_or(ObjectError::LengthUnproven)?;
        let outside = ObjectError::OutOfRange {
            start: range.start,
            end: range.end,
            length,
        };
        if range.start > range.end || range.end > length {
            return Err(outside);
        }
        let take = usize::try_from(range.end - range.start).map_err(|_| outside)?;
        let segment = SEGMENT_LEN as u64;
        let last = self.shape.segments - 1;
        let first = range.start / segment;
        let to_the_end = range.end == length;
        let after = if to_the_end {
            last + 1
        } else {
            range.end.div_ceil(segment).max(first)
        };
        let bytes = if after == first {
            0..0 // an empty range inside the object
        } else {
            self.shape.segment_range(first).start..self.shape.segment_range(after - 1).end
        };
        let sealed = bytes.end - bytes.start;
        let tags = segments_in(sealed) * TAG_LEN as u64;
        let room = usize::try_from(sealed - tags).map_err(|_| outside)?;
        let final_len = to_the_end.then_some(length - last * segment);
        Ok(Plan {
            first,
            bytes,
            room,
            skip: remainder(range.start),
            take,
            final_len: final_len.map(remainder),
        })
    }

    /// Verifies and opens the segments of `plan` from `sealed`, the bytes [`Plan::bytes`] names, and appends the range to
    /// `out`. All or nothing: if one segment is not authentic, what this call wrote is wiped and `out` is as it was.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`]; [`ObjectError::WrongLength`] when `sealed` is not what was planned.
    pub fn open(&self, plan: &Plan, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let start = out.len();
        out.resize(start + plan.room(), 0);
        let result = self.open_into(plan, sealed, &mut out[start..]);
        out.truncate(start + *result.as_ref().unwrap_or(&0));
        result.map(|_| ())
    }

    /// [`open`](Self::open) into memory of the caller's, of at least [`Plan::room`] bytes. The range is at its start;
    /// behind it nothing of the plaintext is left. Returns the length of the range.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_into(
        &self,
        plan: &Plan,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, ObjectError> {
        expect_len("the sealed bytes of the plan", sealed, plan.sealed_len())?;
        let room = plan.room();
        if out.len() < room {
            return Err(ObjectError::WrongLength {
                what: "room for plaintext",
                needed: room,
                given: out.len(),
            });
        }
        let out = &mut out[..room];
        let last = self.shape.segments - 1;
        let opened = open_run(&self.keys, plan.first, last, sealed, out)?;
        let short = plan.skip + plan.take > opened
            || plan
                .final_len
                .is_some_and(|len| opened % SEGMENT_LEN != len);
        if short {
            wipe(out); // an authentic final segment of another length than the caller vouched for
            return Err(ObjectError::UNAUTHENTIC);
        }
        if plan.skip > 0 {
            out.copy_within(plan.skip..plan.skip + plan.take, 0);
        }
        wipe(&mut out[plan.take..opened]);
        Ok(plan.take)
    }

    /// Length of the whole blob.
    pub fn blob_len(&self) -> u64 {
        self.blob_len
    }
}

fn segments_in(sealed: u64) -> u64 {
    sealed.div_ceil(SEALED_SEGMENT_LEN as u64)
}

fn remainder(offset: u64) -> usize {
    usize::try_from(offset % SEGMENT_LEN as u64).expect("below the segment length")
}

fn expect_len(what: &'static str, bytes: &[u8], needed: u64) -> Result<(), ObjectError> {
    if bytes.len() as u64 == needed {
        return Ok(());
    }
    Err(ObjectError::WrongLength {
        what,
        needed: usize::try_from(needed).unwrap_or(usize::MAX),
        given: bytes.len(),
    })
}

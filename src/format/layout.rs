//! Where segments lie: arithmetic on lengths, before any key (F-15, F-16, F-24, F-25).

use std::ops::Range;

use super::{
    FormatError, HEADER_LEN, MAX_SEGMENTS, SEALED_SEGMENT_LEN, SEGMENT_LEN, Suite, TAG_LEN,
};

/// Bytes of the blob of `plain_len` plaintext bytes (F-24); none if it had more than 2^28 segments.
#[must_use]
pub fn sealed_len(suite: Suite, plain_len: u64) -> Option<u64> {
    let full = plain_len / SEGMENT;
    let rest = plain_len % SEGMENT;
    if full >= MAX_SEGMENTS {
        return None;
    }
    let last = match suite {
        Suite::Cbc64Gmac => (rest / BLOCK + 1) * BLOCK,
        Suite::PlainGmac | Suite::Gcm => rest,
    };
    Some(HEADER + SEALED_SEGMENT * full + last + TAG)
}

/// The segments of a blob, as its length alone says (F-16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobShape {
    /// How many, 1 to 2^28.
    pub segments: u64,
    /// Sealed bytes of the last one, with its tag.
    pub last_len: usize,
}

impl BlobShape {
    /// Step 4 of the reading order (F-26), for a blob of `blob_len` bytes, header included.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]: no plaintext has a blob of this length.
    pub fn from_len(suite: Suite, blob_len: u64) -> Result<Self, FormatError> {
        let body = blob_len
            .checked_sub(HEADER)
            .ok_or(FormatError::Malformed("shorter than a header"))?;
        let segments = body.div_ceil(SEALED_SEGMENT);
        if !(1..=MAX_SEGMENTS).contains(&segments) {
            return Err(FormatError::Malformed("number of segments"));
        }
        let last = body - (segments - 1) * SEALED_SEGMENT;
        let fits = match suite {
            Suite::Cbc64Gmac => last >= BLOCK + TAG && last.is_multiple_of(BLOCK),
            Suite::PlainGmac | Suite::Gcm => (TAG..SEALED_SEGMENT).contains(&last),
        };
        match usize::try_from(last) {
            Ok(last_len) if fits => Ok(Self { segments, last_len }),
            _ => Err(FormatError::Malformed("length of the last segment")),
        }
    }

    /// Where sealed segment `index` lies in the blob; empty, at the blob's end, if there is none.
    #[must_use]
    pub fn segment_range(&self, index: u64) -> Range<u64> {
        let last = HEADER + (self.segments - 1) * SEALED_SEGMENT;
        let end = last + self.last_len as u64;
        if index < self.segments {
            let start = HEADER + index * SEALED_SEGMENT;
            start..end.min(start + SEALED_SEGMENT)
        } else {
            end..end
        }
    }

    /// Whether segment `index` is the last.
    #[must_use]
    pub fn is_last(&self, index: u64) -> bool {
        index + 1 == self.segments
    }
}

const BLOCK: u64 = 16;
const TAG: u64 = TAG_LEN as u64;
const HEADER: u64 = HEADER_LEN as u64;
const SEGMENT: u64 = SEGMENT_LEN as u64;
const SEALED_SEGMENT: u64 = SEALED_SEGMENT_LEN as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUITES: [Suite; 3] = [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm];

    /// F-24 and F-26 step 4 from both sides: the shape of every plaintext length's blob is the one
    /// of F-15.
    fn check(suite: Suite, plain_len: u64) {
        let len = sealed_len(suite, plain_len).expect("short enough");
        let shape = BlobShape::from_len(suite, len).expect("a length that sealing gives");
        assert_eq!(shape.segments, plain_len / 65_536 + 1);
        let last = shape.segment_range(shape.segments - 1);
        assert_eq!(last.end, len);
        assert_eq!(last.end - last.start, shape.last_len as u64);
        assert_eq!(shape.segment_range(shape.segments), len..len);
        assert!(shape.is_last(shape.segments - 1) && !shape.is_last(shape.segments));
        if shape.segments > 1 {
            assert_eq!(shape.segment_range(0), 80..80 + 65_552);
            assert_eq!(shape.segment_range(shape.segments - 2).end, last.start);
        }
    }

    #[test]
    fn sealing_lengths_have_the_shape_they_should() {
        let around = [0, 1, 15, 16, 17, 1023, 1024, 1025].into_iter();
        for plain_len in around.chain(65_519..=65_553).chain([131_071, 131_072]) {
            SUITES.iter().for_each(|&suite| check(suite, plain_len));
        }
    }

    #[test]
    fn sealed_lengths_are_those_of_the_formula() {
        assert_eq!(sealed_len(Suite::Cbc64Gmac, 0), Some(112));
        assert_eq!(sealed_len(Suite::Cbc64Gmac, 15), Some(112));
        assert_eq!(sealed_len(Suite::Cbc64Gmac, 16), Some(128));
        assert_eq!(sealed_len(Suite::Cbc64Gmac, 65_535), Some(80 + 65_552));
        assert_eq!(sealed_len(Suite::Cbc64Gmac, 65_536), Some(80 + 65_552 + 32));
        assert_eq!(sealed_len(Suite::PlainGmac, 0), Some(96));
        assert_eq!(sealed_len(Suite::Gcm, 65_536), Some(80 + 65_536 + 32));
    }

    /// F-25.
    #[test]
    fn at_most_2_to_the_28_segments() {
        let longest = (1 << 44) - 1;
        for suite in SUITES {
            check(suite, longest);
            assert_eq!(sealed_len(suite, longest + 1), None);
            assert_eq!(sealed_len(suite, u64::MAX), None);
            let segments = 1_u64 << 28;
            let too_long = 80 + segments * 65_552 + 32;
            assert_eq!(
                BlobShape::from_len(suite, too_long),
                Err(FormatError::Malformed("number of segments"))
            );
            assert!(BlobShape::from_len(suite, u64::MAX).is_err());
        }
    }

    #[test]
    fn no_other_length_is_a_blob() {
        for suite in SUITES {
            let mut is_blob = vec![false; 140_000];
            for plain_len in 0..140_000 {
                let len = sealed_len(suite, plain_len).and_then(|len| usize::try_from(len).ok());
                if let Some(slot) = len.and_then(|len| is_blob.get_mut(len)) {
                    *slot = true;
                }
            }
            for (len, is_blob) in (0..).zip(is_blob) {
                let shape = BlobShape::from_len(suite, len);
                assert_eq!(shape.is_ok(), is_blob, "{suite:?}, {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_length_has_one_shape(plain_len in 0..1_u64 << 44) {
            SUITES.iter().for_each(|&suite| check(suite, plain_len));
        }

        #[test]
        fn no_length_panics(len: u64, index: u64) {
            for suite in SUITES {
                if let Ok(shape) = BlobShape::from_len(suite, len) {
                    prop_assert!(shape.segment_range(index % (1 << 30)).end <= len);
                }
            }
        }
    }
}

//! Blobs as a whole: sealed, opened, and damaged in every way.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{cipher::Backend, secret::Secret};

const SUITES: [Suite; 2] = [Suite::PlainGmac, Suite::Cbc64Gmac];

/// Lengths around every boundary of blocks, rows and segments.
const LENGTHS: [usize; 28] = [
    0, 1, 15, 16, 17, 255, 256, 257, 272, 1007, 1008, 1023, 1024, 1025, 1040, 2047, 65_519, 65_520,
    65_521, 65_535, 65_536, 65_537, 65_551, 65_552, 65_553, 131_071, 131_072, 131_073,
];

#[test]
fn what_was_sealed_opens_at_every_boundary_on_every_backend() {
    for &backend in Backend::available() {
        for suite in SUITES {
            for len in LENGTHS {
                let (dk, plain) = (data_key(1), paint(len));
                let blob = seal(backend, &dk, suite, 3, &plain);
                assert_eq!(Some(blob.len() as u64), sealed_len(suite, len as u64));
                assert_eq!(open(&dk, &blob).unwrap(), plain, "{suite:?}, {len} bytes");
            }
        }
    }
}

fn data_key(mark: u8) -> Secret<32> {
    Secret::take(&mut [mark; 32]).unwrap()
}

/// Bytes with the prime period 251, so that blocks, rows or segments in a wrong place show.
fn paint(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn seal(backend: Backend, dk: &Secret<32>, suite: Suite, part: u32, plain: &[u8]) -> Vec<u8> {
    let salt = Salt([suite as u8; 32]);
    let (keys, header) = SealKeys::create_on(backend, dk, suite, part, salt).unwrap();
    let mut blob = header.to_vec();
    let segments = plain.len() / SEGMENT_LEN + 1;
    for index in 0..segments {
        let last = index + 1 == segments;
        let from = index * SEGMENT_LEN;
        let to = plain.len().min(from + SEGMENT_LEN);
        let mut out = vec![0; SEALED_SEGMENT_LEN];
        let len = keys
            .seal_segment(index as u64, last, &plain[from..to], &mut out)
            .unwrap();
        blob.extend(&out[..len]);
    }
    blob
}

/// A reader of a whole blob in the order of F-26.
fn open(dk: &Secret<32>, blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let suite = parse_header(blob)?.suite;
    let shape = BlobShape::from_len(suite, blob.len() as u64)?;
    let (keys, _) = OpenKeys::open(dk, blob.first_chunk().unwrap())?;
    let mut plain = Vec::new();
    for index in 0..shape.segments {
        let range = shape.segment_range(index);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let mut out = vec![0xEE; SEGMENT_LEN];
        match keys.open_segment(index, shape.is_last(index), &blob[range], &mut out) {
            Ok(len) => plain.extend(&out[..len]),
            Err(error) => {
                assert!(out.iter().all(|&byte| byte == 0), "not wiped after {error}");
                return Err(error);
            }
        }
    }
    Ok(plain)
}

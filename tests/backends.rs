//! Every backend against the toy twin, which shares no code with any of them.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use strongroom::{
    cipher::Backend,
    format::{FormatError, HEADER_LEN, OpenKeys, SEGMENT_LEN, Salt, SealKeys, Suite, TAG_LEN},
    secret::Secret,
};

#[path = "twin/mod.rs"]
#[allow(dead_code)]
mod twin;

const SUITES: [Suite; 2] = [Suite::PlainGmac, Suite::Cbc64Gmac];

/// Around every boundary there is: block, vector (16, 32, 64), group (128, 256, 1,024), row (1,024),
/// segment.
#[test]
fn every_backend_agrees_with_the_twin_at_every_boundary() {
    let edges = [
        0, 16, 32, 64, 128, 256, 512, 1024, 1152, 1280, 2048, 3072, 4096, 32_768, 64_512, 65_280,
        65_536, 131_072,
    ];
    for edge in edges {
        for len in [-17, -16, -15, -1, 0, 1, 15, 16, 17].map(|by| edge + by) {
            if let Ok(len) = usize::try_from(len) {
                check(&paint(len), 3, len % 61, len % 67);
            }
        }
    }
}

/// Last segments up to two rows and a bit: combinations of group, vector and block left over.
#[test]
fn every_backend_agrees_with_the_twin_at_short_lengths() {
    for len in (0..300).chain((300..2200).step_by(7)) {
        check(&paint(len), 0, len % 7, len % 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_backend_agrees_with_the_twin_on_any_content_anywhere(
        plain in proptest::collection::vec(any::<u8>(), 0..20_000),
        mark: u8, from in 0..64_usize, to in 0..64_usize,
    ) {
        check(&plain, mark, from, to);
    }
}

/// Seals and opens on each backend, from and to memory of any alignment: the twin's bytes, the same
/// plaintext, and after damage the same error and nothing else.
fn check(plain: &[u8], mark: u8, from: usize, to: usize) {
    let dk = Secret::take(&mut [mark; 32]).unwrap();
    for suite in SUITES {
        let salt = [mark ^ 0x80; 32];
        let expected = twin::seal(&[mark; 32], suite as u8, 7, &salt, plain);
        for &backend in Backend::available() {
            let context = format!("{backend}, {suite:?}, {} bytes", plain.len());
            let (keys, header) = SealKeys::create_on(backend, &dk, suite, 7, Salt(salt)).unwrap();
            let mut blob = header.to_vec();
            let last = plain.len() / SEGMENT_LEN;
            for i in 0..=last {
                let piece = &plain[i * SEGMENT_LEN..plain.len().min((i + 1) * SEGMENT_LEN)];
                let moved = shifted(piece, from);
                let mut out = vec![0xEE; to + piece.len() + 32];
                let at = i as u64;
                let len = keys.seal_segment(at, i == last, &moved[from..], &mut out[to..]);
                let len = len.unwrap();
                assert!(
                    out[to + len..].iter().all(|&byte| byte == 0xEE),
                    "{context}"
                );
                blob.extend(&out[to..to + len]);
            }
            assert!(blob == expected, "{context}: other bytes than the twin");

            let (keys, _) = OpenKeys::open_on(backend, &dk, blob.first_chunk().unwrap()).unwrap();
            let mut opened: Vec<u8> = Vec::new();
            let sealed = blob[HEADER_LEN..].chunks(SEGMENT_LEN + TAG_LEN);
            for (i, sealed) in (0..).zip(sealed) {
                let mut moved = shifted(sealed, from);
                let mut out = vec![0xEE; to + sealed.len() - TAG_LEN];
                let is_last = i == last as u64;
                let len = keys.open_segment(i, is_last, &moved[from..], &mut out[to..]);
                opened.extend(&out[to..to + len.unwrap()]);

                let at = from + usize::from(mark) * 263 % sealed.len();
                moved[at] ^= 1 << (mark % 8);
                let damaged = keys.open_segment(i, is_last, &moved[from..], &mut out[to..]);
                assert_eq!(damaged, Err(FormatError::Unauthentic), "{context}");
                assert!(
                    out[to..].iter().all(|&byte| byte == 0),
                    "{context}: not wiped"
                );
            }
            assert!(opened == plain, "{context}: another plaintext");
        }
    }
}

fn shifted(bytes: &[u8], by: usize) -> Vec<u8> {
    let mut moved = vec![0; by];
    moved.extend(bytes);
    moved
}

fn paint(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

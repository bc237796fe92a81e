//! Blobs as a whole: sealed, opened, and damaged in every way.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::{cipher::Backend, secret::Secret};

#[cfg(feature = "gcm")]
const SUITES: [Suite; 3] = [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm];
#[cfg(not(feature = "gcm"))]
const SUITES: [Suite; 2] = [Suite::PlainGmac, Suite::Cbc64Gmac];

/// Lengths around every boundary of blocks, rows and segments (F-15, F-18, F-24).
const LENGTHS: [usize; 30] = [
    0, 1, 15, 16, 17, 255, 256, 257, 272, 1007, 1008, 1023, 1024, 1025, 1040, 1296, 1312, 2047,
    65_519, 65_520, 65_521, 65_535, 65_536, 65_537, 65_551, 65_552, 65_553, 131_071, 131_072,
    131_073,
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

/// F-10, F-11: what the header says is what was asked for.
#[test]
fn a_header_says_suite_part_and_salt() {
    for suite in SUITES {
        for part in [0, 1, 10_000] {
            let blob = seal(Backend::detect(), &data_key(1), suite, part, b"");
            let header = parse_header(&blob).unwrap();
            assert_eq!((header.suite, header.part), (suite, part));
            assert_eq!(header.salt, Salt([suite as u8; 32]));
        }
    }
}

/// F-26 steps 1 to 3, in their order: a header that is wrong in several ways fails by the first.
#[test]
fn a_header_is_checked_in_the_order_of_the_format() {
    let blob = seal(Backend::detect(), &data_key(1), Suite::Cbc64Gmac, 1, b"x");
    let malformed = |field| Err(FormatError::Malformed(field));
    let mut broken = blob.clone();
    broken[13] = 0xFF; // part: 65,281 and more
    assert_eq!(parse_header(&broken), malformed("part number"));
    broken[11] = 5;
    assert_eq!(parse_header(&broken), malformed("lanes"));
    broken[10] = 15;
    assert_eq!(parse_header(&broken), malformed("segment size"));
    broken[9] = 2;
    let error = if Suite::Gcm.is_built_in() {
        FormatError::Malformed("segment size")
    } else {
        FormatError::UnsupportedSuite(Suite::Gcm)
    };
    assert_eq!(parse_header(&broken), Err(error));
    for suite in 3..=255 {
        broken[9] = suite;
        let error = parse_header(&broken).unwrap_err();
        assert!(matches!(error, FormatError::Unsupported(_)), "{error}");
    }
    broken[8] = 2;
    let error = FormatError::Unsupported("format other than 1");
    assert_eq!(parse_header(&broken), Err(error));
    broken[0] ^= 0x20;
    assert_eq!(parse_header(&broken), malformed("magic"));
    let short = malformed("shorter than a header");
    assert_eq!(parse_header(&broken[..79]), short);
    assert_eq!(parse_header(&[]), short);
}

/// F-22, F-26 step 2.
#[cfg(not(feature = "gcm"))]
#[test]
fn suite_2_is_known_but_not_built_in() {
    let dk = data_key(1);
    let error = SealKeys::create(&dk, Suite::Gcm, 0, Salt([0; 32])).unwrap_err();
    assert_eq!(error, FormatError::UnsupportedSuite(Suite::Gcm));
    assert!(error.to_string().contains("AES256-GCM"), "{error}");
}

/// F-14, F-26 steps 5 and 6, F-27: no bit of a blob can change. `open` checks the wipe.
#[test]
fn every_flipped_bit_is_noticed() {
    for (suite, len) in SUITES.into_iter().flat_map(|s| [(s, 0), (s, 1), (s, 33)]) {
        let dk = data_key(1);
        let blob = seal(Backend::detect(), &dk, suite, 5, &paint(len));
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = open(&dk, &damaged).expect_err("damage goes unnoticed");
            match bit / 8 {
                0..8 | 10..12 => assert!(matches!(error, FormatError::Malformed(_)), "{bit}"),
                8 => assert!(matches!(error, FormatError::Unsupported(_)), "{bit}"),
                9 | 12..16 => {} // another suite or part: by number, or by the commitment
                _ => assert_eq!(error, FormatError::Unauthentic, "{bit}"),
            }
        }
    }
}

/// F-16: the number of segments follows from the length, so a cut shows wherever it is made.
#[test]
fn a_blob_cut_or_grown_anywhere_does_not_open() {
    for suite in SUITES {
        let dk = data_key(1);
        let blob = seal(Backend::detect(), &dk, suite, 0, &paint(40));
        for len in 0..blob.len() {
            open(&dk, &blob[..len]).expect_err("a shorter blob");
        }
        for more in 1..=48 {
            let mut grown = blob.clone();
            grown.resize(blob.len() + more, 0x10);
            open(&dk, &grown).expect_err("a longer blob");
        }
        let blob = seal(
            Backend::detect(),
            &dk,
            suite,
            0,
            &paint(2 * SEGMENT_LEN + 5),
        );
        for segments in [1, 2] {
            for beyond in [0, 1, 15, 16, 17, 31, 32] {
                let len = HEADER_LEN + segments * SEALED_SEGMENT_LEN + beyond;
                if len < blob.len() {
                    open(&dk, &blob[..len]).expect_err("cut at a segment");
                }
            }
        }
    }
}

/// F-17, F-20: a segment opens in its own place and blob only.
#[test]
fn segments_cannot_be_moved() {
    for suite in SUITES {
        let dk = data_key(1);
        let blob = seal(Backend::detect(), &dk, suite, 0, &paint(3 * SEGMENT_LEN));
        let cut = |i: usize| {
            let start = HEADER_LEN + i * SEALED_SEGMENT_LEN;
            &blob[start..blob.len().min(start + SEALED_SEGMENT_LEN)]
        };
        let join = |order: &[usize]| {
            let mut moved = blob[..HEADER_LEN].to_vec();
            order.iter().for_each(|&i| moved.extend(cut(i)));
            moved
        };
        assert_eq!(
            open(&dk, &join(&[0, 1, 2, 3])).unwrap(),
            paint(3 * SEGMENT_LEN)
        );
        let orders: [&[usize]; 6] = [
            &[1, 0, 2, 3],    // swapped
            &[0, 2, 3],       // dropped
            &[1, 2, 3],       // the first dropped
            &[0, 1, 2],       // the last dropped
            &[0, 1, 1, 2, 3], // twice
            &[3],             // the last alone
        ];
        for order in orders {
            // In suite 0 a full segment is too long for a last one, which shows without a key.
            let expected = match (suite, order) {
                (Suite::PlainGmac | Suite::Gcm, [0, 1, 2]) => {
                    FormatError::Malformed("length of the last segment")
                }
                _ => FormatError::Unauthentic,
            };
            assert_eq!(open(&dk, &join(order)), Err(expected), "{order:?}");
        }

        // Of another blob: same data key, another part; or another data key altogether.
        let part = seal(Backend::detect(), &dk, suite, 1, &paint(3 * SEGMENT_LEN));
        let other = seal(
            Backend::detect(),
            &data_key(2),
            suite,
            0,
            &paint(3 * SEGMENT_LEN),
        );
        for donor in [part, other] {
            let mut spliced = blob.clone();
            let middle = HEADER_LEN + SEALED_SEGMENT_LEN..HEADER_LEN + 2 * SEALED_SEGMENT_LEN;
            spliced[middle.clone()].copy_from_slice(&donor[middle]);
            assert_eq!(open(&dk, &spliced), Err(FormatError::Unauthentic));
        }

        // A full segment is not the last one, nor the last a full one, whatever is claimed.
        let (keys, _) = OpenKeys::open(&dk, blob.first_chunk().unwrap()).unwrap();
        let mut out = vec![1; SEGMENT_LEN];
        for (index, last) in [
            (0, true),
            (1, true),
            (3, false),
            (2, true),
            (1 << 28, false),
        ] {
            let i = usize::try_from(index).unwrap().min(3);
            let error = keys
                .open_segment(index, last, cut(i), &mut out)
                .unwrap_err();
            assert_eq!(error, FormatError::Unauthentic);
        }
    }
}

/// F-13, F-14: keys, salts and suites do not mix.
#[test]
fn another_key_salt_or_suite_does_not_open() {
    for suite in SUITES {
        let blob = seal(Backend::detect(), &data_key(1), suite, 0, &paint(100));
        let unauthentic = Err(FormatError::Unauthentic);
        assert_eq!(open(&data_key(2), &blob), unauthentic);
        let mut salted = blob.clone();
        salted[16] ^= 1;
        assert_eq!(open(&data_key(1), &salted), unauthentic);
    }
    // The other suite's fx over the same body: the lengths fit both suites.
    let blob = seal(
        Backend::detect(),
        &data_key(1),
        Suite::Cbc64Gmac,
        0,
        &paint(100),
    );
    let mut other = blob.clone();
    (other[9], other[11]) = (0, 0);
    assert_eq!(open(&data_key(1), &other), Err(FormatError::Unauthentic));
}

/// F-28: a sealer takes whole segments only, and says so without writing.
#[test]
fn a_piece_of_a_segment_cannot_be_sealed() {
    for suite in SUITES {
        let (keys, _) = SealKeys::create(&data_key(1), suite, 0, Salt([0; 32])).unwrap();
        let mut out = vec![0; SEALED_SEGMENT_LEN + 100];
        let plain = paint(SEGMENT_LEN + 1);
        for (index, last, len, room) in [
            (0, false, 0, 65_552),
            (0, false, 65_535, 65_552),
            (0, false, 65_537, 65_552),
            (0, true, 65_536, 65_600),
            (0, false, 65_536, 65_551),
            (0, true, 16, 31),
            (0, true, 0, 15),
            ((1 << 28) - 1, false, 65_536, 65_552),
            (1 << 28, true, 1, 65_552),
        ] {
            let sealed = keys.seal_segment(index, last, &plain[..len], &mut out[..room]);
            assert!(
                matches!(sealed, Err(FormatError::Misuse(_))),
                "{suite:?}, {index}, {last}, {len}, {room}"
            );
            assert!(out.iter().all(|&byte| byte == 0), "written all the same");
        }
        let end = keys.seal_segment((1 << 28) - 1, true, b"end", &mut out);
        assert!(end.is_ok(), "{end:?}");
        let part = SealKeys::create(&data_key(1), suite, 10_001, Salt([0; 32]));
        assert!(matches!(part, Err(FormatError::Misuse(_))));
    }
}

#[test]
fn an_output_too_short_to_open_into_is_an_error() {
    for suite in SUITES {
        let dk = data_key(1);
        let blob = seal(Backend::detect(), &dk, suite, 0, &paint(32));
        let (keys, _) = OpenKeys::open(&dk, blob.first_chunk().unwrap()).unwrap();
        let opened = keys.open_segment(0, true, &blob[HEADER_LEN..], &mut [0; 31]);
        assert!(matches!(opened, Err(FormatError::Misuse(_))), "{opened:?}");
    }
}

proptest! {
    #[test]
    fn any_length_and_content_comes_back(
        plain in proptest::collection::vec(any::<u8>(), 0..5000),
        part in 0..=10_000_u32,
        suite in proptest::sample::select(&SUITES),
    ) {
        let dk = data_key(9);
        let blob = seal(Backend::detect(), &dk, suite, part, &plain);
        prop_assert_eq!(open(&dk, &blob).unwrap(), plain);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        mut blob in proptest::collection::vec(any::<u8>(), 0..400),
        likely in any::<bool>(),
    ) {
        if likely && blob.len() >= 16 {
            blob[..12].copy_from_slice(b"STRGROOM\x01\x01\x10\x06");
            blob[13..16].fill(0);
        }
        prop_assert!(open(&data_key(1), &blob).is_err());
    }

    /// Whatever a segment is called or cut to, nothing of it comes out.
    #[test]
    fn any_wrong_call_of_open_segment_releases_nothing(
        index in 0..4_u64, last: bool, cut in 0..200_usize, suite in proptest::sample::select(&SUITES),
    ) {
        let dk = data_key(1);
        let blob = seal(Backend::detect(), &dk, suite, 0, &paint(100));
        let (keys, _) = OpenKeys::open(&dk, blob.first_chunk().unwrap()).unwrap();
        let sealed = &blob[HEADER_LEN..];
        let cut = cut.min(sealed.len());
        let mut out = [0xEE; 256];
        match keys.open_segment(index, last, &sealed[..cut], &mut out) {
            Ok(len) => prop_assert!((index, last, cut, len) == (0, true, sealed.len(), 100)),
            Err(error) => {
                prop_assert_eq!(error, FormatError::Unauthentic);
                prop_assert_eq!(out, [0; 256]);
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

/// A reader of a whole blob in the order of F-26. That a failure leaves nothing in the output
/// (F-27) is asserted here, for all tests.
fn open(dk: &Secret<32>, blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let suite = parse_header(blob)?.suite;
    let shape = BlobShape::from_len(suite, blob.len() as u64)?;
    let (keys, _) = OpenKeys::open(dk, blob.first_chunk().unwrap())?;
    let mut plain = Vec::new();
    for index in 0..shape.segments {
        let range = shape.segment_range(index);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let mut out = vec![0xEE; range.len()];
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

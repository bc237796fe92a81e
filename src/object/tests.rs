//! What sealer, openers and adapters promise, checked against the segment functions of `format`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::*;
use crate::format::{
    BlobShape, FormatError, HEADER_LEN, OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Suite,
    sealed_len,
};
use crate::keys::DataKey;

/// Bytes of a prime period, so that segments that changed places do not look alike.
pub(super) fn paint(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i >> 16) as u8)
        .collect()
}

fn key() -> DataKey {
    DataKey::random().unwrap()
}

fn seal(key: &DataKey, suite: Suite, plain: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    let sealer = BlobSealer::new(key, suite, 0).unwrap();
    sealer.finish_with(plain, &mut blob).unwrap();
    blob
}

/// Opens a blob with nothing but the functions of `format`.
fn open_by_format(key: &DataKey, blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let header: &[u8; HEADER_LEN] = blob.first_chunk().unwrap();
    let (keys, header) = OpenKeys::open(key.secret(), header)?;
    let shape = BlobShape::from_len(header.suite, blob.len() as u64)?;
    let mut plain = Vec::new();
    let mut segment = vec![0; SEGMENT_LEN];
    for index in 0..shape.segments {
        let range = shape.segment_range(index);
        let sealed = &blob[range.start as usize..range.end as usize];
        let len = keys.open_segment(index, index + 1 == shape.segments, sealed, &mut segment)?;
        plain.extend_from_slice(&segment[..len]);
    }
    Ok(plain)
}

fn open_whole(key: &DataKey, blob: &[u8]) -> Result<Vec<u8>, ObjectError> {
    let mut opener = BlobOpener::new(key, blob, blob.len() as u64, None)?;
    let last = opener.final_segment();
    let len = opener.prove_length(&blob[last.start as usize..last.end as usize])?;
    open_range(&opener, blob, 0, len)
}

fn open_range(
    opener: &BlobOpener,
    blob: &[u8],
    start: u64,
    end: u64,
) -> Result<Vec<u8>, ObjectError> {
    let plan = opener.plan(start..end)?;
    let bytes = plan.bytes();
    let mut out = vec![0xEE];
    opener.open(
        &plan,
        &blob[bytes.start as usize..bytes.end as usize],
        &mut out,
    )?;
    assert_eq!(out.remove(0), 0xEE, "appended, not overwritten");
    Ok(out)
}

/// Opens in pieces and returns what was released, and how it ended.
fn open_stream(key: &DataKey, blob: &[u8], piece: usize) -> (Vec<u8>, Result<(), ObjectError>) {
    let mut out = Vec::new();
    let Some(header) = blob.first_chunk() else {
        return (out, Err(FormatError::Malformed("").into()));
    };
    let mut opener = match StreamOpener::new(key, header) {
        Ok(opener) => opener,
        Err(error) => return (out, Err(error)),
    };
    for piece in blob[HEADER_LEN..].chunks(piece) {
        if let Err(error) = opener.update(piece, &mut out) {
            return (out, Err(error));
        }
    }
    let end = opener.finish(&mut out);
    let released = out.len() as u64;
    (out, end.map(|len| assert_eq!(len, released)))
}

const LENGTHS: [usize; 22] = [
    0, 1, 15, 16, 17, 1023, 1024, 1025, 4095, 4096, 4097, 65_519, 65_520, 65_535, 65_536, 65_537,
    65_553, 131_071, 131_072, 196_608, 262_144, 655_361,
];

#[test]
fn every_boundary_length_opens_by_the_format_and_by_every_opener() {
    for suite in [Suite::PlainGmac, Suite::Cbc64Gmac] {
        for len in LENGTHS {
            let (key, plain) = (key(), paint(len));
            let blob = seal(&key, suite, &plain);
            assert_eq!(sealed_len(suite, len as u64), Some(blob.len() as u64));
            assert!(
                open_by_format(&key, &blob).unwrap() == plain,
                "{suite:?} {len}"
            );
            assert!(open_whole(&key, &blob).unwrap() == plain, "{suite:?} {len}");
            let (released, end) = open_stream(&key, &blob, 100_000);
            assert_eq!(end, Ok(()));
            assert!(released == plain, "{suite:?} {len}");
        }
    }
}

#[test]
fn summary_tells_what_the_header_and_the_blob_say() {
    let mut blob = Vec::new();
    let mut sealer = BlobSealer::new(&key(), Suite::Cbc64Gmac, 7).unwrap();
    let salt = sealer.salt();
    sealer.update(&paint(70_000), &mut blob).unwrap();
    assert_eq!(sealer.plain_len(), 70_000);
    let summary = sealer.finish_with(&[1; 30_000], &mut blob).unwrap();
    let header = crate::format::parse_header(&blob).unwrap();
    assert_eq!(summary.salt, salt);
    assert_eq!(header.salt.0, salt);
    assert_eq!((summary.part, header.part), (7, 7));
    assert_eq!(summary.plain_len, 100_000);
    assert_eq!(summary.sealed_len, blob.len() as u64);
}

#[test]
fn two_sealers_never_share_a_salt() {
    let key = key();
    let salt = || BlobSealer::new(&key, Suite::Cbc64Gmac, 0).unwrap().salt();
    assert_ne!(salt(), salt());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(
        len in 0usize..400_000,
        pieces in prop::collection::vec(1usize..150_000, 1..6),
        read in 1usize..200_000,
    ) {
        let (key, plain) = (key(), paint(len));
        let mut sealer = BlobSealer::new(&key, Suite::Cbc64Gmac, 0).unwrap();
        let (mut blob, mut rest) = (Vec::new(), &plain[..]);
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*piece));
            let before = blob.len();
            let room = sealer.room(now.len());
            sealer.update(now, &mut blob).unwrap();
            prop_assert_eq!(blob.len() - before, room);
            rest = later;
            if rest.len() < 50_000 {
                break;
            }
        }
        sealer.finish_with(rest, &mut blob).unwrap();
        prop_assert!(open_by_format(&key, &blob).unwrap() == plain);
        let (released, end) = open_stream(&key, &blob, read);
        prop_assert_eq!(end, Ok(()));
        prop_assert!(released == plain);
    }

    #[test]
    fn every_range_is_that_of_the_plaintext(len in 0u64..300_000, a in 0u64..300_000, b in 0u64..300_000) {
        let (a, b) = (a.min(len), b.min(len));
        let (start, end) = (a.min(b), a.max(b));
        let (key, plain) = (key(), paint(len as usize));
        let blob = seal(&key, Suite::Cbc64Gmac, &plain);
        let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(len)).unwrap();
        let opened = open_range(&opener, &blob, start, end).unwrap();
        prop_assert!(opened == plain[start as usize..end as usize]);
    }
}

#[test]
fn ranges_at_segment_boundaries_are_exact_and_read_no_more_segments_than_they_touch() {
    let (key, plain) = (key(), paint(3 * SEGMENT_LEN));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(plain.len() as u64)).unwrap();
    let edges = [0, 1, 65_535, 65_536, 65_537, 131_072, 196_607, 196_608];
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let opened = open_range(&opener, &blob, start, end).unwrap();
            assert!(
                opened == plain[start as usize..end as usize],
                "{start}..{end}"
            );
            let plan = opener.plan(start..end).unwrap();
            if end < 196_608 && start < end {
                let touched = (end - 1) / 65_536 - start / 65_536 + 1;
                assert_eq!(plan.sealed_len(), touched * SEALED_SEGMENT_LEN as u64);
            }
        }
    }
}

/// F-30: the plan of a range that reaches the end spans the final segment even when that is empty.
#[test]
fn reading_to_the_end_verifies_the_end() {
    let key = key();
    for len in [0usize, SEGMENT_LEN, 2 * SEGMENT_LEN] {
        let mut blob = seal(&key, Suite::Cbc64Gmac, &paint(len));
        let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(len as u64)).unwrap();
        assert_eq!(
            opener.plan(len as u64..len as u64).unwrap().bytes(),
            opener.final_segment()
        );
        *blob.last_mut().unwrap() ^= 1;
        let all = open_range(&opener, &blob, 0, len as u64);
        assert_eq!(all, Err(ObjectError::UNAUTHENTIC));
    }
}

/// F-30.
#[test]
fn a_range_of_a_blob_of_unproven_length_is_refused() {
    let (key, plain) = (key(), paint(100_000));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, None).unwrap();
    assert_eq!(opener.plan(0..1), Err(ObjectError::LengthUnproven));

    // A blob cut at a segment boundary still has good segments; its length cannot be proven.
    let cut = &blob[..HEADER_LEN + SEALED_SEGMENT_LEN];
    let mut opener = BlobOpener::new(&key, cut, cut.len() as u64, None).unwrap();
    let proof = opener.prove_length(&cut[HEADER_LEN..]);
    assert_eq!(proof, Err(ObjectError::UNAUTHENTIC));
    assert_eq!(opener.plan(0..1), Err(ObjectError::LengthUnproven));
}

#[test]
fn an_expected_length_that_the_blob_does_not_have_is_refused() {
    let (key, plain) = (key(), paint(100));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let open = |len| BlobOpener::new(&key, &blob, blob.len() as u64, Some(len));
    assert!(matches!(
        open(95).map(|_| ()),
        Err(ObjectError::Format(FormatError::Malformed(_)))
    ));
    // 96 to 111 have the same sealed length: only the final segment tells them apart.
    let mut opener = open(101).unwrap();
    assert_eq!(
        open_range(&opener, &blob, 0, 101),
        Err(ObjectError::UNAUTHENTIC)
    );
    assert_eq!(
        open_range(&opener, &blob, 100, 101),
        Err(ObjectError::UNAUTHENTIC)
    );
    assert_eq!(
        opener.prove_length(&blob[HEADER_LEN..]),
        Err(ObjectError::UNAUTHENTIC)
    );
    let opener = open(99).unwrap();
    assert_eq!(
        open_range(&opener, &blob, 0, 99),
        Err(ObjectError::UNAUTHENTIC)
    );
}

#[test]
fn ranges_outside_the_object_are_refused() {
    let key = key();
    let blob = seal(&key, Suite::Cbc64Gmac, &paint(10));
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(10)).unwrap();
    #[allow(clippy::reversed_empty_ranges)]
    for range in [0..11, 11..11, 5..4, 0..u64::MAX] {
        assert!(matches!(
            opener.plan(range),
            Err(ObjectError::OutOfRange { length: 10, .. })
        ));
    }
}

#[test]
fn every_truncation_of_a_small_blob_is_an_error_that_releases_nothing() {
    let (key, plain) = (key(), paint(100));
    for suite in [Suite::PlainGmac, Suite::Cbc64Gmac] {
        let blob = seal(&key, suite, &plain);
        for len in 0..blob.len() {
            let cut = &blob[..len];
            assert!(open_whole(&key, cut).is_err(), "{suite:?} cut to {len}");
            let (released, end) = open_stream(&key, cut, 33);
            assert!(end.is_err(), "{suite:?} cut to {len}");
            assert!(released.is_empty());
        }
    }
}

/// F-31: what was released before the cut is a true prefix, and the end is never clean.
#[test]
fn a_stream_that_was_cut_releases_only_whole_verified_segments_and_ends_in_an_error() {
    let (key, plain) = (key(), paint(3 * SEGMENT_LEN));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    for segment in 0..=3 {
        for near in [-1i64, 0, 1, 16, 40] {
            let len = (HEADER_LEN + segment * SEALED_SEGMENT_LEN) as i64 + near;
            let len = usize::try_from(len).unwrap();
            if len >= blob.len() {
                continue;
            }
            let (released, end) = open_stream(&key, &blob[..len], 50_000);
            assert!(end.is_err(), "cut to {len}");
            assert_eq!(released.len() % SEGMENT_LEN, 0);
            assert!(plain.starts_with(&released));
        }
    }
}

#[test]
fn every_flipped_byte_of_a_small_blob_is_refused() {
    let (key, plain) = (key(), paint(50));
    let mut blob = seal(&key, Suite::Cbc64Gmac, &plain);
    for at in 0..blob.len() {
        for bit in 0..8 {
            blob[at] ^= 1 << bit;
            assert!(open_whole(&key, &blob).is_err(), "byte {at} bit {bit}");
            let (released, end) = open_stream(&key, &blob, 64);
            assert!(end.is_err() && released.is_empty(), "byte {at} bit {bit}");
            blob[at] ^= 1 << bit;
        }
    }
    assert!(open_whole(&key, &blob).is_ok());
}

#[test]
fn segments_that_were_moved_are_refused() {
    let (key, plain) = (key(), paint(5 * SEGMENT_LEN + 7));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let other = seal(&key, Suite::Cbc64Gmac, &plain);
    let segment = |index: usize| {
        let start = HEADER_LEN + index * SEALED_SEGMENT_LEN;
        start..(start + SEALED_SEGMENT_LEN).min(blob.len())
    };
    let mut swapped = blob.clone();
    swapped[segment(1)].copy_from_slice(&blob[segment(2)]);
    swapped[segment(2)].copy_from_slice(&blob[segment(1)]);
    let mut dropped = blob.clone();
    dropped.drain(segment(2));
    let mut doubled = blob.clone();
    doubled.splice(
        segment(3).start..segment(3).start,
        blob[segment(2)].to_vec(),
    );
    let mut spliced = blob.clone();
    spliced[segment(4)].copy_from_slice(&other[segment(4)]);
    for (what, changed) in [
        ("swapped", swapped),
        ("dropped", dropped),
        ("doubled", doubled),
        ("spliced", spliced),
    ] {
        assert_eq!(
            open_whole(&key, &changed),
            Err(ObjectError::UNAUTHENTIC),
            "{what}"
        );
        let (released, end) = open_stream(&key, &changed, SEALED_SEGMENT_LEN);
        assert_eq!(end, Err(ObjectError::UNAUTHENTIC), "{what}");
        assert!(plain.starts_with(&released), "{what}");
    }
    let stranger = DataKey::random().unwrap();
    assert_eq!(open_whole(&stranger, &blob), Err(ObjectError::UNAUTHENTIC));
}

#[test]
fn a_failed_open_leaves_only_zeros() {
    let (key, plain) = (key(), paint(8 * SEGMENT_LEN));
    let mut blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(plain.len() as u64)).unwrap();
    for segments in [2, 8] {
        let end = segments * SEALED_SEGMENT_LEN;
        blob[HEADER_LEN + end - 20] ^= 1;
        let plan = opener
            .plan(10..(segments * SEGMENT_LEN - 1) as u64)
            .unwrap();
        let mut out = vec![0xEE; plan.room()];
        let sealed = &blob[HEADER_LEN..HEADER_LEN + end];
        assert_eq!(
            opener.open_into(&plan, sealed, &mut out),
            Err(ObjectError::UNAUTHENTIC)
        );
        assert!(out.iter().all(|byte| *byte == 0));
        blob[HEADER_LEN + end - 20] ^= 1;
    }
}

#[test]
fn a_range_leaves_nothing_of_its_neighbours_behind_it() {
    let (key, plain) = (key(), vec![0x77; 2 * SEGMENT_LEN]);
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(plain.len() as u64)).unwrap();
    let plan = opener.plan(100..200).unwrap();
    let mut out = vec![0xEE; plan.room()];
    let sealed = &blob[HEADER_LEN..HEADER_LEN + SEALED_SEGMENT_LEN];
    assert_eq!(opener.open_into(&plan, sealed, &mut out), Ok(100));
    assert!(out[..100].iter().all(|byte| *byte == 0x77));
    assert!(out[100..].iter().all(|byte| *byte == 0));
}

#[test]
fn buffers_of_the_wrong_length_are_refused_before_anything_happens() {
    let (key, plain) = (key(), paint(SEGMENT_LEN));
    let mut sealer = BlobSealer::new(&key, Suite::Cbc64Gmac, 0).unwrap();
    let mut small = vec![0; sealer.room(plain.len()) - 1];
    let refused = sealer.update_into(&plain, &mut small);
    assert!(matches!(refused, Err(ObjectError::WrongLength { .. })));
    let mut blob = Vec::new();
    sealer.finish_with(&plain, &mut blob).unwrap(); // nothing was taken in, nothing is lost
    let opener = BlobOpener::new(&key, &blob, blob.len() as u64, Some(plain.len() as u64)).unwrap();
    let plan = opener.plan(0..10).unwrap();
    let refused = opener.open(&plan, &blob[HEADER_LEN..HEADER_LEN + 100], &mut Vec::new());
    assert!(matches!(refused, Err(ObjectError::WrongLength { .. })));
}

/// A sink that knows how many plaintext bytes went in, and refuses ciphertext of a segment that is not complete (F-28).
struct Watcher {
    plain: std::rc::Rc<std::cell::Cell<usize>>,
    got: usize,
}

impl Write for Watcher {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.got += buf.len();
        let complete = self.plain.get() / SEGMENT_LEN;
        if self.got > HEADER_LEN + complete * SEALED_SEGMENT_LEN {
            return Err(io::Error::other("a part of a segment"));
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_part_of_a_segment_ever_comes_out() {
    let plain = std::rc::Rc::new(std::cell::Cell::new(0));
    let watcher = Watcher {
        plain: plain.clone(),
        got: 0,
    };
    let mut writer = SealWriter::new(&key(), Suite::Cbc64Gmac, 0, watcher).unwrap();
    for piece in paint(700_000).chunks(4099) {
        plain.set(plain.get() + piece.len());
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    // The same for the sealer, byte by byte around a boundary.
    let mut sealer = BlobSealer::new(&key(), Suite::Cbc64Gmac, 0).unwrap();
    let mut out = Vec::new();
    sealer.update(&paint(SEGMENT_LEN - 2), &mut out).unwrap();
    assert_eq!(out.len(), HEADER_LEN);
    sealer.update(&[1], &mut out).unwrap();
    assert_eq!(out.len(), HEADER_LEN);
    sealer.update(&[1], &mut out).unwrap();
    assert_eq!(out.len(), HEADER_LEN + SEALED_SEGMENT_LEN);
}

#[test]
fn the_watcher_of_that_test_fails_a_writer_that_leaks() {
    let plain = std::rc::Rc::new(std::cell::Cell::new(SEGMENT_LEN - 1));
    let mut watcher = Watcher { plain, got: 0 };
    let blob = seal(&key(), Suite::Cbc64Gmac, &paint(SEGMENT_LEN));
    assert!(watcher.write_all(&blob[..HEADER_LEN]).is_ok());
    assert!(
        watcher
            .write_all(&blob[HEADER_LEN..HEADER_LEN + 1])
            .is_err()
    );
}

#[test]
fn the_adapters_are_a_round_trip() {
    for len in [0, 5, SEGMENT_LEN, 196_607, 196_608, 196_609, 1_000_000] {
        let (key, plain) = (key(), paint(len));
        let mut writer = SealWriter::new(&key, Suite::Cbc64Gmac, 0, Vec::new()).unwrap();
        writer.write_all(&plain).unwrap();
        let (blob, summary) = writer.finish().unwrap();
        assert_eq!(summary.plain_len, len as u64);
        let mut opened = Vec::new();
        let mut reader = OpenReader::new(&key, &blob[..]).unwrap();
        reader.read_to_end(&mut opened).unwrap();
        assert!(opened == plain, "{len}");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn a_reader_reports_the_end_only_of_a_whole_blob() {
    let (key, plain) = (key(), paint(500_000));
    let blob = seal(&key, Suite::Cbc64Gmac, &plain);
    for len in [
        0,
        79,
        80,
        100,
        300_000,
        HEADER_LEN + 7 * SEALED_SEGMENT_LEN,
        blob.len() - 1,
    ] {
        let mut opened = Vec::new();
        let end = OpenReader::new(&key, &blob[..len])
            .and_then(|mut reader| reader.read_to_end(&mut opened));
        assert_eq!(
            end.unwrap_err().kind(),
            io::ErrorKind::InvalidData,
            "cut to {len}"
        );
        assert!(plain.starts_with(&opened));
    }
    let mut longer = blob.clone();
    longer.push(0);
    let mut reader = OpenReader::new(&key, &longer[..]).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
    assert!(reader.read(&mut [0; 9]).is_err(), "and stays so");
}

#[test]
fn a_writer_whose_sink_failed_takes_nothing_more() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(buf.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = SealWriter::new(&key(), Suite::Cbc64Gmac, 0, Full(300_000)).unwrap();
    let full = writer.write_all(&paint(1_000_000)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert!(writer.write(&[1]).is_err());
    assert!(writer.finish().is_err());
}

#[test]
fn many_threads_and_one_make_blobs_that_open_alike() {
    let (key, plain) = (key(), paint(40 * SEGMENT_LEN + 5));
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let blob = pool.install(|| seal(&key, Suite::Cbc64Gmac, &plain));
        assert!(open_by_format(&key, &blob).unwrap() == plain);
        assert!(pool.install(|| open_whole(&key, &blob)).unwrap() == plain);
    }
}

#[test]
fn handles_can_be_sent_and_shared() {
    fn is_handle<T: Send + Sync + 'static>() {}
    is_handle::<BlobSealer>();
    is_handle::<BlobOpener>();
    is_handle::<StreamOpener>();
    is_handle::<SealWriter<Vec<u8>>>();
    is_handle::<OpenReader<io::Empty>>();
}

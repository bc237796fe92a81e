#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const HEAD: &[u8] = b"SROH\x01\x00\x00";

/// A multipart object of `parts` parts with lengths that differ.
fn multipart(parts: u32) -> Manifest {
    let blobs = (1..=parts).map(|part| (part, u64::from(part) * 100, [part.to_le_bytes()[0]; 32]));
    Manifest::new(Suite::Cbc64Gmac, HEAD, blobs).unwrap()
}

fn decode(bytes: &ManifestBytes) -> Result<Manifest, FormatError> {
    Manifest::decode(&bytes.body, &bytes.pages, &bytes.digest())
}

/// F-80, F-81: offsets and lengths of a manifest of two pages.
#[test]
fn the_encoding_is_the_one_of_the_format() {
    let manifest = multipart(129);
    let ManifestBytes { body, pages } = manifest.encode().unwrap();
    assert_eq!(body[..8], *b"SRMF\x01\x01\0\0");
    assert_eq!(body[8..16], (129 * 130 / 2 * 100_u64).to_le_bytes());
    assert_eq!(body[16..48], Sha256::digest(HEAD)[..]);
    assert_eq!(body[48..56], *b"\x81\0\0\0\x02\0\0\0");
    assert_eq!(body[56..88], Sha256::digest(&pages[0])[..]);
    assert_eq!(body[88..], Sha256::digest(&pages[1])[..]);
    assert_eq!((pages[0].len(), pages[1].len()), (128 * 52, 52));
    assert_eq!(pages[0][52..56], 2_u32.to_le_bytes());
    assert_eq!(pages[0][56..64], 100_u64.to_le_bytes());
    assert_eq!(pages[0][64..72], 200_u64.to_le_bytes());
    assert_eq!(pages[0][72..104], [2; 32]);
    assert_eq!(manifest.digest().unwrap()[..], Sha256::digest(&body)[..]);
}

#[test]
fn a_manifest_of_any_number_of_parts_comes_back() {
    for parts in [1, 2, 64, 127, 128, 129, 256, 257, 10_000] {
        let manifest = multipart(parts);
        let bytes = manifest.encode().unwrap();
        assert_eq!(bytes.pages.len(), parts.div_ceil(128) as usize);
        assert_eq!(decode(&bytes).unwrap(), manifest, "{parts} parts");
    }
    for length in [0, 1, 65_536] {
        let manifest = Manifest::new(Suite::PlainGmac, HEAD, [(0, length, [9; 32])]).unwrap();
        assert_eq!(decode(&manifest.encode().unwrap()).unwrap(), manifest);
    }
}

/// F-82: refused when writing, and malformed when read under a digest that fits.
#[test]
fn entries_out_of_order_are_malformed() {
    let breaks: [fn(&mut Manifest); 10] = [
        |m| m.entries.clear(),
        |m| m.total += 1,
        |m| m.entries[1].start += 1,
        |m| m.entries[1].part = 1,
        |m| m.entries[0].part = 0,
        |m| m.entries[2].part = 10_001,
        |m| m.entries.swap(0, 1),
        |m| m.entries[2].length = 1 << 44,
        |m| (m.entries[1].length, m.entries[2].start) = (u64::MAX, 99),
        |m| m.entries.truncate(2),
    ];
    for (i, breaking) in breaks.into_iter().enumerate() {
        let mut manifest = multipart(3);
        breaking(&mut manifest);
        let error = manifest.encode().unwrap_err();
        assert!(matches!(error, FormatError::Malformed(_)), "{i}: {error}");
        let pages = vec![encode_page(&manifest.entries)];
        let mut body = multipart(3).encode().unwrap().body;
        body[8..16].copy_from_slice(&manifest.total.to_le_bytes());
        body[48..52].copy_from_slice(&u32::try_from(manifest.entries.len()).unwrap().to_le_bytes());
        body[56..].copy_from_slice(&Sha256::digest(&pages[0]));
        let error = decode(&ManifestBytes { body, pages }).unwrap_err();
        assert!(matches!(error, FormatError::Malformed(_)), "{i}: {error}");
    }
    let too_many = (1..=10_001).map(|part| (part, 0, [0; 32]));
    Manifest::new(Suite::Cbc64Gmac, HEAD, too_many).unwrap_err();
}

/// F-85 step 2; F-05 for the reserved bytes.
#[test]
fn fixed_fields_are_checked_before_the_digest() {
    let bytes = multipart(2).encode().unwrap();
    for (at, value, unsupported) in [
        (0, b'X', false),
        (4, 2, true),
        (5, 3, true),
        (6, 1, false),
        (7, 1, false),
        (48, 0, false),
        (52, 0, false),
        (55, 1, false),
    ] {
        let mut broken = bytes.clone();
        broken.body[at] = value;
        match Manifest::decode(&broken.body, &broken.pages, &bytes.digest()).unwrap_err() {
            FormatError::Unsupported(_) => assert!(unsupported, "byte {at}"),
            FormatError::Malformed(_) => assert!(!unsupported, "byte {at}"),
            other => panic!("byte {at}: {other}"),
        }
    }
    // Suite 2 is known, built in or not.
    let gcm = Manifest::new(Suite::Gcm, HEAD, [(0, 1, [0; 32])]).unwrap();
    assert_eq!(decode(&gcm.encode().unwrap()).unwrap(), gcm);
}

/// F-85 steps 4, 5 and 7.
#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = multipart(130).encode().unwrap();
    let digest = bytes.digest();
    for bit in 0..bytes.body.len() * 8 {
        let mut body = bytes.body.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        let error = Manifest::decode(&body, &bytes.pages, &digest).unwrap_err();
        // Where any value is well-formed, only the digest can tell.
        if (8..48).contains(&(bit / 8)) || bit / 8 >= 56 {
            assert_eq!(error, FormatError::Unauthentic, "bit {bit}");
        }
    }
    for bit in 0..bytes.pages[1].len() * 8 {
        let mut pages = bytes.pages.clone();
        pages[1][bit / 8] ^= 1 << (bit % 8);
        let error = Manifest::decode(&bytes.body, &pages, &digest).unwrap_err();
        assert_eq!(error, FormatError::Unauthentic, "bit {bit} of a page");
    }
    let manifest = decode(&bytes).unwrap();
    assert_eq!(manifest.open_head(HEAD).unwrap(), NamedList::default());
    for bit in 0..HEAD.len() * 8 {
        let mut head = HEAD.to_vec();
        head[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(manifest.open_head(&head), Err(FormatError::Unauthentic));
    }
}

#[test]
fn a_manifest_cut_or_grown_anywhere_is_malformed() {
    let bytes = multipart(129).encode().unwrap();
    let (body, digest) = (&bytes.body, bytes.digest());
    let malformed = |body: &[u8], pages: &[Vec<u8>]| {
        let read = Manifest::decode(body, pages, &digest);
        assert!(matches!(read, Err(FormatError::Malformed(_))), "{read:?}");
    };
    (0..body.len()).for_each(|len| malformed(&body[..len], &bytes.pages));
    malformed(&[&body[..], &[0]].concat(), &bytes.pages);
    malformed(&[&body[..], &[0; 32]].concat(), &bytes.pages);
    malformed(body, &bytes.pages[..1]);
    malformed(body, &[&bytes.pages[..], &[vec![]]].concat());
    for len in 0..52 {
        malformed(
            body,
            &[bytes.pages[0].clone(), bytes.pages[1][..len].to_vec()],
        );
    }
    let swapped = [bytes.pages[1].clone(), bytes.pages[0].clone()];
    malformed(body, &swapped);
}

#[test]
fn a_range_finds_its_parts() {
    let manifest = Manifest::new(
        Suite::Cbc64Gmac,
        HEAD,
        [(1, 10, [1; 32]), (4, 0, [2; 32]), (9, 5, [3; 32])],
    )
    .unwrap();
    let found = |range| -> Vec<_> {
        manifest
            .parts_for(range)
            .map(|(entry, range)| (entry.part, range))
            .collect()
    };
    assert_eq!(found(0..15), [(1, 0..10), (9, 0..5)]);
    assert_eq!(found(9..11), [(1, 9..10), (9, 0..1)]);
    assert_eq!(found(10..12), [(9, 0..2)]);
    assert_eq!(found(14..u64::MAX), [(9, 4..5)]);
    assert_eq!(found(15..20), []);
    assert_eq!(found(3..3), []);
}

proptest! {
    #[test]
    fn the_parts_of_a_range_are_the_range(
        lengths in proptest::collection::vec(0..50_u64, 1..300), from in 0..8000_u64, len in 0..8000_u64,
    ) {
        let blobs = (1..).zip(&lengths).map(|(part, &length)| (part, length, [0; 32]));
        let manifest = Manifest::new(Suite::Cbc64Gmac, HEAD, blobs).unwrap();
        let mut at = from.min(manifest.total);
        for (entry, range) in manifest.parts_for(from..from + len) {
            prop_assert_eq!(entry.start + range.start, at);
            prop_assert!(range.start < range.end && range.end <= entry.length);
            at = entry.start + range.end;
        }
        prop_assert_eq!(at, (from + len).min(manifest.total));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        mut body in proptest::collection::vec(any::<u8>(), 0..160),
        parts in 0..300_u32, pages in 0..4_usize, digest: [u8; 32],
    ) {
        if body.len() >= 56 {
            body[..8].copy_from_slice(b"SRMF\x01\x01\0\0");
            body[48..52].copy_from_slice(&parts.to_le_bytes());
            body[52..56].copy_from_slice(&parts.div_ceil(128).to_le_bytes());
        }
        let pages = vec![vec![0_u8; 128 * 52]; pages];
        prop_assert!(Manifest::decode(&body, &pages, &digest).is_err());
    }
}

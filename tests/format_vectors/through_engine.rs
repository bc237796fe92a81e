//! The engine answers every vector, and writes what the vectors state.

use std::collections::BTreeMap;

use strongroom::format::{
    BlobShape, FormatError, HEADER_LEN, Manifest, NamedList, OpenKeys, PartEntry, SEGMENT_LEN,
    Salt, SealKeys, Suite, parse_header, sealed_len,
};
use strongroom::secret::Secret;

use crate::vectors::{Vector, unhex};
use crate::{assert_recipe, entry_of, files_through_engine, keys_through_engine, sealed_of, twin};

/// What the engine answered: `ok`, a class of F-04, or one of the two names of the field `error`.
pub(crate) type Answer = Result<(), &'static str>;

pub(crate) fn class_of(error: FormatError) -> &'static str {
    match error {
        FormatError::Malformed(_) => "malformed",
        FormatError::Unsupported(_) | FormatError::UnsupportedSuite(_) => "unsupported",
        FormatError::Unauthentic => "unauthentic",
        other => panic!("not an answer to bytes: {other}"),
    }
}

pub(crate) fn secret(mut bytes: [u8; 32]) -> Secret<32> {
    Secret::take(&mut bytes).unwrap()
}

fn suite_of(byte: u8) -> Suite {
    [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm][usize::from(byte)]
}

// ---- blobs ----

fn seal(dk: &[u8; 32], suite: u8, part: u32, salt: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let suite = suite_of(suite);
    let (keys, header) = SealKeys::create(&secret(*dk), suite, part, Salt(*salt)).unwrap();
    let mut out = header.to_vec();
    let last = plain.len() / SEGMENT_LEN;
    for i in 0..=last {
        let end = plain.len().min((i + 1) * SEGMENT_LEN);
        let segment = &plain[i * SEGMENT_LEN..end];
        let mut sealed = vec![0; SEGMENT_LEN + 16];
        let written = keys.seal_segment(i as u64, i == last, segment, &mut sealed);
        out.extend_from_slice(&sealed[..written.unwrap()]);
    }
    let stated = sealed_len(suite, plain.len() as u64);
    assert_eq!(stated, Some(out.len() as u64), "F-24");
    out
}

/// F-26 by the engine's own pieces, in the order its openers use them.
fn open(dk: &[u8; 32], blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let header = parse_header(blob)?;
    let shape = BlobShape::from_len(header.suite, blob.len() as u64)?;
    let first = blob.first_chunk::<HEADER_LEN>().unwrap();
    let (keys, _) = OpenKeys::open(&secret(*dk), first)?;
    let mut plain = Vec::new();
    for i in 0..shape.segments {
        let range = shape.segment_range(i);
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let mut segment = vec![0xa5; range.len() - 16];
        match keys.open_segment(i, shape.is_last(i), &blob[range], &mut segment) {
            Ok(length) => plain.extend_from_slice(&segment[..length]),
            Err(error) => {
                assert!(segment.iter().all(|&byte| byte == 0), "F-27: not wiped");
                return Err(error);
            }
        }
    }
    Ok(plain)
}

fn blob(v: &Vector) -> Answer {
    let sealed = sealed_of(v, &seal);
    assert_recipe(v, &sealed);
    let plain = open(&v.array("data-key"), &sealed).map_err(class_of)?;
    if let Some((part, length, salt, suite)) = entry_of(v) {
        let header = parse_header(&sealed).unwrap();
        let same = (header.part, header.salt.0, header.suite) == (part, salt, suite_of(suite));
        if !same || sealed_len(header.suite, length) != Some(sealed.len() as u64) {
            return Err("unauthentic");
        }
    }
    assert!(plain == v.plain(), "{}: another plaintext", v.name);
    Ok(())
}

/// What the engine is to answer. If suite 2 is not built in, that is said before anything else about such a blob.
fn expect(v: &Vector) -> &str {
    let in_gcm = v.text("suite") == Some("2") || v.bytes("sealed").get(9) == Some(&2);
    match v.want("kind") {
        "blob" if in_gcm && !Suite::Gcm.is_built_in() => "unsupported",
        "file" if v.name == "file-1-suite-2" && !Suite::Gcm.is_built_in() => "unsupported",
        "blob" => v.want("expect"),
        _ => v.text("error").unwrap_or_else(|| v.want("expect")),
    }
}

// ---- manifests and lists ----

fn manifest(v: &Vector) -> Answer {
    let entries = entries_of(v);
    let mut pages: Vec<Vec<u8>> = v.texts("page").map(unhex).collect();
    if v.text("pattern-parts").is_some() {
        pages = entries.chunks(128).map(page_of).collect();
    }
    let bytes = v.bytes("manifest");
    let decoded = Manifest::decode(&bytes, &pages, &v.array("digest")).map_err(class_of)?;
    decoded.open_head(&v.bytes("head")).map_err(class_of)?;
    assert_eq!(decoded.entries, entries, "{}", v.name);
    assert_eq!(decoded.total, v.number::<u64>("total"), "{}", v.name);
    assert_eq!(decoded.suite, suite_of(v.number("suite")), "{}", v.name);
    let blobs = entries.iter().map(|e| (e.part, e.length, e.salt));
    let made = Manifest::new(decoded.suite, &v.bytes("head"), blobs).unwrap();
    let again = made.encode().unwrap();
    assert_eq!((again.body, again.pages), (bytes, pages), "{}", v.name);
    assert_eq!(made.digest().unwrap(), v.array("digest"), "F-84");
    Ok(())
}

/// The entries a vector states, or those of its pattern.
fn entries_of(v: &Vector) -> Vec<PartEntry> {
    if v.text("pattern-parts").is_some() {
        let mut start = 0;
        let entry = |part: u32| {
            let length = 5_242_880 + u64::from(part);
            start += length;
            PartEntry {
                part,
                start: start - length,
                length,
                salt: twin::sha256(&[&part.to_le_bytes()]),
            }
        };
        return (1..=v.number("pattern-parts")).map(entry).collect();
    }
    let entry = |text: &str| {
        let fields: Vec<&str> = text.split(' ').collect();
        PartEntry {
            part: fields[0].parse().unwrap(),
            start: fields[1].parse().unwrap(),
            length: fields[2].parse().unwrap(),
            salt: unhex(fields[3]).try_into().unwrap(),
        }
    };
    v.texts("entry").map(entry).collect()
}

/// F-81, from the page.
fn page_of(entries: &[PartEntry]) -> Vec<u8> {
    let entry = |e: &PartEntry| {
        let numbers = [e.start.to_le_bytes(), e.length.to_le_bytes()].concat();
        twin::cat(&[&e.part.to_le_bytes(), &numbers, &e.salt])
    };
    entries.iter().flat_map(entry).collect()
}

fn list(v: &Vector) -> Answer {
    let head = v.want("kind") == "head";
    let bytes = v.bytes("list");
    let decoded = match head {
        true => NamedList::decode_head(&bytes),
        false => NamedList::decode_attrs(&bytes),
    };
    let decoded = decoded.map_err(class_of)?;
    let stated: Vec<(String, Vec<u8>)> = v
        .texts("pair")
        .map(|pair| {
            let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
            (name.to_owned(), unhex(value))
        })
        .collect();
    assert_eq!(decoded.0, stated, "{}", v.name);
    let shuffled = NamedList(stated.into_iter().rev().collect());
    let again = match head {
        true => shuffled.encode_head(),
        false => shuffled.encode_attrs(),
    };
    assert_eq!(again.unwrap(), bytes, "{}", v.name);
    Ok(())
}

/// R5 and R6 on everything small: each changed bit, each cut, each byte more.
pub(crate) fn assert_refused_when_damaged(
    name: &str,
    whole: &[u8],
    answer: &dyn Fn(&[u8]) -> Answer,
) {
    assert_eq!(answer(whole), Ok(()), "{name}: refused while whole");
    let mut damaged = whole.to_vec();
    for bit in 0..8 * whole.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(answer(&damaged).is_err(), "{name}: bit {bit}");
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..whole.len() {
        assert!(answer(&whole[..length]).is_err(), "{name}: cut to {length}");
    }
    damaged.push(0);
    assert!(answer(&damaged).is_err(), "{name}: a byte more");
}

#[test]
fn no_damage_to_a_small_blob_goes_unnoticed() {
    for v in Vector::all() {
        let lengths = ["0", "1", "15", "16", "17", "1040"];
        let small = v
            .text("plain-len")
            .is_some_and(|len| lengths.contains(&len));
        let covered = v.want("kind") == "blob" && small && v.want("expect") == "ok";
        if covered && v.text("suite").is_some_and(|suite| suite != "2") {
            let key = v.array("data-key");
            let answer = |bytes: &[u8]| open(&key, bytes).map(drop).map_err(class_of);
            assert_refused_when_damaged(&v.name, &v.bytes("sealed"), &answer);
        }
    }
}

#[test]
fn no_damage_to_a_manifest_or_its_head_goes_unnoticed() {
    for v in Vector::all() {
        let pages: Vec<Vec<u8>> = v.texts("page").map(unhex).collect();
        if v.want("kind") != "manifest" || v.want("expect") != "ok" || pages.is_empty() {
            continue;
        }
        let (body, digest, head) = (v.bytes("manifest"), v.array("digest"), v.bytes("head"));
        let read = |body: &[u8], page: &[u8], head: &[u8]| {
            let manifest = Manifest::decode(body, &[page], &digest).map_err(class_of)?;
            manifest.open_head(head).map(drop).map_err(class_of)
        };
        let page = &pages[0];
        assert_refused_when_damaged(&v.name, &body, &|body| read(body, page, &head));
        assert_refused_when_damaged(&v.name, page, &|page| read(&body, page, &head));
        assert_refused_when_damaged(&v.name, &head, &|head| read(&body, page, head));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    #[test]
    fn engine_and_twin_write_the_same_blob_and_read_each_other(
        dk: [u8; 32], salt: [u8; 32], suite in 0..2_u8, part in 0..=10_000_u32, length in 0..200_000_usize,
    ) {
        let plain = crate::vectors::pattern(length);
        let sealed = seal(&dk, suite, part, &salt, &plain);
        proptest::prop_assert!(sealed == twin::seal(&dk, suite, part, &salt, &plain));
        proptest::prop_assert!(twin::open(&dk, &sealed).as_ref() == Ok(&plain));
        proptest::prop_assert!(open(&dk, &sealed).as_ref() == Ok(&plain));
    }
}

#[test]
fn the_engine_answers_every_vector() {
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    let vectors = Vector::all();
    for v in &vectors {
        let kind = v.want("kind");
        let expect = expect(v);
        if expect == "unsupported" && v.text("suite") == Some("2") {
            continue; // its recipe needs a suite that is not built in
        }
        let answer = match kind {
            "blob" => blob(v),
            "manifest" => manifest(v),
            "head" | "attrs" => list(v),
            "record" => keys_through_engine::record(v),
            "bucket-record" => keys_through_engine::bucket_record(v),
            "sealed-attrs" => keys_through_engine::sealed_attrs(v),
            "master-state" => keys_through_engine::master_state(v),
            "file" => files_through_engine::file(v),
            "wrapped-key" => files_through_engine::wrapped_key(v),
            other => panic!("{}: no kind {other}", v.name),
        };
        let answer = answer.err().unwrap_or("ok");
        assert_eq!(answer, expect, "{}: {}", v.name, v.want("about"));
        *answered.entry(kind).or_default() += 1;
    }
    for (kind, at_least) in [
        ("blob", 100),
        ("manifest", 35),
        ("head", 15),
        ("attrs", 15),
        ("record", 50),
        ("bucket-record", 30),
        ("sealed-attrs", 15),
        ("file", 35),
        ("wrapped-key", 15),
        ("master-state", 15),
    ] {
        let count = answered.get(kind).copied().unwrap_or_default();
        assert!(count >= at_least, "{kind}: only {count}");
    }
}

//! The vectors of format 1 (`tests/vectors/`) through the toy twin and through the engine, and the worked
//! examples of `docs/FORMAT.md` against both.
#![allow(clippy::unwrap_used)]

mod files_through_engine;
mod keys_through_engine;
mod promises;
mod roots;
mod through_engine;
mod through_twin;
#[path = "../twin/mod.rs"]
mod twin;
#[path = "../vectors/mod.rs"]
mod vectors;

use std::path::Path;
use std::process::Command;
use std::{env, fs};
use strongroom::cipher::Backend;
use twin::{Key, Refusal, Root};
use vectors::{Vector, unhex};

/// Seals a plaintext: data key, suite, part, salt, plaintext.
type Seal = dyn Fn(&Key, u8, u32, &Key, &[u8]) -> Vec<u8>;

/// `ok`, or the class of the refusal.
fn class(answer: Result<(), Refusal>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(Refusal::Malformed) => "malformed",
        Err(Refusal::Unsupported) => "unsupported",
        Err(Refusal::Unauthentic | Refusal::WrongCustomerKey) => "unauthentic",
    }
}

/// The bytes of a blob vector: given, or made by its recipe.
fn sealed_of(v: &Vector, seal: &Seal) -> Vec<u8> {
    if let Some(text) = v.text("sealed") {
        return unhex(text);
    }
    let suite = v.number("suite");
    let key: Key = v.array("data-key");
    let a = seal(&key, suite, v.number("part"), &v.array("salt"), &v.plain());
    let b = v.text("b-salt").map_or_else(Vec::new, |_| {
        let plain = vectors::pattern(v.number("b-plain-len"));
        seal(
            &key,
            suite,
            v.number_or("b-part", 0),
            &v.array("b-salt"),
            &plain,
        )
    });
    let Some(recipe) = v.text("pieces") else {
        return a;
    };
    let piece = |text: &str| {
        let (blob, span) = text.split_once(':').unwrap();
        let (offset, length) = span.split_once('+').unwrap();
        let (offset, length): (usize, usize) = (offset.parse().unwrap(), length.parse().unwrap());
        let from = if blob == "a" { &a } else { &b };
        from[offset..offset + length].to_vec()
    };
    recipe.split(' ').flat_map(piece).collect()
}

/// Panics unless the sealed bytes are those the vector's author had.
fn assert_recipe(v: &Vector, sealed: &[u8]) {
    if v.text("sealed-sha256").is_some() {
        assert_eq!(sealed.len(), v.number::<usize>("sealed-len"), "{}", v.name);
        let digest = twin::sha256(&[sealed]);
        assert_eq!(digest, v.array("sealed-sha256"), "{}", v.name);
    }
}

/// F-83: the entry a blob is read for.
fn entry_of(v: &Vector) -> Option<(u32, u64, Key, u8)> {
    let mut fields = v.text("entry")?.split(' ');
    let mut next = || fields.next().unwrap();
    let (part, length) = (next().parse().unwrap(), next().parse().unwrap());
    let salt = unhex(next()).try_into().unwrap();
    Some((part, length, salt, next().parse().unwrap()))
}

fn roots_of(v: &Vector) -> Vec<Root> {
    let root = |text: &str| {
        let fields: Vec<&str> = text.split(' ').collect();
        let root = Root {
            mk_id: unhex(fields[0]).try_into().unwrap(),
            version: fields[1].parse().unwrap(),
            strategy: fields[2].parse().unwrap(),
            key: unhex(fields[4]).try_into().unwrap(),
        };
        let cka = twin::sha256(&[b"sr-mk-1", &root.mk_id, &root.version.to_le_bytes()]);
        assert_eq!(unhex(fields[3]), cka[..16], "F-65");
        root
    };
    v.texts("root").map(root).collect()
}

fn context_of(v: &Vector) -> Vec<u8> {
    let extra = ["object-key", "kms-key-id", "encryption-context"].map(|key| v.bytes(key));
    let extra = [&extra[0][..], &extra[1], &extra[2]];
    twin::context(
        v.number("mode"),
        &v.bytes("bucket"),
        &v.bytes("instance"),
        extra,
    )
}

fn kek_of(v: &Vector) -> Key {
    if v.text("kek").is_some() {
        return v.array("kek");
    }
    let generation = v.number::<u32>("kek-generation").to_le_bytes();
    let id = twin::cat(&[&v.bytes("kek-id"), &generation]);
    twin::bucket_keys(&v.array("secret"), &id).0
}

/// The worked examples of the page hold the same bytes as the vectors `example-*`, which twin and engine answer.
#[test]
fn the_worked_examples_of_the_page_are_the_vectors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMAT.md");
    let page = fs::read_to_string(page).unwrap();
    let examples: Vec<Vector> = Vector::all()
        .into_iter()
        .filter(|v| v.name.starts_with("example-"))
        .collect();
    let mut shown = 0;
    for chunk in page.split("<!-- example ").skip(1) {
        let (name, rest) = chunk.split_once(" -->").unwrap();
        let block = rest.split("<!-- end -->").next().unwrap();
        let v = examples
            .iter()
            .find(|v| v.name == format!("example-{name}"))
            .unwrap_or_else(|| panic!("no vector for the example {name}"));
        let field = match v.want("kind") {
            "blob" | "sealed-attrs" => "sealed",
            "record" | "bucket-record" => "record",
            "manifest" => "manifest",
            "master-state" => "row",
            "head" | "attrs" => "list",
            "file" => "file",
            _ => "wrapped",
        };
        assert_eq!(output_of(block), v.bytes(field), "{name}");
        shown += 1;
    }
    assert_eq!(shown, examples.len(), "an example without its vector");
    assert!(shown >= 16);
}

/// The bytes behind the rows that begin with an offset; every offset is checked.
fn output_of(block: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writing = false;
    let rows = block.split("```").nth(1).unwrap();
    for line in rows.lines() {
        let Some((label, value)) = line.split_at_checked(29) else {
            continue;
        };
        let value = value.trim();
        if !label.trim().is_empty() {
            let offset = label.split(' ').next().unwrap().parse::<usize>();
            writing = offset.is_ok();
            if let Ok(offset) = offset {
                assert_eq!(offset, out.len(), "{line}");
            }
        }
        if writing {
            out.extend(unhex(value));
        }
    }
    out
}

/// The library picks its backend once for a process, so each runs all other tests of this file in one of its own.
#[test]
fn the_vectors_hold_under_every_backend() {
    for backend in Backend::available() {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--skip", "under_every_backend", "--skip", "through_twin"])
            .env("STRONGROOM_BACKEND", backend.name())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{backend}: {said}");
        assert!(said.contains("the_engine_answers_every_vector"), "{said}");
    }
}

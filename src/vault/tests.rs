//! What only the inside can test: it knows the data keys.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::*;
use crate::audit::NullSink;
use crate::format::NamedList;
use crate::id::RootId;
use crate::keys::testing::SoftMasterKey;
use crate::keys::{Keyring, KeyringConfig};
use crate::secret::Secret;

#[path = "../../tests/support/memory.rs"]
#[allow(clippy::duplicate_mod)] // the tests of `keys` have it too
mod memory;
use memory::{Needle, search_self};

fn start(dir: &Path) -> Arc<Vault> {
    let master = Arc::new(SoftMasterKey::new(RootId([7; 16])));
    let keyring = Keyring::new(vec![master], Arc::new(NullSink), KeyringConfig::default()).unwrap();
    let config = VaultConfig {
        delete_grace: Duration::ZERO,
        ..VaultConfig::default()
    };
    Vault::start(
        Stores::open(&StorePaths::below(dir)).unwrap(),
        keyring,
        config,
    )
    .unwrap()
}

fn request(key: &str, protection: Protection) -> PutRequest {
    PutRequest {
        bucket: "b".into(),
        key: key.as_bytes().to_vec(),
        protection,
        head: NamedList::default(),
        facts: Vec::new(),
        suite: None,
        principal: "tester".to_owned(),
    }
}

/// Random bytes that are nowhere else.
fn mark() -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; 32]);
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn body(mark: &[u8], size: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(mark.iter().copied().cycle().take(size).collect())
}

const SIZES: [usize; 3] = [1_000, 70_000, 1_500_000];

#[test]
fn no_file_holds_plaintext_its_md5_or_a_bare_key() {
    let dir = tempfile::tempdir().unwrap();
    let vault = start(dir.path());
    let bucket = vault.create_bucket("b", "owner").unwrap();
    vault.allow_plaintext(&bucket, true).unwrap();
    let mark = mark();
    let customer = [0x3c; 32];
    let mut secrets = vec![("customer key", customer.to_vec())];
    for size in SIZES {
        let plain = body(&mark, size);
        let md5 = Md5::digest(&*plain).to_vec();
        for protection in [Protection::Managed, Protection::Customer(secret(customer))] {
            let name = format!("{protection:?}/{size}");
            let mut stream = vault.put(request(&name, protection)).unwrap();
            secrets.push(("data key", stream.data_key().secret().expose().to_vec()));
            stream.write(&plain).unwrap();
            let hex: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
            let attrs = vec![
                ("etag".to_owned(), md5.clone()),
                ("etag-hex".to_owned(), hex.into()),
            ];
            stream
                .commit(CommitRequest {
                    attrs: NamedList(attrs),
                    ..CommitRequest::default()
                })
                .unwrap();
        }
        secrets.push(("md5", md5));
    }
    // Any 16 bytes of the plaintext, at any offset, hold 8 from one of two places of the mark.
    secrets.push(("plaintext", mark[..8].to_vec()));
    secrets.push(("plaintext", mark[16..24].to_vec()));
    // The control: the same search finds what is there in clear by intention.
    let mut plain_object = vault.put(request("plain", Protection::Plain)).unwrap();
    let control = self::mark();
    plain_object.write(&body(&control, 100_000)).unwrap();
    plain_object.commit(CommitRequest::default()).unwrap();
    vault
        .delete("b", b"Managed/70000", Precondition::None)
        .unwrap();
    assert!(
        found_on_disk(dir.path(), &control[..8]),
        "the search finds nothing at all"
    );
    for (what, secret) in &secrets {
        for form in forms(secret) {
            assert!(
                !found_on_disk(dir.path(), &form),
                "{what} on the disk: {form:?}"
            );
        }
    }
}

fn a_part_under_a_customer_key(vault: &Arc<Vault>, needles: &mut Vec<(&'static str, Needle)>) {
    let (customer, mark) = (mark(), mark());
    let key = || {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&customer);
        Secret::take(&mut bytes).unwrap() // wipes them
    };
    let protection = Protection::Customer(key());
    let upload = vault
        .create_upload(request("upload", protection), Vec::new())
        .unwrap();
    let part = PartRequest {
        bucket: "b".into(),
        key: upload.key,
        upload: upload.id,
        part: 1,
        customer: Some(key()),
        principal: "tester".to_owned(),
    };
    let mut stream = vault.put_part(part).unwrap();
    needles.push((
        "part's data key",
        Needle::new(stream.data_key().secret().expose()),
    ));
    needles.push(("part's customer key", Needle::new(&customer)));
    needles.push(("part's plaintext", Needle::new(&mark[..16])));
    stream.write(&body(&mark, 100_000)).unwrap();
    stream.commit(&NamedList::default()).unwrap();
}

fn forms(secret: &[u8]) -> [Vec<u8>; 3] {
    let lower: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let upper = lower.to_uppercase();
    [secret.to_vec(), lower.into_bytes(), upper.into_bytes()]
}

fn found_on_disk(dir: &Path, secret: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return found_on_disk(&path, secret);
        }
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(secret.len()).any(|window| window == secret)
    })
}

fn secret(mut bytes: [u8; 32]) -> Secret<32> {
    Secret::take(&mut bytes).unwrap()
}

#[test]
fn a_tenth_of_a_second_after_a_request_no_key_of_it_and_no_plaintext_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let vault = start(dir.path());
    vault.create_bucket("b", "owner").unwrap();
    let mut needles = Vec::new();
    for size in SIZES {
        for with_customer_key in [false, true] {
            let customer = mark();
            let mark = mark();
            let key = || {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(&customer);
                Secret::take(&mut bytes).unwrap() // wipes them
            };
            let protection = if with_customer_key {
                Protection::Customer(key())
            } else {
                Protection::Managed
            };
            let name = format!("{with_customer_key}/{size}");
            let mut stream = vault.put(request(&name, protection)).unwrap();
            needles.push(("data key", Needle::new(stream.data_key().secret().expose())));
            needles.push(("customer key", Needle::new(&customer)));
            needles.push(("plaintext", Needle::new(&mark[..16])));
            needles.push(("plaintext", Needle::new(&mark[16..])));
            let plain = body(&mark, size);
            plain
                .chunks(50_001)
                .for_each(|piece| stream.write(piece).unwrap());
            stream.commit(CommitRequest::default()).unwrap();
            let mut reader = vault
                .open(OpenRequest {
                    bucket: "b".into(),
                    key: name.as_bytes(),
                    version: Which::Current,
                    customer: with_customer_key.then(key),
                    instance: None,
                    principal: "tester",
                })
                .unwrap();
            let mut out = Zeroizing::new(vec![0; size]);
            let mut at = 0;
            while at < size {
                // Pieces that end within segments, so that plaintext is held between calls.
                let end = size.min(at + 40_000);
                at += reader.read_at(at as u64, &mut out[at..end]).unwrap();
            }
            assert!(*out == *plain);
        }
    }
    a_part_under_a_customer_key(&vault, &mut needles);
    // An aborted write, and a reader dropped with plaintext in it.
    let mark = mark();
    let mut stream = vault.put(request("aborted", Protection::Managed)).unwrap();
    needles.push((
        "data key of an aborted write",
        Needle::new(stream.data_key().secret().expose()),
    ));
    needles.push(("plaintext of an aborted write", Needle::new(&mark[..16])));
    stream.write(&body(&mark, 30_000)).unwrap();
    drop(stream);
    drop(mark);

    let planted = self::mark();
    let control = Needle::new(&planted);
    std::thread::sleep(Duration::from_millis(100));
    let (names, mut needles): (Vec<_>, Vec<_>) = needles.into_iter().unzip();
    needles.push(control);
    let hits = search_self(&needles).unwrap();
    let planted_at = needles.len() - 1;
    assert!(
        hits.iter().any(|hit| hit.needle == planted_at),
        "the search finds nothing at all"
    );
    let found: Vec<_> = hits
        .iter()
        .filter(|hit| hit.needle != planted_at)
        .map(|hit| {
            format!(
                "{} at {:#x} in {}",
                names[hit.needle], hit.address, hit.mapping
            )
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    drop(planted);
}

//! What goes in comes out: sizes, modes, ranges, listings, copies, conditions.

use std::ops::Bound;
use std::sync::Arc;

use strongroom::format::Suite;
use strongroom::keys::Mode;
use strongroom::store::Locator;
use strongroom::vault::{
    CommitRequest, ListRequest, ListedItem, Precondition, Protection, Vault, VaultError, Which,
};

use crate::support::*;

const SEGMENT: usize = 65_536;
const KEY: [u8; 32] = [0x5a; 32];

fn with_bucket(dir: &std::path::Path) -> Arc<Vault> {
    let vault = vault(dir);
    vault.create_bucket("b", "owner").unwrap();
    vault
}

#[test]
fn every_size_comes_back_whole_in_every_mode_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [
        0,
        1,
        15,
        16,
        1_000,
        16_000,
        16_384,
        17_000,
        SEGMENT - 1,
        SEGMENT,
        SEGMENT + 1,
        3 * SEGMENT,
        1 << 20,
        (1 << 20) + 1,
        2_500_000,
    ];
    let mut vault = with_bucket(dir.path());
    allow_plaintext(&vault);
    for after_a_restart in [false, true] {
        if after_a_restart {
            vault.stop();
            drop(vault);
            vault = self::vault(dir.path());
        }
        for size in sizes {
            let body = bytes(size, size as u64);
            for mode in [Mode::Managed, Mode::Customer, Mode::Plain] {
                let key = format!("{mode:?}/{size}").into_bytes();
                let customer = (mode == Mode::Customer).then(|| secret(KEY));
                if !after_a_restart {
                    let protection = match mode {
                        Mode::Customer => Protection::Customer(secret(KEY)),
                        Mode::Plain => Protection::Plain,
                        _ => Protection::Managed,
                    };
                    let mut stream = vault.put(put_request("b", &key, protection)).unwrap();
                    body.chunks(77_777)
                        .for_each(|piece| stream.write(piece).unwrap());
                    let committed = stream.commit(CommitRequest::default()).unwrap();
                    assert_eq!(committed.length, size as u64);
                }
                let mut request = open("b", &key);
                request.customer = customer;
                let reader = vault.open(request).unwrap();
                assert_eq!(reader.info().mode, mode);
                let suite = if mode == Mode::Plain {
                    Suite::PlainGmac
                } else {
                    Suite::Cbc64Gmac
                };
                assert_eq!(reader.info().suite, suite);
                assert_eq!(
                    reader.info().head.get("content-type"),
                    Some(&b"text/plain"[..])
                );
                drop(reader);
                let mut request = open("b", &key);
                request.customer = (mode == Mode::Customer).then(|| secret(KEY));
                assert_eq!(read(&vault, request).unwrap(), body, "{mode:?} {size}");
            }
        }
    }
}

/// By request, and by the vault's configuration.
#[cfg(feature = "gcm")]
#[test]
fn suite_2_is_there_for_whom_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = strongroom::vault::VaultConfig {
        suite: Suite::Gcm,
        ..Default::default()
    };
    let vault = Vault::start(stores(dir.path()), keyring(), config).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    for (asked, got) in [
        (None, Suite::Gcm),
        (Some(Suite::Gcm), Suite::Gcm),
        (Some(Suite::Cbc64Gmac), Suite::Cbc64Gmac),
    ] {
        for size in [0, 1, 100_000, 1_500_000] {
            let body = bytes(size, 9);
            let mut request = put_request("b", b"key", Protection::Managed);
            request.suite = asked;
            let mut stream = vault.put(request).unwrap();
            stream.write(&body).unwrap();
            stream.commit(CommitRequest::default()).unwrap();
            assert_eq!(vault.open(open("b", b"key")).unwrap().info().suite, got);
            assert_eq!(get(&vault, "b", b"key").unwrap(), body, "{got:?} {size}");
        }
    }
}

#[test]
fn small_objects_lie_in_the_catalog_and_large_ones_in_files() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    let bucket = vault.create_bucket("b", "owner").unwrap();
    // 80 of header, 16 of tag, and padding to the next block: 16,287 is the longest that fits 16 KiB.
    for (size, locator) in [(16_287, Locator::Inline), (16_288, Locator::File)] {
        put(&vault, "b", b"x", &bytes(size, 1)).unwrap();
        let row = stores.catalog.object(bucket.id, b"x").unwrap().unwrap().row;
        assert_eq!(row.blobs[0].locator, locator, "{size}");
        assert_eq!(get(&vault, "b", b"x").unwrap(), bytes(size, 1));
    }
}

#[test]
fn any_range_read_in_any_pieces_is_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let body = bytes(1_500_000, 3);
    put(&vault, "b", b"x", &body).unwrap();
    let mut reader = vault.open(open("b", b"x")).unwrap();
    for (start, len, step) in [
        (0, body.len(), 4_096),
        (0, body.len(), SEGMENT),
        (0, body.len(), 1 << 22),
        (65_535, 2, 1),
        (65_536, 131_072, 65_536),
        (1_499_999, 1, 9),
        (100, 1_400_000, 333_333),
    ] {
        let mut out = Vec::new();
        while out.len() < len {
            let mut piece = vec![0; step.min(len - out.len())];
            let read = reader
                .read_at((start + out.len()) as u64, &mut piece)
                .unwrap();
            assert!(read > 0);
            out.extend_from_slice(&piece[..read]);
        }
        assert!(
            out == body[start..start + len],
            "{start}+{len} in steps of {step}"
        );
    }
    assert_eq!(reader.read_at(1_500_000, &mut [0; 9]).unwrap(), 0);
    assert_eq!(reader.read_at(u64::MAX, &mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_customer_key_object_opens_with_that_key_alone_and_says_which_fault_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let mut stream = vault
        .put(put_request("b", b"c", Protection::Customer(secret(KEY))))
        .unwrap();
    stream.write(b"hers").unwrap();
    stream
        .commit(CommitRequest {
            attrs: list(&[("etag", &etag(b"hers"))]),
            ..Default::default()
        })
        .unwrap();
    put(&vault, "b", b"m", b"ours").unwrap();
    assert_eq!(read(&vault, open_with("b", b"c", KEY)).unwrap(), b"hers");
    let wrong = read(&vault, open_with("b", b"c", [1; 32]));
    assert!(
        matches!(wrong, Err(VaultError::WrongCustomerKey)),
        "{wrong:?}"
    );
    let without = get(&vault, "b", b"c");
    assert!(
        matches!(without, Err(VaultError::CustomerKeyRequired)),
        "{without:?}"
    );
    let needless = read(&vault, open_with("b", b"m", KEY));
    assert!(
        matches!(needless, Err(VaultError::CustomerKeyNotApplicable)),
        "{needless:?}"
    );
    assert!(
        vault
            .head(open_with("b", b"c", KEY))
            .unwrap()
            .attrs
            .get("etag")
            .is_some()
    );
    assert_eq!(
        vault.stat("b", b"c", Which::Current).unwrap().attrs,
        None,
        "sealed under her key"
    );
    assert!(
        vault
            .stat("b", b"m", Which::Current)
            .unwrap()
            .attrs
            .is_some()
    );
}

#[test]
fn nothing_is_there_before_the_commit_or_after_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let mut stream = vault
        .put(put_request("b", b"x", Protection::Managed))
        .unwrap();
    stream.write(&bytes(300_000, 1)).unwrap();
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::NoSuchKey { .. })
    ));
    drop(stream);
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::NoSuchKey { .. })
    ));
    assert_eq!(blobs_of(&stores.blobs), []);
}

#[test]
fn conditions_are_held_at_the_moment_of_commit() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let failed = |result: Result<_, VaultError>| {
        assert!(matches!(result, Err(VaultError::PreconditionFailed)));
    };
    failed(put_if(&vault, "b", b"x", b"1", Precondition::Present));
    let first = put_if(&vault, "b", b"x", b"1", Precondition::Absent).unwrap();
    failed(put_if(&vault, "b", b"x", b"2", Precondition::Absent));
    let second = put_if(&vault, "b", b"x", b"2", Precondition::Is(first.instance)).unwrap();
    assert_eq!(second.replaced, Some(first.instance));
    failed(put_if(
        &vault,
        "b",
        b"x",
        b"3",
        Precondition::Is(first.instance),
    ));
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"2");
    let gone = vault.delete("b", b"x", Precondition::Is(first.instance));
    assert!(matches!(gone, Err(VaultError::PreconditionFailed)));
    assert_eq!(
        vault
            .delete("b", b"x", Precondition::Is(second.instance))
            .unwrap()
            .instance,
        Some(second.instance)
    );
    assert_eq!(
        vault
            .delete("b", b"x", Precondition::None)
            .unwrap()
            .instance,
        None
    );
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::NoSuchKey { .. })
    ));
}

#[test]
fn an_open_of_one_instance_refuses_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let first = put(&vault, "b", b"x", b"1").unwrap();
    put(&vault, "b", b"x", b"2").unwrap();
    let mut request = open("b", b"x");
    request.instance = Some(first.instance);
    assert!(matches!(
        vault.open(request),
        Err(VaultError::PreconditionFailed)
    ));
}

#[test]
fn a_reader_keeps_its_instance_through_overwrite_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(stores(dir.path()), keyring(), config()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let body = bytes(900_000, 1);
    put(&vault, "b", b"x", &body).unwrap();
    let mut reader = vault.open(open("b", b"x")).unwrap();
    let mut out = vec![0; body.len()];
    assert_eq!(reader.read_at(0, &mut out[..100_000]).unwrap(), 100_000);
    put(&vault, "b", b"x", b"new").unwrap();
    vault.delete("b", b"x", Precondition::None).unwrap();
    let done = vault.maintain().unwrap();
    assert_eq!(
        done.reaped, 2,
        "blobs removed, no grace in this configuration"
    );
    let mut at = 100_000;
    while at < out.len() {
        at += reader.read_at(at as u64, &mut out[at..]).unwrap();
    }
    assert!(out == body);
}

#[test]
fn a_copy_has_keys_of_its_own_and_opens_under_its_own_mode() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    vault.create_bucket("other", "owner").unwrap();
    let body = bytes(3_000_000, 9);
    let source = put(&vault, "b", b"x", &body).unwrap();
    let target = put_request("other", b"y", Protection::Customer(secret(KEY)));
    let copy = vault
        .copy(open("b", b"x"), target, CommitRequest::default())
        .unwrap();
    assert_ne!(copy.instance, source.instance);
    assert_eq!(copy.length, 3_000_000);
    assert!(read(&vault, open_with("other", b"y", KEY)).unwrap() == body);
    // Re-keyed in place.
    let target = put_request("other", b"y", Protection::Managed);
    let again = vault.copy(
        open_with("other", b"y", KEY),
        target,
        CommitRequest::default(),
    );
    assert_eq!(again.unwrap().replaced, Some(copy.instance));
    assert!(get(&vault, "other", b"y").unwrap() == body);
}

#[test]
fn a_listing_shows_keys_in_byte_order_with_prefixes_pages_and_opened_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    for key in ["a", "d/1", "d/2", "e/1/1", "z", "\u{e9}"] {
        put(&vault, "b", key.as_bytes(), key.as_bytes()).unwrap();
    }
    let mut seen = Vec::new();
    let mut from = Bound::Unbounded;
    let mut held: Vec<u8>;
    loop {
        let page = vault
            .list(&ListRequest {
                bucket: "b".into(),
                prefix: b"",
                from,
                delimiter: Some(b"/"),
                limit: 2,
            })
            .unwrap();
        for item in page.items {
            seen.push(match item {
                ListedItem::Prefix(prefix) => String::from_utf8(prefix).unwrap(),
                ListedItem::Object(object) => {
                    let attrs = object.attrs.unwrap();
                    assert_eq!(attrs.get("etag"), Some(&etag(&object.key)[..]));
                    assert_eq!(object.length, object.key.len() as u64);
                    String::from_utf8(object.key).unwrap()
                }
            });
        }
        let Some(next) = page.next else {
            break;
        };
        held = next;
        from = Bound::Included(&held);
    }
    assert_eq!(seen, ["a", "d/", "e/", "z", "\u{e9}"]);
}

#[test]
fn buckets_are_made_once_and_deleted_only_empty() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let Err(VaultError::BucketExists(bucket)) = vault.create_bucket("b", "else") else {
        panic!("made twice");
    };
    assert_eq!(bucket.owner, "owner");
    put(&vault, "b", b"x", b"1").unwrap();
    assert!(matches!(
        vault.delete_bucket("b"),
        Err(VaultError::BucketNotEmpty(_))
    ));
    vault.delete("b", b"x", Precondition::None).unwrap();
    vault.delete_bucket("b").unwrap();
    assert!(matches!(
        vault.delete_bucket("b"),
        Err(VaultError::NoSuchBucket(_))
    ));
    assert!(matches!(
        put(&vault, "b", b"x", b"1"),
        Err(VaultError::NoSuchBucket(_))
    ));
    // A new bucket of the same name is another bucket.
    assert_ne!(vault.create_bucket("b", "owner").unwrap().id, bucket.id);
    put(&vault, "b", b"x", b"1").unwrap();
}

#[test]
fn a_put_into_a_bucket_deleted_meanwhile_fails_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let mut stream = vault
        .put(put_request("b", b"x", Protection::Managed))
        .unwrap();
    stream.write(&bytes(200_000, 1)).unwrap();
    vault.delete_bucket("b").unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let result = stream.commit(CommitRequest::default());
    assert!(
        matches!(result, Err(VaultError::NoSuchBucket(_))),
        "{result:?}"
    );
    assert_eq!(blobs_of(&stores.blobs), []);
}

#[test]
fn what_a_request_must_not_ask_for_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let vault = with_bucket(dir.path());
    let refused = |request| {
        let result = vault.put(request).map(|_| ());
        assert!(matches!(result, Err(VaultError::Invalid(_))), "{result:?}");
    };
    refused(put_request("b", b"", Protection::Managed));
    refused(put_request("b", &[b'k'; 65_536], Protection::Managed));
    let mut request = put_request("b", b"x", Protection::Managed);
    request.suite = Some(Suite::PlainGmac);
    refused(request);
    let mut request = put_request("b", b"x", Protection::Managed);
    request.protection = Protection::Kms {
        root: ROOT,
        context: b"not a context".to_vec(),
    };
    refused(request);
    let mut request = put_request("b", b"x", Protection::Plain);
    request.suite = Some(Suite::Cbc64Gmac);
    refused(request);
    let mut request = put_request("b", b"x", Protection::Managed);
    request.head = list(&[(":created", b"forged")]);
    refused(request);
    let mut request = put_request("b", b"x", Protection::Managed);
    request.head = list(&[("Upper", b"1")]);
    refused(request);
    put(&vault, "b", &[b'k'; 65_535], b"longest key").unwrap();
}

#[test]
fn streams_are_handles_for_any_thread() {
    fn handle<T: Send + Sync + 'static>() {}
    handle::<strongroom::vault::PutStream>();
    handle::<strongroom::vault::ObjectReader>();
    handle::<Arc<Vault>>();
}

#[test]
fn the_key_of_what_was_replaced_or_deleted_is_shredded_before_the_reply() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let first = put(&vault, "b", b"x", b"1").unwrap().instance;
    let second = put(&vault, "b", b"x", b"2").unwrap().instance;
    let gone = |instance| {
        let view = stores.keys.fetch(instance).unwrap();
        view.record.is_none() && view.tombstone
    };
    assert!(gone(first) && !gone(second));
    vault.delete("b", b"x", Precondition::None).unwrap();
    assert!(gone(second));
}

//! Plain objects: only where an operator opened a bucket for them, and never by an edit of the catalog.

use std::sync::Arc;

use strongroom::format::Suite;
use strongroom::keys::Mode;
use strongroom::vault::{Protection, Stores, Vault, VaultError};

use crate::held::Edited;
use crate::support::*;
use crate::uploads::{begin, complete, put_part};

fn refused<T>(result: Result<T, VaultError>) {
    let error = result.err();
    assert!(
        matches!(error, Some(VaultError::PlaintextNotAllowed(_))),
        "{error:?}"
    );
}

#[test]
fn a_bucket_takes_plain_objects_only_while_it_is_opened_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    let bucket = vault.create_bucket("b", "owner").unwrap();
    let plain = |key: &[u8]| put_request("b", key, Protection::Plain);
    refused(vault.put(plain(b"x")));
    refused(vault.create_upload(plain(b"x"), Vec::new()));
    allow_plaintext(&vault);
    let mut before = vault.put(plain(b"x")).unwrap();
    before.write(b"readable").unwrap();
    before.commit(Default::default()).unwrap();
    let upload = begin(&vault, b"parts", Protection::Plain);
    let part = put_part(&vault, b"parts", upload, 1, b"readable").unwrap();
    let mut during = vault.put(plain(b"y")).unwrap();
    during.write(b"readable").unwrap();
    let kept = blobs_of(&stores.blobs);
    let mut during_part = vault.put_part(part_in("b", b"parts", upload, 2)).unwrap();
    during_part.write(b"readable").unwrap();
    vault.allow_plaintext(&bucket, false).unwrap();
    refused(during.commit(Default::default()));
    refused(during_part.commit(&list(&[])));
    refused(vault.put_part(part_in("b", b"parts", upload, 2)));
    assert_eq!(
        blobs_of(&stores.blobs),
        kept,
        "nothing more is readable on the disk"
    );
    refused(complete(&vault, b"parts", upload, &[&part]));
    refused(vault.put(plain(b"z")));
    assert_eq!(
        get(&vault, "b", b"x").unwrap(),
        b"readable",
        "what is there stays"
    );
    assert_eq!(vault.head(open("b", b"x")).unwrap().suite, Suite::PlainGmac);
    // Whatever else the document says, it does not say yes.
    for text in [
        &b"{}"[..],
        b"",
        b"{\"allowed\":false}",
        b"{\"allowed\":true} ",
        b"true",
    ] {
        let revision = vault.document(Some(&bucket), "plaintext").unwrap();
        let revision = revision.map(|(revision, _)| revision);
        vault
            .put_document(Some(&bucket), "plaintext", revision, Some(text))
            .unwrap();
        refused(vault.put(plain(b"z")));
    }
}

/// F-43, F-51: the mode is bound into the key record, the suite into the manifest that the record names.
#[test]
fn an_edit_of_the_catalog_turns_no_sealed_object_into_a_plain_one() {
    let dir = tempfile::tempdir().unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    let bucket = vault.create_bucket("b", "owner").unwrap();
    allow_plaintext(&vault);
    put(&vault, "b", b"x", b"what the double shows instead of").unwrap();
    put(&vault, "b", b"sealed", &bytes(100, 1)).unwrap();
    let mut stream = vault
        .put(put_request("b", b"plain", Protection::Plain))
        .unwrap();
    stream.write(&bytes(100, 1)).unwrap();
    stream.commit(Default::default()).unwrap();
    let row = |key: &[u8]| stores.catalog.object(bucket.id, key).unwrap().unwrap().row;
    let (sealed, plain) = (row(b"sealed"), row(b"plain"));
    for (what, from, to) in [("sealed", &sealed, &plain), ("plain", &plain, &sealed)] {
        let mut mode = from.clone();
        mode.mode = to.mode;
        let mut mode_and_suite = mode.clone();
        mode_and_suite.suite = to.suite;
        let mut manifest_too = mode_and_suite.clone();
        manifest_too.manifest = to.manifest.clone();
        manifest_too.head = to.head.clone();
        let mut all = to.clone();
        all.key = from.key.clone();
        for edited in [mode, mode_and_suite, manifest_too, all] {
            let stores = Stores {
                catalog: Arc::new(Edited::new(&stores.catalog, edited)),
                ..stores.clone()
            };
            let vault = Vault::start(stores, keyring(), Default::default()).unwrap();
            let result = get(&vault, "b", what.as_bytes());
            assert!(
                matches!(result, Err(VaultError::Damaged { .. })),
                "{what}: {result:?}"
            );
        }
    }
    assert_eq!(plain.mode, Mode::Plain.code());
}

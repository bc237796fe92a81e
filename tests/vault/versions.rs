//! Versions: what a bucket keeps of what is overwritten and deleted.

use std::ops::Bound;
use std::sync::Arc;

use strongroom::id::VersionId;
use strongroom::vault::{
    Deleted, Judged, OpenRequest, Precondition, Protection, Vault, VaultError, VersionEntry,
    VersionItem, Versioning, VersionsRequest, Which,
};

use crate::support::*;

fn versioned(dir: &std::path::Path, versioning: Versioning) -> Arc<Vault> {
    let vault = vault(dir);
    vault.create_bucket("b", "owner").unwrap();
    set(&vault, versioning);
    vault
}

fn set(vault: &Arc<Vault>, versioning: Versioning) {
    let bucket = vault.bucket("b").unwrap();
    vault.set_versioning(&bucket, versioning).unwrap();
    assert_eq!(vault.bucket("b").unwrap().versioning, versioning);
}

fn of<'a>(key: &'a [u8], version: Which) -> OpenRequest<'a> {
    OpenRequest {
        version,
        ..open("b", key)
    }
}

fn delete(vault: &Arc<Vault>, key: &[u8]) -> Deleted {
    vault.delete("b", key, Precondition::None).unwrap()
}

/// All versions of a key from the newest on: what each is found as, and its body if it is an object.
fn history(vault: &Arc<Vault>, key: &[u8]) -> Vec<(Which, Option<Vec<u8>>)> {
    let page = vault
        .list_versions(&VersionsRequest {
            bucket: "b".into(),
            prefix: key,
            from: Bound::Unbounded,
            after: None,
            delimiter: None,
            limit: 100,
        })
        .unwrap();
    let versions = page.items.into_iter().enumerate().map(|(place, item)| {
        let VersionItem::Version(version) = item else {
            panic!("a prefix without a delimiter");
        };
        assert_eq!(version.noncurrent_since_ms.is_none(), place == 0);
        let body = match version.entry {
            VersionEntry::Marker(_) => None,
            VersionEntry::Object(object) => {
                let body = read(vault, of(key, version.which)).unwrap();
                assert_eq!(object.length, body.len() as u64);
                assert_eq!(object.attrs.unwrap().get("etag").unwrap(), etag(&body));
                Some(body)
            }
        };
        (version.which, body)
    });
    versions.collect()
}

#[test]
fn every_version_reads_back_under_a_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    let bodies = [bytes(10, 1), bytes(200_000, 2), bytes(0, 3)];
    let labels: Vec<VersionId> = bodies
        .iter()
        .map(|body| {
            let committed = put(&vault, "b", b"x", body).unwrap();
            assert!(!committed.null && committed.replaced.is_none());
            committed.version
        })
        .collect();
    vault.stop();
    drop(vault);
    let vault = self::vault(dir.path());
    for (label, body) in labels.iter().zip(&bodies) {
        let found = read(&vault, of(b"x", Which::Label(*label))).unwrap();
        assert!(found == *body);
        let stat = vault.stat("b", b"x", Which::Label(*label)).unwrap();
        assert_eq!((stat.version, stat.length), (*label, body.len() as u64));
    }
    assert!(get(&vault, "b", b"x").unwrap() == bodies[2]);
    // Each has its own key record: shredding one leaves the others.
    let deleted = vault
        .delete_version("b", b"x", Which::Label(labels[1]), None)
        .unwrap();
    assert_eq!(deleted.instance.unwrap().0, labels[1].0);
    let gone = read(&vault, of(b"x", Which::Label(labels[1])));
    assert!(matches!(gone, Err(VaultError::NoSuchVersion { .. })));
    for left in [0, 2] {
        let found = read(&vault, of(b"x", Which::Label(labels[left]))).unwrap();
        assert!(found == bodies[left]);
    }
}

#[test]
fn a_delete_marker_hides_an_object_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    let first = put(&vault, "b", b"x", b"1").unwrap();
    let marker = delete(&vault, b"x").marker.unwrap();
    assert!(!marker.null);
    let Err(VaultError::DeleteMarker {
        is_current: true,
        marker: seen,
        ..
    }) = get(&vault, "b", b"x")
    else {
        panic!("the marker does not show");
    };
    assert_eq!(*seen, marker);
    let label = Which::Label(first.version);
    assert_eq!(read(&vault, of(b"x", label)).unwrap(), b"1");
    let on_top = Which::Label(marker.version);
    assert_eq!(
        history(&vault, b"x"),
        [(on_top, None), (label, Some(b"1".to_vec()))]
    );
    // Under a marker there is no object.
    let present = put_if(&vault, "b", b"x", b"2", Precondition::Present);
    assert!(matches!(present, Err(VaultError::PreconditionFailed)));
    let removed = vault.delete_version("b", b"x", on_top, None).unwrap();
    assert_eq!((removed.instance, removed.marker), (None, Some(marker)));
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    // A marker is put on a key that never was, too.
    assert!(delete(&vault, b"never").marker.is_some());
    assert!(matches!(
        vault.delete_bucket("b"),
        Err(VaultError::BucketNotEmpty(_))
    ));
}

#[test]
fn while_suspended_only_the_null_version_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    let kept = put(&vault, "b", b"x", b"kept").unwrap();
    set(&vault, Versioning::Suspended);
    let null = put(&vault, "b", b"x", b"null").unwrap();
    assert!(null.null && null.replaced.is_none());
    let again = put(&vault, "b", b"x", b"null again").unwrap();
    assert_eq!(again.replaced, Some(null.instance));
    let label = Which::Label(kept.version);
    assert_eq!(
        history(&vault, b"x"),
        [
            (Which::Null, Some(b"null again".to_vec())),
            (label, Some(b"kept".to_vec()))
        ]
    );
    let deleted = delete(&vault, b"x");
    assert_eq!(deleted.instance, Some(again.instance));
    assert!(deleted.marker.unwrap().null);
    assert_eq!(
        history(&vault, b"x"),
        [(Which::Null, None), (label, Some(b"kept".to_vec()))]
    );
    assert!(matches!(
        vault.stat("b", b"x", Which::Null),
        Err(VaultError::DeleteMarker {
            is_current: true,
            ..
        })
    ));
    set(&vault, Versioning::Enabled);
    put(&vault, "b", b"x", b"newest").unwrap();
    assert_eq!(history(&vault, b"x").len(), 3);
    let bucket = vault.bucket("b").unwrap();
    assert!(matches!(
        vault.set_versioning(&bucket, Versioning::Off),
        Err(VaultError::Invalid(_))
    ));
}

#[test]
fn what_was_there_before_versioning_is_the_null_version() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Suspended);
    assert!(put(&vault, "b", b"x", b"old").unwrap().null);
    set(&vault, Versioning::Enabled);
    put(&vault, "b", b"x", b"new").unwrap();
    assert_eq!(read(&vault, of(b"x", Which::Null)).unwrap(), b"old");
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"new");
}

#[test]
fn facts_belong_to_a_version_and_guard_its_removal() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    let first = put(&vault, "b", b"x", b"1").unwrap();
    put(&vault, "b", b"x", b"2").unwrap();
    let (bucket, label) = (vault.bucket("b").unwrap(), Which::Label(first.version));
    let set = |expected: &[u8], facts: &[u8]| {
        vault.set_facts(&bucket, b"x", label, first.instance, expected, facts)
    };
    set(b"", b"locked").unwrap();
    assert!(matches!(
        set(b"", b"other"),
        Err(VaultError::PreconditionFailed)
    ));
    assert_eq!(vault.stat("b", b"x", label).unwrap().facts, b"locked");
    assert_eq!(vault.stat("b", b"x", Which::Current).unwrap().facts, b"");
    let remove = |facts: &[u8]| {
        let version = first.version;
        vault.delete_version("b", b"x", label, Some(Judged { version, facts }))
    };
    assert!(matches!(remove(b""), Err(VaultError::PreconditionFailed)));
    remove(b"locked").unwrap();
    assert_eq!(history(&vault, b"x").len(), 1);
}

#[test]
fn a_null_version_written_since_it_was_judged_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    for versioning in [None, Some(Versioning::Suspended)] {
        let dir = dir.path().join(format!("{versioning:?}"));
        let vault = vault(&dir);
        let bucket = vault.create_bucket("b", "owner").unwrap();
        if let Some(versioning) = versioning {
            vault.set_versioning(&bucket, versioning).unwrap();
        }
        let remove = |version| {
            let facts = &[][..];
            vault.delete_version("b", b"x", Which::Null, Some(Judged { version, facts }))
        };
        let old = put(&vault, "b", b"x", b"old").unwrap();
        let new = put(&vault, "b", b"x", b"new, with the same facts").unwrap();
        let refused = remove(old.version);
        assert!(matches!(refused, Err(VaultError::PreconditionFailed)));
        let body = get(&vault, "b", b"x").unwrap();
        assert_eq!(body, b"new, with the same facts");
        let hide = |version, facts| vault.delete_judged("b", b"x", Judged { version, facts });
        vault
            .set_facts(&bucket, b"x", Which::Null, new.instance, b"", b"tagged")
            .unwrap();
        for (version, facts) in [(old.version, &b"tagged"[..]), (new.version, b"")] {
            let refused = hide(version, facts);
            assert!(matches!(refused, Err(VaultError::PreconditionFailed)));
        }
        vault
            .set_facts(&bucket, b"x", Which::Null, new.instance, b"tagged", b"")
            .unwrap();
        // Under another key it is the same version still.
        vault
            .rewrap_object(&open("b", b"x"), &Protection::Managed, None)
            .unwrap();
        assert!(remove(new.version).unwrap().instance.is_some());
        if versioning.is_some() {
            let mut markers = (0..2).map(|_| {
                let deleted = vault.delete("b", b"x", Precondition::None).unwrap();
                deleted.marker.unwrap().version
            });
            let (old, new) = (markers.next().unwrap(), markers.next().unwrap());
            assert!(matches!(remove(old), Err(VaultError::PreconditionFailed)));
            assert!(remove(new).unwrap().marker.is_some());
        }
        let last = put(&vault, "b", b"x", b"last").unwrap();
        let hidden = hide(last.version, b"").unwrap();
        assert_eq!(hidden.instance, Some(last.instance));
        assert_eq!(hidden.marker.is_some(), versioning.is_some());
        let refused = hide(last.version, b"");
        assert!(matches!(refused, Err(VaultError::PreconditionFailed)));
    }
}

#[test]
fn versions_of_every_protection_open_only_as_they_were_stored() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    let write = |protection| {
        let mut stream = vault.put(put_request("b", b"x", protection)).unwrap();
        stream.write(b"body").unwrap();
        stream.commit(Default::default()).unwrap().version
    };
    let keys = [[1; 32], [2; 32]];
    let customer = keys.map(|key| write(Protection::Customer(secret(key))));
    let managed = write(Protection::Managed);
    for (label, key) in customer.iter().zip(keys) {
        let with = |key: Option<[u8; 32]>| OpenRequest {
            customer: key.map(secret),
            ..of(b"x", Which::Label(*label))
        };
        assert_eq!(read(&vault, with(Some(key))).unwrap(), b"body");
        assert!(matches!(
            read(&vault, with(Some([3; 32]))),
            Err(VaultError::WrongCustomerKey)
        ));
        assert!(matches!(
            read(&vault, with(None)),
            Err(VaultError::CustomerKeyRequired)
        ));
    }
    assert_eq!(
        read(&vault, of(b"x", Which::Label(managed))).unwrap(),
        b"body"
    );
}

/// Two keys of one bucket at different ages: pages end anywhere.
#[test]
fn a_listing_of_versions_goes_on_where_a_page_ended() {
    let dir = tempfile::tempdir().unwrap();
    let vault = versioned(dir.path(), Versioning::Enabled);
    for key in [&b"a"[..], b"b", b"c/1", b"c/2", b"d"] {
        for body in [&b"1"[..], b"2", b"3"] {
            put(&vault, "b", key, body).unwrap();
        }
        delete(&vault, key);
    }
    let all = pages(&vault, 100);
    assert_eq!(all.len(), 4 * 4 - 4 + 1);
    for limit in 1..7 {
        assert_eq!(pages(&vault, limit), all, "pages of {limit}");
    }
}

/// Items in their order; the labels of what they are differ from run to run, and stay within one.
fn pages(vault: &Arc<Vault>, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut last: Option<(Vec<u8>, Option<Which>)> = None;
    loop {
        let from = last
            .as_ref()
            .map_or(Bound::Unbounded, |(key, _)| Bound::Included(&key[..]));
        let page = vault
            .list_versions(&VersionsRequest {
                bucket: "b".into(),
                prefix: b"",
                from,
                after: last.as_ref().and_then(|(_, which)| *which),
                delimiter: Some(b"/"),
                limit,
            })
            .unwrap();
        assert!(page.items.len() <= limit);
        for item in page.items {
            all.push(format!("{item:?}"));
            last = Some(match item {
                VersionItem::Prefix(prefix) => {
                    (strongroom::vault::after_prefix(&prefix).unwrap(), None)
                }
                VersionItem::Version(version) => {
                    let key = match version.entry {
                        VersionEntry::Object(object) => object.key,
                        VersionEntry::Marker(marker) => marker.key,
                    };
                    (key, Some(version.which))
                }
            });
        }
        if !page.more {
            return all;
        }
    }
}

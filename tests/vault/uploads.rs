//! Multipart uploads: parts under one data key, completed without moving a byte.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use strongroom::format::NamedList;
use strongroom::id::InstanceId;
use strongroom::keys::Mode;
use strongroom::store::ScanBy;
use strongroom::vault::{
    CommitRequest, Committed, CompleteRequest, OpenRequest, PartInfo, PartRequest, Precondition,
    Protection, Stores, UploadItem, UploadsRequest, Vault, VaultError, Versioning, Which,
};

use crate::support::*;

pub fn begin(vault: &Arc<Vault>, key: &[u8], protection: Protection) -> InstanceId {
    begin_in(vault, "b", key, protection).unwrap()
}

pub fn part_request(
    key: &[u8],
    upload: InstanceId,
    part: u32,
    customer: Option<[u8; 32]>,
) -> PartRequest {
    PartRequest {
        customer: customer.map(secret),
        ..part_in("b", key, upload, part)
    }
}

pub fn put_part(
    vault: &Arc<Vault>,
    key: &[u8],
    upload: InstanceId,
    part: u32,
    body: &[u8],
) -> Result<PartInfo, VaultError> {
    put_part_with(vault, part_in("b", key, upload, part), body)
}

pub fn complete(
    vault: &Arc<Vault>,
    key: &[u8],
    upload: InstanceId,
    parts: &[&PartInfo],
) -> Result<Committed, VaultError> {
    let parts = parts.iter().copied();
    complete_in(vault, "b", key, upload, parts, &CommitRequest::default())
}

fn with_bucket(dir: &std::path::Path) -> (Arc<Vault>, Stores) {
    let stores = stores(dir);
    let vault = Vault::start(stores.clone(), keyring(), config_at_leisure()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    (vault, stores)
}

/// Garbage goes at once, leases stay.
fn config_at_leisure() -> strongroom::vault::VaultConfig {
    strongroom::vault::VaultConfig {
        lease: std::time::Duration::from_secs(60),
        ..config()
    }
}

pub fn blobs(stores: &Stores) -> usize {
    blobs_of(&stores.blobs).len()
}

fn gone<T: std::fmt::Debug>(result: Result<T, VaultError>) {
    assert!(
        matches!(result, Err(VaultError::NoSuchUpload { .. })),
        "{result:?}"
    );
}

#[test]
fn parts_sent_in_any_order_and_again_make_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, stores) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let bodies = [
        bytes(70_000, 1),
        bytes(0, 2),
        bytes(200_001, 3),
        bytes(1, 4),
    ];
    let numbers = [3, 10_000, 1, 7];
    put_part(&vault, b"x", upload, 3, &bytes(9, 9)).unwrap();
    let mut infos: Vec<_> = numbers
        .iter()
        .zip(&bodies)
        .map(|(part, body)| put_part(&vault, b"x", upload, *part, body).unwrap())
        .collect();
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::NoSuchKey { .. })
    ));
    infos.sort_by_key(|info| info.part);
    let listed = vault.list_parts("b", b"x", upload, 0, 100).unwrap();
    assert_eq!(listed, infos, "attributes and all");
    assert_eq!(
        vault.list_parts("b", b"x", upload, 3, 1).unwrap(),
        infos[2..3]
    );
    let sealed = blobs(&stores);
    let committed = complete(&vault, b"x", upload, &infos.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(blobs(&stores), sealed, "no data moves");
    let whole = [&bodies[2][..], &bodies[0], &bodies[3], &bodies[1]].concat();
    assert_eq!(committed.length, whole.len() as u64);
    assert_eq!(committed.version.0, upload.0);
    assert!(get(&vault, "b", b"x").unwrap() == whole);
    let reader = vault.open(open("b", b"x")).unwrap();
    let spans: Vec<_> = reader.info().parts.iter().map(|part| part.part).collect();
    assert_eq!(spans, [1, 3, 7, 10_000]);
    for (part, attrs) in reader.part_attrs(0, 100).unwrap() {
        let span = reader
            .info()
            .parts
            .iter()
            .find(|span| span.part == part)
            .unwrap();
        let (start, end) = (span.start as usize, (span.start + span.length) as usize);
        assert_eq!(
            attrs.get("etag").unwrap(),
            etag(&whole[start..end]),
            "part {part}"
        );
    }
    assert_eq!(vault.part_attrs(&open("b", b"x"), 3, 1).unwrap()[0].0, 7);
    gone(vault.list_parts("b", b"x", upload, 0, 100));
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 4, "the replaced part is gone");
}

#[test]
fn parts_that_are_not_chosen_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, stores) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let infos: Vec<_> = (1..=5)
        .map(|part| put_part(&vault, b"x", upload, part, &bytes(100, part.into())).unwrap())
        .collect();
    complete(&vault, b"x", upload, &[&infos[1], &infos[3]]).unwrap();
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 2);
    let body = [bytes(100, 2), bytes(100, 4)].concat();
    assert!(get(&vault, "b", b"x").unwrap() == body);
}

/// F-32: (data key, salt) never seals two contents, however often a part is sent.
#[test]
fn no_attempt_at_a_part_has_the_salt_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, stores) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let mut salts = HashSet::new();
    for round in 0..40 {
        for part in 1..=3 {
            let same_content = put_part(&vault, b"x", upload, part, b"the same").unwrap();
            assert!(
                salts.insert(same_content.salt),
                "round {round}, part {part}"
            );
        }
        // One that is given up has a salt as well, and leaves no blob.
        let mut stream = vault.put_part(part_request(b"x", upload, 1, None)).unwrap();
        stream.write(&bytes(70_000, round)).unwrap();
    }
    // What is on the disk says the same: the salt is in the header, at 16.
    vault.maintain().unwrap();
    let listed = vault.list_parts("b", b"x", upload, 0, 10).unwrap();
    let on_disk = stores.catalog.parts(upload, 0, 10).unwrap();
    for (info, row) in listed.iter().zip(&on_disk) {
        let mut header = [0; 48];
        stores
            .blobs
            .open(&row.blob)
            .unwrap()
            .read_at(0, &mut header)
            .unwrap();
        assert_eq!(header[16..], info.salt);
    }
    assert_eq!(blobs(&stores), 3);
}

#[test]
fn ten_thousand_parts_make_an_object_that_reads_at_any_place() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let body = |part: u32| bytes(1 + part as usize % 5, part.into());
    let mut parts: Vec<(u32, [u8; 32])> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..16)
            .map(|hand| {
                let vault = &vault;
                scope.spawn(move || {
                    let mine = (1..=10_000).filter(|part| part % 16 == hand);
                    mine.map(|part| {
                        let info = put_part(vault, b"x", upload, part, &body(part)).unwrap();
                        (part, info.salt)
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        hands
            .into_iter()
            .flat_map(|hand| hand.join().unwrap())
            .collect()
    });
    parts.sort_unstable();
    let request = CompleteRequest {
        bucket: "b".into(),
        key: b"x",
        upload,
        parts: &parts,
        principal: "tester",
    };
    vault
        .complete_upload(&request, &CommitRequest::default())
        .unwrap();
    let mut reader = vault.open(open("b", b"x")).unwrap();
    assert_eq!(reader.info().parts.len(), 10_000);
    for span in reader.info().parts.clone().iter().step_by(97) {
        let mut found = vec![0; span.length as usize];
        reader.read_at(span.start, &mut found).unwrap();
        assert!(found == body(span.part), "part {}", span.part);
    }
    let attrs = vault.part_attrs(&open("b", b"x"), 9_998, 10).unwrap();
    assert_eq!(attrs.len(), 2);
    assert_eq!(attrs[1].1.get("etag").unwrap(), etag(&body(10_000)));
    for number in [0, 10_001] {
        let refused = vault
            .put_part(part_request(b"x", upload, number, None))
            .map(drop);
        assert!(matches!(refused, Err(VaultError::Invalid(_))));
    }
}

#[test]
fn a_customer_key_is_needed_for_each_part_and_not_to_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let key = [5; 32];
    let upload = begin(&vault, b"x", Protection::Customer(secret(key)));
    let body = bytes(100_000, 1);
    let send = |customer| put_part_with(&vault, part_request(b"x", upload, 1, customer), &body);
    assert!(matches!(send(None), Err(VaultError::CustomerKeyRequired)));
    assert!(matches!(
        send(Some([6; 32])),
        Err(VaultError::WrongCustomerKey)
    ));
    let info = send(Some(key)).unwrap();
    let listed = vault.list_parts("b", b"x", upload, 0, 10).unwrap();
    assert_eq!(listed[0].salt, info.salt);
    assert_eq!(listed[0].attrs, None, "only its key opens them");
    let told = vault.complete_upload(
        &CompleteRequest {
            bucket: "b".into(),
            key: b"x",
            upload,
            parts: &[(1, info.salt)],
            principal: "tester",
        },
        &CommitRequest {
            attrs: list(&[("etag", b"would tell")]),
            ..Default::default()
        },
    );
    assert!(matches!(told, Err(VaultError::Invalid(_))));
    complete(&vault, b"x", upload, &[&info]).unwrap();
    assert!(read(&vault, open_with("b", b"x", key)).unwrap() == body);
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::CustomerKeyRequired)
    ));
    let head = vault.head(open_with("b", b"x", key)).unwrap();
    assert_eq!(
        (head.mode, head.attrs),
        (Mode::Customer, NamedList::default())
    );
    let attrs = vault.part_attrs(&open_with("b", b"x", key), 0, 10).unwrap();
    assert_eq!(attrs[0].1.get("etag").unwrap(), etag(&body));
    let managed = begin(&vault, b"y", Protection::Managed);
    let brought = vault
        .put_part(part_request(b"y", managed, 1, Some(key)))
        .map(drop);
    assert!(matches!(brought, Err(VaultError::CustomerKeyNotApplicable)));
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, stores) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let info = put_part(&vault, b"x", upload, 1, &bytes(100, 1)).unwrap();
    let mut late = vault.put_part(part_request(b"x", upload, 2, None)).unwrap();
    late.write(b"late").unwrap();
    vault.abort_upload("b", b"x", upload).unwrap();
    assert!(
        stores.keys.fetch(upload).unwrap().tombstone,
        "its key is shredded"
    );
    gone(late.commit(&NamedList::default()));
    gone(put_part(&vault, b"x", upload, 2, b""));
    gone(complete(&vault, b"x", upload, &[&info]));
    gone(vault.abort_upload("b", b"x", upload));
    gone(vault.upload("b", b"x", upload));
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 0);
    assert_eq!(stores.keys.scan(ScanBy::All, None, 10).unwrap(), []);
}

#[test]
fn completing_twice_gives_the_same_answer_twice() {
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        let dir = tempfile::tempdir().unwrap();
        let (vault, _) = with_bucket(dir.path());
        if versioning != Versioning::Off {
            let bucket = vault.bucket("b").unwrap();
            vault.set_versioning(&bucket, versioning).unwrap();
        }
        put(&vault, "b", b"x", b"before").unwrap();
        let upload = begin(&vault, b"x", Protection::Managed);
        let info = put_part(&vault, b"x", upload, 1, b"body").unwrap();
        let first = complete(&vault, b"x", upload, &[&info]).unwrap();
        let second = complete(&vault, b"x", upload, &[&info]).unwrap();
        assert_eq!(
            Committed {
                replaced: None,
                ..first
            },
            second
        );
        assert_eq!(first.null, versioning != Versioning::Enabled);
        assert_eq!(first.replaced.is_some(), versioning != Versioning::Enabled);
        put(&vault, "b", b"x", b"after").unwrap();
        let third = complete(&vault, b"x", upload, &[&info]);
        if versioning == Versioning::Enabled {
            assert_eq!(third.unwrap(), second);
        } else {
            gone(third);
        }
    }
}

#[test]
fn a_part_that_is_not_as_the_request_says_fails_the_completion_and_not_the_upload() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let upload = begin(&vault, b"x", Protection::Managed);
    let old = put_part(&vault, b"x", upload, 1, b"old").unwrap();
    let new = put_part(&vault, b"x", upload, 1, b"new").unwrap();
    let other = put_part(&vault, b"x", upload, 2, b"other").unwrap();
    let missing = PartInfo {
        part: 3,
        ..other.clone()
    };
    for (chosen, part) in [(vec![&old], 1), (vec![&new, &missing], 3)] {
        let result = complete(&vault, b"x", upload, &chosen);
        assert!(
            matches!(result, Err(VaultError::NoSuchPart(at)) if at == part),
            "{result:?}"
        );
    }
    for chosen in [vec![], vec![&other, &new], vec![&new, &new]] {
        let result = complete(&vault, b"x", upload, &chosen);
        assert!(matches!(result, Err(VaultError::Invalid(_))), "{result:?}");
    }
    complete(&vault, b"x", upload, &[&new, &other]).unwrap();
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"newother");
}

#[test]
fn a_condition_that_fails_leaves_the_upload_to_be_completed_with_other_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    put(&vault, "b", b"x", b"there").unwrap();
    let upload = begin(&vault, b"x", Protection::Managed);
    let infos = [1, 2].map(|part| put_part(&vault, b"x", upload, part, b"part").unwrap());
    let refused = vault.complete_upload(
        &CompleteRequest {
            bucket: "b".into(),
            key: b"x",
            upload,
            parts: &[(1, infos[0].salt)],
            principal: "tester",
        },
        &CommitRequest {
            precondition: Precondition::Absent,
            ..Default::default()
        },
    );
    assert!(
        matches!(refused, Err(VaultError::PreconditionFailed)),
        "{refused:?}"
    );
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"there");
    // Its record names a manifest of one part by now; parts still go in, and others may be chosen.
    let third = put_part(&vault, b"x", upload, 3, b"last").unwrap();
    complete(&vault, b"x", upload, &[&infos[1], &third]).unwrap();
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"partlast");
}

#[test]
fn uploads_outlive_a_restart_and_end_when_they_are_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, stores) = with_bucket(dir.path());
    let old = begin(&vault, b"old", Protection::Managed);
    let info = put_part(&vault, b"old", old, 1, &bytes(100_000, 1)).unwrap();
    vault.stop();
    drop((vault, stores));
    std::thread::sleep(std::time::Duration::from_millis(60));
    let stores = self::stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), config_at_leisure()).unwrap();
    // The incarnation that made them is over and swept: what the catalog names is no orphan.
    let swept = vault.maintain().unwrap();
    assert_eq!((swept.orphan_blobs, swept.orphan_records), (0, 0));
    let second = put_part(&vault, b"old", old, 2, b"more").unwrap();
    let began = vault.upload("b", b"old", old).unwrap();
    assert_eq!(
        (began.attrs, began.principal),
        (b"attrs".to_vec(), "tester".to_owned())
    );
    let expire = |before_ms| vault.expire_uploads(before_ms, None, 10).unwrap().expired;
    assert_eq!(expire(began.created_ms), 0);
    let young = begin(&vault, b"young", Protection::Managed);
    assert_eq!(expire(began.created_ms + 1), 1);
    gone(complete(&vault, b"old", old, &[&info, &second]));
    let left = vault.list_uploads(&uploads(None)).unwrap();
    assert!(matches!(&left.items[..], [UploadItem::Upload(info)] if info.id == young));
    vault.maintain().unwrap();
    assert_eq!(blobs(&stores), 0);
    vault.delete_bucket("b").unwrap();
    vault.maintain().unwrap();
    assert_eq!(stores.keys.scan(ScanBy::All, None, 10).unwrap(), []);
}

fn uploads(delimiter: Option<&[u8]>) -> UploadsRequest<'_> {
    UploadsRequest {
        bucket: "b".into(),
        prefix: b"",
        from: Bound::Unbounded,
        after: None,
        delimiter,
        limit: 100,
    }
}

#[test]
fn uploads_are_listed_by_key_and_then_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let ids: Vec<_> = [&b"b"[..], b"a", b"b", b"c/1", b"c/2"]
        .map(|key| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            begin(&vault, key, Protection::Managed)
        })
        .into();
    let page = vault.list_uploads(&uploads(Some(b"/"))).unwrap();
    assert!(!page.more);
    let seen: Vec<_> = page
        .items
        .iter()
        .map(|item| match item {
            UploadItem::Upload(info) => info.id.to_string(),
            UploadItem::Prefix(prefix) => String::from_utf8_lossy(prefix).into_owned(),
        })
        .collect();
    let expected = [ids[1], ids[0], ids[2]].map(|id| id.to_string());
    assert_eq!(seen, [&expected[..], &["c/".to_owned()]].concat());
}

/// UploadPartCopy: a range of an object becomes a part, a batch at a time.
#[test]
fn a_part_is_copied_from_a_range_of_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let body = bytes(3_000_000, 1);
    put(&vault, "b", b"source", &body).unwrap();
    let upload = begin(&vault, b"x", Protection::Customer(secret([5; 32])));
    let mut source = vault.open(open("b", b"source")).unwrap();
    let request = part_request(b"x", upload, 1, Some([5; 32]));
    let mut stream = vault.put_part(request).unwrap();
    let (mut at, end) = (70_000, 2_500_001);
    loop {
        match stream.write_from(&mut source, at..end).unwrap() {
            0 => break,
            copied => at += copied as u64,
        }
    }
    let info = stream.commit(&NamedList::default()).unwrap();
    complete(&vault, b"x", upload, &[&info]).unwrap();
    let copied = read(&vault, open_with("b", b"x", [5; 32])).unwrap();
    assert!(copied == body[70_000..2_500_001]);
}

#[test]
fn a_completed_upload_is_a_version_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _) = with_bucket(dir.path());
    let bucket = vault.bucket("b").unwrap();
    vault.set_versioning(&bucket, Versioning::Enabled).unwrap();
    let upload = begin(&vault, b"x", Protection::Managed);
    let info = put_part(&vault, b"x", upload, 1, b"parts").unwrap();
    let version = complete(&vault, b"x", upload, &[&info]).unwrap().version;
    put(&vault, "b", b"x", b"newer").unwrap();
    let older = OpenRequest {
        version: Which::Label(version),
        ..open("b", b"x")
    };
    assert_eq!(read(&vault, older).unwrap(), b"parts");
}

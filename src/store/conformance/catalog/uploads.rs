//! The part of the catalog's suite that is about multipart uploads.

use std::ops::Bound;
use std::thread;

use super::{BUCKET, MARKER, Open, commit, start, state, visible};
use crate::id::{BlobId, BucketId, InstanceId};
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{
    BlobRef, Catalog, Commit, CommitError, Committed, Locator, ObjectRow, PartRow, Precondition,
    StoreError, Upload, UploadItem, UploadsPage, UploadsQuery, Version, Versioning, Which,
};

pub(super) fn begun(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let again = catalog.create_upload(upload.clone());
    holds(
        "an instance is named once",
        matches!(again, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    let nowhere = Upload {
        bucket: BucketId([9; 16]),
        instance: InstanceId::random()?,
        ..upload.clone()
    };
    same(
        "no bucket",
        &catalog.create_upload(nowhere),
        &Err(CommitError::NoSuchBucket),
    )?;
    let mut parts = Vec::new();
    for number in [7, 1, 10_000, 2] {
        let part = part(upload.instance, number, writer)?;
        same("nothing replaced", &catalog.put_part(part.clone())?, &None)?;
        parts.push(part);
    }
    let again = part(upload.instance, 7, writer)?;
    let garbage = catalog.put_part(again.clone())?;
    let garbage = garbage.ok_or_else(|| Wrong("a replaced part is garbage".to_owned()))?;
    same(
        "only its blob",
        &(garbage.instance, garbage.bucket, &garbage.blobs),
        &(None, BUCKET, &vec![parts[0].blob.clone()]),
    )?;
    same("since", &garbage.since_ms, &again.modified_ms)?;
    parts[0] = again;
    parts.sort_by_key(|part| part.part);
    let mut taken = parts[0].clone();
    (taken.part, taken.blob.part) = (8, 8);
    let taken = catalog.put_part(taken);
    holds(
        "a blob is named once",
        matches!(taken, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    let mut inline = part(upload.instance, 9, writer)?;
    inline.blob.locator = Locator::Inline;
    holds(
        "no part is inline",
        matches!(
            catalog.put_part(inline),
            Err(CommitError::Store(StoreError::Unsupported(_)))
        ),
    )?;
    drop(catalog);
    let catalog = open()?;
    catalog.check()?;
    let find = |key: &[u8]| catalog.upload(BUCKET, key, upload.instance);
    same("upload", &find(b"key")?, &Some(upload.clone()))?;
    same("not of another key", &find(b"kez")?, &None)?;
    same("parts", &catalog.parts(upload.instance, 0, 99)?, &parts)?;
    same(
        "a page of parts",
        &catalog.parts(upload.instance, 1, 2)?,
        &parts[1..3].to_vec(),
    )?;
    same("no object", &visible(&*catalog, b"key")?, &None)?;
    for part in &parts {
        same("named", &catalog.condemn(part.blob.id)?, &false)?;
    }
    same(
        "named",
        &catalog.condemn_instance(upload.instance, writer)?,
        &false,
    )
}

pub(super) fn completed(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let before = commit(writer, b"key")?;
    catalog.commit(before.clone())?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let mut parts = Vec::new();
    for number in 1..=4 {
        let part = part(upload.instance, number, writer)?;
        catalog.put_part(part.clone())?;
        parts.push(part);
    }
    let end = |chosen: &[&PartRow]| completion(writer, &upload, chosen);
    let mut other = end(&[&parts[0]])?;
    other.row.key = b"kez".to_vec();
    same(
        "not of another key",
        &catalog.commit(other),
        &Err(CommitError::NoSuchUpload),
    )?;
    let stranger = part(upload.instance, 3, writer)?;
    same(
        "a part that is not there",
        &catalog.commit(end(&[&parts[0], &stranger])?),
        &Err(CommitError::PartChanged(3)),
    )?;
    let absent = Commit {
        precondition: Precondition::Absent,
        ..end(&[&parts[0]])?
    };
    same(
        "a precondition",
        &catalog.commit(absent),
        &Err(CommitError::Precondition),
    )?;
    same("parts stay", &catalog.parts(upload.instance, 0, 9)?, &parts)?;
    let whole = end(&[&parts[1], &parts[3]])?;
    let Committed { null, garbage } = catalog.commit(whole.clone())?;
    same("null", &null, &true)?;
    let wanted = vec![
        (None, vec![parts[0].blob.clone(), parts[2].blob.clone()]),
        (Some(before.row.instance), before.row.blobs),
    ];
    let seen: Vec<_> = garbage
        .iter()
        .map(|entry| (entry.instance, entry.blobs.clone()))
        .collect();
    same("garbage", &seen, &wanted)?;
    drop(catalog);
    let catalog = open()?;
    catalog.check()?;
    let row = catalog.object(BUCKET, b"key")?.map(|view| view.row);
    same("the object", &row, &Some(whole.row.clone()))?;
    same(
        "part attributes",
        &catalog.part_attrs(upload.instance)?,
        &Some(whole.part_attrs.clone()),
    )?;
    same(
        "no upload",
        &(
            catalog.upload(BUCKET, b"key", upload.instance)?,
            catalog.parts(upload.instance, 0, 9)?.len(),
        ),
        &(None, 0),
    )?;
    let gone = Err(CommitError::NoSuchUpload);
    let late = part(upload.instance, 5, writer)?;
    same("completed twice", &catalog.commit(whole).map(|_| ()), &gone)?;
    same("a late part", &catalog.put_part(late).map(|_| ()), &gone)?;
    let abort = catalog.abort_upload(BUCKET, b"key", upload.instance, 9);
    same("a late abort", &abort.map(|_| ()), &gone)?;
    same("garbage stays", &catalog.garbage(0, 9)?, &garbage)
}

pub(super) fn completed_as_a_version(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let before = commit(writer, b"key")?;
    catalog.commit(before.clone())?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let part = part(upload.instance, 1, writer)?;
    catalog.put_part(part.clone())?;
    catalog.delete(BUCKET, b"key", Precondition::None, None, MARKER, 9)?;
    let done = catalog.commit(completion(writer, &upload, &[&part])?)?;
    same(
        "not the null version",
        &(done.null, done.garbage),
        &(false, Vec::new()),
    )?;
    same(
        "on top",
        &visible(&*catalog, b"key")?,
        &Some(upload.instance),
    )?;
    let below = catalog.version(BUCKET, b"key", Which::Label(before.row.version))?;
    let below = below.map(|view| matches!(view.version, Version::Object(_)));
    same("the former one stays", &below, &Some(true))
}

pub(super) fn aborted(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let (one, two) = (
        part(upload.instance, 1, writer)?,
        part(upload.instance, 2, writer)?,
    );
    catalog.put_part(two.clone())?;
    catalog.put_part(one.clone())?;
    let abort = |key: &[u8]| catalog.abort_upload(BUCKET, key, upload.instance, 77);
    same(
        "another key",
        &abort(b"kez"),
        &Err(CommitError::NoSuchUpload),
    )?;
    let garbage = abort(b"key")?;
    same(
        "garbage",
        &(garbage.instance, &garbage.blobs, garbage.since_ms),
        &(Some(upload.instance), &vec![one.blob.clone(), two.blob], 77),
    )?;
    same("again", &abort(b"key"), &Err(CommitError::NoSuchUpload))?;
    let late = part(upload.instance, 3, writer)?;
    same(
        "a late part",
        &catalog.put_part(late),
        &Err(CommitError::NoSuchUpload),
    )?;
    let late = completion(writer, &upload, &[&one])?;
    same(
        "a late completion",
        &catalog.commit(late),
        &Err(CommitError::NoSuchUpload),
    )?;
    same("no object", &visible(&*catalog, b"key")?, &None)?;
    let other = begin(&*catalog, writer, b"other", 6)?;
    let part = part(other.instance, 1, writer)?;
    catalog.put_part(part.clone())?;
    let deleted = catalog.delete_bucket(BUCKET, 88);
    same("uploads keep no bucket", &deleted, &Ok(()))?;
    drop(catalog);
    let catalog = open()?;
    let entries: Vec<_> = catalog
        .garbage(0, 9)?
        .into_iter()
        .map(|entry| (entry.instance, entry.blobs.len(), entry.since_ms))
        .collect();
    same(
        "garbage of both",
        &entries,
        &vec![
            (Some(upload.instance), 2, 77),
            (Some(other.instance), 1, 88),
        ],
    )?;
    catalog.create_bucket(super::bucket("again", 7), state(1))?;
    same(
        "a part of a bucket that is gone",
        &catalog.put_part(part),
        &Err(CommitError::NoSuchUpload),
    )
}

pub(super) fn condemned(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let late = part(upload.instance, 1, writer)?;
    same("free", &catalog.condemn(late.blob.id)?, &true)?;
    same(
        "a condemned blob",
        &catalog.put_part(late),
        &Err(CommitError::Condemned),
    )?;
    let instance = InstanceId::random()?;
    catalog.condemn_instance(instance, writer)?;
    let late = Upload {
        instance,
        ..upload.clone()
    };
    same(
        "a condemned instance",
        &catalog.create_upload(late),
        &Err(CommitError::Condemned),
    )?;
    let slow = catalog.register("slow", 0, 1)?;
    let in_time = part(upload.instance, 1, slow)?;
    catalog.put_part(in_time.clone())?;
    catalog.close(slow)?;
    same(
        "a part of a closed incarnation",
        &catalog.put_part(part(upload.instance, 2, slow)?),
        &Err(CommitError::Condemned),
    )?;
    let begun = Upload {
        instance: InstanceId::random()?,
        incarnation: slow,
        ..upload.clone()
    };
    same(
        "an upload of a closed incarnation",
        &catalog.create_upload(begun),
        &Err(CommitError::Condemned),
    )?;
    let mut closed = completion(writer, &upload, &[&in_time])?;
    closed.incarnation = slow;
    same(
        "a completion by a closed incarnation",
        &catalog.commit(closed),
        &Err(CommitError::Condemned),
    )?;
    catalog.commit(completion(writer, &upload, &[&in_time])?)?;
    same(
        "a part that was in time is part of the object",
        &visible(&*catalog, b"key")?,
        &Some(upload.instance),
    )
}

pub(super) fn races(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    for number in 0..12u8 {
        let key = [number];
        let upload = begin(&*catalog, writer, &key, 5)?;
        let first = part(upload.instance, 1, writer)?;
        catalog.put_part(first.clone())?;
        let late = part(upload.instance, 2, writer)?;
        let whole = completion(writer, &upload, &[&first])?;
        let (completed, aborted, put) = thread::scope(|scope| {
            let complete = scope.spawn(|| catalog.commit(whole));
            let abort = scope.spawn(|| catalog.abort_upload(BUCKET, &key, upload.instance, 9));
            let put = catalog.put_part(late.clone());
            (complete.join(), abort.join(), put)
        });
        let panicked = |_| Wrong("a thread panicked".to_owned());
        let completed = won(completed.map_err(panicked)?)?;
        let aborted = won(aborted.map_err(panicked)?)?;
        let put = won(put)?;
        holds("completed or aborted, not both", completed != aborted)?;
        same(
            "visible",
            &visible(&*catalog, &key)?,
            &Some(upload.instance).filter(|_| completed),
        )?;
        // Whatever came first, the blob of the late part is named as garbage if it was taken, and free if not.
        let condemned = catalog.condemn(late.blob.id)?;
        same("the late part is named", &!condemned, &put)?;
        let garbage = catalog.garbage(0, 1000)?;
        let kept = garbage.iter().any(|entry| entry.blobs.contains(&late.blob));
        same("and garbage", &kept, &put)?;
        holds(
            "the key is garbage of an abort alone",
            garbage
                .iter()
                .any(|entry| entry.instance == Some(upload.instance))
                == aborted,
        )?;
    }
    Ok(())
}

pub(super) fn condemn_race(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    for number in 1..=12 {
        let part = part(upload.instance, number, writer)?;
        let blob = part.blob.id;
        let (condemned, put) = thread::scope(|scope| {
            let sweeper = scope.spawn(|| catalog.condemn(blob));
            let put = catalog.put_part(part);
            (sweeper.join(), put)
        });
        let condemned = condemned.map_err(|_| Wrong("a thread panicked".to_owned()))??;
        let put = match put {
            Ok(_) => true,
            Err(CommitError::Condemned) => false,
            Err(other) => return Err(other.into()),
        };
        holds("exactly one wins", condemned != put)?;
    }
    Ok(())
}

pub(super) fn pages(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut all = Vec::new();
    for (key, created_ms) in [
        (&b"b/2"[..], 9),
        (b"a", 7),
        (b"b/1", 1),
        (b"a", 3),
        (b"a", 3),
        (b"c", 4),
        (b"\xff", 2),
    ] {
        all.push(begin(&*catalog, writer, key, created_ms)?);
    }
    let gone = begin(&*catalog, writer, b"b", 1)?;
    catalog.abort_upload(BUCKET, b"b", gone.instance, 9)?;
    all.sort_by_key(|upload| (upload.key.clone(), upload.created_ms, upload.instance));
    drop(catalog);
    let catalog = open()?;
    for limit in [1, 2, 3, 1000] {
        let items: Vec<_> = all.iter().cloned().map(shown).collect();
        let query = UploadsQuery { limit, ..ALL };
        same("all pages", &walk(&*catalog, &query)?, &items)?;
        let mut folded = items.clone();
        folded.splice(3..5, [UploadItem::Prefix(b"b/".to_vec())]);
        let query = UploadsQuery {
            delimiter: Some(b"/"),
            ..query
        };
        same("folded", &walk(&*catalog, &query)?, &folded)?;
        let query = UploadsQuery {
            prefix: b"b/",
            limit,
            ..ALL
        };
        same("a prefix", &walk(&*catalog, &query)?, &items[3..5].to_vec())?;
    }
    let none = UploadsQuery { limit: 0, ..ALL };
    same("no items", &catalog.list_uploads(&none)?.items, &Vec::new())?;
    for delimiter in [None, Some(&b"/"[..])] {
        let UploadsPage {
            items,
            rows_visited,
            ..
        } = catalog.list_uploads(&UploadsQuery { delimiter, ..ALL })?;
        holds("rows visited", rows_visited <= 3 * items.len() as u64)?;
    }
    all.sort_by_key(|upload| (upload.created_ms, upload.instance));
    same(
        "by date",
        &catalog.uploads_before(7, None, 99)?,
        &all[..5].to_vec(),
    )?;
    let after = Some((all[1].created_ms, all[1].instance));
    same(
        "by date, a page",
        &catalog.uploads_before(100, after, 3)?,
        &all[2..5].to_vec(),
    )
}

const ALL: UploadsQuery<'static> = UploadsQuery {
    bucket: BUCKET,
    prefix: b"",
    from: Bound::Unbounded,
    after: None,
    delimiter: None,
    limit: 1000,
};

/// All items, page by page.
fn walk(catalog: &dyn Catalog, query: &UploadsQuery<'_>) -> Result<Vec<UploadItem>, Wrong> {
    let mut seen = Vec::new();
    let mut from: Option<Vec<u8>> = None;
    let mut after = None;
    loop {
        let page = catalog.list_uploads(&UploadsQuery {
            from: from.as_deref().map_or(query.from, Bound::Included),
            after,
            ..*query
        })?;
        holds(
            "a page is not longer than asked for",
            page.items.len() <= query.limit,
        )?;
        (from, after) = match page.items.last().filter(|_| page.more) {
            Some(UploadItem::Prefix(prefix)) => (crate::store::after_prefix(prefix), None),
            Some(UploadItem::Upload(upload)) => (
                Some(upload.key.clone()),
                Some((upload.created_ms, upload.instance)),
            ),
            None => (None, None),
        };
        seen.extend(page.items);
        if from.is_none() {
            return Ok(seen);
        }
        holds("no endless listing", seen.len() < 1000)?;
    }
}

fn shown(upload: Upload) -> UploadItem {
    UploadItem::Upload(Box::new(upload))
}

fn won<T>(result: Result<T, CommitError>) -> Result<bool, Wrong> {
    match result {
        Ok(_) => Ok(true),
        Err(CommitError::NoSuchUpload) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

fn begin(catalog: &dyn Catalog, writer: u64, key: &[u8], created_ms: u64) -> Result<Upload, Wrong> {
    let instance = InstanceId::random()?;
    let upload = Upload {
        bucket: BUCKET,
        key: key.to_vec(),
        instance,
        incarnation: writer,
        mode: 2,
        suite: 1,
        generation: 1,
        kms_key_id: b"kms".to_vec(),
        encryption_context: b"context".to_vec(),
        head: instance.0.repeat(5),
        facts: b"facts".to_vec(),
        attrs: instance.0.repeat(2),
        created_ms,
        principal: "somebody".to_owned(),
    };
    catalog.create_upload(upload.clone())?;
    Ok(upload)
}

fn part(instance: InstanceId, part: u32, writer: u64) -> Result<PartRow, Wrong> {
    let mut id = BlobId::random()?;
    id.0[..8].copy_from_slice(&writer.to_le_bytes());
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(&id.0);
    Ok(PartRow {
        instance,
        part,
        blob: BlobRef {
            part,
            id,
            locator: Locator::File,
            sealed_len: 5_000_000 + u64::from(part),
        },
        length: 4_999_000,
        salt,
        attrs: id.0.repeat(3),
        modified_ms: 70 + u64::from(part),
    })
}

pub(super) fn claimed(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let upload = begin(&*catalog, writer, b"key", 5)?;
    let part = part(upload.instance, 1, writer)?;
    catalog.put_part(part.clone())?;
    let claim = |claim: &[u8]| catalog.claim_upload(BUCKET, b"key", upload.instance, claim);
    let template = completion(writer, &upload, &[&part])?;
    let complete = |claim: &[u8]| {
        catalog.commit(Commit {
            completes: Some(claim.to_vec()),
            ..template.clone()
        })
    };
    claim(b"first")?;
    claim(b"second")?;
    for lost in [&b"first"[..], b""] {
        let lost = complete(lost);
        same("claimed since", &lost, &Err(CommitError::NotClaimed))?;
    }
    drop(complete(b"second")?);
    same(
        "completed",
        &claim(b"third"),
        &Err(CommitError::NoSuchUpload),
    )?;
    let nowhere = catalog.claim_upload(BucketId([9; 16]), b"key", upload.instance, b"");
    same("no bucket", &nowhere, &Err(CommitError::NoSuchBucket))
}

/// The commit that completes an upload with some of its parts.
fn completion(writer: u64, upload: &Upload, chosen: &[&PartRow]) -> Result<Commit, Wrong> {
    let template = commit(writer, &upload.key)?;
    Ok(Commit {
        row: ObjectRow {
            instance: upload.instance,
            version: crate::id::VersionId(upload.instance.0),
            blobs: chosen.iter().map(|part| part.blob.clone()).collect(),
            ..template.row
        },
        inline: Vec::new(),
        part_attrs: upload.instance.0.repeat(9),
        completes: Some(Vec::new()),
        ..template
    })
}

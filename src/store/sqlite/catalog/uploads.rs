//! Multipart uploads and their parts.
//!
//! `upload_keys` is the order in which uploads are listed; a row of it names one of `uploads`.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{buckets, garbage, leases};
use crate::id::{BucketId, InstanceId};
use crate::store::sqlite::codec;
use crate::store::sqlite::keys::page;
use crate::store::sqlite::row::{Fields, Table, blob, int, text};
use crate::store::{
    BlobRef, CommitError, Garbage, ObjectRow, PartRow, StoreError, Upload, UploadItem, UploadsPage,
    UploadsQuery, after_prefix, common_prefix, incarnation_of,
};

pub(super) const UPLOADS: Table = Table::new(
    "uploads",
    1,
    &[
        "instance",
        "bucket",
        "key",
        "incarnation",
        "mode",
        "suite",
        "generation",
        "kms_key_id",
        "encryption_context",
        "head",
        "facts",
        "attrs",
        "created_ms",
        "principal",
    ],
);
pub(super) const KEYS: Table = Table::new(
    "upload_keys",
    4,
    &["bucket", "key", "created_ms", "instance"],
);
pub(super) const PARTS: Table = Table::new(
    "parts",
    2,
    &[
        "instance",
        "part",
        "blob",
        "length",
        "salt",
        "attrs",
        "modified_ms",
    ],
);

pub(super) const CLAIMS: Table = Table::new("upload_claims", 1, &["instance", "claim"]);

pub(super) fn create(db: &Connection, upload: &Upload) -> Result<(), CommitError> {
    let bucket = buckets::number(db, upload.bucket)?.ok_or(CommitError::NoSuchBucket)?;
    if !leases::may_commit(db, upload.incarnation)? {
        return Err(CommitError::Condemned);
    }
    garbage::name(db, Some(upload.instance), [])?;
    let values = [
        blob(&upload.instance.0),
        blob(&upload.bucket.0),
        blob(&upload.key),
        int(upload.incarnation)?,
        ValueRef::Integer(i64::from(upload.mode)),
        ValueRef::Integer(i64::from(upload.suite)),
        ValueRef::Integer(i64::from(upload.generation)),
        blob(&upload.kms_key_id),
        blob(&upload.encryption_context),
        blob(&upload.head),
        blob(&upload.facts),
        blob(&upload.attrs),
        int(upload.created_ms)?,
        text(&upload.principal),
    ];
    UPLOADS.put(db, &values)?;
    Ok(KEYS.put(db, &place(bucket, upload)?)?)
}

pub(super) fn find(
    db: &Connection,
    bucket: BucketId,
    key: &[u8],
    instance: InstanceId,
) -> Result<Option<Upload>, StoreError> {
    let found = UPLOADS.get(db, &[blob(&instance.0)], decode)?;
    Ok(found.filter(|upload| upload.bucket == bucket && upload.key == key))
}

pub(super) fn put_part(db: &Connection, part: &PartRow) -> Result<Option<Garbage>, CommitError> {
    part.check()?;
    let upload = UPLOADS.get(db, &[blob(&part.instance.0)], decode)?;
    let upload = upload.ok_or(CommitError::NoSuchUpload)?;
    if !leases::may_commit(db, incarnation_of(part.blob.id))? {
        return Err(CommitError::Condemned);
    }
    garbage::name(db, None, [part.blob.id])?;
    let number = ValueRef::Integer(i64::from(part.part));
    let replaced = PARTS.get(db, &[blob(&part.instance.0), number], decode_part)?;
    let sealed = codec::encode_blobs(std::slice::from_ref(&part.blob))?;
    PARTS.put(
        db,
        &[
            blob(&part.instance.0),
            number,
            blob(&sealed),
            int(part.length)?,
            blob(&part.salt),
            blob(&part.attrs),
            int(part.modified_ms)?,
        ],
    )?;
    let Some(replaced) = replaced else {
        return Ok(None);
    };
    let blobs = vec![replaced.blob];
    Ok(garbage::add(db, upload.bucket, None, blobs, part.modified_ms).map(Some)?)
}

pub(super) fn parts(
    db: &Connection,
    instance: InstanceId,
    after: u32,
    limit: usize,
) -> Result<Vec<PartRow>, StoreError> {
    let end = "WHERE instance = ?1 AND part > ?2 ORDER BY part LIMIT ?3";
    PARTS.all(db, end, (&instance.0, after, page(limit)), decode_part)
}

pub(super) fn claim(
    db: &Connection,
    bucket: BucketId,
    key: &[u8],
    instance: InstanceId,
    claim: &[u8],
) -> Result<(), CommitError> {
    buckets::number(db, bucket)?.ok_or(CommitError::NoSuchBucket)?;
    find(db, bucket, key, instance)?.ok_or(CommitError::NoSuchUpload)?;
    Ok(CLAIMS.put(db, &[blob(&instance.0), blob(claim)])?)
}

pub(super) fn abort(
    db: &Connection,
    bucket: BucketId,
    key: &[u8],
    instance: InstanceId,
    now_ms: u64,
) -> Result<Garbage, CommitError> {
    let number = buckets::number(db, bucket)?.ok_or(CommitError::NoSuchBucket)?;
    let upload = find(db, bucket, key, instance)?.ok_or(CommitError::NoSuchUpload)?;
    Ok(discard(db, number, &upload, now_ms)?)
}

/// Turns all uploads of a bucket into garbage.
pub(super) fn abort_all(db: &Connection, bucket: u64, now_ms: u64) -> Result<(), StoreError> {
    let number = i64::try_from(bucket).unwrap_or(i64::MAX);
    let of_bucket = "WHERE bucket = ?1 ORDER BY key, created_ms, instance";
    for instance in KEYS.all(db, of_bucket, [number], |row| row.id(3))? {
        let upload = UPLOADS.get(db, &[blob(&instance)], decode)?;
        let upload = upload.ok_or_else(|| torn(InstanceId(instance)))?;
        discard(db, bucket, &upload, now_ms)?;
    }
    Ok(())
}

/// Ends the upload that `row` is made of. Returns what it does not take over as garbage: the blobs of other parts.
pub(super) fn complete(
    db: &Connection,
    id: BucketId,
    bucket: u64,
    row: &ObjectRow,
    claim: &[u8],
    now_ms: u64,
) -> Result<Option<Garbage>, CommitError> {
    let upload = find(db, id, &row.key, row.instance)?.ok_or(CommitError::NoSuchUpload)?;
    let last = CLAIMS.get(db, &[blob(&row.instance.0)], |row| {
        Ok(row.bytes(1)?.to_vec())
    })?;
    if last.unwrap_or_default() != claim {
        return Err(CommitError::NotClaimed);
    }
    let parts = remove(db, bucket, &upload)?;
    let mut left: BTreeMap<u32, BlobRef> =
        parts.into_iter().map(|blob| (blob.part, blob)).collect();
    for chosen in &row.blobs {
        if left.remove(&chosen.part).as_ref() != Some(chosen) {
            return Err(CommitError::PartChanged(chosen.part));
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let left = left.into_values().collect();
    Ok(garbage::add(db, id, None, left, now_ms).map(Some)?)
}

pub(super) fn list(db: &Connection, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError> {
    let mut page = UploadsPage {
        items: Vec::new(),
        more: false,
        rows_visited: 0,
    };
    let Some(bucket) = buckets::number(db, query.bucket)?.filter(|_| query.limit > 0) else {
        return Ok(page);
    };
    let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
    let end = after_prefix(query.prefix);
    let (key, after) = query.start();
    // No instance is as small as the empty one.
    let after = after.map(|(created_ms, instance)| {
        let created_ms = i64::try_from(created_ms).unwrap_or(i64::MAX);
        (created_ms, instance.0.to_vec())
    });
    let mut start = Some((key, after.unwrap_or((-1, Vec::new()))));
    while let Some((key, (created_ms, instance))) = start.take() {
        let mut each = |row: &Fields<'_>| {
            page.rows_visited += 1;
            if page.items.len() == query.limit {
                page.more = true;
                return Ok(false);
            }
            let key = row.bytes(1)?;
            if let Some(common) = common_prefix(key, query.prefix, query.delimiter) {
                page.items.push(UploadItem::Prefix(common.to_vec()));
                start = after_prefix(common).map(|key| (key, (-1, Vec::new())));
                return Ok(false);
            }
            page.rows_visited += 1;
            let instance = InstanceId(row.id(3)?);
            let upload = UPLOADS.get(db, &[blob(&instance.0)], decode)?;
            let upload = Box::new(upload.ok_or_else(|| torn(instance))?);
            page.items.push(UploadItem::Upload(upload));
            Ok(true)
        };
        match &end {
            Some(end) => KEYS.visit(
                db,
                "WHERE bucket = ?1 AND (key, created_ms, instance) > (?2, ?3, ?4) AND key < ?5
                 ORDER BY key, created_ms, instance",
                (bucket, key, created_ms, instance, end),
                &mut each,
            )?,
            None => KEYS.visit(
                db,
                "WHERE bucket = ?1 AND (key, created_ms, instance) > (?2, ?3, ?4)
                 ORDER BY key, created_ms, instance",
                (bucket, key, created_ms, instance),
                &mut each,
            )?,
        }
    }
    Ok(page)
}

pub(super) fn before(
    db: &Connection,
    created_ms: u64,
    after: Option<(u64, InstanceId)>,
    limit: usize,
) -> Result<Vec<Upload>, StoreError> {
    let (date, instance) = match &after {
        Some((date, instance)) => (i64::try_from(*date).unwrap_or(i64::MAX), &instance.0[..]),
        None => (-1, &[][..]),
    };
    let created_ms = i64::try_from(created_ms).unwrap_or(i64::MAX);
    UPLOADS.all(
        db,
        "WHERE created_ms < ?1 AND (created_ms, instance) > (?2, ?3)
         ORDER BY created_ms, instance LIMIT ?4",
        (created_ms, date, instance, page(limit)),
        decode,
    )
}

fn discard(
    db: &Connection,
    bucket: u64,
    upload: &Upload,
    now_ms: u64,
) -> Result<Garbage, StoreError> {
    let blobs = remove(db, bucket, upload)?;
    garbage::add(db, upload.bucket, Some(upload.instance), blobs, now_ms)
}

/// Takes the rows of an upload away; returns the blobs of its parts, by number.
fn remove(db: &Connection, bucket: u64, upload: &Upload) -> Result<Vec<BlobRef>, StoreError> {
    let instance = &upload.instance.0;
    let of_upload = "WHERE instance = ?1 ORDER BY part";
    let blobs = PARTS.all(db, of_upload, [instance], |row| Ok(decode_part(row)?.blob))?;
    db.prepare_cached("DELETE FROM parts WHERE instance = ?1")?
        .execute([instance])?;
    UPLOADS.delete(db, &[blob(instance)])?;
    CLAIMS.delete(db, &[blob(instance)])?;
    KEYS.delete(db, &place(bucket, upload)?)?;
    Ok(blobs)
}

/// Where an upload is in the order of all.
fn place(bucket: u64, upload: &Upload) -> Result<[ValueRef<'_>; 4], StoreError> {
    Ok([
        int(bucket)?,
        blob(&upload.key),
        int(upload.created_ms)?,
        blob(&upload.instance.0),
    ])
}

fn decode(row: &Fields<'_>) -> Result<Upload, StoreError> {
    Ok(Upload {
        instance: InstanceId(row.id(0)?),
        bucket: BucketId(row.id(1)?),
        key: row.bytes(2)?.to_vec(),
        incarnation: row.number(3)?,
        mode: row.number(4)?,
        suite: row.number(5)?,
        generation: row.number(6)?,
        kms_key_id: row.bytes(7)?.to_vec(),
        encryption_context: row.bytes(8)?.to_vec(),
        head: row.bytes(9)?.to_vec(),
        facts: row.bytes(10)?.to_vec(),
        attrs: row.bytes(11)?.to_vec(),
        created_ms: row.number(12)?,
        principal: row.text(13)?,
    })
}

fn decode_part(row: &Fields<'_>) -> Result<PartRow, StoreError> {
    let part = row.number(1)?;
    let mut blobs = codec::decode_blobs(row.bytes(2)?).ok_or_else(|| row.unexpected(2))?;
    let sealed = blobs.pop().filter(|_| blobs.is_empty());
    Ok(PartRow {
        instance: InstanceId(row.id(0)?),
        part,
        blob: sealed.ok_or_else(|| row.unexpected(2))?,
        length: row.number(3)?,
        salt: row.bytes(4)?.try_into().map_err(|_| row.unexpected(4))?,
        attrs: row.bytes(5)?.to_vec(),
        modified_ms: row.number(6)?,
    })
}

fn torn(instance: InstanceId) -> StoreError {
    StoreError::Damaged(format!("the rows of upload {instance} are incomplete"))
}

//! Objects: the commit that makes one visible, the reads, and the listing.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{OBJECTS, buckets, count, garbage, leases};
use crate::id::{BlobId, BucketId, InstanceId};
use crate::store::sqlite::codec;
use crate::store::sqlite::row::{Fields, Table, blob, int};
use crate::store::{
    BlobRef, Commit, CommitError, Garbage, ListItem, ListPage, ListQuery, ListedObject, ObjectRow,
    ObjectView, Precondition, StoreError, after_prefix, common_prefix, incarnation_of,
};

pub(super) const ROWS: Table = Table::new(
    "objects",
    2,
    &[
        "bucket",
        "key",
        "number",
        "instance",
        "mode",
        "suite",
        "length",
        "modified_ms",
        "generation",
        "attrs",
        "facts",
    ],
);
pub(super) const DETAILS: Table = Table::new(
    "details",
    1,
    &[
        "number",
        "kms_key_id",
        "encryption_context",
        "manifest",
        "head",
        "blobs",
    ],
);
pub(super) const INLINE: Table = Table::new("inline", 1, &["number", "blobs"]);

pub(super) fn commit(db: &Connection, commit: &Commit) -> Result<Option<Garbage>, CommitError> {
    let row = &commit.row;
    let bucket = buckets::number(db, commit.bucket)?.ok_or(CommitError::NoSuchBucket)?;
    let mut writers: Vec<u64> = row
        .blobs
        .iter()
        .map(|blob| incarnation_of(blob.id))
        .collect();
    writers.push(commit.incarnation);
    writers.sort_unstable();
    writers.dedup();
    for writer in writers {
        if !leases::may_commit(db, writer)? {
            return Err(CommitError::Condemned);
        }
    }
    garbage::name(db, row.instance, &row.blobs)?;
    let current = find(db, bucket, &row.key)?;
    let visible = current.as_ref().map(|(_, object)| object.instance);
    if !commit.precondition.holds(visible) {
        return Err(CommitError::Precondition);
    }
    let replaced = match current {
        Some((number, object)) => Some(discard(db, commit.bucket, number, &object, commit.now_ms)?),
        None => None,
    };
    let number = count(db, OBJECTS)?;
    put(db, bucket, number, &listed(row))?;
    let blobs = codec::encode_blobs(&row.blobs)?;
    DETAILS.put(
        db,
        &[
            int(number)?,
            blob(&row.kms_key_id),
            blob(&row.encryption_context),
            blob(&row.manifest),
            blob(&row.head),
            blob(&blobs),
        ],
    )?;
    if !commit.inline.is_empty() {
        INLINE.put(
            db,
            &[int(number)?, blob(&codec::encode_inline(&commit.inline)?)],
        )?;
    }
    Ok(replaced)
}

pub(super) fn delete(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    precondition: Precondition,
    now_ms: u64,
) -> Result<Option<Garbage>, CommitError> {
    let bucket = buckets::number(db, id)?.ok_or(CommitError::NoSuchBucket)?;
    let current = find(db, bucket, key)?;
    if !precondition.holds(current.as_ref().map(|(_, object)| object.instance)) {
        return Err(CommitError::Precondition);
    }
    let Some((number, object)) = current else {
        return Ok(None);
    };
    ROWS.delete(db, &[int(bucket)?, blob(key)])?;
    Ok(Some(discard(db, id, number, &object, now_ms)?))
}

pub(super) fn view(
    db: &Connection,
    id: BucketId,
    key: &[u8],
) -> Result<Option<ObjectView>, StoreError> {
    let Some(bucket) = buckets::number(db, id)? else {
        return Ok(None);
    };
    let Some((number, object)) = find(db, bucket, key)? else {
        return Ok(None);
    };
    let row = DETAILS
        .get(db, &[int(number)?], |row| {
            Ok(ObjectRow {
                key: object.key.clone(),
                instance: object.instance,
                mode: object.mode,
                suite: object.suite,
                length: object.length,
                modified_ms: object.modified_ms,
                generation: object.generation,
                attrs: object.attrs.clone(),
                facts: object.facts.clone(),
                kms_key_id: row.bytes(1)?.to_vec(),
                encryption_context: row.bytes(2)?.to_vec(),
                manifest: row.bytes(3)?.to_vec(),
                head: row.bytes(4)?.to_vec(),
                blobs: codec::decode_blobs(row.bytes(5)?).ok_or_else(|| row.unexpected(5))?,
            })
        })?
        .ok_or_else(|| incomplete(object.instance))?;
    let inline = if row.has_inline() {
        inline(db, number, object.instance)?
    } else {
        Vec::new()
    };
    let generation = buckets::generation(db, bucket, row.generation)?;
    Ok(Some(ObjectView {
        row,
        generation,
        inline,
    }))
}

pub(super) fn set_facts(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    instance: InstanceId,
    expected: &[u8],
    facts: &[u8],
) -> Result<(), StoreError> {
    let missing = || StoreError::NotFound(format!("instance {instance} is not the visible one"));
    let bucket = buckets::number(db, id)?.ok_or_else(missing)?;
    let (number, mut object) = find(db, bucket, key)?
        .filter(|(_, object)| object.instance == instance)
        .ok_or_else(missing)?;
    if object.facts != expected {
        return Err(StoreError::Stale(format!("facts of instance {instance}")));
    }
    object.facts = facts.to_vec();
    put(db, bucket, number, &object)
}

pub(super) fn list(db: &Connection, query: &ListQuery<'_>) -> Result<ListPage, StoreError> {
    let mut page = ListPage {
        items: Vec::new(),
        next: None,
        rows_visited: 0,
    };
    let Some(bucket) = buckets::number(db, query.bucket)?.filter(|_| query.limit > 0) else {
        return Ok(page);
    };
    let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
    let end = after_prefix(query.prefix);
    let mut start = Some(query.start());
    while let Some(from) = start.take() {
        let mut each = |row: &Fields<'_>| {
            page.rows_visited += 1;
            let key = row.bytes(1)?;
            if page.items.len() == query.limit {
                page.next = Some(key.to_vec());
                return Ok(false);
            }
            if let Some(common) = common_prefix(key, query.prefix, query.delimiter) {
                page.items.push(ListItem::Prefix(common.to_vec()));
                // Past all its keys, however many they are.
                start = after_prefix(common);
                return Ok(false);
            }
            page.items.push(ListItem::Object(decode(row)?.1));
            Ok(true)
        };
        match &end {
            Some(end) => ROWS.visit(
                db,
                "WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key",
                (bucket, from, end),
                &mut each,
            )?,
            None => ROWS.visit(
                db,
                "WHERE bucket = ?1 AND key >= ?2 ORDER BY key",
                (bucket, from),
                &mut each,
            )?,
        }
    }
    Ok(page)
}

/// Whether a bucket has no object.
pub(super) fn none_in(db: &Connection, bucket: u64) -> Result<bool, StoreError> {
    let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
    let found = ROWS.all(db, "WHERE bucket = ?1 LIMIT 1", [bucket], |_| Ok(()))?;
    Ok(found.is_empty())
}

/// Moves what belongs to a replaced or deleted row into the garbage. The row itself is the caller's.
fn discard(
    db: &Connection,
    bucket: BucketId,
    number: u64,
    object: &ListedObject,
    now_ms: u64,
) -> Result<Garbage, StoreError> {
    let blobs: Vec<BlobRef> = DETAILS
        .get(db, &[int(number)?], |row| {
            codec::decode_blobs(row.bytes(5)?).ok_or_else(|| row.unexpected(5))
        })?
        .ok_or_else(|| incomplete(object.instance))?;
    DETAILS.delete(db, &[int(number)?])?;
    INLINE.delete(db, &[int(number)?])?;
    garbage::add(db, bucket, object.instance, blobs, now_ms)
}

fn inline(
    db: &Connection,
    number: u64,
    instance: InstanceId,
) -> Result<Vec<(BlobId, Vec<u8>)>, StoreError> {
    INLINE
        .get(db, &[int(number)?], |row| {
            codec::decode_inline(row.bytes(1)?).ok_or_else(|| row.unexpected(1))
        })?
        .ok_or_else(|| incomplete(instance))
}

fn find(
    db: &Connection,
    bucket: u64,
    key: &[u8],
) -> Result<Option<(u64, ListedObject)>, StoreError> {
    ROWS.get(db, &[int(bucket)?, blob(key)], decode)
}

pub(super) fn put(
    db: &Connection,
    bucket: u64,
    number: u64,
    object: &ListedObject,
) -> Result<(), StoreError> {
    ROWS.put(
        db,
        &[
            int(bucket)?,
            blob(&object.key),
            int(number)?,
            blob(&object.instance.0),
            ValueRef::Integer(i64::from(object.mode)),
            ValueRef::Integer(i64::from(object.suite)),
            int(object.length)?,
            int(object.modified_ms)?,
            ValueRef::Integer(i64::from(object.generation)),
            blob(&object.attrs),
            blob(&object.facts),
        ],
    )
}

fn decode(row: &Fields<'_>) -> Result<(u64, ListedObject), StoreError> {
    let object = ListedObject {
        key: row.bytes(1)?.to_vec(),
        instance: InstanceId(row.id(3)?),
        mode: row.number(4)?,
        suite: row.number(5)?,
        length: row.number(6)?,
        modified_ms: row.number(7)?,
        generation: row.number(8)?,
        attrs: row.bytes(9)?.to_vec(),
        facts: row.bytes(10)?.to_vec(),
    };
    Ok((row.number(2)?, object))
}

fn listed(row: &ObjectRow) -> ListedObject {
    ListedObject {
        key: row.key.clone(),
        instance: row.instance,
        mode: row.mode,
        suite: row.suite,
        length: row.length,
        modified_ms: row.modified_ms,
        generation: row.generation,
        attrs: row.attrs.clone(),
        facts: row.facts.clone(),
    }
}

fn incomplete(instance: InstanceId) -> StoreError {
    StoreError::Damaged(format!("the rows of instance {instance} are incomplete"))
}

//! Objects: the commit that makes one visible, the reads, and the listing.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::history::{self, Kept};
use super::{OBJECTS, buckets, count, garbage, leases, uploads};
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::sqlite::codec;
use crate::store::sqlite::row::{Fields, Table, blob, int};
use crate::store::{
    BlobRef, Commit, CommitError, Committed, Deleted, Garbage, Judged, ListItem, ListPage,
    ListQuery, ListedObject, Marker, ObjectRow, ObjectView, Place, Precondition, StoreError,
    VersionEntry, Versioning, Which, after_prefix, common_prefix, incarnation_of,
};

pub(super) const ROWS: Table = Table::new(
    "objects",
    2,
    &[
        "bucket",
        "key",
        "number",
        "version",
        "is_null",
        "instance",
        "mode",
        "suite",
        "length",
        "modified_ms",
        "generation",
        "attrs",
        "facts",
        "place",
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
        "restored",
    ],
);
pub(super) const PART_ATTRS: Table = Table::new("part_attrs", 1, &["instance", "attrs"]);
pub(super) const INLINE: Table = Table::new("inline", 1, &["number", "blobs"]);

pub(super) fn commit(db: &Connection, commit: &Commit) -> Result<Committed, CommitError> {
    let row = &commit.row;
    let (bucket, versioning) =
        buckets::versioning(db, commit.bucket)?.ok_or(CommitError::NoSuchBucket)?;
    if !leases::may_commit(db, commit.incarnation)? {
        return Err(CommitError::Condemned);
    }
    let mut garbage = Vec::new();
    if let Some(claim) = &commit.completes {
        garbage.extend(uploads::complete(
            db,
            commit.bucket,
            bucket,
            row,
            claim,
            commit.now_ms,
        )?);
    } else {
        name_blobs(db, Some(row.instance), &row.blobs)?;
    }
    let current = find(db, bucket, &row.key)?;
    let visible = current.as_ref().map(|(_, object)| object.instance);
    if !commit.precondition.holds(visible) {
        return Err(CommitError::Precondition);
    }
    let home = Home {
        id: commit.bucket,
        bucket,
        versioning,
        key: &row.key,
    };
    garbage.extend(make_room(db, &home, row.version, current, commit.now_ms)?);
    let number = count(db, OBJECTS)?;
    let null = versioning != Versioning::Enabled;
    let object = ListedObject {
        null,
        ..ListedObject::from(row)
    };
    put(db, bucket, number, &object)?;
    put_details(db, number, row)?;
    put_part_attrs(db, row.instance, &commit.part_attrs)?;
    put_inline(db, number, &commit.inline)?;
    Ok(Committed { null, garbage })
}

/// Names an instance and blobs whose makers may still commit.
pub(super) fn name_blobs(
    db: &Connection,
    instance: Option<InstanceId>,
    blobs: &[BlobRef],
) -> Result<(), CommitError> {
    let ids = blobs.iter().map(|blob| blob.id);
    let mut makers: Vec<u64> = ids.clone().map(incarnation_of).collect();
    makers.sort_unstable();
    makers.dedup();
    for maker in makers {
        if !leases::may_commit(db, maker)? {
            return Err(CommitError::Condemned);
        }
    }
    garbage::name(db, instance, ids)
}

pub(super) fn delete(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    precondition: Precondition,
    judged: Option<Judged<'_>>,
    marker: VersionId,
    now_ms: u64,
) -> Result<Deleted, CommitError> {
    let (bucket, versioning) = buckets::versioning(db, id)?.ok_or(CommitError::NoSuchBucket)?;
    let current = find(db, bucket, key)?;
    if !precondition.holds(current.as_ref().map(|(_, object)| object.instance)) {
        return Err(CommitError::Precondition);
    }
    if let Some(judged) = judged {
        let current = current.as_ref().map(|(_, object)| object);
        judged.check_current(current.map(|object| (object.version, &object.facts[..])))?;
    }
    if current.is_some() {
        remove(db, bucket, key)?;
    }
    let home = Home {
        id,
        bucket,
        versioning,
        key,
    };
    let garbage = make_room(db, &home, marker, current, now_ms)?;
    if versioning == Versioning::Off {
        let marker = None;
        return Ok(Deleted { garbage, marker });
    }
    let marker = Marker {
        key: key.to_vec(),
        version: marker,
        null: versioning == Versioning::Suspended,
        modified_ms: now_ms,
    };
    let kept = Kept {
        number: count(db, OBJECTS)?,
        entry: VersionEntry::Marker(marker.clone()),
    };
    history::add(db, bucket, &kept)?;
    Ok(Deleted {
        garbage,
        marker: Some(marker),
    })
}

/// A key and the bucket it is in.
struct Home<'k> {
    id: BucketId,
    bucket: u64,
    versioning: Versioning,
    key: &'k [u8],
}

/// Does with the former versions of a key what the bucket's versioning says, before a new one of label `version` comes
/// on top. The row of the current one in `objects` is the caller's.
fn make_room(
    db: &Connection,
    home: &Home<'_>,
    version: VersionId,
    current: Option<(u64, ListedObject)>,
    now_ms: u64,
) -> Result<Option<Garbage>, StoreError> {
    let null = match home.versioning {
        Versioning::Off => {
            let discard = |(number, object)| {
                discard(db, home.id, number, &VersionEntry::Object(object), now_ms)
            };
            return current.map_or(Ok(None), discard);
        }
        Versioning::Enabled => {
            let which = Which::Label(version);
            let taken = current
                .as_ref()
                .is_some_and(|(_, object)| object.which() == which)
                || history::find(db, home.bucket, home.key, which)?.is_some();
            if taken {
                return Err(StoreError::Exists(format!("version {version} of the key")));
            }
            None
        }
        Versioning::Suspended => history::find(db, home.bucket, home.key, Which::Null)?,
    };
    if let Some((number, object)) = current {
        if object.null && home.versioning == Versioning::Suspended {
            return discard(db, home.id, number, &VersionEntry::Object(object), now_ms);
        }
        let kept = Kept {
            number,
            entry: VersionEntry::Object(object),
        };
        history::add(db, home.bucket, &kept)?;
    }
    let Some(null) = null else {
        return Ok(None);
    };
    history::remove(db, home.bucket, &null)?;
    discard(db, home.id, null.number, &null.entry, now_ms)
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
    complete(db, bucket, number, &object).map(Some)
}

/// What a reader needs of a row beside what a listing shows.
pub(super) fn complete(
    db: &Connection,
    bucket: u64,
    number: u64,
    object: &ListedObject,
) -> Result<ObjectView, StoreError> {
    let row = DETAILS
        .get(db, &[int(number)?], |row| {
            Ok(ObjectRow {
                key: object.key.clone(),
                instance: object.instance,
                version: object.version,
                null: object.null,
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
                restored: codec::decode_blobs(row.bytes(6)?).ok_or_else(|| row.unexpected(6))?,
            })
        })?
        .ok_or_else(|| incomplete(object.instance))?;
    let inline = if row.has_inline() {
        inline(db, number, object.instance)?
    } else {
        Vec::new()
    };
    let generation = buckets::generation(db, bucket, row.generation)?;
    Ok(ObjectView {
        row,
        generation,
        inline,
    })
}

pub(super) fn part_attrs(
    db: &Connection,
    instance: InstanceId,
) -> Result<Option<Vec<u8>>, StoreError> {
    PART_ATTRS.get(db, &[blob(&instance.0)], |row| Ok(row.bytes(1)?.to_vec()))
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

/// Moves what belongs to a version that is gone into the garbage; a delete marker leaves none. Its row is the caller's.
pub(super) fn discard(
    db: &Connection,
    bucket: BucketId,
    number: u64,
    entry: &VersionEntry,
    now_ms: u64,
) -> Result<Option<Garbage>, StoreError> {
    let VersionEntry::Object(object) = entry else {
        return Ok(None);
    };
    let blobs: Vec<BlobRef> = DETAILS
        .get(db, &[int(number)?], |row| {
            let of = |column| {
                codec::decode_blobs(row.bytes(column)?).ok_or_else(|| row.unexpected(column))
            };
            Ok([of(5)?, of(6)?].concat())
        })?
        .ok_or_else(|| incomplete(object.instance))?;
    DETAILS.delete(db, &[int(number)?])?;
    INLINE.delete(db, &[int(number)?])?;
    PART_ATTRS.delete(db, &[blob(&object.instance.0)])?;
    garbage::add(db, bucket, Some(object.instance), blobs, now_ms).map(Some)
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

pub(super) fn find(
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
    let begin = [int(bucket)?, blob(&object.key), int(number)?];
    ROWS.put(db, &[&begin[..], &values(object)?].concat())
}

pub(super) fn put_details(db: &Connection, number: u64, row: &ObjectRow) -> Result<(), StoreError> {
    DETAILS.put(
        db,
        &[
            int(number)?,
            blob(&row.kms_key_id),
            blob(&row.encryption_context),
            blob(&row.manifest),
            blob(&row.head),
            blob(&codec::encode_blobs(&row.blobs)?),
            blob(&codec::encode_blobs(&row.restored)?),
        ],
    )
}

pub(super) fn put_part_attrs(
    db: &Connection,
    instance: InstanceId,
    attrs: &[u8],
) -> Result<(), StoreError> {
    if attrs.is_empty() {
        return Ok(());
    }
    PART_ATTRS.put(db, &[blob(&instance.0), blob(attrs)])
}

pub(super) fn put_inline(
    db: &Connection,
    number: u64,
    inline: &[(BlobId, Vec<u8>)],
) -> Result<(), StoreError> {
    if inline.is_empty() {
        return Ok(());
    }
    INLINE.put(db, &[int(number)?, blob(&codec::encode_inline(inline)?)])
}

pub(super) fn remove(db: &Connection, bucket: u64, key: &[u8]) -> Result<(), StoreError> {
    ROWS.delete(db, &[int(bucket)?, blob(key)]).map(|_| ())
}

pub(super) fn decode(row: &Fields<'_>) -> Result<(u64, ListedObject), StoreError> {
    Ok((row.number(2)?, listed(row)?))
}

/// The columns that a current object and an older version have in common, from the fourth on.
pub(super) fn values(object: &ListedObject) -> Result<[ValueRef<'_>; 11], StoreError> {
    let Place { archived, restored } = object.place;
    Ok([
        blob(&object.version.0),
        ValueRef::Integer(i64::from(object.null)),
        blob(&object.instance.0),
        ValueRef::Integer(i64::from(object.mode)),
        ValueRef::Integer(i64::from(object.suite)),
        int(object.length)?,
        int(object.modified_ms)?,
        ValueRef::Integer(i64::from(object.generation)),
        blob(&object.attrs),
        blob(&object.facts),
        ValueRef::Integer(i64::from(archived) + 2 * i64::from(restored)),
    ])
}

/// Reads them.
pub(super) fn listed(row: &Fields<'_>) -> Result<ListedObject, StoreError> {
    let place: i64 = row.number(13)?;
    Ok(ListedObject {
        key: row.bytes(1)?.to_vec(),
        version: VersionId(row.id(3)?),
        null: row.number::<i64>(4)? != 0,
        instance: InstanceId(row.id(5)?),
        mode: row.number(6)?,
        suite: row.number(7)?,
        length: row.number(8)?,
        modified_ms: row.number(9)?,
        generation: row.number(10)?,
        attrs: row.bytes(11)?.to_vec(),
        facts: row.bytes(12)?.to_vec(),
        place: Place {
            archived: place & 1 != 0,
            restored: place & 2 != 0,
        },
    })
}

fn incomplete(instance: InstanceId) -> StoreError {
    StoreError::Damaged(format!("the rows of instance {instance} are incomplete"))
}

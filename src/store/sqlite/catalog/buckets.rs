//! Buckets, the states of their generations, and documents.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{BUCKETS, CHANGES, count, leases};
use crate::id::BucketId;
use crate::store::sqlite::keys::page;
use crate::store::sqlite::row::{Fields, Table, blob, int, text};
use crate::store::{Bucket, DeleteBucketError, GenerationState, StoreError, Versioning, maker_of};

pub(super) const BY_NAME: Table = Table::new(
    "buckets",
    1,
    &[
        "name",
        "bucket",
        "id",
        "owner",
        "created_ms",
        "generation",
        "versioning",
    ],
);
pub(super) const BY_ID: Table = Table::new("bucket_ids", 1, &["id", "bucket", "name"]);
pub(super) const DELETED: Table = Table::new("deleted_buckets", 1, &["id"]);
pub(super) const GENERATIONS: Table =
    Table::new("generations", 2, &["bucket", "generation", "rev", "state"]);
pub(super) const DOCUMENTS: Table = Table::new("documents", 2, &["bucket", "name", "rev", "bytes"]);

pub(super) fn create(
    db: &Connection,
    bucket: &Bucket,
    state: GenerationState,
) -> Result<(), StoreError> {
    if by_name(db, &bucket.name)?.is_some() {
        return Err(StoreError::Exists(format!("bucket {}", bucket.name)));
    }
    let used = number(db, bucket.id)?.is_some() || DELETED.has(db, &[blob(&bucket.id.0)])?;
    if used || leases::is_closed(db, maker_of(bucket.id))? {
        return Err(StoreError::Exists(format!("bucket id {}", bucket.id)));
    }
    count(db, CHANGES)?;
    let number = count(db, BUCKETS)?;
    BY_ID.put(db, &[blob(&bucket.id.0), int(number)?, text(&bucket.name)])?;
    put(db, number, bucket)?;
    put_generation(db, number, state)
}

/// The number a bucket has in the other tables.
pub(super) fn number(db: &Connection, id: BucketId) -> Result<Option<u64>, StoreError> {
    BY_ID.get(db, &[blob(&id.0)], |row| row.number(1))
}

pub(super) fn by_name(db: &Connection, name: &str) -> Result<Option<Bucket>, StoreError> {
    BY_NAME.get(db, &[text(name)], decode)
}

pub(super) fn by_id(db: &Connection, id: BucketId) -> Result<Option<Bucket>, StoreError> {
    match BY_ID.get(db, &[blob(&id.0)], |row| row.text(2))? {
        Some(name) => by_name(db, &name),
        None => Ok(None),
    }
}

pub(super) fn after(
    db: &Connection,
    name: Option<&str>,
    limit: usize,
) -> Result<Vec<Bucket>, StoreError> {
    match name {
        Some(name) => {
            let end = "WHERE name > ?1 ORDER BY name LIMIT ?2";
            BY_NAME.all(db, end, (name, page(limit)), decode)
        }
        None => BY_NAME.all(db, "ORDER BY name LIMIT ?1", [page(limit)], decode),
    }
}

pub(super) fn delete(db: &Connection, id: BucketId, now_ms: u64) -> Result<(), DeleteBucketError> {
    let bucket = by_id(db, id)?.ok_or(DeleteBucketError::NotFound)?;
    let number = number(db, id)?.ok_or(DeleteBucketError::NotFound)?;
    if !super::history::none_in(db, number)? {
        return Err(DeleteBucketError::NotEmpty);
    }
    super::uploads::abort_all(db, number, now_ms)?;
    count(db, CHANGES)?;
    BY_NAME.delete(db, &[text(&bucket.name)])?;
    BY_ID.delete(db, &[blob(&id.0)])?;
    for table in ["generations", "documents"] {
        let sql = format!("DELETE FROM {table} WHERE bucket = ?1");
        db.execute(&sql, [i64::try_from(number).unwrap_or(i64::MAX)])
            .map_err(StoreError::from)?;
    }
    DELETED.add(db, &[blob(&id.0)])?;
    Ok(())
}

pub(super) fn deleted(db: &Connection) -> Result<Vec<BucketId>, StoreError> {
    DELETED.all(db, "ORDER BY id", [], |row| Ok(BucketId(row.id(0)?)))
}

pub(super) fn done(db: &Connection, bucket: BucketId) -> Result<(), StoreError> {
    DELETED.delete(db, &[blob(&bucket.0)]).map(|_| ())
}

pub(super) fn generation(
    db: &Connection,
    bucket: u64,
    generation: u32,
) -> Result<Option<GenerationState>, StoreError> {
    let key = [int(bucket)?, ValueRef::Integer(i64::from(generation))];
    GENERATIONS.get(db, &key, |row| {
        Ok(GenerationState {
            generation: row.number(1)?,
            rev: row.number(2)?,
            state: row.number(3)?,
        })
    })
}

pub(super) fn set_generation(
    db: &Connection,
    id: BucketId,
    expected: Option<GenerationState>,
    new: GenerationState,
    make_active: bool,
) -> Result<(), StoreError> {
    let missing = || StoreError::NotFound(format!("bucket {id}"));
    let number = number(db, id)?.ok_or_else(missing)?;
    if generation(db, number, new.generation)? != expected {
        return Err(StoreError::Stale(format!(
            "generation {} of bucket {id}",
            new.generation
        )));
    }
    count(db, CHANGES)?;
    put_generation(db, number, new)?;
    if make_active {
        let mut bucket = by_id(db, id)?.ok_or_else(missing)?;
        bucket.generation = new.generation;
        put(db, number, &bucket)?;
    }
    Ok(())
}

pub(super) fn set_versioning(
    db: &Connection,
    id: BucketId,
    versioning: Versioning,
) -> Result<(), StoreError> {
    let missing = || StoreError::NotFound(format!("bucket {id}"));
    let number = number(db, id)?.ok_or_else(missing)?;
    let mut bucket = by_id(db, id)?.ok_or_else(missing)?;
    if bucket.versioning == versioning {
        return Ok(());
    }
    if versioning == Versioning::Off {
        return Err(StoreError::Unsupported(format!(
            "bucket {} keeps versions: that can be suspended, not undone",
            bucket.name
        )));
    }
    count(db, CHANGES)?;
    bucket.versioning = versioning;
    put(db, number, &bucket)
}

/// The number a bucket has in the other tables, and whether it keeps versions.
pub(super) fn versioning(
    db: &Connection,
    id: BucketId,
) -> Result<Option<(u64, Versioning)>, StoreError> {
    let found = BY_ID.get(db, &[blob(&id.0)], |row| Ok((row.number(1)?, row.text(2)?)))?;
    let Some((number, name)) = found else {
        return Ok(None);
    };
    Ok(by_name(db, &name)?.map(|bucket| (number, bucket.versioning)))
}

pub(super) fn document(
    db: &Connection,
    bucket: Option<BucketId>,
    name: &str,
) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    match shelf(db, bucket)? {
        Some(shelf) => DOCUMENTS.get(db, &[int(shelf)?, text(name)], |row| {
            Ok((row.number(2)?, row.bytes(3)?.to_vec()))
        }),
        None => Ok(None),
    }
}

pub(super) fn put_document(
    db: &Connection,
    bucket: Option<BucketId>,
    name: &str,
    expected: Option<u64>,
    bytes: Option<&[u8]>,
) -> Result<u64, StoreError> {
    let shelf = shelf(db, bucket)?.ok_or_else(|| StoreError::NotFound("the bucket".to_owned()))?;
    let rev = document(db, bucket, name)?.map(|(rev, _)| rev);
    if rev != expected {
        return Err(StoreError::Stale(format!("document {name}")));
    }
    // The change counter never repeats, so neither does a revision.
    let rev = count(db, CHANGES)?;
    match bytes {
        Some(bytes) => DOCUMENTS.put(db, &[int(shelf)?, text(name), int(rev)?, blob(bytes)])?,
        None => {
            DOCUMENTS.delete(db, &[int(shelf)?, text(name)])?;
        }
    }
    Ok(rev)
}

/// Where documents are: under the number of their bucket, or under 0.
fn shelf(db: &Connection, bucket: Option<BucketId>) -> Result<Option<u64>, StoreError> {
    bucket.map_or(Ok(Some(0)), |bucket| number(db, bucket))
}

fn put(db: &Connection, number: u64, bucket: &Bucket) -> Result<(), StoreError> {
    BY_NAME.put(
        db,
        &[
            text(&bucket.name),
            int(number)?,
            blob(&bucket.id.0),
            text(&bucket.owner),
            int(bucket.created_ms)?,
            ValueRef::Integer(i64::from(bucket.generation)),
            ValueRef::Integer(match bucket.versioning {
                Versioning::Off => 0,
                Versioning::Enabled => 1,
                Versioning::Suspended => 2,
            }),
        ],
    )
}

fn decode(row: &Fields<'_>) -> Result<Bucket, StoreError> {
    Ok(Bucket {
        name: row.text(0)?,
        id: BucketId(row.id(2)?),
        owner: row.text(3)?,
        created_ms: row.number(4)?,
        generation: row.number(5)?,
        versioning: match row.number(6)? {
            0 => Versioning::Off,
            1 => Versioning::Enabled,
            2 => Versioning::Suspended,
            _ => return Err(row.unexpected(6)),
        },
    })
}

fn put_generation(db: &Connection, bucket: u64, state: GenerationState) -> Result<(), StoreError> {
    GENERATIONS.put(
        db,
        &[
            int(bucket)?,
            ValueRef::Integer(i64::from(state.generation)),
            int(state.rev)?,
            ValueRef::Integer(i64::from(state.state)),
        ],
    )
}

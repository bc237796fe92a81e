//! What is named, what was given up, and what waits to be removed.

use rusqlite::Connection;

use super::{GARBAGE, count};
use crate::id::{BlobId, BucketId, InstanceId};
use crate::store::sqlite::codec;
use crate::store::sqlite::keys::page;
use crate::store::sqlite::row::{Fields, Table, blob, int};
use crate::store::{BlobRef, CommitError, Garbage, StoreError};

pub(super) const INSTANCES: Table = Table::new("instances", 1, &["id"]);
pub(super) const BLOBS: Table = Table::new("blobs", 1, &["id"]);
pub(super) const ENTRIES: Table = Table::new(
    "garbage",
    1,
    &["number", "bucket", "instance", "blobs", "since_ms"],
);
pub(super) const CONDEMNED_BLOBS: Table = Table::new("condemned_blobs", 1, &["id"]);
pub(super) const CONDEMNED_INSTANCES: Table =
    Table::new("condemned_instances", 1, &["id", "incarnation"]);

/// Names an instance and blobs, none of them condemned or named before.
pub(super) fn name(
    db: &Connection,
    instance: Option<InstanceId>,
    blobs: impl IntoIterator<Item = BlobId, IntoIter: Clone>,
) -> Result<(), CommitError> {
    let blobs = blobs.into_iter();
    let mut condemned = match instance {
        Some(instance) => CONDEMNED_INSTANCES.has(db, &[blob(&instance.0)])?,
        None => false,
    };
    for id in blobs.clone() {
        condemned |= CONDEMNED_BLOBS.has(db, &[blob(&id.0)])?;
    }
    if condemned {
        return Err(CommitError::Condemned);
    }
    if let Some(instance) = instance
        && !INSTANCES.add(db, &[blob(&instance.0)])?
    {
        return Err(StoreError::Exists(format!("instance {instance}")).into());
    }
    for id in blobs {
        if !BLOBS.add(db, &[blob(&id.0)])? {
            return Err(StoreError::Exists(format!("blob {id}")).into());
        }
    }
    Ok(())
}

pub(super) fn add(
    db: &Connection,
    bucket: BucketId,
    instance: Option<InstanceId>,
    blobs: Vec<BlobRef>,
    since_ms: u64,
) -> Result<Garbage, StoreError> {
    let id = count(db, GARBAGE)?;
    let listed = codec::encode_blobs(&blobs)?;
    ENTRIES.put(
        db,
        &[
            int(id)?,
            blob(&bucket.0),
            blob(instance.as_ref().map_or(&[], |instance| &instance.0)),
            blob(&listed),
            int(since_ms)?,
        ],
    )?;
    Ok(Garbage {
        id,
        bucket,
        instance,
        blobs,
        since_ms,
    })
}

pub(super) fn after(db: &Connection, id: u64, limit: usize) -> Result<Vec<Garbage>, StoreError> {
    let id = i64::try_from(id).unwrap_or(i64::MAX);
    let end = "WHERE number > ?1 ORDER BY number LIMIT ?2";
    ENTRIES.all(db, end, (id, page(limit)), decode)
}

pub(super) fn done(db: &Connection, ids: &[u64]) -> Result<(), StoreError> {
    for id in ids {
        let Some(entry) = ENTRIES.get(db, &[int(*id)?], decode)? else {
            continue;
        };
        for named in &entry.blobs {
            BLOBS.delete(db, &[blob(&named.id.0)])?;
        }
        if let Some(instance) = entry.instance {
            INSTANCES.delete(db, &[blob(&instance.0)])?;
        }
        ENTRIES.delete(db, &[int(*id)?])?;
    }
    Ok(())
}

pub(super) fn condemn(db: &Connection, id: BlobId) -> Result<bool, StoreError> {
    if BLOBS.has(db, &[blob(&id.0)])? {
        return Ok(false);
    }
    CONDEMNED_BLOBS.add(db, &[blob(&id.0)])?;
    Ok(true)
}

pub(super) fn condemn_instance(
    db: &Connection,
    instance: InstanceId,
    incarnation: u64,
) -> Result<bool, StoreError> {
    if INSTANCES.has(db, &[blob(&instance.0)])? {
        return Ok(false);
    }
    CONDEMNED_INSTANCES.add(db, &[blob(&instance.0), int(incarnation)?])?;
    Ok(true)
}

/// Forgets what was condemned of an incarnation that commits nothing any more.
pub(super) fn forget_condemned(db: &Connection, incarnation: u64) -> Result<(), StoreError> {
    let (mut first, mut last) = ([0; 16], [0xff; 16]);
    first[..8].copy_from_slice(&incarnation.to_le_bytes());
    last[..8].copy_from_slice(&incarnation.to_le_bytes());
    db.execute(
        "DELETE FROM condemned_blobs WHERE id BETWEEN ?1 AND ?2",
        [first, last],
    )?;
    if let Ok(incarnation) = i64::try_from(incarnation) {
        db.execute(
            "DELETE FROM condemned_instances WHERE incarnation = ?1",
            [incarnation],
        )?;
    }
    Ok(())
}

fn decode(row: &Fields<'_>) -> Result<Garbage, StoreError> {
    Ok(Garbage {
        id: row.number(0)?,
        bucket: BucketId(row.id(1)?),
        instance: match row.bytes(2)? {
            [] => None,
            _ => Some(InstanceId(row.id(2)?)),
        },
        blobs: codec::decode_blobs(row.bytes(3)?).ok_or_else(|| row.unexpected(3))?,
        since_ms: row.number(4)?,
    })
}

//! The tables of older versions and delete markers.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::objects;
use crate::id::VersionId;
use crate::store::sqlite::row::{Fields, Table, blob, int};
use crate::store::{Marker, StoreError, VersionEntry, Which};

pub(super) const VERSIONS: Table = Table::new(
    "versions",
    3,
    &[
        "bucket",
        "key",
        "age",
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
pub(super) const LABELS: Table = Table::new("labels", 3, &["bucket", "key", "label", "age"]);

/// A version and its number.
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) entry: VersionEntry,
}

impl Kept {
    pub(super) fn key(&self) -> &[u8] {
        match &self.entry {
            VersionEntry::Object(object) => &object.key,
            VersionEntry::Marker(marker) => &marker.key,
        }
    }

    pub(super) fn which(&self) -> Which {
        match &self.entry {
            VersionEntry::Object(object) => object.which(),
            VersionEntry::Marker(marker) => marker.which(),
        }
    }
}

/// A version in the history of a key.
pub(super) fn find(
    db: &Connection,
    bucket: u64,
    key: &[u8],
    which: Which,
) -> Result<Option<Kept>, StoreError> {
    if which == Which::Current {
        return newest(db, bucket, key);
    }
    let label = [int(bucket)?, blob(key), blob(label(&which))];
    let Some(age) = LABELS.get(db, &label, |row| row.number::<i64>(3))? else {
        return Ok(None);
    };
    let found = VERSIONS.get(
        db,
        &[int(bucket)?, blob(key), ValueRef::Integer(age)],
        decode,
    )?;
    let found = found.filter(|kept| kept.which() == which);
    let torn = || StoreError::Damaged(format!("a label without its version: {which:?}"));
    found.ok_or_else(torn).map(Some)
}

/// The newest version in the history of a key.
pub(super) fn newest(db: &Connection, bucket: u64, key: &[u8]) -> Result<Option<Kept>, StoreError> {
    let end = "WHERE bucket = ?1 AND key = ?2 ORDER BY age LIMIT 1";
    let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
    Ok(VERSIONS.all(db, end, (bucket, key), decode)?.pop())
}

pub(super) fn add(db: &Connection, bucket: u64, kept: &Kept) -> Result<(), StoreError> {
    put(db, bucket, kept)?;
    LABELS.put(
        db,
        &[
            int(bucket)?,
            blob(kept.key()),
            blob(label(&kept.which())),
            ValueRef::Integer(age(kept.number)?),
        ],
    )
}

/// Writes a version, in the place of the one of its number.
pub(super) fn put(db: &Connection, bucket: u64, kept: &Kept) -> Result<(), StoreError> {
    let begin = [
        int(bucket)?,
        blob(kept.key()),
        ValueRef::Integer(age(kept.number)?),
    ];
    match &kept.entry {
        VersionEntry::Object(object) => {
            VERSIONS.put(db, &[&begin[..], &objects::values(object)?].concat())
        }
        VersionEntry::Marker(marker) => {
            let zero = ValueRef::Integer(0);
            let end = [
                blob(&marker.version.0),
                ValueRef::Integer(i64::from(marker.null)),
                blob(&[]),
                zero,
                zero,
                zero,
                int(marker.modified_ms)?,
                zero,
                blob(&[]),
                blob(&[]),
                zero,
            ];
            VERSIONS.put(db, &[&begin[..], &end].concat())
        }
    }
}

pub(super) fn remove(db: &Connection, bucket: u64, kept: &Kept) -> Result<(), StoreError> {
    let (bucket, key) = (int(bucket)?, blob(kept.key()));
    VERSIONS.delete(db, &[bucket, key, ValueRef::Integer(age(kept.number)?)])?;
    LABELS.delete(db, &[bucket, key, blob(label(&kept.which()))])?;
    Ok(())
}

/// Whether a bucket has no version and no delete marker.
pub(super) fn none_in(db: &Connection, bucket: u64) -> Result<bool, StoreError> {
    let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
    for table in [&objects::ROWS, &VERSIONS] {
        let found = table.all(db, "WHERE bucket = ?1 LIMIT 1", [bucket], |_| Ok(()))?;
        if !found.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn decode(row: &Fields<'_>) -> Result<Kept, StoreError> {
    let number = row.number::<i64>(2)?.checked_neg();
    let number = number.and_then(|number| u64::try_from(number).ok());
    let entry = if row.bytes(5)?.is_empty() {
        VersionEntry::Marker(Marker {
            key: row.bytes(1)?.to_vec(),
            version: VersionId(row.id(3)?),
            null: row.number::<i64>(4)? != 0,
            modified_ms: row.number(9)?,
        })
    } else {
        VersionEntry::Object(objects::listed(row)?)
    };
    Ok(Kept {
        number: number.ok_or_else(|| row.unexpected(2))?,
        entry,
    })
}

/// The age of a number.
pub(super) fn age(number: u64) -> Result<i64, StoreError> {
    let age = i64::try_from(number).map(|number| -number);
    age.map_err(|_| StoreError::Unsupported(format!("the number {number} is too large to keep")))
}

fn label(which: &Which) -> &[u8] {
    match which {
        Which::Label(version) => &version.0,
        Which::Null | Which::Current => &[],
    }
}

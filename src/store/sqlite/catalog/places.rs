//! The same version under another key, or in another place.

use rusqlite::Connection;

use super::{buckets, garbage, leases, objects, versions};
use crate::id::{BucketId, InstanceId};
use crate::store::sqlite::row::{blob, int};
use crate::store::{
    CommitError, Garbage, ListedObject, ObjectView, Relocation, Replacement, StoreError,
    VersionEntry, Which,
};

pub(super) fn replace(db: &Connection, change: &Replacement) -> Result<Garbage, CommitError> {
    let (bucket, mut found, view) = find(db, change.bucket, &change.key, change.which, change.old)?;
    let mut row = view.row;
    row.facts = change.facts_after(&row.facts)?;
    if !leases::may_commit(db, change.incarnation)? {
        return Err(CommitError::Condemned);
    }
    garbage::name(db, Some(change.instance), [])?;
    row.instance = change.instance;
    row.mode = change.mode;
    row.generation = change.generation;
    row.kms_key_id.clone_from(&change.kms_key_id);
    row.encryption_context
        .clone_from(&change.encryption_context);
    row.attrs.clone_from(&change.attrs);
    objects::put_details(db, found.kept.number, &row)?;
    objects::PART_ATTRS.delete(db, &[blob(&change.old.0)])?;
    objects::put_part_attrs(db, change.instance, &change.part_attrs)?;
    found.kept.entry = VersionEntry::Object(ListedObject::from(&row));
    versions::put(db, bucket, &found)?;
    let old = Some(change.old);
    Ok(garbage::add(
        db,
        change.bucket,
        old,
        Vec::new(),
        change.now_ms,
    )?)
}

pub(super) fn relocate(
    db: &Connection,
    change: &Relocation,
) -> Result<Option<Garbage>, CommitError> {
    let (bucket, mut found, view) = find(
        db,
        change.bucket,
        &change.key,
        change.which,
        change.instance,
    )?;
    let mut row = view.row;
    if row.facts != change.expected_facts {
        return Err(StoreError::Stale(format!("facts of instance {}", change.instance)).into());
    }
    let moves = change.moves(&row.blobs, &row.restored)?;
    if !leases::may_commit(db, change.incarnation)? {
        return Err(CommitError::Condemned);
    }
    objects::name_blobs(db, None, &moves.added)?;
    (row.blobs, row.restored) = (moves.blobs, moves.restored);
    row.facts.clone_from(&change.facts);
    let number = found.kept.number;
    objects::put_details(db, number, &row)?;
    let mut inline = view.inline;
    let before = inline.len();
    inline.retain(|(id, _)| row.blobs.iter().any(|blob| blob.id == *id));
    if inline.len() < before {
        objects::INLINE.delete(db, &[int(number)?])?;
        objects::put_inline(db, number, &inline)?;
    }
    found.kept.entry = VersionEntry::Object(ListedObject::from(&row));
    versions::put(db, bucket, &found)?;
    if moves.left.is_empty() {
        return Ok(None);
    }
    Ok(garbage::add(db, change.bucket, None, moves.left, change.now_ms).map(Some)?)
}

/// The version to be changed: the number of its bucket, where it is, and all that is known of it.
fn find(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    which: Which,
    instance: InstanceId,
) -> Result<(u64, versions::Found, ObjectView), CommitError> {
    let bucket = buckets::number(db, id)?.ok_or(CommitError::NoSuchBucket)?;
    let found = versions::find(db, bucket, key, which)?;
    let missing = || StoreError::NotFound(format!("an object as {which:?} of its key"));
    let found = found.ok_or_else(missing)?;
    let VersionEntry::Object(object) = &found.kept.entry else {
        return Err(missing().into());
    };
    if object.instance != instance {
        return Err(StoreError::Stale(format!("instance {instance} as {which:?}")).into());
    }
    let view = objects::complete(db, bucket, found.kept.number, object)?;
    Ok((bucket, found, view))
}

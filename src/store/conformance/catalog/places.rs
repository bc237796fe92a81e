//! The part of the catalog's suite that is about the same version under another key or in another place.

use std::thread;

use super::{BUCKET, Open, commit, start};
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{
    BlobRef, Catalog, Commit, CommitError, ListItem, ListQuery, Locator, ObjectRow, Place,
    Precondition, Relocation, Replacement, StoreError, Version, Versioning, Which,
};

pub(super) fn replaced(open: &Open) -> Verdict {
    let mut catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    for below in [false, true] {
        let key = [u8::from(below)];
        let first = Commit {
            part_attrs: vec![1; 50],
            ..commit(writer, &key)?
        };
        catalog.commit(first.clone())?;
        if below {
            catalog.commit(commit(writer, &key)?)?;
        }
        let change = Replacement {
            bucket: BUCKET,
            key: key.to_vec(),
            which: Which::Label(first.row.version),
            old: first.row.instance,
            instance: InstanceId::random()?,
            mode: 3,
            generation: 2,
            kms_key_id: b"other kms".to_vec(),
            encryption_context: b"other context".to_vec(),
            attrs: vec![9; 30],
            part_attrs: vec![8; 60],
            facts: below.then(|| (first.row.facts.clone(), b"new facts".to_vec())),
            incarnation: writer,
            now_ms: 77,
        };
        refused(&*catalog, &change)?;
        let garbage = catalog.replace_instance(change.clone())?;
        same(
            "a key without a blob is garbage",
            &(garbage.instance, garbage.blobs, garbage.since_ms),
            &(Some(change.old), Vec::new(), 77),
        )?;
        let again = catalog.replace_instance(Replacement {
            instance: InstanceId::random()?,
            ..change.clone()
        });
        holds(
            "the instance is another one now",
            matches!(again, Err(CommitError::Store(StoreError::Stale(_)))),
        )?;
        let wanted = ObjectRow {
            instance: change.instance,
            null: false,
            mode: 3,
            generation: 2,
            kms_key_id: change.kms_key_id,
            encryption_context: change.encryption_context,
            attrs: change.attrs,
            facts: match change.facts {
                Some((_, facts)) => facts,
                None => first.row.facts.clone(),
            },
            ..first.row
        };
        drop(catalog);
        catalog = open()?;
        let (row, inline) = read(&*catalog, &key, change.which)?;
        same("row", &row, &wanted)?;
        same("inline bytes", &inline, &first.inline)?;
        same(
            "part attributes",
            &(
                catalog.part_attrs(change.instance)?,
                catalog.part_attrs(change.old)?,
            ),
            &(Some(change.part_attrs), None),
        )?;
        same(
            "both are named",
            &[
                catalog.condemn_instance(change.old, writer)?,
                catalog.condemn_instance(change.instance, writer)?,
            ],
            &[false; 2],
        )?;
        catalog.garbage_done(&[garbage.id])?;
        let gone = catalog.delete_version(BUCKET, &key, change.which, None, 9)?;
        let gone = gone.garbage.ok_or_else(|| Wrong("no garbage".to_owned()))?;
        same(
            "the blobs go with the new instance",
            &(gone.instance, gone.blobs),
            &(Some(change.instance), wanted.blobs),
        )?;
        catalog.check()?;
    }
    Ok(())
}

fn refused(catalog: &dyn Catalog, change: &Replacement) -> Verdict {
    let missing = catalog.replace_instance(Replacement {
        which: Which::Null,
        ..change.clone()
    });
    holds(
        "no such version",
        matches!(missing, Err(CommitError::Store(StoreError::NotFound(_)))),
    )?;
    let other_facts = catalog.replace_instance(Replacement {
        facts: Some((b"other facts".to_vec(), Vec::new())),
        ..change.clone()
    });
    holds(
        "other facts",
        matches!(other_facts, Err(CommitError::Store(StoreError::Stale(_)))),
    )?;
    let nowhere = catalog.replace_instance(Replacement {
        bucket: BucketId([9; 16]),
        ..change.clone()
    });
    same("no bucket", &nowhere, &Err(CommitError::NoSuchBucket))?;
    let taken = catalog.replace_instance(Replacement {
        instance: change.old,
        ..change.clone()
    });
    holds(
        "an instance that is named",
        matches!(taken, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    let instance = InstanceId::random()?;
    catalog.condemn_instance(instance, change.incarnation)?;
    let condemned = catalog.replace_instance(Replacement {
        instance,
        ..change.clone()
    });
    same(
        "a condemned instance",
        &condemned,
        &Err(CommitError::Condemned),
    )
}

pub(super) fn archived(open: &Open) -> Verdict {
    let mut catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let to_archive = Relocation {
        bucket: BUCKET,
        key: b"key".to_vec(),
        which: Which::Null,
        instance: first.row.instance,
        expected_facts: first.row.facts.clone(),
        blobs: Some(copies(&first.row.blobs, Locator::Archive, writer)?),
        restored: None,
        facts: b"archived".to_vec(),
        incarnation: writer,
        now_ms: 77,
    };
    not_moved(&*catalog, &to_archive)?;
    let garbage = catalog.relocate(to_archive.clone())?;
    let left = garbage.map(|entry| (entry.instance, entry.blobs, entry.since_ms));
    same(
        "the former blobs are garbage",
        &left,
        &Some((None, first.row.blobs.clone(), 77)),
    )?;
    let mut row = ObjectRow {
        blobs: to_archive.blobs.clone().unwrap_or_default(),
        facts: b"archived".to_vec(),
        ..first.row.clone()
    };
    drop(catalog);
    catalog = open()?;
    same(
        "archived, its inline bytes gone",
        &read(&*catalog, b"key", Which::Null)?,
        &(row.clone(), Vec::new()),
    )?;
    same("listed as archived", &place(&*catalog)?, &(true, false))?;
    // A restored copy comes, another takes its place, and it goes.
    let mut facts = row.facts.clone();
    let mut copy = Vec::new();
    for round in 0..3u8 {
        let next = if round < 2 {
            copies(&row.blobs, Locator::File, writer)?
        } else {
            Vec::new()
        };
        let garbage = catalog.relocate(Relocation {
            expected_facts: facts,
            blobs: None,
            restored: Some(next.clone()),
            facts: vec![round],
            ..to_archive.clone()
        })?;
        let left = garbage.map(|entry| entry.blobs);
        same("the former copy", &left, &Some(copy).filter(|_| round > 0))?;
        (facts, copy) = (vec![round], next.clone());
        row.facts.clone_from(&facts);
        row.restored = next;
        same("row", &read(&*catalog, b"key", Which::Null)?.0, &row)?;
        same("listed", &place(&*catalog)?, &(true, round < 2))?;
        for blob in &row.restored {
            same("named", &catalog.condemn(blob.id)?, &false)?;
        }
    }
    let restored = copies(&row.blobs, Locator::File, writer)?;
    catalog.relocate(Relocation {
        expected_facts: facts,
        blobs: None,
        restored: Some(restored.clone()),
        ..to_archive
    })?;
    catalog.check()?;
    let gone = catalog.delete_version(BUCKET, b"key", Which::Null, None, 9)?;
    same(
        "a deletion takes both",
        &gone.garbage.map(|entry| entry.blobs),
        &Some([row.blobs, restored].concat()),
    )
}

fn not_moved(catalog: &dyn Catalog, change: &Relocation) -> Verdict {
    let try_it = |change: Relocation| catalog.relocate(change);
    let writer = change.incarnation;
    let blobs = change.blobs.clone().unwrap_or_default();
    for stale in [
        Relocation {
            expected_facts: b"other".to_vec(),
            ..change.clone()
        },
        Relocation {
            instance: InstanceId([9; 16]),
            ..change.clone()
        },
    ] {
        holds(
            "facts or instance are others",
            matches!(try_it(stale), Err(CommitError::Store(StoreError::Stale(_)))),
        )?;
    }
    let missing = try_it(Relocation {
        key: b"kez".to_vec(),
        ..change.clone()
    });
    holds(
        "no such key",
        matches!(missing, Err(CommitError::Store(StoreError::NotFound(_)))),
    )?;
    let mut condemned = blobs.clone();
    condemned[0].id = blob_id(writer)?;
    catalog.condemn(condemned[0].id)?;
    same(
        "a condemned blob",
        &try_it(Relocation {
            blobs: Some(condemned),
            ..change.clone()
        }),
        &Err(CommitError::Condemned),
    )?;
    let other = commit(writer, b"other")?;
    catalog.commit(other.clone())?;
    let taken = try_it(Relocation {
        blobs: Some(vec![other.row.blobs[1].clone()]),
        ..change.clone()
    });
    holds(
        "a blob of another object",
        matches!(taken, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    let mut inline = blobs.clone();
    inline[0].locator = Locator::Inline;
    let twice = vec![blobs[0].clone(), blobs[0].clone()];
    for odd in [inline, twice] {
        let odd = try_it(Relocation {
            blobs: Some(odd),
            ..change.clone()
        });
        holds(
            "an inline blob, a blob twice",
            matches!(odd, Err(CommitError::Store(StoreError::Unsupported(_)))),
        )?;
    }
    catalog.delete_version(BUCKET, b"other", Which::Current, None, 5)?;
    Ok(())
}

pub(super) fn old_versions(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let label = VersionId::random()?;
    catalog.delete(BUCKET, b"key", Precondition::None, None, label, 9)?;
    let change = Relocation {
        bucket: BUCKET,
        key: b"key".to_vec(),
        which: Which::Label(first.row.version),
        instance: first.row.instance,
        expected_facts: first.row.facts.clone(),
        blobs: Some(copies(&first.row.blobs, Locator::Archive, writer)?),
        restored: None,
        facts: b"archived".to_vec(),
        incarnation: writer,
        now_ms: 77,
    };
    let marker = catalog.relocate(Relocation {
        which: Which::Current,
        ..change.clone()
    });
    holds(
        "a marker has no place",
        matches!(marker, Err(CommitError::Store(StoreError::NotFound(_)))),
    )?;
    catalog.relocate(change.clone())?;
    drop(catalog);
    let catalog = open()?;
    let (row, inline) = read(&*catalog, b"key", change.which)?;
    same("blobs", &Some(row.blobs), &change.blobs)?;
    same("inline bytes", &inline, &Vec::new())?;
    same("facts", &row.facts, &change.facts)?;
    same("still hidden", &catalog.object(BUCKET, b"key")?, &None)?;
    catalog.delete_version(BUCKET, b"key", Which::Label(label), None, 9)?;
    same("listed as archived", &place(&*catalog)?, &(true, false))
}

/// A move, a new instance and a removal of one version at the same time.
pub(super) fn races(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    for round in 0..12u8 {
        let key = vec![round];
        let first = commit(writer, &key)?;
        catalog.commit(first.clone())?;
        let before = catalog.garbage(0, 1000)?.len();
        let moved = Relocation {
            bucket: BUCKET,
            key: key.clone(),
            which: Which::Null,
            instance: first.row.instance,
            expected_facts: first.row.facts.clone(),
            blobs: Some(copies(&first.row.blobs, Locator::Archive, writer)?),
            restored: None,
            facts: b"archived".to_vec(),
            incarnation: writer,
            now_ms: 77,
        };
        let renewed = Replacement {
            bucket: BUCKET,
            key: key.clone(),
            which: Which::Null,
            old: first.row.instance,
            instance: InstanceId::random()?,
            mode: 3,
            generation: 2,
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            attrs: vec![9; 30],
            facts: None,
            part_attrs: Vec::new(),
            incarnation: writer,
            now_ms: 77,
        };
        let (relocation, replacement) = (moved.clone(), renewed.clone());
        let (relocated, replaced, removed) = thread::scope(|scope| {
            let relocate = scope.spawn(|| catalog.relocate(relocation).is_ok());
            let replace = scope.spawn(|| catalog.replace_instance(replacement).is_ok());
            let removed = match round % 3 {
                0 => false,
                _ => catalog
                    .delete_version(BUCKET, &key, Which::Null, None, 77)
                    .is_ok(),
            };
            (relocate.join(), replace.join(), removed)
        });
        let panicked = |_| Wrong("a thread panicked".to_owned());
        let (relocated, replaced) = (relocated.map_err(panicked)?, replaced.map_err(panicked)?);
        let mut blobs = first.row.blobs.clone();
        if relocated {
            blobs.extend(moved.blobs.clone().unwrap_or_default());
        }
        let mut instances = vec![first.row.instance];
        instances.extend(Some(renewed.instance).filter(|_| replaced));
        let garbage = catalog.garbage(0, 1000)?;
        let mut named: Vec<BlobRef> = Vec::new();
        let mut held: Vec<InstanceId> = Vec::new();
        for entry in &garbage[before..] {
            named.extend(entry.blobs.clone());
            held.extend(entry.instance);
        }
        let view = catalog.object(BUCKET, &key)?;
        same("gone if removed", &view.is_none(), &removed)?;
        if let Some(view) = view {
            named.extend(view.row.blobs);
            held.push(view.row.instance);
        }
        let sorted = |mut blobs: Vec<BlobRef>| {
            blobs.sort_by_key(|blob| blob.id);
            blobs
        };
        same("each blob once", &sorted(named), &sorted(blobs))?;
        held.sort_unstable();
        instances.sort_unstable();
        same("each instance once", &held, &instances)?;
        for blob in moved.blobs.unwrap_or_default() {
            same("named if moved", &!catalog.condemn(blob.id)?, &relocated)?;
        }
    }
    Ok(())
}

type Inline = Vec<(BlobId, Vec<u8>)>;

fn read(catalog: &dyn Catalog, key: &[u8], which: Which) -> Result<(ObjectRow, Inline), Wrong> {
    match catalog
        .version(BUCKET, key, which)?
        .map(|view| view.version)
    {
        Some(Version::Object(object)) => Ok((object.row, object.inline)),
        other => Err(Wrong(format!("not an object: {other:?}"))),
    }
}

/// Whether the only object listed is shown as archived, and as restored.
fn place(catalog: &dyn Catalog) -> Result<(bool, bool), Wrong> {
    let page = catalog.list(&ListQuery {
        bucket: BUCKET,
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        delimiter: None,
        limit: 9,
    })?;
    match &page.items[..] {
        [ListItem::Object(object)] => {
            let Place { archived, restored } = object.place;
            Ok((archived, restored))
        }
        other => Err(Wrong(format!("not one object: {other:?}"))),
    }
}

/// The same parts under new names.
fn copies(blobs: &[BlobRef], locator: Locator, writer: u64) -> Result<Vec<BlobRef>, Wrong> {
    let copy = |blob: &BlobRef| {
        Ok(BlobRef {
            id: blob_id(writer)?,
            locator: locator.clone(),
            ..blob.clone()
        })
    };
    blobs.iter().map(copy).collect()
}

fn blob_id(writer: u64) -> Result<BlobId, Wrong> {
    let mut id = BlobId::random()?;
    id.0[..8].copy_from_slice(&writer.to_le_bytes());
    Ok(id)
}

//! Garbage, condemnations and closed incarnations.

use std::thread;

use super::{BUCKET, MARKER, Open, bucket, commit, start, state, visible};
use crate::id::BucketId;
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{Bucket, Commit, CommitError, Precondition, StoreError};

pub(super) fn garbage(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(catalog.commit(commit(writer, b"key")?)?.garbage);
    }
    same("number of entries", &all.len(), &7)?;
    holds(
        "numbers grow",
        all.windows(2).all(|pair| pair[0].id < pair[1].id),
    )?;
    same("all", &catalog.garbage(0, 99)?, &all)?;
    same(
        "a page",
        &catalog.garbage(all[1].id, 3)?,
        &all[2..5].to_vec(),
    )?;
    catalog.garbage_done(&[all[0].id, all[6].id])?;
    catalog.garbage_done(&[all[0].id, 999_999])?;
    drop(catalog);
    let catalog = open()?;
    same("left", &catalog.garbage(0, 99)?, &all[1..6].to_vec())?;
    let next = catalog.delete(BUCKET, b"key", Precondition::None, None, MARKER, 5)?;
    holds(
        "no number comes twice",
        next.garbage.is_some_and(|next| next.id > all[6].id),
    )
}

pub(super) fn condemned(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let condemn = |commit: &Commit| -> Result<[bool; 2], Wrong> {
        let blob = catalog.condemn(commit.row.blobs[1].id)?;
        Ok([blob, catalog.condemn_instance(commit.row.instance, writer)?])
    };
    same("an object's", &condemn(&first)?, &[false; 2])?;
    let garbage = catalog
        .delete(BUCKET, b"key", Precondition::None, None, MARKER, 5)?
        .garbage;
    same("garbage's", &condemn(&first)?, &[false; 2])?;
    let ids: Vec<_> = garbage.iter().map(|garbage| garbage.id).collect();
    catalog.garbage_done(&ids)?;
    same("nobody's", &condemn(&first)?, &[true; 2])?;
    same("nobody's again", &condemn(&first)?, &[true; 2])?;
    for instance in [false, true] {
        let late = commit(writer, b"late")?;
        let condemned = if instance {
            catalog.condemn_instance(late.row.instance, writer)?
        } else {
            catalog.condemn(late.row.blobs[1].id)?
        };
        same("a slow writer's", &condemned, &true)?;
        same(
            "its commit",
            &catalog.commit(late),
            &Err(CommitError::Condemned),
        )?;
    }
    drop(catalog);
    let late = open()?.commit(Commit {
        incarnation: writer,
        ..first
    });
    same("after opening again", &late, &Err(CommitError::Condemned))
}

pub(super) fn condemn_race(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    for number in 0..20u8 {
        let commit = commit(writer, &[number])?;
        let blob = commit.row.blobs[1].id;
        let (condemned, committed) = thread::scope(|scope| {
            let sweeper = scope.spawn(|| catalog.condemn(blob));
            let committed = catalog.commit(commit);
            (sweeper.join(), committed)
        });
        let condemned = condemned.map_err(|_| Wrong("a thread panicked".to_owned()))??;
        let committed = match committed {
            Ok(_) => true,
            Err(CommitError::Condemned) => false,
            Err(other) => return Err(other.into()),
        };
        holds("exactly one wins", condemned != committed)?;
        same(
            "visible",
            &visible(&*catalog, &[number])?.is_some(),
            &committed,
        )?;
    }
    Ok(())
}

pub(super) fn closed(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let expired = catalog.register("slow", 0, 1)?;
    catalog.commit(commit(expired, b"in time")?)?;
    catalog.close(expired)?;
    let late = catalog.commit(commit(expired, b"late")?);
    same("a commit", &late, &Err(CommitError::Condemned))?;
    let mut id = BucketId([0xb2; 16]);
    id.0[..8].copy_from_slice(&expired.to_le_bytes());
    let made = Bucket {
        id,
        ..bucket("made late", 0)
    };
    holds(
        "a bucket of its making",
        matches!(
            catalog.create_bucket(made, state(1)),
            Err(StoreError::Exists(_))
        ),
    )?;
    let unknown = catalog.commit(commit(999, b"late")?);
    same("a commit of nobody", &unknown, &Err(CommitError::Condemned))?;
    same(
        "what was in time",
        &visible(&*catalog, b"in time")?.is_some(),
        &true,
    )
}

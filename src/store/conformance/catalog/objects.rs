//! Commits, deletions and reads.

use std::thread;

use super::{BUCKET, MARKER, Open, commit, start, state, visible};
use crate::id::{BucketId, InstanceId};
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{
    Catalog, Commit, CommitError, Deleted, ObjectRow, Precondition, StoreError, Which,
};

pub(super) fn reads_back(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut commits = Vec::new();
    for number in 0..6u8 {
        let mut commit = commit(writer, &[b'k', number, 0, 0xff])?;
        commit.row.kms_key_id = vec![number; usize::from(number)];
        commit.row.manifest = vec![number; usize::from(number) * 3_000];
        same("before", &catalog.object(BUCKET, &commit.row.key)?, &None)?;
        let committed = catalog.commit(commit.clone())?;
        same("replaced", &committed.garbage, &Vec::new())?;
        commits.push(commit);
    }
    let check = |catalog: &dyn Catalog| {
        commits.iter().try_for_each(|commit| -> Verdict {
            let view = catalog
                .object(BUCKET, &commit.row.key)?
                .ok_or_else(|| Wrong("a committed object is missing".to_owned()))?;
            same("row", &view.row, &commit.row)?;
            same("inline", &view.inline, &commit.inline)?;
            same("generation", &view.generation, &Some(state(1)))
        })
    };
    check(&*catalog)?;
    catalog.check()?;
    drop(catalog);
    check(&*open()?)
}

pub(super) fn overwritten(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let (old, new) = (commit(writer, b"key")?, commit(writer, b"key")?);
    catalog.commit(old.clone())?;
    same("old", &visible(&*catalog, b"key")?, &Some(old.row.instance))?;
    let replaced = catalog.commit(Commit {
        now_ms: 77,
        ..new.clone()
    })?;
    let [garbage] = &replaced.garbage[..] else {
        return Err(Wrong("an overwrite makes one entry of garbage".to_owned()));
    };
    same("instance", &garbage.instance, &Some(old.row.instance))?;
    same("blobs", &garbage.blobs, &old.row.blobs)?;
    same(
        "bucket and time",
        &(garbage.bucket, garbage.since_ms),
        &(BUCKET, 77),
    )?;
    drop(catalog);
    let catalog = open()?;
    let view = catalog
        .object(BUCKET, b"key")?
        .map(|view| (view.row, view.inline));
    same("new", &view, &Some((new.row, new.inline)))?;
    same("garbage", &catalog.garbage(0, 9)?, &replaced.garbage)
}

pub(super) fn deleted(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let (gone, kept) = (commit(writer, b"gone")?, commit(writer, b"kept")?);
    catalog.commit(gone.clone())?;
    catalog.commit(kept.clone())?;
    same(
        "there",
        &visible(&*catalog, b"gone")?,
        &Some(gone.row.instance),
    )?;
    let garbage = catalog.delete(BUCKET, b"gone", Precondition::None, None, MARKER, 77)?;
    same("no marker", &garbage.marker, &None)?;
    let garbage = garbage.garbage;
    same(
        "garbage",
        &garbage.as_ref().and_then(|garbage| garbage.instance),
        &Some(gone.row.instance),
    )?;
    same("gone", &visible(&*catalog, b"gone")?, &None)?;
    same(
        "again",
        &catalog.delete(BUCKET, b"gone", Precondition::None, None, MARKER, 78)?,
        &Deleted::default(),
    )?;
    let nowhere = catalog.delete(
        BucketId([9; 16]),
        b"gone",
        Precondition::None,
        None,
        MARKER,
        78,
    );
    same("no bucket", &nowhere, &Err(CommitError::NoSuchBucket))?;
    drop(catalog);
    let catalog = open()?;
    same("gone later", &visible(&*catalog, b"gone")?, &None)?;
    same(
        "kept",
        &visible(&*catalog, b"kept")?,
        &Some(kept.row.instance),
    )?;
    same(
        "garbage later",
        &catalog.garbage(0, 9)?,
        &garbage.into_iter().collect(),
    )
}

pub(super) fn preconditions(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let put = |precondition| -> Result<Result<InstanceId, CommitError>, Wrong> {
        let commit = Commit {
            precondition,
            ..commit(writer, b"key")?
        };
        let instance = commit.row.instance;
        Ok(catalog.commit(commit).map(|_| instance))
    };
    let other = Precondition::Is(InstanceId([9; 16]));
    let refused = Err(CommitError::Precondition);
    let delete = |precondition| {
        catalog
            .delete(BUCKET, b"key", precondition, None, MARKER, 9)
            .map(|_| ())
    };
    for precondition in [Precondition::Present, other] {
        same(
            "put over nothing",
            &put(precondition)?.map(|_| ()),
            &refused,
        )?;
        same("delete nothing", &delete(precondition), &refused)?;
    }
    same(
        "delete what is absent",
        &delete(Precondition::Absent),
        &Ok(()),
    )?;
    let first = put(Precondition::Absent)??;
    for precondition in [Precondition::Absent, other] {
        same("put over one", &put(precondition)?.map(|_| ()), &refused)?;
        same("delete one", &delete(precondition), &refused)?;
    }
    same("untouched", &visible(&*catalog, b"key")?, &Some(first))?;
    let second = put(Precondition::Present)??;
    let third = put(Precondition::Is(second))??;
    same("replaced", &visible(&*catalog, b"key")?, &Some(third))?;
    same(
        "no longer that one",
        &delete(Precondition::Is(second)),
        &refused,
    )?;
    same("that one", &delete(Precondition::Is(third)), &Ok(()))?;
    same("gone", &visible(&*catalog, b"key")?, &None)
}

pub(super) fn commit_race(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let commits = (0..8)
        .map(|_| {
            Ok(Commit {
                precondition: Precondition::Absent,
                ..commit(writer, b"key")?
            })
        })
        .collect::<Result<Vec<_>, Wrong>>()?;
    let winners: Vec<InstanceId> = thread::scope(|scope| {
        let racers: Vec<_> = commits
            .into_iter()
            .map(|commit| {
                let catalog = &catalog;
                let instance = commit.row.instance;
                scope.spawn(move || catalog.commit(commit).is_ok().then_some(instance))
            })
            .collect();
        racers
            .into_iter()
            .filter_map(|racer| racer.join().ok().flatten())
            .collect()
    });
    same("winners", &winners.len(), &1)?;
    same(
        "visible",
        &visible(&*catalog, b"key")?,
        &winners.first().copied(),
    )?;
    same("garbage", &catalog.garbage(0, 9)?, &Vec::new())
}

pub(super) fn committed_once(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let again = catalog.commit(first.clone());
    holds(
        "the same instance",
        matches!(again, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    let mut thief = commit(writer, b"other")?;
    thief.row.blobs[1] = first.row.blobs[1].clone();
    let again = catalog.commit(thief);
    holds(
        "the same blob",
        matches!(again, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    same("nothing of it", &visible(&*catalog, b"other")?, &None)?;
    let mut torn = commit(writer, b"other")?;
    torn.inline.clear();
    let torn = catalog.commit(torn);
    holds(
        "inline bytes are missing",
        matches!(torn, Err(CommitError::Store(StoreError::Unsupported(_)))),
    )
}

pub(super) fn facts(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let set = |instance, expected: &[u8], facts: &[u8]| {
        catalog.set_facts(BUCKET, b"key", Which::Current, instance, expected, facts)
    };
    let stale = set(first.row.instance, b"not this", b"new");
    holds(
        "not the expected facts",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    let other = set(InstanceId([9; 16]), &first.row.facts, b"new");
    holds(
        "not that instance",
        matches!(other, Err(StoreError::NotFound(_))),
    )?;
    set(first.row.instance, &first.row.facts, b"new")?;
    drop(catalog);
    let row = open()?.object(BUCKET, b"key")?.map(|view| view.row);
    same(
        "row",
        &row,
        &Some(ObjectRow {
            facts: b"new".to_vec(),
            ..first.row
        }),
    )
}

pub(super) fn together(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut commits = Vec::new();
    for number in 0..64u8 {
        commits.push(commit(writer, &[number])?);
    }
    thread::scope(|scope| {
        let writers: Vec<_> = commits
            .chunks(8)
            .map(|share| {
                let catalog = &catalog;
                scope.spawn(move || {
                    share
                        .iter()
                        .try_for_each(|commit| catalog.commit(commit.clone()).map(|_| ()))
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer
                .join()
                .map_err(|_| Wrong("a writer panicked".to_owned()))?
                .map_err(Wrong::from)
        })
    })?;
    drop(catalog);
    let catalog = open()?;
    commits.iter().try_for_each(|commit| {
        same(
            "visible",
            &visible(&*catalog, &commit.row.key)?,
            &Some(commit.row.instance),
        )
    })
}

//! The suite of catalogs.

use std::thread;
use std::time::Duration;

use super::{Check, Factory, Opener, Report, Verdict, Wrong, holds, listing, run, same};
use crate::id::{BlobId, BucketId, InstanceId};
use crate::store::{
    BlobRef, Bucket, Catalog, Commit, CommitError, DeleteBucketError, GenerationState,
    KeyStoreSeen, Locator, ObjectRow, Precondition, Standing, StoreError,
};

/// Runs the suite of catalogs; each check has `deadline` to answer.
#[must_use]
pub fn catalog(factory: &Factory<dyn Catalog>, deadline: Duration) -> Report {
    const CHECKS: &[Check<dyn Catalog>] = &[
        (
            "a catalog keeps its identity and knows its key store",
            identity,
        ),
        (
            "incarnations are new numbers, live, dead and closed in turn",
            incarnations,
        ),
        (
            "a task has one holder, and its token grows with each",
            tasks,
        ),
        (
            "buckets are found by name and by id, and listed by name",
            buckets,
        ),
        (
            "only an empty bucket is deleted, and remembered until it is done",
            bucket_deletion,
        ),
        ("generations change by compare-and-swap", generations),
        (
            "documents change by compare-and-swap, and no revision comes twice",
            documents,
        ),
        (
            "a committed instance reads back, also from the catalog opened again",
            reads_back,
        ),
        (
            "an overwrite shows the new instance and makes garbage of the old",
            overwritten,
        ),
        (
            "a deletion hides the object and makes garbage of it",
            deleted,
        ),
        ("preconditions decide", preconditions),
        (
            "of commits that race for an absent key one wins",
            commit_race,
        ),
        ("an instance and a blob are committed once", committed_once),
        (
            "facts change by compare-and-swap on the visible instance",
            facts,
        ),
        (
            "garbage is listed once, in order, until it is done",
            garbage,
        ),
        (
            "what is named cannot be condemned, what is condemned cannot be committed",
            condemned,
        ),
        (
            "of a commit and a condemnation that race one wins",
            condemn_race,
        ),
        ("a closed incarnation commits nothing", closed),
        ("commits side by side are all kept", together),
        (
            "a listing is in byte order, page by page, each once",
            listing::pages,
        ),
        (
            "a listing keeps to its prefix and its start",
            listing::bounds,
        ),
        (
            "a delimiter folds keys into common prefixes",
            listing::delimiters,
        ),
        (
            "a listing looks at three rows per item at most",
            listing::visits,
        ),
    ];
    run(CHECKS, factory, deadline)
}

type Open = Opener<dyn Catalog>;

pub(super) const BUCKET: BucketId = BucketId([0xb0; 16]);
const LONG: u64 = 1_000_000;

fn identity(open: &Open) -> Verdict {
    let catalog = open()?;
    let id = catalog.identity()?.id;
    same(
        "first sight",
        &catalog.key_store_seen([1; 16], 5)?,
        &KeyStoreSeen::Current,
    )?;
    same(
        "later epoch",
        &catalog.key_store_seen([1; 16], 7)?,
        &KeyStoreSeen::Current,
    )?;
    same(
        "another",
        &catalog.key_store_seen([2; 16], 9)?,
        &KeyStoreSeen::Other { id: [1; 16] },
    )?;
    let incarnation = catalog.register("node", 0, LONG)?;
    drop(catalog);
    let catalog = open()?;
    same(
        "older",
        &catalog.key_store_seen([1; 16], 6)?,
        &KeyStoreSeen::Older { seen: 7 },
    )?;
    same(
        "the same epoch",
        &catalog.key_store_seen([1; 16], 7)?,
        &KeyStoreSeen::Current,
    )?;
    let later = catalog.identity()?;
    same("identity", &(later.id, later.epoch), &(id, incarnation))
}

fn incarnations(open: &Open) -> Verdict {
    let catalog = open()?;
    let first = catalog.register("node", 100, 50)?;
    let second = catalog.register("node", 100, 50)?;
    holds("above 0 and new", 0 < first && first < second)?;
    let standing = |incarnation, now_ms| catalog.standing(incarnation, now_ms);
    same("at first", &standing(first, 149)?, &Standing::Live)?;
    same(
        "when the lease is over",
        &standing(first, 150)?,
        &Standing::Dead,
    )?;
    same(
        "never registered",
        &standing(second + 1, 100)?,
        &Standing::Unknown,
    )?;
    same("renewal", &catalog.renew(first, 149, 50)?, &true)?;
    same("after the renewal", &standing(first, 198)?, &Standing::Live)?;
    same("renewal too late", &catalog.renew(second, 150, 50)?, &false)?;
    same("dead", &catalog.dead_incarnations(160)?, &vec![second])?;
    same(
        "dead later",
        &catalog.dead_incarnations(500)?,
        &vec![first, second],
    )?;
    catalog.release(first)?;
    same("released", &standing(first, 160)?, &Standing::Dead)?;
    same(
        "renewal after release",
        &catalog.renew(first, 160, 50)?,
        &false,
    )?;
    catalog.close(second)?;
    drop(catalog);
    let catalog = open()?;
    same("closed", &catalog.standing(second, 0)?, &Standing::Closed)?;
    same(
        "renewal of a closed one",
        &catalog.renew(second, 0, 50)?,
        &false,
    )?;
    same(
        "dead at last",
        &catalog.dead_incarnations(500)?,
        &vec![first],
    )?;
    holds("never again", catalog.register("node", 500, 50)? > second)?;
    let unknown = catalog.close(99);
    holds(
        "nothing to close",
        matches!(unknown, Err(StoreError::NotFound(_))),
    )
}

fn tasks(open: &Open) -> Verdict {
    let catalog = open()?;
    let first = catalog.register("one", 0, LONG)?;
    let second = catalog.register("two", 0, LONG)?;
    let lease = |who, now_ms| catalog.task_lease("sweep", who, now_ms, 100);
    let token = lease(first, 0)?.ok_or_else(|| Wrong("the lease is free".to_owned()))?;
    same("the holder again", &lease(first, 50)?, &Some(token))?;
    same("another one", &lease(second, 100)?, &None)?;
    let next = lease(second, 150)?;
    holds("a larger token for the next", next > Some(token))?;
    same("the former holder", &lease(first, 160)?, &None)?;
    same(
        "another task",
        &catalog.task_lease("verify", first, 160, 100)?.is_some(),
        &true,
    )?;
    catalog.release(first)?;
    same(
        "who is not live",
        &catalog.task_lease("other", first, 160, 100)?,
        &None,
    )
}

fn buckets(open: &Open) -> Verdict {
    let catalog = open()?;
    let names = ["b", "a", "c", "B"];
    for (name, number) in names.iter().zip(1..) {
        let before = catalog.change_counter()?;
        catalog.create_bucket(bucket(name, number), state(1))?;
        holds("a change", catalog.change_counter()? > before)?;
    }
    for taken in [bucket("a", 9), bucket("z", 1)] {
        let refused = catalog.create_bucket(taken, state(1));
        holds(
            "name and id are unique",
            matches!(refused, Err(StoreError::Exists(_))),
        )?;
    }
    drop(catalog);
    let catalog = open()?;
    same("by name", &catalog.bucket("a")?, &Some(bucket("a", 2)))?;
    same(
        "by id",
        &catalog.bucket_by_id(bucket("c", 3).id)?,
        &Some(bucket("c", 3)),
    )?;
    same(
        "not there",
        &(catalog.bucket("x")?, catalog.bucket_by_id(BUCKET)?),
        &(None, None),
    )?;
    let page = |after, limit| -> Result<Vec<String>, Wrong> {
        Ok(catalog
            .buckets(after, limit)?
            .into_iter()
            .map(|bucket| bucket.name)
            .collect())
    };
    same(
        "all",
        &page(None, 9)?,
        &vec!["B".into(), "a".into(), "b".into(), "c".into()],
    )?;
    same("a page", &page(Some("a"), 1)?, &vec!["b".to_owned()])?;
    same(
        "its first generation",
        &catalog.generation(bucket("a", 2).id, 1)?,
        &Some(state(1)),
    )
}

fn bucket_deletion(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.commit(commit(writer, b"key")?)?;
    catalog.put_document(Some(BUCKET), "policy", None, Some(b"{}"))?;
    same(
        "not empty",
        &catalog.delete_bucket("bucket"),
        &Err(DeleteBucketError::NotEmpty),
    )?;
    same(
        "not there",
        &catalog.delete_bucket("other"),
        &Err(DeleteBucketError::NotFound),
    )?;
    catalog.delete(BUCKET, b"key", Precondition::None, 5)?;
    same("deleted", &catalog.delete_bucket("bucket")?, &BUCKET)?;
    let late = catalog.commit(commit(writer, b"late")?);
    same("a late commit", &late, &Err(CommitError::NoSuchBucket))?;
    drop(catalog);
    let catalog = open()?;
    same(
        "gone",
        &(catalog.bucket("bucket")?, catalog.bucket_by_id(BUCKET)?),
        &(None, None),
    )?;
    same("its generation", &catalog.generation(BUCKET, 1)?, &None)?;
    same(
        "its document",
        &catalog.document(Some(BUCKET), "policy")?,
        &None,
    )?;
    same("its garbage stays", &catalog.garbage(0, 9)?.len(), &1)?;
    same("remembered", &catalog.deleted_buckets()?, &vec![BUCKET])?;
    catalog.create_bucket(bucket("bucket", 7), state(1))?;
    catalog.bucket_done(BUCKET)?;
    same("forgotten", &catalog.deleted_buckets()?, &Vec::new())?;
    same(
        "the new one",
        &catalog.bucket("bucket")?,
        &Some(bucket("bucket", 7)),
    )
}

fn generations(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let second = GenerationState {
        generation: 2,
        rev: 1,
        state: 1,
    };
    let before = catalog.change_counter()?;
    catalog.set_generation(BUCKET, None, second, true)?;
    holds("a change", catalog.change_counter()? > before)?;
    let stale = catalog.set_generation(BUCKET, None, second, false);
    holds("there is one", matches!(stale, Err(StoreError::Stale(_))))?;
    let disabled = GenerationState {
        rev: 2,
        state: 3,
        ..state(1)
    };
    let stale = catalog.set_generation(BUCKET, Some(disabled), disabled, false);
    holds(
        "not the expected state",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    catalog.set_generation(BUCKET, Some(state(1)), disabled, false)?;
    let missing = catalog.set_generation(BucketId([9; 16]), None, second, false);
    holds("no bucket", matches!(missing, Err(StoreError::NotFound(_))))?;
    drop(catalog);
    let catalog = open()?;
    same(
        "the first",
        &catalog.generation(BUCKET, 1)?,
        &Some(disabled),
    )?;
    same("the second", &catalog.generation(BUCKET, 2)?, &Some(second))?;
    same("a third", &catalog.generation(BUCKET, 3)?, &None)?;
    same(
        "the active one",
        &catalog.bucket("bucket")?.map(|bucket| bucket.generation),
        &Some(2),
    )
}

fn documents(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let mut revisions = Vec::new();
    for bucket in [None, Some(BUCKET)] {
        let put = |expected, bytes| catalog.put_document(bucket, "doc", expected, bytes);
        same("at first", &catalog.document(bucket, "doc")?, &None)?;
        let first = put(None, Some(b"one"))?;
        same(
            "first",
            &catalog.document(bucket, "doc")?,
            &Some((first, b"one".to_vec())),
        )?;
        for expected in [None, Some(first + 1)] {
            let stale = put(expected, Some(b"two"));
            holds(
                "not the expected revision",
                matches!(stale, Err(StoreError::Stale(_))),
            )?;
        }
        let second = put(Some(first), Some(b"two"))?;
        let third = put(Some(second), None)?;
        same("deleted", &catalog.document(bucket, "doc")?, &None)?;
        let fourth = put(None, Some(b"four"))?;
        revisions.extend([first, second, third, fourth]);
    }
    let count = revisions.len();
    revisions.sort_unstable();
    revisions.dedup();
    same("revisions", &revisions.len(), &count)?;
    let missing = catalog.put_document(Some(BucketId([9; 16])), "doc", None, Some(b""));
    holds("no bucket", matches!(missing, Err(StoreError::NotFound(_))))?;
    drop(catalog);
    let kept = open()?
        .document(Some(BUCKET), "doc")?
        .map(|(_, bytes)| bytes);
    same("later", &kept, &Some(b"four".to_vec()))
}

fn reads_back(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut commits = Vec::new();
    for number in 0..6u8 {
        let mut commit = commit(writer, &[b'k', number, 0, 0xff])?;
        commit.row.kms_key_id = vec![number; usize::from(number)];
        commit.row.manifest = vec![number; usize::from(number) * 3_000];
        same("before", &catalog.object(BUCKET, &commit.row.key)?, &None)?;
        same("replaced", &catalog.commit(commit.clone())?, &None)?;
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

fn overwritten(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let (old, new) = (commit(writer, b"key")?, commit(writer, b"key")?);
    catalog.commit(old.clone())?;
    same("old", &visible(&*catalog, b"key")?, &Some(old.row.instance))?;
    let replaced = catalog.commit(Commit {
        now_ms: 77,
        ..new.clone()
    })?;
    let garbage = replaced.ok_or_else(|| Wrong("an overwrite makes garbage".to_owned()))?;
    same("instance", &garbage.instance, &old.row.instance)?;
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
    same("garbage", &catalog.garbage(0, 9)?, &vec![garbage])
}

fn deleted(open: &Open) -> Verdict {
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
    let garbage = catalog.delete(BUCKET, b"gone", Precondition::None, 77)?;
    same(
        "garbage",
        &garbage.as_ref().map(|garbage| garbage.instance),
        &Some(gone.row.instance),
    )?;
    same("gone", &visible(&*catalog, b"gone")?, &None)?;
    same(
        "again",
        &catalog.delete(BUCKET, b"gone", Precondition::None, 78)?,
        &None,
    )?;
    let nowhere = catalog.delete(BucketId([9; 16]), b"gone", Precondition::None, 78);
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

fn preconditions(open: &Open) -> Verdict {
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
    let delete = |precondition| catalog.delete(BUCKET, b"key", precondition, 9).map(|_| ());
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

fn commit_race(open: &Open) -> Verdict {
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

fn committed_once(open: &Open) -> Verdict {
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

fn facts(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let set = |instance, expected: &[u8], facts: &[u8]| {
        catalog.set_facts(BUCKET, b"key", instance, expected, facts)
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

fn garbage(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(catalog.commit(commit(writer, b"key")?)?);
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
    let next = catalog.delete(BUCKET, b"key", Precondition::None, 5)?;
    holds(
        "no number comes twice",
        next.is_some_and(|next| next.id > all[6].id),
    )
}

fn condemned(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let first = commit(writer, b"key")?;
    catalog.commit(first.clone())?;
    let condemn = |commit: &Commit| -> Result<[bool; 2], Wrong> {
        let blob = catalog.condemn(commit.row.blobs[1].id)?;
        Ok([blob, catalog.condemn_instance(commit.row.instance, writer)?])
    };
    same("an object's", &condemn(&first)?, &[false; 2])?;
    let garbage = catalog.delete(BUCKET, b"key", Precondition::None, 5)?;
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

fn condemn_race(open: &Open) -> Verdict {
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

fn closed(open: &Open) -> Verdict {
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

fn together(open: &Open) -> Verdict {
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

/// Makes the bucket and registers a writer.
pub(super) fn start(catalog: &dyn Catalog) -> Result<u64, Wrong> {
    let bucket = Bucket {
        id: BUCKET,
        ..bucket("bucket", 0)
    };
    catalog.create_bucket(bucket, state(1))?;
    Ok(catalog.register("node", 0, LONG)?)
}

/// An instance with an inline blob and a blob in a file.
pub(super) fn commit(incarnation: u64, key: &[u8]) -> Result<Commit, Wrong> {
    let instance = InstanceId::random()?;
    let blob = |part, locator, sealed_len| -> Result<BlobRef, Wrong> {
        let mut id = BlobId::random()?;
        id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
        Ok(BlobRef {
            part,
            id,
            locator,
            sealed_len,
        })
    };
    let blobs = vec![
        blob(1, Locator::Inline, 40)?,
        blob(2, Locator::File, 70_000)?,
    ];
    let inline = vec![(blobs[0].id, instance.0.repeat(3)[..40].to_vec())];
    let row = ObjectRow {
        key: key.to_vec(),
        instance,
        mode: 1,
        suite: 2,
        length: 65_000,
        modified_ms: 1_234,
        generation: 1,
        kms_key_id: b"kms".to_vec(),
        encryption_context: b"context".to_vec(),
        manifest: instance.0.repeat(9),
        head: instance.0.repeat(5),
        attrs: instance.0.repeat(4),
        facts: b"facts".to_vec(),
        blobs,
    };
    let precondition = Precondition::None;
    Ok(Commit {
        bucket: BUCKET,
        incarnation,
        row,
        inline,
        precondition,
        now_ms: 9,
    })
}

fn visible(catalog: &dyn Catalog, key: &[u8]) -> Result<Option<InstanceId>, Wrong> {
    Ok(catalog.object(BUCKET, key)?.map(|view| view.row.instance))
}

fn bucket(name: &str, number: u8) -> Bucket {
    Bucket {
        id: BucketId([number; 16]),
        name: name.to_owned(),
        owner: format!("owner of {name}"),
        created_ms: u64::from(number),
        generation: 1,
    }
}

fn state(generation: u32) -> GenerationState {
    GenerationState {
        generation,
        rev: 1,
        state: 1,
    }
}

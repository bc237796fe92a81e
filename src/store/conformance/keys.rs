//! The suite of key stores.

use std::thread;
use std::time::Duration;

use super::{Check, Factory, Opener, Report, Verdict, Wrong, holds, run, same};
use crate::id::{BucketId, InstanceId, RootId};
use crate::store::{KeyRow, KeyStore, KeyView, MasterRow, NewKeyRecord, ScanBy, StoreError};

/// Runs the suite of key stores; each check has `deadline` to answer.
#[must_use]
pub fn key_store(factory: &Factory<dyn KeyStore>, deadline: Duration) -> Report {
    const CHECKS: &[Check<dyn KeyStore>] = &[
        ("a store keeps its identity, and its epoch grows", identity),
        (
            "a record reads back, also from the store opened again",
            reads_back,
        ),
        ("an instance takes one record", taken_once),
        ("a record changes by compare-and-swap alone", swapped),
        ("of swaps that race one wins", swap_race),
        ("a shredded record is gone and never comes back", shredded),
        ("bucket keys are kept by bucket and generation", bucket_keys),
        (
            "a view joins the bucket key its record is filed under",
            joined,
        ),
        (
            "shredding a bucket destroys its keys and no other's",
            bucket_shredded,
        ),
        (
            "master states change by compare-and-swap and are in every view",
            masters,
        ),
        (
            "scans show what they are asked for, page by page, each once",
            scans,
        ),
        ("inserts side by side are all kept", together),
    ];
    run(CHECKS, factory, deadline)
}

type Open = Opener<dyn KeyStore>;

const BUCKET: BucketId = BucketId([0xb0; 16]);
const OTHER: BucketId = BucketId([0xb1; 16]);

fn identity(open: &Open) -> Verdict {
    let store = open()?;
    let first = store.identity()?;
    same("epoch", &store.advance_epoch()?, &(first.epoch + 1))?;
    drop(store);
    let store = open()?;
    same("epoch later", &store.advance_epoch()?, &(first.epoch + 2))?;
    let later = store.identity()?;
    same(
        "identity",
        &(later.id, later.epoch),
        &(first.id, first.epoch + 2),
    )
}

fn reads_back(open: &Open) -> Verdict {
    let store = open()?;
    for number in 0..10 {
        let record = record(number);
        same("before", &store.fetch(record.instance)?, &absent())?;
        store.insert(record.clone())?;
        same(
            "record",
            &store.fetch(record.instance)?.record,
            &Some(record.record),
        )?;
    }
    store.check()?;
    drop(store);
    let store = open()?;
    (0..10).try_for_each(|number| {
        let record = record(number);
        same(
            "record later",
            &store.fetch(record.instance)?.record,
            &Some(record.record),
        )
    })
}

fn taken_once(open: &Open) -> Verdict {
    let store = open()?;
    store.insert(record(1))?;
    store.insert(record(1))?;
    let other = NewKeyRecord {
        record: b"other".to_vec(),
        ..record(1)
    };
    holds(
        "other bytes are refused",
        matches!(store.insert(other), Err(StoreError::Exists(_))),
    )?;
    let other = NewKeyRecord {
        generation: 9,
        ..record(1)
    };
    holds(
        "another generation is refused",
        matches!(store.insert(other), Err(StoreError::Exists(_))),
    )?;
    same(
        "record",
        &store.fetch(record(1).instance)?.record,
        &Some(record(1).record),
    )
}

fn swapped(open: &Open) -> Verdict {
    let store = open()?;
    let NewKeyRecord {
        instance,
        record: old,
        ..
    } = record(1);
    let missing = store.replace(instance, &old, 1, b"new");
    holds(
        "nothing to replace",
        matches!(missing, Err(StoreError::NotFound(_))),
    )?;
    store.insert(record(1))?;
    store.insert(record(2))?;
    let stale = store.replace(instance, b"not this", 1, b"new");
    holds(
        "not the expected bytes",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    same("record", &store.fetch(instance)?.record, &Some(old.clone()))?;
    store.replace(instance, &old, 2, b"new")?;
    store.replace(instance, &old, 2, b"new")?;
    same(
        "record",
        &store.fetch(instance)?.record,
        &Some(b"new".to_vec()),
    )?;
    let stale = store.replace(instance, &old, 2, b"newer");
    holds(
        "no longer the expected bytes",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    same(
        "the neighbour",
        &store.fetch(record(2).instance)?.record,
        &Some(record(2).record),
    )?;
    let found = store.scan(ScanBy::Generation(BUCKET, 2), None, 9)?;
    same("filed under", &found.len(), &1)
}

fn swap_race(open: &Open) -> Verdict {
    let store = open()?;
    store.insert(record(1))?;
    let NewKeyRecord {
        instance,
        record: old,
        ..
    } = record(1);
    let new = |number: u8| vec![number; 20];
    let results: Vec<bool> = thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (store, old) = (&store, &old);
                scope.spawn(move || store.replace(instance, old, 1, &new(number)).is_ok())
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap_or(false))
            .collect()
    });
    same("winners", &results.iter().filter(|won| **won).count(), &1)?;
    let winner = (0..8)
        .zip(&results)
        .find(|(_, won)| **won)
        .map(|(number, _)| new(number));
    same("record", &store.fetch(instance)?.record, &winner)
}

fn shredded(open: &Open) -> Verdict {
    let store = open()?;
    (1..5).try_for_each(|number| store.insert(record(number)))?;
    same(
        "before",
        &store.fetch(record(2).instance)?.record,
        &Some(record(2).record),
    )?;
    let gone = [record(2).instance, record(3).instance, record(77).instance];
    store.shred(&gone)?;
    store.shred(&gone)?;
    let check = |store: &dyn KeyStore| {
        for instance in gone {
            let tombstone = KeyView {
                tombstone: true,
                ..absent()
            };
            same("shredded", &store.fetch(instance)?, &tombstone)?;
        }
        for number in [1, 4] {
            let kept = store.fetch(record(number).instance)?;
            same(
                "kept",
                &(kept.record, kept.tombstone),
                &(Some(record(number).record), false),
            )?;
        }
        for number in [2, 77] {
            let again = store.insert(record(number));
            holds("never again", matches!(again, Err(StoreError::Exists(_))))?;
        }
        let swap = store.replace(gone[0], &record(2).record, 1, b"new");
        holds(
            "nothing to replace",
            matches!(swap, Err(StoreError::NotFound(_))),
        )
    };
    check(&*store)?;
    drop(store);
    check(&*open()?)
}

fn bucket_keys(open: &Open) -> Verdict {
    let store = open()?;
    let rows = [
        (BUCKET, 1, b"b0-1".to_vec()),
        (BUCKET, 2, b"b0-2".to_vec()),
        (OTHER, 1, b"b1-1".to_vec()),
        (OTHER, 7, b"b1-7".to_vec()),
    ];
    for (bucket, generation, bytes) in rows.iter().rev() {
        store.insert_bucket_key(*bucket, *generation, bytes)?;
        store.insert_bucket_key(*bucket, *generation, bytes)?;
    }
    let other = store.insert_bucket_key(BUCKET, 1, b"other");
    holds(
        "other bytes are refused",
        matches!(other, Err(StoreError::Exists(_))),
    )?;
    let view = |generation| Ok::<_, Wrong>(store.fetch_bucket(BUCKET, generation)?.bucket_key);
    same("generation 2", &view(2)?, &Some(b"b0-2".to_vec()))?;
    same("generation 3", &view(3)?, &None)?;
    same("all", &store.bucket_keys(None, 9)?, &rows.to_vec())?;
    same(
        "first page",
        &store.bucket_keys(None, 2)?,
        &rows[..2].to_vec(),
    )?;
    same(
        "second page",
        &store.bucket_keys(Some((BUCKET, 2)), 2)?,
        &rows[2..].to_vec(),
    )?;
    same(
        "last page",
        &store.bucket_keys(Some((OTHER, 7)), 2)?,
        &Vec::new(),
    )?;
    let stale = store.replace_bucket_key(BUCKET, 1, b"not this", b"new");
    holds(
        "not the expected bytes",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    let missing = store.replace_bucket_key(BUCKET, 9, b"", b"new");
    holds(
        "nothing to replace",
        matches!(missing, Err(StoreError::NotFound(_))),
    )?;
    store.replace_bucket_key(BUCKET, 1, b"b0-1", b"new")?;
    store.replace_bucket_key(BUCKET, 1, b"b0-1", b"new")?;
    same("replaced", &view(1)?, &Some(b"new".to_vec()))?;
    drop(store);
    same(
        "later",
        &open()?.fetch_bucket(BUCKET, 1)?.bucket_key,
        &Some(b"new".to_vec()),
    )
}

fn joined(open: &Open) -> Verdict {
    let store = open()?;
    store.insert_bucket_key(BUCKET, 1, b"one")?;
    store.insert_bucket_key(BUCKET, 2, b"two")?;
    store.insert_bucket_key(OTHER, 1, b"other")?;
    store.insert(record(1))?;
    let NewKeyRecord {
        instance,
        record: old,
        ..
    } = record(1);
    same(
        "its bucket key",
        &store.fetch(instance)?.bucket_key,
        &Some(b"one".to_vec()),
    )?;
    store.replace_bucket_key(BUCKET, 1, b"one", b"one, disabled")?;
    same(
        "as it is now",
        &store.fetch(instance)?.bucket_key,
        &Some(b"one, disabled".to_vec()),
    )?;
    store.replace(instance, &old, 2, b"new")?;
    same(
        "after a rewrap",
        &store.fetch(instance)?.bucket_key,
        &Some(b"two".to_vec()),
    )
}

fn bucket_shredded(open: &Open) -> Verdict {
    let store = open()?;
    for (bucket, generation) in [(BUCKET, 1), (BUCKET, 2), (OTHER, 1)] {
        store.insert_bucket_key(bucket, generation, b"key")?;
    }
    store.shred_bucket(BUCKET)?;
    store.shred_bucket(BUCKET)?;
    drop(store);
    let store = open()?;
    let left = vec![(OTHER, 1, b"key".to_vec())];
    same("left", &store.bucket_keys(None, 9)?, &left)?;
    same(
        "tombstone",
        &store.fetch_bucket(BUCKET, 1)?.tombstone,
        &true,
    )?;
    same(
        "no tombstone",
        &store.fetch_bucket(OTHER, 1)?.tombstone,
        &false,
    )?;
    let again = store.insert_bucket_key(BUCKET, 3, b"key");
    holds("never again", matches!(again, Err(StoreError::Exists(_))))
}

fn masters(open: &Open) -> Verdict {
    let store = open()?;
    let row = |root, version, state: &[u8]| MasterRow {
        root: RootId([root; 16]),
        version,
        state: state.to_vec(),
    };
    let rows = [
        row(1, 1, b"unwrap"),
        row(1, 2, b"active"),
        row(2, 1, b"active"),
    ];
    for new in rows.iter().rev() {
        store.put_master(None, new.clone())?;
        store.put_master(None, new.clone())?;
    }
    let next = row(1, 1, b"disabled");
    let stale = store.put_master(None, next.clone());
    holds("there is one", matches!(stale, Err(StoreError::Stale(_))))?;
    let stale = store.put_master(Some(&row(1, 1, b"active")), next.clone());
    holds(
        "not the expected state",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    store.put_master(Some(&rows[0]), next.clone())?;
    drop(store);
    let store = open()?;
    let wanted = vec![next, rows[1].clone(), rows[2].clone()];
    same(
        "in a view",
        &store.fetch(record(1).instance)?.masters,
        &wanted,
    )?;
    same(
        "in a bucket's view",
        &store.fetch_bucket(BUCKET, 1)?.masters,
        &wanted,
    )
}

fn scans(open: &Open) -> Verdict {
    let store = open()?;
    let mut rows = Vec::new();
    for number in 0..30 {
        let new = NewKeyRecord {
            bucket: [BUCKET, OTHER][usize::from(number % 2)],
            generation: u32::from(number % 3),
            incarnation: u64::from(number % 5),
            ..record(number)
        };
        let NewKeyRecord {
            instance,
            bucket,
            generation,
            incarnation,
            ..
        } = new;
        rows.push(KeyRow {
            instance,
            bucket,
            generation,
            incarnation,
        });
        store.insert(new)?;
    }
    rows.sort_unstable_by_key(|row| row.instance);
    let scan = |by, wanted: Vec<KeyRow>| {
        let mut seen = Vec::new();
        loop {
            let page = store.scan(by, seen.last().map(|row: &KeyRow| row.instance), 4)?;
            holds("a page is not longer than asked for", page.len() <= 4)?;
            if page.is_empty() {
                return same("scan", &seen, &wanted);
            }
            seen.extend(page);
        }
    };
    scan(ScanBy::All, rows.clone())?;
    let of = |wanted: fn(&KeyRow) -> bool| rows.iter().copied().filter(wanted).collect();
    scan(ScanBy::Incarnation(2), of(|row| row.incarnation == 2))?;
    scan(ScanBy::Incarnation(99), Vec::new())?;
    scan(
        ScanBy::Generation(OTHER, 1),
        of(|row| row.bucket == OTHER && row.generation == 1),
    )
}

fn together(open: &Open) -> Verdict {
    let store = open()?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    (0..10).try_for_each(|number| store.insert(record(writer * 10 + number)))
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
    drop(store);
    same("records", &open()?.scan(ScanBy::All, None, 999)?.len(), &80)
}

fn record(number: u8) -> NewKeyRecord {
    NewKeyRecord {
        // Not in the order of the numbers.
        instance: InstanceId([number.reverse_bits(); 16]),
        bucket: BUCKET,
        generation: 1,
        incarnation: 1,
        record: (0..148).map(|position| position ^ number).collect(),
    }
}

fn absent() -> KeyView {
    KeyView {
        record: None,
        tombstone: false,
        bucket_key: None,
        masters: Vec::new(),
    }
}

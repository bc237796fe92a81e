//! The suite of blob stores.

use std::thread;
use std::time::Duration;

use super::{Check, Factory, Opener, Report, Verdict, Wrong, holds, run, same};
use crate::id::BlobId;
use crate::store::{BlobRef, BlobStore, Locator, StoreError, shard_of};

/// Runs the suite of blob stores; each check has `deadline` to answer.
#[must_use]
pub fn blob_store(factory: &Factory<dyn BlobStore>, deadline: Duration) -> Report {
    const CHECKS: &[Check<dyn BlobStore>] = &[
        (
            "a finished blob reads back, also from the store opened again",
            reads_back,
        ),
        ("a read at any position gives what stands there", positions),
        ("a blob may be empty", empty),
        ("blobs are told apart", told_apart),
        ("an id is taken once", taken_once),
        ("a writer dropped unfinished leaves nothing", dropped),
        ("removal is idempotent and says what it did", removed),
        ("a reader outlives the removal of its blob", outlives),
        ("a list shows the blobs of its shard, each once", listed),
        (
            "a blob of another length is damage, a missing one is not found",
            not_as_named,
        ),
        ("writers do not disturb each other", together),
    ];
    run(CHECKS, factory, deadline)
}

type Open = Opener<dyn BlobStore>;

fn reads_back(open: &Open) -> Verdict {
    let id = BlobId::random()?;
    let store = open()?;
    let bytes = put(&*store, id, 300_000, 70_000)?;
    same("bytes", &get(&*store, id, bytes.len())?, &bytes)?;
    drop(store);
    same(
        "bytes after opening again",
        &get(&*open()?, id, bytes.len())?,
        &bytes,
    )
}

fn positions(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    let bytes = put(&*store, id, 10_000, 999)?;
    let reader = store.open(&named(id, bytes.len()))?;
    same("length", &reader.len(), &10_000)?;
    for (offset, length) in [
        (0, 1),
        (1, 9_999),
        (5_000, 100),
        (9_999, 1),
        (9_990, 100),
        (10_000, 5),
        (99_999, 5),
    ] {
        let mut buf = vec![0xee; length];
        let count = reader.read_at(offset as u64, &mut buf)?;
        let wanted: Vec<u8> = bytes.iter().skip(offset).take(length).copied().collect();
        same("count", &count, &wanted.len())?;
        same("bytes", &buf.get(..count), &Some(&wanted[..]))?;
    }
    Ok(())
}

fn empty(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    same("length", &store.create(id)?.finish()?, &0)?;
    same("bytes", &get(&*store, id, 0)?, &Vec::new())
}

fn told_apart(open: &Open) -> Verdict {
    let store = open()?;
    let ids = (0..9)
        .map(|_| BlobId::random())
        .collect::<Result<Vec<_>, _>>()?;
    for id in &ids {
        put(&*store, *id, 500, 100)?;
    }
    ids.iter()
        .try_for_each(|id| same("bytes", &get(&*store, *id, 500)?, &content(*id, 500)))
}

fn taken_once(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    let bytes = put(&*store, id, 100, 100)?;
    holds(
        "a second create is refused",
        matches!(store.create(id), Err(StoreError::Exists(_))),
    )?;
    same("bytes of the first", &get(&*store, id, 100)?, &bytes)
}

fn dropped(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    let mut writer = store.create(id)?;
    writer.append(b"never finished")?;
    drop(writer);
    same("list", &store.list(shard_of(id))?, &Vec::new())?;
    put(&*store, id, 10, 10).map(|_| ())
}

fn removed(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    same("removal of nothing", &store.remove(id)?, &false)?;
    let bytes = put(&*store, id, 10, 10)?;
    same("before the removal", &get(&*store, id, 10)?, &bytes)?;
    same("removal", &store.remove(id)?, &true)?;
    same("removal again", &store.remove(id)?, &false)?;
    not_found(&*store, id)?;
    drop(store);
    not_found(&*open()?, id)
}

fn outlives(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    let bytes = put(&*store, id, 1000, 300)?;
    let reader = store.open(&named(id, 1000))?;
    store.remove(id)?;
    let mut buf = vec![0; 1000];
    same("count", &reader.read_at(0, &mut buf)?, &1000)?;
    same("bytes", &buf, &bytes)
}

fn listed(open: &Open) -> Verdict {
    let store = open()?;
    let mut ids = Vec::new();
    for number in 0..20 {
        let mut id = BlobId::random()?;
        id.0[8] = [7, 8][number % 2];
        put(&*store, id, number, 5)?;
        ids.push(id);
    }
    ids.sort_unstable();
    for shard in [7, 8, 9] {
        let wanted = ids
            .iter()
            .copied()
            .filter(|id| shard_of(*id) == shard)
            .collect();
        same("list", &store.list(shard)?, &wanted)?;
    }
    Ok(())
}

fn not_as_named(open: &Open) -> Verdict {
    let store = open()?;
    let id = BlobId::random()?;
    not_found(&*store, id)?;
    put(&*store, id, 100, 100)?;
    let short = store.open(&named(id, 101)).err();
    holds(
        "one byte short is damage",
        matches!(short, Some(StoreError::Damaged(_))),
    )?;
    let archived = BlobRef {
        locator: Locator::Archive,
        ..named(id, 100)
    };
    same(
        "an archive is such a store",
        &store.open(&archived)?.len(),
        &100,
    )?;
    let inline = BlobRef {
        locator: Locator::Inline,
        ..named(id, 100)
    };
    let inline = store.open(&inline).err();
    holds(
        "a locator of the catalog is unsupported",
        matches!(inline, Some(StoreError::Unsupported(_))),
    )
}

fn together(open: &Open) -> Verdict {
    let store = open()?;
    let ids = (0..16)
        .map(|_| BlobId::random())
        .collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| {
        let writers: Vec<_> = ids
            .iter()
            .map(|id| scope.spawn(|| put(&*store, *id, 50_000, 1_000)))
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer
                .join()
                .map_err(|_| Wrong("a writer panicked".to_owned()))?
                .map(|_| ())
        })
    })?;
    ids.iter()
        .try_for_each(|id| same("bytes", &get(&*store, *id, 50_000)?, &content(*id, 50_000)))
}

fn put(store: &dyn BlobStore, id: BlobId, length: usize, piece: usize) -> Result<Vec<u8>, Wrong> {
    let bytes = content(id, length);
    let mut writer = store.create(id)?;
    for piece in bytes.chunks(piece) {
        writer.append(piece)?;
    }
    same("length", &writer.finish()?, &(length as u64))?;
    Ok(bytes)
}

fn get(store: &dyn BlobStore, id: BlobId, length: usize) -> Result<Vec<u8>, Wrong> {
    let reader = store.open(&named(id, length))?;
    let mut bytes = vec![0; length + 1];
    let count = reader.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn not_found(store: &dyn BlobStore, id: BlobId) -> Verdict {
    let answer = store.open(&named(id, 10)).err();
    holds(
        "what is not there is not found",
        matches!(answer, Some(StoreError::NotFound(_))),
    )
}

fn named(id: BlobId, length: usize) -> BlobRef {
    BlobRef {
        part: 1,
        id,
        locator: Locator::File,
        sealed_len: length as u64,
    }
}

/// Bytes of an id's own; the period, a prime, keeps swapped pieces apart.
fn content(id: BlobId, length: usize) -> Vec<u8> {
    let periods = id.0.iter().cycle().zip((0..251u8).cycle());
    periods
        .map(|(byte, position)| byte ^ position)
        .take(length)
        .collect()
}

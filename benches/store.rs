//! What the embedded stores do in a second. Needs the feature `conformance`, for disks that are slower than this one.
//!
//! Commits wait for the disk, so these are runs by the clock and not a matter of nanoseconds.

use std::error::Error;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::{
    BlobRef, BlobStore as _, Bucket, Catalog as _, Commit, FileBlobs, GenerationState,
    KeyStore as _, ListQuery, Locator, NewKeyRecord, ObjectRow, Precondition, SqliteCatalog,
    SqliteKeys, SqliteOptions, SyncMeter, Versioning,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BUCKET: BucketId = BucketId([1; 16]);
const RUN: Duration = Duration::from_secs(3);

fn main() -> Outcome<()> {
    for cost in [Duration::ZERO, Duration::from_millis(2)] {
        println!("with {cost:?} added to each sync:");
        for threads in [1, 32] {
            let dir = tempfile::tempdir()?;
            let meter = Arc::new(SyncMeter::default());
            let options = SqliteOptions {
                meter: Arc::clone(&meter),
                ..SqliteOptions::default()
            };
            let catalog = SqliteCatalog::open_with(&dir.path().join("catalog.db"), &options)?;
            let incarnation = prepare(&catalog)?;
            meter.set_cost(cost);
            run("catalog commit, 4 KiB inline", threads, &meter, |number| {
                let key = format!("{number:09}");
                catalog.commit(commit(incarnation, key.as_bytes(), 4096)?)?;
                Ok(())
            })?;

            let meter = Arc::new(SyncMeter::default());
            let options = SqliteOptions {
                meter: Arc::clone(&meter),
                ..SqliteOptions::default()
            };
            let keys = SqliteKeys::open_with(&dir.path().join("keys.db"), &options)?;
            meter.set_cost(cost);
            run("key record insert", threads, &meter, |_| {
                keys.insert(record(InstanceId::random()?))?;
                Ok(())
            })?;
            run("key record insert and shred", threads, &meter, |_| {
                let instance = InstanceId::random()?;
                keys.insert(record(instance))?;
                Ok(keys.shred(&[instance])?)
            })?;

            let meter = Arc::new(SyncMeter::default());
            let blobs = FileBlobs::open_with(&dir.path().join("blobs"), Arc::clone(&meter))?;
            meter.set_cost(cost);
            run("blob of 64 KiB", threads, &meter, |_| {
                let mut writer = blobs.create(BlobId::random()?)?;
                writer.append(&[7; 65_536])?;
                writer.finish()?;
                Ok(())
            })?;
        }
    }
    listings()
}

/// Calls `work` from some threads for some seconds.
fn run(
    what: &str,
    threads: usize,
    meter: &SyncMeter,
    work: impl Fn(u64) -> Outcome<()> + Sync,
) -> Outcome<()> {
    let (count, syncs, began) = (AtomicU64::new(0), meter.count(), Instant::now());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Outcome<()> {
                    while began.elapsed() < RUN {
                        work(count.fetch_add(1, Relaxed))?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or(Err("panic".into())))
    })?;
    let count = f64::from(u32::try_from(count.into_inner())?);
    let syncs = f64::from(u32::try_from(meter.count() - syncs)?);
    let rate = count / began.elapsed().as_secs_f64();
    println!(
        "  {what:<30} {threads:>2} threads {rate:>8.0} /s, {:.2} syncs each",
        syncs / count
    );
    Ok(())
}

/// A page of 1,000 keys at the start of a bucket of 2,000 keys, and of one of 100,000.
fn listings() -> Outcome<()> {
    for keys in [2_000, 100_000] {
        let dir = tempfile::tempdir()?;
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db"))?;
        let incarnation = prepare(&catalog)?;
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..128)
                .map(|_| {
                    scope.spawn(|| -> Outcome<()> {
                        loop {
                            let number = next.fetch_add(1, Relaxed);
                            if number >= keys {
                                return Ok(());
                            }
                            let key = format!("logs/{number:09}/entry");
                            catalog.commit(commit(incarnation, key.as_bytes(), 0)?)?;
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or(Err("panic".into())))
        })?;
        let query = ListQuery {
            bucket: BUCKET,
            prefix: b"logs/",
            from: Bound::Unbounded,
            delimiter: None,
            limit: 1000,
        };
        for (what, delimiter) in [("1,000 keys", None), ("1,000 prefixes", Some(&b"/"[..]))] {
            let began = Instant::now();
            for _ in 0..100 {
                assert_eq!(
                    catalog.list(&ListQuery { delimiter, ..query })?.items.len(),
                    1000
                );
            }
            println!("list {what} of {keys}: {:?}", began.elapsed() / 100);
        }
    }
    Ok(())
}

fn prepare(catalog: &SqliteCatalog) -> Outcome<u64> {
    let bucket = Bucket {
        id: BUCKET,
        name: "bucket".to_owned(),
        owner: String::new(),
        created_ms: 0,
        generation: 1,
        versioning: Versioning::Off,
    };
    catalog.create_bucket(
        bucket,
        GenerationState {
            generation: 1,
            rev: 1,
            state: 1,
        },
    )?;
    Ok(catalog.register("bench", 0, u64::MAX)?)
}

fn commit(incarnation: u64, key: &[u8], inline: u16) -> Outcome<Commit> {
    let mut id = BlobId::random()?;
    id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
    let locator = if inline > 0 {
        Locator::Inline
    } else {
        Locator::File
    };
    let instance = InstanceId::random()?;
    let bytes = vec![7; usize::from(inline)];
    Ok(Commit {
        bucket: BUCKET,
        incarnation,
        row: ObjectRow {
            key: key.to_vec(),
            instance,
            version: VersionId(instance.0),
            null: true,
            mode: 1,
            suite: 1,
            length: u64::from(inline),
            modified_ms: 0,
            generation: 1,
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            manifest: vec![7; 120],
            head: vec![7; 100],
            attrs: vec![7; 160],
            facts: vec![7; 8],
            blobs: vec![BlobRef {
                part: 1,
                id,
                locator,
                sealed_len: u64::from(inline),
            }],
            restored: Vec::new(),
        },
        inline: if inline > 0 {
            vec![(id, bytes)]
        } else {
            Vec::new()
        },
        part_attrs: Vec::new(),
        completes: None,
        precondition: Precondition::None,
        now_ms: 0,
    })
}

fn record(instance: InstanceId) -> NewKeyRecord {
    NewKeyRecord {
        instance,
        bucket: BUCKET,
        generation: 1,
        incarnation: 1,
        record: vec![7; 148],
    }
}

//! The embedded stores: what files and SQLite add to the contract of the traits.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::{
    BlobRef, BlobStore as _, Bucket, Catalog as _, Commit, FileBlobs, GenerationState,
    KeyStore as _, Locator, NewKeyRecord, ObjectRow, Precondition, ScanBy, SqliteCatalog,
    SqliteKeys, SqliteOptions, StoreError, SyncMeter, Versioning,
};
use tempfile::tempdir;

fn record(number: u8) -> NewKeyRecord {
    NewKeyRecord {
        instance: InstanceId([number; 16]),
        bucket: BucketId([0xbb; 16]),
        generation: 1,
        incarnation: 1,
        record: format!("record {number} of the key store").into_bytes(),
    }
}

fn bucket(catalog: &SqliteCatalog) -> (BucketId, u64) {
    let id = BucketId([0xbb; 16]);
    let state = GenerationState {
        generation: 1,
        rev: 1,
        state: 1,
    };
    let bucket = Bucket {
        id,
        name: "bucket".to_owned(),
        owner: "owner".to_owned(),
        created_ms: 1,
        generation: 1,
        versioning: Versioning::Off,
    };
    catalog.create_bucket(bucket, state).unwrap();
    (id, catalog.register("node", 0, 1_000_000).unwrap())
}

fn commit(bucket: BucketId, incarnation: u64, key: &[u8]) -> Commit {
    let instance = InstanceId::random().unwrap();
    Commit {
        bucket,
        incarnation,
        row: ObjectRow {
            key: key.to_vec(),
            instance,
            version: VersionId(instance.0),
            null: true,
            mode: 1,
            suite: 1,
            length: 5,
            modified_ms: 7,
            generation: 1,
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            manifest: vec![1; 100],
            head: vec![2; 100],
            attrs: vec![3; 80],
            facts: vec![4; 8],
            blobs: vec![BlobRef {
                part: 1,
                id: blob_id(incarnation),
                locator: Locator::File,
                sealed_len: 200,
            }],
            restored: Vec::new(),
        },
        inline: Vec::new(),
        part_attrs: Vec::new(),
        completes: None,
        precondition: Precondition::None,
        now_ms: 9,
    }
}

fn blob_id(incarnation: u64) -> BlobId {
    let mut id = BlobId::random().unwrap();
    id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
    id
}

#[test]
fn a_file_has_one_writer_and_says_who() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("deep/keys.db");
    let _held = SqliteKeys::open(&path).unwrap();
    let refused = SqliteKeys::open(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(refused.to_string().contains("keys.db.lock"), "{refused}");
    let beside = SqliteOptions {
        read_only: true,
        ..SqliteOptions::default()
    };
    let beside = SqliteKeys::open_with(&path, &beside).unwrap();
    assert!(beside.identity().is_ok());
    assert!(matches!(
        beside.advance_epoch(),
        Err(StoreError::Unavailable(_))
    ));
}

#[test]
fn a_file_of_another_kind_or_of_a_newer_release_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store.db");
    drop(SqliteKeys::open(&path).unwrap());
    let other = SqliteCatalog::open(&path).unwrap_err();
    assert!(matches!(other, StoreError::Unsupported(_)), "{other:?}");
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let newer = SqliteKeys::open(&path).unwrap_err().to_string();
    assert!(
        newer.contains("version 99") && newer.contains("store.db"),
        "{newer}"
    );
    std::fs::write(
        dir.path().join("text.db"),
        "not a database, but long enough to look at".repeat(99),
    )
    .unwrap();
    let text = SqliteKeys::open(&dir.path().join("text.db")).unwrap_err();
    assert!(matches!(text, StoreError::Damaged(_)), "{text:?}");
}

/// Every bit of every stored value, each flipped by itself: never another answer, always `Damaged`.
#[test]
fn a_flipped_bit_in_any_column_of_a_key_row_is_damage() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let keys = SqliteKeys::open(&path).unwrap();
    for number in [1, 3, 5] {
        keys.insert(record(number)).unwrap();
    }
    let raw = Connection::open(&path).unwrap();
    let mut flips = 0;
    for (column, bits) in [
        ("instance", 128),
        ("bucket", 128),
        ("record", 8 * record(3).record.len()),
        ("generation", 32),
        ("incarnation", 62),
        ("sum", 62),
    ] {
        for bit in 0..bits {
            let value: rusqlite::types::Value = raw
                .query_row(
                    &format!("SELECT {column} FROM records WHERE instance = ?1"),
                    [[3u8; 16]],
                    |row| row.get(0),
                )
                .unwrap();
            let flipped = match value {
                rusqlite::types::Value::Blob(mut bytes) => {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    rusqlite::types::Value::Blob(bytes)
                }
                rusqlite::types::Value::Integer(number) => {
                    rusqlite::types::Value::Integer(number ^ (1 << bit))
                }
                other => panic!("{other:?}"),
            };
            let at = if let ("instance", rusqlite::types::Value::Blob(bytes)) = (column, &flipped) {
                bytes.clone()
            } else {
                vec![3u8; 16]
            };
            raw.execute(
                &format!("UPDATE records SET {column} = ?1 WHERE instance = ?2"),
                (&flipped, [3u8; 16]),
            )
            .unwrap();
            // A key that was moved by SQLite itself stands where it sorts, so it is met under its new name.
            let met = InstanceId(at.clone().try_into().unwrap());
            let seen = keys.fetch(met);
            assert!(
                matches!(seen, Err(StoreError::Damaged(_))),
                "{column} bit {bit}: {seen:?}"
            );
            assert!(matches!(
                keys.scan(ScanBy::All, None, 9),
                Err(StoreError::Damaged(_))
            ));
            raw.execute("DELETE FROM records WHERE instance = ?1", [at])
                .unwrap();
            keys.insert(record(3)).unwrap();
            flips += 1;
        }
    }
    assert!(flips > 500);
}

/// Flips on the disk, under SQLite, in the page that holds the rows: every byte of its header and its cell pointers,
/// every fifth of the rest.
#[test]
fn a_flipped_bit_on_the_disk_never_changes_a_record_and_hides_none_from_the_check() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let keys = SqliteKeys::open(&path).unwrap();
    for number in 1..=20 {
        keys.insert(record(number)).unwrap();
    }
    drop(keys);
    let good = std::fs::read(&path).unwrap();
    let needle = record(10).record;
    let at = good
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap();
    let page = at / 4096 * 4096;
    // Opened for reading only, for the sake of speed: opening to write syncs.
    let beside = SqliteOptions {
        read_only: true,
        readers: 1,
        ..SqliteOptions::default()
    };
    let (mut damaged, mut hidden) = (0, 0);
    for byte in (page..page + 4096).filter(|byte| byte % 4096 < 64 || byte % 5 == 0) {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        std::fs::write(&path, &bad).unwrap();
        let answer = SqliteKeys::open_with(&path, &beside).and_then(|keys| {
            let fetch = |number| keys.fetch(InstanceId([number; 16])).map(|view| view.record);
            let records = (1..=20).map(fetch).collect::<Result<Vec<_>, _>>()?;
            Ok((records, keys.check()))
        });
        match answer {
            Ok((records, check)) => {
                let missing = records.iter().filter(|seen| seen.is_none()).count();
                for (seen, number) in records.into_iter().zip(1..) {
                    assert!(
                        seen.is_none_or(|seen| seen == record(number).record),
                        "byte {byte}"
                    );
                }
                if missing > 0 {
                    assert!(
                        matches!(check, Err(StoreError::Damaged(_))),
                        "byte {byte}: {check:?}"
                    );
                    hidden += 1;
                }
            }
            Err(StoreError::Damaged(_)) => damaged += 1,
            Err(other) => panic!("byte {byte}: {other:?}"),
        }
    }
    // The rows take more than half of the page; only its header can hide them.
    assert!(
        damaged > 300 && hidden < 50,
        "{damaged} damaged, {hidden} hidden"
    );
}

#[test]
fn a_shredded_record_is_in_no_file_of_the_store() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let keys = SqliteKeys::open(&path).unwrap();
    let found = |needle: &[u8]| {
        std::fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    for number in 1..=9 {
        keys.insert(record(number)).unwrap();
    }
    assert!(found(&record(4).record));
    keys.shred(&[InstanceId([4; 16]), InstanceId([77; 16])])
        .unwrap();
    assert!(!found(&record(4).record));
    assert!(found(&record(5).record));
    let gone = keys.fetch(InstanceId([4; 16])).unwrap();
    assert!(gone.tombstone && gone.record.is_none());
    assert!(matches!(keys.insert(record(4)), Err(StoreError::Exists(_))));
    assert!(matches!(
        keys.insert(record(77)),
        Err(StoreError::Exists(_))
    ));
}

#[test]
fn shredding_goes_on_beside_readers_that_never_pause() {
    let dir = tempdir().unwrap();
    let keys = Arc::new(SqliteKeys::open(&dir.path().join("keys.db")).unwrap());
    for number in 0..100 {
        keys.insert(record(number)).unwrap();
    }
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (keys, done) = (Arc::clone(&keys), Arc::clone(&done));
            thread::spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    keys.scan(ScanBy::All, None, 100).unwrap();
                }
            })
        })
        .collect();
    for number in 0..100 {
        keys.shred(&[InstanceId([number; 16])]).unwrap();
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    assert!(keys.scan(ScanBy::All, None, 9).unwrap().is_empty());
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_a_restart_and_reads_go_on() {
    let dir = tempdir().unwrap();
    let meter = Arc::new(SyncMeter::default());
    let options = SqliteOptions {
        meter: Arc::clone(&meter),
        ..SqliteOptions::default()
    };
    let path = dir.path().join("keys.db");
    let keys = SqliteKeys::open_with(&path, &options).unwrap();
    keys.insert(record(1)).unwrap();
    meter.set_failing(true);
    assert!(matches!(
        keys.insert(record(2)),
        Err(StoreError::OutcomeUnknown(_))
    ));
    meter.set_failing(false);
    assert!(matches!(
        keys.insert(record(3)),
        Err(StoreError::WritePathEnded(_))
    ));
    assert_eq!(
        keys.fetch(InstanceId([1; 16])).unwrap().record,
        Some(record(1).record)
    );
    drop(keys);
    let keys = SqliteKeys::open(&path).unwrap();
    keys.insert(record(3)).unwrap();
    assert_eq!(
        keys.fetch(InstanceId([1; 16])).unwrap().record,
        Some(record(1).record)
    );
}

#[test]
fn one_refused_request_of_a_group_takes_no_other_with_it_and_the_group_shares_its_sync() {
    let dir = tempdir().unwrap();
    let meter = Arc::new(SyncMeter::default());
    let options = SqliteOptions {
        meter: Arc::clone(&meter),
        ..SqliteOptions::default()
    };
    let keys = Arc::new(SqliteKeys::open_with(&dir.path().join("keys.db"), &options).unwrap());
    keys.insert(record(200)).unwrap();
    meter.set_cost(Duration::from_millis(20));
    let before = meter.count();
    let start = Arc::new(Barrier::new(32));
    let threads: Vec<_> = (0..32)
        .map(|number| {
            let (keys, start) = (Arc::clone(&keys), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                if number % 2 == 0 {
                    keys.insert(record(number)).unwrap();
                } else {
                    let other = NewKeyRecord {
                        record: vec![number],
                        ..record(200)
                    };
                    assert!(matches!(keys.insert(other), Err(StoreError::Exists(_))));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let syncs = meter.count() - before;
    assert!(syncs <= 8, "{syncs} commits for 16 records");
    for number in (0..32).step_by(2) {
        assert!(
            keys.fetch(InstanceId([number; 16]))
                .unwrap()
                .record
                .is_some()
        );
    }
}

#[test]
fn a_manifest_may_be_large() {
    let dir = tempdir().unwrap();
    let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).unwrap();
    let (bucket, incarnation) = bucket(&catalog);
    let mut large = commit(bucket, incarnation, b"big");
    large.row.manifest = vec![1; 20 << 20];
    catalog.commit(large.clone()).unwrap();
    let view = catalog.object(bucket, b"big").unwrap().unwrap();
    assert_eq!(view.row, large.row);
}

#[test]
fn blobs_are_files_and_an_unfinished_one_leaves_nothing() {
    let dir = tempdir().unwrap();
    let blobs = FileBlobs::open(&dir.path().join("a/b/blobs")).unwrap();
    let id = BlobId([0x3f; 16]);
    let mut writer = blobs.create(id).unwrap();
    writer.append(b"half").unwrap();
    assert_eq!(blobs.list(0x3f).unwrap(), [id]);
    drop(writer);
    assert!(blobs.list(0x3f).unwrap().is_empty());
    let mut writer = blobs.create(id).unwrap();
    writer.append(b"whole").unwrap();
    assert_eq!(writer.finish().unwrap(), 5);
    let path = dir.path().join("a/b/blobs/3f").join("3f".repeat(16));
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    let short = BlobRef {
        part: 1,
        id,
        locator: Locator::File,
        sealed_len: 6,
    };
    assert!(matches!(blobs.open(&short), Err(StoreError::Damaged(_))));
    std::fs::write(dir.path().join("a/b/blobs/3f/notes.txt"), "not ours").unwrap();
    assert_eq!(blobs.list(0x3f).unwrap(), [id]);
}

#[test]
fn a_blob_whose_sync_failed_is_given_up() {
    let dir = tempdir().unwrap();
    let meter = Arc::new(SyncMeter::default());
    let blobs = FileBlobs::open_with(dir.path(), Arc::clone(&meter)).unwrap();
    let id = BlobId([7; 16]);
    let mut writer = blobs.create(id).unwrap();
    writer.append(b"bytes").unwrap();
    meter.set_failing(true);
    assert!(matches!(
        writer.finish(),
        Err(StoreError::WritePathEnded(_))
    ));
    assert!(blobs.list(7).unwrap().is_empty());
}

#[test]
fn writers_that_finish_together_share_the_syncs_of_their_directory() {
    let dir = tempdir().unwrap();
    let meter = Arc::new(SyncMeter::default());
    let blobs = Arc::new(FileBlobs::open_with(dir.path(), Arc::clone(&meter)).unwrap());
    meter.set_cost(Duration::from_millis(20));
    let start = Arc::new(Barrier::new(16));
    let began = Instant::now();
    let threads: Vec<_> = (0..16u8)
        .map(|number| {
            let (blobs, start) = (Arc::clone(&blobs), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let mut writer = blobs
                    .create(BlobId([
                        number, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
                    ]))
                    .unwrap();
                writer.append(&[number]).unwrap();
                writer.finish().unwrap();
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let syncs = meter.count();
    assert!(
        syncs <= 16 + 8,
        "{syncs} syncs for 16 blobs in {:?}",
        began.elapsed()
    );
    assert_eq!(blobs.list(9).unwrap().len(), 16);
}

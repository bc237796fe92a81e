//! Key records in a SQLite file.
//!
//! Deleted bytes are overwritten (`secure_delete`), and a shred empties the log before it returns.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::row::{Fields, Table, blob, int};
use super::{Database, Schema, SqliteOptions};
use crate::id::{BucketId, InstanceId, RootId};
use crate::store::{
    KeyRow, KeyStore, KeyView, MasterRow, NewKeyRecord, ScanBy, StoreError, StoreIdentity,
};

/// Key records in a SQLite file.
#[derive(Debug)]
pub struct SqliteKeys(Database);

impl SqliteKeys {
    /// Opens the store in the file `path`, or makes it. Locks `path` with `.lock` added.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while another process has it open to write; [`StoreError::Unsupported`] for a
    /// file of a newer release or of another kind; [`StoreError::Damaged`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &SqliteOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`SqliteKeys::open`].
    pub fn open_with(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        Database::open(path, options, &SCHEMA).map(Self)
    }
}

const SCHEMA: Schema = Schema {
    application: 0x5352_4b31, // "SRK1"
    version: 1,
    name: "Strongroom key store",
    create: "
        CREATE TABLE identity (one INTEGER PRIMARY KEY, id BLOB NOT NULL, epoch INTEGER NOT NULL, sum INTEGER NOT NULL);
        CREATE TABLE records (
            instance BLOB PRIMARY KEY, bucket BLOB NOT NULL, generation INTEGER NOT NULL,
            incarnation INTEGER NOT NULL, record BLOB NOT NULL, sum INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX records_by_incarnation ON records (incarnation, instance);
        CREATE INDEX records_by_generation ON records (bucket, generation, instance);
        -- Ids of instances and of buckets; both are random and of the same size.
        CREATE TABLE tombstones (id BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE bucket_keys (
            bucket BLOB, generation INTEGER, record BLOB NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY (bucket, generation)
        ) WITHOUT ROWID;
        CREATE TABLE masters (
            root BLOB, version INTEGER, state BLOB NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY (root, version)
        ) WITHOUT ROWID;
    ",
    secure_delete: true,
    tables: &[&IDENTITY, &RECORDS, &TOMBSTONES, &BUCKET_KEYS, &MASTERS],
    first: |db| {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        put_identity(db, StoreIdentity { id, epoch: 0 })
    },
};

const IDENTITY: Table = Table::new("identity", 1, &["one", "id", "epoch"]);
const RECORDS: Table = Table::new(
    "records",
    1,
    &["instance", "bucket", "generation", "incarnation", "record"],
);
const TOMBSTONES: Table = Table::new("tombstones", 1, &["id"]);
const BUCKET_KEYS: Table = Table::new("bucket_keys", 2, &["bucket", "generation", "record"]);
const MASTERS: Table = Table::new("masters", 2, &["root", "version", "state"]);

impl KeyStore for SqliteKeys {
    fn check(&self) -> Result<(), StoreError> {
        self.0.check(&SCHEMA)
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.0.read(identity)
    }

    fn advance_epoch(&self) -> Result<u64, StoreError> {
        self.0.write(|db| {
            let StoreIdentity { id, epoch } = identity(db)?;
            put_identity(
                db,
                StoreIdentity {
                    id,
                    epoch: epoch + 1,
                },
            )?;
            Ok(epoch + 1)
        })
    }

    fn insert(&self, record: NewKeyRecord) -> Result<(), StoreError> {
        self.0.write(move |db| {
            let taken = |why| {
                Err(StoreError::Exists(format!(
                    "instance {} {why}",
                    record.instance
                )))
            };
            if TOMBSTONES.has(db, &[blob(&record.instance.0)])? {
                return taken("was shredded");
            }
            match record_of(db, record.instance)? {
                Some(kept) if kept == record => Ok(()),
                Some(_) => taken("has another record"),
                None => RECORDS.put(db, &values(&record)?),
            }
        })
    }

    fn fetch(&self, instance: InstanceId) -> Result<KeyView, StoreError> {
        self.0.read(|db| {
            let record = record_of(db, instance)?;
            let (bucket_key, tombstone) = match &record {
                Some(kept) => (bucket_key(db, kept.bucket, kept.generation)?, false),
                None => (None, TOMBSTONES.has(db, &[blob(&instance.0)])?),
            };
            Ok(KeyView {
                record: record.map(|kept| kept.record),
                tombstone,
                bucket_key,
                masters: masters(db)?,
            })
        })
    }

    fn fetch_bucket(&self, bucket: BucketId, generation: u32) -> Result<KeyView, StoreError> {
        self.0.read(|db| {
            let bucket_key = bucket_key(db, bucket, generation)?;
            let tombstone = bucket_key.is_none() && TOMBSTONES.has(db, &[blob(&bucket.0)])?;
            Ok(KeyView {
                record: None,
                tombstone,
                bucket_key,
                masters: masters(db)?,
            })
        })
    }

    fn replace(
        &self,
        instance: InstanceId,
        expected: &[u8],
        generation: u32,
        new: &[u8],
    ) -> Result<(), StoreError> {
        let (expected, new) = (expected.to_vec(), new.to_vec());
        self.0.write(move |db| {
            let mut kept = record_of(db, instance)?.ok_or_else(|| {
                StoreError::NotFound(format!("key record of instance {instance}"))
            })?;
            if kept.record == new && kept.generation == generation {
                return Ok(());
            }
            if kept.record != expected {
                return Err(StoreError::Stale(format!(
                    "key record of instance {instance}"
                )));
            }
            (kept.record, kept.generation) = (new, generation);
            RECORDS.put(db, &values(&kept)?)
        })
    }

    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
        if instances.is_empty() {
            return Ok(());
        }
        let instances = instances.to_vec();
        self.0.purge(move |db| {
            for InstanceId(id) in &instances {
                RECORDS.delete(db, &[blob(id)])?;
                TOMBSTONES.add(db, &[blob(id)])?;
            }
            Ok(())
        })
    }

    fn insert_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let record = record.to_vec();
        self.0.write(move |db| {
            let taken = |why| {
                Err(StoreError::Exists(format!(
                    "bucket key {bucket}/{generation} {why}"
                )))
            };
            if TOMBSTONES.has(db, &[blob(&bucket.0)])? {
                return taken("was shredded");
            }
            match bucket_key(db, bucket, generation)? {
                Some(kept) if kept == record => Ok(()),
                Some(_) => taken("has another record"),
                None => put_bucket_key(db, bucket, generation, &record),
            }
        })
    }

    fn replace_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        expected: &[u8],
        new: &[u8],
    ) -> Result<(), StoreError> {
        let (expected, new) = (expected.to_vec(), new.to_vec());
        self.0.write(move |db| {
            let name = || format!("bucket key {bucket}/{generation}");
            let kept =
                bucket_key(db, bucket, generation)?.ok_or_else(|| StoreError::NotFound(name()))?;
            if kept == new {
                return Ok(());
            }
            if kept != expected {
                return Err(StoreError::Stale(name()));
            }
            put_bucket_key(db, bucket, generation, &new)
        })
    }

    fn bucket_keys(
        &self,
        after: Option<(BucketId, u32)>,
        limit: usize,
    ) -> Result<Vec<(BucketId, u32, Vec<u8>)>, StoreError> {
        let (bucket, generation) = match &after {
            Some((bucket, generation)) => (&bucket.0[..], i64::from(*generation)),
            None => (&[][..], 0),
        };
        self.0.read(|db| {
            BUCKET_KEYS.all(
                db,
                "WHERE (bucket, generation) > (?1, ?2) ORDER BY bucket, generation LIMIT ?3",
                (bucket, generation, page(limit)),
                |row| Ok((BucketId(row.id(0)?), row.number(1)?, row.bytes(2)?.to_vec())),
            )
        })
    }

    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
        self.0.purge(move |db| {
            db.prepare_cached("DELETE FROM bucket_keys WHERE bucket = ?1")?
                .execute([&bucket.0[..]])?;
            TOMBSTONES.add(db, &[blob(&bucket.0)])?;
            Ok(())
        })
    }

    fn put_master(&self, expected: Option<&MasterRow>, new: MasterRow) -> Result<(), StoreError> {
        let expected = expected.cloned();
        self.0.write(move |db| {
            let key = [blob(&new.root.0), ValueRef::Integer(i64::from(new.version))];
            let kept = MASTERS.get(db, &key, master)?;
            if kept.as_ref() == Some(&new) {
                return Ok(());
            }
            if kept != expected {
                return Err(StoreError::Stale(format!(
                    "master key {} version {}",
                    new.root, new.version
                )));
            }
            let [root, version] = key;
            MASTERS.put(db, &[root, version, blob(&new.state)])
        })
    }

    fn scan(
        &self,
        by: ScanBy,
        after: Option<InstanceId>,
        limit: usize,
    ) -> Result<Vec<KeyRow>, StoreError> {
        let after = after.map_or(Vec::new(), |after| after.0.to_vec());
        let limit = page(limit);
        let show = |row: &Fields<'_>| {
            let kept = decode(row)?;
            Ok(KeyRow {
                instance: kept.instance,
                bucket: kept.bucket,
                generation: kept.generation,
                incarnation: kept.incarnation,
            })
        };
        self.0.read(|db| match by {
            ScanBy::All => RECORDS.all(
                db,
                "WHERE instance > ?1 ORDER BY instance LIMIT ?2",
                (after, limit),
                show,
            ),
            ScanBy::Incarnation(incarnation) => {
                let Ok(incarnation) = i64::try_from(incarnation) else {
                    return Ok(Vec::new());
                };
                RECORDS.all(
                    db,
                    "WHERE incarnation = ?3 AND instance > ?1 ORDER BY instance LIMIT ?2",
                    (after, limit, incarnation),
                    show,
                )
            }
            ScanBy::Generation(bucket, generation) => RECORDS.all(
                db,
                "WHERE bucket = ?3 AND generation = ?4 AND instance > ?1 ORDER BY instance LIMIT ?2",
                (after, limit, &bucket.0[..], generation),
                show,
            ),
        })
    }
}

fn identity(db: &Connection) -> Result<StoreIdentity, StoreError> {
    IDENTITY
        .get(db, &[ValueRef::Integer(1)], |row| {
            Ok(StoreIdentity {
                id: row.id(1)?,
                epoch: row.number(2)?,
            })
        })?
        .ok_or_else(|| StoreError::Damaged("the store has no identity".to_owned()))
}

fn put_identity(db: &Connection, identity: StoreIdentity) -> Result<(), StoreError> {
    IDENTITY.put(
        db,
        &[
            ValueRef::Integer(1),
            blob(&identity.id),
            int(identity.epoch)?,
        ],
    )
}

fn record_of(db: &Connection, instance: InstanceId) -> Result<Option<NewKeyRecord>, StoreError> {
    RECORDS.get(db, &[blob(&instance.0)], decode)
}

fn decode(row: &Fields<'_>) -> Result<NewKeyRecord, StoreError> {
    Ok(NewKeyRecord {
        instance: InstanceId(row.id(0)?),
        bucket: BucketId(row.id(1)?),
        generation: row.number(2)?,
        incarnation: row.number(3)?,
        record: row.bytes(4)?.to_vec(),
    })
}

fn values(record: &NewKeyRecord) -> Result<[ValueRef<'_>; 5], StoreError> {
    Ok([
        blob(&record.instance.0),
        blob(&record.bucket.0),
        ValueRef::Integer(i64::from(record.generation)),
        int(record.incarnation)?,
        blob(&record.record),
    ])
}

fn bucket_key(
    db: &Connection,
    bucket: BucketId,
    generation: u32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = [blob(&bucket.0), ValueRef::Integer(i64::from(generation))];
    BUCKET_KEYS.get(db, &key, |row| Ok(row.bytes(2)?.to_vec()))
}

fn put_bucket_key(
    db: &Connection,
    bucket: BucketId,
    generation: u32,
    record: &[u8],
) -> Result<(), StoreError> {
    BUCKET_KEYS.put(
        db,
        &[
            blob(&bucket.0),
            ValueRef::Integer(i64::from(generation)),
            blob(record),
        ],
    )
}

fn masters(db: &Connection) -> Result<Vec<MasterRow>, StoreError> {
    MASTERS.all(db, "ORDER BY root, version", [], master)
}

fn master(row: &Fields<'_>) -> Result<MasterRow, StoreError> {
    Ok(MasterRow {
        root: RootId(row.id(0)?),
        version: row.number(1)?,
        state: row.bytes(2)?.to_vec(),
    })
}

/// A page length as LIMIT takes it.
pub(super) fn page(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

//! The catalog in a SQLite file.
//!
//! What a listing shows of an object is one narrow row of `objects`; what only a reader needs is in `details`, and
//! inline blobs in `inline`, both under the row's own number, which grows with every commit and so keeps new rows
//! together. `instances` and `blobs` hold the ids that are named by an object or by garbage: what a condemnation is
//! checked against. A replaced instance moves to `garbage` and stays named there.
//!
//! `objects` holds the current versions that are objects, and nothing else, so that a listing meets no history. Older
//! versions and all delete markers are in `versions`, under the same numbers, the newest of a key first; `labels`
//! finds them by label. A key without a row in `objects` has a delete marker on top of its history, or no history.
//! `uploads` and `parts` are objects in the making; what they name is in `instances` and `blobs` as well.

mod buckets;
mod garbage;
mod history;
mod leases;
mod objects;
mod places;
#[cfg(feature = "conformance")]
mod seed;
mod uploads;
mod versions;

#[cfg(feature = "conformance")]
pub use seed::Seed;

use std::path::Path;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::row::{Table, blob, int, text};
use super::{Database, Schema, SqliteOptions};
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::{
    Bucket, Catalog, Commit, CommitError, Committed, DeleteBucketError, Deleted, Garbage,
    GenerationState, Judged, KeyStoreSeen, ListPage, ListQuery, ObjectView, PartRow, Precondition,
    Relocation, Replacement, Standing, StoreError, StoreIdentity, Upload, UploadsPage,
    UploadsQuery, VersionView, Versioning, VersionsPage, VersionsQuery, Which,
};

/// The catalog in a SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog(Database);

impl SqliteCatalog {
    /// Opens the catalog in the file `path`, or makes it. Locks `path` with `.lock` added.
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
    /// As [`SqliteCatalog::open`].
    pub fn open_with(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        Database::open(path, options, &SCHEMA).map(Self)
    }
}

const SCHEMA: Schema = Schema {
    application: 0x5352_4331, // "SRC1"
    version: 1,
    name: "Strongroom catalog",
    create: "
        CREATE TABLE identity (one INTEGER PRIMARY KEY, id BLOB NOT NULL, sum INTEGER NOT NULL);
        CREATE TABLE key_stores (
            one INTEGER PRIMARY KEY, id BLOB NOT NULL, epoch INTEGER NOT NULL, sum INTEGER NOT NULL
        );
        CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;

        CREATE TABLE incarnations (
            incarnation INTEGER PRIMARY KEY, node TEXT NOT NULL, expires_ms INTEGER NOT NULL,
            closed INTEGER NOT NULL, sum INTEGER NOT NULL
        );
        CREATE TABLE tasks (
            task TEXT PRIMARY KEY, holder INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
            token INTEGER NOT NULL, sum INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE buckets (
            name TEXT PRIMARY KEY, bucket INTEGER NOT NULL, id BLOB NOT NULL, owner TEXT NOT NULL,
            created_ms INTEGER NOT NULL, generation INTEGER NOT NULL, versioning INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE bucket_ids (
            id BLOB PRIMARY KEY, bucket INTEGER NOT NULL, name TEXT NOT NULL, sum INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE deleted_buckets (id BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE generations (
            bucket INTEGER, generation INTEGER, rev INTEGER NOT NULL, state INTEGER NOT NULL,
            sum INTEGER NOT NULL, PRIMARY KEY (bucket, generation)
        ) WITHOUT ROWID;
        -- Bucket 0 stands for the catalog itself.
        CREATE TABLE documents (
            bucket INTEGER, name TEXT, rev INTEGER NOT NULL, bytes BLOB NOT NULL,
            sum INTEGER NOT NULL, PRIMARY KEY (bucket, name)
        ) WITHOUT ROWID;

        CREATE TABLE objects (
            bucket INTEGER, key BLOB, number INTEGER NOT NULL, version BLOB NOT NULL, is_null INTEGER NOT NULL,
            instance BLOB NOT NULL, mode INTEGER NOT NULL, suite INTEGER NOT NULL, length INTEGER NOT NULL,
            modified_ms INTEGER NOT NULL, generation INTEGER NOT NULL, attrs BLOB NOT NULL, facts BLOB NOT NULL,
            place INTEGER NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY (bucket, key)
        ) WITHOUT ROWID;
        -- The age is the number, negative: the newest of a key comes first. A marker has no instance.
        CREATE TABLE versions (
            bucket INTEGER, key BLOB, age INTEGER, version BLOB NOT NULL, is_null INTEGER NOT NULL,
            instance BLOB NOT NULL, mode INTEGER NOT NULL, suite INTEGER NOT NULL, length INTEGER NOT NULL,
            modified_ms INTEGER NOT NULL, generation INTEGER NOT NULL, attrs BLOB NOT NULL, facts BLOB NOT NULL,
            place INTEGER NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY (bucket, key, age)
        ) WITHOUT ROWID;
        -- The null version has the empty label.
        CREATE TABLE labels (
            bucket INTEGER, key BLOB, label BLOB, age INTEGER NOT NULL, sum INTEGER NOT NULL,
            PRIMARY KEY (bucket, key, label)
        ) WITHOUT ROWID;
        CREATE TABLE details (
            number INTEGER PRIMARY KEY, kms_key_id BLOB NOT NULL, encryption_context BLOB NOT NULL,
            manifest BLOB NOT NULL, head BLOB NOT NULL, blobs BLOB NOT NULL, restored BLOB NOT NULL,
            sum INTEGER NOT NULL
        );
        CREATE TABLE part_attrs (instance BLOB PRIMARY KEY, attrs BLOB NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE inline (number INTEGER PRIMARY KEY, blobs BLOB NOT NULL, sum INTEGER NOT NULL);

        CREATE TABLE uploads (
            instance BLOB PRIMARY KEY, bucket BLOB NOT NULL, key BLOB NOT NULL, incarnation INTEGER NOT NULL,
            mode INTEGER NOT NULL, suite INTEGER NOT NULL, generation INTEGER NOT NULL, kms_key_id BLOB NOT NULL,
            encryption_context BLOB NOT NULL, head BLOB NOT NULL, facts BLOB NOT NULL, attrs BLOB NOT NULL,
            created_ms INTEGER NOT NULL, principal TEXT NOT NULL, sum INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX uploads_by_date ON uploads (created_ms, instance);
        CREATE TABLE upload_claims (instance BLOB PRIMARY KEY, claim BLOB NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE upload_keys (
            bucket INTEGER, key BLOB, created_ms INTEGER, instance BLOB, sum INTEGER NOT NULL,
            PRIMARY KEY (bucket, key, created_ms, instance)
        ) WITHOUT ROWID;
        CREATE TABLE parts (
            instance BLOB, part INTEGER, blob BLOB NOT NULL, length INTEGER NOT NULL, salt BLOB NOT NULL,
            attrs BLOB NOT NULL, modified_ms INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (instance, part)
        ) WITHOUT ROWID;

        CREATE TABLE instances (id BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE blobs (id BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE garbage (
            number INTEGER PRIMARY KEY, bucket BLOB NOT NULL, instance BLOB NOT NULL, blobs BLOB NOT NULL,
            since_ms INTEGER NOT NULL, sum INTEGER NOT NULL
        );
        CREATE TABLE condemned_blobs (id BLOB PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE condemned_instances (
            id BLOB PRIMARY KEY, incarnation INTEGER NOT NULL, sum INTEGER NOT NULL
        ) WITHOUT ROWID;
    ",
    secure_delete: false,
    tables: &[
        &IDENTITY, &KEY_STORES, &COUNTERS, &leases::NODES, &leases::TASKS, &buckets::BY_NAME, &buckets::BY_ID,
        &buckets::DELETED, &buckets::GENERATIONS, &buckets::DOCUMENTS, &objects::ROWS, &objects::DETAILS,
        &objects::INLINE, &objects::PART_ATTRS, &history::VERSIONS, &history::LABELS, &uploads::UPLOADS, &uploads::KEYS, &uploads::PARTS, &uploads::CLAIMS, &garbage::INSTANCES, &garbage::BLOBS, &garbage::ENTRIES, &garbage::CONDEMNED_BLOBS,
        &garbage::CONDEMNED_INSTANCES,
    ],
    first: |db| {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        IDENTITY.put(db, &[ONE, blob(&id)])?;
        for name in [CHANGES, INCARNATIONS, BUCKETS, OBJECTS, GARBAGE] {
            COUNTERS.put(db, &[text(name), ValueRef::Integer(0)])?;
        }
        Ok(())
    },
};

const IDENTITY: Table = Table::new("identity", 1, &["one", "id"]);
const KEY_STORES: Table = Table::new("key_stores", 1, &["one", "id", "epoch"]);
const COUNTERS: Table = Table::new("counters", 1, &["name", "value"]);
const ONE: ValueRef<'static> = ValueRef::Integer(1);

// The counters: the last number given out.
const CHANGES: &str = "changes";
const INCARNATIONS: &str = "incarnations";
const BUCKETS: &str = "buckets";
const OBJECTS: &str = "objects";
const GARBAGE: &str = "garbage";

fn counter(db: &Connection, name: &str) -> Result<u64, StoreError> {
    COUNTERS
        .get(db, &[text(name)], |row| row.number(1))?
        .ok_or_else(|| StoreError::Damaged(format!("the counter of {name} is missing")))
}

/// The next number of a counter.
fn count(db: &Connection, name: &str) -> Result<u64, StoreError> {
    let next = counter(db, name)? + 1;
    COUNTERS.put(db, &[text(name), int(next)?])?;
    Ok(next)
}

impl Catalog for SqliteCatalog {
    fn check(&self) -> Result<(), StoreError> {
        self.0.check(&SCHEMA)
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.0.read(|db| {
            let id = IDENTITY
                .get(db, &[ONE], |row| row.id(1))?
                .ok_or_else(|| StoreError::Damaged("the catalog has no identity".to_owned()))?;
            Ok(StoreIdentity {
                id,
                epoch: counter(db, INCARNATIONS)?,
            })
        })
    }

    fn key_store_seen(&self, id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError> {
        self.0.write(move |db| {
            let seen = KEY_STORES.get(db, &[ONE], |row| Ok((row.id(1)?, row.number(2)?)))?;
            match seen {
                Some((other, _)) if other != id => return Ok(KeyStoreSeen::Other { id: other }),
                Some((_, seen)) if seen > epoch => return Ok(KeyStoreSeen::Older { seen }),
                Some((_, seen)) if seen == epoch => {}
                _ => KEY_STORES.put(db, &[ONE, blob(&id), int(epoch)?])?,
            }
            Ok(KeyStoreSeen::Current)
        })
    }

    fn register(&self, name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError> {
        let name = name.to_owned();
        self.0
            .write(move |db| leases::register(db, &name, now_ms, ttl_ms))
    }

    fn renew(&self, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError> {
        self.0
            .write(move |db| leases::renew(db, incarnation, now_ms, ttl_ms))
    }

    fn release(&self, incarnation: u64) -> Result<(), StoreError> {
        self.0.write(move |db| leases::release(db, incarnation))
    }

    fn dead_incarnations(&self, now_ms: u64) -> Result<Vec<u64>, StoreError> {
        self.0.read(|db| leases::dead(db, now_ms))
    }

    fn standing(&self, incarnation: u64, now_ms: u64) -> Result<Standing, StoreError> {
        self.0.read(|db| leases::standing(db, incarnation, now_ms))
    }

    fn close(&self, incarnation: u64) -> Result<(), StoreError> {
        self.0.write(move |db| {
            leases::close(db, incarnation)?;
            garbage::forget_condemned(db, incarnation)
        })
    }

    fn task_lease(
        &self,
        task: &str,
        incarnation: u64,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let task = task.to_owned();
        self.0
            .write(move |db| leases::task(db, &task, incarnation, now_ms, ttl_ms))
    }

    fn change_counter(&self) -> Result<u64, StoreError> {
        self.0.read(|db| counter(db, CHANGES))
    }

    fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    fn create_bucket(&self, bucket: Bucket, state: GenerationState) -> Result<(), StoreError> {
        self.0.write(move |db| buckets::create(db, &bucket, state))
    }

    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        self.0.read(|db| buckets::by_name(db, name))
    }

    fn bucket_by_id(&self, id: BucketId) -> Result<Option<Bucket>, StoreError> {
        self.0.read(|db| buckets::by_id(db, id))
    }

    fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError> {
        self.0.read(|db| buckets::after(db, after, limit))
    }

    fn delete_bucket(&self, id: BucketId, now_ms: u64) -> Result<(), DeleteBucketError> {
        self.0.write(move |db| buckets::delete(db, id, now_ms))
    }

    fn deleted_buckets(&self) -> Result<Vec<BucketId>, StoreError> {
        self.0.read(buckets::deleted)
    }

    fn bucket_done(&self, bucket: BucketId) -> Result<(), StoreError> {
        self.0.write(move |db| buckets::done(db, bucket))
    }

    fn generation(
        &self,
        bucket: BucketId,
        generation: u32,
    ) -> Result<Option<GenerationState>, StoreError> {
        self.0.read(|db| match buckets::number(db, bucket)? {
            Some(bucket) => buckets::generation(db, bucket, generation),
            None => Ok(None),
        })
    }

    fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<(), StoreError> {
        self.0
            .write(move |db| buckets::set_versioning(db, bucket, versioning))
    }

    fn set_generation(
        &self,
        bucket: BucketId,
        expected: Option<GenerationState>,
        new: GenerationState,
        make_active: bool,
    ) -> Result<(), StoreError> {
        self.0
            .write(move |db| buckets::set_generation(db, bucket, expected, new, make_active))
    }

    fn document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
    ) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.0.read(|db| buckets::document(db, bucket, name))
    }

    fn put_document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
        expected: Option<u64>,
        bytes: Option<&[u8]>,
    ) -> Result<u64, StoreError> {
        let (name, bytes) = (name.to_owned(), bytes.map(<[u8]>::to_vec));
        self.0
            .write(move |db| buckets::put_document(db, bucket, &name, expected, bytes.as_deref()))
    }

    fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        commit.check()?;
        self.0.write(move |db| objects::commit(db, &commit))
    }

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        self.0.read(|db| objects::view(db, bucket, key))
    }

    fn version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Result<Option<VersionView>, StoreError> {
        self.0.read(|db| versions::view(db, bucket, key, which))
    }

    fn part_attrs(&self, instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(|db| objects::part_attrs(db, instance))
    }

    fn set_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), StoreError> {
        let (key, expected, facts) = (key.to_vec(), expected.to_vec(), facts.to_vec());
        self.0.write(move |db| {
            versions::set_facts(db, bucket, &key, which, instance, &expected, &facts)
        })
    }

    fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
        marker: VersionId,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        let key = key.to_vec();
        let judged = judged.map(OwnedJudged::from);
        self.0.write(move |db| {
            let judged = judged.as_ref().map(OwnedJudged::lend);
            objects::delete(db, bucket, &key, precondition, judged, marker, now_ms)
        })
    }

    fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        let key = key.to_vec();
        let judged = judged.map(OwnedJudged::from);
        self.0.write(move |db| {
            let judged = judged.as_ref().map(OwnedJudged::lend);
            versions::delete(db, bucket, &key, which, judged, now_ms)
        })
    }

    fn replace_instance(&self, change: Replacement) -> Result<Garbage, CommitError> {
        self.0.write(move |db| places::replace(db, &change))
    }

    fn relocate(&self, change: Relocation) -> Result<Option<Garbage>, CommitError> {
        self.0.write(move |db| places::relocate(db, &change))
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError> {
        self.0.read(|db| objects::list(db, query))
    }

    fn list_versions(&self, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError> {
        self.0.read(|db| versions::list(db, query))
    }

    fn create_upload(&self, upload: Upload) -> Result<(), CommitError> {
        self.0.write(move |db| uploads::create(db, &upload))
    }

    fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
    ) -> Result<Option<Upload>, StoreError> {
        self.0.read(|db| uploads::find(db, bucket, key, instance))
    }

    fn put_part(&self, part: PartRow) -> Result<Option<Garbage>, CommitError> {
        self.0.write(move |db| uploads::put_part(db, &part))
    }

    fn parts(
        &self,
        instance: InstanceId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PartRow>, StoreError> {
        self.0.read(|db| uploads::parts(db, instance, after, limit))
    }

    fn claim_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        claim: &[u8],
    ) -> Result<(), CommitError> {
        let (key, claim) = (key.to_vec(), claim.to_vec());
        self.0
            .write(move |db| uploads::claim(db, bucket, &key, instance, &claim))
    }

    fn abort_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        now_ms: u64,
    ) -> Result<Garbage, CommitError> {
        let key = key.to_vec();
        self.0
            .write(move |db| uploads::abort(db, bucket, &key, instance, now_ms))
    }

    fn list_uploads(&self, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError> {
        self.0.read(|db| uploads::list(db, query))
    }

    fn uploads_before(
        &self,
        created_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        self.0
            .read(|db| uploads::before(db, created_ms, after, limit))
    }

    fn garbage(&self, after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError> {
        self.0.read(|db| garbage::after(db, after, limit))
    }

    fn garbage_done(&self, ids: &[u64]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.0.write(move |db| garbage::done(db, &ids))
    }

    fn condemn(&self, blob: BlobId) -> Result<bool, StoreError> {
        self.0.write(move |db| garbage::condemn(db, blob))
    }

    fn condemn_instance(&self, instance: InstanceId, incarnation: u64) -> Result<bool, StoreError> {
        self.0
            .write(move |db| garbage::condemn_instance(db, instance, incarnation))
    }
}

/// What was judged, on the way to the writer's thread.
struct OwnedJudged {
    version: VersionId,
    facts: Vec<u8>,
}

impl OwnedJudged {
    fn lend(&self) -> Judged<'_> {
        Judged {
            version: self.version,
            facts: &self.facts,
        }
    }
}

impl From<Judged<'_>> for OwnedJudged {
    fn from(judged: Judged<'_>) -> Self {
        Self {
            version: judged.version,
            facts: judged.facts.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_check_visits_every_table_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).unwrap();
        let names = |db: &Connection| {
            let mut statement =
                db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            Ok(names.collect::<Result<BTreeSet<_>, _>>()?)
        };
        let there = catalog.0.read(names).unwrap();
        let visited: BTreeSet<_> = SCHEMA
            .tables
            .iter()
            .map(|table| table.name().to_owned())
            .collect();
        assert_eq!(there, visited);
    }
}

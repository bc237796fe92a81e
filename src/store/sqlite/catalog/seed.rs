//! Many rows at once, for tests of scale.

use super::history::{self, Kept};
use super::{COUNTERS, OBJECTS, SqliteCatalog, buckets, counter, leases, objects, uploads};
use crate::id::{BucketId, InstanceId, VersionId};
use crate::store::sqlite::row::{int, text};
use crate::store::{CommitError, ListedObject, Marker, Place, Upload, VersionEntry};

/// A row to begin with.
#[derive(Debug, Clone)]
pub enum Seed {
    /// A current object of a key.
    Object(Vec<u8>),
    /// An older version of a key.
    Older(Vec<u8>),
    /// A delete marker on a key that has nothing else.
    Marker(Vec<u8>),
    /// A multipart upload.
    Upload(Vec<u8>),
}

impl SqliteCatalog {
    /// Fills a bucket in one transaction with what its listings read, and with nothing else: the objects are not there to
    /// be opened, and their ids are not named.
    ///
    /// # Errors
    /// As [`CommitError`] says.
    pub fn seed(
        &self,
        bucket: BucketId,
        rows: impl IntoIterator<Item = Seed> + Send + 'static,
    ) -> Result<(), CommitError> {
        self.0.write(move |db| {
            let home = buckets::number(db, bucket)?.ok_or(CommitError::NoSuchBucket)?;
            let incarnation = leases::register(db, "seed", 0, 0)?;
            let mut number = counter(db, OBJECTS)?;
            for row in rows {
                number += 1;
                let mut id = [0; 16];
                id[8..].copy_from_slice(&number.to_be_bytes());
                match row {
                    Seed::Object(key) => objects::put(db, home, number, &object(key, id))?,
                    Seed::Older(key) => {
                        let entry = VersionEntry::Object(object(key, id));
                        history::add(db, home, &Kept { number, entry })?;
                    }
                    Seed::Marker(key) => {
                        let marker = Marker {
                            key,
                            version: VersionId(id),
                            null: false,
                            modified_ms: number,
                        };
                        let entry = VersionEntry::Marker(marker);
                        history::add(db, home, &Kept { number, entry })?;
                    }
                    Seed::Upload(key) => {
                        uploads::create(db, &upload(bucket, key, id, incarnation))?;
                    }
                }
            }
            Ok(COUNTERS.put(db, &[text(OBJECTS), int(number)?])?)
        })
    }
}

fn object(key: Vec<u8>, id: [u8; 16]) -> ListedObject {
    ListedObject {
        key,
        instance: InstanceId(id),
        version: VersionId(id),
        null: false,
        mode: 1,
        suite: 1,
        length: 5,
        modified_ms: 6,
        generation: 1,
        attrs: vec![7; 160],
        facts: vec![8; 8],
        place: Place::default(),
    }
}

fn upload(bucket: BucketId, key: Vec<u8>, id: [u8; 16], incarnation: u64) -> Upload {
    Upload {
        bucket,
        key,
        instance: InstanceId(id),
        incarnation,
        mode: 1,
        suite: 1,
        generation: 1,
        kms_key_id: Vec::new(),
        encryption_context: Vec::new(),
        head: vec![7; 100],
        facts: vec![8; 8],
        attrs: Vec::new(),
        created_ms: 6,
        principal: String::new(),
    }
}

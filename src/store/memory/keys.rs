//! Key records in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::{BucketId, InstanceId, RootId};
use crate::store::{
    KeyRow, KeyStore, KeyView, MasterRow, NewKeyRecord, ScanBy, StoreError, StoreIdentity,
};

/// Key records in memory.
#[derive(Debug, Clone)]
pub struct MemoryKeys(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    identity: StoreIdentity,
    records: BTreeMap<InstanceId, NewKeyRecord>,
    tombstones: BTreeSet<[u8; 16]>,
    bucket_keys: BTreeMap<(BucketId, u32), Vec<u8>>,
    masters: BTreeMap<(RootId, u32), Vec<u8>>,
}

impl MemoryKeys {
    /// An empty store.
    ///
    /// # Errors
    /// The kernel's random source cannot be read.
    pub fn new() -> Result<Self, StoreError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self(Arc::new(Mutex::new(State {
            identity: StoreIdentity { id, epoch: 0 },
            records: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            bucket_keys: BTreeMap::new(),
            masters: BTreeMap::new(),
        }))))
    }
}

impl State {
    fn view(&self) -> KeyView {
        let master = |(&(root, version), state): (&(RootId, u32), &Vec<u8>)| MasterRow {
            root,
            version,
            state: state.clone(),
        };
        KeyView {
            record: None,
            tombstone: false,
            bucket_key: None,
            masters: self.masters.iter().map(master).collect(),
        }
    }
}

fn exists<T>() -> Result<T, StoreError> {
    Err(StoreError::Exists(String::new()))
}

impl KeyStore for MemoryKeys {
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(lock(&self.0).identity)
    }

    fn advance_epoch(&self) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        state.identity.epoch += 1;
        Ok(state.identity.epoch)
    }

    fn insert(&self, record: NewKeyRecord) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        if state.tombstones.contains(&record.instance.0) {
            return exists();
        }
        let kept = state
            .records
            .entry(record.instance)
            .or_insert_with(|| record.clone());
        if *kept == record { Ok(()) } else { exists() }
    }

    fn fetch(&self, instance: InstanceId) -> Result<KeyView, StoreError> {
        let state = lock(&self.0);
        let record = state.records.get(&instance);
        let key = record.map(|kept| (kept.bucket, kept.generation));
        Ok(KeyView {
            record: record.map(|kept| kept.record.clone()),
            tombstone: state.tombstones.contains(&instance.0),
            bucket_key: key.and_then(|key| state.bucket_keys.get(&key).cloned()),
            ..state.view()
        })
    }

    fn fetch_bucket(&self, bucket: BucketId, generation: u32) -> Result<KeyView, StoreError> {
        let state = lock(&self.0);
        Ok(KeyView {
            tombstone: state.tombstones.contains(&bucket.0),
            bucket_key: state.bucket_keys.get(&(bucket, generation)).cloned(),
            ..state.view()
        })
    }

    fn replace(
        &self,
        instance: InstanceId,
        expected: &[u8],
        generation: u32,
        new: &[u8],
    ) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let missing = || StoreError::NotFound(String::new());
        let kept = state.records.get_mut(&instance).ok_or_else(missing)?;
        if kept.record != expected && !(kept.record == new && kept.generation == generation) {
            return Err(StoreError::Stale(String::new()));
        }
        (kept.record, kept.generation) = (new.to_vec(), generation);
        Ok(())
    }

    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        for instance in instances {
            state.records.remove(instance);
            state.tombstones.insert(instance.0);
        }
        Ok(())
    }

    fn insert_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        if state.tombstones.contains(&bucket.0) {
            return exists();
        }
        let kept = state
            .bucket_keys
            .entry((bucket, generation))
            .or_insert_with(|| record.to_vec());
        if *kept == record { Ok(()) } else { exists() }
    }

    fn replace_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        expected: &[u8],
        new: &[u8],
    ) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let missing = || StoreError::NotFound(String::new());
        let kept = state
            .bucket_keys
            .get_mut(&(bucket, generation))
            .ok_or_else(missing)?;
        if *kept != expected && *kept != new {
            return Err(StoreError::Stale(String::new()));
        }
        *kept = new.to_vec();
        Ok(())
    }

    fn bucket_keys(
        &self,
        after: Option<(BucketId, u32)>,
        limit: usize,
    ) -> Result<Vec<(BucketId, u32, Vec<u8>)>, StoreError> {
        let state = lock(&self.0);
        let rest = state
            .bucket_keys
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| **key > after));
        Ok(rest
            .take(limit)
            .map(|(key, record)| (key.0, key.1, record.clone()))
            .collect())
    }

    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        state.bucket_keys.retain(|key, _| key.0 != bucket);
        state.tombstones.insert(bucket.0);
        Ok(())
    }

    fn put_master(&self, expected: Option<&MasterRow>, new: MasterRow) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let key = (new.root, new.version);
        let kept = state.masters.get(&key);
        let as_expected = match (kept, expected) {
            (None, None) => true,
            (Some(kept), Some(row)) => (row.root, row.version) == key && row.state == *kept,
            _ => false,
        };
        if !as_expected && kept != Some(&new.state) {
            return Err(StoreError::Stale(String::new()));
        }
        state.masters.insert(key, new.state);
        Ok(())
    }

    fn scan(
        &self,
        by: ScanBy,
        after: Option<InstanceId>,
        limit: usize,
    ) -> Result<Vec<KeyRow>, StoreError> {
        let state = lock(&self.0);
        let rows = state.records.values().map(|kept| KeyRow {
            instance: kept.instance,
            bucket: kept.bucket,
            generation: kept.generation,
            incarnation: kept.incarnation,
        });
        let wanted = rows.filter(|row| match by {
            ScanBy::All => true,
            ScanBy::Incarnation(incarnation) => row.incarnation == incarnation,
            ScanBy::Generation(bucket, generation) => {
                (row.bucket, row.generation) == (bucket, generation)
            }
        });
        let rest = wanted.filter(|row| after.is_none_or(|after| row.instance > after));
        Ok(rest.take(limit).collect())
    }
}

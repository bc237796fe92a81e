//! A key store with a fault.

use std::collections::BTreeMap;
use std::sync::Mutex;

use strongroom::id::{BucketId, InstanceId};
use strongroom::store::{
    KeyRow, KeyStore, KeyView, MasterRow, NewKeyRecord, ScanBy, StoreError, StoreIdentity,
};

use super::{Fault, Plan, refused, spoil};

pub(super) struct Faulty {
    inner: Box<dyn KeyStore>,
    plan: Plan,
    seen: Mutex<BTreeMap<InstanceId, KeyView>>,
    asked: Mutex<Option<InstanceId>>,
    held: Mutex<Option<NewKeyRecord>>,
}

impl Faulty {
    pub(super) fn new(inner: Box<dyn KeyStore>, plan: Plan) -> Self {
        let (seen, asked, held) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            inner,
            plan,
            seen,
            asked,
            held,
        }
    }
}

impl KeyStore for Faulty {
    fn check(&self) -> Result<(), StoreError> {
        self.inner.check()
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.inner.identity()
    }

    fn advance_epoch(&self) -> Result<u64, StoreError> {
        self.inner.advance_epoch()
    }

    fn insert(&self, mut record: NewKeyRecord) -> Result<(), StoreError> {
        if self.plan.now(Fault::LostAck) {
            return Ok(());
        }
        if self.plan.now(Fault::TornRecord) {
            record.record.truncate(record.record.len() / 2);
        }
        if self.plan.now(Fault::Reorder) {
            *self.held.lock().unwrap() = Some(record);
            return Ok(());
        }
        self.inner.insert(record)?;
        if let Some(held) = self.held.lock().unwrap().take() {
            self.inner.insert(held)?;
        }
        if self.plan.now(Fault::ErrorAfterEffect) {
            refused()
        } else {
            Ok(())
        }
    }

    fn fetch(&self, instance: InstanceId) -> Result<KeyView, StoreError> {
        self.plan.hang();
        let before = self.asked.lock().unwrap().replace(instance);
        if self.plan.now(Fault::WrongId)
            && let Some(other) = before
        {
            return self.inner.fetch(other);
        }
        let view = self.inner.fetch(instance)?;
        let mut seen = self.seen.lock().unwrap();
        let first = seen.entry(instance).or_insert_with(|| view.clone()).clone();
        match self.plan.fault {
            Fault::StaleRead => Ok(first),
            // What was shredded is shown again.
            Fault::Phantom if view.tombstone => Ok(first),
            _ => Ok(view),
        }
    }

    fn fetch_bucket(&self, bucket: BucketId, generation: u32) -> Result<KeyView, StoreError> {
        self.inner.fetch_bucket(bucket, generation)
    }

    fn replace(
        &self,
        instance: InstanceId,
        expected: &[u8],
        generation: u32,
        new: &[u8],
    ) -> Result<(), StoreError> {
        self.inner.replace(instance, expected, generation, new)
    }

    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
        self.inner.shred(instances)
    }

    fn insert_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        record: &[u8],
    ) -> Result<(), StoreError> {
        self.inner.insert_bucket_key(bucket, generation, record)
    }

    fn replace_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        expected: &[u8],
        new: &[u8],
    ) -> Result<(), StoreError> {
        self.inner
            .replace_bucket_key(bucket, generation, expected, new)
    }

    fn bucket_keys(
        &self,
        after: Option<(BucketId, u32)>,
        limit: usize,
    ) -> Result<Vec<(BucketId, u32, Vec<u8>)>, StoreError> {
        self.inner.bucket_keys(after, limit)
    }

    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
        self.inner.shred_bucket(bucket)
    }

    fn put_master(&self, expected: Option<&MasterRow>, new: MasterRow) -> Result<(), StoreError> {
        self.inner.put_master(expected, new)
    }

    fn scan(
        &self,
        by: ScanBy,
        after: Option<InstanceId>,
        limit: usize,
    ) -> Result<Vec<KeyRow>, StoreError> {
        let mut rows = self.inner.scan(by, after, limit)?;
        spoil(&self.plan, &mut rows);
        Ok(rows)
    }
}

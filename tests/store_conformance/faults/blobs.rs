//! A blob store with a fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use strongroom::id::BlobId;
use strongroom::store::{BlobReader, BlobRef, BlobStore, BlobWriter, StoreError};

use super::{Fault, Plan, refused, spoil};

pub(super) struct Faulty {
    inner: Box<dyn BlobStore>,
    plan: Plan,
    seen: Mutex<BTreeMap<BlobId, Arc<dyn BlobReader>>>,
    asked: Mutex<Option<BlobRef>>,
}

impl Faulty {
    pub(super) fn new(inner: Box<dyn BlobStore>, plan: Plan) -> Self {
        Self {
            inner,
            plan,
            seen: Mutex::default(),
            asked: Mutex::default(),
        }
    }
}

impl BlobStore for Faulty {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobWriter>, StoreError> {
        let (inner, plan) = (self.inner.create(id)?, self.plan.clone());
        Ok(Box::new(Writer {
            inner,
            plan,
            length: 0,
            held: None,
        }))
    }

    fn open(&self, blob: &BlobRef) -> Result<Box<dyn BlobReader>, StoreError> {
        let before = self.asked.lock().unwrap().replace(blob.clone());
        if self.plan.now(Fault::WrongId)
            && let Some(other) = before
        {
            return self.inner.open(&other);
        }
        if self.plan.fault != Fault::StaleRead {
            return self.inner.open(blob);
        }
        let mut seen = self.seen.lock().unwrap();
        let reader = match seen.get(&blob.id) {
            Some(reader) => Arc::clone(reader),
            None => Arc::from(self.inner.open(blob)?),
        };
        seen.insert(blob.id, Arc::clone(&reader));
        Ok(Box::new(Stale(reader)))
    }

    fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        self.inner.remove(id)
    }

    fn list(&self, shard: u8) -> Result<Vec<BlobId>, StoreError> {
        let mut list = self.inner.list(shard)?;
        spoil(&self.plan, &mut list);
        if self.plan.now(Fault::Phantom) {
            list.push(BlobId([0xff; 16]));
        }
        Ok(list)
    }
}

struct Writer {
    inner: Box<dyn BlobWriter>,
    plan: Plan,
    length: u64,
    held: Option<Vec<u8>>,
}

impl BlobWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.length += bytes.len() as u64;
        if self.plan.now(Fault::TornRecord) {
            return self.inner.append(&bytes[..bytes.len() / 2]);
        }
        if self.plan.now(Fault::Duplicate) {
            self.inner.append(bytes)?;
        }
        if self.plan.now(Fault::Reorder) {
            self.held = Some(bytes.to_vec());
            return Ok(());
        }
        self.inner.append(bytes)?;
        self.held
            .take()
            .map_or(Ok(()), |held| self.inner.append(&held))
    }

    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        self.plan.hang();
        if self.plan.now(Fault::LostAck) {
            return Ok(self.length);
        }
        if let Some(held) = self.held.take() {
            self.inner.append(&held)?;
        }
        let length = self.inner.finish()?;
        if self.plan.now(Fault::ErrorAfterEffect) {
            refused()
        } else {
            Ok(length)
        }
    }
}

struct Stale(Arc<dyn BlobReader>);

impl BlobReader for Stale {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, StoreError> {
        self.0.read_at(offset, buf)
    }
}

//! Blobs in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::BlobId;
use crate::store::{BlobReader, BlobRef, BlobStore, BlobWriter, Locator, StoreError, shard_of};

type Blobs = Arc<Mutex<BTreeMap<BlobId, Arc<Vec<u8>>>>>;

/// Blobs in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobs(Blobs);

impl BlobStore for MemoryBlobs {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobWriter>, StoreError> {
        let mut blobs = lock(&self.0);
        if blobs.contains_key(&id) {
            return Err(StoreError::Exists(format!("blob {id}")));
        }
        blobs.insert(id, Arc::default());
        let (blobs, bytes) = (Arc::clone(&self.0), Vec::new());
        Ok(Box::new(Writer {
            blobs,
            id,
            bytes,
            finished: false,
        }))
    }

    fn open(&self, blob: &BlobRef) -> Result<Box<dyn BlobReader>, StoreError> {
        if !matches!(blob.locator, Locator::File | Locator::Archive) {
            return Err(StoreError::Unsupported(format!(
                "locator of blob {}",
                blob.id
            )));
        }
        let bytes = lock(&self.0)
            .get(&blob.id)
            .cloned()
            .ok_or_else(|| StoreError::NotFound(format!("blob {}", blob.id)))?;
        if bytes.len() as u64 != blob.sealed_len {
            return Err(StoreError::Damaged(format!("length of blob {}", blob.id)));
        }
        Ok(Box::new(Reader(bytes)))
    }

    fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        Ok(lock(&self.0).remove(&id).is_some())
    }

    fn list(&self, shard: u8) -> Result<Vec<BlobId>, StoreError> {
        let blobs = lock(&self.0);
        Ok(blobs
            .keys()
            .copied()
            .filter(|id| shard_of(*id) == shard)
            .collect())
    }
}

struct Writer {
    blobs: Blobs,
    id: BlobId,
    bytes: Vec<u8>,
    finished: bool,
}

impl BlobWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend(bytes);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        let bytes = std::mem::take(&mut self.bytes);
        let length = bytes.len() as u64;
        lock(&self.blobs).insert(self.id, Arc::new(bytes));
        self.finished = true;
        Ok(length)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            lock(&self.blobs).remove(&self.id);
        }
    }
}

struct Reader(Arc<Vec<u8>>);

impl BlobReader for Reader {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, StoreError> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.0.get(offset..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

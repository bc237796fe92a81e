//! Deleting: out of sight in one catalog transaction, then the key shredded, then the reply. Blobs go later.

use std::sync::atomic::Ordering;

use super::{Vault, VaultError, check_key, now_ms};
use crate::id::{InstanceId, VersionId};
use crate::store::{CommitError, Garbage, Locator, Precondition, StoreError};

impl Vault {
    /// Deletes an object. On return it is out of sight and its key record is shredded; its blobs follow after the grace
    /// period. Returns the instance that was deleted, `None` if there was no such object: deleting twice is no error.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::PreconditionFailed`], [`VaultError::ReadOnly`]; with
    /// [`VaultError::OutcomeUnknown`] it may or may not be deleted: delete it again.
    pub fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        precondition: Precondition,
    ) -> Result<Option<InstanceId>, VaultError> {
        self.check_writable()?;
        check_key(key)?;
        let bucket = self.bucket(bucket)?;
        let deleted = self.stores.catalog.delete(
            bucket.id,
            key,
            precondition,
            VersionId::random()?,
            now_ms(),
        );
        let deleted = deleted.map_err(|error| match error {
            CommitError::Precondition => VaultError::PreconditionFailed,
            CommitError::NoSuchBucket => VaultError::NoSuchBucket(bucket.name.clone()),
            CommitError::Condemned => VaultError::LeaseLost,
            error @ (CommitError::NoSuchUpload | CommitError::PartChanged(_)) => {
                VaultError::Invalid(error.to_string())
            }
            CommitError::Store(error) => error.into(),
        })?;
        match deleted.garbage {
            Some(garbage) => {
                self.shred_before_reply(&garbage)?;
                Ok(garbage.instance)
            }
            // Perhaps deleted by a request whose shredding failed: this one must not say "gone" before it is.
            None if self.owes_shredding.load(Ordering::Acquire) => {
                self.shred_garbage()?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Shreds the key record of what has just become garbage.
    ///
    /// On failure the change itself stays, visible and durable; the garbage entry keeps the record from being forgotten.
    pub(super) fn shred_before_reply(&self, garbage: &Garbage) -> Result<(), VaultError> {
        let Some(instance) = garbage.instance else {
            self.shredded().insert(garbage.id);
            return Ok(());
        };
        match self.stores.keys.shred(&[instance]) {
            Ok(()) => {
                self.shredded().insert(garbage.id);
                Ok(())
            }
            Err(error) => {
                self.owes_shredding.store(true, Ordering::Release);
                self.counts.unknown.fetch_add(1, Ordering::Relaxed);
                Err(VaultError::OutcomeUnknown(format!(
                    "the change took effect, the key of the former instance {instance} is not shredded yet: {error}"
                )))
            }
        }
    }

    /// Shreds the key records of all garbage that this vault has not shredded yet. Returns how many those were.
    pub(super) fn shred_garbage(&self) -> Result<u64, StoreError> {
        self.owes_shredding.store(false, Ordering::Release);
        let mut count = 0;
        let mut after = 0;
        let result = loop {
            let page = match self.stores.catalog.garbage(after, PAGE) {
                Ok(page) => page,
                Err(error) => break Err(error),
            };
            let Some(last) = page.last() else {
                break Ok(count);
            };
            after = last.id;
            let fresh: Vec<&Garbage> = {
                let done = self.shredded();
                page.iter()
                    .filter(|garbage| !done.contains(&garbage.id))
                    .collect()
            };
            if fresh.is_empty() {
                continue;
            }
            let instances: Vec<InstanceId> = fresh
                .iter()
                .filter_map(|garbage| garbage.instance)
                .collect();
            if let Err(error) = self.stores.keys.shred(&instances) {
                break Err(error);
            }
            count += instances.len() as u64;
            self.shredded()
                .extend(fresh.iter().map(|garbage| garbage.id));
        };
        if result.is_err() {
            self.owes_shredding.store(true, Ordering::Release);
        }
        result
    }

    /// Removes the blobs of garbage older than the grace period, and forgets it. All of it must be shredded already.
    pub(super) fn remove_garbage(&self, now_ms: u64) -> Result<u64, StoreError> {
        let grace = u64::try_from(self.config.delete_grace.as_millis()).unwrap_or(u64::MAX);
        let mut count = 0;
        let mut after = 0;
        loop {
            let page = self.stores.catalog.garbage(after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = last.id;
            let mut done = Vec::new();
            for garbage in &page {
                let due = garbage.since_ms.saturating_add(grace) <= now_ms;
                if !due || !self.shredded().contains(&garbage.id) {
                    continue;
                }
                for blob in &garbage.blobs {
                    if blob.locator != Locator::Inline {
                        self.stores.blobs.remove(blob.id)?;
                    }
                }
                done.push(garbage.id);
            }
            if done.is_empty() {
                continue;
            }
            self.stores.catalog.garbage_done(&done)?;
            let mut shredded = self.shredded();
            done.iter().for_each(|id| {
                shredded.remove(id);
            });
            count += done.len() as u64;
        }
    }
}

const PAGE: usize = 256;

//! Deleting: out of sight in one catalog transaction, then the key shredded, then the reply. Blobs go later.

use std::sync::atomic::Ordering;

use super::debts::UnderWay;
use super::{InBucket, Vault, VaultError, check_key, now_ms};
use crate::id::{InstanceId, VersionId};
use crate::store::{
    self, BlobRef, Bucket, CommitError, Garbage, Judged, Locator, Marker, Precondition, StoreError,
    Which,
};

impl Vault {
    /// Deletes an object. In a bucket that never had versions, it is out of sight on return and its key record is
    /// shredded; its blobs follow after the grace period. Where versioning is enabled, it stays in the history, under a
    /// delete marker; where it is suspended, the marker takes the place of the null version, which is gone like above.
    /// Deleting what is not there is no error.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::PreconditionFailed`], [`VaultError::ReadOnly`]; with
    /// [`VaultError::OutcomeUnknown`] it may or may not be deleted: delete it again.
    pub fn delete<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        precondition: Precondition,
    ) -> Result<Deleted, VaultError> {
        self.take_out(&bucket.into(), key, precondition, None)
    }

    /// Deletes an object like [`Vault::delete`], if it is still the one that was looked at: for who deletes it for what its
    /// facts say.
    ///
    /// # Errors
    /// As [`Vault::delete`]; [`VaultError::PreconditionFailed`] if it is another one, has other facts, or is gone.
    pub fn delete_judged<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        judged: Judged<'_>,
    ) -> Result<Deleted, VaultError> {
        self.take_out(&bucket.into(), key, Precondition::Present, Some(judged))
    }

    fn take_out(
        &self,
        bucket: &InBucket<'_>,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
    ) -> Result<Deleted, VaultError> {
        self.check_writable()?;
        check_key(key)?;
        let bucket = self.in_bucket(bucket)?;
        let label = VersionId::random()?;
        let under_way = self.debts.begin(bucket.id, key);
        let catalog = &self.stores.catalog;
        let deleted = catalog.delete(bucket.id, key, precondition, judged, label, now_ms());
        self.deleted(deleted, &bucket, under_way)
    }

    /// Removes one version, or one delete marker, for good; the newest of the rest is current then. With `judged`, only
    /// if it is still the one that was looked at: the null version is another one after each write. A version that is
    /// not there is no error.
    ///
    /// # Errors
    /// As [`Vault::delete`]; [`VaultError::PreconditionFailed`] if it is another one, or has other facts.
    pub fn delete_version<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
    ) -> Result<Deleted, VaultError> {
        self.check_writable()?;
        check_key(key)?;
        let bucket = self.in_bucket(&bucket.into())?;
        let catalog = &self.stores.catalog;
        let under_way = self.debts.begin(bucket.id, key);
        let deleted = catalog.delete_version(bucket.id, key, which, judged, now_ms());
        self.deleted(deleted, &bucket, under_way)
    }

    /// Sees to it that the keys of all that other requests took out of sight under an object key are shredded: for who finds
    /// nothing there, and is about to say so to somebody who wants it gone. Nothing more is done if nobody is at it.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::ReadOnly`]; [`VaultError::Unavailable`] and
    /// [`VaultError::OutcomeUnknown`] if they are not shredded yet: ask again.
    pub fn settle<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
    ) -> Result<(), VaultError> {
        self.check_writable()?;
        let bucket = self.in_bucket(&bucket.into())?;
        self.debts.wait(bucket.id, key);
        Ok(self.shred_what_is_owed()?)
    }

    fn deleted(
        &self,
        deleted: Result<store::Deleted, CommitError>,
        bucket: &Bucket,
        under_way: UnderWay<'_>,
    ) -> Result<Deleted, VaultError> {
        let deleted = deleted.map_err(|error| match error {
            CommitError::Precondition | CommitError::Store(StoreError::Stale(_)) => {
                VaultError::PreconditionFailed
            }
            CommitError::NoSuchBucket => VaultError::NoSuchBucket(bucket.name.clone()),
            CommitError::Condemned => VaultError::LeaseLost,
            CommitError::Store(error) => self.not_taken_out(error),
            error => VaultError::Unavailable(error.to_string()),
        })?;
        let instance = deleted
            .garbage
            .as_ref()
            .and_then(|garbage| garbage.instance);
        match (deleted.garbage, &deleted.marker) {
            (Some(garbage), _) => self.shred_before_reply(&[garbage], under_way)?,
            // Only another version came on top.
            (None, Some(marker)) if !marker.null => {}
            // Perhaps another request deleted it: this one must not say "gone" before it is.
            (None, marker) => {
                let settled = self.shred_for_others(under_way);
                settled.map_err(|error| match marker {
                    Some(_) => self.not_all_shredded(&error),
                    None => error.into(),
                })?;
            }
        }
        Ok(Deleted {
            instance,
            marker: deleted.marker,
        })
    }

    /// Shreds the key records of what has just become garbage, and sees to what others took out of sight of the same key:
    /// a write that was tried again, say, or what got another key just before it was deleted.
    ///
    /// On failure the change itself stays, visible and durable; the garbage entries keep the records from being
    /// forgotten.
    pub(super) fn shred_before_reply(
        &self,
        garbage: &[Garbage],
        under_way: UnderWay<'_>,
    ) -> Result<(), VaultError> {
        if garbage.is_empty() {
            return Ok(());
        }
        let instances: Vec<_> = garbage.iter().filter_map(|entry| entry.instance).collect();
        let shredded = match instances.as_slice() {
            [] => Ok(()),
            instances => self.stores.keys.shred(instances),
        };
        match &shredded {
            Ok(()) => self.shredded().extend(garbage.iter().map(|entry| entry.id)),
            Err(_) => self.debts.owe(),
        }
        let all = shredded.and_then(|()| self.shred_for_others(under_way));
        all.map_err(|error| self.not_all_shredded(&error))
    }

    /// Sees to it that what other requests took out of sight of a key before is shredded.
    pub(super) fn shred_for_others(&self, under_way: UnderWay<'_>) -> Result<(), StoreError> {
        under_way.end_and_wait();
        self.shred_what_is_owed()
    }

    fn shred_what_is_owed(&self) -> Result<(), StoreError> {
        if self.debts.is_owing() {
            self.shred_garbage()?;
        }
        Ok(())
    }

    fn not_all_shredded(&self, error: &StoreError) -> VaultError {
        self.counts.unknown.fetch_add(1, Ordering::Relaxed);
        VaultError::OutcomeUnknown(format!(
            "the change took effect, the keys of former instances are not all shredded yet: {error}"
        ))
    }

    /// What a catalog that failed means to who wanted something out of sight.
    pub(super) fn not_taken_out(&self, error: StoreError) -> VaultError {
        if matches!(error, StoreError::OutcomeUnknown(_)) {
            self.may_have_happened();
        }
        error.into()
    }

    /// To be called when a transaction of the catalog may have taken something out of sight: only the garbage tells, and
    /// nobody is to say that it is gone before that was asked.
    pub(super) fn may_have_happened(&self) {
        self.counts.unknown.fetch_add(1, Ordering::Relaxed);
        self.debts.owe();
    }

    /// Shreds the key records of all garbage that this vault has not shredded yet. Returns how many those were.
    pub(super) fn shred_garbage(&self) -> Result<u64, StoreError> {
        let owed = self.debts.owed();
        let mut count = 0;
        let mut after = 0;
        loop {
            let page = self.stores.catalog.garbage(after, PAGE)?;
            let Some(last) = page.last() else {
                self.debts.pay(owed);
                return Ok(count);
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
            let instances: Vec<_> = fresh
                .iter()
                .filter_map(|garbage| garbage.instance)
                .collect();
            if !instances.is_empty() {
                self.stores.keys.shred(&instances)?;
            }
            count += instances.len() as u64;
            self.shredded()
                .extend(fresh.iter().map(|garbage| garbage.id));
        }
    }

    /// Removes the blobs of garbage older than the grace period that no reader needs, and forgets it. All of it must be
    /// shredded already. Blobs that cannot be removed keep no others; the first failure is the answer.
    pub(super) fn remove_garbage(&self, now_ms: u64) -> Result<u64, StoreError> {
        let grace = u64::try_from(self.config.delete_grace.as_millis()).unwrap_or(u64::MAX);
        let mut count = 0;
        let mut after = 0;
        let mut failed = None;
        loop {
            let page = self.stores.catalog.garbage(after, PAGE)?;
            let Some(last) = page.last() else {
                return failed.map_or(Ok(count), Err);
            };
            after = last.id;
            let mut done = Vec::new();
            for garbage in &page {
                let due = garbage.since_ms.saturating_add(grace) <= now_ms;
                if !due || !self.shredded().contains(&garbage.id) {
                    continue;
                }
                let Some(_removal) = self.reading.remove(&garbage.blobs) else {
                    continue;
                };
                match self.remove_blobs(&garbage.blobs) {
                    Ok(true) => done.push(garbage.id),
                    Ok(false) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
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

    /// Removes blobs from the stores they are in; `false` if one is in an archive that is not configured now.
    pub(super) fn remove_blobs(&self, blobs: &[BlobRef]) -> Result<bool, StoreError> {
        let mut all = true;
        for blob in blobs.iter().filter(|blob| blob.locator != Locator::Inline) {
            match self.store_of(&blob.locator) {
                Ok(store) => {
                    store.remove(blob.id)?;
                }
                Err(_) => all = false,
            }
        }
        Ok(all)
    }
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The instance that is gone, its key shredded.
    pub instance: Option<InstanceId>,
    /// The delete marker that was put on top, or that was the version to be deleted.
    pub marker: Option<Marker>,
}

const PAGE: usize = 256;

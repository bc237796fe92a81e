//! Multipart uploads and their parts.

use std::collections::BTreeMap;

use super::State;
use crate::id::{BucketId, InstanceId};
use crate::store::{
    BlobRef, CommitError, Garbage, ObjectRow, PartRow, Upload, UploadItem, UploadsPage,
    UploadsQuery, common_prefix, incarnation_of,
};

/// An upload with its parts.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) upload: Upload,
    pub(super) parts: BTreeMap<u32, PartRow>,
    pub(super) claim: Vec<u8>,
}

impl Making {
    fn blobs(&self) -> Vec<BlobRef> {
        self.parts.values().map(|part| part.blob.clone()).collect()
    }
}

impl State {
    pub(super) fn create_upload(&mut self, upload: Upload) -> Result<(), CommitError> {
        self.versioning(upload.bucket)?;
        self.may_name(upload.incarnation, Some(upload.instance), &[])?;
        self.named_instances.insert(upload.instance);
        let making = Making {
            upload,
            parts: BTreeMap::new(),
            claim: Vec::new(),
        };
        self.uploads.insert(making.upload.instance, making);
        Ok(())
    }

    pub(super) fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
    ) -> Option<&Making> {
        let found = self.uploads.get(&instance);
        found.filter(|making| making.upload.bucket == bucket && making.upload.key == key)
    }

    pub(super) fn put_part(&mut self, part: PartRow) -> Result<Option<Garbage>, CommitError> {
        part.check()?;
        if !self.uploads.contains_key(&part.instance) {
            return Err(CommitError::NoSuchUpload);
        }
        let blob = part.blob.id;
        self.may_name(incarnation_of(blob), None, &[blob])?;
        self.named_blobs.insert(blob);
        let now_ms = part.modified_ms;
        let Some(making) = self.uploads.get_mut(&part.instance) else {
            return Err(CommitError::NoSuchUpload);
        };
        let bucket = making.upload.bucket;
        let replaced = making.parts.insert(part.part, part);
        Ok(replaced.map(|old| self.discard(bucket, None, vec![old.blob], now_ms)))
    }

    pub(super) fn claim_upload(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        claim: &[u8],
    ) -> Result<(), CommitError> {
        self.versioning(bucket)?;
        let found = self.uploads.get_mut(&instance);
        let making =
            found.filter(|making| making.upload.bucket == bucket && making.upload.key == key);
        making.ok_or(CommitError::NoSuchUpload)?.claim = claim.to_vec();
        Ok(())
    }

    pub(super) fn abort_upload(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        now_ms: u64,
    ) -> Result<Garbage, CommitError> {
        self.versioning(bucket)?;
        self.upload(bucket, key, instance)
            .ok_or(CommitError::NoSuchUpload)?;
        let blobs = self.uploads.remove(&instance).map(|making| making.blobs());
        Ok(self.discard(bucket, Some(instance), blobs.unwrap_or_default(), now_ms))
    }

    pub(super) fn abort_all(&mut self, bucket: BucketId, now_ms: u64) {
        let of_bucket = self.sorted(|upload| upload.bucket == bucket);
        let all: Vec<_> = of_bucket
            .into_iter()
            .map(|upload| (upload.key.clone(), upload.instance))
            .collect();
        for (_, instance) in all {
            let blobs = self.uploads.remove(&instance).map(|making| making.blobs());
            self.discard(bucket, Some(instance), blobs.unwrap_or_default(), now_ms);
        }
    }

    /// Blobs of the upload that a row does not take over.
    pub(super) fn unchosen(
        &self,
        bucket: BucketId,
        row: &ObjectRow,
        claim: &[u8],
    ) -> Result<Vec<BlobRef>, CommitError> {
        let making = self
            .upload(bucket, &row.key, row.instance)
            .ok_or(CommitError::NoSuchUpload)?;
        if making.claim != claim {
            return Err(CommitError::NotClaimed);
        }
        let mut left = making.parts.clone();
        for chosen in &row.blobs {
            if left.remove(&chosen.part).map(|part| part.blob).as_ref() != Some(chosen) {
                return Err(CommitError::PartChanged(chosen.part));
            }
        }
        Ok(left.into_values().map(|part| part.blob).collect())
    }

    pub(super) fn list_uploads(&self, query: &UploadsQuery<'_>) -> UploadsPage {
        let mut page = UploadsPage {
            items: Vec::new(),
            more: false,
            rows_visited: 0,
        };
        let (start, after) = query.start();
        let wanted = |upload: &Upload| {
            let behind = after.is_none_or(|after| {
                upload.key != start || (upload.created_ms, upload.instance) > after
            });
            upload.bucket == query.bucket
                && upload.key.starts_with(query.prefix)
                && upload.key >= start
                && behind
        };
        for upload in self.sorted(wanted) {
            if query.limit == 0 {
                break;
            }
            let item = match common_prefix(&upload.key, query.prefix, query.delimiter) {
                Some(common) => UploadItem::Prefix(common.to_vec()),
                None => UploadItem::Upload(Box::new(upload.clone())),
            };
            if page.items.last() == Some(&item) {
                continue;
            }
            page.rows_visited += 1;
            if page.items.len() == query.limit {
                page.more = true;
                break;
            }
            page.items.push(item);
        }
        page
    }

    pub(super) fn uploads_before(
        &self,
        created_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Vec<Upload> {
        let date = |upload: &Upload| (upload.created_ms, upload.instance);
        let mut found = self.sorted(|upload| {
            upload.created_ms < created_ms && after.is_none_or(|after| date(upload) > after)
        });
        found.sort_by_key(|upload| date(upload));
        found.into_iter().take(limit).cloned().collect()
    }

    fn sorted(&self, wanted: impl Fn(&Upload) -> bool) -> Vec<&Upload> {
        let all = self.uploads.values().map(|making| &making.upload);
        let mut found: Vec<_> = all.filter(|upload| wanted(upload)).collect();
        found.sort_by_key(|upload| (&upload.key, upload.created_ms, upload.instance));
        found
    }
}

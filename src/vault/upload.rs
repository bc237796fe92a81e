//! Multipart uploads: how one begins, what there is, and how one is given up.
//!
//! The instance exists from the beginning, and so does its data key: every part is sealed under it on arrival, each
//! attempt with a salt of its own. The key record is durable before the catalog names the upload, in state 0 (F-52); an
//! upload that is given up leaves the catalog first and then loses its record, like a deleted object.

use std::ops::Bound;

use super::kms::root_of;
use super::protect::Binding;
use super::put::{check_facts, not_recorded, with_created};
use super::types::PutRequest;
use super::{InBucket, Vault, VaultError, check_key, now_ms};
use crate::id::{InstanceId, RootId};
use crate::keys::{Mode, RecordState};
use crate::store::{self, Bucket, CommitError, NewKeyRecord, Upload, UploadsQuery};

impl Vault {
    /// Begins an upload: what [`Vault::put`] takes, and what completing it will need to know, opaque to the vault.
    /// A customer key is needed again with each part, and not to complete.
    ///
    /// # Errors
    /// As [`Vault::put`]; [`VaultError::OutcomeUnknown`]: there may be an upload that nobody knows the id of, which
    /// [`Vault::expire_uploads`] ends.
    pub fn create_upload(
        &self,
        request: PutRequest,
        attrs: Vec<u8>,
    ) -> Result<UploadInfo, VaultError> {
        self.check_writable()?;
        check_key(&request.key)?;
        check_facts(&request.facts)?;
        check_facts(&attrs)?;
        let suite = self.suite_for(&request.protection, request.suite)?;
        let binding = Binding::of(&request.protection)?;
        let created_ms = now_ms();
        let head = with_created(request.head, created_ms)?.encode_head()?;
        let bucket = self.in_bucket_now(&request.bucket)?;
        let incarnation = self.incarnation();
        let instance = InstanceId::random()?;
        let bucket_key = self.key_for(&bucket, &binding, &request.principal)?;
        let record = bucket_key
            .wrap_data_key(
                &bucket_key.new_data_key()?,
                &binding.context(bucket.id, instance, &request.key),
                request.protection.customer(),
                RecordState::Upload,
                [0; 32],
            )
            .map_err(|error| self.bucket_key_error(&bucket.name, error))?;
        let generation = bucket_key.generation();
        let durable = self.stores.keys.insert(NewKeyRecord {
            instance,
            bucket: bucket.id,
            generation,
            incarnation,
            record,
        });
        let take_back = || drop(self.stores.keys.shred(&[instance]));
        durable.map_err(|error| {
            take_back();
            not_recorded(error)
        })?;
        let upload = Upload {
            bucket: bucket.id,
            key: request.key,
            instance,
            incarnation,
            mode: binding.mode.code(),
            suite: suite as u8,
            generation,
            kms_key_id: binding.kms_key_id,
            encryption_context: binding.encryption_context,
            head,
            facts: request.facts,
            attrs,
            created_ms,
            principal: request.principal,
        };
        if let Err(error) = self.stores.catalog.create_upload(upload.clone()) {
            let (is_known, answer) = self.not_committed(error, &bucket);
            if is_known {
                take_back();
            }
            return Err(answer);
        }
        self.upload_info(&bucket, upload)
    }

    /// An upload that is under way.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchUpload`].
    pub fn upload<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        upload: InstanceId,
    ) -> Result<UploadInfo, VaultError> {
        let bucket = self.in_bucket(&bucket.into())?;
        let upload = self.upload_row(&bucket, key, upload)?;
        self.upload_info(&bucket, upload)
    }

    /// Gives an upload up. On return it is gone and its key record is shredded; its parts follow after the grace period.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchUpload`], [`VaultError::ReadOnly`]; with
    /// [`VaultError::OutcomeUnknown`] it may or may not be given up: do it again.
    pub fn abort_upload<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        upload: InstanceId,
    ) -> Result<(), VaultError> {
        self.check_writable()?;
        check_key(key)?;
        let bucket = self.in_bucket(&bucket.into())?;
        let under_way = self.debts.begin(bucket.id, key);
        match self
            .stores
            .catalog
            .abort_upload(bucket.id, key, upload, now_ms())
        {
            Ok(garbage) => self.shred_before_reply(&[garbage], under_way),
            Err(CommitError::NoSuchUpload) => {
                // Given up by another request, perhaps, which is not done with its key.
                self.shred_for_others(under_way)?;
                Err(no_such_upload(&bucket, key, upload))
            }
            Err(error) => Err(self.not_committed(error, &bucket).1),
        }
    }

    /// Gives up to `limit` uploads up that began before a time, behind `after`; one that cannot be given up keeps no other.
    /// For whoever does the housekeeping.
    ///
    /// # Errors
    /// [`VaultError::ReadOnly`], [`VaultError::Unavailable`].
    pub fn expire_uploads(
        &self,
        before_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Result<ExpiredUploads, VaultError> {
        self.check_writable()?;
        let catalog = &self.stores.catalog;
        let page = catalog.uploads_before(before_ms, after, limit)?;
        let last = page.last().filter(|_| page.len() == limit);
        let mut done = ExpiredUploads {
            next: last.map(|upload| (upload.created_ms, upload.instance)),
            ..ExpiredUploads::default()
        };
        for upload in page {
            let under_way = self.debts.begin(upload.bucket, &upload.key);
            let aborted =
                catalog.abort_upload(upload.bucket, &upload.key, upload.instance, now_ms());
            let answer = match aborted {
                Ok(garbage) => self.shred_before_reply(&[garbage], under_way),
                Err(CommitError::NoSuchUpload | CommitError::NoSuchBucket) => continue, // just now
                Err(CommitError::Store(error)) => Err(self.not_taken_out(error)),
                Err(error) => Err(VaultError::Unavailable(error.to_string())),
            };
            match answer {
                Ok(()) => done.expired += 1,
                Err(error) => done.failed.push((upload.key, upload.instance, error)),
            }
        }
        Ok(done)
    }

    /// A page of the uploads that are under way in a bucket.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::Unavailable`].
    pub fn list_uploads(&self, request: &UploadsRequest<'_>) -> Result<UploadListing, VaultError> {
        let bucket = self.in_bucket(&request.bucket)?;
        let page = self.stores.catalog.list_uploads(&UploadsQuery {
            bucket: bucket.id,
            prefix: request.prefix,
            from: request.from,
            after: request.after,
            delimiter: request.delimiter,
            limit: request.limit,
        })?;
        let items = page.items.into_iter().map(|item| match item {
            store::UploadItem::Prefix(prefix) => Ok(UploadItem::Prefix(prefix)),
            store::UploadItem::Upload(upload) => {
                let info = self.upload_info(&bucket, *upload)?;
                Ok(UploadItem::Upload(Box::new(info)))
            }
        });
        Ok(UploadListing {
            items: items.collect::<Result<_, VaultError>>()?,
            more: page.more,
        })
    }

    pub(super) fn upload_row(
        &self,
        bucket: &Bucket,
        key: &[u8],
        upload: InstanceId,
    ) -> Result<Upload, VaultError> {
        check_key(key)?;
        let found = self.stores.catalog.upload(bucket.id, key, upload)?;
        found.ok_or_else(|| no_such_upload(bucket, key, upload))
    }

    fn upload_info(&self, bucket: &Bucket, upload: Upload) -> Result<UploadInfo, VaultError> {
        let Some(mode) = Mode::from_code(upload.mode) else {
            return Err(self.damaged_upload(bucket, &upload, "its mode is none that exists"));
        };
        Ok(UploadInfo {
            id: upload.instance,
            key: upload.key,
            mode,
            kms_root: root_of(&upload.kms_key_id),
            encryption_context: upload.encryption_context,
            facts: upload.facts,
            attrs: upload.attrs,
            created_ms: upload.created_ms,
            principal: upload.principal,
        })
    }

    pub(super) fn damaged_upload(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        what: &str,
    ) -> VaultError {
        self.counts
            .damaged
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        VaultError::Damaged {
            bucket: bucket.name.clone(),
            key: upload.key.clone(),
            instance: upload.instance,
            what: what.to_owned(),
        }
    }
}

/// What a request gets that names no upload there is.
pub(super) fn no_such_upload(bucket: &Bucket, key: &[u8], upload: InstanceId) -> VaultError {
    VaultError::NoSuchUpload {
        bucket: bucket.name.clone(),
        key: key.to_vec(),
        upload,
    }
}

/// What a page of [`Vault::expire_uploads`] came to.
#[derive(Debug, Default)]
pub struct ExpiredUploads {
    /// How many were given up.
    pub expired: usize,
    /// Those that were not, or of which it is not known: key, upload, and why.
    pub failed: Vec<(Vec<u8>, InstanceId, VaultError)>,
    /// Behind which the next page begins; `None` at the end.
    pub next: Option<(u64, InstanceId)>,
}

/// What the catalog says of an upload; nothing here is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Names the upload: the instance that the object will be.
    pub id: InstanceId,
    /// The key of the object to be.
    pub key: Vec<u8>,
    /// How the object will be protected.
    pub mode: Mode,
    /// The root it is protected under, where one was named.
    pub kms_root: Option<RootId>,
    /// What its key is bound to besides, encoded.
    pub encryption_context: Vec<u8>,
    /// Facts of the object to be.
    pub facts: Vec<u8>,
    /// What completing it needs to know, as it was given.
    pub attrs: Vec<u8>,
    /// When it began, Unix milliseconds.
    pub created_ms: u64,
    /// Who began it.
    pub principal: String,
}

/// Which uploads to list.
#[derive(Debug, Clone)]
pub struct UploadsRequest<'a> {
    /// The bucket.
    pub bucket: InBucket<'a>,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on.
    pub from: Bound<&'a [u8]>,
    /// Within the key that `from` includes, only uploads behind this time of beginning and id.
    pub after: Option<(u64, InstanceId)>,
    /// As in [`ListRequest`](super::ListRequest).
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

/// A page of uploads: by key in byte order, then by when they began, then by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadListing {
    /// The items.
    pub items: Vec<UploadItem>,
    /// Whether there is more. The next page is asked for behind the last item.
    pub more: bool,
}

/// An item of a listing of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadItem {
    /// An upload.
    Upload(Box<UploadInfo>),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

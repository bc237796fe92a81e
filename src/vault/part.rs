//! One part of an upload: sealed on arrival, under the object's data key and a fresh salt for each attempt (F-32).

use std::ops::Range;
use std::sync::Arc;

use super::draft::Draft;
use super::list::AttributeKeys;
use super::protect::Binding;
use super::put::finish;
use super::read::ObjectReader;
use super::upload::no_such_upload;
use super::{InBucket, Vault, VaultError, now_ms};
use crate::format::{MAX_PARTS, NamedList, Suite};
use crate::id::InstanceId;
use crate::keys::{DataKey, KeyError, Mode, Purpose};
use crate::secret::Secret;
use crate::store::{Bucket, CommitError, PartRow, Upload};

/// One part to be written.
#[derive(Debug)]
pub struct PartRequest {
    /// The bucket.
    pub bucket: InBucket<'static>,
    /// The key of the object to be.
    pub key: Vec<u8>,
    /// The upload.
    pub upload: InstanceId,
    /// Number of the part, 1 to 10,000. A part of the same number is replaced.
    pub part: u32,
    /// The customer key, for an upload that was begun with one.
    pub customer: Option<Secret<32>>,
    /// Who asks; written to the audit trail.
    pub principal: String,
}

impl Vault {
    /// Begins to write a part. Nothing of it counts before [`PartStream::commit`].
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchUpload`], [`VaultError::Invalid`] for the number;
    /// [`VaultError::CustomerKeyRequired`], [`VaultError::CustomerKeyNotApplicable`], [`VaultError::WrongCustomerKey`];
    /// [`VaultError::PlaintextNotAllowed`]; what keeps the bucket key from being used; [`VaultError::ReadOnly`],
    /// [`VaultError::Busy`].
    pub fn put_part(self: &Arc<Self>, request: PartRequest) -> Result<PartStream, VaultError> {
        self.check_writable()?;
        if !(1..=MAX_PARTS).contains(&request.part) {
            return Err(VaultError::Invalid(format!(
                "a part has a number from 1 to {MAX_PARTS}"
            )));
        }
        let bucket = self.in_bucket(&request.bucket)?;
        let upload = self.upload_row(&bucket, &request.key, request.upload)?;
        let (data_key, binding) = self.open_upload(&bucket, &upload, &request)?;
        if binding.mode == Mode::Plain {
            self.check_plaintext(&bucket)?;
        }
        let suite = Suite::from_byte(upload.suite)
            .map_err(|_| self.damaged_upload(&bucket, &upload, "its suite is none that exists"))?;
        let draft = Draft::new(self, &data_key, suite, request.part, NEVER_INLINE)?;
        Ok(PartStream {
            vault: Arc::clone(self),
            bucket,
            upload,
            binding,
            principal: request.principal,
            data_key,
            draft,
        })
    }

    /// The data key of an upload.
    fn open_upload(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        request: &PartRequest,
    ) -> Result<(DataKey, Binding), VaultError> {
        let binding = self.binding_of(bucket, upload)?;
        match (binding.mode, &request.customer) {
            (Mode::Customer, None) => return Err(VaultError::CustomerKeyRequired),
            (Mode::Customer, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(VaultError::CustomerKeyNotApplicable),
        }
        let key = self.fetch_key(
            bucket,
            upload.generation,
            Purpose::Unwrap,
            &request.principal,
        )?;
        let record = self.stores.keys.fetch(upload.instance)?.record;
        let record = record.ok_or_else(|| self.record_is_missing(bucket, upload))?;
        let context = binding.context(bucket.id, upload.instance, &upload.key);
        let opened = key.unwrap_data_key(&record, &context, request.customer.as_ref());
        let (data_key, _) = opened.map_err(|error| match error {
            KeyError::WrongCustomerKey => VaultError::WrongCustomerKey,
            error => self.upload_record_error(bucket, upload, error),
        })?;
        Ok((data_key, binding))
    }

    /// What the key record of an upload is bound to.
    pub(super) fn binding_of(
        &self,
        bucket: &Bucket,
        upload: &Upload,
    ) -> Result<Binding, VaultError> {
        let mode = Mode::from_code(upload.mode)
            .ok_or_else(|| self.damaged_upload(bucket, upload, "its mode is none that exists"))?;
        Ok(Binding {
            mode,
            kms_key_id: upload.kms_key_id.clone(),
            encryption_context: upload.encryption_context.clone(),
        })
    }

    /// An upload whose record is not there was given up just now, or is damaged.
    pub(super) fn record_is_missing(&self, bucket: &Bucket, upload: &Upload) -> VaultError {
        match self.upload_row(bucket, &upload.key, upload.instance) {
            Ok(_) => self.damaged_upload(bucket, upload, "its key record is missing"),
            Err(error) => error,
        }
    }

    pub(super) fn upload_record_error(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        error: KeyError,
    ) -> VaultError {
        match error {
            KeyError::Malformed(_) | KeyError::Unsupported(_) | KeyError::Unauthentic => self
                .damaged_upload(
                    bucket,
                    upload,
                    &format!("its key record or what it is bound to is {error}"),
                ),
            error => self.bucket_key_error(&bucket.name, error),
        }
    }

    /// Up to `limit` parts of an upload with numbers above `after`.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchUpload`], [`VaultError::Unavailable`]. Attributes that do not
    /// open fail nothing.
    pub fn list_parts<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        upload: InstanceId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PartInfo>, VaultError> {
        let bucket = self.in_bucket(&bucket.into())?;
        let upload = self.upload_row(&bucket, key, upload)?;
        let rows = self.stores.catalog.parts(upload.instance, after, limit)?;
        let mut keys = AttributeKeys::new(self, &bucket);
        let is_opened = upload.mode != Mode::Customer.code();
        let infos = rows.into_iter().map(|row| PartInfo {
            attrs: is_opened
                .then(|| {
                    let at = (row.instance, row.part);
                    keys.open_part(upload.generation, at, &row.attrs)
                })
                .flatten(),
            part: row.part,
            length: row.length,
            salt: row.salt,
            modified_ms: row.modified_ms,
        });
        Ok(infos.collect())
    }
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number.
    pub part: u32,
    /// Plaintext length in bytes.
    pub length: u64,
    /// The salt it is sealed with. No other part has it, nor another attempt at this one: it tells them apart, and says
    /// nothing of the content.
    pub salt: [u8; 32],
    /// When it was complete, Unix milliseconds.
    pub modified_ms: u64,
    /// Its sealed attributes, opened and authenticated. `None` under a customer key, and where they cannot be opened now.
    pub attrs: Option<NamedList>,
}

/// A part being written; like [`PutStream`](super::PutStream). Dropped before [`commit`](Self::commit), it leaves nothing
/// behind.
pub struct PartStream {
    vault: Arc<Vault>,
    bucket: Bucket,
    upload: Upload,
    binding: Binding,
    principal: String,
    data_key: DataKey,
    draft: Draft,
}

impl PartStream {
    /// The bucket it is written to.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// For tests that look for it where it must not be.
    #[cfg(test)]
    pub(super) fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Takes plaintext in. Long pieces are sealed batch by batch, on all cores.
    ///
    /// # Errors
    /// As [`PutStream::write`](super::PutStream::write).
    pub fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        self.draft.write(plain)
    }

    /// Copies the first batch of a range of `source`, and returns how many bytes that was; 0 for an empty range.
    ///
    /// # Errors
    /// As [`ObjectReader::read_at`] and [`PartStream::write`].
    pub fn write_from(
        &mut self,
        source: &mut ObjectReader,
        range: Range<u64>,
    ) -> Result<usize, VaultError> {
        self.draft.write_from(source, range)
    }

    /// Ends the part, makes it durable, and a part of the upload; one of the same number is gone then.
    ///
    /// # Errors
    /// [`VaultError::NoSuchUpload`] if it was completed or given up meanwhile; otherwise as
    /// [`PutStream::commit`](super::PutStream::commit).
    pub fn commit(mut self, attrs: &NamedList) -> Result<PartInfo, VaultError> {
        let sealed = self.draft.seal_the_end()?;
        let vault = &self.vault;
        vault.check_writable()?;
        self.bucket = vault.same_bucket(&self.bucket)?;
        // Rights as they are now, not as they were when the body began.
        if self.binding.mode == Mode::Plain {
            vault.check_plaintext(&self.bucket)?;
        }
        let key = vault.fetch_key(
            &self.bucket,
            self.upload.generation,
            Purpose::Wrap,
            &self.principal,
        )?;
        let part = sealed.blob.part;
        let at = (self.upload.instance, part);
        let sealed_attrs = self.binding.seal_attrs(&key, &self.data_key, at, attrs)?;
        let blob = sealed.blob;
        if let Some(writer) = sealed.writer {
            finish(writer, &blob).map_err(|error| {
                let _ = vault.stores.blobs.remove(blob.id);
                VaultError::from(error)
            })?;
        }
        let take_back = || drop(vault.stores.blobs.remove(blob.id));
        if !self.draft.holds_its_lease() {
            take_back();
            return Err(VaultError::LeaseLost);
        }
        let row = PartRow {
            instance: self.upload.instance,
            part,
            blob: blob.clone(),
            length: sealed.summary.plain_len,
            salt: sealed.summary.salt,
            attrs: sealed_attrs,
            modified_ms: now_ms(),
        };
        let info = PartInfo {
            part,
            length: row.length,
            salt: row.salt,
            modified_ms: row.modified_ms,
            attrs: Some(attrs.clone()),
        };
        match vault.stores.catalog.put_part(row) {
            Ok(_) => {} // what it replaced was under the same key
            Err(CommitError::NoSuchUpload) => {
                take_back();
                let (key, upload) = (&self.upload.key, self.upload.instance);
                return Err(no_such_upload(&self.bucket, key, upload));
            }
            Err(error) => {
                let (is_known, answer) = vault.not_committed(error, &self.bucket);
                if is_known {
                    take_back();
                }
                return Err(answer);
            }
        }
        Ok(info)
    }
}

/// The bytes of a part are never in the catalog: each would be read with every look at the upload.
const NEVER_INLINE: usize = 0;

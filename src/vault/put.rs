//! Writing one object: the order of durable steps is the point of this file.
//!
//! 1. The instance id, then the data key, exist before the first byte.
//! 2. The blob and the key record are durable. (A blob of up to the inline limit goes with step 3.)
//! 3. One catalog transaction makes the instance visible, and what it replaced garbage.
//! 4. The key record of what it replaced is shredded. Only now the caller hears of it.
//!
//! Before step 3 began, whatever failed is taken back. From then on an outcome that is not known takes nothing back: the
//! sweeper finds out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::budget::Permit;
use super::layout::Layout;
use super::types::{CommitRequest, Committed, Protection, PutRequest};
use super::{Vault, VaultError, check_key, now_ms};
use crate::format::{NamedList, SEGMENT_LEN, Suite};
use crate::id::{BlobId, InstanceId, VersionId};
use crate::keys::{BucketKey, Context, DataKey, RecordState};
use crate::object::{BlobSealer, BlobSummary};
use crate::store::{
    BlobRef, BlobWriter, Bucket, Commit, CommitError, Locator, NewKeyRecord, ObjectRow,
    Precondition, StoreError,
};

impl Vault {
    /// Begins to write an object. Nothing of it is visible, or durable, before [`PutStream::commit`].
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::Invalid`], [`VaultError::ReadOnly`]; what keeps the bucket key from
    /// wrapping; [`VaultError::Busy`].
    pub fn put(self: &Arc<Self>, request: PutRequest) -> Result<PutStream, VaultError> {
        self.check_writable()?;
        check_key(&request.key)?;
        let suite = self.suite_for(&request)?;
        if request.facts.len() > MAX_FACTS {
            return Err(VaultError::Invalid("more than 64 KiB of facts".to_owned()));
        }
        let head = with_created(request.head, now_ms())?.encode_head()?;
        let bucket = self.bucket(&request.bucket)?;
        let memory = self
            .streams
            .take(SMALL_STREAM, PATIENCE)
            .ok_or(VaultError::Busy)?;
        let instance = InstanceId::random()?;
        let data_key = self
            .key_to_wrap(&bucket, &request.principal)?
            .new_data_key()?;
        let sealer = BlobSealer::new(&data_key, suite, 0)?;
        Ok(PutStream {
            vault: Arc::clone(self),
            incarnation: self.incarnation(),
            bucket,
            key: request.key,
            protection: request.protection,
            principal: request.principal,
            head,
            facts: request.facts,
            instance,
            data_key,
            sealer: Some(sealer),
            sealed: Vec::new(),
            blob: None,
            _memory: memory,
            more_memory: None,
        })
    }

    /// The suite of a new object. Suite 0 and the plain mode belong together (F-43), and come only from the request.
    fn suite_for(&self, request: &PutRequest) -> Result<Suite, VaultError> {
        match (&request.protection, request.suite) {
            (Protection::Plain, None | Some(Suite::PlainGmac)) => Ok(Suite::PlainGmac),
            (Protection::Plain, Some(_)) | (_, Some(Suite::PlainGmac)) => Err(VaultError::Invalid(
                "suite 0 goes with plain protection, and with nothing else".to_owned(),
            )),
            (_, suite) => Ok(suite.unwrap_or(self.config.suite)),
        }
    }
}

/// An object being written. Each call is bounded work: one batch of sealing and writing at a time, and it never waits
/// for a network. Dropped before [`commit`](Self::commit), it leaves nothing behind.
///
/// It holds the data key, at most one segment of plaintext (wiped with it) and at most the inline limit of sealed bytes.
pub struct PutStream {
    vault: Arc<Vault>,
    incarnation: u64,
    bucket: Bucket,
    key: Vec<u8>,
    protection: Protection,
    principal: String,
    head: Vec<u8>,
    facts: Vec<u8>,
    instance: InstanceId,
    data_key: DataKey,
    /// `None` once a call has failed.
    sealer: Option<BlobSealer>,
    /// Sealed bytes that are not in `blob` yet; all of them as long as the object is small enough to be inline.
    sealed: Vec<u8>,
    /// In a mutex that is never locked: it lends a stream that may be looked at from two threads.
    blob: Option<(BlobId, Mutex<Box<dyn BlobWriter>>)>,
    _memory: Permit,
    more_memory: Option<Permit>,
}

impl PutStream {
    /// The instance this write makes.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

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

    /// How much is sealed in one go.
    pub(super) fn batch(&self) -> usize {
        self.vault.config.batch
    }

    /// Takes plaintext in. Long pieces are sealed batch by batch, on all cores.
    ///
    /// # Errors
    /// [`VaultError::TooLarge`], [`VaultError::Full`] and what else a blob store answers; the stream has ended then, and
    /// its blob is gone.
    pub fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        let mut sealer = self.sealer.take().ok_or(VaultError::Ended)?;
        let done = plain
            .chunks(self.vault.config.batch)
            .try_for_each(|batch| self.write_batch(&mut sealer, batch));
        match done {
            Ok(()) => self.sealer = Some(sealer),
            Err(_) => self.blob = None,
        }
        done
    }

    fn write_batch(&mut self, sealer: &mut BlobSealer, batch: &[u8]) -> Result<(), VaultError> {
        if self.more_memory.is_none() && sealer.plain_len() + batch.len() as u64 > SMALL_HELD {
            let more = self
                .vault
                .streams
                .take(LARGE_STREAM - SMALL_STREAM, PATIENCE);
            self.more_memory = Some(more.ok_or(VaultError::Busy)?);
        }
        let _work = self
            .vault
            .work
            .take(sealer.room(batch.len()), PATIENCE)
            .ok_or(VaultError::Busy)?;
        sealer.update(batch, &mut self.sealed)?;
        if self.blob.is_some() || self.sealed.len() > self.vault.config.inline_limit {
            self.spill()?;
        }
        Ok(())
    }

    /// Moves what is sealed into the blob.
    fn spill(&mut self) -> Result<(), VaultError> {
        if self.sealed.is_empty() {
            return Ok(());
        }
        if self.blob.is_none() {
            let id = new_blob_id(self.incarnation)?;
            self.blob = Some((id, Mutex::new(self.vault.stores.blobs.create(id)?)));
        }
        if let Some((_, writer)) = &mut self.blob {
            writer
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .append(&self.sealed)?;
        }
        self.sealed.clear();
        if self.sealed.capacity() > KEPT_CAPACITY {
            self.sealed = Vec::new();
        }
        Ok(())
    }

    /// Ends the object, makes it durable, then visible. On return of `Ok` it survives any crash, and the key of what it
    /// replaced is shredded.
    ///
    /// # Errors
    /// [`VaultError::PreconditionFailed`], [`VaultError::NoSuchBucket`], [`VaultError::LeaseLost`] and what the stores
    /// answer: the object is not there. [`VaultError::OutcomeUnknown`]: it may be.
    pub fn commit(mut self, request: CommitRequest) -> Result<Committed, VaultError> {
        let summary = self.seal_the_end()?;
        self.vault.check_writable()?;
        // Rights and generation as they are now, not as they were when the body began.
        self.bucket = self.vault.same_bucket(&self.bucket)?;
        self.check(request.precondition)?;
        let bucket_key = self.vault.key_to_wrap(&self.bucket, &self.principal)?;
        let layout = Layout::of_one_blob(&self.head, &summary)?;
        let attrs = self.seal_attrs(&bucket_key, &request.attrs)?;
        let record = self.wrap(&bucket_key, layout.digest)?;
        let generation = bucket_key.generation();

        let blob = self.make_durable(generation, record, summary.sealed_len)?;
        if self.incarnation != self.vault.incarnation() {
            self.take_back(&blob);
            return Err(VaultError::LeaseLost);
        }
        let now_ms = now_ms();
        let inline = match blob.locator {
            Locator::Inline => vec![(blob.id, std::mem::take(&mut self.sealed))],
            _ => Vec::new(),
        };
        let row = ObjectRow {
            key: std::mem::take(&mut self.key),
            instance: self.instance,
            version: VersionId(self.instance.0),
            null: true,
            mode: self.protection.mode().code(),
            suite: summary.suite as u8,
            length: summary.plain_len,
            modified_ms: now_ms,
            generation,
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            manifest: layout.manifest,
            head: std::mem::take(&mut self.head),
            attrs,
            facts: std::mem::take(&mut self.facts),
            blobs: vec![blob.clone()],
            restored: Vec::new(),
        };
        let visible = self.vault.stores.catalog.commit(Commit {
            bucket: self.bucket.id,
            incarnation: self.incarnation,
            row,
            inline,
            part_attrs: Vec::new(),
            completes: false,
            precondition: request.precondition,
            now_ms,
        });
        let garbage = match visible {
            Ok(committed) => committed.garbage,
            Err(error) => return Err(self.not_visible(error, &blob)),
        };
        let replaced = garbage.iter().find_map(|garbage| garbage.instance);
        for garbage in &garbage {
            self.vault.shred_before_reply(garbage)?;
        }
        Ok(Committed {
            instance: self.instance,
            modified_ms: now_ms,
            replaced,
            length: summary.plain_len,
        })
    }

    /// Whether the precondition holds now. The commit decides; but a write that fails already needs no key record, which
    /// would have to be shredded again.
    fn check(&self, precondition: Precondition) -> Result<(), VaultError> {
        if precondition == Precondition::None {
            return Ok(());
        }
        let visible = self
            .vault
            .stores
            .catalog
            .object(self.bucket.id, &self.key)?;
        if precondition.holds(visible.map(|view| view.row.instance)) {
            Ok(())
        } else {
            Err(VaultError::PreconditionFailed)
        }
    }

    /// Seals the last segment. Afterwards all of the object is in the blob, or all of it in `sealed`.
    fn seal_the_end(&mut self) -> Result<BlobSummary, VaultError> {
        let sealer = self.sealer.take().ok_or(VaultError::Ended)?;
        let summary = sealer.finish(&mut self.sealed)?;
        if self.blob.is_some() || self.sealed.len() > self.vault.config.inline_limit {
            self.spill()?;
        }
        Ok(summary)
    }

    fn seal_attrs(&self, key: &BucketKey, attrs: &NamedList) -> Result<Vec<u8>, VaultError> {
        let list = attrs.encode_attrs()?;
        Ok(match self.protection {
            Protection::Customer(_) => self.data_key.seal_attrs(self.instance, 0, &list)?,
            Protection::Managed | Protection::Plain => key.seal_attrs(self.instance, 0, &list)?,
        })
    }

    fn wrap(&self, key: &BucketKey, manifest_digest: [u8; 32]) -> Result<Vec<u8>, VaultError> {
        let customer = match &self.protection {
            Protection::Customer(key) => Some(key),
            Protection::Managed | Protection::Plain => None,
        };
        let context = Context {
            mode: self.protection.mode(),
            bucket: self.bucket.id,
            instance: self.instance,
            object_key: &self.key,
            kms_key_id: &[],
            encryption_context: &[],
        };
        key.wrap_data_key(
            &self.data_key,
            &context,
            customer,
            RecordState::Complete,
            manifest_digest,
        )
        .map_err(|error| self.vault.bucket_key_error(&self.bucket.name, error))
    }

    /// Step 2. A blob and a key record that are both waiting for a disk wait together.
    fn make_durable(
        &mut self,
        generation: u32,
        record: Vec<u8>,
        sealed_len: u64,
    ) -> Result<BlobRef, VaultError> {
        let new = NewKeyRecord {
            instance: self.instance,
            bucket: self.bucket.id,
            generation,
            incarnation: self.incarnation,
            record,
        };
        let keys = &self.vault.stores.keys;
        let Some((id, writer)) = self.blob.take() else {
            let id = new_blob_id(self.incarnation)?;
            let blob = BlobRef {
                part: 0,
                id,
                locator: Locator::Inline,
                sealed_len,
            };
            return match keys.insert(new) {
                Ok(()) => Ok(blob),
                Err(error) => Err(self.not_durable(error, &blob)),
            };
        };
        let blob = BlobRef {
            part: 0,
            id,
            locator: Locator::File,
            sealed_len,
        };
        let (written, inserted) = std::thread::scope(|scope| {
            let insert = scope.spawn(move || keys.insert(new));
            let written = writer
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish();
            let inserted = insert.join().unwrap_or_else(|_| {
                Err(StoreError::OutcomeUnknown(
                    "the key store panicked".to_owned(),
                ))
            });
            (written, inserted)
        });
        match written.and_then(|len| inserted.map(|()| len)) {
            Ok(len) if len == sealed_len => Ok(blob),
            Ok(len) => {
                let error = StoreError::Io(format!("blob {id}: {len} bytes of {sealed_len}"));
                Err(self.not_durable(error, &blob))
            }
            Err(error) => Err(self.not_durable(error, &blob)),
        }
    }

    /// Before step 3 nobody can have seen the object, whatever became of the record: to the caller, it is not there.
    fn not_durable(&self, error: StoreError, blob: &BlobRef) -> VaultError {
        self.take_back(blob);
        match error {
            StoreError::OutcomeUnknown(text) => VaultError::Unavailable(text),
            StoreError::Exists(_) => VaultError::LeaseLost, // the sweeper shredded the record's id
            error => error.into(),
        }
    }

    fn not_visible(&self, error: CommitError, blob: &BlobRef) -> VaultError {
        let answer = match error {
            CommitError::Precondition => VaultError::PreconditionFailed,
            CommitError::Condemned => VaultError::LeaseLost,
            CommitError::NoSuchBucket => VaultError::NoSuchBucket(self.bucket.name.clone()),
            CommitError::Store(error @ (StoreError::Unavailable(_) | StoreError::Full(_))) => {
                error.into()
            }
            error => {
                // Anything else may have happened after the transaction: nothing is deleted.
                self.vault.counts.unknown.fetch_add(1, Ordering::Relaxed);
                return VaultError::OutcomeUnknown(error.to_string());
            }
        };
        self.take_back(blob);
        answer
    }

    /// Removes what was made durable and certainly is not visible. What cannot be removed now, the sweeper removes when
    /// this incarnation is over.
    fn take_back(&self, blob: &BlobRef) {
        let _ = self.vault.stores.keys.shred(&[self.instance]);
        if blob.locator == Locator::File {
            let _ = self.vault.stores.blobs.remove(blob.id);
        }
    }
}

fn new_blob_id(incarnation: u64) -> Result<BlobId, VaultError> {
    let mut id = BlobId::random()?;
    id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
    Ok(id)
}

fn with_created(head: NamedList, created_ms: u64) -> Result<NamedList, VaultError> {
    let mut list = head.0;
    if list.iter().any(|(name, _)| name.starts_with(':')) {
        return Err(VaultError::Invalid(
            "names with a colon in front are the vault's own".to_owned(),
        ));
    }
    list.push((CREATED.to_owned(), created_ms.to_le_bytes().to_vec()));
    Ok(NamedList(list))
}

/// The head's entry with the time the write began (F-90), little-endian Unix milliseconds.
pub(super) const CREATED: &str = ":created";
/// How long a call may wait for memory that others return within one batch.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Charged for a stream that holds no more than `SMALL_HELD` bytes of plaintext.
const SMALL_STREAM: usize = 8 << 10;
const SMALL_HELD: u64 = 4 << 10;
/// Charged for any other: a segment of plaintext, and sealed bytes that wait.
const LARGE_STREAM: usize = SEGMENT_LEN + KEPT_CAPACITY;
/// A buffer of sealed bytes that is larger is given back between calls.
const KEPT_CAPACITY: usize = 32 << 10;
const MAX_FACTS: usize = 64 << 10;

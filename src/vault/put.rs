//! Writing one object: the order of durable steps is the point of this file.
//!
//! 1. The instance id, then the data key, exist before the first byte.
//! 2. The blob and the key record are durable. (A blob of up to the inline limit goes with step 3.)
//! 3. One catalog transaction makes the instance visible, and what it replaced garbage.
//! 4. The key record of what it replaced is shredded. Only now the caller hears of it.
//!
//! Before step 3 began, whatever failed is taken back. From then on an outcome that is not known takes nothing back: the
//! sweeper finds out.

use std::sync::Arc;

use super::draft::{Draft, Sealed};
use super::layout::Layout;
use super::protect::Binding;
use super::types::{CommitRequest, Committed, Protection, PutRequest};
use super::{Vault, VaultError, check_key, now_ms};
use crate::format::NamedList;
use crate::id::{InstanceId, VersionId};
use crate::keys::{BucketKey, DataKey, RecordState};
use crate::store::{
    BlobRef, BlobWriter, Bucket, Commit, CommitError, Locator, NewKeyRecord, ObjectRow,
    Precondition, StoreError,
};

impl Vault {
    /// Begins to write an object. Nothing of it is visible, or durable, before [`PutStream::commit`].
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::Invalid`], [`VaultError::ReadOnly`],
    /// [`VaultError::PlaintextNotAllowed`]; what keeps the bucket key from wrapping, for a root that the request names
    /// [`VaultError::NoSuchRoot`], [`VaultError::RootDisabled`] or [`VaultError::RootPendingDeletion`];
    /// [`VaultError::Busy`].
    pub fn put(self: &Arc<Self>, request: PutRequest) -> Result<PutStream, VaultError> {
        self.check_writable()?;
        check_key(&request.key)?;
        check_facts(&request.facts)?;
        let suite = self.suite_for(&request.protection, request.suite)?;
        let binding = Binding::of(&request.protection)?;
        let head = with_created(request.head, now_ms())?.encode_head()?;
        let bucket = self.in_bucket_now(&request.bucket)?;
        let instance = InstanceId::random()?;
        let data_key = self
            .key_for(&bucket, &binding, &request.principal)?
            .new_data_key()?;
        let draft = Draft::new(self, &data_key, suite, 0, self.config.inline_limit)?;
        Ok(PutStream {
            vault: Arc::clone(self),
            bucket,
            key: request.key,
            protection: request.protection,
            binding,
            principal: request.principal,
            head,
            facts: request.facts,
            instance,
            data_key,
            draft,
        })
    }
}

/// An object being written. Each call is bounded work: one batch of sealing and writing at a time, and it never waits
/// for a network. Dropped before [`commit`](Self::commit), it leaves nothing behind.
///
/// It holds the data key, at most one segment of plaintext (wiped with it) and at most the inline limit of sealed bytes.
pub struct PutStream {
    vault: Arc<Vault>,
    bucket: Bucket,
    key: Vec<u8>,
    protection: Protection,
    binding: Binding,
    principal: String,
    head: Vec<u8>,
    facts: Vec<u8>,
    instance: InstanceId,
    data_key: DataKey,
    pub(super) draft: Draft,
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

    /// Takes plaintext in. Long pieces are sealed batch by batch, on all cores.
    ///
    /// # Errors
    /// [`VaultError::TooLarge`], [`VaultError::Full`] and what else a blob store answers; the stream has ended then, and
    /// its blob is gone.
    pub fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        self.draft.write(plain)
    }

    /// Ends the object, makes it durable, then visible. On return of `Ok` it survives any crash, and the key of what it
    /// replaced is shredded.
    ///
    /// # Errors
    /// [`VaultError::PreconditionFailed`], [`VaultError::NoSuchBucket`], [`VaultError::LeaseLost`] and what the stores
    /// answer: the object is not there. [`VaultError::OutcomeUnknown`]: it may be.
    pub fn commit(mut self, request: CommitRequest) -> Result<Committed, VaultError> {
        if let Some(facts) = &request.facts {
            check_facts(facts)?;
        }
        let sealed = self.draft.seal_the_end()?;
        let vault = Arc::clone(&self.vault);
        vault.check_writable()?;
        // Rights and generation as they are now, not as they were when the body began.
        self.bucket = vault.same_bucket(&self.bucket)?;
        self.check(request.precondition)?;
        let bucket_key = vault.key_for(&self.bucket, &self.binding, &self.principal)?;
        let layout = Layout::of_one_blob(&self.head, &sealed.summary)?;
        let attrs = self.binding.seal_attrs(
            &bucket_key,
            &self.data_key,
            (self.instance, 0),
            &request.attrs,
        )?;
        let record = self.wrap(&bucket_key, layout.digest)?;
        let generation = bucket_key.generation();

        let Sealed {
            summary,
            blob,
            inline,
            writer,
        } = sealed;
        self.make_durable(generation, record, &blob, writer)?;
        if !self.draft.holds_its_lease() {
            self.take_back(&blob);
            return Err(VaultError::LeaseLost);
        }
        let now_ms = now_ms();
        let inline = match blob.locator {
            Locator::Inline => vec![(blob.id, inline)],
            _ => Vec::new(),
        };
        let row = ObjectRow {
            key: std::mem::take(&mut self.key),
            instance: self.instance,
            version: VersionId(self.instance.0),
            null: false, // the catalog knows
            mode: self.binding.mode.code(),
            suite: summary.suite as u8,
            length: summary.plain_len,
            modified_ms: now_ms,
            generation,
            kms_key_id: self.binding.kms_key_id.clone(),
            encryption_context: self.binding.encryption_context.clone(),
            manifest: layout.manifest,
            head: std::mem::take(&mut self.head),
            attrs,
            facts: request
                .facts
                .unwrap_or_else(|| std::mem::take(&mut self.facts)),
            blobs: vec![blob.clone()],
            restored: Vec::new(),
        };
        let under_way = vault.debts.begin(self.bucket.id, &row.key);
        let visible = vault.stores.catalog.commit(Commit {
            bucket: self.bucket.id,
            incarnation: self.draft.incarnation(),
            row,
            inline,
            part_attrs: Vec::new(),
            completes: None,
            precondition: request.precondition,
            now_ms,
        });
        let committed = match visible {
            Ok(committed) => committed,
            Err(error) => return Err(self.not_visible(error, &blob)),
        };
        vault.shred_before_reply(&committed.garbage, under_way)?;
        Ok(Committed {
            instance: self.instance,
            version: VersionId(self.instance.0),
            null: committed.null,
            modified_ms: now_ms,
            replaced: committed
                .garbage
                .iter()
                .find_map(|garbage| garbage.instance),
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

    fn wrap(&self, key: &BucketKey, manifest_digest: [u8; 32]) -> Result<Vec<u8>, VaultError> {
        key.wrap_data_key(
            &self.data_key,
            &self
                .binding
                .context(self.bucket.id, self.instance, &self.key),
            self.protection.customer(),
            RecordState::Complete,
            manifest_digest,
        )
        .map_err(|error| self.vault.bucket_key_error(&self.bucket.name, error))
    }

    /// Step 2. A blob and a key record that are both waiting for a disk wait together.
    fn make_durable(
        &self,
        generation: u32,
        record: Vec<u8>,
        blob: &BlobRef,
        writer: Option<Box<dyn BlobWriter>>,
    ) -> Result<(), VaultError> {
        let new = NewKeyRecord {
            instance: self.instance,
            bucket: self.bucket.id,
            generation,
            incarnation: self.draft.incarnation(),
            record,
        };
        let keys = &self.vault.stores.keys;
        let done = match writer {
            None => keys.insert(new),
            Some(writer) => std::thread::scope(|scope| {
                let insert =
                    std::thread::Builder::new().spawn_scoped(scope, move || keys.insert(new));
                let insert = insert
                    .map_err(|error| StoreError::Unavailable(format!("a thread: {error}")))?;
                let written = finish(writer, blob);
                let inserted = insert.join().unwrap_or_else(|_| {
                    Err(StoreError::OutcomeUnknown(
                        "the key store panicked".to_owned(),
                    ))
                });
                written.and(inserted)
            }),
        };
        done.map_err(|error| {
            self.take_back(blob);
            not_recorded(error)
        })
    }

    fn not_visible(&self, error: CommitError, blob: &BlobRef) -> VaultError {
        let (is_known, answer) = self.vault.not_committed(error, &self.bucket);
        if is_known {
            self.take_back(blob);
        }
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

impl Vault {
    /// What a commit that did not succeed means to the caller; and whether it certainly had no effect. Otherwise nothing
    /// is to be deleted.
    pub(super) fn not_committed(&self, error: CommitError, bucket: &Bucket) -> (bool, VaultError) {
        let answer = match error {
            CommitError::Precondition => VaultError::PreconditionFailed,
            CommitError::Condemned => VaultError::LeaseLost,
            CommitError::NoSuchBucket => VaultError::NoSuchBucket(bucket.name.clone()),
            CommitError::Store(error @ (StoreError::Unavailable(_) | StoreError::Full(_))) => {
                error.into()
            }
            error => {
                // Anything else may have happened after the transaction.
                self.may_have_happened();
                return (false, VaultError::OutcomeUnknown(error.to_string()));
            }
        };
        (true, answer)
    }
}

/// What it means to the caller that a key record, or what goes with it, is not durable. Nothing names it yet: whatever
/// became of it, nothing happened.
pub(super) fn not_recorded(error: StoreError) -> VaultError {
    match error {
        StoreError::OutcomeUnknown(text) => VaultError::Unavailable(text),
        StoreError::Exists(_) => VaultError::LeaseLost, // the sweeper shredded the record's id
        error => error.into(),
    }
}

/// Makes a blob durable, and sees that all of it is.
pub(super) fn finish(writer: Box<dyn BlobWriter>, blob: &BlobRef) -> Result<(), StoreError> {
    let len = writer.finish()?;
    if len == blob.sealed_len {
        Ok(())
    } else {
        Err(StoreError::Io(format!(
            "blob {}: {len} bytes of {}",
            blob.id, blob.sealed_len
        )))
    }
}

pub(super) fn check_facts(facts: &[u8]) -> Result<(), VaultError> {
    if facts.len() > MAX_FACTS {
        return Err(VaultError::Invalid("more than 64 KiB of facts".to_owned()));
    }
    Ok(())
}

pub(super) fn with_created(head: NamedList, created_ms: u64) -> Result<NamedList, VaultError> {
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
const MAX_FACTS: usize = 64 << 10;

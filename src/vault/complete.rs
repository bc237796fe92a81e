//! Completing an upload: its parts become an object, and no byte of data is moved, nor any customer key needed (F-88).
//!
//! 1. The key record is read, whatever state it is in.
//! 2. The upload is claimed for the manifest that the chosen parts make.
//! 3. The key record names that manifest, by compare-and-swap against what step 1 read.
//! 4. One catalog transaction makes the object visible, if the claim still holds.
//! 5. The key record of what it replaced is shredded. Only now the caller hears of it.
//!
//! Each attempt has a manifest of its own, by a random entry in the head: a record that was swapped never comes back.
//!
//! A crash, or a step that fails, leaves an upload that can be completed again, with other parts too: step 3 takes a
//! record that names a manifest already. Two that complete one upload at a time with different parts do no harm: whoever
//! claims later makes the commit of the other fail, and who claims after that has read the record too early to change it.

use std::sync::Arc;
use std::time::Duration;

use super::layout::Layout;
use super::part_attrs::join;
use super::put::check_facts;
use super::types::{CommitRequest, Committed};
use super::upload::no_such_upload;
use super::{InBucket, Vault, VaultError, now_ms};
use crate::format::{NamedList, Suite};
use crate::id::{InstanceId, VersionId};
use crate::keys::{BucketKey, Mode, Purpose};
use crate::store::{
    Bucket, Commit, CommitError, ObjectRow, ObjectView, PartRow, StoreError, Upload, Version, Which,
};

/// An upload to be completed.
#[derive(Debug, Clone)]
pub struct CompleteRequest<'a> {
    /// The bucket.
    pub bucket: InBucket<'a>,
    /// The key of the object to be.
    pub key: &'a [u8],
    /// The upload.
    pub upload: InstanceId,
    /// The parts the object is made of: numbers, ascending, and the salt that [`PartInfo`](super::PartInfo) has of each.
    pub parts: &'a [(u32, [u8; 32])],
    /// Who asks; written to the audit trail.
    pub principal: &'a str,
}

impl Vault {
    /// Makes an object of the chosen parts of an upload. Those that are not chosen are gone then. Completing what is
    /// complete already gives the same answer again.
    ///
    /// The attributes of an object under a customer key can only be sealed with that key, which is not here: those of
    /// `commit` have to be empty then. The attributes of its parts are kept for it.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchUpload`], [`VaultError::NoSuchPart`]; [`VaultError::Invalid`]
    /// for no parts, or parts out of order; otherwise as [`PutStream::commit`](super::PutStream::commit). The upload is
    /// still there then, unless it is [`VaultError::OutcomeUnknown`].
    pub fn complete_upload(
        &self,
        request: &CompleteRequest<'_>,
        commit: &CommitRequest,
    ) -> Result<Committed, VaultError> {
        self.check_writable()?;
        if let Some(facts) = &commit.facts {
            check_facts(facts)?;
        }
        if request.parts.is_empty() || !request.parts.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(VaultError::Invalid(
                "an upload is completed with one part or more, in ascending order".to_owned(),
            ));
        }
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                give_way(attempt)?;
            }
            let bucket = self.in_bucket_now(&request.bucket)?;
            let upload = match self.upload_row(&bucket, request.key, request.upload) {
                Err(VaultError::NoSuchUpload { .. }) => {
                    // By another request, perhaps, which is not done with what the object replaced.
                    self.settle(&bucket, request.key)?;
                    return self.completed(&bucket, request);
                }
                upload => upload?,
            };
            if let Some(committed) = self.try_to_complete(&bucket, upload, request, commit)? {
                return Ok(committed);
            }
        }
        Err(VaultError::Unavailable(format!(
            "upload {} is being completed by others, with other parts",
            request.upload
        )))
    }

    /// `None` if another one came in between.
    fn try_to_complete(
        &self,
        bucket: &Bucket,
        upload: Upload,
        request: &CompleteRequest<'_>,
        commit: &CommitRequest,
    ) -> Result<Option<Committed>, VaultError> {
        let keys = &self.stores.keys;
        let catalog = &self.stores.catalog;
        let Some(before) = keys.fetch(upload.instance)?.record else {
            return match self.record_is_missing(bucket, &upload) {
                VaultError::NoSuchUpload { .. } => Ok(None),
                error => Err(error),
            };
        };
        let parts = match self.choose(&upload, request.parts) {
            // Parts go with their upload: perhaps it was completed or aborted since it was looked up.
            Err(missing @ VaultError::NoSuchPart(_)) => {
                return match self.upload_row(bucket, request.key, request.upload) {
                    Err(VaultError::NoSuchUpload { .. }) => Ok(None),
                    Err(error) => Err(error),
                    Ok(_) => Err(missing),
                };
            }
            parts => parts?,
        };
        let suite = Suite::from_byte(upload.suite)
            .map_err(|_| self.damaged_upload(bucket, &upload, "its suite is none that exists"))?;
        let entries = parts.iter().map(|row| (row.part, row.length, row.salt));
        let head = head_of_attempt(&upload)?;
        let layout = Layout::of_parts(suite, &head, entries)?;

        let key = self.fetch_key(bucket, upload.generation, Purpose::Wrap, request.principal)?;
        let row = self.row_of(bucket, &upload, &parts, layout.manifest, &key, commit)?;
        let row = ObjectRow { head, ..row };
        let binding = self.binding_of(bucket, &upload)?;
        let context = binding.context(bucket.id, upload.instance, &upload.key);
        let record = key
            .complete(&before, &context, layout.digest)
            .map_err(|error| self.upload_record_error(bucket, &upload, error))?;
        let length = row.length;
        let part_attrs = join(parts.iter().map(|row| (row.part, row.attrs.as_slice())))?;
        drop(parts);

        match catalog.claim_upload(bucket.id, &upload.key, upload.instance, &layout.digest) {
            Ok(()) => {}
            Err(CommitError::NoSuchUpload) => return Ok(None),
            Err(error) => return Err(self.not_committed(error, bucket).1),
        }
        match keys.replace(upload.instance, &before, upload.generation, &record) {
            Ok(()) => {}
            Err(StoreError::Stale(_) | StoreError::NotFound(_)) => return Ok(None),
            // Whatever became of it: the upload is still there, and nothing visible.
            Err(StoreError::OutcomeUnknown(text)) => return Err(VaultError::Unavailable(text)),
            Err(error) => return Err(error.into()),
        }
        let now_ms = now_ms();
        let under_way = self.debts.begin(bucket.id, &upload.key);
        let visible = catalog.commit(Commit {
            bucket: bucket.id,
            incarnation: self.incarnation(),
            row: ObjectRow {
                modified_ms: now_ms,
                ..row
            },
            inline: Vec::new(),
            part_attrs,
            completes: Some(layout.digest.to_vec()),
            precondition: commit.precondition,
            now_ms,
        });
        let committed = match visible {
            Ok(committed) => committed,
            Err(CommitError::NoSuchUpload | CommitError::NotClaimed) => return Ok(None),
            Err(CommitError::PartChanged(part)) => return Err(VaultError::NoSuchPart(part)),
            Err(error) => return Err(self.not_committed(error, bucket).1),
        };
        self.shred_before_reply(&committed.garbage, under_way)?;
        Ok(Some(Committed {
            instance: upload.instance,
            version: VersionId(upload.instance.0),
            null: committed.null,
            modified_ms: now_ms,
            replaced: committed
                .garbage
                .iter()
                .find_map(|garbage| garbage.instance),
            length,
        }))
    }

    /// The parts that the request names, as they are now.
    fn choose(
        &self,
        upload: &Upload,
        chosen: &[(u32, [u8; 32])],
    ) -> Result<Vec<PartRow>, VaultError> {
        let mut rows = Vec::with_capacity(chosen.len());
        let mut wanted = chosen.iter().peekable();
        let mut after = 0;
        loop {
            let page = self.stores.catalog.parts(upload.instance, after, PAGE)?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.part;
            for row in page {
                if let Some((_, salt)) = wanted.next_if(|(part, _)| *part == row.part) {
                    if row.salt != *salt {
                        return Err(VaultError::NoSuchPart(row.part));
                    }
                    rows.push(row);
                }
            }
        }
        match wanted.next() {
            Some((part, _)) => Err(VaultError::NoSuchPart(*part)),
            None => Ok(rows),
        }
    }

    fn row_of(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        parts: &[PartRow],
        manifest: Vec<u8>,
        key: &Arc<BucketKey>,
        commit: &CommitRequest,
    ) -> Result<ObjectRow, VaultError> {
        let attrs = if upload.mode != Mode::Customer.code() {
            key.seal_attrs(upload.instance, 0, &commit.attrs.encode_attrs()?)?
        } else if commit.attrs.0.is_empty() {
            Vec::new()
        } else {
            return Err(VaultError::Invalid(
                "attributes of an object under a customer key are sealed with that key".to_owned(),
            ));
        };
        if upload.mode == Mode::Plain.code() {
            self.check_plaintext(bucket)?;
        }
        Ok(ObjectRow {
            key: upload.key.clone(),
            instance: upload.instance,
            version: VersionId(upload.instance.0),
            null: false, // the catalog knows
            mode: upload.mode,
            suite: upload.suite,
            length: parts.iter().map(|row| row.length).sum(),
            modified_ms: 0,
            generation: upload.generation,
            kms_key_id: upload.kms_key_id.clone(),
            encryption_context: upload.encryption_context.clone(),
            manifest,
            head: Vec::new(),
            attrs,
            facts: commit.facts.clone().unwrap_or_else(|| upload.facts.clone()),
            blobs: parts.iter().map(|row| row.blob.clone()).collect(),
            restored: Vec::new(),
        })
    }

    /// The answer to who completes what is complete already.
    fn completed(
        &self,
        bucket: &Bucket,
        request: &CompleteRequest<'_>,
    ) -> Result<Committed, VaultError> {
        let label = VersionId(request.upload.0);
        for which in [Which::Current, Which::Label(label), Which::Null] {
            let seen = self.stores.catalog.version(bucket.id, request.key, which)?;
            let Some(Version::Object(view)) = seen.map(|seen| seen.version) else {
                continue;
            };
            let ObjectView { row, .. } = *view;
            if row.version == label {
                return Ok(Committed {
                    instance: row.instance,
                    version: label,
                    null: row.null,
                    modified_ms: row.modified_ms,
                    replaced: None,
                    length: row.length,
                });
            }
        }
        Err(no_such_upload(bucket, request.key, request.upload))
    }
}

/// The head of the object to be, with what no other attempt at completing it has. So no two attempts make the same key
/// record, and each swap of step 3 makes the ones before it impossible.
fn head_of_attempt(upload: &Upload) -> Result<Vec<u8>, VaultError> {
    let mut head = NamedList::decode_head(&upload.head)?;
    let attempt = InstanceId::random()?;
    head.0.push((ATTEMPT.to_owned(), attempt.0.to_vec()));
    Ok(head.encode_head()?)
}

/// Lets another completion of the same upload get through: two that claim in turn would keep each other from it for
/// ever. For up to 4 ms at first, twice as long each time, at random: in the end for longer than a slow disk takes for
/// the three steps that a claim has to outlast.
fn give_way(attempt: u32) -> Result<(), VaultError> {
    let mut chance = [0; 4];
    getrandom::fill(&mut chance)?;
    let most = (2_000_u32 << attempt).min(MOST_PAUSE_US);
    let pause = u32::from_le_bytes(chance) % most;
    std::thread::sleep(Duration::from_micros(pause.into()));
    Ok(())
}

/// The head's entry with 16 random bytes of the attempt that completed the upload.
const ATTEMPT: &str = ":completion";
const ATTEMPTS: u32 = 12;
const MOST_PAUSE_US: u32 = 1_000_000;
/// Parts that are read at a time.
const PAGE: usize = 1000;

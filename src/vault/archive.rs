//! The archive: sealed bytes move to another store and back, as they are. No key is used, of nobody.
//!
//! The bytes are copied first, a batch at a time, and durable; then one catalog transaction names them in the place of
//! the others, which are garbage from then on. What a crash leaves before that is an orphan like any other.

use std::sync::{Arc, Mutex, PoisonError};

use super::draft::{PATIENCE, new_blob_id};
use super::find::{Found, Miss, nothing};
use super::put::{check_facts, finish};
use super::source::Source;
use super::{InBucket, Vault, VaultError, check_key, now_ms};
use crate::store::{
    BlobRef, BlobWriter, CommitError, Locator, Place, Relocation, StoreError, Which,
};

impl Vault {
    /// Begins to move the bytes of an object into the archive. The object has to have these facts, then and at the end.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchKey`] and its like; [`VaultError::PreconditionFailed`] for other
    /// facts; [`VaultError::Invalid`] if it is in the archive already; [`VaultError::Unavailable`] without an archive;
    /// [`VaultError::ReadOnly`].
    pub fn archive_object<'b>(
        self: &Arc<Self>,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        which: Which,
        expected_facts: &[u8],
    ) -> Result<Transfer, VaultError> {
        let found = self.find_to_move(&bucket.into(), key, which, expected_facts)?;
        self.archive()?;
        if found.view.row.place().archived {
            return Err(VaultError::Invalid(
                "the object is in the archive already".to_owned(),
            ));
        }
        Ok(Transfer::new(self, found, Locator::Archive))
    }

    /// Begins to make a copy of an object in the archive that can be read; it stays in the archive too.
    ///
    /// # Errors
    /// As [`Vault::archive_object`]; [`VaultError::Invalid`] if the object is not in the archive, or has such a copy.
    pub fn restore_object<'b>(
        self: &Arc<Self>,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        which: Which,
        expected_facts: &[u8],
    ) -> Result<Transfer, VaultError> {
        let found = self.find_to_move(&bucket.into(), key, which, expected_facts)?;
        self.archive()?;
        match found.view.row.place() {
            Place {
                archived: true,
                restored: false,
            } => Ok(Transfer::new(self, found, Locator::File)),
            _ => Err(VaultError::Invalid(
                "only an object in the archive without a restored copy can be restored".to_owned(),
            )),
        }
    }

    /// Gives the restored copy of an object up. One that has none only gets the facts.
    ///
    /// # Errors
    /// As [`Vault::archive_object`] and [`Transfer::commit`].
    pub fn drop_restored<'b>(
        self: &Arc<Self>,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        which: Which,
        expected_facts: &[u8],
        facts: &[u8],
    ) -> Result<(), VaultError> {
        check_facts(facts)?;
        let found = self.find_to_move(&bucket.into(), key, which, expected_facts)?;
        let change = Places {
            blobs: None,
            restored: Some(Vec::new()),
        };
        let (_, answer) = self.relocate(&found, change, facts);
        answer
    }

    fn find_to_move(
        &self,
        bucket: &InBucket<'_>,
        key: &[u8],
        which: Which,
        expected_facts: &[u8],
    ) -> Result<Found, VaultError> {
        self.check_writable()?;
        check_key(key)?;
        let found = self.look_up(bucket, key, which)?;
        if found.view.row.facts == expected_facts {
            Ok(found)
        } else {
            Err(VaultError::PreconditionFailed)
        }
    }

    /// Also says whether the new places are certainly not named.
    fn relocate(&self, found: &Found, to: Places, facts: &[u8]) -> (bool, Result<(), VaultError>) {
        let row = &found.view.row;
        let relocated = self.stores.catalog.relocate(Relocation {
            bucket: found.bucket.id,
            key: row.key.clone(),
            which: row.which(),
            instance: row.instance,
            expected_facts: row.facts.clone(),
            blobs: to.blobs,
            restored: to.restored,
            facts: facts.to_vec(),
            incarnation: self.incarnation(),
            now_ms: now_ms(),
        });
        match relocated {
            Ok(_) => (false, Ok(())), // the key is the same
            Err(CommitError::Store(StoreError::Stale(_))) => {
                (true, Err(VaultError::PreconditionFailed))
            }
            Err(CommitError::Store(StoreError::NotFound(_))) => {
                (true, Err(nothing(&found.bucket, &row.key, row.which())))
            }
            Err(error) => {
                let (is_known, error) = self.not_committed(error, &found.bucket);
                (is_known, Err(error))
            }
        }
    }
}

/// Other places for the bytes of an object; `None` leaves them.
struct Places {
    blobs: Option<Vec<BlobRef>>,
    restored: Option<Vec<BlobRef>>,
}

/// An object whose bytes are copied into the archive, or out of it. Each call is bounded work. Dropped before
/// [`commit`](Self::commit), it leaves nothing behind.
pub struct Transfer {
    vault: Arc<Vault>,
    found: Arc<Found>,
    incarnation: u64,
    to: Locator,
    /// Copied, and durable.
    copied: Vec<BlobRef>,
    copying: Option<Copying>,
}

struct Copying {
    source: Source,
    target: BlobRef,
    /// In a mutex that is never locked: it lends a handle that may be looked at from two threads.
    writer: Mutex<Box<dyn BlobWriter>>,
    offset: u64,
}

impl Transfer {
    fn new(vault: &Arc<Vault>, found: Found, to: Locator) -> Self {
        Self {
            vault: Arc::clone(vault),
            found: Arc::new(found),
            incarnation: vault.incarnation(),
            to,
            copied: Vec::new(),
            copying: None,
        }
    }

    /// Copies up to one batch of sealed bytes. `false` once all are copied.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] where bytes are missing; [`VaultError::Changed`] if the object was moved or deleted
    /// meanwhile; [`VaultError::Full`] and what else a blob store answers. The transfer has failed then.
    pub fn step(&mut self) -> Result<bool, VaultError> {
        let result = self.copy_a_batch();
        result.map_err(|miss| match miss {
            Miss::Other(error) => error,
            Miss::Damaged(what) => self.vault.damaged(&self.found, what),
            Miss::Gone(what) => {
                let row = &self.found.view.row;
                let bucket = &self.found.bucket;
                match self.vault.look_up(&bucket.into(), &row.key, row.which()) {
                    Ok(now) if now.view.row == *row => self.vault.damaged(&self.found, what),
                    Ok(_) | Err(_) => VaultError::Changed,
                }
            }
        })
    }

    /// Copies all that is left, and commits.
    ///
    /// # Errors
    /// As [`Transfer::step`] and [`Transfer::commit`].
    pub fn run(mut self, facts: &[u8]) -> Result<(), VaultError> {
        while self.step()? {}
        self.commit(facts)
    }

    /// Makes the copy the place of the object's bytes, with these facts.
    ///
    /// # Errors
    /// [`VaultError::PreconditionFailed`] if the object has other facts than in the beginning, or another instance;
    /// [`VaultError::Invalid`] before all is copied; [`VaultError::LeaseLost`] and what the catalog answers. With
    /// [`VaultError::OutcomeUnknown`] it may have happened.
    pub fn commit(mut self, facts: &[u8]) -> Result<(), VaultError> {
        check_facts(facts)?;
        if self.copied.len() < self.found.view.row.blobs.len() {
            return Err(VaultError::Invalid(
                "not all of the object is copied yet".to_owned(),
            ));
        }
        self.vault.check_writable()?;
        if self.incarnation != self.vault.incarnation() {
            return Err(VaultError::LeaseLost);
        }
        let copied = std::mem::take(&mut self.copied);
        let to = match self.to {
            Locator::Archive => Places {
                blobs: Some(copied.clone()),
                restored: None,
            },
            _ => Places {
                blobs: None,
                restored: Some(copied.clone()),
            },
        };
        let (is_known, answer) = self.vault.relocate(&self.found, to, facts);
        if is_known {
            self.copied = copied; // to be taken back
        }
        answer
    }

    fn copy_a_batch(&mut self) -> Result<bool, Miss> {
        let Some(blob) = self.found.view.row.blobs.get(self.copied.len()) else {
            return Ok(false);
        };
        let copying = match self.copying.take() {
            Some(copying) => copying,
            None => self.begin(blob)?,
        };
        let copying = self.copying.insert(copying);
        let left = copying.target.sealed_len - copying.offset;
        let batch = left.min(self.vault.config.batch as u64);
        let room = usize::try_from(batch).unwrap_or(self.vault.config.batch);
        let work = self.vault.work.take(room, PATIENCE);
        let _work = work.ok_or(VaultError::Busy)?;
        let sealed = copying
            .source
            .read(copying.offset..copying.offset + batch)?;
        let writer = &mut copying.writer;
        writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&sealed)
            .map_err(VaultError::from)?;
        copying.offset += batch;
        if copying.offset < copying.target.sealed_len {
            return Ok(true);
        }
        let Some(done) = self.copying.take() else {
            return Ok(true);
        };
        let writer = done.writer.into_inner();
        let finished = finish(writer.unwrap_or_else(PoisonError::into_inner), &done.target);
        self.copied.push(done.target); // to be taken back, if it is not all there
        finished.map_err(VaultError::from)?;
        Ok(self.copied.len() < self.found.view.row.blobs.len())
    }

    fn begin(&self, blob: &BlobRef) -> Result<Copying, Miss> {
        let source = self.vault.source(&self.found, blob)?;
        if source.len() != blob.sealed_len {
            return Err(Miss::Damaged("its blob has another length".to_owned()));
        }
        let target = BlobRef {
            id: new_blob_id(self.incarnation)?,
            locator: self.to.clone(),
            ..blob.clone()
        };
        let store = self.vault.store_of(&self.to)?;
        let writer = store.create(target.id).map_err(VaultError::from)?;
        Ok(Copying {
            source,
            target,
            writer: Mutex::new(writer),
            offset: 0,
        })
    }
}

impl Drop for Transfer {
    /// What cannot be removed now, the sweeper removes when this incarnation is over.
    fn drop(&mut self) {
        self.copying = None;
        let _ = self.vault.remove_blobs(&self.copied);
    }
}

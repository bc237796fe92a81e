//! One blob being sealed and written: what a write of an object and of a part of one have in common.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::budget::Permit;
use super::read::ObjectReader;
use super::{Vault, VaultError};
use crate::format::{SEGMENT_LEN, Suite};
use crate::id::BlobId;
use crate::keys::DataKey;
use crate::object::{BlobSealer, BlobSummary};
use crate::store::{BlobRef, BlobWriter, Locator};

/// A blob that grows. It holds at most one segment of plaintext (wiped with it) and at most the inline limit of sealed
/// bytes. Dropped before it is sealed, it leaves nothing behind.
pub(super) struct Draft {
    vault: Arc<Vault>,
    incarnation: u64,
    part: u32,
    inline_limit: usize,
    /// `None` once a call has failed.
    sealer: Option<BlobSealer>,
    /// Sealed bytes that are not in `blob` yet; all of them as long as the blob is small enough to be inline.
    sealed: Vec<u8>,
    /// In a mutex that is never locked: it lends a stream that may be looked at from two threads.
    blob: Option<(BlobId, Mutex<Box<dyn BlobWriter>>)>,
    _memory: Permit,
    more_memory: Option<Permit>,
}

/// A blob sealed to its end, and not durable yet.
pub(super) struct Sealed {
    pub(super) summary: BlobSummary,
    /// What the catalog will say of it.
    pub(super) blob: BlobRef,
    /// All of it, if it is inline.
    pub(super) inline: Vec<u8>,
    /// What makes it durable, if it is not.
    pub(super) writer: Option<Box<dyn BlobWriter>>,
}

impl Draft {
    /// A blob under a fresh salt. One of up to `inline_limit` sealed bytes stays in memory; 0 for none.
    pub(super) fn new(
        vault: &Arc<Vault>,
        key: &DataKey,
        suite: Suite,
        part: u32,
        inline_limit: usize,
    ) -> Result<Self, VaultError> {
        let memory = vault.streams.take(SMALL_STREAM, PATIENCE);
        Ok(Self {
            vault: Arc::clone(vault),
            incarnation: vault.incarnation(),
            part,
            inline_limit,
            sealer: Some(BlobSealer::new(key, suite, part)?),
            sealed: Vec::new(),
            blob: None,
            _memory: memory.ok_or(VaultError::Busy)?,
            more_memory: None,
        })
    }

    /// The incarnation its blob id begins with.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether the vault still writes under the incarnation this began with.
    pub(super) fn holds_its_lease(&self) -> bool {
        self.incarnation == self.vault.incarnation()
    }

    /// Takes plaintext in. Long pieces are sealed batch by batch, on all cores.
    pub(super) fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
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

    /// Takes the first batch of a range of `source` in; returns how many bytes that was, 0 for an empty range.
    pub(super) fn write_from(
        &mut self,
        source: &mut ObjectReader,
        range: Range<u64>,
    ) -> Result<usize, VaultError> {
        let end = range.end.min(source.info().length);
        let left = usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut plain = Zeroizing::new(vec![0; self.vault.config.batch.min(left)]);
        let read = source.read_at(range.start, &mut plain)?;
        self.write(&plain[..read])?;
        Ok(read)
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
        self.spill_beyond_limit()
    }

    /// Seals the last segment.
    pub(super) fn seal_the_end(&mut self) -> Result<Sealed, VaultError> {
        let sealer = self.sealer.take().ok_or(VaultError::Ended)?;
        let summary = sealer.finish(&mut self.sealed)?;
        self.spill_beyond_limit()?;
        let (id, locator, writer) = match self.blob.take() {
            Some((id, writer)) => {
                let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
                (id, Locator::File, Some(writer))
            }
            None => (new_blob_id(self.incarnation)?, Locator::Inline, None),
        };
        Ok(Sealed {
            summary,
            blob: BlobRef {
                part: self.part,
                id,
                locator,
                sealed_len: summary.sealed_len,
            },
            inline: std::mem::take(&mut self.sealed),
            writer,
        })
    }

    /// Moves what is sealed into the blob, unless it may stay.
    fn spill_beyond_limit(&mut self) -> Result<(), VaultError> {
        if self.blob.is_none() && self.sealed.len() <= self.inline_limit || self.sealed.is_empty() {
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
}

/// A fresh id for a blob (F-54).
pub(super) fn new_blob_id(incarnation: u64) -> Result<BlobId, VaultError> {
    let mut id = BlobId::random()?;
    id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
    Ok(id)
}

/// How long a call may wait for memory that others return within one batch.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Charged for a stream that holds no more than `SMALL_HELD` bytes of plaintext.
const SMALL_STREAM: usize = 8 << 10;
const SMALL_HELD: u64 = 4 << 10;
/// Charged for any other: a segment of plaintext, and sealed bytes that wait.
const LARGE_STREAM: usize = SEGMENT_LEN + KEPT_CAPACITY;
/// A buffer of sealed bytes that is larger is given back between calls.
const KEPT_CAPACITY: usize = 32 << 10;

//! Reading: from the catalog row to authenticated plaintext.
//!
//! Nothing is released before all of this held, in this order: the catalog has a row; the key store has its key record,
//! and lets its bucket key be used; the record is authentic for this bucket, key, instance and mode; the manifest is the
//! one the record names; row and head are the ones the manifest names; the blobs are as long as it says; and then each
//! segment, when it is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::draft::PATIENCE;
use super::find::{Bytes, Found, Miss};
use super::kms::root_of;
use super::layout::Verified;
use super::reading::Pin;
use super::source::Source;
use super::types::{ObjectInfo, OpenRequest};
use super::{Vault, VaultError};
use crate::format::{HEADER_LEN, NamedList, SEGMENT_LEN};
use crate::keys::{DataKey, KeyError, Mode};
use crate::object::{BlobOpener, ObjectError};
use crate::secret::Secret;
use crate::store::{Bucket, Version};

impl Vault {
    /// Opens an object for reading.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchKey`], [`VaultError::NoSuchVersion`],
    /// [`VaultError::DeleteMarker`]; [`VaultError::CustomerKeyRequired`], [`VaultError::CustomerKeyNotApplicable`],
    /// [`VaultError::WrongCustomerKey`]; [`VaultError::Disabled`] and what else keeps the bucket key from opening;
    /// [`VaultError::Archived`], [`VaultError::Damaged`], [`VaultError::Busy`].
    pub fn open(self: &Arc<Self>, request: OpenRequest<'_>) -> Result<ObjectReader, VaultError> {
        self.open_bytes(&request, |found| {
            let archived = || VaultError::Archived {
                bucket: found.bucket.name.clone(),
                key: found.view.row.key.clone(),
            };
            Ok(found.readable().ok_or_else(archived)?)
        })
    }

    /// Opens one of the copies of an object, as `choose` says.
    pub(super) fn open_bytes(
        self: &Arc<Self>,
        request: &OpenRequest<'_>,
        choose: impl Fn(&Found) -> Result<Bytes, Miss>,
    ) -> Result<ObjectReader, VaultError> {
        self.find(request, |found| {
            let opened = self.open_found(request, found)?;
            let bytes = choose(found)?;
            let mut reader = ObjectReader::new(self, found, opened, bytes, request.principal)?;
            reader.open_first_part()?;
            Ok(reader)
        })
    }

    /// What is known of an object, with record, manifest, head and attributes verified, and without its data: also of
    /// one that is in the archive.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn head(&self, request: OpenRequest<'_>) -> Result<ObjectInfo, VaultError> {
        self.find(&request, |found| Ok(self.open_found(&request, found)?.info))
    }

    /// The key record of what was found, opened; and all that it vouches for, verified.
    pub(super) fn open_found(
        &self,
        request: &OpenRequest<'_>,
        found: &Found,
    ) -> Result<Opened, Miss> {
        let row = &found.view.row;
        let mode = Mode::from_code(row.mode).ok_or_else(|| {
            Miss::Damaged(format!("its mode is {}, which does not exist", row.mode))
        })?;
        match (mode, &request.customer) {
            (Mode::Customer, None) => return Err(VaultError::CustomerKeyRequired.into()),
            (Mode::Customer, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(VaultError::CustomerKeyNotApplicable.into()),
        }
        let (key, record) = self.record_of(found, request.principal)?;
        let context = found.context(mode);
        let customer: Option<&Secret<32>> = request.customer.as_ref();
        let (data_key, info) = key
            .unwrap_data_key(&record, &context, customer)
            .map_err(|error| self.record_miss(found, error))?;
        let verified = Verified::new(row, &info).map_err(Miss::Damaged)?;
        if !verified.manifest.suite.is_built_in() {
            return Err(VaultError::UnsupportedSuite(verified.manifest.suite).into());
        }
        let attrs = match mode {
            // An upload is completed without the customer's key, so nothing could be sealed then (F-92).
            Mode::Customer if row.attrs.is_empty() && verified.is_multipart() => {
                Ok(NamedList::default())
            }
            Mode::Customer => {
                self.open_attrs(found, data_key.open_attrs(row.instance, 0, &row.attrs))
            }
            _ => self.open_attrs(found, key.open_attrs(row.instance, 0, &row.attrs)),
        }?;
        Ok(Opened {
            info: ObjectInfo {
                length: row.length,
                created_ms: verified.created_ms,
                modified_ms: row.modified_ms,
                mode,
                suite: verified.manifest.suite,
                instance: row.instance,
                version: row.version,
                null: row.null,
                kms_root: root_of(&row.kms_key_id),
                encryption_context: row.encryption_context.clone(),
                parts: verified.parts(),
                place: row.place(),
                head: verified.head.clone(),
                attrs,
                facts: row.facts.clone(),
            },
            generation: info.generation,
            data_key,
            verified,
        })
    }

    /// A list of attributes that was just unwrapped.
    pub(super) fn open_attrs(
        &self,
        found: &Found,
        unwrapped: Result<Vec<u8>, KeyError>,
    ) -> Result<NamedList, Miss> {
        let list = unwrapped.map_err(|error| self.record_miss(found, error))?;
        NamedList::decode_attrs(&list)
            .map_err(|error| Miss::Damaged(format!("its attributes are {error}")))
    }
}

pub(super) struct Opened {
    pub(super) info: ObjectInfo,
    pub(super) generation: u32,
    pub(super) data_key: DataKey,
    pub(super) verified: Verified,
}

/// An object being read. Each call is bounded work, at most one batch, and never waits for a network.
///
/// It stays with its instance: an object that is replaced or deleted meanwhile is read to its end. What was written in
/// parts and deleted by another vault over the same stores is there for the grace period: a part that is come to later
/// is [`VaultError::Changed`]. Every 5 seconds or 64 MiB it looks whether its bucket key may still be used, and ends if
/// not.
pub struct ObjectReader {
    pub(super) vault: Arc<Vault>,
    pub(super) found: Arc<Found>,
    bytes: Bytes,
    pin: Option<Pin>,
    pub(super) opened: Opened,
    pub(super) principal: String,
    part: Option<OpenPart>,
    ahead: Ahead,
    checked: Instant,
    since_check: u64,
}

struct OpenPart {
    index: usize,
    opener: BlobOpener,
    source: Source,
}

/// Plaintext of a segment that was opened for a call and reaches past it.
#[derive(Default)]
struct Ahead {
    offset: u64,
    plain: Zeroizing<Vec<u8>>,
}

impl ObjectReader {
    fn new(
        vault: &Arc<Vault>,
        found: &Arc<Found>,
        opened: Opened,
        bytes: Bytes,
        principal: &str,
    ) -> Result<Self, Miss> {
        Ok(Self {
            vault: Arc::clone(vault),
            found: Arc::clone(found),
            bytes,
            pin: vault.reading.pin(found.blobs(bytes))?,
            opened,
            principal: principal.to_owned(),
            part: None,
            ahead: Ahead::default(),
            checked: Instant::now(),
            since_check: 0,
        })
    }

    /// What is known of the object.
    #[must_use]
    pub fn info(&self) -> &ObjectInfo {
        &self.opened.info
    }

    /// The bucket it is in.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.found.bucket
    }

    /// Reads plaintext from `offset` on into `buf`; every byte of it is authentic. Returns how many bytes: at most one
    /// batch, 0 only at the end of the object or for an empty `buf`.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::Disabled`] and [`VaultError::Shredded`] where that happened since,
    /// [`VaultError::Changed`], [`VaultError::Unavailable`], [`VaultError::Busy`]. Nothing of `buf` is plaintext then.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, VaultError> {
        if offset >= self.opened.info.length || buf.is_empty() {
            return Ok(0);
        }
        self.recheck()?;
        let held = self.ahead.copy(offset, buf);
        if held == buf.len() || offset + held as u64 == self.opened.info.length {
            return Ok(held);
        }
        let read = self.read_segments(offset + held as u64, &mut buf[held..]);
        match read {
            Ok(read) => {
                self.since_check += read as u64;
                Ok(held + read)
            }
            Err(miss) => {
                buf.fill(0);
                Err(self.error(miss))
            }
        }
    }

    /// For callers who find the object to be other than its verified description says: counted and named like any
    /// other damage.
    #[must_use]
    pub fn damaged(&self, what: &str) -> VaultError {
        self.vault.damaged(&self.found, what.to_owned())
    }

    fn read_segments(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, Miss> {
        let (index, start, end) = self.opened.verified.part_at(offset);
        self.open_part_wherever(index)?;
        let Some(part) = &self.part else {
            return Ok(0);
        };
        let from = offset - start;
        let wanted = (buf.len().min(self.vault.config.batch) as u64).min(end - offset);
        // To the end of the last segment: what is opened beyond `buf` is kept for the next call.
        let to = (from + wanted)
            .next_multiple_of(SEGMENT_LEN as u64)
            .min(end - start);
        let plan = part.opener.plan(from..to).map_err(damage)?;
        let _work = self
            .vault
            .work
            .take(plan.room() * 2, PATIENCE)
            .ok_or(VaultError::Busy)?;
        let sealed = part.source.read(plan.bytes())?;
        if to - from == wanted && plan.room() <= buf.len() {
            return part.opener.open_into(&plan, &sealed, buf).map_err(damage);
        }
        let mut plain = Zeroizing::new(vec![0; plan.room()]);
        let opened = part
            .opener
            .open_into(&plan, &sealed, &mut plain)
            .map_err(damage)?;
        let now = opened.min(buf.len());
        buf[..now].copy_from_slice(&plain[..now]);
        self.ahead = Ahead {
            offset: offset + now as u64,
            plain: Zeroizing::new(plain[now..opened].to_vec()),
        };
        Ok(now)
    }

    /// The part that is read first, so that a blob that is gone shows while the catalog can still be asked again. An
    /// empty object is authenticated here, since no read will.
    fn open_first_part(&mut self) -> Result<(), Miss> {
        self.open_part(0)?;
        match &self.part {
            Some(part) if self.opened.info.length == 0 => {
                let plan = part.opener.plan(0..0).map_err(damage)?;
                let sealed = part.source.read(plan.bytes())?;
                let mut plain = Zeroizing::new(vec![0; plan.room()]);
                part.opener
                    .open_into(&plan, &sealed, &mut plain)
                    .map_err(damage)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The part, also if its bytes have moved since the reader began: to the archive, or out of it.
    fn open_part_wherever(&mut self, index: usize) -> Result<(), Miss> {
        for _ in 0..RETURNS {
            let what = match self.open_part(index) {
                Err(Miss::Gone(what)) => what,
                done => return done,
            };
            let row = &self.found.view.row;
            let catalog = &self.vault.stores.catalog;
            let now = catalog.version(self.found.bucket.id, &row.key, row.which())?;
            let now = now.map(|now| now.version);
            let Some(Version::Object(now)) = now else {
                return Err(VaultError::Changed.into());
            };
            if now.row.instance != row.instance {
                return Err(VaultError::Changed.into());
            }
            // Still named, in whichever place: then it did not move, but is lost.
            let blobs = self.found.blobs(self.bytes);
            if now.row.blobs == blobs || now.row.restored == blobs {
                return Err(Miss::Damaged(what));
            }
            self.found = Arc::new(Found {
                bucket: self.found.bucket.clone(),
                view: *now,
            });
            self.bytes = self.found.readable().unwrap_or(Bytes::Own);
            let pinned = self.vault.reading.pin(self.found.blobs(self.bytes));
            // If it moves again, the next turn sees it.
            drop(std::mem::replace(&mut self.pin, pinned.ok().flatten()));
        }
        Err(VaultError::Changed.into())
    }

    fn open_part(&mut self, index: usize) -> Result<(), Miss> {
        if self.part.as_ref().is_some_and(|part| part.index == index) {
            return Ok(());
        }
        // The row was looked up again perhaps: what it says now, nobody has verified.
        let blob = self.found.blobs(self.bytes).get(index);
        let blob = blob.ok_or_else(|| Miss::Damaged("its row names too few blobs".to_owned()))?;
        let source = self.vault.source(&self.found, blob)?;
        let header = source.read(0..(HEADER_LEN as u64).min(source.len()))?;
        let entry = &self.opened.verified.manifest.entries[index];
        let opener = BlobOpener::new(
            &self.opened.data_key,
            &header,
            source.len(),
            Some(entry.length),
        )
        .map_err(damage)?;
        let header = opener.header();
        if header.suite != self.opened.verified.manifest.suite
            || header.part != entry.part
            || header.salt.0 != entry.salt
        {
            return Err(Miss::Damaged(
                "its blob is not the one its manifest names".to_owned(),
            ));
        }
        self.part = Some(OpenPart {
            index,
            opener,
            source,
        });
        Ok(())
    }

    fn recheck(&mut self) -> Result<(), VaultError> {
        if self.checked.elapsed() < RECHECK_TIME && self.since_check < RECHECK_BYTES {
            return Ok(());
        }
        self.vault
            .key_to_open(&self.found.bucket, self.opened.generation, &self.principal)?;
        self.checked = Instant::now();
        self.since_check = 0;
        Ok(())
    }

    pub(super) fn error(&self, miss: Miss) -> VaultError {
        match miss {
            Miss::Other(error) => error,
            Miss::Damaged(what) | Miss::Gone(what) => self.vault.damaged(&self.found, what),
        }
    }
}

impl Ahead {
    /// Copies what it has from `offset` on and gives the buffer up once it is used to its end.
    fn copy(&mut self, offset: u64, buf: &mut [u8]) -> usize {
        let skip = offset
            .checked_sub(self.offset)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| *skip < self.plain.len());
        let Some(skip) = skip else {
            return 0;
        };
        let held = &self.plain[skip..];
        let len = held.len().min(buf.len());
        buf[..len].copy_from_slice(&held[..len]);
        if skip + len == self.plain.len() {
            *self = Self::default();
        }
        len
    }
}

fn damage(error: ObjectError) -> Miss {
    Miss::Damaged(format!("its blob is {error}"))
}

/// How often it follows bytes that move.
const RETURNS: usize = 3;
const RECHECK_TIME: Duration = Duration::from_secs(5);
const RECHECK_BYTES: u64 = 64 << 20;

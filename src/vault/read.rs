//! Reading: from the catalog row to authenticated plaintext.
//!
//! Nothing is released before all of this held, in this order: the catalog has a row; the key store has its key record,
//! and lets its bucket key be used; the record is authentic for this bucket, key, instance and mode; the manifest is the
//! one the record names; row and head are the ones the manifest names; the blobs are as long as it says; and then each
//! segment, when it is read.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::layout::Verified;
use super::put::PATIENCE;
use super::types::{ObjectInfo, OpenRequest};
use super::{Vault, VaultError, check_key};
use crate::format::{HEADER_LEN, NamedList, SEGMENT_LEN};
use crate::id::InstanceId;
use crate::keys::{BucketKey, Context, DataKey, DataKeyRecord, KeyError, Mode, Purpose};
use crate::object::{BlobOpener, ObjectError};
use crate::secret::Secret;
use crate::store::{BlobReader, BlobRef, Bucket, ObjectView, StoreError};

impl Vault {
    /// Opens an object for reading.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchKey`]; [`VaultError::CustomerKeyRequired`],
    /// [`VaultError::CustomerKeyNotApplicable`], [`VaultError::WrongCustomerKey`]; [`VaultError::Disabled`] and what
    /// else keeps the bucket key from opening; [`VaultError::Damaged`], [`VaultError::Busy`].
    pub fn open(self: &Arc<Self>, request: OpenRequest<'_>) -> Result<ObjectReader, VaultError> {
        self.find(&request, |found| {
            let opened = self.open_found(&request, found)?;
            let mut reader = ObjectReader::new(self, found, opened, request.principal);
            reader.open_first_part()?;
            Ok(reader)
        })
    }

    /// What is known of an object, with record, manifest, head and attributes verified, and without its data.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn head(&self, request: OpenRequest<'_>) -> Result<ObjectInfo, VaultError> {
        self.find(&request, |found| Ok(self.open_found(&request, found)?.info))
    }

    /// Looks the object up and tries; what turns out to be gone sends it back to the catalog, at most three times. If
    /// the catalog then still says the same, it is not gone but damaged.
    pub(super) fn find<T>(
        &self,
        request: &OpenRequest<'_>,
        attempt: impl Fn(&Found) -> Result<T, Miss>,
    ) -> Result<T, VaultError> {
        check_key(request.key)?;
        let mut gone: Option<(InstanceId, String)> = None;
        for _ in 0..=RETURNS {
            let bucket = self.bucket(request.bucket)?;
            let view = self.stores.catalog.object(bucket.id, request.key)?;
            let Some(view) = view else {
                return Err(VaultError::NoSuchKey {
                    bucket: bucket.name,
                    key: request.key.to_vec(),
                });
            };
            let found = Found { bucket, view };
            let instance = found.view.row.instance;
            if request.instance.is_some_and(|wanted| wanted != instance) {
                return Err(VaultError::PreconditionFailed);
            }
            if let Some((before, what)) = gone {
                if before == instance {
                    return Err(self.gone(&found, what));
                }
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
            }
            match attempt(&found) {
                Ok(done) => return Ok(done),
                Err(Miss::Gone(what)) => gone = Some((instance, what)),
                Err(Miss::Damaged(what)) => return Err(self.damaged(&found, what)),
                Err(Miss::Other(error)) => return Err(error),
            }
        }
        Err(VaultError::Changed)
    }

    /// The key record of what was found, opened; and all that it vouches for, verified.
    fn open_found(&self, request: &OpenRequest<'_>, found: &Found) -> Result<Opened, Miss> {
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
        let attrs = match mode {
            Mode::Customer => data_key.open_attrs(row.instance, 0, &row.attrs),
            _ => key.open_attrs(row.instance, 0, &row.attrs),
        };
        let attrs = attrs
            .map_err(|error| self.record_miss(found, error))
            .and_then(|list| {
                NamedList::decode_attrs(&list)
                    .map_err(|error| Miss::Damaged(format!("its attributes are {error}")))
            })?;
        Ok(Opened {
            info: ObjectInfo {
                length: row.length,
                created_ms: verified.created_ms,
                modified_ms: row.modified_ms,
                mode,
                suite: verified.manifest.suite,
                instance: row.instance,
                head: verified.head.clone(),
                attrs,
                facts: row.facts.clone(),
            },
            generation: info.generation,
            data_key,
            verified,
        })
    }

    /// The key record of what was found, as it is in the key store, and the bucket key that opens it.
    pub(super) fn record_of(
        &self,
        found: &Found,
        principal: &str,
    ) -> Result<(Arc<BucketKey>, Vec<u8>), Miss> {
        let mut keys = self.stores.keys.fetch(found.view.row.instance)?;
        let Some(record) = keys.record.take() else {
            return Err(Miss::Gone("its key record is missing".to_owned()));
        };
        let generation = DataKeyRecord::parse(&record)
            .map_err(|error| Miss::Damaged(format!("its key record is {error}")))?
            .info
            .generation;
        let state = if generation == found.view.row.generation {
            found.view.generation
        } else {
            self.stores
                .catalog
                .generation(found.bucket.id, generation)?
        };
        let key = self.bucket_key(&found.bucket.name, &keys, state, Purpose::Unwrap, principal)?;
        Ok((key, record))
    }

    /// A failure past the bucket key: of the customer's key, or of the record and what it is bound to.
    pub(super) fn record_miss(&self, found: &Found, error: KeyError) -> Miss {
        match error {
            KeyError::WrongCustomerKey => Miss::Other(VaultError::WrongCustomerKey),
            KeyError::Malformed(_) | KeyError::Unsupported(_) | KeyError::Unauthentic => {
                Miss::Damaged(format!("its key record or what it is bound to is {error}"))
            }
            error => Miss::Other(self.bucket_key_error(&found.bucket.name, error)),
        }
    }

    pub(super) fn source(&self, found: &Found, blob: &BlobRef) -> Result<Source, Miss> {
        match found.view.inline.iter().find(|(id, _)| *id == blob.id) {
            Some((_, bytes)) => Ok(Source::Inline(bytes.clone())),
            None => Ok(Source::Blob(self.stores.blobs.open(blob)?)),
        }
    }

    fn gone(&self, found: &Found, what: String) -> VaultError {
        if self.read_only_reason().is_some() {
            let row = &found.view.row;
            return self.key_missing(format!("{what}: object instance {}", row.instance));
        }
        self.damaged(found, what)
    }

    pub(super) fn damaged(&self, found: &Found, what: String) -> VaultError {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        VaultError::Damaged {
            bucket: found.bucket.name.clone(),
            key: found.view.row.key.clone(),
            instance: found.view.row.instance,
            what,
        }
    }
}

/// A bucket and the object of it that a request names.
pub(super) struct Found {
    pub(super) bucket: Bucket,
    pub(super) view: ObjectView,
}

impl Found {
    /// What the object's key record is bound to: from request and catalog, never from the record (F-51).
    pub(super) fn context(&self, mode: Mode) -> Context<'_> {
        let row = &self.view.row;
        Context {
            mode,
            bucket: self.bucket.id,
            instance: row.instance,
            object_key: &row.key,
            kms_key_id: &row.kms_key_id,
            encryption_context: &row.encryption_context,
        }
    }
}

/// Why an attempt to open did not succeed.
pub(super) enum Miss {
    /// Something is not there: replaced meanwhile, or damaged.
    Gone(String),
    /// Something is there and wrong.
    Damaged(String),
    /// Anything else.
    Other(VaultError),
}

impl From<VaultError> for Miss {
    fn from(error: VaultError) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Miss {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::Gone(error.to_string()),
            StoreError::Damaged(what) => Self::Damaged(what),
            error => Self::Other(error.into()),
        }
    }
}

struct Opened {
    info: ObjectInfo,
    generation: u32,
    data_key: DataKey,
    verified: Verified,
}

/// An object being read. Each call is bounded work, at most one batch, and never waits for a network.
///
/// It stays with its instance: an object that is replaced or deleted meanwhile is read to its end. Every 5 seconds or
/// 64 MiB it looks whether its bucket key may still be used, and ends if not.
pub struct ObjectReader {
    vault: Arc<Vault>,
    found: Found,
    info: ObjectInfo,
    generation: u32,
    principal: String,
    verified: Verified,
    data_key: DataKey,
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

/// Where the bytes of a blob come from.
pub(super) enum Source {
    Inline(Vec<u8>),
    Blob(Box<dyn BlobReader>),
}

/// Plaintext of a segment that was opened for a call and reaches past it.
#[derive(Default)]
struct Ahead {
    offset: u64,
    plain: Zeroizing<Vec<u8>>,
}

impl ObjectReader {
    fn new(vault: &Arc<Vault>, found: &Found, opened: Opened, principal: &str) -> Self {
        Self {
            vault: Arc::clone(vault),
            found: Found {
                bucket: found.bucket.clone(),
                view: found.view.clone(),
            },
            info: opened.info,
            generation: opened.generation,
            principal: principal.to_owned(),
            verified: opened.verified,
            data_key: opened.data_key,
            part: None,
            ahead: Ahead::default(),
            checked: Instant::now(),
            since_check: 0,
        }
    }

    /// What is known of the object.
    #[must_use]
    pub fn info(&self) -> &ObjectInfo {
        &self.info
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
    /// [`VaultError::Unavailable`], [`VaultError::Busy`]. Nothing of `buf` is plaintext then.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, VaultError> {
        if offset >= self.info.length || buf.is_empty() {
            return Ok(0);
        }
        self.recheck()?;
        let held = self.ahead.copy(offset, buf);
        if held == buf.len() || offset + held as u64 == self.info.length {
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
        let (index, start, end) = self.verified.part_at(offset);
        self.open_part(index)?;
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
            Some(part) if self.info.length == 0 => {
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

    fn open_part(&mut self, index: usize) -> Result<(), Miss> {
        if self.part.as_ref().is_some_and(|part| part.index == index) {
            return Ok(());
        }
        let blob = &self.found.view.row.blobs[index];
        let source = self.vault.source(&self.found, blob)?;
        let header = source.read(0..(HEADER_LEN as u64).min(source.len()))?;
        let entry = &self.verified.manifest.entries[index];
        let opener = BlobOpener::new(&self.data_key, &header, source.len(), Some(entry.length))
            .map_err(damage)?;
        let header = opener.header();
        if header.suite != self.verified.manifest.suite
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
            .key_to_open(&self.found.bucket, self.generation, &self.principal)?;
        self.checked = Instant::now();
        self.since_check = 0;
        Ok(())
    }

    /// A blob that vanishes in mid-body is damage only if the catalog still names it.
    fn error(&self, miss: Miss) -> VaultError {
        match miss {
            Miss::Other(error) => error,
            Miss::Damaged(what) => self.vault.damaged(&self.found, what),
            Miss::Gone(what) => {
                let row = &self.found.view.row;
                match self
                    .vault
                    .stores
                    .catalog
                    .object(self.found.bucket.id, &row.key)
                {
                    Ok(Some(view)) if view.row.instance == row.instance => {
                        self.vault.damaged(&self.found, what)
                    }
                    Ok(_) => VaultError::Changed,
                    Err(error) => error.into(),
                }
            }
        }
    }
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(reader) => reader.len(),
        }
    }

    /// All of `range`; a source that ends before is damaged.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Miss> {
        let short = || Miss::Damaged("its blob ends too early".to_owned());
        let len = usize::try_from(range.end - range.start).map_err(|_| short())?;
        match self {
            Self::Inline(bytes) => {
                let start = usize::try_from(range.start).map_err(|_| short())?;
                let bytes = bytes.get(start..).and_then(|bytes| bytes.get(..len));
                bytes.map(<[u8]>::to_vec).ok_or_else(short)
            }
            Self::Blob(reader) => {
                let mut bytes = vec![0; len];
                let mut at = 0;
                while at < len {
                    match reader.read_at(range.start + at as u64, &mut bytes[at..])? {
                        0 => return Err(short()),
                        read => at += read,
                    }
                }
                Ok(bytes)
            }
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

/// How often a reader goes back to the catalog.
const RETURNS: usize = 3;
const RECHECK_TIME: Duration = Duration::from_secs(5);
const RECHECK_BYTES: u64 = 64 << 20;

//! The envelope door, for a storage daemon with metadata of its own: bytes, streams and ranges are sealed into bare blobs,
//! and for each comes a wrapped key of 188 bytes to keep beside it. No store, no bucket, no database.
//!
//! ```
//! use std::sync::Arc;
//! use strongroom::envelope::{Envelope, EnvelopeError, WrappedKey};
//! use strongroom::keys::Keyring;
//!
//! fn keep_a_photo(keyring: Arc<Keyring>, photo: &[u8]) -> Result<(), EnvelopeError> {
//!     // Once: a ring of its own for this daemon. Its records are kept with the daemon's configuration.
//!     let envelope = Envelope::create(keyring.clone(), "photo daemon")?;
//!     let ring: Vec<Vec<u8>> = envelope.export().map(<[u8]>::to_vec).collect();
//!
//!     // For each object. The context is what the daemon calls it; it has to be the same to open it.
//!     let (key, blob) = envelope.seal(b"albums/42/photo.jpg", photo)?;
//!     let row: [u8; 188] = *key.as_bytes();
//!
//!     // After a restart.
//!     let envelope = Envelope::import(keyring, "photo daemon", ring)?;
//!     let photo_again = envelope.open(b"albums/42/photo.jpg", &WrappedKey::from_bytes(&row)?, &blob)?;
//!     assert_eq!(photo_again, photo);
//!     Ok(())
//! }
//! ```
//!
//! `examples/embed.rs` is a whole such daemon.
//!
//! Whoever has a blob, its wrapped key, the ring's records and the HSM can open the object; without any of them nobody
//! can. The caller keeps the wrapped key and the records as carefully as the data: an object whose wrapped key is lost is
//! lost, and so is every object of a ring whose records are lost.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use crate::format::{FormatError, HEADER_LEN, Suite};
use crate::id::{BucketId, InstanceId};
use crate::keys::{
    BucketKey, BucketKeyRecord, Context, DataKey, DataKeyRecord, Evidence, KeyError, Keyring, Mode,
    Purpose, RecordState, Request,
};
use crate::object::{BlobOpener, BlobSealer, ObjectError, OpenReader, SealWriter};

/// Seals and opens objects under one ring: a sequence of bucket keys, generation by generation, wrapped by the keyring's
/// master keys. New objects go under the newest generation.
pub struct Envelope {
    keyring: Arc<Keyring>,
    principal: String,
    bucket: BucketId,
    records: BTreeMap<u32, Vec<u8>>,
}

/// What opens one blob, together with the ring, the HSM and the context. Not secret by itself (F-98).
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    bytes: [u8; WrappedKey::LEN],
    generation: u32,
}

/// Why an object was not sealed or not opened. Nothing was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A key would not do it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is not a blob that this build reads, or it is not authentic.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The wrapped key belongs to a ring with other records.
    #[error(
        "the wrapped key belongs to ring {bucket}, generation {generation}: import the records of that ring"
    )]
    OtherRing {
        /// The ring it names.
        bucket: BucketId,
        /// The generation it names.
        generation: u32,
    },
    /// The records to import are of several rings, or there are none.
    #[error("a ring is imported from all its records, and from no others")]
    NotOneRing,
    /// Reading the blob failed.
    #[error("reading the blob: {0}")]
    Io(#[from] io::Error),
}

impl Envelope {
    /// A new ring with its first generation, for the daemon the audit trail is to call `principal`. Keep what
    /// [`export`](Self::export) gives before anything is sealed.
    ///
    /// # Errors
    /// The HSM did not wrap a bucket key.
    pub fn create(keyring: Arc<Keyring>, principal: &str) -> Result<Self, EnvelopeError> {
        let bucket = BucketId::random().map_err(KeyError::from)?;
        let record = keyring.create_bucket_key(bucket, 1, principal)?;
        Ok(Self {
            keyring,
            principal: principal.to_owned(),
            bucket,
            records: BTreeMap::from([(1, record)]),
        })
    }

    /// A ring from all its records, in any order.
    ///
    /// # Errors
    /// [`EnvelopeError::NotOneRing`], or a record that is malformed. Whether they are authentic shows when they are used.
    pub fn import<R: Into<Vec<u8>>>(
        keyring: Arc<Keyring>,
        principal: &str,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Self, EnvelopeError> {
        let mut ring: Option<BucketId> = None;
        let mut by_generation = BTreeMap::new();
        for bytes in records {
            let bytes = bytes.into();
            let record = BucketKeyRecord::parse(&bytes)?;
            if *ring.get_or_insert(record.bucket) != record.bucket
                || by_generation.insert(record.generation, bytes).is_some()
            {
                return Err(EnvelopeError::NotOneRing);
            }
        }
        Ok(Self {
            keyring,
            principal: principal.to_owned(),
            bucket: ring.ok_or(EnvelopeError::NotOneRing)?,
            records: by_generation,
        })
    }

    /// The ring's records, oldest generation first: to be kept once, by the caller. They are wrapped by the master keys.
    pub fn export(&self) -> impl Iterator<Item = &[u8]> {
        self.records.values().map(Vec::as_slice)
    }

    /// Seals `plaintext` as the object the caller calls `context`, under a data key of its own.
    ///
    /// # Errors
    /// The ring's newest key does not wrap, or the kernel's random source failed.
    pub fn seal(
        &self,
        context: &[u8],
        plaintext: &[u8],
    ) -> Result<(WrappedKey, Vec<u8>), EnvelopeError> {
        let (key, sealer) = self.sealer(context)?;
        let mut blob = Vec::new();
        sealer.finish_with(plaintext, &mut blob)?;
        Ok((key, blob))
    }

    /// Opens a whole blob.
    ///
    /// # Errors
    /// Not authentic under this key and context, or malformed.
    pub fn open(
        &self,
        context: &[u8],
        key: &WrappedKey,
        blob: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let mut opener = self.opener(context, key, blob, blob.len() as u64, None)?;
        let length = opener.prove_length(slice(blob, &opener.final_segment())?)?;
        let plan = opener.plan(0..length)?;
        let mut plaintext = Vec::new();
        opener.open(&plan, slice(blob, &plan.bytes())?, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Opens `range` of a blob that can be read anywhere, reading no more of it than header, final segment and the
    /// segments of the range.
    ///
    /// # Errors
    /// As [`open`](Self::open), [`ObjectError::OutOfRange`], and those of the source.
    pub fn open_range(
        &self,
        context: &[u8],
        key: &WrappedKey,
        source: &mut (impl Read + Seek),
        range: Range<u64>,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let blob_len = source.seek(SeekFrom::End(0))?;
        let header = read_at(source, 0..blob_len.min(HEADER_LEN as u64))?;
        let mut opener = self.opener(context, key, &header, blob_len, None)?;
        opener.prove_length(&read_at(source, opener.final_segment())?)?;
        let plan = opener.plan(range)?;
        let mut plaintext = Vec::new();
        opener.open(&plan, &read_at(source, plan.bytes())?, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Seals what is written into the writer, with bounded memory; [`SealWriter::finish`] ends it.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn writer<W: Write>(
        &self,
        context: &[u8],
        sink: W,
    ) -> Result<(WrappedKey, SealWriter<W>), EnvelopeError> {
        let (data_key, key) = self.create_key(context)?;
        Ok((key, SealWriter::new(&data_key, SUITE, 0, sink)?))
    }

    /// Reads the plaintext of a whole blob, with bounded memory. It is whole when the reader says that it ended.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn reader<R: Read>(
        &self,
        context: &[u8],
        key: &WrappedKey,
        source: R,
    ) -> Result<OpenReader<R>, EnvelopeError> {
        Ok(OpenReader::new(&self.open_key(context, key)?, source)?)
    }

    /// A sealer that does no I/O, for a daemon that moves the bytes itself.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn sealer(&self, context: &[u8]) -> Result<(WrappedKey, BlobSealer), EnvelopeError> {
        let (data_key, key) = self.create_key(context)?;
        Ok((key, BlobSealer::new(&data_key, SUITE, 0)?))
    }

    /// An opener by position that does no I/O, as [`BlobOpener::new`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn opener(
        &self,
        context: &[u8],
        key: &WrappedKey,
        header: &[u8],
        blob_len: u64,
        plain_len: Option<u64>,
    ) -> Result<BlobOpener, EnvelopeError> {
        let data_key = self.open_key(context, key)?;
        Ok(BlobOpener::new(&data_key, header, blob_len, plain_len)?)
    }

    /// The same data key under the ring's newest generation; the blob stays as it is. The old wrapped key opens it as long
    /// as its generation does.
    ///
    /// # Errors
    /// The wrapped key is not authentic under this context, or its ring is another.
    pub fn rewrap(&self, context: &[u8], key: &WrappedKey) -> Result<WrappedKey, EnvelopeError> {
        let from = self.bucket_key_of(key)?;
        let (_, newest) = self.newest();
        let to = self.bucket_key(newest, Purpose::Wrap)?;
        let context = self.context(context, key.instance());
        let record = from.rewrap_data_key(key.record(), &context, &to)?;
        WrappedKey::build(self.bucket, key.instance(), &record)
    }

    /// Begins a new generation, which new objects go under, and returns its record. Keep it before anything is sealed.
    ///
    /// # Errors
    /// The HSM did not wrap a bucket key; the ring is as it was.
    pub fn rotate(&mut self) -> Result<&[u8], EnvelopeError> {
        let (newest, _) = self.newest();
        let generation = newest.checked_add(1).ok_or(KeyError::Exhausted)?;
        let record = self
            .keyring
            .create_bucket_key(self.bucket, generation, &self.principal)?;
        Ok(self.records.entry(generation).or_insert(record))
    }

    /// Wraps every generation by the active version of each master key: after a rotation of the master key. Keep what
    /// [`export`](Self::export) then gives; no wrapped key changes. Returns the evidence that the same keys are wrapped.
    ///
    /// # Errors
    /// The HSM did not; the ring is as it was.
    pub fn rewrap_ring(&mut self) -> Result<Vec<Evidence>, EnvelopeError> {
        let mut records = BTreeMap::new();
        let mut evidence = Vec::new();
        for (generation, record) in &self.records {
            let rewrapped = self.keyring.rewrap(record, &self.principal)?;
            records.insert(*generation, rewrapped.record);
            evidence.extend(rewrapped.evidence);
        }
        self.records = records;
        Ok(evidence)
    }

    fn newest(&self) -> (u32, &[u8]) {
        let (generation, record) = self
            .records
            .last_key_value()
            .expect("a ring has at least one generation");
        (*generation, record)
    }

    fn create_key(&self, context: &[u8]) -> Result<(DataKey, WrappedKey), EnvelopeError> {
        let (_, newest) = self.newest();
        let bucket_key = self.bucket_key(newest, Purpose::Wrap)?;
        let instance = InstanceId::random().map_err(KeyError::from)?;
        let data_key = bucket_key.new_data_key()?;
        let record = bucket_key.wrap_data_key(
            &data_key,
            &self.context(context, instance),
            None,
            RecordState::NoManifest,
            [0; 32],
        )?;
        Ok((data_key, WrappedKey::build(self.bucket, instance, &record)?))
    }

    fn open_key(&self, context: &[u8], key: &WrappedKey) -> Result<DataKey, EnvelopeError> {
        let context = self.context(context, key.instance());
        let bucket_key = self.bucket_key_of(key)?;
        let (data_key, _) = bucket_key.unwrap_data_key(key.record(), &context, None)?;
        Ok(data_key)
    }

    fn bucket_key_of(&self, key: &WrappedKey) -> Result<Arc<BucketKey>, EnvelopeError> {
        let (bucket, generation) = (key.bucket(), key.generation);
        match self.records.get(&generation) {
            Some(record) if bucket == self.bucket => Ok(self.bucket_key(record, Purpose::Unwrap)?),
            _ => Err(EnvelopeError::OtherRing { bucket, generation }),
        }
    }

    fn bucket_key(&self, record: &[u8], purpose: Purpose) -> Result<Arc<BucketKey>, KeyError> {
        let request = Request {
            principal: &self.principal,
            ..Request::new(purpose)
        };
        self.keyring.bucket_key_for(record, &request)
    }

    fn context<'a>(&self, object_key: &'a [u8], instance: InstanceId) -> Context<'a> {
        Context {
            mode: Mode::Managed,
            bucket: self.bucket,
            instance,
            object_key,
            kms_key_id: &[],
            encryption_context: &[],
        }
    }
}

impl WrappedKey {
    /// Its length in bytes.
    pub const LEN: usize = 188;

    /// Reads what [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    /// Malformed, or of a later version (F-99). No key is used for that.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if !bytes.starts_with(MAGIC) {
            let of_another_version = bytes.starts_with(&MAGIC[..6])
                && bytes
                    .get(6..8)
                    .is_some_and(|v| v.iter().all(u8::is_ascii_digit));
            return Err(ObjectError::from(if of_another_version {
                FormatError::Unsupported("a wrapped key of a later version: use a newer strongroom")
            } else {
                FormatError::Malformed("this is not a wrapped key")
            })
            .into());
        }
        let bytes = bytes
            .try_into()
            .map_err(|_| KeyError::Malformed("a wrapped key has 188 bytes"))?;
        let mut key = Self {
            bytes,
            generation: 0,
        };
        let record = DataKeyRecord::parse(key.record())?;
        if record.mode != Mode::Managed || record.info.state != RecordState::NoManifest {
            return Err(KeyError::Malformed("the data key record is not of a wrapped key").into());
        }
        key.generation = record.info.generation;
        Ok(key)
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// The ring it belongs to.
    pub fn bucket(&self) -> BucketId {
        BucketId(self.field(MAGIC.len()))
    }

    /// The sealing of the object it belongs to.
    pub fn instance(&self) -> InstanceId {
        InstanceId(self.field(MAGIC.len() + 16))
    }

    /// The generation of the ring that wraps it.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn record(&self) -> &[u8] {
        &self.bytes[RECORD_AT..]
    }

    fn field(&self, at: usize) -> [u8; 16] {
        *self.bytes[at..]
            .first_chunk()
            .expect("both ids lie before the record")
    }

    fn build(bucket: BucketId, instance: InstanceId, record: &[u8]) -> Result<Self, EnvelopeError> {
        Self::from_bytes(&[&MAGIC[..], &bucket.0, &instance.0, record].concat())
    }
}

impl std::fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrappedKey")
            .field("bucket", &self.bucket())
            .field("generation", &self.generation)
            .field("instance", &self.instance())
            .finish_non_exhaustive()
    }
}

fn read_at(source: &mut (impl Read + Seek), range: Range<u64>) -> Result<Vec<u8>, EnvelopeError> {
    source.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
}

fn slice<'b>(blob: &'b [u8], range: &Range<u64>) -> Result<&'b [u8], ObjectError> {
    let start = usize::try_from(range.start).ok();
    let end = usize::try_from(range.end).ok();
    start
        .zip(end)
        .and_then(|(start, end)| blob.get(start..end))
        .ok_or(FormatError::Malformed("the blob is shorter than its layout").into())
}

const MAGIC: &[u8; 8] = b"SRWKEY01";
const RECORD_AT: usize = MAGIC.len() + 16 + 16;
const SUITE: Suite = Suite::Cbc64Gmac;

#[cfg(test)]
mod tests;

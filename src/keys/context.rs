//! The encryption context: everything a wrapped data key is bound to.

use super::error::KeyError;
use crate::cipher::{Backend, sha256};
use crate::id::{BucketId, InstanceId, RootId};

/// Who holds what it takes to open an object; a byte of its data key record and of its context (F-41).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Under the bucket key alone.
    Managed = 1,
    /// Under a key that comes with the request, and that under the bucket key.
    Customer = 2,
    /// Under a bucket key of a root the caller named.
    Kms = 3,
    /// As managed, for blobs of suite 0, whose data is authenticated but readable.
    Plain = 4,
    /// Under the 32 bytes of a key file, with no HSM.
    KeyFile = 5,
}

impl Mode {
    /// The byte written in records and contexts.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Managed => 1,
            Self::Customer => 2,
            Self::Kms => 3,
            Self::Plain => 4,
            Self::KeyFile => 5,
        }
    }

    /// The mode a record's byte names, if this build knows it.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Managed),
            2 => Some(Self::Customer),
            3 => Some(Self::Kms),
            4 => Some(Self::Plain),
            5 => Some(Self::KeyFile),
            _ => None,
        }
    }
}

/// What one data key is bound to. It comes from the request and the catalog, never from the record
/// (F-43).
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// How the object is protected.
    pub mode: Mode,
    /// The real bucket, also in the direct tier; 16 zero bytes in [`Mode::KeyFile`].
    pub bucket: BucketId,
    /// The write of the object that this key is for.
    pub instance: InstanceId,
    /// The object key's bytes as decoded from the URL, not normalised; the caller's own context at
    /// the envelope door; empty in sealed files (F-44). At most 65,535 bytes.
    pub object_key: &'a [u8],
    /// [`Mode::Kms`] only: see [`kms_key_id`]. Empty otherwise.
    pub kms_key_id: &'a [u8],
    /// See [`encode_encryption_context`]; empty if there is none.
    pub encryption_context: &'a [u8],
}

impl Context<'_> {
    /// Whether a record can be made for this context at all; what cannot be made is never opened.
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: a field is too long, or does not belong to this mode.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        let id = self.kms_key_id;
        let is_id = id.len() == 32 && id.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if self.mode == Mode::Kms && !is_id {
            return Err(KeyError::Malformed(
                "in mode 3 a key id of 32 lower-case hexadecimal digits is given",
            ));
        }
        if self.mode != Mode::Kms && !id.is_empty() {
            return Err(KeyError::Malformed(
                "a key id is given in mode 3 and in no other",
            ));
        }
        let fields = [self.object_key, self.encryption_context];
        fields.iter().try_for_each(|field| length(field).map(drop))
    }

    /// The context hash h (F-47).
    ///
    /// # Errors
    /// As [`Context::check`].
    pub(super) fn digest(&self, salt: &[u8; 32]) -> Result<[u8; 32], KeyError> {
        let [digest] = Self::digest_each([(self, salt)])?;
        Ok(digest)
    }

    /// [`Context::digest`] of each, side by side.
    pub(super) fn digest_each<const N: usize>(
        contexts: [(&Self, &[u8; 32]); N],
    ) -> Result<[[u8; 32]; N], KeyError> {
        contexts.iter().try_for_each(|(ctx, _)| ctx.check())?;
        let lengths = contexts.map(|(ctx, _)| {
            let fields = [ctx.object_key, ctx.kms_key_id, ctx.encryption_context];
            fields.map(|field| length(field).unwrap_or_default())
        });
        let before: [_; N] = std::array::from_fn(|i| {
            let (ctx, salt) = contexts[i];
            let mut bytes = [0; BEFORE_KEY];
            bytes[..16].copy_from_slice(DOMAIN);
            bytes[16..48].copy_from_slice(salt);
            bytes[48] = ctx.mode.code();
            bytes[49..65].copy_from_slice(&ctx.bucket.0);
            bytes[65..81].copy_from_slice(&ctx.instance.0);
            bytes[81..].copy_from_slice(&lengths[i][0]);
            bytes
        });
        let parts: [_; N] = std::array::from_fn(|i| {
            let (ctx, _) = contexts[i];
            [
                &before[i],
                ctx.object_key,
                &lengths[i][1],
                ctx.kms_key_id,
                &lengths[i][2],
                ctx.encryption_context,
            ]
        });
        let mut states = [sha256::START; N];
        let messages = parts.each_ref().map(|parts| &parts[..]);
        sha256::finish_each(Backend::detect(), &mut states, 0, messages);
        Ok(states.each_ref().map(sha256::digest))
    }
}

/// The key id of [`Mode::Kms`]: the resolved root in lower-case hexadecimal, never an alias (F-45).
#[must_use]
pub fn kms_key_id(root: RootId) -> String {
    root.to_string()
}

/// Encodes name and value pairs as the encryption context: sorted by the names' UTF-8 bytes, so
/// that the order in which a caller lists them does not matter. No pair at all is the empty string (F-46).
///
/// # Errors
/// [`KeyError::Malformed`]: a name occurs twice, or the encoding is longer than 65,535 bytes.
pub fn encode_encryption_context(pairs: &[(&str, &str)]) -> Result<Vec<u8>, KeyError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
    if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(KeyError::Malformed(
            "a name occurs twice in the encryption context",
        ));
    }
    let count = u16::try_from(sorted.len()).map_err(|_| TOO_LONG)?;
    let mut out = count.to_le_bytes().to_vec();
    for (name, value) in sorted {
        for field in [name, value] {
            out.extend(length(field.as_bytes())?);
            out.extend(field.as_bytes());
        }
    }
    length(&out)?;
    Ok(out)
}

/// Whether these bytes are what [`encode_encryption_context`] makes, of some pairs.
///
/// # Errors
/// [`KeyError::Malformed`].
pub fn check_encryption_context(bytes: &[u8]) -> Result<(), KeyError> {
    decode_encryption_context(bytes).map(drop)
}

/// The pairs that [`encode_encryption_context`] encoded, sorted by name.
///
/// # Errors
/// [`KeyError::Malformed`]: not what it makes.
pub fn decode_encryption_context(bytes: &[u8]) -> Result<Vec<(String, String)>, KeyError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (count, mut rest) = bytes.split_first_chunk().ok_or(NOT_A_CONTEXT)?;
    let mut field = || -> Result<String, KeyError> {
        let (len, after) = rest.split_first_chunk().ok_or(NOT_A_CONTEXT)?;
        let len = usize::from(u16::from_le_bytes(*len));
        let (field, after) = after.split_at_checked(len).ok_or(NOT_A_CONTEXT)?;
        rest = after;
        String::from_utf8(field.to_vec()).map_err(|_| NOT_A_CONTEXT)
    };
    let pairs = (0..u16::from_le_bytes(*count)).map(|_| Ok((field()?, field()?)));
    let pairs: Vec<_> = pairs.collect::<Result<_, KeyError>>()?;
    // One encoding (F-05): sorted, no name twice, nothing left over, and not of no pair.
    let again: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if encode_encryption_context(&again)? == bytes {
        Ok(pairs)
    } else {
        Err(NOT_A_CONTEXT)
    }
}

fn length(field: &[u8]) -> Result<[u8; 2], KeyError> {
    u16::try_from(field.len())
        .map(u16::to_le_bytes)
        .map_err(|_| TOO_LONG)
}

/// Bytes of a context up to its object key: domain, salt, mode, bucket, instance, and the key's length.
const BEFORE_KEY: usize = 16 + 32 + 1 + 16 + 16 + 2;
const DOMAIN: &[u8; 16] = b"sr-context-1\0\0\0\0";
const NOT_A_CONTEXT: KeyError = KeyError::Malformed("not the encoding of an encryption context");
const TOO_LONG: KeyError =
    KeyError::Malformed("an object key or encryption context is longer than 65,535 bytes");

//! The data key record: one data key, wrapped under a bucket key and bound to its context.

mod together;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::context::{Context, Mode};
use super::derive::{kw_unwrap, kw_wrap};
use super::error::KeyError;
use super::prf::Prf;
use crate::secret::Secret;

pub(super) use together::{Sealed, unwrap_each, wrap_each};

/// How far an object is (F-42); a byte of its data key record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// A multipart upload that goes on; never serves a read (F-52).
    Upload = 0,
    /// A complete object whose manifest has the record's digest.
    Complete = 1,
    /// Something without a manifest: a sealed file, a wrapped key.
    NoManifest = 2,
}

impl RecordState {
    /// The byte written in records.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Upload => 0,
            Self::Complete => 1,
            Self::NoManifest => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Upload),
            1 => Some(Self::Complete),
            2 => Some(Self::NoManifest),
            _ => None,
        }
    }
}

/// What an authentic data key record says besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataKeyInfo {
    /// How far the object is.
    pub state: RecordState,
    /// The generation of the bucket key that wraps it.
    pub generation: u32,
    /// SHA-256 of the manifest in [`RecordState::Complete`], else 32 zero bytes.
    pub manifest_digest: [u8; 32],
}

/// A parsed data key record (F-40): well formed, of unknown authenticity.
///
/// It is parsed without a key to learn which generation's key to ask for; everything else it says
/// counts only once [`super::BucketKey`] has verified it.
#[derive(Clone, Copy, Debug)]
pub struct DataKeyRecord<'a> {
    /// How the object is protected.
    pub mode: Mode,
    /// What the record says besides its key.
    pub info: DataKeyInfo,
    salt: &'a [u8; 32],
    /// Prefix and wrap: what the commitment covers.
    committed: &'a [u8],
    commit: &'a [u8; 32],
}

impl<'a> DataKeyRecord<'a> {
    /// Parses a record: steps 1 to 3 of F-51.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::Unsupported`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let is_length = matches!(bytes.len(), RECORD_LEN | CUSTOMER_RECORD_LEN);
        let (prefix, _) = bytes.split_first_chunk::<PREFIX_LEN>().ok_or(NO_RECORD)?;
        let (committed, commit) = bytes.split_last_chunk().ok_or(NO_RECORD)?;
        let (head, rest) = prefix.split_first_chunk::<8>().ok_or(NO_RECORD)?;
        let (generation, rest) = rest.split_first_chunk().ok_or(NO_RECORD)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(NO_RECORD)?;
        let manifest_digest: [u8; 32] = rest.try_into().map_err(|_| NO_RECORD)?;
        let [m0, m1, m2, m3, version, mode, state, zero] = *head;
        if !is_length || [m0, m1, m2, m3] != *MAGIC {
            return Err(NO_RECORD);
        }
        if version != VERSION {
            return Err(KeyError::Unsupported("this version of a data key record"));
        }
        let mode =
            Mode::from_code(mode).ok_or(KeyError::Unsupported("this mode of a data key record"))?;
        let state = RecordState::from_code(state)
            .ok_or(KeyError::Malformed("a data key record is in no state"))?;
        if zero != 0 {
            return Err(KeyError::Malformed(
                "a reserved byte of a data key record is not zero",
            ));
        }
        if state != RecordState::Complete && manifest_digest != [0; 32] {
            return Err(NO_MANIFEST);
        }
        if bytes.len() != record_len(mode) {
            return Err(KeyError::Malformed(
                "a data key record has the length of another mode",
            ));
        }
        Ok(Self {
            mode,
            info: DataKeyInfo {
                state,
                generation: u32::from_le_bytes(*generation),
                manifest_digest,
            },
            salt,
            committed,
            commit,
        })
    }

    /// Verifies the commitment under `kek` and gives what opens the wrap, and the context hash: steps 4 to 6 of F-51.
    fn verify(&self, kek: &Prf, ctx: &Context<'_>) -> Result<(WrapKeys, [u8; 32]), KeyError> {
        if self.mode != ctx.mode || ctx.check().is_err() {
            return Err(KeyError::Unauthentic);
        }
        let h = ctx.digest(self.salt)?;
        let keys = WrapKeys::derive(kek, &h);
        let commit = Prf::new(keys.ck()).mac(&[self.committed]);
        if bool::from(commit.ct_eq(self.commit)) {
            Ok((keys, h))
        } else {
            Err(KeyError::Unauthentic)
        }
    }
}

/// What goes into a record.
pub(super) struct Order<'a> {
    pub(super) dk: &'a Secret<32>,
    pub(super) ctx: &'a Context<'a>,
    pub(super) customer: Option<&'a Secret<32>>,
    /// Fresh, or on a rewrap the one the record had.
    pub(super) salt: [u8; 32],
    pub(super) info: DataKeyInfo,
}

/// Makes a record (F-48 to F-50).
pub(super) fn wrap(kek: &Prf, order: &Order<'_>) -> Result<Vec<u8>, KeyError> {
    let h = order.ctx.digest(&order.salt)?;
    let keys = WrapKeys::derive(kek, &h);
    match customer_of(order.ctx, order.customer)? {
        None => order.issue(&keys, |wrapped| {
            kw_wrap::<DATA_KEY>(keys.wk(), order.dk.expose(), wrapped);
        }),
        Some(customer) => {
            let inner = CustomerKeys::derive(customer, &h);
            let mut payload = Zeroizing::new([0; CUSTOMER_PAYLOAD_LEN]);
            let (wrapped, verifier) = payload.split_at_mut(WRAPPED_LEN);
            kw_wrap::<DATA_KEY>(inner.iwk(), order.dk.expose(), wrapped);
            verifier.copy_from_slice(inner.verifier());
            order.issue(&keys, |wrapped| {
                kw_wrap::<CUSTOMER_PAYLOAD>(keys.wk(), payload.as_slice(), wrapped);
            })
        }
    }
}

/// Verifies a record and opens it (F-51).
pub(super) fn unwrap(
    kek: &Prf,
    record: &DataKeyRecord<'_>,
    ctx: &Context<'_>,
    customer: Option<&Secret<32>>,
) -> Result<Secret<32>, KeyError> {
    let (keys, h) = record.verify(kek, ctx)?;
    let customer = customer_of(ctx, customer)?;
    let mut dk = Secret::zeroed()?;
    match customer {
        None => kw_unwrap::<DATA_KEY>(keys.wk(), record.wrapped(), dk.expose_mut())?,
        Some(customer) => {
            let mut payload = Zeroizing::new([0; CUSTOMER_PAYLOAD_LEN]);
            kw_unwrap::<CUSTOMER_PAYLOAD>(keys.wk(), record.wrapped(), &mut *payload)?;
            let (wrapped, verifier) = payload.split_at(WRAPPED_LEN);
            let inner = CustomerKeys::derive(customer, &h);
            if !bool::from(inner.verifier().as_slice().ct_eq(verifier)) {
                return Err(KeyError::WrongCustomerKey);
            }
            kw_unwrap::<DATA_KEY>(inner.iwk(), wrapped, dk.expose_mut())?;
        }
    }
    Ok(dk)
}

/// Verifies a record's commitment only: no customer key, no data key.
pub(super) fn verify(
    kek: &Prf,
    record: &DataKeyRecord<'_>,
    ctx: &Context<'_>,
) -> Result<(), KeyError> {
    record.verify(kek, ctx).map(drop)
}

/// Completes an upload: prefix and commitment anew, salt and wrap as they are (F-88).
pub(super) fn complete(
    kek: &Prf,
    record: &DataKeyRecord<'_>,
    ctx: &Context<'_>,
    manifest_digest: [u8; 32],
) -> Result<Vec<u8>, KeyError> {
    let (keys, _) = record.verify(kek, ctx)?;
    if record.info.state == RecordState::NoManifest {
        return Err(KeyError::Malformed("only an upload can be completed"));
    }
    let info = DataKeyInfo {
        state: RecordState::Complete,
        manifest_digest,
        ..record.info
    };
    issue(&keys, record.mode, &info, record.salt, |wrapped| {
        wrapped.copy_from_slice(record.wrapped());
    })
}

/// What the wrap of a record holds, to be wrapped under another key.
pub(super) struct Payload {
    bytes: Secret<CUSTOMER_PAYLOAD_LEN>,
    len: usize,
}

/// Verifies a record and opens its outer wrap.
pub(super) fn payload(
    kek: &Prf,
    record: &DataKeyRecord<'_>,
    ctx: &Context<'_>,
) -> Result<Payload, KeyError> {
    let (keys, _) = record.verify(kek, ctx)?;
    let len = record.wrapped().len() - 8;
    let mut bytes = Secret::zeroed()?;
    let out = &mut bytes.expose_mut()[..len];
    match record.mode {
        Mode::Customer => kw_unwrap::<CUSTOMER_PAYLOAD>(keys.wk(), record.wrapped(), out)?,
        _ => kw_unwrap::<DATA_KEY>(keys.wk(), record.wrapped(), out)?,
    }
    Ok(Payload { bytes, len })
}

/// The record of `payload` under another key; salt and payload stay, so no customer key is needed
/// (F-53).
pub(super) fn rewrap(
    kek: &Prf,
    record: &DataKeyRecord<'_>,
    ctx: &Context<'_>,
    payload: &Payload,
    generation: u32,
) -> Result<Vec<u8>, KeyError> {
    let keys = WrapKeys::derive(kek, &ctx.digest(record.salt)?);
    let info = DataKeyInfo {
        generation,
        ..record.info
    };
    let payload = &payload.bytes.expose()[..payload.len];
    issue(
        &keys,
        record.mode,
        &info,
        record.salt,
        |wrapped| match record.mode {
            Mode::Customer => kw_wrap::<CUSTOMER_PAYLOAD>(keys.wk(), payload, wrapped),
            _ => kw_wrap::<DATA_KEY>(keys.wk(), payload, wrapped),
        },
    )
}

impl DataKeyRecord<'_> {
    fn wrapped(&self) -> &[u8] {
        &self.committed[PREFIX_LEN..]
    }
}

impl Order<'_> {
    fn issue(&self, keys: &WrapKeys, fill: impl FnOnce(&mut [u8])) -> Result<Vec<u8>, KeyError> {
        issue(keys, self.ctx.mode, &self.info, &self.salt, fill)
    }
}

/// wk || ck (F-48).
struct WrapKeys(Zeroizing<[[u8; 32]; 2]>);

impl WrapKeys {
    fn derive(kek: &Prf, h: &[u8; 32]) -> Self {
        let mut keys = Zeroizing::new([[0; 32]; 2]);
        kek.kdf(WRAP_LABEL, h, &mut keys);
        Self(keys)
    }

    fn wk(&self) -> &[u8; 32] {
        &self.0[0]
    }

    fn ck(&self) -> &[u8; 32] {
        &self.0[1]
    }
}

/// iwk || verifier (F-49): the customer key takes part inside the bucket key's wrap (F-55).
struct CustomerKeys(Zeroizing<[[u8; 32]; 2]>);

impl CustomerKeys {
    fn derive(customer: &Secret<32>, h: &[u8; 32]) -> Self {
        let mut keys = Zeroizing::new([[0; 32]; 2]);
        Prf::new(customer.expose()).kdf(b"sr-ssec-1", h, &mut keys);
        Self(keys)
    }

    fn iwk(&self) -> &[u8; 32] {
        &self.0[0]
    }

    fn verifier(&self) -> &[u8; 32] {
        &self.0[1]
    }
}

/// Writes prefix, wrap and commitment (F-40, F-50).
fn issue(
    keys: &WrapKeys,
    mode: Mode,
    info: &DataKeyInfo,
    salt: &[u8; 32],
    fill: impl FnOnce(&mut [u8]),
) -> Result<Vec<u8>, KeyError> {
    let mut record = begin(mode, info, salt, fill)?;
    let commit = Prf::new(keys.ck()).mac(&[&record]);
    record.extend_from_slice(&commit);
    Ok(record)
}

/// Writes prefix and wrap, and leaves room for the commitment.
fn begin(
    mode: Mode,
    info: &DataKeyInfo,
    salt: &[u8; 32],
    fill: impl FnOnce(&mut [u8]),
) -> Result<Vec<u8>, KeyError> {
    if info.state != RecordState::Complete && info.manifest_digest != [0; 32] {
        return Err(NO_MANIFEST);
    }
    let mut record = Vec::with_capacity(record_len(mode));
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&[VERSION, mode.code(), info.state.code(), 0]);
    record.extend_from_slice(&info.generation.to_le_bytes());
    record.extend_from_slice(salt);
    record.extend_from_slice(&info.manifest_digest);
    record.resize(record_len(mode) - COMMIT_LEN, 0);
    fill(&mut record[PREFIX_LEN..]);
    Ok(record)
}

/// The customer key if, and only if, the mode takes one.
fn customer_of<'k>(
    ctx: &Context<'_>,
    customer: Option<&'k Secret<32>>,
) -> Result<Option<&'k Secret<32>>, KeyError> {
    if (ctx.mode == Mode::Customer) == customer.is_some() {
        Ok(customer)
    } else {
        Err(KeyError::Malformed(
            "a customer key is given in mode 2 and in no other",
        ))
    }
}

const fn record_len(mode: Mode) -> usize {
    match mode {
        Mode::Customer => CUSTOMER_RECORD_LEN,
        _ => RECORD_LEN,
    }
}

const WRAP_LABEL: &[u8] = b"sr-wrap-1";
const MAGIC: &[u8; 4] = b"SRDK";
const VERSION: u8 = 1;
const PREFIX_LEN: usize = 76;
const COMMIT_LEN: usize = 32;
/// Words of eight bytes in a wrapped data key, and in the wrap of mode 2.
const DATA_KEY: usize = 5;
const CUSTOMER_PAYLOAD: usize = 10;
/// A data key under AES Key Wrap.
const WRAPPED_LEN: usize = 8 * DATA_KEY;
const CUSTOMER_PAYLOAD_LEN: usize = WRAPPED_LEN + 32;
const RECORD_LEN: usize = PREFIX_LEN + WRAPPED_LEN + COMMIT_LEN;
const CUSTOMER_RECORD_LEN: usize = PREFIX_LEN + CUSTOMER_PAYLOAD_LEN + 8 + COMMIT_LEN;
const NO_RECORD: KeyError = KeyError::Malformed("not a data key record");
const NO_MANIFEST: KeyError =
    KeyError::Malformed("a data key record names a manifest in a state that has none");

//! The bucket key record: one secret, wrapped by up to eight roots, and the state it is in.

use super::error::KeyError;
use super::master::{Strategy, WrappedSecret};
use crate::id::{BucketId, RootId};

/// What a bucket key may be used for (F-63). Ordered from everything to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// Wraps and unwraps.
    Active = 1,
    /// Unwraps; new data goes to a later generation.
    UnwrapOnly = 2,
    /// Neither, until it is enabled again.
    Disabled = 3,
    /// Neither, for ever: a tombstone.
    Shredded = 4,
}

impl KeyState {
    /// The byte written in records.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::UnwrapOnly => 2,
            Self::Disabled => 3,
            Self::Shredded => 4,
        }
    }

    /// The state a byte stands for, if any.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Active),
            2 => Some(Self::UnwrapOnly),
            3 => Some(Self::Disabled),
            4 => Some(Self::Shredded),
            _ => None,
        }
    }
}

/// The secret under one version of one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// The root that wrapped it.
    pub root: RootId,
    /// The version of that root's master key.
    pub version: u32,
    /// How it wrapped.
    pub strategy: Strategy,
    /// The wrapped secret.
    pub blob: WrappedSecret,
}

impl Wrap {
    fn parse(bytes: &[u8; WRAP_LEN]) -> Result<Self, KeyError> {
        let mut rest = &bytes[..];
        Ok(Self {
            root: RootId(take(&mut rest)?),
            version: u32::from_le_bytes(take(&mut rest)?),
            strategy: take(&mut rest)
                .map(|[code]| Strategy::from_code(code))?
                .ok_or(KeyError::Unsupported("this wrapping strategy"))?,
            blob: take(&mut rest)?,
        })
    }
}

/// A parsed bucket key record: well formed, of unknown authenticity until its secret is at hand.
///
/// 160 bytes with one wrap, 61 more for each further one (F-61).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKeyRecord {
    /// The bucket; in the direct tier the object instance.
    pub bucket: BucketId,
    /// From 1 in the order they were made; 0 in the direct tier.
    pub generation: u32,
    /// From 1, one more with every change of state.
    pub rev: u64,
    /// What the key may be used for.
    pub state: KeyState,
    /// Derived from the secret; tells after every unwrap that it is the right one.
    pub check: [u8; 32],
    /// One to eight, in bytewise order of their roots (F-64).
    pub wraps: Vec<Wrap>,
    /// Authenticates `rev` and `state` under the secret (F-62).
    pub tag: [u8; 32],
}

impl BucketKeyRecord {
    /// Parses a record: steps 1 to 4 of F-67. Every record has one encoding (F-05).
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::Unsupported`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let (mut rest, tag) = bytes.split_last_chunk().ok_or(MALFORMED_LENGTH)?;
        if bytes.len() < MIN_LEN || take(&mut rest)? != *MAGIC {
            return Err(KeyError::Malformed("not a bucket key record"));
        }
        if take(&mut rest)? != [VERSION] {
            return Err(KeyError::Unsupported("this version of a bucket key record"));
        }
        let bucket = BucketId(take(&mut rest)?);
        let generation = u32::from_le_bytes(take(&mut rest)?);
        let rev = u64::from_le_bytes(take(&mut rest)?);
        if rev == 0 {
            return Err(KeyError::Malformed("a bucket key record's revision is 0"));
        }
        let [state] = take(&mut rest)?;
        let state = KeyState::from_code(state)
            .ok_or(KeyError::Malformed("a bucket key record is in no state"))?;
        let check = take(&mut rest)?;
        let [count] = take(&mut rest)?;
        let (wraps, trailing) = rest.as_chunks::<WRAP_LEN>();
        if !trailing.is_empty() || wraps.len() != usize::from(count) || wraps.len() > MAX_WRAPS {
            return Err(MALFORMED_LENGTH);
        }
        if !wraps.is_sorted_by(|a, b| a[..16] < b[..16]) {
            return Err(KeyError::Malformed(
                "a bucket key record's wraps are not in order of their roots",
            ));
        }
        let wraps = wraps.iter().map(Wrap::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            bucket,
            generation,
            rev,
            state,
            check,
            wraps,
            tag: *tag,
        })
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.body().to_vec();
        out.extend(self.check_and_wraps());
        out.extend(self.tag);
        out
    }

    /// What the tag covers (F-62).
    pub(super) fn body(&self) -> [u8; BODY_LEN] {
        let mut out = [0; BODY_LEN];
        out[..4].copy_from_slice(MAGIC);
        out[4] = VERSION;
        out[5..21].copy_from_slice(&self.bucket.0);
        out[21..25].copy_from_slice(&self.generation.to_le_bytes());
        out[25..33].copy_from_slice(&self.rev.to_le_bytes());
        out[33] = self.state.code();
        out
    }

    /// What a change of state leaves as it is: the check and the wraps.
    pub(super) fn check_and_wraps(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(33 + self.wraps.len() * WRAP_LEN);
        out.extend(self.check);
        out.push(u8::try_from(self.wraps.len()).expect("a record has at most eight wraps"));
        for wrap in &self.wraps {
            out.extend(wrap.root.0);
            out.extend(wrap.version.to_le_bytes());
            out.push(wrap.strategy.code());
            out.extend(wrap.blob);
        }
        out
    }
}

/// The most roots one record can name.
pub(super) const MAX_WRAPS: usize = 8;

/// Takes the first `N` bytes off `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], KeyError> {
    let (head, tail) = rest.split_first_chunk().ok_or(MALFORMED_LENGTH)?;
    *rest = tail;
    Ok(*head)
}

const MAGIC: &[u8; 4] = b"SRBK";
const VERSION: u8 = 1;
const BODY_LEN: usize = 34;
const WRAP_LEN: usize = 61;
const FIXED_LEN: usize = BODY_LEN + 32 + 1 + 32;
const MIN_LEN: usize = FIXED_LEN + WRAP_LEN;
const MALFORMED_LENGTH: KeyError =
    KeyError::Malformed("a bucket key record's length is not that of its wraps");

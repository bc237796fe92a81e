//! The control ring: an ordinary bucket key whose tags authenticate the states of master versions.

use std::sync::Arc;

use super::bucket_key::Purpose;
use super::bucket_record::KeyState;
use super::error::KeyError;
use super::held::Held;
use crate::id::RootId;

/// The key that states of master versions are tagged under (F-73). It wraps nothing.
pub struct ControlRing {
    held: Arc<Held>,
    purpose: Purpose,
}

/// What a version of a root's master key may be used for. The token knows nothing of it: a version
/// is retired or disabled here, by a tagged record, and stays in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterVersionState {
    /// The root.
    pub root: RootId,
    /// The version of its master key.
    pub version: u32,
    /// From 1, one more with every change.
    pub rev: u64,
    /// As for bucket keys; [`KeyState::Shredded`] says that the version was destroyed in the token.
    pub state: KeyState,
}

/// The states of master versions, read together with a bucket key record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterStates(Vec<MasterVersionState>);

impl ControlRing {
    pub(super) const fn new(held: Arc<Held>, purpose: Purpose) -> Self {
        Self { held, purpose }
    }

    /// The row of a state, 66 bytes (F-74).
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: revision 0. [`KeyError::NotPermitted`]: the ring was asked for to
    /// read. [`KeyError::Expired`].
    pub fn seal_state(&self, state: &MasterVersionState) -> Result<Vec<u8>, KeyError> {
        if self.purpose != Purpose::Wrap {
            return Err(KeyError::NotPermitted);
        }
        if state.rev == 0 {
            return Err(NO_REVISION);
        }
        let mut record = MAGIC.to_vec();
        record.push(VERSION);
        record.extend(state.root.0);
        record.extend(state.version.to_le_bytes());
        record.extend(state.rev.to_le_bytes());
        record.push(state.state.code());
        let tag = self.held.with(|keys| keys.tag(&record))?;
        record.extend(tag);
        Ok(record)
    }

    /// Verifies the row of a state (F-74).
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::Unsupported`], [`KeyError::Unauthentic`],
    /// [`KeyError::Expired`].
    pub fn open_state(&self, record: &[u8]) -> Result<MasterVersionState, KeyError> {
        let record: &[u8; RECORD_LEN] = record.try_into().map_err(|_| NO_STATE)?;
        let (body, tag) = record.split_last_chunk::<32>().ok_or(NO_STATE)?;
        let (magic, rest) = body.split_first_chunk::<4>().ok_or(NO_STATE)?;
        let (version_byte, rest) = rest.split_first_chunk::<1>().ok_or(NO_STATE)?;
        let (root, rest) = rest.split_first_chunk().ok_or(NO_STATE)?;
        let (version, rest) = rest.split_first_chunk().ok_or(NO_STATE)?;
        let (rev, rest) = rest.split_first_chunk().ok_or(NO_STATE)?;
        if magic != MAGIC {
            return Err(NO_STATE);
        }
        if *version_byte != [VERSION] {
            return Err(KeyError::Unsupported(
                "this version of a master version's state",
            ));
        }
        let state = MasterVersionState {
            root: RootId(*root),
            version: u32::from_le_bytes(*version),
            rev: u64::from_le_bytes(*rev),
            state: KeyState::from_code(rest[0])
                .ok_or(KeyError::Malformed("a master version is in no state"))?,
        };
        if state.rev == 0 {
            return Err(NO_REVISION);
        }
        if self.held.with(|keys| keys.verify_tag(body, tag))? {
            Ok(state)
        } else {
            Err(KeyError::Unauthentic)
        }
    }
}

impl std::fmt::Debug for ControlRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlRing")
            .field("generation", &self.held.generation)
            .finish_non_exhaustive()
    }
}

impl MasterStates {
    /// Collects states; of several for one version the highest revision counts, and of those the
    /// one that allows least.
    #[must_use]
    pub fn new(states: impl IntoIterator<Item = MasterVersionState>) -> Self {
        let mut states: Vec<_> = states.into_iter().collect();
        states.sort_by_key(|state| {
            let newest = std::cmp::Reverse((state.rev, state.state));
            (state.root, state.version, newest)
        });
        states.dedup_by_key(|state| (state.root, state.version));
        Self(states)
    }

    /// Whether this version may open wraps. A version of which nothing is recorded may.
    #[must_use]
    pub fn may_unwrap(&self, root: RootId, version: u32) -> bool {
        self.0
            .iter()
            .find(|state| (state.root, state.version) == (root, version))
            .is_none_or(|state| state.state <= KeyState::UnwrapOnly)
    }
}

const MAGIC: &[u8; 4] = b"SRMS";
const VERSION: u8 = 1;
const RECORD_LEN: usize = 66;
const NO_STATE: KeyError = KeyError::Malformed("not the state of a master version");
const NO_REVISION: KeyError = KeyError::Malformed("a master version's revision is 0");

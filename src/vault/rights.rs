//! What may be wrapped and opened, asked anew with every request. Only unwrapped keys are cached, never this.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CONTROL_RING, CONTROL_RING_GENERATION, Vault, VaultError};
use crate::keys::{
    BucketKey, KeyError, KeyState, MasterKeyError, MasterStates, MasterVersionState, Purpose,
    Request,
};
use crate::store::{Bucket, GenerationState, KeyView};

impl Vault {
    /// The key that wraps new data keys of `bucket` now.
    pub(super) fn key_to_wrap(
        &self,
        bucket: &Bucket,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        self.fetch_key(bucket, bucket.generation, Purpose::Wrap, principal)
    }

    /// The key of a generation, to open with.
    pub(super) fn key_to_open(
        &self,
        bucket: &Bucket,
        generation: u32,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        self.fetch_key(bucket, generation, Purpose::Unwrap, principal)
    }

    /// The key of a generation, to open the attributes of a listing with.
    pub(super) fn key_for_attributes(
        &self,
        bucket: &Bucket,
        generation: u32,
    ) -> Result<Arc<BucketKey>, VaultError> {
        self.fetch_key(bucket, generation, Purpose::Attributes, "")
    }

    pub(super) fn fetch_key(
        &self,
        bucket: &Bucket,
        generation: u32,
        purpose: Purpose,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        let view = self.stores.keys.fetch_bucket(bucket.id, generation)?;
        let state = self.stores.catalog.generation(bucket.id, generation)?;
        self.bucket_key(bucket, &view, state, purpose, principal)
    }

    /// The bucket key of a view, if what key store and catalog say of it allows `purpose`.
    pub(super) fn bucket_key(
        &self,
        bucket: &Bucket,
        view: &KeyView,
        state: Option<GenerationState>,
        purpose: Purpose,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        let Some(record) = &view.bucket_key else {
            let missing = || self.key_missing(format!("the key of bucket {:?}", bucket.name));
            return Err(self.unless_deleted(bucket, missing));
        };
        let expected = state.and_then(|state| Some((state.rev, KeyState::from_code(state.state)?)));
        if expected.is_none() {
            let conflict = || self.bucket_key_error(&bucket.name, KeyError::StateConflict);
            return Err(self.unless_deleted(bucket, conflict));
        }
        let masters = self.master_states(view, principal)?;
        let request = Request {
            purpose,
            expected,
            masters: masters.as_ref(),
            principal,
        };
        self.keyring
            .bucket_key_for(record, &request)
            .map_err(|error| self.bucket_key_error(&bucket.name, error))
    }

    /// A bucket that was deleted since it was looked up has no key, and nothing is wrong then.
    fn unless_deleted(&self, bucket: &Bucket, wrong: impl FnOnce() -> VaultError) -> VaultError {
        match self.stores.catalog.bucket_by_id(bucket.id) {
            Ok(Some(_)) => wrong(),
            Ok(None) => VaultError::NoSuchBucket(bucket.name.clone()),
            Err(error) => error.into(),
        }
    }

    /// The states of master key versions in a view. A row that is not authentic counts as disabled.
    fn master_states(
        &self,
        view: &KeyView,
        principal: &str,
    ) -> Result<Option<MasterStates>, VaultError> {
        if view.masters.is_empty() {
            return Ok(None);
        }
        let ring = self
            .stores
            .keys
            .fetch_bucket(CONTROL_RING, CONTROL_RING_GENERATION)?;
        let Some(record) = ring.bucket_key else {
            return Err(self.key_missing("the control ring's key".to_owned()));
        };
        let request = Request {
            principal,
            ..Request::new(Purpose::Unwrap)
        };
        let ring = self
            .keyring
            .control_ring(&record, &request)
            .map_err(|error| self.bucket_key_error("(control ring)", error))?;
        let states = view.masters.iter().map(|row| {
            let state = ring.open_state(&row.state).ok();
            state
                .filter(|state| (state.root, state.version) == (row.root, row.version))
                .unwrap_or(MasterVersionState {
                    root: row.root,
                    version: row.version,
                    rev: u64::MAX,
                    state: KeyState::Disabled,
                })
        });
        Ok(Some(MasterStates::new(states)))
    }

    /// What a failure to get a bucket key means to the caller.
    pub(super) fn bucket_key_error(&self, bucket: &str, error: KeyError) -> VaultError {
        match error {
            KeyError::Disabled => VaultError::Disabled(bucket.to_owned()),
            KeyError::Shredded => VaultError::Shredded(bucket.to_owned()),
            KeyError::StateConflict => {
                self.counts.alarms.fetch_add(1, Ordering::Relaxed);
                VaultError::ReadOnly(format!("bucket {bucket:?}: {error}"))
            }
            KeyError::UnwrapOnly | KeyError::Exhausted => {
                VaultError::ReadOnly(format!("bucket {bucket:?}: {error}"))
            }
            KeyError::RootDisabled { root } => VaultError::RootDisabled(root),
            KeyError::RootPendingDeletion { root } => VaultError::RootPendingDeletion(root),
            KeyError::NoRoot { .. } | KeyError::Hsm(MasterKeyError::KeyMissing { .. }) => {
                VaultError::KeyMissing {
                    what: format!("what opens the key of bucket {bucket:?}"),
                    why: error.to_string(),
                }
            }
            error if error.is_transient() => VaultError::Unavailable(error.to_string()),
            error => VaultError::KeyMissing {
                what: format!("a usable key of bucket {bucket:?}"),
                why: format!("its record is {error}"),
            },
        }
    }

    pub(super) fn key_missing(&self, what: String) -> VaultError {
        let why = self
            .wrong_key_store()
            .unwrap_or_else(|| "restore the key store from its newest backup".to_owned());
        VaultError::KeyMissing { what, why }
    }
}

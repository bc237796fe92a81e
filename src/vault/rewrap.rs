//! The same object under another key: no byte of its data moves, its entity tag and dates stay.
//!
//! A data key that gets another context gets a fresh record under a fresh instance (F-53): the record is durable first,
//! then one catalog transaction puts the instance in the place of the old one, whose record is shredded before the reply.

use super::find::{Found, Miss};
use super::part_attrs;
use super::protect::Binding;
use super::put::{check_facts, not_recorded};
use super::read::Opened;
use super::types::{FactsChange, OpenRequest, Protection, Rewrapped};
use super::{Vault, VaultError, now_ms};
use crate::id::InstanceId;
use crate::keys::{BucketKey, Mode, RecordState};
use crate::store::{CommitError, NewKeyRecord, Replacement, StoreError};

impl Vault {
    /// Puts an object under the bucket's key, or under a root. It has to be under one of these already: what a customer's
    /// key protects cannot be opened here, and what is plain would stay so. With `change`, only if it has the facts that
    /// are expected, and it gets the others with the key, at one moment.
    ///
    /// # Errors
    /// As [`Vault::open`] and [`Vault::put`]; [`VaultError::Invalid`] for another kind of object, or of protection;
    /// [`VaultError::PreconditionFailed`] if somebody else replaced the version, its key or its facts meanwhile. With
    /// [`VaultError::OutcomeUnknown`] it may have happened.
    pub fn rewrap_object(
        &self,
        request: &OpenRequest<'_>,
        protection: &Protection,
        change: Option<FactsChange<'_>>,
    ) -> Result<Rewrapped, VaultError> {
        self.check_writable()?;
        if let Some(change) = change {
            check_facts(change.facts)?;
        }
        let to = Binding::of(protection)?;
        if !is_under_bucket_key(to.mode) {
            return Err(VaultError::Invalid(
                "an object can be put under the bucket's key or under a root".to_owned(),
            ));
        }
        self.find(request, |found| {
            self.rewrap_found(request, found, &to, change)
        })
    }

    fn rewrap_found(
        &self,
        request: &OpenRequest<'_>,
        found: &Found,
        to: &Binding,
        change: Option<FactsChange<'_>>,
    ) -> Result<Rewrapped, Miss> {
        let row = &found.view.row;
        if change.is_some_and(|change| change.expected != row.facts) {
            return Err(VaultError::PreconditionFailed.into());
        }
        if !Mode::from_code(row.mode).is_some_and(is_under_bucket_key) {
            return Err(VaultError::Invalid(
                "only an object under the bucket's key, or under a root, can be put under another"
                    .to_owned(),
            )
            .into());
        }
        let opened = self.open_found(request, found)?;
        let parts = self.part_attrs_of(found, &opened, request.principal, 0, usize::MAX)?;
        let incarnation = self.incarnation();
        let instance = InstanceId::random().map_err(VaultError::from)?;
        let key = self.key_for(&self.same_bucket(&found.bucket)?, to, request.principal)?;
        let seal =
            |part: u32, attrs: &_| to.seal_attrs(&key, &opened.data_key, (instance, part), attrs);
        let attrs = seal(0, &opened.info.attrs)?;
        let sealed = parts
            .iter()
            .map(|(part, attrs)| Ok((*part, seal(*part, attrs)?)))
            .collect::<Result<Vec<_>, VaultError>>()?;
        let sealed = sealed.iter().map(|(part, attrs)| (*part, &attrs[..]));
        let part_attrs = part_attrs::join(sealed)?;

        let record = self.record_under(found, &key, &opened, to, instance)?;
        let take_back = || drop(self.stores.keys.shred(&[instance]));
        let durable = self.stores.keys.insert(NewKeyRecord {
            instance,
            bucket: found.bucket.id,
            generation: key.generation(),
            incarnation,
            record,
        });
        durable.map_err(|error| {
            take_back();
            not_recorded(error)
        })?;
        let under_way = self.debts.begin(found.bucket.id, &row.key);
        let replaced = self.stores.catalog.replace_instance(Replacement {
            bucket: found.bucket.id,
            key: row.key.clone(),
            which: row.which(),
            old: row.instance,
            instance,
            mode: to.mode.code(),
            generation: key.generation(),
            kms_key_id: to.kms_key_id.clone(),
            encryption_context: to.encryption_context.clone(),
            attrs,
            part_attrs,
            facts: change.map(|change| (change.expected.to_vec(), change.facts.to_vec())),
            incarnation,
            now_ms: now_ms(),
        });
        match replaced {
            Ok(garbage) => self.shred_before_reply(&[garbage], under_way)?,
            Err(CommitError::Store(StoreError::Stale(_) | StoreError::NotFound(_))) => {
                take_back();
                return Err(VaultError::PreconditionFailed.into());
            }
            Err(error) => {
                let (is_known, answer) = self.not_committed(error, &found.bucket);
                if is_known {
                    take_back();
                }
                return Err(answer.into());
            }
        }
        Ok(Rewrapped {
            instance,
            replaced: row.instance,
            version: row.version,
            null: row.null,
        })
    }

    fn record_under(
        &self,
        found: &Found,
        key: &BucketKey,
        opened: &Opened,
        to: &Binding,
        instance: InstanceId,
    ) -> Result<Vec<u8>, VaultError> {
        let context = to.context(found.bucket.id, instance, &found.view.row.key);
        let digest = opened.verified.manifest.digest()?;
        key.wrap_data_key(
            &opened.data_key,
            &context,
            None,
            RecordState::Complete,
            digest,
        )
        .map_err(|error| self.bucket_key_error(&found.bucket.name, error))
    }
}

fn is_under_bucket_key(mode: Mode) -> bool {
    matches!(mode, Mode::Managed | Mode::Kms)
}

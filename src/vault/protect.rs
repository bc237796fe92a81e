//! How a write is protected: from what the request says to the key that wraps, the context, and the sealed attributes.

use std::sync::Arc;

use super::kms::root_of;
use super::types::Protection;
use super::{Vault, VaultError};
use crate::format::{NamedList, Suite};
use crate::id::{BucketId, InstanceId};
use crate::keys::{BucketKey, Context, DataKey, Mode, check_encryption_context, kms_key_id};
use crate::store::Bucket;

/// What the protection of an instance adds to the context of its key record (F-43); as its catalog row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) mode: Mode,
    pub(super) kms_key_id: Vec<u8>,
    pub(super) encryption_context: Vec<u8>,
}

impl Binding {
    pub(super) fn of(protection: &Protection) -> Result<Self, VaultError> {
        let (kms_key_id, encryption_context) = match protection {
            Protection::Kms { root, context } => {
                check_encryption_context(context)?;
                (kms_key_id(*root).into_bytes(), context.clone())
            }
            Protection::Managed | Protection::Customer(_) | Protection::Plain => Default::default(),
        };
        Ok(Self {
            mode: protection.mode(),
            kms_key_id,
            encryption_context,
        })
    }

    pub(super) fn context<'a>(
        &'a self,
        bucket: BucketId,
        instance: InstanceId,
        object_key: &'a [u8],
    ) -> Context<'a> {
        Context {
            mode: self.mode,
            bucket,
            instance,
            object_key,
            kms_key_id: &self.kms_key_id,
            encryption_context: &self.encryption_context,
        }
    }

    /// Seals a list of attributes of the object (part 0) or of a part: under the data key what the customer's key
    /// protects, under the bucket key everything else (F-91, F-92).
    pub(super) fn seal_attrs(
        &self,
        bucket_key: &BucketKey,
        data_key: &DataKey,
        (instance, part): (InstanceId, u32),
        attrs: &NamedList,
    ) -> Result<Vec<u8>, VaultError> {
        let list = attrs.encode_attrs()?;
        Ok(match self.mode {
            Mode::Customer => data_key.seal_attrs(instance, part, &list)?,
            _ => bucket_key.seal_attrs(instance, part, &list)?,
        })
    }
}

impl Vault {
    /// The suite of a new object. Suite 0 and the plain mode belong together (F-43), and come only from the request.
    pub(super) fn suite_for(
        &self,
        protection: &Protection,
        suite: Option<Suite>,
    ) -> Result<Suite, VaultError> {
        match (protection, suite) {
            (Protection::Plain, None | Some(Suite::PlainGmac)) => Ok(Suite::PlainGmac),
            (Protection::Plain, Some(_)) | (_, Some(Suite::PlainGmac)) => Err(VaultError::Invalid(
                "suite 0 goes with plain protection, and with nothing else".to_owned(),
            )),
            (_, suite) => Ok(suite.unwrap_or(self.config.suite)),
        }
    }

    /// The key that wraps what is written under this binding now, if the bucket allows it.
    pub(super) fn key_for(
        &self,
        bucket: &Bucket,
        binding: &Binding,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        if binding.mode == Mode::Plain {
            self.check_plaintext(bucket)?;
        }
        match root_of(&binding.kms_key_id) {
            Some(root) => self.key_under_root(bucket, root, principal),
            None => self.key_to_wrap(bucket, principal),
        }
    }
}

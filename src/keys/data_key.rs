//! The data key of one object instance.

use super::derive::{kwp_unwrap, kwp_wrap, scrubbed};
use super::error::KeyError;
use super::prf::Prf;
use crate::id::InstanceId;
use crate::secret::Secret;
use zeroize::Zeroizing;

/// Thirty-two random bytes that seal one object instance, and are never used again (F-56).
pub struct DataKey(Secret<32>);

impl DataKey {
    /// Fresh from the kernel.
    ///
    /// # Errors
    /// Locked memory or the kernel's random source is not to be had.
    pub(crate) fn random() -> Result<Self, KeyError> {
        Ok(Self(Secret::random()?))
    }

    pub(crate) const fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key itself, for the sealer.
    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// Seals the attributes of a customer-key object, or of one of its parts; part 0 is the object
    /// (F-92).
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: `list` is empty.
    pub fn seal_attrs(
        &self,
        instance: InstanceId,
        part: u32,
        list: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        scrubbed(|| seal_attrs(&self.0, LABEL, instance, part, list))
    }

    /// Opens what [`DataKey::seal_attrs`] sealed for the same instance and part.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] or [`KeyError::Unauthentic`].
    pub fn open_attrs(
        &self,
        instance: InstanceId,
        part: u32,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        scrubbed(|| open_attrs(&self.0, LABEL, instance, part, sealed))
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// F-90.
pub(super) fn seal_attrs(
    key: &Secret<32>,
    label: &[u8],
    instance: InstanceId,
    part: u32,
    list: &[u8],
) -> Result<Vec<u8>, KeyError> {
    kwp_wrap(&attribute_key(key, label, instance, part)[0], list)
}

pub(super) fn open_attrs(
    key: &Secret<32>,
    label: &[u8],
    instance: InstanceId,
    part: u32,
    sealed: &[u8],
) -> Result<Vec<u8>, KeyError> {
    kwp_unwrap(&attribute_key(key, label, instance, part)[0], sealed)
}

fn attribute_key(
    key: &Secret<32>,
    label: &[u8],
    instance: InstanceId,
    part: u32,
) -> Zeroizing<[[u8; 32]; 1]> {
    let mut ctx = [0; 20];
    ctx[..16].copy_from_slice(&instance.0);
    ctx[16..].copy_from_slice(&part.to_le_bytes());
    let mut derived = Zeroizing::new([[0; 32]]);
    Prf::new(key.expose()).kdf(label, &ctx, &mut derived);
    derived
}

const LABEL: &[u8] = b"sr-attr-2";

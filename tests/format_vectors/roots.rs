//! Master keys of known bytes, for vectors that state them. What an HSM does inside, the twin does here.

use strongroom::id::RootId;
use strongroom::keys::{MasterKey, MasterKeyError, Strategy, WrappedSecret};
use strongroom::secret::Secret;

use crate::twin::{self, Key, Root};

/// A root with one version.
pub(crate) struct KnownRoot(pub(crate) Root);

impl KnownRoot {
    fn key(&self, version: u32) -> Result<&Key, MasterKeyError> {
        if version == self.0.version {
            Ok(&self.0.key)
        } else {
            Err(MasterKeyError::KeyMissing { version })
        }
    }
}

impl MasterKey for KnownRoot {
    fn root(&self) -> RootId {
        RootId(self.0.mk_id)
    }

    fn strategy(&self) -> Strategy {
        Strategy::from_code(self.0.strategy).unwrap()
    }

    fn active_version(&self) -> u32 {
        self.0.version
    }

    fn versions(&self) -> Vec<u32> {
        vec![self.0.version]
    }

    fn wrap(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError> {
        let wrapped = twin::wrap(self.key(version)?, secret.expose(), self.0.strategy == 2);
        Ok(wrapped.try_into().unwrap())
    }

    fn unwrap(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError> {
        let opened = twin::unwrap(self.key(version)?, blob, self.0.strategy == 2)
            .map_err(|_| MasterKeyError::Rejected)?;
        let mut opened: Key = opened.try_into().map_err(|_| MasterKeyError::Rejected)?;
        Ok(Secret::take(&mut opened)?)
    }

    fn rewrap(
        &self,
        from: u32,
        to: u32,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, MasterKeyError> {
        self.wrap(to, &self.unwrap(from, blob)?)
    }

    fn random(&self) -> Result<Secret<32>, MasterKeyError> {
        Ok(Secret::random()?)
    }

    fn health(&self) -> Result<(), MasterKeyError> {
        Ok(())
    }
}

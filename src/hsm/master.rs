//! [`HsmMasterKey`]: a root of the keyring, in a token.

use std::sync::Arc;

use super::config::HsmConfig;
use super::error::HsmError;
use super::key;
use super::life::Token;
use super::pool::{Answer, Order, Pool};
use crate::id::RootId;
use crate::keys::{MasterKey, MasterKeyError, Strategy, WrappedSecret};
use crate::secret::Secret;

/// A master key in a PKCS#11 token, in all its versions.
///
/// Logged in and proven when it is made; from then on it wins back by itself what a module or a
/// token loses: sessions, login, keys, the module's own state. Callers wait at most for the
/// configured deadline; while the token is away they hear so at once.
pub struct HsmMasterKey {
    pool: Pool,
}

/// Counters for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HsmStats {
    /// Calls of the module's functions in this process.
    pub calls: u64,
    /// Times that login and keys were won anew, the first one included.
    pub lives: u64,
    /// Threads given up because they hung in the module.
    pub hung: u64,
    /// Whether the module is being left alone at the moment because it failed.
    pub failing: bool,
}

impl HsmMasterKey {
    /// Loads the module, logs in, finds every version of the master key, and refuses to go on
    /// unless each has the right attributes and the mechanism and each key give known answers.
    ///
    /// # Errors
    /// [`HsmError`]; its text says what to do.
    pub fn open(config: HsmConfig) -> Result<Self, HsmError> {
        if config.deadline.is_zero() {
            return Err(HsmError::Config(
                "the HSM deadline must be more than zero".to_owned(),
            ));
        }
        let pool = Pool::start(Arc::new(Token::new(config)?))?;
        let token = pool.token();
        if let Some(version) = token.config.active_version
            && !token.versions().contains(&version)
        {
            return Err(HsmError::KeyMissing {
                place: token.place.clone(),
                key: key::name(&token.config, version),
                version,
            });
        }
        Ok(Self { pool })
    }

    /// Calls of the module's functions in this process: the "HSM operations" of the metrics.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.pool.token().module.calls()
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> HsmStats {
        HsmStats {
            calls: self.calls(),
            lives: self.pool.token().lives(),
            hung: self.pool.hung(),
            failing: self.pool.is_open(),
        }
    }

    fn blob(&self, order: Order) -> Result<WrappedSecret, MasterKeyError> {
        match self.pool.ask(order)? {
            Answer::Blob(blob) => Ok(blob),
            Answer::Done | Answer::Secret(_) => Err(unasked()),
        }
    }

    fn secret(&self, order: Order) -> Result<Secret<32>, MasterKeyError> {
        match self.pool.ask(order)? {
            Answer::Secret(secret) => Ok(secret),
            Answer::Done | Answer::Blob(_) => Err(unasked()),
        }
    }
}

impl MasterKey for HsmMasterKey {
    fn root(&self) -> RootId {
        self.pool.token().config.root
    }

    fn strategy(&self) -> Strategy {
        self.pool.token().config.strategy
    }

    fn active_version(&self) -> u32 {
        let token = self.pool.token();
        let highest = || token.versions().last().copied().unwrap_or_default();
        token.config.active_version.unwrap_or_else(highest)
    }

    fn versions(&self) -> Vec<u32> {
        self.pool.token().versions()
    }

    fn wrap(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError> {
        // A copy, because the caller may leave at its deadline while the module still reads.
        let mut copy = Secret::zeroed()?;
        copy.expose_mut().copy_from_slice(secret.expose());
        self.blob(Order::Wrap(version, copy))
    }

    fn unwrap(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError> {
        self.secret(Order::Unwrap(version, *blob))
    }

    fn rewrap(
        &self,
        from: u32,
        to: u32,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, MasterKeyError> {
        self.blob(Order::Rewrap(from, to, *blob))
    }

    fn random(&self) -> Result<Secret<32>, MasterKeyError> {
        self.secret(Order::Random)
    }

    fn health(&self) -> Result<(), MasterKeyError> {
        self.pool.ask(Order::Health)?;
        Ok(())
    }
}

/// An answer of the wrong kind; orders and answers are matched in `worker`.
fn unasked() -> MasterKeyError {
    MasterKeyError::Unavailable {
        function: "C_WrapKey",
        code: 0,
    }
}

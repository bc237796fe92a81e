//! What an administrator does to a token: make one, make a version of a master key, look, destroy.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki_sys as ck;

use super::class::{Class, class};
use super::config::{HsmConfig, PinSource};
use super::error::{CallError, HsmError, Place};
use super::key::{self, AttributeCheck};
use super::life::{find_slot, logged_in, padded_text, pin_error};
use super::module::{Module, ModuleUse, Session};
use super::operation::{Fault, Hands};
use super::probe;
use crate::secret::SecretBytes;

/// The administrator's view of a module. Each call logs in with the PIN it is given and out again;
/// keys of a token already in use by this process stay in use.
pub struct HsmAdmin {
    module: ModuleUse,
}

/// A token and the master key in it, as the token itself tells: its word, not an attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Label of the token.
    pub token: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// A wrong user PIN was entered since the last right one.
    pub pin_failed: bool,
    /// The next wrong user PIN locks it.
    pub pin_final_try: bool,
    /// The versions present, in ascending order.
    pub versions: Vec<VersionStatus>,
}

/// One version of a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionStatus {
    /// The version.
    pub version: u32,
    /// Its `CKA_LABEL`.
    pub label: String,
    /// Its `CKA_ID`.
    pub id: [u8; 16],
    /// The attributes that matter, as they are and as they must be.
    pub checks: Vec<AttributeCheck>,
    /// Whether the key wraps, opens and refuses as it must.
    pub works: bool,
}

impl VersionStatus {
    /// Whether a daemon would start with this key.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.works && self.checks.iter().all(AttributeCheck::holds)
    }
}

impl HsmAdmin {
    /// Loads a module.
    ///
    /// # Errors
    /// [`HsmError::ModuleMissing`].
    pub fn open(module: &Path) -> Result<Self, HsmError> {
        Ok(Self {
            module: Module::acquire(module)?,
        })
    }

    /// The labels of the tokens present.
    ///
    /// # Errors
    /// [`HsmError::Call`].
    pub fn tokens(&self) -> Result<Vec<String>, HsmError> {
        let place = self.place("");
        let slots = self.module.slots().map_err(|error| error.at(&place))?;
        let mut labels = Vec::new();
        for slot in slots {
            let info = self
                .module
                .token_info(slot)
                .map_err(|error| error.at(&place))?;
            if info.flags & ck::CKF_TOKEN_INITIALIZED != 0 {
                labels.push(padded_text(&info.label));
            }
        }
        Ok(labels)
    }

    /// Makes a token in the first slot without one, with both PINs. For software tokens in
    /// development; a real HSM is set up with its vendor's tool.
    ///
    /// # Errors
    /// [`HsmError::TokenExists`], [`HsmError::NoFreeSlot`], [`HsmError::Call`].
    pub fn init_token(
        &self,
        label: &str,
        so_pin: &SecretBytes,
        user_pin: &SecretBytes,
    ) -> Result<(), HsmError> {
        let place = self.place(label);
        let at = |error: CallError| error.at(&place);
        let mut padded = [b' '; 32];
        padded
            .get_mut(..label.len())
            .filter(|_| !label.is_empty() && label.trim_end() == label)
            .ok_or_else(|| {
                HsmError::Config(format!(
                    "the token label \"{label}\" must have 1 to 32 bytes and not end in a blank"
                ))
            })?
            .copy_from_slice(label.as_bytes());
        if self.tokens()?.iter().any(|token| token == label) {
            return Err(HsmError::TokenExists { place });
        }
        let module = &*self.module;
        let _alone = self.alone(&place)?;
        let mut free = None;
        for slot in module.slots().map_err(at)? {
            if module.token_info(slot).map_err(at)?.flags & ck::CKF_TOKEN_INITIALIZED == 0 {
                free = Some(slot);
                break;
            }
        }
        let free = free.ok_or_else(|| HsmError::NoFreeSlot {
            module: module.path().to_owned(),
        })?;
        module
            .init_token(free, so_pin.expose(), &padded)
            .map_err(at)?;
        let session = module
            .open_session(find_slot(module, &place)?)
            .map_err(at)?;
        let made = module
            .login(session, ck::CKU_SO, so_pin.expose())
            .and_then(|()| module.init_pin(session, user_pin.expose()))
            .and_then(|()| module.logout(session));
        let closed = module.close_session(session);
        made.and(closed).map_err(at)
    }

    /// Generates one version of the root's master key in the token, with every attribute written
    /// out, and proves it. `pin` need not be the configuration's.
    ///
    /// # Errors
    /// [`HsmError::KeyExists`]; a token that made the key otherwise than asked for:
    /// [`HsmError::KeyPosture`], [`HsmError::WrongAnswer`].
    pub fn generate(
        &self,
        config: &HsmConfig,
        version: u32,
        pin: &PinSource,
    ) -> Result<VersionStatus, HsmError> {
        if !(1..=key::MAX_VERSION).contains(&version) {
            return Err(HsmError::Config(format!(
                "a master key version is a number from 1 to {}, not {version}",
                key::MAX_VERSION
            )));
        }
        self.logged_in(config, pin, |session, place| {
            let module = &*self.module;
            let found = key::find(module, session, config, place)?;
            if found.contains_key(&version) {
                return Err(HsmError::KeyExists {
                    place: place.clone(),
                    key: key::name(config, version),
                });
            }
            let mechanism = probe::mechanism(module, session, config.strategy, place)?;
            let id = key::key_id(config.root, version);
            let label = config.label(version);
            let allowed = [mechanism];
            let template = key::template(&label, &id, &allowed);
            let made = module.generate_key(session, ck::CKM_AES_KEY_GEN, &template);
            match made {
                // Not every token knows the last attribute, which only narrows what the key may do.
                Err(CallError {
                    code: ck::CKR_ATTRIBUTE_TYPE_INVALID,
                    ..
                }) => module.generate_key(
                    session,
                    ck::CKM_AES_KEY_GEN,
                    &template[..template.len() - 1],
                ),
                made => made,
            }
            .map_err(|error| error.at(place))?;
            let status = self
                .versions(config, session, place)?
                .into_iter()
                .find(|status| status.version == version)
                .ok_or_else(|| HsmError::WrongAnswer {
                    place: place.clone(),
                    what: "the key that was generated cannot be found".to_owned(),
                })?;
            key::require_posture(&status.checks, config, version, place)?;
            if status.works {
                Ok(status)
            } else {
                Err(HsmError::WrongAnswer {
                    place: place.clone(),
                    what: format!(
                        "the new master key {} does not open what it wraps",
                        key::name(config, version)
                    ),
                })
            }
        })
    }

    /// The token and every version of the root's master key in it; also those with which no daemon
    /// would start.
    ///
    /// # Errors
    /// [`HsmError`]: no such token, PIN refused, several keys of one name.
    pub fn status(&self, config: &HsmConfig) -> Result<TokenStatus, HsmError> {
        self.logged_in(config, &config.pin, |session, place| {
            let slot = find_slot(&self.module, place)?;
            let info = self
                .module
                .token_info(slot)
                .map_err(|error| error.at(place))?;
            Ok(TokenStatus {
                token: padded_text(&info.label),
                manufacturer: padded_text(&info.manufacturerID),
                model: padded_text(&info.model),
                serial: padded_text(&info.serialNumber),
                pin_failed: info.flags & ck::CKF_USER_PIN_COUNT_LOW != 0,
                pin_final_try: info.flags & ck::CKF_USER_PIN_FINAL_TRY != 0,
                versions: self.versions(config, session, place)?,
            })
        })
    }

    /// Destroys one version for ever: what is wrapped under it and under no other root cannot be
    /// opened again. `pin` is the destroyer's, from a source the daemon does not have.
    ///
    /// # Errors
    /// [`HsmError::Config`] if `pin` is the configuration's own source; [`HsmError::KeyMissing`].
    pub fn destroy(
        &self,
        config: &HsmConfig,
        version: u32,
        pin: &PinSource,
    ) -> Result<(), HsmError> {
        if *pin == config.pin {
            return Err(HsmError::Config(format!(
                "destroying a master key takes another PIN source than the daemon's ({})",
                config.pin
            )));
        }
        self.logged_in(config, pin, |session, place| {
            let found = key::find(&self.module, session, config, place)?;
            let key = found.get(&version).ok_or_else(|| HsmError::KeyMissing {
                place: place.clone(),
                key: key::name(config, version),
                version,
            })?;
            self.module
                .destroy_object(session, key.object)
                .map_err(|error| error.at(place))
        })
    }

    fn versions(
        &self,
        config: &HsmConfig,
        session: Session,
        place: &Place,
    ) -> Result<Vec<VersionStatus>, HsmError> {
        let module = &*self.module;
        let mechanism = probe::mechanism(module, session, config.strategy, place)?;
        let hands = Hands::new(module, session, mechanism);
        let mut versions = Vec::new();
        for (version, found) in key::find(module, session, config, place)? {
            let works = match probe::identify(&hands, found.object) {
                Ok(_) => true,
                Err(Fault::Call { .. }) => false,
                Err(Fault::Other(error)) => return Err(error),
            };
            versions.push(VersionStatus {
                version,
                label: found.label,
                id: key::key_id(config.root, version),
                checks: key::checks(module, session, found.object)
                    .map_err(|error| error.at(place))?,
                works,
            });
        }
        Ok(versions)
    }

    /// Runs `work` in a session of the user, with the module to itself.
    fn logged_in<T>(
        &self,
        config: &HsmConfig,
        pin: &PinSource,
        work: impl FnOnce(Session, &Place) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let place = self.place(&config.token);
        let at = |error: CallError| error.at(&place);
        let module = &*self.module;
        let _alone = self.alone(&place)?;
        let slot = find_slot(module, &place)?;
        let session = module.open_session(slot).map_err(at)?;
        let mut ours = false;
        let done = logged_in(module, session)
            .map_err(at)
            .and_then(|already| {
                if already {
                    return Ok(());
                }
                let secret = pin.fetch()?;
                match module.login(session, ck::CKU_USER, secret.expose()) {
                    Ok(()) => {
                        ours = true;
                        Ok(())
                    }
                    Err(error) if class(error.code) == Class::Pin => {
                        Err(pin_error(error.code, &place, &pin.to_string()))
                    }
                    Err(error) => Err(error.at(&place)),
                }
            })
            .and_then(|()| work(session, &place));
        let out = if ours { module.logout(session) } else { Ok(()) };
        let closed = module.close_session(session);
        let value = done?;
        out.and(closed).map_err(at)?;
        Ok(value)
    }

    fn alone(&self, place: &Place) -> Result<super::gate::Alone<'_>, HsmError> {
        let deadline = Instant::now() + ADMIN_WAIT;
        self.module
            .gate
            .alone(deadline, ADMIN_WAIT)
            .ok_or_else(|| HsmError::TimedOut {
                place: place.clone(),
                function: "C_Login",
            })
    }

    fn place(&self, token: &str) -> Place {
        Place {
            module: self.module.path().to_owned(),
            token: token.to_owned(),
        }
    }
}

const ADMIN_WAIT: Duration = Duration::from_secs(10);

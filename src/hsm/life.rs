//! One token from login to the next: the anchor session, the handles of the keys, and how all of
//! that is won back when it is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use super::class::{Class, class};
use super::config::HsmConfig;
use super::error::{HsmError, Place};
use super::gate::Alone;
use super::key;
use super::module::{Module, ModuleUse, Object, Session};
use super::operation::{Fault, Hands};
use super::probe;
use crate::keys::WrappedSecret;
use crate::secret::SecretBytes;

/// The token of one root.
pub(super) struct Token {
    pub(super) config: HsmConfig,
    pub(super) place: Place,
    life: Mutex<Option<Arc<Life>>>,
    /// What each version answers to the known question; a key that answers otherwise is another key.
    answers: Mutex<BTreeMap<u32, WrappedSecret>>,
    mechanism: OnceLock<ck::CK_MECHANISM_TYPE>,
    /// The PIN that was refused, and how: it is not sent again.
    refused: Mutex<Option<(SecretBytes, HsmError)>>,
    last_look: Mutex<Option<Instant>>,
    epochs: AtomicU64,
    // Last: the module is finalised when everything else of it is closed.
    pub(super) module: ModuleUse,
}

/// Handles that are valid together.
pub(super) struct Life {
    pub(super) epoch: u64,
    /// Sessions belong to an initialisation of the module, not to a life.
    pub(super) generation: u64,
    pub(super) slot: ck::CK_SLOT_ID,
    /// Held open and never used for work: with the last session the login is lost.
    anchor: Session,
    pub(super) keys: BTreeMap<u32, Object>,
}

/// How much must be won back, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The login if it is lost, and the keys.
    Login,
    /// Everything, beginning with the module itself.
    Module,
}

impl Token {
    pub(super) fn new(config: HsmConfig) -> Result<Self, HsmError> {
        let module = Module::acquire(&config.module)?;
        Ok(Self {
            place: Place {
                module: config.module.clone(),
                token: config.token.clone(),
            },
            config,
            life: Mutex::default(),
            answers: Mutex::default(),
            mechanism: OnceLock::new(),
            refused: Mutex::default(),
            last_look: Mutex::default(),
            epochs: AtomicU64::new(1),
            module,
        })
    }

    /// The present life, if its handles are still valid.
    pub(super) fn life(&self) -> Option<Arc<Life>> {
        let life = lock(&self.life).clone()?;
        (life.generation == self.module.generation()).then_some(life)
    }

    /// The versions found last.
    pub(super) fn versions(&self) -> Vec<u32> {
        lock(&self.life)
            .as_ref()
            .map(|life| life.keys.keys().copied().collect())
            .unwrap_or_default()
    }

    /// How often a life began.
    pub(super) fn lives(&self) -> u64 {
        self.epochs.load(Ordering::Relaxed) - 1
    }

    /// The mechanism the probe chose; before the first life, the standard's.
    pub(super) fn mechanism(&self) -> ck::CK_MECHANISM_TYPE {
        self.mechanism
            .get()
            .copied()
            .unwrap_or(ck::CKM_AES_KEY_WRAP)
    }

    pub(super) fn answer(&self, version: u32) -> Option<WrappedSecret> {
        lock(&self.answers).get(&version).copied()
    }

    /// Whether it is time to look again for keys that were not there.
    pub(super) fn may_look_again(&self) -> bool {
        lock(&self.last_look).is_none_or(|last| last.elapsed() > LOOK_AGAIN)
    }

    /// Begins a new life, once for all that ask: who finds one younger than `seen` takes that. Runs
    /// while no other thread is in the module, because modules crash or lock up when they are
    /// finalised or logged in under load.
    ///
    /// # Errors
    /// What stands in the way; [`HsmError::TimedOut`] also while a thread hangs in the module.
    pub(super) fn recover(
        &self,
        need: Need,
        seen: u64,
        deadline: Instant,
        stuck: Duration,
    ) -> Result<(), HsmError> {
        let alone = self
            .module
            .gate
            .alone(deadline, stuck)
            .ok_or_else(|| HsmError::TimedOut {
                place: self.place.clone(),
                function: "C_Login",
            })?;
        if self.life().is_some_and(|life| life.epoch > seen) {
            return Ok(());
        }
        let previous = lock(&self.life).clone();
        // Another root of the same module has begun it anew since: to do so again would end that root's life in turn.
        let begun_anew = previous
            .as_ref()
            .is_some_and(|life| life.generation != self.module.generation());
        let need = if begun_anew { Need::Login } else { need };
        let outcome = match self.renew(need, previous.as_deref(), &alone) {
            Err(error) if need < Need::Module && !is_final(&error) => {
                self.renew(Need::Module, previous.as_deref(), &alone)
            }
            outcome => outcome,
        };
        *lock(&self.last_look) = Some(Instant::now());
        *lock(&self.life) = Some(Arc::new(outcome?));
        Ok(())
    }

    fn renew(
        &self,
        need: Need,
        previous: Option<&Life>,
        alone: &Alone<'_>,
    ) -> Result<Life, HsmError> {
        let module = &*self.module;
        let at = |error: super::error::CallError| error.at(&self.place);
        if need == Need::Module {
            module.reinitialize(alone).map_err(at)?;
        }
        let generation = module.generation();
        let slot = find_slot(module, &self.place)?;
        let held = previous
            .filter(|life| life.generation == generation && life.slot == slot)
            .map(|life| life.anchor)
            .filter(|anchor| module.session_info(*anchor).is_ok());
        let anchor = match held {
            Some(anchor) => anchor,
            None => module.open_session(slot).map_err(at)?,
        };
        let renewed = self.settle(need, previous, anchor).map(|keys| Life {
            epoch: self.epochs.fetch_add(1, Ordering::Relaxed),
            generation,
            slot,
            anchor,
            keys,
        });
        if renewed.is_err() && held.is_none() {
            // The error at hand says more than one of closing could.
            let _ = module.close_session(anchor);
        }
        renewed
    }

    /// Logs in, finds the keys and asks each the known question.
    fn settle(
        &self,
        need: Need,
        previous: Option<&Life>,
        anchor: Session,
    ) -> Result<BTreeMap<u32, Object>, HsmError> {
        let module = &*self.module;
        self.login(anchor)?;
        let found = key::find(module, anchor, &self.config, &self.place)?;
        let gone = |version: u32| HsmError::KeyMissing {
            place: self.place.clone(),
            key: key::name(&self.config, version),
            version,
        };
        match previous {
            None if found.is_empty() => {
                return Err(gone(self.config.active_version.unwrap_or(1)));
            }
            // A token whose storage went away shows no keys and no error. Only a module that was
            // begun anew, by this root or by another, is believed when it says that a key is gone.
            Some(life) if need < Need::Module && life.generation == module.generation() => {
                if let Some(version) = life
                    .keys
                    .keys()
                    .find(|version| !found.contains_key(version))
                {
                    return Err(gone(*version));
                }
            }
            _ => {}
        }
        for (version, key) in &found {
            let checks =
                key::checks(module, anchor, key.object).map_err(|error| error.at(&self.place))?;
            key::require_posture(&checks, &self.config, *version, &self.place)?;
        }
        let mechanism = match self.mechanism.get() {
            Some(mechanism) => *mechanism,
            None => {
                let found = probe::mechanism(module, anchor, self.config.strategy, &self.place)?;
                *self.mechanism.get_or_init(|| found)
            }
        };
        let hands = Hands::new(module, anchor, mechanism);
        for (version, key) in &found {
            self.question(&hands, *version, key.object)?;
        }
        Ok(found
            .into_iter()
            .map(|(version, key)| (version, key.object))
            .collect())
    }

    /// Asks a key the known question, up to three times where the answer is vague.
    fn question(&self, hands: &Hands<'_>, version: u32, key: Object) -> Result<(), HsmError> {
        let mut tries = 3;
        loop {
            let asked = match self.answer(version) {
                Some(answer) => probe::check(hands, key, &answer),
                None => probe::identify(hands, key).map(|answer| {
                    lock(&self.answers).insert(version, answer);
                }),
            };
            tries -= 1;
            match asked {
                Ok(()) => return Ok(()),
                Err(Fault::Call { error, .. })
                    if tries > 0 && class(error.code) == Class::Vague => {}
                Err(Fault::Call { error, .. }) if error.code == 0 => {
                    return Err(HsmError::WrongAnswer {
                        place: self.place.clone(),
                        what: format!(
                            "master key {} does not give the known answer ({}): it is not the key it was, or the module computes wrongly; restore the key from the token's backup",
                            key::name(&self.config, version),
                            error.function
                        ),
                    });
                }
                Err(Fault::Call { error, .. }) => return Err(error.at(&self.place)),
                Err(Fault::Other(error)) => return Err(error),
            }
        }
    }

    /// Logs in unless the process is logged in. A PIN that was refused is not sent again: only
    /// another one in its place is, once.
    fn login(&self, session: Session) -> Result<(), HsmError> {
        let module = &*self.module;
        if logged_in(module, session).map_err(|error| error.at(&self.place))? {
            return Ok(());
        }
        let pin = self.config.pin.fetch()?;
        let mut refused = lock(&self.refused);
        if let Some((old, error)) = refused.as_ref()
            && bool::from(old.ct_eq(&pin))
        {
            return Err(error.clone());
        }
        match module.login(session, ck::CKU_USER, pin.expose()) {
            Ok(()) => {
                *refused = None;
                Ok(())
            }
            Err(error) if error.code == ck::CKR_USER_ALREADY_LOGGED_IN => Ok(()),
            Err(error) if class(error.code) == Class::Pin => {
                let error = pin_error(error.code, &self.place, &self.config.pin.to_string());
                *refused = Some((pin, error.clone()));
                Err(error)
            }
            Err(error) => Err(error.at(&self.place)),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let Some(life) = self.life() else { return };
        if let Some(_inside) = self.module.gate.enter(Instant::now() + CLOSE_WAIT) {
            let _ = self.module.close_session(life.anchor);
        }
    }
}

/// The slot of the token with this label; slot numbers change whenever a module begins anew.
pub(super) fn find_slot(module: &Module, place: &Place) -> Result<ck::CK_SLOT_ID, HsmError> {
    let mut present = Vec::new();
    let mut matching = Vec::new();
    for slot in module.slots().map_err(|error| error.at(place))? {
        // One slot out of order is no reason to miss the token in another.
        let Ok(info) = module.token_info(slot) else {
            continue;
        };
        if info.flags & ck::CKF_TOKEN_INITIALIZED == 0 {
            continue;
        }
        let label = padded_text(&info.label);
        if label == place.token {
            matching.push(slot);
        }
        present.push(label);
    }
    match matching[..] {
        [slot] => Ok(slot),
        [] => Err(HsmError::TokenMissing {
            place: place.clone(),
            present,
        }),
        _ => Err(HsmError::TokenDuplicate {
            place: place.clone(),
            count: matching.len(),
        }),
    }
}

/// Whether the process is logged in as the user, as this session sees it.
pub(super) fn logged_in(
    module: &Module,
    session: Session,
) -> Result<bool, super::error::CallError> {
    let state = module.session_info(session)?.state;
    Ok(state == ck::CKS_RW_USER_FUNCTIONS || state == ck::CKS_RO_USER_FUNCTIONS)
}

pub(super) fn pin_error(code: ck::CK_RV, place: &Place, source: &str) -> HsmError {
    if code == ck::CKR_PIN_LOCKED {
        HsmError::PinLocked {
            place: place.clone(),
        }
    } else {
        HsmError::PinWrong {
            place: place.clone(),
            source_name: source.to_owned(),
            code,
        }
    }
}

/// Text of the standard's fixed fields: padded with blanks, not ended by a zero.
pub(super) fn padded_text(field: &[u8]) -> String {
    String::from_utf8_lossy(field)
        .trim_end_matches([' ', '\0'])
        .to_owned()
}

/// Whether beginning anew with the module cannot change this answer.
fn is_final(error: &HsmError) -> bool {
    matches!(
        error,
        HsmError::PinUnreadable { .. }
            | HsmError::PinWrong { .. }
            | HsmError::PinLocked { .. }
            | HsmError::KeyDuplicate { .. }
            | HsmError::KeyPosture { .. }
            | HsmError::TokenDuplicate { .. }
            | HsmError::Secret(_)
    )
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);
const CLOSE_WAIT: Duration = Duration::from_secs(1);

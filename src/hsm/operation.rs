//! What is done in one session: wrap, unwrap, rewrap, random. Each leaves no object behind.

use std::cell::Cell;

use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use super::error::{CallError, HsmError};
use super::module::{Attribute, Module, Object, Session};
use crate::keys::WrappedSecret;
use crate::secret::{Secret, SecretError};

/// One session in the hands of the one thread that uses it.
pub(super) struct Hands<'a> {
    pub(super) module: &'a Module,
    pub(super) session: Session,
    pub(super) mechanism: ck::CK_MECHANISM_TYPE,
    /// Set when an object could not be destroyed: then the session must go, and the object with it.
    pub(super) unclean: Cell<bool>,
}

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// A function failed; `blob` if it was the one that was given the caller's blob.
    Call { error: CallError, blob: bool },
    /// Anything else, not to be tried again.
    Other(HsmError),
}

impl<'a> Hands<'a> {
    pub(super) fn new(
        module: &'a Module,
        session: Session,
        mechanism: ck::CK_MECHANISM_TYPE,
    ) -> Self {
        Self {
            module,
            session,
            mechanism,
            unclean: Cell::new(false),
        }
    }

    /// Wraps and, before anybody relies on it, unwraps once and compares.
    pub(super) fn wrap(&self, key: Object, secret: &Secret<32>) -> Result<WrappedSecret, Fault> {
        let blob = self.wrap_unchecked(key, secret)?;
        let back = self.unwrap(key, &blob).map_err(Fault::not_the_callers)?;
        if bool::from(back.ct_eq(secret)) {
            Ok(blob)
        } else {
            Err(wrong("C_WrapKey"))
        }
    }

    pub(super) fn wrap_unchecked(
        &self,
        key: Object,
        secret: &Secret<32>,
    ) -> Result<WrappedSecret, Fault> {
        let [
            class,
            kind,
            token,
            private,
            sensitive,
            extractable,
            rest @ ..,
        ] = session_key(true);
        let value = Attribute::Bytes(ck::CKA_VALUE, secret.expose());
        let [a, b, c, d, e] = rest;
        let template = [
            class,
            kind,
            token,
            private,
            sensitive,
            extractable,
            a,
            b,
            c,
            d,
            e,
            value,
        ];
        let object = self.module.create_object(self.session, &template)?;
        let object = Temporary {
            hands: self,
            object,
        };
        self.wrap_object(key, &object)
    }

    pub(super) fn unwrap(&self, key: Object, blob: &WrappedSecret) -> Result<Secret<32>, Fault> {
        let object = self.unwrap_object(key, blob, false)?;
        let mut secret = Secret::zeroed()?;
        let read = self.module.attribute(
            self.session,
            object.object,
            ck::CKA_VALUE,
            secret.expose_mut(),
        );
        match read {
            Ok(32) => Ok(secret),
            // Padded wraps hold other lengths too; ours never do.
            Ok(_)
            | Err(CallError {
                code: ck::CKR_BUFFER_TOO_SMALL,
                ..
            }) => Err(Fault::Call {
                error: CallError {
                    function: "C_UnwrapKey",
                    code: 0,
                },
                blob: true,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a blob from one key to another. The secret stays in the token: both times it is
    /// unwrapped as a sensitive object. KW is deterministic, so wrapping what the new blob holds
    /// under the old key must give the old blob; nothing else is evidence without plaintext.
    pub(super) fn rewrap(
        &self,
        from: Object,
        to: Object,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, Fault> {
        let fresh = self.wrap_object(to, &self.unwrap_object(from, blob, true)?)?;
        let held = self
            .unwrap_object(to, &fresh, true)
            .map_err(Fault::not_the_callers)?;
        if self.wrap_object(from, &held)? == *blob {
            Ok(fresh)
        } else {
            Err(wrong("C_WrapKey"))
        }
    }

    pub(super) fn random(&self) -> Result<Secret<32>, Fault> {
        let mut secret = Secret::zeroed()?;
        self.module.random(self.session, secret.expose_mut())?;
        if bool::from(secret.ct_eq(&Secret::zeroed()?)) {
            return Err(wrong("C_GenerateRandom"));
        }
        Ok(secret)
    }

    fn wrap_object(&self, key: Object, object: &Temporary<'_>) -> Result<WrappedSecret, Fault> {
        // Room to spare: some modules end the session's operation when the buffer is too small.
        let mut room = [0; 64];
        let len =
            self.module
                .wrap_key(self.session, self.mechanism, key, object.object, &mut room)?;
        match room[..len].try_into() {
            Ok(blob) => Ok(blob),
            Err(_) => Err(wrong("C_WrapKey")),
        }
    }

    fn unwrap_object(
        &self,
        key: Object,
        blob: &WrappedSecret,
        sensitive: bool,
    ) -> Result<Temporary<'_>, Fault> {
        let object = self
            .module
            .unwrap_key(
                self.session,
                self.mechanism,
                key,
                blob,
                &session_key(sensitive),
            )
            .map_err(|error| Fault::Call { error, blob: true })?;
        Ok(Temporary {
            hands: self,
            object,
        })
    }
}

/// A session object that is destroyed whatever happens.
struct Temporary<'a> {
    hands: &'a Hands<'a>,
    object: Object,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        let hands = self.hands;
        if hands
            .module
            .destroy_object(hands.session, self.object)
            .is_err()
        {
            hands.unclean.set(true);
        }
    }
}

/// A key of this session that can be wrapped and used for nothing else.
fn session_key(sensitive: bool) -> [Attribute<'static>; 11] {
    use Attribute::{Flag, Number};
    [
        Number(ck::CKA_CLASS, ck::CKO_SECRET_KEY),
        Number(ck::CKA_KEY_TYPE, ck::CKK_AES),
        Flag(ck::CKA_TOKEN, false),
        Flag(ck::CKA_PRIVATE, true),
        Flag(ck::CKA_SENSITIVE, sensitive),
        Flag(ck::CKA_EXTRACTABLE, true),
        Flag(ck::CKA_ENCRYPT, false),
        Flag(ck::CKA_DECRYPT, false),
        Flag(ck::CKA_SIGN, false),
        Flag(ck::CKA_VERIFY, false),
        Flag(ck::CKA_DERIVE, false),
    ]
}

/// The function returned success and a wrong result.
const fn wrong(function: &'static str) -> Fault {
    Fault::Call {
        error: CallError { function, code: 0 },
        blob: false,
    }
}

impl Fault {
    fn not_the_callers(self) -> Self {
        match self {
            Self::Call { error, .. } => Self::Call { error, blob: false },
            other => other,
        }
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self::Call { error, blob: false }
    }
}

impl From<SecretError> for Fault {
    fn from(error: SecretError) -> Self {
        Self::Other(error.into())
    }
}

impl From<HsmError> for Fault {
    fn from(error: HsmError) -> Self {
        match error {
            HsmError::Call { function, code, .. } => CallError { function, code }.into(),
            other => Self::Other(other),
        }
    }
}

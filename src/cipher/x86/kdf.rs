//! The derivation of subkeys (F-13): six CMACs side by side, three calls of AES long.

use std::arch::x86_64::*;

use super::schedule::{encrypt, expand, from_bytes, from_u128, to_bytes, to_u128};
use crate::cipher::{Derived, cmac::double, wiped::Wiped};

/// Six blocks of SP 800-108r1 counter mode with PRF CMAC-AES-256: counter and `fixed` are three whole
/// blocks, so there is no padding.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn kbkdf(key: &[u8; 32], fixed: &[u8; 47]) -> Derived {
    let mut message = [0; 48];
    message[1..].copy_from_slice(fixed);
    let (blocks, _) = message.as_chunks::<16>();
    let first = from_bytes(&blocks[0]);
    let keys = Wiped::new(expand(key));

    // The last of the seven gives the subkey of the last block.
    let mut states = [_mm_setzero_si128(); 7];
    for (state, counter) in states[..6].iter_mut().zip(1..) {
        *state = _mm_xor_si128(first, _mm_set_epi64x(0, counter));
    }
    let [states @ .., zero] = encrypt(&keys, states);
    let subkey = from_u128(double(to_u128(zero).swap_bytes()).swap_bytes());
    let states = encrypt(&keys, xor_all(states, from_bytes(&blocks[1])));
    let last = _mm_xor_si128(from_bytes(&blocks[2]), subkey);
    let states = encrypt(&keys, xor_all(states, last));

    let mut derived = [[0; 16]; 6];
    for (block, state) in derived.iter_mut().zip(states) {
        *block = to_bytes(state);
    }
    Wiped::new(derived)
}

#[inline]
#[target_feature(enable = "avx")]
fn xor_all(mut states: [__m128i; 6], block: __m128i) -> [__m128i; 6] {
    for state in &mut states {
        *state = _mm_xor_si128(*state, block);
    }
    states
}

#[cfg(test)]
mod tests {
    use crate::cipher::{Backend, cmac::portable_kbkdf};

    #[test]
    fn every_backend_derives_the_same_keys() {
        for seed in 0..=255_u8 {
            let (mut key, mut fixed) = ([0; 32], [0; 47]);
            (0..)
                .zip(&mut key)
                .for_each(|(i, byte)| *byte = seed ^ (i * 7));
            (0..)
                .zip(&mut fixed)
                .for_each(|(i, byte)| *byte = seed.wrapping_mul(91) ^ i);
            let expected = portable_kbkdf(&key, &fixed);
            for &backend in Backend::available() {
                assert_eq!(*backend.kbkdf(&key, &fixed), *expected, "{backend}");
            }
        }
    }
}

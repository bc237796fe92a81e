//! AES-256 on single blocks: key expansion (FIPS 197 section 5.2) and the block calls that are too
//! few to need wide vectors.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::cipher::wiped::Flat;

/// Round keys, in the order they are used.
pub(super) type Schedule = [__m128i; 15];

// SAFETY: plain bytes without a drop of their own.
unsafe impl Flat for Schedule {}

/// The round keys to encrypt with.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn expand(key: &[u8; 32]) -> Schedule {
    let (halves, _) = key.as_chunks::<16>();
    let mut keys = [_mm_setzero_si128(); 15];
    keys[0] = from_bytes(&halves[0]);
    keys[1] = from_bytes(&halves[1]);
    let mut constant = 1;
    for i in (2..15).step_by(2) {
        // SubWord(RotWord(last word)) in every column: then ShiftRows moves nothing, and the last
        // round of AES is SubBytes and an XOR.
        let rotated = _mm_shuffle_epi8(keys[i - 1], _mm_set1_epi32(0x0C0F_0E0D));
        let word = _mm_aesenclast_si128(rotated, _mm_set1_epi32(constant));
        keys[i] = _mm_xor_si128(prefix_xor(keys[i - 2]), word);
        constant <<= 1;
        if i + 1 < 15 {
            let last = _mm_shuffle_epi32::<0xFF>(keys[i]);
            let word = _mm_aesenclast_si128(last, _mm_setzero_si128());
            keys[i + 1] = _mm_xor_si128(prefix_xor(keys[i - 1]), word);
        }
    }
    keys
}

/// The round keys of the equivalent inverse cipher (FIPS 197 section 5.3.5).
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn invert(keys: &Schedule) -> Schedule {
    let mut inverse = *keys;
    inverse.reverse();
    for key in &mut inverse[1..14] {
        *key = _mm_aesimc_si128(*key);
    }
    inverse
}

/// Encrypts blocks side by side.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn encrypt<const N: usize>(keys: &Schedule, mut blocks: [__m128i; N]) -> [__m128i; N] {
    let [first, middle @ .., last] = keys;
    for block in &mut blocks {
        *block = _mm_xor_si128(*block, *first);
    }
    for key in middle {
        for block in &mut blocks {
            *block = _mm_aesenc_si128(*block, *key);
        }
    }
    for block in &mut blocks {
        *block = _mm_aesenclast_si128(*block, *last);
    }
    blocks
}

/// Each word XORed with all words before it.
#[inline]
#[target_feature(enable = "avx")]
fn prefix_xor(words: __m128i) -> __m128i {
    let words = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(words, _mm_slli_si128::<8>(words))
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn from_bytes(bytes: &[u8; 16]) -> __m128i {
    let (halves, _) = bytes.as_chunks();
    _mm_set_epi64x(i64::from_le_bytes(halves[1]), i64::from_le_bytes(halves[0]))
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn to_bytes(block: __m128i) -> [u8; 16] {
    to_u128(block).to_le_bytes()
}

/// Bytes in memory order are the number's from its lowest on.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn from_u128(number: u128) -> __m128i {
    from_bytes(&number.to_le_bytes())
}

#[inline]
#[target_feature(enable = "avx")]
pub(super) fn to_u128(block: __m128i) -> u128 {
    let low = _mm_cvtsi128_si64(block).cast_unsigned();
    let high = _mm_extract_epi64::<1>(block).cast_unsigned();
    u128::from(high) << 64 | u128::from(low)
}

//! AES-256 on single blocks: key expansion (FIPS 197 section 5.2) and the block calls that are too
//! few to need wide vectors.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::cipher::wiped::Flat;

/// Round keys, in the order they are used.
pub(super) type Schedule = [__m128i; 15];

// SAFETY: plain bytes without a drop of their own.
unsafe impl Flat for Schedule {}

/// No keys yet.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn empty() -> Schedule {
    [_mm_setzero_si128(); 15]
}

/// The round keys to encrypt with.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn expand(key: &[u8; 32]) -> Schedule {
    let mut keys = empty();
    expand_all([key], [&mut keys]);
    keys
}

/// The round keys of several keys. Each round key waits for the one before: side by side they take
/// little longer than one.
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn expand_all<const N: usize>(keys: [&[u8; 32]; N], into: [&mut Schedule; N]) {
    let mut before = keys.map(|key| from_bytes(&key.as_chunks::<16>().0[0]));
    let mut now = keys.map(|key| from_bytes(&key.as_chunks::<16>().0[1]));
    for n in 0..N {
        into[n][0] = before[n];
        into[n][1] = now[n];
    }
    let mut constant = 1;
    for i in (2..15).step_by(2) {
        for n in 0..N {
            // SubWord(RotWord(last word)) in every column: then ShiftRows moves nothing, and the last
            // round of AES is SubBytes and an XOR.
            let rotated = _mm_shuffle_epi8(now[n], _mm_set1_epi32(0x0C0F_0E0D));
            let word = _mm_aesenclast_si128(rotated, _mm_set1_epi32(constant));
            before[n] = _mm_xor_si128(prefix_xor(before[n]), word);
            into[n][i] = before[n];
        }
        constant <<= 1;
        if i + 1 < 15 {
            for n in 0..N {
                let last = _mm_shuffle_epi32::<0xFF>(before[n]);
                let word = _mm_aesenclast_si128(last, _mm_setzero_si128());
                now[n] = _mm_xor_si128(prefix_xor(now[n]), word);
                into[n][i + 1] = now[n];
            }
        }
    }
}

/// Makes of them the round keys of the equivalent inverse cipher (FIPS 197 section 5.3.5).
#[inline]
#[target_feature(enable = "aes,avx")]
pub(super) fn invert(keys: &mut Schedule) {
    keys.reverse();
    for key in &mut keys[1..14] {
        *key = _mm_aesimc_si128(*key);
    }
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

//! SHA-256 (FIPS 180-4 section 6.2) of sixteen blocks at once, with AVX-512: a word of each in one register.
//!
//! One chain takes 66 ns a block with the SHA instructions of a Sapphire Rapids, two interleaved 51 (those instructions are
//! then all it does), sixteen here 24.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::vaes512::Proof;
use crate::cipher::sha256::{Block, LANES, State};

impl Proof {
    /// Takes each state one block further.
    pub(in crate::cipher) fn sha256_lanes(
        self,
        states: &mut [State; LANES],
        blocks: &[Block; LANES],
    ) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { compress(states, blocks) };
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut [State; LANES], blocks: &[Block; LANES]) {
    let mut words = load_blocks(blocks);
    let start = load_states(states);
    let mut state = start;
    let (quarters, _) = K.as_chunks::<16>();
    for (number, constants) in quarters.iter().enumerate() {
        // In registers: an index known to the compiler for each word, which a loop would not have.
        macro_rules! rounds {
            ($($i:literal)*) => {$(
                if number > 0 {
                    let [w1, w9, w14] = [1, 9, 14].map(|ahead| ($i + ahead) % 16);
                    words[$i] = schedule([words[$i], words[w1], words[w9], words[w14]]);
                }
                let constant = _mm512_set1_epi32(constants[$i].cast_signed());
                state = round(state, _mm512_add_epi32(words[$i], constant));
            )*};
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
    for i in 0..8 {
        state[i] = _mm512_add_epi32(state[i], start[i]);
    }
    store_states(states, state);
}

/// FIPS 180-4 section 6.2.2, step 3; `word` has the constant in it.
#[inline]
#[target_feature(enable = "avx512f")]
fn round([a, b, c, d, e, f, g, h]: [__m512i; 8], word: __m512i) -> [__m512i; 8] {
    let sigma1 = xor3(
        _mm512_ror_epi32::<6>(e),
        _mm512_ror_epi32::<11>(e),
        _mm512_ror_epi32::<25>(e),
    );
    let chosen = _mm512_ternarylogic_epi32::<0xCA>(e, f, g);
    let sum = _mm512_add_epi32(_mm512_add_epi32(h, word), _mm512_add_epi32(chosen, sigma1));
    let sigma0 = xor3(
        _mm512_ror_epi32::<2>(a),
        _mm512_ror_epi32::<13>(a),
        _mm512_ror_epi32::<22>(a),
    );
    let majority = _mm512_ternarylogic_epi32::<0xE8>(a, b, c);
    let new = _mm512_add_epi32(sum, _mm512_add_epi32(sigma0, majority));
    [new, a, b, c, _mm512_add_epi32(d, sum), e, f, g]
}

/// The word sixteen further on (FIPS 180-4 section 6.2.2, step 1), from those 0, 1, 9 and 14 words on.
#[inline]
#[target_feature(enable = "avx512f")]
fn schedule([w0, w1, w9, w14]: [__m512i; 4]) -> __m512i {
    let sigma0 = xor3(
        _mm512_ror_epi32::<7>(w1),
        _mm512_ror_epi32::<18>(w1),
        _mm512_srli_epi32::<3>(w1),
    );
    let sigma1 = xor3(
        _mm512_ror_epi32::<17>(w14),
        _mm512_ror_epi32::<19>(w14),
        _mm512_srli_epi32::<10>(w14),
    );
    _mm512_add_epi32(_mm512_add_epi32(w0, sigma0), _mm512_add_epi32(w9, sigma1))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// Word i of every block becomes vector i, with the blocks in [`ORDER`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_blocks(blocks: &[Block; LANES]) -> [__m512i; LANES] {
    let big_endian =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203));
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, from) in rows.iter_mut().zip(ORDER) {
        // SAFETY: 64 readable bytes; the instruction needs no alignment.
        let bytes = unsafe { _mm512_loadu_si512(blocks[from].as_ptr().cast()) };
        *row = _mm512_shuffle_epi8(bytes, big_endian);
    }
    let (fours, _) = rows.as_chunks_mut::<4>();
    for four in &mut *fours {
        *four = transposed(*four);
    }
    // `fours[g][c]` has in its quarter q the word 4 q + c of the rows 4 g to 4 g + 3.
    let mut words = [_mm512_setzero_si512(); LANES];
    for c in 0..4 {
        let [g0, g1, g2, g3] = [fours[0][c], fours[1][c], fours[2][c], fours[3][c]];
        let even = [
            _mm512_shuffle_i32x4::<0x88>(g0, g1),
            _mm512_shuffle_i32x4::<0x88>(g2, g3),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xDD>(g0, g1),
            _mm512_shuffle_i32x4::<0xDD>(g2, g3),
        ];
        words[c] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        words[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        words[8 + c] = _mm512_shuffle_i32x4::<0xDD>(even[0], even[1]);
        words[12 + c] = _mm512_shuffle_i32x4::<0xDD>(odd[0], odd[1]);
    }
    words
}

/// Word i of every state becomes vector i, with the states in [`ORDER`].
#[inline]
#[target_feature(enable = "avx512f")]
fn load_states(states: &[State; LANES]) -> [__m512i; 8] {
    let mut pairs = [_mm512_setzero_si512(); 8];
    for (pair, states) in pairs.iter_mut().zip(states.as_chunks::<2>().0) {
        // SAFETY: two states are 64 readable bytes; the instruction needs no alignment.
        *pair = unsafe { _mm512_loadu_si512(states.as_ptr().cast()) };
    }
    let [p0, p1, p2, p3, p4, p5, p6, p7] = pairs;
    let (low, high) = (transposed([p0, p1, p2, p3]), transposed([p4, p5, p6, p7]));
    let mut words = [_mm512_setzero_si512(); 8];
    for c in 0..4 {
        words[c] = _mm512_shuffle_i32x4::<0x88>(low[c], high[c]);
        words[4 + c] = _mm512_shuffle_i32x4::<0xDD>(low[c], high[c]);
    }
    words
}

/// The inverse of [`load_states`].
#[inline]
#[target_feature(enable = "avx512f")]
fn store_states(states: &mut [State; LANES], words: [__m512i; 8]) {
    let low_order = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let high_order = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    let (mut low, mut high) = ([_mm512_setzero_si512(); 4], [_mm512_setzero_si512(); 4]);
    for c in 0..4 {
        low[c] = _mm512_permutex2var_epi64(words[c], low_order, words[4 + c]);
        high[c] = _mm512_permutex2var_epi64(words[c], high_order, words[4 + c]);
    }
    let pairs = [transposed(low), transposed(high)];
    for (states, pair) in states
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(pairs.as_flattened())
    {
        // SAFETY: two states are 64 writable bytes; the instruction needs no alignment.
        unsafe { _mm512_storeu_si512(states.as_mut_ptr().cast(), *pair) };
    }
}

/// In each quarter, word i of row j becomes word j of row i.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed([r0, r1, r2, r3]: [__m512i; 4]) -> [__m512i; 4] {
    let low = [_mm512_unpacklo_epi32(r0, r1), _mm512_unpacklo_epi32(r2, r3)];
    let high = [_mm512_unpackhi_epi32(r0, r1), _mm512_unpackhi_epi32(r2, r3)];
    [
        _mm512_unpacklo_epi64(low[0], low[1]),
        _mm512_unpackhi_epi64(low[0], low[1]),
        _mm512_unpacklo_epi64(high[0], high[1]),
        _mm512_unpackhi_epi64(high[0], high[1]),
    ]
}

/// Which chain a lane has: two states are as long as a vector, and this is how they fall when they are transposed.
const ORDER: [usize; LANES] = [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15];

/// FIPS 180-4 section 4.2.2.
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
    0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3, 0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
    0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
    0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
    0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13, 0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
    0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
    0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
    0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208, 0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
];

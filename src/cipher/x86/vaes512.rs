//! Four blocks a vector: VAES and VPCLMULQDQ on 512 bits (AVX-512).
#![allow(unsafe_code)]

use std::arch::{asm, x86_64::*};

type Vector = __m512i;
/// Blocks of a vector.
const BLOCKS: usize = 4;
/// Vectors of a group: with four blocks each the 64 lanes.
const VECTORS: usize = 16;

impl Proof {
    /// Only if CPU and kernel support all that the functions here are compiled for.
    pub(in crate::cipher) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        found.then_some(Self(()))
    }
}

fused_kernel!("aes,pclmulqdq,vaes,vpclmulqdq,avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(block: __m128i) -> Vector {
    _mm512_broadcast_i32x4(block)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; WIDTH]) -> Vector {
    // SAFETY: 64 readable bytes; the instruction needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: 64 writable bytes; the instruction needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

/// 64 bits at a time.
#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn enc(state: Vector, key: Vector) -> Vector {
    _mm512_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn enc_last(state: Vector, key: Vector) -> Vector {
    _mm512_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn dec(state: Vector, key: Vector) -> Vector {
    _mm512_aesdec_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx512f")]
fn dec_last(state: Vector, key: Vector) -> Vector {
    _mm512_aesdeclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vpclmulqdq,avx512f")]
fn clmul<const HALVES: i32>(a: Vector, b: Vector) -> Vector {
    _mm512_clmulepi64_epi128::<HALVES>(a, b)
}

/// The halves of each block in the other order.
#[inline]
#[target_feature(enable = "avx512f")]
fn swap(vector: Vector) -> Vector {
    _mm512_shuffle_epi32::<0x4E>(vector)
}

/// The bytes of each block in reverse order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse(vector: Vector) -> Vector {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    _mm512_shuffle_epi8(vector, broadcast(order))
}

/// The XOR of the blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_blocks(vector: Vector) -> __m128i {
    let half = _mm256_xor_si256(
        _mm512_castsi512_si256(vector),
        _mm512_extracti64x4_epi64::<1>(vector),
    );
    _mm_xor_si128(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    )
}

/// Keeps the values as they are, and the compiler from moving work on them past this.
#[inline]
#[target_feature(enable = "avx512f")]
fn pin([a, b, c, d, e]: [&mut Vector; 5]) {
    // SAFETY: no instruction at all, which touches neither memory nor stack nor flags.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} */",
            inout(zmm_reg) * a,
            inout(zmm_reg) * b,
            inout(zmm_reg) * c,
            inout(zmm_reg) * d,
            inout(zmm_reg) * e,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Blocks as a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn gather(&[a, b, c, d]: &[__m128i; BLOCKS]) -> Vector {
    let first = _mm256_set_m128i(b, a);
    let second = _mm256_set_m128i(d, c);
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
}

/// The blocks of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn scatter(vector: Vector, blocks: &mut [__m128i; BLOCKS]) {
    *blocks = [
        _mm512_extracti32x4_epi32::<0>(vector),
        _mm512_extracti32x4_epi32::<1>(vector),
        _mm512_extracti32x4_epi32::<2>(vector),
        _mm512_extracti32x4_epi32::<3>(vector),
    ];
}

#[inline]
#[target_feature(enable = "avx512f")]
fn first_block(vector: Vector) -> __m128i {
    _mm512_castsi512_si128(vector)
}

/// A block at the end of a vector of zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn last_block(block: __m128i) -> Vector {
    _mm512_inserti32x4::<3>(_mm512_setzero_si512(), block)
}

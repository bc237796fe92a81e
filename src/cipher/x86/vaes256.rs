//! Two blocks a vector: VAES and VPCLMULQDQ on 256 bits (AVX2).
#![allow(unsafe_code)]

use std::arch::{asm, x86_64::*};

type Vector = __m256i;
/// Blocks of a vector.
const BLOCKS: usize = 2;
/// Vectors of a group: what sixteen registers leave room for.
const VECTORS: usize = 8;

impl Proof {
    /// Only if CPU and kernel support all that the functions here are compiled for.
    pub(in crate::cipher) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("avx2");
        found.then_some(Self(()))
    }
}

fused_kernel!("aes,pclmulqdq,vaes,vpclmulqdq,avx2");

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(block: __m128i) -> Vector {
    _mm256_broadcastsi128_si256(block)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; WIDTH]) -> Vector {
    // SAFETY: 32 readable bytes; the instruction needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: 32 writable bytes; the instruction needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

/// 64 bits at a time.
#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn enc(state: Vector, key: Vector) -> Vector {
    _mm256_aesenc_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn enc_last(state: Vector, key: Vector) -> Vector {
    _mm256_aesenclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn dec(state: Vector, key: Vector) -> Vector {
    _mm256_aesdec_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vaes,avx2")]
fn dec_last(state: Vector, key: Vector) -> Vector {
    _mm256_aesdeclast_epi128(state, key)
}

#[inline]
#[target_feature(enable = "vpclmulqdq,avx2")]
fn clmul<const HALVES: i32>(a: Vector, b: Vector) -> Vector {
    _mm256_clmulepi64_epi128::<HALVES>(a, b)
}

/// The halves of each block in the other order.
#[inline]
#[target_feature(enable = "avx2")]
fn swap(vector: Vector) -> Vector {
    _mm256_shuffle_epi32::<0x4E>(vector)
}

/// The bytes of each block in reverse order.
#[inline]
#[target_feature(enable = "avx2")]
fn reverse(vector: Vector) -> Vector {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    _mm256_shuffle_epi8(vector, broadcast(order))
}

/// The XOR of the blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn fold_blocks(vector: Vector) -> __m128i {
    _mm_xor_si128(
        _mm256_castsi256_si128(vector),
        _mm256_extracti128_si256::<1>(vector),
    )
}

/// Keeps the values as they are, and the compiler from moving work on them past this.
#[inline]
#[target_feature(enable = "avx2")]
fn pin([a, b, c, d, e]: [&mut Vector; 5]) {
    // SAFETY: no instruction at all, which touches neither memory nor stack nor flags.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} */",
            inout(ymm_reg) * a,
            inout(ymm_reg) * b,
            inout(ymm_reg) * c,
            inout(ymm_reg) * d,
            inout(ymm_reg) * e,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Blocks as a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn gather(&[a, b]: &[__m128i; BLOCKS]) -> Vector {
    _mm256_set_m128i(b, a)
}

/// The blocks of a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn scatter(vector: Vector, blocks: &mut [__m128i; BLOCKS]) {
    *blocks = [
        _mm256_castsi256_si128(vector),
        _mm256_extracti128_si256::<1>(vector),
    ];
}

#[inline]
#[target_feature(enable = "avx2")]
fn first_block(vector: Vector) -> __m128i {
    _mm256_castsi256_si128(vector)
}

/// A block at the end of a vector of zeros.
#[inline]
#[target_feature(enable = "avx2")]
fn last_block(block: __m128i) -> Vector {
    _mm256_set_m128i(block, _mm_setzero_si128())
}

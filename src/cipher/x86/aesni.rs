//! One block a vector: AES-NI and PCLMULQDQ (with the encodings of AVX).
#![allow(unsafe_code)]

use std::arch::{asm, x86_64::*};

type Vector = __m128i;
/// Blocks of a vector.
const BLOCKS: usize = 1;
/// Vectors of a group: what sixteen registers leave room for.
const VECTORS: usize = 8;

impl Proof {
    /// Only if CPU and kernel support all that the functions here are compiled for.
    pub(in crate::cipher) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("avx");
        found.then_some(Self(()))
    }
}

fused_kernel!("aes,pclmulqdq,avx");

#[inline]
#[target_feature(enable = "avx")]
fn zero() -> Vector {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "avx")]
fn broadcast(block: __m128i) -> Vector {
    block
}

#[inline]
#[target_feature(enable = "avx")]
fn load(bytes: &[u8; WIDTH]) -> Vector {
    // SAFETY: 16 readable bytes; the instruction needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx")]
fn store(bytes: &mut [u8; WIDTH], vector: Vector) {
    // SAFETY: 16 writable bytes; the instruction needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm_xor_si128(a, b)
}

/// 64 bits at a time.
#[inline]
#[target_feature(enable = "avx")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(xor(a, b), c)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn enc(state: Vector, key: Vector) -> Vector {
    _mm_aesenc_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn enc_last(state: Vector, key: Vector) -> Vector {
    _mm_aesenclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn dec(state: Vector, key: Vector) -> Vector {
    _mm_aesdec_si128(state, key)
}

#[inline]
#[target_feature(enable = "aes,avx")]
fn dec_last(state: Vector, key: Vector) -> Vector {
    _mm_aesdeclast_si128(state, key)
}

#[inline]
#[target_feature(enable = "pclmulqdq,avx")]
fn clmul<const HALVES: i32>(a: Vector, b: Vector) -> Vector {
    _mm_clmulepi64_si128::<HALVES>(a, b)
}

/// The halves of each block in the other order.
#[inline]
#[target_feature(enable = "avx")]
fn swap(vector: Vector) -> Vector {
    _mm_shuffle_epi32::<0x4E>(vector)
}

/// The bytes of each block in reverse order.
#[inline]
#[target_feature(enable = "avx")]
fn reverse(vector: Vector) -> Vector {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    _mm_shuffle_epi8(vector, broadcast(order))
}

/// The XOR of the blocks.
#[inline]
#[target_feature(enable = "avx")]
fn fold_blocks(vector: Vector) -> __m128i {
    vector
}

/// Keeps the values as they are, and the compiler from moving work on them past this.
#[inline]
#[target_feature(enable = "avx")]
fn pin([a, b, c, d, e]: [&mut Vector; 5]) {
    // SAFETY: no instruction at all, which touches neither memory nor stack nor flags.
    unsafe {
        asm!(
            "/* {0} {1} {2} {3} {4} */",
            inout(xmm_reg) * a,
            inout(xmm_reg) * b,
            inout(xmm_reg) * c,
            inout(xmm_reg) * d,
            inout(xmm_reg) * e,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Blocks as a vector.
#[inline]
#[target_feature(enable = "avx")]
fn gather(&[block]: &[__m128i; BLOCKS]) -> Vector {
    block
}

/// The blocks of a vector.
#[inline]
#[target_feature(enable = "avx")]
fn scatter(vector: Vector, blocks: &mut [__m128i; BLOCKS]) {
    *blocks = [vector];
}

#[inline]
#[target_feature(enable = "avx")]
fn first_block(vector: Vector) -> __m128i {
    vector
}

/// A block at the end of a vector of zeros.
#[inline]
#[target_feature(enable = "avx")]
fn last_block(block: __m128i) -> Vector {
    block
}

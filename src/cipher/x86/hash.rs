//! GHASH on single blocks (NIST SP 800-38D section 6.4).
//!
//! Blocks are byte-reversed when they come in and multiplied as POLYVAL does it (RFC 8452 appendix
//! A): GHASH under H is POLYVAL under x * H over reversed blocks, and POLYVAL's product needs no
//! shift. A product is three parts, `low + middle * x^64 + high * x^128`, which are summed over many
//! blocks and reduced once.

use std::arch::x86_64::*;

use super::schedule::{from_u128, to_u128};

/// POLYVAL's polynomial is `x^128 + x^127 + x^126 + x^121 + 1`: this is its middle, `/ x^64`.
pub(super) const REDUCER: i64 = 0xC200_0000_0000_0000_u64.cast_signed();

/// From the encrypted zero block to the hash key in POLYVAL's terms: reversed, times x.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn key(encrypted_zero: __m128i) -> __m128i {
    let h = to_u128(reverse(encrypted_zero));
    let carry = (h >> 127).wrapping_neg() & (1 << 127 | 1 << 126 | 1 << 121 | 1);
    from_u128(h << 1 ^ carry)
}

/// `h` to the powers `N` to 1.
#[inline]
#[target_feature(enable = "pclmulqdq,avx")]
pub(super) fn powers<const N: usize>(h: __m128i) -> [__m128i; N] {
    let mut powers = [h; N];
    for i in 2..=N {
        powers[N - i] = multiply(powers[N - i / 2], powers[N - i.div_ceil(2)]);
    }
    powers
}

/// `a * b`, reduced.
#[inline]
#[target_feature(enable = "pclmulqdq,avx")]
pub(super) fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let middle = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x01>(a, b),
        _mm_clmulepi64_si128::<0x10>(a, b),
    );
    reduce(low, middle, high)
}

/// Brings a sum of products back to one block: twice, the lowest 64 bits go to where the polynomial
/// says they are congruent to.
#[inline]
#[target_feature(enable = "pclmulqdq,avx")]
pub(super) fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let middle = _mm_xor_si128(middle, fold(low));
    _mm_xor_si128(high, fold(middle))
}

#[inline]
#[target_feature(enable = "pclmulqdq,avx")]
fn fold(part: __m128i) -> __m128i {
    let product = _mm_clmulepi64_si128::<0x00>(part, _mm_set1_epi64x(REDUCER));
    _mm_xor_si128(_mm_shuffle_epi32::<0x4E>(part), product)
}

/// The bytes in reverse order.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn reverse(block: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0A0B_0C0D_0E0F);
    _mm_shuffle_epi8(block, order)
}

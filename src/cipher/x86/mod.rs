//! The fused kernel for x86-64: AES-256-CBC in 64 lanes and GHASH in one pass over a segment.
//!
//! [`kernel`] is the one body, written over a vector of 1, 2 or 4 blocks. [`aesni`], [`vaes256`] and
//! [`vaes512`] each name the instructions for one width, prove that the CPU has them, and expand the
//! body. [`schedule`] and [`hash`] are what all widths share: single-block AES and GHASH arithmetic.
//! [`key_wrap`] and [`sha256`] are for keys: short chains that have nothing to fuse, but others to go beside.
//!
//! Unsafe code here is of four kinds: loads and stores of one vector (volatile where they wipe), an empty `asm!` that keeps the
//! compiler from moving work, the calls of functions with target features, for which a `Proof`
//! that only detection makes is the argument, and the claims ([`Flat`](crate::cipher::wiped::Flat)) that
//! keys are nothing but their bytes.

#[macro_use]
mod kernel;

pub(super) mod aesni;
mod hash;
mod kdf;
mod key_wrap;
mod schedule;
mod sha256;
pub(super) mod vaes256;
pub(super) mod vaes512;

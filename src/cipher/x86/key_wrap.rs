//! AES Key Wrap with AES-NI: several chains, each under its own schedule.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{
    aesni::Proof,
    schedule::{Schedule, empty, expand_all, from_u128, invert, to_u128},
};
use crate::cipher::{
    key_wrap::{KeyWrap, run},
    wiped::{Flat, Wiped},
};

impl Proof {
    /// Wraps or unwraps `N` keys side by side.
    pub(in crate::cipher) fn key_wrap<const N: usize, const S: usize, const WRAP: bool>(
        self,
        batch: &mut [KeyWrap<S>; N],
    ) {
        // SAFETY: `self` proves that the CPU has the features.
        unsafe { chains::<N, S, WRAP>(batch) };
    }
}

#[target_feature(enable = "aes,avx")]
fn chains<const N: usize, const S: usize, const WRAP: bool>(batch: &mut [KeyWrap<S>; N]) {
    let mut keys = Wiped::new([empty(); N]);
    expand_all(batch.each_ref().map(KeyWrap::key), keys.each_mut());
    if !WRAP {
        for schedule in keys.iter_mut() {
            invert(schedule);
        }
    }
    run::<N, S, WRAP>(batch, |blocks| cipher::<N, WRAP>(&keys, blocks));
}

/// One block of each chain through AES, or, to unwrap, through the equivalent inverse cipher.
#[inline]
#[target_feature(enable = "aes,avx")]
fn cipher<const N: usize, const FORWARD: bool>(keys: &[Schedule; N], blocks: &mut [u128; N]) {
    let mut states = blocks.map(|block| from_u128(block));
    for (state, key) in states.iter_mut().zip(keys) {
        *state = _mm_xor_si128(*state, key[0]);
    }
    for round in 1..14 {
        for (state, key) in states.iter_mut().zip(keys) {
            *state = if FORWARD {
                _mm_aesenc_si128(*state, key[round])
            } else {
                _mm_aesdec_si128(*state, key[round])
            };
        }
    }
    for ((block, state), key) in blocks.iter_mut().zip(states).zip(keys) {
        *block = to_u128(if FORWARD {
            _mm_aesenclast_si128(state, key[14])
        } else {
            _mm_aesdeclast_si128(state, key[14])
        });
    }
}

// SAFETY: plain bytes without a drop of their own.
unsafe impl<const N: usize> Flat for [Schedule; N] {}

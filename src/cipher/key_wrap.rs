//! AES-256 Key Wrap (RFC 3394), several keys at a time.
//!
//! A wrap is one serial chain of six AES calls for each eight bytes, under a key of its own: alone it leaves most of the
//! AES unit idle. So chains of independent wraps go side by side. With AES-NI each key is expanded in the direction it
//! is used in and stays in this frame; elsewhere the `aes` crate does both. All paths give the same bytes.

use aes::{
    Aes256Dec, Aes256Enc,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Block, wiped::Wiped};

/// One key under its wrapping key: an integrity word and `SEMIBLOCKS` - 1 words of key, or the wrap of that. The words
/// are the bytes in little-endian order.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct KeyWrap<const SEMIBLOCKS: usize> {
    key: [u8; 32],
    words: [u64; SEMIBLOCKS],
}

impl<const SEMIBLOCKS: usize> KeyWrap<SEMIBLOCKS> {
    /// `payload`, 8 * (`SEMIBLOCKS` - 1) bytes, to be wrapped under `key`.
    pub(crate) fn of_payload(key: &[u8; 32], payload: &[u8]) -> Self {
        debug_assert_eq!(payload.len(), 8 * (SEMIBLOCKS - 1));
        let mut wrap = Self {
            key: *key,
            words: [INITIAL_VALUE; SEMIBLOCKS],
        };
        wrap.load(1, payload);
        wrap
    }

    /// `wrapped`, 8 * `SEMIBLOCKS` bytes, to be unwrapped under `key`.
    pub(crate) fn of_wrapped(key: &[u8; 32], wrapped: &[u8]) -> Self {
        debug_assert_eq!(wrapped.len(), 8 * SEMIBLOCKS);
        let mut wrap = Self {
            key: *key,
            words: [0; SEMIBLOCKS],
        };
        wrap.load(0, wrapped);
        wrap
    }

    /// Writes what [`wrap`] made of the payload.
    pub(crate) fn wrapped(&self, out: &mut [u8]) {
        self.store(0, out);
    }

    /// Writes the payload that [`unwrap`] found. None, and nothing written, if the wrap is not of this key.
    pub(crate) fn payload(&self, out: &mut [u8]) -> Option<()> {
        bool::from(self.words[0].ct_eq(&INITIAL_VALUE)).then(|| self.store(1, out))
    }

    fn load(&mut self, from: usize, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks();
        for (word, bytes) in self.words[from..].iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
    }

    fn store(&self, from: usize, out: &mut [u8]) {
        let (words, _) = out.as_chunks_mut();
        for (word, bytes) in self.words[from..].iter().zip(words) {
            *bytes = word.to_le_bytes();
        }
    }
}

/// Wraps each payload under its key.
pub(crate) fn wrap<const S: usize>(batch: &mut [KeyWrap<S>]) {
    side_by_side::<S, true>(batch);
}

/// Unwraps each key; what came out is good only if [`KeyWrap::payload`] says so.
pub(crate) fn unwrap<const S: usize>(batch: &mut [KeyWrap<S>]) {
    side_by_side::<S, false>(batch);
}

fn side_by_side<const S: usize, const WRAP: bool>(batch: &mut [KeyWrap<S>]) {
    let (eights, rest) = batch.as_chunks_mut::<8>();
    let (fours, rest) = rest.as_chunks_mut::<4>();
    let (ones, _) = rest.as_chunks_mut::<1>();
    eights.iter_mut().for_each(chains::<8, S, WRAP>);
    fours.iter_mut().for_each(chains::<4, S, WRAP>);
    ones.iter_mut().for_each(chains::<1, S, WRAP>);
}

fn chains<const N: usize, const S: usize, const WRAP: bool>(batch: &mut [KeyWrap<S>; N]) {
    #[cfg(target_arch = "x86_64")]
    if aes_ni::chains::<N, S, WRAP>(batch) {
        return;
    }
    portable::<N, S, WRAP>(batch);
}

/// By the `aes` crate, on every CPU.
fn portable<const N: usize, const S: usize, const WRAP: bool>(batch: &mut [KeyWrap<S>; N]) {
    if WRAP {
        let ciphers = batch
            .each_ref()
            .map(|wrap| Wiped::new(Aes256Enc::new(&wrap.key.into())));
        run::<N, S, WRAP>(batch, |blocks| {
            for (cipher, block) in ciphers.iter().zip(blocks) {
                let mut bytes = Block::from(block.to_le_bytes());
                cipher.encrypt_block(&mut bytes);
                *block = u128::from_le_bytes(bytes.0);
            }
        });
    } else {
        let ciphers = batch
            .each_ref()
            .map(|wrap| Wiped::new(Aes256Dec::new(&wrap.key.into())));
        run::<N, S, WRAP>(batch, |blocks| {
            for (cipher, block) in ciphers.iter().zip(blocks) {
                let mut bytes = Block::from(block.to_le_bytes());
                cipher.decrypt_block(&mut bytes);
                *block = u128::from_le_bytes(bytes.0);
            }
        });
    }
}

/// The steps of RFC 3394 section 2.2.1 (index based), or of 2.2.2: each takes A and one word of every chain through
/// `aes`. The step's number is XORed into A as a big-endian word.
#[inline(always)]
fn run<const N: usize, const S: usize, const WRAP: bool>(
    batch: &mut [KeyWrap<S>; N],
    mut aes: impl FnMut(&mut [u128; N]),
) {
    let steps = 6 * (S as u64 - 1);
    let mut word = if WRAP { 1 } else { S - 1 };
    for count in 1..=steps {
        let number = if WRAP { count } else { steps + 1 - count }.swap_bytes();
        let mut blocks = batch.each_ref().map(|wrap| {
            let a = if WRAP {
                wrap.words[0]
            } else {
                wrap.words[0] ^ number
            };
            u128::from(a) | u128::from(wrap.words[word]) << 64
        });
        aes(&mut blocks);
        for (wrap, block) in batch.iter_mut().zip(blocks) {
            let [a, r] = halves(block);
            wrap.words[0] = if WRAP { a ^ number } else { a };
            wrap.words[word] = r;
        }
        word = match (WRAP, word) {
            (true, word) if word == S - 1 => 1,
            (true, word) => word + 1,
            (false, 1) => S - 1,
            (false, word) => word - 1,
        };
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn halves(block: u128) -> [u64; 2] {
    [block as u64, (block >> 64) as u64]
}

/// RFC 3394 section 2.2.3.1.
const INITIAL_VALUE: u64 = 0xA6A6_A6A6_A6A6_A6A6;

#[cfg(target_arch = "x86_64")]
mod aes_ni {
    #![allow(unsafe_code)]

    use std::arch::x86_64::{
        __m128i, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aesenclast_si128,
        _mm_aesimc_si128, _mm_cvtsi128_si64, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi32,
        _mm_setzero_si128, _mm_shuffle_epi32, _mm_slli_epi32, _mm_slli_si128, _mm_srli_epi32,
        _mm_unpackhi_epi64, _mm_xor_si128,
    };

    use zeroize::Zeroize;

    use super::KeyWrap;

    /// Round keys of `N` ciphers, round by round.
    type Schedule<const N: usize> = [[__m128i; N]; 15];

    /// Whether this CPU can, and then it is done.
    pub(super) fn chains<const N: usize, const S: usize, const WRAP: bool>(
        batch: &mut [KeyWrap<S>; N],
    ) -> bool {
        cpufeatures::new!(aes, "aes");
        let can = aes::get();
        if can {
            // SAFETY: the CPU has the instructions, as just found out.
            unsafe { expand_and_run::<N, S, WRAP>(batch) };
        }
        can
    }

    #[target_feature(enable = "aes")]
    fn expand_and_run<const N: usize, const S: usize, const WRAP: bool>(
        batch: &mut [KeyWrap<S>; N],
    ) {
        let mut keys = expand(&batch.each_ref().map(|wrap| &wrap.key));
        if WRAP {
            super::run::<N, S, WRAP>(batch, |blocks| encrypt(&keys, blocks));
        } else {
            for round in &mut keys[1..14] {
                *round = round.map(|key| _mm_aesimc_si128(key));
            }
            super::run::<N, S, WRAP>(batch, |blocks| decrypt(&keys, blocks));
        }
        keys.zeroize();
    }

    /// FIPS 197 section 5.2. SubWord is `aesenclast` on a register whose four columns are the same word, so that its
    /// ShiftRows changes nothing: quicker than `aeskeygenassist`.
    #[inline]
    #[target_feature(enable = "aes")]
    fn expand<const N: usize>(keys: &[&[u8; 32]; N]) -> Schedule<N> {
        let mut rounds = [[_mm_setzero_si128(); N]; 15];
        for (lane, key) in keys.iter().enumerate() {
            let (halves, _) = key.as_chunks();
            for (round, half) in rounds.iter_mut().zip(halves) {
                round[lane] = load(u128::from_le_bytes(*half));
            }
        }
        for i in 2..15 {
            let (before, last) = (rounds[i - 2], rounds[i - 1]);
            for ((new, before), last) in rounds[i].iter_mut().zip(before).zip(last) {
                let word = _mm_shuffle_epi32::<0xFF>(last);
                let word = if i % 2 == 0 {
                    let rotated =
                        _mm_or_si128(_mm_srli_epi32::<8>(word), _mm_slli_epi32::<24>(word));
                    _mm_aesenclast_si128(rotated, _mm_set1_epi32(1 << (i / 2 - 1)))
                } else {
                    _mm_aesenclast_si128(word, _mm_setzero_si128())
                };
                let sum = _mm_xor_si128(before, _mm_slli_si128::<4>(before));
                let sum = _mm_xor_si128(sum, _mm_slli_si128::<8>(sum));
                *new = _mm_xor_si128(sum, word);
            }
        }
        rounds
    }

    #[inline]
    #[target_feature(enable = "aes")]
    fn encrypt<const N: usize>(keys: &Schedule<N>, blocks: &mut [u128; N]) {
        let mut states = xor(blocks.map(|block| load(block)), &keys[0]);
        for round in &keys[1..14] {
            for (state, key) in states.iter_mut().zip(round) {
                *state = _mm_aesenc_si128(*state, *key);
            }
        }
        for ((block, state), key) in blocks.iter_mut().zip(states).zip(&keys[14]) {
            *block = store(_mm_aesenclast_si128(state, *key));
        }
    }

    /// The equivalent inverse cipher, FIPS 197 section 5.3.5.
    #[inline]
    #[target_feature(enable = "aes")]
    fn decrypt<const N: usize>(keys: &Schedule<N>, blocks: &mut [u128; N]) {
        let mut states = xor(blocks.map(|block| load(block)), &keys[14]);
        for round in keys[1..14].iter().rev() {
            for (state, key) in states.iter_mut().zip(round) {
                *state = _mm_aesdec_si128(*state, *key);
            }
        }
        for ((block, state), key) in blocks.iter_mut().zip(states).zip(&keys[0]) {
            *block = store(_mm_aesdeclast_si128(state, *key));
        }
    }

    #[inline]
    #[target_feature(enable = "aes")]
    fn xor<const N: usize>(mut blocks: [__m128i; N], keys: &[__m128i; N]) -> [__m128i; N] {
        for (block, key) in blocks.iter_mut().zip(keys) {
            *block = _mm_xor_si128(*block, *key);
        }
        blocks
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: u128) -> __m128i {
        let [low, high] = super::halves(block);
        _mm_set_epi64x(high.cast_signed(), low.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn store(state: __m128i) -> u128 {
        let low = _mm_cvtsi128_si64(state).cast_unsigned();
        let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(state, state)).cast_unsigned();
        u128::from(low) | u128::from(high) << 64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

    use aes_kw::KwAes256;
    use proptest::prelude::*;

    use super::*;

    /// RFC 3394 section 4.6.
    #[test]
    fn a_wrap_is_that_of_the_rfc() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let payload: Vec<u8> = (0..16).map(|i| i * 0x11).chain(0..16).collect();
        let expected: [u64; 5] = [
            0x28C9_F404_C4B8_10F4,
            0xCBCC_B35C_FB87_F826,
            0x3F57_86E2_D80E_D326,
            0xCBC7_F0E7_1A99_F43B,
            0xFB98_8B9B_7A02_DD21,
        ];
        let mut one = [KeyWrap::<5>::of_payload(&key, &payload)];
        wrap(&mut one);
        let mut wrapped = [0; 40];
        one[0].wrapped(&mut wrapped);
        assert_eq!(wrapped[..], expected.map(u64::to_be_bytes).concat());
        unwrap(&mut one);
        let mut opened = [0; 32];
        one[0].payload(&mut opened).unwrap();
        assert_eq!(opened[..], payload);
    }

    proptest! {
        /// Batches of every size up to two of the widest and a rest, both payloads of the format, both paths.
        #[test]
        fn any_number_side_by_side_gives_what_the_crate_gives(
            keys in proptest::collection::vec((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 40]>()), 0..20),
        ) {
            agree::<5>(&keys, side_by_side::<5, true>, side_by_side::<5, false>);
            agree::<10>(&keys, side_by_side::<10, true>, side_by_side::<10, false>);
            let one_by_one = |batch: &mut [KeyWrap<5>], f: fn(&mut [KeyWrap<5>; 1])| {
                batch.as_chunks_mut::<1>().0.iter_mut().for_each(f);
            };
            agree::<5>(
                &keys,
                |batch| one_by_one(batch, portable::<1, 5, true>),
                |batch| one_by_one(batch, portable::<1, 5, false>),
            );
            let fours = |batch: &mut [KeyWrap<10>], f: fn(&mut [KeyWrap<10>; 4]), g: fn(&mut [KeyWrap<10>; 1])| {
                let (fours, ones) = batch.as_chunks_mut::<4>();
                fours.iter_mut().for_each(f);
                ones.as_chunks_mut::<1>().0.iter_mut().for_each(g);
            };
            agree::<10>(
                &keys,
                |batch| fours(batch, portable::<4, 10, true>, portable::<1, 10, true>),
                |batch| fours(batch, portable::<4, 10, false>, portable::<1, 10, false>),
            );
        }

        #[test]
        fn a_changed_bit_gives_no_payload(
            key in any::<[u8; 32]>(), payload in any::<[u8; 32]>(), lane in 0_usize..9, bit in 0_usize..320,
        ) {
            let mut batch: Vec<_> = (0..9).map(|_| KeyWrap::<5>::of_payload(&key, &payload)).collect();
            wrap(&mut batch);
            batch[lane].words[bit / 64] ^= 1 << (bit % 64);
            unwrap(&mut batch);
            for (i, wrap) in batch.iter().enumerate() {
                let mut out = [0; 32];
                prop_assert_eq!(wrap.payload(&mut out).is_some(), i != lane);
                prop_assert_eq!(out, if i == lane { [0; 32] } else { payload });
            }
        }
    }

    fn agree<const S: usize>(
        keys: &[([u8; 32], [u8; 32], [u8; 40])],
        wrap: impl Fn(&mut [KeyWrap<S>]),
        unwrap: impl Fn(&mut [KeyWrap<S>]),
    ) {
        let len = 8 * (S - 1);
        let payloads: Vec<Vec<u8>> = keys
            .iter()
            .map(|(_, a, b)| [&a[..], &b[..]].concat()[..len].to_vec())
            .collect();
        let mut batch: Vec<_> = keys
            .iter()
            .zip(&payloads)
            .map(|((key, ..), payload)| KeyWrap::<S>::of_payload(key, payload))
            .collect();
        wrap(&mut batch);
        for (((key, ..), payload), wrap) in keys.iter().zip(&payloads).zip(&batch) {
            let mut expected = vec![0; 8 * S];
            KwAes256::new(key.into())
                .wrap_key(payload, &mut expected)
                .unwrap();
            let mut got = vec![0; 8 * S];
            wrap.wrapped(&mut got);
            assert_eq!(got, expected);
        }
        unwrap(&mut batch);
        for (payload, wrap) in payloads.iter().zip(&batch) {
            let mut opened = vec![0; len];
            wrap.payload(&mut opened).expect("its own key");
            assert_eq!(&opened, payload);
        }
    }
}

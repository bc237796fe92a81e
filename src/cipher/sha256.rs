//! SHA-256 (FIPS 180-4) of several short messages side by side.
//!
//! A hash is a chain: each round waits for the one before. Records are hashed in batches, so where the CPU has AVX-512
//! sixteen chains go in one register each; elsewhere one after the other by `sha2`. States and blocks are the caller's to
//! wipe.

use std::slice;

use sha2::block_api::compress256;

use super::Backend;

/// The state between two blocks.
pub(crate) type State = [u32; 8];
/// What one step of the hash takes.
pub(crate) type Block = [u8; BLOCK_LEN];

/// FIPS 180-4 section 5.3.3.
pub(crate) const START: State = [
    0x6A09_E667,
    0xBB67_AE85,
    0x3C6E_F372,
    0xA54F_F53A,
    0x510E_527F,
    0x9B05_688C,
    0x1F83_D9AB,
    0x5BE0_CD19,
];
/// Bytes of a block.
pub(crate) const BLOCK_LEN: usize = 64;
/// Chains that one vector has room for.
pub(crate) const LANES: usize = 16;

/// Takes each state one block further.
pub(crate) fn compress_each(backend: Backend, states: &mut [State], blocks: &[Block]) {
    debug_assert_eq!(states.len(), blocks.len());
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = backend.vaes512() {
        let (full, states) = states.as_chunks_mut::<LANES>();
        let (full_blocks, blocks) = blocks.as_chunks::<LANES>();
        for (states, blocks) in full.iter_mut().zip(full_blocks) {
            proof.sha256_lanes(states, blocks);
        }
        if states.len() < WORTH_IT {
            return one_by_one(states, blocks);
        }
        let (mut all, mut of) = ([START; LANES], [[0; BLOCK_LEN]; LANES]);
        all[..states.len()].copy_from_slice(states);
        of[..blocks.len()].copy_from_slice(blocks);
        proof.sha256_lanes(&mut all, &of);
        states.copy_from_slice(&all[..states.len()]);
        return;
    }
    let _ = backend;
    one_by_one(states, blocks);
}

fn one_by_one(states: &mut [State], blocks: &[Block]) {
    for (state, block) in states.iter_mut().zip(blocks) {
        compress256(state, slice::from_ref(block));
    }
}

/// Takes each state behind the end of its message, which is the join of its parts; `before` bytes led to the state.
pub(crate) fn finish_each<const N: usize>(
    backend: Backend,
    states: &mut [State; N],
    before: u64,
    messages: [&[&[u8]]; N],
) {
    let mut messages = messages.map(|parts| Padded::new(parts, before));
    loop {
        // Messages of the same number of blocks, which most are, stay side by side to their end.
        let (mut going, mut packed, mut blocks) = ([0; N], [START; N], [[0; BLOCK_LEN]; N]);
        let mut count = 0;
        for (i, message) in messages.iter_mut().enumerate() {
            if message.next_into(&mut blocks[count]) {
                (going[count], packed[count]) = (i, states[i]);
                count += 1;
            }
        }
        if count == 0 {
            return;
        }
        compress_each(backend, &mut packed[..count], &blocks[..count]);
        for (i, state) in going[..count].iter().zip(packed) {
            states[*i] = state;
        }
    }
}

/// A state as the digest that it is at the end of a message.
pub(crate) fn digest(state: &State) -> [u8; 32] {
    let mut out = [0; 32];
    for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    out
}

/// The one block of a message that is shorter than 56 bytes, and of which `before` bytes came earlier.
pub(crate) fn only_block<const LEN: usize>(message: &[u8; LEN], before: usize) -> Block {
    const { assert!(LEN < BLOCK_LEN - 8) };
    let mut block = [0; BLOCK_LEN];
    block[..LEN].copy_from_slice(message);
    block[LEN] = END;
    put_length(&mut block, (before + LEN) as u64);
    block
}

/// The blocks of a message with its padding (FIPS 180-4 section 5.1.1).
struct Padded<'m> {
    parts: slice::Iter<'m, &'m [u8]>,
    part: &'m [u8],
    len: u64,
    is_marked: bool,
    is_done: bool,
}

impl<'m> Padded<'m> {
    fn new(parts: &'m [&'m [u8]], before: u64) -> Self {
        Self {
            parts: parts.iter(),
            part: &[],
            len: parts
                .iter()
                .fold(before, |sum, part| sum + part.len() as u64),
            is_marked: false,
            is_done: false,
        }
    }

    /// Whether there is one more.
    fn next_into(&mut self, block: &mut Block) -> bool {
        if self.is_done {
            return false;
        }
        let mut filled = 0;
        loop {
            let (now, later) = self.part.split_at(self.part.len().min(BLOCK_LEN - filled));
            block[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            self.part = later;
            if filled == BLOCK_LEN {
                return true;
            }
            match self.parts.next() {
                Some(part) => self.part = part,
                None => break,
            }
        }
        block[filled..].fill(0);
        if !self.is_marked {
            block[filled] = END;
            filled += 1;
            self.is_marked = true;
        }
        if filled <= BLOCK_LEN - 8 {
            put_length(block, self.len);
            self.is_done = true;
        }
        true
    }
}

fn put_length(block: &mut Block, len: u64) {
    block[BLOCK_LEN - 8..].copy_from_slice(&(8 * len).to_be_bytes());
}

/// The bit behind the end of a message.
const END: u8 = 0x80;
/// Chains from which on a vector with empty lanes takes less time than one after the other.
#[cfg(target_arch = "x86_64")]
const WORTH_IT: usize = 9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    proptest! {
        /// Every number of lanes with and without a vector, lengths around the ends of blocks, parts cut anywhere.
        #[test]
        fn every_backend_hashes_as_the_crate_does(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 17),
            cut in any::<prop::sample::Index>(),
        ) {
            for &backend in Backend::available() {
                agree::<1>(backend, &messages, cut);
                agree::<8>(backend, &messages, cut);
                agree::<9>(backend, &messages, cut);
                agree::<16>(backend, &messages, cut);
                agree::<17>(backend, &messages, cut);
            }
        }
    }

    fn agree<const N: usize>(backend: Backend, messages: &[Vec<u8>], cut: prop::sample::Index) {
        let halves: [_; N] = std::array::from_fn(|i| {
            let (first, second) = messages[i].split_at(cut.index(messages[i].len() + 1));
            [first, second]
        });
        let mut states = [START; N];
        finish_each(backend, &mut states, 0, halves.each_ref().map(|h| &h[..]));
        for (message, state) in messages.iter().zip(&states) {
            assert_eq!(digest(state)[..], Sha256::digest(message)[..], "{backend}");
        }
    }

    #[test]
    fn a_message_of_one_block_is_that_block() {
        let mut state = [START];
        let blocks = [only_block(&[7; 55], 0)];
        compress_each(Backend::detect(), &mut state, &blocks);
        assert_eq!(digest(&state[0])[..], Sha256::digest([7; 55])[..]);
    }
}

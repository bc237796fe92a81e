//! AES-256 in interleaved lanes, GMAC, CMAC and key wrap, and the choice of backend. Layer 0.
//!
//! Everything here works under expanded keys that the caller owns: key schedules of live streams.
//! They are ordinary (not locked) memory, wiped when they are dropped, and kept in a `Box`, so that
//! moving their owner copies nothing. What an operation spilled to its stack is overwritten by
//! `wipe_stack` before its caller goes on.

mod backend;
mod cbc64;
mod cmac;
mod gmac;
pub(crate) mod key_wrap;
mod lanes;
mod wiped;

pub use backend::Backend;
pub(crate) use cbc64::{Cbc64Opener, Cbc64Sealer};
pub(crate) use cmac::kbkdf;
pub(crate) use gmac::Gmac;

use aes::cipher::array::{
    Array,
    sizes::{U16, U64},
};

/// One AES block.
type Block = Array<u8, U16>;
/// One block of each lane: 1,024 bytes.
type Row = Array<Block, U64>;

/// Bytes of a tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of an AES block.
pub(crate) const BLOCK_LEN: usize = 16;

/// The place of a segment in its blob: what its IVs and its nonce are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) last: bool,
}

impl Position {
    /// `le32 final || le64 index` (F-20).
    fn nonce(self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[0] = u8::from(self.last);
        nonce[4..].copy_from_slice(&self.index.to_le_bytes());
        nonce
    }

    /// `le64 index || le32 lane || le32 final`, what the IV of a lane is the encryption of (F-19).
    fn iv_input(self, lane: u8) -> Block {
        let index = u128::from(self.index);
        let input = index | u128::from(lane) << 64 | u128::from(self.last) << 96;
        Block::from(input.to_le_bytes())
    }
}

/// A tag or a padding is wrong. Nothing more is known outside.
#[derive(Debug)]
pub(crate) struct Unauthentic;

/// Overwrites the stack below the caller's frame, where the functions it called before had theirs:
/// spilled round keys, chain values, plaintext. The caller keeps those functions out of its own
/// frame with `#[inline(never)]`.
///
/// This is as far as safe code can go: it relies on the compiler to keep this a call of its own, and
/// on [`STACK_LEN`] being enough. A test searches the process's memory for what should be gone, in
/// both profiles.
#[inline(never)]
pub(crate) fn wipe_stack() {
    let mut frame = [0_u8; STACK_LEN];
    std::hint::black_box(&mut frame);
}

/// More than the deepest call of this module takes; without optimisation frames are larger.
const STACK_LEN: usize = 1024 * if cfg!(debug_assertions) { 32 } else { 16 };

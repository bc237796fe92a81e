//! AES-256 in interleaved lanes, GMAC, CMAC, key wrap and SHA-256, and the choice of backend. Layer 0.
//!
//! Everything here works under expanded keys that the caller owns: key schedules of live streams.
//! They are ordinary (not locked) memory, wiped when they are dropped, and kept in a `Box`, so that
//! moving their owner copies nothing. What an operation spilled to its stack is overwritten by
//! `Backend::wipe_stack` before its caller goes on.

mod backend;
mod cbc64;
mod cmac;
#[cfg(feature = "gcm")]
mod gcm;
mod gmac;
pub(crate) mod key_wrap;
mod lanes;
pub(crate) mod sha256;
mod suite;
mod wiped;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use backend::Backend;
pub(crate) use cbc64::unpadded_len;
#[cfg(feature = "gcm")]
pub(crate) use gcm::Gcm;
pub(crate) use lanes::padded_len;
pub(crate) use suite::{OpenSegment, SealSegment, Subkeys};
pub(crate) use wiped::{overwrite_stack, wipe};

use aes::cipher::array::{
    Array,
    sizes::{U16, U64},
};

/// One AES block.
type Block = Array<u8, U16>;
/// One block of each lane: 1,024 bytes.
type Row = Array<Block, U64>;

/// The blocks of all subkeys (F-13).
pub(crate) type Derived = wiped::Wiped<[[u8; BLOCK_LEN]; 6]>;

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
    /// GCM's first counter block: the nonce `le32 final || le64 index` (F-20), then `be32 1`.
    fn counter_block(self) -> Block {
        let input = u128::from(self.last) | u128::from(self.index) << 32 | 1 << 120;
        Block::from(input.to_le_bytes())
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

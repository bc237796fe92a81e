//! 64 interleaved CBC chains over one segment (ISO/IEC 10116 interleave; F-17): row by row of 1,024
//! bytes, CBC over a wide block of 64 AES calls.
//!
//! The loops run inside the AES crate's own target-feature function (its backend closures), so the
//! round keys are set up once for a segment and a row is one batch. XOR works on the flat row:
//! block by block it would store 16 bytes where the next load takes 64, and stall.

use super::{BLOCK_LEN, Block, Position, Row, wipe};
use aes::{
    Aes256Dec, Aes256Enc,
    cipher::{
        BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
        BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InOutBuf,
        array::{sizes::U16, typenum::Unsigned},
    },
};

/// Lanes of a segment.
pub(super) const LANES: usize = 64;
/// Bytes of one block of each lane.
pub(super) const ROW_LEN: usize = LANES * BLOCK_LEN;

/// The IVs of a segment's lanes: `AES(K_iv, le64 i || le32 lane || le32 final)` (F-19).
pub(super) fn ivs(aes: &Aes256Enc, at: Position) -> Row {
    let mut ivs = Row::default();
    for (iv, lane) in ivs.iter_mut().zip(0..) {
        *iv = at.iv_input(lane);
    }
    aes.encrypt_blocks(&mut ivs);
    ivs
}

/// Encrypts `plain` into `out`. If `out` is longer, it is so by the PKCS#7 padding (F-18): a whole
/// number of blocks, 1 to 16 bytes more than `plain`.
pub(super) fn encrypt(aes: &Aes256Enc, ivs: &Row, plain: &[u8], out: &mut [u8]) {
    debug_assert!(out.len().is_multiple_of(BLOCK_LEN));
    debug_assert!(out.len() == plain.len() || out.len() == padded_len(plain.len()));
    aes.encrypt_with_backend(Encrypt { ivs, plain, out });
}

/// Decrypts `sealed`, a whole number of blocks, into `out` of the same length; padding stays.
pub(super) fn decrypt(aes: &Aes256Dec, ivs: &Row, sealed: &[u8], out: &mut [u8]) {
    debug_assert!(sealed.len().is_multiple_of(BLOCK_LEN));
    debug_assert_eq!(out.len(), sealed.len());
    aes.decrypt_with_backend(Decrypt { ivs, sealed, out });
}

/// Ciphertext bytes of a last segment of `len` plaintext bytes: 1 to 16 bytes of PKCS#7 padding more
/// (F-18).
pub(crate) fn padded_len(len: usize) -> usize {
    (len / BLOCK_LEN + 1) * BLOCK_LEN
}

struct Encrypt<'a> {
    ivs: &'a Row,
    plain: &'a [u8],
    out: &'a mut [u8],
}

impl BlockSizeUser for Encrypt<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Encrypt<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { ivs, plain, out } = self;
        let padding = out.len() - plain.len();
        let (plain_rows, plain_tail) = plain.as_chunks::<ROW_LEN>();
        let (out_rows, out_tail) = out.split_at_mut(plain_rows.len() * ROW_LEN);
        let mut chain = ivs;
        for (plain, out) in plain_rows.iter().zip(rows_mut(out_rows)) {
            let bytes = Block::slice_as_flattened_mut(out);
            let chained = Block::slice_as_flattened(chain);
            for i in 0..ROW_LEN {
                bytes[i] = plain[i] ^ chained[i];
            }
            encrypt_row(backend, out, LANES);
            chain = out;
        }
        if !out_tail.is_empty() {
            let mut row = Row::default();
            let bytes = Block::slice_as_flattened_mut(&mut row);
            bytes[..plain_tail.len()].copy_from_slice(plain_tail);
            bytes[plain_tail.len()..out_tail.len()].fill(u8::try_from(padding).unwrap_or(0));
            for (byte, chained) in bytes.iter_mut().zip(Block::slice_as_flattened(chain)) {
                *byte ^= chained;
            }
            encrypt_row(backend, &mut row, out_tail.len() / BLOCK_LEN);
            out_tail.copy_from_slice(&Block::slice_as_flattened(&row)[..out_tail.len()]);
        }
    }
}

/// Encrypts at least the first `lanes` blocks.
#[inline(always)]
fn encrypt_row<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    row: &mut Row,
    lanes: usize,
) {
    let (batches, tail) =
        InOutBuf::from(&mut row[..lanes_to_run::<B::ParBlocksSize>(lanes)]).into_chunks();
    for batch in batches {
        backend.encrypt_par_blocks(batch);
    }
    backend.encrypt_tail_blocks(tail);
}

struct Decrypt<'a> {
    ivs: &'a Row,
    sealed: &'a [u8],
    out: &'a mut [u8],
}

impl BlockSizeUser for Decrypt<'_> {
    type BlockSize = U16;
}

impl BlockCipherDecClosure for Decrypt<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { ivs, sealed, out } = self;
        let (sealed_rows, sealed_tail) = rows(sealed);
        let (out_rows, out_tail) = out.split_at_mut(sealed_rows.len() * ROW_LEN);
        let mut chain = ivs;
        for (sealed, out) in sealed_rows.iter().zip(rows_mut(out_rows)) {
            decrypt_row(backend, sealed, out, LANES);
            let bytes = Block::slice_as_flattened_mut(out);
            let chained = Block::slice_as_flattened(chain);
            for i in 0..ROW_LEN {
                bytes[i] ^= chained[i];
            }
            chain = sealed;
        }
        if !out_tail.is_empty() {
            let mut from = Row::default();
            Block::slice_as_flattened_mut(&mut from)[..sealed_tail.len()]
                .copy_from_slice(sealed_tail);
            let mut row = Row::default();
            decrypt_row(backend, &from, &mut row, out_tail.len() / BLOCK_LEN);
            let bytes = Block::slice_as_flattened_mut(&mut row);
            let chained = Block::slice_as_flattened(chain);
            for (i, out) in out_tail.iter_mut().enumerate() {
                *out = bytes[i] ^ chained[i];
            }
            wipe(bytes);
        }
    }
}

/// Decrypts at least the first `lanes` blocks.
#[inline(always)]
fn decrypt_row<B: BlockCipherDecBackend<BlockSize = U16>>(
    backend: &B,
    sealed: &Row,
    out: &mut Row,
    lanes: usize,
) {
    let run = lanes_to_run::<B::ParBlocksSize>(lanes);
    let (batches, tail) = InOutBuf::new(&sealed[..run], &mut out[..run])
        .expect("both have the same length")
        .into_chunks();
    for batch in batches {
        backend.decrypt_par_blocks(batch);
    }
    backend.decrypt_tail_blocks(tail);
}

/// A backend takes a batch at full speed and what is left over block by block: from a quarter of a
/// batch on it is cheaper to run the batch over lanes whose results nobody reads.
#[inline(always)]
fn lanes_to_run<Batch: Unsigned>(lanes: usize) -> usize {
    let over = lanes % Batch::USIZE;
    if over * 4 > Batch::USIZE {
        (lanes - over + Batch::USIZE).min(LANES)
    } else {
        lanes
    }
}

fn rows(bytes: &[u8]) -> (&[Row], &[u8]) {
    let full = bytes.len() / ROW_LEN * ROW_LEN;
    let (blocks, _) = Block::slice_as_chunks(&bytes[..full]);
    (Row::slice_as_chunks(blocks).0, &bytes[full..])
}

fn rows_mut(bytes: &mut [u8]) -> &mut [Row] {
    let (blocks, _) = Block::slice_as_chunks_mut(bytes);
    Row::slice_as_chunks_mut(blocks).0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aes::{
        Aes256,
        cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, block_padding::Pkcs7},
    };

    use super::*;

    /// F-17: each lane is plain AES-256-CBC under its own IV, by the `cbc` crate.
    #[test]
    fn each_lane_is_plain_cbc() {
        let key = [3; 32];
        for len in [
            0, 15, 16, 17, 240, 256, 272, 1023, 1024, 1025, 1300, 65_519, 65_520, 65_535,
        ] {
            let plain: Vec<u8> = (0..=250).cycle().take(len).collect();
            let ivs = ivs(
                &Aes256Enc::new(&[4; 32].into()),
                Position {
                    index: 7,
                    last: true,
                },
            );
            let mut sealed = vec![0; padded_len(len)];
            encrypt(&Aes256Enc::new(&key.into()), &ivs, &plain, &mut sealed);

            // Padding is of the joined stream (F-18); then every 64th block belongs to one lane.
            let padding = u8::try_from(16 - len % 16).unwrap();
            let mut padded = plain.clone();
            padded.resize(padded_len(len), padding);
            let (blocks, _) = Block::slice_as_chunks(&padded);
            let (sealed_blocks, _) = Block::slice_as_chunks(&sealed);
            for lane in 0..LANES.min(blocks.len()) {
                let mut chain: Vec<Block> =
                    blocks.iter().skip(lane).step_by(LANES).copied().collect();
                cbc::Encryptor::<Aes256>::new(&key.into(), &ivs[lane]).encrypt_blocks(&mut chain);
                let got: Vec<Block> = sealed_blocks
                    .iter()
                    .skip(lane)
                    .step_by(LANES)
                    .copied()
                    .collect();
                assert_eq!(got, chain, "{len} bytes, lane {lane}");
                cbc::Decryptor::<Aes256>::new(&key.into(), &ivs[lane]).decrypt_blocks(&mut chain);
            }

            let mut opened = vec![0; sealed.len()];
            decrypt(&Aes256Dec::new(&key.into()), &ivs, &sealed, &mut opened);
            assert_eq!(opened, padded, "{len} bytes");
        }
    }

    /// F-18, for a stream of less than one block: then there is one lane and nothing to interleave.
    #[test]
    fn one_block_is_cbc_with_pkcs7() {
        let ivs = ivs(
            &Aes256Enc::new(&[4; 32].into()),
            Position {
                index: 0,
                last: true,
            },
        );
        let mut sealed = [0; 16];
        encrypt(
            &Aes256Enc::new(&[3; 32].into()),
            &ivs,
            b"hello",
            &mut sealed,
        );
        let mut expected = *b"hello...........";
        cbc::Encryptor::<Aes256>::new(&[3; 32].into(), &ivs[0])
            .encrypt_padded::<Pkcs7>(&mut expected, 5)
            .unwrap();
        assert_eq!(sealed, expected);
    }

    /// F-19.
    #[test]
    fn ivs_are_the_encryption_of_index_lane_and_final() {
        let aes = Aes256Enc::new(&[5; 32].into());
        let index = 0x0123_4567;
        for last in [false, true] {
            for (lane, iv) in (0_u32..).zip(ivs(&aes, Position { index, last })) {
                let mut input = index.to_le_bytes().to_vec();
                input.extend(lane.to_le_bytes());
                input.extend(u32::from(last).to_le_bytes());
                let mut expected = Block::try_from(&input[..]).unwrap();
                aes.encrypt_block(&mut expected);
                assert_eq!(iv, expected, "lane {lane}");
            }
        }
    }
}

//! Runs of segments sealed and opened, on all cores when the run is long enough to pay for it.
//!
//! Segments are independent of each other (their IVs and nonces come from their index), so a run is split between the
//! threads of the current rayon pool, each taking neighbours. Rayon halves it for as long as somebody is idle.

use rayon::prelude::*;

use super::error::ObjectError;
use super::plain::wipe;
use crate::format::{OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, SealKeys};

/// Runs of fewer segments stay on the calling thread: measured with two cores, from 256 KiB on waking another one pays.
pub(super) const PARALLEL_FROM: usize = 4;

/// Seals `plain`, whole segments of which none is the last, into `out` of exactly the sealed length.
pub(super) fn seal_run(
    keys: &SealKeys,
    first: u64,
    plain: &[u8],
    out: &mut [u8],
) -> Result<(), ObjectError> {
    let segments = plain.len() / SEGMENT_LEN;
    debug_assert_eq!(plain.len(), segments * SEGMENT_LEN);
    debug_assert_eq!(out.len(), segments * SEALED_SEGMENT_LEN);
    let one = |(index, (sealed, plain)): (usize, (&mut [u8], &[u8]))| {
        keys.seal_segment(first + index as u64, false, plain, sealed)
            .map(|_| ())
    };
    if segments < PARALLEL_FROM {
        out.chunks_exact_mut(SEALED_SEGMENT_LEN)
            .zip(plain.chunks_exact(SEGMENT_LEN))
            .enumerate()
            .try_for_each(one)?;
    } else {
        out.par_chunks_exact_mut(SEALED_SEGMENT_LEN)
            .zip(plain.par_chunks_exact(SEGMENT_LEN))
            .enumerate()
            .try_for_each(one)?;
    }
    Ok(())
}

/// Opens `sealed`, neighbouring segments from `first` on, into `out`, which has room for the ciphertext of each. The one
/// with the index `last` is the final one of the blob. Returns the plaintext length. On failure all of `out` is wiped.
pub(super) fn open_run(
    keys: &OpenKeys,
    first: u64,
    last: u64,
    sealed: &[u8],
    out: &mut [u8],
) -> Result<usize, ObjectError> {
    let segments = sealed.len().div_ceil(SEALED_SEGMENT_LEN);
    let Some(before_tail) = segments.checked_sub(1) else {
        return Ok(0);
    };
    // The tail goes by itself: of an empty final segment it has no plaintext, and is to be verified all the same.
    let (body, tail) = sealed.split_at(before_tail * SEALED_SEGMENT_LEN);
    let given = out.len();
    let Some((out_body, out_tail)) = out.split_at_mut_checked(before_tail * SEGMENT_LEN) else {
        return Err(ObjectError::WrongLength {
            what: "room for plaintext",
            needed: before_tail * SEGMENT_LEN,
            given,
        });
    };
    let one = |(index, (plain, sealed)): (usize, (&mut [u8], &[u8]))| {
        let index = first + index as u64;
        keys.open_segment(index, index == last, sealed, plain)
    };
    let opened = if segments < PARALLEL_FROM {
        out_body
            .chunks_exact_mut(SEGMENT_LEN)
            .zip(body.chunks_exact(SEALED_SEGMENT_LEN))
            .chain(std::iter::once((out_tail, tail)))
            .enumerate()
            .map(one)
            .try_fold(0, |sum, len| len.map(|len| sum + len))
    } else {
        out_body
            .par_chunks_exact_mut(SEGMENT_LEN)
            .zip(body.par_chunks_exact(SEALED_SEGMENT_LEN))
            .chain(rayon::iter::once((out_tail, tail)))
            .enumerate()
            .map(one)
            .try_reduce(|| 0, |a, b| Ok(a + b))
    };
    if opened.is_err() {
        wipe(out);
    }
    Ok(opened?)
}

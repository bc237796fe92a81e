//! Between two regular files: every core takes the next batch of segments, reads it, seals or opens it while it is in its
//! cache, and writes it where it belongs.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::output::Output;
use super::{FileError, FileOptions, FileSummary, InputFile, NOT_OF_A_FILE, SMALL_FILE};
use crate::format::{
    FormatError, HEADER_LEN, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite, sealed_len,
};
use crate::keys::DataKey;
use crate::object::error::ObjectError;
use crate::object::opener::BlobOpener;
use crate::object::plain::PlainBuf;

/// Writes `prologue` and the blob.
pub(super) fn seal(
    key: &DataKey,
    prologue: &[u8],
    input: &InputFile,
    output: &Output,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let suite = options.suite;
    let blob_len = sealed_len(suite, input.len).ok_or(ObjectError::TooLong)?;
    let (keys, header) = SealKeys::create(key.secret(), suite, 0, Salt::fresh(0)?)?;
    output.write_at(&[prologue, &header].concat(), 0)?;
    let first_segment = (prologue.len() + HEADER_LEN) as u64;

    let room = usize::try_from(blob_len).map_or(SEALED, |len| len.min(SEALED));
    let buffers = || (PlainBuf::new(batch_len(input.len)), vec![0; room]);
    each_batch(input.len / PLAIN + 1, buffers, |batch, (plain, sealed)| {
        let offset = batch * PLAIN;
        let len = batch_len(input.len - offset);
        let is_last = (len as u64) < PLAIN;
        let plain = &mut plain[..len];
        input.read_at(plain, offset)?;
        let mut written = 0;
        let mut segments = plain.chunks_exact(SEGMENT_LEN);
        let mut index = batch * SEGMENTS;
        for segment in &mut segments {
            written += keys.seal_segment(index, false, segment, &mut sealed[written..])?;
            index += 1;
        }
        if is_last {
            let segment = segments.remainder();
            written += keys.seal_segment(index, true, segment, &mut sealed[written..])?;
        }
        output.write_at(&sealed[..written], first_segment + batch * SEALED as u64)?;
        options.report(len);
        Ok(())
    })?;
    input.expect_unchanged()?;
    Ok(FileSummary {
        plain_len: input.len,
        sealed_len: prologue.len() as u64 + blob_len,
    })
}

/// Opens the blob that begins at `start`. Its final segment comes first, so that nothing is written of a blob that was cut
/// off.
pub(super) fn open(
    key: &DataKey,
    start: u64,
    input: &InputFile,
    output: &Output,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let blob_len = input.len.saturating_sub(start);
    let mut header = [0; HEADER_LEN];
    if blob_len < HEADER_LEN as u64 {
        return Err(FormatError::Malformed("the file ends before its blob").into());
    }
    input.read_at(&mut header, start)?;
    let mut opener = BlobOpener::new(key, &header, blob_len, None)?;
    if opener.header().part != 0 || opener.header().suite == Suite::PlainGmac {
        return Err(NOT_OF_A_FILE.into());
    }
    let last = opener.final_segment();
    let mut sealed = vec![0; length(&last)];
    input.read_at(&mut sealed, start + last.start)?;
    let plain_len = opener.prove_length(&sealed)?;
    drop(sealed);

    let room = batch_len(plain_len).next_multiple_of(SEGMENT_LEN) + SEGMENT_LEN;
    let buffers = || (PlainBuf::new(room), vec![0; SEALED + SEALED_SEGMENT_LEN]);
    each_batch(
        plain_len.div_ceil(PLAIN),
        buffers,
        |batch, (plain, sealed)| {
            let from = batch * PLAIN;
            let plan = opener.plan(from..plain_len.min(from + PLAIN))?;
            let bytes = plan.bytes();
            let sealed = &mut sealed[..length(&bytes)];
            input.read_at(sealed, start + bytes.start)?;
            let opened = opener.open_into(&plan, sealed, plain)?;
            output.write_at(&plain[..opened], from)?;
            options.report(sealed.len());
            Ok(())
        },
    )?;
    input.expect_unchanged()?;
    Ok(FileSummary {
        plain_len,
        sealed_len: input.len,
    })
}

/// Runs `work` for each of `batches`, on all cores with one pair of buffers each. Ends early on the first error.
fn each_batch<B>(
    batches: u64,
    buffers: impl Fn() -> B + Sync,
    work: impl Fn(u64, &mut B) -> Result<(), FileError> + Sync,
) -> Result<(), FileError> {
    let next = AtomicU64::new(0);
    let worker = |_| {
        let mut buffers = buffers();
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return Ok(());
            }
            work(batch, &mut buffers).inspect_err(|_| next.store(batches, Ordering::Relaxed))?;
        }
    };
    if batches <= SERIAL {
        return worker(0);
    }
    (0..rayon::current_num_threads())
        .into_par_iter()
        .with_max_len(1)
        .try_for_each(worker)
}

/// Bytes of a batch of what is left.
fn batch_len(left: u64) -> usize {
    usize::try_from(left.min(PLAIN)).expect("at most a batch")
}

fn length(range: &std::ops::Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("at most a batch and a segment")
}

/// Segments in a batch.
const SEGMENTS: u64 = 4;
const PLAIN: u64 = SEGMENTS * SEGMENT_LEN as u64;
const SEALED: usize = 4 * SEALED_SEGMENT_LEN;
/// Up to here the batches of a file are one thread's work.
const SERIAL: u64 = SMALL_FILE / PLAIN + 1;

//! From or to a stream: one thread reads, the caller's seals or opens, one writes, through bounded channels of reused
//! buffers. An input that fits one buffer takes no thread.

use std::panic::resume_unwind;
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::{FileError, FileOptions, FileSummary, Input, OutputEnd};
use crate::format::{HEADER_LEN, SEALED_SEGMENT_LEN, SEGMENT_LEN};
use crate::object::error::ObjectError;
use crate::object::plain::PlainBuf;
use crate::object::sealer::BlobSealer;
use crate::object::stream_opener::StreamOpener;

/// Seals all of `input` behind what is in `output` already.
pub(super) fn seal(
    sealer: BlobSealer,
    input: Input<'_>,
    output: OutputEnd<'_>,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let sealed = HEADER_LEN + SEGMENTS * SEALED_SEGMENT_LEN + PADDING;
    run(
        sealer,
        input,
        output,
        [SEGMENTS * SEGMENT_LEN, sealed],
        options,
    )
}

/// Opens the blob whose header has been read from `input` already.
pub(super) fn open(
    opener: StreamOpener,
    input: Input<'_>,
    output: OutputEnd<'_>,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let plain = (SEGMENTS + 1) * SEGMENT_LEN;
    run(
        opener,
        input,
        output,
        [SEGMENTS * SEALED_SEGMENT_LEN, plain],
        options,
    )
}

/// What happens between reading and writing.
trait Stage {
    fn take(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError>;
    /// The last input: also when it is empty.
    fn end(self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError>;
    /// Whether the input is plaintext, else the output.
    const SEALS: bool;
}

impl Stage for BlobSealer {
    const SEALS: bool = true;

    fn take(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        self.update_into(input, out)
    }

    fn end(self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        self.finish_into(input, out).map(|(written, _)| written)
    }
}

impl Stage for StreamOpener {
    const SEALS: bool = false;

    fn take(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        self.update_into(input, out)
    }

    fn end(mut self, input: &[u8], out: &mut [u8]) -> Result<usize, ObjectError> {
        let written = self.update_into(input, out)?;
        Ok(written + self.finish_into(&mut out[written..])?)
    }
}

/// A buffer and how much of it is used.
type Filled = (PlainBuf, usize);

fn run<S: Stage>(
    stage: S,
    mut input: Input<'_>,
    mut output: OutputEnd<'_>,
    [take_in, put_out]: [usize; 2],
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let mut first = PlainBuf::new(take_in);
    let got = input.fill(&mut first)?;
    let mut out = PlainBuf::new(put_out);
    let mut count = Count {
        options,
        taken: 0,
        put: 0,
    };
    if got < take_in {
        let written = stage.end(&first[..got], &mut out)?;
        count.add(got, written);
        output.write(&out[..written])?;
        output.flush()?;
        return Ok(count.summary::<S>());
    }

    let (to_stage, from_reader) = bounded::<Filled>(BUFFERS);
    let (to_reader, read_buffers) = bounded(BUFFERS);
    let (to_writer, from_stage) = bounded::<Filled>(BUFFERS);
    let (written_buffers, to_fill) = bounded(BUFFERS);
    // None of these can fail or wait: the channels are empty and both ends are here.
    let _ = to_stage.send((first, got));
    let _ = to_reader.send(PlainBuf::new(take_in));
    let _ = written_buffers.send(out);
    let _ = written_buffers.send(PlainBuf::new(put_out));

    thread::scope(|scope| {
        let reader = scope.spawn(move || read(&mut input, &read_buffers, &to_stage));
        let writer = scope.spawn(move || write(&mut output, &from_stage, &written_buffers));
        let staged = drive(
            stage,
            &from_reader,
            &to_reader,
            &to_fill,
            &to_writer,
            &mut count,
        );
        // Ends the threads that wait for more.
        drop((from_reader, to_reader, to_writer, to_fill));
        let written = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        let was_read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        // If the stage stopped early without an error of its own, one of the threads has it.
        staged?;
        was_read?;
        written?;
        Ok(count.summary::<S>())
    })
}

fn read(
    input: &mut Input<'_>,
    buffers: &Receiver<PlainBuf>,
    stage: &Sender<Filled>,
) -> Result<(), FileError> {
    for mut buffer in buffers {
        let got = input.fill(&mut buffer)?;
        let is_last = got < buffer.len();
        if stage.send((buffer, got)).is_err() || is_last {
            break;
        }
    }
    Ok(())
}

fn write(
    output: &mut OutputEnd<'_>,
    stage: &Receiver<Filled>,
    buffers: &Sender<PlainBuf>,
) -> Result<(), FileError> {
    for (buffer, len) in stage {
        output.write(&buffer[..len])?;
        if buffers.send(buffer).is_err() {
            continue; // the stage is done, its last output may still be queued
        }
    }
    output.flush()
}

fn drive<S: Stage>(
    mut stage: S,
    from_reader: &Receiver<Filled>,
    to_reader: &Sender<PlainBuf>,
    to_fill: &Receiver<PlainBuf>,
    to_writer: &Sender<Filled>,
    count: &mut Count<'_>,
) -> Result<(), FileError> {
    while let (Ok((input, got)), Ok(mut out)) = (from_reader.recv(), to_fill.recv()) {
        let is_last = got < input.len();
        if is_last {
            let written = stage.end(&input[..got], &mut out)?;
            count.add(got, written);
            let _ = to_writer.send((out, written)); // a writer that failed says so itself
            return Ok(());
        }
        let written = stage.take(&input, &mut out)?;
        count.add(got, written);
        if to_writer.send((out, written)).is_err() {
            return Ok(());
        }
        let _ = to_reader.send(input); // a reader that ended needs no buffer
    }
    Ok(())
}

struct Count<'a> {
    options: &'a FileOptions<'a>,
    taken: u64,
    put: u64,
}

impl Count<'_> {
    fn add(&mut self, taken: usize, put: usize) {
        self.taken += taken as u64;
        self.put += put as u64;
        self.options.report(taken);
    }

    fn summary<S: Stage>(&self) -> FileSummary {
        let (plain_len, sealed_len) = if S::SEALS {
            (self.taken, self.put)
        } else {
            (self.put, self.taken)
        };
        FileSummary {
            plain_len,
            sealed_len,
        }
    }
}

/// What the sealer wants room for behind the last segment, whose padding may come to less.
const PADDING: usize = 16;
/// Segments to a buffer. Four buffers, two a side, and the stacks of three threads stay below 1 MiB.
const SEGMENTS: usize = 2;
const BUFFERS: usize = 2;

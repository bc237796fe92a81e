//! From or to a stream: one thread reads, the caller's seals or opens and writes, through bounded channels of two reused
//! buffers. Copies in the kernel are most of the work, so two sides keep two cores busy, and each further hand-over would
//! cost more than it moves. An input that fits one buffer takes no thread.

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
    let sealed = HEADER_LEN + (SEGMENTS + 1) * SEALED_SEGMENT_LEN;
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
    // Neither can fail or wait: the channels are empty and both ends are here.
    let _ = to_stage.send((first, got));
    let _ = to_reader.send(PlainBuf::new(take_in));

    thread::scope(|scope| {
        let reader = scope.spawn(move || read(&mut input, &read_buffers, &to_stage));
        let drained = drain(
            stage,
            (&from_reader, &to_reader),
            &mut out,
            &mut output,
            &mut count,
        );
        // Ends the reader if it waits for more.
        drop((from_reader, to_reader));
        let was_read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        // If the input ended early without an error here, the reader has it.
        drained?;
        was_read?;
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

/// Takes in what the reader hands over, and writes what comes out.
fn drain<S: Stage>(
    mut stage: S,
    (from_reader, to_reader): (&Receiver<Filled>, &Sender<PlainBuf>),
    out: &mut [u8],
    output: &mut OutputEnd<'_>,
    count: &mut Count<'_>,
) -> Result<(), FileError> {
    for (input, got) in from_reader {
        let is_last = got < input.len();
        if is_last {
            let written = stage.end(&input[..got], out)?;
            count.add(got, written);
            output.write(&out[..written])?;
            return output.flush();
        }
        let written = stage.take(&input, out)?;
        let _ = to_reader.send(input); // a reader that failed needs no buffer
        count.add(got, written);
        output.write(&out[..written])?;
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

/// Segments to a buffer. Two to read into and one to write from, of a segment more, stay below 1 MiB.
const SEGMENTS: usize = 4;
const BUFFERS: usize = 2;

//! `Read` and `Write` over sealer and opener, for code that wants to know nothing else.

use std::io::{self, Read, Write};

use super::error::ObjectError;
use super::plain::PlainBuf;
use super::sealer::{BlobSealer, BlobSummary};
use super::stream_opener::StreamOpener;
use crate::format::{HEADER_LEN, SEALED_SEGMENT_LEN, SEGMENT_LEN, Suite};
use crate::keys::DataKey;

/// Seals what is written to it into `W`. Holds at most 192 KiB of plaintext, in a buffer that is wiped, and as much
/// sealed; what is flushed are whole segments only.
///
/// Dropped without [`finish`](Self::finish) it leaves a blob that cannot be opened.
pub struct SealWriter<W: Write> {
    sealer: BlobSealer,
    sink: W,
    batch: PlainBuf,
    filled: usize,
    sealed: Vec<u8>,
    failed: bool,
}

impl<W: Write> SealWriter<W> {
    /// A new blob under `key`, as in [`BlobSealer::new`].
    ///
    /// # Errors
    /// As [`BlobSealer::new`].
    pub fn new(key: &DataKey, suite: Suite, part: u32, sink: W) -> Result<Self, ObjectError> {
        Ok(Self {
            sealer: BlobSealer::new(key, suite, part)?,
            sink,
            batch: PlainBuf::new(BATCH),
            filled: 0,
            sealed: vec![0; HEADER_LEN + SEGMENTS * SEALED_SEGMENT_LEN],
            failed: false,
        })
    }

    /// Seals the final segment, flushes the sink and gives it back.
    ///
    /// # Errors
    /// Of the sink, or of an earlier call.
    pub fn finish(mut self) -> io::Result<(W, BlobSummary)> {
        if self.failed {
            return Err(io::Error::other(ObjectError::Ended));
        }
        self.sealed.clear();
        let summary = self
            .sealer
            .finish_with(&self.batch[..self.filled], &mut self.sealed)
            .map_err(io::Error::other)?;
        self.sink.write_all(&self.sealed)?;
        self.sink.flush()?;
        Ok((self.sink, summary))
    }

    fn seal_batch(&mut self) -> io::Result<()> {
        let sealed = self
            .sealer
            .update_into(&self.batch, &mut self.sealed)
            .map_err(io::Error::other)?;
        self.filled = 0;
        self.sink.write_all(&self.sealed[..sealed])
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(ObjectError::Ended));
        }
        let take = buf.len().min(BATCH - self.filled);
        self.batch[self.filled..self.filled + take].copy_from_slice(&buf[..take]);
        self.filled += take;
        if self.filled == BATCH {
            self.seal_batch().inspect_err(|_| self.failed = true)?;
        }
        Ok(take)
    }

    /// Flushes the sink. The plaintext of a segment that is not complete stays here.
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Reads the plaintext of a whole blob out of `R`, each byte verified before it is handed out. The end of the plaintext
/// is reported only after the final segment was verified: a blob that was cut off ends in an error.
///
/// Errors are of kind [`InvalidData`](io::ErrorKind::InvalidData) and hold an [`ObjectError`].
pub struct OpenReader<R: Read> {
    source: R,
    opener: Option<StreamOpener>,
    sealed: Vec<u8>,
    plain: PlainBuf,
    ready: std::ops::Range<usize>,
    failed: bool,
}

impl<R: Read> OpenReader<R> {
    /// Reads and authenticates the header.
    ///
    /// # Errors
    /// Of the source, and as [`StreamOpener::new`].
    pub fn new(key: &DataKey, mut source: R) -> io::Result<Self> {
        let mut header = [0; HEADER_LEN];
        let got = fill(&mut source, &mut header)?;
        let opener = if got == HEADER_LEN {
            StreamOpener::new(key, &header)
        } else {
            Err(crate::format::FormatError::Malformed("shorter than a header").into())
        };
        Ok(Self {
            source,
            opener: Some(opener.map_err(invalid)?),
            sealed: vec![0; SEGMENTS * SEALED_SEGMENT_LEN],
            plain: PlainBuf::new((SEGMENTS + 1) * SEGMENT_LEN),
            ready: 0..0,
            failed: false,
        })
    }

    fn refill(&mut self) -> io::Result<()> {
        while self.ready.is_empty() {
            let Some(opener) = &mut self.opener else {
                return Ok(());
            };
            let got = fill(&mut self.source, &mut self.sealed)?;
            let opened = opener.update_into(&self.sealed[..got], &mut self.plain);
            self.ready = 0..opened.map_err(invalid)?;
            if got < self.sealed.len()
                && let Some(opener) = self.opener.take()
            {
                let rest = &mut self.plain[self.ready.end..];
                self.ready.end += opener.finish_into(rest).map_err(invalid)?;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(invalid(ObjectError::Ended));
        }
        self.refill().inspect_err(|_| {
            self.failed = true;
            self.ready = 0..0;
        })?;
        let take = buf.len().min(self.ready.len());
        buf[..take].copy_from_slice(&self.plain[self.ready.start..][..take]);
        self.ready.start += take;
        Ok(take)
    }
}

/// Reads until `buf` is full or the source ends.
pub(super) fn fill(source: &mut (impl Read + ?Sized), buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn invalid(error: ObjectError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Segments sealed or opened at a time.
const SEGMENTS: usize = 3;
const BATCH: usize = SEGMENTS * SEGMENT_LEN;

//! The trail as a file of JSON lines.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::event::{Event, name};
use super::verify::{MAX_LINE, tail};
use super::{AuditError, Sink};

/// When a recorded event is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before [`Sink::record`] returns: a crash loses no event that was acknowledged.
    EachEvent,
    /// By the first event that comes this long after the last sync, or [`FileSink::sync`]; a crash
    /// of the machine (not of the process) may lose what came since. For the direct tier, which
    /// asks the HSM once per object.
    AtLeastEvery(Duration),
}

/// The end of a chain: how many events, and the SHA-256 of the last line without its newline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last event; 0 in an empty trail.
    pub seq: u64,
    /// 32 zero bytes in an empty trail.
    pub hash: [u8; 32],
}

/// Appends events to a file, one JSON line each, hash-chained. One writer per file, held by a lock.
///
/// The first failed write or sync ends the sink: what a disk kept of a failed write is not known,
/// so nothing is chained to it.
pub struct FileSink {
    path: String,
    sync: SyncPolicy,
    state: Mutex<State>,
}

struct State {
    file: File,
    head: Head,
    synced: Instant,
    ended: bool,
}

impl FileSink {
    /// Opens a trail to go on with it, or begins one. A last line cut by a crash was acknowledged
    /// to nobody: it is removed, and an event says so.
    ///
    /// # Errors
    /// [`AuditError::InUse`], [`AuditError::Io`], or [`AuditError::Broken`] if what is there does
    /// not end like a trail.
    pub fn open(path: &Path, sync: SyncPolicy) -> Result<Self, AuditError> {
        let shown = path.display().to_string();
        let io = |error: io::Error| AuditError::Io {
            path: shown.clone(),
            reason: error.to_string(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => AuditError::InUse {
                path: shown.clone(),
            },
            TryLockError::Error(error) => io(error),
        })?;
        let len = file.metadata().map_err(io)?.len();
        let tail = tail(&mut file, len).map_err(io)??;
        if tail.torn > 0 {
            file.set_len(len - tail.torn).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        if len == 0
            && let Some(dir) = path.parent()
        {
            let dir = if dir.as_os_str().is_empty() {
                Path::new(".")
            } else {
                dir
            };
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        }
        let sink = Self {
            path: shown,
            sync,
            state: Mutex::new(State {
                file,
                head: tail.head,
                synced: Instant::now(),
                ended: false,
            }),
        };
        if tail.torn > 0 {
            let mut event = Event::new(name::TRAIL_RECOVERED);
            event.details.push(("removedBytes", tail.torn.to_string()));
            sink.record(event)?;
        }
        Ok(sink)
    }

    /// The end of the chain so far; kept on another machine, it shows a trail that was cut short.
    #[must_use]
    pub fn head(&self) -> Head {
        self.lock().head
    }

    /// Puts everything recorded so far on the disk.
    ///
    /// # Errors
    /// [`AuditError::Io`], and the sink has ended; [`AuditError::Ended`] if it had.
    pub fn sync(&self) -> Result<(), AuditError> {
        let mut state = self.lock();
        self.commit(&mut state, |file| file.sync_data())?;
        state.synced = Instant::now();
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step on the file; its failure is the last thing this sink does.
    fn commit(
        &self,
        state: &mut State,
        step: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), AuditError> {
        if state.ended {
            return Err(AuditError::Ended {
                path: self.path.clone(),
            });
        }
        step(&mut state.file).map_err(|error| {
            state.ended = true;
            AuditError::Io {
                path: self.path.clone(),
                reason: error.to_string(),
            }
        })
    }
}

impl Sink for FileSink {
    fn record(&self, event: Event) -> Result<(), AuditError> {
        let mut state = self.lock();
        let seq = state.head.seq + 1;
        let mut line = event.line(seq, &state.head.hash).into_bytes();
        if line.len() >= MAX_LINE {
            return Err(AuditError::Broken {
                line: seq,
                reason: "an event longer than a line of a trail may be",
            });
        }
        let hash = Sha256::digest(&line).into();
        line.push(b'\n');
        let due = match self.sync {
            SyncPolicy::EachEvent => true,
            SyncPolicy::AtLeastEvery(interval) => state.synced.elapsed() >= interval,
        };
        self.commit(&mut state, |file| {
            file.write_all(&line)?;
            if due { file.sync_data() } else { Ok(()) }
        })?;
        if due {
            state.synced = Instant::now();
        }
        state.head = Head { seq, hash };
        Ok(())
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("path", &self.path)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_failed_write_is_the_last_thing_a_sink_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let sink = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
        sink.record(Event::new(name::DECRYPT)).unwrap();
        let head = sink.head();
        let writable = std::mem::replace(&mut sink.lock().file, File::open(&path).unwrap());
        let answer = sink.record(Event::new(name::DECRYPT));
        assert!(matches!(answer, Err(AuditError::Io { .. })));
        sink.lock().file = writable;
        let answer = sink.record(Event::new(name::DECRYPT));
        assert!(matches!(answer, Err(AuditError::Ended { .. })));
        assert!(matches!(sink.sync(), Err(AuditError::Ended { .. })));
        assert_eq!(sink.head(), head);
    }
}

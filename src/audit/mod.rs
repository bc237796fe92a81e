//! The audit trail: what was done with which key, for whom, and how it ended. Layer 1.
//!
//! A [`Sink`] takes [`Event`]s. [`FileSink`] writes them as JSON lines, each naming the SHA-256 of
//! the line before it, so that a line changed, dropped, inserted or moved shows in [`verify`]. A cut
//! at the end shows only against a head kept elsewhere: keep [`FileSink::head`] on another machine.
//!
//! Events hold identifiers and outcomes. No field can hold key bytes.

mod event;
mod file;
mod json;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Mutex, PoisonError};

pub use event::{Event, Outcome, name};
pub use file::{FileSink, Head, SyncPolicy};
pub use verify::{Summary, verify};

/// Where events go.
///
/// A sink that fails must say so: a keyring releases no key whose use it could not record.
pub trait Sink: Send + Sync {
    /// Takes one event; when this returns, the event is as durable as the sink promises.
    ///
    /// # Errors
    /// [`AuditError`]: the event may not be on record.
    fn record(&self, event: Event) -> Result<(), AuditError>;
}

/// Why the trail could not be written or did not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The operating system refused; writing has ended until the sink is opened anew.
    #[error("audit trail {path}: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        reason: String,
    },
    /// Another process is writing this trail.
    #[error("audit trail {path} is being written by another process; one writer at a time")]
    InUse {
        /// The file.
        path: String,
    },
    /// An earlier write failed, so what follows could not be chained to it.
    #[error("audit trail {path}: an earlier write failed; repair the disk and open it anew")]
    Ended {
        /// The file.
        path: String,
    },
    /// The chain is broken.
    #[error("audit trail broken at line {line}: {reason}")]
    Broken {
        /// Which line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Takes every event and keeps none; for programs that keep their own trail.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn record(&self, _event: Event) -> Result<(), AuditError> {
        Ok(())
    }
}

/// Keeps every event in memory, without bound; for tests.
#[derive(Debug, Default)]
pub struct MemorySink(Mutex<Vec<Event>>);

impl MemorySink {
    /// A copy of what was recorded so far, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Sink for MemorySink {
    fn record(&self, event: Event) -> Result<(), AuditError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
        Ok(())
    }
}

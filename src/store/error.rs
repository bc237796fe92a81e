//! What a store can answer instead of a result.

use std::io;

/// Why a store did not do what it was asked.
///
/// The kinds differ in what the caller may conclude about the state of the store, which decides what it may do
/// next. The text names the file or the record, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Away, closed, locked by another process: certainly nothing happened.
    #[error("store unavailable, nothing was changed: {0}")]
    Unavailable(String),
    /// It may have happened and may yet become visible after a restart: the caller deletes nothing.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// A write or an fsync of this file failed: nothing is written to it until a restart; reads go on.
    #[error("no more writes until a restart: {0}")]
    WritePathEnded(String),
    /// No space, or a quota is used up: nothing was changed.
    #[error("no space left, nothing was changed: {0}")]
    Full(String),
    /// A row or a file is not what was once written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// No such blob, record or row.
    #[error("not found: {0}")]
    NotFound(String),
    /// There is one already, or there was one that is gone for good.
    #[error("exists already: {0}")]
    Exists(String),
    /// Compare-and-swap lost: the value is no longer the expected one.
    #[error("changed by someone else: {0}")]
    Stale(String),
    /// Made by a newer release, or not one of this store's files at all.
    #[error("cannot use this store: {0}")]
    Unsupported(String),
    /// The operating system refused a read, or a write that had no effect yet.
    #[error("input/output error: {0}")]
    Io(String),
}

impl StoreError {
    /// An operating system error while doing `what`; out of space and out of quota are [`StoreError::Full`].
    #[must_use]
    pub fn from_io(what: &str, error: &io::Error) -> Self {
        let text = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(text),
            io::ErrorKind::NotFound => Self::NotFound(text),
            io::ErrorKind::AlreadyExists => Self::Exists(text),
            _ => Self::Io(text),
        }
    }
}

impl From<getrandom::Error> for StoreError {
    fn from(error: getrandom::Error) -> Self {
        Self::Unavailable(format!("the kernel's random source: {error}"))
    }
}

//! What an error of SQLite means for the store.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(text),
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::SystemIoFailure) => Self::Io(text),
            Some(_) => Self::Unavailable(text),
            // No code of SQLite's: a value is not of the type its column has.
            None => Self::Damaged(text),
        }
    }
}

/// Adds the file to those errors that speak of the file.
pub(super) fn in_file(path: &Path, error: StoreError) -> StoreError {
    use StoreError::{Damaged, Full, Io, Unavailable, Unsupported};
    let add = |text: String| format!("{}: {text}", path.display());
    match error {
        Unavailable(text) => Unavailable(add(text)),
        Full(text) => Full(add(text)),
        Damaged(text) => Damaged(add(text)),
        Io(text) => Io(add(text)),
        Unsupported(text) => Unsupported(add(text)),
        other => other,
    }
}

//! Sealed objects: streams, ranges, files and batches over the segments of `format`.
//!
//! A blob is sealed by [`BlobSealer`] and opened by [`BlobOpener`] (any range, by position) or [`StreamOpener`] (front to
//! back, length unknown). None of them does I/O: bytes go in, bytes come out, each call is bounded work. Long runs of
//! segments go over all cores.

mod adapters;
mod batch;
mod error;
mod file;
mod opener;
mod plain;
mod sealer;
mod stream_opener;

pub use adapters::{OpenReader, SealWriter};
pub use error::ObjectError;
pub use file::{
    FileError, FileKeys, FileOptions, FileSummary, Job, Source, Target, open_file, open_many,
    seal_file, seal_many,
};
pub use opener::{BlobOpener, Plan};
pub use sealer::{BlobSealer, BlobSummary};
pub use stream_opener::StreamOpener;

#[cfg(test)]
mod tests;

//! Where the bytes of a blob come from.

use std::ops::Range;
use std::sync::Arc;

use super::find::{Found, Miss};
use super::{Vault, VaultError};
use crate::store::{BlobReader, BlobRef, BlobStore, Locator};

/// A blob open for reading.
pub(super) enum Source {
    /// In the row, at this place among those that are.
    Inline(Arc<Found>, usize),
    Blob(Box<dyn BlobReader>),
}

impl Vault {
    pub(super) fn source(&self, found: &Arc<Found>, blob: &BlobRef) -> Result<Source, Miss> {
        let mut inline = found.view.inline.iter();
        match inline.position(|(id, _)| *id == blob.id) {
            Some(at) => Ok(Source::Inline(Arc::clone(found), at)),
            None => self.source_of_blob(blob),
        }
    }

    /// A blob that is not inline.
    pub(super) fn source_of_blob(&self, blob: &BlobRef) -> Result<Source, Miss> {
        Ok(Source::Blob(self.store_of(&blob.locator)?.open(blob)?))
    }

    /// The store that keeps what has this locator.
    pub(super) fn store_of(&self, locator: &Locator) -> Result<&dyn BlobStore, VaultError> {
        match locator {
            Locator::Archive => self.archive(),
            _ => Ok(&*self.stores.blobs),
        }
    }

    /// The archive, if there is one.
    pub(super) fn archive(&self) -> Result<&dyn BlobStore, VaultError> {
        self.stores
            .archive
            .as_deref()
            .ok_or_else(|| VaultError::Unavailable("no archive is configured".to_owned()))
    }
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Inline(found, at) => inline(found, *at).len() as u64,
            Self::Blob(reader) => reader.len(),
        }
    }

    /// All of `range`; a source that ends before is damaged.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Miss> {
        let short = || Miss::Damaged("its blob ends too early".to_owned());
        let len = usize::try_from(range.end - range.start).map_err(|_| short())?;
        match self {
            Self::Inline(found, at) => {
                let start = usize::try_from(range.start).map_err(|_| short())?;
                let bytes = inline(found, *at)
                    .get(start..)
                    .and_then(|bytes| bytes.get(..len));
                bytes.map(<[u8]>::to_vec).ok_or_else(short)
            }
            Self::Blob(reader) => {
                let mut bytes = vec![0; len];
                let mut at = 0;
                while at < len {
                    match reader.read_at(range.start + at as u64, &mut bytes[at..])? {
                        0 => return Err(short()),
                        read => at += read,
                    }
                }
                Ok(bytes)
            }
        }
    }
}

fn inline(found: &Found, at: usize) -> &[u8] {
    found.view.inline.get(at).map_or(&[], |(_, bytes)| bytes)
}

//! Copying from one object to another, with fresh keys, a batch at a time.

use std::sync::Arc;

use super::put::PutStream;
use super::read::ObjectReader;
use super::types::{CommitRequest, Committed, OpenRequest, PutRequest};
use super::{Vault, VaultError};

impl PutStream {
    /// Copies the next batch of `source`, from `offset` on, and returns how many bytes that was; 0 at its end.
    ///
    /// # Errors
    /// As [`ObjectReader::read_at`] and [`PutStream::write`].
    pub fn write_from(
        &mut self,
        source: &mut ObjectReader,
        offset: u64,
    ) -> Result<usize, VaultError> {
        self.draft.write_from(source, offset..u64::MAX)
    }
}

impl Vault {
    /// Copies a whole object: opened under its own keys, sealed under new ones. Memory stays at a batch or two. A caller
    /// who must not be held for as long as that takes drives [`PutStream::write_from`] instead.
    ///
    /// # Errors
    /// As [`Vault::open`], [`Vault::put`] and [`PutStream::commit`].
    pub fn copy(
        self: &Arc<Self>,
        from: OpenRequest<'_>,
        to: PutRequest,
        commit: CommitRequest,
    ) -> Result<Committed, VaultError> {
        let mut source = self.open(from)?;
        let mut target = self.put(to)?;
        let mut offset = 0;
        loop {
            match target.write_from(&mut source, offset)? {
                0 => return target.commit(commit),
                copied => offset += copied as u64,
            }
        }
    }
}

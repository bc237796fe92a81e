//! Keys under a root that the request names: one generation of the bucket's key for each such root, made when it is
//! first asked for.
//!
//! Which generation belongs to which root is a document of the bucket. It is written last: what a crash leaves before
//! that is a generation that nobody uses, and whose number the next attempt passes over.

use std::str::FromStr;
use std::sync::Arc;

use super::{Vault, VaultError};
use crate::id::RootId;
use crate::keys::{BucketKey, BucketKeyRecord, KeyState, Purpose};
use crate::store::{Bucket, GenerationState, StoreError};

impl Vault {
    /// The key that wraps new data keys of `bucket` under `root`.
    pub(super) fn key_under_root(
        &self,
        bucket: &Bucket,
        root: RootId,
        principal: &str,
    ) -> Result<Arc<BucketKey>, VaultError> {
        if self.keyring.roots().iter().all(|known| known.id != root) {
            return Err(VaultError::NoSuchRoot(root));
        }
        for _ in 0..ATTEMPTS {
            let (revision, mut known) = self.kms_generations(bucket)?;
            if let Some((_, generation)) = known.iter().find(|(of, _)| *of == root) {
                return self.fetch_key(bucket, *generation, Purpose::Wrap, principal);
            }
            let Some(generation) = self.make_generation(bucket, &known, root, principal)? else {
                continue;
            };
            known.push((root, generation));
            match self.put_document(Some(bucket), DOCUMENT, revision, Some(&encode(&known))) {
                Ok(_) | Err(VaultError::PreconditionFailed) => {} // another may have been quicker: look again
                Err(error) => return Err(error),
            }
        }
        Err(VaultError::Unavailable(format!(
            "the keys of bucket {:?} do not stand still",
            bucket.name
        )))
    }

    /// Roots and their generations, and the revision of the document that says so.
    fn kms_generations(&self, bucket: &Bucket) -> Result<(Option<u64>, Known), VaultError> {
        match self.document(Some(bucket), DOCUMENT)? {
            None => Ok((None, Vec::new())),
            Some((revision, bytes)) => {
                let known = decode(&bytes).ok_or_else(|| {
                    VaultError::ReadOnly(format!(
                        "bucket {:?}: its document {DOCUMENT:?} cannot be read",
                        bucket.name
                    ))
                })?;
                Ok((Some(revision), known))
            }
        }
    }

    /// Makes the next generation of the bucket's key under `root` alone. `None`: another took its number, just now.
    fn make_generation(
        &self,
        bucket: &Bucket,
        known: &[(RootId, u32)],
        root: RootId,
        principal: &str,
    ) -> Result<Option<u32>, VaultError> {
        let highest = known.iter().map(|(_, generation)| *generation).max();
        let mut generation = highest.unwrap_or(0).max(bucket.generation);
        let keys = &self.stores.keys;
        let left_behind = loop {
            generation = generation.checked_add(1).ok_or_else(|| {
                VaultError::ReadOnly(format!("bucket {:?} has no generation left", bucket.name))
            })?;
            if self
                .stores
                .catalog
                .generation(bucket.id, generation)?
                .is_some()
            {
                continue;
            }
            match keys.fetch_bucket(bucket.id, generation)?.bucket_key {
                None => break false,
                Some(record) if is_under(&record, root) => break true, // by an attempt that a crash ended
                Some(_) => {}
            }
        };
        if !left_behind {
            let record = self
                .keyring
                .create_bucket_key_under(bucket.id, generation, &[root], principal)
                .map_err(|error| self.bucket_key_error(&bucket.name, error))?;
            match keys.insert_bucket_key(bucket.id, generation, &record) {
                Ok(()) => {}
                Err(StoreError::Exists(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let state = GenerationState {
            generation,
            rev: 1,
            state: KeyState::Active.code(),
        };
        match self
            .stores
            .catalog
            .set_generation(bucket.id, None, state, false)
        {
            Ok(()) => Ok(Some(generation)),
            Err(StoreError::Stale(_)) => Ok(None),
            Err(StoreError::NotFound(_)) => Err(VaultError::NoSuchBucket(bucket.name.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

/// Roots and their generations.
type Known = Vec<(RootId, u32)>;

/// Whether this root, and no other, wraps the key of a record.
fn is_under(record: &[u8], root: RootId) -> bool {
    let wraps = BucketKeyRecord::parse(record).map(|record| record.wraps);
    wraps.is_ok_and(|wraps| matches!(wraps.as_slice(), [wrap] if wrap.root == root))
}

/// One line for each root: its id in hexadecimal, a space, the generation.
fn encode(known: &[(RootId, u32)]) -> Vec<u8> {
    let lines = known
        .iter()
        .map(|(root, generation)| format!("{root} {generation}\n"));
    lines.collect::<String>().into_bytes()
}

/// Nothing if any line is not one that [`encode`] makes.
fn decode(bytes: &[u8]) -> Option<Known> {
    let text = std::str::from_utf8(bytes).ok()?;
    let known = text.lines().map(|line| {
        let (root, generation) = line.split_once(' ')?;
        Some((parse_root(root)?, u32::from_str(generation).ok()?))
    });
    let known: Known = known.collect::<Option<_>>()?;
    (encode(&known) == bytes).then_some(known)
}

/// The root that a catalog row names as its key id (F-45).
pub(super) fn root_of(kms_key_id: &[u8]) -> Option<RootId> {
    parse_root(std::str::from_utf8(kms_key_id).ok()?)
}

fn parse_root(text: &str) -> Option<RootId> {
    let mut id = [0; 16];
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != id.len() || !rest.is_empty() {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(RootId(id))
}

const DOCUMENT: &str = "kms-generations";
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_document_has_one_form() {
        let known = vec![(RootId([0xab; 16]), 2), (RootId([0; 16]), u32::MAX)];
        let bytes = encode(&known);
        assert_eq!(decode(&bytes).unwrap(), known);
        assert_eq!(decode(b"").unwrap(), []);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_none_or(|fewer| fewer.len() < known.len()));
        }
        for wrong in [
            "AB".repeat(16) + " 2\n",
            "ab".repeat(16) + " 02\n",
            "ab".repeat(16) + " +2\n",
        ] {
            assert!(decode(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}

//! The same version under another key, or in another place: its bytes, its label and its dates stay.

use std::collections::HashMap;

use super::Which;
use crate::id::{BlobId, BucketId, InstanceId};
use crate::store::{BlobRef, Locator, StoreError};

/// Another instance for a version: the data key it has, wrapped anew under a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Vec<u8>,
    /// The version.
    pub which: Which,
    /// The instance it has.
    pub old: InstanceId,
    /// The instance it gets.
    pub instance: InstanceId,
    /// How its data key is protected.
    pub mode: u8,
    /// The bucket key generation of the new record.
    pub generation: u32,
    /// Part of the context its key is bound to.
    pub kms_key_id: Vec<u8>,
    /// Part of the context its key is bound to.
    pub encryption_context: Vec<u8>,
    /// Its attributes, sealed anew.
    pub attrs: Vec<u8>,
    /// Attributes of its parts, sealed anew; empty for none.
    pub part_attrs: Vec<u8>,
    /// The facts it has to have, and those it gets; `None` leaves them, whatever they are.
    pub facts: Option<(Vec<u8>, Vec<u8>)>,
    /// The writer's incarnation.
    pub incarnation: u64,
    /// The time now.
    pub now_ms: u64,
}

/// Other places for the bytes of a version, and the facts that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Vec<u8>,
    /// The version.
    pub which: Which,
    /// The instance it has.
    pub instance: InstanceId,
    /// The facts it has.
    pub expected_facts: Vec<u8>,
    /// Its blobs from now on; `None` leaves them.
    pub blobs: Option<Vec<BlobRef>>,
    /// Its restored copy from now on, empty for none; `None` leaves it.
    pub restored: Option<Vec<BlobRef>>,
    /// Its facts from now on.
    pub facts: Vec<u8>,
    /// The writer's incarnation.
    pub incarnation: u64,
    /// The time now.
    pub now_ms: u64,
}

impl Replacement {
    /// The facts of a version that had these.
    pub(in crate::store) fn facts_after(&self, before: &[u8]) -> Result<Vec<u8>, StoreError> {
        match &self.facts {
            Some((expected, _)) if expected != before => {
                Err(StoreError::Stale(format!("facts of instance {}", self.old)))
            }
            Some((_, facts)) => Ok(facts.clone()),
            None => Ok(before.to_vec()),
        }
    }
}

/// What a relocation does to the blobs of a row.
#[derive(Debug)]
pub(in crate::store) struct Moves {
    pub(in crate::store) blobs: Vec<BlobRef>,
    pub(in crate::store) restored: Vec<BlobRef>,
    /// To be named.
    pub(in crate::store) added: Vec<BlobRef>,
    /// To be removed.
    pub(in crate::store) left: Vec<BlobRef>,
}

impl Relocation {
    /// What it does to a row with these blobs and this restored copy.
    pub(in crate::store) fn moves(
        &self,
        blobs: &[BlobRef],
        restored: &[BlobRef],
    ) -> Result<Moves, StoreError> {
        let old = [blobs, restored].concat();
        let blobs = self.blobs.as_deref().unwrap_or(blobs).to_vec();
        let restored = self.restored.as_deref().unwrap_or(restored).to_vec();
        let new = [&blobs[..], &restored].concat();
        let mut ids: Vec<_> = new.iter().map(|blob| blob.id).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).any(|pair| pair.first() == pair.last());
        // A row may have ten thousand blobs.
        let by_id = |blobs: &[BlobRef]| -> HashMap<BlobId, BlobRef> {
            blobs.iter().map(|blob| (blob.id, blob.clone())).collect()
        };
        let (before, after) = (by_id(&old), by_id(&new));
        let missing =
            |from: &HashMap<BlobId, BlobRef>, blob: &BlobRef| from.get(&blob.id) != Some(blob);
        let mut added = new;
        added.retain(|blob| missing(&before, blob));
        let mut left = old;
        left.retain(|blob| missing(&after, blob));
        if twice || added.iter().any(|blob| blob.locator == Locator::Inline) {
            return Err(StoreError::Unsupported(format!(
                "instance {}: bytes move to blobs of their own, each named once",
                self.instance
            )));
        }
        Ok(Moves {
            blobs,
            restored,
            added,
            left,
        })
    }
}

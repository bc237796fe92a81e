//! The same version under another key, or in another place.

use super::history::Object;
use super::{State, missing, stale};
use crate::id::{BucketId, InstanceId};
use crate::store::{CommitError, Garbage, Relocation, Replacement, Which};

impl State {
    pub(super) fn replace_instance(&mut self, change: Replacement) -> Result<Garbage, CommitError> {
        let object = self.found(change.bucket, &change.key, change.which, change.old)?;
        let facts = change.facts_after(&object.row.facts)?;
        self.may_name(change.incarnation, Some(change.instance), &[])?;
        self.named_instances.insert(change.instance);
        let object = self.found(change.bucket, &change.key, change.which, change.old)?;
        object.row.instance = change.instance;
        object.row.mode = change.mode;
        object.row.generation = change.generation;
        object.row.kms_key_id = change.kms_key_id;
        object.row.encryption_context = change.encryption_context;
        object.row.attrs = change.attrs;
        object.row.facts = facts;
        object.part_attrs = change.part_attrs;
        Ok(self.discard(change.bucket, Some(change.old), Vec::new(), change.now_ms))
    }

    pub(super) fn relocate(&mut self, change: Relocation) -> Result<Option<Garbage>, CommitError> {
        let object = self.found(change.bucket, &change.key, change.which, change.instance)?;
        if object.row.facts != change.expected_facts {
            return Err(stale().into());
        }
        let moves = change.moves(&object.row.blobs, &object.row.restored)?;
        let added: Vec<_> = moves.added.iter().map(|blob| blob.id).collect();
        self.may_name(change.incarnation, None, &added)?;
        self.named_blobs.extend(added);
        let object = self.found(change.bucket, &change.key, change.which, change.instance)?;
        (object.row.blobs, object.row.restored) = (moves.blobs, moves.restored);
        object.row.facts = change.facts;
        let blobs = &object.row.blobs;
        object
            .inline
            .retain(|(id, _)| blobs.iter().any(|blob| blob.id == *id));
        if moves.left.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.discard(
            change.bucket,
            None,
            moves.left,
            change.now_ms,
        )))
    }

    fn found(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        instance: InstanceId,
    ) -> Result<&mut Object, CommitError> {
        self.versioning(bucket)?;
        let object = self.object_mut(bucket, key, which).ok_or_else(missing)?;
        if object.row.instance != instance {
            return Err(stale().into());
        }
        Ok(object)
    }
}

//! Commits, deletions and reads.

use super::history::{Kept, Object, current, place};
use super::{State, exists};
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::{
    Commit, CommitError, Committed, Deleted, Garbage, Judged, Marker, ObjectView, Precondition,
    Standing, StoreError, Version, VersionView, Versioning, Which, incarnation_of,
};

impl State {
    pub(super) fn commit(&mut self, commit: Commit) -> Result<Committed, CommitError> {
        let Commit {
            bucket,
            incarnation,
            mut row,
            inline,
            part_attrs,
            completes,
            precondition,
            now_ms,
        } = commit;
        let versioning = self.versioning(bucket)?;
        let ids: Vec<BlobId> = row.blobs.iter().map(|blob| blob.id).collect();
        let left = if let Some(claim) = &completes {
            self.may_name(incarnation, None, &[])?;
            self.unchosen(bucket, &row, claim)?
        } else {
            self.may_name(incarnation, Some(row.instance), &ids)?;
            Vec::new()
        };
        if !precondition.holds(self.visible(bucket, &row.key)) {
            return Err(CommitError::Precondition);
        }
        let (key, version, instance) = (row.key.clone(), row.version, row.instance);
        self.free_label(bucket, &key, versioning, version)?;
        row.null = versioning != Versioning::Enabled;
        let null = row.null;
        let mut garbage = Vec::new();
        if completes.is_some() {
            self.uploads.remove(&instance);
        }
        if !left.is_empty() {
            garbage.push(self.discard(bucket, None, left, now_ms));
        }
        let object = Box::new(Object {
            row,
            inline,
            part_attrs,
        });
        garbage.extend(self.put(bucket, &key, versioning, Some(Kept::Object(object)), now_ms));
        self.named_instances.insert(instance);
        self.named_blobs.extend(ids);
        Ok(Committed { null, garbage })
    }

    pub(super) fn delete(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
        marker: VersionId,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        let versioning = self.versioning(bucket)?;
        if !precondition.holds(self.visible(bucket, key)) {
            return Err(CommitError::Precondition);
        }
        if let Some(judged) = judged {
            let history = self.keys.get(&(bucket, key.to_vec()));
            let object = history.and_then(|history| current(history));
            judged
                .check_current(object.map(|object| (object.row.version, &object.row.facts[..])))?;
        }
        self.free_label(bucket, key, versioning, marker)?;
        let marker = (versioning != Versioning::Off).then(|| Marker {
            key: key.to_vec(),
            version: marker,
            null: versioning == Versioning::Suspended,
            modified_ms: now_ms,
        });
        let kept = marker.clone().map(Kept::Marker);
        let garbage = self.put(bucket, key, versioning, kept, now_ms);
        Ok(Deleted { garbage, marker })
    }

    /// Whether a version that keeps its label may come on top of a key.
    fn free_label(
        &self,
        bucket: BucketId,
        key: &[u8],
        versioning: Versioning,
        label: VersionId,
    ) -> Result<(), StoreError> {
        let history = self.keys.get(&(bucket, key.to_vec()));
        let taken = history.is_some_and(|history| place(history, Which::Label(label)).is_some());
        if taken && versioning == Versioning::Enabled {
            return Err(exists());
        }
        Ok(())
    }

    /// Puts a version on top of a key, or nothing, and does with the former ones what the bucket's versioning says.
    fn put(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        versioning: Versioning,
        kept: Option<Kept>,
        now_ms: u64,
    ) -> Option<Garbage> {
        let history = self.keys.entry((bucket, key.to_vec())).or_default();
        let null = place(history, Which::Null).filter(|_| versioning != Versioning::Enabled);
        let gone = null.map(|at| history.remove(at));
        if let Some(kept) = kept {
            history.insert(0, kept);
        } else if history.is_empty() {
            self.keys.remove(&(bucket, key.to_vec()));
        }
        self.drop_version(bucket, gone?, now_ms)
    }

    pub(super) fn delete_version(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        self.versioning(bucket)?;
        let at = (bucket, key.to_vec());
        let Some(history) = self.keys.get_mut(&at) else {
            return Ok(Deleted::default());
        };
        let Some(index) = place(history, which) else {
            return Ok(Deleted::default());
        };
        match (history.get(index), judged) {
            (Some(Kept::Object(object)), Some(judged)) => {
                judged.check(object.row.version, Some(&object.row.facts))?;
            }
            (Some(Kept::Marker(marker)), Some(judged)) => judged.check(marker.version, None)?,
            _ => {}
        }
        let gone = history.remove(index);
        if history.is_empty() {
            self.keys.remove(&at);
        }
        let marker = match &gone {
            Kept::Object(_) => None,
            Kept::Marker(marker) => Some(marker.clone()),
        };
        let garbage = self.drop_version(bucket, gone, now_ms);
        Ok(Deleted { garbage, marker })
    }

    fn drop_version(&mut self, bucket: BucketId, gone: Kept, now_ms: u64) -> Option<Garbage> {
        let Kept::Object(object) = gone else {
            return None;
        };
        let blobs = [object.row.blobs, object.row.restored].concat();
        Some(self.discard(bucket, Some(object.row.instance), blobs, now_ms))
    }

    pub(super) fn object(&self, bucket: BucketId, key: &[u8]) -> Option<ObjectView> {
        let history = self.keys.get(&(bucket, key.to_vec()))?;
        current(history).map(|object| self.view(bucket, object))
    }

    pub(super) fn version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Option<VersionView> {
        let history = self.keys.get(&(bucket, key.to_vec()))?;
        let index = place(history, which)?;
        Some(VersionView {
            is_current: index == 0,
            version: match history.get(index)? {
                Kept::Object(object) => Version::Object(Box::new(self.view(bucket, object))),
                Kept::Marker(marker) => Version::Marker(marker.clone()),
            },
        })
    }

    pub(super) fn object_mut(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Option<&mut Object> {
        let history = self.keys.get_mut(&(bucket, key.to_vec()))?;
        let index = place(history, which)?;
        match history.get_mut(index)? {
            Kept::Object(object) => Some(object),
            Kept::Marker(_) => None,
        }
    }

    pub(super) fn part_attrs(&self, instance: InstanceId) -> Option<Vec<u8>> {
        let mut objects = self.keys.values().flatten().filter_map(Kept::object);
        let found = objects.find(|object| object.row.instance == instance)?;
        (!found.part_attrs.is_empty()).then(|| found.part_attrs.clone())
    }

    fn view(&self, bucket: BucketId, object: &Object) -> ObjectView {
        let key = (bucket, object.row.generation);
        ObjectView {
            row: object.row.clone(),
            generation: self.generations.get(&key).copied(),
            inline: object.inline.clone(),
        }
    }

    fn visible(&self, bucket: BucketId, key: &[u8]) -> Option<InstanceId> {
        let history = self.keys.get(&(bucket, key.to_vec()))?;
        current(history).map(|object| object.row.instance)
    }

    pub(super) fn versioning(&self, bucket: BucketId) -> Result<Versioning, CommitError> {
        let bucket = self.bucket(bucket).ok_or(CommitError::NoSuchBucket)?;
        Ok(bucket.versioning)
    }

    /// Whether a writer may name an instance and blobs.
    pub(super) fn may_name(
        &self,
        incarnation: u64,
        instance: Option<InstanceId>,
        blobs: &[BlobId],
    ) -> Result<(), CommitError> {
        let makers = blobs.iter().map(|id| incarnation_of(*id));
        let may_not = |writer| {
            let standing = self.standing(writer, 0);
            matches!(standing, Standing::Closed | Standing::Unknown)
        };
        if makers.chain([incarnation]).any(may_not)
            || instance.is_some_and(|id| self.condemned_instances.contains_key(&id))
            || blobs.iter().any(|id| self.condemned_blobs.contains(id))
        {
            return Err(CommitError::Condemned);
        }
        if instance.is_some_and(|id| self.named_instances.contains(&id))
            || blobs.iter().any(|id| self.named_blobs.contains(id))
        {
            return Err(exists().into());
        }
        Ok(())
    }
}

//! The catalog in memory.

mod history;
mod listing;
mod objects;
mod places;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::{
    BlobRef, Bucket, Catalog, Commit, CommitError, Committed, DeleteBucketError, Deleted, Garbage,
    GenerationState, Judged, KeyStoreSeen, ListPage, ListQuery, ObjectView, PartRow, Precondition,
    Relocation, Replacement, Standing, StoreError, StoreIdentity, Upload, UploadsPage,
    UploadsQuery, VersionView, Versioning, VersionsPage, VersionsQuery, Which, incarnation_of,
    maker_of,
};
use history::History;
use uploads::Making;

/// The catalog in memory.
#[derive(Debug, Clone)]
pub struct MemoryCatalog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    id: [u8; 16],
    key_store: Option<([u8; 16], u64)>,
    changes: u64,
    garbage_count: u64,
    nodes: BTreeMap<u64, Node>,
    tasks: BTreeMap<String, Task>,
    buckets: BTreeMap<String, Bucket>,
    deleted: BTreeSet<BucketId>,
    generations: BTreeMap<(BucketId, u32), GenerationState>,
    documents: BTreeMap<(Option<BucketId>, String), (u64, Vec<u8>)>,
    /// The versions of each key that has any.
    keys: BTreeMap<(BucketId, Vec<u8>), History>,
    uploads: BTreeMap<InstanceId, Making>,
    garbage: BTreeMap<u64, Garbage>,
    named_instances: BTreeSet<InstanceId>,
    named_blobs: BTreeSet<BlobId>,
    condemned_instances: BTreeMap<InstanceId, u64>,
    condemned_blobs: BTreeSet<BlobId>,
}

#[derive(Debug)]
struct Node {
    expires_ms: u64,
    closed: bool,
}

#[derive(Debug)]
struct Task {
    holder: u64,
    expires_ms: u64,
    token: u64,
}

impl MemoryCatalog {
    /// An empty catalog.
    ///
    /// # Errors
    /// The kernel's random source cannot be read.
    pub fn new() -> Result<Self, StoreError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self(Arc::new(Mutex::new(State {
            id,
            ..State::default()
        }))))
    }
}

impl State {
    fn standing(&self, incarnation: u64, now_ms: u64) -> Standing {
        match self.nodes.get(&incarnation) {
            None => Standing::Unknown,
            Some(node) if node.closed => Standing::Closed,
            Some(node) if node.expires_ms > now_ms => Standing::Live,
            Some(_) => Standing::Dead,
        }
    }

    fn bucket(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.values().find(|bucket| bucket.id == id)
    }

    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn discard(
        &mut self,
        bucket: BucketId,
        instance: Option<InstanceId>,
        blobs: Vec<BlobRef>,
        since_ms: u64,
    ) -> Garbage {
        self.garbage_count += 1;
        let id = self.garbage_count;
        let garbage = Garbage {
            id,
            bucket,
            instance,
            blobs,
            since_ms,
        };
        self.garbage.insert(id, garbage.clone());
        garbage
    }
}

fn exists() -> StoreError {
    StoreError::Exists(String::new())
}

fn missing() -> StoreError {
    StoreError::NotFound(String::new())
}

fn stale() -> StoreError {
    StoreError::Stale(String::new())
}

impl Catalog for MemoryCatalog {
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let state = lock(&self.0);
        Ok(StoreIdentity {
            id: state.id,
            epoch: state.nodes.len() as u64,
        })
    }

    fn key_store_seen(&self, id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError> {
        let mut state = lock(&self.0);
        Ok(match state.key_store {
            Some((other, _)) if other != id => KeyStoreSeen::Other { id: other },
            Some((_, seen)) if seen > epoch => KeyStoreSeen::Older { seen },
            _ => {
                state.key_store = Some((id, epoch));
                KeyStoreSeen::Current
            }
        })
    }

    fn register(&self, _name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        // Rows are never taken away.
        let incarnation = state.nodes.len() as u64 + 1;
        state.nodes.insert(
            incarnation,
            Node {
                expires_ms: now_ms + ttl_ms,
                closed: false,
            },
        );
        Ok(incarnation)
    }

    fn renew(&self, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError> {
        let mut state = lock(&self.0);
        let live = state.standing(incarnation, now_ms) == Standing::Live;
        if let Some(node) = state.nodes.get_mut(&incarnation).filter(|_| live) {
            node.expires_ms = now_ms + ttl_ms;
        }
        Ok(live)
    }

    fn release(&self, incarnation: u64) -> Result<(), StoreError> {
        if let Some(node) = lock(&self.0).nodes.get_mut(&incarnation) {
            node.expires_ms = 0;
        }
        Ok(())
    }

    fn dead_incarnations(&self, now_ms: u64) -> Result<Vec<u64>, StoreError> {
        let state = lock(&self.0);
        let dead = |incarnation: &u64| state.standing(*incarnation, now_ms) == Standing::Dead;
        Ok(state.nodes.keys().copied().filter(dead).collect())
    }

    fn standing(&self, incarnation: u64, now_ms: u64) -> Result<Standing, StoreError> {
        Ok(lock(&self.0).standing(incarnation, now_ms))
    }

    fn close(&self, incarnation: u64) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        state
            .nodes
            .get_mut(&incarnation)
            .ok_or_else(missing)?
            .closed = true;
        state
            .condemned_blobs
            .retain(|id| incarnation_of(*id) != incarnation);
        state
            .condemned_instances
            .retain(|_, writer| *writer != incarnation);
        Ok(())
    }

    fn task_lease(
        &self,
        task: &str,
        incarnation: u64,
        now_ms: u64,
        ttl_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let mut state = lock(&self.0);
        if state.standing(incarnation, now_ms) != Standing::Live {
            return Ok(None);
        }
        let token = match state.tasks.get(task) {
            Some(held) if held.expires_ms > now_ms && held.holder != incarnation => {
                return Ok(None);
            }
            Some(held) if held.expires_ms > now_ms => held.token,
            Some(held) => held.token + 1,
            None => 1,
        };
        let held = Task {
            holder: incarnation,
            expires_ms: now_ms + ttl_ms,
            token,
        };
        state.tasks.insert(task.to_owned(), held);
        Ok(Some(token))
    }

    fn change_counter(&self) -> Result<u64, StoreError> {
        Ok(lock(&self.0).changes)
    }

    fn create_bucket(&self, bucket: Bucket, generation: GenerationState) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let taken = state.bucket(bucket.id).is_some()
            || state.deleted.contains(&bucket.id)
            || state.standing(maker_of(bucket.id), 0) == Standing::Closed;
        if taken || state.buckets.contains_key(&bucket.name) {
            return Err(exists());
        }
        state.change();
        state
            .generations
            .insert((bucket.id, generation.generation), generation);
        state.buckets.insert(bucket.name.clone(), bucket);
        Ok(())
    }

    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        Ok(lock(&self.0).buckets.get(name).cloned())
    }

    fn bucket_by_id(&self, id: BucketId) -> Result<Option<Bucket>, StoreError> {
        Ok(lock(&self.0).bucket(id).cloned())
    }

    fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError> {
        let state = lock(&self.0);
        let rest = state
            .buckets
            .values()
            .filter(|bucket| after.is_none_or(|name| *bucket.name > *name));
        Ok(rest.take(limit).cloned().collect())
    }

    fn delete_bucket(&self, id: BucketId, now_ms: u64) -> Result<(), DeleteBucketError> {
        let mut state = lock(&self.0);
        let bucket = state.bucket(id).ok_or(DeleteBucketError::NotFound)?;
        let name = bucket.name.clone();
        if state.keys.keys().any(|(bucket, _)| *bucket == id) {
            return Err(DeleteBucketError::NotEmpty);
        }
        state.abort_all(id, now_ms);
        state.change();
        state.buckets.remove(&name);
        state.generations.retain(|(bucket, _), _| *bucket != id);
        state.documents.retain(|(bucket, _), _| *bucket != Some(id));
        state.deleted.insert(id);
        Ok(())
    }

    fn deleted_buckets(&self) -> Result<Vec<BucketId>, StoreError> {
        Ok(lock(&self.0).deleted.iter().copied().collect())
    }

    fn bucket_done(&self, bucket: BucketId) -> Result<(), StoreError> {
        lock(&self.0).deleted.remove(&bucket);
        Ok(())
    }

    fn generation(
        &self,
        bucket: BucketId,
        generation: u32,
    ) -> Result<Option<GenerationState>, StoreError> {
        Ok(lock(&self.0)
            .generations
            .get(&(bucket, generation))
            .copied())
    }

    fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let mut row = state.bucket(bucket).cloned().ok_or_else(missing)?;
        if row.versioning == versioning {
            return Ok(());
        }
        if versioning == Versioning::Off {
            return Err(StoreError::Unsupported(String::new()));
        }
        state.change();
        row.versioning = versioning;
        state.buckets.insert(row.name.clone(), row);
        Ok(())
    }

    fn set_generation(
        &self,
        bucket: BucketId,
        expected: Option<GenerationState>,
        new: GenerationState,
        make_active: bool,
    ) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let mut row = state.bucket(bucket).cloned().ok_or_else(missing)?;
        let key = (bucket, new.generation);
        if state.generations.get(&key).copied() != expected {
            return Err(stale());
        }
        state.change();
        state.generations.insert(key, new);
        if make_active {
            row.generation = new.generation;
            state.buckets.insert(row.name.clone(), row);
        }
        Ok(())
    }

    fn document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
    ) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        Ok(lock(&self.0)
            .documents
            .get(&(bucket, name.to_owned()))
            .cloned())
    }

    fn put_document(
        &self,
        bucket: Option<BucketId>,
        name: &str,
        expected: Option<u64>,
        bytes: Option<&[u8]>,
    ) -> Result<u64, StoreError> {
        let mut state = lock(&self.0);
        if bucket.is_some_and(|id| state.bucket(id).is_none()) {
            return Err(missing());
        }
        let key = (bucket, name.to_owned());
        if state.documents.get(&key).map(|(rev, _)| *rev) != expected {
            return Err(stale());
        }
        let rev = state.change();
        match bytes {
            Some(bytes) => state.documents.insert(key, (rev, bytes.to_vec())),
            None => state.documents.remove(&key),
        };
        Ok(rev)
    }

    fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        commit.check()?;
        lock(&self.0).commit(commit)
    }

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        Ok(lock(&self.0).object(bucket, key))
    }

    fn version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Result<Option<VersionView>, StoreError> {
        Ok(lock(&self.0).version(bucket, key, which))
    }

    fn part_attrs(&self, instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(lock(&self.0).part_attrs(instance))
    }

    fn set_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        let object = state
            .object_mut(bucket, key, which)
            .filter(|object| object.row.instance == instance)
            .ok_or_else(missing)?;
        if object.row.facts != expected {
            return Err(stale());
        }
        object.row.facts = facts.to_vec();
        Ok(())
    }

    fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
        marker: VersionId,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        lock(&self.0).delete(bucket, key, precondition, judged, marker, now_ms)
    }

    fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        lock(&self.0).delete_version(bucket, key, which, judged, now_ms)
    }

    fn replace_instance(&self, change: Replacement) -> Result<Garbage, CommitError> {
        lock(&self.0).replace_instance(change)
    }

    fn relocate(&self, change: Relocation) -> Result<Option<Garbage>, CommitError> {
        lock(&self.0).relocate(change)
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError> {
        Ok(lock(&self.0).list(query))
    }

    fn list_versions(&self, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError> {
        Ok(lock(&self.0).list_versions(query))
    }

    fn create_upload(&self, upload: Upload) -> Result<(), CommitError> {
        lock(&self.0).create_upload(upload)
    }

    fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
    ) -> Result<Option<Upload>, StoreError> {
        let state = lock(&self.0);
        let found = state.upload(bucket, key, instance);
        Ok(found.map(|making| making.upload.clone()))
    }

    fn put_part(&self, part: PartRow) -> Result<Option<Garbage>, CommitError> {
        lock(&self.0).put_part(part)
    }

    fn parts(
        &self,
        instance: InstanceId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PartRow>, StoreError> {
        let state = lock(&self.0);
        let parts = state.uploads.get(&instance).map(|making| &making.parts);
        let rest = parts.into_iter().flat_map(|parts| parts.values());
        let rest = rest.filter(|row| row.part > after);
        Ok(rest.take(limit).cloned().collect())
    }

    fn claim_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        claim: &[u8],
    ) -> Result<(), CommitError> {
        lock(&self.0).claim_upload(bucket, key, instance, claim)
    }

    fn abort_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        now_ms: u64,
    ) -> Result<Garbage, CommitError> {
        lock(&self.0).abort_upload(bucket, key, instance, now_ms)
    }

    fn list_uploads(&self, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError> {
        Ok(lock(&self.0).list_uploads(query))
    }

    fn uploads_before(
        &self,
        created_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        Ok(lock(&self.0).uploads_before(created_ms, after, limit))
    }

    fn garbage(&self, after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError> {
        let state = lock(&self.0);
        let rest = state.garbage.values().filter(|garbage| garbage.id > after);
        Ok(rest.take(limit).cloned().collect())
    }

    fn garbage_done(&self, ids: &[u64]) -> Result<(), StoreError> {
        let mut state = lock(&self.0);
        for id in ids {
            if let Some(garbage) = state.garbage.remove(id) {
                if let Some(instance) = garbage.instance {
                    state.named_instances.remove(&instance);
                }
                for blob in garbage.blobs {
                    state.named_blobs.remove(&blob.id);
                }
            }
        }
        Ok(())
    }

    fn condemn(&self, blob: BlobId) -> Result<bool, StoreError> {
        let mut state = lock(&self.0);
        let free = !state.named_blobs.contains(&blob);
        if free {
            state.condemned_blobs.insert(blob);
        }
        Ok(free)
    }

    fn condemn_instance(&self, instance: InstanceId, incarnation: u64) -> Result<bool, StoreError> {
        let mut state = lock(&self.0);
        let free = !state.named_instances.contains(&instance);
        if free {
            state
                .condemned_instances
                .entry(instance)
                .or_insert(incarnation);
        }
        Ok(free)
    }
}

//! A catalog with a fault.

use std::collections::BTreeMap;
use std::sync::Mutex;

use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::{
    Bucket, Catalog, Commit, CommitError, Committed, DeleteBucketError, Deleted, Garbage,
    GenerationState, Judged, KeyStoreSeen, ListItem, ListPage, ListQuery, ObjectView, PartRow,
    Precondition, Relocation, Replacement, Standing, StoreError, StoreIdentity, Upload,
    UploadsPage, UploadsQuery, VersionView, Versioning, VersionsPage, VersionsQuery, Which,
};

use super::{Fault, Plan, refused, spoil};

type Key = (BucketId, Vec<u8>);

pub(super) struct Faulty {
    inner: Box<dyn Catalog>,
    plan: Plan,
    seen: Mutex<BTreeMap<Key, Option<ObjectView>>>,
    asked: Mutex<Option<Key>>,
    held: Mutex<Option<Commit>>,
}

impl Faulty {
    pub(super) fn new(inner: Box<dyn Catalog>, plan: Plan) -> Self {
        let (seen, asked, held) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            inner,
            plan,
            seen,
            asked,
            held,
        }
    }
}

impl Catalog for Faulty {
    fn commit(&self, mut commit: Commit) -> Result<Committed, CommitError> {
        let nothing = Committed {
            null: true,
            garbage: Vec::new(),
        };
        if self.plan.now(Fault::LostAck) {
            return Ok(nothing);
        }
        if self.plan.now(Fault::TornRecord) {
            commit.row.manifest.truncate(commit.row.manifest.len() / 2);
        }
        if self.plan.now(Fault::Reorder) {
            *self.held.lock().unwrap() = Some(commit);
            return Ok(nothing);
        }
        let replaced = self.inner.commit(commit)?;
        if let Some(held) = self.held.lock().unwrap().take() {
            self.inner.commit(held)?;
        }
        if self.plan.now(Fault::ErrorAfterEffect) {
            refused::<()>()?;
        }
        Ok(replaced)
    }

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        let asked = (bucket, key.to_vec());
        let before = self.asked.lock().unwrap().replace(asked.clone());
        if self.plan.now(Fault::WrongId)
            && let Some((bucket, key)) = before
        {
            return self.inner.object(bucket, &key);
        }
        let view = self.inner.object(bucket, key)?;
        let mut seen = self.seen.lock().unwrap();
        let first = seen.entry(asked).or_insert_with(|| view.clone());
        match self.plan.fault {
            Fault::StaleRead => Ok(first.clone()),
            _ => Ok(view),
        }
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError> {
        self.plan.hang();
        let mut page = self.inner.list(query)?;
        spoil(&self.plan, &mut page.items);
        if self.plan.now(Fault::Phantom) {
            page.items.push(ListItem::Prefix(b"ghost".to_vec()));
        }
        Ok(page)
    }

    super::pass! {
        check() -> Result<(), StoreError>;
        identity() -> Result<StoreIdentity, StoreError>;
        key_store_seen(id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError>;
        register(name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError>;
        renew(incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError>;
        release(incarnation: u64) -> Result<(), StoreError>;
        dead_incarnations(now_ms: u64) -> Result<Vec<u64>, StoreError>;
        standing(incarnation: u64, now_ms: u64) -> Result<Standing, StoreError>;
        close(incarnation: u64) -> Result<(), StoreError>;
        task_lease(task: &str, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<Option<u64>, StoreError>;
        change_counter() -> Result<u64, StoreError>;
        create_bucket(bucket: Bucket, state: GenerationState) -> Result<(), StoreError>;
        bucket(name: &str) -> Result<Option<Bucket>, StoreError>;
        bucket_by_id(id: BucketId) -> Result<Option<Bucket>, StoreError>;
        buckets(after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError>;
        delete_bucket(bucket: BucketId, now_ms: u64) -> Result<(), DeleteBucketError>;
        deleted_buckets() -> Result<Vec<BucketId>, StoreError>;
        bucket_done(bucket: BucketId) -> Result<(), StoreError>;
        generation(bucket: BucketId, generation: u32) -> Result<Option<GenerationState>, StoreError>;
        set_generation(bucket: BucketId, expected: Option<GenerationState>, new: GenerationState, make_active: bool) -> Result<(), StoreError>;
        document(bucket: Option<BucketId>, name: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError>;
        put_document(bucket: Option<BucketId>, name: &str, expected: Option<u64>, bytes: Option<&[u8]>) -> Result<u64, StoreError>;
        set_versioning(bucket: BucketId, versioning: Versioning) -> Result<(), StoreError>;
        version(bucket: BucketId, key: &[u8], which: Which) -> Result<Option<VersionView>, StoreError>;
        part_attrs(instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError>;
        delete_version(bucket: BucketId, key: &[u8], which: Which, judged: Option<Judged<'_>>, now_ms: u64) -> Result<Deleted, CommitError>;
        list_versions(query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError>;
        set_facts(bucket: BucketId, key: &[u8], which: Which, instance: InstanceId, expected: &[u8], facts: &[u8]) -> Result<(), StoreError>;
        delete(bucket: BucketId, key: &[u8], precondition: Precondition, judged: Option<Judged<'_>>, marker: VersionId, now_ms: u64) -> Result<Deleted, CommitError>;
        create_upload(upload: Upload) -> Result<(), CommitError>;
        claim_upload(bucket: BucketId, key: &[u8], instance: InstanceId, claim: &[u8]) -> Result<(), CommitError>;
        upload(bucket: BucketId, key: &[u8], instance: InstanceId) -> Result<Option<Upload>, StoreError>;
        put_part(part: PartRow) -> Result<Option<Garbage>, CommitError>;
        parts(instance: InstanceId, after: u32, limit: usize) -> Result<Vec<PartRow>, StoreError>;
        abort_upload(bucket: BucketId, key: &[u8], instance: InstanceId, now_ms: u64) -> Result<Garbage, CommitError>;
        list_uploads(query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError>;
        uploads_before(created_ms: u64, after: Option<(u64, InstanceId)>, limit: usize) -> Result<Vec<Upload>, StoreError>;
        replace_instance(change: Replacement) -> Result<Garbage, CommitError>;
        relocate(change: Relocation) -> Result<Option<Garbage>, CommitError>;
        garbage(after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError>;
        garbage_done(ids: &[u64]) -> Result<(), StoreError>;
        condemn(blob: BlobId) -> Result<bool, StoreError>;
        condemn_instance(instance: InstanceId, incarnation: u64) -> Result<bool, StoreError>;
    }
}

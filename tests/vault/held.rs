//! Stores that tell before and after each of their calls, so that a test can hold a writer between any two steps; and a
//! catalog that shows another row than it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::*;
use strongroom::vault::Stores;

/// Called with `"before insert"`, `"after insert"` and so on, on the thread that makes the call.
pub type Hook = Arc<dyn Fn(&str) + Send + Sync>;

/// The same stores, telling.
pub fn watched(stores: &Stores, hook: &Hook) -> Stores {
    let blobs = |inner: &Arc<dyn BlobStore>| -> Arc<dyn BlobStore> {
        Arc::new(Blobs {
            inner: inner.clone(),
            hook: hook.clone(),
        })
    };
    Stores {
        blobs: blobs(&stores.blobs),
        archive: stores.archive.as_ref().map(blobs),
        keys: Arc::new(Keys {
            inner: stores.keys.clone(),
            hook: hook.clone(),
        }),
        catalog: Arc::new(Watched {
            inner: stores.catalog.clone(),
            hook: hook.clone(),
        }),
    }
}

/// A hook that holds the first thread that comes to a step once it is armed, until it is let go.
pub struct Holder {
    pub hook: Hook,
    armed: Arc<AtomicBool>,
    arrived: Receiver<()>,
    go_on: Sender<()>,
}

pub fn holder(step: &str) -> Holder {
    let (arrive, arrived) = channel();
    let (go_on, wait) = channel();
    let armed = Arc::new(AtomicBool::new(false));
    let (step, held, wait) = (step.to_owned(), armed.clone(), Mutex::new(wait));
    let hook: Hook = Arc::new(move |at| {
        if at == step && held.swap(false, Ordering::SeqCst) {
            arrive.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
        }
    });
    Holder {
        hook,
        armed,
        arrived,
        go_on,
    }
}

impl Holder {
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Until a thread is held.
    pub fn wait(&self) {
        let arrived = self.arrived.recv_timeout(Duration::from_secs(20));
        arrived.expect("the step is reached");
    }

    pub fn let_go(&self) {
        self.go_on.send(()).unwrap();
    }
}

/// Shows `row` in the place of the row of its key.
pub struct Edited {
    inner: Arc<dyn Catalog>,
    row: ObjectRow,
}

impl Edited {
    pub fn new(inner: &Arc<dyn Catalog>, row: ObjectRow) -> Self {
        Self {
            inner: inner.clone(),
            row,
        }
    }

    fn tell(&self, _: &str) {}

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        if key != self.row.key {
            return self.inner.object(bucket, key);
        }
        // Of the object that is there, whatever its key: also a row under another name is shown.
        let there = self.inner.object(bucket, b"x")?;
        Ok(there.map(|view| ObjectView {
            row: self.row.clone(),
            ..view
        }))
    }
}

/// A catalog that does what it is asked, and does not say so while it is `silent`.
pub struct Unanswering {
    pub inner: Arc<dyn Catalog>,
    pub silent: AtomicBool,
}

impl Unanswering {
    fn tell(&self, _: &str) {}

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        self.inner.object(bucket, key)
    }

    fn answer<T>(&self, done: Result<T, CommitError>) -> Result<T, CommitError> {
        match done {
            Ok(_) if self.silent.load(Ordering::SeqCst) => {
                Err(StoreError::OutcomeUnknown("the answer was lost".to_owned()).into())
            }
            done => done,
        }
    }
}

struct Blobs {
    inner: Arc<dyn BlobStore>,
    hook: Hook,
}

struct Writer {
    inner: Box<dyn BlobWriter>,
    hook: Hook,
}

struct Keys {
    inner: Arc<dyn KeyStore>,
    hook: Hook,
}

struct Watched {
    inner: Arc<dyn Catalog>,
    hook: Hook,
}

impl Keys {
    fn tell(&self, step: &str) {
        (self.hook)(step);
    }

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.inner.identity()
    }

    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
        (self.hook)("before shred");
        let result = self.inner.shred(instances);
        (self.hook)("after shred");
        result
    }

    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
        (self.hook)("before shred_bucket");
        self.inner.shred_bucket(bucket)
    }
}

/// A key store that cannot shred while it is `broken`, and does not say which it is while it is `away`.
pub struct Unshredding {
    pub inner: Arc<dyn KeyStore>,
    pub broken: AtomicBool,
    pub away: AtomicBool,
}

impl Unshredding {
    pub fn new(inner: Arc<dyn KeyStore>) -> Self {
        Self {
            inner,
            broken: AtomicBool::new(false),
            away: AtomicBool::new(false),
        }
    }

    fn tell(&self, _: &str) {}

    fn identity(&self) -> Result<StoreIdentity, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("sent away by the test".to_owned()));
        }
        self.inner.identity()
    }

    fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("broken by the test".to_owned()));
        }
        self.inner.shred(instances)
    }

    fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("broken by the test".to_owned()));
        }
        self.inner.shred_bucket(bucket)
    }
}

impl Watched {
    fn tell(&self, step: &str) {
        (self.hook)(step);
    }

    fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
        (self.hook)("before object");
        let view = self.inner.object(bucket, key);
        (self.hook)("after object");
        view
    }
}

/// Hands calls on, telling before and after.
macro_rules! pass {
    ($(fn $name:ident(&self $(, $arg:ident: $kind:ty)*) -> $ret:ty;)*) => {$(
        fn $name(&self $(, $arg: $kind)*) -> $ret {
            self.tell(concat!("before ", stringify!($name)));
            let result = self.inner.$name($($arg),*);
            self.tell(concat!("after ", stringify!($name)));
            result
        }
    )*};
}

/// Hands calls on, and their answers perhaps.
macro_rules! answer {
    ($(fn $name:ident(&self $(, $arg:ident: $kind:ty)*) -> $ret:ty;)*) => {$(
        fn $name(&self $(, $arg: $kind)*) -> $ret {
            self.answer(self.inner.$name($($arg),*))
        }
    )*};
}

impl BlobStore for Blobs {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobWriter>, StoreError> {
        (self.hook)("before create");
        let inner = self.inner.create(id)?;
        (self.hook)("after create");
        Ok(Box::new(Writer {
            inner,
            hook: self.hook.clone(),
        }))
    }

    fn open(&self, blob: &BlobRef) -> Result<Box<dyn BlobReader>, StoreError> {
        (self.hook)("before open");
        self.inner.open(blob)
    }

    fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        (self.hook)("before remove");
        self.inner.remove(id)
    }

    fn list(&self, shard: u8) -> Result<Vec<BlobId>, StoreError> {
        self.inner.list(shard)
    }
}

impl BlobWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        (self.hook)("before append");
        self.inner.append(bytes)?;
        (self.hook)("after append");
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        (self.hook)("before finish");
        let len = self.inner.finish()?;
        (self.hook)("after finish");
        Ok(len)
    }
}

macro_rules! keys {
    ($kind:ty) => {
        impl KeyStore for $kind {
            fn identity(&self) -> Result<StoreIdentity, StoreError> {
                <$kind>::identity(self)
            }
            fn shred(&self, instances: &[InstanceId]) -> Result<(), StoreError> {
                <$kind>::shred(self, instances)
            }
            fn shred_bucket(&self, bucket: BucketId) -> Result<(), StoreError> {
                <$kind>::shred_bucket(self, bucket)
            }
    pass! {
        fn check(&self) -> Result<(), StoreError>;
        fn advance_epoch(&self) -> Result<u64, StoreError>;
        fn insert(&self, record: NewKeyRecord) -> Result<(), StoreError>;
        fn fetch(&self, instance: InstanceId) -> Result<KeyView, StoreError>;
        fn fetch_bucket(&self, bucket: BucketId, generation: u32) -> Result<KeyView, StoreError>;
        fn replace(&self, instance: InstanceId, expected: &[u8], generation: u32, new: &[u8]) -> Result<(), StoreError>;
        fn insert_bucket_key(&self, bucket: BucketId, generation: u32, record: &[u8]) -> Result<(), StoreError>;
        fn replace_bucket_key(&self, bucket: BucketId, generation: u32, expected: &[u8], new: &[u8]) -> Result<(), StoreError>;
        fn bucket_keys(&self, after: Option<(BucketId, u32)>, limit: usize) -> Result<Vec<(BucketId, u32, Vec<u8>)>, StoreError>;
        fn put_master(&self, expected: Option<&MasterRow>, new: MasterRow) -> Result<(), StoreError>;
        fn scan(&self, by: ScanBy, after: Option<InstanceId>, limit: usize) -> Result<Vec<KeyRow>, StoreError>;
    }
        }
    };
}

keys!(Keys);
keys!(Unshredding);

macro_rules! catalog {
    ($kind:ty, $answer:ident) => {
        impl Catalog for $kind {
            fn object(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError> {
                <$kind>::object(self, bucket, key)
            }
            pass! {
                fn check(&self) -> Result<(), StoreError>;
                fn identity(&self) -> Result<StoreIdentity, StoreError>;
                fn key_store_seen(&self, id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError>;
                fn register(&self, name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError>;
                fn renew(&self, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError>;
                fn release(&self, incarnation: u64) -> Result<(), StoreError>;
                fn dead_incarnations(&self, now_ms: u64) -> Result<Vec<u64>, StoreError>;
                fn standing(&self, incarnation: u64, now_ms: u64) -> Result<Standing, StoreError>;
                fn close(&self, incarnation: u64) -> Result<(), StoreError>;
                fn task_lease(&self, task: &str, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<Option<u64>, StoreError>;
                fn change_counter(&self) -> Result<u64, StoreError>;
                fn create_bucket(&self, bucket: Bucket, state: GenerationState) -> Result<(), StoreError>;
                fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError>;
                fn bucket_by_id(&self, id: BucketId) -> Result<Option<Bucket>, StoreError>;
                fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError>;
                fn delete_bucket(&self, bucket: BucketId, now_ms: u64) -> Result<(), DeleteBucketError>;
                fn deleted_buckets(&self) -> Result<Vec<BucketId>, StoreError>;
                fn bucket_done(&self, bucket: BucketId) -> Result<(), StoreError>;
                fn generation(&self, bucket: BucketId, generation: u32) -> Result<Option<GenerationState>, StoreError>;
                fn set_generation(&self, bucket: BucketId, expected: Option<GenerationState>, new: GenerationState, make_active: bool) -> Result<(), StoreError>;
                fn document(&self, bucket: Option<BucketId>, name: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError>;
                fn put_document(&self, bucket: Option<BucketId>, name: &str, expected: Option<u64>, bytes: Option<&[u8]>) -> Result<u64, StoreError>;
                fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<(), StoreError>;
                fn version(&self, bucket: BucketId, key: &[u8], which: Which) -> Result<Option<VersionView>, StoreError>;
                fn part_attrs(&self, instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError>;
                fn set_facts(&self, bucket: BucketId, key: &[u8], which: Which, instance: InstanceId, expected: &[u8], facts: &[u8]) -> Result<(), StoreError>;
                fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError>;
                fn list_versions(&self, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError>;
                fn upload(&self, bucket: BucketId, key: &[u8], instance: InstanceId) -> Result<Option<Upload>, StoreError>;
                fn parts(&self, instance: InstanceId, after: u32, limit: usize) -> Result<Vec<PartRow>, StoreError>;
                fn list_uploads(&self, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError>;
                fn uploads_before(&self, created_ms: u64, after: Option<(u64, InstanceId)>, limit: usize) -> Result<Vec<Upload>, StoreError>;
                fn garbage(&self, after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError>;
                fn garbage_done(&self, ids: &[u64]) -> Result<(), StoreError>;
                fn condemn(&self, blob: BlobId) -> Result<bool, StoreError>;
                fn condemn_instance(&self, instance: InstanceId, incarnation: u64) -> Result<bool, StoreError>;
            }
            $answer! {
                fn commit(&self, commit: Commit) -> Result<Committed, CommitError>;
                fn delete(&self, bucket: BucketId, key: &[u8], precondition: Precondition, judged: Option<Judged<'_>>, marker: VersionId, now_ms: u64) -> Result<Deleted, CommitError>;
                fn delete_version(&self, bucket: BucketId, key: &[u8], which: Which, judged: Option<Judged<'_>>, now_ms: u64) -> Result<Deleted, CommitError>;
                fn create_upload(&self, upload: Upload) -> Result<(), CommitError>;
                fn claim_upload(&self, bucket: BucketId, key: &[u8], instance: InstanceId, claim: &[u8]) -> Result<(), CommitError>;
                fn put_part(&self, part: PartRow) -> Result<Option<Garbage>, CommitError>;
                fn abort_upload(&self, bucket: BucketId, key: &[u8], instance: InstanceId, now_ms: u64) -> Result<Garbage, CommitError>;
                fn replace_instance(&self, change: Replacement) -> Result<Garbage, CommitError>;
                fn relocate(&self, change: Relocation) -> Result<Option<Garbage>, CommitError>;
            }
        }
    };
}

catalog!(Watched, pass);
catalog!(Edited, pass);
catalog!(Unanswering, answer);

//! Random histories: SQLite and the model give the same answers, also across closing and opening.

use std::fmt::Debug;
use std::ops::Bound;

use proptest::collection::vec;
use proptest::prelude::*;
use strongroom::id::{BlobId, BucketId, InstanceId, RootId, VersionId};
use strongroom::store::{
    BlobRef, Bucket, Catalog, Commit, GenerationState, KeyStore, ListQuery, Locator, MasterRow,
    MemoryCatalog, MemoryKeys, NewKeyRecord, ObjectRow, Precondition, ScanBy, SqliteCatalog,
    SqliteKeys, Versioning, Which,
};

/// An answer; of an error only its kind.
fn answer<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let error = format!("{error:?}");
            error.split('"').next().unwrap_or_default().to_owned()
        }
    }
}

fn bytes(number: u8) -> Vec<u8> {
    vec![number; 20 + usize::from(number)]
}

fn instance(number: u8) -> InstanceId {
    InstanceId([number.reverse_bits(); 16])
}

fn bucket(number: u8) -> BucketId {
    BucketId([0xb0 + number; 16])
}

#[derive(Debug, Clone)]
enum KeyStep {
    Insert(u8, u8, u8, u8),
    Replace(u8, u8, u8, u8),
    Shred(Vec<u8>),
    Fetch(u8),
    InsertBucketKey(u8, u8, u8),
    ReplaceBucketKey(u8, u8, u8, u8),
    ShredBucket(u8),
    FetchBucket(u8, u8),
    BucketKeys(Option<(u8, u8)>, usize),
    PutMaster(Option<u8>, u8, u8),
    Scan(u8, Option<u8>, usize),
    AdvanceEpoch,
    Reopen,
}

fn key_step() -> impl Strategy<Value = KeyStep> {
    use KeyStep::*;
    let n = || 0..5u8;
    let m = || 0..3u8;
    prop_oneof![
        4 => (n(), m(), m(), m()).prop_map(|(i, b, g, r)| Insert(i, b, g, r)),
        3 => (n(), m(), m(), m()).prop_map(|(i, o, g, r)| Replace(i, o, g, r)),
        1 => vec(n(), 0..3).prop_map(Shred),
        3 => n().prop_map(Fetch),
        3 => (m(), m(), m()).prop_map(|(b, g, r)| InsertBucketKey(b, g, r)),
        2 => (m(), m(), m(), m()).prop_map(|(b, g, o, r)| ReplaceBucketKey(b, g, o, r)),
        1 => m().prop_map(ShredBucket),
        2 => (m(), m()).prop_map(|(b, g)| FetchBucket(b, g)),
        1 => (proptest::option::of((m(), m())), 0..4usize).prop_map(|(a, l)| BucketKeys(a, l)),
        2 => (proptest::option::of(m()), m(), m()).prop_map(|(o, v, s)| PutMaster(o, v, s)),
        2 => (0..6u8, proptest::option::of(n()), 0..4usize).prop_map(|(b, a, l)| Scan(b, a, l)),
        1 => Just(AdvanceEpoch),
        1 => Just(Reopen),
    ]
}

fn do_key_step(store: &dyn KeyStore, step: &KeyStep) -> String {
    use KeyStep::*;
    match step {
        Insert(i, b, g, r) => answer(store.insert(NewKeyRecord {
            instance: instance(*i),
            bucket: bucket(*b),
            generation: u32::from(*g),
            incarnation: u64::from(*r),
            record: bytes(*r),
        })),
        Replace(i, o, g, r) => {
            answer(store.replace(instance(*i), &bytes(*o), u32::from(*g), &bytes(*r)))
        }
        Shred(all) => answer(store.shred(&all.iter().map(|i| instance(*i)).collect::<Vec<_>>())),
        Fetch(i) => answer(store.fetch(instance(*i))),
        InsertBucketKey(b, g, r) => {
            answer(store.insert_bucket_key(bucket(*b), u32::from(*g), &bytes(*r)))
        }
        ReplaceBucketKey(b, g, o, r) => {
            answer(store.replace_bucket_key(bucket(*b), u32::from(*g), &bytes(*o), &bytes(*r)))
        }
        ShredBucket(b) => answer(store.shred_bucket(bucket(*b))),
        FetchBucket(b, g) => answer(store.fetch_bucket(bucket(*b), u32::from(*g))),
        BucketKeys(after, limit) => {
            answer(store.bucket_keys(after.map(|(b, g)| (bucket(b), u32::from(g))), *limit))
        }
        PutMaster(old, v, s) => {
            let row = |s: u8| MasterRow {
                root: RootId([1; 16]),
                version: u32::from(*v),
                state: bytes(s),
            };
            answer(store.put_master(old.map(row).as_ref(), row(*s)))
        }
        Scan(by, after, limit) => {
            let by = match by {
                0..=1 => ScanBy::All,
                2..=3 => ScanBy::Incarnation(u64::from(*by - 2)),
                _ => ScanBy::Generation(bucket(0), u32::from(*by - 4)),
            };
            answer(store.scan(by, after.map(instance), *limit))
        }
        AdvanceEpoch => answer(store.advance_epoch()),
        Reopen => String::new(),
    }
}

#[derive(Debug, Clone)]
enum CatalogStep {
    Register(u64),
    Renew(u64, u64),
    Release(u64),
    Close(u64),
    Standing(u64, u64),
    Dead(u64),
    Task(u64, u64),
    CreateBucket(u8, u8),
    DeleteBucket(u8),
    Buckets(Option<u8>, usize),
    BucketDone(u8),
    SetGeneration(u8, u8, Option<u8>, u8, bool),
    PutDocument(Option<u8>, Option<u64>, Option<u8>),
    Commit(u8, usize, u8, u64, Precondition),
    Object(u8, usize),
    SetFacts(u8, usize, u8, u8, u8),
    Delete(u8, usize, Precondition),
    List(u8, usize, usize, bool, usize),
    Garbage(u64, usize),
    GarbageDone(Vec<u64>),
    Condemn(u8, u64),
    CondemnInstance(u8, u64),
    Reopen,
}

const KEYS: [&[u8]; 6] = [b"", b"a", b"a/", b"a/b", b"a/b/c", b"b\xff"];

fn catalog_step() -> impl Strategy<Value = CatalogStep> {
    use CatalogStep::*;
    let b = || 0..2u8;
    let n = || 0..8u8;
    let inc = || 1..4u64;
    let time = || 0..100u64;
    let key = || 0..KEYS.len();
    let precondition = prop_oneof![
        4 => Just(Precondition::None),
        1 => Just(Precondition::Absent),
        1 => Just(Precondition::Present),
        1 => n().prop_map(|number| Precondition::Is(instance(number))),
    ];
    let condition = || precondition.clone();
    let few = proptest::option::of(0..3u8);
    prop_oneof![
        2 => time().prop_map(Register),
        1 => (inc(), time()).prop_map(|(i, t)| Renew(i, t)),
        1 => inc().prop_map(Release),
        1 => (3..5u64).prop_map(Close),
        1 => (inc(), time()).prop_map(|(i, t)| Standing(i, t)),
        1 => time().prop_map(Dead),
        1 => (inc(), time()).prop_map(|(i, t)| Task(i, t)),
        3 => (b(), b()).prop_map(|(name, id)| CreateBucket(name, id)),
        1 => b().prop_map(DeleteBucket),
        1 => (proptest::option::of(b()), 0..3usize).prop_map(|(a, l)| Buckets(a, l)),
        1 => b().prop_map(BucketDone),
        1 => (b(), 1..3u8, few.clone(), 0..3u8, any::<bool>()).prop_map(|(b, g, o, s, a)| SetGeneration(b, g, o, s, a)),
        2 => (proptest::option::of(b()), proptest::option::of(0..20u64), few).prop_map(|(b, r, d)| PutDocument(b, r, d)),
        12 => (b(), key(), any::<u8>(), inc(), condition()).prop_map(|(b, k, n, i, p)| Commit(b, k, n, i, p)),
        3 => (b(), key()).prop_map(|(b, k)| Object(b, k)),
        1 => (b(), key(), n(), 0..2u8, 0..2u8).prop_map(|(b, k, n, o, f)| SetFacts(b, k, n, o, f)),
        3 => (b(), key(), condition()).prop_map(|(b, k, p)| Delete(b, k, p)),
        4 => (b(), key(), key(), any::<bool>(), 0..4usize).prop_map(|(b, p, f, d, l)| List(b, p, f, d, l)),
        2 => (0..4u64, 0..4usize).prop_map(|(a, l)| Garbage(a, l)),
        1 => vec(0..6u64, 0..3).prop_map(GarbageDone),
        2 => (n(), inc()).prop_map(|(n, i)| Condemn(n, i)),
        2 => (n(), inc()).prop_map(|(n, i)| CondemnInstance(n, i)),
        1 => Just(Reopen),
    ]
}

fn blob_id(number: u8, incarnation: u64) -> BlobId {
    let mut id = [number; 16];
    id[..8].copy_from_slice(&incarnation.to_le_bytes());
    BlobId(id)
}

fn generation(generation: u8, state: u8) -> GenerationState {
    GenerationState {
        generation: u32::from(generation),
        rev: u64::from(state),
        state,
    }
}

fn do_catalog_step(catalog: &dyn Catalog, step: &CatalogStep) -> String {
    use CatalogStep::*;
    const TTL: u64 = 30;
    match step {
        Register(now) => answer(catalog.register("node", *now, TTL)),
        Renew(i, now) => answer(catalog.renew(*i, *now, TTL)),
        Release(i) => answer(catalog.release(*i)),
        Close(i) => answer(catalog.close(*i)),
        Standing(i, now) => answer(catalog.standing(*i, *now)),
        Dead(now) => answer(catalog.dead_incarnations(*now)),
        Task(i, now) => answer(catalog.task_lease("task", *i, *now, TTL)),
        CreateBucket(name, id) => {
            let bucket = Bucket {
                id: bucket(*id),
                name: format!("bucket {name}"),
                owner: "owner".to_owned(),
                created_ms: 5,
                generation: 1,
                versioning: Versioning::Off,
            };
            answer(catalog.create_bucket(bucket, generation(1, 1)))
        }
        DeleteBucket(name) => {
            let deleted = answer(catalog.delete_bucket(&format!("bucket {name}"), 8));
            format!("{deleted} {}", answer(catalog.deleted_buckets()))
        }
        Buckets(after, limit) => {
            let after = after.map(|name| format!("bucket {name}"));
            let counter = answer(catalog.change_counter());
            format!(
                "{} {counter}",
                answer(catalog.buckets(after.as_deref(), *limit))
            )
        }
        BucketDone(b) => answer(catalog.bucket_done(bucket(*b))),
        SetGeneration(b, g, old, new, active) => {
            let old = old.map(|old| generation(*g, old));
            answer(catalog.set_generation(bucket(*b), old, generation(*g, *new), *active))
        }
        PutDocument(b, rev, new) => {
            let (b, new) = (b.map(bucket), new.map(bytes));
            let rev = catalog
                .document(b, "doc")
                .map(|kept| kept.map(|(rev, _)| rev))
                .unwrap_or(*rev);
            let put = answer(catalog.put_document(b, "doc", rev, new.as_deref()));
            format!("{put} {}", answer(catalog.document(b, "doc")))
        }
        Commit(b, key, number, incarnation, precondition) => {
            answer(catalog.commit(commit(*b, *key, *number, *incarnation, *precondition)))
        }
        Object(b, key) => answer(catalog.object(bucket(*b), KEYS[*key])),
        SetFacts(b, key, number, old, new) => answer(catalog.set_facts(
            bucket(*b),
            KEYS[*key],
            Which::Current,
            instance(*number),
            &bytes(*old),
            &bytes(*new),
        )),
        Delete(b, key, precondition) => {
            answer(catalog.delete(bucket(*b), KEYS[*key], *precondition, VersionId([0; 16]), 7))
        }
        List(b, prefix, from, folded, limit) => {
            let query = ListQuery {
                bucket: bucket(*b),
                prefix: KEYS[*prefix],
                from: if *from % 2 == 0 {
                    Bound::Included(KEYS[*from])
                } else {
                    Bound::Excluded(KEYS[*from])
                },
                delimiter: folded.then_some(b"/"),
                limit: *limit,
            };
            answer(catalog.list(&query).map(|page| (page.items, page.next)))
        }
        Garbage(after, limit) => answer(catalog.garbage(*after, *limit)),
        GarbageDone(ids) => answer(catalog.garbage_done(ids)),
        Condemn(number, incarnation) => answer(catalog.condemn(blob_id(*number, *incarnation))),
        CondemnInstance(number, incarnation) => {
            answer(catalog.condemn_instance(instance(*number), *incarnation))
        }
        Reopen => String::new(),
    }
}

fn commit(b: u8, key: usize, number: u8, incarnation: u64, precondition: Precondition) -> Commit {
    // Few numbers, so that ids come again now and then.
    let number = number % 32;
    let id = blob_id(number, incarnation);
    let inline = number.is_multiple_of(2);
    let locator = if inline {
        Locator::Inline
    } else {
        Locator::File
    };
    Commit {
        bucket: bucket(b),
        incarnation,
        row: ObjectRow {
            key: KEYS[key].to_vec(),
            instance: instance(number),
            version: VersionId(instance(number).0),
            null: true,
            mode: 1,
            suite: 1,
            length: u64::from(number),
            modified_ms: 3,
            generation: 1 + u32::from(number % 3),
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            manifest: bytes(number),
            head: bytes(number),
            attrs: bytes(number),
            facts: bytes(number % 2),
            blobs: vec![BlobRef {
                part: 1,
                id,
                locator,
                sealed_len: 9,
            }],
            restored: Vec::new(),
        },
        inline: if inline {
            vec![(id, vec![number; 9])]
        } else {
            Vec::new()
        },
        part_attrs: Vec::new(),
        completes: false,
        precondition,
        now_ms: 9,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_keys_answer_as_the_model_does(steps in vec(key_step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.db");
        let model = MemoryKeys::new().unwrap();
        let mut store = Some(SqliteKeys::open(&path).unwrap());
        for (number, step) in steps.iter().enumerate() {
            if matches!(step, KeyStep::Reopen) {
                store = None;
            }
            let store = store.get_or_insert_with(|| SqliteKeys::open(&path).unwrap());
            let (seen, wanted) = (do_key_step(store, step), do_key_step(&model, step));
            prop_assert_eq!(seen, wanted, "step {}: {:?}", number, step);
        }
        prop_assert!(store.unwrap().check().is_ok());
    }

    #[test]
    fn sqlite_catalog_answers_as_the_model_does(steps in vec(catalog_step(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let model = MemoryCatalog::new().unwrap();
        let mut store = Some(SqliteCatalog::open(&path).unwrap());
        let begin = [
            CatalogStep::CreateBucket(0, 0),
            CatalogStep::Register(50),
            CatalogStep::Register(60),
        ];
        for (number, step) in begin.iter().chain(&steps).enumerate() {
            if matches!(step, CatalogStep::Reopen) {
                store = None;
            }
            let store = store.get_or_insert_with(|| SqliteCatalog::open(&path).unwrap());
            let (seen, wanted) = (do_catalog_step(store, step), do_catalog_step(&model, step));
            prop_assert_eq!(seen, wanted, "step {}: {:?}", number, step);
        }
        prop_assert!(store.unwrap().check().is_ok());
    }
}

//! Key stores.

use proptest::collection::vec;
use proptest::prelude::*;
use strongroom::id::RootId;
use strongroom::store::{KeyStore, MasterRow, MemoryKeys, NewKeyRecord, ScanBy, SqliteKeys};

use super::{answer, bucket, bytes, instance};

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
}

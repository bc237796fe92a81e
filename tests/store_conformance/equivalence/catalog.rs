//! Catalogs.

use std::ops::Bound;

use proptest::collection::vec;
use proptest::prelude::*;
use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::{
    BlobRef, Bucket, Catalog, Commit, GenerationState, Judged, ListQuery, Locator, MemoryCatalog,
    ObjectRow, PartRow, Precondition, Relocation, Replacement, SqliteCatalog, Upload, UploadsQuery,
    Version, VersionItem, Versioning, VersionsQuery, Which,
};

use super::{answer, bucket, bytes, instance};

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
    Version(u8, usize, Which),
    PartAttrs(u8),
    SetFacts(u8, usize, Which, Option<u8>, u8, u8),
    SetVersioning(u8, Versioning),
    Delete(u8, usize, Precondition, Option<(u8, u8)>, u8),
    DeleteVersion(u8, usize, Which, Option<(u8, u8)>),
    ListVersions(u8, usize, usize, Option<Which>, bool, usize),
    CreateUpload(u8, usize, u8, u64),
    Upload(u8, usize, u8),
    PutPart(u8, u32, u8, u64),
    Parts(u8, u32, usize),
    Complete(u8, usize, u8, Vec<u32>, u64, Precondition),
    Claim(u8, usize, u8, bool),
    Abort(u8, usize, u8),
    ListUploads(u8, usize, usize, Option<(u64, u8)>, bool, usize),
    UploadsBefore(u64, Option<(u64, u8)>, usize),
    Replace(u8, usize, Which, Option<u8>, u8, u64),
    Relocate(
        u8,
        usize,
        Which,
        Option<u8>,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        u64,
    ),
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
    // Most of it happens in one bucket.
    let b = || prop_oneof![7 => Just(0u8), 1 => Just(1)];
    let n = || 0..8u8;
    let inc = || prop_oneof![6 => 1..3u64, 1 => Just(3)];
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
    let label = || (0..32u8).prop_map(|number| Which::Label(VersionId(instance(number).0)));
    let which =
        move || prop_oneof![2 => Just(Which::Current), 1 => Just(Which::Null), 2 => label()];
    // Mostly what is there; now and then something else.
    let guess = || prop_oneof![6 => Just(None), 1 => n().prop_map(Some)];
    let versioning = prop_oneof![
        1 => Just(Versioning::Off),
        2 => Just(Versioning::Enabled),
        2 => Just(Versioning::Suspended)
    ];
    let number = || 0..32u8;
    let blobs = move || proptest::option::of(vec(number(), 0..3));
    let begun = move || proptest::option::of((0..4u64, number()));
    let versions = prop_oneof![
        2 => (b(), versioning).prop_map(|(b, v)| SetVersioning(b, v)),
        3 => (b(), key(), which()).prop_map(|(b, k, w)| Version(b, k, w)),
        1 => number().prop_map(PartAttrs),
        2 => (b(), key(), which(), guess(), 0..2u8, 0..2u8)
            .prop_map(|(b, k, w, n, o, f)| SetFacts(b, k, w, n, o, f)),
        2 => (b(), key(), which(), proptest::option::of((0..3u8, 0..2u8)))
            .prop_map(|(b, k, w, j)| DeleteVersion(b, k, w, j)),
        4 => (b(), key(), key(), proptest::option::of(which()), any::<bool>(), 0..4usize)
            .prop_map(|(b, p, f, a, d, l)| ListVersions(b, p, f, a, d, l)),
        3 => (b(), key(), which(), guess(), number(), inc())
            .prop_map(|(b, k, w, o, n, i)| Replace(b, k, w, o, n, i)),
        5 => (b(), key(), which(), guess(), blobs(), blobs(), inc())
            .prop_map(|(b, k, w, n, m, r, i)| Relocate(b, k, w, n, m, r, i)),
    ];
    let uploads = prop_oneof![
        8 => (b(), key(), number(), inc()).prop_map(|(b, k, n, i)| CreateUpload(b, k, n, i)),
        1 => (b(), key(), number()).prop_map(|(b, k, n)| Upload(b, k, n)),
        9 => (number(), 1..4u32, number(), inc()).prop_map(|(n, p, d, i)| PutPart(n, p, d, i)),
        1 => (number(), 0..3u32, 0..3usize).prop_map(|(n, a, l)| Parts(n, a, l)),
        4 => (b(), key(), number(), vec(1..4u32, 0..4), inc(), condition())
            .prop_map(|(b, k, n, p, i, c)| Complete(b, k, n, p, i, c)),
        2 => (b(), key(), number(), any::<bool>()).prop_map(|(b, k, n, o)| Claim(b, k, n, o)),
        2 => (b(), key(), number()).prop_map(|(b, k, n)| Abort(b, k, n)),
        3 => (b(), key(), key(), begun(), any::<bool>(), 0..4usize)
            .prop_map(|(b, p, f, a, d, l)| ListUploads(b, p, f, a, d, l)),
        1 => (0..5u64, begun(), 0..4usize).prop_map(|(t, a, l)| UploadsBefore(t, a, l)),
    ];
    prop_oneof![
        22 => versions,
        22 => uploads,
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
        3 => (b(), key(), condition(), proptest::option::of((0..3u8, 0..2u8)), number())
            .prop_map(|(b, k, p, j, m)| Delete(b, k, p, j, m)),
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
        DeleteBucket(b) => {
            let deleted = answer(catalog.delete_bucket(bucket(*b), 8));
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
        Version(b, key, which) => {
            let known = known(catalog, *b, *key, *which, None);
            let view = answer(catalog.version(bucket(*b), &known.0, known.1));
            let guessed = answer(catalog.version(bucket(*b), KEYS[*key], *which));
            format!("{view} {} {guessed}", answer(catalog.part_attrs(known.2)))
        }
        PartAttrs(number) => answer(catalog.part_attrs(instance(*number))),
        SetFacts(b, key, which, guess, old, new) => {
            let (key, which, found, _) = known(catalog, *b, *key, *which, *guess);
            answer(catalog.set_facts(bucket(*b), &key, which, found, &bytes(*old), &bytes(*new)))
        }
        SetVersioning(b, versioning) => answer(catalog.set_versioning(bucket(*b), *versioning)),
        Delete(b, key, precondition, judged, label) => {
            let label = VersionId(instance(*label).0);
            let (found, _, instance, _) = known(catalog, *b, *key, Which::Current, None);
            let key = judged.map_or(KEYS[*key], |_| &found);
            let judged = judged.map(|(other, facts)| (other == 0, bytes(facts)));
            let judged = judged.as_ref().map(|(other, facts)| Judged {
                version: VersionId(if *other { [0xee; 16] } else { instance.0 }),
                facts,
            });
            answer(catalog.delete(bucket(*b), key, *precondition, judged, label, 7))
        }
        DeleteVersion(b, key, which, judged) => {
            let (key, which, instance, _) = known(catalog, *b, *key, *which, None);
            let judged = judged.map(|(other, facts)| (other == 0, bytes(facts)));
            let judged = judged.as_ref().map(|(other, facts)| Judged {
                version: VersionId(if *other { [0xee; 16] } else { instance.0 }),
                facts,
            });
            answer(catalog.delete_version(bucket(*b), &key, which, judged, 7))
        }
        ListVersions(b, prefix, from, after, folded, limit) => {
            let query = VersionsQuery {
                bucket: bucket(*b),
                prefix: KEYS[*prefix],
                from: bound(*from),
                after: *after,
                delimiter: folded.then_some(b"/"),
                limit: *limit,
            };
            answer(
                catalog
                    .list_versions(&query)
                    .map(|page| (page.items, page.more)),
            )
        }
        CreateUpload(b, key, number, incarnation) => {
            answer(catalog.create_upload(upload(*b, *key, *number, *incarnation)))
        }
        Upload(b, key, number) => {
            let (bucket, key, instance) = making(catalog, *b, *key, *number);
            answer(catalog.upload(bucket, &key, instance))
        }
        PutPart(number, part, blob, incarnation) => answer(catalog.put_part(PartRow {
            instance: making(catalog, 0, 0, *number).2,
            part: *part,
            blob: BlobRef {
                part: *part,
                ..file(*blob, *incarnation)
            },
            length: u64::from(*blob),
            salt: [*blob; 32],
            attrs: bytes(*blob),
            modified_ms: 6,
        })),
        Parts(number, after, limit) => {
            let (.., instance) = making(catalog, 0, 0, *number);
            answer(catalog.parts(instance, *after, *limit))
        }
        Complete(b, key, number, parts, incarnation, precondition) => {
            let mut whole = commit(*b, *key, *number, *incarnation, *precondition);
            let (bucket, key, instance) = making(catalog, *b, *key, *number);
            whole.bucket = bucket;
            (whole.row.key, whole.row.instance) = (key, instance);
            whole.row.version = VersionId(instance.0);
            let all = catalog.parts(instance, 0, 9).unwrap_or_default();
            let chosen = all.into_iter().filter(|row| parts.contains(&row.part));
            whole.row.blobs = chosen.map(|row| row.blob).collect();
            if parts.len() > 2 && parts[0] == parts[1] {
                whole.row.blobs.push(file(*number, *incarnation));
            }
            whole.inline = Vec::new();
            whole.part_attrs = bytes(*number);
            whole.completes = Some(claim(*number % 8 == 7));
            answer(catalog.commit(whole))
        }
        Claim(b, key, number, other) => {
            let (bucket, key, instance) = making(catalog, *b, *key, *number);
            answer(catalog.claim_upload(bucket, &key, instance, &claim(*other)))
        }
        Abort(b, key, number) => {
            let (bucket, key, instance) = making(catalog, *b, *key, *number);
            answer(catalog.abort_upload(bucket, &key, instance, 7))
        }
        ListUploads(b, prefix, from, after, folded, limit) => {
            let query = UploadsQuery {
                bucket: bucket(*b),
                prefix: KEYS[*prefix],
                from: bound(*from),
                after: after.map(|(date, number)| (date, instance(number))),
                delimiter: folded.then_some(b"/"),
                limit: *limit,
            };
            answer(
                catalog
                    .list_uploads(&query)
                    .map(|page| (page.items, page.more)),
            )
        }
        UploadsBefore(date, after, limit) => {
            let after = after.map(|(date, number)| (date, instance(number)));
            answer(catalog.uploads_before(*date, after, *limit))
        }
        Replace(b, key, which, guess, number, incarnation) => {
            let (key, which, old, facts) = known(catalog, *b, *key, *which, *guess);
            let facts = match *number % 3 {
                0 => None,
                1 => Some((facts, bytes(1))),
                _ => Some((bytes(0), bytes(1))),
            };
            answer(catalog.replace_instance(Replacement {
                bucket: bucket(*b),
                key,
                which,
                old,
                instance: instance(*number),
                mode: 3,
                generation: 2,
                kms_key_id: bytes(*number),
                encryption_context: bytes(1),
                attrs: bytes(*number),
                part_attrs: bytes(*number).split_off(usize::from(*number % 2) * 20),
                facts,
                incarnation: *incarnation,
                now_ms: 7,
            }))
        }
        Relocate(b, key, which, guess, blobs, restored, incarnation) => {
            let (key, which, instance, expected_facts) = known(catalog, *b, *key, *which, *guess);
            let place = |numbers: &Option<Vec<u8>>, locator: &Locator| {
                let place = |number: &u8| BlobRef {
                    locator: locator.clone(),
                    ..file(*number, *incarnation)
                };
                Some(numbers.as_ref()?.iter().map(place).collect())
            };
            answer(catalog.relocate(Relocation {
                bucket: bucket(*b),
                key,
                which,
                instance,
                expected_facts,
                blobs: place(blobs, &Locator::Archive),
                restored: place(restored, &Locator::File),
                facts: bytes(1),
                incarnation: *incarnation,
                now_ms: 7,
            }))
        }
        List(b, prefix, from, folded, limit) => {
            let query = ListQuery {
                bucket: bucket(*b),
                prefix: KEYS[*prefix],
                from: bound(*from),
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

/// One of two claims on an upload; the first is what an upload has that was never claimed.
fn claim(other: bool) -> Vec<u8> {
    if other { bytes(1) } else { Vec::new() }
}

fn bound(from: usize) -> Bound<&'static [u8]> {
    if from.is_multiple_of(3) {
        Bound::Excluded(KEYS[from])
    } else {
        Bound::Included(KEYS[from])
    }
}

/// A version that there is, mostly: its key, what it is found as, its instance and its facts; else what is guessed.
fn known(
    catalog: &dyn Catalog,
    b: u8,
    key: usize,
    which: Which,
    guess: Option<u8>,
) -> (Vec<u8>, Which, InstanceId, Vec<u8>) {
    let query = VersionsQuery {
        bucket: bucket(b),
        prefix: b"",
        from: Bound::Unbounded,
        after: None,
        delimiter: None,
        limit: 20,
    };
    let all = catalog.list_versions(&query).map(|page| page.items);
    let all = all.unwrap_or_default();
    // As good as at random.
    let number = key + usize::from(guess.unwrap_or(0)) + usize::from(which == Which::Current);
    let (key, which) = match all.get(number % all.len().max(1)) {
        Some(VersionItem::Version(version)) if guess.is_none() => {
            (version.key().to_vec(), version.which())
        }
        _ => (KEYS[key].to_vec(), which),
    };
    let view = catalog.version(bucket(b), &key, which).ok().flatten();
    match view.map(|view| view.version) {
        Some(Version::Object(object)) => (key, which, object.row.instance, object.row.facts),
        _ => (key, which, instance(guess.unwrap_or(0)), bytes(0)),
    }
}

/// An upload that there is, mostly; else what is guessed.
fn making(catalog: &dyn Catalog, b: u8, key: usize, number: u8) -> (BucketId, Vec<u8>, InstanceId) {
    let mut all = catalog.uploads_before(100, None, 9).unwrap_or_default();
    if number > 27 || all.is_empty() {
        return (bucket(b), KEYS[key].to_vec(), instance(number));
    }
    let upload = all.remove(usize::from(number) % all.len());
    (upload.bucket, upload.key, upload.instance)
}

fn file(number: u8, incarnation: u64) -> BlobRef {
    BlobRef {
        part: 1,
        id: blob_id(number, incarnation),
        locator: Locator::File,
        sealed_len: 9,
    }
}

fn upload(b: u8, key: usize, number: u8, incarnation: u64) -> Upload {
    Upload {
        bucket: bucket(b),
        key: KEYS[key].to_vec(),
        instance: instance(number),
        incarnation,
        mode: 1,
        suite: 1,
        generation: 1,
        kms_key_id: bytes(number),
        encryption_context: bytes(1),
        head: bytes(number),
        facts: bytes(number % 2),
        attrs: bytes(number),
        created_ms: u64::from(number % 4),
        principal: format!("principal {number}"),
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
        completes: None,
        precondition,
        now_ms: 9,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_catalog_answers_as_the_model_does(steps in vec(catalog_step(), 40..160)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        let model = MemoryCatalog::new().unwrap();
        let mut store = Some(SqliteCatalog::open(&path).unwrap());
        let begin = [
            CatalogStep::CreateBucket(0, 0),
            CatalogStep::CreateBucket(1, 1),
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

//! Rules of the format that no vector can show, because they bind the writer.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use strongroom::format::{Salt, SealKeys};
use strongroom::id::{BucketId, InstanceId, RootId};
use strongroom::keys::{
    BucketKeyRecord, Context, DataKey, KeyError, Keyring, Mode, Purpose, RecordState,
};
use strongroom::object::BlobSealer;
use strongroom::secret::Secret;
use subtle::ConstantTimeEq;

use crate::keys_through_engine::keyring;
use crate::twin::Root;

const BUCKET: BucketId = BucketId([1; 16]);
const INSTANCE: InstanceId = InstanceId([2; 16]);

fn root(byte: u8) -> Root {
    Root {
        mk_id: [byte; 16],
        version: 1,
        strategy: 1,
        key: [byte; 32],
    }
}

fn context(mode: Mode) -> Context<'static> {
    Context {
        mode,
        bucket: BUCKET,
        instance: INSTANCE,
        object_key: b"k",
        kms_key_id: b"",
        encryption_context: b"",
    }
}

/// Two impls fit a type that has the trait, and the call is ambiguous: it would not compile.
macro_rules! assert_not {
    ($type:ty: $trait:path) => {{
        trait Lacks<Marker> {
            fn holds() -> bool {
                true
            }
        }
        struct IfPresent;
        impl<T: ?Sized> Lacks<()> for T {}
        impl<T: $trait> Lacks<IfPresent> for T {}
        assert!(<$type as Lacks<_>>::holds());
    }};
}

/// F-29.
#[test]
fn a_sealer_cannot_be_copied() {
    assert_not!(BlobSealer: Clone);
    assert_not!(SealKeys: Clone);
    assert_not!(Salt: Clone);
}

/// F-03: there is no `==` that could end at the first byte that differs.
#[test]
fn secrets_compare_in_constant_time_only() {
    assert_not!(Secret<32>: PartialEq);
    assert_not!(DataKey: PartialEq);
    let (a, b, c) = (
        Secret::take(&mut [1; 32]),
        Secret::take(&mut [1; 32]),
        Secret::take(&mut [2; 32]),
    );
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert!(bool::from(a.ct_eq(&b)) && !bool::from(a.ct_eq(&c)));
}

/// F-06: what is random comes from the kernel and from nowhere else.
#[test]
fn the_library_has_no_random_generator_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies
        .lines()
        .filter_map(|line| line.split([' ', '=']).next());
    let of_randomness: Vec<&str> = names.filter(|name| name.contains("rand")).collect();
    assert_eq!(of_randomness, ["getrandom"]);
}

/// F-07, F-32.
#[test]
fn salts_do_not_repeat() {
    let salts: HashSet<[u8; 32]> = (0..10_000).map(|_| Salt::fresh(0).unwrap().0).collect();
    assert_eq!(salts.len(), 10_000);
}

/// F-54: 128 random bits each.
#[test]
fn instance_ids_do_not_repeat() {
    let ids: HashSet<InstanceId> = (0..10_000).map(|_| InstanceId::random().unwrap()).collect();
    assert_eq!(ids.len(), 10_000);
}

/// F-54.
#[cfg(feature = "vault")]
#[test]
fn a_blob_id_begins_with_the_incarnation_of_its_writer() {
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&0x0102_0304_0506_0708_u64.to_le_bytes());
    let incarnation = strongroom::store::incarnation_of(strongroom::id::BlobId(id));
    assert_eq!(incarnation, 0x0102_0304_0506_0708);
}

/// F-07, F-56.
#[test]
fn two_records_share_neither_data_key_nor_salt() {
    let ring = keyring(vec![root(1)]);
    let record = ring.create_bucket_key(BUCKET, 1, "test").unwrap();
    let key = ring.bucket_key(&record, None, Purpose::Wrap).unwrap();
    let wrap = || {
        let dk = key.new_data_key().unwrap();
        let ctx = context(Mode::Managed);
        let state = RecordState::NoManifest;
        let record = key.wrap_data_key(&dk, &ctx, None, state, [0; 32]).unwrap();
        // A data key shows by what it derives: the same list sealed under it.
        let mark = dk.seal_attrs(INSTANCE, 0, b"mark").unwrap();
        (record[12..44].to_vec(), mark)
    };
    let (salts, marks): (HashSet<_>, HashSet<_>) = (0..1000).map(|_| wrap()).unzip();
    assert_eq!((salts.len(), marks.len()), (1000, 1000));
}

/// F-64, F-68: a generation belongs to the roots that wrapped it; others open other generations.
#[test]
fn each_generation_belongs_to_one_set_of_roots() {
    let create = |roots: Vec<Root>, generation| {
        let ring: Keyring = keyring(roots);
        ring.create_bucket_key(BUCKET, generation, "test").unwrap()
    };
    let first = create(vec![root(2), root(1)], 1);
    let second = create(vec![root(3)], 2);
    let wrapped_by = |record: &[u8]| -> Vec<RootId> {
        let record = BucketKeyRecord::parse(record).unwrap();
        record.wraps.iter().map(|wrap| wrap.root).collect()
    };
    assert_eq!(wrapped_by(&first), [RootId([1; 16]), RootId([2; 16])]);
    assert_eq!(wrapped_by(&second), [RootId([3; 16])]);
    let ring = keyring(vec![root(2)]);
    assert!(ring.bucket_key(&first, None, Purpose::Unwrap).is_ok());
    let refused = ring.bucket_key(&second, None, Purpose::Unwrap);
    assert!(matches!(refused, Err(KeyError::NoRoot { .. })));
}

/// F-53, F-72.
#[test]
fn moving_to_a_new_generation_moves_the_record_and_the_attributes() {
    let ring = Arc::new(keyring(vec![root(1)]));
    let records = [1, 2].map(|n| ring.create_bucket_key(BUCKET, n, "test").unwrap());
    let [old, new] = records.map(|r| ring.bucket_key(&r, None, Purpose::Wrap).unwrap());
    let ctx = context(Mode::Managed);
    let (dk, state) = (old.new_data_key().unwrap(), RecordState::Complete);
    let record = old.wrap_data_key(&dk, &ctx, None, state, [7; 32]).unwrap();
    let attrs = old.seal_attrs(INSTANCE, 0, b"attributes").unwrap();

    let moved = old.rewrap_data_key(&record, &ctx, &new).unwrap();
    let list = old.open_attrs(INSTANCE, 0, &attrs).unwrap();
    let moved_attrs = new.seal_attrs(INSTANCE, 0, &list).unwrap();

    let (_, info) = new.unwrap_data_key(&moved, &ctx, None).unwrap();
    assert_eq!((info.generation, info.manifest_digest), (2, [7; 32]));
    assert_eq!(new.open_attrs(INSTANCE, 0, &moved_attrs).unwrap(), list);
    assert!(new.unwrap_data_key(&record, &ctx, None).is_err());
    assert!(old.unwrap_data_key(&moved, &ctx, None).is_err());
    assert!(new.open_attrs(INSTANCE, 0, &attrs).is_err());
}

//! Rights are asked with every request: state of the bucket key, of master versions, of the stores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::id::{BucketId, RootId};
use strongroom::keys::testing::{Fault, SoftMasterKey};
use strongroom::keys::{KeyState, MasterVersionState, Purpose, Request};
use strongroom::store::{GenerationState, MasterRow};
use strongroom::vault::{
    Bucket, CommitRequest, Finding, Precondition, Protection, StorePaths, Stores, Vault,
    VaultError, Which,
};

use crate::support::*;

const CONTROL_RING: BucketId = BucketId([0xff; 16]);

/// Sets the state of a bucket's key, in the key store and (or not) in the catalog.
fn set_state(stores: &Stores, bucket: &Bucket, state: KeyState, in_catalog: bool) {
    let generation = bucket.generation;
    let old = stores
        .keys
        .fetch_bucket(bucket.id, generation)
        .unwrap()
        .bucket_key
        .unwrap();
    let new = keyring().set_state(&old, state, "officer").unwrap();
    stores
        .keys
        .replace_bucket_key(bucket.id, generation, &old, &new)
        .unwrap();
    if in_catalog {
        let before = stores
            .catalog
            .generation(bucket.id, generation)
            .unwrap()
            .unwrap();
        let after = GenerationState {
            generation,
            rev: before.rev + 1,
            state: state.code(),
        };
        stores
            .catalog
            .set_generation(bucket.id, Some(before), after, false)
            .unwrap();
    }
}

fn start(dir: &std::path::Path) -> (Stores, Arc<Vault>, Bucket) {
    let stores = stores(dir);
    let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
    let bucket = vault.create_bucket("b", "owner").unwrap();
    (stores, vault, bucket)
}

#[test]
fn a_disabled_bucket_key_holds_for_the_next_request_and_enabling_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, vault, bucket) = start(dir.path());
    put(&vault, "b", b"x", b"1").unwrap();
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    let mut stream = vault
        .put(put_request("b", b"y", Protection::Managed))
        .unwrap();
    stream.write(b"2").unwrap();
    set_state(&stores, &bucket, KeyState::Disabled, true);
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::Disabled(_))
    ));
    assert!(matches!(
        put(&vault, "b", b"x", b"2"),
        Err(VaultError::Disabled(_))
    ));
    let late = stream.commit(CommitRequest::default());
    assert!(matches!(late, Err(VaultError::Disabled(_))), "{late:?}");
    assert_eq!(
        vault.stat("b", b"x", Which::Current).unwrap().attrs,
        None,
        "a listing goes on without"
    );
    set_state(&stores, &bucket, KeyState::Active, true);
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    put(&vault, "b", b"x", b"2").unwrap();
}

#[test]
fn a_stream_in_flight_ends_within_64_mib_of_the_key_being_disabled() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, vault, bucket) = start(dir.path());
    let mut stream = vault
        .put(put_request("b", b"x", Protection::Managed))
        .unwrap();
    let piece = vec![7; 1 << 20];
    (0..70).for_each(|_| stream.write(&piece).unwrap());
    stream.commit(CommitRequest::default()).unwrap();
    let mut reader = vault.open(open("b", b"x")).unwrap();
    let mut buf = vec![0; 1 << 20];
    assert_eq!(reader.read_at(0, &mut buf).unwrap(), 1 << 20);
    set_state(&stores, &bucket, KeyState::Disabled, true);
    let begun = Instant::now();
    let ended = (1..70).find_map(|at| reader.read_at(at << 20, &mut buf).err());
    assert!(matches!(ended, Some(VaultError::Disabled(_))), "{ended:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "by bytes, not by time"
    );
}

#[test]
fn a_state_that_differs_between_key_store_and_catalog_stops_writes_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, vault, bucket) = start(dir.path());
    put(&vault, "b", b"x", b"1").unwrap();
    set_state(&stores, &bucket, KeyState::Active, false);
    assert!(matches!(
        put(&vault, "b", b"x", b"2"),
        Err(VaultError::ReadOnly(_))
    ));
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    assert!(vault.counters().alarms >= 1);
}

/// A key that cannot be told to be good is a finding, one that is shredded is not; neither keeps others from being read.
#[test]
fn verify_goes_on_behind_a_bucket_whose_key_is_in_doubt_or_shredded() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, vault, bucket) = start(dir.path());
    put(&vault, "b", b"x", b"1").unwrap();
    vault.create_bucket("c", "owner").unwrap();
    put(&vault, "c", b"x", b"1").unwrap();
    let verify = || {
        let mut found = Vec::new();
        let report = vault
            .verify(None, &mut |it| found.push(it.clone()))
            .unwrap();
        (report.objects, report.unopened, found)
    };
    let before = stores.catalog.generation(bucket.id, 1).unwrap();
    let in_doubt = GenerationState {
        state: u8::MAX,
        ..before.unwrap()
    };
    let set = |from, to| stores.catalog.set_generation(bucket.id, from, to, false);
    set(before, in_doubt).unwrap();
    let (objects, unopened, found) = verify();
    assert_eq!((objects, unopened, found.len()), (1, 0, 1));
    assert!(
        matches!(&found[0], Finding::Object { bucket, .. } if bucket == "b"),
        "{found:?}"
    );
    set(Some(in_doubt), before.unwrap()).unwrap();
    set_state(&stores, &bucket, KeyState::Shredded, true);
    let (objects, unopened, found) = verify();
    assert_eq!((objects, unopened, found.len()), (1, 1, 0), "{found:?}");
}

#[test]
fn a_disabled_master_version_opens_nothing_and_an_unsigned_state_counts_as_disabled() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, vault, _) = start(dir.path());
    put(&vault, "b", b"x", b"1").unwrap();
    let record = stores
        .keys
        .fetch_bucket(CONTROL_RING, 1)
        .unwrap()
        .bucket_key
        .unwrap();
    let keyring = keyring();
    let ring = keyring
        .control_ring(&record, &Request::new(Purpose::Wrap))
        .unwrap();
    let row = |rev, state| {
        let state = MasterVersionState {
            root: ROOT,
            version: 1,
            rev,
            state,
        };
        MasterRow {
            root: ROOT,
            version: 1,
            state: ring.seal_state(&state).unwrap(),
        }
    };
    let (active, disabled) = (row(1, KeyState::Active), row(2, KeyState::Disabled));
    stores.keys.put_master(None, active.clone()).unwrap();
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    stores
        .keys
        .put_master(Some(&active), disabled.clone())
        .unwrap();
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::Disabled(_))
    ));
    let again = row(3, KeyState::Active);
    stores
        .keys
        .put_master(Some(&disabled), again.clone())
        .unwrap();
    assert_eq!(get(&vault, "b", b"x").unwrap(), b"1");
    let mut forged = again.clone();
    *forged.state.last_mut().unwrap() ^= 1;
    stores.keys.put_master(Some(&again), forged).unwrap();
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::Disabled(_))
    ));
}

#[test]
fn without_the_hsm_cached_keys_go_on_and_everything_else_fails_at_once_then_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let master = Arc::new(SoftMasterKey::new(ROOT));
    let vault = Vault::start(
        stores(dir.path()),
        keyring_of(master.clone()),
        Default::default(),
    )
    .unwrap();
    vault.create_bucket("cached", "owner").unwrap();
    vault.create_bucket("cold", "owner").unwrap();
    put(&vault, "cached", b"x", b"1").unwrap();
    put(&vault, "cold", b"x", b"1").unwrap();
    drop(vault);
    let vault = Vault::start(
        stores(dir.path()),
        keyring_of(master.clone()),
        Default::default(),
    )
    .unwrap();
    assert_eq!(get(&vault, "cached", b"x").unwrap(), b"1");
    master.set_fault(Fault::Unavailable);
    let begun = Instant::now();
    assert_eq!(get(&vault, "cached", b"x").unwrap(), b"1");
    put(&vault, "cached", b"y", b"2").unwrap();
    assert!(matches!(
        get(&vault, "cold", b"x"),
        Err(VaultError::Unavailable(_))
    ));
    assert!(matches!(
        put(&vault, "cold", b"y", b"2"),
        Err(VaultError::Unavailable(_))
    ));
    assert!(matches!(
        vault.create_bucket("new", "owner"),
        Err(VaultError::Unavailable(_))
    ));
    assert!(begun.elapsed() < Duration::from_secs(2));
    master.set_fault(Fault::None);
    std::thread::sleep(Duration::from_millis(1_100)); // a failed load is remembered for a second
    assert_eq!(get(&vault, "cold", b"x").unwrap(), b"1");
    vault.create_bucket("new", "owner").unwrap();
}

#[test]
fn another_root_opens_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vault, _) = start(dir.path());
    put(&vault, "b", b"x", b"1").unwrap();
    drop(vault);
    let other = keyring_of(Arc::new(SoftMasterKey::new(RootId([8; 16]))));
    let vault = Vault::start(stores(dir.path()), other, Default::default()).unwrap();
    let result = get(&vault, "b", b"x");
    assert!(
        matches!(result, Err(VaultError::KeyMissing { .. })),
        "{result:?}"
    );
}

#[test]
fn with_an_older_key_store_the_vault_reads_names_what_is_missing_and_collects_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let paths = StorePaths::below(dir.path());
    {
        let (_, vault, _) = start(dir.path());
        put(&vault, "b", b"old", b"1").unwrap();
    }
    let backup = dir.path().join("backup.db");
    std::fs::copy(&paths.keys, &backup).unwrap();
    {
        let vault = vault(dir.path());
        put(&vault, "b", b"new", &bytes(100_000, 1)).unwrap();
        put(&vault, "b", b"gone", &bytes(100_000, 2)).unwrap();
        vault.delete("b", b"gone", Precondition::None).unwrap();
    }
    std::fs::copy(&backup, &paths.keys).unwrap();
    let stores = stores(dir.path());
    let vault = Vault::start(stores.clone(), keyring(), config()).unwrap();
    assert!(vault.read_only_reason().unwrap().contains("epoch"));
    assert_eq!(get(&vault, "b", b"old").unwrap(), b"1");
    let missing = get(&vault, "b", b"new");
    assert!(
        matches!(missing, Err(VaultError::KeyMissing { .. })),
        "{missing:?}"
    );
    assert!(matches!(
        put(&vault, "b", b"x", b"1"),
        Err(VaultError::ReadOnly(_))
    ));
    assert!(matches!(
        vault.delete("b", b"old", Precondition::None),
        Err(VaultError::ReadOnly(_))
    ));
    let blobs = || blobs_of(&stores.blobs);
    let before = blobs();
    std::thread::sleep(config().lease * 2);
    assert_eq!(vault.maintain().unwrap(), Default::default());
    assert_eq!(blobs(), before);
    assert_eq!(vault.counters().damaged, 0, "missing, not damaged");
}

#[test]
fn another_key_store_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_, vault, _) = start(dir.path());
        put(&vault, "b", b"x", b"1").unwrap();
    }
    for name in ["keys.db", "keys.db-wal", "keys.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    let vault = vault(dir.path());
    assert!(vault.read_only_reason().unwrap().contains("not the one"));
    assert!(matches!(
        get(&vault, "b", b"x"),
        Err(VaultError::KeyMissing { .. })
    ));
}

#[test]
fn a_vault_started_to_read_serves_beside_the_one_that_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, writer, _) = start(dir.path());
    put(&writer, "b", b"x", b"1").unwrap();
    let beside = Stores::open_to_read(&StorePaths::below(dir.path())).unwrap();
    let reader = Vault::start_to_read(beside, keyring(), Default::default()).unwrap();
    assert_eq!(get(&reader, "b", b"x").unwrap(), b"1");
    put(&writer, "b", b"x", b"2").unwrap();
    assert_eq!(get(&reader, "b", b"x").unwrap(), b"2");
    assert!(matches!(
        put(&reader, "b", b"x", b"3"),
        Err(VaultError::ReadOnly(_))
    ));
    assert_eq!(reader.verify(None, &mut |_| ()).unwrap().objects, 1);
}

/// That it only reads is no reason for anything to be missing.
#[test]
fn a_vault_started_to_read_tells_what_is_lost_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, writer, _) = start(dir.path());
    let lost_key = put(&writer, "b", b"key", b"1").unwrap().instance;
    put(&writer, "b", b"blob", &bytes(100_000, 1)).unwrap();
    stores.keys.shred(&[lost_key]).unwrap();
    let blob = blobs_of(&stores.blobs)[0];
    assert!(stores.blobs.remove(blob).unwrap());
    let reader = Vault::start_to_read(stores, keyring(), Default::default()).unwrap();
    for key in [&b"key"[..], b"blob"] {
        let lost = get(&reader, "b", key);
        assert!(matches!(lost, Err(VaultError::Damaged { .. })), "{lost:?}");
    }
    assert_eq!(reader.counters().damaged, 2);
}

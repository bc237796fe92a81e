//! Objects under a root that the request names, and the same object under another key.

use std::ops::Bound;
use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::id::RootId;
use strongroom::keys::testing::SoftMasterKey;
use strongroom::keys::{
    BucketKeyRecord, Keyring, KeyringConfig, Mode, RootState, encode_encryption_context,
};
use strongroom::vault::{
    CommitRequest, Committed, FactsChange, ListRequest, ListedItem, OpenRequest, PartInfo,
    Protection, Stores, Vault, VaultError, Versioning, Which,
};

use crate::held::Edited;
use crate::support::*;
use crate::uploads::{begin, complete, put_part};

const NAMED: RootId = RootId([8; 16]);

struct Scene {
    _dir: tempfile::TempDir,
    stores: Stores,
    vault: Arc<Vault>,
    roots: [Arc<SoftMasterKey>; 2],
}

fn keyring_over(roots: &[Arc<SoftMasterKey>; 2]) -> Keyring {
    let config = KeyringConfig {
        named_only: vec![NAMED],
        ..KeyringConfig::default()
    };
    let [primary, named] = roots.clone();
    Keyring::new(vec![primary, named], Arc::new(NullSink), config).unwrap()
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        let roots = [ROOT, NAMED].map(|id| Arc::new(SoftMasterKey::new(id)));
        let vault = Vault::start(stores.clone(), keyring_over(&roots), Default::default());
        let vault = vault.unwrap();
        vault.create_bucket("b", "owner").unwrap();
        Self {
            _dir: dir,
            stores,
            vault,
            roots,
        }
    }

    fn put(&self, key: &[u8], protection: Protection) -> Result<Committed, VaultError> {
        let mut stream = self.vault.put(put_request("b", key, protection))?;
        stream.write(key)?;
        stream.commit(CommitRequest {
            attrs: list(&[("etag", &etag(key))]),
            ..Default::default()
        })
    }

    fn set(&self, root: RootId, state: RootState) {
        let keyring = self.vault.keyring();
        keyring.set_root_state(root, state, "officer").unwrap();
    }

    /// The roots that wrap the keys of the bucket, generation by generation.
    fn generations(&self) -> Vec<Vec<RootId>> {
        let bucket = self.vault.bucket("b").unwrap();
        let records = self.stores.keys.bucket_keys(None, 100).unwrap();
        let of_bucket = records.into_iter().filter(|(id, ..)| *id == bucket.id);
        of_bucket
            .map(|(.., record)| {
                let wraps = BucketKeyRecord::parse(&record).unwrap().wraps;
                wraps.iter().map(|wrap| wrap.root).collect()
            })
            .collect()
    }
}

fn under(root: RootId, pairs: &[(&str, &str)]) -> Protection {
    Protection::Kms {
        root,
        context: encode_encryption_context(pairs).unwrap(),
    }
}

fn rewrap(vault: &Vault, key: &[u8], to: &Protection) -> Result<(), VaultError> {
    vault.rewrap_object(&open("b", key), to, None).map(drop)
}

/// F-68: a generation for each root set, made when it is first asked for.
#[test]
fn each_root_has_a_generation_of_its_own_made_once() {
    let scene = Scene::new();
    scene.put(b"managed", Protection::Managed).unwrap();
    assert_eq!(scene.generations(), [[ROOT]]);
    for key in [&b"1"[..], b"2", b"3"] {
        scene.put(key, under(NAMED, &[])).unwrap();
        scene.put(key, under(ROOT, &[])).unwrap();
    }
    assert_eq!(scene.generations(), [[ROOT], [NAMED], [ROOT]]);
    let info = scene.vault.head(open("b", b"1")).unwrap();
    assert_eq!((info.mode, info.kms_root), (Mode::Kms, Some(ROOT)));
    assert_eq!(get(&scene.vault, "b", b"managed").unwrap(), b"managed");
    let stranger = scene.put(b"x", under(RootId([9; 16]), &[]));
    assert!(matches!(stranger, Err(VaultError::NoSuchRoot(_))));
}

#[test]
fn many_that_name_a_root_first_agree_on_one_generation() {
    let scene = Scene::new();
    let other = Vault::start(
        scene.stores.clone(),
        keyring_over(&scene.roots),
        Default::default(),
    );
    let vaults = [scene.vault.clone(), other.unwrap()];
    let generations: Vec<u32> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..8_u8)
            .map(|hand| {
                let vault = &vaults[usize::from(hand % 2)];
                scope.spawn(move || {
                    let key = [b'k', hand];
                    let request = put_request("b", &key, under(NAMED, &[]));
                    let mut stream = vault.put(request).unwrap();
                    stream.write(&key).unwrap();
                    stream.commit(CommitRequest::default()).unwrap();
                })
            })
            .collect();
        hands.into_iter().for_each(|hand| hand.join().unwrap());
        let bucket = scene.vault.bucket("b").unwrap();
        (0..8_u8)
            .map(|hand| {
                let view = scene.stores.catalog.object(bucket.id, &[b'k', hand]);
                view.unwrap().unwrap().row.generation
            })
            .collect()
    });
    assert!(
        generations.windows(2).all(|pair| pair[0] == pair[1]),
        "{generations:?}"
    );
    for hand in 0..8_u8 {
        assert_eq!(get(&vaults[1], "b", &[b'k', hand]).unwrap(), [b'k', hand]);
    }
}

/// What a crash leaves between the key and the document is used by the next attempt.
#[test]
fn a_generation_that_a_crash_left_unnamed_is_taken_up() {
    let scene = Scene::new();
    let bucket = scene.vault.bucket("b").unwrap();
    let record = scene
        .vault
        .keyring()
        .create_bucket_key_under(bucket.id, 2, &[NAMED], "")
        .unwrap();
    scene
        .stores
        .keys
        .insert_bucket_key(bucket.id, 2, &record)
        .unwrap();
    scene.put(b"x", under(NAMED, &[])).unwrap();
    assert_eq!(scene.generations(), [[ROOT], [NAMED]]);
    assert_eq!(get(&scene.vault, "b", b"x").unwrap(), b"x");
}

#[test]
fn an_object_is_bound_to_its_root_and_its_context() {
    let scene = Scene::new();
    let context = [("project", "vault"), ("a", "b")];
    scene.put(b"x", under(NAMED, &context)).unwrap();
    assert_eq!(get(&scene.vault, "b", b"x").unwrap(), b"x");
    let info = scene.vault.head(open("b", b"x")).unwrap();
    let sorted = encode_encryption_context(&[("a", "b"), ("project", "vault")]).unwrap();
    assert_eq!(info.encryption_context, sorted);
    let bucket = scene.vault.bucket("b").unwrap();
    let row = scene
        .stores
        .catalog
        .object(bucket.id, b"x")
        .unwrap()
        .unwrap()
        .row;
    let other = encode_encryption_context(&[("a", "c"), ("project", "vault")]).unwrap();
    for (what, context, root, mode) in [
        ("context", other.clone(), row.kms_key_id.clone(), Mode::Kms),
        ("no context", Vec::new(), row.kms_key_id.clone(), Mode::Kms),
        (
            "root",
            sorted.clone(),
            ROOT.to_string().into_bytes(),
            Mode::Kms,
        ),
        ("mode", sorted.clone(), Vec::new(), Mode::Managed),
    ] {
        let mut edited = row.clone();
        edited.encryption_context = context;
        edited.kms_key_id = root;
        edited.mode = mode.code();
        let stores = Stores {
            catalog: Arc::new(Edited::new(&scene.stores.catalog, edited)),
            ..scene.stores.clone()
        };
        let vault = Vault::start(stores, keyring_over(&scene.roots), Default::default()).unwrap();
        let result = get(&vault, "b", b"x");
        assert!(
            matches!(result, Err(VaultError::Damaged { .. })),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn a_stopped_root_stops_what_is_under_it_and_nothing_else() {
    let scene = Scene::new();
    scene.put(b"managed", Protection::Managed).unwrap();
    scene.put(b"x", under(NAMED, &[])).unwrap();
    let upload = begin(&scene.vault, b"parts", under(NAMED, &[]));
    let part = put_part(&scene.vault, b"parts", upload, 1, b"1").unwrap();
    let mut stream = scene
        .vault
        .put(put_request("b", b"y", under(NAMED, &[])))
        .unwrap();
    stream.write(b"y").unwrap();
    scene.set(NAMED, RootState::Disabled);
    let disabled = |what: &str, result: Result<(), VaultError>| {
        assert!(
            matches!(result, Err(VaultError::RootDisabled(NAMED))),
            "{what}: {result:?}"
        );
    };
    disabled("get", get(&scene.vault, "b", b"x").map(drop));
    disabled("put", scene.put(b"y", under(NAMED, &[])).map(drop));
    disabled("commit", stream.commit(CommitRequest::default()).map(drop));
    disabled(
        "part",
        put_part(&scene.vault, b"parts", upload, 2, b"2").map(drop),
    );
    disabled(
        "complete",
        complete(&scene.vault, b"parts", upload, &[&part]).map(drop),
    );
    disabled(
        "rewrap",
        rewrap(&scene.vault, b"managed", &under(NAMED, &[])),
    );
    assert_eq!(get(&scene.vault, "b", b"managed").unwrap(), b"managed");
    scene.set(NAMED, RootState::PendingDeletion);
    assert!(matches!(
        get(&scene.vault, "b", b"x"),
        Err(VaultError::RootPendingDeletion(NAMED))
    ));
    scene.set(NAMED, RootState::Enabled);
    assert_eq!(get(&scene.vault, "b", b"x").unwrap(), b"x");
    complete(&scene.vault, b"parts", upload, &[&part]).unwrap();
}

/// A page needs the bucket's key, once for its time to live, whatever its objects are under.
#[test]
fn a_listing_makes_at_most_one_hsm_call() {
    let scene = Scene::new();
    for number in 0..30_u8 {
        let protection = match number % 4 {
            0 => Protection::Managed,
            1 => under(NAMED, &[]),
            2 => under(ROOT, &[]),
            _ => Protection::Customer(secret([1; 32])),
        };
        scene.put(&[b'k', number], protection).unwrap();
    }
    scene.vault.keyring().purge();
    let calls = || scene.roots.iter().map(|root| root.calls()).sum::<u64>();
    let before = calls();
    for _ in 0..5 {
        let page = scene.vault.list(&ListRequest {
            bucket: "b".into(),
            prefix: b"",
            from: Bound::Unbounded,
            delimiter: None,
            limit: 100,
        });
        let items = page.unwrap().items;
        assert_eq!(items.len(), 30);
        for item in items {
            let ListedItem::Object(object) = item else {
                panic!("a prefix without a delimiter");
            };
            assert_eq!(object.attrs.is_some(), object.mode == Mode::Managed);
        }
    }
    assert_eq!(calls() - before, 1);
}

#[test]
fn an_object_moves_between_keys_without_moving_a_byte() {
    let scene = Scene::new();
    let vault = &scene.vault;
    let bucket = vault.bucket("b").unwrap();
    vault.set_versioning(&bucket, Versioning::Enabled).unwrap();
    let upload = begin(vault, b"x", Protection::Managed);
    let bodies = [bytes(70_000, 1), bytes(80_000, 2)];
    let infos: Vec<PartInfo> = (1..)
        .zip(&bodies)
        .map(|(part, body)| put_part(vault, b"x", upload, part, body).unwrap())
        .collect();
    let version = complete(vault, b"x", upload, &[&infos[0], &infos[1]])
        .unwrap()
        .version;
    scene.put(b"x", Protection::Managed).unwrap();
    let of_version = || OpenRequest {
        version: Which::Label(version),
        ..open("b", b"x")
    };
    let row = || {
        let seen = scene
            .stores
            .catalog
            .version(bucket.id, b"x", Which::Label(version));
        match seen.unwrap().unwrap().version {
            strongroom::store::Version::Object(view) => view.row,
            strongroom::store::Version::Marker(_) => panic!("a marker"),
        }
    };
    let first = row();
    let mut old_reader = vault.open(of_version()).unwrap();
    for to in [
        under(NAMED, &[("a", "b")]),
        Protection::Managed,
        under(ROOT, &[]),
    ] {
        let before = row();
        let info = vault.head(of_version()).unwrap();
        let done = vault.rewrap_object(&of_version(), &to, None).unwrap();
        let (now, now_info) = (row(), vault.head(of_version()).unwrap());
        assert_eq!(
            (done.replaced, done.instance),
            (before.instance, now.instance)
        );
        assert_eq!(done.version, version);
        assert!(scene.stores.keys.fetch(before.instance).unwrap().tombstone);
        assert_eq!(
            (
                &now.blobs,
                &now.manifest,
                &now.head,
                now.modified_ms,
                now.version
            ),
            (
                &first.blobs,
                &first.manifest,
                &first.head,
                first.modified_ms,
                first.version
            )
        );
        assert_eq!(now_info.mode, to.mode());
        assert_eq!(
            (now_info.created_ms, now_info.attrs),
            (info.created_ms, info.attrs)
        );
        assert!(read(vault, of_version()).unwrap() == bodies.concat());
        for ((_, attrs), body) in vault
            .part_attrs(&of_version(), 0, 9)
            .unwrap()
            .iter()
            .zip(&bodies)
        {
            assert_eq!(attrs.get("etag").unwrap(), etag(body));
        }
    }
    // Who had it open before reads on.
    let mut end = vec![0; 80_000];
    let mut at = 0;
    while at < end.len() {
        at += old_reader
            .read_at(70_000 + at as u64, &mut end[at..])
            .unwrap();
    }
    assert!(end == bodies[1]);
    assert_eq!(
        get(vault, "b", b"x").unwrap(),
        b"x",
        "the other version is as it was"
    );
}

#[test]
fn what_a_customer_key_protects_and_what_is_plain_stays_as_it_is() {
    let scene = Scene::new();
    allow_plaintext(&scene.vault);
    scene
        .put(b"hers", Protection::Customer(secret([1; 32])))
        .unwrap();
    scene.put(b"plain", Protection::Plain).unwrap();
    scene.put(b"x", Protection::Managed).unwrap();
    let invalid = |result: Result<(), VaultError>| {
        assert!(matches!(result, Err(VaultError::Invalid(_))), "{result:?}");
    };
    for key in [&b"hers"[..], b"plain"] {
        invalid(rewrap(&scene.vault, key, &Protection::Managed));
    }
    for to in [Protection::Customer(secret([1; 32])), Protection::Plain] {
        invalid(rewrap(&scene.vault, b"x", &to));
    }
}

#[test]
fn an_object_gets_another_key_and_other_facts_at_one_moment_or_neither() {
    let scene = Scene::new();
    let vault = &scene.vault;
    scene.put(b"x", Protection::Managed).unwrap();
    let change = |expected, facts| {
        let change = FactsChange { expected, facts };
        vault.rewrap_object(&open("b", b"x"), &under(NAMED, &[]), Some(change))
    };
    let refused = change(b"locked".as_slice(), b"new".as_slice());
    assert!(matches!(refused, Err(VaultError::PreconditionFailed)));
    let stat = || vault.stat("b", b"x", Which::Current).unwrap();
    assert_eq!((stat().mode, stat().facts), (Mode::Managed, Vec::new()));
    change(b"", b"new").unwrap();
    assert_eq!((stat().mode, stat().facts), (Mode::Kms, b"new".to_vec()));
}

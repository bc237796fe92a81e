//! What was changed behind the vault's back is noticed, named, counted, and never handed out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom::id::VersionId;
use strongroom::keys::Mode;
use strongroom::store::{BlobRef, Commit, ObjectRow, Precondition};
use strongroom::vault::{Bucket, Stores, Vault, VaultError};

use crate::support::*;

struct Scene {
    dir: tempfile::TempDir,
    stores: Stores,
    vault: Arc<Vault>,
    bucket: Bucket,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
        let bucket = vault.create_bucket("b", "owner").unwrap();
        Self {
            dir,
            stores,
            vault,
            bucket,
        }
    }

    fn row(&self, key: &[u8]) -> ObjectRow {
        self.stores
            .catalog
            .object(self.bucket.id, key)
            .unwrap()
            .unwrap()
            .row
    }

    fn blob_path(&self, blob: &BlobRef) -> PathBuf {
        let shard = format!("{:02x}", blob.id.0[8]);
        self.dir
            .path()
            .join("blobs")
            .join(shard)
            .join(blob.id.to_string())
    }

    /// Puts a changed row in the place of the one that is there, as somebody with the catalog's file could.
    fn replace(&self, change: impl FnOnce(&mut ObjectRow)) {
        let view = self
            .stores
            .catalog
            .object(self.bucket.id, b"x")
            .unwrap()
            .unwrap();
        let mut row = view.row;
        let inline = view.inline;
        self.stores
            .catalog
            .delete(
                self.bucket.id,
                b"x",
                Precondition::None,
                None,
                VersionId([0; 16]),
                0,
            )
            .unwrap();
        let garbage: Vec<u64> = self
            .stores
            .catalog
            .garbage(0, 10)
            .unwrap()
            .iter()
            .map(|garbage| garbage.id)
            .collect();
        self.stores.catalog.garbage_done(&garbage).unwrap();
        change(&mut row);
        let incarnation = u64::from_le_bytes(row.blobs[0].id.0[..8].try_into().unwrap());
        self.stores
            .catalog
            .commit(Commit {
                bucket: self.bucket.id,
                incarnation,
                row,
                inline,
                part_attrs: Vec::new(),
                completes: None,
                precondition: Precondition::None,
                now_ms: 0,
            })
            .unwrap();
    }

    fn is_damaged(&self, what: &str) {
        let before = self.vault.counters().damaged;
        match get(&self.vault, "b", b"x") {
            Err(VaultError::Damaged {
                bucket,
                key,
                instance,
                ..
            }) => {
                assert_eq!((bucket.as_str(), key.as_slice()), ("b", &b"x"[..]));
                assert_eq!(instance, self.row(b"x").instance);
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(self.vault.counters().damaged, before + 1, "{what}");
    }
}

#[test]
fn a_missing_blob_a_short_one_and_a_changed_one_are_damage() {
    let scene = Scene::new();
    put(&scene.vault, "b", b"x", &bytes(300_000, 1)).unwrap();
    let path = scene.blob_path(&scene.row(b"x").blobs[0]);
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 20, 79, 80, 70_000, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        scene.is_damaged(&format!("bit flipped in byte {at}"));
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    scene.is_damaged("a byte short");
    std::fs::remove_file(&path).unwrap();
    scene.is_damaged("missing");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(get(&scene.vault, "b", b"x").unwrap(), bytes(300_000, 1));
}

#[test]
fn a_segment_behind_a_damaged_one_still_reads_and_no_byte_of_the_damaged_one_does() {
    let scene = Scene::new();
    let body = bytes(300_000, 1);
    put(&scene.vault, "b", b"x", &body).unwrap();
    let path = scene.blob_path(&scene.row(b"x").blobs[0]);
    let mut blob = std::fs::read(&path).unwrap();
    blob[80 + 65_552 + 5] ^= 1;
    std::fs::write(&path, &blob).unwrap();
    let mut reader = scene.vault.open(open("b", b"x")).unwrap();
    let mut buf = vec![0xaa; 65_536];
    assert_eq!(reader.read_at(0, &mut buf).unwrap(), 65_536);
    assert!(buf == body[..65_536]);
    for (offset, len) in [(65_536, 65_536), (70_000, 10), (60_000, 65_536)] {
        let mut buf = vec![0xaa; len];
        let read = reader.read_at(offset, &mut buf);
        match read {
            Err(VaultError::Damaged { .. }) => assert!(buf.iter().all(|byte| *byte == 0)),
            // What lies before the damaged segment may come alone.
            Ok(read) => assert!(offset as usize + read <= 65_536),
            other => panic!("{other:?}"),
        }
    }
    assert!(reader.read_at(131_072, &mut buf).unwrap() > 0);
}

#[test]
fn a_shredded_or_lost_key_record_is_damage_when_the_catalog_still_names_it() {
    let scene = Scene::new();
    let committed = put(&scene.vault, "b", b"x", b"1").unwrap();
    scene.stores.keys.shred(&[committed.instance]).unwrap();
    scene.is_damaged("record shredded behind the vault's back");
}

#[test]
fn no_field_of_a_row_can_be_changed_unnoticed() {
    type Change = fn(&mut ObjectRow);
    let changes: &[(&str, Change)] = &[
        ("length", |row| row.length += 1),
        ("suite", |row| row.suite = 0),
        ("sealed turned plain", |row| {
            row.suite = 0;
            row.mode = Mode::Plain.code();
        }),
        ("mode", |row| row.mode = Mode::Plain.code()),
        ("mode unknown", |row| row.mode = 99),
        ("manifest", |row| row.manifest[60] ^= 1),
        ("manifest cut", |row| row.manifest.truncate(70)),
        ("manifest page", |row| {
            *row.manifest.last_mut().unwrap() ^= 1
        }),
        ("manifest that claims many pages", |row| {
            row.manifest[55] = 0xff
        }),
        ("head", |row| *row.head.last_mut().unwrap() ^= 1),
        ("attributes", |row| row.attrs[3] ^= 1),
        ("encryption context", |row| row.encryption_context = vec![1]),
        ("key id", |row| row.kms_key_id = vec![b'0'; 32]),
        ("part", |row| row.blobs[0].part = 1),
        ("sealed length", |row| row.blobs[0].sealed_len += 16),
        ("a blob more", |row| row.blobs.push(row.blobs[0].clone())),
        ("no blob", |row| row.blobs.clear()),
    ];
    for (what, change) in changes {
        let scene = Scene::new();
        put(&scene.vault, "b", b"x", &bytes(500, 1)).unwrap();
        let row = scene.row(b"x");
        let mut changed = row.clone();
        change(&mut changed);
        // Through a double of the catalog, since a real one would check some of this itself.
        let stores = Stores {
            catalog: Arc::new(crate::held::Edited::new(&scene.stores.catalog, changed)),
            ..scene.stores.clone()
        };
        let vault = Vault::start(stores, keyring(), Default::default()).unwrap();
        let result = get(&vault, "b", b"x");
        assert!(
            matches!(result, Err(VaultError::Damaged { .. })),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn an_object_under_another_name_or_another_ones_record_does_not_open() {
    let scene = Scene::new();
    put(&scene.vault, "b", b"x", b"one").unwrap();
    scene.replace(|row| row.facts = b"facts may change".to_vec());
    assert_eq!(
        get(&scene.vault, "b", b"x").unwrap(),
        b"one",
        "the scene itself changes nothing"
    );
    let mut moved = scene.row(b"x");
    moved.key = b"y".to_vec();
    let stores = Stores {
        catalog: Arc::new(crate::held::Edited::new(&scene.stores.catalog, moved)),
        ..scene.stores.clone()
    };
    let vault = Vault::start(stores, keyring(), Default::default()).unwrap();
    assert!(matches!(
        get(&vault, "b", b"y"),
        Err(VaultError::Damaged { .. })
    ));
}

#[test]
fn an_old_version_of_an_object_put_back_does_not_open() {
    let scene = Scene::new();
    let body = bytes(100_000, 1);
    put(&scene.vault, "b", b"x", &body).unwrap();
    let old = scene.row(b"x");
    let path = scene.blob_path(&old.blobs[0]);
    let blob = std::fs::read(&path).unwrap();
    put(&scene.vault, "b", b"x", &bytes(100_000, 2)).unwrap();
    std::fs::write(&path, blob).unwrap();
    let stores = Stores {
        catalog: Arc::new(crate::held::Edited::new(&scene.stores.catalog, old)),
        ..scene.stores.clone()
    };
    let vault = Vault::start(stores, keyring(), Default::default()).unwrap();
    let result = get(&vault, "b", b"x");
    assert!(
        matches!(result, Err(VaultError::Damaged { .. })),
        "its record is shredded: {result:?}"
    );
}

#[test]
fn two_objects_blobs_exchanged_are_damage_in_both() {
    let scene = Scene::new();
    put(&scene.vault, "b", b"x", &bytes(100_000, 1)).unwrap();
    put(&scene.vault, "b", b"y", &bytes(100_000, 2)).unwrap();
    let paths = [b"x", b"y"].map(|key| scene.blob_path(&scene.row(key).blobs[0]));
    swap(&paths[0], &paths[1]);
    scene.is_damaged("another object's blob");
    assert!(matches!(
        get(&scene.vault, "b", b"y"),
        Err(VaultError::Damaged { .. })
    ));
}

fn swap(one: &Path, other: &Path) {
    let (first, second) = (std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    std::fs::write(one, second).unwrap();
    std::fs::write(other, first).unwrap();
}

//! The archive: sealed bytes move there and back, and no key is used.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strongroom::keys::testing::{Fault, SoftMasterKey};
use strongroom::store::{BlobRef, Locator, ObjectRow};
use strongroom::vault::{
    CommitRequest, Protection, Stores, Transfer, Vault, VaultConfig, VaultError, Which,
};

use crate::support::*;
use crate::uploads::{begin, complete, put_part};
use crate::verify::key_of;

struct Scene {
    dir: tempfile::TempDir,
    stores: Stores,
    vault: Arc<Vault>,
    master: Arc<SoftMasterKey>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stores = stores(dir.path());
        let master = Arc::new(SoftMasterKey::new(ROOT));
        let configuration = VaultConfig {
            delete_grace: Duration::ZERO,
            ..VaultConfig::default()
        };
        let keyring = keyring_of(master.clone());
        let vault = Vault::start(stores.clone(), keyring, configuration).unwrap();
        vault.create_bucket("b", "owner").unwrap();
        Self {
            dir,
            stores,
            vault,
            master,
        }
    }

    /// From here on no key can be had.
    fn take_all_keys_away(&self) {
        self.master.set_fault(Fault::Unavailable);
        self.vault.keyring().purge();
    }

    fn archive(&self, key: &[u8]) -> Result<(), VaultError> {
        let transfer = self.vault.archive_object("b", key, Which::Current, b"")?;
        transfer.run(b"archived")
    }

    fn restore(&self, key: &[u8]) -> Result<(), VaultError> {
        let transfer = self
            .vault
            .restore_object("b", key, Which::Current, b"archived")?;
        transfer.run(b"restored")
    }

    fn row(&self, key: &[u8]) -> ObjectRow {
        let bucket = self.vault.bucket("b").unwrap();
        let view = self.stores.catalog.object(bucket.id, key).unwrap();
        view.unwrap().row
    }

    /// Blobs in the first store and in the archive, once garbage is removed.
    fn blobs(&self) -> (usize, usize) {
        self.vault.maintain().unwrap();
        let archive = self.stores.archive.as_ref().unwrap();
        (blobs_of(&self.stores.blobs).len(), blobs_of(archive).len())
    }

    fn path(&self, place: &str, blob: &BlobRef) -> PathBuf {
        let shard = format!("{:02x}", blob.id.0[8]);
        let path = self.dir.path().join(place).join(shard);
        path.join(blob.id.to_string())
    }

    fn damage(&self, place: &str, blob: &BlobRef) {
        let path = self.path(place, blob);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1; // in the salt: what can be seen without a customer's key
        std::fs::write(&path, bytes).unwrap();
    }
}

const KEY: [u8; 32] = [3; 32];

fn archived<T>(result: Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::Archived { .. }))
}

/// A key, its body, and the customer key it is under.
type Object = (&'static [u8], Vec<u8>, Option<[u8; 32]>);

/// One object of each kind: inline, a file, under a customer key, in parts.
fn fill(scene: &Scene) -> Vec<Object> {
    let vault = &scene.vault;
    let objects = vec![
        (&b"small"[..], bytes(900, 1), None),
        (b"large", bytes(3_000_000, 2), None),
        (b"hers", bytes(100_000, 3), Some(KEY)),
        (b"parts", [bytes(70_000, 4), bytes(5, 5)].concat(), None),
    ];
    for (key, body, customer) in &objects[..3] {
        let protection = match customer {
            Some(key) => Protection::Customer(secret(*key)),
            None => Protection::Managed,
        };
        let mut stream = vault.put(put_request("b", key, protection)).unwrap();
        stream.write(body).unwrap();
        stream.commit(CommitRequest::default()).unwrap();
    }
    let upload = begin(vault, b"parts", Protection::Managed);
    let infos = [(1, &bytes(70_000, 4)), (2, &bytes(5, 5))]
        .map(|(part, body)| put_part(vault, b"parts", upload, part, body).unwrap());
    complete(vault, b"parts", upload, &[&infos[0], &infos[1]]).unwrap();
    objects
}

fn read_as(scene: &Scene, key: &[u8], customer: Option<[u8; 32]>) -> Result<Vec<u8>, VaultError> {
    match customer {
        Some(customer) => read(&scene.vault, open_with("b", key, customer)),
        None => get(&scene.vault, "b", key),
    }
}

#[test]
fn a_transition_and_a_restore_need_no_key_of_anybody() {
    let scene = Scene::new();
    let objects = fill(&scene);
    scene.take_all_keys_away();
    for (key, ..) in &objects {
        scene.archive(key).unwrap();
        let stat = scene.vault.stat("b", key, Which::Current).unwrap();
        assert_eq!(stat.facts, b"archived");
        assert_eq!((stat.place.archived, stat.place.restored), (true, false));
    }
    assert_eq!(scene.blobs(), (0, 5), "every byte is in the archive");
    for (key, ..) in &objects {
        scene.restore(key).unwrap();
    }
    assert_eq!(scene.blobs(), (5, 5));
    assert!(
        get(&scene.vault, "b", b"large").unwrap_err().is_transient(),
        "reading needs the key all the same"
    );
    scene.master.set_fault(Fault::None);
    scene.vault.keyring().purge();
    for (key, body, customer) in &objects {
        assert!(read_as(&scene, key, *customer).unwrap() == *body);
    }
    assert!(matches!(
        get(&scene.vault, "b", b"hers"),
        Err(VaultError::CustomerKeyRequired)
    ));
    scene.take_all_keys_away();
    for (key, ..) in &objects {
        let dropped = scene
            .vault
            .drop_restored("b", key, Which::Current, b"restored", b"archived");
        dropped.unwrap();
    }
    assert_eq!(scene.blobs(), (0, 5));
    scene.master.set_fault(Fault::None);
    scene.vault.keyring().purge();
    for (key, _, customer) in &objects {
        assert!(archived(read_as(&scene, key, *customer)));
    }
}

#[test]
fn an_archived_object_is_described_and_not_read_until_it_is_restored() {
    let scene = Scene::new();
    let body = bytes(100_000, 1);
    put(&scene.vault, "b", b"x", &body).unwrap();
    scene.archive(b"x").unwrap();
    assert!(archived(get(&scene.vault, "b", b"x")));
    let head = scene.vault.head(open("b", b"x")).unwrap();
    assert_eq!(head.length, 100_000);
    assert_eq!(head.attrs.get("etag").unwrap(), etag(&body));
    assert!(head.place.archived);
    let invalid = |result: Result<Transfer, VaultError>| {
        assert!(matches!(result.map(drop), Err(VaultError::Invalid(_))));
    };
    let vault = &scene.vault;
    invalid(vault.archive_object("b", b"x", Which::Current, b"archived"));
    scene.restore(b"x").unwrap();
    assert!(get(vault, "b", b"x").unwrap() == body);
    invalid(vault.restore_object("b", b"x", Which::Current, b"restored"));
    put(vault, "b", b"y", b"1").unwrap();
    invalid(vault.restore_object("b", b"y", Which::Current, b""));
    vault
        .delete("b", b"x", strongroom::vault::Precondition::None)
        .unwrap();
    assert_eq!(scene.blobs(), (0, 0), "both copies are gone");
}

#[test]
fn a_transfer_moves_a_batch_at_a_time_and_leaves_nothing_if_it_is_given_up() {
    let scene = Scene::new();
    let body = bytes(3_500_000, 1);
    put(&scene.vault, "b", b"x", &body).unwrap();
    let begin = || {
        scene
            .vault
            .archive_object("b", b"x", Which::Current, b"")
            .unwrap()
    };
    let mut transfer = begin();
    let mut steps = 1;
    while transfer.step().unwrap() {
        steps += 1;
    }
    assert_eq!(steps, 4, "batches of 1 MiB");
    drop(transfer);
    let mut half = begin();
    half.step().unwrap();
    let early = half.commit(b"archived");
    assert!(matches!(early, Err(VaultError::Invalid(_))), "{early:?}");
    assert_eq!(scene.blobs(), (1, 0));
    assert!(get(&scene.vault, "b", b"x").unwrap() == body);
}

#[test]
fn facts_that_changed_meanwhile_stop_a_transfer() {
    let scene = Scene::new();
    let vault = &scene.vault;
    let first = put(vault, "b", b"x", &bytes(100_000, 1)).unwrap();
    let judged = vault.archive_object("b", b"x", Which::Current, b"other");
    assert!(matches!(
        judged.map(drop),
        Err(VaultError::PreconditionFailed)
    ));
    let transfer = vault
        .archive_object("b", b"x", Which::Current, b"")
        .unwrap();
    let bucket = vault.bucket("b").unwrap();
    vault
        .set_facts(&bucket, b"x", Which::Current, first.instance, b"", b"new")
        .unwrap();
    let stopped = transfer.run(b"archived");
    assert!(matches!(stopped, Err(VaultError::PreconditionFailed)));
    assert_eq!(scene.blobs(), (1, 0));
    assert_eq!(scene.row(b"x").facts, b"new");
}

#[test]
fn a_reader_in_mid_body_follows_the_bytes_into_the_archive() {
    let scene = Scene::new();
    let vault = &scene.vault;
    let bodies = [bytes(70_000, 1), bytes(80_000, 2), bytes(90_000, 3)];
    let upload = begin(vault, b"x", Protection::Managed);
    let infos: Vec<_> = (1..)
        .zip(&bodies)
        .map(|(part, body)| put_part(vault, b"x", upload, part, body).unwrap())
        .collect();
    complete(vault, b"x", upload, &infos.iter().collect::<Vec<_>>()).unwrap();
    // Beside the vault that moves them: that one keeps them for its own readers.
    let beside = Vault::start_to_read(scene.stores.clone(), keyring(), config()).unwrap();
    let mut reader = beside.open(open("b", b"x")).unwrap();
    let whole = bodies.concat();
    let mut body = vec![0; whole.len()];
    let mut at = reader.read_at(0, &mut body[..70_000]).unwrap();
    scene.archive(b"x").unwrap();
    assert_eq!(scene.blobs(), (0, 3), "the grace period is over");
    while at < 150_000 {
        at += reader.read_at(at as u64, &mut body[at..150_000]).unwrap();
    }
    scene.restore(b"x").unwrap();
    while at < whole.len() {
        at += reader.read_at(at as u64, &mut body[at..]).unwrap();
    }
    assert!(body == whole);
    assert_eq!(beside.counters().damaged, 0);
}

#[test]
fn without_an_archive_nothing_moves_and_nothing_else_changes() {
    let scene = Scene::new();
    put(&scene.vault, "b", b"x", &bytes(100_000, 1)).unwrap();
    put(&scene.vault, "b", b"gone", &bytes(100_000, 1)).unwrap();
    scene.archive(b"gone").unwrap();
    let stores = Stores {
        archive: None,
        ..scene.stores.clone()
    };
    let vault = Vault::start(stores, keyring(), config()).unwrap();
    let refused = vault.archive_object("b", b"x", Which::Current, b"");
    assert!(matches!(refused.map(drop), Err(VaultError::Unavailable(_))));
    get(&vault, "b", b"x").unwrap();
    vault
        .delete("b", b"gone", strongroom::vault::Precondition::None)
        .unwrap();
    vault.maintain().unwrap();
    assert_eq!(
        scene.stores.catalog.garbage(0, 10).unwrap().len(),
        1,
        "what lies in the archive is not forgotten"
    );
    assert_eq!(scene.blobs(), (1, 0), "until there is one again");
}

#[test]
fn verify_reads_both_copies() {
    let scene = Scene::new();
    let objects = fill(&scene);
    let verify = || {
        let mut found = Vec::new();
        let report = scene
            .vault
            .verify(None, &mut |finding| found.push(key_of(finding)));
        (report.unwrap(), found)
    };
    for (key, ..) in &objects {
        scene.archive(key).unwrap();
    }
    let (report, _) = verify();
    assert_eq!(
        (report.objects, report.customer_objects, report.findings),
        (3, 1, 0)
    );
    let once = report.bytes;
    for (key, ..) in &objects[1..] {
        scene.restore(key).unwrap();
    }
    let (report, _) = verify();
    assert_eq!(report.bytes, 2 * once - 900);
    assert_eq!(report.findings, 0);
    scene.damage("archive", &scene.row(b"large").blobs[0]);
    scene.damage("blobs", &scene.row(b"parts").restored[1]);
    scene.damage("blobs", &scene.row(b"hers").restored[0]);
    let (_, found) = verify();
    assert_eq!(found, [&b"hers"[..], b"large", b"parts"]);
    assert_eq!(scene.row(b"large").blobs[0].locator, Locator::Archive);
    assert!(
        get(&scene.vault, "b", b"large").is_ok(),
        "the restored copy is whole"
    );
}

#[test]
fn verify_finds_each_lost_blob_of_each_copy() {
    let scene = Scene::new();
    fill(&scene);
    scene.archive(b"parts").unwrap();
    scene.restore(b"parts").unwrap();
    let row = scene.row(b"parts");
    let lost = |place: &str, blobs: &[BlobRef]| {
        for (number, blob) in blobs.iter().enumerate() {
            let (path, aside) = (scene.path(place, blob), scene.dir.path().join("aside"));
            std::fs::rename(&path, &aside).unwrap();
            let mut found = Vec::new();
            let report = scene
                .vault
                .verify(None, &mut |finding| found.push(key_of(finding)));
            assert_eq!(report.unwrap().findings, 1, "part {number} in {place}");
            assert_eq!(found, [b"parts"], "part {number} in {place}");
            std::fs::rename(&aside, &path).unwrap();
        }
    };
    lost("archive", &row.blobs);
    lost("blobs", &row.restored);
}

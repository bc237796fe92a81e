//! Nobody is told that something is gone before its key is: neither who took it out of sight, nor who asks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom::id::InstanceId;
use strongroom::vault::{Precondition, Protection, Stores, Vault, VaultError, Versioning};

use crate::held::{Unanswering, Unshredding, holder, watched};
use crate::support::*;
use crate::uploads::{begin, complete, put_part};

/// A vault whose key store can be kept from shredding.
struct Scene {
    _dir: tempfile::TempDir,
    stores: Stores,
    keys: Arc<Unshredding>,
    vault: Arc<Vault>,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = stores(dir.path());
        let keys = Arc::new(Unshredding::new(real.keys.clone()));
        let stores = Stores {
            keys: keys.clone(),
            ..real
        };
        let vault = Vault::start(stores.clone(), keyring(), Default::default()).unwrap();
        vault.create_bucket("b", "owner").unwrap();
        Self {
            _dir: dir,
            stores,
            keys,
            vault,
        }
    }

    fn has_key(&self, instance: InstanceId) -> bool {
        self.keys.inner.fetch(instance).unwrap().record.is_some()
    }

    /// Asks three times, the first two of them while nothing can be shredded.
    fn ask<T>(
        &self,
        of: InstanceId,
        ask: impl Fn() -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        self.keys.broken.store(true, Ordering::SeqCst);
        let first = ask().map(drop);
        assert!(
            matches!(first, Err(VaultError::OutcomeUnknown(_))),
            "{first:?}"
        );
        let again = ask().map(drop);
        let told = matches!(
            again,
            Err(VaultError::OutcomeUnknown(_) | VaultError::Unavailable(_))
        );
        assert!(told, "{again:?}");
        assert!(self.has_key(of));
        self.keys.broken.store(false, Ordering::SeqCst);
        let answer = ask();
        assert!(!self.has_key(of), "its key is shredded by now");
        answer
    }
}

#[test]
fn no_vault_starts_that_owes_a_key_and_what_was_written_is_visible_all_the_same() {
    let scene = Scene::new();
    let old = put(&scene.vault, "b", b"x", b"old").unwrap().instance;
    scene.keys.broken.store(true, Ordering::SeqCst);
    let overwrite = put(&scene.vault, "b", b"x", b"new");
    assert!(
        matches!(overwrite, Err(VaultError::OutcomeUnknown(_))),
        "{overwrite:?}"
    );
    assert_eq!(get(&scene.vault, "b", b"x").unwrap(), b"new");
    let Scene {
        _dir,
        stores,
        keys,
        vault,
    } = scene;
    drop(vault);
    assert!(Vault::start(stores.clone(), keyring(), Default::default()).is_err());
    assert!(keys.inner.fetch(old).unwrap().record.is_some());
    keys.broken.store(false, Ordering::SeqCst);
    Vault::start(stores, keyring(), Default::default()).unwrap();
    assert!(keys.inner.fetch(old).unwrap().tombstone);
}

#[test]
fn a_write_tried_again_ends_after_the_key_of_what_the_first_try_replaced() {
    let scene = Scene::new();
    let old = put(&scene.vault, "b", b"x", b"old").unwrap().instance;
    scene
        .ask(old, || put(&scene.vault, "b", b"x", b"new"))
        .unwrap();
}

#[test]
fn a_deletion_tried_again_ends_after_the_key_of_what_the_first_try_deleted() {
    for versioning in [None, Some(Versioning::Enabled), Some(Versioning::Suspended)] {
        let scene = Scene::new();
        let old = put(&scene.vault, "b", b"x", b"old").unwrap();
        if let Some(versioning) = versioning {
            let bucket = scene.vault.bucket("b").unwrap();
            scene.vault.set_versioning(&bucket, versioning).unwrap();
        }
        let which = strongroom::vault::Which::Null;
        let deleted = scene.ask(old.instance, || match versioning {
            Some(Versioning::Enabled) => scene.vault.delete_version("b", b"x", which, None),
            _ => scene.vault.delete("b", b"x", Precondition::None),
        });
        deleted.unwrap();
    }
}

#[test]
fn a_completion_tried_again_ends_after_the_key_of_what_the_first_try_replaced() {
    let scene = Scene::new();
    let old = put(&scene.vault, "b", b"x", b"old").unwrap().instance;
    let upload = begin(&scene.vault, b"x", Protection::Managed);
    let info = put_part(&scene.vault, b"x", upload, 1, b"new").unwrap();
    let completed = scene.ask(old, || complete(&scene.vault, b"x", upload, &[&info]));
    assert_eq!(completed.unwrap().instance, upload);
}

#[test]
fn an_abort_tried_again_ends_after_the_key_of_the_upload() {
    let scene = Scene::new();
    let upload = begin(&scene.vault, b"x", Protection::Managed);
    let aborted = scene.ask(upload, || scene.vault.abort_upload("b", b"x", upload));
    assert!(matches!(aborted, Err(VaultError::NoSuchUpload { .. })));
}

#[test]
fn a_deletion_of_a_bucket_tried_again_ends_after_its_key() {
    let scene = Scene::new();
    let bucket = scene.vault.bucket("b").unwrap();
    scene.keys.broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let deleted = scene.vault.delete_bucket("b");
        assert!(
            matches!(deleted, Err(VaultError::OutcomeUnknown(_))),
            "{deleted:?}"
        );
    }
    scene.keys.broken.store(false, Ordering::SeqCst);
    let another = scene.vault.create_bucket("b", "another").unwrap();
    let deleted = scene.vault.delete_bucket(&bucket);
    assert!(
        matches!(deleted, Err(VaultError::NoSuchBucket(_))),
        "{deleted:?}"
    );
    let view = scene.keys.inner.fetch_bucket(bucket.id, bucket.generation);
    assert!(view.unwrap().tombstone);
    assert_eq!(scene.vault.bucket("b").unwrap(), another, "its name only");
}

#[test]
fn an_upload_that_cannot_be_given_up_keeps_no_other_from_it() {
    let scene = Scene::new();
    let uploads = [b"1", b"2", b"3"].map(|key| begin(&scene.vault, key, Protection::Managed));
    scene.keys.broken.store(true, Ordering::SeqCst);
    let page = scene.vault.expire_uploads(u64::MAX, None, 2).unwrap();
    assert_eq!((page.expired, page.failed.len()), (0, 2));
    let rest = scene.vault.expire_uploads(u64::MAX, page.next, 2).unwrap();
    assert_eq!((rest.expired, rest.failed.len()), (0, 1));
    assert_eq!(rest.next, None);
    let failed = page.failed.iter().chain(&rest.failed);
    for (_, upload, cause) in failed {
        assert!(uploads.contains(upload) && scene.has_key(*upload));
        assert!(matches!(cause, VaultError::OutcomeUnknown(_)), "{cause:?}");
    }
    scene.keys.broken.store(false, Ordering::SeqCst);
    scene.vault.maintain().unwrap();
    assert!(!uploads.iter().any(|upload| scene.has_key(*upload)));
}

type Ask = fn(&Arc<Vault>, InstanceId) -> Result<(), VaultError>;

/// Asks, and holds the first answer when the instance is out of sight and its key is there still; then `second` asks, and
/// is not answered before that key is gone.
fn is_waited_for(
    what: &str,
    first: Ask,
    second: Ask,
    gone: impl Fn(InstanceId, InstanceId) -> InstanceId,
) {
    let dir = tempfile::tempdir().unwrap();
    let real = stores(dir.path());
    let held = holder("before shred");
    let vault = Vault::start(watched(&real, &held.hook), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    let old = put(&vault, "b", b"x", b"1").unwrap().instance;
    let upload = begin(&vault, b"x", Protection::Managed);
    let gone = gone(old, upload);
    std::thread::scope(|scope| {
        held.arm();
        let first = scope.spawn(|| first(&vault, upload));
        held.wait();
        let second = scope.spawn(|| {
            second(&vault, upload).unwrap();
            real.keys.fetch(gone).unwrap()
        });
        // A deletion of something else does not wait.
        let other = vault.delete("b", b"nothing", Precondition::None);
        std::thread::sleep(Duration::from_millis(100));
        held.let_go();
        first.join().unwrap().unwrap();
        assert!(second.join().unwrap().tombstone, "{what}: told too early");
        other.unwrap();
    });
}

const DELETE: Ask = |vault, _| vault.delete("b", b"x", Precondition::None).map(drop);
const REMOVE: Ask = |vault, _| {
    let which = strongroom::vault::Which::Null;
    vault.delete_version("b", b"x", which, None).map(drop)
};
const SETTLE: Ask = |vault, _| vault.settle("b", b"x");
const ABORT: Ask = |vault, upload| match vault.abort_upload("b", b"x", upload) {
    Err(VaultError::NoSuchUpload { .. }) => Ok(()),
    answer => answer,
};
const EXPIRE: Ask = |vault, _| vault.expire_uploads(u64::MAX, None, 10).map(drop);
const OVERWRITE: Ask = |vault, _| put(vault, "b", b"x", b"2").map(drop);
const REWRAP: Ask = |vault, _| {
    vault
        .rewrap_object(&open("b", b"x"), &Protection::Managed, None)
        .map(drop)
};

#[test]
fn who_finds_nothing_waits_for_whoever_is_deleting_it() {
    for (what, first, second) in [
        ("delete", DELETE, DELETE),
        ("delete a version", DELETE, REMOVE),
        ("settle", REMOVE, SETTLE),
    ] {
        is_waited_for(what, first, second, |old, _| old);
    }
    for (what, first, second) in [
        ("abort", ABORT, ABORT),
        ("settle an upload", ABORT, SETTLE),
        ("abort what expires", EXPIRE, ABORT),
    ] {
        is_waited_for(what, first, second, |_, upload| upload);
    }
}

/// What was replaced, and what only got another key, was that object too.
#[test]
fn who_deletes_or_overwrites_waits_for_whoever_replaced_what_the_object_was_before() {
    for (before, first) in [("an overwrite", OVERWRITE), ("another key", REWRAP)] {
        for (what, second) in [
            ("delete", DELETE),
            ("delete a version", REMOVE),
            ("overwrite", OVERWRITE),
            ("another key", REWRAP),
        ] {
            is_waited_for(
                &format!("{what} after {before}"),
                first,
                second,
                |old, _| old,
            );
        }
    }
}

/// A deletion whose transaction may have happened is followed by a look at the garbage.
#[test]
fn what_may_be_out_of_sight_is_shredded_before_anybody_is_told_so() {
    for (what, ask) in [
        ("delete", DELETE),
        ("delete a version", REMOVE),
        ("overwrite", OVERWRITE),
        ("another key", REWRAP),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let real = stores(dir.path());
        let catalog = Arc::new(Unanswering {
            inner: real.catalog.clone(),
            silent: AtomicBool::new(false),
        });
        let stores = Stores {
            catalog: catalog.clone(),
            ..real.clone()
        };
        let vault = Vault::start(stores, keyring(), Default::default()).unwrap();
        vault.create_bucket("b", "owner").unwrap();
        let old = put(&vault, "b", b"x", b"1").unwrap().instance;
        catalog.silent.store(true, Ordering::SeqCst);
        let first = ask(&vault, InstanceId([0; 16]));
        assert!(
            matches!(first, Err(VaultError::OutcomeUnknown(_))),
            "{what}: {first:?}"
        );
        catalog.silent.store(false, Ordering::SeqCst);
        assert!(real.keys.fetch(old).unwrap().record.is_some());
        DELETE(&vault, InstanceId([0; 16])).unwrap();
        assert!(real.keys.fetch(old).unwrap().tombstone, "{what}");
        assert_eq!(vault.counters().unknown, 1, "{what}");
    }
}

/// The marker is there: nobody is told that nothing happened.
#[test]
fn a_marker_over_what_is_not_shredded_yet_is_not_told_as_nothing() {
    let scene = Scene::new();
    let old = put(&scene.vault, "b", b"x", b"old").unwrap().instance;
    let bucket = scene.vault.bucket("b").unwrap();
    scene
        .vault
        .set_versioning(&bucket, Versioning::Suspended)
        .unwrap();
    scene.keys.broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let deleted = scene.vault.delete("b", b"x", Precondition::None);
        assert!(
            matches!(deleted, Err(VaultError::OutcomeUnknown(_))),
            "{deleted:?}"
        );
    }
    assert!(scene.has_key(old));
}

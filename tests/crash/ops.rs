//! The process that the crash test kills: one scripted operation on a vault, or a look at what is left.
//!
//! `crash_ops DIR prepare`: makes stores with the objects that the operations need.
//! `crash_ops DIR prepare N`: makes stores with N small objects.
//! `crash_ops DIR OPERATION SOCKET`: tells the socket `begin` and waits for a line; does it; tells `ack` or `error: ...`,
//! then `probe-ack` if a further write was acknowledged, then `end`. Messages go by sendto(2), which the test does not
//! tamper with.
//! `crash_ops DIR check`: starts, runs one pass of background work, and prints what is there and what is left over.
//! `crash_ops DIR restart`: starts, and prints how long that took.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::id::{BlobId, BucketId, InstanceId};
use strongroom::store::{BlobRef, Locator, ScanBy, Version};
use strongroom::vault::{
    Bucket, CommitRequest, Committed, ListedVersion, OpenRequest, Precondition, Protection,
    StorePaths, Stores, UploadInfo, UploadItem, UploadsRequest, Vault, VaultConfig, VaultError,
    VersionEntry, VersionItem, Versioning, VersionsRequest, Which,
};

#[path = "../support/vault.rs"]
mod support;
use support::{
    ROOT, begin_in, blobs_of, bytes, complete_in, config, keyring, open, part_in, put,
    put_part_with, put_request, read, stores,
};

const BUCKET: &str = "bucket";
const VERSIONED: &str = "versioned";
const SMALL: usize = 900;
const LARGE: usize = 200_000;
const WRITERS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = PathBuf::from(&arguments[0]);
    match (arguments[1].as_str(), arguments.get(2)) {
        ("prepare", None) => prepare(&dir),
        ("prepare", Some(count)) => fill(&dir, count.parse().unwrap()),
        ("check", None) => check(&dir),
        ("restart", None) => drop(timed_start(&dir)),
        (operation, Some(socket)) => run(&dir, operation, &Teller::new(socket)),
        _ => panic!("crash_ops DIR prepare | check | OPERATION SOCKET"),
    }
}

fn start(dir: &Path) -> Result<Arc<Vault>, VaultError> {
    let stores = Stores::open(&StorePaths::below(dir))?;
    Vault::start(stores, keyring(), config())
}

fn prepare(dir: &Path) {
    let vault = start(dir).unwrap();
    vault.create_bucket(BUCKET, "owner").unwrap();
    vault.create_bucket("empty", "owner").unwrap();
    put(&vault, BUCKET, b"small", &bytes(SMALL, 1)).unwrap();
    put(&vault, BUCKET, b"large", &bytes(LARGE, 2)).unwrap();
    put(&vault, BUCKET, b"other", &bytes(SMALL, 3)).unwrap();
    prepare_more(&vault);
    // Ends as a node does that is cut off: lease unreleased, an orphaned blob and record, garbage to be removed.
    put(&vault, BUCKET, b"gone", &bytes(LARGE, 4)).unwrap();
    vault.delete(BUCKET, b"gone", Precondition::None).unwrap();
    let mut stream = vault
        .put(put_request(BUCKET, b"never", Protection::Managed))
        .unwrap();
    stream.write(&bytes(LARGE, 5)).unwrap();
    std::process::exit(0);
}

fn fill(dir: &Path, count: usize) {
    let vault = start(dir).unwrap();
    vault.create_bucket(BUCKET, "owner").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let vault = &vault;
            scope.spawn(move || {
                for number in (writer..count).step_by(WRITERS) {
                    put(vault, BUCKET, format!("{number:08}").as_bytes(), b"small").unwrap();
                }
            });
        }
    });
    std::process::exit(0); // no farewell, as in a crash
}

fn run(dir: &Path, operation: &str, teller: &Teller) {
    match operation {
        "first-start" => {
            teller.begin();
            teller.result(start(dir));
        }
        "start" => {
            std::thread::sleep(config().lease * 2);
            teller.begin();
            teller.result(start(dir));
        }
        "recover" => {
            std::thread::sleep(config().lease * 2);
            teller.begin();
            teller.result(start(dir).and_then(|vault| vault.maintain()));
        }
        operation => {
            let vault = start(dir).unwrap();
            if operation == "sweep" {
                std::thread::sleep(config().lease * 2);
            }
            teller.begin();
            teller.result(act(&vault, operation));
            if put(&vault, BUCKET, b"probe", &bytes(SMALL, 9)).is_ok() {
                teller.tell("probe-ack");
            }
            // Not stopped: as if the process had died right after the last reply.
            std::mem::forget(vault);
        }
    }
    teller.tell("end");
    std::process::exit(0);
}

fn act(vault: &Arc<Vault>, operation: &str) -> Result<(), VaultError> {
    match operation {
        "put-small" => put(vault, BUCKET, b"new", &bytes(SMALL, 6)).map(drop),
        "put-large" => put(vault, BUCKET, b"new", &bytes(LARGE, 7)).map(drop),
        "overwrite-small" => put(vault, BUCKET, b"small", &bytes(SMALL, 8)).map(drop),
        "overwrite-large" => put(vault, BUCKET, b"large", &bytes(LARGE, 8)).map(drop),
        "copy" => vault
            .copy(
                open(BUCKET, b"large"),
                put_request(BUCKET, b"new", Protection::Managed),
                CommitRequest::default(),
            )
            .map(drop),
        "delete" => vault.delete(BUCKET, b"large", Precondition::None).map(drop),
        "delete-missing" => vault
            .delete(BUCKET, b"missing", Precondition::None)
            .map(drop),
        "create-bucket" => vault.create_bucket("second", "owner").map(drop),
        "delete-bucket" => vault.delete_bucket("empty"),
        "upload-create" => begin(vault, b"new").map(drop),
        "upload-part" => put_part(vault, upload(vault, b"upload"), 3, &bytes(SMALL, 6)),
        "upload-part-again" => put_part(vault, upload(vault, b"upload"), 1, &bytes(LARGE, 6)),
        "upload-complete" => complete(vault, b"upload", &[1, 2]),
        "upload-complete-again" => complete(vault, b"half", &[2]),
        "upload-abort" => vault.abort_upload(BUCKET, b"upload", upload(vault, b"upload")),
        "version-overwrite" => put(vault, VERSIONED, b"key", &bytes(LARGE, 6)).map(drop),
        "version-marker" => vault
            .delete(VERSIONED, b"key", Precondition::None)
            .map(drop),
        "version-delete" => {
            let oldest = versions(vault, VERSIONED).pop().unwrap().which;
            vault
                .delete_version(VERSIONED, b"key", oldest, None)
                .map(drop)
        }
        "archive" => vault
            .archive_object(BUCKET, b"large", Which::Current, b"")?
            .run(b"archived"),
        "restore" => vault
            .restore_object(BUCKET, b"cold", Which::Current, b"archived")?
            .run(b"restored"),
        "restore-drop" => {
            let key = b"thawed";
            vault.drop_restored(BUCKET, key, Which::Current, b"restored", b"archived")
        }
        "rewrap" => vault
            .rewrap_object(&open(BUCKET, b"large"), &under_root(), None)
            .map(drop),
        "kms-first" => {
            let mut stream = vault.put(put_request("empty", b"new", under_root()))?;
            stream.write(&bytes(SMALL, 6))?;
            stream.commit(CommitRequest::default()).map(drop)
        }
        "sweep" => vault.maintain().map(drop),
        _ => panic!("no operation {operation}"),
    }
}

/// An upload of two parts, one that was completed half, a bucket with versions, objects in the archive.
fn prepare_more(vault: &Arc<Vault>) {
    for key in [&b"upload"[..], b"half"] {
        let id = begin(vault, key).unwrap();
        put_part(vault, id, 1, &bytes(LARGE, 4)).unwrap();
        put_part(vault, id, 2, &bytes(SMALL, 5)).unwrap();
    }
    // As after a crash between record and catalog: the record names a manifest, the upload is still there.
    let refused = CommitRequest {
        precondition: Precondition::Present,
        ..CommitRequest::default()
    };
    let result = complete_if(vault, b"half", &[1], &refused);
    assert!(matches!(result, Err(VaultError::PreconditionFailed)));
    let versioned = vault.create_bucket(VERSIONED, "owner").unwrap();
    vault
        .set_versioning(&versioned, Versioning::Enabled)
        .unwrap();
    for (size, seed) in [(LARGE, 1), (SMALL, 2)] {
        put(vault, VERSIONED, b"key", &bytes(size, seed)).unwrap();
    }
    for key in [&b"cold"[..], b"thawed"] {
        put(vault, BUCKET, key, &bytes(LARGE, 3)).unwrap();
        let transfer = vault.archive_object(BUCKET, key, Which::Current, b"");
        transfer.unwrap().run(b"archived").unwrap();
    }
    let transfer = vault.restore_object(BUCKET, b"thawed", Which::Current, b"archived");
    transfer.unwrap().run(b"restored").unwrap();
}

fn begin(vault: &Arc<Vault>, key: &[u8]) -> Result<InstanceId, VaultError> {
    begin_in(vault, BUCKET, key, Protection::Managed)
}

fn under_root() -> Protection {
    Protection::Kms {
        root: ROOT,
        context: Vec::new(),
    }
}

fn upload(vault: &Arc<Vault>, key: &[u8]) -> InstanceId {
    let found = uploads(vault, BUCKET);
    found.iter().find(|info| info.key == key).unwrap().id
}

fn uploads(vault: &Arc<Vault>, bucket: &str) -> Vec<UploadInfo> {
    let page = vault.list_uploads(&UploadsRequest {
        bucket: bucket.into(),
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        after: None,
        delimiter: None,
        limit: 1000,
    });
    let items = page.unwrap().items.into_iter().map(|item| match item {
        UploadItem::Upload(info) => *info,
        UploadItem::Prefix(_) => panic!("a prefix without a delimiter"),
    });
    items.collect()
}

fn put_part(
    vault: &Arc<Vault>,
    upload: InstanceId,
    part: u32,
    body: &[u8],
) -> Result<(), VaultError> {
    let found = uploads(vault, BUCKET);
    let key = found.iter().find(|info| info.id == upload).unwrap();
    put_part_with(vault, part_in(BUCKET, &key.key, upload, part), body).map(drop)
}

fn complete(vault: &Arc<Vault>, key: &[u8], parts: &[u32]) -> Result<(), VaultError> {
    complete_if(vault, key, parts, &CommitRequest::default())
}

fn complete_if(
    vault: &Arc<Vault>,
    key: &[u8],
    parts: &[u32],
    commit: &CommitRequest,
) -> Result<(), VaultError> {
    let upload = upload(vault, key);
    let listed = vault.list_parts(BUCKET, key, upload, 0, 100)?;
    let chosen = listed.iter().filter(|info| parts.contains(&info.part));
    complete_in(vault, BUCKET, key, upload, chosen, commit).map(drop)
}

fn versions(vault: &Arc<Vault>, bucket: &str) -> Vec<ListedVersion> {
    let page = vault.list_versions(&VersionsRequest {
        bucket: bucket.into(),
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        after: None,
        delimiter: None,
        limit: 1000,
    });
    let items = page.unwrap().items.into_iter().map(|item| match item {
        VersionItem::Version(version) => version,
        VersionItem::Prefix(_) => panic!("a prefix without a delimiter"),
    });
    items.collect()
}

/// Says what happened, past the calls that are tampered with.
struct Teller {
    socket: UnixDatagram,
    to: String,
}

impl Teller {
    fn new(to: &str) -> Self {
        Self {
            socket: UnixDatagram::unbound().unwrap(),
            to: to.to_owned(),
        }
    }

    /// Waits until it may go on: so long the tracer takes to come.
    fn begin(&self) {
        self.tell("begin");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    fn tell(&self, what: &str) {
        self.socket.send_to(what.as_bytes(), &self.to).unwrap();
    }

    fn result<T>(&self, result: Result<T, VaultError>) {
        match result {
            Ok(done) => {
                self.tell("ack");
                std::mem::forget(done); // the process ends without a farewell
            }
            Err(error) => self.tell(&format!("error: {error}")),
        }
    }
}

/// Prints one line for each thing there is, and one for each that should not be.
fn check(dir: &Path) {
    std::thread::sleep(config().lease + Duration::from_millis(5));
    let (vault, stores) = timed_start(dir);
    // All of it must be readable before anything is tidied.
    show(&vault);
    vault.maintain().unwrap();
    let mut findings = 0;
    let report = vault.verify(None, &mut |finding| {
        findings += 1;
        println!("left finding {finding:?}");
    });
    assert_eq!(report.unwrap().findings, findings);
    left_over(&vault, &stores);
}

fn timed_start(dir: &Path) -> (Arc<Vault>, Stores) {
    // A lease that does not run out on a busy machine before the pass has come to the orphans.
    let config = VaultConfig {
        lease: Duration::from_secs(60),
        ..config()
    };
    let before = Instant::now();
    let stores = stores(dir);
    let vault = Vault::start(stores.clone(), keyring(), config).unwrap();
    println!("started-ms {}", before.elapsed().as_millis());
    (vault, stores)
}

fn show(vault: &Arc<Vault>) {
    for bucket in vault.buckets(None, 1000).unwrap() {
        println!("bucket {}", bucket.name);
        show_objects(vault, &bucket);
        show_uploads(vault, &bucket);
        let probe = put(vault, &bucket.name, b"zz-probe", b"probe");
        let which = |put: Committed| match put.null {
            true => Which::Null,
            false => Which::Label(put.version),
        };
        match probe
            .and_then(|put| vault.delete_version(&bucket.name, b"zz-probe", which(put), None))
        {
            Ok(gone) if gone.instance.is_some() => {}
            other => println!("left unusable bucket {} {other:?}", bucket.name),
        }
    }
}

/// One line for each version: where its bytes are, its facts, what it is under, its body.
fn show_objects(vault: &Arc<Vault>, bucket: &Bucket) {
    let name = &bucket.name;
    for version in versions(vault, name) {
        let object = match version.entry {
            VersionEntry::Object(object) => object,
            VersionEntry::Marker(marker) => {
                let key = String::from_utf8_lossy(&marker.key);
                println!("version {name} {key} marker");
                continue;
            }
        };
        let key = String::from_utf8_lossy(&object.key).into_owned();
        let facts = String::from_utf8_lossy(&object.facts).into_owned();
        let request = OpenRequest {
            version: version.which,
            ..open(name, key.as_bytes())
        };
        let body = match read(vault, request) {
            Ok(body) => known(&body),
            Err(VaultError::Archived { .. }) => "in the archive".to_owned(),
            Err(error) => {
                println!("left unreadable {name} {key} {error}");
                continue;
            }
        };
        let what = format!("{:?} {facts} {body}", object.mode);
        // The probe's line is compared as it always was.
        if key == "probe" {
            println!("object {name} {key} {body}");
        } else {
            println!("version {name} {key} {what}");
        }
    }
}

/// Every upload can still be completed with what it has.
fn show_uploads(vault: &Arc<Vault>, bucket: &Bucket) {
    for info in uploads(vault, &bucket.name) {
        let key = String::from_utf8_lossy(&info.key).into_owned();
        println!("upload {} {key}", bucket.name);
        for part in vault
            .list_parts(&bucket.name, &info.key, info.id, 0, 100)
            .unwrap()
        {
            let attrs = part
                .attrs
                .map(|attrs| attrs.get("etag").map(<[u8]>::to_vec));
            println!(
                "part {} {key} {} {} {attrs:?}",
                bucket.name, part.part, part.length
            );
        }
    }
}

/// Which of the bodies that the operations write this is.
fn known(body: &[u8]) -> String {
    let seed = (1..=9).find(|seed| body == bytes(body.len(), *seed));
    seed.map_or_else(
        || "unknown".to_owned(),
        |seed| format!("{}-{seed}", body.len()),
    )
}

fn left_over(vault: &Arc<Vault>, stores: &Stores) {
    let mut instances: BTreeSet<InstanceId> = BTreeSet::new();
    let mut blobs: BTreeSet<BlobId> = BTreeSet::new();
    let mut buckets: BTreeSet<BucketId> = BTreeSet::from([BucketId([0xff; 16])]);
    let mut archived: BTreeSet<BlobId> = BTreeSet::new();
    for bucket in vault.buckets(None, 1000).unwrap() {
        buckets.insert(bucket.id);
        let mut name = |refs: &[BlobRef]| {
            for blob in refs {
                match blob.locator {
                    Locator::File => blobs.insert(blob.id),
                    Locator::Archive => archived.insert(blob.id),
                    _ => true,
                };
            }
        };
        for version in versions(vault, &bucket.name) {
            let VersionEntry::Object(object) = version.entry else {
                continue;
            };
            let seen = stores
                .catalog
                .version(bucket.id, &object.key, version.which)
                .unwrap();
            let Some(Version::Object(view)) = seen.map(|seen| seen.version) else {
                panic!("listed and not there");
            };
            instances.insert(view.row.instance);
            name(&view.row.blobs);
            name(&view.row.restored);
        }
        for info in uploads(vault, &bucket.name) {
            instances.insert(info.id);
            for part in stores.catalog.parts(info.id, 0, 1000).unwrap() {
                name(&[part.blob]);
            }
        }
    }
    let archive = stores.archive.clone().unwrap();
    for (store, mut named) in [(&stores.blobs, blobs), (&archive, archived)] {
        for blob in blobs_of(store) {
            if !named.remove(&blob) {
                println!("left orphan blob {blob}");
            }
        }
        for blob in named {
            println!("left missing blob {blob}");
        }
    }
    for row in stores.keys.scan(ScanBy::All, None, 1000).unwrap() {
        if !instances.contains(&row.instance) {
            println!("left orphan record {}", row.instance);
        }
    }
    for (bucket, ..) in stores.keys.bucket_keys(None, 1000).unwrap() {
        if !buckets.contains(&bucket) {
            println!("left orphan bucket key {bucket}");
        }
    }
    for garbage in stores.catalog.garbage(0, 1000).unwrap() {
        println!("left garbage {}", garbage.id);
    }
    for bucket in stores.catalog.deleted_buckets().unwrap() {
        println!("left deleted bucket {bucket}");
    }
    println!("checked");
}

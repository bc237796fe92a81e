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

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::id::{BlobId, BucketId, InstanceId};
use strongroom::store::{ListItem, ListQuery, Locator, ScanBy};
use strongroom::vault::{
    CommitRequest, ListRequest, ListedItem, Precondition, Protection, StorePaths, Stores, Vault,
    VaultConfig, VaultError,
};

#[path = "../support/vault.rs"]
mod support;
use support::{bytes, config, get, keyring, open, put, put_request, stores};

const BUCKET: &str = "bucket";
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
        "sweep" => vault.maintain().map(drop),
        _ => panic!("no operation {operation}"),
    }
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
        for (key, _) in objects(vault, &bucket.name) {
            let body = get(vault, &bucket.name, key.as_bytes());
            match body {
                Ok(body) => println!("object {} {key} {}", bucket.name, known(&body)),
                Err(error) => println!("left unreadable {} {key} {error}", bucket.name),
            }
        }
        let probe = put(vault, &bucket.name, b"zz-probe", b"probe");
        match probe.and_then(|_| vault.delete(&bucket.name, b"zz-probe", Precondition::None)) {
            Ok(gone) if gone.instance.is_some() => {}
            other => println!("left unusable bucket {} {other:?}", bucket.name),
        }
    }
}

fn objects(vault: &Arc<Vault>, bucket: &str) -> BTreeMap<String, InstanceId> {
    let listing = vault.list(&ListRequest {
        bucket,
        prefix: b"",
        from: std::ops::Bound::Unbounded,
        delimiter: None,
        limit: 1000,
    });
    let objects = listing.unwrap().items.into_iter().map(|item| match item {
        ListedItem::Object(object) => (String::from_utf8(object.key).unwrap(), object.instance),
        ListedItem::Prefix(_) => panic!("a prefix without a delimiter"),
    });
    objects.collect()
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
    for bucket in vault.buckets(None, 1000).unwrap() {
        buckets.insert(bucket.id);
        let page = stores.catalog.list(&ListQuery {
            bucket: bucket.id,
            prefix: b"",
            from: std::ops::Bound::Unbounded,
            delimiter: None,
            limit: 1000,
        });
        for item in page.unwrap().items {
            let ListItem::Object(listed) = item else {
                continue;
            };
            let row = stores
                .catalog
                .object(bucket.id, &listed.key)
                .unwrap()
                .unwrap()
                .row;
            instances.insert(row.instance);
            blobs.extend(
                row.blobs
                    .iter()
                    .filter(|b| b.locator == Locator::File)
                    .map(|b| b.id),
            );
        }
    }
    for shard in 0..=u8::MAX {
        for blob in stores.blobs.list(shard).unwrap() {
            if !blobs.remove(&blob) {
                println!("left orphan blob {blob}");
            }
        }
    }
    blobs
        .iter()
        .for_each(|blob| println!("left missing blob {blob}"));
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

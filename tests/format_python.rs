//! The rescue tool, in Python, opens what the engine writes, and the engine opens what the Python half of the
//! vectors writes. `python3` on the path has the packages of `tests/requirements.txt`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::envelope::Envelope;
use strongroom::format::{Manifest, NamedList, Suite};
use strongroom::id::{BucketId, InstanceId, RootId};
use strongroom::keys::testing::{SoftMasterKey, data_key, data_key_bytes};
use strongroom::keys::{
    BucketKey, Context, Keyring, KeyringConfig, Mode, Purpose, RecordState, Strategy,
    encode_encryption_context, kms_key_id,
};
use strongroom::object::{
    BlobSealer, FileKeys, FileOptions, OpenReader, Source, Target, open_file, seal_file,
};
use strongroom::secret::Secret;

const MASTER: [u8; 32] = [0x4d; 32];
const ROOT: RootId = RootId([0x52; 16]);
const LENGTHS: [usize; 9] = [0, 1, 16, 1024, 65_520, 65_535, 65_536, 131_072, 300_007];

/// Exit codes of the tool.
const OK: i32 = 0;
const UNAUTHENTIC: i32 = 3;
const MALFORMED: i32 = 4;
const UNSUPPORTED: i32 = 5;

/// A directory of inputs and outputs, and the tool run in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the tool; arguments name files on the desk.
    fn rescue(&self, args: &[&str]) -> Output {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("rescue/strongroom_rescue.py");
        python(self.0.path(), &[&[tool.to_str().unwrap()], args].concat())
    }

    #[track_caller]
    fn rescued(&self, args: &[&str]) -> String {
        let output = self.rescue(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OK), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The tool refuses by `code`, says the class first, and leaves neither output nor temporary file.
    #[track_caller]
    fn refused(&self, args: &[&str], out: &str, code: i32) {
        let before = fs::read_dir(self.0.path()).unwrap().count();
        let output = self.rescue(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        let class = ["unauthentic: ", "malformed: ", "unsupported: "];
        assert!(said.starts_with(class[usize::try_from(code - 3).unwrap()]));
        assert!(output.stdout.is_empty() && !self.path(out).exists());
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), before);
    }
}

fn python(dir: &Path, args: &[&str]) -> Output {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    Command::new("python3")
        .args(args)
        .current_dir(dir)
        .env("PYTHONPATH", vectors)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 on the path")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

fn keyring() -> Keyring {
    let master = Arc::new(SoftMasterKey::with_version(ROOT, Strategy::Kw, 1, MASTER));
    Keyring::new(vec![master], Arc::new(NullSink), KeyringConfig::default()).unwrap()
}

fn seal(key: &[u8; 32], suite: Suite, plain: &[u8]) -> Vec<u8> {
    let sealer = BlobSealer::new(&data_key(*key).unwrap(), suite, 0).unwrap();
    let mut sealed = Vec::new();
    sealer.finish_with(plain, &mut sealed).unwrap();
    sealed
}

#[test]
fn the_rescue_tool_answers_every_vector_and_the_page_is_what_the_code_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = python(root, &["tests/vectors/make_vectors.py", "--check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
}

#[test]
fn the_rescue_tool_opens_the_engines_blobs() {
    let desk = Desk::new();
    desk.put("key", &[7; 32]);
    let suites = [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm];
    for suite in suites.into_iter().filter(|suite| suite.is_built_in()) {
        for length in LENGTHS {
            desk.put("sealed", &seal(&[7; 32], suite, &pattern(length)));
            desk.rescued(&["blob", "sealed", "plain", "--data-key", "key", "--force"]);
            assert!(desk.get("plain") == pattern(length), "{suite:?} {length}");
        }
    }
}

#[test]
fn the_rescue_tool_refuses_by_class_and_writes_nothing() {
    let desk = Desk::new();
    desk.put("key", &[7; 32]);
    desk.put("hex", "07".repeat(32).as_bytes());
    desk.put("other", &[8; 32]);
    let sealed = seal(&[7; 32], Suite::Cbc64Gmac, &pattern(200_000));
    desk.put("sealed", &sealed);
    let with = |key| ["blob", "sealed", "plain", "--data-key", key];
    desk.refused(&with("other"), "plain", UNAUTHENTIC);
    desk.rescued(&[&with("hex")[..], &["--length", "200000"]].concat());
    fs::remove_file(desk.path("plain")).unwrap();
    // 200,015 has the same sealed length; only the padding tells them apart.
    for other in ["199999", "200015", "200016"] {
        let stated = [&with("key")[..], &["--length", other]].concat();
        desk.refused(&stated, "plain", UNAUTHENTIC);
    }
    let stated = [&with("key")[..], &["--part", "1"]].concat();
    desk.refused(&stated, "plain", UNAUTHENTIC);

    // The first segments are good; the last byte is not. To a pipe nothing comes out either.
    let mut damaged = sealed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    desk.put("sealed", &damaged);
    desk.refused(&with("key"), "plain", UNAUTHENTIC);
    let piped = ["blob", "sealed", "-", "--data-key", "key"];
    desk.refused(&piped, "plain", UNAUTHENTIC);

    desk.put("sealed", &sealed[..sealed.len() - 1]);
    desk.refused(&with("key"), "plain", MALFORMED);
    desk.put("sealed", &sealed[..80 + 65_552]);
    desk.refused(&with("key"), "plain", UNAUTHENTIC);
    let mut unknown = sealed.clone();
    unknown[9] = 3;
    desk.put("sealed", &unknown);
    desk.refused(&with("key"), "plain", UNSUPPORTED);

    desk.put("sealed", &sealed);
    desk.put("plain", b"do not touch");
    let output = desk.rescue(&with("key"));
    assert_eq!(output.status.code(), Some(1), "an output that exists");
    assert_eq!(desk.get("plain"), b"do not touch");
}

#[test]
fn the_engine_opens_blobs_and_files_that_python_seals() {
    let desk = Desk::new();
    let write = "
import os, sys
from format1 import *
for suite in 0, 1:
    for length in map(int, sys.argv[1:]):
        open('key-%d-%d' % (suite, length), 'wb').write(key := os.urandom(32))
        open('blob-%d-%d' % (suite, length), 'wb').write(seal_blob(key, suite, 7, os.urandom(32), pattern(length)))
kek, dk, instance = os.urandom(32), os.urandom(32), os.urandom(16)
record = data_key_record(kek, dk, rescue.context_bytes(5, bytes(16), instance), 2, 0, os.urandom(32))
open('key-file', 'wb').write(kek)
open('file', 'wb').write(sealed_file(b'', instance, record, seal_blob(dk, 1, 0, os.urandom(32), pattern(200000))))
";
    let lengths = LENGTHS.map(|length| length.to_string());
    let mut args = vec!["-c", write];
    args.extend(lengths.iter().map(String::as_str));
    let output = python(desk.0.path(), &args);
    assert!(output.status.success(), "{output:?}");
    for suite in 0..2 {
        for length in LENGTHS {
            let key: [u8; 32] = desk
                .get(&format!("key-{suite}-{length}"))
                .try_into()
                .unwrap();
            let sealed = desk.get(&format!("blob-{suite}-{length}"));
            let mut reader = OpenReader::new(&data_key(key).unwrap(), &sealed[..]).unwrap();
            let mut plain = Vec::new();
            std::io::copy(&mut reader, &mut plain).unwrap();
            assert!(plain == pattern(length), "suite {suite}, {length}");
        }
    }
    let mut key: [u8; 32] = desk.get("key-file").try_into().unwrap();
    let keys = FileKeys::key_file(Secret::take(&mut key).unwrap());
    let (from, to) = (desk.path("file"), desk.path("plain"));
    let options = FileOptions::default();
    open_file(&keys, Source::Path(&from), Target::Path(&to), &options).unwrap();
    assert!(desk.get("plain") == pattern(200_000));
}

#[test]
fn the_rescue_tool_opens_the_engines_records_of_every_mode() {
    let desk = Desk::new();
    let (bucket, instance) = (BucketId([1; 16]), InstanceId([2; 16]));
    let ring = keyring();
    let bucket_record = ring.create_bucket_key(bucket, 3, "test").unwrap();
    let key = ring
        .bucket_key(&bucket_record, None, Purpose::Wrap)
        .unwrap();
    desk.put("bucket-record", &bucket_record);
    desk.put("master", &MASTER);
    desk.put("customer", &[9; 32]);
    desk.put("wrong", &[10; 32]);
    let shown = desk.rescued(&["bucket-record", "bucket-record", "--master-key", "master"]);
    assert!(shown.contains("generation: 3\n") && shown.ends_with("authentic\n"));
    assert!(shown.contains(&format!("mk_id {ROOT} version 1")));

    let id = kms_key_id(ROOT);
    let pairs = encode_encryption_context(&[("b", "2"), ("a", "1")]).unwrap();
    for mode in [Mode::Managed, Mode::Customer, Mode::Kms, Mode::Plain] {
        let is_kms = mode == Mode::Kms;
        let ctx = Context {
            mode,
            bucket,
            instance,
            object_key: "Ä/b c".as_bytes(),
            kms_key_id: if is_kms { id.as_bytes() } else { b"" },
            encryption_context: if is_kms { &pairs } else { b"" },
        };
        let mut customer = [9; 32];
        let customer = (mode == Mode::Customer).then(|| Secret::<32>::take(&mut customer).unwrap());
        let dk = key.new_data_key().unwrap();
        let state = RecordState::Complete;
        let record = key.wrap_data_key(&dk, &ctx, customer.as_ref(), state, [6; 32]);
        desk.put("record", &record.unwrap());
        let name = ["managed", "customer", "kms", "plain"][usize::from(mode.code()) - 1];
        let (bucket, instance) = (bucket.to_string(), instance.to_string());
        let mut args = vec!["record", "record", "--bucket-record", "bucket-record"];
        args.extend([
            "--master-key",
            "master",
            "--mode",
            name,
            "--bucket",
            &bucket,
        ]);
        args.extend(["--instance", &instance, "--object-key", "Ä/b c", "--force"]);
        args.extend(["--write-data-key", "data-key"]);
        if is_kms {
            args.extend(["--kms-key-id", &id, "--encryption-context", "a=1"]);
            args.extend(["--encryption-context", "b=2"]);
        }
        if customer.is_some() {
            let wrong = [&args[..], &["--customer-key", "wrong"]].concat();
            fs::remove_file(desk.path("data-key")).unwrap();
            desk.refused(&wrong, "data-key", UNAUTHENTIC);
            args.extend(["--customer-key", "customer"]);
        }
        desk.rescued(&args);
        assert_eq!(desk.get("data-key"), data_key_bytes(&dk), "{name}");
        let elsewhere = [&args[..], &["--object-key", "x", "--write-data-key", "no"]].concat();
        desk.refused(&elsewhere, "no", UNAUTHENTIC);
    }
    desk.refused(
        &["bucket-record", "bucket-record", "--master-key", "wrong"],
        "no",
        UNAUTHENTIC,
    );
}

#[test]
fn the_rescue_tool_opens_the_engines_attributes_and_manifests() {
    let desk = Desk::new();
    let (bucket, instance) = (BucketId([1; 16]), InstanceId([2; 16]));
    let ring = keyring();
    let bucket_record = ring.create_bucket_key(bucket, 1, "test").unwrap();
    let key = ring
        .bucket_key(&bucket_record, None, Purpose::Wrap)
        .unwrap();
    desk.put("bucket-record", &bucket_record);
    desk.put("master", &MASTER);
    let list = NamedList(vec![("etag".into(), b"abc".to_vec())]);
    let attrs = key.seal_attrs(instance, 4, &list.encode_attrs().unwrap());
    desk.put("attrs", &attrs.unwrap());
    let instance = instance.to_string();
    let mut args = vec!["attrs", "attrs", "--bucket-record", "bucket-record"];
    args.extend([
        "--master-key",
        "master",
        "--instance",
        &instance,
        "--part",
        "4",
    ]);
    assert_eq!(desk.rescued(&args), "etag: abc\n");
    args.extend(["--part", "5"]);
    desk.refused(&args, "no", UNAUTHENTIC);

    let head = NamedList(vec![("content-type".into(), b"text/plain".to_vec())]);
    let head = head.encode_head().unwrap();
    let blobs = (1..=300).map(|part| (part, 6_000_000, [9; 32]));
    let manifest = Manifest::new(Suite::Cbc64Gmac, &head, blobs).unwrap();
    let bytes = manifest.encode().unwrap();
    desk.put("manifest", &bytes.body);
    desk.put("pages", &bytes.pages.concat());
    desk.put("head", &head);
    let digest: String = bytes.digest().iter().map(|b| format!("{b:02x}")).collect();
    let mut args = vec![
        "manifest", "manifest", "pages", "--digest", &digest, "--head", "head",
    ];
    let shown = desk.rescued(&args);
    assert!(shown.contains("total: 1800000000\n") && shown.ends_with("content-type: text/plain\n"));
    assert!(shown.contains("\npart 300 start 1794000000 length 6000000 salt 0909"));
    let zero = "00".repeat(32);
    args.extend(["--digest", &zero]);
    desk.refused(&args, "no", UNAUTHENTIC);
}

#[test]
fn the_rescue_tool_opens_the_engines_files() {
    let desk = Desk::new();
    desk.put("master", &MASTER);
    desk.put("key-file", &[3; 32]);
    desk.put("plain", &pattern(300_007));
    let options = FileOptions {
        force: true,
        ..FileOptions::default()
    };
    let ring = keyring();
    let key_file = Secret::take(&mut [3; 32]).unwrap();
    let both = [
        (FileKeys::master(&ring, "test"), ["--master-key", "master"]),
        (FileKeys::key_file(key_file), ["--key-file", "key-file"]),
    ];
    for (keys, flag) in both {
        let (from, to) = (desk.path("plain"), desk.path("sealed"));
        seal_file(&keys, Source::Path(&from), Target::Path(&to), &options).unwrap();
        desk.rescued(&["file", "sealed", "opened", "--force", flag[0], flag[1]]);
        assert!(desk.get("opened") == pattern(300_007));
        let mut damaged = desk.get("sealed");
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x80;
        desk.put("sealed", &damaged);
        desk.refused(
            &["file", "sealed", "no", flag[0], flag[1]],
            "no",
            UNAUTHENTIC,
        );
    }
}

#[test]
fn the_rescue_tool_opens_what_the_envelope_door_sealed() {
    let desk = Desk::new();
    let door = Envelope::create(Arc::new(keyring()), "test").unwrap();
    let (key, blob) = door.seal(b"volume 7", &pattern(70_000)).unwrap();
    desk.put("wrapped", key.as_bytes());
    desk.put("blob", &blob);
    desk.put("ring", door.export().next().unwrap());
    desk.put("master", &MASTER);
    let mut args = vec!["wrapped-key", "wrapped", "--bucket-record", "ring"];
    args.extend([
        "--master-key",
        "master",
        "--write-data-key",
        "data-key",
        "--context",
    ]);
    desk.refused(
        &[&args[..], &["volume 8"]].concat(),
        "data-key",
        UNAUTHENTIC,
    );
    desk.rescued(&[&args[..], &["volume 7"]].concat());
    desk.rescued(&["blob", "blob", "plain", "--data-key", "data-key"]);
    assert!(desk.get("plain") == pattern(70_000));
}

#[test]
fn a_key_file_is_the_same_key_to_both() {
    let desk = Desk::new();
    let key = BucketKey::from_key_file(Secret::take(&mut [3; 32]).unwrap());
    let ctx = Context {
        mode: Mode::KeyFile,
        bucket: BucketId([0; 16]),
        instance: InstanceId([2; 16]),
        object_key: b"",
        kms_key_id: b"",
        encryption_context: b"",
    };
    let dk = key.new_data_key().unwrap();
    let record = key.wrap_data_key(&dk, &ctx, None, RecordState::NoManifest, [0; 32]);
    desk.put("record", &record.unwrap());
    desk.put("kek", &[3; 32]);
    let (bucket, instance) = ("00".repeat(16), "02".repeat(16));
    let mut args = vec![
        "record", "record", "--kek", "kek", "--mode", "key-file", "--bucket",
    ];
    args.extend([
        &bucket[..],
        "--instance",
        &instance,
        "--write-data-key",
        "data-key",
    ]);
    desk.rescued(&args);
    assert_eq!(desk.get("data-key"), data_key_bytes(&dk));
}

//! What the file functions promise: whole files or none, and nothing unverified released.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::audit::NullSink;
use crate::format::{SEALED_SEGMENT_LEN, SEGMENT_LEN};
use crate::id::RootId;
use crate::keys::KeyringConfig;
use crate::keys::testing::SoftMasterKey;
use crate::object::tests::paint;

fn keyring() -> Keyring {
    let root = Arc::new(SoftMasterKey::new(RootId([7; 16])));
    Keyring::new(vec![root], Arc::new(NullSink), KeyringConfig::default()).unwrap()
}

fn key_file() -> FileKeys<'static> {
    FileKeys::key_file(Secret::take(&mut [9; 32]).unwrap())
}

/// Not durable: the tests are many.
fn options() -> FileOptions<'static> {
    FileOptions {
        sync: false,
        ..FileOptions::default()
    }
}

/// A directory with the paths of a plaintext, a sealed file and an opened one.
struct Dir {
    dir: TempDir,
    plain: PathBuf,
    sealed: PathBuf,
    opened: PathBuf,
}

impl Dir {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (plain, sealed, opened) = (path("plain"), path("plain.sealed"), path("opened"));
        Self {
            dir,
            plain,
            sealed,
            opened,
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn seal(&self, keys: &FileKeys<'_>) -> Result<FileSummary, FileError> {
        let (from, to) = (Source::Path(&self.plain), Target::Path(&self.sealed));
        seal_file(keys, from, to, &options())
    }

    fn open(&self, keys: &FileKeys<'_>) -> Result<FileSummary, FileError> {
        let (from, to) = (Source::Path(&self.sealed), Target::Path(&self.opened));
        open_file(keys, from, to, &options())
    }
}

fn seal_bytes(keys: &FileKeys<'_>, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    let (mut from, to) = (plain, Target::Stream(&mut sealed));
    let summary = seal_file(keys, Source::Stream(&mut from), to, &options()).unwrap();
    assert_eq!(summary.plain_len, plain.len() as u64);
    assert_eq!(summary.sealed_len, sealed.len() as u64);
    sealed
}

/// What came out before the call ended, and how it ended.
fn open_bytes(keys: &FileKeys<'_>, sealed: &[u8]) -> (Vec<u8>, Result<FileSummary, FileError>) {
    let mut opened = Vec::new();
    let (mut from, to) = (sealed, Target::Stream(&mut opened));
    let result = open_file(keys, Source::Stream(&mut from), to, &options());
    (opened, result)
}

const LENGTHS: [usize; 13] = [
    0, 1, 4096, 65_535, 65_536, 65_537, 196_608, 262_143, 262_144, 262_145, 1_048_576, 1_400_000,
    2_621_440,
];

#[test]
fn every_way_in_opens_by_every_way_out() {
    let keyring = keyring();
    for keys in [FileKeys::master(&keyring, "test"), key_file()] {
        for len in LENGTHS {
            let (dir, plain) = (Dir::new(), paint(len));
            fs::write(&dir.plain, &plain).unwrap();
            let summary = dir.seal(&keys).unwrap();
            let from_path = fs::read(&dir.sealed).unwrap();
            assert_eq!(summary.plain_len, len as u64);
            assert_eq!(summary.sealed_len, from_path.len() as u64);
            let from_stream = seal_bytes(&keys, &plain);
            assert_eq!(from_stream.len(), from_path.len());
            for sealed in [from_path, from_stream] {
                let (opened, result) = open_bytes(&keys, &sealed);
                assert_eq!(result.unwrap(), summary);
                assert!(opened == plain, "{len} to a stream");
                fs::write(&dir.sealed, &sealed).unwrap();
                assert_eq!(dir.open(&keys).unwrap(), summary);
                assert!(fs::read(&dir.opened).unwrap() == plain, "{len} to a path");
                fs::remove_file(&dir.opened).unwrap();
            }
            // One end a path, the other a stream.
            let mut sealed = Vec::new();
            let to = Target::Stream(&mut sealed);
            seal_file(&keys, Source::Path(&dir.plain), to, &options()).unwrap();
            let mut from = &sealed[..];
            let to = Target::Path(&dir.opened);
            open_file(&keys, Source::Stream(&mut from), to, &options()).unwrap();
            assert!(fs::read(&dir.opened).unwrap() == plain, "{len} mixed");
        }
    }
}

#[test]
fn a_durable_file_is_as_whole_as_any() {
    let (dir, keys, plain) = (Dir::new(), key_file(), paint(300_000));
    fs::write(&dir.plain, &plain).unwrap();
    let durable = FileOptions::default();
    let (from, to) = (Source::Path(&dir.plain), Target::Path(&dir.sealed));
    seal_file(&keys, from, to, &durable).unwrap();
    let (from, to) = (Source::Path(&dir.sealed), Target::Path(&dir.opened));
    open_file(&keys, from, to, &durable).unwrap();
    assert!(fs::read(&dir.opened).unwrap() == plain);
    assert_eq!(dir.names(), ["opened", "plain", "plain.sealed"]);
}

/// F-96: a run makes one bucket key, and every run its own.
#[test]
fn one_run_shares_a_bucket_key_and_no_two_runs_do() {
    let keyring = keyring();
    let run = FileKeys::master(&keyring, "test");
    let record = |sealed: &[u8]| sealed[12..172].to_vec();
    let first = record(&seal_bytes(&run, b"a"));
    assert_eq!(first, record(&seal_bytes(&run, b"b")));
    let other = FileKeys::master(&keyring, "test");
    assert_ne!(first, record(&seal_bytes(&other, b"a")));
}

/// Every cut, by every way out: an error, no output file, no byte that was not verified.
#[test]
fn every_truncation_of_a_small_file_is_refused_and_leaves_nothing() {
    let (dir, keys) = (Dir::new(), key_file());
    let sealed = seal_bytes(&keys, &paint(40));
    for len in 0..sealed.len() {
        fs::write(&dir.sealed, &sealed[..len]).unwrap();
        assert!(dir.open(&keys).is_err(), "cut to {len}");
        assert_eq!(dir.names(), ["plain.sealed"], "cut to {len}");
        let (opened, result) = open_bytes(&keys, &sealed[..len]);
        assert!(result.is_err() && opened.is_empty(), "cut to {len}");
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_refused_and_leaves_nothing() {
    let keyring = keyring();
    for keys in [FileKeys::master(&keyring, "test"), key_file()] {
        let mut sealed = seal_bytes(&keys, &paint(40));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                sealed[at] ^= 1 << bit;
                let (opened, result) = open_bytes(&keys, &sealed);
                // The wrap list and the check of a bucket key record are not under its tag: changed, they no longer
                // give the same key.
                assert!(result.is_err() && opened.is_empty(), "byte {at} bit {bit}");
                sealed[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn bytes_behind_the_blob_are_refused() {
    let (dir, keys) = (Dir::new(), key_file());
    for len in [0, 40, SEGMENT_LEN, 5 * SEGMENT_LEN] {
        for more in [1, 16, 32, SEALED_SEGMENT_LEN] {
            let mut sealed = seal_bytes(&keys, &paint(len));
            sealed.resize(sealed.len() + more, 0);
            fs::write(&dir.sealed, &sealed).unwrap();
            assert!(dir.open(&keys).is_err(), "{len} + {more}");
            assert_eq!(dir.names(), ["plain.sealed"]);
            assert!(open_bytes(&keys, &sealed).1.is_err());
        }
    }
}

/// F-31.
#[test]
fn a_damaged_file_releases_to_a_pipe_only_what_lies_before_the_damage() {
    let (dir, keys, plain) = (Dir::new(), key_file(), paint(20 * SEGMENT_LEN));
    let whole = seal_bytes(&keys, &plain);
    let blob = whole.len() - (80 + 20 * SEALED_SEGMENT_LEN + 32);
    for segment in [0, 7, 19, 20] {
        let mut sealed = whole.clone();
        sealed[blob + 80 + segment * SEALED_SEGMENT_LEN + 5] ^= 1;
        let (opened, result) = open_bytes(&keys, &sealed);
        assert!(matches!(
            result,
            Err(FileError::Object(ObjectError::UNAUTHENTIC))
        ));
        assert!(opened.len() <= segment * SEGMENT_LEN);
        assert!(plain.starts_with(&opened));
        fs::write(&dir.sealed, &sealed).unwrap();
        assert!(dir.open(&keys).is_err());
        assert_eq!(dir.names(), ["plain.sealed"]);
    }
    // Cut between two segments: all that came is authentic, and still it is no clean end.
    let cut = &whole[..blob + 80 + 12 * SEALED_SEGMENT_LEN];
    let (opened, result) = open_bytes(&keys, cut);
    assert!(result.is_err() && plain.starts_with(&opened));
}

#[test]
fn an_output_that_exists_stays_unless_forced() {
    let (dir, keys, plain) = (Dir::new(), key_file(), paint(100));
    fs::write(&dir.plain, &plain).unwrap();
    fs::write(&dir.sealed, b"precious").unwrap();
    assert!(matches!(dir.seal(&keys), Err(FileError::Exists(path)) if path == dir.sealed));
    assert_eq!(fs::read(&dir.sealed).unwrap(), b"precious");

    let force = FileOptions {
        force: true,
        ..options()
    };
    let (from, to) = (Source::Path(&dir.plain), Target::Path(&dir.sealed));
    seal_file(&keys, from, to, &force).unwrap();
    fs::write(&dir.opened, b"precious").unwrap();
    let stranger = FileKeys::key_file(Secret::take(&mut [8; 32]).unwrap());
    let (from, to) = (Source::Path(&dir.sealed), Target::Path(&dir.opened));
    assert!(open_file(&stranger, from, to, &force).is_err());
    assert_eq!(
        fs::read(&dir.opened).unwrap(),
        b"precious",
        "a failure replaces nothing"
    );
    let (from, to) = (Source::Path(&dir.sealed), Target::Path(&dir.opened));
    open_file(&keys, from, to, &force).unwrap();
    assert_eq!(fs::read(&dir.opened).unwrap(), plain);
    assert_eq!(dir.names(), ["opened", "plain", "plain.sealed"]);
}

#[test]
fn an_output_that_appears_meanwhile_is_not_overwritten() {
    let dir = Dir::new();
    for temporary in [false, true] {
        let output = Output::create(&dir.opened, 0o600, false).unwrap();
        let output = if temporary {
            output.with_temporary().unwrap()
        } else {
            output
        };
        output.write_next(b"ours").unwrap();
        fs::write(&dir.opened, b"theirs").unwrap();
        assert!(matches!(output.appear(false), Err(FileError::Exists(_))));
        assert_eq!(fs::read(&dir.opened).unwrap(), b"theirs");
        assert_eq!(dir.names(), ["opened"]);
        fs::remove_file(&dir.opened).unwrap();
    }
}

/// As on file systems that know no nameless files.
#[test]
fn a_temporary_file_appears_or_goes_with_its_output() {
    let dir = Dir::new();
    for force in [false, true] {
        let output = Output::create(&dir.opened, 0o600, force).unwrap();
        drop(output.with_temporary().unwrap());
        assert!(dir.names().is_empty());
        let output = Output::create(&dir.opened, 0o600, force).unwrap();
        let output = output.with_temporary().unwrap();
        output.write_next(b"all of it").unwrap();
        assert_eq!(dir.names().len(), 1);
        output.appear(true).unwrap();
        assert_eq!(dir.names(), ["opened"]);
        assert_eq!(fs::read(&dir.opened).unwrap(), b"all of it");
        fs::remove_file(&dir.opened).unwrap();
    }
}

#[test]
fn a_directory_or_a_device_is_no_output() {
    let (dir, keys) = (Dir::new(), key_file());
    fs::write(&dir.plain, b"x").unwrap();
    for path in [dir.dir.path(), Path::new("/dev/null")] {
        let force = FileOptions {
            force: true,
            ..options()
        };
        let (from, to) = (Source::Path(&dir.plain), Target::Path(path));
        assert!(matches!(
            seal_file(&keys, from, to, &force),
            Err(FileError::NotAFile(_))
        ));
    }
}

#[test]
fn the_output_may_be_read_by_whom_the_input_might() {
    let (dir, keys) = (Dir::new(), key_file());
    fs::write(&dir.plain, paint(10)).unwrap();
    fs::set_permissions(&dir.plain, fs::Permissions::from_mode(0o600)).unwrap();
    dir.seal(&keys).unwrap();
    dir.open(&keys).unwrap();
    for path in [&dir.sealed, &dir.opened] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_file_of_a_later_version_is_unsupported_and_anything_else_malformed() {
    let keys = key_file();
    let mut sealed = seal_bytes(&keys, b"x");
    sealed[..8].copy_from_slice(b"SRFILE02");
    let (_, later) = open_bytes(&keys, &sealed);
    let later = later.unwrap_err();
    assert!(matches!(
        later,
        FileError::Object(ObjectError::Format(FormatError::Unsupported(_)))
    ));
    for bytes in [
        &b""[..],
        b"SRFILE",
        b"hello, this is no sealed file",
        &[0; 4096],
    ] {
        let (_, result) = open_bytes(&keys, bytes);
        assert!(matches!(
            result,
            Err(FileError::Object(ObjectError::Format(
                FormatError::Malformed(_)
            )))
        ));
    }
}

#[test]
fn the_wrong_kind_of_key_says_which_one_is_needed() {
    let keyring = keyring();
    let master = FileKeys::master(&keyring, "test");
    let (_, result) = open_bytes(&key_file(), &seal_bytes(&master, b"x"));
    assert!(matches!(result, Err(FileError::NeedsMasterKey)));
    let (_, result) = open_bytes(&master, &seal_bytes(&key_file(), b"x"));
    assert!(matches!(result, Err(FileError::NeedsKeyFile)));
}

#[test]
fn sealed_files_are_never_plain() {
    let plain = FileOptions {
        suite: Suite::PlainGmac,
        ..options()
    };
    let mut sealed = Vec::new();
    let (mut from, to) = (&b"x"[..], Target::Stream(&mut sealed));
    assert!(seal_file(&key_file(), Source::Stream(&mut from), to, &plain).is_err());
    assert!(sealed.is_empty());
}

#[test]
fn an_input_that_changes_meanwhile_is_an_error_and_leaves_nothing() {
    for new_len in [5_000_000, 7_000_000] {
        let (dir, keys) = (Dir::new(), key_file());
        fs::write(&dir.plain, paint(6_000_000)).unwrap();
        let change = |_| {
            let file = File::options().write(true).open(&dir.plain).unwrap();
            file.set_len(new_len).unwrap();
        };
        let options = FileOptions {
            progress: Some(&change),
            ..options()
        };
        let (from, to) = (Source::Path(&dir.plain), Target::Path(&dir.sealed));
        let result = seal_file(&keys, from, to, &options);
        assert!(matches!(result, Err(FileError::Changed(_))), "{result:?}");
        assert_eq!(dir.names(), ["plain"]);
    }
}

#[test]
fn progress_counts_every_byte_of_the_input() {
    let (dir, keys) = (Dir::new(), key_file());
    for len in [0, 70_000, 3_000_000] {
        fs::write(&dir.plain, paint(len)).unwrap();
        let done = AtomicU64::new(0);
        let count = |bytes| {
            done.fetch_add(bytes, Ordering::Relaxed);
        };
        let options = FileOptions {
            progress: Some(&count),
            force: true,
            ..options()
        };
        let (from, to) = (Source::Path(&dir.plain), Target::Path(&dir.sealed));
        seal_file(&keys, from, to, &options).unwrap();
        assert_eq!(done.swap(0, Ordering::Relaxed), len as u64);
        let mut from: &[u8] = &paint(len);
        let to = Target::Path(&dir.sealed);
        seal_file(&keys, Source::Stream(&mut from), to, &options).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), len as u64);
    }
}

/// Two real pipes and a thread at each end; the input stalls in the middle.
#[test]
fn pipes_carry_whole_files() {
    let (keys, plain) = (key_file(), paint(1_500_000));
    let (mut plain_in, plain_out) = io::pipe().unwrap();
    let (mut sealed_in, sealed_out) = io::pipe().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut plain_out = plain_out;
            let (first, second) = plain.split_at(777_777);
            plain_out.write_all(first).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            plain_out.write_all(second).unwrap();
        });
        scope.spawn(|| {
            let mut sealed_out = sealed_out;
            let from = Source::Stream(&mut plain_in);
            seal_file(&keys, from, Target::Stream(&mut sealed_out), &options()).unwrap();
        });
        let mut opened = Vec::new();
        let to = Target::Stream(&mut opened);
        open_file(&keys, Source::Stream(&mut sealed_in), to, &options()).unwrap();
        assert!(opened == plain);
    });
}

/// Gives so many bytes, then fails.
struct Breaks(usize);

impl Read for Breaks {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.0);
        if len == 0 {
            return Err(io::Error::other("the cable is out"));
        }
        self.0 -= len;
        Ok(len)
    }
}

impl Write for Breaks {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.read(&mut vec![0; buf.len()])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_source_or_sink_that_breaks_ends_the_call_and_leaves_nothing() {
    let (dir, keys) = (Dir::new(), key_file());
    for len in [0, 100, 300_000, 5_000_000] {
        let (mut from, to) = (Breaks(len), Target::Path(&dir.sealed));
        let result = seal_file(&keys, Source::Stream(&mut from), to, &options());
        assert!(
            matches!(
                result,
                Err(FileError::Io {
                    what: "reading",
                    ..
                })
            ),
            "{len}"
        );
        assert!(dir.names().is_empty());
        let plain = paint(6_000_000);
        let (mut from, mut to) = (&plain[..], Breaks(len));
        let to = Target::Stream(&mut to);
        let result = seal_file(&keys, Source::Stream(&mut from), to, &options());
        assert!(
            matches!(
                result,
                Err(FileError::Io {
                    what: "writing",
                    ..
                })
            ),
            "{len}"
        );
    }
}

#[test]
fn a_batch_does_all_it_can_and_tells_of_the_rest_in_order() {
    let (dir, keys) = (Dir::new(), key_file());
    let path = |name: String| dir.dir.path().join(name);
    let lens = [0, 100, 70_000, 2_000_000, 1_048_576, 5];
    let jobs: Vec<Job> = (0..lens.len())
        .map(|i| Job {
            from: path(format!("in{i}")),
            to: path(format!("sealed{i}")),
        })
        .collect();
    for (job, len) in jobs.iter().zip(lens) {
        fs::write(&job.from, paint(len)).unwrap();
    }
    fs::remove_file(&jobs[1].from).unwrap();
    let sealed = seal_many(&keys, &jobs, &options());
    let back: Vec<Job> = (0..lens.len())
        .map(|i| Job {
            from: path(format!("sealed{i}")),
            to: path(format!("out{i}")),
        })
        .collect();
    let opened = open_many(&keys, &back, &options());
    for i in 0..lens.len() {
        assert_eq!(sealed[i].is_err(), i == 1);
        assert_eq!(opened[i].is_err(), i == 1);
        if i != 1 {
            assert_eq!(opened[i].as_ref().unwrap().plain_len, lens[i] as u64);
            assert!(fs::read(&back[i].to).unwrap() == paint(lens[i]));
        }
    }
}

#[test]
fn a_file_of_proc_that_says_it_is_empty_is_read_to_its_end() {
    let (dir, keys) = (Dir::new(), key_file());
    let (from, to) = (
        Source::Path(Path::new("/proc/self/limits")),
        Target::Path(&dir.sealed),
    );
    let summary = seal_file(&keys, from, to, &options()).unwrap();
    assert!(summary.plain_len > 100);
    dir.open(&keys).unwrap();
    assert!(fs::read(&dir.opened).unwrap().starts_with(b"Limit"));
}

//! `strongroom seal` and `strongroom open`, as people and scripts use them.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Daemon, file_contains, run, stderr, strongroom};

struct Room {
    home: tempfile::TempDir,
}

impl Room {
    fn new() -> Room {
        let room = Room {
            home: tempfile::tempdir().unwrap(),
        };
        room.write("key", &[0x42; 32]);
        room.write("other", &[0x43; 32]);
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.pipe(arguments, b"")
    }

    fn pipe(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = strongroom()
            .args(arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // The command may end before it has read everything.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        output
    }
}

fn text(length: usize) -> Vec<u8> {
    b"the plaintext canary, "
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn files_go_to_sealed_and_back() {
    let room = Room::new();
    for (name, length) in [("empty", 0), ("small", 100), ("large", 3 << 20)] {
        room.write(name, &text(length));
    }
    let output = room.run(&["seal", "--key-file", "key", "empty", "small", "large"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "quiet when nobody watches"
    );
    assert!(!file_contains(&room.path("large.sealed"), b"canary"));
    for name in ["empty", "small", "large"] {
        std::fs::rename(room.path(name), room.path(&format!("{name}.before"))).unwrap();
    }
    let output = room.run(&[
        "open",
        "--key-file",
        "key",
        "empty.sealed",
        "small.sealed",
        "large.sealed",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for name in ["empty", "small", "large"] {
        assert!(
            room.read(name) == room.read(&format!("{name}.before")),
            "{name}"
        );
    }
}

#[test]
fn pipes_work_in_both_directions() {
    let room = Room::new();
    let plain = text(5 << 20);
    let sealed = room.pipe(&["seal", "--key-file", "key", "-"], &plain);
    assert_eq!(sealed.status.code(), Some(0), "{}", stderr(&sealed));
    let opened = room.pipe(&["open", "--key-file", "key", "-"], &sealed.stdout);
    assert_eq!(opened.status.code(), Some(0), "{}", stderr(&opened));
    assert!(opened.stdout == plain);
    let output = room.pipe(
        &["seal", "--key-file", "key", "-", "-o", "from-pipe.sealed"],
        &plain,
    );
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    let output = room.run(&["open", "--key-file", "key", "from-pipe.sealed", "-o", "-"]);
    assert!(output.stdout == plain);
}

#[test]
fn a_pipe_releases_only_what_was_authenticated() {
    let room = Room::new();
    let plain = text(1 << 20);
    let mut sealed = room
        .pipe(&["seal", "--key-file", "key", "-"], &plain)
        .stdout;
    let middle = sealed.len() / 2;
    sealed[middle] ^= 1;
    let output = room.pipe(&["open", "--key-file", "key", "-"], &sealed);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(output.stdout.len() < middle && plain.starts_with(&output.stdout));
}

#[test]
fn nothing_is_overwritten_without_force() {
    let room = Room::new();
    room.write("file", b"one");
    room.write("file.sealed", b"precious");
    let output = room.run(&["seal", "--key-file", "key", "file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("file.sealed"),
        "{}",
        stderr(&output)
    );
    assert_eq!(room.read("file.sealed"), b"precious");
    assert_eq!(
        room.run(&["seal", "--key-file", "key", "--force", "--no-sync", "file"])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        room.run(&["open", "--key-file", "key", "file.sealed"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        room.run(&["open", "--key-file", "key", "file.sealed", "--force"])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(room.read("file"), b"one");
}

#[test]
fn a_wrong_key_damage_and_a_cut_file_leave_no_output() {
    let room = Room::new();
    room.write("file", &text(300_000));
    assert_eq!(
        room.run(&["seal", "--key-file", "key", "file"])
            .status
            .code(),
        Some(0)
    );
    let whole = room.read("file.sealed");
    std::fs::remove_file(room.path("file")).unwrap();
    let before = room.names();
    let wrong = room.run(&["open", "--key-file", "other", "file.sealed"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("file.sealed"), "{}", stderr(&wrong));
    for cut in [
        0,
        1,
        50,
        200,
        1000,
        100_000,
        whole.len() - 65_600,
        whole.len() - 1,
    ] {
        room.write("file.sealed", &whole[..cut]);
        let output = room.run(&["open", "--key-file", "key", "file.sealed"]);
        assert_eq!(
            output.status.code(),
            Some(3),
            "cut at {cut}: {}",
            stderr(&output)
        );
        assert_eq!(room.names(), before, "cut at {cut}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    room.write("file.sealed", &longer);
    assert_eq!(
        room.run(&["open", "--key-file", "key", "file.sealed"])
            .status
            .code(),
        Some(3)
    );
    assert_eq!(room.names(), before);
}

#[test]
fn one_bad_file_does_not_stop_the_others_and_names_itself() {
    let room = Room::new();
    for name in ["a", "b", "c"] {
        room.write(name, name.as_bytes());
        assert_eq!(
            room.run(&["seal", "--key-file", "key", name]).status.code(),
            Some(0)
        );
        std::fs::remove_file(room.path(name)).unwrap();
    }
    let mut bytes = room.read("b.sealed");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    room.write("b.sealed", &bytes);
    let output = room.run(&[
        "open",
        "--key-file",
        "key",
        "a.sealed",
        "b.sealed",
        "c.sealed",
        "missing.sealed",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(
        said.contains("b.sealed") && said.contains("missing.sealed") && !said.contains("a.sealed"),
        "{said}"
    );
    assert_eq!(
        (room.read("a"), room.read("c")),
        (b"a".to_vec(), b"c".to_vec())
    );
    assert!(!room.path("b").exists());
}

#[test]
fn wrong_use_is_told_with_exit_code_2() {
    let room = Room::new();
    room.write("file", b"x");
    for arguments in [
        &["seal", "--key-file", "key", "-o", "out", "file", "key"][..],
        &["seal", "--key-file", "key", "-", "file"],
        &["open", "--key-file", "key", "file"],
        &["seal", "--key-file", "missing", "file"],
        &["seal", "--key-file", "file", "file"],
        &["seal", "file"],
        &["seal", "--dir", "nowhere", "file"],
        &["seal"],
        &["seal", "--dir", "a", "--config", "b", "file"],
    ] {
        let output = room.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(room.names(), ["file", "key", "other"]);
}

#[test]
fn the_master_key_seals_and_opens_beside_a_running_daemon() {
    let daemon = Daemon::start();
    let dir = daemon.dir.to_str().unwrap();
    let room = Room::new();
    room.write("file", &text(100_000));
    let output = room.run(&["--dir", dir, "seal", "file"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    std::fs::rename(room.path("file"), room.path("before")).unwrap();
    let output = room.run(&["open", "file.sealed", "--dir", dir]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(room.read("file") == room.read("before"));
    // The key file does not open what the master key sealed, nor another token.
    assert_eq!(
        room.run(&["open", "--key-file", "key", "file.sealed", "-o", "x"])
            .status
            .code(),
        Some(2)
    );
    let other = Daemon::start();
    let output = run(&[
        "open",
        "--dir",
        other.dir.to_str().unwrap(),
        room.path("file.sealed").to_str().unwrap(),
        "-o",
        room.path("x").to_str().unwrap(),
    ]);
    assert_ne!(output.status.code(), Some(0));
    assert!(!room.path("x").exists());
    // Without --dir and --config, ./dev is used if it is there.
    std::os::unix::fs::symlink(Path::new(dir), room.path("dev")).unwrap();
    let output = room.run(&["open", "file.sealed", "-o", "again"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

//! Objects and files of either suite side by side: what they are sealed under is theirs, not the daemon's of today.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;

use common::{Daemon, run, stderr};

#[test]
fn a_daemon_set_to_gcm_seals_new_objects_with_it_and_reads_both_suites() {
    let content: Vec<u8> = (0..200_000_u32).map(|i| i.to_le_bytes()[0] ^ 7).collect();
    let mut daemon = Daemon::start_with("[seal]\nsuite = \"AES256-GCM\"\n");
    let put = |daemon: &Daemon, path: &str| {
        assert_eq!(daemon.request("PUT", path, &[], &content).status, 200);
    };
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    put(&daemon, "/bucket/gcm");
    assert_eq!(suites_below(&daemon.dir), [2]);

    daemon.stop();
    let settings = daemon.dir.join("strongroom.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    assert!(text.contains("AES256-GCM"), "{text}");
    std::fs::write(&settings, text.replace("AES256-GCM", "AES256-CBC64-GMAC")).unwrap();
    daemon.spawn();
    put(&daemon, "/bucket/cbc");
    assert_eq!(suites_below(&daemon.dir), [1, 2]);

    for path in ["/bucket/gcm", "/bucket/cbc"] {
        let reply = daemon.request("GET", path, &[], b"");
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.body == content, "{path}");
        // Over the end of a segment.
        let reply = daemon.request("GET", path, &[("range", "bytes=65530-65545")], b"");
        assert_eq!(reply.status, 206, "{path}");
        assert_eq!(reply.body, content[65_530..=65_545], "{path}");
    }
}

#[test]
fn a_file_is_sealed_under_the_suite_that_is_asked_for_and_opens_without_naming_it() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("key"), [9; 32]).unwrap();
    std::fs::write(at("note"), b"meet me at noon").unwrap();
    for (suite, byte) in [("AES256-GCM", 2), ("AES256-CBC64-GMAC", 1)] {
        let (key, note, sealed, back) = (at("key"), at("note"), at(suite), at("back"));
        let seal = [
            "seal",
            "--key-file",
            &key,
            "--suite",
            suite,
            &note,
            "-o",
            &sealed,
        ];
        let output = run(&seal);
        assert!(output.status.success(), "{}", stderr(&output));
        let bytes = std::fs::read(&sealed).unwrap();
        let header = bytes.windows(8).position(|at| at == MAGIC).unwrap();
        assert_eq!(bytes[header + SUITE_AT], byte);
        let output = run(&["open", "--key-file", &key, "--force", &sealed, "-o", &back]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(std::fs::read(&back).unwrap(), b"meet me at noon");
    }
    let (key, note) = (at("key"), at("note"));
    let plain = run(&["seal", "--key-file", &key, "--suite", "PLAIN-GMAC", &note]);
    assert!(!plain.status.success());
}

/// The suites of the blobs in this directory, sorted, each once.
fn suites_below(dir: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(suites_below(&entry.path()));
        } else if let Ok(bytes) = std::fs::read(entry.path())
            && bytes.starts_with(MAGIC)
        {
            found.push(bytes[SUITE_AT]);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What a blob begins with (F-10), and where its suite stands behind it.
const MAGIC: &[u8] = b"STRGROOM";
const SUITE_AT: usize = 9;

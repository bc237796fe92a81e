//! What a daemon still holds of a customer key after the reply: nothing.
//!
//! The daemon is not dumpable, so reading its memory takes root or CAP_SYS_PTRACE.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::Daemon;
use md5::{Digest as _, Md5};

/// In how many places of the process's memory each needle stands.
fn search(pid: u32, needles: &[Vec<u8>]) -> Vec<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = vec![0; needles.len()];
    // By the first two bytes, so that one pass looks for all of them.
    let mut by_start = vec![Vec::new(); 1 << 16];
    for (index, needle) in needles.iter().enumerate() {
        by_start[usize::from(needle[0]) << 8 | usize::from(needle[1])].push(index);
    }
    let longest = needles.iter().map(Vec::len).max().unwrap();
    for line in maps
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw"))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (
            u64::from_str_radix(from, 16).unwrap(),
            u64::from_str_radix(to, 16).unwrap(),
        );
        let mut at = from;
        while at < to {
            let size = usize::try_from(to - at).unwrap().min(1 << 20);
            let mut bytes = vec![0; size];
            let Ok(read) = memory.read_at(&mut bytes, at) else {
                break; // Secret memory of the kernel's kind: nobody reads it.
            };
            let bytes = &bytes[..read];
            for start in 0..bytes.len().saturating_sub(1) {
                let first = usize::from(bytes[start]) << 8 | usize::from(bytes[start + 1]);
                // A needle across two reads is found in the overlap.
                for &needle in &by_start[first] {
                    found[needle] += usize::from(bytes[start..].starts_with(&needles[needle]));
                }
            }
            if read < size || size < (1 << 20) {
                break;
            }
            at += (read - longest) as u64;
        }
    }
    found
}

#[test]
fn no_form_of_a_customer_key_is_left_after_the_reply() {
    let daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    let mut needles = Vec::new();
    for round in 0..20_u8 {
        let key: Vec<u8> = Md5::digest([round, 1])
            .into_iter()
            .chain(Md5::digest([round, 2]))
            .collect();
        let (text, digest) = (STANDARD.encode(&key), STANDARD.encode(Md5::digest(&key)));
        let customer = [
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", text.as_str()),
            (
                "x-amz-server-side-encryption-customer-key-md5",
                digest.as_str(),
            ),
        ];
        let path = format!("/bucket/{round}");
        assert_eq!(
            daemon
                .request("PUT", &path, &customer, &[round; 200_000])
                .status,
            200
        );
        assert_eq!(daemon.request("GET", &path, &customer, b"").status, 200);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        // Each half by itself: round keys of a key schedule are halves of the key first.
        needles.extend([
            key[..16].to_vec(),
            key[16..].to_vec(),
            text.into_bytes(),
            hex.into_bytes(),
        ]);
    }
    // What must be found, so that finding nothing means something.
    needles.push(daemon.env()["AWS_ACCESS_KEY_ID"].clone().into_bytes());
    std::thread::sleep(Duration::from_millis(100));
    let mut found = search(daemon.pid(), &needles);
    assert!(
        found.pop().unwrap() > 0,
        "the search does not find what is there"
    );
    assert_eq!(found.iter().sum::<usize>(), 0, "{found:?}");
}

#[test]
fn a_daemon_leaves_no_core_dump() {
    let daemon = Daemon::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

//! Sealing and opening take bounded memory, whatever the size of the object (P15).
//!
//! Alone in its file: it measures the whole process.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{self, Read};

use strongroom::object::{FileKeys, FileOptions, Source, Target, open_file, seal_file};
use strongroom::secret::Secret;

#[test]
fn a_large_object_takes_at_most_a_mebibyte_a_stream() {
    let keys = FileKeys::key_file(Secret::take(&mut [9; 32]).unwrap());
    let options = FileOptions::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    File::create(&path).unwrap().set_len(SIZE).unwrap();

    // What the first use of anything costs is not of the stream.
    let mut warm = Vec::new();
    let mut small = io::repeat(1).take(1 << 20);
    seal_file(
        &keys,
        Source::Stream(&mut small),
        Target::Stream(&mut warm),
        &options,
    )
    .unwrap();
    drop(warm);

    let (mut sealed_in, sealed_out) = io::pipe().unwrap();
    let before = reset_peak();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sealed_out = sealed_out;
            let to = Target::Stream(&mut sealed_out);
            seal_file(&keys, Source::Path(&path), to, &options).unwrap();
        });
        let mut nowhere = io::sink();
        let to = Target::Stream(&mut nowhere);
        let opened = open_file(&keys, Source::Stream(&mut sealed_in), to, &options).unwrap();
        assert_eq!(opened.plain_len, SIZE);
    });
    let grown = peak() - before;
    eprintln!(
        "two streams of {} MiB grew the process by {} KiB",
        SIZE >> 20,
        grown >> 10
    );
    assert!(
        grown < 2 * (1 << 20) + THREADS,
        "{grown} bytes for two streams"
    );
}

/// Sets the peak of resident memory back to what is resident now, and returns it.
fn reset_peak() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Code that is not optimised would take minutes for a GiB.
const SIZE: u64 = if cfg!(debug_assertions) {
    64 << 20
} else {
    1 << 30
};
/// Stacks and allocator arenas of five threads.
const THREADS: u64 = 5 * (256 << 10);

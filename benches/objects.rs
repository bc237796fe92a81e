//! Whole objects and files, by size and threads. Every answer is checked once before it is timed.
//!
//! `cargo bench --bench objects`
#![allow(missing_docs, clippy::unwrap_used)]
// One mapping, to measure beside.
#![allow(unsafe_code)]

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use rayon::prelude::*;
use strongroom::format::Suite;
use strongroom::keys::{BucketKey, DataKey};
use strongroom::object::{
    BlobOpener, BlobSealer, FileKeys, FileOptions, Source, Target, open_file, seal_file,
};
use strongroom::secret::Secret;

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .sample_size(20)
        .configure_from_args();
    one_object(&mut criterion);
    many_objects(&mut criterion);
    ranges(&mut criterion);
    files(&mut criterion);
    criterion.final_summary();
}

fn one_object(criterion: &mut Criterion) {
    for suite in [Suite::Cbc64Gmac, Suite::PlainGmac] {
        let mut group = criterion.benchmark_group(format!("object/{suite:?}"));
        for len in SIZES {
            let (key, plain) = (data_key(), paint(len));
            let mut blob = vec![0; sealed_room(len)];
            let sealed = seal(&key, suite, &plain, &mut blob);
            let mut opened = vec![0; len + SLACK];
            assert_eq!(open(&key, &blob[..sealed], &mut opened), len);
            assert!(opened[..len] == plain);
            group.throughput(Throughput::Bytes(len as u64));
            on_threads(&mut group, "seal", len, || {
                black_box(seal(&key, suite, &plain, &mut blob));
            });
            let sealed = seal(&key, suite, &plain, &mut blob);
            on_threads(&mut group, "open", len, || {
                black_box(open(&key, &blob[..sealed], &mut opened));
            });
        }
        group.finish();
    }
}

/// 64 objects of 1 MiB, each sealed by one thread.
fn many_objects(criterion: &mut Criterion) {
    const LEN: usize = 1 << 20;
    let mut group = criterion.benchmark_group("objects");
    let key = data_key();
    let mut objects: Vec<_> = (0..64)
        .map(|_| (paint(LEN), vec![0; sealed_room(LEN)]))
        .collect();
    group.throughput(Throughput::Bytes(64 * LEN as u64));
    on_threads(&mut group, "seal 64 x 1 MiB", LEN, || {
        objects.par_iter_mut().for_each(|(plain, blob)| {
            black_box(seal(&key, Suite::Cbc64Gmac, plain, blob));
        });
    });
    group.finish();
}

/// Ranges out of the middle of one object of 16 MiB, keys ready; each opens the segments it touches.
fn ranges(criterion: &mut Criterion) {
    const LEN: usize = 16 << 20;
    const MIDDLE: usize = LEN / 2;
    let mut group = criterion.benchmark_group("range");
    let (key, plain) = (data_key(), paint(LEN));
    let mut blob = vec![0; sealed_room(LEN)];
    let sealed = seal(&key, Suite::Cbc64Gmac, &plain, &mut blob);
    let blob = &blob[..sealed];
    let mut opener = BlobOpener::new(&key, blob, sealed as u64, None).unwrap();
    opener
        .prove_length(&blob[usizes(opener.final_segment())])
        .unwrap();
    for (name, range) in [
        ("1 byte", MIDDLE..MIDDLE + 1),
        ("one segment", MIDDLE..MIDDLE + (64 << 10)),
        ("64 KiB across two", MIDDLE + 100..MIDDLE + 100 + (64 << 10)),
        ("1 MiB", MIDDLE..MIDDLE + (1 << 20)),
    ] {
        let wanted = range.start as u64..range.end as u64;
        let mut out = vec![0; opener.plan(wanted.clone()).unwrap().room()];
        let mut read = || {
            let plan = opener.plan(black_box(wanted.clone())).unwrap();
            let sealed = &blob[usizes(plan.bytes())];
            opener.open_into(&plan, sealed, &mut out).unwrap()
        };
        assert_eq!(read(), range.len());
        group.throughput(Throughput::Bytes(range.len() as u64));
        group.bench_function(name, |bench| bench.iter(&mut read));
        assert!(out[..range.len()] == plain[range], "{name}");
    }
    group.finish();
}

/// Files in the page cache, not synced, beside a copy of the same file.
fn files(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (plain, sealed, out) = (path("plain"), path("sealed"), path("out"));
    let keys = FileKeys::key_file(Secret::take(&mut [9; 32]).unwrap());
    let options = FileOptions {
        force: true,
        sync: false,
        ..FileOptions::default()
    };
    let content = paint(FILE);
    fs::write(&plain, &content).unwrap();
    let to = Target::Path(&sealed);
    seal_file(&keys, Source::Path(&plain), to, &options).unwrap();
    let to = Target::Path(&out);
    open_file(&keys, Source::Path(&sealed), to, &options).unwrap();
    assert!(fs::read(&out).unwrap() == content);

    let mut group = criterion.benchmark_group("file 256 MiB");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(FILE as u64));
    group.bench_function("seal", |bench| {
        bench.iter(|| {
            let to = Target::Path(&out);
            seal_file(&keys, Source::Path(&plain), to, &options).unwrap()
        });
    });
    group.bench_function("open", |bench| {
        bench.iter(|| {
            let to = Target::Path(&out);
            open_file(&keys, Source::Path(&sealed), to, &options).unwrap()
        });
    });
    group.bench_function("seal as a stream", |bench| {
        bench.iter(|| {
            let mut from = fs::File::open(&plain).unwrap();
            let to = Target::Path(&out);
            seal_file(&keys, Source::Stream(&mut from), to, &options).unwrap()
        });
    });
    // SAFETY: the file lies in a directory of this process's own, and nothing here writes to it again.
    let mapped = unsafe { memmap2::Mmap::map(&fs::File::open(&plain).unwrap()).unwrap() };
    assert!(mapped[..] == content);
    group.bench_function("seal through a mapping", |bench| {
        bench.iter(|| {
            let to = Target::Path(&out);
            seal_file(&keys, Source::Stream(&mut &mapped[..]), to, &options).unwrap()
        });
    });
    group.bench_function("copy", |bench| {
        bench.iter(|| {
            let _ = fs::remove_file(&out);
            fs::copy(&plain, &out).unwrap()
        });
    });
    group.finish();
}

fn on_threads(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    len: usize,
    mut work: impl FnMut() + Send,
) {
    let all = rayon::current_num_threads();
    for threads in [1, all] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let id = BenchmarkId::new(format!("{what} {threads} threads"), len);
        group.bench_function(id, |bench| pool.install(|| bench.iter(&mut work)));
    }
}

fn seal(key: &DataKey, suite: Suite, plain: &[u8], blob: &mut [u8]) -> usize {
    let sealer = BlobSealer::new(key, suite, 0).unwrap();
    sealer.finish_into(plain, blob).unwrap().0
}

fn open(key: &DataKey, blob: &[u8], plain: &mut [u8]) -> usize {
    let mut opener = BlobOpener::new(key, blob, blob.len() as u64, None).unwrap();
    let len = opener
        .prove_length(&blob[usizes(opener.final_segment())])
        .unwrap();
    let plan = opener.plan(0..len).unwrap();
    opener
        .open_into(&plan, &blob[usizes(plan.bytes())], plain)
        .unwrap()
}

fn usizes(range: std::ops::Range<u64>) -> std::ops::Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

fn data_key() -> DataKey {
    let key_file = Secret::take(&mut [9; 32]).unwrap();
    BucketKey::from_key_file(key_file).new_data_key().unwrap()
}

fn sealed_room(len: usize) -> usize {
    len + len / 65_536 * 16 + SLACK
}

fn paint(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

const SIZES: [usize; 9] = [
    1 << 10,
    4 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    16 << 20,
    256 << 20,
];
const FILE: usize = 256 << 20;
/// Header, padding, tag, and the room that opening a final segment takes.
const SLACK: usize = 256;

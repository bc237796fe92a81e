//! Segments and small objects, in cache, on one thread.
//!
//! Every benchmark asserts its answer before it is timed. `cargo bench --bench segments` measures;
//! with `-- --test` each body runs once. Absolute figures belong to one machine and its load: carry
//! the ratios.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use strongroom::{
    cipher::Backend,
    format::{
        OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite, TAG_LEN, sealed_len,
    },
    secret::Secret,
};

const SUITES: [(Suite, &str); 2] = [(Suite::PlainGmac, "suite0"), (Suite::Cbc64Gmac, "suite1")];

fn segments(c: &mut Criterion) {
    let dk = Secret::random().unwrap();
    let plain: Vec<u8> = (0..=250).cycle().take(SEGMENT_LEN).collect();
    for &backend in Backend::available() {
        println!("backend: {backend}");
        for (suite, name) in SUITES {
            let (seal, header) =
                SealKeys::create_on(backend, &dk, suite, 0, Salt([1; 32])).unwrap();
            let (open, _) = OpenKeys::open_on(backend, &dk, &header).unwrap();
            let mut sealed = vec![0; SEALED_SEGMENT_LEN];
            let mut opened = vec![0; SEGMENT_LEN];

            let mut group = c.benchmark_group(format!("{}/64KiB", backend.name()));
            group.throughput(Throughput::Bytes(SEGMENT_LEN as u64));
            group.bench_function(format!("seal/{name}"), |b| {
                b.iter(|| {
                    let out = black_box(&mut sealed);
                    seal.seal_segment(7, false, black_box(&plain), out).unwrap()
                });
            });
            // Also when only the other one was asked for on the command line.
            let len = seal.seal_segment(7, false, &plain, &mut sealed).unwrap();
            assert_eq!(len, SEALED_SEGMENT_LEN);
            group.bench_function(format!("open/{name}"), |b| {
                b.iter(|| {
                    let out = black_box(&mut opened);
                    open.open_segment(7, false, black_box(&sealed), out)
                        .unwrap()
                });
            });
            let len = open.open_segment(7, false, &sealed, &mut opened).unwrap();
            assert!(opened[..len] == plain, "{name} opens to what was sealed");
            sealed[100] ^= 1;
            open.open_segment(7, false, &sealed, &mut opened)
                .unwrap_err();
            group.finish();
        }
    }
}

/// Final segments, of which each has a size of its own, by backend.
fn sizes(c: &mut Criterion) {
    let dk = Secret::random().unwrap();
    let plain: Vec<u8> = (0..=250).cycle().take(SEGMENT_LEN).collect();
    for &backend in Backend::available() {
        let suite = Suite::Cbc64Gmac;
        let (seal, header) = SealKeys::create_on(backend, &dk, suite, 0, Salt([3; 32])).unwrap();
        let (open, _) = OpenKeys::open_on(backend, &dk, &header).unwrap();
        for len in [16, 256, 1024, 4096, 16_384, SEGMENT_LEN - 1] {
            let mut group = c.benchmark_group(format!("{}/{len}B", backend.name()));
            group.throughput(Throughput::Bytes(len as u64));
            let plain = &plain[..len];
            let mut sealed = vec![0; len + 2 * TAG_LEN];
            let mut opened = vec![0; len + TAG_LEN];
            group.bench_function("seal", |b| {
                b.iter(|| {
                    let out = black_box(&mut sealed);
                    seal.seal_segment(7, true, black_box(plain), out).unwrap()
                });
            });
            let end = seal.seal_segment(7, true, plain, &mut sealed).unwrap();
            group.bench_function("open", |b| {
                b.iter(|| {
                    let out = black_box(&mut opened);
                    open.open_segment(7, true, black_box(&sealed[..end]), out)
                        .unwrap()
                });
            });
            let got = open
                .open_segment(7, true, &sealed[..end], &mut opened)
                .unwrap();
            assert!(
                opened[..got] == *plain,
                "{len} bytes open to what was sealed"
            );
            group.finish();
        }
    }
}

/// A whole object of 1 KiB under a data key of its own: keys derived and expanded, committed, sealed
/// and wiped. The data key and the salt are given: the kernel's random source is not part of it.
fn small_objects(c: &mut Criterion) {
    let dk = Secret::random().unwrap();
    let plain = [0x5A; 1024];
    for &backend in Backend::available() {
        let mut group = c.benchmark_group(format!("{}/1KiB-fresh-key", backend.name()));
        for (suite, name) in SUITES {
            let mut blob = [0; 80 + 1024 + 16 + TAG_LEN];
            let seal = |blob: &mut [u8]| {
                let (header, body) = blob.split_at_mut(80);
                let (keys, bytes) =
                    SealKeys::create_on(backend, &dk, suite, 0, Salt([2; 32])).unwrap();
                header.copy_from_slice(&bytes);
                80 + keys.seal_segment(0, true, &plain, body).unwrap()
            };
            let open = |blob: &[u8], out: &mut [u8]| {
                let (header, body) = blob.split_first_chunk().unwrap();
                let (keys, _) = OpenKeys::open_on(backend, &dk, header).unwrap();
                keys.open_segment(0, true, body, out).unwrap()
            };
            group.bench_function(format!("seal/{name}"), |b| {
                b.iter(|| seal(black_box(&mut blob)));
            });
            let len = seal(&mut blob);
            assert_eq!(Some(len as u64), sealed_len(suite, 1024));
            let mut out = [0; 1040];
            group.bench_function(format!("open/{name}"), |b| {
                b.iter(|| open(black_box(&blob[..len]), black_box(&mut out)));
            });
            let opened = open(&blob[..len], &mut out);
            assert!(out[..opened] == plain, "{name} opens to what was sealed");
        }
        group.finish();
    }
}

criterion_group!(benches, segments, sizes, small_objects);
criterion_main!(benches);

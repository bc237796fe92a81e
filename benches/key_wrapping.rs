//! Data keys wrapped and unwrapped under a bucket key, in software, on one core: context, salt,
//! derivation, AES Key Wrap, commitment and wiping included. No HSM takes part.
//!
//! `wrap` and `unwrap` are the public calls, for one record and for 32 at once; in `wrap` the
//! kernel is asked for the salt's randomness, or once for that of all salts, which `random source` measures alone:
//! wrapping without the kernel is the difference.
//! `request` is what a warm request costs on top: state tag, catalog and cache compared.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use strongroom::audit::NullSink;
use strongroom::id::{BucketId, InstanceId, RootId};
use strongroom::keys::{
    BucketKey, Context, KeyState, Keyring, KeyringConfig, Mode, Purpose, RecordState,
    UnwrapRequest, WrapRequest, testing,
};
use strongroom::secret::Secret;

fn key_wrapping(c: &mut Criterion) {
    let mut group = c.benchmark_group("key_wrapping");
    group.throughput(Throughput::Elements(1));

    let (bucket, instance) = (BucketId([0x80; 16]), InstanceId([0x90; 16]));
    let root = Arc::new(testing::SoftMasterKey::new(RootId([1; 16])));
    let config = KeyringConfig {
        wrap_limit: 1 << 32,
        ..KeyringConfig::default()
    };
    let ring = Keyring::new(vec![root], Arc::new(NullSink), config).unwrap();
    let bucket_record = ring.create_bucket_key(bucket, 1, "").unwrap();
    let expected = Some((1, KeyState::Active));
    let get = || ring.bucket_key(&bucket_record, expected, Purpose::Wrap);
    let key = get().unwrap();
    let customer_key = Secret::random().unwrap();

    for (name, mode) in [("managed", Mode::Managed), ("customer", Mode::Customer)] {
        let ctx = Context {
            mode,
            bucket,
            instance,
            object_key: b"2026/08/22/camera-17/frame-000123456.jpg",
            kms_key_id: b"",
            encryption_context: b"",
        };
        let customer = (mode == Mode::Customer).then_some(&customer_key);
        let dk = key.new_data_key().unwrap();
        let wrap = || {
            key.wrap_data_key(&dk, &ctx, customer, RecordState::Complete, [7; 32])
                .unwrap()
        };
        let record = wrap();
        let unwrap = || key.unwrap_data_key(&record, &ctx, customer).unwrap();
        let (opened, info) = unwrap();
        assert_eq!(
            testing::data_key_bytes(&opened),
            testing::data_key_bytes(&dk)
        );
        assert_eq!(info.manifest_digest, [7; 32]);

        group.bench_function(format!("wrap/{name}"), |b| b.iter(|| black_box(wrap())));
        group.bench_function(format!("unwrap/{name}"), |b| b.iter(|| black_box(unwrap())));
        group.bench_function(format!("verify/{name}"), |b| {
            b.iter(|| key.verify_record(black_box(&record), &ctx).unwrap());
        });
    }
    several(&mut group, &key, bucket);
    group.throughput(Throughput::Elements(1));
    group.bench_function("random source", |b| {
        b.iter(|| getrandom::fill(black_box(&mut [0; 24])).unwrap());
    });
    group.bench_function("random source/32 at once", |b| {
        b.iter(|| getrandom::fill(black_box(&mut [0; 32 * 24])).unwrap());
    });
    group.bench_function("new data key", |b| {
        b.iter(|| black_box(key.new_data_key().unwrap()));
    });
    group.bench_function("request", |b| b.iter(|| black_box(get().unwrap())));
    assert_eq!(ring.cache_stats().loads, 1, "one HSM call for all of it");
    group.finish();
}

/// As many at once as a rewrap of a bucket or a batch of small objects has at hand.
fn several(group: &mut BenchmarkGroup<'_, WallTime>, key: &BucketKey, bucket: BucketId) {
    group.throughput(Throughput::Elements(32));
    let keys: Vec<_> = (0..32).map(|_| key.new_data_key().unwrap()).collect();
    let ctx = |i: u8| Context {
        mode: Mode::Managed,
        bucket,
        instance: InstanceId([i; 16]),
        object_key: b"2026/08/22/camera-17/frame-000123456.jpg",
        kms_key_id: b"",
        encryption_context: b"",
    };
    let wraps: Vec<_> = (0..)
        .zip(&keys)
        .map(|(i, key)| WrapRequest {
            key,
            ctx: ctx(i),
            customer: None,
            state: RecordState::Complete,
            manifest_digest: [7; 32],
        })
        .collect();
    let wrap = || key.wrap_data_keys(&wraps);
    let records: Vec<_> = wrap().into_iter().map(Result::unwrap).collect();
    let unwraps: Vec<_> = (0..)
        .zip(&records)
        .map(|(i, record)| UnwrapRequest {
            record,
            ctx: ctx(i),
            customer: None,
        })
        .collect();
    let unwrap = || key.unwrap_data_keys(&unwraps);
    for (opened, dk) in unwrap().into_iter().zip(&keys) {
        let (opened, info) = opened.unwrap();
        assert_eq!(
            testing::data_key_bytes(&opened),
            testing::data_key_bytes(dk)
        );
        assert_eq!(info.manifest_digest, [7; 32]);
    }
    group.bench_function("wrap/32 at once", |b| b.iter(|| black_box(wrap())));
    group.bench_function("unwrap/32 at once", |b| b.iter(|| black_box(unwrap())));
}

criterion_group!(benches, key_wrapping);
criterion_main!(benches);

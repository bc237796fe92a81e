//! Data keys wrapped and unwrapped under a bucket key, in software, on one core: context, salt,
//! derivation, AES Key Wrap, commitment and wiping included. No HSM takes part.
//!
//! `wrap` and `unwrap` are the public calls; in `wrap` the kernel is asked for the salt's
//! randomness, which `salt` measures alone: wrapping without the kernel is the difference.
//! `request` is what a warm request costs on top: state tag, catalog and cache compared.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use strongroom::audit::NullSink;
use strongroom::format::Salt;
use strongroom::id::{BucketId, InstanceId, RootId};
use strongroom::keys::{
    Context, KeyState, Keyring, KeyringConfig, Mode, Purpose, RecordState, testing,
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
    group.bench_function("salt", |b| {
        b.iter(|| black_box(Salt::fresh(Salt::RECORD).unwrap()));
    });
    group.bench_function("new data key", |b| {
        b.iter(|| black_box(key.new_data_key().unwrap()));
    });
    group.bench_function("request", |b| b.iter(|| black_box(get().unwrap())));
    assert_eq!(ring.cache_stats().loads, 1, "one HSM call for all of it");
    group.finish();
}

criterion_group!(benches, key_wrapping);
criterion_main!(benches);

//! P13: data keys wrapped and unwrapped in software, on one core.

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use strongroom::audit::NullSink;
use strongroom::id::{BucketId, InstanceId, RootId};
use strongroom::keys::{
    Context, Keyring, KeyringConfig, Mode, Purpose, RecordState, UnwrapRequest, WrapRequest,
    testing,
};

use crate::rounds::{Effort, Work, fastest};
use crate::rows::{Row, Target};

/// Ours: context hashed, two keys derived, key wrap, commitment, wiping; the kernel's random source taken off. The peer:
/// key wrap alone, bound to nothing.
pub(crate) fn wrapped(effort: Effort) -> Vec<Row> {
    let bucket = BucketId([0x80; 16]);
    let root = Arc::new(testing::SoftMasterKey::new(RootId([1; 16])));
    let config = KeyringConfig {
        wrap_limit: 1 << 32,
        ..KeyringConfig::default()
    };
    let ring = Keyring::new(vec![root], Arc::new(NullSink), config).expect("a root that answers");
    let record = ring.create_bucket_key(bucket, 1, "").expect("a root");
    let key = ring
        .bucket_key(&record, None, Purpose::Wrap)
        .expect("its own record");
    let keys: Vec<_> = (0..TOGETHER)
        .map(|_| key.new_data_key().expect("a key"))
        .collect();
    let ctx = |i: u8| Context {
        mode: Mode::Managed,
        bucket,
        instance: InstanceId([i; 16]),
        object_key: b"2026/08/22/camera-17/frame-000123456.jpg",
        kms_key_id: b"",
        encryption_context: b"",
    };
    let wraps: Vec<_> = (0..TOGETHER)
        .zip(&keys)
        .map(|(i, key)| WrapRequest {
            key,
            ctx: ctx(i),
            customer: None,
            state: RecordState::Complete,
            manifest_digest: [7; 32],
        })
        .collect();
    let records: Vec<Vec<u8>> = key
        .wrap_data_keys(&wraps)
        .into_iter()
        .map(|record| record.expect("wraps"))
        .collect();
    let unwraps: Vec<_> = (0..TOGETHER)
        .zip(&records)
        .map(|(i, record)| UnwrapRequest {
            record,
            ctx: ctx(i),
            customer: None,
        })
        .collect();
    for (opened, dk) in key.unwrap_data_keys(&unwraps).iter().zip(&keys) {
        let (opened, _) = opened.as_ref().expect("authentic");
        let same = testing::data_key_bytes(opened) == testing::data_key_bytes(dk);
        assert!(same, "opens to what was wrapped");
    }

    let peer = [0x11; 32];
    let kek = || AesKek::new(&AES_256, black_box(&peer)).expect("a key of 32 bytes");
    let mut peer_wrapped = [0; 40];
    kek().wrap(&[0x22; 32], &mut peer_wrapped).expect("wraps");
    let mut peer_out = [0; 40];
    let one = &wraps[0];
    let mut works: [Work<'_>; 8] = [
        Box::new(|| {
            black_box(key.wrap_data_keys(&wraps));
        }),
        Box::new(|| {
            black_box(key.unwrap_data_keys(&unwraps));
        }),
        Box::new(|| {
            let digest = one.manifest_digest;
            let made = key.wrap_data_key(one.key, &one.ctx, None, one.state, digest);
            black_box(made.expect("wraps"));
        }),
        Box::new(|| {
            let opened = key.unwrap_data_key(&records[0], &one.ctx, None);
            black_box(opened.expect("authentic"));
        }),
        Box::new(|| getrandom::fill(black_box(&mut [0; 24])).expect("a random source")),
        Box::new(|| {
            let mut salts = [0; 24 * TOGETHER as usize];
            getrandom::fill(black_box(&mut salts)).expect("a random source");
        }),
        Box::new(|| {
            let made = kek().wrap(black_box(&[0x22; 32]), &mut peer_out);
            black_box(made.expect("wraps"));
        }),
        Box::new(|| {
            let mut out = [0; 40];
            let opened = kek().unwrap(black_box(&peer_wrapped), &mut out);
            black_box(opened.expect("authentic"));
        }),
    ];
    let times = fastest(effort, 500, &mut works);
    let many = f64::from(TOGETHER);
    // One round on a busy machine may find the random source slower alone than inside.
    let without = |random: f64, time: f64| (time - random).max(1e-9);
    let (wrap, unwrap) = (without(times[5], times[0]) / many, times[1] / many);
    let (wrap_alone, unwrap_alone) = (without(times[4], times[2]), times[3]);
    let target = Target::AtLeast(750_000.0);
    let wrap_peer = (
        "aws-lc-rs AES-KW alone, no context, no commitment",
        1.0 / times[6],
    );
    let unwrap_peer = (wrap_peer.0, 1.0 / times[7]);
    vec![
        Row::value(
            "P13",
            "wrap data keys, 32 at a call, less the random source, per second and core",
            target,
            1.0 / wrap,
        ),
        Row::value(
            "P13",
            "unwrap data keys, 32 at a call, per second and core",
            target,
            1.0 / unwrap,
        ),
        Row::value(
            "P13",
            "wrap data keys one by one, less the random source, per second and core",
            target,
            1.0 / wrap_alone,
        ),
        Row::value(
            "P13",
            "unwrap data keys one by one, per second and core",
            target,
            1.0 / unwrap_alone,
        ),
        Row::ratio(
            "P13",
            "wrap data keys, 32 at a call, less the random source, per second",
            Target::Beside,
            1.0 / wrap,
            wrap_peer,
        ),
        Row::ratio(
            "P13",
            "unwrap data keys, 32 at a call, per second",
            Target::Beside,
            1.0 / unwrap,
            unwrap_peer,
        ),
        Row::value(
            "P13",
            "the kernel's random source, one call for a salt, ns",
            Target::Beside,
            times[4] * 1e9,
        ),
        Row::value(
            "P13",
            "the kernel's random source, one call for 32 salts, ns",
            Target::Beside,
            times[5] * 1e9,
        ),
    ]
}

const TOGETHER: u8 = 32;

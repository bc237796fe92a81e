//! What is left in the process's memory.

#[path = "../../../tests/support/memory.rs"]
mod memory;

use std::time::Duration;

use memory::{Needle, search_self};

use super::*;
use crate::keys::derive::scrubbed;
use crate::keys::held::{Kek, Keys};
use crate::keys::prf::Prf;
use crate::secret::Secret;

/// Runs on a thread of its own and looks for leavings on its stack too, while it still runs.
fn on_a_thread(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}

fn found(needles: &[Needle]) -> Vec<String> {
    let hits = search_self(needles).unwrap();
    hits.into_iter()
        .map(|hit| {
            format!(
                "needle {} at {:x} in {}",
                hit.needle, hit.address, hit.mapping
            )
        })
        .collect()
}

/// A secret and what it gives, to look for: the KEK itself, the states it is kept as, and K_meta.
fn needles_of(secret: &Secret<32>) -> Vec<Needle> {
    let kek = scrubbed(|| {
        let ctx = [&BUCKET.0[..], &1_u32.to_le_bytes()].concat();
        let mut pair = zeroize::Zeroizing::new([[0; 32]; 2]);
        Prf::new(secret.expose()).kdf(b"sr-bkt-1", &ctx, &mut pair);
        Needle::new(&pair[0])
    });
    let (keys, _) = Keys::derive(secret, BUCKET, 1).unwrap();
    let Kek::Expanded(states) = &keys.kek else {
        panic!("a bucket's");
    };
    vec![
        Needle::new(secret.expose()),
        kek,
        Needle::new(states.bytes().expose()),
        Needle::new(keys.meta().unwrap().expose()),
    ]
}

#[test]
fn a_request_leaves_neither_data_key_nor_customer_key_behind() {
    on_a_thread(|| {
        let key = testing::bucket_key([0x40; 32], BUCKET, 1).unwrap();
        let to = testing::bucket_key([0x50; 32], BUCKET, 2).unwrap();
        let customer = Secret::random().unwrap();
        let dk = key.new_data_key().unwrap();
        let needles = [dk.secret(), &customer].map(|key| Needle::new(key.expose()));
        let planted = found(&needles);
        assert_eq!(planted.len(), 2, "{planted:?}");
        for ctx in contexts() {
            let customer = (ctx.mode == Mode::Customer).then_some(&customer);
            let state = RecordState::Upload;
            let record = key
                .wrap_data_key(&dk, &ctx, customer, state, [0; 32])
                .unwrap();
            let record = key.complete(&record, &ctx, [1; 32]).unwrap();
            let record = key.rewrap_data_key(&record, &ctx, &to).unwrap();
            let (opened, _) = to.unwrap_data_key(&record, &ctx, customer).unwrap();
            opened.seal_attrs(INSTANCE, 0, b"SRAT\x01\0\0").unwrap();
        }
        drop((dk, customer));
        let left = found(&needles);
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn several_at_once_leave_no_data_key_behind() {
    on_a_thread(|| {
        let key = testing::bucket_key([0x40; 32], BUCKET, 1).unwrap();
        let customer = Secret::random().unwrap();
        let keys: Vec<_> = (0..45).map(|_| key.new_data_key().unwrap()).collect();
        let mut needles: Vec<_> = keys
            .iter()
            .map(|key| Needle::new(key.secret().expose()))
            .collect();
        needles.push(Needle::new(customer.expose()));
        let contexts = contexts();
        let of = |i: usize| {
            let ctx = contexts[i % contexts.len()];
            (ctx, (ctx.mode == Mode::Customer).then_some(&customer))
        };
        let requests: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(i, key)| WrapRequest {
                key,
                ctx: of(i).0,
                customer: of(i).1,
                state: RecordState::Upload,
                manifest_digest: [0; 32],
            })
            .collect();
        let records: Vec<_> = key
            .wrap_data_keys(&requests)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let held = found(&needles);
        assert_eq!(held.len(), needles.len(), "once each: {held:?}");
        let requests: Vec<_> = records
            .iter()
            .enumerate()
            .map(|(i, record)| UnwrapRequest {
                record,
                ctx: of(i).0,
                customer: of(i).1,
            })
            .collect();
        let opened = key.unwrap_data_keys(&requests);
        assert!(opened.iter().all(Result::is_ok));
        drop((keys, opened, customer));
        let left = found(&needles);
        assert!(left.is_empty(), "{left:?}");
    });
}

/// The keys that wrap and commit, of every group that goes together and of one that does not: sixteen, four, one.
#[test]
fn several_at_once_leave_no_key_schedule_behind() {
    on_a_thread(|| {
        let key = testing::bucket_key([0x40; 32], BUCKET, 1).unwrap();
        let keys: Vec<_> = (0..21).map(|_| key.new_data_key().unwrap()).collect();
        let request = |key| WrapRequest {
            key,
            ctx: managed(),
            customer: None,
            state: RecordState::NoManifest,
            manifest_digest: [0; 32],
        };
        let requests: Vec<_> = keys.iter().map(request).collect();
        let records: Vec<_> = key
            .wrap_data_keys(&requests)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let after_wrap = found(&wrapping_needles(&records));
        assert!(after_wrap.is_empty(), "{after_wrap:?}");
        let request = |record| UnwrapRequest {
            record,
            ctx: managed(),
            customer: None,
        };
        let requests: Vec<_> = records.iter().map(|record| request(record)).collect();
        let opened = key.unwrap_data_keys(&requests);
        assert!(opened.iter().all(Result::is_ok));
        let left = found(&wrapping_needles(&records));
        assert!(left.is_empty(), "{left:?}");
    });
}

/// wk and ck of each record (F-48), derived one by one on another stack: what is on this one stays to be found.
fn wrapping_needles(records: &[Vec<u8>]) -> Vec<Needle> {
    let derive = || {
        let secret = Secret::take(&mut [0x40; 32]).unwrap();
        let (keys, _) = Keys::derive(&secret, BUCKET, 1).unwrap();
        let needles = records.iter().flat_map(|record| {
            let salt = record[12..44].try_into().unwrap();
            let mut pair = zeroize::Zeroizing::new([[0; 32]; 2]);
            let h = managed().digest(salt).unwrap();
            keys.kek.prf().kdf(b"sr-wrap-1", &h, &mut pair);
            [Needle::new(&pair[0]), Needle::new(&pair[1])]
        });
        needles.collect()
    };
    std::thread::scope(|scope| scope.spawn(|| scrubbed(derive)).join().unwrap())
}

/// The key that wraps, and with it the first round keys of its schedule.
#[test]
fn a_wrap_leaves_no_key_schedule_behind() {
    on_a_thread(|| {
        let key = testing::bucket_key([0x40; 32], BUCKET, 1).unwrap();
        let dk = key.new_data_key().unwrap();
        let record = key
            .wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
            .unwrap();
        key.unwrap_data_key(&record, &managed(), None).unwrap();
        let left = found(&wrapping_needles(&[record]));
        assert!(left.is_empty(), "{left:?}");
    });
}

/// What the other tests of this file rest on: a value on the stack of a call that ended is found
/// there, and not after `scrubbed`.
#[test]
fn a_value_left_on_the_stack_is_found_and_overwritten() {
    #[inline(never)]
    fn leave(marker: &Secret<32>, depth: usize) {
        let mut copy = *marker.expose();
        let padding = [depth; 64];
        std::hint::black_box((&mut copy, &padding));
        if depth > 0 {
            leave(marker, depth - 1);
        }
        std::hint::black_box((&mut copy, &padding));
    }
    on_a_thread(|| {
        let marker = Secret::random().unwrap();
        let needle = [Needle::new(marker.expose())];
        leave(&marker, 4);
        assert!(found(&needle).len() > 1, "control");
        scrubbed(|| leave(&marker, 4));
        assert_eq!(found(&needle).len(), 1, "in its slot");
    });
}

#[test]
fn a_bucket_key_is_in_memory_until_its_time_ends_and_not_after() {
    on_a_thread(|| {
        let rig = Rig::new(1);
        let record = rig.record();
        let parsed = BucketKeyRecord::parse(&record).unwrap();
        let secret = rig.roots[0].unwrap(1, &parsed.wraps[0].blob).unwrap();
        let needles = needles_of(&secret);
        drop(secret);
        let key = rig.get(&record).unwrap();
        works(&key).unwrap();
        let held = found(&needles);
        assert_eq!(
            held.len(),
            2,
            "the KEK's states and K_meta once each: {held:?}"
        );

        rig.clock.advance(Duration::from_secs(300));
        rig.ring.purge_expired();
        let left = found(&needles);
        assert!(left.is_empty(), "with a handle still there: {left:?}");
        drop(key);
    });
}

#[test]
fn an_evicted_key_is_wiped_in_its_time_too() {
    on_a_thread(|| {
        let rig = Rig::with(1, |config| KeyringConfig {
            capacity: 1,
            ..config
        });
        let record = rig.record();
        let parsed = BucketKeyRecord::parse(&record).unwrap();
        let secret = rig.roots[0].unwrap(1, &parsed.wraps[0].blob).unwrap();
        let needles = needles_of(&secret);
        drop(secret);
        let key = rig.get(&record).unwrap();
        let other = rig.ring.create_bucket_key(BUCKET, 2, "").unwrap();
        rig.get(&other).unwrap();
        assert_eq!(rig.ring.cache_stats().evicted, 1);
        works(&key).unwrap();
        rig.clock.advance(Duration::from_secs(300));
        rig.ring.purge_expired();
        let left = found(&needles);
        assert!(left.is_empty(), "{left:?}");
        drop(key);
    });
}

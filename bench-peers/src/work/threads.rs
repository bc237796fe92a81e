//! P7: two threads beside one.

use std::hint::black_box;

use rayon::prelude::*;
use strongroom::format::Suite;
use strongroom::keys::{BucketKey, DataKey};
use strongroom::object::{BlobOpener, BlobSealer};
use strongroom::secret::Secret;

use super::{paint, rate};
use crate::rounds::{Effort, Work, fastest};
use crate::rows::{Row, Target};

pub(crate) fn two(effort: Effort) -> Vec<Row> {
    const WORKS: [&str; 3] = [
        "seal one large object, two threads, GB/s",
        "open one large object, two threads, GB/s",
        "seal many objects of 64 KiB, two threads, GB/s",
    ];
    let target = Target::AtLeast(1.9);
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        let why = "this machine has one core";
        return WORKS
            .map(|work| Row::not_applicable("P7", work, target, why))
            .into();
    }
    let key_file = Secret::take(&mut [9; 32]).expect("locked memory");
    let key = BucketKey::from_key_file(key_file)
        .new_data_key()
        .expect("a key");
    // Small enough to stay in the cache that cores share: what is asked is whether the work divides, not how fast memory
    // is. Large enough that it does not end before the other thread has come.
    let plain = paint(LARGE);
    let mut blob = vec![0; plain.len() + plain.len() / 1024 + 1024];
    let len = seal(&key, &plain, &mut blob);
    let mut opened = vec![0; plain.len() + 1024];
    assert!(open(&key, &blob[..len], &mut opened) == plain.len());
    assert!(opened[..plain.len()] == plain);
    let mut objects: Vec<_> = (0..LARGE >> 16)
        .map(|_| (paint(64 << 10), vec![0; (64 << 10) + 1024]))
        .collect();
    let sealed = blob[..len].to_vec();

    let pools = [1, 2].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads")
    });
    let mut rows = Vec::new();
    let mut measure = |work: &str, target, bytes: usize, body: &mut (dyn FnMut() + Send)| {
        let body = std::cell::RefCell::new(body);
        let mut works: Vec<Work<'_>> = pools
            .iter()
            .map(|pool| -> Work<'_> {
                Box::new(|| {
                    let mut body = body.borrow_mut();
                    let body = &mut **body;
                    pool.install(|| (0..TIMES).for_each(|_| body()));
                })
            })
            .collect();
        let times = fastest(effort, 20, &mut works);
        let [one, both] = [times[0], times[1]].map(|time| rate(TIMES * bytes, time));
        rows.push(Row::ratio("P7", work, target, both, ("one thread", one)));
    };
    measure(WORKS[0], target, plain.len(), &mut || {
        black_box(seal(&key, &plain, &mut blob));
    });
    measure(WORKS[1], target, plain.len(), &mut || {
        black_box(open(&key, &sealed, &mut opened));
    });
    measure(WORKS[2], target, LARGE, &mut || {
        objects.par_iter_mut().for_each(|(plain, blob)| {
            black_box(seal(&key, plain, blob));
        });
    });
    // The most there is to have: two threads that meet once in a slice.
    let half = objects.len() / 2;
    let (one, other) = objects.split_at_mut(half);
    let often = effort.pick(1, TIMES);
    let alone = |objects: &mut [(Vec<u8>, Vec<u8>)]| {
        for _ in 0..often {
            for (plain, blob) in &mut *objects {
                black_box(seal(&key, plain, blob));
            }
        }
    };
    let work = "seal many objects, two threads that share nothing, GB/s";
    measure(work, Target::Beside, often * LARGE, &mut || {
        rayon::join(|| alone(one), || alone(other));
    });
    rows
}

/// Bytes of the large object, and of the small ones together.
const LARGE: usize = 4 << 20;
/// So often in a slice, each time over both threads.
const TIMES: usize = 16;

fn seal(key: &DataKey, plain: &[u8], blob: &mut [u8]) -> usize {
    let sealer = BlobSealer::new(key, Suite::Cbc64Gmac, 0).expect("built in");
    sealer.finish_into(plain, blob).expect("seals").0
}

fn open(key: &DataKey, blob: &[u8], plain: &mut [u8]) -> usize {
    let usizes = |range: std::ops::Range<u64>| {
        let at = |value: u64| usize::try_from(value).expect("a small object");
        at(range.start)..at(range.end)
    };
    let blob_len = blob.len() as u64;
    let mut opener = BlobOpener::new(key, blob, blob_len, None).expect("its own header");
    let last = usizes(opener.final_segment());
    let len = opener.prove_length(&blob[last]).expect("whole");
    let plan = opener.plan(0..len).expect("all of it");
    opener
        .open_into(&plan, &blob[usizes(plan.bytes())], plain)
        .expect("authentic")
}

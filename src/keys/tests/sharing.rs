//! Many threads, one key.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const THREADS: usize = 32;

/// Runs `work` on 32 threads that begin together.
fn together<R: Send>(work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(i)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn thirty_two_that_miss_at_once_make_one_hsm_call() {
    let rig = Rig::new(1);
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Slow(Duration::from_millis(100)));
    let (keys, calls) = rig.calls(|| together(|_| works(&rig.get(&record).unwrap())));
    assert!(keys.iter().all(Result::is_ok));
    assert_eq!(calls, 1);
}

#[test]
fn loads_of_different_keys_do_not_wait_for_each_other() {
    let rig = Rig::new(1);
    let records: Vec<_> = (1..=THREADS)
        .map(|generation| {
            let generation = generation as u32;
            rig.ring.create_bucket_key(BUCKET, generation, "").unwrap()
        })
        .collect();
    rig.roots[0].set_fault(Fault::Slow(Duration::from_millis(200)));
    let start = Instant::now();
    together(|i| rig.get(&records[i]).unwrap());
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "32 x 200 ms in turn"
    );
}

#[test]
fn a_failed_load_fails_all_who_waited_and_is_tried_once() {
    let rig = Rig::new(1);
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Hanging(Duration::from_millis(100)));
    let (answers, calls) = rig.calls(|| together(|_| rig.get(&record).map(drop)));
    for answer in answers {
        assert!(matches!(
            answer,
            Err(KeyError::Hsm(MasterKeyError::TimedOut { .. }))
        ));
    }
    assert_eq!(calls, 1);
}

#[test]
fn who_waits_for_a_load_does_not_wait_for_ever() {
    let rig = Rig::with(1, |config| KeyringConfig {
        wait: Duration::from_millis(50),
        ..config
    });
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Slow(Duration::from_secs(1)));
    let waited = together(|_| {
        let start = Instant::now();
        (rig.get(&record).is_ok(), start.elapsed())
    });
    let left = waited.iter().filter(|(ok, _)| !ok);
    for (_, time) in left.clone() {
        assert!(*time < Duration::from_millis(800), "{time:?}");
    }
    assert_eq!(left.count(), THREADS - 1);
    works(&rig.get(&record).unwrap()).unwrap();
}

#[test]
fn a_load_that_panics_leaves_nobody_waiting() {
    let rig = Rig::with(1, |config| KeyringConfig {
        wait: Duration::from_secs(600),
        ..config
    });
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Panic);
    let start = Instant::now();
    let answers = together(|_| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rig.get(&record).map(drop).unwrap_err()
        }))
    });
    assert!(start.elapsed() < Duration::from_secs(60));
    let (panicked, told): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_err);
    assert_eq!(panicked.len(), 1);
    assert!(told.into_iter().all(|error| error.unwrap().is_transient()));
    rig.roots[0].set_fault(Fault::None);
    rig.clock.advance(Duration::from_secs(1));
    works(&rig.get(&record).unwrap()).unwrap();
}

/// Requests, purges and the end of keys' lives in any order: right answers or transient refusals.
#[test]
fn keys_come_and_go_under_threads_without_a_wrong_answer() {
    let rig = Rig::with(1, |config| KeyringConfig {
        capacity: 2,
        ..config
    });
    let records: Vec<_> = (1..=4)
        .map(|generation| rig.ring.create_bucket_key(BUCKET, generation, "").unwrap())
        .collect();
    let first = BucketId([0x80; 16]);
    let worked: usize = together(|i| {
        let mut worked = 0;
        for round in 0..100 {
            if i == 0 {
                match round % 3 {
                    0 => rig.ring.purge(),
                    1 => rig.clock.advance(Duration::from_secs(200)),
                    _ => drop(rig.ring.purge_expired()),
                }
                continue;
            }
            let (from, to) = (&records[(i + round) % 4], &records[round % 4]);
            let moved = rig.get(from).and_then(|from| {
                assert_eq!(from.bucket(), first);
                works(&from)?;
                let to = rig.get(to)?;
                let dk = from.new_data_key()?;
                let state = RecordState::NoManifest;
                let record = from.wrap_data_key(&dk, &managed(), None, state, [0; 32])?;
                let moved = from.rewrap_data_key(&record, &managed(), &to)?;
                to.unwrap_data_key(&moved, &managed(), None).map(drop)
            });
            match moved {
                Ok(()) => worked += 1,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
        worked
    })
    .into_iter()
    .sum();
    assert!(worked > 100, "{worked}");
}

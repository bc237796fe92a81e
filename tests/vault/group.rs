//! Commits in groups, and the memory of streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::store::SyncMeter;
use strongroom::vault::Vault;

use crate::support::*;

/// Puts of 4 KiB by `writers` threads for a second; operations per second and fsync calls per operation.
fn rate(vault: &Arc<Vault>, meter: &SyncMeter, writers: u64) -> (f64, f64) {
    let count = AtomicU64::new(0);
    let before = meter.count();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let count = &count;
            scope.spawn(move || {
                let body = bytes(4_096, writer);
                while begun.elapsed() < Duration::from_secs(2) {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let key = format!("{writers}/{writer}/{number}");
                    put(vault, "b", key.as_bytes(), &body).unwrap();
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let count = count.into_inner() as f64;
    (count / seconds, (meter.count() - before) as f64 / count)
}

#[test]
fn thirty_two_writers_share_their_fsyncs() {
    let dir = tempfile::tempdir().unwrap();
    let meter = Arc::new(SyncMeter::default());
    let vault = Vault::start(metered(dir.path(), &meter), keyring(), Default::default()).unwrap();
    vault.create_bucket("b", "owner").unwrap();
    meter.set_cost(Duration::from_millis(2));
    let (one, _) = rate(&vault, &meter, 1);
    let (many, fsyncs) = rate(&vault, &meter, 32);
    println!(
        "1 writer {one:.0}/s, 32 writers {many:.0}/s ({:.1} times), {fsyncs:.2} fsync a put",
        many / one
    );
    assert!(many >= 10.0 * one, "{many:.0}/s by 32, {one:.0}/s by one");
    assert!(fsyncs < 0.5, "{fsyncs:.2} fsync calls a put");
}

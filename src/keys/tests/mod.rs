//! What the pieces of `keys` promise together.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod keyring;
mod records;
mod residue;
mod roots;
mod sharing;
mod vectors;

use std::sync::Arc;

use super::testing::{Fault, ManualClock, SoftMasterKey};
use super::*;
use crate::audit::MemorySink;
use crate::id::{BucketId, InstanceId, RootId};

const BUCKET: BucketId = BucketId([0x80; 16]);
const INSTANCE: InstanceId = InstanceId([0x90; 16]);

fn managed() -> Context<'static> {
    Context {
        mode: Mode::Managed,
        bucket: BUCKET,
        instance: INSTANCE,
        object_key: b"photos/k\xc3\xa4se.jpg",
        kms_key_id: b"",
        encryption_context: b"",
    }
}

/// A context of each mode that a bucket key serves.
fn contexts() -> [Context<'static>; 4] {
    let of = |mode| Context { mode, ..managed() };
    let kms = Context {
        kms_key_id: b"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
        encryption_context: b"\x01\x00\x01\x00a\x01\x00b",
        ..of(Mode::Kms)
    };
    [of(Mode::Managed), of(Mode::Customer), kms, of(Mode::Plain)]
}

/// A keyring over doubles, with a clock and a trail to look at.
struct Rig {
    roots: Vec<Arc<SoftMasterKey>>,
    clock: Arc<ManualClock>,
    sink: Arc<MemorySink>,
    ring: Keyring,
}

impl Rig {
    fn new(roots: u8) -> Self {
        Self::with(roots, |config| config)
    }

    fn with(roots: u8, change: impl FnOnce(KeyringConfig) -> KeyringConfig) -> Self {
        let roots: Vec<_> = (1..=roots)
            .map(|id| Arc::new(SoftMasterKey::new(RootId([id; 16]))))
            .collect();
        let clock = Arc::new(ManualClock::default());
        let sink = Arc::new(MemorySink::default());
        let ring = Keyring::new(
            dynamic(&roots),
            sink.clone(),
            change(KeyringConfig {
                clock: clock.clone(),
                ..KeyringConfig::default()
            }),
        )
        .unwrap();
        Self {
            roots,
            clock,
            sink,
            ring,
        }
    }

    fn record(&self) -> Vec<u8> {
        self.ring.create_bucket_key(BUCKET, 1, "admin").unwrap()
    }

    /// Calls that reached any root since `work` began.
    fn calls<R>(&self, work: impl FnOnce() -> R) -> (R, u64) {
        let count = || self.roots.iter().map(|root| root.calls()).sum::<u64>();
        let before = count();
        let result = work();
        (result, count() - before)
    }

    fn get(&self, record: &[u8]) -> Result<Arc<BucketKey>, KeyError> {
        self.ring.bucket_key(record, None, Purpose::Wrap)
    }

    fn names(&self) -> Vec<&'static str> {
        let events = self.sink.events();
        events.iter().map(|event| event.name).collect()
    }
}

fn dynamic(roots: &[Arc<SoftMasterKey>]) -> Vec<Arc<dyn MasterKey>> {
    let shared = |root: &Arc<SoftMasterKey>| -> Arc<dyn MasterKey> { root.clone() };
    roots.iter().map(shared).collect()
}

/// Whether this key still wraps and unwraps.
fn works(key: &BucketKey) -> Result<(), KeyError> {
    let dk = key.new_data_key()?;
    let record = key.wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])?;
    let (opened, _) = key.unwrap_data_key(&record, &managed(), None)?;
    assert_eq!(opened.secret().expose(), dk.secret().expose());
    Ok(())
}

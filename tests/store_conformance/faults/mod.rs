//! Doubles of the models, each with one fault planted: a suite that lets one pass is worth nothing.

mod blobs;
mod catalogs;
mod keys;
mod lapses;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use strongroom::store::StoreError;
use strongroom::store::conformance::{Factory, Report, blob_store, catalog, key_store};

use crate::{memory_blobs, memory_catalog, memory_keys, passed};

/// What a double does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing: the double itself is sound.
    None,
    /// A write is acknowledged and not done.
    LostAck,
    /// Half of what was written is kept.
    TornRecord,
    /// What was read once is read for ever.
    StaleRead,
    /// A write takes effect after a later one.
    Reorder,
    /// Something comes twice.
    Duplicate,
    /// Another one is given than was asked for.
    WrongId,
    /// A list lacks its last entry.
    ShortList,
    /// Something is shown that is not there.
    Phantom,
    /// A write takes effect and says that nothing happened.
    ErrorAfterEffect,
    /// No answer.
    Hang,
}

const FAULTS: [Fault; 10] = [
    Fault::LostAck,
    Fault::TornRecord,
    Fault::StaleRead,
    Fault::Reorder,
    Fault::Duplicate,
    Fault::WrongId,
    Fault::ShortList,
    Fault::Phantom,
    Fault::ErrorAfterEffect,
    Fault::Hang,
];

/// The fault of a double, which shows itself at every third chance.
#[derive(Clone)]
struct Plan {
    fault: Fault,
    chances: Arc<AtomicUsize>,
}

impl Plan {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            chances: Arc::default(),
        }
    }

    /// Whether this is the moment for `fault`.
    fn now(&self, fault: Fault) -> bool {
        self.fault == fault && self.chances.fetch_add(1, Relaxed) % 3 == 2
    }

    fn hang(&self) {
        if self.now(Fault::Hang) {
            loop {
                std::thread::park();
            }
        }
    }
}

fn refused<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("planted".to_owned()))
}

/// Does to a list what a fault does to lists.
fn spoil<T: Clone>(plan: &Plan, list: &mut Vec<T>) {
    if let Some(first) = list
        .first()
        .cloned()
        .filter(|_| plan.fault == Fault::Duplicate)
    {
        list.insert(0, first);
    }
    if plan.fault == Fault::ShortList {
        list.pop();
    }
}

/// Methods that only pass on.
macro_rules! pass {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $result {
            self.inner.$name($($argument),*)
        })*
    };
}
use pass;

/// The models answer at once.
const DEADLINE: Duration = Duration::from_secs(2);

fn every_fault_fails<S: ?Sized + 'static>(
    suite: fn(&Factory<S>, Duration) -> Report,
    double: fn(Plan) -> Factory<S>,
) {
    passed(&suite(&double(Plan::new(Fault::None)), DEADLINE));
    for fault in FAULTS {
        let report = suite(&double(Plan::new(fault)), DEADLINE);
        assert!(!report.failures().is_empty(), "{fault:?} went unnoticed");
        let timed_out = report
            .failures()
            .iter()
            .any(|(_, wrong)| wrong.contains("no answer within"));
        assert_eq!(timed_out, fault == Fault::Hang, "{fault:?}\n{report}");
    }
}

#[test]
fn every_fault_in_a_blob_store_fails_its_suite() {
    every_fault_fails(blob_store, |plan| {
        let inner = memory_blobs();
        Box::new(move || {
            let (open, plan) = (inner()?, plan.clone());
            Ok(Box::new(move || {
                Ok(Box::new(blobs::Faulty::new(open()?, plan.clone())))
            }))
        })
    });
}

#[test]
fn every_fault_in_a_key_store_fails_its_suite() {
    every_fault_fails(key_store, |plan| {
        let inner = memory_keys();
        Box::new(move || {
            let (open, plan) = (inner()?, plan.clone());
            Ok(Box::new(move || {
                Ok(Box::new(keys::Faulty::new(open()?, plan.clone())))
            }))
        })
    });
}

#[test]
fn every_fault_in_a_catalog_fails_its_suite() {
    every_fault_fails(catalog, |plan| {
        let inner = memory_catalog();
        Box::new(move || {
            let (open, plan) = (inner()?, plan.clone());
            Ok(Box::new(move || {
                Ok(Box::new(catalogs::Faulty::new(open()?, plan.clone())))
            }))
        })
    });
}

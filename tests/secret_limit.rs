//! The limit on locked memory. One test in a process of its own: it changes the process.

#![allow(clippy::unwrap_used)]

use rustix::{
    process::{Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets},
};
use strongroom::secret::{Secret, SecretError, allow_unlocked, harden_process, lock_limit_check};

#[test]
fn a_limit_too_small_is_an_error_until_unlocked_memory_is_allowed() {
    // The capability would lift the limit; it is given up by this thread only, so all runs on it.
    let have = rustix::thread::capabilities(None).unwrap();
    let without = CapabilitySets {
        effective: have.effective - CapabilitySet::IPC_LOCK,
        ..have
    };
    rustix::thread::set_capabilities(None, without).unwrap();
    let limit = Rlimit {
        current: Some(64 << 10),
        ..rustix::process::getrlimit(Resource::Memlock)
    };
    rustix::process::setrlimit(Resource::Memlock, limit).unwrap();

    lock_limit_check(64 << 10).unwrap();
    let error = lock_limit_check(65 << 10).unwrap_err();
    assert!(error.to_string().contains("65536 bytes"), "{error}");

    let mut live = Vec::new();
    let error = loop {
        match Secret::<32>::random() {
            Ok(secret) => live.push(secret),
            Err(error) => break error,
        }
        assert!(
            live.len() <= 2048,
            "more than 64 KiB of secrets were locked"
        );
    };
    assert!(live.len() >= 1024, "only {} secrets in 64 KiB", live.len());
    assert!(matches!(
        error,
        SecretError::Locked {
            limit: Some(65_536),
            ..
        }
    ));

    drop(live.pop());
    Secret::<32>::random().expect("a slot given back serves again");

    live.push(Secret::random().unwrap());
    allow_unlocked(true);
    live.push(Secret::random().expect("allowed to be unlocked"));

    harden_process().unwrap();
    let core = rustix::process::getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert_eq!(
        rustix::process::dumpable_behavior().unwrap(),
        rustix::process::DumpableBehavior::NotDumpable
    );
}

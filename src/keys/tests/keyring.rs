//! The keyring: states, roots, time to live, limits, the trail.

use std::time::Duration;

use super::*;
use crate::audit::{AuditError, Event, Outcome, Sink, name};

const SECOND: Duration = Duration::from_secs(1);

fn unwrap_of(rig: &Rig, record: &[u8]) -> Result<Arc<BucketKey>, KeyError> {
    rig.ring.bucket_key(record, None, Purpose::Unwrap)
}

#[test]
fn a_keyring_needs_sound_roots_and_limits() {
    let make = |roots: &[Arc<SoftMasterKey>], config| {
        Keyring::new(dynamic(roots), Arc::new(MemorySink::default()), config).map(drop)
    };
    let root = |id| Arc::new(SoftMasterKey::new(RootId([id; 16])));
    let config = KeyringConfig::default;
    let refused = |answer| assert!(matches!(answer, Err(KeyError::Configuration(_))));
    refused(make(&[], config()));
    refused(make(&[root(1), root(1)], config()));
    refused(make(&(1..=9).map(root).collect::<Vec<_>>(), config()));
    for ttl in [Duration::ZERO, Duration::from_secs(301)] {
        refused(make(&[root(1)], KeyringConfig { ttl, ..config() }));
    }
    refused(make(
        &[root(1)],
        KeyringConfig {
            capacity: 0,
            ..config()
        },
    ));
    let (away, sound) = (root(1), root(2));
    away.set_fault(Fault::Unavailable);
    assert!(matches!(
        make(std::slice::from_ref(&away), config()),
        Err(KeyError::Hsm(MasterKeyError::Unavailable { .. }))
    ));
    make(&[away, sound], config()).unwrap();
}

/// F-64: each root's wrap opens the record alone.
#[test]
fn two_roots_open_a_record_with_either_away() {
    for away in [0, 1] {
        let rig = Rig::new(2);
        let record = rig.record();
        assert_eq!(record.len(), 221);
        rig.roots[away].set_fault(Fault::Unavailable);
        works(&rig.get(&record).unwrap()).unwrap();
    }
}

#[test]
fn a_root_that_just_failed_is_asked_last() {
    let rig = Rig::new(2);
    let records: Vec<_> = (1..=3)
        .map(|generation| rig.ring.create_bucket_key(BUCKET, generation, "").unwrap())
        .collect();
    rig.roots[0].set_fault(Fault::Unavailable);
    let calls = |record: &Vec<u8>| rig.calls(|| rig.get(record).unwrap()).1;
    assert_eq!(calls(&records[0]), 2, "the first asks both");
    assert_eq!(calls(&records[1]), 1, "the next goes straight to the other");
    rig.clock.advance(2 * SECOND);
    assert_eq!(calls(&records[2]), 2, "later the first has another chance");
}

#[test]
fn a_new_key_is_wrapped_by_every_root_or_not_made() {
    let rig = Rig::new(2);
    rig.roots[1].set_fault(Fault::Unavailable);
    let made = rig.ring.create_bucket_key(BUCKET, 1, "");
    assert!(matches!(made, Err(KeyError::Hsm(_))));
}

#[test]
fn a_root_that_answers_wrong_bytes_opens_nothing_and_spoils_nothing() {
    let rig = Rig::new(2);
    let record = rig.record();
    rig.roots[0].set_fault(Fault::WrongBytes);
    works(&rig.get(&record).unwrap()).unwrap();
    rig.ring.purge();
    rig.roots[1].set_fault(Fault::WrongBytes);
    assert!(matches!(rig.get(&record), Err(KeyError::Unauthentic)));
}

#[test]
fn what_may_pass_is_said_before_what_will_not() {
    let rig = Rig::new(2);
    let mut record = rig.record();
    record[100] ^= 1;
    rig.roots[1].set_fault(Fault::Unavailable);
    let answer = rig.get(&record).unwrap_err();
    assert!(answer.is_transient(), "{answer}");
}

#[test]
fn a_record_of_unknown_roots_or_another_strategy_is_refused_by_name() {
    let (mine, other) = (Rig::new(1), Rig::new(2));
    let mut record = other.record();
    let stranger = [&record[..66], &[1], &record[128..]].concat();
    assert!(matches!(
        mine.get(&stranger),
        Err(KeyError::NoRoot { roots }) if roots == [RootId([2; 16])]
    ));
    mine.get(&record).unwrap();
    record[87] = 2;
    assert!(matches!(
        mine.get(&record),
        Err(KeyError::StrategyConflict { root }) if root == RootId([1; 16])
    ));
}

#[test]
fn a_lost_master_version_is_named() {
    let rig = Rig::new(1);
    let record = rig.record();
    rig.roots[0].rotate();
    rig.roots[0].lose(1);
    assert!(matches!(
        rig.get(&record),
        Err(KeyError::Hsm(MasterKeyError::KeyMissing { version: 1 }))
    ));
}

/// F-63: every state, and that the next request sees it although the bytes are cached.
#[test]
fn a_state_holds_from_the_next_request_on() {
    let rig = Rig::new(1);
    let active = rig.record();
    let key = rig.get(&active).unwrap();
    let dk = key.new_data_key().unwrap();
    let wrapped = key
        .wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
        .unwrap();

    let reading = rig
        .ring
        .set_state(&active, KeyState::UnwrapOnly, "admin")
        .unwrap();
    assert!(matches!(rig.get(&reading), Err(KeyError::UnwrapOnly)));
    let key = unwrap_of(&rig, &reading).unwrap();
    key.unwrap_data_key(&wrapped, &managed(), None).unwrap();
    let made = key.wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32]);
    assert!(matches!(made, Err(KeyError::NotPermitted)));

    let disabled = rig
        .ring
        .set_state(&reading, KeyState::Disabled, "admin")
        .unwrap();
    let (answer, calls) = rig.calls(|| unwrap_of(&rig, &disabled));
    assert!(matches!(answer, Err(KeyError::Disabled)));
    assert_eq!(calls, 0, "a disabled key asks no HSM");

    let enabled = rig
        .ring
        .set_state(&disabled, KeyState::Active, "admin")
        .unwrap();
    works(&rig.get(&enabled).unwrap()).unwrap();
    let parsed = BucketKeyRecord::parse(&enabled).unwrap();
    assert_eq!((parsed.rev, parsed.state), (4, KeyState::Active));
}

#[test]
fn a_shredded_record_is_a_tombstone_without_a_wrap() {
    let rig = Rig::new(2);
    let record = rig.record();
    let held = rig.get(&record).unwrap();
    let tombstone = rig
        .ring
        .set_state(&record, KeyState::Shredded, "admin")
        .unwrap();
    let parsed = BucketKeyRecord::parse(&tombstone).unwrap();
    assert!(parsed.wraps.iter().all(|wrap| wrap.blob == [0; 40]));
    assert!(matches!(
        unwrap_of(&rig, &tombstone),
        Err(KeyError::Shredded)
    ));
    assert!(matches!(works(&held), Err(KeyError::Expired)), "wiped");
    for state in [KeyState::Active, KeyState::Disabled] {
        let back = rig.ring.set_state(&tombstone, state, "admin");
        assert!(matches!(back, Err(KeyError::Shredded)));
    }
}

/// F-63: the tag is what makes a state count.
#[test]
fn a_state_without_a_valid_tag_counts_as_disabled_and_raises_one_alarm() {
    let rig = Rig::new(1);
    let record = rig.record();
    let disabled = rig
        .ring
        .set_state(&record, KeyState::Disabled, "admin")
        .unwrap();
    let mut forged = disabled;
    forged[33] = KeyState::Active.code();
    for _ in 0..3 {
        assert!(matches!(unwrap_of(&rig, &forged), Err(KeyError::Disabled)));
    }
    let restored = rig.ring.set_state(&forged, KeyState::Active, "admin");
    assert!(matches!(restored, Err(KeyError::Disabled)));
    let alarms = rig.names();
    let alarms = alarms.iter().filter(|name| **name == name::KEY_STATE_ALARM);
    assert_eq!(alarms.count(), 1);
}

/// F-63: the higher revision wins, a difference stops writes, and the catalog, whose word has no
/// tag, only ever takes rights away.
#[test]
fn a_difference_between_catalog_and_record_stops_writes() {
    use KeyState::{Active, Disabled, Shredded, UnwrapOnly};
    let rig = Rig::new(1);
    let record = rig.record();
    let second = rig.ring.set_state(&record, Active, "").unwrap();
    let disabled = rig.ring.set_state(&second, Disabled, "").unwrap();
    let ask = |record: &[u8], expected, purpose| {
        rig.ring
            .bucket_key(record, Some(expected), purpose)
            .map(drop)
    };
    assert!(ask(&second, (2, Active), Purpose::Wrap).is_ok());
    // The key store is older than the catalog.
    for (expected, reads) in [((3, Active), true), ((3, UnwrapOnly), true)] {
        assert_eq!(ask(&second, expected, Purpose::Unwrap).is_ok(), reads);
        assert!(matches!(
            ask(&second, expected, Purpose::Wrap),
            Err(KeyError::StateConflict)
        ));
    }
    assert!(matches!(
        ask(&second, (3, Disabled), Purpose::Unwrap),
        Err(KeyError::Disabled)
    ));
    assert!(matches!(
        ask(&second, (3, Shredded), Purpose::Unwrap),
        Err(KeyError::Shredded)
    ));
    // The catalog is older than the key store.
    assert!(ask(&second, (1, Disabled), Purpose::Unwrap).is_ok());
    assert!(matches!(
        ask(&second, (1, Active), Purpose::Wrap),
        Err(KeyError::StateConflict)
    ));
    // A catalog that says "enabled" to a record that says "disabled" enables nothing.
    assert!(matches!(
        ask(&disabled, (9, Active), Purpose::Unwrap),
        Err(KeyError::Disabled)
    ));
    assert!(rig.names().contains(&name::KEY_STATE_ALARM));
}

#[test]
fn a_cached_key_outlives_its_hsm_until_its_time_ends() {
    let rig = Rig::new(1);
    let record = rig.record();
    let other = rig.ring.create_bucket_key(BUCKET, 2, "").unwrap();
    let key = rig.get(&record).unwrap();
    rig.roots[0].set_fault(Fault::Unavailable);
    rig.clock.advance(299 * SECOND);
    works(&rig.get(&record).unwrap()).unwrap();
    assert!(rig.get(&other).unwrap_err().is_transient());
    rig.clock.advance(SECOND);
    assert!(matches!(works(&key), Err(KeyError::Expired)));
    assert!(rig.get(&record).unwrap_err().is_transient());
    rig.roots[0].set_fault(Fault::None);
    rig.clock.advance(SECOND);
    works(&rig.get(&record).unwrap()).unwrap();
}

#[test]
fn use_does_not_prolong_a_keys_life() {
    let rig = Rig::new(1);
    let record = rig.record();
    let key = rig.get(&record).unwrap();
    for _ in 0..299 {
        rig.clock.advance(SECOND);
        works(&rig.get(&record).unwrap()).unwrap();
    }
    rig.clock.advance(SECOND);
    assert!(matches!(works(&key), Err(KeyError::Expired)));
    let ((), calls) = rig.calls(|| works(&rig.get(&record).unwrap()).unwrap());
    assert_eq!(calls, 1, "and then the HSM is asked again");
}

#[test]
fn one_hsm_call_serves_a_bucket_for_its_time() {
    let rig = Rig::new(1);
    let record = rig.record();
    let ((), calls) = rig.calls(|| {
        for _ in 0..1000 {
            works(&rig.get(&record).unwrap()).unwrap();
        }
    });
    assert_eq!(calls, 1);
    assert_eq!(rig.ring.cache_stats().hits, 999);
}

#[test]
fn a_failure_is_remembered_for_a_second() {
    let rig = Rig::new(1);
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Unavailable);
    let ((), calls) = rig.calls(|| {
        for _ in 0..100 {
            assert!(rig.get(&record).unwrap_err().is_transient());
        }
    });
    assert_eq!(calls, 1);
    rig.roots[0].set_fault(Fault::None);
    assert!(rig.get(&record).is_err(), "still remembered");
    rig.clock.advance(SECOND);
    works(&rig.get(&record).unwrap()).unwrap();
}

/// A record with the check of a cached one and other wraps is not answered from the cache.
#[test]
fn cached_bytes_answer_for_their_own_record_only() {
    let rig = Rig::new(2);
    let record = rig.record();
    rig.get(&record).unwrap();
    for byte in [90, 130, 150, 34, 84] {
        let mut other = record.clone();
        other[byte] ^= 1;
        let (_, calls) = rig.calls(|| rig.get(&other));
        assert!(calls > 0, "byte {byte}");
    }
    let ((), calls) = rig.calls(|| works(&rig.get(&record).unwrap()).unwrap());
    assert_eq!(calls, 0, "and the failures spoil nothing");
}

#[test]
fn a_disabled_master_version_opens_nothing_not_even_from_the_cache() {
    let rig = Rig::new(2);
    let record = rig.record();
    let ring_record = rig.ring.create_control_ring(1, "admin").unwrap();
    let control = rig
        .ring
        .control_ring(&ring_record, &Request::new(Purpose::Wrap))
        .unwrap();
    let stopped = |root, rev, state| {
        let state = MasterVersionState {
            root: RootId([root; 16]),
            version: 1,
            rev,
            state,
        };
        let sealed = control.seal_state(&state).unwrap();
        control.open_state(&sealed).unwrap()
    };
    let first = stopped(1, 1, KeyState::Disabled);
    let ask = |states: Vec<_>| {
        let masters = MasterStates::new(states);
        let request = Request {
            masters: Some(&masters),
            ..Request::new(Purpose::Wrap)
        };
        rig.ring.bucket_key_for(&record, &request).map(drop)
    };
    ask(vec![]).unwrap();
    ask(vec![first]).unwrap();
    let both = ask(vec![first, stopped(2, 1, KeyState::Shredded)]);
    assert!(matches!(both, Err(KeyError::Disabled)));
    ask(vec![first, stopped(2, 1, KeyState::UnwrapOnly)]).unwrap();
    ask(vec![
        stopped(2, 1, KeyState::Disabled),
        stopped(1, 1, KeyState::Disabled),
        stopped(1, 2, KeyState::Active),
    ])
    .unwrap();
}

/// What a request may be opened by is part of what is cached for it, failures too.
#[test]
fn a_failure_under_one_policy_is_not_another_policys_failure() {
    let rig = Rig::new(2);
    let record = rig.record();
    rig.roots[0].set_fault(Fault::Unavailable);
    let second_stopped = MasterStates::new([MasterVersionState {
        root: RootId([2; 16]),
        version: 1,
        rev: 1,
        state: KeyState::Disabled,
    }]);
    let request = Request {
        masters: Some(&second_stopped),
        ..Request::new(Purpose::Wrap)
    };
    let answer = rig.ring.bucket_key_for(&record, &request);
    assert!(answer.unwrap_err().is_transient());
    works(&rig.get(&record).unwrap()).unwrap();
    let answer = rig.ring.bucket_key_for(&record, &request);
    assert!(answer.unwrap_err().is_transient(), "nor is its success");
}

/// F-74.
#[test]
fn the_state_of_a_master_version_is_authentic_or_refused() {
    let rig = Rig::new(1);
    let ring_record = rig.ring.create_control_ring(1, "").unwrap();
    let ask = |purpose| {
        rig.ring
            .control_ring(&ring_record, &Request::new(purpose))
            .unwrap()
    };
    let state = MasterVersionState {
        root: RootId([7; 16]),
        version: 3,
        rev: 9,
        state: KeyState::UnwrapOnly,
    };
    let sealed = ask(Purpose::Wrap).seal_state(&state).unwrap();
    assert_eq!(sealed.len(), 66);
    let reader = ask(Purpose::Unwrap);
    assert_eq!(reader.open_state(&sealed).unwrap(), state);
    assert!(matches!(
        reader.seal_state(&state),
        Err(KeyError::NotPermitted)
    ));
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let answer = reader.open_state(&bad).unwrap_err();
        let as_expected = match bit / 8 {
            0..=3 => matches!(answer, KeyError::Malformed(_)),
            4 => matches!(answer, KeyError::Unsupported(_)),
            33 => matches!(answer, KeyError::Malformed(_) | KeyError::Unauthentic),
            _ => matches!(answer, KeyError::Unauthentic),
        };
        assert!(as_expected, "{bit}: {answer}");
    }
    for len in 0..sealed.len() {
        let answer = reader.open_state(&sealed[..len]);
        assert!(matches!(answer, Err(KeyError::Malformed(_))));
    }
    // The ring is no bucket, and a bucket is no ring.
    let record = rig.record();
    let request = Request::new(Purpose::Unwrap);
    assert!(matches!(
        rig.ring.control_ring(&record, &request),
        Err(KeyError::Malformed(_))
    ));
    assert!(matches!(rig.get(&ring_record), Err(KeyError::Malformed(_))));
    assert!(matches!(
        rig.ring.create_bucket_key(BucketId([0xff; 16]), 1, ""),
        Err(KeyError::Malformed(_))
    ));
}

/// F-70: only the wraps change, the secret and the state's tag stay.
#[test]
fn a_rewrap_moves_every_wrap_to_the_active_version() {
    let rig = Rig::new(2);
    let record = rig.record();
    let same = rig.ring.rewrap(&record, "admin").unwrap();
    assert_eq!(same.record, record);
    assert!(same.evidence.is_empty());

    let key = rig.get(&record).unwrap();
    let dk = key.new_data_key().unwrap();
    let wrapped = key
        .wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
        .unwrap();
    rig.roots
        .iter()
        .for_each(|root| assert_eq!(root.rotate(), 2));
    let moved = rig.ring.rewrap(&record, "admin").unwrap();
    assert_eq!(moved.evidence.len(), 2);
    for evidence in &moved.evidence {
        assert_eq!((evidence.from, evidence.to), (1, 2));
        assert_ne!(evidence.old, evidence.new);
    }
    let (before, after) = (
        BucketKeyRecord::parse(&record).unwrap(),
        BucketKeyRecord::parse(&moved.record).unwrap(),
    );
    assert!(after.wraps.iter().all(|wrap| wrap.version == 2));
    assert_eq!(
        BucketKeyRecord {
            wraps: before.wraps.clone(),
            ..after
        },
        before
    );
    rig.roots.iter().for_each(|root| root.lose(1));
    let key = rig.get(&moved.record).unwrap();
    key.unwrap_data_key(&wrapped, &managed(), None).unwrap();
}

/// F-69.
#[test]
fn a_direct_key_serves_one_object_and_is_never_cached() {
    let rig = Rig::new(1);
    let (record, key) = rig.ring.create_direct_key(INSTANCE, "alice").unwrap();
    works(&key).unwrap();
    let dk = key.new_data_key().unwrap();
    let wrapped = key
        .wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
        .unwrap();
    let generation = DataKeyRecord::parse(&wrapped).unwrap().info.generation;
    assert_eq!(generation, 0);
    let request = Request::new(Purpose::Unwrap);
    for _ in 0..3 {
        let (key, calls) = rig.calls(|| rig.ring.direct_key(&record, INSTANCE, &request).unwrap());
        assert_eq!(calls, 1);
        key.unwrap_data_key(&wrapped, &managed(), None).unwrap();
        let attrs = key.open_attrs(INSTANCE, 0, &[0; 16]);
        assert!(matches!(attrs, Err(KeyError::NotPermitted)));
    }
    let other = InstanceId([0x91; 16]);
    let answer = rig.ring.direct_key(&record, other, &request);
    assert!(matches!(answer, Err(KeyError::Unauthentic)));
    let ctx = Context {
        instance: other,
        ..managed()
    };
    let made = key.wrap_data_key(&dk, &ctx, None, RecordState::NoManifest, [0; 32]);
    assert!(matches!(made, Err(KeyError::Malformed(_))));
    assert!(matches!(rig.get(&record), Err(KeyError::Malformed(_))));
    let bucket = rig.record();
    let answer = rig.ring.direct_key(&bucket, INSTANCE, &request);
    assert!(matches!(answer, Err(KeyError::Malformed(_))));
}

/// F-71, as far as one process can hold it: over every time the key is loaded, and for wraps only.
#[test]
fn a_generation_is_used_up_over_all_its_loads() {
    let rig = Rig::with(1, |config| KeyringConfig {
        wrap_limit: 5,
        ..config
    });
    let record = rig.record();
    let dk = rig.get(&record).unwrap().new_data_key().unwrap();
    let wrap = |key: &BucketKey| {
        key.wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
    };
    let mut last = Vec::new();
    for count in 1..=5 {
        let key = rig.get(&record).unwrap();
        last = wrap(&key).unwrap();
        assert_eq!(key.wraps(), count);
        rig.clock.advance(300 * SECOND);
    }
    let key = rig.get(&record).unwrap();
    assert!(matches!(wrap(&key), Err(KeyError::Exhausted)));
    key.unwrap_data_key(&last, &managed(), None).unwrap();
    let next = rig.ring.create_bucket_key(BUCKET, 2, "").unwrap();
    let next = rig.get(&next).unwrap();
    key.rewrap_data_key(&last, &managed(), &next).unwrap();
    wrap(&next).unwrap();
}

#[test]
fn the_cache_keeps_to_its_bound_and_lets_the_oldest_go() {
    let rig = Rig::with(1, |config| KeyringConfig {
        capacity: 3,
        ..config
    });
    let records: Vec<_> = (1..=4)
        .map(|generation| rig.ring.create_bucket_key(BUCKET, generation, "").unwrap())
        .collect();
    let keys: Vec<_> = records[..3]
        .iter()
        .map(|record| {
            rig.clock.advance(SECOND);
            rig.get(record).unwrap()
        })
        .collect();
    rig.clock.advance(SECOND);
    rig.get(&records[0]).unwrap();
    rig.get(&records[3]).unwrap();
    let stats = rig.ring.cache_stats();
    assert_eq!((stats.held, stats.evicted), (3, 1));
    let asked = |record: &Vec<u8>| rig.calls(|| rig.get(record).unwrap()).1;
    assert_eq!(asked(&records[0]), 0, "used lately");
    assert_eq!(asked(&records[1]), 1, "the one that went");
    works(&keys[1]).unwrap();
}

#[test]
fn a_timer_learns_when_to_purge_next() {
    let rig = Rig::new(1);
    assert_eq!(rig.ring.purge_expired(), None);
    let record = rig.record();
    rig.get(&record).unwrap();
    rig.clock.advance(100 * SECOND);
    assert_eq!(rig.ring.purge_expired(), Some(200 * SECOND));
    rig.clock.advance(200 * SECOND);
    assert_eq!(rig.ring.purge_expired(), None);
    assert_eq!(rig.ring.cache_stats().held, 0);
}

#[test]
fn a_purge_ends_keys_in_use() {
    let rig = Rig::new(1);
    let record = rig.record();
    let cached = rig.get(&record).unwrap();
    let (_, direct) = rig.ring.create_direct_key(INSTANCE, "").unwrap();
    rig.ring.purge();
    for key in [&*cached, &direct] {
        assert!(matches!(works(key), Err(KeyError::Expired)));
    }
    works(&rig.get(&record).unwrap()).unwrap();
    let key = rig.get(&record).unwrap();
    drop(rig.ring);
    assert!(matches!(works(&key), Err(KeyError::Expired)));
}

#[test]
fn the_trail_has_every_hsm_call_and_each_principals_first_use() {
    let rig = Rig::new(1);
    let record = rig.record();
    for principal in ["alice", "bob", "alice"] {
        let request = Request {
            principal,
            ..Request::new(Purpose::Unwrap)
        };
        rig.ring.bucket_key_for(&record, &request).unwrap();
    }
    rig.roots[0].rotate();
    rig.ring.rewrap(&record, "admin").unwrap();
    rig.ring
        .set_state(&record, KeyState::Disabled, "admin")
        .unwrap();
    assert_eq!(
        rig.names(),
        [
            name::PROBE_KEY,
            name::GENERATE_RANDOM,
            name::ENCRYPT,
            name::CREATE_KEY,
            name::DECRYPT,
            name::USE_KEY,
            name::USE_KEY,
            name::RE_ENCRYPT,
            name::DISABLE_KEY,
        ]
    );
    let events = rig.sink.events();
    let decrypt = &events[4];
    assert_eq!(decrypt.principal, "alice");
    assert_eq!(decrypt.bucket, Some(BUCKET));
    assert_eq!((decrypt.generation, decrypt.version), (Some(1), Some(1)));
    assert_eq!(decrypt.root, Some(RootId([1; 16])));
    assert_eq!(events[6].principal, "bob");
}

#[test]
fn a_failed_hsm_call_is_on_record_as_failed() {
    let rig = Rig::new(1);
    let record = rig.record();
    for (fault, code) in [
        (Fault::Unavailable, "Unavailable"),
        (Fault::Hanging(Duration::ZERO), "TimedOut"),
        (Fault::WrongBytes, "Unauthentic"),
    ] {
        rig.roots[0].set_fault(fault);
        rig.clock.advance(SECOND);
        rig.get(&record).unwrap_err();
        let last = rig.sink.events().pop().unwrap();
        assert_eq!(last.outcome, Outcome::Failure(code));
    }
}

/// No line, no key: whichever of the lines it is.
#[test]
fn a_key_whose_use_cannot_be_recorded_is_not_released() {
    struct Full(&'static str);
    impl Sink for Full {
        fn record(&self, event: Event) -> Result<(), AuditError> {
            if event.name != self.0 {
                return Ok(());
            }
            Err(AuditError::Ended {
                path: "/full".into(),
            })
        }
    }
    let rig = Rig::new(1);
    let record = rig.record();
    let ring_without = |name| {
        let config = KeyringConfig::default();
        Keyring::new(dynamic(&rig.roots), Arc::new(Full(name)), config)
    };
    assert!(matches!(
        ring_without(name::PROBE_KEY),
        Err(KeyError::Audit(_))
    ));
    for name in [name::DECRYPT, name::USE_KEY] {
        let ring = ring_without(name).unwrap();
        for _ in 0..2 {
            let answer = ring.bucket_key(&record, None, Purpose::Unwrap);
            assert!(matches!(answer, Err(KeyError::Audit(_))), "{name}");
        }
    }
    for name in [name::GENERATE_RANDOM, name::ENCRYPT, name::CREATE_KEY] {
        let made = ring_without(name).unwrap().create_bucket_key(BUCKET, 2, "");
        assert!(matches!(made, Err(KeyError::Audit(_))), "{name}");
    }
    rig.roots[0].rotate();
    let moved = ring_without(name::RE_ENCRYPT).unwrap().rewrap(&record, "");
    assert!(matches!(moved, Err(KeyError::Audit(_))));
    let stopped =
        ring_without(name::DISABLE_KEY)
            .unwrap()
            .set_state(&record, KeyState::Disabled, "");
    assert!(matches!(stopped, Err(KeyError::Audit(_))));
}

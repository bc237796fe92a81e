//! Which roots wrap what, and that a stopped root is stopped.

use super::*;
use crate::audit::name;

const PRIMARY: RootId = RootId([1; 16]);
const NAMED: RootId = RootId([2; 16]);

/// One primary root and one that wraps only where it is named.
fn rig() -> Rig {
    Rig::with(2, |config| KeyringConfig {
        named_only: vec![NAMED],
        ..config
    })
}

fn roots_of(record: &[u8]) -> Vec<RootId> {
    let record = BucketKeyRecord::parse(record).unwrap();
    record.wraps.iter().map(|wrap| wrap.root).collect()
}

/// F-68: each generation belongs to one set of roots.
#[test]
fn a_root_that_is_not_primary_wraps_only_where_it_is_named() {
    let rig = rig();
    assert_eq!(roots_of(&rig.record()), [PRIMARY]);
    let (ring, _) = rig.ring.create_direct_key(INSTANCE, "").unwrap();
    assert_eq!(roots_of(&ring), [PRIMARY]);
    let under = |roots: &[RootId]| rig.ring.create_bucket_key_under(BUCKET, 2, roots, "");
    assert_eq!(roots_of(&under(&[NAMED]).unwrap()), [NAMED]);
    // F-64: in bytewise order, however they are named.
    assert_eq!(
        roots_of(&under(&[NAMED, PRIMARY]).unwrap()),
        [PRIMARY, NAMED]
    );
    works(&rig.get(&under(&[NAMED]).unwrap()).unwrap()).unwrap();
    assert!(matches!(under(&[]), Err(KeyError::Malformed(_))));
    assert!(matches!(
        under(&[NAMED, NAMED]),
        Err(KeyError::Malformed(_))
    ));
    let stranger = RootId([3; 16]);
    assert!(matches!(
        under(&[stranger]),
        Err(KeyError::NoRoot { roots }) if roots == [stranger]
    ));
}

#[test]
fn a_keyring_needs_a_primary_root_that_answers() {
    let make = |faults: [Fault; 2], named_only: &[RootId]| {
        let roots: Vec<_> = [PRIMARY, NAMED]
            .map(|id| Arc::new(SoftMasterKey::new(id)))
            .into();
        for (root, fault) in roots.iter().zip(faults) {
            root.set_fault(fault);
        }
        let config = KeyringConfig {
            named_only: named_only.to_vec(),
            ..KeyringConfig::default()
        };
        Keyring::new(dynamic(&roots), Arc::new(MemorySink::default()), config).map(drop)
    };
    make([Fault::None, Fault::Unavailable], &[NAMED]).unwrap();
    assert!(matches!(
        make([Fault::Unavailable, Fault::None], &[NAMED]),
        Err(KeyError::Hsm(MasterKeyError::Unavailable { .. }))
    ));
    for named_only in [&[PRIMARY, NAMED][..], &[RootId([3; 16])]] {
        assert!(matches!(
            make([Fault::None; 2], named_only),
            Err(KeyError::Configuration(_))
        ));
    }
}

#[test]
fn a_stopped_root_is_stopped_for_the_next_request_although_its_keys_are_cached() {
    let rig = rig();
    let record = rig
        .ring
        .create_bucket_key_under(BUCKET, 2, &[NAMED], "")
        .unwrap();
    works(&rig.get(&record).unwrap()).unwrap();
    let set = |state| rig.ring.set_root_state(NAMED, state, "admin").unwrap();
    set(RootState::Disabled);
    for purpose in [Purpose::Attributes, Purpose::Unwrap, Purpose::Wrap] {
        assert!(matches!(
            rig.ring.bucket_key(&record, None, purpose),
            Err(KeyError::RootDisabled { root: NAMED })
        ));
    }
    assert!(matches!(
        rig.ring.rewrap(&record, ""),
        Err(KeyError::RootDisabled { root: NAMED })
    ));
    set(RootState::PendingDeletion);
    assert!(matches!(
        rig.get(&record),
        Err(KeyError::RootPendingDeletion { root: NAMED })
    ));
    assert!(matches!(
        rig.ring.create_bucket_key_under(BUCKET, 3, &[NAMED], ""),
        Err(KeyError::RootPendingDeletion { root: NAMED })
    ));
    works(&rig.get(&rig.record()).unwrap()).unwrap();
    set(RootState::Enabled);
    works(&rig.get(&record).unwrap()).unwrap();
    let states = [
        name::DISABLE_KEY,
        name::SCHEDULE_KEY_DELETION,
        name::ENABLE_KEY,
    ];
    let seen: Vec<_> = rig.names();
    let seen: Vec<_> = seen
        .into_iter()
        .filter(|name| states.contains(name))
        .collect();
    assert_eq!(seen, states);
    assert!(matches!(
        rig.ring
            .set_root_state(RootId([9; 16]), RootState::Disabled, ""),
        Err(KeyError::NoRoot { .. })
    ));
}

/// Disabling means all roots: any enabled one opens.
#[test]
fn a_record_of_two_roots_opens_while_one_of_them_is_enabled() {
    let rig = Rig::new(2);
    let record = rig.record();
    rig.ring
        .set_root_state(PRIMARY, RootState::Disabled, "")
        .unwrap();
    let before = rig.roots[0].calls();
    works(&rig.get(&record).unwrap()).unwrap();
    assert_eq!(rig.roots[0].calls(), before, "the stopped one is not asked");
    rig.ring
        .set_root_state(NAMED, RootState::PendingDeletion, "")
        .unwrap();
    assert!(rig.get(&record).is_err());
    assert_eq!(
        rig.ring
            .roots()
            .iter()
            .map(|root| root.state)
            .collect::<Vec<_>>(),
        [RootState::Disabled, RootState::PendingDeletion]
    );
}

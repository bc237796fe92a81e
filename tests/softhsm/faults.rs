//! The module misbehaves; callers get right answers or honest errors, in time, and it ends by itself.

use std::time::{Duration, Instant};

use strongroom::hsm::{HsmAdmin, HsmConfig, HsmMasterKey};
use strongroom::keys::{MasterKey, MasterKeyError, WrappedSecret};
use subtle::ConstantTimeEq;

use crate::kit::{Fault, fault, painted, recovery_time, softhsm, token_test};

/// Deadline of a caller, with room for a slow machine.
const IN_TIME: Duration = Duration::from_secs(3);
const RECOVERED: Duration = Duration::from_secs(5);

/// Unwraps from four threads; every answer must be right. Returns the errors.
fn work(master: &HsmMasterKey, blob: &WrappedSecret, rounds: usize) -> Vec<MasterKeyError> {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut errors = Vec::new();
                    for _ in 0..rounds {
                        match master.unwrap(1, blob) {
                            Ok(secret) => assert!(bool::from(secret.ct_eq(&painted(1)))),
                            Err(error) => errors.push(error),
                        }
                    }
                    errors
                })
            })
            .collect();
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    })
}

/// Opens the master key over the failing module and wraps `painted(1)`.
fn start(site: &crate::kit::Site) -> (HsmMasterKey, WrappedSecret, &'static Fault) {
    site.provision(1);
    let fault = fault();
    let master = HsmMasterKey::open(site.faulty_config()).unwrap();
    let blob = master.wrap(1, &painted(1)).unwrap();
    (master, blob, fault)
}

token_test! {
    fn passing_faults_are_not_seen_by_callers(site: &Site) {
        let (master, blob, fault) = start(site);
        for rules in [
            "C_UnwrapKey:kill,every=20",
            "C_UnwrapKey:logout,every=50",
            "C_UnwrapKey:finalize,every=100",
            "C_UnwrapKey:rv=0x190,every=100",
            "C_GetAttributeValue:rv=0x32,every=100,count=4",
            "C_UnwrapKey:rv=0x30,every=7",
            "C_GetAttributeValue:lost=0x5,every=9",
            "C_CreateObject:rv=0x31,every=2;C_UnwrapKey:rv=0x31,every=5",
            "C_OpenSession:rv=0xb1,count=3;C_UnwrapKey:kill,every=10",
            "C_DestroyObject:rv=0x6,every=10",
        ] {
            fault.set(rules);
            let errors = work(&master, &blob, 100);
            assert!(errors.is_empty(), "{rules}: {} of 400: {:?}", errors.len(), errors.first());
            fault.set("");
            assert!(!master.stats().failing, "{rules}");
            assert_eq!(fault.calls("shared"), 0, "{rules}: two threads in one session");
            master.unwrap(1, &blob).unwrap();
        }
    }
}

token_test! {
    fn an_error_of_every_kind_ends_when_the_fault_does(site: &Site) {
        let (master, blob, fault) = start(site);
        for rv in ["0x5", "0x6", "0x30", "0x31", "0x32", "0x82", "0xb1", "0xb3", "0xe0", "0x101", "0x190", "0x80000001"] {
            fault.set(&format!("*:rv={rv}"));
            let begun = Instant::now();
            for _ in 0..20 {
                let begun = Instant::now();
                master.unwrap(1, &blob).unwrap_err();
                assert!(begun.elapsed() < IN_TIME, "{rv}: {:?}", begun.elapsed());
            }
            eprintln!("{rv}: 20 errors in {:?}", begun.elapsed());
            fault.set("");
            let time = recovery_time(|| master.unwrap(1, &blob));
            eprintln!("{rv}: recovered in {time:?}");
            assert!(time < RECOVERED, "{rv}: {time:?}");
            assert!(work(&master, &blob, 10).is_empty());
        }
    }
}

token_test! {
    fn tampered_blobs_are_refused_and_good_ones_served_beside_them(site: &Site) {
        let (master, blob, _) = start(site);
        let mut bad = blob;
        bad[0] ^= 1;
        std::thread::scope(|scope| {
            for caller in 0..8_usize {
                let (master, blob, bad) = (&master, &blob, &bad);
                scope.spawn(move || {
                    for round in 0..150 {
                        let good = (caller + round) % 2 == 0;
                        match master.unwrap(1, if good { blob } else { bad }) {
                            Ok(secret) => assert!(good && bool::from(secret.ct_eq(&painted(1)))),
                            Err(MasterKeyError::Rejected) => assert!(!good),
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                });
            }
        });
        let stats = master.stats();
        assert!(!stats.failing);
        assert_eq!(stats.lives, 1, "no tampered blob makes the module begin anew");
    }
}

token_test! {
    fn a_bad_blob_is_not_called_bad_while_the_module_is_ill(site: &Site) {
        let (master, blob, fault) = start(site);
        for rv in ["0x5", "0x30", "0x40"] {
            fault.set(&format!("C_UnwrapKey:rv={rv}"));
            let error = master.unwrap(1, &blob).err().unwrap();
            assert!(matches!(error, MasterKeyError::Unavailable { .. } | MasterKeyError::TimedOut { .. }), "{rv}: {error:?}");
            fault.set("");
            recovery_time(|| master.unwrap(1, &blob));
        }
    }
}

token_test! {
    fn a_hang_of_thirty_seconds_costs_its_callers_two(site: &Site) {
        let (master, blob, fault) = start(site);
        fault.set("C_UnwrapKey:delay=30000,count=3");
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let begun = Instant::now();
                    assert!(matches!(master.unwrap(1, &blob), Err(MasterKeyError::TimedOut { .. })));
                    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
                });
            }
        });
        // The three threads still hang; others have taken their places.
        assert!(work(&master, &blob, 50).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(10));
        let stats = master.stats();
        assert_eq!(stats.hung, 3);
        assert!(!stats.failing);
        // A logout now needs the module alone, which the hanging threads do not allow.
        fault.set("C_UnwrapKey:logout,count=1");
        let begun_again = Instant::now();
        master.unwrap(1, &blob).unwrap_err();
        assert!(begun_again.elapsed() < IN_TIME);
        while begun.elapsed() < Duration::from_secs(31) {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(recovery_time(|| master.unwrap(1, &blob)) < RECOVERED);
        assert!(work(&master, &blob, 50).is_empty());
    }
}

token_test! {
    fn when_everything_hangs_callers_hear_so_at_once_and_it_ends(site: &Site) {
        let (master, blob, fault) = start(site);
        fault.set("*:delay=12000");
        let begun = Instant::now();
        let mut quick = 0;
        while begun.elapsed() < Duration::from_secs(14) {
            let call = Instant::now();
            master.unwrap(1, &blob).unwrap_err();
            assert!(call.elapsed() < IN_TIME, "{:?}", call.elapsed());
            quick += usize::from(call.elapsed() < Duration::from_millis(50));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(quick > 50, "only {quick} calls were answered at once, {:?}", master.stats());
        assert!(master.stats().failing);
        fault.set("");
        // The hanging calls return twelve seconds after they were made, the last one after 26.
        std::thread::sleep(Duration::from_secs(26).saturating_sub(begun.elapsed()));
        let time = recovery_time(|| master.unwrap(1, &blob));
        assert!(time < RECOVERED, "{time:?}");
        assert!(work(&master, &blob, 20).is_empty());
    }
}

token_test! {
    fn the_token_comes_and_goes_and_the_service_with_it(site: &Site) {
        let (master, blob, _) = start(site);
        let (here, away) = (site.dir.join("tokens"), site.dir.join("away"));
        for _ in 0..3 {
            std::fs::rename(&here, &away).unwrap();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(600) {
                let call = Instant::now();
                let error = master.unwrap(1, &blob).err().unwrap();
                assert!(error.is_transient(), "{error:?}");
                assert!(call.elapsed() < IN_TIME);
            }
            std::fs::rename(&away, &here).unwrap();
            let time = recovery_time(|| master.unwrap(1, &blob));
            eprintln!("recovered in {time:?}");
            assert!(time < RECOVERED, "{time:?}");
            assert!(work(&master, &blob, 20).is_empty());
        }
    }
}

token_test! {
    fn a_key_is_missing_only_when_a_module_begun_anew_says_so(site: &Site) {
        let (master, blob, fault) = start(site);
        // A token whose storage is away finds nothing, and reports no error.
        fault.set("C_UnwrapKey:rv=0x82,count=1;C_FindObjects:empty,count=1");
        master.unwrap(1, &blob).unwrap();
        assert_eq!(master.versions(), [1]);
        fault.set("C_UnwrapKey:rv=0x82,count=1;C_FindObjects:empty");
        assert!(matches!(master.unwrap(1, &blob), Err(MasterKeyError::KeyMissing { version: 1 })));
        fault.set("");
        assert!(recovery_time(|| master.unwrap(1, &blob)) < RECOVERED);
    }
}

token_test! {
    fn a_module_that_another_root_began_anew_is_believed_too(site: &Site) {
        site.provision(1);
        let other = site.other_config();
        let admin = HsmAdmin::open(softhsm()).unwrap();
        for version in [1, 2] {
            admin.generate(&other, version, &other.pin).unwrap();
        }
        drop(admin);
        let fault = fault();
        let one = HsmMasterKey::open(site.faulty_config()).unwrap();
        let two = HsmMasterKey::open(HsmConfig { module: fault.path.clone(), ..other }).unwrap();
        let [of_one, of_two] = [&one, &two].map(|root| root.wrap(1, &painted(1)).unwrap());
        assert_eq!(two.versions(), [1, 2]);

        site.elsewhere("destroy-other 2");
        fault.set("C_UnwrapKey:finalize,count=1");
        one.unwrap(1, &of_one).unwrap();
        let lives = one.stats().lives;
        two.unwrap(1, &of_two).unwrap();
        assert_eq!(two.versions(), [1]);
        one.unwrap(1, &of_one).unwrap();
        assert_eq!(one.stats().lives, lives, "the second root began the module anew again");
    }
}

token_test! {
    fn a_wrap_that_does_not_open_is_never_handed_out(site: &Site) {
        let (master, blob, fault) = start(site);
        fault.set("C_WrapKey:flip,count=1");
        // The next try is whole.
        assert_eq!(master.wrap(1, &painted(1)).unwrap(), blob);
        fault.set("C_WrapKey:flip");
        master.wrap(1, &painted(1)).unwrap_err();
        fault.set("");
        recovery_time(|| master.unwrap(1, &blob));
        // A blob that opens to something else is noticed, too.
        fault.set("C_GetAttributeValue:flip,count=1");
        assert_eq!(master.wrap(1, &painted(1)).unwrap(), blob);
        fault.set("C_GetAttributeValue:flip");
        master.wrap(1, &painted(1)).unwrap_err();
    }
}

token_test! {
    fn a_rewrap_without_evidence_is_never_handed_out(site: &Site) {
        site.provision(2);
        let fault = fault();
        let master = HsmMasterKey::open(site.faulty_config()).unwrap();
        let old = master.wrap(1, &painted(1)).unwrap();
        let new = master.wrap(2, &painted(1)).unwrap();
        // The new blob is damaged, or the evidence is; the next try is whole.
        for rules in ["C_WrapKey:flip,count=1", "C_WrapKey:flip,after=1,count=1"] {
            fault.set(rules);
            assert_eq!(master.rewrap(1, 2, &old).unwrap(), new);
        }
        fault.set("C_WrapKey:flip,every=2");
        master.rewrap(1, 2, &old).unwrap_err();
    }
}

token_test! {
    fn a_token_of_few_sessions_serves_with_those_it_gives(site: &Site) {
        site.provision(1);
        let fault = fault();
        // The anchor and one worker get a session, the three other workers none.
        fault.set("C_OpenSession:rv=0xb1,after=2");
        let master = HsmMasterKey::open(site.faulty_config()).unwrap();
        let blob = master.wrap(1, &painted(1)).unwrap();
        assert!(work(&master, &blob, 200).is_empty());
        assert!(!master.stats().failing);
    }
}

token_test! {
    fn a_session_that_hangs_while_it_is_opened_costs_one_thread(site: &Site) {
        let (master, blob, fault) = start(site);
        assert!(work(&master, &blob, 20).is_empty());
        // Every session is lost, and each of the four new ones hangs at first.
        fault.set("C_UnwrapKey:finalize,count=1;C_OpenSession:delay=8000,after=1,count=4");
        let begun = Instant::now();
        recovery_time(|| master.unwrap(1, &blob));
        assert!(begun.elapsed() < RECOVERED, "{:?} {:?}", begun.elapsed(), master.stats());
        assert!(work(&master, &blob, 20).is_empty());
    }
}

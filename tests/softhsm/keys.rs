//! Wrapping, unwrapping, rewrapping, and what the token holds afterwards.

use strongroom::hsm::{HsmAdmin, HsmConfig, HsmMasterKey, PinSource};
use strongroom::keys::{MasterKey, MasterKeyError, Strategy};
use strongroom::secret::Secret;
use subtle::ConstantTimeEq;

use crate::kit::{ROOT, SO_PIN, TOKEN, fault, painted, secret, softhsm, token_test};
use crate::memory::{Needle, search_self};

token_test! {
    fn softhsm_does_what_every_master_key_must(site: &Site) {
        site.provision(3);
        strongroom::keys::conformance::master_key(&site.open());
    }
}

token_test! {
    fn what_is_wrapped_is_unwrapped(site: &Site) {
        site.provision(1);
        let master = site.open();
        assert_eq!(master.root(), ROOT);
        assert_eq!(master.strategy(), Strategy::Kw);
        assert_eq!(master.versions(), [1]);
        assert_eq!(master.active_version(), 1);
        master.health().unwrap();
        let blobs: Vec<_> = (0..50).map(|seed| master.wrap(1, &painted(seed)).unwrap()).collect();
        for (seed, blob) in (0..50).zip(&blobs) {
            assert!(bool::from(master.unwrap(1, blob).unwrap().ct_eq(&painted(seed))));
            assert_eq!(master.wrap(1, &painted(seed)).unwrap(), *blob, "key wrap is deterministic");
        }
        let (one, two) = (master.random().unwrap(), master.random().unwrap());
        assert!(!bool::from(one.ct_eq(&two)));
    }
}

token_test! {
    fn keys_survive_the_process_part_that_used_them(site: &Site) {
        site.provision(1);
        let blob = site.open().wrap(1, &painted(1)).unwrap();
        // The module was finalised in between.
        assert!(bool::from(site.open().unwrap(1, &blob).unwrap().ct_eq(&painted(1))));
    }
}

token_test! {
    fn each_version_opens_its_own_blobs_only(site: &Site) {
        site.provision(2);
        let master = site.open();
        assert_eq!(master.versions(), [1, 2]);
        assert_eq!(master.active_version(), 2);
        let (old, new) = (master.wrap(1, &painted(7)).unwrap(), master.wrap(2, &painted(7)).unwrap());
        assert_ne!(old, new);
        assert!(bool::from(master.unwrap(1, &old).unwrap().ct_eq(&painted(7))));
        assert!(bool::from(master.unwrap(2, &new).unwrap().ct_eq(&painted(7))));
        assert!(matches!(master.unwrap(1, &new), Err(MasterKeyError::Rejected)));
        assert!(matches!(master.unwrap(2, &old), Err(MasterKeyError::Rejected)));
        assert!(matches!(master.unwrap(3, &old), Err(MasterKeyError::KeyMissing { version: 3 })));
        assert!(matches!(master.wrap(3, &painted(7)), Err(MasterKeyError::KeyMissing { version: 3 })));
    }
}

token_test! {
    fn rewrapping_gives_what_wrapping_would_have(site: &Site) {
        site.provision(2);
        let master = site.open();
        for seed in 0..20 {
            let old = master.wrap(1, &painted(seed)).unwrap();
            let new = master.rewrap(1, 2, &old).unwrap();
            assert_eq!(new, master.wrap(2, &painted(seed)).unwrap());
            assert_eq!(master.rewrap(2, 1, &new).unwrap(), old);
        }
        let mut damaged = master.wrap(1, &painted(1)).unwrap();
        damaged[39] ^= 0x80;
        assert!(matches!(master.rewrap(1, 2, &damaged), Err(MasterKeyError::Rejected)));
        assert!(matches!(master.rewrap(1, 9, &damaged), Err(MasterKeyError::KeyMissing { version: 9 })));
    }
}

token_test! {
    fn every_single_bit_flip_of_a_blob_is_rejected(site: &Site) {
        site.provision(1);
        let master = site.open();
        let blob = master.wrap(1, &painted(3)).unwrap();
        for bit in 0..320 {
            let mut damaged = blob;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(master.unwrap(1, &damaged), Err(MasterKeyError::Rejected)), "bit {bit}");
        }
        assert!(!master.stats().failing);
    }
}

token_test! {
    fn no_object_stays_in_the_token_whatever_an_operation_came_to(site: &Site) {
        site.provision(2);
        let fault = fault();
        let master = HsmMasterKey::open(site.faulty_config()).unwrap();
        let made = || fault.calls("C_CreateObject") + fault.calls("C_UnwrapKey");
        let blob = master.wrap(1, &painted(1)).unwrap();
        master.unwrap(1, &blob).unwrap();
        master.rewrap(1, 2, &blob).unwrap();
        let refused = 1 + 1; // by the proof of each of the two versions: a damaged blob, no object
        assert_eq!(made() - refused, fault.calls("C_DestroyObject"));
        // Reading the value fails, wrapping fails: the object goes nevertheless.
        let before = made() - fault.calls("C_DestroyObject");
        fault.set("C_GetAttributeValue:rv=0x11");
        master.unwrap(1, &blob).unwrap_err();
        fault.set("C_WrapKey:rv=0x69");
        master.wrap(1, &painted(1)).unwrap_err();
        master.rewrap(1, 2, &blob).unwrap_err();
        assert_eq!(made() - fault.calls("C_DestroyObject"), before);
        // An object that cannot be destroyed goes with its session.
        fault.set("C_DestroyObject:rv=0x6,count=1");
        let closed = fault.calls("C_CloseSession");
        master.unwrap(1, &blob).unwrap();
        assert_eq!(fault.calls("C_CloseSession"), closed + 1);
    }
}

token_test! {
    fn many_callers_at_once_get_their_own_answers(site: &Site) {
        site.provision(2);
        let master = site.open();
        std::thread::scope(|scope| {
            for caller in 0..8_u8 {
                let master = &master;
                scope.spawn(move || {
                    for round in 0..50_u8 {
                        let secret = painted(caller.wrapping_mul(50).wrapping_add(round));
                        let version = u32::from(round % 2) + 1;
                        let blob = master.wrap(version, &secret).unwrap();
                        let back = master.unwrap(version, &blob).unwrap();
                        assert!(bool::from(back.ct_eq(&secret)));
                    }
                });
            }
        });
        assert_eq!(master.stats().lives, 1);
    }
}

token_test! {
    fn the_padded_strategy_wraps_as_rfc_5649_says(site: &Site) {
        site.make_token();
        let config = HsmConfig { strategy: Strategy::Kwp, ..site.config() };
        let admin = HsmAdmin::open(softhsm()).unwrap();
        assert!(admin.generate(&config, 1, &config.pin).unwrap().is_sound());
        let master = HsmMasterKey::open(config.clone()).unwrap();
        assert_eq!(master.strategy(), Strategy::Kwp);
        let blob = master.wrap(1, &painted(1)).unwrap();
        assert!(bool::from(master.unwrap(1, &blob).unwrap().ct_eq(&painted(1))));
        drop(master);
        // The key allows no other mechanism, and the two do not open each other's blobs.
        HsmMasterKey::open(site.config()).err().unwrap();
    }
}

token_test! {
    fn the_wrapping_version_can_be_held_back(site: &Site) {
        site.provision(2);
        let config = HsmConfig { active_version: Some(1), ..site.config() };
        assert_eq!(HsmMasterKey::open(config).unwrap().active_version(), 1);
        let config = HsmConfig { active_version: Some(3), ..site.config() };
        let text = HsmMasterKey::open(config).err().unwrap().to_string();
        assert!(text.contains("-v3"), "{text}");
    }
}

token_test! {
    fn two_roots_share_a_module(site: &Site) {
        site.provision(1);
        let other = site.other_config();
        let admin = HsmAdmin::open(softhsm()).unwrap();
        admin.generate(&other, 1, &other.pin).unwrap();
        let (one, two) = (site.open(), HsmMasterKey::open(other).unwrap());
        let blob = one.wrap(1, &painted(1)).unwrap();
        assert!(matches!(two.unwrap(1, &blob), Err(MasterKeyError::Rejected)));
        drop(two);
        assert!(one.unwrap(1, &blob).is_ok());
    }
}

token_test! {
    fn secrets_leave_no_copy_in_the_process(site: &Site) {
        site.provision(1);
        let master = site.open();
        let secret = Secret::<32>::random().unwrap();
        let needles = [Needle::new(secret.expose())];
        assert_eq!(search_self(&needles).unwrap().len(), 1, "the search finds the planted one");
        let blob = master.wrap(1, &secret).unwrap();
        drop(secret);
        let back = master.unwrap(1, &blob).unwrap();
        let hits = search_self(&needles).unwrap();
        assert_eq!(hits.len(), 1, "in its own place only: {hits:?}");
        drop(back);
        let hits = search_self(&needles).unwrap();
        assert!(hits.is_empty(), "left behind: {hits:?}");
    }
}

token_test! {
    fn the_pin_leaves_no_copy_in_the_process(site: &Site) {
        // A PIN that no part of this process has seen before the engine reads it.
        let path = site.dir.join("random-pin");
        let made = std::process::Command::new("sh")
            .args(["-c", "umask 077; od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' >\"$0\""])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let pin = PinSource::File(path);
        let held = pin.fetch().unwrap();
        let needles = [Needle::new(held.expose())];
        let admin = HsmAdmin::open(softhsm()).unwrap();
        admin.init_token(TOKEN, &secret(SO_PIN), &held).unwrap();
        assert_eq!(search_self(&needles).unwrap().len(), 1, "the search finds the one held");
        drop(held);
        let config = HsmConfig { pin: pin.clone(), ..site.config() };
        admin.generate(&config, 1, &pin).unwrap();
        let master = HsmMasterKey::open(config).unwrap();
        master.health().unwrap();
        let hits = search_self(&needles).unwrap();
        assert!(hits.is_empty(), "left behind: {hits:?}");
    }
}

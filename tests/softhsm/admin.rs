//! What an administrator does, and what a running daemon notices of it.

use std::time::Duration;

use strongroom::hsm::{HsmAdmin, HsmError, key_id};
use strongroom::keys::{MasterKey, MasterKeyError};

use crate::kit::{PIN, ROOT, SO_PIN, TOKEN, painted, recovery_time, secret, softhsm, token_test};

token_test! {
    fn a_token_is_made_once(site: &Site) {
        site.make_token();
        let admin = HsmAdmin::open(softhsm()).unwrap();
        assert_eq!(admin.tokens().unwrap(), [TOKEN]);
        let again = admin.init_token(TOKEN, &secret(SO_PIN), &secret(PIN));
        assert!(matches!(again, Err(HsmError::TokenExists { .. })));
        admin.init_token("another", &secret(SO_PIN), &secret(PIN)).unwrap();
        let mut tokens = admin.tokens().unwrap();
        tokens.sort();
        assert_eq!(tokens, ["another", TOKEN]);
        for label in ["", "ends in a blank ", &"x".repeat(33)] {
            let made = admin.init_token(label, &secret(SO_PIN), &secret(PIN));
            assert!(matches!(made, Err(HsmError::Config(_))), "{label}");
        }
    }
}

token_test! {
    fn status_shows_every_version_with_its_attributes(site: &Site) {
        site.provision(2);
        let admin = HsmAdmin::open(softhsm()).unwrap();
        let status = admin.status(&site.config()).unwrap();
        assert_eq!(status.token, TOKEN);
        assert!(status.manufacturer.contains("SoftHSM"), "{status:?}");
        assert!(!status.pin_failed && !status.pin_final_try);
        let versions: Vec<u32> = status.versions.iter().map(|version| version.version).collect();
        assert_eq!(versions, [1, 2]);
        for version in &status.versions {
            assert!(version.is_sound(), "{version:?}");
            assert_eq!(version.id, key_id(ROOT, version.version));
            assert_eq!(version.label, format!("strongroom-5a5a5a5a-v{}", version.version));
            for attribute in ["CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_DECRYPT", "CKA_NEVER_EXTRACTABLE"] {
                assert!(version.checks.iter().any(|check| check.attribute == attribute), "{attribute}");
            }
        }
    }
}

token_test! {
    fn a_version_is_never_made_twice(site: &Site) {
        site.provision(1);
        let admin = HsmAdmin::open(softhsm()).unwrap();
        let config = site.config();
        let again = admin.generate(&config, 1, &config.pin);
        assert!(matches!(again, Err(HsmError::KeyExists { .. })));
        for version in [0, u32::MAX] {
            assert!(matches!(admin.generate(&config, version, &config.pin), Err(HsmError::Config(_))));
        }
        assert_eq!(admin.status(&config).unwrap().versions.len(), 1);
    }
}

token_test! {
    fn destroying_takes_another_pin_source_than_the_daemons(site: &Site) {
        site.provision(2);
        let admin = HsmAdmin::open(softhsm()).unwrap();
        let config = site.config();
        let own = admin.destroy(&config, 1, &config.pin);
        assert!(matches!(own, Err(HsmError::Config(_))));
        assert_eq!(admin.status(&config).unwrap().versions.len(), 2);
        let other = site.pin_file("destroyer", PIN);
        admin.destroy(&config, 1, &other).unwrap();
        assert!(matches!(admin.destroy(&config, 1, &other), Err(HsmError::KeyMissing { version: 1, .. })));
        assert_eq!(site.open().versions(), [2]);
    }
}

token_test! {
    fn a_key_destroyed_elsewhere_is_missing_and_the_others_serve_on(site: &Site) {
        site.provision(2);
        let master = site.open();
        let (one, two) = (master.wrap(1, &painted(1)).unwrap(), master.wrap(2, &painted(2)).unwrap());
        site.elsewhere("destroy 1");
        assert!(matches!(master.unwrap(1, &one), Err(MasterKeyError::KeyMissing { version: 1 })));
        master.unwrap(2, &two).unwrap();
        assert_eq!(master.versions(), [2]);
        assert!(!master.stats().failing);
        site.elsewhere("destroy 2");
        assert!(matches!(master.unwrap(2, &two), Err(MasterKeyError::KeyMissing { version: 2 })));
        assert_eq!(master.versions(), [] as [u32; 0]);
    }
}

token_test! {
    fn a_new_version_made_elsewhere_is_found_without_a_restart(site: &Site) {
        site.provision(1);
        let master = site.open();
        let blob = master.wrap(1, &painted(1)).unwrap();
        site.elsewhere("generate 2");
        master.health().unwrap();
        assert_eq!(master.versions(), [1, 2]);
        let moved = master.rewrap(1, 2, &blob).unwrap();
        master.unwrap(2, &moved).unwrap();
        // Also without asking for its health, when the version is first needed.
        site.elsewhere("generate 3");
        assert!(recovery_time(|| master.wrap(3, &painted(1))) < Duration::from_secs(5));
    }
}

token_test! {
    fn another_key_in_the_place_of_a_version_is_noticed(site: &Site) {
        site.provision(1);
        let master = site.open();
        let blob = master.wrap(1, &painted(1)).unwrap();
        site.elsewhere("destroy 1");
        site.elsewhere("generate 1");
        let error = master.unwrap(1, &blob).err().unwrap();
        assert!(error.to_string().contains("not the key it was"), "{error}");
        master.wrap(1, &painted(1)).unwrap_err();
    }
}

//! The envelope door and sealed files, with the master key in a token.

use std::fs;
use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::hsm::PinSource;
use strongroom::keys::{Keyring, KeyringConfig};
use strongroom::object::{FileError, FileKeys, FileOptions, Source, Target, open_file, seal_file};

use crate::kit::{ROOT, Site, TOKEN, softhsm, token_test};

#[path = "../../examples/embed.rs"]
#[allow(dead_code)]
mod embed;

#[path = "../../examples/vault.rs"]
#[allow(dead_code)]
mod vault;

fn keyring(site: &Site) -> Keyring {
    let roots = vec![Arc::new(site.open()) as Arc<_>];
    Keyring::new(roots, Arc::new(NullSink), KeyringConfig::default()).unwrap()
}

token_test! {
    fn the_example_of_a_storage_daemon_runs(site: &Site) {
        site.provision(1);
        let PinSource::File(pin_file) = site.config().pin else {
            panic!("the kit keeps its PIN in a file");
        };
        embed::run(softhsm(), TOKEN, &pin_file, &ROOT.to_string()).unwrap();
    }
}

token_test! {
    fn the_example_of_objects_in_buckets_runs_and_runs_again(site: &Site) {
        site.provision(1);
        let PinSource::File(pin_file) = site.config().pin else {
            panic!("the kit keeps its PIN in a file");
        };
        for _ in 0..2 {
            let dir = site.dir.join("stores");
            vault::run(softhsm(), TOKEN, &pin_file, &ROOT.to_string(), &dir).unwrap();
        }
    }
}

token_test! {
    /// F-96: the file carries all that is needed but the token.
    fn a_sealed_file_opens_with_the_token_alone(site: &Site) {
        site.provision(1);
        let path = |name: &str| site.dir.join(name);
        let (plain, sealed, opened) = (path("plain"), path("sealed"), path("opened"));
        fs::write(&plain, vec![7; 700_000]).unwrap();
        let options = FileOptions::default();
        let writing = keyring(site);
        let keys = FileKeys::master(&writing, "test");
        seal_file(&keys, Source::Path(&plain), Target::Path(&sealed), &options).unwrap();
        drop(writing);

        let reading = keyring(site);
        let keys = FileKeys::master(&reading, "test");
        open_file(&keys, Source::Path(&sealed), Target::Path(&opened), &options).unwrap();
        assert!(fs::read(&opened).unwrap() == fs::read(&plain).unwrap());

        fs::remove_file(&opened).unwrap();
        let without = keyring(site);
        site.elsewhere("destroy 1");
        let keys = FileKeys::master(&without, "test");
        let refused = open_file(&keys, Source::Path(&sealed), Target::Path(&opened), &options);
        assert!(matches!(refused, Err(FileError::Key(_))));
        assert!(!opened.exists());
    }
}

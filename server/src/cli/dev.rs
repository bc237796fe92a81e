//! `strongroom dev`: a daemon for development, with everything it needs made on the spot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{DEFAULT_DIR, Failure, Place};
use crate::config::Config;
use crate::provision::DevDir;
use crate::{daemon, logs, process};

/// Serve S3 from a directory, making in it whatever is missing
///
/// Makes a SoftHSM token with a master key, a CA and a server certificate, a user with random
/// keys, and stores; then serves S3 over TLS. Run again, it goes on with what is there. Once it
/// accepts connections it writes DIR/client.env:
///
///   set -a; . dev/client.env; aws s3 ls
///
/// For development: the token is a file in DIR, not an HSM, and its PIN lies beside it. Settings
/// are in DIR/strongroom.toml.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Dev {
    /// Address to listen on; port 0 takes a free one [default: that of DIR/strongroom.toml, at
    /// first 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// SoftHSM's PKCS#11 module, where it is not at a usual place
    #[arg(long, value_name = "FILE")]
    softhsm: Option<PathBuf>,
}

impl Dev {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        if place.config.is_some() {
            return Err(Failure::usage(
                "dev works on a directory: use --dir DIR, or `strongroom serve --config FILE`",
            ));
        }
        let dir = DevDir::open(place.dir.as_deref().unwrap_or(Path::new(DEFAULT_DIR)))?;
        let environment = BTreeMap::from([("SOFTHSM2_CONF".to_owned(), dir.softhsm_conf())]);
        process::enter_environment(&environment)
            .map_err(|error| Failure::other(format!("cannot execute itself: {error}")))?;
        process::harden()?;
        let _lock = dir.lock()?;
        let first = if dir.config().exists() {
            Some(Config::load(&dir.config())?)
        } else {
            None
        };
        let listen = self
            .listen
            .or(first.map(|config| config.listen.s3))
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9000)));
        dir.provision(listen, self.softhsm.as_deref())?;
        let mut config = Config::load(&dir.config())?;
        config.listen.s3 = listen;
        // A development machine may have a small limit; the warning says what it means.
        config.keys.allow_unlocked_memory = true;
        logs::install(&config.log);
        eprintln!("{WARNING}");
        daemon::run(&config, |address| dir.write_client_env(&config, address))
    }
}

const WARNING: &str = "\
************************************************************************
*  DEVELOPMENT: the master key is in a SoftHSM token, which is a FILE  *
*  and NOT an HSM. Who copies this directory can open every object.    *
************************************************************************";

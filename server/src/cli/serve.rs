//! `strongroom serve`: the daemon in production.

use clap::Args;

use super::{Failure, Place};
use crate::{daemon, logs};

/// Serve S3 with the settings of a configuration file
///
/// Runs in the foreground and logs to standard error. SIGTERM or SIGINT stop it: requests in
/// flight may end within [limits] drain_seconds; a second signal cuts them.
///
/// It does not start without a working master key, with a locked-memory limit that is too small
/// (unless allow_unlocked_memory is set), with an unknown key in the configuration, or when a
/// file the configuration names is missing. Secrets stand in files that the configuration names,
/// never in the configuration or on the command line.
#[derive(Args)]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        if place.config.is_none() && place.dir.is_none() {
            return Err(Failure::usage(
                "serve needs --config FILE (or --dir DIR, for a development directory)",
            ));
        }
        let config = place.settings()?;
        logs::install(&config.log);
        daemon::run(&config, |_| Ok(()))
    }
}

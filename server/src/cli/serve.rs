//! `strongroom serve`: the daemon in production.

use clap::Args;

use super::{Failure, Place};
use crate::{daemon, logs, process};

/// Serve S3 with the settings of a configuration file
#[derive(Args)]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let config = place.load()?;
        process::enter_environment(&config.hsm.environment)
            .map_err(|error| Failure::other(format!("cannot execute itself: {error}")))?;
        logs::install(&config.log);
        daemon::run(&config, |_| Ok(()))
    }
}

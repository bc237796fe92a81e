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
#[command(after_long_help = SAMPLE)]
pub(super) struct Serve {}

/// Every key of the configuration, for `serve --help`.
const SAMPLE: &str = include_str!("sample.toml");

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::SAMPLE;
    use crate::config::Config;

    /// The sample with its comments made keys, so that each is known and of its type.
    #[test]
    fn the_sample_is_a_valid_configuration_with_every_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("strongroom.toml");
        std::fs::write(&file, SAMPLE).unwrap();
        Config::load(&file).unwrap();
        let uncomment = |line: &str| match line.strip_prefix("# ") {
            Some(key) if key.split(' ').nth(1) == Some("=") || key.starts_with("[[") => {
                key.to_owned()
            }
            _ => line.to_owned(),
        };
        let all: Vec<String> = SAMPLE.lines().map(uncomment).collect();
        std::fs::write(&file, all.join("\n")).unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(config.listen.admin.map(|at| at.port()), Some(9001));
        assert_eq!(config.hsm.active_version, Some(1));
    }
}

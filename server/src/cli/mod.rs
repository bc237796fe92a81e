//! The command line: what each command takes, and what its exit code says.

mod bucket;
mod dev;
mod files;
mod keys;
mod serve;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use strongroom::audit::AuditError;
use strongroom::hsm::HsmError;
use strongroom::keys::{KeyError, MasterKeyError};
use strongroom::vault::VaultError;

use crate::config::{Config, ConfigError};
use crate::process;

/// Encrypted object storage with its master keys in an HSM.
#[derive(Parser)]
#[command(name = "strongroom", version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is; accepted before and after a command's own arguments.
#[derive(clap::Args, Clone)]
pub(crate) struct Place {
    /// A development directory, made by `strongroom dev` [default: ./dev, where a command needs one]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// A configuration file, as for `strongroom serve`
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Seal(files::Seal),
    Open(files::Open),
    Keys(keys::Keys),
    Verify(verify::Verify),
    Bucket(bucket::Bucket),
}

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

/// What an exit code says, in ascending order of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It could not be done.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// Not authentic: damaged, tampered with, or the wrong key.
    NotAuthentic = 3,
    /// A verification found something.
    Findings = 4,
    /// The HSM or a store is away: try again later.
    Unavailable = 5,
}

impl Failure {
    /// A failure of its kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
        }
    }

    /// Exit code 1.
    pub(crate) fn other(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Failed, message)
    }

    /// Exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error.to_string())
    }
}

impl From<HsmError> for Failure {
    fn from(error: HsmError) -> Failure {
        Failure::new(Kind::Unavailable, error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        let kind = match &error {
            KeyError::Unauthentic | KeyError::Hsm(MasterKeyError::Rejected) => Kind::NotAuthentic,
            error if error.is_transient() => Kind::Unavailable,
            _ => Kind::Failed,
        };
        Failure::new(kind, error.to_string())
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        Failure::other(error.to_string())
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Failure {
        let kind = if error.is_transient() {
            Kind::Unavailable
        } else {
            Kind::Failed
        };
        Failure::new(kind, error.to_string())
    }
}

/// Parses the arguments and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Dev(command) => command.run(&cli.place),
        Command::Serve(command) => command.run(&cli.place),
        Command::Seal(command) => command.run(&cli.place),
        Command::Open(command) => command.run(&cli.place),
        Command::Keys(command) => command.run(&cli.place),
        Command::Verify(command) => command.run(&cli.place),
        Command::Bucket(command) => command.run(&cli.place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("strongroom: {failure}");
            }
            ExitCode::from(failure.kind as u8)
        }
    }
}

impl Place {
    /// The settings a command works with: those of --config, of --dir, or of ./dev if it is a
    /// development directory. Enters the environment of the HSM's module and hardens the
    /// process: call it before anything else.
    fn settings(&self) -> Result<Config, Failure> {
        let config = self.named()?;
        process::enter_environment(&config.hsm.environment)
            .map_err(|error| Failure::other(format!("cannot execute itself: {error}")))?;
        process::harden()?;
        Ok(config)
    }

    fn named(&self) -> Result<Config, Failure> {
        if let Some(file) = &self.config {
            return Ok(Config::load(file)?);
        }
        let (dir, given) = match &self.dir {
            Some(dir) => (dir.as_path(), true),
            None => (Path::new(DEFAULT_DIR), false),
        };
        let file = dir.join("strongroom.toml");
        match (file.exists(), given) {
            (true, _) => Ok(Config::load(&file)?),
            (false, true) => Err(Failure::usage(format!(
                "{} is not a development directory: it has no strongroom.toml; `strongroom dev --dir {}` makes one",
                dir.display(),
                dir.display()
            ))),
            (false, false) => Err(Failure::usage(
                "which master key? Give --config FILE or --dir DIR (there is no ./dev here that `strongroom dev` made)",
            )),
        }
    }
}

const DEFAULT_DIR: &str = "dev";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done
  2  wrong arguments or configuration
  3  not authentic: damaged, tampered with, or the wrong key
  4  verify found something
  5  the HSM or a store is not available: try again later
Of several files, the highest code of one of them.";

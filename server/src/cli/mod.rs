//! The command line: what each command takes, and what its exit code says.

mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};

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
    /// A development directory, made by `strongroom dev`
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// A configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
}

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Exit code 1.
    pub(crate) fn other(message: impl Into<String>) -> Failure {
        Failure {
            code: 1,
            message: message.into(),
        }
    }

    /// Exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure {
            code: 2,
            message: message.into(),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error.to_string())
    }
}

/// Parses the arguments and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(command) => command.run(&cli.place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("strongroom: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

impl Place {
    fn load(&self) -> Result<Config, Failure> {
        match (&self.dir, &self.config) {
            (_, Some(file)) => Ok(Config::load(file)?),
            (Some(dir), None) => Ok(Config::load(&dir.join("strongroom.toml"))?),
            (None, None) => Err(Failure::usage("--config FILE or --dir DIR is needed")),
        }
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong use or configuration; \
    3 not authentic, or the wrong key; 4 findings (verify)";

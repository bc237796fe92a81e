//! `strongroom bucket`: what only an operator decides about a bucket.

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, Place};
use crate::control::{self, Control, Request};
use crate::engine::{self, Trail};

/// Decide what only an operator may decide about a bucket
#[derive(Args)]
pub(super) struct Bucket {
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Subcommand)]
enum BucketCommand {
    Plaintext(Plaintext),
}

/// Let a bucket hold plain objects, or let it no longer
///
/// In a bucket that was opened, an object written without encryption headers is authenticated but
/// lies readable on the disk, unless the bucket has a default encryption. No bucket is open unless
/// this command opened it. Closing changes nothing about the objects that are there.
///
/// Works while the daemon serves, by asking it, and while it does not.
#[derive(Args)]
struct Plaintext {
    /// What is to hold from now on
    #[arg(value_enum)]
    decision: Decision,
    /// The bucket
    bucket: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Decision {
    /// Plain objects may be written
    Allow,
    /// Every object is sealed
    Deny,
}

impl Bucket {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let BucketCommand::Plaintext(command) = self.command;
        let config = place.settings()?;
        let request = Request::Plaintext {
            bucket: command.bucket,
            allowed: command.decision == Decision::Allow,
        };
        let answer = match control::ask(&config, &request)? {
            Some(answer) => answer,
            None => {
                let engine = engine::open_vault(&config, Trail::Command)?;
                let control = Control::new(Arc::clone(&engine.vault), engine.trail);
                let who = format!("uid {}", rustix::process::geteuid().as_raw());
                let answer = control.carry_out(&request, &who);
                engine.vault.stop();
                answer
            }
        };
        let said = answer.map_err(Failure::other)?;
        println!("{said}");
        Ok(())
    }
}

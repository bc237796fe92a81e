//! The Strongroom daemon and command line.
//!
//! `strongroom dev` and `strongroom serve` answer the S3 protocol in front of a [`strongroom`]
//! vault; the other commands work on sealed files, keys and stores. Everything asynchronous of
//! the project lives in this crate.

mod admin;
mod alloc;
mod cli;
mod config;
mod control;
mod daemon;
mod engine;
mod files;
mod listener;
mod logs;
mod metrics;
mod policy;
mod process;
mod provision;
mod reload;
mod s3;
mod service;
mod tls;
mod users;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: alloc::Wiping = alloc::Wiping;

fn main() -> ExitCode {
    cli::main()
}

//! Does the time of sealing, opening or deriving keys tell anything of keys or content?
//!
//! `constant_time timing [ROUNDS]` measures each operation of each backend on inputs of two classes
//! that differ in secrets only, and compares the two populations by Welch's t-test (Reparaz,
//! Balasch, Verbauwhede: "Dude, is my code constant time?", 2017).
//!
//! It begins with controls that leak, and fails when these are not caught.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "constant_time/timing.rs"]
mod timing;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fine = match args[..] {
        ["timing"] => timing::run(100_000),
        ["timing", rounds] => timing::run(rounds.parse().expect("a number of rounds")),
        _ => {
            eprintln!("usage: constant_time timing [ROUNDS]");
            return ExitCode::from(2);
        }
    };
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

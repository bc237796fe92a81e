//! Does the time of sealing, opening or deriving keys tell anything of keys or content?
//!
//! `constant_time timing [ROUNDS]` measures each operation of each backend on inputs of two classes
//! that differ in secrets only, and compares the two populations by Welch's t-test (Reparaz,
//! Balasch, Verbauwhede: "Dude, is my code constant time?", 2017).
//!
//! `constant_time taint`, under valgrind, marks secrets as undefined memory and counts the branches and addresses that
//! depend on them (Langley's ctgrind). Valgrind knows AES-NI and AVX2, not AVX-512, and shows a CPU without it: it sees
//! the portable backend and `aesni`.
//!
//! Both begin with controls that leak, and fail when these are not caught.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "constant_time/taint.rs"]
mod taint;
#[path = "constant_time/timing.rs"]
mod timing;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fine = match args[..] {
        ["timing"] => timing::run(100_000),
        ["timing", rounds] => timing::run(rounds.parse().expect("a number of rounds")),
        ["taint"] => taint::run(),
        _ => {
            eprintln!("usage: constant_time timing [ROUNDS] | taint");
            return ExitCode::from(2);
        }
    };
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

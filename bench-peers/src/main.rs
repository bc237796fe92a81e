//! Strongroom beside other libraries: the same work, interleaved in one process, every answer asserted.
//!
//! ```console
//! $ cargo run --release -p bench-peers              # the table
//! $ cargo run --release -p bench-peers -- --json    # the same as a list of rows
//! $ cargo run --release -p bench-peers -- P1 P13    # some targets only
//! $ cargo run --release -p bench-peers -- --quick   # small and short: that it runs, not how fast
//! ```
//!
//! Each row is one target and one peer. The works of a row take turns in short slices, and the fastest slice of each
//! counts: other load on the machine slows all of them, and the fastest slice is the one it disturbed least. Ratios
//! are what to carry to another machine.
//!
//! All works go from one buffer into another, as storage does. A library that only works in place gets a copy first.
#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot run ends, and says where"
)]

mod peers;
mod rounds;
mod rows;
mod work;

use std::process::ExitCode;

use rounds::Effort;
use rows::{Row, print_json, print_table};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let targets: Vec<&str> = work::ALL
        .iter()
        .flat_map(|(ids, ..)| *ids)
        .copied()
        .collect();
    let known = [&["--json", "--quick"], &targets[..]].concat();
    if let Some(unknown) = args.iter().find(|arg| !known.contains(&arg.as_str())) {
        eprintln!("bench-peers: {unknown} is none of {known:?}");
        return ExitCode::FAILURE;
    }
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let effort = if has("--quick") {
        Effort::Quick
    } else {
        Effort::Full
    };
    let wanted = |id: &str| has(id) || !args.iter().any(|arg| arg.starts_with('P'));
    let rows = measure(effort, &wanted);
    if has("--json") {
        print_json(&rows);
    } else {
        print_table(&rows);
    }
    ExitCode::SUCCESS
}

fn measure(effort: Effort, wanted: &dyn Fn(&str) -> bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (ids, name, work) in work::ALL {
        if ids.iter().any(|id| wanted(id)) {
            eprintln!("bench-peers: {name}");
            rows.extend(work(effort));
        }
    }
    rows
}

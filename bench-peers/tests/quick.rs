//! The benchmark beside other libraries still runs, on small data: every work, every assertion, every row.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_target_has_its_rows() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench-peers"))
        .args(["--quick", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |id: &str| rows.iter().filter(|row| row["id"] == id).count();
    for (id, at_least) in [
        ("P1", 12),
        ("P2", 12),
        ("P3", 2),
        ("P4", 3),
        ("P5", 2),
        ("P6", 1),
        ("P7", 3),
        ("P8", 1),
        ("P9", 1),
        ("P13", 7),
        ("P15", 1),
    ] {
        assert!(of(id) >= at_least, "{id}: {} rows", of(id));
    }
    let program = Path::new(env!("CARGO_BIN_EXE_bench-peers")).with_file_name("strongroom");
    for row in &rows {
        for field in ["work", "peer_name", "target"] {
            assert!(row[field].is_string(), "{field} of {row}");
        }
        let measured = row["ours"].as_f64().is_some_and(|ours| ours.is_finite());
        let run = row["holds"] != false || measured;
        // The rows of whole processes need the program, which only `make build` makes.
        let of_program = matches!(row["id"].as_str(), Some("P8" | "P9" | "P15"));
        assert!(run || of_program && !program.exists(), "not run: {row}");
        assert_eq!(row["ratio"].is_number(), row["peer"].is_number(), "{row}");
    }
}

#[test]
fn an_argument_that_it_does_not_know_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench-peers"))
        .arg("--quik")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--quik"));
}

//! Runs a Python test module against the daemon.

use std::path::Path;
use std::process::Command;

/// Runs `module` of `tests/DIRECTORY`; fails with everything it printed, also if it found no test.
pub(crate) fn run(directory: &str, module: &str) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new("python3")
        .args(["-m", "unittest", "-v", module])
        .current_dir(tests.join(directory))
        // Where what all of them share lies.
        .env("PYTHONPATH", tests.join("s3"))
        .env("STRONGROOM", env!("CARGO_BIN_EXE_strongroom"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3: `make test` installs the clients");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    // unittest succeeds when it finds nothing to run.
    assert!(!text.contains("Ran 0 tests"), "{text}");
}

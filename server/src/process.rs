//! What the process does to itself and its files before it touches a secret.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::config::ConfigError;

/// Executes the program once more when the PKCS#11 module needs environment variables that are
/// not set yet. The process id, standard streams and arguments stay. Doing it by `exec` keeps
/// the variables out of the caller's shell and out of any multi-threaded moment of ours.
pub(crate) fn enter_environment(wanted: &BTreeMap<String, String>) -> std::io::Result<()> {
    let is_set = |(name, value): (&String, &String)| {
        std::env::var_os(name).is_some_and(|current| current == value.as_str())
    };
    if wanted.iter().all(is_set) {
        return Ok(());
    }
    let mut command = std::process::Command::new("/proc/self/exe");
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).envs(wanted).exec())
}

/// No core dumps and no debugger of the same user, from here on.
pub(crate) fn harden() -> Result<(), Failure> {
    strongroom::secret::harden_process().map_err(|error| Failure::other(error.to_string()))
}

/// Raises the number of open files to what the kernel allows and returns it.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Reads a small text file that holds a secret; refuses one that every user of the machine can
/// read.
pub(crate) fn read_secret_file(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let fault = |what: String| ConfigError::about(path, what);
    let file = File::open(path).map_err(|error| fault(format!("cannot read it: {error}")))?;
    let facts = file
        .metadata()
        .map_err(|error| fault(format!("cannot read it: {error}")))?;
    if facts.mode() & 0o004 != 0 {
        return Err(fault(format!(
            "it holds a secret and every user of this machine can read it (mode {:04o}): chmod 600",
            facts.mode() & 0o7777
        )));
    }
    // Sized once, so that growing leaves no copy behind.
    let size = usize::try_from(facts.len())
        .unwrap_or(SECRET_FILE_LIMIT)
        .min(SECRET_FILE_LIMIT);
    let mut text = Zeroizing::new(String::with_capacity(size + 1));
    file.take(SECRET_FILE_LIMIT as u64)
        .read_to_string(&mut text)
        .map_err(|error| fault(format!("cannot read it: {error}")))?;
    Ok(text)
}

const SECRET_FILE_LIMIT: usize = 1 << 20;

//! Files that are read again while the daemon runs: the users, and of the settings the keys that
//! clients may name. A file that cannot be used changes nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::s3::AppState;
use crate::users::Users;

/// A file that is read again when it changes.
pub(crate) trait Watched: Send + Sync + 'static {
    /// Reads it again if it is another one than was last seen, or in any case. One that cannot be
    /// used leaves everything as it is, and is told once for each state of the file.
    fn refresh(&self, in_any_case: bool);
}

/// Which state of a file was seen last.
pub(crate) struct Seen(Mutex<Option<Stamp>>);

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    /// The file as it is now. To be asked before it is read: a change in between is seen as one.
    pub(crate) fn of(path: &Path) -> Seen {
        Seen(Mutex::new(Stamp::of(path)))
    }

    /// Whether it is another one by now; once for each.
    pub(crate) fn changed(&self, path: &Path) -> bool {
        let now = Stamp::of(path);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, now) != now
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let facts = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: facts.ino(),
            size: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

/// The settings file. What it says of keys that clients may name holds from its next reading on, for
/// keys that were opened at the start; all else from the next start on.
pub(crate) struct SettingsFile {
    path: PathBuf,
    seen: Seen,
    state: Arc<AppState>,
}

impl SettingsFile {
    pub(crate) fn new(path: &Path, seen: Seen, state: Arc<AppState>) -> SettingsFile {
        SettingsFile {
            path: path.to_owned(),
            seen,
            state,
        }
    }
}

impl Watched for SettingsFile {
    fn refresh(&self, in_any_case: bool) {
        if !self.seen.changed(&self.path) && !in_any_case {
            return;
        }
        let taken = Config::load(&self.path)
            .map_err(|error| error.to_string())
            .and_then(|config| {
                tell_of_nobody(&config, &self.state.users.now());
                let taken = self.state.kms.take(&config, self.state.vault.keyring());
                taken.map_err(|error| error.to_string())
            });
        let file = self.path.display();
        match taken {
            Ok(()) => {
                tracing::info!(%file, "the settings file was read again: [[kms]] holds from now on, the rest from the next start on");
            }
            Err(error) => {
                tracing::error!(%file, error, "the settings file cannot be used: not everything in it holds");
            }
        }
    }
}

/// A key whose users are misspelled is a key that nobody may use.
pub(crate) fn tell_of_nobody(config: &Config, users: &Users) {
    for key in &config.kms {
        for name in key.users.iter().flatten().filter(|name| !users.knows(name)) {
            tracing::warn!(root = key.root, user = %name, "[[kms]] users: the users file has nobody of that name");
        }
    }
}

/// Looks at the files once a second, and reads them again on SIGHUP.
pub(crate) async fn watch(files: Vec<Arc<dyn Watched>>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "no SIGHUP, so no file is watched");
            return;
        }
    };
    let mut tick = tokio::time::interval(LOOK);
    loop {
        let in_any_case = tokio::select! {
            _ = tick.tick() => false,
            _ = hangup.recv() => true,
        };
        for file in &files {
            let file = Arc::clone(file);
            // A panic there ends this look and not the watch.
            let _ = tokio::task::spawn_blocking(move || file.refresh(in_any_case)).await;
        }
    }
}

const LOOK: Duration = Duration::from_secs(1);

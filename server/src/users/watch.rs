//! The users file while the daemon runs: read again when it changes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Users;
use crate::config::ConfigError;

/// The users of now, and the file they came from.
pub(crate) struct UserFile {
    path: PathBuf,
    users: RwLock<Arc<Users>>,
    seen: Mutex<Option<Stamp>>,
}

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl UserFile {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<UserFile, ConfigError> {
        // Before it is read: a change in between is seen as one.
        let seen = Stamp::of(path);
        Ok(UserFile {
            path: path.to_owned(),
            users: RwLock::new(Arc::new(Users::load(path)?)),
            seen: Mutex::new(seen),
        })
    }

    /// The users as they are now.
    pub(crate) fn now(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it is another one than was last seen, or in any case. A file that
    /// cannot be used leaves everything as it is; it is told once for each state of the file.
    pub(crate) fn refresh(&self, in_any_case: bool) {
        let now = Stamp::of(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now && !in_any_case {
            return;
        }
        *seen = now;
        let file = self.path.display();
        match Users::load(&self.path) {
            Ok(users) => {
                tracing::info!(%file, access_keys = users.by_access_key.len(), "the users file was read again");
                *self.users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
            }
            Err(error) => {
                tracing::error!(%error, "the users file cannot be used: the users stay as they were before");
            }
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let facts: Metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            inode: facts.ino(),
            size: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

/// Looks at the file once a second, and reads it again on SIGHUP.
pub(crate) async fn watch(users: Arc<UserFile>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "no SIGHUP, so the users file is not watched");
            return;
        }
    };
    let mut tick = tokio::time::interval(LOOK);
    loop {
        let in_any_case = tokio::select! {
            _ = tick.tick() => false,
            _ = hangup.recv() => true,
        };
        let users = Arc::clone(&users);
        // A panic there ends this look and not the watch.
        let _ = tokio::task::spawn_blocking(move || users.refresh(in_any_case)).await;
    }
}

const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, name: &str) {
        let text = format!(
            "[[user]]\nname='{name}'\naccess_key='AK-{name}'\nsecret_key='0123456789abcdef'\n"
        );
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        write(&path, "a");
        let file = UserFile::open(&path).unwrap();
        let knows = |name: &str| file.now().by_access_key(&format!("AK-{name}")).is_some();
        file.refresh(false);
        assert!(knows("a"));
        write(&path, "bb");
        assert!(knows("a"), "not before it is looked at");
        file.refresh(false);
        assert!(knows("bb") && !knows("a"));
        std::fs::write(&path, "broken").unwrap();
        file.refresh(false);
        file.refresh(true);
        assert!(knows("bb"));
        std::fs::remove_file(&path).unwrap();
        file.refresh(false);
        assert!(knows("bb"));
        write(&path, "c");
        file.refresh(false);
        assert!(knows("c") && !knows("bb"));
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        write(&path, "a");
        let file = UserFile::open(&path).unwrap();
        let before = file.now();
        file.refresh(false);
        assert!(Arc::ptr_eq(&before, &file.now()));
        file.refresh(true);
        assert!(!Arc::ptr_eq(&before, &file.now()));
    }
}

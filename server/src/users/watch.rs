//! The users file while the daemon runs: read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::Users;
use crate::config::ConfigError;
use crate::reload::{Seen, Watched};

/// The users of now, and the file they came from.
pub(crate) struct UserFile {
    path: PathBuf,
    users: RwLock<Arc<Users>>,
    seen: Seen,
}

impl UserFile {
    /// Reads the file.
    pub(crate) fn open(path: &Path) -> Result<UserFile, ConfigError> {
        // Before it is read: a change in between is seen as one.
        let seen = Seen::of(path);
        Ok(UserFile {
            path: path.to_owned(),
            users: RwLock::new(Arc::new(Users::load(path)?)),
            seen,
        })
    }

    /// The users as they are now.
    pub(crate) fn now(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watched for UserFile {
    fn refresh(&self, in_any_case: bool) {
        if !self.seen.changed(&self.path) && !in_any_case {
            return;
        }
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

//! Directories that are still there after a power cut, and the lock that keeps a second writer out.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StoreError;

/// Makes a directory and its missing ancestors, for the owner alone, and makes the names durable; also the name of
/// one that is there already, since whoever made it may have been killed before its sync.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Full`].
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| {
        StoreError::from_io(&format!("make directory {}", path.display()), &error)
    };
    let parent = parent_of(path);
    if path.is_dir() {
        return match File::open(parent) {
            // We could not have made anything in there.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            _ => sync_dir(parent),
        };
    }
    make_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(failed)?,
    }
    sync_dir(parent)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::from_io(&format!("fsync of {}", path.display()), &error))
}

/// The directory a path lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// The right to write to what a lock file stands for; given back on drop, and by the kernel when the process ends.
#[derive(Debug)]
pub struct StoreLock {
    // Held for its lock (flock(2)) alone.
    _file: File,
    path: PathBuf,
}

impl StoreLock {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with the process that holds it; [`StoreError::Io`].
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        make_dir(parent_of(path))?;
        let failed =
            |error: &io::Error| StoreError::from_io(&format!("lock {}", path.display()), error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable(format!(
                    "{} is locked by {}; a running daemon, or a command that writes, holds it: stop that one, or \
                     have the daemon do the work",
                    path.display(),
                    holder(&mut file),
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // For the message above only; the lock itself is the kernel's.
        let note = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(|error| failed(&error))?;
        Ok(Self {
            _file: file,
            path: path.to_owned(),
        })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn holder(file: &mut File) -> String {
    let mut note = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(64).read_to_string(&mut note));
    match (read, note.trim()) {
        (Ok(_), note) if !note.is_empty() => note.to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_file_and_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/lock");
        let held = StoreLock::take(&path).unwrap();
        let refused = StoreLock::take(&path).unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(
            text.contains(&format!("process {}", std::process::id())),
            "{text}"
        );
        drop(held);
        StoreLock::take(&path).unwrap();
    }
}

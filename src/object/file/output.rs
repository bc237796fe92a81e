//! A file that appears under its name whole, or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{FileError, io_error};

/// A file without a name until [`appear`](Self::appear). Where the file system knows no nameless files it has a
/// temporary one beside the target, which goes with this value.
pub(super) struct Output {
    file: File,
    target: PathBuf,
    temporary: Option<PathBuf>,
    force: bool,
    next: AtomicU64,
}

impl Output {
    pub(super) fn create(target: &Path, mode: u32, force: bool) -> Result<Self, FileError> {
        match fs::symlink_metadata(target) {
            Ok(meta) if !meta.is_file() && !meta.is_symlink() => {
                return Err(FileError::NotAFile(target.to_owned()));
            }
            Ok(_) if !force => return Err(FileError::Exists(target.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("creating", Some(target))(error));
            }
            _ => {}
        }
        let (file, temporary) =
            nameless_or_temporary(target, mode).map_err(io_error("creating", Some(target)))?;
        Ok(Self {
            file,
            target: target.to_owned(),
            temporary,
            force,
            next: AtomicU64::new(0),
        })
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(io_error("writing", Some(&self.target)))
    }

    /// Writes behind what was written so before.
    pub(super) fn write_next(&self, bytes: &[u8]) -> Result<(), FileError> {
        let offset = self.next.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.write_at(bytes, offset)
    }

    /// Gives the file its name; durably if `sync`.
    pub(super) fn appear(mut self, sync: bool) -> Result<(), FileError> {
        let target = self.target.clone();
        let error = io_error("writing", Some(&target));
        if sync {
            self.file.sync_all().map_err(&error)?;
        }
        let result = if self.force {
            self.replace()
        } else {
            self.link(&target).and_then(|()| self.forget_temporary())
        };
        match result {
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
                return Err(FileError::Exists(self.target.clone()));
            }
            result => result.map_err(&error)?,
        }
        if sync {
            let synced = File::open(directory(&self.target)).and_then(|dir| dir.sync_all());
            if synced.is_err() && !self.force {
                // It may not be there after a power cut, so it is not to be there now.
                let _ = fs::remove_file(&self.target);
            }
            synced.map_err(&error)?;
        }
        Ok(())
    }

    /// As where nameless files are unknown.
    #[cfg(test)]
    pub(super) fn with_temporary(mut self) -> io::Result<Self> {
        let (file, path) = temporary(&self.target, Mode::from_raw_mode(0o600))?;
        self.file = file;
        self.temporary = Some(path);
        Ok(self)
    }

    fn replace(&mut self) -> io::Result<()> {
        let temporary = match self.temporary.clone() {
            Some(path) => path,
            None => {
                let path = temporary_name(&self.target)?;
                self.link(&path)?;
                self.temporary.insert(path).clone()
            }
        };
        fs::rename(temporary, &self.target)?;
        self.temporary = None;
        Ok(())
    }

    /// Fails if `path` exists.
    fn link(&self, path: &Path) -> io::Result<()> {
        match &self.temporary {
            Some(temporary) => fs::hard_link(temporary, path),
            None => {
                let this = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                Ok(rustix::fs::linkat(
                    CWD,
                    this,
                    CWD,
                    path,
                    AtFlags::SYMLINK_FOLLOW,
                )?)
            }
        }
    }

    fn forget_temporary(&mut self) -> io::Result<()> {
        self.temporary.take().map_or(Ok(()), fs::remove_file)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Nothing is left to tell the error to; the name says what the file is.
        let _ = self.forget_temporary();
    }
}

fn nameless_or_temporary(target: &Path, mode: u32) -> io::Result<(File, Option<PathBuf>)> {
    let mode = Mode::from_raw_mode(mode);
    // Without /proc a nameless file could not be given a name.
    if Path::new("/proc/self/fd").exists() {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(directory(target), flags, mode) {
            return Ok((file.into(), None));
        }
    }
    let (file, path) = temporary(target, mode)?;
    Ok((file, Some(path)))
}

fn temporary(target: &Path, mode: Mode) -> io::Result<(File, PathBuf)> {
    let path = temporary_name(target)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, mode)?;
    Ok((file.into(), path))
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("output")));
    name.push(format!(".{:016x}.partial", u64::from_le_bytes(random)));
    Ok(target.with_file_name(name))
}

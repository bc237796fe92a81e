//! Blobs as files: each under its final name from the first byte, in one of 256 directories.
//!
//! There is no rename and no temporary name: an id is never used twice, and nobody looks for a blob before a catalog
//! commit names it. A file that was left unfinished is an orphan for the sweeper.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::id::BlobId;

use super::dirs::{make_dir, sync_dir};
use super::{BlobReader, BlobRef, BlobStore, BlobWriter, Locator, StoreError, SyncMeter, shard_of};

/// Blobs as files below one directory: `DIR/3f/0102…`, the directory being the first random byte of the id.
#[derive(Debug)]
pub struct FileBlobs {
    shards: Vec<Arc<Shard>>,
    meter: Arc<SyncMeter>,
}

impl FileBlobs {
    /// Opens the store in `dir`; makes it and its 256 directories where they are missing. Keeps the directories
    /// open: 256 file descriptors.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Full`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Arc::default())
    }

    /// The same, with a meter of the caller's.
    ///
    /// # Errors
    /// As [`FileBlobs::open`].
    pub fn open_with(dir: &Path, meter: Arc<SyncMeter>) -> Result<Self, StoreError> {
        make_dir(dir)?;
        let shards = (0..=u8::MAX)
            .map(|number| Shard::open(dir.join(format!("{number:02x}"))).map(Arc::new))
            .collect::<Result<_, _>>()?;
        // Once for all 256 names.
        sync_dir(dir)?;
        Ok(Self { shards, meter })
    }

    /// The meter that its fsync calls pass.
    #[must_use]
    pub fn meter(&self) -> &Arc<SyncMeter> {
        &self.meter
    }

    fn shard(&self, number: u8) -> &Arc<Shard> {
        &self.shards[usize::from(number)]
    }
}

impl BlobStore for FileBlobs {
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobWriter>, StoreError> {
        let shard = Arc::clone(self.shard(shard_of(id)));
        shard.check()?;
        let path = shard.path.join(id.to_string());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::from_io(&format!("create {}", path.display()), &error))?;
        Ok(Box::new(FileWriter {
            file,
            path,
            shard,
            meter: Arc::clone(&self.meter),
            len: 0,
            state: State::Open,
        }))
    }

    fn open(&self, blob: &BlobRef) -> Result<Box<dyn BlobReader>, StoreError> {
        if !matches!(blob.locator, Locator::File | Locator::Archive) {
            return Err(StoreError::Unsupported(format!(
                "blob {} is not a file of its own: {:?}",
                blob.id, blob.locator
            )));
        }
        let path = self.shard(shard_of(blob.id)).path.join(blob.id.to_string());
        let failed =
            |error: io::Error| StoreError::from_io(&format!("open {}", path.display()), &error);
        let file = File::open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len != blob.sealed_len {
            return Err(StoreError::Damaged(format!(
                "{} has {len} bytes instead of {}",
                path.display(),
                blob.sealed_len
            )));
        }
        Ok(Box::new(FileReader { file, path, len }))
    }

    fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        let path = self.shard(shard_of(id)).path.join(id.to_string());
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::from_io(
                &format!("remove {}", path.display()),
                &error,
            )),
        }
    }

    fn list(&self, shard: u8) -> Result<Vec<BlobId>, StoreError> {
        let path = &self.shard(shard).path;
        let failed =
            |error: io::Error| StoreError::from_io(&format!("list {}", path.display()), &error);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            // A name that is not an id is not ours: left alone.
            ids.extend(
                entry
                    .map_err(failed)?
                    .file_name()
                    .to_str()
                    .and_then(parse_id),
            );
        }
        ids.retain(|id| shard_of(*id) == shard);
        ids.sort_unstable();
        Ok(ids)
    }
}

/// A file being written, as a writer needs it.
trait Sink: io::Write + Send {
    fn sync_data(&self) -> io::Result<()>;
}

impl Sink for File {
    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
}

struct FileWriter<F: Sink> {
    file: F,
    path: PathBuf,
    shard: Arc<Shard>,
    meter: Arc<SyncMeter>,
    len: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A write failed: what the file holds is unknown.
    Lost,
    Finished,
}

impl<F: Sink> BlobWriter for FileWriter<F> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        // Goes on after EINTR and after a short write.
        self.file.write_all(bytes).map_err(|error| {
            self.state = State::Lost;
            StoreError::from_io(&format!("write {}", self.path.display()), &error)
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        self.check()?;
        self.meter
            .pass(1)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| sync_failed(&self.path, &error))?;
        self.shard.make_names_durable(&self.meter)?;
        self.state = State::Finished;
        Ok(self.len)
    }
}

impl<F: Sink> FileWriter<F> {
    fn check(&self) -> Result<(), StoreError> {
        match self.state {
            State::Open => Ok(()),
            _ => Err(StoreError::Io(format!(
                "{}: an earlier write failed",
                self.path.display()
            ))),
        }
    }
}

impl<F: Sink> Drop for FileWriter<F> {
    fn drop(&mut self) {
        if self.state != State::Finished {
            // If this fails too, the sweeper finds the file: nothing names it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

struct FileReader<F> {
    file: F,
    path: PathBuf,
    len: u64,
}

impl<F: FileExt + Send + Sync> BlobReader for FileReader<F> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, StoreError> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self
                .file
                .read_at(rest, offset.saturating_add(filled as u64))
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = format!("read {}", self.path.display());
                    return Err(StoreError::from_io(&what, &error));
                }
            }
        }
        Ok(filled)
    }
}

/// One of the 256 directories. Writers that finish at the same time share its fsync calls.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    directory: File,
    syncs: Mutex<Syncs>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    started: u64,
    ended: u64,
    /// After a failed fsync the kernel may have dropped names and forgotten that it did.
    failed: bool,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        let directory = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| File::open(&path))
            .map_err(|error| StoreError::from_io(&format!("open {}", path.display()), &error))?;
        Ok(Self {
            path,
            directory,
            syncs: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.lock().failed {
            Err(self.failure())
        } else {
            Ok(())
        }
    }

    /// Returns once an fsync that began after this call has ended well; one caller at a time issues it.
    fn make_names_durable(&self, meter: &SyncMeter) -> Result<(), StoreError> {
        let mut syncs = self.lock();
        let wanted = syncs.started + 1;
        loop {
            if syncs.failed {
                return Err(self.failure());
            }
            if syncs.ended >= wanted {
                return Ok(());
            }
            if syncs.started > syncs.ended {
                syncs = self
                    .ended
                    .wait(syncs)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            syncs.started += 1;
            drop(syncs);
            let result = meter.pass(1).and_then(|()| self.directory.sync_all());
            syncs = self.lock();
            syncs.ended = syncs.started;
            syncs.failed = result.is_err();
            self.ended.notify_all();
            result.map_err(|error| sync_failed(&self.path, &error))?;
        }
    }

    fn failure(&self) -> StoreError {
        StoreError::WritePathEnded(format!("an fsync of {} failed before", self.path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, Syncs> {
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_failed(path: &Path, error: &io::Error) -> StoreError {
    let text = format!("fsync of {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::WritePathEnded(text),
    }
}

/// Reads the 32 lower-case hexadecimal digits of a blob's name.
fn parse_id(name: &str) -> Option<BlobId> {
    if name.len() != 32
        || name
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || byte == b'+')
    {
        return None;
    }
    Some(BlobId(u128::from_str_radix(name, 16).ok()?.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::io::Write as _;

    use super::*;

    /// What the next call does instead of all it was asked for.
    #[derive(Clone, Copy)]
    enum Turn {
        /// Takes or gives this many bytes at most.
        Short(usize),
        Fails(io::ErrorKind),
    }

    /// A file whose calls go as scripted; past the end of the script, well.
    struct Scripted {
        file: File,
        turns: Mutex<VecDeque<Turn>>,
        sync: Option<io::ErrorKind>,
    }

    impl Scripted {
        fn turn(&self, length: usize) -> io::Result<usize> {
            match self.turns.lock().unwrap().pop_front() {
                Some(Turn::Short(most)) => Ok(length.min(most)),
                Some(Turn::Fails(kind)) => Err(kind.into()),
                None => Ok(length),
            }
        }
    }

    impl io::Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.turn(bytes.len())?;
            self.file.write(&bytes[..count])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Scripted {
        fn sync_data(&self) -> io::Result<()> {
            self.sync.map_or(Ok(()), |kind| Err(kind.into()))
        }
    }

    impl FileExt for Scripted {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let count = self.turn(buf.len())?;
            self.file.read_at(&mut buf[..count], offset)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    const ID: BlobId = BlobId([5; 16]);

    struct Scene {
        dir: tempfile::TempDir,
        blobs: FileBlobs,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let blobs = FileBlobs::open(dir.path()).unwrap();
            Self { dir, blobs }
        }

        fn writer(&self, turns: &[Turn], sync: Option<io::ErrorKind>) -> Box<FileWriter<Scripted>> {
            let path = self.dir.path().join("05").join(ID.to_string());
            let turns = Mutex::new(turns.iter().copied().collect());
            Box::new(FileWriter {
                file: Scripted {
                    file: File::create_new(&path).unwrap(),
                    turns,
                    sync,
                },
                path,
                shard: Arc::clone(self.blobs.shard(5)),
                meter: Arc::default(),
                len: 0,
                state: State::Open,
            })
        }
    }

    #[test]
    fn a_write_goes_on_after_a_signal_and_after_a_part_of_it() {
        let scene = Scene::new();
        let interrupted = Turn::Fails(io::ErrorKind::Interrupted);
        let turns = [interrupted, Turn::Short(3), interrupted, Turn::Short(1)];
        let mut writer = scene.writer(&turns, None);
        writer.append(b"in several pieces").unwrap();
        assert_eq!(writer.finish().unwrap(), 17);
        let path = scene.dir.path().join("05").join(ID.to_string());
        assert_eq!(std::fs::read(path).unwrap(), b"in several pieces");
    }

    #[test]
    fn a_full_disk_is_full_and_leaves_nothing_of_the_blob() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let scene = Scene::new();
            let mut writer = scene.writer(&[Turn::Short(4), Turn::Fails(kind)], None);
            let full = writer.append(b"too much");
            assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
            // What the file holds is not known: nothing more goes into it, even with room again.
            assert!(matches!(writer.append(b"more"), Err(StoreError::Io(_))));
            assert!(matches!(writer.finish(), Err(StoreError::Io(_))));
            assert!(scene.blobs.list(5).unwrap().is_empty());
            let mut next = scene.blobs.create(ID).unwrap();
            next.append(b"with room again").unwrap();
            assert_eq!(next.finish().unwrap(), 15);
        }
    }

    #[test]
    fn a_disk_that_is_full_at_the_sync_is_full_and_any_other_failure_of_it_ends_the_blob() {
        for (kind, full) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::Other, false),
        ] {
            let scene = Scene::new();
            let mut writer = scene.writer(&[], Some(kind));
            writer.append(b"bytes").unwrap();
            match writer.finish() {
                Err(StoreError::Full(_)) => assert!(full),
                Err(StoreError::WritePathEnded(_)) => assert!(!full),
                other => panic!("{other:?}"),
            }
            assert!(scene.blobs.list(5).unwrap().is_empty());
        }
    }

    #[test]
    fn a_read_goes_on_after_a_signal_and_after_a_part_of_it_and_says_what_failed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let turns = [
            Turn::Fails(io::ErrorKind::Interrupted),
            Turn::Short(2),
            Turn::Fails(io::ErrorKind::Interrupted),
            Turn::Short(3),
        ];
        let reader = |turns: &[Turn]| FileReader {
            file: Scripted {
                file: file.try_clone().unwrap(),
                turns: Mutex::new(turns.iter().copied().collect()),
                sync: None,
            },
            path: PathBuf::from("blob"),
            len: 10,
        };
        let mut buf = [0; 20];
        assert_eq!(reader(&turns).read_at(1, &mut buf).unwrap(), 9);
        assert_eq!(&buf[..9], b"123456789");
        let failing = reader(&[Turn::Short(2), Turn::Fails(io::ErrorKind::Other)]);
        let failed = failing.read_at(0, &mut buf);
        assert!(matches!(failed, Err(StoreError::Io(_))), "{failed:?}");
    }
}

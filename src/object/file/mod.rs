//! Sealed files: one object in one file that opens with the token alone, or with a key file, without any database (F-95).
//!
//! Between two regular files every core seals or opens batches of its own and writes them where they belong. From or to
//! a pipe, one thread reads, one seals or opens, one writes. What a path names appears whole or not at all.

mod output;
mod pipeline;
mod positioned;
mod prologue;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use self::output::Output;
use self::prologue::Prologue;
use super::error::ObjectError;
use super::sealer::BlobSealer;
use super::stream_opener::StreamOpener;
use crate::format::{FormatError, HEADER_LEN, Suite};
use crate::id::{BucketId, InstanceId};
use crate::keys::{
    BucketKey, Context, DataKey, KeyError, Keyring, Mode, Purpose, RecordState, Request,
};
use crate::secret::Secret;

/// What sealed files are sealed under and opened with.
pub struct FileKeys<'k>(Under<'k>);

enum Under<'k> {
    /// The bucket key record of this run, made when the first file is sealed.
    Master {
        keyring: &'k Keyring,
        principal: &'k str,
        run: Mutex<Option<Vec<u8>>>,
    },
    KeyFile(BucketKey),
}

/// Where the input of one file comes from.
pub enum Source<'a> {
    /// A file, or anything else that can be opened for reading.
    Path(&'a Path),
    /// A stream, read once to its end.
    Stream(&'a mut (dyn Read + Send)),
}

/// Where the output of one file goes.
pub enum Target<'a> {
    /// A file that appears whole, or not at all.
    Path(&'a Path),
    /// A stream. Opening releases verified segments as they come: what was written is authentic, but whole only if the
    /// call succeeds.
    Stream(&'a mut (dyn Write + Send)),
}

/// How files are sealed and opened.
#[derive(Clone, Copy)]
pub struct FileOptions<'a> {
    /// Replace what the output path names. Off by default.
    pub force: bool,
    /// Make an output file durable (fsync of the file, then of its directory) before it appears. On by default.
    pub sync: bool,
    /// Suite that files are sealed under; suite 0 is refused (F-99).
    pub suite: Suite,
    /// Called with the number of input bytes done since the last call, from any thread.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl FileOptions<'_> {
    fn report(&self, bytes: usize) {
        if let Some(progress) = self.progress {
            progress(bytes as u64);
        }
    }
}

impl Default for FileOptions<'_> {
    fn default() -> Self {
        Self {
            force: false,
            sync: true,
            suite: Suite::Cbc64Gmac,
            progress: None,
        }
    }
}

/// What was sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Bytes of plaintext.
    pub plain_len: u64,
    /// Bytes of the sealed file.
    pub sealed_len: u64,
}

/// One file of a batch.
#[derive(Debug, Clone)]
pub struct Job {
    /// Input path.
    pub from: PathBuf,
    /// Output path.
    pub to: PathBuf,
}

/// Why a file was not sealed or opened. There is no output then, except what had gone to a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Reading or writing failed.
    #[error("{what} {name}: {source}", name = .path.as_deref().unwrap_or(Path::new("the stream")).display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file, if it was not a stream.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The output path is taken.
    #[error("{} exists: choose another output, or force it to be replaced", .0.display())]
    Exists(PathBuf),
    /// The output path names something that cannot be replaced by a file.
    #[error("{} is not a regular file: write to it as a stream", .0.display())]
    NotAFile(PathBuf),
    /// The input got shorter or longer meanwhile.
    #[error("{} changed while it was read: try again when nothing writes to it", .0.display())]
    Changed(PathBuf),
    /// A sealed file under the token was to be opened with a key file.
    #[error("this file is sealed under a master key: open it with the token, not with a key file")]
    NeedsMasterKey,
    /// A sealed file under a key file was to be opened with the token.
    #[error("this file is sealed under a key file: give that key file")]
    NeedsKeyFile,
    /// The key would not seal or open it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is not a sealed file that this build reads, or it is not authentic.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl From<FormatError> for FileError {
    fn from(error: FormatError) -> Self {
        Self::Object(error.into())
    }
}

impl<'k> FileKeys<'k> {
    /// Under the keyring's master keys (mode 1). One bucket key is made for all files sealed through this value (F-96),
    /// by one HSM operation per root. `principal` is who does it, for the audit trail.
    pub fn master(keyring: &'k Keyring, principal: &'k str) -> Self {
        Self(Under::Master {
            keyring,
            principal,
            run: Mutex::new(None),
        })
    }

    /// Under the 32 bytes of a key file (mode 5): no HSM takes part, who has the key file opens the files (F-97).
    pub fn key_file(key: Secret<32>) -> FileKeys<'static> {
        FileKeys(Under::KeyFile(BucketKey::from_key_file(key)))
    }

    /// A fresh data key, and the prologue that carries it.
    fn create(&self) -> Result<(DataKey, Prologue), FileError> {
        let instance = InstanceId::random().map_err(KeyError::from)?;
        let (mode, bucket_record, held): (_, _, Arc<BucketKey>);
        let bucket_key = match &self.0 {
            Under::Master {
                keyring,
                principal,
                run,
            } => {
                let record = run_record(keyring, principal, run)?;
                held = bucket_key(keyring, principal, &record, Purpose::Wrap)?;
                (mode, bucket_record) = (Mode::Managed, record);
                &held
            }
            Under::KeyFile(key) => {
                (mode, bucket_record) = (Mode::KeyFile, Vec::new());
                key
            }
        };
        let key = bucket_key.new_data_key()?;
        let record = bucket_key.wrap_data_key(
            &key,
            &context(mode, bucket_key.bucket(), instance),
            None,
            RecordState::NoManifest,
            [0; 32],
        )?;
        Ok((
            key,
            Prologue {
                bucket_record,
                instance,
                record,
            },
        ))
    }

    /// The data key of a file with this prologue.
    fn open(&self, prologue: &Prologue) -> Result<DataKey, FileError> {
        let (mode, held): (_, Arc<BucketKey>);
        let bucket_key = match &self.0 {
            Under::Master {
                keyring, principal, ..
            } => {
                let record = &prologue.bucket_record;
                if record.is_empty() {
                    return Err(FileError::NeedsKeyFile);
                }
                held = bucket_key(keyring, principal, record, Purpose::Unwrap)?;
                mode = Mode::Managed;
                &held
            }
            Under::KeyFile(key) => {
                if !prologue.bucket_record.is_empty() {
                    return Err(FileError::NeedsMasterKey);
                }
                mode = Mode::KeyFile;
                key
            }
        };
        let context = context(mode, bucket_key.bucket(), prologue.instance);
        let (key, _) = bucket_key.unwrap_data_key(&prologue.record, &context, None)?;
        Ok(key)
    }
}

fn bucket_key(
    keyring: &Keyring,
    principal: &str,
    record: &[u8],
    purpose: Purpose,
) -> Result<Arc<BucketKey>, KeyError> {
    let request = Request {
        principal,
        ..Request::new(purpose)
    };
    keyring.bucket_key_for(record, &request)
}

fn run_record(
    keyring: &Keyring,
    principal: &str,
    run: &Mutex<Option<Vec<u8>>>,
) -> Result<Vec<u8>, KeyError> {
    let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(record) = &*run {
        return Ok(record.clone());
    }
    let record = keyring.create_bucket_key(BucketId::random()?, 1, principal)?;
    Ok(run.insert(record).clone())
}

fn context(mode: Mode, bucket: BucketId, instance: InstanceId) -> Context<'static> {
    Context {
        mode,
        bucket,
        instance,
        object_key: &[],
        kms_key_id: &[],
        encryption_context: &[],
    }
}

/// Seals one file or stream into another.
///
/// # Errors
/// See [`FileError`]; a path that `to` names is then as it was.
pub fn seal_file(
    keys: &FileKeys<'_>,
    from: Source<'_>,
    to: Target<'_>,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    if options.suite == Suite::PlainGmac {
        return Err(FormatError::Unsupported("sealed files are of suite 1 or 2, not 0").into());
    }
    with_ends(from, to, options, |input, output| {
        let (key, prologue) = keys.create()?;
        let prologue = prologue.encode();
        match (input, output) {
            (Input::File(input), OutputEnd::File(output)) => {
                positioned::seal(&key, &prologue, &input, output, options)
            }
            (input, mut output) => {
                output.write(&prologue)?;
                let sealer = BlobSealer::new(&key, options.suite, 0)?;
                let mut summary = pipeline::seal(sealer, input, output, options)?;
                summary.sealed_len += prologue.len() as u64;
                Ok(summary)
            }
        }
    })
}

/// Opens one sealed file or stream into another.
///
/// # Errors
/// See [`FileError`]; a path that `to` names is then as it was.
pub fn open_file(
    keys: &FileKeys<'_>,
    from: Source<'_>,
    to: Target<'_>,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    with_ends(from, to, options, |mut input, output| {
        let prologue = Prologue::read(&mut input)?;
        let key = keys.open(&prologue)?;
        let start = prologue.len();
        match (input, output) {
            (Input::File(input), OutputEnd::File(output)) => {
                positioned::open(&key, start, &input, output, options)
            }
            (mut input, output) => {
                let mut header = [0; HEADER_LEN];
                if input.fill(&mut header)? < HEADER_LEN {
                    return Err(FormatError::Malformed("the file ends before its blob").into());
                }
                let opener = StreamOpener::new(&key, &header)?;
                if opener.header().part != 0 || opener.header().suite == Suite::PlainGmac {
                    return Err(NOT_OF_A_FILE.into());
                }
                let mut summary = pipeline::open(opener, input, output, options)?;
                summary.sealed_len += start + HEADER_LEN as u64;
                Ok(summary)
            }
        }
    })
}

/// Seals many files. Small ones go side by side over all cores; of the others each has all cores for itself. The results
/// are in the order of the jobs; one that fails stops no other.
pub fn seal_many(
    keys: &FileKeys<'_>,
    jobs: &[Job],
    options: &FileOptions<'_>,
) -> Vec<Result<FileSummary, FileError>> {
    many(jobs, |job| {
        seal_file(
            keys,
            Source::Path(&job.from),
            Target::Path(&job.to),
            options,
        )
    })
}

/// Opens many files, as [`seal_many`].
pub fn open_many(
    keys: &FileKeys<'_>,
    jobs: &[Job],
    options: &FileOptions<'_>,
) -> Vec<Result<FileSummary, FileError>> {
    many(jobs, |job| {
        open_file(
            keys,
            Source::Path(&job.from),
            Target::Path(&job.to),
            options,
        )
    })
}

fn many(
    jobs: &[Job],
    one: impl Fn(&Job) -> Result<FileSummary, FileError> + Sync,
) -> Vec<Result<FileSummary, FileError>> {
    let is_small = |job: &Job| {
        job.from
            .metadata()
            .is_ok_and(|meta| meta.len() <= SMALL_FILE)
    };
    let small: Vec<bool> = jobs.par_iter().map(is_small).collect();
    let side_by_side: Vec<_> = jobs
        .par_iter()
        .zip(&small)
        .map(|(job, small)| small.then(|| one(job)))
        .collect();
    jobs.iter()
        .zip(side_by_side)
        .map(|(job, done)| done.unwrap_or_else(|| one(job)))
        .collect()
}

/// Opens both ends, runs `work` and lets the output appear.
fn with_ends(
    from: Source<'_>,
    to: Target<'_>,
    options: &FileOptions<'_>,
    work: impl FnOnce(Input<'_>, OutputEnd<'_>) -> Result<FileSummary, FileError>,
) -> Result<FileSummary, FileError> {
    let input = Input::new(from)?;
    match to {
        Target::Stream(stream) => {
            let summary = work(input, OutputEnd::Stream(stream))?;
            Ok(summary)
        }
        Target::Path(path) => {
            let output = Output::create(path, input.mode(), options.force)?;
            let summary = work(input, OutputEnd::File(&output))?;
            output.appear(options.sync)?;
            Ok(summary)
        }
    }
}

/// A regular file of known length.
struct InputFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl InputFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), FileError> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => FileError::Changed(self.path.clone()),
                _ => io_error("reading", Some(&self.path))(error),
            })
    }

    fn expect_unchanged(&self) -> Result<(), FileError> {
        let meta = self.file.metadata();
        let len = meta.map_err(io_error("reading", Some(&self.path)))?.len();
        if len == self.len {
            return Ok(());
        }
        Err(FileError::Changed(self.path.clone()))
    }
}

enum Input<'a> {
    File(InputFile),
    /// A pipe, a device, or a file that says it is empty (as those of /proc do).
    Opened(File, PathBuf),
    Stream(&'a mut (dyn Read + Send)),
}

impl<'a> Input<'a> {
    fn new(from: Source<'a>) -> Result<Self, FileError> {
        let path = match from {
            Source::Stream(stream) => return Ok(Self::Stream(stream)),
            Source::Path(path) => path,
        };
        let file = File::open(path).map_err(io_error("opening", Some(path)))?;
        let meta = file.metadata().map_err(io_error("reading", Some(path)))?;
        let path = path.to_owned();
        if meta.is_file() && meta.len() > 0 {
            let len = meta.len();
            return Ok(Self::File(InputFile { file, path, len }));
        }
        Ok(Self::Opened(file, path))
    }

    /// Permissions for the output: those of an input file; those of a new file otherwise.
    fn mode(&self) -> u32 {
        let file = match self {
            Self::File(input) => &input.file,
            Self::Opened(file, _) => file,
            Self::Stream(_) => return NEW_FILE,
        };
        match file.metadata() {
            Ok(meta) if meta.is_file() => meta.mode() & 0o777 | 0o200,
            _ => NEW_FILE,
        }
    }

    /// Reads until `buf` is full or the input ends.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, FileError> {
        match self {
            Self::File(InputFile { file, path, .. }) | Self::Opened(file, path) => {
                super::adapters::fill(file, buf).map_err(io_error("reading", Some(path)))
            }
            Self::Stream(stream) => {
                super::adapters::fill(*stream, buf).map_err(io_error("reading", None))
            }
        }
    }
}

enum OutputEnd<'a> {
    File(&'a Output),
    Stream(&'a mut (dyn Write + Send)),
}

impl OutputEnd<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match self {
            Self::File(output) => output.write_next(bytes),
            Self::Stream(stream) => stream.write_all(bytes).map_err(io_error("writing", None)),
        }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Stream(stream) => stream.flush().map_err(io_error("writing", None)),
        }
    }
}

fn io_error<'p>(
    what: &'static str,
    path: Option<&'p Path>,
) -> impl Fn(io::Error) -> FileError + 'p {
    move |source| FileError::Io {
        what,
        path: path.map(Path::to_owned),
        source,
    }
}

const NOT_OF_A_FILE: FormatError =
    FormatError::Malformed("the blob of a sealed file is of part 0 and not of suite 0");
/// Files up to this size are sealed and opened by one thread each.
const SMALL_FILE: u64 = 1 << 20;
const NEW_FILE: u32 = 0o666;

#[cfg(test)]
mod tests;

//! `strongroom seal` and `strongroom open`: sealed files, one by one, in batches and in pipes.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use strongroom::keys::{KeyError, Keyring};
use strongroom::object::{
    FileError, FileKeys, FileOptions, FileSummary, Job, ObjectError, Source, Target, open_file,
    open_many, seal_file, seal_many,
};
use strongroom::secret::Secret;
use zeroize::Zeroize;

use super::{Failure, Kind, Place};
use crate::config::Sealing;
use crate::engine::{self, Trail};
use crate::process;

/// Seal files under the master key, or under a key file
///
/// FILE becomes FILE.sealed beside it; the input stays. `-` reads standard input and writes
/// standard output:
///
///   mysqldump shop | strongroom seal - > shop.sql.sealed
///
/// A sealed file carries its wrapped key: it opens with the HSM's master key alone, no database
/// is needed. With --key-file no HSM takes part: who has that file opens what it sealed.
///
/// An output appears whole under its name or not at all, and is on disk when the command ends.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Seal {
    #[command(flatten)]
    common: Common,
    /// Suite to seal under; opening finds it in the file
    #[arg(long, value_enum, default_value_t)]
    suite: Sealing,
}

/// Open sealed files
///
/// FILE.sealed becomes FILE beside it; other names want -o. `-` reads standard input and writes
/// standard output:
///
///   strongroom open - < shop.sql.sealed | mysql shop
///
/// Nothing is written that was not authenticated first. In a pipe, what was written is authentic,
/// but it is whole only if the command ends with exit code 0.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Open {
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// Files, or `-` alone for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Output of one input; `-` is standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// A file with a key of 32 raw bytes, or of their base64, instead of the master key
    #[arg(long, value_name = "KEY")]
    key_file: Option<PathBuf>,
    /// Replace outputs that exist
    #[arg(long)]
    force: bool,
    /// Do not wait until outputs are on disk: faster, and a power cut may lose them
    #[arg(long)]
    no_sync: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Seal,
    Open,
}

impl Seal {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        self.common.run(place, Way::Seal, self.suite)
    }
}

impl Open {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        self.common.run(place, Way::Open, Sealing::default())
    }
}

impl Common {
    fn run(&self, place: &Place, way: Way, suite: Sealing) -> Result<(), Failure> {
        let plan = self.plan(way)?;
        if let Some(file) = &self.key_file {
            process::harden()?;
            let keys = FileKeys::key_file(read_key(file)?);
            return self.work(&keys, plan, way, suite);
        }
        let config = place.settings()?;
        let keyring: Keyring = engine::open_keyring(&config, Trail::Command)?;
        let keys = FileKeys::master(&keyring, USER);
        self.work(&keys, plan, way, suite)
    }

    /// Which input goes where; refuses what cannot be meant, before any key is touched.
    fn plan(&self, way: Way) -> Result<Plan, Failure> {
        let one = self.files.len() == 1;
        if !one && self.output.is_some() {
            return Err(Failure::usage(
                "-o names the output of one input: give one FILE",
            ));
        }
        if !one && self.files.iter().any(|file| is_dash(file)) {
            return Err(Failure::usage(
                "`-` (standard input) must be the only input",
            ));
        }
        let to_stdout = match &self.output {
            Some(output) => is_dash(output),
            None => self.files.iter().any(|file| is_dash(file)),
        };
        if to_stdout && way == Way::Seal && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "a sealed file is binary and standard output is a terminal: redirect it, or use -o",
            ));
        }
        if let [file] = self.files.as_slice()
            && (to_stdout || is_dash(file))
        {
            let to = if to_stdout { None } else { self.output.clone() };
            let from = if is_dash(file) {
                None
            } else {
                Some(file.clone())
            };
            return Ok(Plan::Stream { from, to });
        }
        let jobs = self.files.iter().map(|from| {
            let to = match &self.output {
                Some(output) => output.clone(),
                None => output_of(from, way)?,
            };
            Ok(Job {
                from: from.clone(),
                to,
            })
        });
        Ok(Plan::Files(jobs.collect::<Result<_, Failure>>()?))
    }

    fn work(
        &self,
        keys: &FileKeys<'_>,
        plan: Plan,
        way: Way,
        suite: Sealing,
    ) -> Result<(), Failure> {
        let bar = progress_bar(&plan);
        let report = |bytes| bar.inc(bytes);
        let options = FileOptions {
            force: self.force,
            sync: !self.no_sync,
            suite: suite.into(),
            progress: Some(&report),
        };
        let failures = match plan {
            Plan::Stream { from, to } => {
                let done = stream(keys, from.as_deref(), to.as_deref(), way, &options);
                let name = from.unwrap_or_else(|| "-".into());
                done.err().map(|error| (name, error)).into_iter().collect()
            }
            Plan::Files(jobs) => {
                let done = match way {
                    Way::Seal => seal_many(keys, &jobs, &options),
                    Way::Open => open_many(keys, &jobs, &options),
                };
                let failed = |(job, done): (Job, Result<FileSummary, FileError>)| {
                    Some((job.from, done.err()?))
                };
                jobs.into_iter()
                    .zip(done)
                    .filter_map(failed)
                    .collect::<Vec<_>>()
            }
        };
        bar.finish_and_clear();
        summary(failures)
    }
}

/// What is to be done.
enum Plan {
    /// One input, of which one end at least is a standard stream (`None`).
    Stream {
        from: Option<PathBuf>,
        to: Option<PathBuf>,
    },
    /// Files into files.
    Files(Vec<Job>),
}

fn stream(
    keys: &FileKeys<'_>,
    from: Option<&Path>,
    to: Option<&Path>,
    way: Way,
    options: &FileOptions<'_>,
) -> Result<FileSummary, FileError> {
    let (mut stdin, mut stdout) = (io::stdin(), io::stdout());
    let source = match from {
        Some(path) => Source::Path(path),
        None => Source::Stream(&mut stdin),
    };
    let target = match to {
        Some(path) => Target::Path(path),
        None => Target::Stream(&mut stdout),
    };
    let done = match way {
        Way::Seal => seal_file(keys, source, target, options),
        Way::Open => open_file(keys, source, target, options),
    }?;
    stdout.flush().map_err(|source| FileError::Io {
        what: "writing",
        path: None,
        source,
    })?;
    Ok(done)
}

/// Says what failed, each on a line, and makes the exit code.
fn summary(failures: Vec<(PathBuf, FileError)>) -> Result<(), Failure> {
    let Some(kind) = failures.iter().map(|(_, error)| kind_of(error)).max() else {
        return Ok(());
    };
    let lines: Vec<String> = failures
        .iter()
        .map(|(name, error)| {
            let (name, text) = (name.display().to_string(), error.to_string());
            let advice = match kind_of(error) {
                Kind::NotAuthentic => {
                    ": damaged, cut off, tampered with, or sealed under another key"
                }
                _ => "",
            };
            if text.contains(&name) {
                format!("{text}{advice}")
            } else {
                format!("{name}: {text}{advice}")
            }
        })
        .collect();
    Err(Failure::new(kind, lines.join("\nstrongroom: ")))
}

fn kind_of(error: &FileError) -> Kind {
    match error {
        FileError::Object(ObjectError::Format(_))
        | FileError::Key(KeyError::Unauthentic | KeyError::Malformed(_)) => Kind::NotAuthentic,
        FileError::Key(error) => Failure::from(error.clone()).kind,
        FileError::NeedsKeyFile | FileError::NeedsMasterKey => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn output_of(from: &Path, way: Way) -> Result<PathBuf, Failure> {
    match way {
        Way::Seal => {
            let mut name = from.as_os_str().to_owned();
            name.push(SUFFIX);
            Ok(name.into())
        }
        Way::Open => {
            let name = from.as_os_str().as_encoded_bytes();
            match name.strip_suffix(SUFFIX.as_bytes()) {
                Some(stem) if !stem.is_empty() && !stem.ends_with(b"/") => {
                    Ok(from.with_extension(""))
                }
                _ => Err(Failure::usage(format!(
                    "{}: its name does not end in {SUFFIX}, so say with -o where the output goes",
                    from.display()
                ))),
            }
        }
    }
}

/// Reads a key file into locked memory: 32 raw bytes, or base64 of 32 bytes.
fn read_key(path: &Path) -> Result<Secret<32>, Failure> {
    let fault = |what: String| Failure::usage(format!("key file {}: {what}", path.display()));
    let mut file = std::fs::File::open(path).map_err(|error| fault(error.to_string()))?;
    let mut bytes = [0; 80];
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(error.to_string())),
        }
    }
    let mut key = [0; 32];
    let found = parse_key(&bytes[..length], &mut key);
    bytes.zeroize();
    if !found {
        return Err(fault(
            "it must hold 32 raw bytes, or the base64 of 32 bytes".into(),
        ));
    }
    Secret::take(&mut key).map_err(|error| Failure::other(error.to_string()))
}

fn parse_key(bytes: &[u8], key: &mut [u8; 32]) -> bool {
    if bytes.len() == key.len() {
        key.copy_from_slice(bytes);
        return true;
    }
    let text = bytes.trim_ascii();
    // The decoder wants room for whole groups.
    let mut decoded = [0; 36];
    let found = [&STANDARD, &STANDARD_NO_PAD].into_iter().any(|codec| {
        let whole = codec.decode_slice(text, &mut decoded);
        matches!(whole, Ok(32))
    });
    if found {
        key.copy_from_slice(&decoded[..32]);
    }
    decoded.zeroize();
    found
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(plan: &Plan) -> ProgressBar {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
    let total = match plan {
        Plan::Stream { from, .. } => from.as_deref().map(size),
        Plan::Files(jobs) => Some(jobs.iter().map(|job| size(&job.from)).sum()),
    };
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {bytes}  {bytes_per_sec}",
        ),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What `seal` appends and `open` takes away.
const SUFFIX: &str = ".sealed";

/// Who acts, for the audit trail.
const USER: &str = "command line";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outputs_are_named_by_the_suffix_alone() {
        let name = |from: &str, way| {
            output_of(Path::new(from), way).map(|path| path.display().to_string())
        };
        assert_eq!(name("a.tar.gz", Way::Seal).unwrap(), "a.tar.gz.sealed");
        assert_eq!(name("d/a.tar.gz.sealed", Way::Open).unwrap(), "d/a.tar.gz");
        for wrong in ["a.tar.gz", ".sealed", "d/.sealed"] {
            assert_eq!(
                name(wrong, Way::Open).unwrap_err().kind,
                Kind::Usage,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_key_is_32_raw_bytes_or_their_base64() {
        let mut key = [0; 32];
        let raw: Vec<u8> = (0..32).map(|byte| byte ^ 0xa5).collect();
        for text in [
            raw.clone(),
            STANDARD.encode(&raw).into_bytes(),
            format!("{}\n", STANDARD.encode(&raw)).into_bytes(),
            STANDARD_NO_PAD.encode(&raw).into_bytes(),
        ] {
            key.fill(0);
            assert!(parse_key(&text, &mut key));
            assert_eq!(key.as_slice(), raw);
        }
        for wrong in [
            &raw[..31],
            b"",
            STANDARD.encode(&raw[..31]).as_bytes(),
            STANDARD.encode([0; 33]).as_bytes(),
            &[b'!'; 44],
        ] {
            assert!(!parse_key(wrong, &mut key));
        }
    }
}

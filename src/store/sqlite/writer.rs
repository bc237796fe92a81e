//! The one thread that writes to a file: it takes what waits, makes one transaction of it, syncs once, answers all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::in_file;
use crate::store::{CommitError, DeleteBucketError, StoreError, SyncMeter};

/// An error a request may end with, and the store error in it, if it is one.
pub(super) trait Refusal: From<StoreError> + Send + 'static {
    fn store(&self) -> Option<&StoreError>;
}

impl Refusal for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl Refusal for CommitError {
    fn store(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

impl Refusal for DeleteBucketError {
    fn store(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

/// The handle on the thread. Dropping it lets the thread finish what waits, and joins it.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        path: &Path,
        meter: Arc<SyncMeter>,
    ) -> Result<Self, StoreError> {
        let (queue, waiting) = channel();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let group = Group {
            connection,
            meter,
            path: path.to_owned(),
            log: PathBuf::from(log),
            ended: None,
        };
        let thread = std::thread::Builder::new()
            .name("strongroom-sqlite".to_owned())
            .spawn(move || group.run(&waiting))
            .map_err(|error| StoreError::Unavailable(format!("start a writer thread: {error}")))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            path: path.to_owned(),
        })
    }

    /// Has `work` done in a savepoint of its own and waits until that is durable; an `Err` undoes it.
    /// With `purge` also until what it deleted has left the log.
    pub(super) fn run<T, E>(
        &self,
        purge: bool,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Refusal,
    {
        let (answer, result) = sync_channel(1);
        let job = Job {
            purge,
            work: Box::new(move |connection| {
                let never = || Err(StoreError::Unavailable("never begun".to_owned()).into());
                let result = connection.map_or_else(never, work);
                Done {
                    keep: result.is_ok(),
                    failed: result.as_ref().err().and_then(Refusal::store).cloned(),
                    answer: Box::new(move |end| {
                        // Whoever asked waits below.
                        let _ = answer.send(end.map_err(E::from).and(result));
                    }),
                }
            }),
        };
        let gone = || {
            E::from(StoreError::OutcomeUnknown(format!(
                "{}: the writer thread is gone; restart",
                self.path.display()
            )))
        };
        self.queue
            .as_ref()
            .and_then(|queue| queue.send(job).ok())
            .ok_or_else(gone)?;
        result.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It has answered or dropped every request; a panic in it was reported to them.
            let _ = thread.join();
        }
    }
}

/// One request. Its work gets the connection; or none, where it will be answered with an error.
struct Job {
    purge: bool,
    work: Work,
}

/// A request whose work is done and whose caller waits for the commit.
struct Done {
    keep: bool,
    failed: Option<StoreError>,
    answer: Answer,
}

type Work = Box<dyn FnOnce(Option<&Connection>) -> Done + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The state of the thread.
struct Group {
    connection: Connection,
    meter: Arc<SyncMeter>,
    path: PathBuf,
    log: PathBuf,
    /// Why nothing is written any more.
    ended: Option<String>,
}

impl Group {
    fn run(mut self, waiting: &Receiver<Job>) {
        let (mut expected, mut patience) = (1, Duration::ZERO);
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(MAX_BATCH - 1));
            // The callers of a group come back one after another. Without a moment's patience the first of them
            // would take a sync for himself and leave the others to the next. Who comes alone does not wait.
            let end = Instant::now() + patience;
            while batch.len() < expected {
                let left = end.saturating_duration_since(Instant::now());
                match waiting.recv_timeout(left) {
                    Ok(job) => batch.push(job),
                    Err(_) => break,
                }
            }
            expected = batch.len();
            let began = Instant::now();
            self.serve(batch);
            patience = (began.elapsed() / 8).min(MAX_PATIENCE);
        }
    }

    fn serve(&mut self, batch: Vec<Job>) {
        if let Some(why) = &self.ended {
            for job in batch {
                let error = StoreError::WritePathEnded(why.clone());
                ((job.work)(None).answer)(Err(error));
            }
            return;
        }
        let mut answers = Vec::with_capacity(batch.len());
        let outcome = self.transaction(batch, &mut answers);
        if let Err(error) = outcome {
            let error = self.after_failure(error);
            answers
                .into_iter()
                .for_each(|(_, answer)| answer(Err(error.clone())));
            return;
        }
        let (purging, plain): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(purge, _)| *purge);
        plain.into_iter().for_each(|(_, answer)| answer(Ok(())));
        if !purging.is_empty() {
            let outcome = self.empty_log();
            purging
                .into_iter()
                .for_each(|(_, answer)| answer(outcome.clone()));
        } else if std::fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_BYTES) {
            // Nobody waits for it. Readers may keep part of the log busy; the next one goes on.
            let _ = self.checkpoint("PASSIVE");
        }
    }

    /// Does all the work and commits. Every job has left an answer behind, also on an error.
    fn transaction(
        &self,
        batch: Vec<Job>,
        answers: &mut Vec<(bool, Answer)>,
    ) -> Result<(), StoreError> {
        let db = &self.connection;
        let mut outcome = self.statement("BEGIN IMMEDIATE");
        let mut changed = false;
        for job in batch {
            if outcome.is_ok() {
                outcome = self.statement("SAVEPOINT request");
            }
            let changes = db.total_changes();
            // After a failure the rest is not begun; the same error goes to all.
            let done = (job.work)(outcome.is_ok().then_some(db));
            if outcome.is_ok() {
                outcome = self.settle(&done);
                changed |= done.keep && db.total_changes() != changes;
            }
            answers.push((job.purge, done.answer));
        }
        outcome?;
        if changed {
            self.meter
                .pass(1)
                .map_err(|error| StoreError::from_io("commit", &error))?;
        }
        self.statement("COMMIT")
    }

    fn settle(&self, done: &Done) -> Result<(), StoreError> {
        match &done.failed {
            Some(error @ (StoreError::Io(_) | StoreError::Full(_))) => return Err(error.clone()),
            // SQLite has rolled the whole transaction back.
            Some(error) if self.connection.is_autocommit() => return Err(error.clone()),
            _ => {}
        }
        if !done.keep {
            self.statement("ROLLBACK TO request")?;
        }
        self.statement("RELEASE request")
    }

    /// What a failed transaction means, for all who waited for it and for those to come.
    fn after_failure(&mut self, error: StoreError) -> StoreError {
        if !self.connection.is_autocommit() {
            // On failure the connection is unusable, and the next BEGIN says so.
            let _ = self.statement("ROLLBACK");
        }
        match error {
            StoreError::Io(text) => {
                // The kernel may have dropped what it could not write and call the next fsync good.
                self.ended = Some(format!("{}: {text}", self.path.display()));
                StoreError::OutcomeUnknown(format!("{}: {text}", self.path.display()))
            }
            other => in_file(&self.path, other),
        }
    }

    /// Moves the log into the database and makes it empty; waits for readers in between.
    fn empty_log(&mut self) -> Result<(), StoreError> {
        let end = Instant::now() + CHECKPOINT_PATIENCE;
        loop {
            if self.checkpoint("TRUNCATE")? {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(StoreError::OutcomeUnknown(format!(
                    "{}: deleted, but readers keep the log from being emptied: try again",
                    self.path.display()
                )));
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// `false`: something is in the way.
    fn checkpoint(&mut self, mode: &str) -> Result<bool, StoreError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let result = self
            .meter
            .pass(2)
            .map_err(|error| StoreError::from_io("checkpoint", &error))
            .and_then(|()| {
                // Readers are gone in a moment: rather ask again than sleep as long as SQLite would.
                self.connection.busy_timeout(Duration::ZERO)?;
                let busy: rusqlite::Result<i64> =
                    self.connection.query_row(&sql, [], |row| row.get(0));
                self.connection.busy_timeout(BUSY_PATIENCE)?;
                Ok(busy? == 0)
            });
        match result {
            // A locked table is an answer too, not a failure.
            Err(StoreError::Unavailable(_)) => Ok(false),
            result => result.map_err(|error| self.after_failure(error)),
        }
    }

    fn statement(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self
            .connection
            .prepare_cached(sql)?
            .execute([])
            .map(|_| ())?)
    }
}

/// Requests in one transaction at most.
const MAX_BATCH: usize = 512;
/// How long a group waits for the callers of the last one, at most.
const MAX_PATIENCE: Duration = Duration::from_millis(2);
/// A log longer than this is moved into the database.
const LOG_BYTES: u64 = 4 << 20;
/// How long a statement waits for a lock that another process holds.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_millis(250);
/// How long a shred waits for readers.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(5);

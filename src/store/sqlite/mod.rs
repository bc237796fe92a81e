//! SQLite files: one writer thread with group commit, a few read connections, a checksum in every row.
//!
//! Settings: WAL with `synchronous=FULL`, so that an acknowledged commit is in a synced log; `trusted_schema=OFF`,
//! `cell_size_check=ON`, defensive mode; no memory mapping. Checkpoints are the writer thread's, not SQLite's own,
//! because SQLite ignores the errors of those it makes by itself.

mod catalog;
mod codec;
mod error;
mod keys;
mod row;
mod writer;

#[cfg(feature = "conformance")]
pub use catalog::Seed;
pub use catalog::SqliteCatalog;
pub use keys::SqliteKeys;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::dirs::{make_dir, parent_of, sync_dir};
use super::{StoreError, StoreLock, SyncMeter};
use writer::{BUSY_PATIENCE, Refusal, Writer};

/// How to open a SQLite store.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Number of read connections; at least 1.
    pub readers: usize,
    /// Opened beside a process that writes: takes no lock and refuses every write.
    pub read_only: bool,
    /// The meter its commits and checkpoints pass.
    pub meter: Arc<SyncMeter>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            read_only: false,
            meter: Arc::default(),
        }
    }
}

/// What a kind of store keeps in its file.
struct Schema {
    /// `PRAGMA application_id`: tells the files of one kind from all others.
    application: i32,
    /// `PRAGMA user_version`.
    version: i32,
    /// Word for it in messages.
    name: &'static str,
    /// Statements that make version `version`.
    create: &'static str,
    /// Whether deleted bytes are overwritten.
    secure_delete: bool,
    /// All its tables.
    tables: &'static [&'static row::Table],
    /// Fills a new file.
    first: fn(&Connection) -> Result<(), StoreError>,
}

/// An open file.
#[derive(Debug)]
struct Database {
    // Dropped first: the writer's connection is the last to close and takes the log with it.
    readers: Readers,
    /// Snapshots taken so far.
    reads: AtomicU64,
    writer: Option<Writer>,
    path: PathBuf,
    // Dropped last.
    _lock: Option<StoreLock>,
}

impl Database {
    fn open(path: &Path, options: &SqliteOptions, schema: &Schema) -> Result<Self, StoreError> {
        let (lock, writer) = if options.read_only {
            (None, None)
        } else {
            make_dir(parent_of(path))?;
            let lock = StoreLock::take(&lock_path(path))?;
            let connection = open_to_write(path, schema)?;
            let writer = Writer::start(connection, path, Arc::clone(&options.meter))?;
            (Some(lock), Some(writer))
        };
        let readers = (0..options.readers.max(1))
            .map(|_| open_to_read(path, options.read_only, schema))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            readers: Readers {
                idle: Mutex::new(readers),
                returned: Condvar::new(),
            },
            reads: AtomicU64::new(0),
            writer,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Runs `work` on one snapshot.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let reader = self.readers.take();
        let run = || {
            let snapshot = reader.connection()?.unchecked_transaction()?;
            let value = work(&snapshot)?;
            snapshot.commit()?;
            Ok(value)
        };
        run().map_err(|error| error::in_file(&self.path, error))
    }

    /// Runs `work` in a transaction of the writer thread, alone or with its neighbours; durable on return.
    fn write<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Refusal,
    {
        self.writer()?.run(false, work)
    }

    /// The same; and what it deletes has left the database file and its log on return.
    fn purge<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer()?.run(true, work)
    }

    /// SQLite's own check of every page and index, and the checksum of every row.
    fn check(&self, schema: &Schema) -> Result<(), StoreError> {
        self.read(|db| {
            let verdict: String =
                db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if verdict != "ok" {
                return Err(StoreError::Damaged(verdict));
            }
            schema
                .tables
                .iter()
                .try_for_each(|table| table.visit(db, "", [], |_| Ok(true)))
        })
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.as_ref().ok_or_else(|| {
            StoreError::Unavailable(format!("{} was opened for reading", self.path.display()))
        })
    }
}

/// The lock file of a database: beside it, with `.lock` added to its name.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn open_to_write(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    // A new file is made here for its mode, which SQLite copies to the log and the index of the log. One that is
    // there is not touched: to close any handle on it would end the locks of every connection of this process.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let what = format!("make {}", path.display());
            return Err(StoreError::from_io(&what, &error));
        }
        _ => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let prepare = || {
        let connection = Connection::open_with_flags(path, flags)?;
        settle(&connection)?;
        let version = version_of(&connection, schema)?;
        switch_to_log(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "secure_delete", schema.secure_delete)?;
        if version == 0 {
            let making = connection.unchecked_transaction()?;
            making.execute_batch(schema.create)?;
            (schema.first)(&making)?;
            making.pragma_update(None, "application_id", schema.application)?;
            making.pragma_update(None, "user_version", schema.version)?;
            making.commit()?;
        }
        Ok(connection)
    };
    let connection = prepare().map_err(|error| error::in_file(path, error))?;
    sync_dir(parent_of(path))?;
    Ok(connection)
}

/// Switches to the write-ahead log. SQLite names the new mode in a row and commits the switch only when the statement is
/// stepped past that row: who stops there takes a switch whose fsync failed for done, and writes on without a log.
fn switch_to_log(connection: &Connection) -> Result<(), StoreError> {
    let mut switch = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = switch.query([])?;
    let mut mode = String::new();
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    if mode == "wal" {
        return Ok(());
    }
    Err(StoreError::Io(format!(
        "the journal mode stays {mode:?}: no switch to the log"
    )))
}

fn open_to_read(path: &Path, outside: bool, schema: &Schema) -> Result<Connection, StoreError> {
    // Beside another process the connection must not make the last checkpoint when it closes.
    let access = if outside {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let prepare = || {
        let connection =
            Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        settle(&connection)?;
        if version_of(&connection, schema)? == 0 {
            return Err(StoreError::Unavailable("not set up yet".to_owned()));
        }
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    prepare().map_err(|error| error::in_file(path, error))
}

fn settle(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// The schema version of the file, 0 for a new one.
fn version_of(connection: &Connection, schema: &Schema) -> Result<i32, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    match (application, version) {
        (0, 0) => {
            let tables: i64 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                return Ok(0);
            }
        }
        (application, version) if application == schema.application => {
            if version == schema.version {
                return Ok(version);
            }
            return Err(StoreError::Unsupported(format!(
                "a {} of schema version {version}; this release knows version {}: use the release that wrote it",
                schema.name, schema.version
            )));
        }
        _ => {}
    }
    Err(StoreError::Unsupported(format!(
        "the file is not a {}",
        schema.name
    )))
}

/// Connections that only read, each used by one caller at a time.
#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    fn take(&self) -> Reader<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = idle.pop() {
                return Reader {
                    connection: Some(connection),
                    pool: self,
                };
            }
            idle = self
                .returned
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One of them, given back on drop.
struct Reader<'p> {
    connection: Option<Connection>,
    pool: &'p Readers,
}

impl Reader<'_> {
    fn connection(&self) -> Result<&Connection, StoreError> {
        let gone = || StoreError::Unavailable("the read connection is gone".to_owned());
        self.connection.as_ref().ok_or_else(gone)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut idle = self
            .pool
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
        drop(idle);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::row::{Table, blob, int};
    use super::*;

    const ROWS: Table = Table::new("rows", 1, &["number", "bytes"]);
    const SCHEMA: Schema = Schema {
        application: 1,
        version: 1,
        name: "test",
        create: "CREATE TABLE rows (number INTEGER PRIMARY KEY, bytes BLOB, sum INTEGER)",
        secure_delete: false,
        tables: &[&ROWS],
        first: |_| Ok(()),
    };

    fn add(database: &Database, number: u64, length: usize) -> Result<bool, StoreError> {
        database.write(move |db| ROWS.add(db, &[int(number)?, blob(&vec![7; length])]))
    }

    #[test]
    fn no_room_is_full_changes_nothing_and_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let database = Database::open(&path, &SqliteOptions::default(), &SCHEMA).unwrap();
        // A limit on pages ends in SQLITE_FULL, as a full disk does.
        let limit = |pages: i64| {
            database.write(move |db| {
                Ok::<_, StoreError>(db.pragma_update(None, "max_page_count", pages)?)
            })
        };
        limit(50).unwrap();
        assert_eq!(add(&database, 1, 100), Ok(true));
        assert!(matches!(
            add(&database, 2, 1 << 20),
            Err(StoreError::Full(_))
        ));
        let count = || database.read(|db| ROWS.all(db, "", [], |row| row.number::<u64>(0)));
        assert_eq!(count(), Ok(vec![1]));
        limit(1 << 20).unwrap();
        assert_eq!(add(&database, 2, 1 << 20), Ok(true));
        assert_eq!(count(), Ok(vec![1, 2]));
    }

    #[test]
    fn a_log_that_grew_long_is_moved_into_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let database = Database::open(&path, &SqliteOptions::default(), &SCHEMA).unwrap();
        for number in 0..40 {
            add(&database, number, 1 << 20).unwrap();
        }
        let log = std::fs::metadata(dir.path().join("test.db-wal"))
            .unwrap()
            .len();
        assert!(log < 16 << 20, "{log} bytes of log");
    }

    #[test]
    fn a_panic_in_the_writer_is_an_error_to_its_callers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.db");
        let database = Database::open(&path, &SqliteOptions::default(), &SCHEMA).unwrap();
        let panicked = database.write(|_| -> Result<(), StoreError> { panic!("on purpose") });
        assert!(matches!(panicked, Err(StoreError::OutcomeUnknown(_))));
        assert!(matches!(
            add(&database, 1, 1),
            Err(StoreError::OutcomeUnknown(_))
        ));
    }
}

//! Starting a vault: which stores these are, and what was left undone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use super::budget::Budget;
use super::debts::Debts;
use super::maintain::NONE;
use super::{
    CONTROL_RING, CONTROL_RING_GENERATION, Counts, ReadOnly, Stores, Vault, VaultConfig,
    VaultError, now_ms,
};
use crate::format::SEGMENT_LEN;
use crate::keys::Keyring;
use crate::store::{
    BlobStore, FileBlobs, SqliteCatalog, SqliteKeys, SqliteOptions, StoreError, SyncMeter,
};

/// Where the embedded stores lie. They may be on different disks, and for the promise that any two of data, keys and
/// token open nothing, should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePaths {
    /// Directory of the sealed blobs.
    pub blobs: PathBuf,
    /// Directory of the sealed blobs of archived objects, if there is an archive: a slower disk, say.
    pub archive: Option<PathBuf>,
    /// File of the key store.
    pub keys: PathBuf,
    /// File of the catalog.
    pub catalog: PathBuf,
}

impl StorePaths {
    /// All below one directory: `blobs/`, `archive/`, `keys.db`, `catalog.db`.
    #[must_use]
    pub fn below(dir: &Path) -> Self {
        Self {
            blobs: dir.join("blobs"),
            archive: Some(dir.join("archive")),
            keys: dir.join("keys.db"),
            catalog: dir.join("catalog.db"),
        }
    }
}

impl Stores {
    /// Opens the embedded stores, or makes them. One process at a time: each SQLite file is locked.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] while another process has them, and for what the file system answers.
    pub fn open(paths: &StorePaths) -> Result<Self, VaultError> {
        Self::open_metered(paths, &Arc::default())
    }

    /// The same; `meter` sees every fsync.
    ///
    /// # Errors
    /// As [`Stores::open`].
    pub fn open_metered(paths: &StorePaths, meter: &Arc<SyncMeter>) -> Result<Self, VaultError> {
        Self::open_with(
            paths,
            &SqliteOptions {
                meter: Arc::clone(meter),
                ..SqliteOptions::default()
            },
        )
    }

    /// Opens the embedded stores for reading, beside a process that writes them.
    ///
    /// # Errors
    /// As [`Stores::open`].
    pub fn open_to_read(paths: &StorePaths) -> Result<Self, VaultError> {
        Self::open_with(
            paths,
            &SqliteOptions {
                read_only: true,
                ..SqliteOptions::default()
            },
        )
    }

    fn open_with(paths: &StorePaths, options: &SqliteOptions) -> Result<Self, VaultError> {
        let files = |dir: &Path| -> Result<Arc<dyn BlobStore>, StoreError> {
            Ok(Arc::new(FileBlobs::open_with(
                dir,
                Arc::clone(&options.meter),
            )?))
        };
        Ok(Self {
            keys: Arc::new(SqliteKeys::open_with(&paths.keys, options)?),
            catalog: Arc::new(SqliteCatalog::open_with(&paths.catalog, options)?),
            blobs: files(&paths.blobs)?,
            archive: paths.archive.as_deref().map(files).transpose()?,
        })
    }
}

impl Vault {
    /// A vault that only reads, beside the one that writes: it registers nowhere and changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a configuration that cannot work.
    pub fn start_to_read(
        stores: Stores,
        keyring: impl Into<Arc<Keyring>>,
        config: VaultConfig,
    ) -> Result<Arc<Self>, VaultError> {
        let vault = Self::new(stores, keyring, config)?;
        vault.set_read_only(ReadOnly::ForReading);
        Ok(vault)
    }

    /// Starts a vault: compares the stores with each other, registers as a writer, and shreds what a crash left to be
    /// shredded. It then serves; [`Vault::spawn_maintenance`] does the rest in the background.
    ///
    /// With a key store older than the catalog has seen, it starts, reads what it can, and writes and collects nothing:
    /// see [`Vault::read_only_reason`].
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] and the like from stores and HSM; [`VaultError::Invalid`] for a configuration that
    /// cannot work.
    pub fn start(
        stores: Stores,
        keyring: impl Into<Arc<Keyring>>,
        config: VaultConfig,
    ) -> Result<Arc<Self>, VaultError> {
        let vault = Self::new(stores, keyring, config)?;
        vault.watch_key_store()?;
        if vault.read_only_reason().is_some() {
            return Ok(vault);
        }
        vault.stores.keys.advance_epoch()?;
        vault.watch_key_store()?;
        vault.make_control_ring()?;
        let catalog = &vault.stores.catalog;
        let incarnation = catalog.register(&vault.config.node, now_ms(), vault.lease_ms())?;
        vault.incarnation.store(incarnation, Ordering::Release);
        vault.shred_garbage()?;
        Ok(vault)
    }

    fn new(
        stores: Stores,
        keyring: impl Into<Arc<Keyring>>,
        config: VaultConfig,
    ) -> Result<Arc<Self>, VaultError> {
        check(&config)?;
        let streams = config.memory / 4 * 3;
        Ok(Arc::new(Self {
            stores,
            keyring: keyring.into(),
            incarnation: AtomicU64::new(NONE),
            read_only: RwLock::new(None),
            shredded: Mutex::new(HashSet::new()),
            debts: Debts::default(),
            reading: Arc::default(),
            swept: AtomicBool::new(false),
            streams: Budget::new(streams),
            work: Budget::new(config.memory - streams),
            counts: Counts::default(),
            background: Mutex::new(None),
            config,
        }))
    }

    /// The key that authenticates the states of master key versions (F-73): made once for each key store.
    fn make_control_ring(&self) -> Result<(), VaultError> {
        let keys = &self.stores.keys;
        let there = || {
            keys.fetch_bucket(CONTROL_RING, CONTROL_RING_GENERATION)
                .map(|view| view.bucket_key.is_some())
        };
        if there()? {
            return Ok(());
        }
        let record = self
            .keyring
            .create_control_ring(CONTROL_RING_GENERATION, "start")
            .map_err(|error| self.bucket_key_error("(control ring)", error))?;
        match keys.insert_bucket_key(CONTROL_RING, CONTROL_RING_GENERATION, &record) {
            Err(StoreError::Exists(_)) if there()? => Ok(()), // by another node, just now
            result => Ok(result?),
        }
    }
}

fn check(config: &VaultConfig) -> Result<(), VaultError> {
    let invalid = |text: &str| Err(VaultError::Invalid(text.to_owned()));
    if config.batch < SEGMENT_LEN {
        return invalid("the batch size is less than one segment of 64 KiB");
    }
    if config.memory / 4 < config.batch * 4 {
        return invalid(
            "the memory budget has no room for the batches of four streams: give it 16 batches",
        );
    }
    if config.lease.is_zero() {
        return invalid("a lease of no time ends before it begins");
    }
    Ok(())
}

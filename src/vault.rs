//! The second door: objects in buckets, over stores of the engine's own. Layer 4.
//!
//! A [`Vault`] joins a keyring to its stores: sealed blobs, key records, and the catalog. The catalog alone says what
//! exists; the key store alone says what can be opened; so no operation needs two of them to change at one instant, and
//! the order in which they change is all that durability rests on. It is written down in `put` and `delete`.
//!
//! Reading and writing go through handles, [`PutStream`] and [`ObjectReader`]: each of their calls is bounded work (one
//! batch of CPU and disk) and none waits for a network, so that an asynchronous caller hands them to a pool of threads
//! batch by batch, and a slow client holds no thread.
//!
//! What is cached is unwrapped keys, for minutes, in locked memory; never a right. Every request reads from the stores
//! whether it may use a key, and streams in flight look again every few seconds.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::format::Suite;
use crate::id::BucketId;
use crate::keys::Keyring;
use crate::store::{BlobStore, Catalog, KeyStore, KeyStoreSeen};

mod archive;
mod bucket;
mod budget;
mod complete;
mod copy;
mod debts;
mod delete;
mod draft;
mod error;
mod find;
mod in_bucket;
mod kms;
mod layout;
mod list;
mod maintain;
mod part;
mod part_attrs;
mod plaintext;
mod protect;
mod put;
mod read;
mod reading;
mod rewrap;
mod rights;
mod source;
mod start;
mod types;
mod upload;
mod verify;
mod verify_uploads;

#[cfg(test)]
mod tests;

pub use crate::store::{
    Bucket, Judged, Marker, Place, Precondition, Versioning, Which, after_prefix,
};
pub use archive::Transfer;
pub use complete::CompleteRequest;
pub use delete::Deleted;
pub use error::VaultError;
pub use in_bucket::InBucket;
pub use list::{
    ListRequest, ListedItem, ListedObject, ListedVersion, Listing, VersionEntry, VersionItem,
    VersionListing, VersionsRequest,
};
pub use part::{PartInfo, PartRequest, PartStream};
pub use put::PutStream;
pub use read::ObjectReader;
pub use start::StorePaths;
pub use types::{
    CommitRequest, Committed, Counters, FactsChange, Finding, Maintenance, ObjectInfo, OpenRequest,
    PartSpan, Protection, PutRequest, Rewrapped, Stat, VerifyReport,
};
pub use upload::{ExpiredUploads, UploadInfo, UploadItem, UploadListing, UploadsRequest};

use budget::Budget;
use debts::Debts;
use maintain::{Background, NONE};
use reading::Reading;

/// What a vault keeps to. The defaults are right for a daemon.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// Name of this node, for the catalog's table of writers.
    pub node: String,
    /// Blobs of up to this many sealed bytes go into the catalog row: 16 KiB. Larger ones into the blob store.
    pub inline_limit: usize,
    /// How long the blobs of what was deleted or replaced are kept for readers in other processes: 60 seconds. They are
    /// kept for this vault's own readers as long as these need them. Their keys are shredded at once.
    pub delete_grace: Duration,
    /// How long a writer that is not heard of counts as alive: 60 seconds.
    pub lease: Duration,
    /// How much is sealed, opened, written or read in one go: 1 MiB; at least one segment.
    pub batch: usize,
    /// What all streams together may hold in memory: 256 MiB. A quarter of it is for calls under way.
    pub memory: usize,
    /// The suite of new objects.
    pub suite: Suite,
}

impl Default for VaultConfig {
    fn default() -> Self {
        Self {
            node: "local".to_owned(),
            inline_limit: 16 << 10,
            delete_grace: Duration::from_secs(60),
            lease: Duration::from_secs(60),
            batch: 1 << 20,
            memory: 256 << 20,
            suite: Suite::Cbc64Gmac,
        }
    }
}

/// The stores of a vault.
#[derive(Clone)]
pub struct Stores {
    /// Sealed blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Sealed blobs of archived objects. Without it nothing can be archived or restored.
    pub archive: Option<Arc<dyn BlobStore>>,
    /// Key records.
    pub keys: Arc<dyn KeyStore>,
    /// Buckets and objects.
    pub catalog: Arc<dyn Catalog>,
}

/// Objects in buckets, sealed. Used behind an [`Arc`], from any number of threads.
pub struct Vault {
    stores: Stores,
    keyring: Arc<Keyring>,
    config: VaultConfig,
    /// What blob ids begin with; [`NONE`] once stopped.
    incarnation: AtomicU64,
    /// Why the whole vault does not write, if it does not.
    read_only: RwLock<Option<ReadOnly>>,
    /// Garbage entries whose keys this vault has shredded, and which are not forgotten yet.
    shredded: Mutex<HashSet<u64>>,
    /// Shreddings that are under way, or failed.
    debts: Debts,
    /// What readers have still to come to.
    reading: Arc<Reading>,
    /// A whole sweep was done since the start.
    swept: AtomicBool,
    /// Memory that streams hold between calls.
    streams: Arc<Budget>,
    /// Memory of calls under way.
    work: Arc<Budget>,
    counts: Counts,
    background: Mutex<Option<Background>>,
}

impl Vault {
    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            catalog_reads: self.stores.catalog.reads(),
            damaged: read(&self.counts.damaged),
            retried: read(&self.counts.retried),
            alarms: read(&self.counts.alarms),
            unknown: read(&self.counts.unknown),
            leases_lost: read(&self.counts.leases_lost),
            failed_passes: read(&self.counts.failed_passes),
        }
    }

    /// The keyring it opens and wraps with.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Why the vault does not write, if it does not.
    #[must_use]
    pub fn read_only_reason(&self) -> Option<String> {
        self.read_only().map(|reason| match reason {
            ReadOnly::ForReading => "it was started for reading only".to_owned(),
            ReadOnly::KeyStore(reason) => reason,
        })
    }

    /// What is wrong with the key store as a whole, if something is: what it does not have is missing then, and not
    /// damaged.
    fn wrong_key_store(&self) -> Option<String> {
        self.read_only().and_then(|reason| match reason {
            ReadOnly::ForReading => None,
            ReadOnly::KeyStore(reason) => Some(reason),
        })
    }

    fn read_only(&self) -> Option<ReadOnly> {
        let reason = self.read_only.read();
        reason.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_read_only(&self, reason: ReadOnly) {
        let mut now = self
            .read_only
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *now = Some(reason);
    }

    fn check_writable(&self) -> Result<(), VaultError> {
        match self.read_only_reason() {
            Some(reason) => Err(VaultError::ReadOnly(reason)),
            None if self.incarnation() == NONE => {
                Err(VaultError::ReadOnly("it was stopped".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX)
    }

    fn shredded(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.shredded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the key store with the one the catalog saw. One that is behind, or another one, ends all writing: what
    /// it does not know would be taken for orphaned, and what it still knows may have been shredded.
    fn watch_key_store(&self) -> Result<(), VaultError> {
        for _ in 0..LOOKS {
            let identity = self.stores.keys.identity()?;
            let reason = match self.stores.catalog.key_store_seen(identity.id, identity.epoch)? {
                KeyStoreSeen::Current => return Ok(()),
                // Perhaps another node has just started between the two reads: look again.
                KeyStoreSeen::Older { seen } if self.stores.keys.identity()?.epoch >= seen => continue,
                KeyStoreSeen::Older { seen } => format!(
                    "the key store is at epoch {} and the catalog has seen epoch {seen}: it is an old copy; restore its newest one",
                    identity.epoch
                ),
                KeyStoreSeen::Other { .. } => {
                    "the key store is not the one this catalog belongs to: check the configured paths".to_owned()
                }
            };
            self.set_read_only(ReadOnly::KeyStore(reason));
            return Ok(());
        }
        Err(VaultError::Unavailable(
            "the key store's epoch does not stand still".to_owned(),
        ))
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why a vault does not write.
#[derive(Debug, Clone)]
enum ReadOnly {
    /// It was started so.
    ForReading,
    /// The key store is not the one that the catalog saw last: in which way.
    KeyStore(String),
}

#[derive(Default)]
struct Counts {
    damaged: AtomicU64,
    retried: AtomicU64,
    alarms: AtomicU64,
    unknown: AtomicU64,
    leases_lost: AtomicU64,
    failed_passes: AtomicU64,
}

fn check_key(key: &[u8]) -> Result<(), VaultError> {
    match key.len() {
        1..=MAX_KEY => Ok(()),
        _ => Err(VaultError::Invalid(
            "an object key has 1 to 65,535 bytes".to_owned(),
        )),
    }
}

/// Unix milliseconds by the wall clock: leases are compared between machines.
fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The id under which the control ring's key is kept (F-73).
const CONTROL_RING: BucketId = BucketId([0xff; 16]);
const CONTROL_RING_GENERATION: u32 = 1;
const MAX_KEY: usize = 65_535;
const LOOKS: usize = 3;

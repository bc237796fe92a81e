//! The background work: lease, garbage, orphans, expired keys. Every step may be repeated, stopped and taken up again.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::types::Maintenance;
use super::{CONTROL_RING, Vault, VaultError, now_ms};
use crate::id::InstanceId;
use crate::store::{ScanBy, Standing, StoreError, incarnation_of, maker_of};

impl Vault {
    /// One pass of the background work. A step that fails does not keep the others from being done; the first failure is
    /// the answer.
    ///
    /// # Errors
    /// What the stores answer. The next pass takes up what is left.
    pub fn maintain(&self) -> Result<Maintenance, VaultError> {
        self.keyring.purge_expired();
        let mut done = Maintenance::default();
        let watched = self.watch_key_store();
        if self.read_only_reason().is_some() {
            return Ok(done); // with a key store that is behind, nothing is collected
        }
        let lease = self.keep_lease(&mut done);
        watched?; // nor with one that does not say what it is
        let garbage = self.collect_garbage(&mut done);
        let orphans = self.sweep(&mut done);
        lease.and(garbage).and(orphans)?;
        Ok(done)
    }

    /// Runs [`Vault::maintain`] on a thread of its own, four times within each lease, until [`Vault::stop`] or until the
    /// vault is dropped. A second call changes nothing.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`]: no thread is to be had.
    pub fn spawn_maintenance(self: &Arc<Self>) -> Result<(), VaultError> {
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if background.is_some() {
            return Ok(());
        }
        let signal = Arc::new(Signal::default());
        let pause = self.config.lease / 4;
        let thread = std::thread::Builder::new()
            .name("vault-maintain".to_owned())
            .spawn({
                let (vault, signal) = (Arc::downgrade(self), Arc::clone(&signal));
                move || run(&vault, &signal, pause)
            });
        let thread =
            thread.map_err(|error| VaultError::Unavailable(format!("a thread: {error}")))?;
        *background = Some(Background { signal, thread });
        Ok(())
    }

    /// Ends the background work, waiting for the pass under way, and releases the lease. What is written afterwards
    /// fails.
    pub fn stop(&self) {
        let background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(background) = background {
            background.signal.raise();
            let this_one = background.thread.thread().id() == std::thread::current().id();
            if !this_one {
                let _ = background.thread.join();
            }
        }
        let incarnation = self.incarnation.swap(NONE, Ordering::AcqRel);
        if incarnation != NONE {
            // If this fails, the lease runs out by itself.
            let _ = self.stores.catalog.release(incarnation);
        }
    }

    /// Prolongs the lease. A lost one is not mended: what was begun under it fails, what begins now has a new one.
    fn keep_lease(&self, done: &mut Maintenance) -> Result<(), StoreError> {
        let incarnation = self.incarnation();
        if incarnation == NONE {
            return Ok(()); // stopped
        }
        let ttl = self.lease_ms();
        if self.stores.catalog.renew(incarnation, now_ms(), ttl)? {
            return Ok(());
        }
        let new = self
            .stores
            .catalog
            .register(&self.config.node, now_ms(), ttl)?;
        let swapped = self.incarnation.compare_exchange(
            incarnation,
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if swapped.is_err() {
            return self.stores.catalog.release(new); // stopped meanwhile
        }
        self.counts.leases_lost.fetch_add(1, Ordering::Relaxed);
        done.registered = true;
        Ok(())
    }

    fn collect_garbage(&self, done: &mut Maintenance) -> Result<(), StoreError> {
        done.shredded += self.shred_garbage()?;
        for bucket in self.stores.catalog.deleted_buckets()? {
            self.shred_deleted_bucket(bucket)?;
        }
        done.reaped += self.remove_garbage(now_ms())?;
        Ok(())
    }

    /// Takes or prolongs the lease of a task that one daemon does for all; `false` while another one holds it.
    ///
    /// # Errors
    /// [`VaultError::ReadOnly`], [`VaultError::Unavailable`].
    pub fn task(&self, name: &str, ttl: Duration) -> Result<bool, VaultError> {
        self.check_writable()?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let catalog = &self.stores.catalog;
        let token = catalog.task_lease(name, self.incarnation(), now_ms(), ttl_ms)?;
        Ok(token.is_some())
    }

    /// Removes what dead writers left behind.
    ///
    /// Only incarnations whose lease is over are looked at, and each id is condemned before anything of it is touched: a
    /// commit that names it afterwards fails. So a writer that is only slow loses a write it never acknowledged.
    fn sweep(&self, done: &mut Maintenance) -> Result<(), StoreError> {
        let catalog = &self.stores.catalog;
        let now = now_ms();
        let dead = catalog.dead_incarnations(now)?;
        let first = !self.swept.load(Ordering::Acquire);
        if dead.is_empty() && !first {
            return Ok(());
        }
        let mine = catalog.task_lease(SWEEP, self.incarnation(), now, self.lease_ms())?;
        if mine.is_none() {
            return Ok(()); // another node is at it
        }
        // What looks like an orphan because its row was lost is not to be swept.
        catalog.check()?;
        for incarnation in &dead {
            self.sweep_records(*incarnation, done)?;
        }
        self.sweep_blobs(now, first, done)?;
        for incarnation in dead {
            catalog.close(incarnation)?;
            done.closed += 1;
        }
        self.sweep_bucket_keys(done)?;
        self.swept.store(true, Ordering::Release);
        Ok(())
    }

    fn sweep_records(&self, incarnation: u64, done: &mut Maintenance) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self
                .stores
                .keys
                .scan(ScanBy::Incarnation(incarnation), after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.instance);
            let mut orphans: Vec<InstanceId> = Vec::new();
            for row in page {
                if self
                    .stores
                    .catalog
                    .condemn_instance(row.instance, incarnation)?
                {
                    orphans.push(row.instance);
                }
            }
            if !orphans.is_empty() {
                self.stores.keys.shred(&orphans)?;
                done.orphan_records += orphans.len() as u64;
            }
        }
    }

    /// Blobs of dead incarnations; in the first sweep also those of closed ones, some of which a power cut may have
    /// brought back.
    fn sweep_blobs(
        &self,
        now: u64,
        closed_too: bool,
        done: &mut Maintenance,
    ) -> Result<(), StoreError> {
        let mut over = Over::new(self, now, closed_too);
        let archive = self.stores.archive.as_deref();
        for store in [Some(&*self.stores.blobs), archive].into_iter().flatten() {
            for shard in 0..=u8::MAX {
                for blob in store.list(shard)? {
                    if over.is_over(incarnation_of(blob))?
                        && self.stores.catalog.condemn(blob)?
                        && store.remove(blob)?
                    {
                        done.orphan_blobs += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Bucket keys whose bucket was never made. Their makers are closed, so it never will be.
    fn sweep_bucket_keys(&self, done: &mut Maintenance) -> Result<(), StoreError> {
        let catalog = &self.stores.catalog;
        let mut after = None;
        loop {
            let page = self.stores.keys.bucket_keys(after, PAGE)?;
            let Some((last, generation, _)) = page.last() else {
                return Ok(());
            };
            after = Some((*last, *generation));
            for (bucket, ..) in page {
                if bucket != CONTROL_RING
                    && catalog.standing(maker_of(bucket), now_ms())? == Standing::Closed
                    && catalog.bucket_by_id(bucket)?.is_none()
                {
                    self.stores.keys.shred_bucket(bucket)?;
                    done.orphan_bucket_keys += 1;
                }
            }
        }
    }
}

/// Whether incarnations are over, each asked once: over stays over.
///
/// One that this catalog never gave out is not over but foreign. What it made belongs to another catalog, or to a newer
/// state of this one, and is left alone.
struct Over<'a> {
    vault: &'a Vault,
    now: u64,
    closed_too: bool,
    known: HashMap<u64, bool>,
}

impl<'a> Over<'a> {
    fn new(vault: &'a Vault, now: u64, closed_too: bool) -> Self {
        Self {
            vault,
            now,
            closed_too,
            known: HashMap::new(),
        }
    }

    fn is_over(&mut self, incarnation: u64) -> Result<bool, StoreError> {
        if let Some(over) = self.known.get(&incarnation) {
            return Ok(*over);
        }
        let standing = self.vault.stores.catalog.standing(incarnation, self.now)?;
        let over = match standing {
            Standing::Dead => true,
            Standing::Closed => self.closed_too,
            Standing::Live | Standing::Unknown => false,
        };
        self.known.insert(incarnation, over);
        Ok(over)
    }
}

/// The thread that [`Vault::spawn_maintenance`] started.
pub(super) struct Background {
    signal: Arc<Signal>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was raised within `time`.
    fn wait(&self, time: Duration) -> bool {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self
            .changed
            .wait_timeout_while(raised, time, |raised| !*raised);
        *result.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn run(vault: &Weak<Vault>, signal: &Signal, pause: Duration) {
    let mut due = Instant::now();
    loop {
        let Some(vault) = vault.upgrade() else {
            return;
        };
        if due <= Instant::now() {
            due = Instant::now() + pause;
            if vault.maintain().is_err() {
                vault.counts.failed_passes.fetch_add(1, Ordering::Relaxed);
            }
        }
        vault.keyring.purge_expired();
        drop(vault);
        if signal.wait(pause.min(TICK)) {
            return;
        }
    }
}

/// No incarnation: stopped, or never registered.
pub(super) const NONE: u64 = 0;
/// Keys whose time is over are wiped this often.
const TICK: Duration = Duration::from_secs(1);
const SWEEP: &str = "sweep";
const PAGE: usize = 256;

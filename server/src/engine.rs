//! Opens what a configuration names: the HSM, the keyring over it, the stores, the vault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use strongroom::audit::{AuditError, Event, FileSink, Sink, SyncPolicy};
use strongroom::hsm::{HsmConfig, HsmMasterKey, PinSource};
use strongroom::id::RootId;
use strongroom::keys::{
    Keyring, KeyringConfig, MasterKey, MasterKeyError, RootState, Strategy, WrappedSecret,
};
use strongroom::secret::{Secret, allow_unlocked, lock_limit_check};
use strongroom::vault::{StorePaths, Stores, Vault, VaultConfig};

use crate::cli::Failure;
use crate::config::{Config, ConfigError, Kms, KmsState, Wrapping};
use crate::files::private_dir;

/// Who writes the audit trail of an open keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trail {
    /// The daemon, for as long as it runs.
    Daemon,
    /// A command, beside the daemon and other commands.
    Command,
}

/// The master key as configured.
pub(crate) fn hsm_config(config: &Config) -> Result<HsmConfig, Failure> {
    let root = root_of("[hsm]", &config.hsm.root)?;
    let label = config.hsm.key_label.as_deref();
    let mut hsm = token(config, root, label)?;
    hsm.active_version = config.hsm.active_version;
    Ok(hsm)
}

/// The master keys that clients may name.
pub(crate) fn kms_configs(config: &Config) -> Result<Vec<HsmConfig>, Failure> {
    let of = |key: &Kms| {
        token(
            config,
            root_of("[[kms]]", &key.root)?,
            key.key_label.as_deref(),
        )
    };
    config.kms.iter().map(of).collect()
}

fn root_of(table: &str, text: &str) -> Result<RootId, Failure> {
    parse_root(text)
        .ok_or_else(|| Failure::usage(format!("{table} root = {text:?}: 32 hex digits are needed")))
}

/// A master key in the configured token.
fn token(config: &Config, root: RootId, label: Option<&str>) -> Result<HsmConfig, Failure> {
    let pin = match (&config.hsm.pin_file, &config.hsm.pin_credential) {
        (Some(file), _) => PinSource::File(file.clone()),
        (None, Some(name)) => PinSource::Credential(name.clone()),
        (None, None) => return Err(Failure::usage("[hsm] needs pin_file or pin_credential")),
    };
    let mut hsm = HsmConfig::new(&config.hsm.module, &config.hsm.token, pin, root);
    if let Some(label) = label {
        label.clone_into(&mut hsm.key_label);
    }
    hsm.strategy = match config.hsm.strategy {
        Wrapping::Kw => Strategy::Kw,
        Wrapping::Kwp => Strategy::Kwp,
    };
    Ok(hsm)
}

/// The keyring over the configured master key; fails without one.
pub(crate) fn open_keyring(config: &Config, trail: Trail) -> Result<Keyring, Failure> {
    check_locked_memory(config)?;
    Ok(open_keys(config, trail)?.keyring)
}

struct OpenKeys {
    keyring: Keyring,
    master: Arc<dyn MasterKey>,
    trail: Arc<dyn Sink>,
}

fn open_keys(config: &Config, trail: Trail) -> Result<OpenKeys, Failure> {
    let master: Arc<dyn MasterKey> = Arc::new(Metered(HsmMasterKey::open(hsm_config(config)?)?));
    let directory = &config.paths.audit;
    private_dir(directory).map_err(|error| {
        ConfigError::about(
            directory,
            format!("cannot make the audit directory: {error}"),
        )
    })?;
    let trail: Arc<dyn Sink> = match trail {
        Trail::Daemon => Arc::new(FileSink::open(
            &directory.join("daemon.jsonl"),
            SyncPolicy::EachEvent,
        )?),
        Trail::Command => Arc::new(SharedTrail {
            path: directory.join("commands.jsonl"),
        }),
    };
    let mut masters = vec![Arc::clone(&master)];
    let mut named_only = Vec::new();
    for key in kms_configs(config)? {
        named_only.push(key.root);
        masters.push(Arc::new(Metered(HsmMasterKey::open(key)?)));
    }
    let settings = KeyringConfig {
        ttl: Duration::from_secs(config.keys.cache_seconds),
        named_only: named_only.clone(),
        ..KeyringConfig::default()
    };
    let keyring = Keyring::new(masters, Arc::clone(&trail), settings)?;
    for (root, key) in named_only.into_iter().zip(&config.kms) {
        keyring.set_root_state(root, key.state.of_root(), CONFIGURATION)?;
    }
    Ok(OpenKeys {
        keyring,
        master,
        trail,
    })
}

/// The whole engine of a daemon.
pub(crate) struct Engine {
    pub(crate) vault: Arc<Vault>,
    pub(crate) master: Arc<dyn MasterKey>,
    pub(crate) trail: Arc<dyn Sink>,
}

impl Engine {
    /// Hands what the engine has counted to the metrics.
    pub(crate) fn count(&self) {
        let cache = self.vault.keyring().cache_stats();
        counter!("strongroom_bucket_key_cache_hits_total").absolute(cache.hits);
        counter!("strongroom_bucket_key_cache_misses_total").absolute(cache.loads);
        gauge!("strongroom_bucket_keys_held").set(cache.held as f64);
        let counters = self.vault.counters();
        counter!("strongroom_catalog_reads_total").absolute(counters.catalog_reads);
        counter!("strongroom_damaged_total").absolute(counters.damaged);
        counter!("strongroom_state_alarms_total").absolute(counters.alarms);
        counter!("strongroom_outcome_unknown_total").absolute(counters.unknown);
        counter!("strongroom_leases_lost_total").absolute(counters.leases_lost);
        counter!("strongroom_maintenance_failed_total").absolute(counters.failed_passes);
    }

    /// Whether everything is there that a request may need.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.master.health().map_err(|error| error.to_string())?;
        match self.vault.read_only_reason() {
            Some(reason) => Err(format!("read-only: {reason}")),
            None => Ok(()),
        }
    }
}

/// Opens stores and keys; the stores' lock is held from here on.
pub(crate) fn open_vault(config: &Config, trail: Trail) -> Result<Engine, Failure> {
    let paths = store_paths(config);
    for directory in [
        Some(paths.blobs.as_path()),
        paths.keys.parent(),
        paths.catalog.parent(),
    ]
    .into_iter()
    .flatten()
    {
        private_dir(directory).map_err(|error| {
            ConfigError::about(directory, format!("cannot make the directory: {error}"))
        })?;
    }
    // The stores first: a directory in use is the commoner mistake, and asks for no PIN.
    let stores = Stores::open(&paths)?;
    let OpenKeys {
        keyring,
        master,
        trail,
    } = open_keys(config, trail)?;
    let vault = Vault::start(stores, keyring, vault_config(config))?;
    Ok(Engine {
        vault,
        master,
        trail,
    })
}

/// The same for a command that only reads, beside a daemon or without one.
pub(crate) fn open_to_read(config: &Config) -> Result<Arc<Vault>, Failure> {
    let stores = Stores::open_to_read(&store_paths(config))?;
    let keyring = open_keyring(config, Trail::Command)?;
    Ok(Vault::start_to_read(stores, keyring, vault_config(config))?)
}

fn vault_config(config: &Config) -> VaultConfig {
    VaultConfig {
        suite: config.seal.suite.into(),
        ..VaultConfig::default()
    }
}

fn store_paths(config: &Config) -> StorePaths {
    StorePaths {
        blobs: config.paths.data.clone(),
        archive: Some(config.paths.archive()),
        keys: config.paths.keys.clone(),
        catalog: config.paths.catalog.clone(),
    }
}

/// Keys must not reach a swap device: refuses a limit that is too small, unless told otherwise.
pub(crate) fn check_locked_memory(config: &Config) -> Result<(), Failure> {
    match lock_limit_check(LOCKED_BYTES) {
        Ok(()) => Ok(()),
        Err(error) if config.keys.allow_unlocked_memory => {
            tracing::warn!(%error, "[keys] allow_unlocked_memory: keys may reach a swap device");
            allow_unlocked(true);
            Ok(())
        }
        Err(error) => Err(Failure::other(format!(
            "{error}; or set allow_unlocked_memory = true under [keys] where a swap device is encrypted or absent"
        ))),
    }
}

impl KmsState {
    /// As the keyring calls it.
    pub(crate) fn of_root(self) -> RootState {
        match self {
            KmsState::Enabled => RootState::Enabled,
            KmsState::Disabled => RootState::Disabled,
            KmsState::PendingDeletion => RootState::PendingDeletion,
        }
    }
}

/// Who sets the states of roots, in the audit trail.
pub(crate) const CONFIGURATION: &str = "configuration";

/// A root id as configurations have it.
pub(crate) fn parse_root(text: &str) -> Option<RootId> {
    let mut id = [0; 16];
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(RootId(id))
}

/// A trail several processes write in turn: opened for each event, since a command has few.
struct SharedTrail {
    path: std::path::PathBuf,
}

impl Sink for SharedTrail {
    fn record(&self, event: Event) -> Result<(), AuditError> {
        let started = Instant::now();
        loop {
            match FileSink::open(&self.path, SyncPolicy::EachEvent) {
                Ok(sink) => return sink.record(event),
                Err(AuditError::InUse { .. }) if started.elapsed() < TRAIL_WAIT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A master key whose calls are counted and timed.
struct Metered<M>(M);

impl<M: MasterKey> Metered<M> {
    fn call<T>(
        &self,
        function: &'static str,
        work: impl FnOnce(&M) -> Result<T, MasterKeyError>,
    ) -> Result<T, MasterKeyError> {
        let started = Instant::now();
        let done = work(&self.0);
        let outcome = match &done {
            Ok(_) => "ok",
            Err(MasterKeyError::TimedOut { .. }) => "timed_out",
            Err(MasterKeyError::Unavailable { .. }) => "unavailable",
            Err(MasterKeyError::Rejected) => "rejected",
            Err(_) => "failed",
        };
        counter!("strongroom_hsm_calls_total", "function" => function, "outcome" => outcome)
            .increment(1);
        histogram!("strongroom_hsm_seconds", "function" => function)
            .record(started.elapsed().as_secs_f64());
        done
    }
}

impl<M: MasterKey> MasterKey for Metered<M> {
    fn root(&self) -> RootId {
        self.0.root()
    }

    fn strategy(&self) -> Strategy {
        self.0.strategy()
    }

    fn active_version(&self) -> u32 {
        self.0.active_version()
    }

    fn versions(&self) -> Vec<u32> {
        self.0.versions()
    }

    fn wrap(&self, version: u32, secret: &Secret<32>) -> Result<WrappedSecret, MasterKeyError> {
        self.call("wrap", |master| master.wrap(version, secret))
    }

    fn unwrap(&self, version: u32, blob: &WrappedSecret) -> Result<Secret<32>, MasterKeyError> {
        self.call("unwrap", |master| master.unwrap(version, blob))
    }

    fn rewrap(
        &self,
        from: u32,
        to: u32,
        blob: &WrappedSecret,
    ) -> Result<WrappedSecret, MasterKeyError> {
        self.call("rewrap", |master| master.rewrap(from, to, blob))
    }

    fn random(&self) -> Result<Secret<32>, MasterKeyError> {
        self.call("random", MasterKey::random)
    }

    fn health(&self) -> Result<(), MasterKeyError> {
        self.call("health", MasterKey::health)
    }
}

/// Locked memory a daemon needs: 4,096 bucket keys of three secrets, and the keys of 4,000
/// streams, with room.
const LOCKED_BYTES: usize = 2 << 20;

/// How long a command waits for another to write its event.
const TRAIL_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_id_is_32_hex_digits() {
        assert_eq!(
            parse_root("000102030405060708090a0b0c0d0e0f").map(|id| id.0[15]),
            Some(15)
        );
        for wrong in [
            "",
            "00",
            "zz0102030405060708090a0b0c0d0e0f",
            "+00102030405060708090a0b0c0d0e0f",
        ] {
            assert!(parse_root(wrong).is_none(), "{wrong}");
        }
    }
}

//! The configuration file: what may stand in it, its defaults, and errors a person can act on.
//!
//! One TOML file configures everything. A key that is not known is refused with file, line and
//! what is allowed there, so a misspelt limit never silently means the default. The file holds
//! no secret: PIN, TLS key and access keys are named by file path or systemd credential. Relative
//! paths start at the directory of the configuration file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use strongroom::format::Suite;

/// Everything the daemon and the commands need to know, paths resolved.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where it was read from.
    #[serde(skip)]
    pub(crate) file: PathBuf,
    pub(crate) listen: Listen,
    /// Absent: plain HTTP, and every request with a customer key is refused.
    pub(crate) tls: Option<Tls>,
    pub(crate) paths: Paths,
    pub(crate) hsm: Hsm,
    #[serde(default)]
    pub(crate) keys: Keys,
    #[serde(default)]
    pub(crate) seal: Seal,
    /// Keys that clients may name (SSE-KMS).
    #[serde(default)]
    pub(crate) kms: Vec<Kms>,
    #[serde(default)]
    pub(crate) s3: S3,
    #[serde(default)]
    pub(crate) multipart: Multipart,
    #[serde(default)]
    pub(crate) lifecycle: Lifecycle,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) log: Log,
}

/// Where the daemon listens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// The S3 endpoint. Port 0 takes a free one.
    pub(crate) s3: SocketAddr,
    /// `/healthz` and `/metrics`, plain HTTP without authentication: a private address.
    pub(crate) admin: Option<SocketAddr>,
}

/// The server's certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM, the server's own certificate first.
    pub(crate) certificate: PathBuf,
    /// PEM, PKCS#8, PKCS#1 or SEC1.
    pub(crate) key: PathBuf,
}

/// Where things lie; every path may be on a disk or host of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paths {
    /// Sealed blobs.
    pub(crate) data: PathBuf,
    /// Sealed blobs of archived objects: a slower disk, say. Absent: `archive` beside `data`.
    pub(crate) archive: Option<PathBuf>,
    /// The key database: wrapped keys.
    pub(crate) keys: PathBuf,
    /// The catalog database: names, sizes, what exists.
    pub(crate) catalog: PathBuf,
    /// The directory of the audit trails: `daemon.jsonl`, and `commands.jsonl` of the commands.
    pub(crate) audit: PathBuf,
    /// The users file, see [`crate::users`].
    pub(crate) users: PathBuf,
}

/// The token that holds the master key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hsm {
    /// Absolute path of the PKCS#11 module.
    pub(crate) module: PathBuf,
    /// Label of the token.
    pub(crate) token: String,
    /// The root id: 32 hex digits that name this line of master keys.
    pub(crate) root: String,
    /// File with the user PIN on its first line.
    pub(crate) pin_file: Option<PathBuf>,
    /// Name of a systemd credential with the user PIN.
    pub(crate) pin_credential: Option<String>,
    /// Label of the master key; its version 2 is labelled `LABEL-v2`. By default made of the root.
    pub(crate) key_label: Option<String>,
    /// The version that wraps. By default the highest in the token.
    pub(crate) active_version: Option<u32>,
    /// How the master key wraps, fixed for its life: `kw` (the default) or `kwp`.
    #[serde(default)]
    pub(crate) strategy: Wrapping,
    /// Environment the module needs, such as `SOFTHSM2_CONF`. The process executes itself once
    /// more with it; values are file paths, never secrets.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
}

/// A master key of the same token that clients may name (SSE-KMS).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kms {
    /// The root id: 32 hex digits, also the key id that clients use.
    pub(crate) root: String,
    /// Other names of it, without `alias/`. `aws/s3` makes it the key of requests that name none.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Label of the master key. By default made of the root.
    pub(crate) key_label: Option<String>,
    /// Whether it may be used. Like aliases and users, taken from a changed file without a restart.
    #[serde(default)]
    pub(crate) state: KmsState,
    /// Names of the users who may write and read under it; `anonymous` is who does not sign. By
    /// default whoever may write and read the object.
    pub(crate) users: Option<Vec<String>>,
}

/// Whether a key that clients may name may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KmsState {
    #[default]
    Enabled,
    /// Not until it is enabled again.
    Disabled,
    /// Not any more: it is to be destroyed.
    PendingDeletion,
}

/// How a master key wraps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wrapping {
    /// AES Key Wrap, RFC 3394.
    #[default]
    Kw,
    /// AES Key Wrap with Padding, RFC 5649, for tokens without the former.
    Kwp,
}

/// Handling of key material.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    /// How long an unwrapped bucket key may be used, in seconds; at most 300.
    pub(crate) cache_seconds: u64,
    /// Go on when keys cannot be locked into memory, so that they may reach a swap device.
    pub(crate) allow_unlocked_memory: bool,
}

/// How new objects are sealed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Seal {
    /// Of new objects; each says in itself how it was sealed, so a change touches none that exists.
    pub(crate) suite: Sealing,
}

/// A suite that encrypts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub(crate) enum Sealing {
    /// CBC in 64 lanes, and GMAC
    #[default]
    #[serde(rename = "AES256-CBC64-GMAC")]
    #[value(name = "AES256-CBC64-GMAC")]
    Cbc64Gmac,
    /// GCM
    #[serde(rename = "AES256-GCM")]
    #[value(name = "AES256-GCM")]
    Gcm,
}

impl From<Sealing> for Suite {
    fn from(sealing: Sealing) -> Suite {
        match sealing {
            Sealing::Cbc64Gmac => Suite::Cbc64Gmac,
            Sealing::Gcm => Suite::Gcm,
        }
    }
}

/// What the S3 face offers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct S3 {
    /// The region clients sign for.
    pub(crate) region: String,
    /// Base domain of virtual-host requests, `s3.example.com` for `bucket.s3.example.com`.
    pub(crate) domain: Option<String>,
    /// Accept writes under customer keys (SSE-C) on every bucket that does not block them itself.
    pub(crate) customer_keys: bool,
    /// Whose answer to give where S3 services differ.
    pub(crate) compat: Compat,
}

/// A service whose answers clients expect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compat {
    /// The original: 403 for a wrong customer key, `AES256` as the default of every bucket.
    #[default]
    Aws,
    /// Ceph's object gateway: 400 for a wrong customer key, no default until one is set. Requests and forms may be
    /// signed by Signature Version 2, as its clients sign them: HMAC-SHA1 under the secret key itself, bound to no day,
    /// region or service. Who may write an object may say its ACL and its tags with it; `If-None-Match` may name an ETag;
    /// a delete of what is not there meets every condition; who does not sign sees an empty list of buckets.
    Ceph,
}

/// Uploads in parts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Multipart {
    /// Bytes that every part but the last must have: 5 MiB. Test suites set it lower.
    pub(crate) smallest_part: u64,
    /// Uploads that nobody ends are aborted after so many days; 0 keeps them for ever.
    pub(crate) expire_days: u32,
}

/// What goes on with objects by themselves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Lifecycle {
    /// How long a day of lifecycle rules and restored copies is, in seconds: 86,400, and then days
    /// end at midnight UTC. Test suites set it lower.
    pub(crate) day_seconds: u64,
    /// How often the rules are applied, in seconds; 0 switches it off.
    pub(crate) interval_seconds: u64,
}

/// What one client, or all of them, may take. Times in seconds; 0 switches a limit off.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Open connections in all.
    pub(crate) connections: usize,
    /// Open connections of one IPv4 address or one IPv6 /64.
    pub(crate) connections_per_address: usize,
    /// From accept to the end of the TLS handshake.
    pub(crate) handshake_seconds: u64,
    /// From accept, or the last reply, to a complete request header: also the idle time.
    pub(crate) header_seconds: u64,
    /// The window in which a request body must bring `body_bytes`.
    pub(crate) body_seconds: u64,
    /// The bytes a request body must bring in each window.
    pub(crate) body_bytes: u64,
    /// How long a client may take nothing of a reply that waits for it.
    pub(crate) write_stall_seconds: u64,
    /// How long requests in flight may go on after SIGTERM.
    pub(crate) drain_seconds: u64,
    /// Threads for disk and crypto work of requests.
    pub(crate) blocking_threads: usize,
    /// Threads that move network bytes; 0 takes one per CPU, at most 8.
    pub(crate) network_threads: usize,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// `error`, `warn` or `info`.
    pub(crate) level: LogLevel,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The least important line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
}

/// Why a configuration cannot be used; the message names file, line and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub(crate) struct ConfigError {
    file: String,
    line: Option<usize>,
    message: String,
}

impl Config {
    /// Reads a configuration file, resolves its paths and checks what can be checked without
    /// touching anything else.
    pub(crate) fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.display().to_string(),
            line: None,
            message: format!("cannot read the configuration: {error}"),
        })?;
        let mut config = Config::parse(&text, file)?;
        let base = std::path::absolute(file)
            .ok()
            .and_then(|file| file.parent().map(Path::to_path_buf))
            .unwrap_or_default();
        config.resolve(&base);
        config.file = file.to_owned();
        Ok(config)
    }

    fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
        refuse_secrets(text, file)?;
        let config: Config =
            toml::from_str(text).map_err(|error| ConfigError::in_toml(&error, text, file))?;
        let fault = |message: String| ConfigError {
            file: file.display().to_string(),
            line: None,
            message,
        };
        if config.hsm.pin_file.is_some() == config.hsm.pin_credential.is_some() {
            return Err(fault(
                "[hsm] needs exactly one of pin_file (a file with the user PIN) and \
                 pin_credential (the name of a systemd credential)"
                    .into(),
            ));
        }
        if config.keys.cache_seconds > 300 {
            return Err(fault(format!(
                "[keys] cache_seconds = {}: a bucket key may be held for at most 300 seconds",
                config.keys.cache_seconds
            )));
        }
        if config.limits.blocking_threads == 0 {
            return Err(fault(
                "[limits] blocking_threads = 0: requests need at least one".into(),
            ));
        }
        if !config.hsm.module.is_absolute() {
            return Err(fault(format!(
                "[hsm] module = {:?}: the PKCS#11 module must be named by its absolute path",
                config.hsm.module
            )));
        }
        Ok(config)
    }

    fn resolve(&mut self, base: &Path) {
        let mut paths = vec![
            &mut self.paths.data,
            &mut self.paths.keys,
            &mut self.paths.catalog,
            &mut self.paths.audit,
            &mut self.paths.users,
        ];
        if let Some(tls) = &mut self.tls {
            paths.extend([&mut tls.certificate, &mut tls.key]);
        }
        paths.extend(&mut self.hsm.pin_file);
        paths.extend(&mut self.paths.archive);
        for path in paths {
            *path = base.join(&*path);
        }
        if let Some(conf) = self.hsm.environment.get_mut("SOFTHSM2_CONF") {
            *conf = base.join(&*conf).display().to_string();
        }
    }
}

impl Paths {
    /// Where the blobs of archived objects lie.
    pub(crate) fn archive(&self) -> PathBuf {
        self.archive
            .clone()
            .unwrap_or_else(|| self.data.with_file_name("archive"))
    }
}

impl Limits {
    /// A limit in seconds as a duration; `None` when it is switched off.
    pub(crate) fn seconds(value: u64) -> Option<Duration> {
        (value > 0).then(|| Duration::from_secs(value))
    }
}

impl ConfigError {
    /// Restates a TOML error by file and line. The source line is left out: in a users file it
    /// may hold a secret.
    pub(crate) fn in_toml(error: &toml::de::Error, text: &str, file: &Path) -> ConfigError {
        let line = error
            .span()
            .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error
            .message()
            .replace("unknown field", "unknown key")
            .replace("missing field", "missing key")
            .replace("expected one of", "allowed here:")
            .replace("expected `", "allowed here: `");
        ConfigError {
            file: file.display().to_string(),
            line,
            message,
        }
    }

    /// The same place with other words.
    pub(crate) fn with_message(mut self, message: &str) -> ConfigError {
        self.message = message.into();
        self
    }

    /// An error about a file that is not about one of its lines.
    pub(crate) fn about(file: &Path, message: impl Into<String>) -> ConfigError {
        ConfigError {
            file: file.display().to_string(),
            line: None,
            message: message.into(),
        }
    }
}

/// Keys that would hold a secret, or the right to destroy, get an answer of their own: the
/// daemon must not be able to destroy or rotate, and a secret does not belong in this file.
fn refuse_secrets(text: &str, file: &Path) -> Result<(), ConfigError> {
    for (index, line) in text.lines().enumerate() {
        let key = line.split('=').next().unwrap_or_default().trim();
        let message = match key {
            "pin" | "user_pin" => {
                "a PIN does not belong in this file: write it into a file of mode 0600 and name \
                 it with pin_file, or name a systemd credential with pin_credential"
            }
            "destroy_pin"
            | "destroy_pin_file"
            | "destroy_pin_credential"
            | "so_pin"
            | "so_pin_file"
            | "so_pin_credential" => {
                "the PIN that destroys and rotates master keys must not be within the daemon's \
                 reach: remove this key, and the file, from this machine's configuration"
            }
            "secret_key" => "access keys belong in the users file, see [paths] users",
            _ => continue,
        };
        return Err(ConfigError {
            file: file.display().to_string(),
            line: Some(index + 1),
            message: format!("`{key}`: {message}"),
        });
    }
    Ok(())
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            cache_seconds: 300,
            allow_unlocked_memory: false,
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        S3 {
            region: "us-east-1".into(),
            domain: None,
            customer_keys: false,
            compat: Compat::Aws,
        }
    }
}

impl Default for Multipart {
    fn default() -> Self {
        Multipart {
            smallest_part: 5 << 20,
            expire_days: 0,
        }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle {
            day_seconds: 86_400,
            interval_seconds: 3600,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 8192,
            connections_per_address: 1024,
            handshake_seconds: 10,
            header_seconds: 10,
            body_seconds: 10,
            body_bytes: 16 * 1024,
            write_stall_seconds: 30,
            drain_seconds: 30,
            blocking_threads: 24,
            network_threads: 0,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log {
            format: LogFormat::Text,
            level: LogLevel::Info,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINIMAL: &str = "[listen]\ns3 = \"127.0.0.1:9000\"\n[paths]\ndata = \"data\"\n\
        keys = \"k.db\"\ncatalog = \"c.db\"\naudit = \"audit\"\nusers = \"u.toml\"\n[hsm]\n\
        module = \"/lib/p11.so\"\ntoken = \"t\"\nroot = \"00\"\npin_file = \"pin\"\n";

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("strongroom.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_minimal_file_gets_the_defaults_and_its_paths_resolved() {
        let mut config = Config::parse(MINIMAL, Path::new("x")).unwrap();
        config.resolve(Path::new("/etc/strongroom"));
        assert_eq!(config.paths.keys, Path::new("/etc/strongroom/k.db"));
        assert_eq!(config.limits.body_bytes, 16 * 1024);
        assert!(!config.s3.customer_keys);
    }

    #[test]
    fn an_unknown_key_is_named_with_line_and_what_is_allowed() {
        let message = error(&format!("{MINIMAL}[limits]\nconections = 3\n"));
        assert!(
            message.starts_with("strongroom.toml:15: unknown key `conections`"),
            "{message}"
        );
        assert!(message.contains("allowed here: `connections`"), "{message}");
        let message = error(&format!("{MINIMAL}[limit]\n"));
        assert!(message.contains("unknown key `limit`"), "{message}");
    }

    #[test]
    fn a_suite_goes_by_the_name_the_format_gives_it() {
        let suite = |name: &str| {
            let text = format!("{MINIMAL}[seal]\nsuite = {name:?}\n");
            Config::parse(&text, Path::new("x")).map(|config| config.seal.suite)
        };
        assert_eq!(suite(Suite::Cbc64Gmac.name()).unwrap(), Sealing::Cbc64Gmac);
        assert_eq!(suite(Suite::Gcm.name()).unwrap(), Sealing::Gcm);
        // Never by a line of the configuration: a bucket is opened for plain objects, by name.
        let message = suite(Suite::PlainGmac.name()).unwrap_err().to_string();
        assert!(message.contains("AES256-GCM"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let message = error(&MINIMAL.replace("catalog = \"c.db\"\n", ""));
        assert!(message.contains("missing key `catalog`"), "{message}");
    }

    #[test]
    fn secrets_and_destroy_pins_are_refused_by_line() {
        let message = error(&format!("{MINIMAL}destroy_pin_file = \"x\"\n"));
        assert!(
            message.starts_with("strongroom.toml:14: `destroy_pin_file`"),
            "{message}"
        );
        let message = error(&format!("{MINIMAL}pin = \"1234\"\n"));
        assert!(
            message.contains("does not belong in this file"),
            "{message}"
        );
        assert!(!message.contains("1234"), "{message}");
    }

    #[test]
    fn one_pin_source_exactly() {
        let message = error(&format!("{MINIMAL}pin_credential = \"pin\"\n"));
        assert!(message.contains("exactly one of"), "{message}");
    }

    #[test]
    fn a_relative_module_is_refused() {
        let message = error(&MINIMAL.replace("/lib/p11.so", "p11.so"));
        assert!(message.contains("absolute path"), "{message}");
    }
}

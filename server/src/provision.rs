//! What `strongroom dev` makes when it is not there: a token, certificates, a user, settings.
//!
//! Every step looks first and goes on with what it finds, so a run that was interrupted is
//! completed by the next. Nothing is ever replaced but the server's certificate and
//! `client.env`, which are made anew at each start.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use strongroom::hsm::{HsmAdmin, HsmError, PinSource};
use strongroom::id::RootId;
use strongroom::secret::Secret;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::config::Config;
use crate::engine;
use crate::files::{private_dir, write_atomic, write_private_once};

/// A development directory: where its parts are.
pub(crate) struct DevDir {
    root: PathBuf,
}

/// Held while a daemon uses the directory.
pub(crate) struct DirLock {
    _file: File,
}

impl DevDir {
    /// Names the directory and makes it, with the settings of its token: what the environment of
    /// the process needs.
    pub(crate) fn open(path: &Path) -> Result<DevDir, Failure> {
        let root = std::path::absolute(path).map_err(|error| cannot("use", path, &error))?;
        for directory in [
            "",
            "token",
            "token/tokens",
            "tls",
            "data",
            "keys",
            "catalog",
            "audit",
        ] {
            let directory = root.join(directory);
            private_dir(&directory)
                .map_err(|error| cannot("make the directory", &directory, &error))?;
        }
        let dir = DevDir { root };
        let conf = dir.path("token/softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            dir.path("token/tokens").display()
        );
        // Always written: the directory may have been moved.
        if std::fs::read(&conf).ok().as_deref() != Some(text.as_bytes()) {
            write_atomic(&conf, text.as_bytes(), 0o600)
                .map_err(|error| cannot("write", &conf, &error))?;
        }
        Ok(dir)
    }

    /// `SOFTHSM2_CONF`, for the environment of the process.
    pub(crate) fn softhsm_conf(&self) -> String {
        self.path("token/softhsm2.conf").display().to_string()
    }

    /// The settings file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("strongroom.toml")
    }

    /// Takes the directory for this process.
    pub(crate) fn lock(&self) -> Result<DirLock, Failure> {
        let path = self.path("dev.lock");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|error| cannot("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::other(format!(
                "{} is in use by another daemon: stop that one, or give another --dir",
                self.root.display()
            ))),
            Err(TryLockError::Error(error)) => Err(cannot("lock", &path, &error)),
        }
    }

    /// Makes what is missing. `listen` is where the server will be reached.
    pub(crate) fn provision(
        &self,
        listen: SocketAddr,
        softhsm: Option<&Path>,
    ) -> Result<(), Failure> {
        let stale = self.path("client.env");
        match std::fs::remove_file(&stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("remove", &stale, &error));
            }
            _ => {}
        }
        self.secret("token/pin", || Ok(digits(8)?.as_bytes().to_vec()))?;
        self.secret("token/so-pin", || Ok(digits(8)?.as_bytes().to_vec()))?;
        self.secret("users.toml", || {
            let (access, secret) = (access_key()?, secret_key()?);
            let text = format!(
                "[[user]]\nname = \"root\"\naccess_key = \"{access}\"\nsecret_key = \"{}\"\n",
                secret.as_str()
            );
            Ok(text.into_bytes())
        })?;
        self.settings(listen, softhsm)?;
        self.token(&Config::load(&self.config())?)?;
        self.certificates(listen.ip())
    }

    /// Writes `client.env`: what a client needs to talk to the daemon at `address`.
    pub(crate) fn write_client_env(
        &self,
        config: &Config,
        address: SocketAddr,
    ) -> Result<(), Failure> {
        let users = crate::process::read_secret_file(&self.path("users.toml"))?;
        let (access, secret) = crate::users::first(&users).ok_or_else(|| {
            Failure::other(format!(
                "{}: no user in it",
                self.path("users.toml").display()
            ))
        })?;
        let host = match address.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let bundle = quoted(&self.path("tls/ca.crt").display().to_string());
        let region = quoted(&config.s3.region);
        let clients = quoted(&self.path("aws.config").display().to_string());
        let text = Zeroizing::new(format!(
            "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\nAWS_ENDPOINT_URL={scheme}://{host}:{}\n\
             AWS_CA_BUNDLE={bundle}\nAWS_REGION={region}\nAWS_DEFAULT_REGION={region}\nAWS_CONFIG_FILE={clients}\n",
            quoted(&access),
            quoted(secret.expose()),
            address.port(),
        ));
        let settings = self.path("aws.config");
        write_atomic(&settings, CLIENT_SETTINGS.as_bytes(), 0o600)
            .map_err(|error| cannot("write", &settings, &error))?;
        let path = self.path("client.env");
        write_atomic(&path, text.as_bytes(), 0o600).map_err(|error| cannot("write", &path, &error))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn secret(
        &self,
        name: &str,
        content: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> Result<(), Failure> {
        let path = self.path(name);
        write_private_once(&path, content).map_err(|error| cannot("write", &path, &error))?;
        Ok(())
    }

    fn settings(&self, listen: SocketAddr, softhsm: Option<&Path>) -> Result<(), Failure> {
        let file = self.config();
        if file.exists() {
            return Ok(());
        }
        let module = find_softhsm(softhsm)?;
        let random = |error| Failure::other(format!("random numbers: {error}"));
        let root = RootId::random().map_err(random)?;
        let kms_root = RootId::random().map_err(random)?;
        let text = SETTINGS
            .replace("{listen}", &listen.to_string())
            .replace(
                "{module}",
                &toml::Value::from(module.display().to_string()).to_string(),
            )
            .replace("{root}", &root.to_string())
            .replace("{kms_root}", &kms_root.to_string());
        write_atomic(&file, text.as_bytes(), 0o600).map_err(|error| cannot("write", &file, &error))
    }

    /// A token with version 1 of the master key. A directory that has wrapped keys and no key
    /// to unwrap them is not given a new one: that would only hide what is lost.
    fn token(&self, config: &Config) -> Result<(), Failure> {
        let hsm = engine::hsm_config(config)?;
        let admin =
            HsmAdmin::open(&hsm.module).map_err(|error| softhsm_help(&error, &hsm.module))?;
        let lost = |what: &str| {
            Failure::other(format!(
                "{what} and {} holds keys wrapped under it: put {} back as it was, or begin with another --dir",
                config.paths.keys.display(),
                self.path("token").display(),
            ))
        };
        let used = config.paths.keys.exists();
        if !admin.tokens()?.contains(&hsm.token) {
            if used {
                return Err(lost("the token with the master key is gone"));
            }
            let so_pin = PinSource::File(self.path("token/so-pin")).fetch()?;
            admin.init_token(&hsm.token, &so_pin, &hsm.pin.fetch()?)?;
        }
        if admin.status(&hsm)?.versions.is_empty() {
            if used {
                return Err(lost("the master key is no longer in its token"));
            }
            admin.generate(&hsm, 1, &hsm.pin)?;
        }
        for key in engine::kms_configs(config)? {
            if admin.status(&key)?.versions.is_empty() {
                if used {
                    return Err(lost(
                        "a key that clients may name is no longer in the token",
                    ));
                }
                admin.generate(&key, 1, &key.pin)?;
            }
        }
        Ok(())
    }

    /// A CA, once, and a server certificate for the address of this start.
    fn certificates(&self, listen: IpAddr) -> Result<(), Failure> {
        let tls = |error: rcgen::Error| Failure::other(format!("certificate: {error}"));
        let key_file = self.path("tls/ca.key");
        self.secret("tls/ca.key", || {
            let key = KeyPair::generate().map_err(io::Error::other)?;
            Ok(key.serialize_pem().into_bytes())
        })?;
        let key = KeyPair::from_pem(&crate::process::read_secret_file(&key_file)?).map_err(tls)?;
        let ca = ca_params();
        let ca_file = self.path("tls/ca.crt");
        if !ca_file.exists() {
            let certificate = ca.self_signed(&key).map_err(tls)?;
            write_atomic(&ca_file, certificate.pem().as_bytes(), 0o644)
                .map_err(|error| cannot("write", &ca_file, &error))?;
        }
        let mut names: Vec<String> = ["localhost", "*.localhost"].map(str::to_owned).to_vec();
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        names.extend(loopback.map(|ip| ip.to_string()));
        if !listen.is_unspecified() && !loopback.contains(&listen) {
            names.push(listen.to_string());
        }
        let mut server = CertificateParams::new(names).map_err(tls)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "Strongroom development server");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.use_authority_key_identifier_extension = true;
        server.not_before = (SystemTime::now() - DAY).into();
        server.not_after = (SystemTime::now() + 397 * DAY).into();
        let server_key = KeyPair::generate().map_err(tls)?;
        let certificate = server
            .signed_by(&server_key, &Issuer::new(ca, &key))
            .map_err(tls)?;
        let key_text = Zeroizing::new(server_key.serialize_pem());
        for (name, content, mode) in [
            ("tls/server.key", key_text.as_bytes(), 0o600),
            ("tls/server.crt", certificate.pem().as_bytes(), 0o644),
        ] {
            let path = self.path(name);
            write_atomic(&path, content, mode).map_err(|error| cannot("write", &path, &error))?;
        }
        Ok(())
    }
}

/// Always the same subject, so that the certificate on disk stays the issuer of every server's.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Strongroom development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 3650 * DAY).into();
    params
}

/// Where SoftHSM is, or what to install.
fn find_softhsm(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let given = given.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()));
    let places: Vec<PathBuf> = match given {
        Some(path) => vec![path],
        None => SOFTHSM_PLACES.iter().map(PathBuf::from).collect(),
    };
    if let Some(found) = places.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    let looked: Vec<String> = places
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(Failure::other(format!(
        "SoftHSM is not installed: install it (Debian and Ubuntu: apt-get install softhsm2; Fedora: dnf install \
         softhsm; Alpine: apk add softhsm), or name its module with --softhsm. Looked at {}",
        looked.join(", ")
    )))
}

fn softhsm_help(error: &HsmError, module: &Path) -> Failure {
    match find_softhsm(Some(module)) {
        Ok(_) => Failure::other(error.to_string()),
        Err(missing) => missing,
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::other(format!("cannot {what} {}: {error}", path.display()))
}

/// Quotes a value for a file that shells source, when it needs to be.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:+=@%".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

fn random() -> io::Result<Secret<32>> {
    Secret::random().map_err(io::Error::other)
}

fn pick(alphabet: &[u8], count: usize) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(count));
    // Bytes beyond the last whole multiple of the alphabet are thrown away: no character is likelier.
    let fair = 256 / alphabet.len() * alphabet.len();
    while text.len() < count {
        for byte in random()?.expose() {
            if usize::from(*byte) < fair && text.len() < count {
                text.push(char::from(alphabet[usize::from(*byte) % alphabet.len()]));
            }
        }
    }
    Ok(text)
}

fn digits(count: usize) -> io::Result<Zeroizing<String>> {
    pick(b"0123456789", count)
}

fn access_key() -> io::Result<String> {
    Ok(format!(
        "SR{}",
        pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 18)?.as_str()
    ))
}

fn secret_key() -> io::Result<Zeroizing<String>> {
    pick(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        40,
    )
}

const DAY: Duration = Duration::from_secs(24 * 3600);

const SOFTHSM_PLACES: [&str; 8] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib64/softhsm/libsofthsm2.so",
];

/// The settings of a new development directory.
const SETTINGS: &str = r#"# Settings of a Strongroom development directory, made by `strongroom dev`.
# The same keys configure `strongroom serve`. Relative paths start at this directory.

[listen]
s3 = "{listen}"
# admin = "127.0.0.1:9001"   # /healthz and /metrics

[tls]
certificate = "tls/server.crt"
key = "tls/server.key"

[paths]
data = "data"
keys = "keys/keys.db"
catalog = "catalog/catalog.db"
audit = "audit"
users = "users.toml"

[hsm]
module = {module}
token = "strongroom-dev"
root = "{root}"
pin_file = "token/pin"
environment = { SOFTHSM2_CONF = "token/softhsm2.conf" }

[[kms]]
root = "{kms_root}"
aliases = ["aws/s3", "dev"]

[s3]
customer_keys = true

[limits]
# Every client of a development server is on this machine.
connections_per_address = 0
"#;

/// What clients of the aws family read beside the environment. Left alone, they presign for
/// `us-east-1` with Signature Version 2, which is refused.
const CLIENT_SETTINGS: &str = "\
[default]
s3 =
  signature_version = s3v4
  addressing_style = path
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_settings_of_a_new_directory_are_a_valid_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let text = SETTINGS
            .replace("{listen}", "127.0.0.1:0")
            .replace("{module}", "\"/lib/p11.so\"")
            .replace("{root}", &"0".repeat(32))
            .replace("{kms_root}", &"1".repeat(32));
        let file = dir.path().join("strongroom.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(config.paths.users, dir.path().join("users.toml"));
        assert!(config.hsm.environment["SOFTHSM2_CONF"].starts_with(dir.path().to_str().unwrap()));
    }

    #[test]
    fn values_are_quoted_for_the_shell_only_when_needed() {
        assert_eq!(quoted("/a/b-c_1.crt"), "/a/b-c_1.crt");
        assert_eq!(quoted("/my dir/it's"), r"'/my dir/it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_missing_softhsm_says_what_to_install_and_where_it_looked() {
        let failure = find_softhsm(Some(Path::new("/nowhere/libsofthsm2.so")))
            .unwrap_err()
            .to_string();
        assert!(failure.contains("apt-get install softhsm2"), "{failure}");
        assert!(failure.contains("/nowhere/libsofthsm2.so"), "{failure}");
    }

    #[test]
    fn random_keys_have_their_length_and_alphabet() {
        assert_eq!(secret_key().unwrap().len(), 40);
        assert!(digits(8).unwrap().bytes().all(|byte| byte.is_ascii_digit()));
        assert_ne!(access_key().unwrap(), access_key().unwrap());
    }
}

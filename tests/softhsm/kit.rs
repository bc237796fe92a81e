//! A token of its own for each test, in a process of its own: SoftHSM reads its configuration once
//! per process, and a fault in one test must not be another's.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use strongroom::hsm::{HsmAdmin, HsmConfig, HsmMasterKey, PinSource};
use strongroom::id::RootId;
use strongroom::secret::{Secret, SecretBytes};

pub(crate) const TOKEN: &str = "strongroom-test";
pub(crate) const PIN: &str = "user-pin-1234";
pub(crate) const SO_PIN: &str = "so-pin-5678";
pub(crate) const ROOT: RootId = RootId([0x5a; 16]);
const SITE: &str = "STRONGROOM_TEST_SITE";
const ELSEWHERE: &str = "STRONGROOM_TEST_ELSEWHERE";

/// Declares a test that runs in a process and with a token directory of its own.
macro_rules! token_test {
    ($(#[$attribute:meta])* fn $name:ident($site:ident: &Site) $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            fn body($site: &crate::kit::Site) $body
            crate::kit::isolated(concat!(module_path!(), "::", stringify!($name)), body);
        }
    };
}
pub(crate) use token_test;

/// Runs `body` in a child process: this program again, with one test and its own environment.
pub(crate) fn isolated(path: &str, body: fn(&Site)) {
    let (_, name) = path.split_once("::").unwrap();
    if let Some(dir) = std::env::var_os(SITE) {
        let site = Site { dir: dir.into() };
        body(&site);
        std::fs::write(site.dir.join("done"), name).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(
        dir.path().join("softhsm2.conf"),
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", dir.path().join("softhsm2.conf"))
        .env(SITE, dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its process: {status}");
    // Guards against a name that matched no test: that would be success, too.
    assert_eq!(
        std::fs::read_to_string(dir.path().join("done")).unwrap(),
        name
    );
}

/// Directory, token and files of one test.
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
}

impl Site {
    /// The configuration of the test's root over SoftHSM itself.
    pub(crate) fn config(&self) -> HsmConfig {
        HsmConfig::new(softhsm(), TOKEN, self.pin_file("pin", PIN), ROOT)
    }

    /// That of another root in the same token.
    pub(crate) fn other_config(&self) -> HsmConfig {
        HsmConfig {
            root: RootId([0x77; 16]),
            key_label: "the-other".to_owned(),
            ..self.config()
        }
    }

    /// The first one's over the module that fails on demand.
    pub(crate) fn faulty_config(&self) -> HsmConfig {
        HsmConfig {
            module: fault().path.clone(),
            ..self.config()
        }
    }

    pub(crate) fn pin_file(&self, name: &str, pin: &str) -> PinSource {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.dir.join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, pin.as_bytes()).unwrap();
        PinSource::File(path)
    }

    pub(crate) fn make_token(&self) {
        let admin = HsmAdmin::open(softhsm()).unwrap();
        admin
            .init_token(TOKEN, &secret(SO_PIN), &secret(PIN))
            .unwrap();
    }

    /// A token with versions 1 to `versions`.
    pub(crate) fn provision(&self, versions: u32) {
        self.make_token();
        let admin = HsmAdmin::open(softhsm()).unwrap();
        let config = self.config();
        for version in 1..=versions {
            let status = admin.generate(&config, version, &config.pin).unwrap();
            assert!(status.is_sound());
        }
    }

    pub(crate) fn open(&self) -> HsmMasterKey {
        HsmMasterKey::open(self.config()).unwrap()
    }

    /// Does something to the token from another process.
    pub(crate) fn elsewhere(&self, what: &str) {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["kit::elsewhere", "--exact", "--nocapture", "--ignored"])
            .env(ELSEWHERE, what)
            .env(SITE, &self.dir)
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(
            std::fs::read_to_string(self.dir.join("elsewhere")).unwrap(),
            what
        );
        std::fs::remove_file(self.dir.join("elsewhere")).unwrap();
    }
}

/// The other process of [`Site::elsewhere`]; no test by itself.
#[test]
#[ignore = "started by other tests, in another process"]
fn elsewhere() {
    let (Ok(what), Some(dir)) = (std::env::var(ELSEWHERE), std::env::var_os(SITE)) else {
        return;
    };
    let site = Site { dir: dir.into() };
    let admin = HsmAdmin::open(softhsm()).unwrap();
    let (verb, version) = what.split_once(' ').unwrap();
    let version = version.parse().unwrap();
    let pin = site.pin_file("other-pin", PIN);
    match verb {
        "destroy" => admin.destroy(&site.config(), version, &pin).unwrap(),
        "destroy-other" => admin.destroy(&site.other_config(), version, &pin).unwrap(),
        "generate" => assert!(
            admin
                .generate(&site.config(), version, &pin)
                .unwrap()
                .is_sound()
        ),
        _ => panic!("{what}"),
    }
    std::fs::write(site.dir.join("elsewhere"), what).unwrap();
}

pub(crate) fn softhsm() -> &'static Path {
    const KNOWN: [&str; 4] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    KNOWN
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("SoftHSM is not installed")
}

pub(crate) fn secret(text: &str) -> SecretBytes {
    SecretBytes::take(text.as_bytes().to_vec()).unwrap()
}

/// A secret whose bytes tell secrets apart.
pub(crate) fn painted(seed: u8) -> Secret<32> {
    let mut bytes = [0; 32];
    for (at, byte) in (0_u8..).zip(&mut bytes) {
        *byte = seed.wrapping_mul(31).wrapping_add(at).wrapping_add(1);
    }
    Secret::take(&mut bytes).unwrap()
}

/// Calls `attempt` until it succeeds and tells how long that took.
pub(crate) fn recovery_time<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Duration {
    let start = Instant::now();
    while attempt().is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it never recovered"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// The module that fails on demand, `tests/p11fault`.
pub(crate) struct Fault {
    pub(crate) path: PathBuf,
    loaded: libloading::Library,
}

impl Fault {
    pub(crate) fn set(&self, rules: &str) {
        let rules = CString::new(rules).unwrap();
        // SAFETY: the function of this name takes a text that ends in a zero and keeps no pointer.
        let done = unsafe {
            self.loaded
                .get::<unsafe extern "C" fn(*const std::ffi::c_char) -> std::ffi::c_int>(
                    b"p11fault_set",
                )
                .map(|set| set(rules.as_ptr()))
        };
        assert_eq!(done.unwrap(), 0, "these rules cannot be read: {rules:?}");
    }

    pub(crate) fn calls(&self, function: &str) -> u64 {
        let function = CString::new(function).unwrap();
        // SAFETY: the function of this name takes a text that ends in a zero and keeps no pointer.
        let calls = unsafe {
            self.loaded
                .get::<unsafe extern "C" fn(*const std::ffi::c_char) -> u64>(b"p11fault_calls")
                .map(|calls| calls(function.as_ptr()))
        };
        calls.unwrap()
    }
}

/// Builds and loads the failing module. Cargo itself decides whether there is anything to build; a
/// directory of its own keeps this from waiting for the build that started the tests.
pub(crate) fn fault() -> &'static Fault {
    static FAULT: OnceLock<Fault> = OnceLock::new();
    FAULT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("p11fault");
        let status = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--package",
                "p11fault",
                "--manifest-path",
            ])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_TARGET_DIR")
            .status()
            .unwrap();
        assert!(status.success(), "p11fault does not build");
        let path = target.join("debug").join("libp11fault.so");
        // SAFETY: our own library, without constructors.
        let library = unsafe { libloading::Library::new(&path) }.unwrap();
        Fault {
            path,
            loaded: library,
        }
    })
}

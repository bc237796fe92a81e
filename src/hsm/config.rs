//! Where a master key is and how to reach it.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::HsmError;
use crate::id::RootId;
use crate::keys::Strategy;
use crate::secret::SecretBytes;

/// One root in one token.
#[derive(Clone, Debug)]
pub struct HsmConfig {
    /// The PKCS#11 module, by absolute path.
    pub module: PathBuf,
    /// The token's label. Slot numbers change and are never configured.
    pub token: String,
    /// Where the PIN of the token's user is read from, at each login.
    pub pin: PinSource,
    /// The root whose master key this is; with the version it decides `CKA_ID`.
    pub root: RootId,
    /// Label of the master key; its version `v` is labelled `LABEL-v1`, `LABEL-v2` and so on.
    /// Labels are for people: keys are found by `CKA_ID`, but two keys of one label are refused.
    pub key_label: String,
    /// How the root wraps; fixed for its life.
    pub strategy: Strategy,
    /// The version that wraps; `None` means the highest in the token.
    pub active_version: Option<u32>,
    /// Sessions, each with a thread of its own.
    pub sessions: usize,
    /// How long a caller waits at most.
    pub deadline: Duration,
}

impl HsmConfig {
    /// Four sessions, a deadline of two seconds, AES Key Wrap, the highest version wraps, and a
    /// label made of the root's first eight digits.
    #[must_use]
    pub fn new(module: &Path, token: &str, pin: PinSource, root: RootId) -> Self {
        let digits = root.to_string();
        let short = digits.get(..8).unwrap_or_default();
        Self {
            module: module.to_owned(),
            token: token.to_owned(),
            pin,
            root,
            key_label: format!("strongroom-{short}"),
            strategy: Strategy::Kw,
            active_version: None,
            sessions: 4,
            deadline: Duration::from_secs(2),
        }
    }

    /// The label of one version.
    pub(super) fn label(&self, version: u32) -> String {
        format!("{}-v{version}", self.key_label)
    }
}

/// Where a PIN is read from. Never a command line: those are public.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinSource {
    /// A file that only its owner and group may read; one trailing newline is not part of the PIN.
    File(PathBuf),
    /// A credential of the service manager: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl PinSource {
    /// Reads the PIN into locked memory.
    ///
    /// # Errors
    /// [`HsmError::PinUnreadable`], [`HsmError::Secret`].
    pub fn fetch(&self) -> Result<SecretBytes, HsmError> {
        let unreadable = |reason: String| HsmError::PinUnreadable {
            source_name: self.to_string(),
            reason,
        };
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => {
                let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
                match directory {
                    Some(directory) if plain => Path::new(&directory).join(name),
                    Some(_) => return Err(unreadable("it must be a plain file name".to_owned())),
                    None => {
                        return Err(unreadable(
                            "CREDENTIALS_DIRECTORY is not set; use LoadCredential= in the unit, or a file"
                                .to_owned(),
                        ));
                    }
                }
            }
        };
        let read = || -> std::io::Result<(u32, Zeroizing<Vec<u8>>)> {
            let mut file = std::fs::File::open(&path)?;
            let mode = file.metadata()?.permissions().mode();
            // Room for the longest PIN and more at once, so that no growing leaves a copy behind.
            let mut bytes = Zeroizing::new(vec![0; MAX_PIN_FILE]);
            let mut len = 0;
            while len < bytes.len() {
                match std::io::Read::read(&mut file, &mut bytes[len..])? {
                    0 => break,
                    more => len += more,
                }
            }
            bytes.truncate(len);
            Ok((mode, bytes))
        };
        let (mode, mut bytes) =
            read().map_err(|error| unreadable(format!("{}: {error}", path.display())))?;
        if mode & 0o007 != 0 {
            return Err(unreadable(format!(
                "{} may be read by everybody; chmod 600 it",
                path.display()
            )));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.is_empty() || bytes.len() >= MAX_PIN_FILE - 2 {
            return Err(unreadable(format!(
                "{} holds no PIN: it must have 1 to 255 bytes",
                path.display()
            )));
        }
        Ok(SecretBytes::take(std::mem::take(&mut *bytes))?)
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

/// The longest PIN, a line end, and one byte that shows there is more.
const MAX_PIN_FILE: usize = 258;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PinSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, PinSource::File(path))
    }

    #[test]
    fn one_line_end_is_not_part_of_the_pin() {
        for (content, pin) in [
            (&b"1234"[..], &b"1234"[..]),
            (b"1234\n", b"1234"),
            (b"1234\r\n", b"1234"),
            (b"12 34\n\n", b"12 34\n"),
        ] {
            let (_dir, source) = file(content, 0o600);
            assert_eq!(source.fetch().unwrap().expose(), pin);
        }
    }

    #[test]
    fn a_pin_that_everybody_may_read_is_refused() {
        let (_dir, source) = file(b"1234", 0o644);
        let text = source.fetch().unwrap_err().to_string();
        assert!(text.contains("chmod 600"), "{text}");
    }

    #[test]
    fn empty_and_oversized_pins_are_refused() {
        for content in [&b""[..], b"\n", &[b'1'; 256], &[b'1'; 4000]] {
            let (_dir, source) = file(content, 0o600);
            assert!(matches!(
                source.fetch(),
                Err(HsmError::PinUnreadable { .. })
            ));
        }
        let (_dir, source) = file(&[b'1'; 255], 0o600);
        assert_eq!(source.fetch().unwrap().expose().len(), 255);
    }

    #[test]
    fn a_credential_name_cannot_leave_its_directory() {
        for name in ["../pin", "", "..", "a/b"] {
            let source = PinSource::Credential(name.to_owned());
            assert!(matches!(
                source.fetch(),
                Err(HsmError::PinUnreadable { .. })
            ));
        }
    }
}

//! The users file: who may sign requests, with which access keys.
//!
//! ```toml
//! [[user]]
//! name = "root"
//! access_key = "SRXXXXXXXXXXXXXXXXXX"
//! secret_key = "..."
//! ```
//!
//! Secret keys are kept in locked memory and handed to the signature check one at a time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde::Deserialize;
use strongroom::secret::SecretBytes;

use crate::config::ConfigError;
use crate::process::read_secret_file;

/// All users, by access key.
pub(crate) struct Users {
    by_access_key: HashMap<String, User>,
}

struct User {
    name: Arc<str>,
    secret: SecretBytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    access_key: String,
    secret_key: SecretKey,
}

impl Users {
    /// Reads the users file. Errors name the file and the line, never its content.
    pub(crate) fn load(file: &Path) -> Result<Users, ConfigError> {
        let text = read_secret_file(file)?;
        Users::parse(&text, file)
    }

    fn parse(text: &str, file: &Path) -> Result<Users, ConfigError> {
        let parsed: File = toml::from_str(text).map_err(|error| {
            // Only the structural messages are passed on: others may quote a value.
            let full = ConfigError::in_toml(&error, text, file);
            match error.message() {
                known if known.starts_with("unknown field") || known.starts_with("missing field") => full,
                _ => full.with_message("not a users file: expected [[user]] tables with name, access_key and secret_key"),
            }
        })?;
        let mut by_access_key = HashMap::new();
        for entry in parsed.user {
            let fault = |what: &str| {
                Err(ConfigError::about(
                    file,
                    format!("user {:?}: {what}", entry.name),
                ))
            };
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            if entry.access_key.len() < 3 || !plain(&entry.access_key) {
                return fault(
                    "access_key must be at least 3 printable ASCII characters without `/`",
                );
            }
            if entry.secret_key.expose().len() < 16 {
                return fault("secret_key must have at least 16 characters");
            }
            if by_access_key.contains_key(&entry.access_key) {
                return fault("this access_key is already in use by another user of the file");
            }
            let secret = SecretBytes::take(entry.secret_key.expose().as_bytes().to_vec())
                .map_err(|error| ConfigError::about(file, error.to_string()))?;
            let user = User {
                name: entry.name.into(),
                secret,
            };
            by_access_key.insert(entry.access_key, user);
        }
        if by_access_key.is_empty() {
            return Err(ConfigError::about(
                file,
                "no user in it, so nobody could sign a request: add a [[user]] table",
            ));
        }
        Ok(Users { by_access_key })
    }

    /// The user's name behind an access key, for authorization and logs.
    pub(crate) fn name(&self, access_key: &str) -> Option<Arc<str>> {
        Some(Arc::clone(&self.by_access_key.get(access_key)?.name))
    }
}

/// Access key and secret key of the first user of a users file.
pub(crate) fn first(text: &str) -> Option<(String, SecretKey)> {
    let file: File = toml::from_str(text).ok()?;
    let first = file.user.into_iter().next()?;
    Some((first.access_key, first.secret_key))
}

/// The signature check's view of the users: s3s compares signatures in constant time.
pub(crate) struct Auth(pub(crate) Arc<Users>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.by_access_key.get(access_key) {
            Some(user) => match std::str::from_utf8(user.secret.expose()) {
                Ok(secret) => Ok(SecretKey::from(secret)),
                Err(_) => Err(s3_error!(InternalError)),
            },
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(text: &str) -> String {
        match Users::parse(text, Path::new("users.toml")) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn users_are_found_by_access_key() {
        let users = Users::parse(
            "[[user]]\nname='a'\naccess_key='AKA'\nsecret_key='0123456789abcdef'\n",
            Path::new("users.toml"),
        )
        .unwrap();
        assert_eq!(users.name("AKA").as_deref(), Some("a"));
        assert!(users.name("AKB").is_none());
    }

    #[test]
    fn errors_name_the_line_and_never_the_secret() {
        let message = error("[[user]]\nname='a'\naccess_key='AKA'\nsecret='0123456789abcdef'\n");
        assert!(
            message.starts_with("users.toml:4: unknown key `secret`"),
            "{message}"
        );
        for text in [
            "[[user]]\nname='a'\naccess_key='AKA'\nsecret_key=0123456789abcdef\n",
            "[[user]]\nname='a'\naccess_key='AKA'\nsecret_key=['0123456789abcdef']\n",
            "user='0123456789abcdef'\n",
        ] {
            let message = error(text);
            assert!(!message.contains("0123456789"), "{message}");
        }
    }

    #[test]
    fn an_empty_file_and_doubled_access_keys_are_refused() {
        assert!(error("").contains("no user"));
        let one = "[[user]]\nname='a'\naccess_key='AKA'\nsecret_key='0123456789abcdef'\n";
        assert!(error(&format!("{one}{one}")).contains("already in use"));
    }
}

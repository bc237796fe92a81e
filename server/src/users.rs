//! The users file: who may sign requests, with which access keys, and what each may do.
//!
//! ```toml
//! [[user]]
//! name = "root"                       # letters, digits and _-.@+=,$
//! access_key = "SRXXXXXXXXXXXXXXXXXX"
//! secret_key = "..."
//!
//! [[user]]
//! name = "clerk"
//! account = "root"                    # whose buckets it works on; by default the user's own
//! access_key = "..."
//! secret_key = "..."
//! keys = [{ access_key = "...", secret_key = "..." }]     # more of them
//! policy = '{"Version": "2012-10-17", "Statement": [...]}' # what it may do, without Principal
//! ```
//!
//! A user whose account is its own is the root of that account and may do everything with the
//! account's buckets, unless it has a policy; then, and for users of another's account, the policy
//! says what. More keys of a user: `admin = true` (every bucket of every account), and of an
//! account's root `display_name`, `email`, `id` (canonical id, 64 hex digits) and `account_id`
//! (twelve digits); the last two are made of the name where they are not given.
//!
//! The file is read again when it changes. Secret keys are kept in locked memory and handed to the
//! signature check one at a time.

mod watch;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use strongroom::secret::SecretBytes;

pub(crate) use self::watch::UserFile;
use crate::config::ConfigError;
use crate::policy::{Identity, Policy};
use crate::process::read_secret_file;

/// All users and accounts of one reading of the file.
pub(crate) struct Users {
    by_access_key: HashMap<String, Key>,
    accounts: HashMap<String, Account>,
}

struct Key {
    user: Arc<User>,
    secret: SecretBytes,
}

/// One user.
#[derive(Debug)]
pub(crate) struct User {
    /// What policies know of it.
    pub(crate) identity: Arc<Identity>,
    /// May do everything with the buckets of every account.
    pub(crate) admin: bool,
    /// What it may do; without one the root of an account may do everything there, and another
    /// user nothing.
    pub(crate) policy: Option<Policy>,
}

/// Who owns buckets and objects, and whom ACLs name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name: that of its root.
    pub(crate) name: String,
    /// Twelve digits.
    pub(crate) id: String,
    /// 64 hex digits.
    pub(crate) canonical: String,
    /// As ACLs and listings show it.
    pub(crate) display_name: String,
    /// By which ACLs may name it as well.
    pub(crate) email: Option<String>,
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
    #[serde(default)]
    keys: Vec<MoreKeys>,
    account: Option<String>,
    #[serde(default)]
    admin: bool,
    policy: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    id: Option<String>,
    account_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoreKeys {
    access_key: String,
    secret_key: SecretKey,
}

impl Users {
    /// Reads the users file. Errors name the file and the line, never its content.
    pub(crate) fn load(file: &Path) -> Result<Users, ConfigError> {
        let text = read_secret_file(file)?;
        Users::parse(&text, file)
    }

    /// Reads the text of a users file.
    pub(crate) fn parse(text: &str, file: &Path) -> Result<Users, ConfigError> {
        let parsed: File = toml::from_str(text).map_err(|error| {
            // Only the structural messages are passed on: others may quote a value.
            let full = ConfigError::in_toml(&error, text, file);
            match error.message() {
                known if known.starts_with("unknown field") || known.starts_with("missing field") => full,
                _ => full.with_message("not a users file: expected [[user]] tables with name, access_key and secret_key"),
            }
        })?;
        let mut users = Users {
            by_access_key: HashMap::new(),
            accounts: HashMap::new(),
        };
        let mut names = HashMap::new();
        for entry in &parsed.user {
            users
                .add_account(entry)
                .map_err(|what| entry.fault(file, &what))?;
        }
        for entry in parsed.user {
            let fault = |what: &str| entry.fault(file, what);
            if names.insert(entry.name.clone(), ()).is_some() {
                return Err(fault(
                    "there is another user of this name: further access keys of one user go into its `keys`",
                ));
            }
            let user = users.user(&entry).map_err(|what| fault(&what))?;
            let more = entry
                .keys
                .iter()
                .map(|more| (&more.access_key, &more.secret_key));
            for (access_key, secret_key) in [(&entry.access_key, &entry.secret_key)]
                .into_iter()
                .chain(more)
            {
                users
                    .add_key(&user, access_key, secret_key)
                    .map_err(|what| fault(&what))?;
            }
        }
        if users.by_access_key.is_empty() {
            return Err(ConfigError::about(
                file,
                "no user in it, so nobody could sign a request: add a [[user]] table",
            ));
        }
        Ok(users)
    }

    /// The account of an entry; what makes it more than a name stands with its root.
    fn add_account(&mut self, entry: &Entry) -> Result<(), String> {
        let name = entry.account();
        for name in [name, entry.name.as_str()] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@+=,$".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err("names have 1 to 64 letters, digits and _-.@+=,$".to_owned());
            }
            if name == ANONYMOUS || is_account_id(name) {
                return Err("this name has another meaning: `anonymous` is who does not sign, and twelve digits are an account id".to_owned());
            }
        }
        if entry.name != name {
            let of_root = entry.display_name.is_some()
                || entry.email.is_some()
                || entry.id.is_some()
                || entry.account_id.is_some();
            if of_root {
                return Err(
                    "display_name, email, id and account_id belong to the root of the account"
                        .to_owned(),
                );
            }
            self.accounts
                .entry(name.to_owned())
                .or_insert_with(|| Account::named(name));
            return Ok(());
        }
        let mut account = Account::named(name);
        if let Some(display_name) = &entry.display_name {
            account.display_name.clone_from(display_name);
        }
        if let Some(id) = &entry.id {
            if id.len() != 64
                || !id
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            {
                return Err("id must be 64 lower-case hex digits".to_owned());
            }
            account.canonical.clone_from(id);
        }
        if let Some(id) = &entry.account_id {
            if !is_account_id(id) {
                return Err("account_id must be twelve digits".to_owned());
            }
            account.id.clone_from(id);
        }
        account.email.clone_from(&entry.email);
        let same = self.accounts.values().find(|other| {
            other.name != account.name
                && (other.id == account.id
                    || other.canonical == account.canonical
                    || (other.email.is_some() && other.email == account.email))
        });
        if let Some(other) = same {
            return Err(format!(
                "id, account_id or email is that of account {:?}",
                other.name
            ));
        }
        self.accounts.insert(account.name.clone(), account);
        Ok(())
    }

    fn user(&self, entry: &Entry) -> Result<Arc<User>, String> {
        let account = self.account(entry.account());
        let policy = entry
            .policy
            .as_ref()
            .map(|policy| {
                Policy::for_user(policy.as_bytes()).map_err(|error| format!("policy: {error}"))
            })
            .transpose()?;
        Ok(Arc::new(User {
            identity: Arc::new(Identity {
                name: entry.name.clone(),
                account: account.name,
                account_id: account.id,
                canonical: account.canonical,
                display_name: account.display_name,
            }),
            admin: entry.admin,
            policy,
        }))
    }

    fn add_key(
        &mut self,
        user: &Arc<User>,
        access_key: &str,
        secret: &SecretKey,
    ) -> Result<(), String> {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if access_key.len() < 3 || !plain(access_key) {
            return Err(
                "access_key must be at least 3 printable ASCII characters without `/`".to_owned(),
            );
        }
        if secret.expose().len() < 16 {
            return Err("secret_key must have at least 16 characters".to_owned());
        }
        let key = Key {
            user: Arc::clone(user),
            secret: SecretBytes::take(secret.expose().as_bytes().to_vec())
                .map_err(|error| error.to_string())?,
        };
        match self.by_access_key.insert(access_key.to_owned(), key) {
            None => Ok(()),
            Some(_) => {
                Err("this access_key is already in use by another user of the file".to_owned())
            }
        }
    }

    /// The user behind an access key.
    pub(crate) fn by_access_key(&self, access_key: &str) -> Option<&Arc<User>> {
        Some(&self.by_access_key.get(access_key)?.user)
    }

    /// Whether a user has that name, or it is what who does not sign is called.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let mut known = self.by_access_key.values();
        name == ANONYMOUS || known.any(|key| *key.user.identity.name == *name)
    }

    /// The account of a name. One that is in no users file any more may still own buckets.
    pub(crate) fn account(&self, name: &str) -> Account {
        let known = self.accounts.get(name).cloned();
        known.unwrap_or_else(|| Account::named(name))
    }

    /// The account of a canonical id.
    pub(crate) fn by_canonical(&self, id: &str) -> Option<&Account> {
        self.accounts
            .values()
            .find(|account| account.canonical == id)
    }

    /// The account of an e-mail address.
    pub(crate) fn by_email(&self, email: &str) -> Option<&Account> {
        self.accounts
            .values()
            .find(|account| account.email.as_deref() == Some(email))
    }
}

impl Account {
    /// An account of which only the name is known.
    fn named(name: &str) -> Account {
        let digest = Sha256::new()
            .chain_update(b"strongroom account\0")
            .chain_update(name)
            .finalize();
        let number = digest.iter().fold(0u64, |number, byte| {
            (number * 256 + u64::from(*byte)) % 1_000_000_000_000
        });
        Account {
            name: name.to_owned(),
            id: format!("{number:012}"),
            canonical: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            display_name: name.to_owned(),
            email: None,
        }
    }

    /// Whether a request may call the account so: by name, by its twelve digits or by canonical id.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        name == self.name || name == self.id || name == self.canonical
    }
}

impl Entry {
    fn account(&self) -> &str {
        self.account.as_deref().unwrap_or(&self.name)
    }

    fn fault(&self, file: &Path, what: &str) -> ConfigError {
        ConfigError::about(file, format!("user {:?}: {what}", self.name))
    }
}

fn is_account_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// In logs and audit trails, who did not sign.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// Access key and secret key of the first user of a users file.
pub(crate) fn first(text: &str) -> Option<(String, SecretKey)> {
    let file: File = toml::from_str(text).ok()?;
    let first = file.user.into_iter().next()?;
    Some((first.access_key, first.secret_key))
}

/// The signature check's view of the users: s3s compares signatures in constant time.
pub(crate) struct Auth(pub(crate) Arc<UserFile>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.now().by_access_key.get(access_key) {
            Some(key) => match std::str::from_utf8(key.secret.expose()) {
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

    const ONE: &str = "[[user]]\nname='a'\naccess_key='AKA'\nsecret_key='0123456789abcdef'\n";

    fn users(text: &str) -> Users {
        Users::parse(text, Path::new("users.toml")).unwrap()
    }

    fn error(text: &str) -> String {
        match Users::parse(text, Path::new("users.toml")) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn users_are_found_by_each_of_their_access_keys() {
        let users = users(&format!(
            "{ONE}keys=[{{access_key='AKB',secret_key='fedcba9876543210'}}]\n"
        ));
        for key in ["AKA", "AKB"] {
            assert_eq!(users.by_access_key(key).unwrap().identity.name, "a");
        }
        assert!(users.by_access_key("AKC").is_none());
    }

    #[test]
    fn a_user_is_the_root_of_its_own_account_or_works_for_another() {
        let users = users(&format!(
            "{ONE}display_name='A. Tester'\nemail='a@example.com'\naccount_id='123456789012'\n\
             [[user]]\nname='clerk'\naccount='a'\naccess_key='AKC'\nsecret_key='0123456789abcdef'\n"
        ));
        let root = &users.by_access_key("AKA").unwrap().identity;
        let clerk = &users.by_access_key("AKC").unwrap().identity;
        assert!(root.is_root() && !clerk.is_root());
        assert_eq!(root.canonical, clerk.canonical);
        assert_eq!(root.arn(), "arn:aws:iam::123456789012:root");
        assert_eq!(clerk.arn(), "arn:aws:iam::123456789012:user/clerk");
        assert_eq!(users.by_email("a@example.com").unwrap().name, "a");
        assert_eq!(
            users.by_canonical(&root.canonical).unwrap().display_name,
            "A. Tester"
        );
    }

    #[test]
    fn ids_are_made_of_names_and_stay() {
        let first = users(ONE).account("a");
        assert_eq!(first, Account::named("a"));
        assert_eq!((first.canonical.len(), first.id.len()), (64, 12));
        assert_eq!(
            first.canonical,
            "19a65b3f4b0a2fa4628d4f67659f741458229665f1d05f4c8fe46c27e8615b46"
        );
        assert_ne!(Account::named("b").canonical, first.canonical);
    }

    #[test]
    fn what_would_make_two_users_one_is_refused() {
        let b = "[[user]]\nname='b'\naccess_key='AKB'\nsecret_key='0123456789abcdef'\n";
        let id = Account::named("a").canonical;
        for (text, expected) in [
            (format!("{ONE}{ONE}"), "another user of this name"),
            (
                format!("{ONE}{}", b.replace("AKB", "AKA")),
                "already in use",
            ),
            (format!("{ONE}{b}id='{id}'\n"), "is that of account \"a\""),
            (
                format!("{ONE}email='x'\n{b}email='x'\n"),
                "is that of account \"a\"",
            ),
            (ONE.replace("'a'", "'anonymous'"), "another meaning"),
            (ONE.replace("'a'", "'123456789012'"), "another meaning"),
            (ONE.replace("'a'", "'a/b'"), "letters, digits"),
            (
                format!("{ONE}account='b'\nemail='x'\n"),
                "root of the account",
            ),
            (format!("{ONE}id='0'\n"), "64 lower-case hex digits"),
            (format!("{ONE}account_id='0'\n"), "twelve digits"),
            (
                format!("{ONE}policy='{{}}'\n"),
                "policy: missing field `Statement`",
            ),
        ] {
            let message = error(&text);
            assert!(message.contains(expected), "{text}: {message}");
        }
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
    fn an_empty_file_is_refused() {
        assert!(error("").contains("no user"));
    }
}

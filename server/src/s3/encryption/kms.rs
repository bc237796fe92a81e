//! SSE-KMS: the master keys of the token that clients may name, and the names they have.
//!
//! A key is known by its id, by its aliases and by the ARNs of both; objects are bound to the root
//! itself, so a key may be given other names later.

use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::id::RootId;
use strongroom::keys::{KeyError, Keyring, encode_encryption_context};

use super::sse::{SSE_BUCKET_KEY, SSE_CONTEXT, SSE_KEY_ID, base64_decode, header};
use crate::config::{Compat, Config, KmsState};
use crate::engine::{CONFIGURATION, parse_root};
use crate::s3::access::Principal;
use crate::s3::errors::{custom, error, invalid_argument};

/// The keys that may be named.
pub(crate) struct Kms {
    keys: RwLock<Vec<Arc<KmsKey>>>,
    region: String,
}

/// A key that may be named.
pub(in crate::s3) struct KmsKey {
    pub(in crate::s3) root: RootId,
    aliases: Vec<String>,
    state: KmsState,
    /// Who may use it, where that was said.
    users: Option<Vec<String>>,
    /// As replies name it.
    name: String,
    arn: String,
}

/// What a request says about its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::s3) struct Named {
    /// Absent: the default key.
    pub(in crate::s3) key: Option<String>,
    /// Encoded as records bind it; empty for none.
    pub(in crate::s3) context: Vec<u8>,
    /// As it came, to be echoed.
    pub(in crate::s3) context_header: Option<String>,
    /// Absent: the bucket's default decides.
    pub(in crate::s3) bucket_key: Option<bool>,
}

/// Keys of the account that owns everything here.
const ACCOUNT: &str = "000000000000";
/// The alias of the key that is taken where none is named.
const DEFAULT_ALIAS: &str = "aws/s3";

impl Kms {
    /// The keys of a configuration whose root ids were found good when the engine opened.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            keys: RwLock::new(KmsKey::all(config)),
            region: config.s3.region.clone(),
        }
    }

    /// Takes names, users and states of keys from a configuration that was read again. A root that
    /// the keyring does not have waits for the next start; one that is configured no more has no
    /// name, and what is under it is read until then.
    ///
    /// # Errors
    /// [`KeyError::Audit`]: a key that was to be enabled is not.
    pub(crate) fn take(&self, config: &Config, keyring: &Keyring) -> Result<(), KeyError> {
        let known: Vec<RootId> = keyring.roots().iter().map(|root| root.id).collect();
        let (keys, later): (Vec<_>, Vec<_>) = KmsKey::all(config)
            .into_iter()
            .partition(|key| known.contains(&key.root));
        for key in later {
            tracing::warn!(root = %key.root, "[[kms]]: a new key, which the next start opens");
        }
        // Whatever else fails, who may use a key holds at once.
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.clone();
        let mut done = Ok(());
        for key in keys {
            let set = keyring.set_root_state(key.root, key.state.of_root(), CONFIGURATION);
            done = done.and(set);
        }
        done
    }

    fn now(&self) -> Vec<Arc<KmsKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// What is under this root may be used by who asks, as far as the key says who may.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(in crate::s3) fn must_allow(
        &self,
        root: Option<RootId>,
        by: &Principal,
        action: &str,
    ) -> S3Result<()> {
        let Some(root) = root else { return Ok(()) };
        match self.now().iter().find(|key| key.root == root) {
            Some(key) => key.must_allow(by, action),
            None => Ok(()),
        }
    }

    /// The key of this name, or the default key, if it may be used now.
    ///
    /// # Errors
    /// `NotImplemented` if there are no keys at all; the `KMS.*` errors.
    pub(in crate::s3) fn find(&self, name: Option<&str>) -> S3Result<Arc<KmsKey>> {
        let keys = self.now();
        let first = keys.first().ok_or_else(super::sse::kms_not_configured)?;
        let key = match name {
            Some(name) => self.named(&keys, name)?,
            None => {
                let default = keys.iter().find(|key| key.has_alias(DEFAULT_ALIAS));
                Arc::clone(default.unwrap_or(first))
            }
        };
        match key.state {
            KmsState::Enabled => Ok(key),
            KmsState::Disabled => Err(disabled(&key.arn)),
            KmsState::PendingDeletion => Err(pending_deletion(&key.arn)),
        }
    }

    /// How replies name the key of a root.
    pub(in crate::s3) fn name_of(&self, root: RootId) -> String {
        match self.now().iter().find(|key| key.root == root) {
            Some(key) => key.name.clone(),
            None => format!("arn:aws:kms:{}:{ACCOUNT}:key/{}", self.region, id(root)),
        }
    }

    /// An error that names a root, with the key's ARN in its place.
    pub(in crate::s3) fn in_terms_of_the_client(&self, cause: S3Error) -> S3Error {
        let code = cause.code().as_str().to_owned();
        let Some(code) = CODES.into_iter().find(|known| *known == code) else {
            return cause;
        };
        let message = cause.message().unwrap_or_default();
        let keys = self.now();
        let key = keys
            .iter()
            .find(|key| message.contains(&key.root.to_string()));
        match key {
            Some(key) => {
                let message = message.replace(&key.root.to_string(), &key.arn);
                custom(StatusCode::BAD_REQUEST, code, message)
            }
            None => cause,
        }
    }

    fn named(&self, keys: &[Arc<KmsKey>], name: &str) -> S3Result<Arc<KmsKey>> {
        let local = match name.strip_prefix("arn:aws:kms:") {
            None => name,
            Some(rest) => {
                let mut fields = rest.splitn(3, ':');
                let (region, account, local) = (fields.next(), fields.next(), fields.next());
                match (region, account, local) {
                    (Some(region), _, Some(_)) if region != self.region => {
                        return Err(not_found(format!("Invalid arn {region}")));
                    }
                    (_, Some(ACCOUNT), Some(local)) => local,
                    _ => return Err(not_found(format!("Key '{name}' does not exist"))),
                }
            }
        };
        let is_arn = local.len() != name.len();
        let found = match (local.strip_prefix("alias/"), local.strip_prefix("key/")) {
            (Some(alias), _) => keys.iter().find(|key| key.has_alias(alias)),
            (None, Some(id)) if is_arn => keys.iter().find(|key| key.has_id(id)),
            _ if is_arn => None,
            _ => keys
                .iter()
                .find(|key| key.has_id(local) || key.has_alias(local)),
        };
        found.cloned().ok_or_else(|| {
            not_found(if is_arn || local.starts_with("alias/") {
                format!("Key '{name}' does not exist")
            } else {
                format!("Invalid keyId '{name}'")
            })
        })
    }
}

impl KmsKey {
    /// The keys of a configuration whose root ids are ids.
    fn all(config: &Config) -> Vec<Arc<KmsKey>> {
        let keys = config.kms.iter().filter_map(|key| {
            let root = parse_root(&key.root)?;
            let region = &config.s3.region;
            let arn = format!("arn:aws:kms:{region}:{ACCOUNT}:key/{}", id(root));
            let alias = key.aliases.first();
            Some(Arc::new(KmsKey {
                root,
                aliases: key.aliases.clone(),
                state: key.state,
                users: key.users.clone(),
                name: match (config.s3.compat, alias) {
                    (Compat::Ceph, Some(alias)) => alias.clone(),
                    _ => arn.clone(),
                },
                arn,
            }))
        });
        keys.collect()
    }

    /// Who asks may use it.
    ///
    /// # Errors
    /// `AccessDenied`, as the service words it.
    pub(in crate::s3) fn must_allow(&self, by: &Principal, action: &str) -> S3Result<()> {
        match &self.users {
            Some(users) if !users.iter().any(|user| **user == *by.name) => Err(error(
                S3ErrorCode::AccessDenied,
                format!(
                    "User: {} is not authorized to perform: {action} on resource: {} because no resource-based policy allows the {action} action",
                    by.arn(),
                    self.arn
                ),
            )),
            _ => Ok(()),
        }
    }

    /// As replies name it.
    pub(in crate::s3) fn name(&self) -> String {
        self.name.clone()
    }

    fn has_alias(&self, alias: &str) -> bool {
        self.aliases.iter().any(|known| known == alias)
    }

    /// With hyphens as key ids have them, or without as roots are written.
    fn has_id(&self, text: &str) -> bool {
        text == id(self.root) || text == self.root.to_string()
    }
}

impl Named {
    /// Reads the headers that go with `aws:kms`.
    ///
    /// # Errors
    /// `InvalidArgument` for a context that is not base64 of a JSON object of strings, and for a
    /// flag that is none.
    pub(in crate::s3) fn read(headers: &HeaderMap) -> S3Result<Self> {
        let context_header = header(headers, SSE_CONTEXT).map(str::to_owned);
        let context = match &context_header {
            None => Vec::new(),
            Some(text) => encode(text).ok_or_else(|| {
                invalid_argument(
                    SSE_CONTEXT,
                    text,
                    "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map",
                )
            })?,
        };
        Ok(Self {
            key: header(headers, SSE_KEY_ID)
                .filter(|key| !key.is_empty())
                .map(str::to_owned),
            context,
            context_header,
            bucket_key: bucket_key(headers)?,
        })
    }
}

/// Whether the request wants the calls to the HSM spared. They are, whatever it says: the flag is
/// kept and told again.
///
/// # Errors
/// `InvalidArgument`.
pub(in crate::s3) fn bucket_key(headers: &HeaderMap) -> S3Result<Option<bool>> {
    match header(headers, SSE_BUCKET_KEY) {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(other) => Err(invalid_argument(
            SSE_BUCKET_KEY,
            other,
            "The x-amz-server-side-encryption-bucket-key-enabled header must be true or false.",
        )),
    }
}

/// An encryption context of the wire as records bind it.
fn encode(text: &str) -> Option<Vec<u8>> {
    let json = base64_decode(text.as_bytes())?;
    let Pairs(pairs) = serde_json::from_slice(&json).ok()?;
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    // A name that stands twice is refused there.
    encode_encryption_context(&pairs).ok()
}

/// A JSON object of strings, each name as often as it stands there.
struct Pairs(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A root as key ids are written.
fn id(root: RootId) -> String {
    let digits = root.to_string();
    let mut id = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

/// The actions that writing and reading under a key are.
pub(in crate::s3) const WRITE: &str = "kms:GenerateDataKey";
pub(in crate::s3) const READ: &str = "kms:Decrypt";

const NOT_FOUND: &str = "KMS.NotFoundException";
const DISABLED: &str = "KMS.DisabledException";
const INVALID_STATE: &str = "KMS.KMSInvalidStateException";
const CODES: [&str; 3] = [NOT_FOUND, DISABLED, INVALID_STATE];

fn not_found(message: String) -> S3Error {
    custom(StatusCode::BAD_REQUEST, NOT_FOUND, message)
}

/// The key, by ARN or root, is disabled.
pub(in crate::s3) fn disabled(key: &str) -> S3Error {
    custom(
        StatusCode::BAD_REQUEST,
        DISABLED,
        format!("{key} is disabled."),
    )
}

/// The key, by ARN or root, is to be destroyed.
pub(in crate::s3) fn pending_deletion(key: &str) -> S3Error {
    custom(
        StatusCode::BAD_REQUEST,
        INVALID_STATE,
        format!("{key} is pending deletion."),
    )
}

/// No key of this root is configured any more.
pub(in crate::s3) fn no_such_root(root: RootId) -> S3Error {
    not_found(format!("Key '{root}' does not exist"))
}

/// Two layers of encryption are not offered.
pub(in crate::s3) fn no_dsse() -> S3Error {
    error(
        S3ErrorCode::NotImplemented,
        "aws:kms:dsse is not implemented",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::sse::base64_encode;
    use super::*;

    fn kms() -> Kms {
        let key = |byte: u8, alias: &str, state| {
            Arc::new(KmsKey {
                root: RootId([byte; 16]),
                aliases: vec![alias.to_owned()],
                state,
                users: None,
                name: String::new(),
                arn: format!("arn:aws:kms:eu-1:{ACCOUNT}:key/{}", id(RootId([byte; 16]))),
            })
        };
        Kms {
            keys: RwLock::new(vec![
                key(1, "first", KmsState::Enabled),
                key(2, "aws/s3", KmsState::Enabled),
                key(3, "off", KmsState::Disabled),
                key(4, "gone", KmsState::PendingDeletion),
            ]),
            region: "eu-1".into(),
        }
    }

    #[test]
    fn a_key_is_known_by_every_name_it_has() {
        let kms = kms();
        let uuid = "01010101-0101-0101-0101-010101010101";
        for name in [
            uuid.to_owned(),
            "01".repeat(16),
            "first".to_owned(),
            "alias/first".to_owned(),
            format!("arn:aws:kms:eu-1:{ACCOUNT}:key/{uuid}"),
            format!("arn:aws:kms:eu-1:{ACCOUNT}:alias/first"),
        ] {
            assert_eq!(kms.find(Some(&name)).unwrap().root.0[0], 1, "{name}");
        }
        assert_eq!(kms.find(None).unwrap().root.0[0], 2);
    }

    #[test]
    fn what_cannot_be_used_is_named_as_the_service_names_it() {
        let kms = kms();
        let uuid = "09090909-0909-0909-0909-090909090909";
        let arn = |rest: &str| format!("arn:aws:kms:{rest}");
        let missing = arn(&format!("eu-1:{ACCOUNT}:key/{uuid}"));
        let off = format!("arn:aws:kms:eu-1:{ACCOUNT}:key/{}", id(RootId([3; 16])));
        let gone = format!("arn:aws:kms:eu-1:{ACCOUNT}:key/{}", id(RootId([4; 16])));
        for (name, code, message) in [
            (
                "fake-key-id",
                NOT_FOUND,
                "Invalid keyId 'fake-key-id'".to_owned(),
            ),
            ("", NOT_FOUND, "Invalid keyId ''".to_owned()),
            (
                &missing,
                NOT_FOUND,
                format!("Key '{missing}' does not exist"),
            ),
            (
                &arn("us-9:1:key/x"),
                NOT_FOUND,
                "Invalid arn us-9".to_owned(),
            ),
            ("alias/off", DISABLED, format!("{off} is disabled.")),
            (
                "alias/gone",
                INVALID_STATE,
                format!("{gone} is pending deletion."),
            ),
        ] {
            let error = kms.find(Some(name)).err().unwrap();
            assert_eq!(error.code().as_str(), code, "{name}");
            assert_eq!(error.message(), Some(message.as_str()));
        }
        let from_vault = disabled(&RootId([3; 16]).to_string());
        let told = kms.in_terms_of_the_client(from_vault);
        assert_eq!(told.message(), Some(format!("{off} is disabled.").as_str()));
    }

    #[test]
    fn a_context_is_a_map_of_strings_and_its_order_does_not_matter() {
        let coded = |json: &str| encode(&base64_encode(json.as_bytes()));
        assert_eq!(
            coded(r#"{"a":"1","b":"2"}"#).unwrap(),
            coded(r#"{"b":"2","a":"1"}"#).unwrap()
        );
        assert_eq!(coded("{}"), Some(Vec::new()));
        for wrong in [r#"{"a":1}"#, "[]", "x", r#"{"a":"1","a":"2"}"#, ""] {
            assert_eq!(coded(wrong), None, "{wrong}");
        }
        assert_eq!(encode("not base64"), None);
    }
}

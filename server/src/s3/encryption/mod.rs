//! What a write gets: its own headers over the bucket's default over `AES256`, or over nothing in a
//! bucket that an operator opened for plaintext. One function decides for every way to write.

pub(super) mod bucket_default;
pub(super) mod kms;
pub(super) mod sse;
pub(super) mod update;

use std::sync::Arc;

use http::HeaderMap;
use s3s::S3Result;
use s3s::dto::ServerSideEncryption;
use serde::{Deserialize, Serialize};
use strongroom::id::RootId;
use strongroom::keys::Mode;
use strongroom::vault::{ObjectInfo, Protection};

use self::kms::Named;
use self::sse::{Asked, CustomerFields, CustomerKey};
use super::AppState;
use super::access::Principal;
use super::buckets::documents::{At, Document};
use super::facts::Facts;

/// What PutBucketEncryption set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketEncryption {
    /// Absent: nothing was set, or it was deleted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<DefaultEncryption>,
    /// Whether writes under customer keys are refused. Absent: the server's setting decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) customer_keys_blocked: Option<bool>,
}

impl Document for BucketEncryption {
    const NAME: &'static str = "encryption";
}

/// The default of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefaultEncryption {
    pub(super) algorithm: Algorithm,
    /// Key id, alias or ARN, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) bucket_key: bool,
}

/// What a bucket can have as its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
}

/// What a write gets.
pub(super) struct Resolved {
    pub(super) protection: Protection,
    /// Whether the request asked for it, rather than the bucket's default.
    pub(super) asked: bool,
    pub(super) reply: Reply,
}

/// The encryption of an object as replies name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) server_side_encryption: Option<ServerSideEncryption>,
    pub(super) customer_key_md5: Option<String>,
    pub(super) kms_key: Option<String>,
    /// Only the reply to a write has it.
    pub(super) kms_context: Option<String>,
    pub(super) bucket_key: Option<bool>,
}

impl Reply {
    /// That of a stored object; the flag is among its facts, the MD5 of the key that just opened it.
    pub(super) fn of(
        state: &AppState,
        info: &ObjectInfo,
        bucket_key: bool,
        customer_key_md5: Option<String>,
    ) -> Self {
        Self::of_mode(
            state,
            (info.mode, info.kms_root),
            bucket_key,
            customer_key_md5,
        )
    }

    /// The same of an upload, or of what the catalog says of an object.
    pub(super) fn of_mode(
        state: &AppState,
        (mode, root): (Mode, Option<RootId>),
        bucket_key: bool,
        customer_key_md5: Option<String>,
    ) -> Self {
        match (mode, root) {
            (Mode::Customer, _) => Self::customer(customer_key_md5),
            (Mode::Plain, _) => Self::default(),
            (Mode::Kms, Some(root)) => Self::kms(state.kms.name_of(root), bucket_key),
            _ => Self::named(ServerSideEncryption::AES256),
        }
    }

    fn named(algorithm: &'static str) -> Self {
        Self {
            server_side_encryption: Some(ServerSideEncryption::from_static(algorithm)),
            ..Self::default()
        }
    }

    fn customer(md5: Option<String>) -> Self {
        Self {
            customer_key_md5: md5,
            ..Self::default()
        }
    }

    fn kms(key: String, bucket_key: bool) -> Self {
        Self {
            kms_key: Some(key),
            bucket_key: bucket_key.then_some(true),
            ..Self::named(ServerSideEncryption::AWS_KMS)
        }
    }

    pub(super) fn customer_algorithm(&self) -> Option<String> {
        self.customer_key_md5.as_ref().map(|_| "AES256".to_owned())
    }
}

/// Sets the encryption fields of an output.
macro_rules! set_encryption {
    ($output:expr, $reply:expr) => {
        let reply: &$crate::s3::encryption::Reply = $reply;
        $output.server_side_encryption = reply.server_side_encryption.clone();
        $output.sse_customer_algorithm = reply.customer_algorithm();
        $output.sse_customer_key_md5 = reply.customer_key_md5.clone();
        $output.ssekms_key_id = reply.kms_key.clone();
        $output.bucket_key_enabled = reply.bucket_key;
    };
}
pub(super) use set_encryption;

impl Resolved {
    fn managed(asked: bool) -> Self {
        Self {
            protection: Protection::Managed,
            asked,
            reply: Reply::named(ServerSideEncryption::AES256),
        }
    }

    /// Under the key that the request names, or the bucket's default, or the default key.
    fn kms(
        state: &AppState,
        principal: &Principal,
        named: Named,
        asked: bool,
        default: Option<&DefaultEncryption>,
    ) -> S3Result<Self> {
        let default = default.filter(|default| default.algorithm == Algorithm::Kms);
        let name = named
            .key
            .as_deref()
            .or_else(|| default.and_then(|default| default.key.as_deref()));
        let key = state.kms.find(name)?;
        key.must_allow(principal, kms::WRITE)?;
        let bucket_key = named
            .bucket_key
            .unwrap_or_else(|| default.is_some_and(|default| default.bucket_key));
        let mut reply = Reply::kms(key.name(), bucket_key);
        reply.kms_context = named.context_header;
        Ok(Self {
            protection: Protection::Kms {
                root: key.root,
                context: named.context,
            },
            asked,
            reply,
        })
    }

    /// What of it is kept among an object's facts, since only replies need it.
    pub(super) fn note(&self, facts: &mut Facts) {
        facts.bucket_key = self.reply.bucket_key == Some(true);
    }
}

/// Decides what a write to a bucket gets.
///
/// # Errors
/// As [`sse::asked`]; `AccessDenied` for a customer key where they are blocked, whatever the key, and
/// for a named key that is not for who asks.
pub(super) async fn resolve(
    state: &Arc<AppState>,
    principal: &Principal,
    at: &At,
    headers: &HeaderMap,
    customer: CustomerFields,
) -> S3Result<Resolved> {
    let configured = state.documents.of::<BucketEncryption>(at).await?;
    if sse::brings_customer_key(headers) {
        let blocked = configured
            .as_ref()
            .and_then(|configured| configured.customer_keys_blocked)
            .unwrap_or(!state.settings.customer_keys);
        if blocked {
            return Err(sse::customer_keys_blocked());
        }
    }
    let default = configured
        .as_ref()
        .and_then(|configured| configured.default.as_ref());
    match (sse::asked(headers, customer)?, default) {
        (Asked::Customer(CustomerKey { key, md5 }), _) => Ok(Resolved {
            protection: Protection::Customer(key),
            asked: true,
            reply: Reply::customer(Some(md5)),
        }),
        (Asked::Managed, _) => Ok(Resolved::managed(true)),
        (Asked::Kms(named), default) => Resolved::kms(state, principal, named, true, default),
        (Asked::Default, Some(default)) => match default.algorithm {
            Algorithm::Aes256 => Ok(Resolved::managed(false)),
            Algorithm::Kms => {
                let named = Named {
                    bucket_key: kms::bucket_key(headers)?,
                    ..Named::default()
                };
                Resolved::kms(state, principal, named, false, Some(default))
            }
        },
        (Asked::Default, None) if state.documents.plaintext(at).await? => Ok(Resolved {
            protection: Protection::Plain,
            asked: false,
            reply: Reply::default(),
        }),
        (Asked::Default, None) => Ok(Resolved::managed(false)),
    }
}

//! What a request says to condition keys.

use std::cell::Cell;

use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Principal;
use super::asks::Asks;
use super::decide::Seen;
use crate::policy::{Caller, Context, Key, Values};
use crate::s3::wire::query::decoded;
use crate::users::Account;

/// One question about one resource, to policies.
pub(super) struct RequestContext<'a> {
    pub(super) asks: &'a Asks,
    pub(super) principal: &'a Principal,
    /// Who owns the bucket.
    pub(super) owner: &'a Account,
    /// The object in question, as far as it was looked at.
    pub(super) seen: &'a Seen,
    /// Version id of the object in question.
    pub(super) version: Option<&'a str>,
    /// It is the source of a copy: read, whatever the headers ask to write.
    pub(super) source: bool,
    /// Set when a condition asked for the object.
    pub(super) looked: Cell<bool>,
}

impl Context for RequestContext<'_> {
    fn values(&self, key: &Key) -> Values {
        let asks = self.asks;
        let header = |name: &str| Values::of(asks.header(name).filter(|_| !self.source));
        match key {
            Key::CurrentTime => Values::of(asks.now.format(&Rfc3339).ok()),
            Key::EpochTime => Values::of(Some(asks.now.unix_timestamp().to_string())),
            Key::SourceIp => Values::of(asks.peer.map(|peer| peer.to_string())),
            Key::SecureTransport => Values::of(Some(asks.tls.is_some().to_string())),
            Key::TlsVersion => Values::of(asks.tls),
            Key::Referer => Values::of(asks.header("referer")),
            Key::UserAgent => Values::of(asks.header("user-agent")),
            Key::RequestedRegion => Values::of(Some(asks.region.as_str())),
            Key::PrincipalIsService | Key::ViaService => Values::of(Some("false")),
            Key::Username
            | Key::Userid
            | Key::PrincipalArn
            | Key::PrincipalAccount
            | Key::PrincipalType => self.of_principal(key),
            Key::ResourceAccount | Key::S3ResourceAccount => {
                Values::of(Some(self.owner.id.as_str()))
            }
            Key::Prefix => Values::of(asks.parameter("prefix")),
            Key::Delimiter => Values::of(asks.parameter("delimiter")),
            Key::MaxKeys => Values::of(asks.parameter("max-keys")),
            Key::VersionId => Values::of(self.version),
            Key::LocationConstraint => Values::of(asks.body.location.as_deref()),
            Key::Acl => header("x-amz-acl"),
            Key::GrantRead => header("x-amz-grant-read"),
            Key::GrantWrite => header("x-amz-grant-write"),
            Key::GrantReadAcp => header("x-amz-grant-read-acp"),
            Key::GrantWriteAcp => header("x-amz-grant-write-acp"),
            Key::GrantFullControl => header("x-amz-grant-full-control"),
            Key::CopySource => {
                let source = asks.header("x-amz-copy-source").filter(|_| !self.source);
                Values::of(source.map(copy_source))
            }
            Key::MetadataDirective => header("x-amz-metadata-directive"),
            Key::StorageClass => header("x-amz-storage-class"),
            Key::Sse | Key::SseKeyId | Key::SseCustomerAlgorithm => self.of_encryption(key),
            Key::ContentSha256 => Values::of(asks.payload()),
            Key::WebsiteRedirect => header("x-amz-website-redirect-location"),
            Key::ObjectOwnership => header("x-amz-object-ownership"),
            Key::ObjectLockMode => self.of_lock("x-amz-object-lock-mode", &asks.body.lock_mode),
            Key::ObjectLockRetainUntil => Values::of(self.retain_until()),
            Key::ObjectLockRemainingDays => Values::of(self.remaining_days()),
            Key::ObjectLockLegalHold => {
                self.of_lock("x-amz-object-lock-legal-hold", &asks.body.legal_hold)
            }
            Key::IfMatch => header("if-match"),
            Key::IfNoneMatch => header("if-none-match"),
            Key::ObjectCreation => Values::of(match asks.operation.as_str() {
                _ if self.source => None,
                "PutObject" | "CopyObject" | "PostObject" | "CompleteMultipartUpload" => {
                    Some("true")
                }
                "CreateMultipartUpload" | "UploadPart" | "UploadPartCopy" => Some("false"),
                _ => None,
            }),
            Key::RequestObjectTag(wanted) => {
                let mut tags = self.request_tags().into_iter();
                Values::of(
                    tags.find(|(name, _)| name == wanted)
                        .map(|(_, value)| value),
                )
            }
            Key::RequestObjectTagKeys => Values::Known(
                self.request_tags()
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect(),
            ),
            Key::ExistingObjectTag(wanted) => {
                self.looked.set(true);
                match self.seen {
                    Seen::There(facts) => Values::of(facts.tag(wanted)),
                    Seen::Missing | Seen::NotYet => Values::ABSENT,
                }
            }
            Key::SignatureVersion => Values::of(asks.signature.map(|signature| signature.version)),
            Key::AuthType => Values::of(asks.signature.map(|signature| signature.place)),
            Key::SignatureAge => Values::of(self.signature_age().map(|age| age.to_string())),
            Key::Elsewhere => Values::ABSENT,
        }
    }
}

impl RequestContext<'_> {
    fn of_principal(&self, key: &Key) -> Values {
        let Caller::User(user) = self.principal.caller() else {
            let kind = (*key == Key::PrincipalType).then_some("Anonymous");
            return Values::of(kind);
        };
        Values::of(Some(match key {
            Key::Username => user.name.clone(),
            Key::Userid if user.is_root() => user.account_id.clone(),
            Key::Userid => user.name.clone(),
            Key::PrincipalArn => user.arn(),
            Key::PrincipalAccount => user.account_id.clone(),
            _ if user.is_root() => "Account".to_owned(),
            _ => "User".to_owned(),
        }))
    }

    /// How an upload is encrypted was decided when it was created.
    fn of_encryption(&self, key: &Key) -> Values {
        if self.source {
            return Values::ABSENT;
        }
        match self.asks.operation.as_str() {
            "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" => Values::Settled,
            _ => Values::of(self.asks.header(match key {
                Key::SseKeyId => "x-amz-server-side-encryption-aws-kms-key-id",
                Key::SseCustomerAlgorithm => "x-amz-server-side-encryption-customer-algorithm",
                _ => "x-amz-server-side-encryption",
            })),
        }
    }

    fn of_lock(&self, header: &str, body: &Option<String>) -> Values {
        let said = body.as_deref().or_else(|| self.asks.header(header));
        Values::of(said.filter(|_| !self.source))
    }

    fn retain_until(&self) -> Option<&str> {
        let header = "x-amz-object-lock-retain-until-date";
        let body = self.asks.body.retain_until.as_deref();
        body.or_else(|| self.asks.header(header))
            .filter(|_| !self.source)
    }

    fn remaining_days(&self) -> Option<String> {
        let until = OffsetDateTime::parse(self.retain_until()?, &Iso8601::PARSING).ok()?;
        // A day that has begun counts.
        let seconds = (until - self.asks.now).whole_seconds();
        Some(
            seconds
                .div_euclid(86_400)
                .saturating_add(i64::from(seconds.rem_euclid(86_400) > 0))
                .to_string(),
        )
    }

    fn request_tags(&self) -> Vec<(String, String)> {
        if self.source {
            Vec::new()
        } else {
            self.asks.tags()
        }
    }

    fn signature_age(&self) -> Option<i128> {
        let signed = PrimitiveDateTime::parse(self.asks.signed_at()?, &Iso8601::PARSING).ok()?;
        let age = self.asks.now - signed.assume_utc();
        Some(age.whole_milliseconds().max(0))
    }
}

/// `bucket/key`, as policies write it, of the header of a copy.
fn copy_source(header: &str) -> String {
    let path = header
        .split_once("?versionId=")
        .map_or(header, |(path, _)| path);
    let path = decoded(path, false);
    path.strip_prefix('/').map(str::to_owned).unwrap_or(path)
}

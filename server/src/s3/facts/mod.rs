//! What is kept with an object beside its bytes, and how it reads on the wire.

pub(super) mod amend;
pub(super) mod tags;
pub(super) mod version;
pub(super) mod write;

use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use s3s::dto::{ETag, Metadata, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::format::NamedList;
use strongroom::id::VersionId;
use strongroom::keys::Mode;
use strongroom::vault::Stat;

use self::tags::Tags;
use super::access::acl::Acl;
use super::body::checksums::MD5_ATTRIBUTE;
use super::body::part_sums::UploadSum;
use super::errors::{custom, error, with_detail};
use super::objects::lock::Retention;
use super::objects::restore::Restore;

/// Mutable facts of an object: outside its head, and not authenticated with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    /// Storage class; absent is STANDARD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    /// Tags in the order they were given.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub(super) tags: Tags,
    /// Until when Object Lock keeps this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retention: Option<Retention>,
    /// A legal hold of Object Lock: present when it was ever set, true while it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) legal_hold: Option<bool>,
    /// The readable copy of an archived object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restore: Option<Restore>,
    /// The checksum its upload in parts was begun with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sum: Option<UploadSum>,
    /// Number of parts of an object that was uploaded in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
    /// Name of the account that owns it; absent is the bucket's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// Its ACL; absent gives its owner everything and nobody else anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<Acl>,
    /// The flag that came with `aws:kms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) bucket_key: bool,
}

impl Facts {
    /// Facts to show: what cannot be read shows as nothing.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    /// Facts to judge or to change by: what cannot be read is an error, for a lock may be among it.
    pub(super) fn read(bytes: &[u8]) -> S3Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|cause| {
            tracing::error!(error = %cause, "the facts of an object cannot be read");
            error(
                S3ErrorCode::InternalError,
                "We encountered an internal error. Please try again.",
            )
        })
    }

    /// The value of a tag.
    pub(super) fn tag(&self, name: &str) -> Option<String> {
        let mut tags = self.tags.0.iter();
        Some(tags.find(|(known, _)| known == name)?.1.clone())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a request's storage class.
    pub(super) fn with_class(class: Option<&str>) -> S3Result<Self> {
        match class {
            None | Some("STANDARD") => Ok(Self::default()),
            Some(
                "REDUCED_REDUNDANCY"
                | "STANDARD_IA"
                | "ONEZONE_IA"
                | "INTELLIGENT_TIERING"
                | "GLACIER_IR"
                | "GLACIER"
                | "DEEP_ARCHIVE",
            ) => Ok(Self {
                class: class.map(str::to_owned),
                ..Self::default()
            }),
            Some(other) => Err(with_detail(
                custom(
                    http::StatusCode::BAD_REQUEST,
                    "InvalidStorageClass",
                    "The storage class you specified is not valid",
                ),
                &[("StorageClassRequested", other)],
            )),
        }
    }

    /// Milliseconds since the epoch as the protocol crate's timestamp, which ends with the year 9999.
    pub(super) fn timestamp(ms: u64) -> Timestamp {
        let ms = ms.min(LAST_MS);
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
    }

    pub(super) fn http_date(ms: u64) -> String {
        let mut out = Vec::new();
        match Self::timestamp(ms).format(TimestampFormat::HttpDate, &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

/// The time now, Unix milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// A timestamp as Unix milliseconds; `None` before 1970.
pub(super) fn millis(at: &Timestamp) -> Option<u64> {
    let at = time::OffsetDateTime::from(at.clone());
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The ETag of an object without its quotes: the MD5 of the content (of its parts' MD5s, if it came
/// in parts) where it is kept, sealed; else a value of the version's own that says nothing of the
/// content. Behind it stands the number of parts.
pub(super) fn etag(
    mode: Mode,
    version: VersionId,
    attributes: Option<&NamedList>,
    facts: &Facts,
) -> String {
    let md5 = attributes
        // What a customer key seals, no listing can show.
        .filter(|_| mode != Mode::Customer)
        .and_then(|list| list.0.iter().find(|(name, _)| name == MD5_ATTRIBUTE));
    let whole = match md5 {
        Some((_, md5)) => hex(md5),
        None => hex(&Md5::digest(version.0)),
    };
    match facts.parts {
        Some(parts) => format!("{whole}-{parts}"),
        None => whole,
    }
}

/// The ETag of what the catalog says stands there.
pub(super) fn stat_etag(stat: &Stat) -> String {
    let facts = Facts::decode(&stat.facts);
    etag(stat.mode, stat.version, stat.attrs.as_ref(), &facts)
}

/// Whether the ETag is the MD5 of the content: only then is it computed and kept, sealed.
pub(super) fn has_md5_etag(mode: Mode) -> bool {
    matches!(mode, Mode::Managed | Mode::Plain)
}

pub(super) fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// Digests as S3 writes most of them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content headers and user metadata of a write, as the object head keeps them.
#[derive(Default)]
pub(super) struct ContentHeaders {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<String>,
    pub(super) website_redirect_location: Option<String>,
    pub(super) metadata: Metadata,
}

/// The last millisecond that S3 can write: 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;
/// Takes them out of an operation's input.
macro_rules! content_headers {
    ($input:expr) => {
        $crate::s3::facts::ContentHeaders {
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            content_type: $input.content_type.take(),
            expires: $input.expires.take(),
            website_redirect_location: $input.website_redirect_location.take(),
            metadata: $input.metadata.take().unwrap_or_default(),
        }
    };
}
pub(super) use content_headers;

const META: &str = "x-amz-meta-";
const REDIRECT: &str = "x-amz-website-redirect-location";
/// User metadata of one object: names and values together.
const METADATA_LIMIT: usize = 2048;

/// The codings of a content without the one in which it travelled only; `None` if no other is left.
pub(super) fn without_framing(codings: &str) -> Option<String> {
    let is_framing = |coding: &&str| coding.eq_ignore_ascii_case("aws-chunked");
    let mut listed = codings.split(',').map(str::trim);
    if !listed.any(|coding| is_framing(&coding)) {
        return Some(codings.to_owned());
    }
    let kept = codings.split(',').map(str::trim);
    let kept: Vec<_> = kept
        .filter(|coding| !coding.is_empty() && !is_framing(coding))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

impl ContentHeaders {
    /// Says of a body that came in frames what is kept of it.
    pub(super) fn unframe(&mut self) {
        self.content_encoding = self
            .content_encoding
            .take()
            .and_then(|codings| without_framing(&codings));
    }

    /// The object head; `Err` when user metadata is larger than S3 allows (2 KiB).
    pub(super) fn head(self) -> S3Result<NamedList> {
        let size: usize = self
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if size > METADATA_LIMIT {
            return Err(with_detail(
                custom(
                    http::StatusCode::BAD_REQUEST,
                    "MetadataTooLarge",
                    "Your metadata headers exceed the maximum allowed metadata size",
                ),
                &[
                    ("Size", &size.to_string()),
                    ("MaxSizeAllowed", &METADATA_LIMIT.to_string()),
                ],
            ));
        }
        let mut list: Vec<(String, Vec<u8>)> = [
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", self.content_encoding),
            ("content-language", self.content_language),
            ("content-type", self.content_type),
            ("expires", self.expires),
            (REDIRECT, self.website_redirect_location),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into_bytes())))
        .collect();
        list.extend(self.metadata.into_iter().map(|(name, value)| {
            (
                format!("{META}{}", name.to_ascii_lowercase()),
                value.into_bytes(),
            )
        }));
        Ok(NamedList(list))
    }

    /// Reads them back from an object head.
    pub(super) fn from_head(head: &NamedList) -> Self {
        let text = |wanted: &str| {
            head.0
                .iter()
                .find(|(name, _)| name == wanted)
                .and_then(|(_, value)| String::from_utf8(value.clone()).ok())
        };
        Self {
            cache_control: text("cache-control"),
            content_disposition: text("content-disposition"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            content_type: text("content-type"),
            expires: text("expires"),
            website_redirect_location: text(REDIRECT),
            metadata: head
                .0
                .iter()
                .filter_map(|(name, value)| {
                    Some((
                        name.strip_prefix(META)?.to_owned(),
                        String::from_utf8(value.clone()).ok()?,
                    ))
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn content_headers_survive_the_head() {
        let headers = ContentHeaders {
            content_type: Some("text/plain".into()),
            content_encoding: Some("gzip".into()),
            metadata: [("Colour".to_owned(), "blau".to_owned())]
                .into_iter()
                .collect(),
            ..ContentHeaders::default()
        };
        let back = ContentHeaders::from_head(&headers.head().unwrap());
        assert_eq!(back.content_type.as_deref(), Some("text/plain"));
        assert_eq!(back.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(
            back.metadata.get("colour").map(String::as_str),
            Some("blau")
        );
    }

    #[test]
    fn how_a_body_travelled_is_not_kept() {
        for (given, kept) in [
            ("aws-chunked", None),
            ("AWS-Chunked, aws-chunked", None),
            ("foo, aws-chunked, bar", Some("foo, bar")),
            ("gzip,aws-chunked", Some("gzip")),
            ("deflate,gzip", Some("deflate,gzip")),
        ] {
            assert_eq!(without_framing(given).as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn no_time_is_too_late_to_be_written() {
        for ms in [LAST_MS, LAST_MS + 1, u64::MAX] {
            assert_eq!(millis(&Facts::timestamp(ms)), Some(LAST_MS));
            assert_eq!(Facts::http_date(ms), "Fri, 31 Dec 9999 23:59:59 GMT");
        }
    }

    #[test]
    fn metadata_over_two_kib_is_refused() {
        let headers = ContentHeaders {
            metadata: [("a".to_owned(), "x".repeat(2048))].into_iter().collect(),
            ..ContentHeaders::default()
        };
        assert_eq!(
            headers.head().unwrap_err().code().as_str(),
            "MetadataTooLarge"
        );
    }

    #[test]
    fn an_etag_without_sealed_md5_says_nothing_of_the_content() {
        let (a, b) = (VersionId([1; 16]), VersionId([2; 16]));
        let facts = Facts::default();
        let sealed = NamedList(vec![(MD5_ATTRIBUTE.to_owned(), vec![7; 16])]);
        for (mode, attributes) in [(Mode::Managed, None), (Mode::Customer, Some(&sealed))] {
            assert_ne!(
                etag(mode, a, attributes, &facts),
                etag(mode, b, attributes, &facts)
            );
            assert_eq!(etag(mode, a, attributes, &facts).len(), 32);
        }
        assert_eq!(
            etag(Mode::Managed, a, Some(&sealed), &facts),
            "07".repeat(16)
        );
    }
}

//! What is kept with an object beside its bytes, and how it reads on the wire.

use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use s3s::dto::{ETag, Metadata, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::format::NamedList;
use strongroom::id::InstanceId;
use strongroom::keys::Mode;

use super::checksums::MD5_ATTRIBUTE;
use super::errors::{custom, error, with_detail};

/// Mutable facts of an object: outside its head, and not authenticated with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    /// Storage class; absent is STANDARD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
}

impl Facts {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a request's storage class; archive classes have no store of their own yet.
    pub(super) fn with_class(class: Option<&str>) -> S3Result<Self> {
        match class {
            None | Some("STANDARD") => Ok(Self::default()),
            Some(
                "REDUCED_REDUNDANCY"
                | "STANDARD_IA"
                | "ONEZONE_IA"
                | "INTELLIGENT_TIERING"
                | "GLACIER_IR",
            ) => Ok(Self {
                class: class.map(str::to_owned),
            }),
            Some(archive @ ("GLACIER" | "DEEP_ARCHIVE")) => Err(error(
                S3ErrorCode::NotImplemented,
                format!("Storage class {archive} is not implemented"),
            )),
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

    /// Milliseconds since the epoch as the protocol crate's timestamp.
    pub(super) fn timestamp(ms: u64) -> Timestamp {
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

/// The ETag of an object without its quotes: the MD5 of the content for managed and plain objects,
/// else a value of the instance's own that says nothing of the content.
pub(super) fn etag(mode: Mode, instance: InstanceId, attributes: Option<&NamedList>) -> String {
    let md5 = attributes
        .filter(|_| has_md5_etag(mode))
        .and_then(|list| list.0.iter().find(|(name, _)| name == MD5_ATTRIBUTE));
    match md5 {
        Some((_, md5)) => hex(md5),
        None => hex(&Md5::digest(instance.0)),
    }
}

/// Whether the ETag is the MD5 of the content: only then is it computed and kept, sealed.
pub(super) fn has_md5_etag(mode: Mode) -> bool {
    matches!(mode, Mode::Managed | Mode::Plain)
}

pub(super) fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

fn hex(bytes: &[u8]) -> String {
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

const META: &str = "x-amz-meta-";
const REDIRECT: &str = "x-amz-website-redirect-location";
/// User metadata of one object: names and values together.
const METADATA_LIMIT: usize = 2048;

impl ContentHeaders {
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
        // aws-chunked is how the body travelled, not how it is stored.
        let content_encoding = self.content_encoding.and_then(|value| {
            let kept: Vec<&str> = value
                .split(',')
                .map(str::trim)
                .filter(|coding| !coding.is_empty() && *coding != "aws-chunked")
                .collect();
            (!kept.is_empty()).then(|| kept.join(","))
        });
        let mut list: Vec<(String, Vec<u8>)> = [
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", content_encoding),
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
            content_encoding: Some("aws-chunked, gzip".into()),
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
        let (a, b) = (InstanceId([1; 16]), InstanceId([2; 16]));
        let sealed = NamedList(vec![(MD5_ATTRIBUTE.to_owned(), vec![7; 16])]);
        for (mode, attributes) in [(Mode::Managed, None), (Mode::Customer, Some(&sealed))] {
            assert_ne!(etag(mode, a, attributes), etag(mode, b, attributes));
            assert_eq!(etag(mode, a, attributes).len(), 32);
        }
        assert_eq!(etag(Mode::Managed, a, Some(&sealed)), "07".repeat(16));
    }
}

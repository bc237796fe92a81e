//! Conditional requests (RFC 9110 section 13): on reads, on a copy's source, and on writes.

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::store::Precondition;

use crate::config::Compat;
use crate::s3::errors::{error, precondition_failed};
use crate::s3::facts::Facts;

/// The four conditions of a read.
#[derive(Default)]
pub(in crate::s3) struct ReadConditions {
    pub(in crate::s3) if_match: Option<ETagCondition>,
    pub(in crate::s3) if_none_match: Option<ETagCondition>,
    pub(in crate::s3) if_modified_since: Option<Timestamp>,
    pub(in crate::s3) if_unmodified_since: Option<Timestamp>,
}

/// Which way a condition failed.
pub(in crate::s3) enum Failed {
    /// 412: `If-Match` or `If-Unmodified-Since`.
    Precondition(&'static str),
    /// 304 on a read, 412 on a copy's source: `If-None-Match` or `If-Modified-Since`.
    NotModified(&'static str),
}

impl ReadConditions {
    /// Evaluates in the order of RFC 9110 section 13.2.2.
    pub(in crate::s3) fn check(&self, etag: &str, modified_ms: u64) -> Result<(), Failed> {
        // The wire has whole seconds.
        let modified = Facts::timestamp(modified_ms - modified_ms % 1000);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, etag) => {
                return Err(Failed::Precondition("If-Match"));
            }
            (None, Some(since)) if modified > *since => {
                return Err(Failed::Precondition("If-Unmodified-Since"));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition, etag) => {
                Err(Failed::NotModified("If-None-Match"))
            }
            (None, Some(since)) if modified <= *since => {
                Err(Failed::NotModified("If-Modified-Since"))
            }
            _ => Ok(()),
        }
    }
}

impl Failed {
    /// The answer to a GET or HEAD.
    pub(in crate::s3) fn on_read(self, etag: &str, modified_ms: u64) -> S3Error {
        match self {
            Self::Precondition(name) => precondition_failed(name),
            Self::NotModified(_) => {
                let mut not_modified = error(S3ErrorCode::NotModified, "Not Modified");
                let mut headers = http::HeaderMap::new();
                if let Ok(value) = http::HeaderValue::from_str(&format!("\"{etag}\"")) {
                    headers.insert(http::header::ETAG, value);
                }
                if let Ok(value) = http::HeaderValue::from_str(&Facts::http_date(modified_ms)) {
                    headers.insert(http::header::LAST_MODIFIED, value);
                }
                not_modified.set_headers(headers);
                not_modified
            }
        }
    }

    /// The answer to a COPY whose source does not meet them.
    pub(in crate::s3) fn on_copy(self) -> S3Error {
        match self {
            Self::Precondition(name) | Self::NotModified(name) => precondition_failed(name),
        }
    }
}

/// What stands under the key now, as far as a write's condition needs it.
pub(in crate::s3) struct Current {
    pub(in crate::s3) etag: String,
    pub(in crate::s3) instance: strongroom::id::InstanceId,
}

/// Whether the condition of a write is about what stands under the key now.
pub(in crate::s3) fn looks(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> bool {
    if_match.is_some() || matches!(if_none_match, Some(ETagCondition::ETag(_)))
}

/// Turns `If-Match` and `If-None-Match` of a write into what the catalog checks in its transaction.
/// A write on condition that an object is another one is known to ceph only.
pub(in crate::s3) fn on_write(
    compat: Compat,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    current: Option<&Current>,
) -> S3Result<Precondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (None, Some(ETagCondition::Any)) => Ok(Precondition::Absent),
        (None, Some(ETagCondition::ETag(_))) if compat != Compat::Ceph => Err(error(
            S3ErrorCode::NotImplemented,
            "A header you provided implies functionality that is not implemented",
        )),
        (None, Some(condition)) => match current {
            None => Ok(Precondition::Absent),
            Some(current) if matches(condition, &current.etag) => {
                Err(precondition_failed("If-None-Match"))
            }
            Some(current) => Ok(Precondition::Is(current.instance)),
        },
        (Some(condition), None) => {
            let current = current.ok_or_else(|| {
                error(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
            })?;
            if matches(condition, &current.etag) {
                Ok(Precondition::Is(current.instance))
            } else {
                Err(precondition_failed("If-Match"))
            }
        }
        (Some(_), Some(_)) => Err(error(
            S3ErrorCode::InvalidRequest,
            "If-Match and If-None-Match cannot be used together",
        )),
    }
}

/// The answer to a write whose condition held when it was looked at, and not when it was to be kept.
pub(in crate::s3) fn lost(precondition: &Precondition) -> S3Error {
    precondition_failed(match precondition {
        Precondition::None => "",
        Precondition::Absent => "If-None-Match",
        Precondition::Present | Precondition::Is(_) => "If-Match",
    })
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(value) | ETag::Weak(value)) => value == etag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.into())))
    }

    #[test]
    fn if_match_wins_over_if_unmodified_since() {
        let conditions = ReadConditions {
            if_match: tag("a"),
            if_unmodified_since: Some(Facts::timestamp(1000)),
            ..ReadConditions::default()
        };
        assert!(conditions.check("a", 5000).is_ok());
        assert!(matches!(
            conditions.check("b", 500),
            Err(Failed::Precondition("If-Match"))
        ));
    }

    #[test]
    fn if_none_match_wins_over_if_modified_since() {
        let conditions = ReadConditions {
            if_none_match: tag("a"),
            if_modified_since: Some(Facts::timestamp(9000)),
            ..ReadConditions::default()
        };
        assert!(conditions.check("b", 1000).is_ok());
        assert!(matches!(
            conditions.check("a", 99_000),
            Err(Failed::NotModified("If-None-Match"))
        ));
    }

    #[test]
    fn times_are_compared_in_whole_seconds() {
        let conditions = ReadConditions {
            if_modified_since: Some(Facts::timestamp(5000)),
            ..ReadConditions::default()
        };
        assert!(matches!(
            conditions.check("a", 5999),
            Err(Failed::NotModified(_))
        ));
        assert!(conditions.check("a", 6000).is_ok());
    }
}

//! A request, as far as access to it is decided: kept from the first check to the one that knows
//! the body.

use std::net::IpAddr;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use time::OffsetDateTime;

use super::acl::{CANNED, GRANTS};
use crate::listener::ConnInfo;
use crate::s3::wire::presigned;
use crate::s3::wire::query::pairs;
use crate::s3::wire::signing::{V2, V4};

/// What a request says of itself.
#[derive(Clone, Debug)]
pub(super) struct Asks {
    /// Name of the operation.
    pub(super) operation: String,
    pub(super) headers: HeaderMap,
    /// Query parameters, decoded.
    query: Vec<(String, String)>,
    pub(super) peer: Option<IpAddr>,
    pub(super) tls: Option<&'static str>,
    pub(super) now: OffsetDateTime,
    pub(super) region: String,
    /// What the body says.
    pub(super) body: Said,
    /// Who may write by a bucket's ACL may tag what it writes, as with Ceph's gateway.
    pub(super) writers_tag: bool,
    /// `None` where nobody signed.
    pub(super) signature: Option<Signature>,
}

/// Where a signature stands, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// As the condition key `s3:authType` names it.
    pub(super) place: &'static str,
    /// As `s3:signatureversion` names it.
    pub(super) version: &'static str,
}

/// What the bodies of some operations say to condition keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) location: Option<String>,
    pub(super) tags: Option<Vec<(String, String)>>,
    pub(super) lock_mode: Option<String>,
    pub(super) retain_until: Option<String>,
    pub(super) legal_hold: Option<String>,
}

impl Asks {
    pub(super) fn new(
        operation: &str,
        headers: &HeaderMap,
        uri: &Uri,
        connection: Option<ConnInfo>,
        region: &str,
    ) -> Asks {
        Asks {
            operation: operation.to_owned(),
            headers: headers.clone(),
            query: pairs(uri.query().unwrap_or_default()),
            peer: connection.map(|connection| connection.peer.ip().to_canonical()),
            tls: connection.and_then(|connection| connection.tls_version),
            now: OffsetDateTime::now_utc(),
            region: region.to_owned(),
            body: Said::default(),
            writers_tag: false,
            signature: Signature::of(headers, uri),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A query parameter; S3 takes the names of signatures in any case, and the others as they are.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        let found = query.find(|(known, _)| {
            if name.starts_with("X-Amz-") {
                known.eq_ignore_ascii_case(name)
            } else {
                known == name
            }
        });
        found.map(|(_, value)| value.as_str())
    }

    /// Whether its query has such a parameter.
    pub(super) fn names(&self, parameter: &str) -> bool {
        self.query.iter().any(|(name, _)| name == parameter)
    }

    /// When it was signed. Beside a signature in the query a header of the time is not signed, and
    /// says nothing.
    pub(super) fn signed_at(&self) -> Option<&str> {
        match self.signature?.place {
            QUERY => self.parameter("X-Amz-Date"),
            _ => self.header("x-amz-date"),
        }
    }

    /// What the signature says of the body; one in the query leaves it to who sends it.
    pub(super) fn payload(&self) -> Option<&str> {
        match self.signature {
            Some(Signature {
                place: QUERY,
                version: V4,
            }) => Some("UNSIGNED-PAYLOAD"),
            _ => self.header("x-amz-content-sha256"),
        }
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.parameter("versionId")
    }

    pub(super) fn sets_acl(&self) -> bool {
        let mut grants = GRANTS.iter();
        self.headers.contains_key(CANNED)
            || grants.any(|(name, _)| self.headers.contains_key(*name))
    }

    /// Whom it takes for the owner of the bucket, or of its source.
    pub(super) fn expected_owner(&self, header: &str) -> Option<&[u8]> {
        self.headers.get(header).map(HeaderValue::as_bytes)
    }

    /// Whether it names headers that its reply shall have.
    pub(super) fn overrides_reply(&self) -> bool {
        let mut query = self.query.iter();
        matches!(self.operation.as_str(), "GetObject" | "HeadObject")
            && query.any(|(name, _)| OVERRIDES.contains(&name.as_str()))
    }

    pub(super) fn bypasses_governance(&self) -> bool {
        self.header("x-amz-bypass-governance-retention")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The tags that the request would give an object.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        match &self.body.tags {
            Some(tags) => tags.clone(),
            None => pairs(self.header("x-amz-tagging").unwrap_or_default()),
        }
    }

    #[cfg(test)]
    pub(super) fn of_test(operation: &str, headers: &[(&'static str, &'static str)]) -> Asks {
        let headers = headers.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        });
        Asks::new(
            operation,
            &headers.collect(),
            &Uri::from_static("/b/k?versionId=v%201&prefix=a%2Fb+c"),
            None,
            "us-east-1",
        )
    }
}

impl Signature {
    /// That of the headers or of the address; one in both is refused before it comes here.
    fn of(headers: &HeaderMap, uri: &Uri) -> Option<Signature> {
        if let Some(version) = presigned::version(uri) {
            let place = QUERY;
            return Some(Signature { place, version });
        }
        let header = headers.get(AUTHORIZATION)?.as_bytes();
        Some(Signature {
            place: "REST-HEADER",
            version: if header.starts_with(V4.as_bytes()) {
                V4
            } else {
                V2
            },
        })
    }

    /// That of a form.
    pub(super) fn of_form(version: &'static str) -> Signature {
        let place = "POST";
        Signature { place, version }
    }
}

/// The signature stands in the query.
const QUERY: &str = "REST-QUERY-STRING";

pub(super) const BUCKET_OWNER: &str = "x-amz-expected-bucket-owner";
pub(super) const SOURCE_OWNER: &str = "x-amz-source-expected-bucket-owner";

/// Parameters that name headers of the reply.
const OVERRIDES: [&str; 6] = [
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let asks = Asks::of_test("GetObject", &[("x-amz-tagging", "a%20b=c%3D&d")]);
        assert_eq!(asks.version(), Some("v 1"));
        assert_eq!(asks.parameter("prefix"), Some("a/b c"));
        assert_eq!(
            asks.tags(),
            [
                ("a b".to_owned(), "c=".to_owned()),
                ("d".to_owned(), String::new())
            ]
        );
    }
}

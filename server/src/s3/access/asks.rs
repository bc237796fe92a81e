//! A request, as far as access to it is decided: kept from the first check to the one that knows
//! the body.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Uri};
use time::OffsetDateTime;

use crate::listener::ConnInfo;
use crate::s3::acl::{CANNED, GRANTS};

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
    /// The version of the signature on the policy of a form.
    pub(super) form_signature: Option<&'static str>,
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
        let query = uri.query().unwrap_or_default();
        Asks {
            operation: operation.to_owned(),
            headers: headers.clone(),
            query: pairs(query),
            peer: connection.map(|connection| connection.peer.ip().to_canonical()),
            tls: connection.and_then(|connection| connection.tls_version),
            now: OffsetDateTime::now_utc(),
            region: region.to_owned(),
            body: Said::default(),
            writers_tag: false,
            form_signature: None,
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

/// `a=b&c=d`, URL-coded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        })
        .collect()
}

/// URL decoding. What is no code stands for itself, and what is no UTF-8 for a replacement: the
/// protocol crate refuses such a request later.
pub(super) fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| !digits.starts_with('+'))
        });
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if first == b'+' && plus_is_space {
                    b' '
                } else {
                    first
                });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

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
        assert_eq!(decoded("%", false), "%");
        assert_eq!(decoded("%+1%zz+%41", false), "%+1%zz+A");
    }
}

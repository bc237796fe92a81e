//! Presigned URLs: a signature in the query, made by one for another to send.
//!
//! Who sends such a request is not who signed it. So nothing counts that the signer did not say:
//! headers of S3 that are not signed are refused, by the protocol crate, and so is a second
//! signature. What the signer said in the query in place of a header is that header, as clients take
//! it that sign so: a presigned PUT keeps the metadata, the encryption and the retention it was
//! signed with.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use s3s::config::{S3Config, S3ConfigProvider};
use s3s::{S3Error, S3Result};

use super::query::pairs;
use super::signing::{self, V2, V4};
use crate::config::Compat;
use crate::s3::errors::invalid_argument;

/// The configuration of the protocol crate, and of one request what it may take beyond that.
pub(in crate::s3) struct Configured(pub(in crate::s3) Arc<S3Config>);

/// Names of headers that the query of a request signed.
pub(in crate::s3) type SignedByQuery = Vec<HeaderName>;

tokio::task_local! {
    static OF_REQUEST: Arc<S3Config>;
}

impl S3ConfigProvider for Configured {
    fn snapshot(&self) -> Arc<S3Config> {
        let own = OF_REQUEST.try_with(Arc::clone);
        own.unwrap_or_else(|_| Arc::clone(&self.0))
    }
}

impl Configured {
    /// Runs a call of the protocol crate in which these headers count as signed.
    pub(in crate::s3) async fn signed<T>(
        &self,
        names: SignedByQuery,
        call: impl Future<Output = T>,
    ) -> T {
        if names.is_empty() {
            return call.await;
        }
        let mut config = S3Config::clone(&self.0);
        let names = names.iter().map(|name| name.as_str().to_owned());
        config.unsigned_amz_header_allowlist.extend(names);
        OF_REQUEST.scope(Arc::new(config), call).await
    }
}

/// Which version of the signature stands in a query.
pub(in crate::s3) fn version(uri: &Uri) -> Option<&'static str> {
    let query = pairs(uri.query()?);
    let has = |name| query.iter().any(|(known, _)| known == name);
    // In this order the protocol crate looks for them.
    if has("Signature") {
        Some(V2)
    } else if has("X-Amz-Signature") {
        Some(V4)
    } else {
        None
    }
}

/// What the signer of a presigned URL said in its query, put among the headers; nothing of any
/// other request.
///
/// # Errors
/// `InvalidArgument`: two signatures, or a header that is in both, twice, or cannot be one.
/// `InvalidRequest` and `AccessDenied`: what Version 2 is not taken for.
pub(in crate::s3) fn taken<B>(request: &mut Request<B>, compat: Compat) -> S3Result<SignedByQuery> {
    let Some(version) = version(request.uri()) else {
        return Ok(SignedByQuery::new());
    };
    match refuse(version, request.headers(), request.uri(), compat) {
        Some(refusal) => Err(refusal),
        None => query_as_headers(request),
    }
}

/// Refuses what no signer could have meant.
fn refuse(version: &str, headers: &HeaderMap, uri: &Uri, compat: Compat) -> Option<S3Error> {
    if headers.contains_key(AUTHORIZATION) {
        return Some(invalid_argument(
            "Authorization",
            "",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
        ));
    }
    if version == V4 {
        return None;
    }
    if compat != Compat::Ceph {
        return Some(signing::unsupported_version());
    }
    // Version 2 signs these parameters no more than any it does not know, and each of them makes
    // another operation of the request.
    let mut query = pairs(uri.query().unwrap_or_default()).into_iter();
    query
        .any(|(name, _)| UNSIGNED_BY_VERSION_2.contains(&name.as_str()))
        .then(crate::s3::access::denied)
}

fn query_as_headers<B>(request: &mut Request<B>) -> S3Result<SignedByQuery> {
    let mut names = SignedByQuery::new();
    for (parameter, value) in pairs(request.uri().query().unwrap_or_default()) {
        let Some(name) = header(&parameter, &value) else {
            continue;
        };
        let refused = |what| invalid_argument(name.as_str(), "", what);
        let value = HeaderValue::from_str(&value).map_err(|_| {
            refused("This parameter of the query cannot be the header it stands for")
        })?;
        if request.headers_mut().insert(&name, value).is_some() {
            return Err(refused(
                "This header must be sent or stand in the query, and once",
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// The header that a parameter stands for; `None` for one that stands for none.
fn header(parameter: &str, value: &str) -> Option<HeaderName> {
    let name = parameter.to_ascii_lowercase();
    let is_of_signature = OF_SIGNATURE.contains(&name.as_str());
    // The JavaScript SDK has no body when it presigns, and signs the checksum of none.
    let is_of_no_body = name == "x-amz-checksum-crc32" && value == CRC32_OF_NOTHING;
    let is_header = name.starts_with("x-amz-")
        && !name.starts_with("x-amz-sdk-")
        && !is_of_signature
        && !is_of_no_body;
    is_header
        .then(|| HeaderName::from_bytes(name.as_bytes()).ok())
        .flatten()
}

/// Parameters that are the signature, or speak of it.
const OF_SIGNATURE: [&str; 11] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-trailer",
    "x-amz-user-agent",
];
const CRC32_OF_NOTHING: &str = "AAAAAA==";
/// Parameters that name an operation and came after Signature Version 2.
const UNSIGNED_BY_VERSION_2: [&str; 8] = [
    "attributes",
    "encryption",
    "legal-hold",
    "ownershipControls",
    "policyStatus",
    "publicAccessBlock",
    "retention",
    "session",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hoisted(query: &str, sent: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let mut request = Request::put(format!("/b/k?{query}"));
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let names = taken(&mut request, Compat::Aws)
            .map_err(|refused| refused.code().as_str().to_owned())?;
        let value = |name: &HeaderName| request.headers()[name].to_str().unwrap().to_owned();
        Ok(names
            .iter()
            .map(|name| (name.as_str().to_owned(), value(name)))
            .collect())
    }

    #[test]
    fn a_presigned_query_stands_for_headers() {
        let signature =
            "X-Amz-Signature=s&X-Amz-Date=d&X-Amz-Expires=60&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD";
        let said = "x-id=PutObject&x-amz-meta-a=b%20c&X-Amz-Acl=private&x-amz-sdk-checksum-algorithm=CRC32&x-amz-checksum-crc32=AAAAAA%3D%3D";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            hoisted(&format!("{signature}&{said}"), &[]).unwrap(),
            [pair("x-amz-meta-a", "b c"), pair("x-amz-acl", "private")]
        );
        assert_eq!(hoisted(said, &[]).unwrap(), []);
        let bound = format!("{signature}&x-amz-checksum-crc32=AAAAAQ%3D%3D");
        assert_eq!(hoisted(&bound, &[]).unwrap().len(), 1);
    }

    #[test]
    fn a_header_is_there_once() {
        let said = "X-Amz-Signature=s&x-amz-meta-a=b";
        let twice = Err("InvalidArgument".to_owned());
        assert_eq!(hoisted(said, &[("x-amz-meta-a", "b")]), twice);
        assert_eq!(hoisted(&format!("{said}&X-Amz-Meta-A=b"), &[]), twice);
        assert_eq!(hoisted("X-Amz-Signature=s&x-amz-meta-a=%00", &[]), twice);
    }

    #[test]
    fn one_request_has_one_signature_and_of_a_version_that_is_taken() {
        let code = |query: &str, signed: bool, compat| {
            let mut request = Request::get(format!("/b/k?{query}")).body(()).unwrap();
            if signed {
                let value = HeaderValue::from_static("x");
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            let refused = taken(&mut request, compat).err()?;
            Some(refused.code().as_str().to_owned())
        };
        let two = Some("InvalidArgument".to_owned());
        for compat in [Compat::Aws, Compat::Ceph] {
            assert_eq!(code("X-Amz-Signature=s", true, compat), two);
            assert_eq!(code("Signature=s", true, compat), two);
            assert_eq!(code("X-Amz-Signature=s&legal-hold", false, compat), None);
            assert_eq!(code("x=y", true, compat), None);
        }
        let refused = Some("InvalidRequest".to_owned());
        assert_eq!(code("Signature=s", false, Compat::Aws), refused);
        assert_eq!(code("Signature=s", false, Compat::Ceph), None);
        let denied = Some("AccessDenied".to_owned());
        assert_eq!(code("Signature=s&legal-hold", false, Compat::Ceph), denied);
    }
}

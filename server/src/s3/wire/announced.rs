//! What headers announce of a body: refused in S3's words, before the signature is looked at, where
//! it cannot be.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use s3s::{S3Error, S3ErrorCode};

use super::signing::V4;
use crate::s3::body::checksums::BodyChecks;
use crate::s3::encryption::sse::{base64_decode, header};
use crate::s3::errors::{error, invalid_argument};

pub(in crate::s3) const TRAILER: &str = "x-amz-trailer";
pub(in crate::s3) const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
/// A framed body with room for a trailer behind it, in which nothing is signed.
pub(in crate::s3) const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// What a body can be called in place of its digest.
const PAYLOADS: [&str; 6] = [
    "UNSIGNED-PAYLOAD",
    UNSIGNED_TRAILER,
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
];

/// Refuses digests that are none, and framed bodies of which nobody says how long they are.
pub(in crate::s3) fn refuse<B>(request: &Request<B>) -> Option<S3Error> {
    let headers = request.headers();
    let payload = header(headers, CONTENT_SHA256);
    let signed = header(headers, AUTHORIZATION.as_str()).is_some_and(|value| value.starts_with(V4));
    match payload {
        None if signed => Some(error(
            S3ErrorCode::InvalidRequest,
            "Missing required header for this request: x-amz-content-sha256",
        )),
        Some(payload) if signed && !is_payload(payload) => Some(invalid_argument(
            CONTENT_SHA256,
            payload,
            format!(
                "x-amz-content-sha256 must be {}, or a valid sha256 value.",
                PAYLOADS.join(", ")
            ),
        )),
        Some(_) if is_framed(headers) && !has_length(headers) => Some(error(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        )),
        _ if *request.method() == Method::PUT && !headers.contains_key("x-amz-copy-source") => {
            BodyChecks::from_headers(headers).err()
        }
        _ => None,
    }
}

/// Says of a body with room for a trailer that none is there: the protocol crate asks for the
/// header, which S3 does not.
pub(in crate::s3) fn complete(headers: &mut HeaderMap) {
    if has_trailer(headers) && !headers.contains_key(TRAILER) {
        headers.insert(
            HeaderName::from_static(TRAILER),
            HeaderValue::from_static(""),
        );
    }
}

/// Whether something may stand behind the body.
pub(in crate::s3) fn has_trailer(headers: &HeaderMap) -> bool {
    header(headers, CONTENT_SHA256).is_some_and(|payload| payload.ends_with("-TRAILER"))
}

/// Whether the body travels as `aws-chunked`.
pub(in crate::s3) fn is_framed(headers: &HeaderMap) -> bool {
    header(headers, CONTENT_SHA256).is_some_and(|payload| payload.starts_with("STREAMING-"))
}

fn has_length(headers: &HeaderMap) -> bool {
    header(headers, DECODED_LENGTH).is_some_and(|length| length.parse::<u64>().is_ok())
}

/// A name of the list, or a digest in one of the spellings that the protocol crate reads.
fn is_payload(value: &str) -> bool {
    let hex = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let base64 = || base64_decode(value.as_bytes()).is_some_and(|digest| digest.len() == 32);
    PAYLOADS.contains(&value) || hex || base64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::put("/b/k");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse(&request.body(()).unwrap()).map(|refusal| refusal.code().as_str().to_owned())
    }

    #[test]
    fn a_signed_request_says_what_its_body_is() {
        let signed = ("authorization", "AWS4-HMAC-SHA256 Credential=k");
        let with = |payload| refused(&[signed, (CONTENT_SHA256, payload)]);
        let invalid = Some("InvalidArgument".to_owned());
        assert_eq!(refused(&[signed]).as_deref(), Some("InvalidRequest"));
        for payload in ["invalid", "unsigned-payload", ""] {
            assert_eq!(with(payload), invalid, "{payload}");
            // To nobody's request and to Version 2 it means nothing.
            assert_eq!(refused(&[(CONTENT_SHA256, payload)]), None, "{payload}");
        }
        assert_eq!(with("UNSIGNED-PAYLOAD"), None);
        assert_eq!(with(&"aB".repeat(32)), None);
        assert_eq!(refused(&[("authorization", "AWS k:s")]), None);
    }

    #[test]
    fn a_framed_body_says_how_long_it_is() {
        for payload in PAYLOADS.into_iter().filter(|name| name.starts_with('S')) {
            let named = (CONTENT_SHA256, payload);
            for length in [None, Some("not an int"), Some("-1")] {
                let headers: Vec<_> = [named]
                    .into_iter()
                    .chain(length.map(|length| (DECODED_LENGTH, length)))
                    .collect();
                assert_eq!(refused(&headers).as_deref(), Some("MissingContentLength"));
            }
            assert_eq!(refused(&[named, (DECODED_LENGTH, "5")]), None);
        }
    }

    #[test]
    fn an_md5_that_is_none_is_told_after_what_is_signed() {
        let md5 = ("content-md5", "invalid");
        assert_eq!(refused(&[md5]).as_deref(), Some("InvalidDigest"));
        let signed = ("authorization", V4);
        assert_eq!(refused(&[md5, signed]).as_deref(), Some("InvalidRequest"));
    }

    #[test]
    fn only_a_body_with_room_for_it_gets_an_empty_trailer() {
        for payload in PAYLOADS {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_SHA256, HeaderValue::from_static(payload));
            complete(&mut headers);
            assert_eq!(headers.contains_key(TRAILER), payload.ends_with("-TRAILER"));
        }
    }
}

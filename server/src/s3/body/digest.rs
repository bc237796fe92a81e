//! Digests of bodies that the protocol crate reads whole: settings, lists of keys. It does not
//! compare them with `Content-MD5` and `x-amz-checksum-*`; this does, as the bytes pass.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::{Frame, SizeHint};
use s3s::{Body, S3Error, S3ErrorCode, S3Result, StdError};
use sha2::{Digest, Sha256};

use super::checksums::BodyChecks;
use super::wrong_sha256;
use crate::s3::encryption::sse::header;
use crate::s3::errors::{error, with_detail};
use crate::s3::facts::hex;

/// Why a body was refused, once it is known.
#[derive(Clone, Default)]
pub(in crate::s3) struct Refused(Arc<Mutex<Option<S3Error>>>);

impl Refused {
    /// The reason, once.
    pub(in crate::s3) fn take(&self) -> Option<S3Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, cause: S3Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }
}

/// Has the body compared with the digests its headers announce, if it is one that is read whole.
///
/// # Errors
/// An announced digest is none.
pub(in crate::s3) fn compared(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> S3Result<(Body, Option<Refused>)> {
    let md5 = header(headers, "content-md5").is_some();
    let announced = md5
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-checksum-"));
    let chunked =
        header(headers, "x-amz-content-sha256").is_some_and(|sum| sum.starts_with("STREAMING-"));
    let checks = match body_of(method, uri) {
        _ if chunked => return Ok((body, None)),
        Read::Keys if !announced => {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
            ));
        }
        Read::Keys | Read::Settings => BodyChecks::from_headers(headers)?,
        Read::Parts => BodyChecks::of_md5(headers)?,
        Read::Other => return Ok((body, None)),
    };
    let refused = Refused::default();
    let body = Compared {
        body,
        checks: Some(checks.telling_as_given()),
        // The protocol crate compares it too, and calls a difference an internal error.
        sha256: signed_sha256(headers).map(|signed| (Sha256::new(), signed)),
        refused: refused.clone(),
    };
    Ok((Body::http_body(body), Some(refused)))
}

/// The digest of the body that was signed, in lower-case hex.
fn signed_sha256(headers: &HeaderMap) -> Option<String> {
    let signed = header(headers, "x-amz-content-sha256")?;
    let is_hex = signed.len() == 64 && signed.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| signed.to_ascii_lowercase())
}

/// Compares what was signed with what came.
fn compare(sha256: Option<(Sha256, String)>) -> S3Result<()> {
    let Some((sha256, signed)) = sha256 else {
        return Ok(());
    };
    let computed = hex(&sha256.finalize());
    if computed == signed {
        return Ok(());
    }
    Err(with_detail(
        wrong_sha256(),
        &[
            ("ClientComputedContentSHA256", &signed),
            ("S3ComputedContentSHA256", &computed),
        ],
    ))
}

/// A body of XML or JSON, by what it is for.
enum Read {
    Settings,
    /// Keys to delete: S3 takes them with a digest only.
    Keys,
    /// The parts of an upload to complete. A checksum beside them is that of the object.
    Parts,
    Other,
}

fn body_of(method: &Method, uri: &Uri) -> Read {
    let has = |wanted: &[&str]| {
        uri.query()
            .unwrap_or_default()
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default())
            .any(|name| wanted.contains(&name))
    };
    match *method {
        Method::PUT if has(&SETTINGS) => Read::Settings,
        Method::POST if has(&["restore"]) => Read::Settings,
        Method::POST if has(&["delete"]) => Read::Keys,
        Method::POST if has(&["uploadId"]) => Read::Parts,
        _ => Read::Other,
    }
}

/// What can be put as a body of its own.
const SETTINGS: [&str; 21] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
];

pin_project_lite::pin_project! {
    /// Fails in place of its end when the digests differ.
    struct Compared {
        #[pin]
        body: Body,
        checks: Option<BodyChecks>,
        sha256: Option<(Sha256, String)>,
        refused: Refused,
    }
}

impl http_body::Body for Compared {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.project();
        let mut body = this.body;
        let polled = body.as_mut().poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(checks), Some(data)) = (this.checks.as_mut(), frame.data_ref()) {
                    checks.update(data);
                    if let Some((sha256, _)) = this.sha256.as_mut() {
                        sha256.update(data);
                    }
                }
                // Who knows the length does not ask again behind the last frame.
                body.is_end_stream() || body.size_hint().exact() == Some(0)
            }
            Poll::Ready(None) => true,
            _ => false,
        };
        if ended {
            let sha256 = this.sha256.take();
            let verified = this.checks.take().map(|checks| {
                compare(sha256)?;
                checks.verify(None)
            });
            if let Some(Err(cause)) = verified {
                let told = cause.to_string();
                this.refused.set(cause);
                return Poll::Ready(Some(Err(told.into())));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.checks.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;
    use md5::Md5;

    use super::*;
    use crate::s3::encryption::sse::base64_encode;

    async fn read(uri: &str, md5: &str) -> (bool, Option<String>) {
        send(&Method::PUT, uri, md5).await
    }

    async fn send(method: &Method, uri: &str, md5: &str) -> (bool, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert("content-md5", md5.parse().unwrap());
        let body = Body::from(Bytes::from_static(b"x"));
        let (body, refused) = compared(method, &uri.parse().unwrap(), &headers, body).unwrap();
        let read = body.collect().await.is_ok();
        let code = refused
            .and_then(|refused| refused.take().map(|cause| cause.code().as_str().to_owned()));
        (read, code)
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_was_announced_does_not_end_well() {
        let wrong = "AAAAAAAAAAAAAAAAAAAAAA==";
        let refused = (false, Some("BadDigest".to_owned()));
        assert_eq!(read("/b?tagging", wrong).await, refused);
        assert_eq!(read("/b/k?acl=", wrong).await, refused);
        // That of an object is compared where the object is written.
        assert_eq!(read("/b/k", wrong).await, (true, None));
        let right = base64_encode(&Md5::digest(b"x"));
        assert_eq!(read("/b?tagging", &right).await, (true, None));
    }
    #[tokio::test]
    async fn the_parts_of_an_upload_are_compared_with_an_md5_only() {
        let wrong = "AAAAAAAAAAAAAAAAAAAAAA==";
        let (_, refused) = send(&Method::POST, "/b/k?uploadId=u", wrong).await;
        assert_eq!(refused.as_deref(), Some("BadDigest"));
        // A checksum is that of the object.
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-checksum-crc32", "AAAAAA==".parse().unwrap());
        let body = Body::from(Bytes::from_static(b"x"));
        let uri = "/b/k?uploadId=u".parse().unwrap();
        let (body, refused) = compared(&Method::POST, &uri, &headers, body).unwrap();
        assert!(body.collect().await.is_ok());
        assert!(refused.unwrap().take().is_none());
    }

    #[tokio::test]
    async fn settings_that_were_not_signed_are_refused() {
        for (body, expected) in [("x", None), ("y", Some("XAmzContentSHA256Mismatch"))] {
            let mut headers = HeaderMap::new();
            let signed = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
            headers.insert("x-amz-content-sha256", signed.parse().unwrap());
            let body = Body::from(Bytes::from_static(body.as_bytes()));
            let uri = "/b?tagging".parse().unwrap();
            let (body, refused) = compared(&Method::PUT, &uri, &headers, body).unwrap();
            assert_eq!(body.collect().await.is_ok(), expected.is_none());
            let refusal = refused.unwrap().take();
            let code = refusal.map(|refusal| refusal.code().as_str().to_owned());
            assert_eq!(code.as_deref(), expected);
        }
    }

    #[test]
    fn keys_to_delete_come_with_a_digest() {
        let uri = "/b?delete".parse().unwrap();
        let bare = compared(&Method::POST, &uri, &HeaderMap::new(), Body::empty());
        assert_eq!(bare.err().unwrap().code().as_str(), "InvalidRequest");
    }
}

//! Digests of bodies that the protocol crate reads whole: settings, lists of keys. It does not
//! compare them with `Content-MD5` and `x-amz-checksum-*`; this does, as the bytes pass.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::{Frame, SizeHint};
use s3s::{Body, S3Error, S3Result, StdError};

use super::checksums::BodyChecks;
use super::sse::header;

/// Why a body was refused, once it is known.
#[derive(Clone, Default)]
pub(super) struct Refused(Arc<Mutex<Option<S3Error>>>);

impl Refused {
    /// The reason, once.
    pub(super) fn take(&self) -> Option<S3Error> {
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
pub(super) fn compared(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> S3Result<(Body, Option<Refused>)> {
    let announced = header(headers, "content-md5").is_some()
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-checksum-"));
    let chunked =
        header(headers, "x-amz-content-sha256").is_some_and(|sum| sum.starts_with("STREAMING-"));
    if !announced || chunked || !is_read_whole(method, uri) {
        return Ok((body, None));
    }
    let checks = BodyChecks::from_headers(headers)?;
    let refused = Refused::default();
    let body = Compared {
        body,
        checks: Some(checks),
        refused: refused.clone(),
    };
    Ok((Body::http_body(body), Some(refused)))
}

/// Whether the request changes settings or names keys in an XML or JSON body.
fn is_read_whole(method: &Method, uri: &Uri) -> bool {
    let names = || {
        uri.query()
            .unwrap_or_default()
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default())
    };
    let listed: &[&str] = match *method {
        Method::PUT => &SETTINGS,
        Method::POST => &["delete", "restore"],
        _ => &[],
    };
    names().any(|name| listed.contains(&name))
}

/// What can be put as a body of its own. The checksum of a completed upload is that of the object,
/// and is not among them.
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
        let polled = this.body.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(checks), Some(data)) = (this.checks.as_mut(), frame.data_ref()) {
                    checks.update(data);
                }
            }
            Poll::Ready(None) => {
                let verified = this.checks.take().map(|checks| checks.verify(None));
                if let Some(Err(cause)) = verified {
                    let told = cause.to_string();
                    this.refused.set(cause);
                    return Poll::Ready(Some(Err(told.into())));
                }
            }
            _ => {}
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
    use md5::{Digest, Md5};

    use super::*;
    use crate::s3::sse::base64_encode;

    async fn read(uri: &str, md5: &str) -> (bool, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert("content-md5", md5.parse().unwrap());
        let body = Body::from(Bytes::from_static(b"x"));
        let (body, refused) =
            compared(&Method::PUT, &uri.parse().unwrap(), &headers, body).unwrap();
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
}

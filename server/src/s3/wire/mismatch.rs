//! What a digest or a signature should have been of: told to the client whose own is another one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, Method, Request, Uri};
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError};
use s3s_sigv4::{AmzDate, AuthorizationV4, Payload, PresignedUrlV4};
use sha2::{Digest, Sha256};

use super::announced::CONTENT_SHA256;
use super::query::{decoded, pairs};
use super::signing::{AMZ_DATE, V4, WEEK};
use crate::s3::body::frames::Last;
use crate::s3::encryption::sse::{self, header};
use crate::s3::errors::escape;
use crate::s3::facts::hex;

/// Largest body that is held to tell its digest, in bytes.
const LARGEST_HELD: u64 = 64 << 10;

/// What of a request its signature is about, kept until the answer is known.
pub(in crate::s3) struct Signed {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    pub(in crate::s3) progress: Progress,
}

/// What was read last of a body whose chunks are signed one after the other.
#[derive(Clone, Default)]
pub(in crate::s3) struct Progress(Arc<Mutex<Step>>);

#[derive(Default)]
struct Step {
    /// Of the chunk before; `None`: of the headers.
    previous: Option<String>,
    given: Option<String>,
    of: Of,
}

#[derive(Default)]
enum Of {
    #[default]
    Headers,
    /// The bytes of a chunk, which the protocol crate holds as well.
    Chunk(Vec<Bytes>),
    /// Those of a whole body without frames.
    Body(Vec<Bytes>),
    /// The lines behind the last, which is empty, with their signature.
    Trailers(Vec<u8>, String),
}

impl Progress {
    pub(in crate::s3) fn chunk(&self, signature: Option<String>) {
        if signature.is_some() {
            self.with(|step| {
                step.previous = step.given.take();
                step.given = signature;
                step.of = Of::Chunk(Vec::new());
            });
        }
    }

    pub(in crate::s3) fn data(&self, data: &Bytes) {
        self.with(|step| {
            if let Of::Chunk(bytes) | Of::Body(bytes) = &mut step.of {
                bytes.push(data.clone());
            }
        });
    }

    pub(in crate::s3) fn last(&self, last: Last) {
        self.chunk(last.signature);
        if let Some(signature) = last.trailer_signature {
            let mut trailers = last.trailers;
            trailers.sort();
            let lines = trailers
                .iter()
                .map(|(name, value)| format!("{name}:{value}\n"));
            let lines = lines.collect::<String>().into_bytes();
            self.with(|step| step.of = Of::Trailers(lines, signature));
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Step) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Signed {
    /// Nothing for a request without a signature of Version 4.
    pub(in crate::s3) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        let in_header = || {
            header(headers, AUTHORIZATION.as_str())?
                .starts_with(V4)
                .then_some(())
        };
        let in_query = || {
            request
                .uri()
                .query()?
                .contains("X-Amz-Signature=")
                .then_some(())
        };
        in_header().or_else(in_query)?;
        Some(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: headers.clone(),
            progress: Progress::default(),
        })
    }

    /// Has a small body held until the answer is known: should it be another one than was signed, its digest is told.
    pub(in crate::s3) fn hold(&self, request: Request<Body>) -> Request<Body> {
        let length = header(&self.headers, CONTENT_LENGTH.as_str());
        let length = length.and_then(|length| length.parse::<u64>().ok());
        let is_digest = header(&self.headers, CONTENT_SHA256).is_some_and(|sum| sum.len() == 64);
        if !is_digest || length.is_none_or(|length| length > LARGEST_HELD) {
            return request;
        }
        self.progress.with(|step| step.of = Of::Body(Vec::new()));
        request.map(|body| {
            Body::http_body(Held {
                body,
                progress: self.progress.clone(),
            })
        })
    }

    /// The elements that belong to an error, besides those it has.
    pub(in crate::s3) fn elements(&self, error: &str) -> Option<String> {
        let is = |code: &str| error.contains(&format!("<Code>{code}</Code>"));
        if is("SignatureDoesNotMatch") {
            self.signature()
        } else if is("XAmzContentSHA256Mismatch") && !error.contains("<ClientComputed") {
            let client = header(&self.headers, CONTENT_SHA256)?;
            let computed = self.progress.with(|step| match &step.of {
                Of::Body(bytes) => Some(element("S3ComputedContentSHA256", &sha256(bytes))),
                _ => None,
            });
            let client = element("ClientComputedContentSHA256", client);
            Some(client + &computed.unwrap_or_default())
        } else {
            None
        }
    }

    fn signature(&self) -> Option<String> {
        let mut query = pairs(self.uri.query().unwrap_or_default());
        query.sort();
        let query = query.as_slice();
        let path = decoded(self.uri.path(), false);
        let method = self.method.as_str();
        let (credential, date, signature, names, canonical);
        if let Some(authorization) = header(&self.headers, AUTHORIZATION.as_str()) {
            let parsed = AuthorizationV4::parse(authorization).ok()?;
            let payload = header(&self.headers, CONTENT_SHA256)?;
            // However it is called, it stands there as it came.
            let payload = Payload::SingleChunk(payload);
            let headers = self.signed_headers(&parsed.signed_headers)?;
            canonical = s3s_sigv4::create_canonical_request(method, &path, query, headers, payload);
            date = AmzDate::parse(header(&self.headers, AMZ_DATE)?).ok()?;
            (credential, signature, names) =
                (parsed.credential, parsed.signature, parsed.signed_headers);
        } else {
            let parsed = PresignedUrlV4::parse(query, u32::try_from(WEEK).ok()?).ok()?;
            let headers = self.signed_headers(&parsed.signed_headers)?;
            canonical =
                s3s_sigv4::create_presigned_canonical_request(method, &path, query, headers);
            date = parsed.amz_date;
            (credential, signature, names) = (
                parsed.credential,
                parsed.signature,
                parsed.signed_headers.to_vec(),
            );
        }
        let (region, service) = (credential.aws_region, credential.aws_service);
        let (to_sign, given) = self.progress.with(|step| {
            let given = step.given.clone().unwrap_or_default();
            let previous = step.previous.as_deref().unwrap_or(signature);
            match &step.of {
                Of::Headers | Of::Body(_) => (
                    s3s_sigv4::create_string_to_sign(&canonical, &date, region, service),
                    signature.to_owned(),
                ),
                Of::Chunk(data) => (
                    s3s_sigv4::create_chunk_string_to_sign(&date, region, service, previous, data),
                    given,
                ),
                Of::Trailers(lines, signature) => (
                    s3s_sigv4::create_trailer_string_to_sign(&date, region, service, &given, lines),
                    signature.clone(),
                ),
            }
        });
        let mut elements = [
            element("AWSAccessKeyId", credential.access_key_id),
            element("StringToSign", &to_sign),
            element("SignatureProvided", &given),
            element("StringToSignBytes", &bytes_of(&to_sign)),
        ]
        .concat();
        // A key is never told again, not even to who sent it.
        if !names.iter().any(|name| sse::is_key(name)) {
            elements.push_str(&element("CanonicalRequest", &canonical));
            elements.push_str(&element("CanonicalRequestBytes", &bytes_of(&canonical)));
        }
        Some(elements)
    }

    /// The headers that are signed, in the order of their names in the signature.
    fn signed_headers<'a>(&'a self, names: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
        let mut found = Vec::new();
        for name in names {
            let before = found.len();
            for value in self.headers.get_all(*name) {
                found.push((*name, value.to_str().ok()?));
            }
            if found.len() == before {
                return None;
            }
        }
        Some(found)
    }
}

pin_project_lite::pin_project! {
    /// A body that is told of as it passes.
    struct Held {
        #[pin]
        body: Body,
        progress: Progress,
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.progress.data(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn sha256(body: &[Bytes]) -> String {
    let mut sha256 = Sha256::new();
    for bytes in body {
        sha256.update(bytes);
    }
    hex(&sha256.finalize())
}

fn element(name: &str, text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(escape).collect();
    format!("<{name}>{}</{name}>", lines.join("\n"))
}

/// The bytes of a text, as S3 writes them.
fn bytes_of(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

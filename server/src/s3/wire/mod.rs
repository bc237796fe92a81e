//! The outermost layer of the S3 face: the rules of the transport, and error bodies made whole.

pub(super) mod announced;
pub(super) mod ceph;
pub(super) mod mismatch;
pub(super) mod presigned;
pub(super) mod query;
pub(super) mod signing;
pub(super) mod version2;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3Error, S3ErrorCode, S3Response};

use self::mismatch::Signed;
use self::presigned::{Configured, SignedByQuery};
use super::AppState;
use super::body::digest;
use super::body::unframe::unframed;
use super::buckets::cors;
use super::encryption::sse;
use super::errors::{DETAIL, MALFORMED_XML, error, escape};
use super::objects::Unmeasured;
use super::post;
use crate::config::Compat;
use crate::listener::ConnInfo;
use crate::service::Facts;

/// Carries the status of an operation from [`with_status`] to the reply.
const STATUS: HeaderName = HeaderName::from_static("x-strongroom-status");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
/// An error body is small; a larger body is not one of ours.
const LARGEST_ERROR: usize = 64 << 10;
/// Names the vocabulary of S3's documents.
const SCHEMA: &str = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// The S3 service as the front calls it: with [`ConnInfo`] and [`Facts`] in the request's extensions.
#[derive(Clone)]
pub(crate) struct Wire {
    inner: S3Service,
    config: Arc<Configured>,
    state: Arc<AppState>,
}

/// Keeps the status that an operation answers with: the protocol crate has one of its own for each.
pub(super) fn with_status<T>(mut response: S3Response<T>) -> S3Response<T> {
    if let Some(status) = response.status {
        response
            .headers
            .insert(STATUS, HeaderValue::from(status.as_u16()));
    }
    response
}

impl Wire {
    pub(super) fn new(inner: S3Service, config: Arc<Configured>, state: Arc<AppState>) -> Self {
        Self {
            inner,
            config,
            state,
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The protocol layer could not make an answer at all.
    pub(crate) async fn call(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, HttpError> {
        signing::date_as_amz_date(request.headers_mut());
        if Unmeasured::is(request.headers()) {
            request.extensions_mut().insert(Unmeasured);
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let id = request
            .extensions()
            .get::<Arc<Facts>>()
            .map(|facts| facts.id().to_owned())
            .unwrap_or_default();
        let tls = request
            .extensions()
            .get::<ConnInfo>()
            .is_some_and(|conn| conn.tls);
        let target = Target::of(&request, self.state.settings.domain.as_deref());
        let origin = sse::header(request.headers(), ORIGIN.as_str()).map(str::to_owned);
        let judged = cors::judged_method(&method, request.headers());
        let is_form = post::is_form(&request);
        let compat = self.state.settings.compat;
        let of_signature = Signed::of(&request);
        let signed = match refuse(tls, request.headers(), request.uri()) {
            Some(refusal) => Err(refusal),
            None => presigned::taken(&mut request, compat),
        };
        let request = signed.and_then(|signed| {
            if let Some(refusal) = signing::refuse(request.headers(), request.uri(), compat) {
                return Err(refusal);
            }
            if is_form {
                return Ok((request, signed));
            }
            if let Some(refusal) = announced::refuse(&request) {
                return Err(refusal);
            }
            if method == Method::HEAD && target.bucket.is_none() {
                return Err(error(
                    S3ErrorCode::MethodNotAllowed,
                    "The specified method is not allowed against this resource.",
                ));
            }
            let progress = of_signature.as_ref().map(|signed| &signed.progress);
            Ok((unframed(request, progress)?, signed))
        });
        let mut response = match request {
            Ok((request, _)) if is_form => {
                let bucket = target.bucket.as_deref().filter(|_| !target.is_object);
                post::answered(&self.state, &self.inner, bucket, request).await?
            }
            Ok((request, _)) if method == Method::OPTIONS => {
                self.preflight(&target, request).await?
            }
            Ok((mut request, signed)) => {
                announced::complete(request.headers_mut());
                if compat == Compat::Ceph {
                    version2::address_as_signed(&self.state.users, &mut request).await;
                }
                self.compared(request, signed, of_signature.as_ref())
                    .await?
            }
            Err(refusal) => worded(refusal)?,
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            response = complete_error(response, &method, &path, &id, of_signature.as_ref()).await;
        } else if !is_form {
            // The answer to a form is of no schema.
            name_schema(&mut response);
        }
        response = with_control_characters(response);
        if let (Some(origin), Some(bucket)) = (origin, &target.bucket)
            && method != Method::OPTIONS
        {
            let allowed = cors::on_reply(&self.state, bucket, &origin, &judged).await;
            response.headers_mut().extend(allowed);
        }
        let headers = response.headers_mut();
        headers.remove(DETAIL);
        let status = headers.remove(STATUS);
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(HOST_ID, value);
        }
        if let Some(status) = status.and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok()) {
            *response.status_mut() = status;
        }
        Ok(response)
    }

    /// Passes the request on; a body that is not what its digests announce is the answer.
    async fn compared(
        &self,
        request: Request<Body>,
        signed: SignedByQuery,
        of_signature: Option<&Signed>,
    ) -> Result<Response<Body>, HttpError> {
        let (parts, body) = request.into_parts();
        match digest::compared(&parts.method, &parts.uri, &parts.headers, body) {
            Ok((body, refused)) => {
                let mut request = Request::from_parts(parts, body);
                if let Some(signature) = of_signature.filter(|_| refused.is_none()) {
                    request = signature.hold(request);
                }
                let call = self.inner.call(request);
                let answer = self.config.signed(signed, call).await?;
                match refused.and_then(|refused| refused.take()) {
                    Some(refusal) => worded(refusal),
                    None => Ok(answer),
                }
            }
            Err(refusal) => worded(refusal),
        }
    }

    async fn preflight(
        &self,
        target: &Target,
        request: Request<Body>,
    ) -> Result<Response<Body>, HttpError> {
        if let Some(facts) = request.extensions().get::<Arc<Facts>>() {
            facts.set_operation("Preflight");
        }
        let bucket = target.bucket.as_deref();
        match cors::preflight(&self.state, bucket, target.is_object, request.headers()).await {
            Ok(headers) => {
                let mut response = Response::new(Body::empty());
                *response.headers_mut() = headers;
                Ok(response)
            }
            Err(refusal) => worded(refusal),
        }
    }
}

/// What a request is about, as far as it matters before it is interpreted.
struct Target {
    bucket: Option<String>,
    is_object: bool,
}

impl Target {
    /// The bucket of the host's name below `domain`, or of the path.
    fn of<B>(request: &Request<B>, domain: Option<&str>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let host = sse::header(request.headers(), HOST.as_str()).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let by_name = domain
            .and_then(|domain| host.strip_suffix(domain))
            .and_then(|rest| rest.strip_suffix('.'));
        let (bucket, key) = match by_name {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        Self {
            bucket: Some(bucket.to_owned()).filter(|bucket| !bucket.is_empty()),
            is_object: !key.is_empty(),
        }
    }
}

/// An error as a reply.
pub(super) fn worded(refusal: S3Error) -> Result<Response<Body>, HttpError> {
    refusal
        .to_http_response()
        .map_err(|cause| HttpError::from_std_error(Box::new(cause)))
}

/// Keys may hold characters that XML 1.0 cannot, or that its readers change. As the service does,
/// they are written as references: the protocol crate writes them as they are, and only there.
fn with_control_characters(response: Response<Body>) -> Response<Body> {
    let is_xml = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/xml"));
    let Some(bytes) = response.body().bytes().filter(|_| is_xml) else {
        return response;
    };
    if !bytes.iter().any(|byte| needs_reference(*byte)) {
        return response;
    }
    let mut whole = Vec::with_capacity(bytes.len() + 64);
    for byte in &bytes {
        if needs_reference(*byte) {
            whole.extend_from_slice(format!("&#x{byte:X};").as_bytes());
        } else {
            whole.push(*byte);
        }
    }
    let (mut parts, _) = response.into_parts();
    if parts.headers.contains_key(CONTENT_LENGTH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    }
    Response::from_parts(parts, Body::from(Bytes::from(whole)))
}

/// Control characters but for line feed and tab.
fn needs_reference(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n' && byte != b'\t'
}

/// Rules that hold before anything of the request is interpreted.
fn refuse(tls: bool, headers: &HeaderMap, uri: &Uri) -> Option<S3Error> {
    let query = uri.query().unwrap_or_default().to_ascii_lowercase();
    if query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name.contains("server-side-encryption-customer-key") && !name.ends_with("md5")
    }) {
        return Some(error(
            S3ErrorCode::InvalidRequest,
            "A customer key in a query string is refused: it would stay in logs and histories. Send it as a header.",
        ));
    }
    if !tls && carries_customer_key(headers) {
        return Some(sse::not_secure());
    }
    None
}

fn carries_customer_key(headers: &HeaderMap) -> bool {
    [sse::CUSTOMER, sse::COPY_SOURCE_CUSTOMER]
        .iter()
        .any(|names| {
            [names.algorithm, names.key, names.md5]
                .iter()
                .any(|name| headers.contains_key(*name))
        })
}

/// Adds the elements of an error body that the protocol crate leaves out.
async fn complete_error(
    response: Response<Body>,
    method: &Method,
    path: &str,
    id: &str,
    signed: Option<&Signed>,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let is_xml = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/xml"));
    if *method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED || !is_xml {
        return Response::from_parts(parts, body);
    }
    let detail = parts
        .headers
        .get(DETAIL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let bytes = match http_body_util::Limited::new(body, LARGEST_ERROR)
        .collect()
        .await
    {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    };
    // Sentences stand in elements, where an apostrophe means nothing: S3 writes it as it is.
    let text = String::from_utf8_lossy(&bytes).replace("&apos;", "'");
    let text = s3_text(text);
    let of_signed = signed.and_then(|signed| signed.elements(&format!("{text}{detail}")));
    let of_signed = of_signed.unwrap_or_default();
    let extra = format!(
        "{detail}{of_signed}<Resource>{}</Resource><RequestId>{id}</RequestId><HostId>{id}</HostId></Error>",
        escape(path)
    );
    let whole = match text.strip_suffix("</Error>") {
        Some(start) => format!("{start}{extra}"),
        None => text,
    };
    parts
        .headers
        .insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    Response::from_parts(parts, Body::from(Bytes::from(whole)))
}

/// Adds S3's namespace to an answer in XML; the protocol crate leaves it out of some. An object's content, which may be
/// XML too, is a stream and never held here.
fn name_schema(response: &mut Response<Body>) {
    let is_xml = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/xml"));
    let Some(named) = response
        .body()
        .bytes()
        .filter(|_| is_xml)
        .and_then(|bytes| with_namespace(&bytes))
    else {
        return;
    };
    if response.headers().contains_key(CONTENT_LENGTH) {
        let length = HeaderValue::from(named.len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    *response.body_mut() = Body::from(Bytes::from(named));
}

/// The document with S3's namespace on its root, unless the root has an attribute of its own.
fn with_namespace(xml: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(xml).ok()?;
    let root = text.strip_prefix("<?xml").map_or(Some(0), |declared| {
        declared
            .find("?>")
            .map(|at| "<?xml".len() + at + "?>".len())
    })?;
    let name = text[root..].strip_prefix('<')?;
    let end = name.find(['>', ' ', '/'])?;
    if !name[end..].starts_with('>') {
        return None;
    }
    let at = root + 1 + end;
    Some([&xml[..at], SCHEMA.as_bytes(), &xml[at..]].concat())
}

/// S3's own sentences where the protocol crate has others.
const SENTENCES: [(&str, &str); 4] = [
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    ("MalformedXML", MALFORMED_XML),
    (
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    ),
    (
        "MissingContentLength",
        "You must provide the Content-Length HTTP header.",
    ),
];

/// The error with S3's own sentence, where there is one for its code.
fn s3_text(error: String) -> String {
    let found = SENTENCES.iter().find_map(|(code, sentence)| {
        let open = format!("<Code>{code}</Code><Message>");
        let start = error.find(&open)? + open.len();
        let end = start + error[start..].find("</Message>")?;
        Some(format!("{}{sentence}{}", &error[..start], &error[end..]))
    });
    found.unwrap_or(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_customer_key_in_the_query_is_refused_in_any_spelling() {
        for name in [
            "x-amz-server-side-encryption-customer-key",
            "X-Amz-Server-Side-Encryption-Customer-Key",
        ] {
            let uri: Uri = format!("/b/k?{name}=abc").parse().unwrap();
            assert!(refuse(true, &HeaderMap::new(), &uri).is_some());
        }
    }

    #[test]
    fn an_unreadable_body_is_called_what_s3_calls_it() {
        let error = |message| {
            format!("<Error><Code>MalformedXML</Code><Message>{message}</Message></Error>")
        };
        assert_eq!(s3_text(error("a description")), error(MALFORMED_XML));
        let other = "<Error><Code>NoSuchKey</Code><Message>m</Message></Error>";
        assert_eq!(s3_text(other.to_owned()), other);
    }

    #[test]
    fn every_document_names_its_schema_once() {
        let with =
            |xml: &str| with_namespace(xml.as_bytes()).map(|x| String::from_utf8(x).unwrap());
        for declaration in ["", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"] {
            let named = format!("{declaration}<A{SCHEMA}><B>1</B></A>");
            assert_eq!(
                with(&format!("{declaration}<A><B>1</B></A>")),
                Some(named.clone())
            );
            assert_eq!(with(&named), None);
        }
        for other in ["", "<", "<?xml", "text", "<A/>"] {
            assert_eq!(with(other), None);
        }
    }

    #[test]
    fn control_characters_of_a_key_are_written_as_references() {
        let reply = |kind: &'static str, text: &'static str| {
            let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            with_control_characters(response)
                .into_body()
                .bytes()
                .unwrap()
        };
        let (raw, coded) = ("<Key>a\u{1}\r\n\tb</Key>", "<Key>a&#x1;&#xD;\n\tb</Key>");
        assert_eq!(reply("application/xml", raw), coded);
        assert_eq!(reply("text/plain", raw), raw);
    }

    #[test]
    fn the_bucket_is_found_in_the_path_or_below_the_domain() {
        let target = |host: &str, uri: &str| {
            let request = Request::get(uri).header(HOST, host).body(()).unwrap();
            let target = Target::of(&request, Some("s3.example"));
            (target.bucket, target.is_object)
        };
        let bucket = Some("b".to_owned());
        assert_eq!(target("1.2.3.4:5", "/b/k"), (bucket.clone(), true));
        assert_eq!(target("s3.example", "/b?cors"), (bucket.clone(), false));
        assert_eq!(target("b.s3.example:9000", "/k"), (bucket.clone(), true));
        assert_eq!(target("b.s3.example", "/"), (bucket, false));
        assert_eq!(target("s3.example", "/"), (None, false));
    }

    #[test]
    fn a_customer_key_needs_tls() {
        let mut headers = HeaderMap::new();
        headers.insert(sse::CUSTOMER.key, HeaderValue::from_static("x"));
        let uri = Uri::from_static("/b/k");
        assert!(refuse(false, &headers, &uri).is_some());
        assert!(refuse(true, &headers, &uri).is_none());
    }
}

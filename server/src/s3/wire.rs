//! The outermost layer of the S3 face: the rules of the transport, and error bodies made whole.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use s3s::service::S3Service;
use s3s::{Body, HttpError, S3ErrorCode};

use super::errors::{DETAIL, MALFORMED_XML, error, escape};
use super::sse;
use super::unframe::unframed;
use crate::listener::ConnInfo;
use crate::service::Facts;

const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
/// An error body is small; a larger body is not one of ours.
const LARGEST_ERROR: usize = 64 << 10;
/// Names the vocabulary of S3's documents.
const SCHEMA: &str = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// The S3 service as the front calls it: with [`ConnInfo`] and [`Facts`] in the request's extensions.
#[derive(Clone)]
pub(crate) struct Wire {
    inner: S3Service,
}

impl Wire {
    pub(super) fn new(inner: S3Service) -> Self {
        Self { inner }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The protocol layer could not make an answer at all.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, HttpError> {
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
        let request = match refuse(tls, request.headers(), request.uri()) {
            Some(refusal) => Err(refusal),
            None => unframed(request),
        };
        let mut response = match request {
            Ok(request) => self.inner.call(request).await?,
            Err(refusal) => refusal
                .to_http_response()
                .map_err(|cause| HttpError::from_std_error(Box::new(cause)))?,
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            response = complete_error(response, &method, &path, &id).await;
        } else {
            name_schema(&mut response);
        }
        let headers = response.headers_mut();
        headers.remove(DETAIL);
        if let Ok(value) = HeaderValue::from_str(&id) {
            headers.insert(HOST_ID, value);
        }
        Ok(response)
    }
}

/// Rules that hold before anything of the request is interpreted.
fn refuse(tls: bool, headers: &HeaderMap, uri: &Uri) -> Option<s3s::S3Error> {
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
    let text = s3_text(String::from_utf8_lossy(&bytes).into_owned());
    let extra = format!(
        "{detail}<Resource>{}</Resource><RequestId>{id}</RequestId><HostId>{id}</HostId></Error>",
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

/// S3's own sentence about a body that does not parse; the protocol crate has the description of the code there.
fn s3_text(error: String) -> String {
    const OPEN: &str = "<Code>MalformedXML</Code><Message>";
    let Some(start) = error.find(OPEN).map(|at| at + OPEN.len()) else {
        return error;
    };
    let Some(length) = error[start..].find("</Message>") else {
        return error;
    };
    format!(
        "{}{MALFORMED_XML}{}",
        &error[..start],
        &error[start + length..]
    )
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
    fn a_customer_key_needs_tls() {
        let mut headers = HeaderMap::new();
        headers.insert(sse::CUSTOMER.key, HeaderValue::from_static("x"));
        let uri = Uri::from_static("/b/k");
        assert!(refuse(false, &headers, &uri).is_some());
        assert!(refuse(true, &headers, &uri).is_none());
    }
}

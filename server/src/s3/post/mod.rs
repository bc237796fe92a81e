//! POST object: an upload by an HTML form. A form becomes the PUT that its fields describe, and
//! goes the way of every PUT from there on; only who asks comes from the signature of its policy.
//!
//! The protocol crate reads forms too, and never gets one: it lets fields pass that no condition
//! of the policy names, and drops the policy before an operation could look at it.

mod form;
mod policy;
mod signature;

use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, LOCATION, REFERER, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use mime::Mime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::Tagging;
use s3s::service::S3Service;
use s3s::xml::{Deserialize, Deserializer};
use s3s::{Body, HttpError, S3ErrorCode, S3Result};
use time::OffsetDateTime;

pub(super) use self::form::WrongSize;
use self::form::{Fields, Form, malformed};
use self::policy::Policy;
pub(super) use self::signature::Signer;
use self::signature::signer;
use super::AppState;
use super::encryption::sse;
use super::errors::{error, escape, invalid_argument, malformed_xml};
use super::objects::check_key;
use super::wire::worded;
use crate::config::Compat;
use crate::listener::ConnInfo;
use crate::service::Facts;

/// In the extensions of the PUT that a form became.
#[derive(Clone, Debug)]
pub(super) struct FromForm {
    /// Nobody, where the form has no policy.
    pub(super) signer: Option<Signer>,
}

/// Whether a request is a form, wherever it was sent to.
pub(super) fn is_form<B>(request: &Request<B>) -> bool {
    *request.method() == Method::POST
        && sse::header(request.headers(), CONTENT_TYPE.as_str()).is_some_and(|kind| {
            kind.trim_start()
                .get(..FORM.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(FORM))
        })
}

/// Answers a form. `bucket` is that of the address, if that names one and nothing more.
///
/// # Errors
/// The protocol layer could not make an answer at all.
pub(super) async fn answered(
    state: &Arc<AppState>,
    service: &S3Service,
    bucket: Option<&str>,
    form: Request<Body>,
) -> Result<Response<Body>, HttpError> {
    let mut brought_key = false;
    let mut response = match as_put(state, bucket, form, &mut brought_key).await {
        Ok((put, answer)) => answer.reply(service.call(put).await?),
        Err(refusal) => worded(refusal)?,
    };
    if brought_key {
        // The connection carried a customer key.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

/// Reads a form up to its file, checks its policy, and makes a PUT of it.
async fn as_put(
    state: &Arc<AppState>,
    bucket: Option<&str>,
    request: Request<Body>,
    brought_key: &mut bool,
) -> S3Result<(Request<Body>, Answer)> {
    let (parts, body) = request.into_parts();
    if let Some(facts) = parts.extensions.get::<Arc<Facts>>() {
        facts.set_operation("PostObject");
    }
    let bucket = bucket.ok_or_else(|| {
        error(
            S3ErrorCode::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        )
    })?;
    if !parts.headers.contains_key(CONTENT_LENGTH) {
        return Err(error(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        ));
    }
    let connection = parts.extensions.get::<ConnInfo>();
    let tls = connection.is_some_and(|connection| connection.tls);
    let kind: Mime = sse::header(&parts.headers, CONTENT_TYPE.as_str())
        .and_then(|kind| kind.parse().ok())
        .ok_or_else(malformed)?;
    let form = Form::read(&kind, body).await?;
    let fields = &form.fields;
    *brought_key = fields.iter().any(|(name, _)| is_of_customer_key(name));
    if *brought_key && !tls {
        return Err(sse::not_secure());
    }
    let key = fields.required("key")?;
    if key.is_empty() {
        return Err(invalid_argument(
            "key",
            "",
            "User key must have a length greater than 0.",
        ));
    }
    check_key(key)?;
    let (signer, policy) = allowed(state, fields, bucket).await?;
    let scheme = if tls { "https" } else { "http" };
    let host = sse::header(&parts.headers, HOST.as_str());
    let answer = Answer::wanted(fields, bucket, key, host.map(|host| (scheme, host)));

    let mut headers = headers(fields)?;
    for name in [USER_AGENT, REFERER] {
        headers.extend(parts.headers.get(&name).map(|value| (name, value.clone())));
    }
    let mut put = Request::new(Body::empty());
    *put.method_mut() = Method::PUT;
    *put.uri_mut() = address(bucket, key)?;
    *put.headers_mut() = headers;
    *put.extensions_mut() = parts.extensions;
    put.extensions_mut().insert(FromForm { signer });
    let (least, most) = policy.map_or((0, u64::MAX), |policy| (policy.least, policy.most));
    *put.body_mut() = form.into_file(least, most);
    Ok((put, answer))
}

/// Who signed the form, and the policy, which permits it.
async fn allowed(
    state: &Arc<AppState>,
    fields: &Fields,
    bucket: &str,
) -> S3Result<(Option<Signer>, Option<Policy>)> {
    let signer = signer(state, fields).await?;
    let policy = fields.get("policy").map(Policy::read).transpose()?;
    if let Some(policy) = &policy {
        // Ceph's gateway takes a checksum from who posts: it can only make the upload fail.
        let ceph = state.settings.compat == Compat::Ceph;
        policy.permits(fields, bucket, OffsetDateTime::now_utc(), |name| {
            ceph && name.starts_with("x-amz-checksum-")
        })?;
    }
    Ok((signer, policy))
}

fn is_of_customer_key(name: &str) -> bool {
    [
        sse::CUSTOMER.algorithm,
        sse::CUSTOMER.key,
        sse::CUSTOMER.md5,
    ]
    .contains(&name)
}

fn address(bucket: &str, key: &str) -> S3Result<Uri> {
    let bucket = utf8_percent_encode(bucket, PATH);
    let key = utf8_percent_encode(key, PATH);
    let invalid = |_| error(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.");
    format!("/{bucket}/{key}").parse().map_err(invalid)
}

/// The headers that the fields stand for. A field that stands for none, and that the policy
/// permits, is nothing to us.
fn headers(fields: &Fields) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (field, value) in fields.iter() {
        let name = match field {
            "acl" => "x-amz-acl",
            "tagging" => "x-amz-tagging",
            _ if PLAIN.contains(&field) => field,
            _ if FAMILIES.iter().any(|family| field.starts_with(family)) => field,
            _ => continue,
        };
        let tagging;
        let value = if field == "tagging" {
            tagging = tagging_header(value)?;
            &tagging
        } else {
            value
        };
        let unfit = |_| {
            invalid_argument(
                field,
                "",
                "A field of the form has characters it must not have.",
            )
        };
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid_argument(field, "", "A field of the form has no such name."))?;
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(unfit)?;
        value.set_sensitive(name == sse::CUSTOMER.key);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The tags of a form, which are a document, as the header of a PUT has them.
fn tagging_header(document: &str) -> S3Result<String> {
    let mut reader = Deserializer::new(document.as_bytes());
    let tagging = Tagging::deserialize(&mut reader)
        .and_then(|tagging| reader.expect_eof().map(|()| tagging))
        .map_err(|_| malformed_xml())?;
    let coded = |text: Option<String>| {
        utf8_percent_encode(&text.unwrap_or_default(), NON_ALPHANUMERIC).to_string()
    };
    let tags = tagging.tag_set.into_iter();
    let pairs: Vec<_> = tags
        .map(|tag| format!("{}={}", coded(tag.key), coded(tag.value)))
        .collect();
    Ok(pairs.join("&"))
}

/// How a form is answered once its object is there.
pub(super) struct Answer {
    status: StatusCode,
    /// Where the sender is sent on to.
    redirect: Option<String>,
    location: String,
    bucket: String,
    key: String,
}

impl Answer {
    /// What the form asks for. What makes no sense is as if it were not there.
    fn wanted(fields: &Fields, bucket: &str, key: &str, server: Option<(&str, &str)>) -> Answer {
        let status = match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        };
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"))
            .map(|url| url.split('#').next().unwrap_or_default())
            .filter(|url| is_web_page(url));
        let server = server.map(|(scheme, host)| format!("{scheme}://{host}"));
        let path = utf8_percent_encode(key, PATH);
        Answer {
            status,
            redirect: redirect.map(str::to_owned),
            location: format!("{}/{bucket}/{path}", server.unwrap_or_default()),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Turns the reply to the PUT into the one to the form; an error stays what it is.
    pub(super) fn reply(self, response: Response<Body>) -> Response<Body> {
        if !response.status().is_success() {
            return response;
        }
        let (mut parts, _) = response.into_parts();
        let etag = sse::header(&parts.headers, ETAG.as_str()).unwrap_or_default();
        let (mut location, mut body) = (self.location, String::new());
        parts.status = self.status;
        if let Some(page) = self.redirect {
            parts.status = StatusCode::SEE_OTHER;
            let [bucket, key, etag] =
                [&self.bucket, &self.key, etag].map(|text| utf8_percent_encode(text, QUERY));
            let joint = if page.contains('?') { '&' } else { '?' };
            location = format!("{page}{joint}bucket={bucket}&key={key}&etag={etag}");
        } else if self.status == StatusCode::CREATED {
            let [location, bucket, key, etag] =
                [&location, &self.bucket, &self.key, etag].map(escape);
            body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location><Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>{etag}</ETag></PostResponse>"
            );
        }
        let headers = &mut parts.headers;
        headers.remove(CONTENT_LENGTH);
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        Response::from_parts(parts, Body::from(body))
    }
}

/// Whether a browser can be sent there.
fn is_web_page(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    })
}

const FORM: &str = "multipart/form-data";
/// Fields that are headers of the same name.
const PLAIN: [&str; 12] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-date",
    "x-amz-expected-bucket-owner",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// How the names of more such fields begin.
const FAMILIES: [&str; 5] = [
    "x-amz-checksum-",
    "x-amz-grant-",
    "x-amz-meta-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
];
/// What is coded in a path, and in a query.
const PATH: &AsciiSet = &QUERY.remove(b'/');
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

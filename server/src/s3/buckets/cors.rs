//! CORS: which web pages of other origins may use a bucket, and what their browsers are told.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Method, StatusCode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use super::documents::Document;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::body::blocking;
use crate::s3::encryption::sse::header;
use crate::s3::errors::{custom, error, malformed_xml, with_detail};

/// The CORS rules of a bucket; the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Cors {
    rules: Vec<Rule>,
}

impl Document for Cors {
    const NAME: &'static str = "cors";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// With at most one `*` each, like the headers.
    origins: Vec<String>,
    methods: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expose: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
}

const MOST_RULES: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

pub(in crate::s3) async fn put_bucket_cors(
    state: &Arc<AppState>,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let given = input.cors_configuration.cors_rules;
    if given.is_empty() || given.len() > MOST_RULES {
        return Err(malformed_xml());
    }
    let rules = given.into_iter().map(Rule::read).collect::<S3Result<_>>()?;
    state.documents.put(&bucket, Cors { rules }).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(in crate::s3) async fn get_bucket_cors(
    state: &Arc<AppState>,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let bucket = access::bucket(&request)?;
    let cors = state.documents.get::<Cors>(&bucket).await?.ok_or_else(|| {
        error(
            S3ErrorCode::NoSuchCORSConfiguration,
            "The CORS configuration does not exist",
        )
    })?;
    Ok(S3Response::new(GetBucketCorsOutput {
        cors_rules: Some(cors.rules.iter().map(Rule::write).collect()),
    }))
}

pub(in crate::s3) async fn delete_bucket_cors(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let bucket = access::bucket(&request)?;
    state.documents.delete::<Cors>(&bucket).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

/// What a browser asks before it sends a request of another origin: needs no signature, since a
/// browser sends none, and tells nothing but the rules.
///
/// # Errors
/// What is missing, or that no rule allows it.
pub(in crate::s3) async fn preflight(
    state: &Arc<AppState>,
    bucket: Option<&str>,
    is_object: bool,
    headers: &HeaderMap,
) -> S3Result<HeaderMap> {
    let Some(origin) = header(headers, ORIGIN.as_str()) else {
        return Err(custom(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "Insufficient information. Origin request header needed.",
        ));
    };
    let method = header(headers, ACCESS_CONTROL_REQUEST_METHOD.as_str())
        .filter(|method| METHODS.contains(method))
        .ok_or_else(|| {
            custom(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                "Invalid Access-Control-Request-Method: it must be one of GET, PUT, POST, DELETE and HEAD.",
            )
        })?;
    let refused = |message: &str| {
        let kind = if is_object { "OBJECT" } else { "BUCKET" };
        with_detail(
            custom(StatusCode::FORBIDDEN, "AccessForbidden", message),
            &[("Method", method), ("ResourceType", kind)],
        )
    };
    let cors = match bucket {
        Some(bucket) => rules_of(state, bucket).await?,
        None => None,
    };
    let cors = cors.ok_or_else(|| refused("CORSResponse: CORS is not enabled for this bucket."))?;
    let wanted: Vec<String> = header(headers, ACCESS_CONTROL_REQUEST_HEADERS.as_str())
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    let rule = cors.find(origin, method, &wanted).ok_or_else(|| {
        refused(
            "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    })?;
    let mut answer = rule.answer(origin);
    if !wanted.is_empty() {
        set(
            &mut answer,
            ACCESS_CONTROL_ALLOW_HEADERS,
            &wanted.join(", "),
        );
    }
    Ok(answer)
}

/// The method that a request is to be judged by: a client may name another than its own, as
/// browsers do in a preflight.
pub(in crate::s3) fn judged_method(request: &Method, headers: &HeaderMap) -> String {
    header(headers, ACCESS_CONTROL_REQUEST_METHOD.as_str())
        .unwrap_or(request.as_str())
        .to_owned()
}

/// The headers of a reply to a request that a page of `origin` sent; none if no rule allows it.
/// What cannot be looked up allows nothing.
pub(in crate::s3) async fn on_reply(
    state: &Arc<AppState>,
    bucket: &str,
    origin: &str,
    method: &str,
) -> HeaderMap {
    let cors = rules_of(state, bucket).await.ok().flatten();
    cors.and_then(|cors| {
        cors.find(origin, method, &[])
            .map(|rule| rule.answer(origin))
    })
    .unwrap_or_default()
}

async fn rules_of(state: &Arc<AppState>, name: &str) -> S3Result<Option<Arc<Cors>>> {
    let (state, name) = (Arc::clone(state), name.to_owned());
    blocking(move || {
        let at = state.documents.bucket(&name)?;
        state.documents.read_of::<Cors>(&at)
    })
    .await?
}

impl Cors {
    fn find(&self, origin: &str, method: &str, headers: &[String]) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.origins.iter().any(|pattern| matches(pattern, origin))
                && rule.methods.iter().any(|allowed| allowed == method)
                && headers.iter().all(|name| {
                    rule.headers
                        .iter()
                        .any(|pattern| matches(&pattern.to_ascii_lowercase(), name))
                })
        })
    }
}

impl Rule {
    fn read(given: CORSRule) -> S3Result<Self> {
        let headers = given.allowed_headers.unwrap_or_default();
        let expose = given.expose_headers.unwrap_or_default();
        if given.allowed_origins.is_empty() || given.allowed_methods.is_empty() {
            return Err(malformed_xml());
        }
        if let Some(method) = given
            .allowed_methods
            .iter()
            .find(|method| !METHODS.contains(&method.as_str()))
        {
            return Err(invalid(format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )));
        }
        for (kind, patterns) in [
            ("AllowedOrigin", &given.allowed_origins),
            ("AllowedHeader", &headers),
        ] {
            if let Some(pattern) = patterns.iter().find(|text| text.matches('*').count() > 1) {
                return Err(invalid(format!(
                    "{kind} \"{pattern}\" can not have more than one wildcard."
                )));
            }
        }
        if let Some(name) = expose.iter().find(|name| name.contains('*')) {
            return Err(invalid(format!(
                "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            )));
        }
        if let Some(name) = expose
            .iter()
            .find(|name| HeaderName::from_bytes(name.as_bytes()).is_err())
        {
            return Err(invalid(format!(
                "ExposeHeader \"{name}\" is no header name."
            )));
        }
        let max_age = given
            .max_age_seconds
            .map(|seconds| u32::try_from(seconds).map_err(|_| malformed_xml()))
            .transpose()?;
        Ok(Self {
            id: given.id,
            origins: given.allowed_origins,
            methods: given.allowed_methods,
            headers,
            expose,
            max_age,
        })
    }

    fn write(&self) -> CORSRule {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        CORSRule {
            allowed_headers: some(&self.headers),
            allowed_methods: self.methods.clone(),
            allowed_origins: self.origins.clone(),
            expose_headers: some(&self.expose),
            id: self.id.clone(),
            max_age_seconds: self.max_age.and_then(|seconds| i32::try_from(seconds).ok()),
        }
    }

    /// What a browser is told. A rule for every origin says `*` and promises no credentials.
    fn answer(&self, origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.origins.iter().any(|pattern| pattern == "*") {
            set(&mut headers, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(&mut headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(&mut headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(
            &mut headers,
            ACCESS_CONTROL_ALLOW_METHODS,
            &self.methods.join(", "),
        );
        if !self.expose.is_empty() {
            set(
                &mut headers,
                ACCESS_CONTROL_EXPOSE_HEADERS,
                &self.expose.join(", "),
            );
        }
        if let Some(seconds) = self.max_age {
            set(&mut headers, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        set(
            &mut headers,
            VARY,
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        );
        headers
    }
}

/// A pattern with at most one `*`, which stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

/// A value that no header can carry is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn invalid(message: String) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, holds) in [
            ("*", "", true),
            ("*", "http://a", true),
            ("http://*.example", "http://a.example", true),
            ("http://*.example", "http://.example", true),
            ("http://*.example", "https://a.example", false),
            ("http://*.example", "http://a.example.org", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("http://a", "http://A", false),
        ] {
            assert_eq!(matches(pattern, text), holds, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_in_all_three_decides() {
        let rule = |origin: &str, method: &str, header: &str| Rule {
            origins: vec![origin.into()],
            methods: vec![method.into()],
            headers: vec![header.into()],
            ..Rule::default()
        };
        let cors = Cors {
            rules: vec![
                rule("http://a", "GET", "X-*"),
                rule("http://*", "GET", "*"),
                rule("http://a", "PUT", "x-b"),
            ],
        };
        let find = |origin, method, headers: &[&str]| {
            let headers: Vec<_> = headers.iter().map(|name| (*name).to_owned()).collect();
            let rule = cors.find(origin, method, &headers)?;
            cors.rules
                .iter()
                .position(|known| std::ptr::eq(known, rule))
        };
        assert_eq!(find("http://a", "GET", &[]), Some(0));
        assert_eq!(find("http://a", "GET", &["x-one", "x-two"]), Some(0));
        assert_eq!(find("http://a", "GET", &["x-one", "y"]), Some(1));
        assert_eq!(find("http://a", "PUT", &["x-b"]), Some(2));
        assert_eq!(find("http://a", "PUT", &["x-c"]), None);
        assert_eq!(find("http://b", "PUT", &[]), None);
    }
}

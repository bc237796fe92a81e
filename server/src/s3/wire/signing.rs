//! What is wrong with a signature before it is looked at, in S3's words, and a date where the protocol crate
//! looks for it.

use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode};
use time::{Duration, OffsetDateTime};

use crate::config::Compat;
use crate::s3::encryption::sse::header;
use crate::s3::errors::{error, invalid_argument};

/// The header of a signature's time that every version knows.
pub(in crate::s3) const AMZ_DATE: &str = "x-amz-date";
/// How far a client's clock may be off.
const SKEW: Duration = Duration::minutes(15);
/// Longest validity of a presigned URL, in seconds.
pub(in crate::s3) const WEEK: i128 = 604_800;
/// Signature Version 2, as policies call it.
pub(in crate::s3) const V2: &str = "AWS";
/// How a header of it begins.
const V2_OF_HEADER: &str = "AWS ";
/// Signature Version 4, as requests, forms and policies call it.
pub(in crate::s3) const V4: &str = "AWS4-HMAC-SHA256";
/// What we are called in the scope of one.
pub(in crate::s3) const SERVICE: &str = "s3";

/// Refuses what cannot be a signature, whatever it signs.
pub(in crate::s3) fn refuse(headers: &HeaderMap, uri: &Uri, compat: Compat) -> Option<S3Error> {
    if let Some(wrong) = uri.query().and_then(wrong_validity) {
        return Some(match compat {
            Compat::Aws => error(S3ErrorCode::AuthorizationQueryParametersError, wrong),
            Compat::Ceph => error(S3ErrorCode::AccessDenied, wrong),
        });
    }
    if let Some(service) = uri.query().and_then(other_service_of_url) {
        return Some(error(
            S3ErrorCode::AuthorizationQueryParametersError,
            format!(
                "Error parsing the X-Amz-Credential parameter; incorrect service \"{service}\". This endpoint belongs to \"{SERVICE}\"."
            ),
        ));
    }
    let authorization = headers.get(AUTHORIZATION)?;
    let authorization = authorization.to_str().unwrap_or_default();
    let malformed = |message: &str| Some(invalid_argument("Authorization", authorization, message));
    if authorization.is_empty() {
        Some(error(S3ErrorCode::AccessDenied, "Access Denied"))
    } else if let Some(keys) = authorization.strip_prefix(V2_OF_HEADER) {
        if !keys.contains(':') {
            return malformed(
                "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            );
        }
        if compat != Compat::Ceph {
            return Some(unsupported_version());
        }
        wrong_v2_date(headers, OffsetDateTime::now_utc())
    } else if authorization.starts_with(V4) {
        let service = other_service_of_header(authorization)?;
        Some(error(
            S3ErrorCode::AuthorizationHeaderMalformed,
            format!(
                "The authorization header is malformed; incorrect service \"{service}\". This endpoint belongs to \"{SERVICE}\"."
            ),
        ))
    } else {
        malformed("Unsupported Authorization Type")
    }
}

/// The service that a header's signature is for, if it is not ours.
fn other_service_of_header(authorization: &str) -> Option<&str> {
    let (_, credential) = authorization.split_once("Credential=")?;
    other_service(credential.split([',', ' ']).next()?, "/")
}

/// The same of a presigned URL, whose slashes are coded.
fn other_service_of_url(query: &str) -> Option<&str> {
    let credential = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    if credential.contains('/') {
        other_service(credential, "/")
    } else {
        other_service(credential, "%2F").or_else(|| other_service(credential, "%2f"))
    }
}

/// In `access key/date/region/service/aws4_request`.
fn other_service<'a>(credential: &'a str, slash: &str) -> Option<&'a str> {
    let mut from_the_end = credential.rsplit(slash);
    let whole = from_the_end.next() == Some("aws4_request");
    let service = from_the_end.next()?;
    (whole && service != SERVICE).then_some(service)
}

/// Signature Version 2, where nobody asked for it.
pub(in crate::s3) fn unsupported_version() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

/// What is wrong with the validity of a presigned URL.
fn wrong_validity(query: &str) -> Option<&'static str> {
    let seconds = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("X-Amz-Expires="))?;
    match seconds.parse::<i128>() {
        Err(_) => Some("X-Amz-Expires should be a number"),
        Ok(seconds) if seconds < 0 => Some("X-Amz-Expires must be non-negative"),
        Ok(seconds) if seconds > WEEK => Some(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        ),
        Ok(_) => None,
    }
}

/// A request of Signature Version 2 whose `x-amz-date` is no time, or not ours.
fn wrong_v2_date(headers: &HeaderMap, now: OffsetDateTime) -> Option<S3Error> {
    let date = headers.get(AMZ_DATE)?.to_str().unwrap_or_default();
    let basic = date.len() == "20130524T000000Z".len() && date.ends_with('Z');
    if basic {
        return None;
    }
    match http_date(date).filter(|time| time.unix_timestamp() > 0) {
        None => Some(error(
            S3ErrorCode::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )),
        Some(time) if (now - time).abs() > SKEW => Some(error(
            S3ErrorCode::RequestTimeTooSkewed,
            "The difference between the request time and the current time is too large.",
        )),
        Some(_) => None,
    }
}

/// Signature Version 4 takes the time of `Date` where there is no `x-amz-date`; the protocol crate
/// knows the latter only. The time is part of what is signed, wherever it stands.
pub(in crate::s3) fn date_as_amz_date(headers: &mut HeaderMap) {
    let is_v4 = header(headers, AUTHORIZATION.as_str()).is_some_and(|value| value.starts_with(V4));
    if !is_v4 || headers.contains_key(AMZ_DATE) {
        return;
    }
    let Some(time) = header(headers, DATE.as_str()).and_then(http_date) else {
        return;
    };
    let text = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HeaderName::from_static(AMZ_DATE), value);
    }
}

/// Mail's spelling of the zone is what botocore sends.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    let utc = [" -0000", " +0000"]
        .iter()
        .find_map(|zone| text.strip_suffix(zone));
    let text = utc.map_or_else(|| text.to_owned(), |time| format!("{time} GMT"));
    Timestamp::parse(TimestampFormat::HttpDate, &text)
        .ok()
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn code(headers: &HeaderMap, uri: &str, compat: Compat) -> Option<String> {
        let refused = refuse(headers, &uri.parse().unwrap(), compat)?;
        Some(refused.code().as_str().to_owned())
    }

    #[test]
    fn what_is_no_signature_is_called_what_s3_calls_it() {
        for (value, expected) in [
            ("", Some("AccessDenied")),
            ("AWS HAHAHA", Some("InvalidArgument")),
            ("HAHAHA", Some("InvalidArgument")),
            ("AWS4-HMAC-SHA256 Credential=k", None),
        ] {
            let headers = with(&[("authorization", value)]);
            for compat in [Compat::Aws, Compat::Ceph] {
                assert_eq!(code(&headers, "/", compat).as_deref(), expected, "{value}");
            }
        }
        let version_2 = with(&[("authorization", "AWS key:signature")]);
        assert_eq!(code(&version_2, "/", Compat::Ceph), None);
        let refused = code(&version_2, "/", Compat::Aws);
        assert_eq!(refused.as_deref(), Some("InvalidRequest"));
    }

    #[test]
    fn what_was_signed_for_another_service_is_called_so() {
        let expected = |code: &str, ours: bool| (!ours).then(|| code.to_owned());
        for (service, ours) in [("s3", true), ("sts", false), ("", false)] {
            let scope = format!("AK/20260101/us-east-1/{service}/aws4_request");
            let header = format!("{V4} Credential={scope}, SignedHeaders=host, Signature=s");
            assert_eq!(
                code(&with(&[("authorization", &header)]), "/", Compat::Aws),
                expected("AuthorizationHeaderMalformed", ours)
            );
            for scope in [scope.clone(), scope.replace('/', "%2F")] {
                assert_eq!(
                    code(
                        &HeaderMap::new(),
                        &format!("/?X-Amz-Credential={scope}&x=y"),
                        Compat::Aws
                    ),
                    expected("AuthorizationQueryParametersError", ours)
                );
            }
        }
    }

    #[test]
    fn a_presigned_url_lives_a_week_at_most() {
        let none = HeaderMap::new();
        for (seconds, refused) in [
            ("0", false),
            ("604800", false),
            ("604801", true),
            ("-7", true),
            ("x", true),
        ] {
            let uri = format!("/b/k?X-Amz-Signature=s&X-Amz-Expires={seconds}");
            let expected = |code: &str| refused.then(|| code.to_owned());
            assert_eq!(
                code(&none, &uri, Compat::Aws),
                expected("AuthorizationQueryParametersError")
            );
            assert_eq!(code(&none, &uri, Compat::Ceph), expected("AccessDenied"));
        }
    }

    #[test]
    fn a_date_of_version_2_is_a_time_and_near() {
        for (date, expected) in [
            ("Bad Date", "AccessDenied"),
            ("", "AccessDenied"),
            ("Fri, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
            ("Wed, 07 Jul 2010 21:53:04 GMT", "RequestTimeTooSkewed"),
            // Whatever day of the week that was.
            ("Tue, 07 Jul 2010 21:53:04 GMT", "RequestTimeTooSkewed"),
        ] {
            let headers = with(&[("authorization", "AWS k:s"), ("x-amz-date", date)]);
            assert_eq!(
                code(&headers, "/", Compat::Ceph).as_deref(),
                Some(expected),
                "{date}"
            );
        }
    }

    #[test]
    fn version_4_reads_date_where_nothing_else_says_the_time() {
        let date = ("date", "Sun, 22 Nov 2026 08:56:50 GMT");
        let mut headers = with(&[("authorization", V4), date]);
        date_as_amz_date(&mut headers);
        assert_eq!(headers[AMZ_DATE], "20261122T085650Z");
        let mut other = with(&[("authorization", "AWS k:s"), date]);
        date_as_amz_date(&mut other);
        assert!(!other.contains_key(AMZ_DATE));
    }
}

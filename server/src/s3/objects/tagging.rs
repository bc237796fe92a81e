//! Tags of an object: three operations, and the header of a write.

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use strongroom::vault::Stat;

use crate::s3::AppState;
use crate::s3::access::{self, Principal};
use crate::s3::errors::invalid_argument;
use crate::s3::facts::amend;
use crate::s3::facts::tags::Tags;
use crate::s3::facts::version;

pub(in crate::s3) async fn put_object_tagging(
    state: &Arc<AppState>,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let tags = Tags::new(input.tagging.tag_set, MOST_OBJECT_TAGS)?;
    let stat = replace(state, &principal, input.key, input.version_id, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput {
        version_id: version::of_read(bucket.versioning, stat.version, stat.null),
    }))
}

pub(in crate::s3) async fn delete_object_tagging(
    state: &Arc<AppState>,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let none = Tags::default();
    let stat = replace(state, &principal, input.key, input.version_id, none).await?;
    Ok(S3Response::with_status(
        DeleteObjectTaggingOutput {
            version_id: version::of_read(bucket.versioning, stat.version, stat.null),
        },
        StatusCode::NO_CONTENT,
    ))
}

pub(in crate::s3) async fn get_object_tagging(
    state: &Arc<AppState>,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let version = input.version_id.as_deref();
    let (stat, facts) = amend::look(state, &principal, input.key, version).await?;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: facts.tags.to_set(),
        version_id: version::of_read(bucket.versioning, stat.version, stat.null),
    }))
}

async fn replace(
    state: &Arc<AppState>,
    principal: &Principal,
    key: String,
    version: Option<String>,
    tags: Tags,
) -> S3Result<Stat> {
    amend::change(state, principal, key, version.as_deref(), move |facts| {
        facts.tags = tags.clone();
        Ok(())
    })
    .await
}

/// Reads `x-amz-tagging`: `a=b&c=d`, URL-coded.
pub(in crate::s3) fn from_header(header: Option<&str>) -> S3Result<Tags> {
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Ok(Tags::default());
    };
    let malformed = || {
        invalid_argument(
            HEADER,
            header,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
        )
    };
    let set = header
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some(Tag {
                key: Some(url_decode(key)?),
                value: Some(url_decode(value)?),
            })
        })
        .collect::<Option<TagSet>>()
        .ok_or_else(malformed)?;
    let keys: HashSet<_> = set.iter().map(|tag| &tag.key).collect();
    if keys.len() != set.len() {
        return Err(malformed());
    }
    Tags::new(set, MOST_OBJECT_TAGS)
}

/// Form decoding (`+` is a space); `None` for what is not UTF-8 or not coded well.
fn url_decode(coded: &str) -> Option<String> {
    let mut bytes = coded.bytes();
    let mut out = Vec::with_capacity(coded.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// Tags of one object.
pub(in crate::s3) const MOST_OBJECT_TAGS: usize = 10;
const HEADER: &str = "x-amz-tagging";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code(result: S3Result<Tags>) -> String {
        result.unwrap_err().code().as_str().to_owned()
    }

    #[test]
    fn a_header_is_read_in_order() {
        let tags = from_header(Some("a=1&b%20c=x%2By&d=+&e")).unwrap();
        let expected = [("a", "1"), ("b c", "x+y"), ("d", " "), ("e", "")];
        assert_eq!(
            tags.0,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert!(from_header(None).unwrap().0.is_empty());
        assert!(from_header(Some("")).unwrap().0.is_empty());
    }

    #[test]
    fn a_header_that_is_not_coded_well_or_breaks_a_limit_is_refused() {
        let eleven = (0..11).map(|n| format!("k{n}=v")).collect::<Vec<_>>();
        let cases = [
            ("a=1&a=2".to_owned(), "InvalidArgument"),
            ("a=%zz".to_owned(), "InvalidArgument"),
            ("a=%ff".to_owned(), "InvalidArgument"),
            (eleven.join("&"), "BadRequest"),
            ("a=%7B".to_owned(), "InvalidTag"),
            ("=v".to_owned(), "InvalidTag"),
        ];
        for (header, expected) in cases {
            assert_eq!(code(from_header(Some(&header))), expected, "{header}");
        }
    }
}

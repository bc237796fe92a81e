//! Version ids as they go over the wire.

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::id::VersionId;
use strongroom::store::{Marker, Versioning, Which};
use strongroom::vault::VaultError;

use super::Facts;
use crate::s3::errors::{error, from_vault, invalid_argument, with_detail};

/// Reads the version a request names.
pub(in crate::s3) fn which(version: Option<&str>) -> S3Result<Which> {
    match version {
        None => Ok(Which::Current),
        Some(NULL) => Ok(Which::Null),
        Some("") => Err(invalid_argument(
            "versionId",
            "",
            "Version id cannot be the empty string",
        )),
        Some(id) => parse(id)
            .map(Which::Label)
            .ok_or_else(|| invalid_argument("versionId", id, "Invalid version id specified")),
    }
}

/// A version's id: 32 hex digits, or `null`.
pub(in crate::s3) fn wire(version: VersionId, null: bool) -> String {
    if null {
        NULL.to_owned()
    } else {
        version.to_string()
    }
}

/// `x-amz-version-id` of a read: nothing in a bucket that never kept versions.
pub(in crate::s3) fn of_read(
    versioning: Versioning,
    version: VersionId,
    null: bool,
) -> Option<String> {
    (versioning != Versioning::Off).then(|| wire(version, null))
}

/// `x-amz-version-id` of a write: only what was added beside others has an id to tell.
pub(in crate::s3) fn of_write(version: VersionId, null: bool) -> Option<String> {
    (!null).then(|| wire(version, null))
}

/// What a failed vault call means where it named a version.
pub(in crate::s3) fn failed(cause: VaultError, resource: &str, asked: Which) -> S3Error {
    match cause {
        VaultError::DeleteMarker { marker, .. } => met_marker(asked, &marker),
        cause => from_vault(cause, resource),
    }
}

/// The answer where a request meets a delete marker: on top of a key there is nothing (404); asked
/// for by its id, a marker cannot be read (405).
fn met_marker(asked: Which, marker: &Marker) -> S3Error {
    let key = String::from_utf8_lossy(&marker.key);
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(&wire(marker.version, marker.null)) {
        headers.insert("x-amz-version-id", id);
    }
    if asked == Which::Current {
        let mut nothing = error(S3ErrorCode::NoSuchKey, "The specified key does not exist.");
        nothing.set_headers(headers);
        return with_detail(nothing, &[("Key", &key)]);
    }
    if let Ok(modified) = HeaderValue::from_str(&Facts::http_date(marker.modified_ms)) {
        headers.insert(http::header::LAST_MODIFIED, modified);
    }
    headers.insert(http::header::ALLOW, HeaderValue::from_static("DELETE"));
    let mut refused = error(
        S3ErrorCode::MethodNotAllowed,
        "The specified method is not allowed against this resource.",
    );
    refused.set_status_code(StatusCode::METHOD_NOT_ALLOWED);
    refused.set_headers(headers);
    with_detail(refused, &[("ResourceType", "DeleteMarker")])
}

fn parse(id: &str) -> Option<VersionId> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(id, 16).ok()?;
    Some(VersionId(number.to_be_bytes()))
}

/// The id of what was written while a bucket's versioning was not enabled.
pub(in crate::s3) const NULL: &str = "null";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_come_back_as_they_went_out() {
        let label = VersionId([0xa5; 16]);
        assert_eq!(
            which(Some(&wire(label, false))).unwrap(),
            Which::Label(label)
        );
        assert_eq!(which(Some(&wire(label, true))).unwrap(), Which::Null);
        assert_eq!(which(None).unwrap(), Which::Current);
    }

    #[test]
    fn what_is_no_id_is_an_invalid_argument() {
        for wrong in ["", "x", "+0000000000000000000000000000000", &"0".repeat(33)] {
            let refused = which(Some(wrong)).unwrap_err();
            assert_eq!(refused.code().as_str(), "InvalidArgument", "{wrong}");
        }
    }

    #[test]
    fn only_buckets_that_keep_versions_tell_their_ids() {
        let label = VersionId([1; 16]);
        assert_eq!(of_read(Versioning::Off, label, true), None);
        assert_eq!(
            of_read(Versioning::Suspended, label, true).as_deref(),
            Some("null")
        );
        assert_eq!(of_write(label, true), None);
        assert_eq!(of_write(label, false), Some(label.to_string()));
    }
}

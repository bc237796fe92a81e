//! Archived objects: which classes have no readable copy, and what a restored copy is.

use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::store::Place;

use crate::s3::errors::{error, with_detail};
use crate::s3::facts::Facts;

/// The readable copy of an archived object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Restore {
    /// When the copy goes, Unix milliseconds. While it is on its way, absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) expiry_ms: Option<u64>,
    /// The days it was asked for.
    pub(in crate::s3) days: u32,
}

impl Restore {
    /// `x-amz-restore`.
    pub(in crate::s3) fn header(self) -> String {
        match self.expiry_ms {
            None => "ongoing-request=\"true\"".to_owned(),
            Some(expiry_ms) => format!(
                "ongoing-request=\"false\", expiry-date=\"{}\"",
                Facts::http_date(expiry_ms)
            ),
        }
    }
}

/// Refuses to read what is in the archive and has no restored copy.
pub(in crate::s3) fn must_be_readable(facts: &Facts, place: Place) -> S3Result<()> {
    match facts.class.as_deref() {
        Some(class) if is_archive(Some(class)) && !place.restored => Err(not_readable(class)),
        _ => Ok(()),
    }
}

/// An archived object is asked for its content.
pub(in crate::s3) fn not_readable(class: &str) -> S3Error {
    with_detail(
        error(
            S3ErrorCode::InvalidObjectState,
            "The operation is not valid for the object's storage class",
        ),
        &[("StorageClass", class)],
    )
}

/// True for the classes whose objects must be restored before they are read.
pub(in crate::s3) fn is_archive(class: Option<&str>) -> bool {
    matches!(class, Some("GLACIER" | "DEEP_ARCHIVE"))
}

//! What clients of Ceph's gateway expect where it answers otherwise than S3: `compat = "ceph"`.

use http::{StatusCode, Uri};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::config::Compat;
use crate::s3::encryption::sse;
use crate::s3::errors::{error, invalid_argument};

/// An error of S3 as the gateway has it.
pub(in crate::s3) fn worded(cause: S3Error) -> S3Error {
    let message = cause.message().unwrap_or_default();
    match cause.code() {
        S3ErrorCode::AccessDenied if message == sse::WRONG_KEY => {
            error(S3ErrorCode::InvalidArgument, sse::WRONG_KEY)
        }
        S3ErrorCode::InvalidArgument
            if message.starts_with(crate::s3::multipart::parts::RANGE_BEYOND_SOURCE) =>
        {
            let mut refused = error(S3ErrorCode::InvalidRange, message.to_owned());
            refused.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
            refused
        }
        _ if message.starts_with(crate::s3::facts::tags::TOO_MANY) => {
            error(S3ErrorCode::InvalidTag, message.to_owned())
        }
        _ => cause,
    }
}

/// The gateway lists faster without an order, and then cannot fold; here a listing always has its order.
pub(in crate::s3) fn refuse_unordered(
    compat: Compat,
    uri: &Uri,
    delimiter: Option<&str>,
) -> S3Result<()> {
    const UNORDERED: &str = "allow-unordered";
    let query = uri.query().unwrap_or_default();
    let unordered = query
        .split('&')
        .any(|pair| pair.split_once('=') == Some((UNORDERED, "true")));
    if compat == Compat::Ceph && unordered && delimiter.is_some() {
        return Err(invalid_argument(
            UNORDERED,
            "true",
            "A listing without an order cannot be folded at a delimiter.",
        ));
    }
    Ok(())
}

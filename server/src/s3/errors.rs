//! Errors as S3 clients know them: code, status, message, and the extra elements some of them carry.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};
use strongroom::vault::VaultError;

/// Carries extra XML elements of an error from an operation to [`super::wire`], which moves them into the body.
pub(super) const DETAIL: HeaderName = HeaderName::from_static("x-strongroom-error-detail");

/// What S3 says of a body that is not the schema's.
pub(super) const MALFORMED_XML: &str =
    "The XML you provided was not well-formed or did not validate against our published schema";

/// An error with S3's own code and a message.
pub(super) fn error(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// An error whose code the protocol crate does not know.
pub(super) fn custom(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
    error.set_status_code(status);
    error
}

/// `InvalidArgument` that names the argument and its value, as S3 does.
pub(super) fn invalid_argument(name: &str, value: &str, message: impl Into<String>) -> S3Error {
    let error = error(S3ErrorCode::InvalidArgument, message);
    with_detail(error, &[("ArgumentName", name), ("ArgumentValue", value)])
}

/// A body that parses and makes no sense, or does not parse.
pub(super) fn malformed_xml() -> S3Error {
    error(S3ErrorCode::MalformedXML, MALFORMED_XML)
}

/// Adds elements to the error's XML body.
pub(super) fn with_detail(mut error: S3Error, elements: &[(&str, &str)]) -> S3Error {
    let xml: String = elements
        .iter()
        .map(|(name, value)| format!("<{name}>{}</{name}>", escape(value)))
        .collect();
    let mut headers = error.headers().cloned().unwrap_or_else(HeaderMap::new);
    // A value that no header can carry is left out: the message still says what is wrong.
    if let Ok(value) = HeaderValue::from_bytes(xml.as_bytes()) {
        headers.insert(DETAIL, value);
        // An error's own headers take the place of those the protocol crate would set.
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        );
        error.set_headers(headers);
    }
    error
}

/// What a failed vault call means to an S3 client. `resource` is "bucket" or "bucket/key".
pub(super) fn from_vault(error: VaultError, resource: &str) -> S3Error {
    use S3ErrorCode as Code;
    let bucket = resource.split('/').next().unwrap_or(resource);
    let s3 = match &error {
        VaultError::NoSuchBucket(_) => with_detail(
            self::error(Code::NoSuchBucket, "The specified bucket does not exist"),
            &[("BucketName", bucket)],
        ),
        VaultError::NoSuchKey { .. } => {
            let key = resource.split_once('/').map_or("", |(_, key)| key);
            with_detail(
                self::error(Code::NoSuchKey, "The specified key does not exist."),
                &[("Key", key)],
            )
        }
        VaultError::NoSuchVersion { .. } => {
            let key = resource.split_once('/').map_or("", |(_, key)| key);
            with_detail(
                self::error(Code::NoSuchVersion, "The specified version does not exist."),
                &[("Key", key)],
            )
        }
        VaultError::DeleteMarker { .. } => {
            self::error(Code::NoSuchKey, "The specified key does not exist.")
        }
        VaultError::NoSuchUpload { .. } => super::multipart::no_such_upload(),
        VaultError::BucketNotEmpty(_) => with_detail(
            self::error(
                Code::BucketNotEmpty,
                "The bucket you tried to delete is not empty",
            ),
            &[("BucketName", bucket)],
        ),
        VaultError::BucketExists(_) => with_detail(
            self::error(
                Code::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            ),
            &[("BucketName", bucket)],
        ),
        VaultError::PreconditionFailed => precondition_failed(""),
        VaultError::CustomerKeyRequired => super::encryption::sse::key_required(),
        VaultError::CustomerKeyNotApplicable => super::encryption::sse::key_not_applicable(),
        VaultError::WrongCustomerKey => super::encryption::sse::wrong_key(),
        VaultError::TooLarge => self::error(
            Code::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        ),
        VaultError::Unavailable(_) | VaultError::ReadOnly(_) | VaultError::LeaseLost => {
            self::error(
                Code::ServiceUnavailable,
                "The key service or a store is away. Please retry.",
            )
        }
        VaultError::Busy => self::error(Code::SlowDown, "Please reduce your request rate."),
        VaultError::Changed => self::error(
            Code::OperationAborted,
            "The object was replaced while it was read. Please try again.",
        ),
        VaultError::Full(_) => custom(
            StatusCode::INSUFFICIENT_STORAGE,
            "InsufficientStorage",
            "No space is left on the server.",
        ),
        VaultError::RootDisabled(root) => super::encryption::kms::disabled(&root.to_string()),
        VaultError::RootPendingDeletion(root) => {
            super::encryption::kms::pending_deletion(&root.to_string())
        }
        VaultError::NoSuchRoot(root) => super::encryption::kms::no_such_root(*root),
        VaultError::PlaintextNotAllowed(_) => self::error(
            Code::OperationAborted,
            "The bucket was closed for plain objects meanwhile. Please try again.",
        ),
        VaultError::Disabled(_) | VaultError::Shredded(_) => self::error(
            Code::AccessDenied,
            "The key of this bucket is disabled or gone. Ask the operator.",
        ),
        VaultError::Invalid(what) => self::error(Code::InvalidRequest, what.clone()),
        _ => self::error(
            Code::InternalError,
            "We encountered an internal error. Please try again.",
        ),
    };
    if s3
        .status_code()
        .is_none_or(|status| status.is_server_error())
    {
        tracing::error!(resource, error = %error, "request failed");
    }
    s3
}

/// 412, naming the condition that did not hold.
pub(super) fn precondition_failed(condition: &str) -> S3Error {
    let failed = error(
        S3ErrorCode::PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold",
    );
    if condition.is_empty() {
        failed
    } else {
        with_detail(failed, &[("Condition", condition)])
    }
}

/// Text as XML content.
pub(super) fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            c if c.is_control() => String::new(),
            c if c.is_ascii() => c.to_string(),
            c => format!("&#{};", u32::from(c)),
        })
        .collect()
}

//! The encryption headers of a request: which protection it asks for, and every way to ask wrongly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, StatusCode};
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::secret::Secret;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::kms::Named;
use crate::s3::errors::{error, invalid_argument, with_detail};

/// `x-amz-server-side-encryption` and the headers that go with it.
pub(in crate::s3) const SSE: &str = "x-amz-server-side-encryption";
pub(in crate::s3) const SSE_CONTEXT: &str = "x-amz-server-side-encryption-context";
pub(in crate::s3) const SSE_KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
pub(in crate::s3) const SSE_BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
/// The three headers of a customer key, and their twins for a copy's source.
pub(in crate::s3) const CUSTOMER: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};
pub(in crate::s3) const COPY_SOURCE_CUSTOMER: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// Names of the three headers that carry a customer key.
pub(in crate::s3) struct CustomerHeaders {
    pub(in crate::s3) algorithm: &'static str,
    pub(in crate::s3) key: &'static str,
    pub(in crate::s3) md5: &'static str,
}

/// The three values of a customer key as an operation's input has them, moved out of it.
pub(in crate::s3) struct CustomerFields {
    pub(in crate::s3) algorithm: Option<String>,
    pub(in crate::s3) key: Option<Zeroizing<String>>,
    pub(in crate::s3) md5: Option<String>,
}

/// Takes them out of an operation's input, whose drop would leave the key in memory: the first thing
/// that an operation does.
macro_rules! customer_fields {
    ($input:expr) => {
        $crate::s3::encryption::sse::CustomerFields {
            algorithm: $input.sse_customer_algorithm.take(),
            key: $input.sse_customer_key.take().map(zeroize::Zeroizing::new),
            md5: $input.sse_customer_key_md5.take(),
        }
    };
}
pub(in crate::s3) use customer_fields;

/// The same of the source of a copy.
macro_rules! source_customer_fields {
    ($input:expr) => {
        $crate::s3::encryption::sse::CustomerFields {
            algorithm: $input.copy_source_sse_customer_algorithm.take(),
            key: $input
                .copy_source_sse_customer_key
                .take()
                .map(zeroize::Zeroizing::new),
            md5: $input.copy_source_sse_customer_key_md5.take(),
        }
    };
}
pub(in crate::s3) use source_customer_fields;

/// A customer key that came with a request: 32 bytes in locked memory, and its MD5 to echo.
pub(in crate::s3) struct CustomerKey {
    pub(in crate::s3) key: Secret<32>,
    pub(in crate::s3) md5: String,
}

/// What a write asks for.
pub(in crate::s3) enum Asked {
    /// Nothing: the bucket's default decides.
    Default,
    /// `AES256`.
    Managed,
    /// `aws:kms`.
    Kms(Named),
    /// A customer key.
    Customer(CustomerKey),
}

/// Reads what a write (PUT, COPY target) asks for.
pub(in crate::s3) fn asked(headers: &HeaderMap, customer: CustomerFields) -> S3Result<Asked> {
    let sse = header(headers, SSE);
    let any_customer = brings_customer_key(headers);
    if let (Some(value), true) = (sse, any_customer) {
        return Err(invalid_argument(
            SSE,
            value,
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
        ));
    }
    if any_customer {
        return customer_key(customer)?
            .map_or_else(|| Ok(Asked::Default), |key| Ok(Asked::Customer(key)));
    }
    let kms_header = [SSE_KEY_ID, SSE_CONTEXT, SSE_BUCKET_KEY]
        .iter()
        .find(|name| headers.contains_key(**name) && **name != SSE_BUCKET_KEY);
    match sse {
        None | Some("AES256") if kms_header.is_some() => Err(invalid_argument(
            kms_header.copied().unwrap_or(SSE_KEY_ID),
            kms_header
                .and_then(|name| header(headers, name))
                .unwrap_or_default(),
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
        )),
        None => Ok(Asked::Default),
        Some("AES256") => Ok(Asked::Managed),
        Some("aws:kms") => Named::read(headers).map(Asked::Kms),
        Some("aws:kms:dsse") => Err(super::kms::no_dsse()),
        Some(other) => Err(invalid_argument(
            SSE,
            other,
            "The encryption algorithm specified is not valid.",
        )),
    }
}

/// Whether any header of a customer key is there, a whole key or not.
pub(in crate::s3) fn brings_customer_key(headers: &HeaderMap) -> bool {
    [CUSTOMER.algorithm, CUSTOMER.key, CUSTOMER.md5]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Whether a header of this name carries a customer key.
pub(in crate::s3) fn is_key(name: &str) -> bool {
    [CUSTOMER.key, COPY_SOURCE_CUSTOMER.key]
        .iter()
        .any(|key| key.eq_ignore_ascii_case(name))
}

/// Reads and checks the three headers of a customer key; `None` when none of them is there.
pub(in crate::s3) fn customer_key(fields: CustomerFields) -> S3Result<Option<CustomerKey>> {
    if fields.algorithm.is_none() && fields.key.is_none() && fields.md5.is_none() {
        return Ok(None);
    }
    // S3 names the same argument whichever of the three headers it means, and never their values.
    let argument = |message: &'static str| invalid_argument(SSE, "null", message);
    match fields.algorithm.as_deref() {
        Some("AES256") => {}
        None => {
            return Err(argument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.",
            ));
        }
        Some(other) => {
            let invalid = crate::s3::errors::custom(
                StatusCode::BAD_REQUEST,
                "InvalidEncryptionAlgorithmError",
                "The Encryption request you specified is not valid. Supported value: AES256.",
            );
            return Err(with_detail(
                invalid,
                &[("ArgumentName", SSE), ("ArgumentValue", other)],
            ));
        }
    }
    let encoded = fields.key.ok_or_else(|| {
        argument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
        )
    })?;
    let md5 = fields.md5.ok_or_else(|| {
        argument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.",
        )
    })?;
    let mut raw = Zeroizing::new([0_u8; 32]);
    decode_key(&encoded, &mut raw)
        .ok_or_else(|| argument("The secret key was invalid for the specified algorithm."))?;
    let mut computed = Md5::digest(raw.as_slice());
    let given = Zeroizing::new(base64_decode(md5.as_bytes()).unwrap_or_default());
    let matches = bool::from(given.as_slice().ct_eq(computed.as_slice()));
    computed.as_mut_slice().zeroize();
    if !matches {
        return Err(argument(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        ));
    }
    let key = Secret::take(&mut raw).map_err(|_| no_locked_memory())?;
    Ok(Some(CustomerKey { key, md5 }))
}

/// A write header on a read is an error, not something to ignore.
pub(in crate::s3) fn refuse_write_headers(headers: &HeaderMap) -> S3Result<()> {
    [SSE, SSE_KEY_ID, SSE_CONTEXT]
        .iter()
        .find_map(|name| Some((*name, header(headers, name)?)))
        .map_or(Ok(()), |(name, value)| {
            Err(invalid_argument(
                name,
                value,
                format!("{name} header is not supported for this operation."),
            ))
        })
}

/// GET, HEAD or COPY of a customer-key object without the key.
pub(in crate::s3) fn key_required() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
    )
}

/// A customer key for an object that has none.
pub(in crate::s3) fn key_not_applicable() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "The encryption parameters are not applicable to this object.",
    )
}

/// The key does not open the object.
pub(in crate::s3) fn wrong_key() -> S3Error {
    error(S3ErrorCode::AccessDenied, WRONG_KEY)
}

/// `aws:kms`, and no key to wrap under.
pub(in crate::s3) fn kms_not_configured() -> S3Error {
    error(
        S3ErrorCode::NotImplemented,
        "Server side encryption specified but KMS is not configured",
    )
}

/// Customer keys are not accepted on this bucket.
pub(in crate::s3) fn customer_keys_blocked() -> S3Error {
    error(
        S3ErrorCode::AccessDenied,
        "Server Side Encryption with Customer provided keys is blocked on this bucket.",
    )
}

/// A customer key that travelled in clear.
pub(in crate::s3) fn not_secure() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
    )
}

/// A copy onto itself with equal but wrong keys.
pub(in crate::s3) fn rotation_keys_equal_but_wrong() -> S3Error {
    error(
        S3ErrorCode::InvalidArgument,
        "The provided encryption parameters did not match the ones used originally.",
    )
}

/// What S3 says of a key that does not open the object.
pub(in crate::s3) const WRONG_KEY: &str = "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.";

fn no_locked_memory() -> S3Error {
    error(
        S3ErrorCode::ServiceUnavailable,
        "The server cannot take a key now: its locked memory is used up. Please retry.",
    )
}

/// The one value of a header as text.
pub(in crate::s3) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Decodes base64 of exactly 32 bytes straight into `out`, with no copy elsewhere.
fn decode_key(encoded: &str, out: &mut [u8; 32]) -> Option<()> {
    let decoded = Zeroizing::new(base64_decode(encoded.as_bytes())?);
    out.copy_from_slice(<&[u8; 32]>::try_from(decoded.as_slice()).ok()?);
    Some(())
}

/// Standard base64 with padding; `None` for anything else.
pub(in crate::s3) fn base64_decode(encoded: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(encoded).ok()
}

/// Standard base64 with padding.
pub(in crate::s3) fn base64_encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn fields(algorithm: Option<&str>, key: Option<String>, md5: Option<&str>) -> CustomerFields {
        CustomerFields {
            algorithm: algorithm.map(str::to_owned),
            key: key.map(Zeroizing::new),
            md5: md5.map(str::to_owned),
        }
    }

    fn message(result: S3Result<Option<CustomerKey>>) -> (String, String) {
        let error = result.err().unwrap();
        (
            error.code().as_str().to_owned(),
            error.message().unwrap().to_owned(),
        )
    }

    #[test]
    fn a_whole_customer_key_is_taken_and_its_md5_echoed() {
        let md5 = base64_encode(&Md5::digest(KEY));
        let key = customer_key(fields(
            Some("AES256"),
            Some(base64_encode(&KEY)),
            Some(&md5),
        ))
        .unwrap()
        .unwrap();
        assert_eq!(key.key.expose(), &KEY);
        assert_eq!(key.md5, md5);
    }

    #[test]
    fn each_missing_or_wrong_header_has_its_own_message() {
        let md5 = base64_encode(&Md5::digest(KEY));
        let key = || Some(base64_encode(&KEY));
        let none = customer_key(fields(None, None, None)).unwrap();
        assert!(none.is_none());
        let cases = [
            (
                fields(None, key(), Some(&md5)),
                "InvalidArgument",
                "valid encryption algorithm.",
            ),
            (
                fields(Some("AES192"), key(), Some(&md5)),
                "InvalidEncryptionAlgorithmError",
                "Supported value: AES256.",
            ),
            (
                fields(Some("AES256"), None, Some(&md5)),
                "InvalidArgument",
                "an appropriate secret key.",
            ),
            (
                fields(Some("AES256"), key(), None),
                "InvalidArgument",
                "client calculated MD5 of the secret key.",
            ),
            (
                fields(Some("AES256"), Some("AAAA".into()), Some(&md5)),
                "InvalidArgument",
                "was invalid for the specified algorithm.",
            ),
            (
                fields(Some("AES256"), Some(base64_encode(&[8; 32])), Some(&md5)),
                "InvalidArgument",
                "did not match the hash that was provided.",
            ),
        ];
        for (fields, code, end) in cases {
            let (got_code, got_message) = message(customer_key(fields));
            assert_eq!(got_code, code);
            assert!(got_message.ends_with(end), "{got_message}");
        }
    }
}

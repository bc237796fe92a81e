//! POST object: an upload by an HTML form, whose fields stand for the headers of a PUT.

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::errors::invalid_argument;
use super::sse;
use crate::listener::ConnInfo;

/// Puts what the fields of a form say where PUT looks for it; headers beside the form do not count.
///
/// # Errors
/// A customer key that did not come over TLS; a value that no header can have.
pub(super) fn fields_as_headers(request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
    let input = &request.input;
    let tls = request
        .extensions
        .get::<ConnInfo>()
        .is_some_and(|connection| connection.tls);
    let key = input.sse_customer_key.as_ref();
    let parts_of_key = [
        key,
        input.sse_customer_algorithm.as_ref(),
        input.sse_customer_key_md5.as_ref(),
    ];
    if !tls && parts_of_key.iter().any(Option::is_some) {
        return Err(sse::not_secure());
    }
    let bucket_key = input.bucket_key_enabled.map(|on| on.to_string());
    let text = |field: &'_ Option<String>| field.clone();
    let fields = [
        (
            sse::SSE,
            input
                .server_side_encryption
                .as_ref()
                .map(|sse| sse.as_str().to_owned()),
        ),
        (sse::SSE_KEY_ID, text(&input.ssekms_key_id)),
        (sse::SSE_CONTEXT, text(&input.ssekms_encryption_context)),
        (sse::SSE_BUCKET_KEY, bucket_key),
        (sse::CUSTOMER.algorithm, text(&input.sse_customer_algorithm)),
        // That it is there; the key itself stays in its field.
        (sse::CUSTOMER.key, key.map(|_| String::new())),
        (sse::CUSTOMER.md5, text(&input.sse_customer_key_md5)),
        (
            "x-amz-acl",
            input.acl.as_ref().map(|acl| acl.as_str().to_owned()),
        ),
        ("x-amz-grant-full-control", text(&input.grant_full_control)),
        ("x-amz-grant-read", text(&input.grant_read)),
        ("x-amz-grant-read-acp", text(&input.grant_read_acp)),
        ("x-amz-grant-write-acp", text(&input.grant_write_acp)),
        ("content-md5", text(&input.content_md5)),
        (
            "x-amz-sdk-checksum-algorithm",
            input
                .checksum_algorithm
                .as_ref()
                .map(|algorithm| algorithm.as_str().to_owned()),
        ),
        ("x-amz-checksum-crc32", text(&input.checksum_crc32)),
        ("x-amz-checksum-crc32c", text(&input.checksum_crc32c)),
        ("x-amz-checksum-crc64nvme", text(&input.checksum_crc64nvme)),
        ("x-amz-checksum-md5", text(&input.checksum_md5)),
        ("x-amz-checksum-sha1", text(&input.checksum_sha1)),
        ("x-amz-checksum-sha256", text(&input.checksum_sha256)),
        ("x-amz-checksum-sha512", text(&input.checksum_sha512)),
        ("x-amz-checksum-xxhash64", text(&input.checksum_xxhash64)),
        ("x-amz-checksum-xxhash3", text(&input.checksum_xxhash3)),
        ("x-amz-checksum-xxhash128", text(&input.checksum_xxhash128)),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let Some(value) = value {
            let header = HeaderValue::from_str(&value).map_err(|_| {
                invalid_argument(
                    name,
                    "",
                    "A field of the form has characters it must not have.",
                )
            })?;
            headers.insert(HeaderName::from_static(name), header);
        }
    }
    request.headers = headers;
    Ok(())
}

/// The reply to a form, whose body is not S3's to fill: what a PUT says in its headers.
pub(super) fn answer(output: PutObjectOutput) -> S3Response<PutObjectOutput> {
    let said = [
        (
            "etag",
            output
                .e_tag
                .as_ref()
                .map(|etag| format!("\"{}\"", etag.value())),
        ),
        (
            sse::SSE,
            output
                .server_side_encryption
                .as_ref()
                .map(|sse| sse.as_str().to_owned()),
        ),
        (sse::SSE_KEY_ID, output.ssekms_key_id.clone()),
        (sse::SSE_CONTEXT, output.ssekms_encryption_context.clone()),
        (
            sse::SSE_BUCKET_KEY,
            output.bucket_key_enabled.map(|on| on.to_string()),
        ),
        (
            sse::CUSTOMER.algorithm,
            output.sse_customer_algorithm.clone(),
        ),
        (sse::CUSTOMER.md5, output.sse_customer_key_md5.clone()),
        ("x-amz-version-id", output.version_id.clone()),
    ];
    let mut response = S3Response::new(output);
    for (name, value) in said {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response
                .headers
                .insert(HeaderName::from_static(name), value);
        }
    }
    if response.output.sse_customer_algorithm.is_some() {
        // The connection held a key.
        let close = HeaderValue::from_static("close");
        response.headers.insert(http::header::CONNECTION, close);
    }
    response
}

//! CopyObject: what is copied is opened and sealed again under a fresh data key.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::Which;
use strongroom::vault::{ObjectReader, Protection};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::archive;
use super::conditions::ReadConditions;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::access::sharing;
use crate::s3::body::checksums::{self, BodyChecks, set_checksums};
use crate::s3::body::{Sink, Upload, blocking};
use crate::s3::encryption::sse::{self, customer_fields, source_customer_fields};
use crate::s3::encryption::{self, set_encryption};
use crate::s3::errors::{error, from_vault};
use crate::s3::facts::version;
use crate::s3::facts::write::fact_headers;
use crate::s3::facts::{ContentHeaders, Facts, content_headers, strong};
use crate::s3::lifecycle::Dates;
use crate::s3::objects::{self, LARGEST_PUT, Source, Target, Write, check_key, object_etag};

/// Plaintext in flight from source to target.
const BATCH: usize = 1 << 20;

pub(in crate::s3) async fn copy_object(
    state: &Arc<AppState>,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input,
        headers,
        extensions,
        ..
    } = request;
    let customer = customer_fields!(input);
    let source_customer = source_customer_fields!(input);
    let at = principal.at()?;
    let bucket = Arc::clone(&at.bucket);
    check_key(&input.key)?;
    let (source_name, source_which) = source(&input.copy_source)?;
    let source_bucket = principal.source_bucket()?;
    let source_versioning = source_bucket.versioning;
    let replace = directive(
        "x-amz-metadata-directive",
        input
            .metadata_directive
            .as_ref()
            .map(MetadataDirective::as_str),
    )?;

    let encryption = encryption::resolve(state, &principal, &at, &headers, customer).await?;
    let source_customer = sse::customer_key(source_customer)?;
    // An older version onto its key is how it is brought back.
    let onto_itself =
        source_bucket.id == bucket.id && source_name == input.key && source_which == Which::Current;
    let same_key_twice = match (&encryption.protection, &source_customer) {
        (Protection::Customer(new), Some(old)) => bool::from(new.ct_eq(&old.key)),
        _ => false,
    };
    let replace_tags = directive(
        "x-amz-tagging-directive",
        input
            .tagging_directive
            .as_ref()
            .map(TaggingDirective::as_str),
    )?;
    let asks_class = input.storage_class.is_some();
    let mut facts = fact_headers!(input).facts(state, &at).await?;
    sharing::stamp(state, &principal, &headers, &mut facts).await?;
    let reader = objects::open(
        state,
        Source {
            bucket: source_bucket,
            key: source_name,
            which: source_which,
            customer: source_customer.map(|customer| customer.key),
        },
        &principal,
    )
    .await
    .map_err(|cause| {
        let cause = marker_as_source(cause);
        if onto_itself && same_key_twice && cause.message() == sse::wrong_key().message() {
            sse::rotation_keys_equal_but_wrong()
        } else {
            cause
        }
    })?;
    let info = reader.info();
    principal.confirm_source(&info.facts)?;
    ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    }
    .check(&object_etag(info), info.modified_ms)
    .map_err(super::conditions::Failed::on_copy)?;
    if info.length > LARGEST_PUT {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_PUT}"
            ),
        ));
    }
    let changes_encryption = encryption.asked || info.mode != encryption.protection.mode();
    let source_facts = Facts::decode(&info.facts);
    let changes_class = asks_class && facts.class != source_facts.class;
    if onto_itself
        && !replace
        && !changes_encryption
        && !changes_class
        && input.website_redirect_location.is_none()
    {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }

    if !replace_tags {
        if !source_facts.tags.0.is_empty() {
            let tags = &source_facts.tags;
            access::require_carried_tags(state, &extensions, &input.key, tags).await?;
        }
        facts.tags = source_facts.tags;
    }
    let content = if replace {
        content_headers!(input)
    } else {
        let mut kept = ContentHeaders::from_head(&info.head);
        kept.website_redirect_location = input.website_redirect_location;
        kept
    };
    let mut checks = BodyChecks::none();
    match &input.checksum_algorithm {
        Some(algorithm) => checks.also_compute(algorithm.as_str())?,
        None => {
            for (algorithm, _) in checksums::stored(&info.attrs) {
                checks.also_compute(algorithm)?;
            }
        }
    }
    let length = info.length;
    let kept_facts = facts.clone();
    let dates = Dates::of(state, &at).await?;
    let object_key = input.key.clone();
    let copy_source_version_id = version::of_read(source_versioning, info.version, info.null);
    let target = Target {
        bucket: Arc::clone(&bucket),
        key: input.key,
        content,
        facts,
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let (write, upload) = Write::begin(state, &principal, target, encryption, checks).await?;
    let upload = pump(reader, upload, 0..length, &write.resource).await?;
    let written = write
        .finish(upload, Zeroizing::default(), BodyChecks::computed)
        .await?;
    archive::after_write(
        state,
        kept_facts.class.as_deref(),
        (&bucket, &object_key),
        written.committed.version,
        written.committed.null,
    );
    let mut result = CopyObjectResult {
        e_tag: Some(strong(&written.etag)),
        last_modified: Some(Facts::timestamp(written.committed.modified_ms)),
        ..CopyObjectResult::default()
    };
    set_checksums!(result, &written.verified.checksums);
    let mut output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id,
        expiration: dates.expiration(
            &object_key,
            &kept_facts,
            written.committed.length,
            written.committed.modified_ms,
        ),
        version_id: written.version_id(),
        ..CopyObjectOutput::default()
    };
    set_encryption!(output, &written.encryption);
    output.ssekms_encryption_context = written.encryption.kms_context.clone();
    Ok(S3Response::new(output))
}

/// Opens bytes of an object and seals them again, one batch a call.
pub(in crate::s3) async fn pump<S: Sink>(
    reader: ObjectReader,
    upload: Upload<S>,
    bytes: Range<u64>,
    resource: &str,
) -> S3Result<Upload<S>> {
    let Range {
        start: mut offset,
        end,
    } = bytes;
    let mut state = (reader, upload, Zeroizing::new(Vec::new()));
    while offset < end {
        let wanted = usize::try_from(end - offset).map_or(BATCH, |left| left.min(BATCH));
        let (moved, read) = blocking(move || {
            let (mut reader, mut upload, mut batch) = state;
            batch.resize(wanted, 0);
            let read = reader.read_at(offset, &mut batch)?;
            upload.write(&batch[..read])?;
            Ok(((reader, upload, batch), read))
        })
        .await?
        .map_err(|cause: strongroom::vault::VaultError| from_vault(cause, resource))?;
        if read == 0 {
            return Err(error(
                S3ErrorCode::InternalError,
                "The copy source ended early.",
            ));
        }
        state = moved;
        offset += read as u64;
    }
    Ok(state.1)
}

/// A delete marker that is named as the source of a copy.
pub(in crate::s3) fn marker_as_source(cause: S3Error) -> S3Error {
    if cause.status_code() == Some(http::StatusCode::METHOD_NOT_ALLOWED) {
        error(
            S3ErrorCode::InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
    } else {
        cause
    }
}

/// Key and version of a copy's source.
pub(in crate::s3) fn source(source: &CopySource) -> S3Result<(String, Which)> {
    match source {
        CopySource::Bucket {
            key, version_id, ..
        } => Ok((key.to_string(), version::which(version_id.as_deref())?)),
        _ => Err(error(
            S3ErrorCode::NotImplemented,
            "Access points are not implemented",
        )),
    }
}

/// True for REPLACE.
fn directive(header: &str, directive: Option<&str>) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(crate::s3::errors::invalid_argument(
            header,
            other,
            format!(
                "Unknown {} directive.",
                header
                    .trim_start_matches("x-amz-")
                    .trim_end_matches("-directive")
            ),
        )),
    }
}

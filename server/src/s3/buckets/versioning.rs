//! Whether a bucket keeps versions, and the listing of all versions.

use std::ops::Bound;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use strongroom::store::{Versioning, Which};
use strongroom::vault::{ListedVersion, VersionEntry, VersionItem, VersionsRequest};

use super::list::{Coding, after_marker, max_keys};
use crate::s3::AppState;
use crate::s3::access::{self, Principal};
use crate::s3::body::blocking;
use crate::s3::errors::{custom, from_vault, invalid_argument, malformed_xml};
use crate::s3::facts::version;
use crate::s3::facts::{Facts, etag, strong};
use crate::s3::objects::retention;

pub(in crate::s3) async fn put_bucket_versioning(
    state: &Arc<AppState>,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let at = access::at(&request)?;
    let input = request.input;
    let config = input.versioning_configuration;
    if config
        .mfa_delete
        .is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED)
    {
        return Err(crate::s3::errors::error(
            s3s::S3ErrorCode::NotImplemented,
            "MFA delete is not implemented",
        ));
    }
    let wanted = match config.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(malformed_xml()),
        None => {
            return Err(crate::s3::errors::error(
                s3s::S3ErrorCode::IllegalVersioningConfigurationException,
                "The Versioning element must be specified",
            ));
        }
    };
    if wanted == Versioning::Suspended && retention::of_bucket(state, &at).await?.is_some() {
        return Err(custom(
            http::StatusCode::CONFLICT,
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        ));
    }
    let vault = Arc::clone(&state.vault);
    blocking(move || {
        vault
            .set_versioning(&at.bucket, wanted)
            .map_err(|cause| from_vault(cause, &at.bucket.name))
    })
    .await??;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub(in crate::s3) async fn get_bucket_versioning(
    _state: &Arc<AppState>,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let bucket = access::bucket(&request)?;
    let status = match bucket.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    }))
}

pub(in crate::s3) async fn list_object_versions(
    state: &Arc<AppState>,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let coding = Coding::of(input.encoding_type.as_ref())?;
    let most = max_keys(input.max_keys)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();
    let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
    let after = version_marker
        .as_deref()
        .map(|marker| version::which(Some(marker)))
        .transpose()?;
    if let Some(marker) = &version_marker
        && key_marker.is_empty()
    {
        return Err(invalid_argument(
            "version-id-marker",
            marker,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let from = match after {
        Some(_) => Bound::Included(key_marker.clone().into_bytes()),
        None => after_marker(&key_marker, &prefix, delimiter.as_deref()),
    };
    let mut output = ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(coding.text(prefix.clone())),
        key_marker: Some(coding.text(key_marker)),
        version_id_marker: Some(version_marker.unwrap_or_default()),
        max_keys: Some(most),
        delimiter: delimiter.clone().map(|delimiter| coding.text(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(false),
        ..ListObjectVersionsOutput::default()
    };
    let limit = usize::try_from(most).unwrap_or_default();
    if limit == 0 {
        return Ok(S3Response::new(output));
    }
    let vault = Arc::clone(&state.vault);
    let of = Arc::clone(&bucket);
    let page = blocking(move || {
        vault
            .list_versions(&VersionsRequest {
                bucket: (&of).into(),
                prefix: prefix.as_bytes(),
                from: from.as_ref().map(Vec::as_slice),
                after,
                delimiter: delimiter.as_deref().map(str::as_bytes),
                limit,
            })
            .map_err(|cause| from_vault(cause, &of.name))
    })
    .await??;
    if page.more {
        output.is_truncated = Some(true);
        match page.items.last() {
            Some(VersionItem::Version(last)) => {
                output.next_key_marker = Some(coding.text(text(last.key())));
                output.next_version_id_marker = Some(id(last.which));
            }
            Some(VersionItem::Prefix(prefix)) => {
                output.next_key_marker = Some(coding.text(text(prefix)));
            }
            None => {}
        }
    }
    let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for item in page.items {
        match item {
            VersionItem::Prefix(prefix) => prefixes.push(CommonPrefix {
                prefix: Some(coding.text(text(&prefix))),
            }),
            VersionItem::Version(listed) => {
                describe(listed, coding, &principal, &mut versions, &mut markers)
            }
        }
    }
    output.versions = Some(versions);
    output.delete_markers = Some(markers);
    output.common_prefixes = Some(prefixes);
    Ok(S3Response::new(output))
}

fn describe(
    listed: ListedVersion,
    coding: Coding,
    principal: &Principal,
    versions: &mut Vec<ObjectVersion>,
    markers: &mut Vec<DeleteMarkerEntry>,
) {
    let is_latest = Some(listed.noncurrent_since_ms.is_none());
    let key = Some(coding.text(text(listed.key())));
    let version_id = Some(id(listed.which));
    match listed.entry {
        VersionEntry::Marker(marker) => markers.push(DeleteMarkerEntry {
            is_latest,
            key,
            last_modified: Some(Facts::timestamp(marker.modified_ms)),
            // Of who put a marker nothing is kept: it counts as the bucket owner's.
            owner: principal.object_owner(&Facts::default()),
            version_id,
        }),
        VersionEntry::Object(object) => {
            let facts = Facts::decode(&object.facts);
            versions.push(ObjectVersion {
                e_tag: Some(strong(&etag(
                    object.mode,
                    object.version,
                    object.attrs.as_ref(),
                    &facts,
                ))),
                is_latest,
                key,
                last_modified: Some(Facts::timestamp(object.modified_ms)),
                owner: principal.object_owner(&facts),
                size: i64::try_from(object.length).ok(),
                storage_class: Some(ObjectVersionStorageClass::from(
                    facts.class.unwrap_or_else(|| "STANDARD".to_owned()),
                )),
                version_id,
                ..ObjectVersion::default()
            });
        }
    }
}

fn id(which: Which) -> String {
    match which {
        Which::Label(label) => version::wire(label, false),
        Which::Null | Which::Current => version::NULL.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

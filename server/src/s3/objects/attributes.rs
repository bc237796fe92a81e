//! GetObjectAttributes: what HEAD says and what is known of the parts, without a byte of the object.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::format::NamedList;
use strongroom::vault::{ObjectInfo, OpenRequest};

use super::object_etag;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::body::blocking;
use crate::s3::body::checksums::{self, set_checksums};
use crate::s3::body::part_sums;
use crate::s3::encryption::kms;
use crate::s3::encryption::sse::{self, customer_fields};
use crate::s3::errors::{error, invalid_argument};
use crate::s3::facts::version;
use crate::s3::facts::{Facts, strong};
use crate::s3::multipart;

pub(in crate::s3) async fn get_object_attributes(
    state: &Arc<AppState>,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let principal = access::principal(&request)?;
    let mut input = request.input;
    let customer = customer_fields!(input);
    let bucket = principal.bucket()?;
    let which = version::which(input.version_id.as_deref())?;
    let wanted = Wanted::read(&input.object_attributes)?;
    let customer = sse::customer_key(customer)?;
    let (after, limit) = page(input.part_number_marker, input.max_parts)?;
    let of = Arc::clone(&bucket);
    let (vault, by) = (Arc::clone(&state.vault), principal.name.to_string());
    let (info, sums) = blocking(move || {
        let request = OpenRequest {
            bucket: (&of).into(),
            key: input.key.as_bytes(),
            version: which,
            customer: customer.map(|customer| customer.key),
            instance: None,
            principal: &by,
        };
        let resource = format!("{}/{}", input.bucket, input.key);
        let failed = |cause| version::failed(cause, &resource, which);
        vault
            .head_with_parts(&request, |info| {
                if wanted.checksum && part_sums::needs_parts(info) {
                    Some((0, multipart::MOST_PARTS))
                } else {
                    wanted.parts.then_some((after, limit))
                }
            })
            .map_err(failed)
    })
    .await??;
    principal.confirm(&info.facts)?;
    state.kms.must_allow(info.kms_root, &principal, kms::READ)?;
    let facts = Facts::decode(&info.facts);
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(Facts::timestamp(info.modified_ms)),
        version_id: version::of_read(bucket.versioning, info.version, info.null),
        ..GetObjectAttributesOutput::default()
    };
    if wanted.etag {
        output.e_tag = Some(strong(&object_etag(&info)));
    }
    if wanted.size {
        output.object_size = i64::try_from(info.length).ok();
    }
    if wanted.class {
        output.storage_class = Some(StorageClass::from(
            facts.class.unwrap_or_else(|| "STANDARD".to_owned()),
        ));
    }
    let of_object = part_sums::of_object(&info, &sums);
    if wanted.checksum && !of_object.values.is_empty() {
        let mut checksum = Checksum {
            checksum_type: of_object.kind.map(ChecksumType::from_static),
            ..Checksum::default()
        };
        set_checksums!(checksum, &of_object.values);
        output.checksum = Some(checksum);
    }
    if wanted.parts && !info.parts.is_empty() {
        // Without a checksum of its own choice, an upload's parts show none.
        let sums = facts.sum.map_or(&[][..], |_| &sums[..]);
        output.object_parts = Some(parts(&info, sums, after, limit));
    }
    Ok(S3Response::new(output))
}

/// The attributes a request asks for.
#[derive(Clone, Copy, Default)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
}

impl Wanted {
    fn read(names: &[ObjectAttributes]) -> S3Result<Self> {
        let mut wanted = Self::default();
        // One header with all of them, or one for each.
        for name in names.iter().flat_map(|names| names.as_str().split(',')) {
            match name.trim() {
                ObjectAttributes::ETAG => wanted.etag = true,
                ObjectAttributes::CHECKSUM => wanted.checksum = true,
                ObjectAttributes::OBJECT_PARTS => wanted.parts = true,
                ObjectAttributes::STORAGE_CLASS => wanted.class = true,
                ObjectAttributes::OBJECT_SIZE => wanted.size = true,
                other => {
                    return Err(invalid_argument(
                        "x-amz-object-attributes",
                        other,
                        "Invalid attribute name specified.",
                    ));
                }
            }
        }
        if names.is_empty() {
            return Err(error(
                S3ErrorCode::InvalidArgument,
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        Ok(wanted)
    }
}

/// A page of the parts. Those that came with a checksum are shown one by one.
fn parts(
    info: &ObjectInfo,
    sums: &[(u32, NamedList)],
    after: u32,
    limit: usize,
) -> GetObjectAttributesParts {
    let spans: Vec<_> = info.parts.iter().filter(|span| span.part > after).collect();
    let truncated = spans.len() > limit;
    let shown = &spans[..spans.len().min(limit)];
    let entries: Vec<ObjectPart> = shown
        .iter()
        .filter_map(|span| {
            let (_, attrs) = sums.iter().find(|(part, _)| *part == span.part)?;
            let stored = checksums::stored(attrs);
            if stored.is_empty() {
                return None;
            }
            let mut entry = ObjectPart {
                part_number: i32::try_from(span.part).ok(),
                size: i64::try_from(span.length).ok(),
                ..ObjectPart::default()
            };
            set_checksums!(entry, &stored);
            Some(entry)
        })
        .collect();
    GetObjectAttributesParts {
        is_truncated: Some(truncated),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: i32::try_from(shown.last().map_or(0, |span| span.part)).ok(),
        part_number_marker: i32::try_from(after).ok(),
        parts: (!entries.is_empty()).then_some(entries),
        total_parts_count: i32::try_from(info.parts.len()).ok(),
    }
}

fn page(marker: Option<i32>, most: Option<i32>) -> S3Result<(u32, usize)> {
    let marker = marker.unwrap_or_default();
    let after = u32::try_from(marker).map_err(|_| {
        invalid_argument(
            "x-amz-part-number-marker",
            &marker.to_string(),
            "Argument part-number-marker must be an integer between 0 and 2147483647",
        )
    })?;
    let limit = most.unwrap_or(MOST_PARTS).min(MOST_PARTS);
    let limit = usize::try_from(limit).map_err(|_| {
        invalid_argument(
            "x-amz-max-parts",
            &limit.to_string(),
            "Argument max-parts must be an integer between 0 and 2147483647",
        )
    })?;
    Ok((after, limit))
}

const MOST_PARTS: i32 = 1000;

//! ListMultipartUploads.

use std::ops::Bound;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use strongroom::id::InstanceId;
use strongroom::vault::{UploadInfo, UploadItem, UploadsRequest};

use crate::s3::AppState;
use crate::s3::access::{self, Principal};
use crate::s3::body::blocking;
use crate::s3::buckets::list::{Coding, after_marker, max_keys};
use crate::s3::errors::from_vault;
use crate::s3::facts::Facts;
use crate::s3::multipart::{UploadAttrs, upload_id};

pub(in crate::s3) async fn list_multipart_uploads(
    state: &Arc<AppState>,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let coding = Coding::of(input.encoding_type.as_ref())?;
    let most = max_keys(input.max_uploads)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let prefix = input.prefix.unwrap_or_default();
    let key_marker = input.key_marker.unwrap_or_default();
    // Without a key marker, the other one is not looked at.
    let marker: Option<InstanceId> = input
        .upload_id_marker
        .as_deref()
        .filter(|marker| !marker.is_empty() && !key_marker.is_empty())
        .map(upload_id)
        .transpose()?;
    let from = match marker {
        Some(_) => Bound::Included(key_marker.clone().into_bytes()),
        None => after_marker(&key_marker, &prefix, delimiter.as_deref()),
    };
    let mut output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        delimiter: delimiter.clone().map(|delimiter| coding.text(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(false),
        key_marker: Some(coding.text(key_marker)),
        max_uploads: Some(most),
        prefix: Some(coding.text(prefix.clone())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        ..ListMultipartUploadsOutput::default()
    };
    let limit = usize::try_from(most).unwrap_or_default();
    if limit == 0 {
        return Ok(S3Response::new(output));
    }
    let (vault, of) = (Arc::clone(&state.vault), Arc::clone(&bucket));
    let page = blocking(move || {
        // Where a marker that is gone stood, nobody knows: better to show its key's uploads again.
        let after = marker.and_then(|id| {
            let Bound::Included(key) = &from else {
                return None;
            };
            let upload = vault.upload(&of, key, id).ok()?;
            Some((upload.created_ms, id))
        });
        vault
            .list_uploads(&UploadsRequest {
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
            Some(UploadItem::Upload(last)) => {
                output.next_key_marker = Some(coding.text(text(&last.key)));
                output.next_upload_id_marker = Some(last.id.to_string());
            }
            Some(UploadItem::Prefix(prefix)) => {
                output.next_key_marker = Some(coding.text(text(prefix)));
            }
            None => {}
        }
    }
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            UploadItem::Upload(upload) => uploads.push(entry(&upload, coding, &principal)),
            UploadItem::Prefix(prefix) => prefixes.push(CommonPrefix {
                prefix: Some(coding.text(text(&prefix))),
            }),
        }
    }
    output.uploads = Some(uploads);
    output.common_prefixes = Some(prefixes);
    Ok(S3Response::new(output))
}

fn entry(upload: &UploadInfo, coding: Coding, asker: &Principal) -> MultipartUpload {
    let sum = UploadAttrs::decode(&upload.attrs).sum;
    let facts = Facts::decode(&upload.facts);
    MultipartUpload {
        checksum_algorithm: sum
            .as_ref()
            .map(|sum| ChecksumAlgorithm::from(sum.algorithm.to_ascii_uppercase())),
        checksum_type: sum.map(|sum| ChecksumType::from_static(sum.kind.as_str())),
        initiated: Some(Facts::timestamp(upload.created_ms)),
        initiator: asker.initiator(&upload.principal, &facts),
        key: Some(coding.text(text(&upload.key))),
        owner: asker.object_owner(&facts),
        storage_class: Some(StorageClass::from(
            facts.class.unwrap_or_else(|| "STANDARD".to_owned()),
        )),
        upload_id: Some(upload.id.to_string()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! Parts of an upload: sent, copied, listed. Each is sealed as it arrives, under the one data key of
//! its object and a salt of its own.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::id::InstanceId;
use strongroom::keys::Mode;
use strongroom::store::Bucket;
use strongroom::vault::{PartInfo, PartRequest, PartStream, Vault, VaultError};
use zeroize::Zeroizing;

use crate::s3::AppState;
use crate::s3::access::{self, Principal};
use crate::s3::body::checksums::{self, BodyChecks, Verified, set_checksums};
use crate::s3::body::part_sums::UploadSum;
use crate::s3::body::{Upload, blocking, other_length};
use crate::s3::encryption::kms;
use crate::s3::encryption::sse::{self, CustomerKey, customer_fields, source_customer_fields};
use crate::s3::encryption::{Reply, set_encryption};
use crate::s3::errors::{error, from_vault, invalid_argument};
use crate::s3::facts::version;
use crate::s3::facts::{Facts, has_md5_etag, hex, strong};
use crate::s3::lifecycle::Dates;
use crate::s3::multipart::{MOST_PARTS, UploadAttrs, upload_id};
use crate::s3::objects::conditions::ReadConditions;
use crate::s3::objects::copy;
use crate::s3::objects::{self, LARGEST_PUT, Source, object_etag};

/// What S3 says of a range that the source of a part does not have.
pub(in crate::s3) const RANGE_BEYOND_SOURCE: &str =
    "Range specified is not valid for source object of size";

pub(in crate::s3) async fn upload_part(
    state: &Arc<AppState>,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input,
        headers,
        trailing_headers,
        ..
    } = request;
    let customer = customer_fields!(input);
    let target = Target {
        number: part_number(input.part_number)?,
        upload: upload_id(&input.upload_id)?,
        bucket: principal.bucket()?,
        key: input.key,
    };
    let customer = sse::customer_key(customer)?;
    let expected = input
        .content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| {
            error(
                S3ErrorCode::MissingContentLength,
                "You must provide the Content-Length HTTP header.",
            )
        })?;
    if expected > LARGEST_PUT {
        return Err(error(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        ));
    }
    let checks = BodyChecks::from_headers(&headers)?;
    let (write, upload) = PartWrite::begin(state, &principal, target, customer, checks).await?;
    let (upload, last) = upload
        .fill(input.body, Some(expected), &write.resource)
        .await?;
    let provided = upload.length + last.len() as u64;
    if provided != expected {
        return Err(other_length(expected, provided));
    }
    let written = write
        .finish(upload, last, move |checks| {
            checks.verify(trailing_headers.as_ref())
        })
        .await?;
    let mut output = UploadPartOutput {
        e_tag: Some(strong(&written.etag)),
        ..UploadPartOutput::default()
    };
    set_checksums!(output, &written.checksums);
    set_encryption!(output, &written.encryption);
    Ok(S3Response::new(output))
}

pub(in crate::s3) async fn upload_part_copy(
    state: &Arc<AppState>,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let principal = access::principal(&request)?;
    let mut input = request.input;
    let customer = customer_fields!(input);
    let source_customer = source_customer_fields!(input);
    let (source_name, which) = copy::source(&input.copy_source)?;
    let source_bucket = principal.source_bucket()?;
    let versioning = source_bucket.versioning;
    let target = Target {
        number: part_number(input.part_number)?,
        upload: upload_id(&input.upload_id)?,
        bucket: principal.bucket()?,
        key: input.key,
    };
    let customer = sse::customer_key(customer)?;
    let source_customer = sse::customer_key(source_customer)?;
    let range = input
        .copy_source_range
        .as_deref()
        .map(source_range)
        .transpose()?;
    let source = Source {
        bucket: source_bucket,
        key: source_name,
        which,
        customer: source_customer.map(|customer| customer.key),
    };
    let reader = objects::open(state, source, &principal)
        .await
        .map_err(copy::marker_as_source)?;
    let info = reader.info();
    principal.confirm_source(&info.facts)?;
    ReadConditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    }
    .check(&object_etag(info), info.modified_ms)
    .map_err(crate::s3::objects::conditions::Failed::on_copy)?;
    let bytes = match range {
        None => 0..info.length,
        Some(range) if range.end <= info.length => range,
        Some(_) => {
            return Err(invalid_argument(
                "x-amz-copy-source-range",
                input.copy_source_range.as_deref().unwrap_or_default(),
                format!("{RANGE_BEYOND_SOURCE}: {}", info.length),
            ));
        }
    };
    if bytes.end - bytes.start > LARGEST_PUT {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_PUT}"
            ),
        ));
    }
    let copy_source_version_id = version::of_read(versioning, info.version, info.null);
    let (write, upload) =
        PartWrite::begin(state, &principal, target, customer, BodyChecks::none()).await?;
    let upload = copy::pump(reader, upload, bytes, &write.resource).await?;
    let written = write
        .finish(upload, Zeroizing::default(), BodyChecks::computed)
        .await?;
    let mut result = CopyPartResult {
        e_tag: Some(strong(&written.etag)),
        last_modified: Some(Facts::timestamp(written.modified_ms)),
        ..CopyPartResult::default()
    };
    set_checksums!(result, &written.checksums);
    let mut output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id,
        ..UploadPartCopyOutput::default()
    };
    set_encryption!(output, &written.encryption);
    Ok(S3Response::new(output))
}

pub(in crate::s3) async fn list_parts(
    state: &Arc<AppState>,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let principal = access::principal(&request)?;
    let mut input = request.input;
    let customer = customer_fields!(input);
    let bucket = principal.bucket()?;
    let id = upload_id(&input.upload_id)?;
    sse::customer_key(customer)?;
    let most = input.max_parts.unwrap_or(MOST_LISTED);
    let limit = usize::try_from(most.min(MOST_LISTED)).map_err(|_| {
        invalid_argument(
            "max-parts",
            &most.to_string(),
            "Argument max-parts must be an integer between 0 and 2147483647",
        )
    })?;
    let marker = input.part_number_marker.unwrap_or_default();
    let after = u32::try_from(marker).map_err(|_| {
        invalid_argument(
            "part-number-marker",
            &marker.to_string(),
            "Argument part-number-marker must be an integer between 0 and 2147483647",
        )
    })?;
    let (vault, name) = (Arc::clone(&state.vault), input.key.clone());
    let of = Arc::clone(&bucket);
    let (upload, mut parts) = blocking(move || {
        let failed = |cause| from_vault(cause, &format!("{}/{name}", of.name));
        let upload = vault.upload(&of, name.as_bytes(), id).map_err(failed)?;
        let found = vault
            .list_parts(&of, name.as_bytes(), id, after, limit + 1)
            .map_err(failed)?;
        let mode = upload.mode;
        let parts: Vec<StoredPart> = found
            .into_iter()
            .map(|part| StoredPart::new(part, mode))
            .collect();
        Ok::<_, S3Error>((upload, parts))
    })
    .await??;
    let truncated = parts.len() > limit;
    parts.truncate(limit);
    let abort = Dates::of(state, &principal.at()?)
        .await?
        .abort(&input.key, upload.created_ms);
    let facts = Facts::decode(&upload.facts);
    let mut output = ListPartsOutput {
        abort_date: abort.as_ref().map(|(at, _)| Facts::timestamp(*at)),
        abort_rule_id: abort.map(|(_, rule)| rule),
        bucket: Some(input.bucket),
        initiator: principal.initiator(&upload.principal, &facts),
        is_truncated: Some(truncated),
        key: Some(input.key),
        max_parts: Some(most.min(MOST_LISTED)),
        next_part_number_marker: parts
            .last()
            .filter(|_| truncated)
            .and_then(|part| i32::try_from(part.part).ok()),
        owner: principal.object_owner(&facts),
        part_number_marker: Some(marker),
        storage_class: Some(StorageClass::from(
            facts.class.unwrap_or_else(|| "STANDARD".to_owned()),
        )),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    match UploadAttrs::decode(&upload.attrs).sum {
        Some(sum) => {
            output.checksum_algorithm =
                Some(ChecksumAlgorithm::from(sum.algorithm.to_ascii_uppercase()));
            output.checksum_type = Some(ChecksumType::from_static(sum.kind.as_str()));
        }
        // Kept for the object's, not asked for.
        None => parts.iter_mut().for_each(StoredPart::hide_default_sum),
    }
    output.parts = Some(parts.into_iter().map(StoredPart::entry).collect());
    Ok(S3Response::new(output))
}

/// A part as it is kept.
pub(in crate::s3) struct StoredPart {
    pub(in crate::s3) part: u32,
    pub(in crate::s3) length: u64,
    pub(in crate::s3) salt: [u8; 32],
    pub(in crate::s3) md5: Option<[u8; 16]>,
    /// Without quotes.
    pub(in crate::s3) etag: String,
    modified_ms: u64,
    sums: Vec<(&'static str, String)>,
}

impl StoredPart {
    pub(in crate::s3) fn new(part: PartInfo, mode: Mode) -> Self {
        let attrs = part.attrs.unwrap_or_default();
        let md5 = checksums::md5_of(&attrs);
        Self {
            part: part.part,
            length: part.length,
            salt: part.salt,
            etag: part_etag(mode, md5, &part.salt),
            md5,
            modified_ms: part.modified_ms,
            sums: checksums::stored(&attrs),
        }
    }

    /// One of its checksums.
    pub(in crate::s3) fn sum(&self, algorithm: &str) -> Option<&str> {
        self.sums
            .iter()
            .find(|(known, _)| *known == algorithm)
            .map(|(_, sum)| sum.as_str())
    }

    fn hide_default_sum(&mut self) {
        self.sums.retain(|(known, _)| *known != checksums::DEFAULT);
    }

    fn entry(self) -> Part {
        let mut entry = Part {
            e_tag: Some(strong(&self.etag)),
            last_modified: Some(Facts::timestamp(self.modified_ms)),
            part_number: i32::try_from(self.part).ok(),
            size: i64::try_from(self.length).ok(),
            ..Part::default()
        };
        set_checksums!(entry, &self.sums);
        entry
    }
}

/// All parts of an upload, in order.
pub(in crate::s3) fn stored_parts(
    vault: &Vault,
    bucket: &Bucket,
    key: &str,
    id: InstanceId,
    mode: Mode,
) -> S3Result<Vec<StoredPart>> {
    let found = vault
        .list_parts(bucket, key.as_bytes(), id, 0, MOST_PARTS)
        .map_err(|cause| from_vault(cause, &format!("{}/{key}", bucket.name)))?;
    Ok(found
        .into_iter()
        .map(|part| StoredPart::new(part, mode))
        .collect())
}

/// Where a part goes.
struct Target {
    bucket: Arc<Bucket>,
    key: String,
    upload: InstanceId,
    number: u32,
}

/// The write of a part between its first byte and its commit.
struct PartWrite {
    resource: String,
    mode: Mode,
    encryption: Reply,
    /// The default checksum is kept for the object's, and was not asked for.
    hides_default_sum: bool,
}

/// A part that is kept, for its reply.
struct WrittenPart {
    etag: String,
    modified_ms: u64,
    checksums: Vec<(&'static str, String)>,
    encryption: Reply,
}

impl PartWrite {
    async fn begin(
        state: &Arc<AppState>,
        principal: &Principal,
        target: Target,
        customer: Option<CustomerKey>,
        mut checks: BodyChecks,
    ) -> S3Result<(Self, Upload<PartStream>)> {
        let vault = Arc::clone(&state.vault);
        let metrics = state.metrics.clone();
        let state = Arc::clone(state);
        let by = principal.clone();
        let (customer_md5, customer) = customer
            .map(|customer| (customer.md5, customer.key))
            .unzip();
        blocking(move || {
            let resource = format!("{}/{}", target.bucket.name, target.key);
            let failed = |cause| part_failed(cause, &resource);
            let (bucket, key) = (&target.bucket, target.key.as_bytes());
            let upload = vault.upload(bucket, key, target.upload).map_err(failed)?;
            state.kms.must_allow(upload.kms_root, &by, kms::WRITE)?;
            let sum = UploadAttrs::decode(&upload.attrs).sum;
            match &sum {
                Some(sum) => expect_sum(&mut checks, sum)?,
                None => checks.compute(checksums::DEFAULT),
            }
            if has_md5_etag(upload.mode) {
                checks.need_md5();
            }
            let stream = vault
                .put_part(PartRequest {
                    bucket: Bucket::clone(bucket).into(),
                    key: key.to_vec(),
                    upload: target.upload,
                    part: target.number,
                    customer,
                    principal: by.name.to_string(),
                })
                .map_err(failed)?;
            let write = Self {
                hides_default_sum: sum.is_none() && !checks.announces(checksums::DEFAULT),
                mode: upload.mode,
                encryption: Reply::of_mode(
                    &state,
                    (upload.mode, upload.kms_root),
                    Facts::decode(&upload.facts).bucket_key,
                    customer_md5,
                ),
                resource,
            };
            let upload = Upload {
                stream,
                checks,
                length: 0,
                metrics,
            };
            Ok((write, upload))
        })
        .await?
    }

    async fn finish(
        self,
        mut upload: Upload<PartStream>,
        last: Zeroizing<Vec<u8>>,
        verify: impl FnOnce(BodyChecks) -> S3Result<Verified> + Send + 'static,
    ) -> S3Result<WrittenPart> {
        blocking(move || {
            let failed = |cause| part_failed(cause, &self.resource);
            if !last.is_empty() {
                upload.write(&last).map_err(failed)?;
            }
            let verified = verify(upload.checks)?;
            let kept = upload
                .stream
                .commit(&verified.attributes(self.mode))
                .map_err(failed)?;
            let mut checksums = verified.checksums;
            if self.hides_default_sum {
                checksums.retain(|(known, _)| *known != checksums::DEFAULT);
            }
            Ok(WrittenPart {
                etag: part_etag(self.mode, verified.md5, &kept.salt),
                modified_ms: kept.modified_ms,
                checksums,
                encryption: self.encryption,
            })
        })
        .await?
    }
}

/// An upload with a checksum algorithm has every part's computed, and takes no other.
fn expect_sum(checks: &mut BodyChecks, sum: &UploadSum) -> S3Result<()> {
    if let Some(other) = checks.other_than(&sum.algorithm) {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {other}",
                sum.algorithm
            ),
        ));
    }
    checks.compute(&sum.algorithm);
    Ok(())
}

/// What a failed call about a part means: keys are judged against the upload, not against an object.
fn part_failed(cause: VaultError, resource: &str) -> S3Error {
    match cause {
        VaultError::CustomerKeyRequired | VaultError::CustomerKeyNotApplicable => error(
            S3ErrorCode::InvalidRequest,
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
        ),
        VaultError::WrongCustomerKey => error(
            S3ErrorCode::InvalidRequest,
            "The provided encryption parameters did not match the ones used originally.",
        ),
        cause => from_vault(cause, resource),
    }
}

/// The ETag of a part without quotes: its MD5 where the object's is made of MD5s, else a value of
/// the attempt's own.
fn part_etag(mode: Mode, md5: Option<[u8; 16]>, salt: &[u8; 32]) -> String {
    use md5::{Digest, Md5};
    let value = md5
        .filter(|_| has_md5_etag(mode))
        .unwrap_or_else(|| Md5::digest(salt).into());
    hex(&value)
}

pub(in crate::s3) fn part_number(number: i32) -> S3Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=MOST_PARTS).contains(&(*number as usize)))
        .ok_or_else(|| {
            invalid_argument(
                "partNumber",
                &number.to_string(),
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })
}

/// Reads `x-amz-copy-source-range`, which must name both ends.
fn source_range(range: &str) -> S3Result<Range<u64>> {
    range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)))
        .filter(|(first, last)| first <= last && *last < u64::MAX)
        .map(|(first, last)| first..last + 1)
        .ok_or_else(|| {
            invalid_argument(
                "x-amz-copy-source-range",
                range,
                "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
            )
        })
}

const MOST_LISTED: i32 = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_range_names_both_ends() {
        assert_eq!(source_range("bytes=0-0").unwrap(), 0..1);
        assert_eq!(source_range("bytes=5-9").unwrap(), 5..10);
        for wrong in [
            "bytes=5-",
            "bytes=-5",
            "bytes=9-5",
            "5-9",
            "bytes=a-b",
            "lines=1-2",
            "bytes=0-18446744073709551615",
            "bytes=1-2,3-4",
        ] {
            let refused = source_range(wrong).unwrap_err();
            assert_eq!(refused.code().as_str(), "InvalidArgument", "{wrong}");
        }
    }

    #[test]
    fn parts_are_numbered_from_one_to_ten_thousand() {
        assert_eq!(part_number(1).unwrap(), 1);
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        for wrong in [0, -1, 10_001] {
            assert!(part_number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_tag_of_a_part_under_a_customer_key_says_nothing_of_it() {
        let md5 = Some([7; 16]);
        assert_eq!(part_etag(Mode::Managed, md5, &[1; 32]), "07".repeat(16));
        let one = part_etag(Mode::Customer, md5, &[1; 32]);
        assert_ne!(one, "07".repeat(16));
        assert_ne!(one, part_etag(Mode::Customer, md5, &[2; 32]));
    }
}

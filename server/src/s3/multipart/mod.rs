//! Uploads in parts: begun, completed, aborted. The parts themselves are in [`self::parts`].

pub(super) mod list;
pub(super) mod parts;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::format::NamedList;
use strongroom::id::{InstanceId, VersionId};
use strongroom::store::{Bucket, Precondition, Which};
use strongroom::vault::{CommitRequest, CompleteRequest, PutRequest, Stat, Vault, VaultError};

use self::parts::{StoredPart, stored_parts};
use super::AppState;
use super::access;
use super::access::sharing;
use super::body::blocking;
use super::body::checksums::{self, set_checksums};
use super::body::part_sums::{self, UploadSum};
use super::encryption::sse::{self, customer_fields};
use super::encryption::{self, Reply, set_encryption};
use super::errors::{error, from_vault, malformed_xml, with_detail};
use super::facts::version;
use super::facts::write::fact_headers;
use super::facts::{Facts, content_headers, has_md5_etag, stat_etag, strong};
use super::lifecycle::Dates;
use super::objects::archive;
use super::objects::conditions;
use super::objects::{check_key, current};

/// What completing an upload needs to know of how it was begun.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadAttrs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sum: Option<UploadSum>,
}

impl UploadAttrs {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

pub(super) async fn create_multipart_upload(
    state: &Arc<AppState>,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input, headers, ..
    } = request;
    let customer = customer_fields!(input);
    let at = principal.at()?;
    let bucket = Arc::clone(&at.bucket);
    check_key(&input.key)?;
    let encryption = encryption::resolve(state, &principal, &at, &headers, customer).await?;
    let sum = UploadSum::asked(
        input
            .checksum_algorithm
            .as_ref()
            .map(ChecksumAlgorithm::as_str),
        input.checksum_type.as_ref().map(ChecksumType::as_str),
    )?;
    let mut facts = fact_headers!(input).facts(state, &at).await?;
    sharing::stamp(state, &principal, &headers, &mut facts).await?;
    facts.sum.clone_from(&sum);
    encryption.note(&mut facts);
    let mut content = content_headers!(input);
    content.unframe();
    let head = content.head()?;
    let dates = Dates::of(state, &at).await?;
    let reply = encryption.reply;
    let attrs =
        serde_json::to_vec(&UploadAttrs { sum: sum.clone() }).map_err(S3Error::internal_error)?;
    let upload = PutRequest {
        bucket: Bucket::clone(&bucket).into(),
        key: input.key.clone().into_bytes(),
        protection: encryption.protection,
        head,
        facts: facts.encode(),
        suite: None,
        principal: principal.name.to_string(),
    };
    let resource = format!("{}/{}", input.bucket, input.key);
    let vault = Arc::clone(&state.vault);
    let begun = blocking(move || {
        vault
            .create_upload(upload, attrs)
            .map_err(|cause| from_vault(cause, &resource))
    })
    .await??;
    let abort = dates.abort(&input.key, begun.created_ms);
    let mut output = CreateMultipartUploadOutput {
        abort_date: abort.as_ref().map(|(at, _)| Facts::timestamp(*at)),
        abort_rule_id: abort.map(|(_, rule)| rule),
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(begun.id.to_string()),
        ..CreateMultipartUploadOutput::default()
    };
    if let Some(sum) = &sum {
        output.checksum_algorithm =
            Some(ChecksumAlgorithm::from(sum.algorithm.to_ascii_uppercase()));
        output.checksum_type = Some(ChecksumType::from_static(sum.kind.as_str()));
    }
    set_encryption!(output, &reply);
    output.ssekms_encryption_context = reply.kms_context;
    Ok(S3Response::new(output))
}

pub(super) async fn abort_multipart_upload(
    state: &Arc<AppState>,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let id = upload_id(&input.upload_id)?;
    let vault = Arc::clone(&state.vault);
    blocking(move || {
        vault
            .abort_upload(&bucket, input.key.as_bytes(), id)
            .map_err(|cause| from_vault(cause, &format!("{}/{}", input.bucket, input.key)))
    })
    .await??;
    Ok(S3Response::with_status(
        AbortMultipartUploadOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

pub(super) async fn complete_multipart_upload(
    state: &Arc<AppState>,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input, headers, ..
    } = request;
    let customer = customer_fields!(input);
    let at = principal.at()?;
    let bucket = Arc::clone(&at.bucket);
    // Nothing is opened or sealed with it here; a malformed one is refused all the same.
    sse::customer_key(customer)?;
    let parts = chosen(input.multipart_upload.take())?;
    let completion = Completion {
        dates: Dates::of(state, &at).await?,
        state: Arc::clone(state),
        vault: Arc::clone(&state.vault),
        bucket,
        id: upload_id(&input.upload_id)?,
        parts,
        sums: checksums::announced(&headers),
        kind: input.checksum_type.take(),
        size: input.mpu_object_size,
        if_match: input.if_match.take(),
        if_none_match: input.if_none_match.take(),
        smallest: state.multipart.smallest_part,
        location: format!("/{}/{}", input.bucket, input.key),
        key: input.key,
        principal: principal.name.to_string(),
    };
    let state = Arc::clone(state);
    let mut work: BoxFuture<'static, S3Result<CompleteMultipartUploadOutput>> =
        Box::pin(async move {
            let (output, stat, bucket, key) = blocking(move || completion.run()).await??;
            let class = Facts::decode(&stat.facts).class;
            archive::after_write(
                &state,
                class.as_deref(),
                (&bucket, &key),
                stat.version,
                stat.null,
            );
            Ok(output)
        });
    // Nearly always at once. If not, the client is kept waiting by white space, and learns of a
    // failure from the body.
    match tokio::time::timeout(PATIENCE, &mut work).await {
        Ok(done) => done.map(S3Response::new),
        Err(_) => Ok(S3Response::new(CompleteMultipartUploadOutput {
            future: Some(work),
            ..CompleteMultipartUploadOutput::default()
        })),
    }
}

/// The answer, and what it is about: version, bucket and key.
type Completed = (CompleteMultipartUploadOutput, Stat, Arc<Bucket>, String);

/// Everything that completing an upload depends on.
struct Completion {
    dates: Dates,
    state: Arc<AppState>,
    vault: Arc<Vault>,
    bucket: Arc<Bucket>,
    key: String,
    id: InstanceId,
    parts: Vec<(u32, CompletedPart)>,
    /// Checksums of the whole object, as the request has them.
    sums: Vec<(&'static str, String)>,
    kind: Option<ChecksumType>,
    size: Option<i64>,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    smallest: u64,
    location: String,
    principal: String,
}

impl Completion {
    fn run(self) -> S3Result<Completed> {
        let resource = format!("{}/{}", self.bucket.name, self.key);
        let upload = match self
            .vault
            .upload(&self.bucket, self.key.as_bytes(), self.id)
        {
            Ok(upload) => upload,
            Err(VaultError::NoSuchUpload { .. }) => return self.completed_before(),
            Err(cause) => return Err(from_vault(cause, &resource)),
        };
        let sum = UploadAttrs::decode(&upload.attrs).sum;
        let stored = stored_parts(&self.vault, &self.bucket, &self.key, self.id, upload.mode)?;
        let parts = self.choose(&stored, sum.as_ref())?;
        let length: u64 = parts.iter().map(|part| part.length).sum();
        if self
            .size
            .is_some_and(|announced| u64::try_from(announced) != Ok(length))
        {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The provided 'x-amz-mp-object-size' header value {} does not match what was computed: {length}",
                    self.size.unwrap_or_default()
                ),
            ));
        }
        // Under a customer key the parts' checksums are sealed, and nothing more can be sealed now.
        let whole = self.whole_sum(sum.as_ref(), &parts)?;
        let mut attrs = NamedList::default();
        if has_md5_etag(upload.mode) {
            let md5s = parts.iter().filter_map(|part| part.md5);
            attrs.0.push(checksums::md5_attribute(part_sums::md5(md5s)));
        }
        attrs.0.extend(
            whole
                .iter()
                .map(|(algorithm, value)| checksums::attribute(algorithm, value)),
        );
        let precondition = self.precondition()?;
        let mut facts = Facts::read(&upload.facts)?;
        facts.parts = u32::try_from(parts.len()).ok();
        let chosen: Vec<_> = parts.iter().map(|part| (part.part, part.salt)).collect();
        let request = CompleteRequest {
            bucket: (&self.bucket).into(),
            key: self.key.as_bytes(),
            upload: self.id,
            parts: &chosen,
            principal: &self.principal,
        };
        let commit = CommitRequest {
            precondition,
            attrs,
            facts: Some(facts.encode()),
        };
        let committed =
            self.vault
                .complete_upload(&request, &commit)
                .map_err(|cause| match cause {
                    VaultError::NoSuchPart(part) => self.invalid_part(part, None),
                    VaultError::PreconditionFailed => conditions::lost(&precondition),
                    cause => from_vault(cause, &resource),
                })?;
        let stat = self.stat(Which::Label(committed.version), committed.null)?;
        let mut output = self.output(&stat);
        output.version_id = version::of_write(committed.version, committed.null);
        if whole.is_some() {
            let kind = sum.map_or(part_sums::Kind::FullObject, |sum| sum.kind);
            output.checksum_type = Some(ChecksumType::from_static(kind.as_str()));
        }
        set_checksums!(output, whole.as_slice());
        Ok((output, stat, self.bucket, self.key))
    }

    /// The same answer again, if this upload is the version it became, of as many parts.
    fn completed_before(self) -> S3Result<Completed> {
        let at = (&*self.bucket, self.key.as_str());
        let stat = what_became_of(&self.vault, at, self.id, self.parts.len())?;
        let mut output = self.output(&stat);
        output.version_id = version::of_write(stat.version, stat.null);
        Ok((output, stat, self.bucket, self.key))
    }

    fn invalid_part(&self, number: u32, named: Option<&CompletedPart>) -> S3Error {
        with_detail(
            error(
                S3ErrorCode::InvalidPart,
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
            ),
            &[
                ("UploadId", &self.id.to_string()),
                ("PartNumber", &number.to_string()),
                ("ETag", named.map(named_etag).unwrap_or_default()),
            ],
        )
    }

    fn stat(&self, which: Which, null: bool) -> S3Result<Stat> {
        let which = if null { Which::Null } else { which };
        self.vault
            .stat(&self.bucket, self.key.as_bytes(), which)
            .map_err(|cause| from_vault(cause, &format!("{}/{}", self.bucket.name, self.key)))
    }

    fn output(&self, stat: &Stat) -> CompleteMultipartUploadOutput {
        let facts = Facts::decode(&stat.facts);
        let under = (stat.mode, stat.kms_root);
        let reply = Reply::of_mode(&self.state, under, facts.bucket_key, None);
        let expiration = self
            .dates
            .expiration(&self.key, &facts, stat.length, stat.modified_ms);
        CompleteMultipartUploadOutput {
            bucket: Some(self.bucket.name.clone()),
            e_tag: Some(strong(&stat_etag(stat))),
            expiration,
            key: Some(self.key.clone()),
            location: Some(self.location.clone()),
            server_side_encryption: reply.server_side_encryption,
            ssekms_key_id: reply.kms_key,
            bucket_key_enabled: reply.bucket_key,
            ..CompleteMultipartUploadOutput::default()
        }
    }

    /// The stored parts that the request names, in its order, if they are as it says.
    fn choose<'a>(
        &self,
        stored: &'a [StoredPart],
        sum: Option<&UploadSum>,
    ) -> S3Result<Vec<&'a StoredPart>> {
        let mut found = Vec::with_capacity(self.parts.len());
        for (number, named) in &self.parts {
            let part = stored
                .binary_search_by_key(number, |part| part.part)
                .ok()
                .and_then(|at| stored.get(at))
                .ok_or_else(|| self.invalid_part(*number, Some(named)))?;
            if named_etag(named) != part.etag || !same_sums(named, part) {
                return Err(self.invalid_part(*number, Some(named)));
            }
            check_part_sum(*number, named, sum)?;
            found.push(part);
        }
        let last = found.len().saturating_sub(1);
        for (at, part) in found.iter().enumerate() {
            if at < last && part.length < self.smallest {
                return Err(with_detail(
                    error(
                        S3ErrorCode::EntityTooSmall,
                        "Your proposed upload is smaller than the minimum allowed size",
                    ),
                    &[
                        ("ProposedSize", &part.length.to_string()),
                        ("MinSizeAllowed", &self.smallest.to_string()),
                        ("PartNumber", &part.part.to_string()),
                        ("ETag", &part.etag),
                    ],
                ));
            }
        }
        Ok(found)
    }

    /// The object's checksum, compared with the one the request has.
    fn whole_sum(
        &self,
        sum: Option<&UploadSum>,
        parts: &[&StoredPart],
    ) -> S3Result<Option<(&'static str, String)>> {
        if let (Some(asked), Some(sum)) = (&self.kind, sum)
            && asked.as_str() != sum.kind.as_str()
        {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
                    sum.kind.as_str()
                ),
            ));
        }
        let default = UploadSum::default();
        let asked = sum.is_some();
        let sum = sum.unwrap_or(&default);
        let algorithm = checksums::known(&sum.algorithm)?;
        let parts: Vec<_> = parts
            .iter()
            .map(|part| (part.length, part.sum(algorithm)))
            .collect();
        let Some(whole) = sum.of(&parts) else {
            return Ok(None);
        };
        for (announced, value) in self
            .sums
            .iter()
            .filter(|(announced, _)| asked || *announced == algorithm)
        {
            // A composite may be sent with the number of parts or without.
            let same =
                *value == whole || whole.split_once('-').is_some_and(|(bare, _)| bare == value);
            if *announced != algorithm || !same {
                return Err(error(
                    S3ErrorCode::BadDigest,
                    format!(
                        "The {} you specified did not match the calculated checksum.",
                        announced.to_ascii_uppercase()
                    ),
                ));
            }
        }
        Ok(Some((algorithm, whole)))
    }

    fn precondition(&self) -> S3Result<Precondition> {
        let (if_match, if_none_match) = (self.if_match.as_ref(), self.if_none_match.as_ref());
        let now = if conditions::looks(if_match, if_none_match) {
            current(&self.vault, &self.bucket, &self.key)?
        } else {
            None
        };
        conditions::on_write(
            self.state.settings.compat,
            if_match,
            if_none_match,
            now.as_ref(),
        )
    }
}

/// The version that an upload became, of as many parts. Nothing is said of an upload that is gone before its key is, nor
/// of what a completion replaced.
fn what_became_of(
    vault: &Vault,
    (bucket, key): (&Bucket, &str),
    upload: InstanceId,
    parts: usize,
) -> S3Result<Stat> {
    let failed = |cause| from_vault(cause, &format!("{}/{key}", bucket.name));
    vault.settle(bucket, key.as_bytes()).map_err(failed)?;
    let label = VersionId(upload.0);
    for which in [Which::Label(label), Which::Null] {
        let stat = match vault.stat(bucket, key.as_bytes(), which) {
            Ok(stat) => stat,
            Err(VaultError::NoSuchVersion { .. } | VaultError::DeleteMarker { .. }) => continue,
            Err(cause) => return Err(failed(cause)),
        };
        let of_as_many = Facts::decode(&stat.facts).parts == u32::try_from(parts).ok();
        if stat.version == label && of_as_many {
            return Ok(stat);
        }
    }
    Err(no_such_upload())
}

/// The ETag that the request has of a part, without quotes.
fn named_etag(named: &CompletedPart) -> &str {
    let etag = named.e_tag.as_ref().map(ETag::value);
    etag.unwrap_or_default().trim_matches('"')
}

/// A part's checksums as the request has them against those computed when it arrived.
fn same_sums(named: &CompletedPart, part: &StoredPart) -> bool {
    checksums::of_part(named)
        .iter()
        .all(|(algorithm, value)| part.sum(algorithm).is_none_or(|stored| stored == value))
}

/// A composite of checksums is made of those that the request has.
fn check_part_sum(number: u32, named: &CompletedPart, sum: Option<&UploadSum>) -> S3Result<()> {
    let sent = checksums::of_part(named);
    match sum {
        Some(sum)
            if sum.kind == part_sums::Kind::Composite
                && !sent
                    .iter()
                    .any(|(algorithm, _)| *algorithm == sum.algorithm) =>
        {
            Err(error(
                S3ErrorCode::InvalidRequest,
                format!(
                    "The upload was created using a {} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request.",
                    sum.algorithm
                ),
            ))
        }
        _ => Ok(()),
    }
}

/// The parts of a complete request: at least one, numbers ascending.
fn chosen(upload: Option<CompletedMultipartUpload>) -> S3Result<Vec<(u32, CompletedPart)>> {
    let parts = upload
        .and_then(|upload| upload.parts)
        .filter(|parts| !parts.is_empty() && parts.len() <= MOST_PARTS)
        .ok_or_else(malformed_xml)?;
    let parts = parts
        .into_iter()
        .map(|part| {
            let number = part
                .part_number
                .and_then(|number| u32::try_from(number).ok());
            part.e_tag.as_ref()?;
            Some((number?, part))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(malformed_xml)?;
    if parts
        .windows(2)
        .any(|pair| matches!(pair, [(before, _), (after, _)] if before >= after))
    {
        return Err(error(
            S3ErrorCode::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        ));
    }
    Ok(parts)
}

/// An upload's id: 32 hex digits. Anything else names no upload.
pub(super) fn upload_id(id: &str) -> S3Result<InstanceId> {
    match version::which(Some(id)) {
        Ok(Which::Label(label)) => Ok(InstanceId(label.0)),
        _ => Err(no_such_upload()),
    }
}

pub(super) fn no_such_upload() -> S3Error {
    error(
        S3ErrorCode::NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    )
}

pub(super) const MOST_PARTS: usize = 10_000;
/// How long a completion may take before its client is told to wait.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::s3::testing::{put_request, vault_with_keys};

    fn parts(numbers: &[i32]) -> S3Result<Vec<(u32, CompletedPart)>> {
        let parts = numbers
            .iter()
            .map(|number| CompletedPart {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong("e".to_owned())),
                ..CompletedPart::default()
            })
            .collect();
        chosen(Some(CompletedMultipartUpload { parts: Some(parts) }))
    }

    #[test]
    fn nobody_is_told_that_an_upload_is_gone_while_its_key_is_there() {
        let (_dir, vault, keys) = vault_with_keys();
        let bucket = vault.create_bucket("b", "owner").unwrap();
        let upload = vault.create_upload(put_request(&bucket, "x"), Vec::new());
        let id = upload.unwrap().id;
        let tell = || {
            let told = what_became_of(&vault, (&bucket, "x"), id, 1);
            told.unwrap_err().code().as_str().to_owned()
        };
        assert_eq!(tell(), "NoSuchUpload", "it became nothing");
        keys.set_failing(true); // nothing is shredded any more
        vault.abort_upload(&bucket, b"x", id).unwrap_err();
        let upload = vault.upload(&bucket, b"x", id);
        assert!(matches!(upload, Err(VaultError::NoSuchUpload { .. })));
        assert_ne!(tell(), "NoSuchUpload");
    }

    #[test]
    fn a_list_of_parts_ascends_and_is_not_empty() {
        assert_eq!(parts(&[1, 3, 10_000]).unwrap().len(), 3);
        for (numbers, code) in [
            (&[][..], "MalformedXML"),
            (&[2, 1], "InvalidPartOrder"),
            (&[1, 1], "InvalidPartOrder"),
            (&[-1], "MalformedXML"),
        ] {
            let refused = parts(numbers).unwrap_err();
            assert_eq!(refused.code().as_str(), code, "{numbers:?}");
        }
        assert!(chosen(None).is_err());
        // A part without its ETag.
        let bare = CompletedPart {
            part_number: Some(1),
            ..CompletedPart::default()
        };
        let parts = Some(vec![bare]);
        let refused = chosen(Some(CompletedMultipartUpload { parts })).unwrap_err();
        assert_eq!(refused.code().as_str(), "MalformedXML");
    }

    #[test]
    fn an_upload_id_is_an_instance_or_no_upload() {
        let id = InstanceId([0x1f; 16]);
        assert_eq!(upload_id(&id.to_string()).unwrap(), id);
        for wrong in ["", "null", "x"] {
            let refused = upload_id(wrong).unwrap_err();
            assert_eq!(refused.code().as_str(), "NoSuchUpload");
        }
    }
}

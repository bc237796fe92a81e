//! Operations on objects: here PutObject, GetObject, HeadObject; the others in files of their names.

pub(super) mod archive;
pub(super) mod attributes;
pub(super) mod conditions;
pub(super) mod copy;
pub(super) mod delete;
pub(super) mod lock;
pub(super) mod restore;
pub(super) mod retention;
pub(super) mod tagging;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::format::NamedList;
use strongroom::keys::Mode;
use strongroom::store::{Bucket, Precondition, Versioning, Which};
use strongroom::vault::{
    CommitRequest, Committed, ObjectInfo, ObjectReader, OpenRequest, PutRequest, PutStream, Vault,
    VaultError,
};

use self::conditions::{Current, ReadConditions};
use super::AppState;
use super::access::Principal;
use super::access::sharing;
use super::access::{self};
use super::body::checksums::{BodyChecks, Verified, set_checksums};
use super::body::part_sums::{Asked, Sums};
use super::body::{Download, Upload, blocking, other_length};
use super::buckets::documents::At;
use super::encryption::kms;
use super::encryption::sse::{self, CustomerKey, customer_fields};
use super::encryption::{self, Reply, Resolved, set_encryption};
use super::errors::{error, from_vault, with_detail};
use super::facts::version;
use super::facts::write::fact_headers;
use super::facts::{ContentHeaders, Facts, content_headers, etag, has_md5_etag, stat_etag, strong};
use super::lifecycle::Dates;
use super::post::FromForm;
use super::wire::announced;
use crate::config::Compat;

/// Largest object of one PUT or COPY: 5 GiB.
pub(super) const LARGEST_PUT: u64 = 5 << 30;
const LONGEST_KEY: usize = 1024;

pub(super) async fn put_object(
    state: &Arc<AppState>,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let principal = access::principal(&request)?;
    // How long the file of a form is, its end says.
    let of_form = request.extensions.get::<FromForm>().is_some();
    let measured = request.extensions.get::<Unmeasured>().is_none();
    let S3Request {
        mut input,
        headers,
        trailing_headers,
        ..
    } = request;
    let customer = customer_fields!(input);
    let at = principal.at()?;
    let bucket = Arc::clone(&at.bucket);
    refuse_unsupported(&input)?;
    check_key(&input.key)?;
    let encryption = encryption::resolve(state, &principal, &at, &headers, customer).await?;
    let expected = input
        .content_length
        .and_then(|length| u64::try_from(length).ok());
    if !of_form && (expected.is_none() || !measured) {
        return Err(error(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        ));
    }
    let mut facts = fact_headers!(input).facts(state, &at).await?;
    sharing::stamp(state, &principal, &headers, &mut facts).await?;
    let object_key = input.key.clone();
    let mut content = content_headers!(input);
    if announced::is_framed(&headers) || state.settings.compat == Compat::Ceph {
        content.unframe();
    }
    let target = Target {
        facts: facts.clone(),
        content,
        bucket: Arc::clone(&bucket),
        key: input.key,
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let checks = BodyChecks::from_headers(&headers)?;
    checks.required_by_locks(&headers)?;
    let dates = Dates::of(state, &at).await?;
    let (write, upload) = Write::begin(state, &principal, target, encryption, checks).await?;
    let (upload, last) = upload.fill(input.body, expected, &write.resource).await?;
    let provided = upload.length + last.len() as u64;
    if let Some(expected) = expected.filter(|expected| *expected != provided) {
        return Err(other_length(expected, provided));
    }
    let written = write
        .finish(upload, last, move |checks| {
            checks.verify(trailing_headers.as_ref())
        })
        .await?;
    let committed = &written.committed;
    archive::after_write(
        state,
        facts.class.as_deref(),
        (&bucket, &object_key),
        committed.version,
        committed.null,
    );
    let mut output = PutObjectOutput {
        e_tag: Some(strong(&written.etag)),
        expiration: dates.expiration(&object_key, &facts, committed.length, committed.modified_ms),
        version_id: written.version_id(),
        ..PutObjectOutput::default()
    };
    set_encryption!(output, &written.encryption);
    output.ssekms_encryption_context = written.encryption.kms_context.clone();
    if !written.verified.checksums.is_empty() {
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    }
    set_checksums!(output, &written.verified.checksums);
    Ok(S3Response::new(output))
}

/// A request that says neither how long its body is nor that the body's end will tell: in HTTP, and
/// to the protocol crate, an empty one; to S3 a mistake.
#[derive(Clone, Copy)]
pub(super) struct Unmeasured;

impl Unmeasured {
    pub(super) fn is(headers: &HeaderMap) -> bool {
        ![CONTENT_LENGTH, TRANSFER_ENCODING]
            .iter()
            .any(|name| headers.contains_key(name))
    }
}

/// Where a write goes and what is kept with it.
pub(super) struct Target {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: String,
    pub(super) content: ContentHeaders,
    pub(super) facts: Facts,
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

/// A write between its first byte and its commit: shared by PUT and COPY.
pub(super) struct Write {
    pub(super) resource: String,
    precondition: Precondition,
    mode: Mode,
    encryption: Reply,
}

/// A committed write, for its reply.
pub(super) struct Written {
    pub(super) committed: Committed,
    pub(super) etag: String,
    pub(super) verified: Verified,
    pub(super) encryption: Reply,
}

impl Write {
    pub(super) async fn begin(
        state: &Arc<AppState>,
        principal: &Principal,
        target: Target,
        encryption: Resolved,
        mut checks: BodyChecks,
    ) -> S3Result<(Self, Upload<PutStream>)> {
        let resource = format!("{}/{}", target.bucket.name, target.key);
        let mut facts = target.facts;
        encryption.note(&mut facts);
        let Resolved {
            protection, reply, ..
        } = encryption;
        let mode = protection.mode();
        if has_md5_etag(mode) {
            checks.need_md5();
        }
        checks.need_one();
        let metrics = state.metrics.clone();
        let head = target.content.head()?;
        let facts = facts.encode();
        let (vault, principal) = (Arc::clone(&state.vault), principal.name.to_string());
        let compat = state.settings.compat;
        let (precondition, stream) = blocking(move || {
            let (if_match, if_none_match) =
                (target.if_match.as_ref(), target.if_none_match.as_ref());
            let now = if conditions::looks(if_match, if_none_match) {
                current(&vault, &target.bucket, &target.key)?
            } else {
                None
            };
            let precondition = conditions::on_write(compat, if_match, if_none_match, now.as_ref())?;
            if matches!(precondition, Precondition::Absent)
                && current(&vault, &target.bucket, &target.key)?.is_some()
            {
                // Known now: not worth the upload. The catalog decides again at the commit.
                return Err(super::errors::precondition_failed("If-None-Match"));
            }
            let resource = format!("{}/{}", target.bucket.name, target.key);
            let stream = vault
                .put(PutRequest {
                    bucket: Bucket::clone(&target.bucket).into(),
                    key: target.key.into_bytes(),
                    protection,
                    head,
                    facts,
                    suite: None,
                    principal,
                })
                .map_err(|cause| from_vault(cause, &resource))?;
            Ok((precondition, stream))
        })
        .await??;
        Ok((
            Self {
                resource,
                precondition,
                mode,
                encryption: reply,
            },
            Upload {
                stream,
                checks,
                length: 0,
                metrics,
            },
        ))
    }

    /// Writes the last batch, verifies the body and makes the object visible: one blocking call.
    pub(super) async fn finish(
        self,
        mut upload: Upload<PutStream>,
        last: zeroize::Zeroizing<Vec<u8>>,
        verify: impl FnOnce(BodyChecks) -> S3Result<Verified> + Send + 'static,
    ) -> S3Result<Written> {
        let Self {
            resource,
            precondition,
            mode,
            encryption,
        } = self;
        blocking(move || {
            let failed = |cause| from_vault(cause, &resource);
            if !last.is_empty() {
                upload.write(&last).map_err(failed)?;
            }
            let verified = verify(upload.checks)?;
            let attrs = verified.attributes(mode);
            let committed = upload.stream.commit(CommitRequest {
                precondition,
                attrs: attrs.clone(),
                facts: None,
            });
            let committed = committed.map_err(|cause| match cause {
                VaultError::PreconditionFailed => conditions::lost(&precondition),
                cause => failed(cause),
            })?;
            let etag = etag(mode, committed.version, Some(&attrs), &Facts::default());
            Ok(Written {
                committed,
                etag,
                verified,
                encryption,
            })
        })
        .await?
    }
}

impl Written {
    pub(super) fn version_id(&self) -> Option<String> {
        version::of_write(self.committed.version, self.committed.null)
    }
}

pub(super) async fn get_object(
    state: &Arc<AppState>,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input, headers, ..
    } = request;
    let customer = customer_fields!(input);
    let read = asked!(input);
    let customer = sse::customer_key(customer);
    let (found, reader) = read.open(state, &principal, &headers, customer).await?;
    let mut output = GetObjectOutput::default();
    describe!(state, output, found);
    set_checksums!(output, &found.sums.values);
    output.checksum_type = found.sums.kind.map(ChecksumType::from_static);
    let download = Download::start(
        reader,
        found.start,
        found.end,
        found.resource,
        state.metrics.clone(),
    )
    .await?;
    output.body = Some(StreamingBlob::new(download));
    Ok(S3Response::new(output))
}

pub(super) async fn head_object(
    state: &Arc<AppState>,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input, headers, ..
    } = request;
    let customer = customer_fields!(input);
    let read = asked!(input);
    let customer = sse::customer_key(customer);
    let found = read.head(state, &principal, &headers, customer).await?;
    let mut output = HeadObjectOutput::default();
    describe!(state, output, found);
    set_checksums!(output, &found.sums.values);
    output.checksum_type = found.sums.kind.map(ChecksumType::from_static);
    let status = if found.whole {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    Ok(S3Response::with_status(output, status))
}

/// Fills the fields that GET and HEAD answer alike.
macro_rules! describe {
    ($state:expr, $output:ident, $found:ident) => {
        let content = ContentHeaders::from_head(&$found.info.head);
        $output.accept_ranges = Some("bytes".to_owned());
        $output.cache_control = content.cache_control;
        $output.content_disposition = content.content_disposition;
        $output.content_encoding = content.content_encoding;
        $output.content_language = content.content_language;
        $output.content_type = Some(
            content
                .content_type
                .unwrap_or_else(|| "binary/octet-stream".to_owned()),
        );
        $output.expires = content.expires;
        $output.website_redirect_location = content.website_redirect_location;
        $output.metadata = Some(content.metadata);
        $output.content_length = i64::try_from($found.end - $found.start).ok();
        $output.content_range = $found.content_range();
        $output.e_tag = Some(strong(&$found.etag));
        $output.last_modified = Some(Facts::timestamp($found.info.modified_ms));
        let facts = Facts::decode(&$found.info.facts);
        $output.tag_count = i32::try_from(facts.tags.0.len())
            .ok()
            .filter(|count| *count > 0);
        if let Some(retention) = facts.retention {
            $output.object_lock_mode = Some(ObjectLockMode::from_static(retention.mode.as_str()));
            $output.object_lock_retain_until_date = Some(Facts::timestamp(retention.until_ms));
        }
        $output.object_lock_legal_hold_status = facts.legal_hold.map(self::lock::hold_status);
        $output.restore = facts.restore.map(self::restore::Restore::header);
        $output.storage_class = facts.class.map(StorageClass::from);
        $output.parts_count = $found.parts_count;
        $output.expiration = $found.expiration.clone();
        $output.version_id =
            version::of_read($found.versioning, $found.info.version, $found.info.null);
        set_encryption!(
            $output,
            &Reply::of(
                $state,
                &$found.info,
                facts.bucket_key,
                $found.customer_md5.clone()
            )
        );
    };
}
use describe;

/// What the input of a GET or HEAD asks for; both have the same fields.
macro_rules! asked {
    ($input:ident) => {
        Read {
            key: $input.key,
            version: $input.version_id,
            conditions: ReadConditions {
                if_match: $input.if_match,
                if_none_match: $input.if_none_match,
                if_modified_since: $input.if_modified_since,
                if_unmodified_since: $input.if_unmodified_since,
            },
            sums: Asked::new(
                $input.checksum_mode.as_ref(),
                $input.range.as_ref(),
                $input.part_number,
            ),
            range: $input.range,
            part: $input.part_number,
        }
    };
}
use asked;

/// What a GET or HEAD asks for.
struct Read {
    key: String,
    version: Option<String>,
    conditions: ReadConditions,
    range: Option<Range>,
    part: Option<i32>,
    sums: Asked,
}

/// What is known of an object, and the bytes of it that are wanted.
struct Found {
    info: ObjectInfo,
    versioning: Versioning,
    /// `x-amz-expiration`.
    expiration: Option<String>,
    etag: String,
    customer_md5: Option<String>,
    start: u64,
    end: u64,
    whole: bool,
    /// Only where a part was asked for.
    parts_count: Option<i32>,
    sums: Sums,
    resource: String,
}

impl Read {
    /// Finds the object and opens it.
    async fn open(
        self,
        state: &Arc<AppState>,
        principal: &Principal,
        headers: &HeaderMap,
        customer: S3Result<Option<CustomerKey>>,
    ) -> S3Result<(Found, ObjectReader)> {
        let (at, customer_md5, source) = self.begin(principal, headers, customer)?;
        let mut reader = open(state, source, principal).await?;
        let info = reader.info().clone();
        principal.confirm(&info.facts)?;
        let mut parts = Vec::new();
        if let Some((after, limit)) = self.sums.parts(&info) {
            let read = blocking(move || (reader.part_attrs(after, limit), reader)).await?;
            reader = read.1;
            let resource = format!("{}/{}", at.bucket.name, self.key);
            parts = read.0.map_err(|cause| from_vault(cause, &resource))?;
        }
        let found = self.find(state, &at, customer_md5, info, &parts).await?;
        Ok((found, reader))
    }

    /// The same without its data, so that it may be in the archive.
    async fn head(
        self,
        state: &Arc<AppState>,
        principal: &Principal,
        headers: &HeaderMap,
        customer: S3Result<Option<CustomerKey>>,
    ) -> S3Result<Found> {
        let (at, customer_md5, source) = self.begin(principal, headers, customer)?;
        let (info, parts) = head(state, source, principal, self.sums).await?;
        principal.confirm(&info.facts)?;
        self.find(state, &at, customer_md5, info, &parts).await
    }

    fn begin(
        &self,
        principal: &Principal,
        headers: &HeaderMap,
        customer: S3Result<Option<CustomerKey>>,
    ) -> S3Result<(At, Option<String>, Source)> {
        let at = principal.at()?;
        let which = version::which(self.version.as_deref())?;
        sse::refuse_write_headers(headers)?;
        let (customer_md5, customer) = customer?
            .map(|customer| (customer.md5, customer.key))
            .unzip();
        if self.range.is_some() && self.part.is_some() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let source = Source {
            bucket: Arc::clone(&at.bucket),
            key: self.key.clone(),
            which,
            customer,
        };
        Ok((at, customer_md5, source))
    }

    async fn find(
        self,
        state: &Arc<AppState>,
        at: &At,
        customer_md5: Option<String>,
        info: ObjectInfo,
        parts: &[(u32, NamedList)],
    ) -> S3Result<Found> {
        let etag = object_etag(&info);
        self.conditions
            .check(&etag, info.modified_ms)
            .map_err(|failed| failed.on_read(&etag, info.modified_ms))?;
        let length = info.length;
        let mut parts_count = None;
        let (start, end, whole) = match (&self.range, self.part) {
            (Some(range), _) => {
                let wanted = range
                    .check(length)
                    .map_err(|_| not_satisfiable(range, length))?;
                (wanted.start, wanted.end, false)
            }
            (None, None) => (0, length, true),
            (None, Some(number)) => {
                let (start, end) = part(&info, number)?;
                parts_count = i32::try_from(info.parts.len())
                    .ok()
                    .filter(|count| *count > 0);
                (start, end, length == 0)
            }
        };
        let expiration = match self.version {
            Some(_) => None,
            None => {
                let facts = Facts::decode(&info.facts);
                let (length, modified) = (info.length, info.modified_ms);
                let dates = Dates::of(state, at).await?;
                dates.expiration(&self.key, &facts, length, modified)
            }
        };
        Ok(Found {
            sums: self.sums.of(&info, parts),
            info,
            versioning: at.bucket.versioning,
            expiration,
            etag,
            customer_md5,
            start,
            end,
            whole,
            parts_count,
            resource: format!("{}/{}", at.bucket.name, self.key),
        })
    }
}

/// The bytes of a part: parts count from 1 as they stand in the object, and what came in one PUT is
/// one part.
fn part(info: &ObjectInfo, number: i32) -> S3Result<(u64, u64)> {
    super::multipart::parts::part_number(number)?;
    if info.parts.is_empty() && number == 1 {
        return Ok((0, info.length));
    }
    usize::try_from(number)
        .ok()
        .and_then(|number| info.parts.get(number.checked_sub(1)?))
        .map(|span| (span.start, span.start + span.length))
        .ok_or_else(|| {
            error(
                S3ErrorCode::InvalidPart,
                "One or more of the specified parts could not be found.",
            )
        })
}

impl Found {
    fn content_range(&self) -> Option<String> {
        (!self.whole && self.start < self.end)
            .then(|| format!("bytes {}-{}/{}", self.start, self.end - 1, self.info.length))
    }
}

/// The version of an object to be read, and the key it was stored with.
pub(super) struct Source {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: String,
    pub(super) which: Which,
    pub(super) customer: Option<strongroom::secret::Secret<32>>,
}

/// Opens an object; the key, if any, is used up. One in the archive is refused, whatever the key.
pub(super) async fn open(
    state: &Arc<AppState>,
    source: Source,
    by: &Principal,
) -> S3Result<ObjectReader> {
    let vault = Arc::clone(&state.vault);
    let principal = by.name.to_string();
    let reader = blocking(move || {
        let Source {
            bucket,
            key,
            which,
            customer,
        } = source;
        let opened = vault.open(OpenRequest {
            bucket: (&bucket).into(),
            key: key.as_bytes(),
            version: which,
            customer,
            instance: None,
            principal: &principal,
        });
        let resource = format!("{}/{key}", bucket.name);
        match opened {
            Ok(reader) => {
                restore::must_be_readable(
                    &Facts::decode(&reader.info().facts),
                    reader.info().place,
                )?;
                Ok(reader)
            }
            Err(cause) => {
                // Nobody learns from an archived object which key is the right one.
                if let Ok(stat) = vault.stat(&bucket, key.as_bytes(), which) {
                    restore::must_be_readable(&Facts::decode(&stat.facts), stat.place)?;
                }
                Err(version::failed(cause, &resource, which))
            }
        }
    })
    .await??;
    let root = reader.info().kms_root;
    state.kms.must_allow(root, by, kms::READ)?;
    Ok(reader)
}

/// What is known of an object, its data apart, and of its parts what the checksums need.
async fn head(
    state: &Arc<AppState>,
    source: Source,
    by: &Principal,
    sums: Asked,
) -> S3Result<(ObjectInfo, Vec<(u32, NamedList)>)> {
    let vault = Arc::clone(&state.vault);
    let principal = by.name.to_string();
    let found = blocking(move || {
        let request = OpenRequest {
            bucket: (&source.bucket).into(),
            key: source.key.as_bytes(),
            version: source.which,
            customer: source.customer,
            instance: None,
            principal: &principal,
        };
        let found = vault.head_with_parts(&request, |info| sums.parts(info));
        let resource = format!("{}/{}", source.bucket.name, source.key);
        found.map_err(|cause| version::failed(cause, &resource, source.which))
    })
    .await??;
    state.kms.must_allow(found.0.kms_root, by, kms::READ)?;
    Ok(found)
}

/// The ETag of an opened object.
pub(super) fn object_etag(info: &ObjectInfo) -> String {
    let facts = Facts::decode(&info.facts);
    etag(info.mode, info.version, Some(&info.attrs), &facts)
}

/// What stands under a key now, for the conditions of a write.
pub(super) fn current(vault: &Vault, bucket: &Bucket, key: &str) -> S3Result<Option<Current>> {
    match vault.stat(bucket, key.as_bytes(), Which::Current) {
        Ok(stat) => Ok(Some(Current {
            etag: stat_etag(&stat),
            instance: stat.instance,
        })),
        Err(VaultError::NoSuchKey { .. } | VaultError::DeleteMarker { .. }) => Ok(None),
        Err(cause) => Err(from_vault(cause, &format!("{}/{key}", bucket.name))),
    }
}

pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > LONGEST_KEY {
        return Err(with_detail(
            error(S3ErrorCode::KeyTooLongError, "Your key is too long"),
            &[
                ("Size", &key.len().to_string()),
                ("MaxSizeAllowed", &LONGEST_KEY.to_string()),
            ],
        ));
    }
    Ok(())
}

fn refuse_unsupported(input: &PutObjectInput) -> S3Result<()> {
    if input.write_offset_bytes.is_some() {
        return Err(error(
            S3ErrorCode::NotImplemented,
            "Appending to an object is not implemented",
        ));
    }
    Ok(())
}

fn not_satisfiable(range: &Range, length: u64) -> S3Error {
    with_detail(
        error(
            S3ErrorCode::InvalidRange,
            "The requested range is not satisfiable",
        ),
        &[
            ("RangeRequested", &range.to_header_string()),
            ("ActualObjectSize", &length.to_string()),
        ],
    )
}

//! PutObject, GetObject, HeadObject.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::keys::Mode;
use strongroom::store::Precondition;
use strongroom::vault::{
    CommitRequest, Committed, ObjectInfo, ObjectReader, OpenRequest, PutRequest, Vault, VaultError,
    Which,
};

use super::AppState;
use super::access::Principal;
use super::access::{self};
use super::body::{Download, Upload, blocking};
use super::checksums::{self, BodyChecks, Verified, set_checksums};
use super::conditions::{self, Current, ReadConditions};
use super::encryption::{self, Reply, Resolved, set_encryption};
use super::errors::{error, from_vault, with_detail};
use super::facts::{ContentHeaders, Facts, etag, has_md5_etag, strong};
use super::post;
use super::sse::{self, CustomerFields, CustomerKey};

/// Largest object of one PUT or COPY: 5 GiB.
pub(super) const LARGEST_PUT: u64 = 5 << 30;
const LONGEST_KEY: usize = 1024;

pub(super) async fn put_object(
    state: &Arc<AppState>,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let principal = access::principal(&request)?;
    let is_form = request.method == Method::POST;
    if is_form {
        post::fields_as_headers(&mut request)?;
    }
    let S3Request {
        mut input,
        headers,
        trailing_headers,
        ..
    } = request;
    let key = input.sse_customer_key.take();
    let bucket = access::bucket(
        state,
        &principal,
        &input.bucket,
        input.expected_bucket_owner.as_deref(),
    )
    .await?;
    refuse_unsupported(&input)?;
    check_key(&input.key)?;
    let encryption = encryption::resolve(
        state,
        &bucket,
        &headers,
        CustomerFields {
            algorithm: input.sse_customer_algorithm.as_deref(),
            key,
            md5: input.sse_customer_key_md5.as_deref(),
        },
    )
    .await?;
    let expected = input
        .content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| {
            error(
                S3ErrorCode::MissingContentLength,
                "You must provide the Content-Length HTTP header.",
            )
        })?;
    let target = Target {
        facts: Facts::with_class(input.storage_class.as_ref().map(StorageClass::as_str))?,
        content: ContentHeaders {
            cache_control: input.cache_control.take(),
            content_disposition: input.content_disposition.take(),
            content_encoding: input.content_encoding.take(),
            content_language: input.content_language.take(),
            content_type: input.content_type.take(),
            expires: input.expires.take(),
            website_redirect_location: input.website_redirect_location.take(),
            metadata: input.metadata.take().unwrap_or_default(),
        },
        bucket: input.bucket,
        key: input.key,
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let checks = BodyChecks::from_headers(&headers)?;
    let (write, upload) = Write::begin(state, &principal, target, encryption, checks).await?;
    let (upload, last) = upload
        .fill(input.body, Some(expected), &write.resource)
        .await?;
    if upload.length + last.len() as u64 != expected {
        return Err(error(
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ));
    }
    let written = write
        .finish(upload, last, move |checks| {
            checks.verify(trailing_headers.as_ref())
        })
        .await?;
    let mut output = PutObjectOutput {
        e_tag: Some(strong(&written.etag)),
        ..PutObjectOutput::default()
    };
    set_encryption!(output, &written.encryption);
    if !written.verified.checksums.is_empty() {
        output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    }
    set_checksums!(output, &written.verified.checksums);
    Ok(if is_form {
        post::answer(output)
    } else {
        S3Response::new(output)
    })
}

/// Where a write goes and what is kept with it.
pub(super) struct Target {
    pub(super) bucket: String,
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
    ) -> S3Result<(Self, Upload)> {
        let resource = format!("{}/{}", target.bucket, target.key);
        let Resolved {
            protection, reply, ..
        } = encryption;
        let mode = protection.mode();
        if has_md5_etag(mode) {
            checks.need_md5();
        }
        let metrics = state.metrics.clone();
        let head = target.content.head()?;
        let facts = target.facts.encode();
        let (vault, principal) = (Arc::clone(&state.vault), principal.name.to_string());
        let (precondition, stream) = blocking(move || {
            let now = match target.if_match {
                Some(_) => current(&vault, &target.bucket, &target.key)?,
                None => None,
            };
            let precondition = conditions::on_write(
                target.if_match.as_ref(),
                target.if_none_match.as_ref(),
                now.as_ref().map(|now| &now.current),
            )?;
            if matches!(precondition, Precondition::Absent)
                && current(&vault, &target.bucket, &target.key)?.is_some()
            {
                // Known now: not worth the upload. The catalog decides again at the commit.
                return Err(super::errors::precondition_failed("If-None-Match"));
            }
            let resource = format!("{}/{}", target.bucket, target.key);
            let stream = vault
                .put(PutRequest {
                    bucket: target.bucket,
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
        mut upload: Upload,
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
            let attrs = verified.attributes();
            let committed = upload
                .stream
                .commit(CommitRequest {
                    precondition,
                    attrs: attrs.clone(),
                })
                .map_err(failed)?;
            let etag = etag(mode, committed.instance, Some(&attrs));
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

pub(super) async fn get_object(
    state: &Arc<AppState>,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let principal = access::principal(&request)?;
    let S3Request {
        mut input, headers, ..
    } = request;
    let key = input.sse_customer_key.take();
    let read = Read {
        bucket: input.bucket,
        key: input.key,
        expected_owner: input.expected_bucket_owner,
        version: input.version_id,
        conditions: ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        },
        range: input.range,
        part: input.part_number,
    };
    let customer = sse::customer_key(CustomerFields {
        algorithm: input.sse_customer_algorithm.as_deref(),
        key,
        md5: input.sse_customer_key_md5.as_deref(),
    });
    let found = read.open(state, &principal, &headers, customer).await?;
    let mut output = GetObjectOutput::default();
    describe!(output, found);
    if input
        .checksum_mode
        .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
        && found.whole
    {
        set_checksums!(output, &found.checksums());
        output.checksum_type = found.checksum_type();
    }
    let download = Download::start(
        found.reader,
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
    let key = input.sse_customer_key.take();
    let read = Read {
        bucket: input.bucket,
        key: input.key,
        expected_owner: input.expected_bucket_owner,
        version: input.version_id,
        conditions: ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        },
        range: input.range,
        part: input.part_number,
    };
    let customer = sse::customer_key(CustomerFields {
        algorithm: input.sse_customer_algorithm.as_deref(),
        key,
        md5: input.sse_customer_key_md5.as_deref(),
    });
    let found = read.open(state, &principal, &headers, customer).await?;
    let mut output = HeadObjectOutput::default();
    describe!(output, found);
    if input
        .checksum_mode
        .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
        && found.whole
    {
        set_checksums!(output, &found.checksums());
        output.checksum_type = found.checksum_type();
    }
    let status = if found.whole {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    Ok(S3Response::with_status(output, status))
}

/// Fills the fields that GET and HEAD answer alike.
macro_rules! describe {
    ($output:ident, $found:ident) => {
        let content = ContentHeaders::from_head(&$found.info().head);
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
        $output.last_modified = Some(Facts::timestamp($found.info().modified_ms));
        $output.storage_class = Facts::decode(&$found.info().facts)
            .class
            .map(StorageClass::from);
        $output.parts_count = None;
        set_encryption!(
            $output,
            &Reply::of($found.info().mode, $found.customer_md5.clone())
        );
    };
}
use describe;

/// What a GET or HEAD asks for.
struct Read {
    bucket: String,
    key: String,
    expected_owner: Option<String>,
    version: Option<String>,
    conditions: ReadConditions,
    range: Option<Range>,
    part: Option<i32>,
}

/// An opened object and the bytes of it that are wanted.
struct Found {
    reader: ObjectReader,
    etag: String,
    customer_md5: Option<String>,
    start: u64,
    end: u64,
    whole: bool,
    resource: String,
}

impl Read {
    async fn open(
        self,
        state: &Arc<AppState>,
        principal: &Principal,
        headers: &HeaderMap,
        customer: S3Result<Option<CustomerKey>>,
    ) -> S3Result<Found> {
        access::bucket(
            state,
            principal,
            &self.bucket,
            self.expected_owner.as_deref(),
        )
        .await?;
        refuse_version(self.version.as_deref())?;
        sse::refuse_write_headers(headers)?;
        let customer = customer?;
        if self.range.is_some() && self.part.is_some() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter",
            ));
        }
        let resource = format!("{}/{}", self.bucket, self.key);
        let (customer_md5, customer) = customer
            .map(|customer| (customer.md5, customer.key))
            .unzip();
        let reader = open(state, &self.bucket, &self.key, customer, &principal.name).await?;
        let info = reader.info();
        let etag = object_etag(info);
        self.conditions
            .check(&etag, info.modified_ms)
            .map_err(|failed| failed.on_read(&etag, info.modified_ms))?;
        let length = info.length;
        let (start, end, whole) = match (&self.range, self.part) {
            (Some(range), _) => {
                let wanted = range
                    .check(length)
                    .map_err(|_| not_satisfiable(range, length))?;
                (wanted.start, wanted.end, false)
            }
            (None, None) => (0, length, true),
            // A plain PUT is one part.
            (None, Some(1)) => (0, length, length == 0),
            (None, Some(_)) => {
                return Err(error(
                    S3ErrorCode::InvalidPart,
                    "One or more of the specified parts could not be found.",
                ));
            }
        };
        Ok(Found {
            reader,
            etag,
            customer_md5,
            start,
            end,
            whole,
            resource,
        })
    }
}

impl Found {
    fn info(&self) -> &ObjectInfo {
        self.reader.info()
    }

    fn content_range(&self) -> Option<String> {
        (!self.whole).then(|| {
            format!(
                "bytes {}-{}/{}",
                self.start,
                self.end - 1,
                self.info().length
            )
        })
    }

    fn checksums(&self) -> Vec<(&'static str, String)> {
        checksums::stored(&self.info().attrs)
    }

    fn checksum_type(&self) -> Option<ChecksumType> {
        (!self.checksums().is_empty()).then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
    }
}

/// Opens an object; the key, if any, is used up.
pub(super) async fn open(
    state: &Arc<AppState>,
    bucket: &str,
    key: &str,
    customer: Option<strongroom::secret::Secret<32>>,
    principal: &str,
) -> S3Result<ObjectReader> {
    let vault = Arc::clone(&state.vault);
    let (bucket, key, principal) = (bucket.to_owned(), key.to_owned(), principal.to_owned());
    blocking(move || {
        vault
            .open(OpenRequest {
                bucket: &bucket,
                key: key.as_bytes(),
                version: Which::Current,
                customer,
                instance: None,
                principal: &principal,
            })
            .map_err(|cause| from_vault(cause, &format!("{bucket}/{key}")))
    })
    .await?
}

/// The ETag of an opened object.
pub(super) fn object_etag(info: &ObjectInfo) -> String {
    etag(info.mode, info.instance, Some(&info.attrs))
}

/// What stands under a key now, for the conditions of a write or delete.
pub(super) struct Standing {
    pub(super) current: Current,
    pub(super) length: u64,
    pub(super) modified_ms: u64,
}

pub(super) fn current(vault: &Vault, bucket: &str, key: &str) -> S3Result<Option<Standing>> {
    match vault.stat(bucket, key.as_bytes(), Which::Current) {
        Ok(stat) => Ok(Some(Standing {
            current: Current {
                etag: etag(stat.mode, stat.instance, stat.attrs.as_ref()),
                instance: stat.instance,
            },
            length: stat.length,
            modified_ms: stat.modified_ms,
        })),
        Err(VaultError::NoSuchKey { .. }) => Ok(None),
        Err(cause) => Err(from_vault(cause, &format!("{bucket}/{key}"))),
    }
}

/// ACLs other than the owner's own are not implemented; silence would be a lie.
pub(super) fn refuse_acl(canned: Option<&str>, grants: bool) -> S3Result<()> {
    match canned {
        None | Some("private" | "bucket-owner-full-control" | "bucket-owner-read") if !grants => {
            Ok(())
        }
        _ => Err(error(
            S3ErrorCode::NotImplemented,
            "Access control lists other than private are not implemented",
        )),
    }
}

/// Object versions are not kept: only the null version exists.
pub(super) fn refuse_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(other) => Err(with_detail(
            error(
                S3ErrorCode::NoSuchVersion,
                "The specified version does not exist.",
            ),
            &[("VersionId", other)],
        )),
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
    refuse_acl(
        input.acl.as_ref().map(ObjectCannedACL::as_str),
        [
            &input.grant_full_control,
            &input.grant_read,
            &input.grant_read_acp,
            &input.grant_write_acp,
        ]
        .iter()
        .any(|grant| grant.is_some()),
    )?;
    let asked = [
        ("Object tagging", input.tagging.is_some()),
        (
            "Object Lock",
            input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(),
        ),
        ("Appending to an object", input.write_offset_bytes.is_some()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(error(
            S3ErrorCode::NotImplemented,
            format!("{what} is not implemented"),
        )),
        None => Ok(()),
    }
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

//! Object Lock's operations: the bucket's configuration, retention and legal hold of a version.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};
use strongroom::store::{Bucket, Versioning};

use super::lock::{self, LockConfig, Mode, Retention};
use crate::s3::AppState;
use crate::s3::access::{self, Principal};
use crate::s3::body::blocking;
use crate::s3::buckets::documents::{At, Document};
use crate::s3::errors::{custom, from_vault, malformed_xml};
use crate::s3::facts::amend;
use crate::s3::facts::{Facts, now_ms};

impl Document for LockConfig {
    const NAME: &'static str = "object-lock";
}

/// The lock of a bucket; `None` where it has none.
pub(in crate::s3) async fn of_bucket(
    state: &Arc<AppState>,
    at: &At,
) -> S3Result<Option<LockConfig>> {
    let found = state.documents.of::<LockConfig>(at).await?;
    Ok(found.as_deref().copied())
}

/// Enables Object Lock on a new bucket. Versions first: a lock without them would protect nothing.
pub(in crate::s3) async fn enable(state: &Arc<AppState>, bucket: &Bucket) -> S3Result<()> {
    let (vault, new) = (Arc::clone(&state.vault), bucket.clone());
    blocking(move || {
        vault
            .set_versioning(&new, Versioning::Enabled)
            .map_err(|cause| from_vault(cause, &new.name))
    })
    .await??;
    state.documents.put(bucket, LockConfig::default()).await
}

pub(in crate::s3) async fn put_object_lock_configuration(
    state: &Arc<AppState>,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let config = LockConfig::from_document(input.object_lock_configuration)?;
    if bucket.versioning != Versioning::Enabled {
        return Err(custom(
            http::StatusCode::CONFLICT,
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        ));
    }
    state.documents.put(&bucket, config).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

pub(in crate::s3) async fn get_object_lock_configuration(
    state: &Arc<AppState>,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let at = access::at(&request)?;
    let config = of_bucket(state, &at).await?.ok_or_else(|| {
        custom(
            http::StatusCode::NOT_FOUND,
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        )
    })?;
    Ok(S3Response::new(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(config.to_document()),
    }))
}

pub(in crate::s3) async fn put_object_retention(
    state: &Arc<AppState>,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    must_have_lock(state, &principal).await?;
    let now = now_ms();
    let asked = input.retention.ok_or_else(malformed_xml)?;
    let new = match (asked.mode, asked.retain_until_date) {
        (None, None) => None,
        (Some(mode), Some(until)) => Some(Retention {
            mode: Mode::parse(mode.as_str()).ok_or_else(malformed_xml)?,
            until_ms: lock::in_future(&until, now)?,
        }),
        _ => return Err(malformed_xml()),
    };
    let bypass = input.bypass_governance_retention == Some(true);
    let version = input.version_id.as_deref();
    amend::change(state, &principal, input.key, version, move |facts| {
        lock::may_change(facts, new, now, bypass)?;
        facts.retention = new;
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub(in crate::s3) async fn get_object_retention(
    state: &Arc<AppState>,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    must_have_lock(state, &principal).await?;
    let version = input.version_id.as_deref();
    let (_, facts) = amend::look(state, &principal, input.key, version).await?;
    let retention = facts.retention.ok_or_else(not_locked)?;
    Ok(S3Response::new(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(
                retention.mode.as_str(),
            )),
            retain_until_date: Some(Facts::timestamp(retention.until_ms)),
        }),
    }))
}

pub(in crate::s3) async fn put_object_legal_hold(
    state: &Arc<AppState>,
    request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    must_have_lock(state, &principal).await?;
    let hold = input
        .legal_hold
        .and_then(|hold| lock::hold(hold.status?.as_str()))
        .ok_or_else(malformed_xml)?;
    let version = input.version_id.as_deref();
    amend::change(state, &principal, input.key, version, move |facts| {
        facts.legal_hold = Some(hold);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

pub(in crate::s3) async fn get_object_legal_hold(
    state: &Arc<AppState>,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    must_have_lock(state, &principal).await?;
    let version = input.version_id.as_deref();
    let (_, facts) = amend::look(state, &principal, input.key, version).await?;
    let hold = facts.legal_hold.ok_or_else(not_locked)?;
    Ok(S3Response::new(GetObjectLegalHoldOutput {
        legal_hold: Some(ObjectLockLegalHold {
            status: Some(lock::hold_status(hold)),
        }),
    }))
}

async fn must_have_lock(state: &Arc<AppState>, principal: &Principal) -> S3Result<()> {
    match of_bucket(state, &principal.at()?).await? {
        Some(_) => Ok(()),
        None => Err(lock::no_lock_on_bucket()),
    }
}

fn not_locked() -> S3Error {
    custom(
        http::StatusCode::NOT_FOUND,
        "NoSuchObjectLockConfiguration",
        "The specified object does not have a ObjectLock configuration",
    )
}

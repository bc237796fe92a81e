//! Where the bytes of an object lie, and where its facts say: objects of the archive classes are
//! moved there after they are visible, restored copies are made and dropped. No key is used.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::{Bucket, Which};
use strongroom::vault::{Vault, VaultError};
use tokio::sync::Semaphore;

use super::restore::{Restore, is_archive};
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::body::blocking;
use crate::s3::errors::{custom, error, malformed_xml, with_detail};
use crate::s3::facts::amend::amend;
use crate::s3::facts::version;
use crate::s3::facts::{Facts, now_ms};
use crate::s3::lifecycle;
use crate::s3::lifecycle::calendar::Calendar;

/// Brings the bytes of a version to where its facts say. Called again, it goes on where it was.
pub(in crate::s3) fn settle(
    vault: &Arc<Vault>,
    calendar: Calendar,
    bucket: &Bucket,
    key: &[u8],
    which: Which,
) -> Result<(), VaultError> {
    for _ in 0..STEPS {
        let stat = match vault.stat(bucket, key, which) {
            Ok(stat) => stat,
            Err(
                VaultError::NoSuchKey { .. }
                | VaultError::NoSuchVersion { .. }
                | VaultError::DeleteMarker { .. },
            ) => return Ok(()),
            Err(cause) => return Err(cause),
        };
        let Ok(mut facts) = Facts::read(&stat.facts) else {
            return Ok(());
        };
        let archived = is_archive(facts.class.as_deref());
        let done = match facts.restore {
            _ if archived && !stat.place.archived => vault
                .archive_object(bucket, key, which, &stat.facts)?
                .run(&stat.facts),
            Some(Restore {
                expiry_ms: None,
                days,
            }) => {
                facts.restore = Some(Restore {
                    expiry_ms: Some(calendar.after(now_ms(), u64::from(days))),
                    days,
                });
                if stat.place.restored {
                    // An earlier copy serves.
                    vault.drop_restored(bucket, key, which, &stat.facts, &stat.facts)?;
                }
                vault
                    .restore_object(bucket, key, which, &stat.facts)?
                    .run(&facts.encode())
            }
            Some(Restore {
                expiry_ms: Some(expiry_ms),
                ..
            }) if expiry_ms <= now_ms() => {
                facts.restore = None;
                vault.drop_restored(bucket, key, which, &stat.facts, &facts.encode())
            }
            _ => return Ok(()),
        };
        match done {
            // Its facts changed meanwhile: look again.
            Ok(()) | Err(VaultError::PreconditionFailed | VaultError::Changed) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// The same behind a reply. What a stop or a failure leaves undone, the lifecycle worker does.
pub(in crate::s3) fn settle_later(
    state: &Arc<AppState>,
    bucket: Arc<Bucket>,
    key: String,
    which: Which,
) {
    let (vault, calendar) = (Arc::clone(&state.vault), lifecycle::calendar(state));
    tokio::spawn(async move {
        let Ok(_permit) = TRANSFERS.acquire().await else {
            return;
        };
        let settled = blocking(move || {
            settle(&vault, calendar, &bucket, key.as_bytes(), which)
                .map_err(|cause| (format!("{}/{key}", bucket.name), cause))
        })
        .await;
        if let Ok(Err((resource, cause))) = settled {
            tracing::warn!(resource, error = %cause, "archive: not moved, tried again later");
        }
    });
}

/// What a version that was just written needs, if its class is one of the archive.
pub(in crate::s3) fn after_write(
    state: &Arc<AppState>,
    class: Option<&str>,
    (bucket, key): (&Arc<Bucket>, &str),
    version: strongroom::id::VersionId,
    null: bool,
) {
    if is_archive(class) {
        let which = if null {
            Which::Null
        } else {
            Which::Label(version)
        };
        settle_later(state, Arc::clone(bucket), key.to_owned(), which);
    }
}

pub(in crate::s3) async fn restore_object(
    state: &Arc<AppState>,
    request: S3Request<RestoreObjectInput>,
) -> S3Result<S3Response<RestoreObjectOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let which = version::which(input.version_id.as_deref())?;
    let asked = input.restore_request.ok_or_else(malformed_xml)?;
    if asked.type_.is_some() || asked.select_parameters.is_some() || asked.output_location.is_some()
    {
        return Err(error(
            S3ErrorCode::NotImplemented,
            "Selecting from an archived object is not implemented",
        ));
    }
    let days = asked
        .days
        .and_then(|days| u32::try_from(days).ok())
        .filter(|days| *days > 0)
        .ok_or_else(malformed_xml)?;
    let tier = asked
        .glacier_job_parameters
        .map(|job| job.tier)
        .or(asked.tier);
    let expedited = match tier.as_ref().map(Tier::as_str) {
        None | Some(Tier::STANDARD | Tier::BULK) => false,
        Some(Tier::EXPEDITED) => true,
        Some(_) => return Err(malformed_xml()),
    };
    let (vault, key) = (Arc::clone(&state.vault), input.key.clone());
    let moved = Arc::clone(&bucket);
    let calendar = lifecycle::calendar(state);
    let (begun, which) = blocking(move || {
        let mut begun = false;
        let stat = amend(&vault, &bucket, &key, which, |facts| {
            principal.confirm_facts(facts)?;
            let class = facts.class.as_deref();
            if !is_archive(class) {
                return Err(with_detail(
                    error(
                        S3ErrorCode::InvalidObjectState,
                        "Restore is not allowed for the object's current storage class",
                    ),
                    &[("StorageClass", class.unwrap_or("STANDARD"))],
                ));
            }
            if expedited && class == Some("DEEP_ARCHIVE") {
                return Err(error(
                    S3ErrorCode::InvalidArgument,
                    "Retrieval option is not supported by this storage class",
                ));
            }
            let expiry_ms = match facts.restore {
                Some(Restore {
                    expiry_ms: None, ..
                }) => {
                    return Err(custom(
                        http::StatusCode::CONFLICT,
                        "RestoreAlreadyInProgress",
                        "Object restore is already in progress",
                    ));
                }
                Some(Restore {
                    expiry_ms: Some(expiry_ms),
                    ..
                }) if expiry_ms > now_ms() => Some(calendar.after(now_ms(), u64::from(days))),
                _ => None,
            };
            begun = expiry_ms.is_none();
            facts.restore = Some(Restore { expiry_ms, days });
            Ok(())
        })?;
        let which = if stat.null {
            Which::Null
        } else {
            Which::Label(stat.version)
        };
        Ok::<_, s3s::S3Error>((begun, which))
    })
    .await??;
    if begun {
        settle_later(state, moved, input.key, which);
    }
    let status = if begun {
        http::StatusCode::ACCEPTED
    } else {
        http::StatusCode::OK
    };
    Ok(S3Response::with_status(
        RestoreObjectOutput::default(),
        status,
    ))
}

/// More than the steps that any version needs.
const STEPS: usize = 8;
/// Objects that are moved at a time behind replies.
static TRANSFERS: Semaphore = Semaphore::const_new(4);

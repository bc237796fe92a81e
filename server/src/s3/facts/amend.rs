//! Changes of an object's facts: tags, retention, legal hold. Each change holds against the facts it
//! was judged on; when somebody else was faster it is judged again.

use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::store::{Bucket, Which};
use strongroom::vault::{Stat, Vault, VaultError};

use super::Facts;
use super::version;
use crate::s3::AppState;
use crate::s3::access::Principal;
use crate::s3::body::blocking;
use crate::s3::errors::error;

/// What is known of the object that a request names, if who asks may still see it.
pub(in crate::s3) async fn look(
    state: &Arc<AppState>,
    principal: &Principal,
    key: String,
    version: Option<&str>,
) -> S3Result<(Stat, Facts)> {
    let which = version::which(version)?;
    let (vault, bucket) = (Arc::clone(&state.vault), principal.bucket()?);
    let stat = blocking(move || {
        vault
            .stat(&bucket, key.as_bytes(), which)
            .map_err(|cause| version::failed(cause, &format!("{}/{key}", bucket.name), which))
    })
    .await??;
    let facts = Facts::read(&stat.facts)?;
    principal.confirm_facts(&facts)?;
    Ok((stat, facts))
}

/// Changes the facts of the object that a request names, if who asks still may; gives back what it
/// was.
pub(in crate::s3) async fn change(
    state: &Arc<AppState>,
    principal: &Principal,
    key: String,
    version: Option<&str>,
    mut change: impl FnMut(&mut Facts) -> S3Result<()> + Send + 'static,
) -> S3Result<Stat> {
    let which = version::which(version)?;
    let (vault, bucket) = (Arc::clone(&state.vault), principal.bucket()?);
    let principal = principal.clone();
    blocking(move || {
        amend(&vault, &bucket, &key, which, |facts| {
            principal.confirm_facts(facts)?;
            change(facts)
        })
    })
    .await?
}

/// Changes the facts of one version; gives back what it was.
pub(in crate::s3) fn amend(
    vault: &Vault,
    bucket: &Bucket,
    key: &str,
    which: Which,
    mut change: impl FnMut(&mut Facts) -> S3Result<()>,
) -> S3Result<Stat> {
    let failed = |cause| version::failed(cause, &format!("{}/{key}", bucket.name), which);
    for _ in 0..MOST_TRIES {
        let stat = vault.stat(bucket, key.as_bytes(), which).map_err(failed)?;
        let mut facts = Facts::read(&stat.facts)?;
        change(&mut facts)?;
        let changed = facts.encode();
        if changed == stat.facts {
            return Ok(stat);
        }
        match vault.set_facts(
            bucket,
            key.as_bytes(),
            which,
            stat.instance,
            &stat.facts,
            &changed,
        ) {
            Ok(()) => return Ok(stat),
            // Other facts, or another instance of the same version.
            Err(
                VaultError::PreconditionFailed
                | VaultError::NoSuchKey { .. }
                | VaultError::NoSuchVersion { .. },
            ) => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    Err(conflict())
}

/// Others changed the object faster than it could be judged.
pub(in crate::s3) fn conflict() -> S3Error {
    error(
        S3ErrorCode::OperationAborted,
        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
    )
}

/// How often an object is judged again because somebody changed it meanwhile.
pub(in crate::s3) const MOST_TRIES: usize = 16;

//! Deletes. No key is needed: what is deleted is never opened, only its wrapped key is shredded.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::{Bucket, Marker, Precondition, Which};
use strongroom::vault::{Judged, Stat, Vault, VaultError};

use super::conditions::{self, Current};
use super::lock;
use crate::config::Compat;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::body::blocking;
use crate::s3::errors::{error, from_vault, malformed_xml, precondition_failed};
use crate::s3::facts::amend::{MOST_TRIES, conflict};
use crate::s3::facts::version;
use crate::s3::facts::{Facts, now_ms, stat_etag};

const MOST_KEYS: usize = 1000;

pub(in crate::s3) async fn delete_object(
    state: &Arc<AppState>,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let deletion = Deletion {
        compat: state.settings.compat,
        bucket,
        key: input.key,
        which: version::which(input.version_id.as_deref())?,
        bypass: input.bypass_governance_retention == Some(true),
        conditions: Conditions {
            etag: input.if_match,
            modified: input.if_match_last_modified_time,
            size: input.if_match_size,
        },
    };
    let vault = Arc::clone(&state.vault);
    let (which, marker) = blocking(move || {
        let marker = deletion.run(&vault)?;
        Ok::<_, S3Error>((deletion.which, marker))
    })
    .await??;
    let version_id = match &marker {
        Some(marker) => Some(version::wire(marker.version, marker.null)),
        None if which == Which::Current => None,
        None => input.version_id,
    };
    Ok(S3Response::with_status(
        DeleteObjectOutput {
            delete_marker: marker.map(|_| true),
            version_id,
            ..DeleteObjectOutput::default()
        },
        http::StatusCode::NO_CONTENT,
    ))
}

pub(in crate::s3) async fn delete_objects(
    state: &Arc<AppState>,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    if input.delete.objects.is_empty() || input.delete.objects.len() > MOST_KEYS {
        return Err(malformed_xml());
    }
    let bucket = principal.bucket()?;
    let quiet = input.delete.quiet == Some(true);
    let bypass = input.bypass_governance_retention == Some(true);
    let compat = state.settings.compat;
    let vault = Arc::clone(&state.vault);
    let (deleted, errors) = blocking(move || {
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (index, object) in input.delete.objects.into_iter().enumerate() {
            let allowed = if principal.may_delete(index) {
                Ok(())
            } else {
                Err(access::denied())
            };
            let which = allowed.and_then(|()| version::which(object.version_id.as_deref()));
            let outcome = which.and_then(|which| {
                let deletion = Deletion {
                    compat,
                    bucket: Arc::clone(&bucket),
                    key: object.key.clone(),
                    which,
                    bypass,
                    conditions: Conditions {
                        etag: object.e_tag.map(ETagCondition::ETag),
                        modified: object.last_modified_time,
                        size: object.size,
                    },
                };
                deletion.run(&vault)
            });
            match outcome.map_err(|cause| principal.may_see(cause)) {
                Ok(_) if quiet => {}
                Ok(marker) => deleted.push(DeletedObject {
                    delete_marker: marker.as_ref().map(|_| true),
                    delete_marker_version_id: marker
                        .map(|marker| version::wire(marker.version, marker.null)),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
                Err(cause) => errors.push(Error {
                    code: Some(cause.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: cause.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        (deleted, errors)
    })
    .await?;
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

/// One deletion as it was asked for.
struct Deletion {
    compat: Compat,
    bucket: Arc<Bucket>,
    key: String,
    which: Which,
    bypass: bool,
    conditions: Conditions,
}

/// The conditions of a conditional delete.
struct Conditions {
    etag: Option<ETagCondition>,
    modified: Option<Timestamp>,
    size: Option<i64>,
}

impl Conditions {
    fn any(&self) -> bool {
        self.etag.is_some() || self.modified.is_some() || self.size.is_some()
    }

    /// What the catalog must find for them to hold, from what stands there now.
    fn check(&self, compat: Compat, now: &Stat) -> S3Result<Precondition> {
        let modified = Facts::timestamp(now.modified_ms - now.modified_ms % 1000);
        if self
            .modified
            .as_ref()
            .is_some_and(|wanted| *wanted != modified)
        {
            return Err(precondition_failed("x-amz-if-match-last-modified-time"));
        }
        if self
            .size
            .is_some_and(|size| u64::try_from(size) != Ok(now.length))
        {
            return Err(precondition_failed("x-amz-if-match-size"));
        }
        let current = Current {
            etag: stat_etag(now),
            instance: now.instance,
        };
        match conditions::on_write(compat, self.etag.as_ref(), None, Some(&current))? {
            // Size and time were true of this instance, so that one is deleted or none.
            Precondition::None => Ok(Precondition::Is(now.instance)),
            decided => Ok(decided),
        }
    }

    /// The answer where there is nothing to delete.
    fn on_nothing(&self, compat: Compat) -> S3Result<()> {
        match self.etag {
            // To ceph, what is not there is deleted whatever it should have been.
            Some(_) if compat != Compat::Ceph => Err(error(
                S3ErrorCode::NoSuchKey,
                "The specified key does not exist.",
            )),
            _ => Ok(()),
        }
    }
}

impl Deletion {
    /// Deletes; gives the marker that was put on top, or that was itself removed.
    fn run(&self, vault: &Arc<Vault>) -> S3Result<Option<Marker>> {
        match self.which {
            Which::Current => self.hide(vault),
            Which::Null | Which::Label(_) => self.remove(vault),
        }
    }

    /// There is nothing to delete, and whoever deleted it may not be done with its key: nobody hears of it before.
    fn settle(&self, vault: &Vault) -> S3Result<()> {
        vault
            .settle(&self.bucket, self.key.as_bytes())
            .map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: VaultError) -> S3Error {
        from_vault(cause, &format!("{}/{}", self.bucket.name, self.key))
    }

    /// Takes the key out of sight.
    fn hide(&self, vault: &Arc<Vault>) -> S3Result<Option<Marker>> {
        let failed = |cause| self.failed(cause);
        let precondition = if self.conditions.any() {
            match vault.stat(&self.bucket, self.key.as_bytes(), Which::Current) {
                Ok(now) => self.conditions.check(self.compat, &now)?,
                Err(VaultError::NoSuchKey { .. } | VaultError::DeleteMarker { .. }) => {
                    self.settle(vault)?;
                    self.conditions.on_nothing(self.compat)?;
                    return Ok(None);
                }
                Err(cause) => return Err(failed(cause)),
            }
        } else {
            Precondition::None
        };
        vault
            .delete(&self.bucket, self.key.as_bytes(), precondition)
            .map(|deleted| deleted.marker)
            .map_err(failed)
    }

    /// Removes a version or a marker for good, unless Object Lock keeps it.
    fn remove(&self, vault: &Arc<Vault>) -> S3Result<Option<Marker>> {
        let failed = |cause| self.failed(cause);
        let key = self.key.as_bytes();
        for _ in 0..MOST_TRIES {
            let (version, facts) = match vault.stat(&self.bucket, key, self.which) {
                Ok(now) => {
                    lock::may_remove(&Facts::read(&now.facts)?, now_ms(), self.bypass)?;
                    if self.conditions.any() {
                        self.conditions.check(self.compat, &now)?;
                    }
                    (now.version, now.facts)
                }
                Err(VaultError::DeleteMarker { marker, .. }) => (marker.version, Vec::new()),
                Err(VaultError::NoSuchVersion { .. } | VaultError::NoSuchKey { .. }) => {
                    self.settle(vault)?;
                    self.conditions.on_nothing(self.compat)?;
                    return Ok(None);
                }
                Err(cause) => return Err(failed(cause)),
            };
            let judged = Judged {
                version,
                facts: &facts,
            };
            match vault.delete_version(&self.bucket, key, self.which, Some(judged)) {
                Ok(deleted) => return Ok(deleted.marker),
                // It is another one by now, or has other facts: perhaps a lock is among them.
                Err(VaultError::PreconditionFailed) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Err(conflict())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::s3::testing::{put, vault_with_keys};

    fn deletion(bucket: &Arc<Bucket>, which: Which, size: Option<i64>) -> Deletion {
        Deletion {
            compat: Compat::Aws,
            bucket: Arc::clone(bucket),
            key: "x".to_owned(),
            which,
            bypass: false,
            conditions: Conditions {
                etag: None,
                modified: None,
                size,
            },
        }
    }

    #[test]
    fn nobody_is_told_that_it_is_gone_while_its_key_is_there() {
        let ways = [
            (Which::Current, None),
            (Which::Current, Some(1)),
            (Which::Null, None),
        ];
        for (which, size) in ways {
            let (_dir, vault, keys) = vault_with_keys();
            let bucket = Arc::new(vault.create_bucket("b", "owner").unwrap());
            put(&vault, &bucket, "x", b"1");
            keys.set_failing(true); // nothing is shredded any more
            for turn in 0..2 {
                let told = deletion(&bucket, which, size).run(&vault);
                assert!(told.is_err(), "{which:?} {size:?}, turn {turn}");
            }
            let seen = vault.stat(&*bucket, b"x", Which::Current);
            assert!(matches!(seen, Err(VaultError::NoSuchKey { .. })));
        }
    }
}

//! Deletes. No key is needed: what is deleted is never opened, only its wrapped key is shredded.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::Precondition;
use strongroom::vault::Vault;

use super::AppState;
use super::access;
use super::body::blocking;
use super::conditions;
use super::errors::{error, from_vault, precondition_failed};
use super::objects::{current, refuse_version};

const MOST_KEYS: usize = 1000;

pub(super) async fn delete_object(
    state: &Arc<AppState>,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    access::bucket(
        state,
        &principal,
        &input.bucket,
        input.expected_bucket_owner.as_deref(),
    )
    .await?;
    refuse_version(input.version_id.as_deref())?;
    let conditions = Conditions {
        etag: input.if_match,
        modified: input.if_match_last_modified_time,
        size: input.if_match_size,
    };
    let vault = Arc::clone(&state.vault);
    blocking(move || delete(&vault, &input.bucket, &input.key, &conditions)).await??;
    Ok(S3Response::with_status(
        DeleteObjectOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

pub(super) async fn delete_objects(
    state: &Arc<AppState>,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    access::bucket(
        state,
        &principal,
        &input.bucket,
        input.expected_bucket_owner.as_deref(),
    )
    .await?;
    if input.delete.objects.is_empty() || input.delete.objects.len() > MOST_KEYS {
        return Err(error(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let quiet = input.delete.quiet == Some(true);
    let vault = Arc::clone(&state.vault);
    let (deleted, errors) = blocking(move || {
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let conditions = Conditions {
                etag: object.e_tag.map(ETagCondition::ETag),
                modified: object.last_modified_time,
                size: object.size,
            };
            let outcome = refuse_version(object.version_id.as_deref())
                .and_then(|()| delete(&vault, &input.bucket, &object.key, &conditions));
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
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
}

fn delete(vault: &Arc<Vault>, bucket: &str, key: &str, conditions: &Conditions) -> S3Result<()> {
    let resource = format!("{bucket}/{key}");
    let precondition = if conditions.any() {
        let Some(now) = current(vault, bucket, key)? else {
            return match conditions.etag {
                Some(_) => Err(error(
                    S3ErrorCode::NoSuchKey,
                    "The specified key does not exist.",
                )),
                None => Ok(()),
            };
        };
        let modified = super::facts::Facts::timestamp(now.modified_ms - now.modified_ms % 1000);
        if conditions
            .modified
            .as_ref()
            .is_some_and(|wanted| *wanted != modified)
        {
            return Err(precondition_failed("x-amz-if-match-last-modified-time"));
        }
        if conditions
            .size
            .is_some_and(|size| u64::try_from(size) != Ok(now.length))
        {
            return Err(precondition_failed("x-amz-if-match-size"));
        }
        match conditions::on_write(conditions.etag.as_ref(), None, Some(&now.current))? {
            // Size and time were true of this instance, so that one is deleted or none.
            Precondition::None => Precondition::Is(now.current.instance),
            decided => decided,
        }
    } else {
        Precondition::None
    };
    vault
        .delete(bucket, key.as_bytes(), precondition)
        .map(|_| ())
        .map_err(|cause| from_vault(cause, &resource))
}

//! UpdateObjectEncryption: the same bytes under another key. Nothing is moved; ETag and dates stay.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::vault::{FactsChange, OpenRequest, Protection, VaultError};

use super::kms;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::body::blocking;
use crate::s3::errors::{error, malformed_xml};
use crate::s3::facts::amend::{MOST_TRIES, conflict};
use crate::s3::facts::version;
use crate::s3::facts::{Facts, now_ms};
use crate::s3::objects::lock;

pub(in crate::s3) async fn update_object_encryption(
    state: &Arc<AppState>,
    request: S3Request<UpdateObjectEncryptionInput>,
) -> S3Result<S3Response<UpdateObjectEncryptionOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let input = request.input;
    let which = version::which(input.version_id.as_deref())?;
    let ObjectEncryption::SSEKMS(asked) = input.object_encryption else {
        return Err(malformed_xml());
    };
    let key = state.kms.find(Some(&asked.kms_key_arn))?;
    key.must_allow(&principal, kms::WRITE)?;
    let (root, state) = (key.root, Arc::clone(state));
    let bucket_key = asked.bucket_key_enabled == Some(true);
    let vault = Arc::clone(&state.vault);
    blocking(move || {
        let resource = format!("{}/{}", input.bucket, input.key);
        let failed = |cause| match cause {
            VaultError::Invalid(_) | VaultError::CustomerKeyRequired => error(
                S3ErrorCode::InvalidRequest,
                "Only an object encrypted with SSE-S3 or SSE-KMS can be put under another key.",
            ),
            cause => version::failed(cause, &resource, which),
        };
        let key = input.key.as_bytes();
        for _ in 0..MOST_TRIES {
            let stat = vault.stat(&bucket, key, which).map_err(failed)?;
            let mut facts = Facts::read(&stat.facts)?;
            state.kms.must_allow(stat.kms_root, &principal, kms::READ)?;
            lock::may_remove(&facts, now_ms(), false)?;
            facts.bucket_key = bucket_key;
            let request = OpenRequest {
                bucket: (&bucket).into(),
                key,
                version: which,
                customer: None,
                instance: Some(stat.instance),
                principal: &principal.name,
            };
            let protection = Protection::Kms {
                root,
                context: Vec::new(),
            };
            let change = FactsChange {
                expected: &stat.facts,
                facts: &facts.encode(),
            };
            match vault.rewrap_object(&request, &protection, Some(change)) {
                Ok(_) => return Ok(()),
                // Another object, or other facts: perhaps a lock is among them.
                Err(VaultError::PreconditionFailed) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Err(conflict())
    })
    .await??;
    Ok(S3Response::new(UpdateObjectEncryptionOutput::default()))
}

//! Default encryption of a bucket, and whether it takes customer keys.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use crate::config::Compat;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::encryption::{Algorithm, BucketEncryption, DefaultEncryption};
use crate::s3::errors::{custom, invalid_argument, malformed_xml};

pub(in crate::s3) async fn put_bucket_encryption(
    state: &Arc<AppState>,
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let put = Put::read(input.server_side_encryption_configuration)?;
    state
        .documents
        .update(&bucket, move |present| Ok(Some(put.over(present))))
        .await?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}

pub(in crate::s3) async fn get_bucket_encryption(
    state: &Arc<AppState>,
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let at = access::at(&request)?;
    let set = state.documents.of::<BucketEncryption>(&at).await?;
    let set = set.as_deref();
    let default = set.and_then(|set| set.default.clone());
    // Without a default: what the service gives every bucket, unless nothing is the default here.
    let unset = state.settings.compat == Compat::Ceph || state.documents.plaintext(&at).await?;
    let default = match default {
        Some(default) => default,
        None if unset => return Err(not_found()),
        None => DefaultEncryption {
            algorithm: Algorithm::Aes256,
            key: None,
            bucket_key: false,
        },
    };
    let blocked = set.and_then(|set| set.customer_keys_blocked);
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(as_configuration(default, blocked)),
    }))
}

/// Takes the default away. Whether customer keys are blocked is another setting and stays.
pub(in crate::s3) async fn delete_bucket_encryption(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    let bucket = access::bucket(&request)?;
    state
        .documents
        .update::<BucketEncryption>(&bucket, |present| {
            Ok(present
                .and_then(|present| present.customer_keys_blocked)
                .map(|blocked| BucketEncryption {
                    default: None,
                    customer_keys_blocked: Some(blocked),
                }))
        })
        .await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
}

/// What a PutBucketEncryption says; what it does not say stays as it is.
#[derive(Debug, PartialEq, Eq)]
struct Put {
    default: Option<DefaultEncryption>,
    customer_keys_blocked: Option<bool>,
}

impl Put {
    fn read(configuration: ServerSideEncryptionConfiguration) -> S3Result<Self> {
        let [rule] = <[ServerSideEncryptionRule; 1]>::try_from(configuration.rules)
            .map_err(|_| malformed_xml())?;
        let customer_keys_blocked = match rule.blocked_encryption_types {
            None => None,
            Some(blocked) => Some(blocks_customer_keys(
                &blocked.encryption_type.unwrap_or_default(),
            )?),
        };
        let default = match rule.apply_server_side_encryption_by_default {
            Some(asked) => Some(DefaultEncryption {
                algorithm: algorithm(&asked)?,
                key: asked.kms_master_key_id.filter(|key| !key.is_empty()),
                bucket_key: rule.bucket_key_enabled.unwrap_or_default(),
            }),
            None => rule.bucket_key_enabled.map(|bucket_key| DefaultEncryption {
                algorithm: Algorithm::Aes256,
                key: None,
                bucket_key,
            }),
        };
        if default.is_none() && customer_keys_blocked.is_none() {
            return Err(malformed_xml());
        }
        Ok(Self {
            default,
            customer_keys_blocked,
        })
    }

    fn over(&self, present: Option<&BucketEncryption>) -> BucketEncryption {
        let present = present.cloned().unwrap_or_default();
        BucketEncryption {
            default: self.default.clone().or(present.default),
            customer_keys_blocked: self.customer_keys_blocked.or(present.customer_keys_blocked),
        }
    }
}

fn algorithm(asked: &ServerSideEncryptionByDefault) -> S3Result<Algorithm> {
    let has_key = asked.kms_master_key_id.is_some();
    match asked.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if has_key => Err(invalid_argument(
            "ApplyServerSideEncryptionByDefault",
            asked.kms_master_key_id.as_deref().unwrap_or_default(),
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        )),
        ServerSideEncryption::AES256 => Ok(Algorithm::Aes256),
        // The key is looked for when an object is written, as the service does.
        ServerSideEncryption::AWS_KMS => Ok(Algorithm::Kms),
        ServerSideEncryption::AWS_KMS_DSSE => Err(super::kms::no_dsse()),
        _ => Err(malformed_xml()),
    }
}

fn blocks_customer_keys(types: &[EncryptionType]) -> S3Result<bool> {
    match types.iter().map(EncryptionType::as_str).collect::<Vec<_>>()[..] {
        [EncryptionType::NONE] => Ok(false),
        [EncryptionType::SSE_C] => Ok(true),
        _ => Err(malformed_xml()),
    }
}

fn as_configuration(
    default: DefaultEncryption,
    blocked: Option<bool>,
) -> ServerSideEncryptionConfiguration {
    let algorithm = match default.algorithm {
        Algorithm::Aes256 => ServerSideEncryption::AES256,
        Algorithm::Kms => ServerSideEncryption::AWS_KMS,
    };
    let blocked = blocked.map(|blocked| BlockedEncryptionTypes {
        encryption_type: Some(vec![EncryptionType::from_static(if blocked {
            EncryptionType::SSE_C
        } else {
            EncryptionType::NONE
        })]),
    });
    ServerSideEncryptionConfiguration {
        rules: vec![ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: default.key,
                sse_algorithm: ServerSideEncryption::from_static(algorithm),
            }),
            blocked_encryption_types: blocked,
            bucket_key_enabled: Some(default.bucket_key),
        }],
    }
}

fn not_found() -> S3Error {
    custom(
        http::StatusCode::NOT_FOUND,
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(blocked: Option<bool>) -> Put {
        Put {
            default: None,
            customer_keys_blocked: blocked,
        }
    }

    #[test]
    fn what_a_put_does_not_say_stays() {
        let kms = DefaultEncryption {
            algorithm: Algorithm::Kms,
            key: Some("k".into()),
            bucket_key: true,
        };
        let first = Put {
            default: Some(kms.clone()),
            customer_keys_blocked: None,
        }
        .over(None);
        let second = put(Some(true)).over(Some(&first));
        assert_eq!(second.default, Some(kms));
        assert_eq!(second.customer_keys_blocked, Some(true));
        let third = Put {
            default: second.default.clone(),
            customer_keys_blocked: None,
        }
        .over(Some(&second));
        assert_eq!(third.customer_keys_blocked, Some(true));
    }

    #[test]
    fn only_one_type_can_be_blocked() {
        let types = |names: &[&'static str]| {
            let types: Vec<_> = names
                .iter()
                .map(|name| EncryptionType::from_static(name))
                .collect();
            blocks_customer_keys(&types).ok()
        };
        assert_eq!(types(&["SSE-C"]), Some(true));
        assert_eq!(types(&["NONE"]), Some(false));
        for wrong in [&[][..], &["SSE-KMS"], &["NONE", "SSE-C"]] {
            assert_eq!(types(wrong), None);
        }
    }
}

//! Who signed the policy of a form. What is signed is the text of the field `policy`.

use std::sync::Arc;

use s3s::auth::S3Auth;
use s3s::{S3Error, S3ErrorCode, S3Result};
use s3s_sigv4::{AmzDate, CredentialV4};
use subtle::ConstantTimeEq;

use super::form::{Fields, missing};
use crate::config::Compat;
use crate::s3::AppState;
use crate::s3::errors::{error, invalid_argument};
use crate::s3::wire::signing::{self, V2, V4};
use crate::users::Auth;

/// Whose signature is good, and of which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::s3) struct Signer {
    /// The access key.
    pub(in crate::s3) access_key: String,
    /// As the condition key `s3:signatureversion` names it.
    pub(in crate::s3) version: &'static str,
}

/// Checks the signature of a form; `None` for a form that has neither signature nor policy.
///
/// Version 2 is HMAC-SHA1 under the secret key itself, bound to no day, region or service. Only a
/// server that stands in for Ceph's gateway takes it, whose clients still sign so.
///
/// # Errors
/// `InvalidArgument` for a form that lacks a part of its signature, `InvalidRequest` for one of
/// version 2, `InvalidAccessKeyId`, `SignatureDoesNotMatch`.
pub(super) async fn signer(state: &Arc<AppState>, fields: &Fields) -> S3Result<Option<Signer>> {
    let any = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    let version_4 = any(&["x-amz-signature", "x-amz-credential", "x-amz-algorithm"]);
    let version_2 = any(&["signature", "awsaccesskeyid"]);
    let Some(policy) = fields.get("policy") else {
        return if version_4 || version_2 {
            Err(missing("policy"))
        } else {
            Ok(None)
        };
    };
    if version_4 {
        return by_version_4(state, fields, policy).await.map(Some);
    }
    if !version_2 {
        return Err(missing("X-Amz-Signature"));
    }
    match state.settings.compat {
        Compat::Ceph => by_version_2(state, fields, policy).await.map(Some),
        Compat::Aws => Err(signing::unsupported_version()),
    }
}

async fn by_version_4(state: &AppState, fields: &Fields, policy: &str) -> S3Result<Signer> {
    let field = |name| fields.required(name);
    let algorithm = field("X-Amz-Algorithm")?;
    if algorithm != V4 {
        return Err(unreadable("X-Amz-Algorithm", algorithm));
    }
    let text = field("X-Amz-Credential")?;
    let credential = CredentialV4::parse(text)
        .ok()
        .filter(|credential| credential.aws_service == "s3")
        .ok_or_else(|| unreadable("X-Amz-Credential", text))?;
    let text = field("X-Amz-Date")?;
    let date = AmzDate::parse(text).map_err(|_| unreadable("X-Amz-Date", text))?;
    if credential.date != date.fmt_date().as_str() {
        return Err(unreadable("X-Amz-Date", text));
    }
    let given = field("X-Amz-Signature")?;
    let secret = secret_of(state, credential.access_key_id).await?;
    let (region, service) = (credential.aws_region, credential.aws_service);
    let computed = s3s_sigv4::calculate_signature(policy, secret.expose(), &date, region, service);
    compare(given, &computed)?;
    Ok(Signer {
        access_key: credential.access_key_id.to_owned(),
        version: V4,
    })
}

async fn by_version_2(state: &AppState, fields: &Fields, policy: &str) -> S3Result<Signer> {
    let field = |name| fields.required(name);
    let access_key = field("AWSAccessKeyId")?;
    let given = field("Signature")?;
    let secret = secret_of(state, access_key).await?;
    compare(
        given,
        &s3s_sigv2::calculate_signature(secret.expose(), policy),
    )?;
    Ok(Signer {
        access_key: access_key.to_owned(),
        version: V2,
    })
}

async fn secret_of(state: &AppState, access_key: &str) -> S3Result<s3s::auth::SecretKey> {
    Auth(Arc::clone(&state.users))
        .get_secret_key(access_key)
        .await
}

fn compare(given: &str, computed: &str) -> S3Result<()> {
    if bool::from(given.as_bytes().ct_eq(computed.as_bytes())) {
        Ok(())
    } else {
        Err(error(
            S3ErrorCode::SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        ))
    }
}

fn unreadable(field: &str, value: &str) -> S3Error {
    invalid_argument(
        field,
        value,
        format!("The field '{field}' is not what Signature Version 4 has there."),
    )
}

//! Who is asking, and whether the bucket is theirs.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::Owner;
use s3s::{S3ErrorCode, S3Request, S3Result};
use strongroom::store::Bucket;

use super::AppState;
use super::body::blocking;
use super::errors::{error, from_vault};
use crate::service::Facts;

/// A user who signed a request.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// The user's name: the owner of their buckets.
    pub(super) name: Arc<str>,
}

impl Principal {
    /// As replies name an owner.
    pub(super) fn owner(&self) -> Owner {
        Owner {
            display_name: Some(self.name.to_string()),
            id: Some(self.name.to_string()),
        }
    }
}

/// Lets in signed requests only; what they may touch, each operation asks of the bucket.
pub(super) struct Access {
    pub(super) state: Arc<AppState>,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let facts = cx.extensions_mut().get::<Arc<Facts>>().cloned();
        let name = cx
            .credentials()
            .and_then(|by| self.state.users.name(&by.access_key));
        if let Some(facts) = facts {
            facts.set_operation(cx.s3_op().name());
            if let Some(name) = &name {
                facts.set_principal(Arc::clone(name));
            }
        }
        cx.extensions_mut().insert(Principal {
            name: name.ok_or_else(denied)?,
        });
        Ok(())
    }
}

/// The principal of a request.
pub(super) fn principal<T>(request: &S3Request<T>) -> S3Result<Principal> {
    request
        .extensions
        .get::<Principal>()
        .cloned()
        .ok_or_else(denied)
}

/// The bucket, if it exists and belongs to who is asking.
pub(super) async fn bucket(
    state: &Arc<AppState>,
    principal: &Principal,
    name: &str,
    expected_owner: Option<&str>,
) -> S3Result<Bucket> {
    let vault = Arc::clone(&state.vault);
    let wanted = name.to_owned();
    let bucket = blocking(move || vault.bucket(&wanted))
        .await?
        .map_err(|cause| from_vault(cause, name))?;
    if *bucket.owner != *principal.name || expected_owner.is_some_and(|owner| owner != bucket.owner)
    {
        return Err(denied());
    }
    Ok(bucket)
}

pub(super) fn denied() -> s3s::S3Error {
    error(S3ErrorCode::AccessDenied, "Access Denied")
}

//! The S3 operations.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Result, s3_error};

use crate::config;
use crate::metrics::Metrics;
use crate::service::Facts;
use crate::users::{Auth, Users};

/// What every operation works on.
pub(crate) struct AppState {
    pub(crate) vault: Arc<strongroom::vault::Vault>,
    pub(crate) users: Arc<Users>,
    pub(crate) settings: config::S3,
    pub(crate) metrics: Metrics,
}

/// The S3 service over a vault. Authentication is always set: without it the protocol layer
/// would let everybody in.
pub(crate) fn service(state: Arc<AppState>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Operations {
        state: Arc::clone(&state),
    });
    builder.set_auth(Auth(Arc::clone(&state.users)));
    builder.set_access(Access { state });
    builder.build()
}

struct Operations {
    state: Arc<AppState>,
}

impl S3 for Operations {}

struct Access {
    state: Arc<AppState>,
}

#[async_trait::async_trait]
impl S3Access for Access {
    /// Every request is signed by a user of the users file.
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let facts = cx.extensions_mut().get::<Arc<Facts>>().cloned();
        let user = cx
            .credentials()
            .and_then(|by| self.state.users.name(&by.access_key));
        if let Some(facts) = facts {
            facts.set_operation(cx.s3_op().name());
            if let Some(user) = &user {
                facts.set_principal(Arc::clone(user));
            }
        }
        match user {
            Some(_) => Ok(()),
            None => Err(s3_error!(AccessDenied, "Access Denied")),
        }
    }
}

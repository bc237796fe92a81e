//! What a copy needs beyond the right to write: its source must be readable, and tags that come
//! along must be allowed at both ends.

use std::sync::Arc;

use http::Extensions;
use s3s::dto::CopySource;
use s3s::{S3ErrorCode, S3Result};

use super::asks::{Asks, SOURCE_OWNER, Said};
use super::{Access, Principal, Target, denied};
use crate::policy::Action;
use crate::s3::AppState;
use crate::s3::errors::{error, invalid_argument};
use crate::s3::facts::tags::Tags;
use crate::service::Facts;

/// Whether the operation reads another object: the header alone says nothing.
pub(super) fn copies(asks: &Asks) -> bool {
    matches!(asks.operation.as_str(), "CopyObject" | "UploadPartCopy")
}

impl Access {
    /// The source of a copy must be readable.
    pub(super) async fn require_source(
        &self,
        principal: &mut Principal,
        asks: &Asks,
        log: Option<&Arc<Facts>>,
    ) -> S3Result<()> {
        let source = source(asks)?;
        let ground = match &principal.ground {
            Some(ground) if ground.at.bucket.name == source.bucket => Arc::clone(ground),
            _ => self.ground(&source.bucket, &principal.users).await?,
        };
        ground.must_be_owned_by(asks.expected_owner(SOURCE_OWNER))?;
        principal.source = Some(Arc::clone(&ground));
        let action = match source.version {
            Some(_) => Action::GetObjectVersion,
            None => Action::GetObject,
        };
        let target = source.target(&ground);
        self.require(principal, asks, &target, &[action], log).await
    }
}

/// The tags that a copy takes along from its source must be readable there, and may be given to
/// the new object.
///
/// # Errors
/// `AccessDenied`.
pub(in crate::s3) async fn require_carried_tags(
    state: &Arc<AppState>,
    request: &Extensions,
    key: &str,
    tags: &Tags,
) -> S3Result<()> {
    let access = Access {
        state: Arc::clone(state),
    };
    let mut principal = request.get::<Principal>().cloned().ok_or_else(denied)?;
    let asks = request.get::<Arc<Asks>>().ok_or_else(denied)?;
    let log = request.get::<Arc<Facts>>();
    let source = source(asks)?;
    let ground = principal.source.clone().ok_or_else(denied)?;
    let action = match source.version {
        Some(_) => Action::GetObjectVersionTagging,
        None => Action::GetObjectTagging,
    };
    let target = source.target(&ground);
    access
        .require(&mut principal, asks, &target, &[action], log)
        .await?;

    let mut asks = Asks::clone(asks);
    asks.body = Said {
        tags: Some(tags.0.clone()),
        ..Said::default()
    };
    let ground = Arc::clone(principal.ground()?);
    let target = Target {
        ground: &ground,
        key: Some(key),
        version: None,
        source: false,
    };
    access
        .require(
            &mut principal,
            &asks,
            &target,
            &[Action::PutObjectTagging],
            log,
        )
        .await
}

/// The object that a copy reads.
struct Source {
    bucket: String,
    key: String,
    version: Option<String>,
}

impl Source {
    fn target<'a>(&'a self, ground: &'a Arc<super::Ground>) -> Target<'a> {
        Target {
            ground,
            key: Some(&self.key),
            version: self.version.as_deref(),
            source: true,
        }
    }
}

fn source(asks: &Asks) -> S3Result<Source> {
    let header = asks.header("x-amz-copy-source").unwrap_or_default();
    match CopySource::parse(header) {
        Ok(CopySource::Bucket {
            bucket,
            key,
            version_id,
        }) => Ok(Source {
            bucket: bucket.into(),
            key: key.into(),
            version: version_id.map(Into::into),
        }),
        Ok(_) => Err(error(
            S3ErrorCode::NotImplemented,
            "Access points are not implemented",
        )),
        Err(_) => Err(invalid_argument(
            "x-amz-copy-source",
            header,
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        )),
    }
}

//! The two moments at which the protocol crate asks: before the body is read, and after.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CreateBucketInput, DeleteObjectsInput, PutObjectLegalHoldInput, PutObjectRetentionInput,
    PutObjectTaggingInput, TimestampFormat,
};
use s3s::{S3Request, S3Result};

use super::asks::{Asks, Said};
use super::decide::{Outcome, Seen};
use super::operations::{deleted, made};
use super::{Access, Principal, Target, denied, told};
use crate::policy::Action;
use crate::s3::facts::version;
use crate::service::Facts;

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        self.admit(cx).await
    }

    async fn create_bucket(&self, request: &mut S3Request<CreateBucketInput>) -> S3Result<()> {
        let mut open = Open::of(request)?;
        let configuration = request.input.create_bucket_configuration.as_ref();
        open.asks.body.location = configuration
            .and_then(|configuration| configuration.location_constraint.as_ref())
            .map(|place| place.as_str().to_owned());
        let actions = made(&open.asks);
        let bucket = Some(request.input.bucket.as_str());
        self.require_of_user(
            &open.principal,
            &open.asks,
            &actions,
            bucket,
            open.log.as_ref(),
        )?;
        open.admit(request);
        Ok(())
    }

    /// Key by key: those that may not be deleted get an answer of their own.
    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let mut open = Open::of(request)?;
        let ground = Arc::clone(open.principal.ground()?);
        let mut refused = Vec::with_capacity(request.input.delete.objects.len());
        for object in &request.input.delete.objects {
            let target = Target {
                ground: &ground,
                key: Some(&object.key),
                version: object.version_id.as_deref(),
                source: false,
            };
            if version::which(target.version).is_err() {
                // There is nothing of that name to be refused: the delete says so of this key.
                refused.push(false);
                continue;
            }
            let mut seen = Seen::NotYet;
            let mut allowed = true;
            for action in deleted(&open.asks, object.version_id.is_some()) {
                let (outcome, _) = self
                    .outcome(&open.principal, &open.asks, &target, action, &mut seen)
                    .await?;
                match outcome {
                    Outcome::Allowed(_)
                    | Outcome::AllowedByBucketAcl
                    | Outcome::AllowedByObject(_) => {}
                    Outcome::Denied(why) => {
                        told(open.log.as_ref(), true, action.name(), &why);
                        allowed = false;
                    }
                    Outcome::ObjectWanted => allowed = false,
                }
            }
            refused.push(!allowed);
        }
        open.principal.decision.refused = refused.into();
        let target = Target {
            ground: &ground,
            key: None,
            version: None,
            source: false,
        };
        let may_list = self.may_list(&open.principal, &open.asks, &target).await?;
        open.principal.decision.conceal = !may_list;
        open.admit(request);
        Ok(())
    }

    async fn put_object_tagging(
        &self,
        request: &mut S3Request<PutObjectTaggingInput>,
    ) -> S3Result<()> {
        let mut open = Open::of(request)?;
        let tags = request.input.tagging.tag_set.iter().map(|tag| {
            (
                tag.key.clone().unwrap_or_default(),
                tag.value.clone().unwrap_or_default(),
            )
        });
        open.asks.body = Said {
            tags: Some(tags.collect()),
            ..Said::default()
        };
        let (key, version) = (request.input.key.clone(), request.input.version_id.clone());
        let action = match version {
            Some(_) => Action::PutObjectVersionTagging,
            None => Action::PutObjectTagging,
        };
        self.require_on_object(&mut open, &key, version.as_deref(), &[action])
            .await?;
        open.admit(request);
        Ok(())
    }

    async fn put_object_retention(
        &self,
        request: &mut S3Request<PutObjectRetentionInput>,
    ) -> S3Result<()> {
        let mut open = Open::of(request)?;
        let retention = request.input.retention.as_ref();
        let until = retention.and_then(|retention| retention.retain_until_date.as_ref());
        open.asks.body = Said {
            lock_mode: retention
                .and_then(|retention| retention.mode.as_ref())
                .map(|mode| mode.as_str().to_owned()),
            retain_until: until.and_then(|until| {
                let mut text = Vec::new();
                until.format(TimestampFormat::DateTime, &mut text).ok()?;
                String::from_utf8(text).ok()
            }),
            ..Said::default()
        };
        let (key, version) = (request.input.key.clone(), request.input.version_id.clone());
        let mut actions = vec![Action::PutObjectRetention];
        if open.asks.bypasses_governance() {
            actions.push(Action::BypassGovernanceRetention);
        }
        self.require_on_object(&mut open, &key, version.as_deref(), &actions)
            .await?;
        open.admit(request);
        Ok(())
    }

    async fn put_object_legal_hold(
        &self,
        request: &mut S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<()> {
        let mut open = Open::of(request)?;
        let hold = request.input.legal_hold.as_ref();
        open.asks.body = Said {
            legal_hold: hold
                .and_then(|hold| hold.status.as_ref())
                .map(|status| status.as_str().to_owned()),
            ..Said::default()
        };
        let (key, version) = (request.input.key.clone(), request.input.version_id.clone());
        self.require_on_object(
            &mut open,
            &key,
            version.as_deref(),
            &[Action::PutObjectLegalHold],
        )
        .await?;
        open.admit(request);
        Ok(())
    }
}

impl Access {
    async fn require_on_object(
        &self,
        open: &mut Open,
        key: &str,
        version: Option<&str>,
        actions: &[Action],
    ) -> S3Result<()> {
        let ground = Arc::clone(open.principal.ground()?);
        let target = Target {
            ground: &ground,
            key: Some(key),
            version,
            source: false,
        };
        let Open {
            principal,
            asks,
            log,
        } = open;
        self.require(principal, asks, &target, actions, log.as_ref())
            .await
    }
}

/// A request that passed the first check and is not let in yet.
struct Open {
    principal: Principal,
    asks: Asks,
    log: Option<Arc<Facts>>,
}

impl Open {
    fn of<T>(request: &S3Request<T>) -> S3Result<Open> {
        let extensions = &request.extensions;
        let asks = extensions.get::<Arc<Asks>>().ok_or_else(denied)?;
        Ok(Open {
            principal: extensions.get::<Principal>().cloned().ok_or_else(denied)?,
            asks: Asks::clone(asks),
            log: extensions.get::<Arc<Facts>>().cloned(),
        })
    }

    fn admit<T>(mut self, request: &mut S3Request<T>) {
        self.principal.decision.made = true;
        self.principal.asks = Some(Arc::new(self.asks));
        request.extensions.insert(self.principal);
    }
}

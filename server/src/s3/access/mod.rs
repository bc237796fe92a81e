//! Who may do what: the one place where every operation is authorized.
//!
//! [`Access`] is called twice for each request: before its body is read, with what method, path
//! and headers say, and for operations whose body decides, once more with that. An operation gets
//! a [`Principal`] only if it was let in, and works on the bucket that was decided on.

pub(super) mod acl;
mod asks;
mod context;
mod copies;
mod decide;
mod hooks;
mod operations;
mod principal;
pub(super) mod rules;
pub(super) mod sharing;

use std::cell::Cell;
use std::sync::Arc;

use s3s::access::S3AccessContext;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};
use strongroom::store::Bucket;
use strongroom::vault::VaultError;

use self::asks::{Asks, BUCKET_OWNER, Signature};
use self::context::RequestContext;
pub(super) use self::copies::require_carried_tags;
pub(super) use self::decide::Ground;
use self::decide::{Outcome, Seen, decide};
use self::operations::Needs;
use self::principal::ByObject;
pub(super) use self::principal::Principal;
use self::rules::Rules;
use super::AppState;
use super::body::blocking;
use super::buckets::documents::At;
use super::errors::{error, from_vault};
use super::facts::Facts as ObjectFacts;
use super::facts::version;
use super::post::FromForm;
use crate::config::Compat;
use crate::listener::ConnInfo;
use crate::policy::{Action, Level, Request, Resource};
use crate::service::Facts;
use crate::users::{ANONYMOUS, Users};

/// Decides on every request.
pub(super) struct Access {
    pub(super) state: Arc<AppState>,
}

/// What a request names: a bucket, and perhaps an object in it.
struct Target<'a> {
    ground: &'a Arc<Ground>,
    key: Option<&'a str>,
    version: Option<&'a str>,
    /// It is the source of a copy.
    source: bool,
}

impl Access {
    /// The first check.
    async fn admit(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let log = cx.extensions_mut().get::<Arc<Facts>>().cloned();
        if let Some(log) = &log {
            log.set_operation(cx.s3_op().name());
        }
        let form = cx.extensions_mut().get::<FromForm>().cloned();
        if form.is_none() && cx.s3_op().name() == "PostObject" {
            // Read by the protocol crate, which does not hold all of it against the policy.
            return Err(denied());
        }
        let signer = form.as_ref().and_then(|form| form.signer.as_ref());
        let access_key = match form {
            Some(_) => signer.map(|signer| signer.access_key.as_str()),
            None => cx.credentials().map(|by| by.access_key.as_str()),
        };
        let users = self.state.users.now();
        let user = match access_key {
            Some(access_key) => {
                let user = users.by_access_key(access_key).cloned();
                // Gone since the signature was checked.
                Some(user.ok_or_else(denied)?)
            }
            None => None,
        };
        let mut principal = Principal::new(users, user);
        if let Some(log) = &log {
            log.set_principal(Arc::clone(&principal.name));
        }
        let connection = cx.extensions_mut().get::<ConnInfo>().copied();
        let mut asks = Asks::new(
            match form {
                Some(_) => "PostObject",
                None => cx.s3_op().name(),
            },
            cx.headers(),
            cx.uri(),
            connection,
            &self.state.settings.region,
        );
        asks.writers_tag = self.state.settings.compat == Compat::Ceph;
        if let Some(signer) = signer {
            asks.signature = Some(Signature::of_form(signer.version));
        }
        if principal.user.is_none() && asks.header("x-amz-content-sha256").is_some_and(is_framed) {
            // Frames of another kind than unsigned bodies have: nobody would take them off.
            return Err(error(
                S3ErrorCode::NotImplemented,
                "A body in signed chunks is taken from signed requests only",
            ));
        }
        if principal.user.is_none() && asks.overrides_reply() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let needs = operations::needs(&asks)?;
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(&**bucket), None),
            S3Path::Object { bucket, key } => (Some(&**bucket), Some(&**key)),
        };
        if let Some(bucket) = bucket
            && asks.operation != "CreateBucket"
        {
            let ground = self.ground(bucket, &principal.users).await?;
            ground.must_be_owned_by(asks.expected_owner(BUCKET_OWNER))?;
            principal.ground = Some(ground);
        }
        if let Needs::Actions(mut actions) = needs {
            if self.state.settings.compat == Compat::Ceph {
                operations::as_ceph(&mut actions);
            }
            match &principal.ground {
                Some(ground) => {
                    let ground = Arc::clone(ground);
                    let target = Target {
                        ground: &ground,
                        key,
                        version: asks.version(),
                        source: false,
                    };
                    self.require(&mut principal, &asks, &target, &actions, log.as_ref())
                        .await?;
                }
                // To who does not sign, ceph shows the buckets that nobody has.
                None if principal.user.is_none()
                    && asks.operation == "ListBuckets"
                    && self.state.settings.compat == Compat::Ceph => {}
                None => self.require_of_user(&principal, &asks, &actions, None, log.as_ref())?,
            }
            if copies::copies(&asks) {
                self.require_source(&mut principal, &asks, log.as_ref())
                    .await?;
            }
            principal.decision.made = true;
        }
        let asks = Arc::new(asks);
        principal.asks = Some(Arc::clone(&asks));
        let extensions = cx.extensions_mut();
        extensions.insert(principal);
        extensions.insert(asks);
        Ok(())
    }

    /// A bucket and its rules, as they are now.
    async fn ground(&self, name: &str, users: &Users) -> S3Result<Arc<Ground>> {
        let state = Arc::clone(&self.state);
        let wanted = name.to_owned();
        let (at, rules) = blocking(move || {
            let at = state.documents.bucket(&wanted)?;
            let rules = state.documents.read_of::<Rules>(&at)?;
            Ok::<_, S3Error>((at, rules))
        })
        .await??;
        Ok(Arc::new(Ground {
            owner: users.account(&at.bucket.owner),
            at,
            rules,
        }))
    }

    /// All actions must be allowed; remembers what they rest on.
    async fn require(
        &self,
        principal: &mut Principal,
        asks: &Asks,
        target: &Target<'_>,
        actions: &[Action],
        log: Option<&Arc<Facts>>,
    ) -> S3Result<()> {
        let mut seen = Seen::NotYet;
        for action in actions {
            let (outcome, looked) = self
                .outcome(principal, asks, target, *action, &mut seen)
                .await?;
            let name = action.name();
            let by_object = looked || matches!(outcome, Outcome::AllowedByObject(_));
            match outcome {
                Outcome::Allowed(why) | Outcome::AllowedByObject(why) => {
                    told(log, false, name, &why);
                }
                Outcome::AllowedByBucketAcl => told(log, false, name, "bucket ACL"),
                Outcome::Denied(why) => {
                    told(log, true, name, &why);
                    return Err(denied());
                }
                Outcome::ObjectWanted => return Err(denied()),
            }
            if by_object {
                let rests = ByObject {
                    action: *action,
                    key: target.key.map(str::to_owned),
                    version: target.version.map(str::to_owned),
                };
                let decision = &mut principal.decision;
                if target.source {
                    decision.by_source.push(rests);
                } else {
                    decision.by_object.push(rests);
                }
            }
        }
        // In a copy, the key that may not be there is the source's.
        if target.source == copies::copies(asks)
            && actions.iter().any(|action| action.level() == Level::Object)
        {
            principal.decision.conceal |= !self.may_list(principal, asks, target).await?;
        }
        Ok(())
    }

    /// Whether who asks may know that a key is not there: who may list the bucket may.
    async fn may_list(
        &self,
        principal: &Principal,
        asks: &Asks,
        target: &Target<'_>,
    ) -> S3Result<bool> {
        let mut seen = Seen::Missing;
        let (outcome, _) = self
            .outcome(principal, asks, target, Action::ListBucket, &mut seen)
            .await?;
        Ok(matches!(
            outcome,
            Outcome::Allowed(_) | Outcome::AllowedByBucketAcl
        ))
    }

    /// Decides one action, looking at the object if that is needed; and whether a condition asked
    /// for what is known of it.
    async fn outcome(
        &self,
        principal: &Principal,
        asks: &Asks,
        target: &Target<'_>,
        action: Action,
        seen: &mut Seen,
    ) -> S3Result<(Outcome, bool)> {
        let ask = |seen: &Seen| {
            let context = RequestContext {
                asks,
                principal,
                owner: &target.ground.owner,
                seen,
                version: target.version,
                source: target.source,
                looked: Cell::new(false),
            };
            let outcome = decide(&context, target.ground, action, target.key);
            (outcome, context.looked.get())
        };
        let first = ask(seen);
        if first.0 != Outcome::ObjectWanted {
            return Ok(first);
        }
        *seen = match target.key {
            Some(key) => self.look(target.ground, key, target.version).await?,
            None => Seen::Missing,
        };
        Ok(ask(seen))
    }

    /// The facts of an object.
    async fn look(&self, ground: &Ground, key: &str, version: Option<&str>) -> S3Result<Seen> {
        let vault = Arc::clone(&self.state.vault);
        let (bucket, key) = (Arc::clone(&ground.at.bucket), key.to_owned());
        let which = version::which(version)?;
        blocking(move || match vault.stat(&bucket, key.as_bytes(), which) {
            Ok(stat) => Ok(Seen::There(ObjectFacts::read(&stat.facts)?)),
            Err(
                VaultError::NoSuchKey { .. }
                | VaultError::NoSuchVersion { .. }
                | VaultError::DeleteMarker { .. },
            ) => Ok(Seen::Missing),
            Err(cause) => Err(from_vault(cause, &format!("{}/{key}", bucket.name))),
        })
        .await?
    }

    /// Actions that are on no bucket there is: only the user's own side decides.
    fn require_of_user(
        &self,
        principal: &Principal,
        asks: &Asks,
        actions: &[Action],
        bucket: Option<&str>,
        log: Option<&Arc<Facts>>,
    ) -> S3Result<()> {
        let account = principal
            .users
            .account(principal.account_name().unwrap_or(ANONYMOUS));
        let context = RequestContext {
            asks,
            principal,
            owner: &account,
            seen: &Seen::Missing,
            version: None,
            source: false,
            looked: Cell::new(false),
        };
        for action in actions {
            let request = Request {
                caller: principal.caller(),
                action: *action,
                resource: match bucket {
                    Some(bucket) => Resource::Bucket {
                        bucket,
                        owner: [&account.name, &account.id],
                    },
                    None => Resource::Service,
                },
                context: &context,
            };
            match decide::consent(principal, &request) {
                Ok(true) => told(log, false, action.name(), "user"),
                Ok(false) => {
                    told(log, true, action.name(), "nothing allows it");
                    return Err(denied());
                }
                Err(outcome) => {
                    if let Outcome::Denied(why) = outcome {
                        told(log, true, action.name(), &why);
                    }
                    return Err(denied());
                }
            }
        }
        Ok(())
    }
}

/// The principal of a request; an error for one that nobody let in.
pub(super) fn principal<T>(request: &S3Request<T>) -> S3Result<Principal> {
    let principal = request.extensions.get::<Principal>();
    principal
        .filter(|principal| principal.decision.made)
        .cloned()
        .ok_or_else(denied)
}

/// The bucket of a request that was let in.
pub(super) fn bucket<T>(request: &S3Request<T>) -> S3Result<Arc<Bucket>> {
    principal(request)?.bucket()
}

/// The same, for what else is asked about it.
pub(super) fn at<T>(request: &S3Request<T>) -> S3Result<At> {
    principal(request)?.at()
}

pub(super) fn denied() -> S3Error {
    error(S3ErrorCode::AccessDenied, "Access Denied")
}

/// Whether a body of this digest travels as `aws-chunked`.
fn is_framed(digest: &str) -> bool {
    digest.starts_with("STREAMING-")
}

/// Puts a decision into the log line of the request.
fn told(log: Option<&Arc<Facts>>, denied: bool, action: &str, why: &str) {
    if let Some(log) = log {
        let how = if denied { "denied" } else { "allowed" };
        log.set_decision(denied, format!("{action} {how}: {why}"));
    }
}

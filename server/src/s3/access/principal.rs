//! Who was let in, with what, and what of that is asked again of the object that is opened.

use std::cell::Cell;
use std::sync::Arc;

use s3s::dto::{Initiator, Owner};
use s3s::{S3Error, S3ErrorCode, S3Result};
use strongroom::store::Bucket;

use super::acl::owner;
use super::asks::Asks;
use super::context::RequestContext;
use super::decide::{Ground, Outcome, Seen, decide};
use super::denied;
use crate::policy::{Action, Caller};
use crate::s3::buckets::documents::At;
use crate::s3::facts::Facts as ObjectFacts;
use crate::users::{ANONYMOUS, User, Users};

/// Who sent a request that was let in, and what was decided about it.
#[derive(Clone)]
pub(in crate::s3) struct Principal {
    /// The user's name, for logs and audit trails.
    pub(in crate::s3) name: Arc<str>,
    pub(in crate::s3) users: Arc<Users>,
    pub(super) user: Option<Arc<User>>,
    caller: Caller,
    /// The bucket of the path, and its rules.
    pub(super) ground: Option<Arc<Ground>>,
    /// The same of the source of a copy.
    pub(super) source: Option<Arc<Ground>>,
    /// What was asked, where that may be asked again.
    pub(super) asks: Option<Arc<Asks>>,
    pub(super) decision: Decision,
}

/// What a request was let in with.
#[derive(Clone, Default)]
pub(super) struct Decision {
    /// It was let in.
    pub(super) made: bool,
    /// Who asks may not know whether a key is there: `NoSuchKey` is `AccessDenied`.
    pub(super) conceal: bool,
    /// Allowed by the object that was there when it was looked at: asked again of what is opened.
    pub(super) by_object: Vec<ByObject>,
    /// The same of the source of a copy.
    pub(super) by_source: Vec<ByObject>,
    /// Of DeleteObjects, which keys may not be deleted.
    pub(super) refused: Arc<[bool]>,
}

/// A decision that rests on what an object was when it was looked at.
#[derive(Clone)]
pub(super) struct ByObject {
    pub(super) action: Action,
    pub(super) key: Option<String>,
    pub(super) version: Option<String>,
}

impl Principal {
    pub(super) fn new(users: Arc<Users>, user: Option<Arc<User>>) -> Principal {
        let (name, caller) = match &user {
            Some(user) => (
                user.identity.name.as_str(),
                Caller::User(Arc::clone(&user.identity)),
            ),
            None => (ANONYMOUS, Caller::Anonymous),
        };
        Principal {
            name: name.into(),
            users,
            user,
            caller,
            ground: None,
            source: None,
            asks: None,
            decision: Decision::default(),
        }
    }

    /// The user as errors of keys name it.
    pub(in crate::s3) fn arn(&self) -> String {
        match &self.user {
            Some(user) => user.identity.arn(),
            None => ANONYMOUS.to_owned(),
        }
    }

    /// As replies name an owner: the account that asks.
    pub(in crate::s3) fn owner(&self) -> Owner {
        owner(&self.users.account(self.account_name().unwrap_or(ANONYMOUS)))
    }

    /// The account that asks; `None` for a request without a signature.
    pub(in crate::s3) fn account_name(&self) -> Option<&str> {
        Some(&self.user.as_ref()?.identity.account)
    }

    /// As listings name the owner of an object in the request's bucket.
    pub(in crate::s3) fn object_owner(&self, facts: &ObjectFacts) -> Option<Owner> {
        let ground = self.ground.as_ref()?;
        Some(owner(&ground.owner_of(facts, &self.users)))
    }

    /// The bucket of the request, as it was decided on.
    pub(in crate::s3) fn bucket(&self) -> S3Result<Arc<Bucket>> {
        Ok(Arc::clone(&self.ground()?.at.bucket))
    }

    /// The same, for what else is asked about it.
    pub(in crate::s3) fn at(&self) -> S3Result<At> {
        Ok(self.ground()?.at.clone())
    }

    /// The same of the source of a copy.
    pub(in crate::s3) fn source_bucket(&self) -> S3Result<Arc<Bucket>> {
        let ground = self.source.as_ref().ok_or_else(denied)?;
        Ok(Arc::clone(&ground.at.bucket))
    }

    /// As listings name the user who began an upload with these facts.
    pub(in crate::s3) fn initiator(&self, name: &str, facts: &ObjectFacts) -> Option<Initiator> {
        let account = self.users.account(name);
        if name == ANONYMOUS || self.users.by_canonical(&account.canonical).is_some() {
            return Some(Initiator {
                display_name: Some(account.display_name),
                id: Some(account.canonical),
            });
        }
        // A user of an account is named as policies name it.
        let owner = self.ground.as_ref()?.owner_of(facts, &self.users);
        Some(Initiator {
            display_name: Some(name.to_owned()),
            id: Some(format!("arn:aws:iam::{}:user/{name}", owner.id)),
        })
    }

    /// The bucket of the request, and its rules.
    pub(in crate::s3) fn ground(&self) -> S3Result<&Arc<Ground>> {
        self.ground.as_ref().ok_or_else(denied)
    }

    /// Asks again what was decided on the facts of an object, of the instance that was opened:
    /// another may have come in between.
    pub(in crate::s3) fn confirm(&self, facts: &[u8]) -> S3Result<()> {
        if self.decision.by_object.is_empty() {
            return Ok(());
        }
        self.confirm_facts(&ObjectFacts::read(facts)?)
    }

    /// The same of facts that were read already.
    pub(in crate::s3) fn confirm_facts(&self, facts: &ObjectFacts) -> S3Result<()> {
        self.confirmed(&self.decision.by_object, false, facts)
    }

    /// The same of the source of a copy.
    pub(in crate::s3) fn confirm_source(&self, facts: &[u8]) -> S3Result<()> {
        if self.decision.by_source.is_empty() {
            return Ok(());
        }
        self.confirmed(&self.decision.by_source, true, &ObjectFacts::read(facts)?)
    }

    pub(super) fn confirmed(
        &self,
        rests: &[ByObject],
        source: bool,
        facts: &ObjectFacts,
    ) -> S3Result<()> {
        if rests.is_empty() {
            return Ok(());
        }
        let ground = if source { &self.source } else { &self.ground };
        let ground = ground.as_deref().ok_or_else(denied)?;
        let asks = self.asks.as_deref().ok_or_else(denied)?;
        let seen = Seen::There(facts.clone());
        for one in rests {
            let context = RequestContext {
                asks,
                principal: self,
                owner: &ground.owner,
                seen: &seen,
                version: one.version.as_deref(),
                source,
                looked: Cell::new(false),
            };
            match decide(&context, ground, one.action, one.key.as_deref()) {
                Outcome::Allowed(_) | Outcome::AllowedByBucketAcl | Outcome::AllowedByObject(_) => {
                }
                Outcome::Denied(_) | Outcome::ObjectWanted => return Err(denied()),
            }
        }
        Ok(())
    }

    /// Whether the key at this place of a DeleteObjects may be deleted.
    pub(in crate::s3) fn may_delete(&self, index: usize) -> bool {
        self.decision.refused.get(index) == Some(&false)
    }

    /// An error as this principal may see it.
    pub(in crate::s3) fn may_see(&self, cause: S3Error) -> S3Error {
        let tells = matches!(
            cause.code(),
            S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchVersion
        );
        if tells && self.decision.conceal {
            denied()
        } else {
            cause
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) fn canonical(&self) -> Option<&str> {
        Some(&self.user.as_ref()?.identity.canonical)
    }

    pub(super) fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.admin)
    }

    /// The account that owns what is written: nobody of its own is who does not sign, and an
    /// administrator works for the bucket's owner.
    pub(in crate::s3) fn writer(&self) -> Option<&str> {
        self.account_name().filter(|_| !self.is_admin())
    }

    pub(super) fn is_root(&self) -> bool {
        self.user
            .as_ref()
            .is_some_and(|user| user.identity.is_root())
    }
}

//! The decision: policies, ownership, ACLs, in the order in which they outrank each other.
//!
//! 1. A `Deny` of the user's policy or the bucket's is final. (The bucket's owner can always get
//!    at the policy itself, or it could lock itself out.)
//! 2. An administrator may.
//! 3. An `Allow` of the bucket's policy; of a public one only for the owner's account, where the
//!    bucket restricts that.
//! 4. The owner of the bucket may, as far as it has not given up rights by an ACL, and objects
//!    are its own.
//! 5. A grant of an ACL.
//! 6. Nothing said yes: no.
//!
//! A user of another account needs a yes of its own side too: its policy's, or that it is the root
//! of its account.

use std::sync::Arc;

use super::acl::{Acl, Asker, Permission};
use super::context::RequestContext;
use super::rules::{Ownership, Rules};
use super::{Principal, denied};
use crate::policy::{Action, Level, Request, Resource, Verdict};
use crate::s3::buckets::documents::At;
use crate::s3::facts::Facts;
use crate::users::{Account, Users};
use s3s::S3Result;

/// The bucket that a decision is about.
#[derive(Debug)]
pub(in crate::s3) struct Ground {
    pub(in crate::s3) at: At,
    /// Who owns it.
    pub(in crate::s3) owner: Account,
    pub(in crate::s3) rules: Option<Arc<Rules>>,
}

/// The object that a decision is about.
#[derive(Debug)]
pub(super) enum Seen {
    /// Not looked at: most decisions do not need it.
    NotYet,
    /// There is none.
    Missing,
    /// It is there, with these facts.
    There(Facts),
}

/// An answer, and what it rests on, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed(String),
    /// Allowed by the ACL of the bucket.
    AllowedByBucketAcl,
    /// Allowed by what is known of the object, or by there being none: to be asked again of the
    /// instance that is opened.
    AllowedByObject(String),
    Denied(String),
    /// Look at the object and ask again.
    ObjectWanted,
}

impl Ground {
    /// What a request takes for the bucket's owner must be that.
    pub(super) fn must_be_owned_by(&self, expected: Option<&[u8]>) -> S3Result<()> {
        let is_called = |name| str::from_utf8(name).is_ok_and(|name| self.owner.is_called(name));
        if expected.is_none_or(is_called) {
            Ok(())
        } else {
            Err(denied())
        }
    }

    pub(in crate::s3) fn ownership(&self) -> Ownership {
        self.rules
            .as_ref()
            .map(|rules| rules.ownership())
            .unwrap_or_default()
    }

    pub(in crate::s3) fn enforced(&self) -> bool {
        self.ownership() == Ownership::BucketOwnerEnforced
    }

    /// The ACL of the bucket as it counts.
    pub(in crate::s3) fn acl(&self) -> Acl {
        let put = self.rules.as_ref().and_then(|rules| rules.acl.clone());
        put.filter(|_| !self.enforced())
            .unwrap_or_else(|| Acl::of(&self.owner))
    }

    /// Who owns an object in it.
    pub(in crate::s3) fn owner_of(&self, facts: &Facts, users: &Users) -> Account {
        match &facts.owner {
            Some(owner) if !self.enforced() => users.account(owner),
            _ => self.owner.clone(),
        }
    }

    /// The ACL of an object in it as it counts.
    pub(in crate::s3) fn acl_of(&self, facts: &Facts, users: &Users) -> Acl {
        let put = facts.acl.clone().filter(|_| !self.enforced());
        put.unwrap_or_else(|| Acl::of(&self.owner_of(facts, users)))
    }

    /// Whether what is known of an object lets somebody do what an ACL can grant. An owner can
    /// always get at the ACL.
    pub(super) fn object_allows(
        &self,
        principal: &Principal,
        facts: &Facts,
        wanted: Permission,
    ) -> bool {
        let owner = self.owner_of(facts, &principal.users);
        let is_owner = principal.account_name() == Some(owner.name.as_str());
        let own = match wanted {
            Permission::ReadAcp | Permission::WriteAcp => is_owner,
            // The bucket's owner does not give up reading what is its own.
            _ => is_owner && owner.name == self.owner.name,
        };
        own || self
            .acl_of(facts, &principal.users)
            .allows(self.asker(principal), wanted)
    }

    fn asker<'a>(&self, principal: &'a Principal) -> Asker<'a> {
        let block = self
            .rules
            .as_ref()
            .map(|rules| rules.block())
            .unwrap_or_default();
        Asker {
            canonical: principal.canonical(),
            ignore_public: block.ignore_public_acls,
        }
    }
}

/// Decides one action. `key` names the object, for actions on objects.
pub(super) fn decide(
    context: &RequestContext<'_>,
    ground: &Ground,
    action: Action,
    key: Option<&str>,
) -> Outcome {
    let principal = context.principal;
    let names = [ground.owner.name.as_str(), ground.owner.id.as_str()];
    let request = Request {
        caller: principal.caller(),
        action,
        resource: match (action.level(), key) {
            (Level::Object, Some(key)) => Resource::Object {
                bucket: &ground.at.bucket.name,
                key,
                owner: names,
            },
            _ => Resource::Bucket {
                bucket: &ground.at.bucket.name,
                owner: names,
            },
        },
        context,
    };
    let consent = match consent(principal, &request) {
        Ok(consent) => consent,
        Err(denied) => return denied,
    };
    let rules = ground.rules.as_deref();
    let policy = rules.and_then(Rules::policy);
    let verdict = policy.map_or(Verdict::None, |policy| policy.decide(&request));
    if context.looked.get() && matches!(context.seen, Seen::NotYet) {
        return Outcome::ObjectWanted;
    }
    let owns = principal.account_name() == Some(ground.owner.name.as_str());
    let at_the_policy = matches!(
        action,
        Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy
    ) && (principal.is_admin() || (owns && principal.is_root()));
    let restricted = !owns
        && rules.is_some_and(|rules| rules.block().restrict)
        && policy.is_some_and(|policy| policy.is_public());
    let allowed = match verdict {
        Verdict::Deny(statement) if !at_the_policy => {
            return Outcome::Denied(format!("bucket policy, statement {statement}"));
        }
        Verdict::Allow(statement) if !restricted => Some(statement),
        Verdict::Delegated(statement) if !restricted && consent => Some(statement),
        _ => None,
    };
    if principal.is_admin() {
        return Outcome::Allowed("administrator".to_owned());
    }
    if let Some(statement) = allowed
        && (consent || owns || principal.account_name().is_none())
    {
        return Outcome::Allowed(format!("bucket policy, statement {statement}"));
    }
    if principal.account_name().is_some() && !consent {
        return Outcome::Denied("no policy of the user allows it".to_owned());
    }
    if owns {
        by_ownership(context, ground, action)
    } else {
        by_acl(context, ground, action, key)
    }
}

/// Whether the user's own side says yes; an error where it says no.
pub(super) fn consent(principal: &Principal, request: &Request<'_>) -> Result<bool, Outcome> {
    let Some(user) = principal.user.as_deref() else {
        return Ok(false);
    };
    let said = match &user.policy {
        None => user.identity.is_root(),
        Some(policy) => match policy.decide(request) {
            Verdict::Deny(statement) => {
                return Err(Outcome::Denied(format!(
                    "user policy, statement {statement}"
                )));
            }
            Verdict::Allow(_) => true,
            Verdict::Delegated(_) | Verdict::None => false,
        },
    };
    Ok(said || user.admin)
}

fn by_ownership(context: &RequestContext<'_>, ground: &Ground, action: Action) -> Outcome {
    let owner = || Outcome::Allowed("owner".to_owned());
    let Some(rules) = ground.rules.as_deref().filter(|_| !ground.enforced()) else {
        return owner();
    };
    let (on_bucket, on_object) = granted_by(context, action);
    let given_up = match (on_bucket, &rules.acl) {
        // Uploads that nobody could end any more would stay.
        _ if matches!(
            action,
            Action::AbortMultipartUpload | Action::ListMultipartUploadParts
        ) =>
        {
            false
        }
        (Some(wanted @ (Permission::Read | Permission::Write)), Some(acl)) => {
            !acl.allows(ground.asker(context.principal), wanted)
        }
        _ => false,
    };
    if given_up {
        return Outcome::Denied("bucket ACL".to_owned());
    }
    let Some(wanted) = on_object else {
        return owner();
    };
    match context.seen {
        Seen::NotYet if rules.shared => Outcome::ObjectWanted,
        Seen::There(facts) if !ground.object_allows(context.principal, facts, wanted) => {
            Outcome::Denied("the object is another account's".to_owned())
        }
        // The first object of another account may come in before this one is opened.
        _ => Outcome::AllowedByObject("owner, or object ACL".to_owned()),
    }
}

fn by_acl(
    context: &RequestContext<'_>,
    ground: &Ground,
    action: Action,
    key: Option<&str>,
) -> Outcome {
    let principal = context.principal;
    let denied = || Outcome::Denied("nothing allows it".to_owned());
    if ground.enforced() {
        return denied();
    }
    let (on_bucket, on_object) = granted_by(context, action);
    if let Some(wanted) = on_bucket
        && ground.acl().allows(ground.asker(principal), wanted)
    {
        return Outcome::AllowedByBucketAcl;
    }
    let Some(wanted) = on_object.filter(|_| key.is_some()) else {
        return denied();
    };
    match context.seen {
        Seen::NotYet => Outcome::ObjectWanted,
        // Who may list may know that it is not there, and may not have what comes in meanwhile.
        Seen::Missing => match decide(context, ground, Action::ListBucket, None) {
            Outcome::Allowed(_) | Outcome::AllowedByBucketAcl => {
                Outcome::AllowedByObject("nothing there, and may list".to_owned())
            }
            _ => denied(),
        },
        Seen::There(facts) if ground.object_allows(principal, facts, wanted) => {
            Outcome::AllowedByObject("object ACL".to_owned())
        }
        Seen::There(_) => denied(),
    }
}

/// What the ACL of the bucket, and that of the object in question, must grant for an action.
///
/// Who may write by the bucket's ACL owns what it writes, and says who else may read it. The object
/// that stands under the key until then has no say in that.
fn granted_by(
    context: &RequestContext<'_>,
    action: Action,
) -> (Option<Permission>, Option<Permission>) {
    let asks = context.asks;
    let of_the_write = match action {
        Action::PutObjectAcl => true,
        Action::PutObjectTagging => asks.writers_tag,
        _ => false,
    };
    if of_the_write && asks.operation != action.name() {
        return (Permission::on_bucket(Action::PutObject), None);
    }
    (Permission::on_bucket(action), Permission::on_object(action))
}

#[cfg(test)]
mod tests;

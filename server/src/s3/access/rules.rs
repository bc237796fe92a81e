//! The rules of access that a bucket's owner has put: one document, so that they change together.

use std::sync::OnceLock;

use s3s::dto::PublicAccessBlockConfiguration;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::denied;
use crate::policy::Policy;
use crate::s3::buckets::documents::Document;
use crate::s3::errors::error;

/// Policy, ACL, ownership and public access block of a bucket.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Rules {
    /// The policy's JSON as it was put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) policy: Option<String>,
    /// The ACL that was put; without one the owner has everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) acl: Option<Acl>,
    /// Who owns new objects, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) ownership: Option<Ownership>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) block: Option<Block>,
    /// An object of another account was once written, so that an object may not be the bucket
    /// owner's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::s3) shared: bool,
    #[serde(skip)]
    compiled: OnceLock<Option<Policy>>,
}

/// Who owns what others write into a bucket.
///
/// A bucket that says nothing is [`ObjectWriter`](Self::ObjectWriter): ACLs work, as the clients
/// and test suites expect that use them, and those that do not use them notice no difference
/// until a second account is let in. Buckets of the service itself are enforced since 2023.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::s3) enum Ownership {
    /// The bucket's owner, and ACLs mean nothing.
    BucketOwnerEnforced,
    /// The bucket's owner if the writer grants it full control by the canned ACL.
    BucketOwnerPreferred,
    /// Who writes.
    #[default]
    ObjectWriter,
}

/// The four switches against public access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Block {
    /// Refuse to put public ACLs.
    pub(in crate::s3) public_acls: bool,
    /// Grants to groups do not count.
    pub(in crate::s3) ignore_public_acls: bool,
    /// Refuse to put a public policy.
    pub(in crate::s3) public_policy: bool,
    /// What a public policy allows is for the owner's account only.
    pub(in crate::s3) restrict: bool,
}

impl Document for Rules {
    const NAME: &'static str = "access";
}

impl Rules {
    /// The policy, compiled once for each revision of the document.
    pub(in crate::s3) fn policy(&self) -> Option<&Policy> {
        let compile = || {
            self.policy
                .as_ref()
                .map(|text| Policy::stored(text.as_bytes()))
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    pub(in crate::s3) fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or_default()
    }

    pub(in crate::s3) fn block(&self) -> Block {
        self.block.unwrap_or_default()
    }

    /// Puts a policy, unless public ones are refused.
    pub(in crate::s3) fn put_policy(&mut self, text: String, is_public: bool) -> S3Result<()> {
        if is_public && self.block().public_policy {
            return Err(denied());
        }
        self.policy = Some(text);
        Ok(())
    }

    /// Puts an ACL, unless ACLs are, or public ones.
    pub(in crate::s3) fn put_acl(&mut self, acl: Acl) -> S3Result<()> {
        if self.ownership() == Ownership::BucketOwnerEnforced {
            return Err(not_supported());
        }
        if acl.is_public() && self.block().public_acls {
            return Err(denied());
        }
        self.acl = Some(acl);
        Ok(())
    }

    /// Says who owns new objects. `own` is the ACL that grants nobody else anything: what others
    /// were granted would be taken from them without a word.
    pub(in crate::s3) fn put_ownership(&mut self, ownership: Ownership, own: &Acl) -> S3Result<()> {
        let granted = self.acl.as_ref().is_some_and(|acl| acl != own);
        let before = self.ownership();
        if ownership == Ownership::BucketOwnerEnforced && granted && before != ownership {
            return Err(acl_with_enforced());
        }
        self.ownership = Some(ownership);
        Ok(())
    }

    /// The rules that a bucket is made with.
    pub(in crate::s3) fn of_new_bucket(acl: Option<Acl>, ownership: Option<Ownership>) -> Rules {
        Rules {
            acl,
            ownership,
            ..Rules::default()
        }
    }

    /// Another document with the same rules, to be changed.
    pub(in crate::s3) fn copied(rules: Option<&Rules>) -> Rules {
        rules.map_or_else(Rules::default, |rules| Rules {
            policy: rules.policy.clone(),
            acl: rules.acl.clone(),
            ownership: rules.ownership,
            block: rules.block,
            shared: rules.shared,
            compiled: OnceLock::new(),
        })
    }
}

impl Ownership {
    pub(in crate::s3) fn parse(name: &str) -> Option<Ownership> {
        Some(match name {
            "BucketOwnerEnforced" => Ownership::BucketOwnerEnforced,
            "BucketOwnerPreferred" => Ownership::BucketOwnerPreferred,
            "ObjectWriter" => Ownership::ObjectWriter,
            _ => return None,
        })
    }

    pub(in crate::s3) const fn as_str(self) -> &'static str {
        match self {
            Ownership::BucketOwnerEnforced => "BucketOwnerEnforced",
            Ownership::BucketOwnerPreferred => "BucketOwnerPreferred",
            Ownership::ObjectWriter => "ObjectWriter",
        }
    }
}

impl Block {
    pub(in crate::s3) fn from_wire(wire: &PublicAccessBlockConfiguration) -> Block {
        Block {
            public_acls: wire.block_public_acls == Some(true),
            ignore_public_acls: wire.ignore_public_acls == Some(true),
            public_policy: wire.block_public_policy == Some(true),
            restrict: wire.restrict_public_buckets == Some(true),
        }
    }

    pub(in crate::s3) fn to_wire(self) -> PublicAccessBlockConfiguration {
        PublicAccessBlockConfiguration {
            block_public_acls: Some(self.public_acls),
            ignore_public_acls: Some(self.ignore_public_acls),
            block_public_policy: Some(self.public_policy),
            restrict_public_buckets: Some(self.restrict),
        }
    }
}

/// ACLs mean nothing in this bucket.
pub(in crate::s3) fn not_supported() -> S3Error {
    error(
        S3ErrorCode::AccessControlListNotSupported,
        "The bucket does not allow ACLs",
    )
}

pub(in crate::s3) fn acl_with_enforced() -> S3Error {
    error(
        S3ErrorCode::InvalidBucketAclWithObjectOwnership,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn rules(of: serde_json::Value) -> Rules {
        serde_json::from_value(of).unwrap()
    }

    fn code(done: S3Result<()>) -> String {
        done.unwrap_err().code().as_str().to_owned()
    }

    /// The rules are those at the moment of the change: another request may have put a block since
    /// this one was let in.
    #[test]
    fn what_the_other_rules_refuse_by_now_is_not_put() {
        let blocked = || {
            rules(
                json!({"block": {"public_acls": true, "ignore_public_acls": false, "public_policy": true, "restrict": false}}),
            )
        };
        let public: Acl =
            serde_json::from_value(json!([{"to": "all-users", "may": "READ"}])).unwrap();
        assert_eq!(
            code(blocked().put_policy("{}".to_owned(), true)),
            "AccessDenied"
        );
        blocked().put_policy("{}".to_owned(), false).unwrap();
        rules(json!({})).put_policy("{}".to_owned(), true).unwrap();
        assert_eq!(code(blocked().put_acl(public.clone())), "AccessDenied");
        blocked().put_acl(Acl::default()).unwrap();
        rules(json!({})).put_acl(public.clone()).unwrap();

        let enforced = Ownership::BucketOwnerEnforced;
        let mut closed = rules(json!({"ownership": "BucketOwnerEnforced"}));
        assert_eq!(
            code(closed.put_acl(Acl::default())),
            "AccessControlListNotSupported"
        );
        let mut open = rules(json!({}));
        open.put_acl(public).unwrap();
        assert_eq!(
            code(open.put_ownership(enforced, &Acl::default())),
            "InvalidBucketAclWithObjectOwnership"
        );
        open.put_acl(Acl::default()).unwrap();
        open.put_ownership(enforced, &Acl::default()).unwrap();
    }
}

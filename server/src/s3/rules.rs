//! The rules of access that a bucket's owner has put: one document, so that they change together.

use std::sync::OnceLock;

use s3s::dto::PublicAccessBlockConfiguration;
use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::documents::Document;
use crate::policy::Policy;

/// Policy, ACL, ownership and public access block of a bucket.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// The policy's JSON as it was put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    /// The ACL that was put; without one the owner has everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acl: Option<Acl>,
    /// Who owns new objects, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ownership: Option<Ownership>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<Block>,
    /// An object of another account was once written, so that an object may not be the bucket
    /// owner's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) shared: bool,
    #[serde(skip)]
    compiled: OnceLock<Option<Policy>>,
}

/// Who owns what others write into a bucket.
///
/// A bucket that says nothing is [`ObjectWriter`](Self::ObjectWriter): ACLs work, as the clients
/// and test suites expect that use them, and those that do not use them notice no difference
/// until a second account is let in. Buckets of the service itself are enforced since 2023.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ownership {
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
pub(super) struct Block {
    /// Refuse to put public ACLs.
    pub(super) public_acls: bool,
    /// Grants to groups do not count.
    pub(super) ignore_public_acls: bool,
    /// Refuse to put a public policy.
    pub(super) public_policy: bool,
    /// What a public policy allows is for the owner's account only.
    pub(super) restrict: bool,
}

impl Document for Rules {
    const NAME: &'static str = "access";
}

impl Rules {
    /// The policy, compiled once for each revision of the document.
    pub(super) fn policy(&self) -> Option<&Policy> {
        let compile = || {
            self.policy
                .as_ref()
                .map(|text| Policy::stored(text.as_bytes()))
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    pub(super) fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or_default()
    }

    pub(super) fn block(&self) -> Block {
        self.block.unwrap_or_default()
    }

    /// The rules that a bucket is made with.
    pub(super) fn of_new_bucket(acl: Option<Acl>, ownership: Option<Ownership>) -> Rules {
        Rules {
            acl,
            ownership,
            ..Rules::default()
        }
    }

    /// Another document with the same rules, to be changed.
    pub(super) fn copied(rules: Option<&Rules>) -> Rules {
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
    pub(super) fn parse(name: &str) -> Option<Ownership> {
        Some(match name {
            "BucketOwnerEnforced" => Ownership::BucketOwnerEnforced,
            "BucketOwnerPreferred" => Ownership::BucketOwnerPreferred,
            "ObjectWriter" => Ownership::ObjectWriter,
            _ => return None,
        })
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Ownership::BucketOwnerEnforced => "BucketOwnerEnforced",
            Ownership::BucketOwnerPreferred => "BucketOwnerPreferred",
            Ownership::ObjectWriter => "ObjectWriter",
        }
    }
}

impl Block {
    pub(super) fn from_wire(wire: &PublicAccessBlockConfiguration) -> Block {
        Block {
            public_acls: wire.block_public_acls == Some(true),
            ignore_public_acls: wire.ignore_public_acls == Some(true),
            public_policy: wire.block_public_policy == Some(true),
            restrict: wire.restrict_public_buckets == Some(true),
        }
    }

    pub(super) fn to_wire(self) -> PublicAccessBlockConfiguration {
        PublicAccessBlockConfiguration {
            block_public_acls: Some(self.public_acls),
            ignore_public_acls: Some(self.ignore_public_acls),
            block_public_policy: Some(self.public_policy),
            restrict_public_buckets: Some(self.restrict),
        }
    }
}

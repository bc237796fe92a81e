//! Access control lists: canned, as headers, as XML; and what their grants mean.

use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, Grant as WireGrant, Grantee as WireGrantee, Owner,
    Permission as WirePermission, Type,
};
use s3s::{S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};

use crate::policy::Action;
use crate::s3::errors::{custom, error, invalid_argument};
use crate::users::{Account, Users};

/// The grants on a bucket or an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::s3) struct Acl(Vec<Grant>);

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    to: Grantee,
    may: Permission,
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Grantee {
    /// An account, by canonical id.
    Account(String),
    /// Everybody, signed or not.
    AllUsers,
    /// Everybody who signs.
    AuthenticatedUsers,
    /// The log writer of S3, which is not here.
    LogDelivery,
}

/// What a grant lets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::s3) enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

/// Who asks, as far as grants care.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Asker<'a> {
    /// Canonical id of the account; `None` for a request without a signature.
    pub(in crate::s3) canonical: Option<&'a str>,
    /// Grants to groups do not count.
    pub(in crate::s3) ignore_public: bool,
}

/// The two accounts an ACL is made for.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Parties<'a> {
    /// Owner of the bucket or object the ACL is on.
    pub(in crate::s3) owner: &'a Account,
    /// Owner of the bucket.
    pub(in crate::s3) bucket: &'a Account,
}

/// An ACL as a request asks for it in its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Asked {
    /// By the name of a canned one.
    Canned(Canned),
    /// Grant by grant.
    Grants(Acl),
}

/// The canned ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

impl Acl {
    /// What a bucket or object has that was given none: everything for its owner.
    pub(in crate::s3) fn of(owner: &Account) -> Acl {
        Acl(vec![Grant::to(owner, Permission::FullControl)])
    }

    /// Reads the `x-amz-acl` and `x-amz-grant-*` headers of a request; `None` without any.
    pub(in crate::s3) fn asked(headers: &HeaderMap, users: &Users) -> S3Result<Option<Asked>> {
        let canned = match headers.get(CANNED) {
            Some(value) => Some(Canned::parse(value.to_str().unwrap_or_default())?),
            None => None,
        };
        let mut grants = Vec::new();
        for (name, may) in GRANTS {
            for value in headers.get_all(name) {
                let value = value.to_str().unwrap_or_default();
                for grantee in value
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                {
                    let to = Grantee::in_header(grantee, users).ok_or_else(|| {
                        invalid_argument(name, value, "Argument format not recognized")
                    })??;
                    grants.push(Grant { to, may });
                }
            }
        }
        match (canned, grants.is_empty()) {
            (Some(_), false) => Err(error(
                S3ErrorCode::InvalidRequest,
                "Specifying both Canned ACLs and Header Grants is not allowed",
            )),
            (Some(canned), true) => Ok(Some(Asked::Canned(canned))),
            (None, false) => Ok(Some(Asked::Grants(Acl::checked(grants)?))),
            (None, true) => Ok(None),
        }
    }

    /// Reads the XML of PutBucketAcl and PutObjectAcl. The owner in it must be the owner there is.
    pub(in crate::s3) fn from_xml(
        policy: AccessControlPolicy,
        owner: &Account,
        users: &Users,
    ) -> S3Result<Acl> {
        let named = policy
            .owner
            .and_then(|owner| owner.id)
            .ok_or_else(malformed)?;
        if named != owner.canonical {
            return Err(super::denied());
        }
        let grants = policy.grants.unwrap_or_default().into_iter().map(|grant| {
            let may = grant.permission.ok_or_else(malformed)?;
            Ok(Grant {
                to: Grantee::in_xml(grant.grantee.ok_or_else(malformed)?, users)?,
                may: Permission::parse(may.as_str()).ok_or_else(malformed)?,
            })
        });
        Acl::checked(grants.collect::<S3Result<_>>()?)
    }

    fn checked(grants: Vec<Grant>) -> S3Result<Acl> {
        if grants.len() > MOST_GRANTS {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                format!("An access control list has at most {MOST_GRANTS} grants"),
            ));
        }
        Ok(Acl(grants))
    }

    /// As replies show it.
    pub(in crate::s3) fn to_wire(&self, users: &Users) -> Vec<WireGrant> {
        let grants = self.0.iter();
        grants
            .map(|grant| WireGrant {
                grantee: Some(grant.to.to_wire(users)),
                permission: Some(WirePermission::from_static(grant.may.as_str())),
            })
            .collect()
    }

    /// Whether a grant lets the asker do it.
    pub(in crate::s3) fn allows(&self, asker: Asker<'_>, wanted: Permission) -> bool {
        self.0.iter().any(|grant| {
            (grant.may == wanted || grant.may == Permission::FullControl) && grant.to.is(asker)
        })
    }

    /// Whether it grants something to everybody, signed or not.
    pub(in crate::s3) fn is_public(&self) -> bool {
        let mut grants = self.0.iter();
        grants.any(|grant| matches!(grant.to, Grantee::AllUsers | Grantee::AuthenticatedUsers))
    }
}

impl Asked {
    /// The grants it stands for.
    pub(in crate::s3) fn resolve(&self, parties: Parties<'_>) -> Acl {
        match self {
            Asked::Canned(canned) => canned.resolve(parties),
            Asked::Grants(acl) => acl.clone(),
        }
    }
}

impl Canned {
    fn parse(name: &str) -> S3Result<Canned> {
        Ok(match name {
            "private" => Canned::Private,
            "public-read" => Canned::PublicRead,
            "public-read-write" => Canned::PublicReadWrite,
            "authenticated-read" => Canned::AuthenticatedRead,
            "bucket-owner-read" => Canned::BucketOwnerRead,
            "bucket-owner-full-control" => Canned::BucketOwnerFullControl,
            "log-delivery-write" => Canned::LogDeliveryWrite,
            other => return Err(invalid_argument(CANNED, other, "")),
        })
    }

    fn resolve(self, parties: Parties<'_>) -> Acl {
        let mut acl = Acl::of(parties.owner);
        let group = |to, may| Grant { to, may };
        // On a bucket, and on an object of the bucket's owner, these add nothing.
        let bucket_owner = |may| {
            let other = parties.bucket.canonical != parties.owner.canonical;
            other.then(|| Grant::to(parties.bucket, may))
        };
        match self {
            Canned::Private => {}
            Canned::PublicRead => acl.0.push(group(Grantee::AllUsers, Permission::Read)),
            Canned::PublicReadWrite => {
                acl.0.push(group(Grantee::AllUsers, Permission::Read));
                acl.0.push(group(Grantee::AllUsers, Permission::Write));
            }
            Canned::AuthenticatedRead => {
                acl.0
                    .push(group(Grantee::AuthenticatedUsers, Permission::Read));
            }
            Canned::BucketOwnerRead => acl.0.extend(bucket_owner(Permission::Read)),
            Canned::BucketOwnerFullControl => acl.0.extend(bucket_owner(Permission::FullControl)),
            Canned::LogDeliveryWrite => {
                acl.0.push(group(Grantee::LogDelivery, Permission::Write));
                acl.0.push(group(Grantee::LogDelivery, Permission::ReadAcp));
            }
        }
        acl
    }
}

impl Grant {
    fn to(account: &Account, may: Permission) -> Grant {
        Grant {
            to: Grantee::Account(account.canonical.clone()),
            may,
        }
    }
}

impl Grantee {
    /// `id="..."`, `uri="..."` or `emailAddress="..."`, the quotes being optional. `None` for
    /// anything else.
    fn in_header(text: &str, users: &Users) -> Option<S3Result<Grantee>> {
        let (kind, value) = text.split_once('=')?;
        let value = value.trim().trim_matches('"');
        Some(match kind.trim() {
            "id" => Grantee::canonical(value, users),
            "uri" => Grantee::group(value),
            "emailAddress" => Grantee::email(value, users),
            _ => return None,
        })
    }

    fn in_xml(grantee: WireGrantee, users: &Users) -> S3Result<Grantee> {
        match (
            grantee.type_.as_str(),
            grantee.id,
            grantee.uri,
            grantee.email_address,
        ) {
            (Type::CANONICAL_USER, Some(id), ..) => Grantee::canonical(&id, users),
            (Type::GROUP, _, Some(uri), _) => Grantee::group(&uri),
            (Type::AMAZON_CUSTOMER_BY_EMAIL, _, _, Some(email)) => Grantee::email(&email, users),
            _ => Err(malformed()),
        }
    }

    fn canonical(id: &str, users: &Users) -> S3Result<Grantee> {
        match users.by_canonical(id) {
            Some(account) => Ok(Grantee::Account(account.canonical.clone())),
            None => Err(invalid_argument("CanonicalUser/ID", id, "Invalid id")),
        }
    }

    fn group(uri: &str) -> S3Result<Grantee> {
        let known = GROUPS.iter().find(|(known, _)| *known == uri);
        known
            .map(|(_, group)| group.clone())
            .ok_or_else(|| invalid_argument("Group/URI", uri, "Invalid group uri"))
    }

    fn email(email: &str, users: &Users) -> S3Result<Grantee> {
        match users.by_email(email) {
            Some(account) => Ok(Grantee::Account(account.canonical.clone())),
            None => Err(error(
                S3ErrorCode::UnresolvableGrantByEmailAddress,
                "The e-mail address you provided does not match any account on record.",
            )),
        }
    }

    fn to_wire(&self, users: &Users) -> WireGrantee {
        let mut wire = WireGrantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: Type::from_static(Type::GROUP),
            uri: None,
        };
        if let Grantee::Account(id) = self {
            wire.type_ = Type::from_static(Type::CANONICAL_USER);
            wire.id = Some(id.clone());
            wire.display_name = users
                .by_canonical(id)
                .map(|account| account.display_name.clone());
        } else {
            let uri = GROUPS.iter().find(|(_, group)| group == self);
            wire.uri = uri.map(|(uri, _)| (*uri).to_owned());
        }
        wire
    }

    fn is(&self, asker: Asker<'_>) -> bool {
        match self {
            Grantee::Account(id) => asker.canonical == Some(id),
            Grantee::AllUsers => !asker.ignore_public,
            Grantee::AuthenticatedUsers => !asker.ignore_public && asker.canonical.is_some(),
            Grantee::LogDelivery => false,
        }
    }
}

impl Permission {
    fn parse(name: &str) -> Option<Permission> {
        Some(match name {
            "READ" => Permission::Read,
            "WRITE" => Permission::Write,
            "READ_ACP" => Permission::ReadAcp,
            "WRITE_ACP" => Permission::WriteAcp,
            "FULL_CONTROL" => Permission::FullControl,
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::WriteAcp => "WRITE_ACP",
            Permission::FullControl => "FULL_CONTROL",
        }
    }

    /// What the ACL of a bucket must grant for an action (the AWS S3 user guide, "Mapping of ACL
    /// permissions and access policy permissions"); `None` where ACLs of buckets grant nothing.
    pub(in crate::s3) fn on_bucket(action: Action) -> Option<Permission> {
        Some(match action {
            Action::ListBucket
            | Action::ListBucketVersions
            | Action::ListBucketMultipartUploads => Permission::Read,
            // The id of an upload is known to who may write, and to nobody by chance.
            Action::PutObject
            | Action::DeleteObject
            | Action::AbortMultipartUpload
            | Action::ListMultipartUploadParts => Permission::Write,
            Action::GetBucketAcl => Permission::ReadAcp,
            Action::PutBucketAcl => Permission::WriteAcp,
            _ => return None,
        })
    }

    /// The same of the ACL of an object.
    pub(in crate::s3) fn on_object(action: Action) -> Option<Permission> {
        Some(match action {
            Action::GetObject
            | Action::GetObjectVersion
            | Action::GetObjectAttributes
            | Action::GetObjectVersionAttributes => Permission::Read,
            Action::GetObjectAcl | Action::GetObjectVersionAcl => Permission::ReadAcp,
            Action::PutObjectAcl | Action::PutObjectVersionAcl => Permission::WriteAcp,
            _ => return None,
        })
    }
}

/// An account as replies name an owner.
pub(in crate::s3) fn owner(account: &Account) -> Owner {
    Owner {
        display_name: Some(account.display_name.clone()),
        id: Some(account.canonical.clone()),
    }
}

fn malformed() -> s3s::S3Error {
    custom(
        http::StatusCode::BAD_REQUEST,
        "MalformedACLError",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// Header of a canned ACL.
pub(in crate::s3) const CANNED: &str = "x-amz-acl";

/// Headers that grant, each with what.
pub(in crate::s3) const GRANTS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

const GROUPS: [(&str, Grantee); 3] = [
    (
        "http://acs.amazonaws.com/groups/global/AllUsers",
        Grantee::AllUsers,
    ),
    (
        "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
        Grantee::AuthenticatedUsers,
    ),
    (
        "http://acs.amazonaws.com/groups/s3/LogDelivery",
        Grantee::LogDelivery,
    ),
];

const MOST_GRANTS: usize = 100;

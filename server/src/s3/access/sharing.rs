//! What owners say about access: policies, ACLs, ownership, public access block.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::Bucket;

use super::acl::{Acl, Asked, Parties, owner};
use super::rules::{Block, Ownership, Rules, acl_with_enforced, not_supported};
use crate::policy::Policy;
use crate::s3::AppState;
use crate::s3::access::{self, Ground, Principal};
use crate::s3::errors::{custom, error, malformed_xml};
use crate::s3::facts::Facts;
use crate::s3::facts::amend;

pub(in crate::s3) async fn put_bucket_policy(
    state: &Arc<AppState>,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let text = request.input.policy;
    let policy = Policy::for_bucket(text.as_bytes(), &bucket.name)
        .map_err(|cause| error(S3ErrorCode::MalformedPolicy, cause.to_string()))?;
    let is_public = policy.is_public();
    change(state, &bucket, move |rules| {
        rules.put_policy(text.clone(), is_public)
    })
    .await?;
    Ok(S3Response::with_status(
        PutBucketPolicyOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

pub(in crate::s3) async fn get_bucket_policy(
    _state: &Arc<AppState>,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let principal = access::principal(&request)?;
    let rules = principal.ground()?.rules.as_ref();
    let policy = rules.and_then(|rules| rules.policy.clone());
    Ok(S3Response::new(GetBucketPolicyOutput {
        policy: Some(policy.ok_or_else(|| {
            error(
                S3ErrorCode::NoSuchBucketPolicy,
                "The bucket policy does not exist",
            )
        })?),
    }))
}

pub(in crate::s3) async fn delete_bucket_policy(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    let bucket = access::bucket(&request)?;
    change(state, &bucket, |rules| {
        rules.policy = None;
        Ok(())
    })
    .await?;
    Ok(S3Response::with_status(
        DeleteBucketPolicyOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

/// Whether anybody at all is let in, by policy or by ACL.
pub(in crate::s3) async fn get_bucket_policy_status(
    _state: &Arc<AppState>,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let principal = access::principal(&request)?;
    let ground = principal.ground()?;
    let rules = ground.rules.as_deref();
    let block = rules.map(Rules::block).unwrap_or_default();
    let by_policy = !block.restrict && rules.and_then(Rules::policy).is_some_and(Policy::is_public);
    let by_acl = !block.ignore_public_acls && ground.acl().is_public();
    Ok(S3Response::new(GetBucketPolicyStatusOutput {
        policy_status: Some(PolicyStatus {
            is_public: Some(by_policy || by_acl),
        }),
    }))
}

pub(in crate::s3) async fn put_public_access_block(
    state: &Arc<AppState>,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let bucket = access::bucket(&request)?;
    let block = Block::from_wire(&request.input.public_access_block_configuration);
    change(state, &bucket, move |rules| {
        rules.block = Some(block);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

pub(in crate::s3) async fn get_public_access_block(
    _state: &Arc<AppState>,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let principal = access::principal(&request)?;
    let block = principal
        .ground()?
        .rules
        .as_ref()
        .and_then(|rules| rules.block);
    let block = block.ok_or_else(|| {
        custom(
            http::StatusCode::NOT_FOUND,
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
    })?;
    Ok(S3Response::new(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(block.to_wire()),
    }))
}

pub(in crate::s3) async fn delete_public_access_block(
    state: &Arc<AppState>,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    let bucket = access::bucket(&request)?;
    change(state, &bucket, |rules| {
        rules.block = None;
        Ok(())
    })
    .await?;
    Ok(S3Response::with_status(
        DeletePublicAccessBlockOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

pub(in crate::s3) async fn put_bucket_ownership_controls(
    state: &Arc<AppState>,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let [rule] = request.input.ownership_controls.rules.as_slice() else {
        return Err(malformed_xml());
    };
    let ownership = Ownership::parse(rule.object_ownership.as_str()).ok_or_else(malformed_xml)?;
    let own = Acl::of(&principal.ground()?.owner);
    change(state, &bucket, move |rules| {
        rules.put_ownership(ownership, &own)
    })
    .await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

pub(in crate::s3) async fn get_bucket_ownership_controls(
    _state: &Arc<AppState>,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let principal = access::principal(&request)?;
    let ownership = principal
        .ground()?
        .rules
        .as_ref()
        .and_then(|rules| rules.ownership);
    let ownership = ownership.ok_or_else(|| {
        error(
            S3ErrorCode::OwnershipControlsNotFoundError,
            "The bucket ownership controls were not found",
        )
    })?;
    Ok(S3Response::new(GetBucketOwnershipControlsOutput {
        ownership_controls: Some(OwnershipControls {
            rules: vec![OwnershipControlsRule {
                object_ownership: ObjectOwnership::from_static(ownership.as_str()),
            }],
        }),
    }))
}

pub(in crate::s3) async fn delete_bucket_ownership_controls(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    let bucket = access::bucket(&request)?;
    change(state, &bucket, |rules| {
        rules.ownership = None;
        Ok(())
    })
    .await?;
    Ok(S3Response::with_status(
        DeleteBucketOwnershipControlsOutput::default(),
        http::StatusCode::NO_CONTENT,
    ))
}

pub(in crate::s3) async fn get_bucket_acl(
    _state: &Arc<AppState>,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let principal = access::principal(&request)?;
    let ground = principal.ground()?;
    Ok(S3Response::new(GetBucketAclOutput {
        grants: Some(ground.acl().to_wire(&principal.users)),
        owner: Some(owner(&ground.owner)),
    }))
}

pub(in crate::s3) async fn put_bucket_acl(
    state: &Arc<AppState>,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let principal = access::principal(&request)?;
    let bucket = principal.bucket()?;
    let ground = principal.ground()?;
    let asked = Acl::asked(&request.headers, &principal.users)?;
    let acl = given(
        ground,
        &principal,
        asked,
        request.input.access_control_policy,
        &ground.owner,
    )?;
    let Some(acl) = acl else {
        return Ok(S3Response::new(PutBucketAclOutput::default()));
    };
    change(state, &bucket, move |rules| rules.put_acl(acl.clone())).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

pub(in crate::s3) async fn get_object_acl(
    state: &Arc<AppState>,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let principal = access::principal(&request)?;
    let ground = principal.ground()?;
    let input = request.input;
    let version = input.version_id.as_deref();
    let (_, facts) = amend::look(state, &principal, input.key, version).await?;
    let users = &principal.users;
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(ground.acl_of(&facts, users).to_wire(users)),
        owner: Some(owner(&ground.owner_of(&facts, users))),
        ..GetObjectAclOutput::default()
    }))
}

pub(in crate::s3) async fn put_object_acl(
    state: &Arc<AppState>,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let principal = access::principal(&request)?;
    let S3Request { input, headers, .. } = request;
    let asked = Acl::asked(&headers, &principal.users)?;
    let (by, xml) = (principal.clone(), input.access_control_policy);
    let version = input.version_id.as_deref();
    amend::change(state, &principal, input.key, version, move |facts| {
        let ground = by.ground()?;
        let owner = ground.owner_of(facts, &by.users);
        if let Some(acl) = given(ground, &by, asked.clone(), xml.clone(), &owner)? {
            facts.acl = Some(acl);
        }
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

/// Owner and ACL of a new object, as its request asks for them: goes into the object's facts.
///
/// # Errors
/// What the bucket does not allow: ACLs at all, or public ones; headers that are no ACL.
pub(in crate::s3) async fn stamp(
    state: &Arc<AppState>,
    principal: &Principal,
    headers: &HeaderMap,
    facts: &mut Facts,
) -> S3Result<()> {
    let ground = principal.ground()?;
    let asked = Acl::asked(headers, &principal.users)?;
    refuse(ground, asked.as_ref())?;
    if ground.enforced() {
        return Ok(());
    }
    let writer = principal
        .writer()
        .filter(|writer| *writer != ground.owner.name)
        // The one who grants the bucket's owner everything gives the object away.
        .filter(|_| {
            !(ground.ownership() == Ownership::BucketOwnerPreferred && gives_away(asked.as_ref()))
        });
    facts.owner = writer.map(str::to_owned);
    let owner = ground.owner_of(facts, &principal.users);
    facts.acl = match &asked {
        None | Some(Asked::Canned(super::acl::Canned::Private)) => None,
        Some(asked) => Some(asked.resolve(Parties {
            owner: &owner,
            bucket: &ground.owner,
        })),
    };
    let known = ground.rules.as_ref().is_some_and(|rules| rules.shared);
    if facts.owner.is_some() && !known {
        // Before the object is there: from then on the bucket's owner is asked object by object.
        change(state, &ground.at.bucket, |rules| {
            rules.shared = true;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// ACL and ownership of a new bucket; `None` if nothing was said.
pub(in crate::s3) fn of_new_bucket(
    principal: &Principal,
    headers: &HeaderMap,
    ownership: Option<&ObjectOwnership>,
) -> S3Result<Option<Rules>> {
    let ownership = ownership
        .map(|name| {
            Ownership::parse(name.as_str()).ok_or_else(|| {
                crate::s3::errors::invalid_argument(
                    "x-amz-object-ownership",
                    name.as_str(),
                    "Invalid x-amz-object-ownership header",
                )
            })
        })
        .transpose()?;
    let asked = Acl::asked(headers, &principal.users)?;
    let owner = principal
        .users
        .account(principal.account_name().ok_or_else(access::denied)?);
    let acl = asked
        .map(|asked| {
            asked.resolve(Parties {
                owner: &owner,
                bucket: &owner,
            })
        })
        .filter(|acl| *acl != Acl::of(&owner));
    if ownership == Some(Ownership::BucketOwnerEnforced) && acl.is_some() {
        return Err(acl_with_enforced());
    }
    let said = acl.is_some() || ownership.is_some();
    Ok(said.then(|| Rules::of_new_bucket(acl, ownership)))
}

/// The ACL a request gives, by headers or by XML; `None` where the bucket enforces its owner and
/// the request says no more than that.
fn given(
    ground: &Ground,
    principal: &Principal,
    asked: Option<Asked>,
    xml: Option<AccessControlPolicy>,
    owner: &crate::users::Account,
) -> S3Result<Option<Acl>> {
    refuse(ground, asked.as_ref())?;
    let acl = match (asked, xml) {
        (Some(_), Some(_)) => {
            return Err(error(
                S3ErrorCode::UnexpectedContent,
                "This request does not support content",
            ));
        }
        (Some(asked), None) => asked.resolve(Parties {
            owner,
            bucket: &ground.owner,
        }),
        (None, Some(xml)) => Acl::from_xml(xml, owner, &principal.users)?,
        (None, None) => {
            return Err(error(
                S3ErrorCode::MissingSecurityHeader,
                "Your request was missing a required header",
            ));
        }
    };
    if ground.enforced() {
        return if acl == Acl::of(&ground.owner) {
            Ok(None)
        } else {
            Err(not_supported())
        };
    }
    let block = ground
        .rules
        .as_ref()
        .map(|rules| rules.block())
        .unwrap_or_default();
    if block.public_acls && acl.is_public() {
        return Err(access::denied());
    }
    Ok(Some(acl))
}

/// Refuses headers that the bucket does not take.
fn refuse(ground: &Ground, asked: Option<&Asked>) -> S3Result<()> {
    let Some(asked) = asked else { return Ok(()) };
    if ground.enforced() && !gives_away(Some(asked)) {
        return Err(not_supported());
    }
    let block = ground
        .rules
        .as_ref()
        .map(|rules| rules.block())
        .unwrap_or_default();
    let parties = Parties {
        owner: &ground.owner,
        bucket: &ground.owner,
    };
    if block.public_acls && asked.resolve(parties).is_public() {
        return Err(access::denied());
    }
    Ok(())
}

fn gives_away(asked: Option<&Asked>) -> bool {
    matches!(
        asked,
        Some(Asked::Canned(super::acl::Canned::BucketOwnerFullControl))
    )
}

/// Changes one of the rules, if the others as they are by then allow it.
async fn change(
    state: &Arc<AppState>,
    bucket: &Bucket,
    change: impl Fn(&mut Rules) -> S3Result<()> + Send + 'static,
) -> S3Result<()> {
    let changed = move |present: Option<&Rules>| {
        let mut rules = Rules::copied(present);
        change(&mut rules)?;
        Ok(Some(rules))
    };
    state.documents.update(bucket, changed).await
}

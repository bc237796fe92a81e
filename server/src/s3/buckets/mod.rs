//! Buckets: create, look up, list, delete. Their settings and listings are in the files beside.

pub(super) mod cors;
pub(super) mod documents;
pub(super) mod list;
pub(super) mod settings;
pub(super) mod unset;
pub(super) mod versioning;

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::store;
use strongroom::vault::VaultError;

use self::documents::Document;
use super::AppState;
use super::access::acl::Acl;
use super::access::rules::Rules;
use super::access::sharing;
use super::access::{self, Principal};
use super::body::blocking;
use super::errors::{error, from_vault, with_detail};
use super::facts::Facts;

const MOST_BUCKETS: i32 = 10_000;
/// Its name is an empty one in locations.
const FIRST_REGION: &str = "us-east-1";

pub(super) async fn create_bucket(
    state: &Arc<AppState>,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    if is_reserved(&input.bucket) {
        return Err(with_detail(
            error(
                S3ErrorCode::InvalidBucketName,
                "The specified bucket is not valid.",
            ),
            &[("BucketName", &input.bucket)],
        ));
    }
    let place = input
        .create_bucket_configuration
        .and_then(|config| config.location_constraint)
        .map(|place| place.as_str().to_owned())
        .filter(|place| !place.is_empty());
    if let Some(place) = &place
        && !may_lie_in(place, &state.settings.region)
    {
        return Err(with_detail(
            error(
                S3ErrorCode::InvalidLocationConstraint,
                "The specified location-constraint is not valid",
            ),
            &[("LocationConstraint", place)],
        ));
    }
    let rules = sharing::of_new_bucket(
        &principal,
        &request.headers,
        input.object_ownership.as_ref(),
    )?;
    let account = principal.account_name().ok_or_else(access::denied)?;
    let name = input.bucket.clone();
    let (vault, owner) = (Arc::clone(&state.vault), account.to_owned());
    let elsewhere = place
        .as_ref()
        .is_some_and(|place| *place != state.settings.region);
    match blocking(move || vault.create_bucket(&name, &owner)).await? {
        Ok(bucket) => {
            if let Some(rules) = rules {
                let put = move |_: Option<&Rules>| Ok(Some(Rules::copied(Some(&rules))));
                state.documents.update(&bucket, put).await?;
            }
            if input.object_lock_enabled_for_bucket == Some(true) {
                super::objects::retention::enable(state, &bucket).await?;
            }
            if let Some(place) = place.filter(|_| elsewhere) {
                let put = move |_: Option<&Location>| Ok(Some(Location(place.clone())));
                state.documents.update(&bucket, put).await?;
            }
        }
        Err(VaultError::BucketExists(bucket)) if bucket.owner != account => {
            return Err(name_taken(&input.bucket));
        }
        Err(VaultError::BucketExists(bucket)) if !elsewhere => {
            let locked = input.object_lock_enabled_for_bucket == Some(true);
            made_again(state, &principal, *bucket, rules, locked).await?;
        }
        Err(cause) => return Err(from_vault(cause, &input.bucket)),
    }
    Ok(S3Response::new(CreateBucketOutput {
        location: Some(format!("/{}", input.bucket)),
        ..CreateBucketOutput::default()
    }))
}

/// The answer to an owner who makes a bucket that is there. In the first region of all that was
/// always a success, and clients count on it; what is there is left as it is, so a bucket that
/// would become another one is refused.
async fn made_again(
    state: &Arc<AppState>,
    principal: &Principal,
    bucket: store::Bucket,
    asked: Option<Rules>,
    locked: bool,
) -> S3Result<()> {
    let present = state.documents.get::<Rules>(&bucket).await?;
    let owner = principal.users.account(&bucket.owner);
    let acl = |rules: Option<&Rules>| {
        rules
            .and_then(|rules| rules.acl.clone())
            .unwrap_or_else(|| Acl::of(&owner))
    };
    let ownership = |rules: Option<&Rules>| rules.map(Rules::ownership).unwrap_or_default();
    let other_ownership = asked
        .as_ref()
        .and_then(|rules| rules.ownership)
        .is_some_and(|asked| asked != ownership(present.as_deref()));
    if acl(present.as_deref()) != acl(asked.as_ref()) || other_ownership {
        return Err(name_taken(&bucket.name));
    }
    let other_lock = locked
        && state
            .documents
            .get::<super::objects::lock::LockConfig>(&bucket)
            .await?
            .is_none();
    if state.settings.region != FIRST_REGION || other_lock {
        let name = bucket.name.clone();
        return Err(from_vault(
            VaultError::BucketExists(Box::new(bucket)),
            &name,
        ));
    }
    Ok(())
}

fn name_taken(bucket: &str) -> S3Error {
    with_detail(
        error(
            S3ErrorCode::BucketAlreadyExists,
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
        ),
        &[("BucketName", bucket)],
    )
}

/// Names that the protocol crate lets through and that no new bucket may have: labels of host names
/// do not begin or end with a hyphen, and some beginnings and ends mean other things.
fn is_reserved(name: &str) -> bool {
    const STARTS: [&str; 2] = ["sthree-", "amzn-s3-demo-"];
    const ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    name.contains("-.")
        || name.contains(".-")
        || STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
}

pub(super) async fn delete_bucket(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    // The bucket that the request was allowed on, whatever has its name by now.
    let bucket = access::bucket(&request)?;
    let vault = Arc::clone(&state.vault);
    blocking(move || vault.delete_bucket(&bucket))
        .await?
        .map_err(|cause| from_vault(cause, &request.input.bucket))?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) async fn head_bucket(
    state: &Arc<AppState>,
    _request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(state.settings.region.clone()),
        ..HeadBucketOutput::default()
    }))
}

pub(super) async fn get_bucket_location(
    state: &Arc<AppState>,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let bucket = access::bucket(&request)?;
    let named = state.documents.get::<Location>(&bucket).await?;
    let region = named.map_or_else(|| state.settings.region.clone(), |named| named.0.clone());
    // us-east-1 is said by an empty element, as the service has always done.
    let location_constraint =
        (region != FIRST_REGION).then(|| BucketLocationConstraint::from(region));
    Ok(S3Response::new(GetBucketLocationOutput {
        location_constraint,
    }))
}

/// The region that a bucket was made for, where that is not the server's. A name and no more: the
/// data lies where the server is.
#[derive(Serialize, Deserialize)]
struct Location(String);

impl Document for Location {
    const NAME: &'static str = "location";
}

/// Whether a server of one region takes a bucket for another. That of the first region takes them
/// for all, as the service's does.
fn may_lie_in(place: &str, region: &str) -> bool {
    let mut words = place.split('-');
    let is_region = words.next_back().is_some_and(|number| {
        (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    }) && words.clone().count() >= 2
        && words.all(|word| {
            (2..=9).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
        });
    place == region || (region == FIRST_REGION && (place == "EU" || is_region))
}

pub(super) async fn list_buckets(
    state: &Arc<AppState>,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let principal = access::principal(&request)?;
    let input = request.input;
    let most = input.max_buckets.unwrap_or(MOST_BUCKETS);
    let limit = usize::try_from(most)
        .ok()
        .filter(|limit| (1..=10_000).contains(limit))
        .ok_or_else(|| {
            error(
                S3ErrorCode::InvalidArgument,
                "max-buckets must be between 1 and 10000",
            )
        })?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let (vault, owner, wanted) = (
        Arc::clone(&state.vault),
        principal.account_name().map(str::to_owned),
        prefix.clone(),
    );
    let mut after = input.continuation_token;
    let found = blocking(move || {
        let mut found = Vec::new();
        // Nobody owns nothing.
        let Some(owner) = owner else { return Ok(found) };
        // One more than asked for tells whether there is another page.
        while found.len() <= limit {
            let page = vault.buckets(after.as_deref(), limit + 1)?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            found.extend(
                page.into_iter()
                    .filter(|bucket| bucket.owner == owner && bucket.name.starts_with(&wanted)),
            );
        }
        Ok(found)
    })
    .await?
    .map_err(|cause: VaultError| from_vault(cause, ""))?;
    let more = found.len() > limit;
    let buckets: Vec<Bucket> = found
        .into_iter()
        .take(limit)
        .map(|bucket| Bucket {
            bucket_region: Some(state.settings.region.clone()),
            creation_date: Some(Facts::timestamp(bucket.created_ms)),
            name: Some(bucket.name),
            ..Bucket::default()
        })
        .collect();
    Ok(S3Response::new(ListBucketsOutput {
        continuation_token: if more {
            buckets.last().and_then(|bucket| bucket.name.clone())
        } else {
            None
        },
        buckets: Some(buckets),
        owner: Some(principal.owner()),
        prefix: (!prefix.is_empty()).then_some(prefix),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_region_takes_buckets_for_others_and_only_for_regions() {
        for (place, region, expected) in [
            ("eu-central-1", "eu-central-1", true),
            ("eu-central-1", "eu-west-1", false),
            ("eu-central-1", FIRST_REGION, true),
            ("us-gov-west-1", FIRST_REGION, true),
            ("EU", FIRST_REGION, true),
            ("my own", "my own", true),
            ("nowhere", FIRST_REGION, false),
            ("eu--1", FIRST_REGION, false),
            ("-1", FIRST_REGION, false),
        ] {
            assert_eq!(may_lie_in(place, region), expected, "{place} in {region}");
        }
    }
}

//! The lifecycle rules of a bucket: which ones are taken. A worker carries them out.

use std::collections::HashSet;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::id::InstanceId;

use crate::s3::AppState;
use crate::s3::access;
use crate::s3::buckets::documents::Document;
use crate::s3::errors::{error, invalid_argument, malformed_xml};
use crate::s3::facts::tags::Tags;

/// The rules of a bucket, as they came and were found to make sense. Each has an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Lifecycle {
    pub(in crate::s3) rules: Vec<LifecycleRule>,
    /// Transitions take objects below 128 KiB too.
    #[serde(default)]
    pub(in crate::s3) small_objects: bool,
}

impl Document for Lifecycle {
    const NAME: &'static str = "lifecycle";
}

const MOST_RULES: usize = 1000;
const LONGEST_ID: usize = 255;
/// Days before an object may move to an infrequent-access class.
const INFREQUENT_DAYS: i32 = 30;

pub(in crate::s3) async fn put_bucket_lifecycle_configuration(
    state: &Arc<AppState>,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let small_objects = match input
        .transition_default_minimum_object_size
        .as_ref()
        .map(TransitionDefaultMinimumObjectSize::as_str)
    {
        None | Some(TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K) => false,
        Some(TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS) => true,
        Some(other) => {
            return Err(invalid_argument(
                "x-amz-transition-default-minimum-object-size",
                other,
                "Unknown minimum object size",
            ));
        }
    };
    let configuration = input.lifecycle_configuration.ok_or_else(malformed_xml)?;
    let lifecycle = Lifecycle {
        rules: check_rules(configuration.rules)?,
        small_objects,
    };
    state.documents.put(&bucket, lifecycle).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: Some(minimum(small_objects)),
    }))
}

pub(in crate::s3) async fn get_bucket_lifecycle_configuration(
    state: &Arc<AppState>,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let bucket = access::bucket(&request)?;
    let lifecycle = state.documents.get::<Lifecycle>(&bucket).await?;
    let lifecycle = lifecycle.ok_or_else(|| {
        error(
            S3ErrorCode::NoSuchLifecycleConfiguration,
            "The lifecycle configuration does not exist",
        )
    })?;
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(lifecycle.rules.clone()),
        transition_default_minimum_object_size: Some(minimum(lifecycle.small_objects)),
    }))
}

pub(in crate::s3) async fn delete_bucket_lifecycle(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let bucket = access::bucket(&request)?;
    state.documents.delete::<Lifecycle>(&bucket).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

fn minimum(small_objects: bool) -> TransitionDefaultMinimumObjectSize {
    TransitionDefaultMinimumObjectSize::from_static(if small_objects {
        TransitionDefaultMinimumObjectSize::VARIES_BY_STORAGE_CLASS
    } else {
        TransitionDefaultMinimumObjectSize::ALL_STORAGE_CLASSES_128K
    })
}

/// Checks rules and names those that have no id.
fn check_rules(mut rules: Vec<LifecycleRule>) -> S3Result<Vec<LifecycleRule>> {
    if rules.is_empty() || rules.len() > MOST_RULES {
        return Err(malformed_xml());
    }
    let mut ids = HashSet::new();
    for rule in &mut rules {
        check_rule(rule)?;
        let id = match rule.id.take().filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => InstanceId::random()
                .map_err(S3Error::internal_error)?
                .to_string(),
        };
        if id.len() > LONGEST_ID {
            return Err(argument(format!(
                "ID length should not exceed allowed limit of {LONGEST_ID}"
            )));
        }
        if !ids.insert(id.clone()) {
            return Err(argument(format!(
                "Rule ID must be unique. Found same ID for more than one rule: {id}"
            )));
        }
        rule.id = Some(id);
    }
    Ok(rules)
}

fn check_rule(rule: &LifecycleRule) -> S3Result<()> {
    match rule.status.as_str() {
        ExpirationStatus::ENABLED | ExpirationStatus::DISABLED => {}
        _ => return Err(malformed_xml()),
    }
    let filter = Conditions::of(rule)?;
    if let Some(expiration) = &rule.expiration {
        check_expiration(expiration)?;
        if expiration.expired_object_delete_marker == Some(true) && filter.tagged {
            return Err(request(
                "ExpiredObjectDeleteMarker cannot be specified with tags.",
            ));
        }
    }
    if let Some(abort) = &rule.abort_incomplete_multipart_upload {
        if filter.tagged {
            return Err(request(
                "AbortIncompleteMultipartUpload cannot be specified with Tags.",
            ));
        }
        if filter.sized {
            return Err(request(
                "AbortIncompleteMultipartUpload cannot be specified with object size.",
            ));
        }
        at_least(
            abort.days_after_initiation,
            1,
            "DaysAfterInitiation",
            "AbortIncompleteMultipartUpload",
        )?;
    }
    let transitions = rule.transitions.as_deref().unwrap_or_default();
    for transition in transitions {
        check_transition(transition)?;
        if let Some(expiration) = &rule.expiration {
            check_order(transition, expiration, &filter.prefix)?;
        }
    }
    let noncurrent = rule
        .noncurrent_version_transitions
        .as_deref()
        .unwrap_or_default();
    for transition in noncurrent {
        let class = check_class(transition.storage_class.as_ref())?;
        let days = at_least(
            transition.noncurrent_days,
            0,
            "NoncurrentDays",
            "NoncurrentVersionTransition",
        )?;
        check_infrequent(class, days)?;
        check_kept(transition.newer_noncurrent_versions)?;
    }
    if let Some(expiration) = &rule.noncurrent_version_expiration {
        at_least(
            expiration.noncurrent_days,
            1,
            "NoncurrentDays",
            "NoncurrentVersionExpiration",
        )?;
        check_kept(expiration.newer_noncurrent_versions)?;
    }
    let mut classes = HashSet::new();
    let once = transitions
        .iter()
        .map(|transition| (true, transition.storage_class.as_ref()))
        .chain(
            noncurrent
                .iter()
                .map(|transition| (false, transition.storage_class.as_ref())),
        )
        .all(|(current, class)| {
            classes.insert((current, class.map(TransitionStorageClass::as_str)))
        });
    if !once {
        return Err(argument(
            "'StorageClass' must be different for 'Transition' actions in same 'Rule'",
        ));
    }
    let acts = rule.expiration.is_some()
        || rule.abort_incomplete_multipart_upload.is_some()
        || rule.noncurrent_version_expiration.is_some()
        || !classes.is_empty();
    if acts {
        Ok(())
    } else {
        Err(request(
            "At least one action needs to be specified in a rule",
        ))
    }
}

/// What a filter looks at.
struct Conditions {
    prefix: String,
    tagged: bool,
    sized: bool,
}

impl Conditions {
    /// Reads the filter of a rule, in the old form (`Prefix` in the rule) or the new one.
    fn of(rule: &LifecycleRule) -> S3Result<Self> {
        let filter = match (&rule.prefix, &rule.filter) {
            (Some(prefix), None) => {
                return Ok(Self {
                    prefix: prefix.clone(),
                    tagged: false,
                    sized: false,
                });
            }
            (None, Some(filter)) => filter,
            _ => return Err(malformed_xml()),
        };
        let alone = [
            filter.prefix.is_some(),
            filter.tag.is_some(),
            filter.object_size_greater_than.is_some(),
            filter.object_size_less_than.is_some(),
            filter.and.is_some(),
        ];
        if alone.iter().filter(|there| **there).count() > 1 {
            return Err(malformed_xml());
        }
        let (prefix, tags, larger, smaller) = match &filter.and {
            Some(and) => (
                &and.prefix,
                and.tags.clone().unwrap_or_default(),
                and.object_size_greater_than,
                and.object_size_less_than,
            ),
            None => (
                &filter.prefix,
                filter.tag.iter().cloned().collect(),
                filter.object_size_greater_than,
                filter.object_size_less_than,
            ),
        };
        let conditions = usize::from(prefix.is_some())
            + tags.len()
            + usize::from(larger.is_some())
            + usize::from(smaller.is_some());
        if filter.and.is_some() && conditions < 2 {
            return Err(malformed_xml());
        }
        if larger.is_some_and(|bytes| bytes < 0) || smaller.is_some_and(|bytes| bytes < 1) {
            return Err(argument("An object size in a filter must not be negative"));
        }
        if let (Some(larger), Some(smaller)) = (larger, smaller)
            && smaller <= larger
        {
            return Err(request(
                "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'",
            ));
        }
        let tagged = !tags.is_empty();
        Tags::new(tags, usize::MAX)?;
        Ok(Self {
            prefix: prefix.clone().unwrap_or_default(),
            tagged,
            sized: larger.is_some() || smaller.is_some(),
        })
    }
}

fn check_expiration(expiration: &LifecycleExpiration) -> S3Result<()> {
    match (
        expiration.days,
        &expiration.date,
        expiration.expired_object_delete_marker,
    ) {
        (Some(days), None, None) => at_least(Some(days), 1, "Days", "Expiration").map(|_| ()),
        (None, Some(date), None) => check_midnight(date),
        (None, None, Some(_)) => Ok(()),
        _ => Err(malformed_xml()),
    }
}

fn check_transition(transition: &Transition) -> S3Result<()> {
    let class = check_class(transition.storage_class.as_ref())?;
    match (transition.days, &transition.date) {
        (Some(days), None) => {
            let days = at_least(Some(days), 0, "Days", "Transition")?;
            check_infrequent(class, days)
        }
        (None, Some(date)) => check_midnight(date),
        _ => Err(malformed_xml()),
    }
}

/// What expires must have had its time in the class it moved to.
fn check_order(
    transition: &Transition,
    expiration: &LifecycleExpiration,
    prefix: &str,
) -> S3Result<()> {
    let late = match (
        (transition.days, &transition.date),
        (expiration.days, &expiration.date),
    ) {
        ((Some(first), _), (Some(last), _)) => last <= first,
        ((_, Some(first)), (_, Some(last))) => last <= first,
        ((Some(_), _), (_, Some(_))) | ((_, Some(_)), (Some(_), _)) => {
            return Err(request(
                "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule",
            ));
        }
        _ => false,
    };
    if late {
        return Err(argument(format!(
            "'Days' in the Expiration action for filter '(prefix={prefix})' must be greater than 'Days' in the Transition action"
        )));
    }
    Ok(())
}

fn check_class(class: Option<&TransitionStorageClass>) -> S3Result<&str> {
    let class = class.ok_or_else(malformed_xml)?.as_str();
    match class {
        TransitionStorageClass::STANDARD_IA
        | TransitionStorageClass::ONEZONE_IA
        | TransitionStorageClass::INTELLIGENT_TIERING
        | TransitionStorageClass::GLACIER_IR
        | TransitionStorageClass::GLACIER
        | TransitionStorageClass::DEEP_ARCHIVE => Ok(class),
        _ => Err(malformed_xml()),
    }
}

fn check_infrequent(class: &str, days: i32) -> S3Result<()> {
    match class {
        TransitionStorageClass::STANDARD_IA | TransitionStorageClass::ONEZONE_IA
            if days < INFREQUENT_DAYS =>
        {
            Err(argument(format!(
                "'Days' in Transition action must be greater than or equal to {INFREQUENT_DAYS} for storageClass '{class}'"
            )))
        }
        _ => Ok(()),
    }
}

fn check_kept(versions: Option<i32>) -> S3Result<()> {
    match versions {
        None | Some(1..=100) => Ok(()),
        Some(_) => Err(argument(
            "'NewerNoncurrentVersions' must be between 1 and 100",
        )),
    }
}

/// A number of days that has to be there.
fn at_least(days: Option<i32>, least: i32, name: &str, action: &str) -> S3Result<i32> {
    let days = days.ok_or_else(malformed_xml)?;
    if days >= least {
        return Ok(days);
    }
    let kind = if least == 0 {
        "nonnegative"
    } else {
        "positive"
    };
    Err(argument(format!(
        "'{name}' for {action} action must be a {kind} integer"
    )))
}

fn check_midnight(date: &Timestamp) -> S3Result<()> {
    let mut text = Vec::new();
    date.format(TimestampFormat::DateTime, &mut text)
        .map_err(S3Error::internal_error)?;
    if text.ends_with(b"T00:00:00.000Z") {
        Ok(())
    } else {
        Err(argument("'Date' must be at midnight GMT"))
    }
}

fn argument(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

fn request(message: &str) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

//! Lifecycle of objects: what the rules of a bucket say ([`rules`]), by which days ([`calendar`]),
//! and the worker that carries them out ([`worker`]).

pub(super) mod calendar;
pub(super) mod rules;
mod worker;

use std::sync::Arc;

use s3s::S3Result;
use strongroom::store::Bucket;

use self::calendar::Calendar;
use self::rules::{Place, Version};
pub(crate) use self::worker::run;
use super::AppState;
use super::errors::escape;
use super::facts::Facts;
use super::lifecycle_config::Lifecycle;

/// The days of a daemon.
pub(super) fn calendar(state: &AppState) -> Calendar {
    Calendar::of_seconds(state.lifecycle.day_seconds)
}

/// When an upload begun at `initiated_ms` will be aborted, and by which rule.
pub(super) async fn abort(
    state: &Arc<AppState>,
    bucket: &Bucket,
    key: &str,
    initiated_ms: u64,
) -> S3Result<Option<(u64, String)>> {
    let lifecycle = state.documents.get::<Lifecycle>(bucket).await?;
    Ok(lifecycle.and_then(|lifecycle| {
        let (at, rule) = rules::abort(&lifecycle.rules, calendar(state), key, initiated_ms)?;
        Some((at, rule.to_owned()))
    }))
}

/// `x-amz-expiration` of a current version.
pub(super) async fn expiration(
    state: &Arc<AppState>,
    bucket: &Bucket,
    key: &str,
    facts: &Facts,
    length: u64,
    modified_ms: u64,
) -> S3Result<Option<String>> {
    let lifecycle = state.documents.get::<Lifecycle>(bucket).await?;
    Ok(lifecycle.and_then(|lifecycle| {
        let version = Version {
            key,
            length,
            tags: &facts.tags.0,
            class: facts.class.as_deref(),
            marker: false,
            modified_ms,
            place: Place::Current { alone: false },
        };
        let (at, rule) = rules::expiration(&lifecycle.rules, calendar(state), version)?;
        Some(format!(
            "expiry-date=\"{}\", rule-id=\"{}\"",
            Facts::http_date(at),
            escape(rule)
        ))
    }))
}

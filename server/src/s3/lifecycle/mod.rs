//! Lifecycle of objects: what the rules of a bucket say ([`rules`]), by which days ([`mod@calendar`]),
//! and the worker that carries them out ([`worker`]).

pub(super) mod calendar;
pub(super) mod config;
pub(super) mod rules;
mod worker;

use std::sync::Arc;

use s3s::S3Result;

use self::calendar::Calendar;
use self::config::Lifecycle;
use self::rules::{Place, Version};
pub(crate) use self::worker::run;
use super::AppState;
use super::buckets::documents::At;
use super::errors::escape;
use super::facts::Facts;

/// The days of a daemon.
pub(super) fn calendar(state: &AppState) -> Calendar {
    Calendar::of_seconds(state.lifecycle.day_seconds)
}

/// What the rules of a bucket say of the days to come: looked up before a write, since nothing may
/// fail once it is done.
pub(super) struct Dates {
    rules: Option<Arc<Lifecycle>>,
    calendar: Calendar,
}

impl Dates {
    pub(super) async fn of(state: &Arc<AppState>, at: &At) -> S3Result<Self> {
        Ok(Self {
            rules: state.documents.of::<Lifecycle>(at).await?,
            calendar: calendar(state),
        })
    }

    /// When an upload begun at `initiated_ms` will be aborted, and by which rule.
    pub(super) fn abort(&self, key: &str, initiated_ms: u64) -> Option<(u64, String)> {
        let rules = &self.rules.as_ref()?.rules;
        let (at, rule) = rules::abort(rules, self.calendar, key, initiated_ms)?;
        Some((at, rule.to_owned()))
    }

    /// `x-amz-expiration` of a current version.
    pub(super) fn expiration(
        &self,
        key: &str,
        facts: &Facts,
        length: u64,
        modified_ms: u64,
    ) -> Option<String> {
        let version = Version {
            key,
            length,
            tags: &facts.tags.0,
            class: facts.class.as_deref(),
            marker: false,
            modified_ms,
            place: Place::Current { alone: false },
        };
        let rules = &self.rules.as_ref()?.rules;
        let (at, rule) = rules::expiration(rules, self.calendar, version)?;
        Some(format!(
            "expiry-date=\"{}\", rule-id=\"{}\"",
            Facts::http_date(at),
            escape(rule)
        ))
    }
}

//! What the rules of a bucket say of one version, of one upload, at one instant. Nothing here reads
//! a clock or a store.

use s3s::dto::{ExpirationStatus, LifecycleRule, Tag, TransitionStorageClass};

use super::calendar::Calendar;
use crate::s3::facts::millis;

/// One version of a key as rules see it.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Version<'a> {
    pub(in crate::s3) key: &'a str,
    /// Bytes; 0 for a delete marker.
    pub(in crate::s3) length: u64,
    pub(in crate::s3) tags: &'a [(String, String)],
    /// Storage class; `None` is STANDARD.
    pub(in crate::s3) class: Option<&'a str>,
    pub(in crate::s3) marker: bool,
    /// When it became visible, Unix milliseconds.
    pub(in crate::s3) modified_ms: u64,
    pub(in crate::s3) place: Place,
}

/// Where a version stands in the history of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Place {
    Current {
        /// No other version is left.
        alone: bool,
    },
    Noncurrent {
        /// When its successor took its place, Unix milliseconds.
        since_ms: u64,
        /// Number of noncurrent versions above it.
        newer: u32,
    },
}

/// What is to be done with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Verdict<'a> {
    Keep,
    /// Delete the current version as a client without a version id would.
    Expire {
        rule: &'a str,
    },
    /// Remove this version or marker for good.
    Remove {
        rule: &'a str,
    },
    /// Give it another storage class.
    Transition {
        class: &'a str,
        rule: &'a str,
    },
}

/// Judges a version. Removal comes before transition; of several transitions that are due, the one
/// into the coldest class is taken; nothing ever gets warmer. Objects below 128 KiB move only where
/// `small_objects` or a size in the rule says so.
pub(in crate::s3) fn judge<'a>(
    rules: &'a [LifecycleRule],
    small_objects: bool,
    calendar: Calendar,
    now_ms: u64,
    version: Version<'_>,
) -> Verdict<'a> {
    let matching = || rules.iter().filter(|rule| applies(rule, version));
    if let Some(rule) = matching().find(|rule| removes(rule, calendar, now_ms, version)) {
        return match version.place {
            Place::Current { .. } if !version.marker => Verdict::Expire { rule: id(rule) },
            _ => Verdict::Remove { rule: id(rule) },
        };
    }
    if version.marker {
        return Verdict::Keep;
    }
    let from = warmth(version.class.unwrap_or("STANDARD"));
    matching()
        .filter(|rule| small_objects || version.length >= SMALLEST_MOVED || names_a_size(rule))
        .flat_map(|rule| due_transitions(rule, calendar, now_ms, version))
        .filter(|(class, _)| warmth(class) > from)
        .max_by_key(|(class, _)| warmth(class))
        .map_or(Verdict::Keep, |(class, rule)| Verdict::Transition {
            class,
            rule,
        })
}

/// When the current version will expire and by which rule: `x-amz-expiration`.
pub(in crate::s3) fn expiration<'a>(
    rules: &'a [LifecycleRule],
    calendar: Calendar,
    version: Version<'_>,
) -> Option<(u64, &'a str)> {
    rules
        .iter()
        .filter(|rule| applies(rule, version))
        .filter_map(|rule| {
            let expiration = rule.expiration.as_ref()?;
            let at = due(
                expiration.days,
                expiration.date.as_ref(),
                calendar,
                version.modified_ms,
            )?;
            Some((at, id(rule)))
        })
        .min()
}

/// When an upload begun at `initiated_ms` will be aborted and by which rule: `x-amz-abort-date`.
pub(in crate::s3) fn abort<'a>(
    rules: &'a [LifecycleRule],
    calendar: Calendar,
    key: &str,
    initiated_ms: u64,
) -> Option<(u64, &'a str)> {
    rules
        .iter()
        .filter(|rule| is_enabled(rule) && key.starts_with(prefix(rule)))
        .filter_map(|rule| {
            let days = rule
                .abort_incomplete_multipart_upload
                .as_ref()?
                .days_after_initiation?;
            Some((
                calendar.after(initiated_ms, u64::try_from(days).ok()?),
                id(rule),
            ))
        })
        .min()
}

fn removes(rule: &LifecycleRule, calendar: Calendar, now_ms: u64, version: Version<'_>) -> bool {
    let aged = |days, date, from| due(days, date, calendar, from).is_some_and(|due| due <= now_ms);
    match version.place {
        Place::Current { alone } => {
            let Some(expiration) = &rule.expiration else {
                return false;
            };
            let by_age = aged(
                expiration.days,
                expiration.date.as_ref(),
                version.modified_ms,
            );
            if version.marker {
                // A marker that hides nothing any more.
                return alone && (by_age || expiration.expired_object_delete_marker == Some(true));
            }
            by_age
        }
        Place::Noncurrent { since_ms, newer } => rule
            .noncurrent_version_expiration
            .as_ref()
            .is_some_and(|noncurrent| {
                aged(noncurrent.noncurrent_days, None, since_ms)
                    && newer >= kept(noncurrent.newer_noncurrent_versions)
            }),
    }
}

fn due_transitions<'a>(
    rule: &'a LifecycleRule,
    calendar: Calendar,
    now_ms: u64,
    version: Version<'_>,
) -> Vec<(&'a str, &'a str)> {
    let entries: Vec<(Option<u64>, Option<&TransitionStorageClass>)> = match version.place {
        Place::Current { .. } => rule
            .transitions
            .iter()
            .flatten()
            .map(|transition| {
                let at = due(
                    transition.days,
                    transition.date.as_ref(),
                    calendar,
                    version.modified_ms,
                );
                (at, transition.storage_class.as_ref())
            })
            .collect(),
        Place::Noncurrent { since_ms, newer } => rule
            .noncurrent_version_transitions
            .iter()
            .flatten()
            .filter(|transition| newer >= kept(transition.newer_noncurrent_versions))
            .map(|transition| {
                let at = due(transition.noncurrent_days, None, calendar, since_ms);
                (at, transition.storage_class.as_ref())
            })
            .collect(),
    };
    entries
        .into_iter()
        .filter(|(at, _)| at.is_some_and(|at| at <= now_ms))
        .filter_map(|(_, class)| Some((class?.as_str(), id(rule))))
        .collect()
}

/// When days or a date have come, whichever the rule has.
fn due(
    days: Option<i32>,
    date: Option<&s3s::dto::Timestamp>,
    calendar: Calendar,
    from_ms: u64,
) -> Option<u64> {
    match (days, date) {
        (Some(days), _) => Some(calendar.after(from_ms, u64::try_from(days).ok()?)),
        (None, Some(date)) => millis(date),
        (None, None) => None,
    }
}

fn kept(newer: Option<i32>) -> u32 {
    newer
        .and_then(|newer| u32::try_from(newer).ok())
        .unwrap_or(0)
}

fn is_enabled(rule: &LifecycleRule) -> bool {
    rule.status.as_str() == ExpirationStatus::ENABLED
}

fn applies(rule: &LifecycleRule, version: Version<'_>) -> bool {
    if !is_enabled(rule) || !version.key.starts_with(prefix(rule)) {
        return false;
    }
    let Some(filter) = &rule.filter else {
        return true;
    };
    let and = filter.and.as_ref();
    let mut tags = filter
        .tag
        .iter()
        .chain(and.and_then(|and| and.tags.as_ref()).into_iter().flatten());
    let greater = [
        filter.object_size_greater_than,
        and.and_then(|and| and.object_size_greater_than),
    ];
    let less = [
        filter.object_size_less_than,
        and.and_then(|and| and.object_size_less_than),
    ];
    tags.all(|tag| has(version.tags, tag))
        && greater
            .into_iter()
            .flatten()
            .all(|limit| i128::from(version.length) > i128::from(limit))
        && less
            .into_iter()
            .flatten()
            .all(|limit| i128::from(version.length) < i128::from(limit))
}

/// A rule with a size of its own does not keep to the usual minimum.
fn names_a_size(rule: &LifecycleRule) -> bool {
    rule.filter.as_ref().is_some_and(|filter| {
        let and = filter.and.as_ref();
        filter.object_size_greater_than.is_some()
            || filter.object_size_less_than.is_some()
            || and.is_some_and(|and| {
                and.object_size_greater_than.is_some() || and.object_size_less_than.is_some()
            })
    })
}

fn prefix(rule: &LifecycleRule) -> &str {
    let filter = rule.filter.as_ref();
    rule.prefix
        .as_deref()
        .or_else(|| filter?.prefix.as_deref())
        .or_else(|| filter?.and.as_ref()?.prefix.as_deref())
        .unwrap_or_default()
}

fn has(tags: &[(String, String)], wanted: &Tag) -> bool {
    tags.iter().any(|(key, value)| {
        Some(key) == wanted.key.as_ref() && value == wanted.value.as_deref().unwrap_or_default()
    })
}

fn id(rule: &LifecycleRule) -> &str {
    rule.id.as_deref().unwrap_or_default()
}

/// The order in which classes get colder; classes that are not known are as warm as can be.
fn warmth(class: &str) -> usize {
    WATERFALL
        .iter()
        .position(|known| *known == class)
        .unwrap_or(0)
}

/// Smaller objects stay where they are, unless the rules say otherwise.
const SMALLEST_MOVED: u64 = 128 << 10;
const WATERFALL: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#![allow(clippy::unwrap_used)]

use s3s::dto::{
    AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, NoncurrentVersionTransition, Transition,
};

use super::*;
use crate::s3::facts::Facts;

const DAY: u64 = 10_000;
const CALENDAR: Calendar = Calendar::of_seconds(10);
const CURRENT: Place = Place::Current { alone: true };

fn rule(id: &str) -> LifecycleRule {
    LifecycleRule {
        abort_incomplete_multipart_upload: None,
        expiration: None,
        filter: None,
        id: Some(id.into()),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
        transitions: None,
    }
}

fn expires(days: i32) -> Option<LifecycleExpiration> {
    Some(LifecycleExpiration {
        days: Some(days),
        ..LifecycleExpiration::default()
    })
}

fn version(key: &str) -> Version<'_> {
    Version {
        key,
        length: 100,
        tags: &[],
        class: None,
        marker: false,
        modified_ms: 0,
        place: CURRENT,
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: Some(key.into()),
        value: Some(value.into()),
    }
}

#[test]
fn a_current_version_expires_when_its_day_has_come() {
    let rules = [LifecycleRule {
        expiration: expires(2),
        ..rule("r")
    }];
    let at = |now| judge(&rules, true, CALENDAR, now, version("k"));
    assert_eq!(at(2 * DAY - 1), Verdict::Keep);
    assert_eq!(at(2 * DAY), Verdict::Expire { rule: "r" });
    assert_eq!(
        expiration(&rules, CALENDAR, version("k")),
        Some((2 * DAY, "r"))
    );
    let disabled = [LifecycleRule {
        status: ExpirationStatus::from_static(ExpirationStatus::DISABLED),
        ..rules[0].clone()
    }];
    assert_eq!(
        judge(&disabled, true, CALENDAR, 99 * DAY, version("k")),
        Verdict::Keep
    );
    assert_eq!(expiration(&disabled, CALENDAR, version("k")), None);
    let dated = [LifecycleRule {
        expiration: Some(LifecycleExpiration {
            date: Some(Facts::timestamp(5 * DAY)),
            ..LifecycleExpiration::default()
        }),
        ..rule("d")
    }];
    assert_eq!(
        judge(&dated, true, CALENDAR, 5 * DAY - 1, version("k")),
        Verdict::Keep
    );
    assert_eq!(
        judge(&dated, true, CALENDAR, 5 * DAY, version("k")),
        Verdict::Expire { rule: "d" }
    );
}

#[test]
fn every_part_of_a_filter_must_hold() {
    let filtered = |filter| {
        [LifecycleRule {
            expiration: expires(1),
            filter: Some(filter),
            ..rule("f")
        }]
    };
    let and = LifecycleRuleAndOperator {
        object_size_greater_than: Some(99),
        object_size_less_than: Some(101),
        prefix: Some("logs/".into()),
        tags: Some(vec![tag("a", "1"), tag("b", "2")]),
    };
    let tags = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let both = tags(&[("a", "1"), ("b", "2"), ("c", "3")]);
    let one = tags(&[("a", "1")]);
    let other = tags(&[("a", "1"), ("b", "x")]);
    let good = Version {
        tags: &both,
        ..version("logs/x")
    };
    let cases = [
        (and.clone(), good, true),
        (and.clone(), Version { key: "log", ..good }, false),
        (and.clone(), Version { tags: &one, ..good }, false),
        (
            and.clone(),
            Version {
                tags: &other,
                ..good
            },
            false,
        ),
        (and.clone(), Version { length: 99, ..good }, false),
        (
            and,
            Version {
                length: 101,
                ..good
            },
            false,
        ),
    ];
    for (and, version, expected) in cases {
        let rules = filtered(LifecycleRuleFilter {
            and: Some(and),
            ..LifecycleRuleFilter::default()
        });
        let expired = judge(&rules, true, CALENDAR, DAY, version) != Verdict::Keep;
        assert_eq!(expired, expected, "{version:?}");
    }
    let tagged = filtered(LifecycleRuleFilter {
        tag: Some(tag("a", "1")),
        ..LifecycleRuleFilter::default()
    });
    assert_eq!(
        judge(&tagged, true, CALENDAR, DAY, version("k")),
        Verdict::Keep
    );
    assert_ne!(judge(&tagged, true, CALENDAR, DAY, good), Verdict::Keep);
}

#[test]
fn noncurrent_versions_go_by_age_and_number() {
    let rules = [LifecycleRule {
        noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
            newer_noncurrent_versions: Some(2),
            noncurrent_days: Some(1),
        }),
        ..rule("n")
    }];
    let at = |since_ms, newer| {
        let place = Place::Noncurrent { since_ms, newer };
        judge(
            &rules,
            true,
            CALENDAR,
            5 * DAY,
            Version {
                place,
                ..version("k")
            },
        )
    };
    assert_eq!(at(0, 2), Verdict::Remove { rule: "n" });
    assert_eq!(at(0, 1), Verdict::Keep);
    assert_eq!(at(4 * DAY + 1, 2), Verdict::Keep);
    assert_eq!(
        judge(&rules, true, CALENDAR, 5 * DAY, version("k")),
        Verdict::Keep
    );
}

#[test]
fn a_marker_goes_when_it_hides_nothing() {
    let marker = |alone| Version {
        marker: true,
        length: 0,
        place: Place::Current { alone },
        ..version("k")
    };
    let swept = [LifecycleRule {
        expiration: Some(LifecycleExpiration {
            expired_object_delete_marker: Some(true),
            ..LifecycleExpiration::default()
        }),
        ..rule("m")
    }];
    assert_eq!(
        judge(&swept, true, CALENDAR, 0, marker(true)),
        Verdict::Remove { rule: "m" }
    );
    assert_eq!(
        judge(&swept, true, CALENDAR, 0, marker(false)),
        Verdict::Keep
    );
    let aged = [LifecycleRule {
        expiration: expires(1),
        ..rule("a")
    }];
    assert_eq!(
        judge(&aged, true, CALENDAR, DAY - 1, marker(true)),
        Verdict::Keep
    );
    assert_eq!(
        judge(&aged, true, CALENDAR, DAY, marker(true)),
        Verdict::Remove { rule: "a" }
    );
    assert_eq!(
        judge(&aged, true, CALENDAR, DAY, marker(false)),
        Verdict::Keep
    );
    // No transition ever touches a marker.
    let moves = [LifecycleRule {
        transitions: Some(vec![to(0, "GLACIER")]),
        ..rule("t")
    }];
    assert_eq!(
        judge(&moves, true, CALENDAR, DAY, marker(true)),
        Verdict::Keep
    );
}

fn to(days: i32, class: &'static str) -> Transition {
    Transition {
        date: None,
        days: Some(days),
        storage_class: Some(TransitionStorageClass::from_static(class)),
    }
}

#[test]
fn transitions_go_to_the_coldest_class_due_and_never_back() {
    let rules = [
        LifecycleRule {
            transitions: Some(vec![to(1, "STANDARD_IA"), to(3, "DEEP_ARCHIVE")]),
            ..rule("a")
        },
        LifecycleRule {
            transitions: Some(vec![to(2, "GLACIER")]),
            expiration: expires(4),
            ..rule("b")
        },
    ];
    let at = |now, class| {
        judge(
            &rules,
            true,
            CALENDAR,
            now,
            Version {
                class,
                ..version("k")
            },
        )
    };
    let into = |class, rule| Verdict::Transition { class, rule };
    assert_eq!(at(DAY, None), into("STANDARD_IA", "a"));
    assert_eq!(at(DAY, Some("STANDARD_IA")), Verdict::Keep);
    assert_eq!(at(2 * DAY, None), into("GLACIER", "b"));
    assert_eq!(at(2 * DAY, Some("DEEP_ARCHIVE")), Verdict::Keep);
    assert_eq!(at(3 * DAY, Some("GLACIER")), into("DEEP_ARCHIVE", "a"));
    assert_eq!(at(4 * DAY, None), Verdict::Expire { rule: "b" });
}

#[test]
fn noncurrent_transitions_count_from_when_they_were_replaced() {
    let rules = [LifecycleRule {
        noncurrent_version_transitions: Some(vec![NoncurrentVersionTransition {
            newer_noncurrent_versions: Some(1),
            noncurrent_days: Some(1),
            storage_class: Some(TransitionStorageClass::from_static("GLACIER")),
        }]),
        ..rule("n")
    }];
    let at = |since_ms, newer| {
        let place = Place::Noncurrent { since_ms, newer };
        judge(
            &rules,
            true,
            CALENDAR,
            3 * DAY,
            Version {
                place,
                ..version("k")
            },
        )
    };
    let moved = Verdict::Transition {
        class: "GLACIER",
        rule: "n",
    };
    assert_eq!(at(2 * DAY, 1), moved);
    assert_eq!(at(2 * DAY + 1, 1), Verdict::Keep);
    assert_eq!(at(0, 0), Verdict::Keep);
}

#[test]
fn uploads_are_aborted_by_prefix_and_age() {
    let rules = [LifecycleRule {
        abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload {
            days_after_initiation: Some(3),
        }),
        prefix: Some("tmp/".into()),
        ..rule("u")
    }];
    assert_eq!(abort(&rules, CALENDAR, "tmp/x", DAY), Some((4 * DAY, "u")));
    assert_eq!(abort(&rules, CALENDAR, "x", DAY), None);
}

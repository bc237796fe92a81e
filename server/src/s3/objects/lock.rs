//! Object Lock: what a retention or a legal hold forbids. Judged on the facts of one version; the
//! caller makes its change depend on just these facts, so that nothing slips in between.

use s3s::dto::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectLockRetentionMode, ObjectLockRule, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};

use crate::s3::errors::{custom, error, invalid_argument, malformed_xml};
use crate::s3::facts::{Facts, millis};

/// How strict a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::s3) enum Mode {
    /// Who holds the permission to bypass may shorten it and delete.
    Governance,
    /// Nobody may, until the date.
    Compliance,
}

/// Keeps one version until a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct Retention {
    pub(in crate::s3) mode: Mode,
    /// Unix milliseconds.
    pub(in crate::s3) until_ms: u64,
}

/// A bucket's document `object-lock`; that it exists means that the lock is enabled, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct LockConfig {
    /// What new objects get when their request says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::s3) default: Option<DefaultLock>,
}

/// The retention of new objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct DefaultLock {
    pub(in crate::s3) mode: Mode,
    pub(in crate::s3) period: Period,
}

/// A length of time as it was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::s3) enum Period {
    Days(u32),
    Years(u32),
}

impl Mode {
    pub(in crate::s3) fn parse(mode: &str) -> Option<Self> {
        match mode {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }

    pub(in crate::s3) const fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl Retention {
    fn active(self, now_ms: u64) -> bool {
        self.until_ms > now_ms
    }
}

impl LockConfig {
    /// Reads a PutObjectLockConfiguration.
    pub(in crate::s3) fn from_document(
        document: Option<ObjectLockConfiguration>,
    ) -> S3Result<Self> {
        let document = document.ok_or_else(malformed_xml)?;
        if document
            .object_lock_enabled
            .as_ref()
            .map(ObjectLockEnabled::as_str)
            != Some(ObjectLockEnabled::ENABLED)
        {
            return Err(malformed_xml());
        }
        let Some(rule) = document.rule else {
            return Ok(Self::default());
        };
        let rule = rule.default_retention.ok_or_else(malformed_xml)?;
        let mode = rule
            .mode
            .as_ref()
            .and_then(|mode| Mode::parse(mode.as_str()))
            .ok_or_else(malformed_xml)?;
        let period = match (rule.days, rule.years) {
            (Some(days), None) => Period::Days(period(days, MOST_DAYS)?),
            (None, Some(years)) => Period::Years(period(years, MOST_YEARS)?),
            _ => return Err(malformed_xml()),
        };
        Ok(Self {
            default: Some(DefaultLock { mode, period }),
        })
    }

    /// As GetObjectLockConfiguration shows it.
    pub(in crate::s3) fn to_document(self) -> ObjectLockConfiguration {
        let rule = self.default.map(|default| {
            let (days, years) = match default.period {
                Period::Days(days) => (i32::try_from(days).ok(), None),
                Period::Years(years) => (None, i32::try_from(years).ok()),
            };
            ObjectLockRule {
                default_retention: Some(DefaultRetention {
                    days,
                    mode: Some(ObjectLockRetentionMode::from_static(default.mode.as_str())),
                    years,
                }),
            }
        });
        ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule,
        }
    }

    fn default_retention(self, now_ms: u64) -> Option<Retention> {
        self.default.map(|default| {
            let days = match default.period {
                Period::Days(days) => u64::from(days),
                Period::Years(years) => u64::from(years) * DAYS_OF_A_YEAR,
            };
            Retention {
                mode: default.mode,
                until_ms: now_ms + days * DAY_MS,
            }
        })
    }
}

/// What a write's own headers say.
#[derive(Default)]
pub(in crate::s3) struct LockHeaders {
    pub(in crate::s3) mode: Option<ObjectLockMode>,
    pub(in crate::s3) until: Option<Timestamp>,
    pub(in crate::s3) hold: Option<ObjectLockLegalHoldStatus>,
}

impl LockHeaders {
    /// Puts into `facts` what the headers say, or the bucket's default where they say nothing of a
    /// retention. `config` is absent for a bucket without Object Lock.
    pub(in crate::s3) fn apply(
        self,
        config: Option<LockConfig>,
        now_ms: u64,
        facts: &mut Facts,
    ) -> S3Result<()> {
        let Some(config) = config else {
            if self.mode.is_some() || self.until.is_some() || self.hold.is_some() {
                return Err(no_lock_on_bucket());
            }
            return Ok(());
        };
        facts.retention = match (self.mode, self.until) {
            (None, None) => config.default_retention(now_ms),
            (Some(mode), Some(until)) => Some(Retention {
                mode: Mode::parse(mode.as_str()).ok_or_else(|| {
                    invalid_argument(
                        "x-amz-object-lock-mode",
                        mode.as_str(),
                        "Unknown wormMode directive.",
                    )
                })?,
                until_ms: in_future(&until, now_ms)?,
            }),
            _ => {
                return Err(error(
                    S3ErrorCode::InvalidArgument,
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                ));
            }
        };
        facts.legal_hold = self
            .hold
            .map(|status| {
                hold(status.as_str()).ok_or_else(|| {
                    invalid_argument(
                        "x-amz-object-lock-legal-hold",
                        status.as_str(),
                        "Legal hold must be either of 'ON' or 'OFF'",
                    )
                })
            })
            .transpose()?;
        Ok(())
    }
}

/// `ON` or `OFF`.
pub(in crate::s3) fn hold(status: &str) -> Option<bool> {
    match status {
        "ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    }
}

/// As replies say it.
pub(in crate::s3) fn hold_status(hold: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if hold { "ON" } else { "OFF" })
}

/// May this version be removed for good, or sealed anew?
pub(in crate::s3) fn may_remove(facts: &Facts, now_ms: u64, bypass: bool) -> S3Result<()> {
    let retained = facts.retention.is_some_and(|retention| {
        retention.active(now_ms) && !(bypass && retention.mode == Mode::Governance)
    });
    if facts.legal_hold == Some(true) || retained {
        return Err(protected());
    }
    Ok(())
}

/// May this retention take the place of what is there? `None` removes it.
pub(in crate::s3) fn may_change(
    facts: &Facts,
    new: Option<Retention>,
    now_ms: u64,
    bypass: bool,
) -> S3Result<()> {
    let Some(old) = facts.retention.filter(|old| old.active(now_ms)) else {
        return Ok(());
    };
    let extends = new.is_some_and(|new| new.mode == old.mode && new.until_ms >= old.until_ms);
    if extends || (old.mode == Mode::Governance && bypass) {
        return Ok(());
    }
    Err(protected())
}

/// A date to retain until, which is not over yet; in Unix milliseconds.
pub(in crate::s3) fn in_future(until: &Timestamp, now_ms: u64) -> S3Result<u64> {
    millis(until)
        .filter(|until_ms| *until_ms > now_ms)
        .ok_or_else(|| {
            error(
                S3ErrorCode::InvalidArgument,
                "The retain until date must be in the future!",
            )
        })
}

/// Object Lock asked of a bucket that has none.
pub(in crate::s3) fn no_lock_on_bucket() -> S3Error {
    error(
        S3ErrorCode::InvalidRequest,
        "Bucket is missing Object Lock Configuration",
    )
}

fn protected() -> S3Error {
    error(
        S3ErrorCode::AccessDenied,
        "Access Denied because object protected by object lock.",
    )
}

fn period(value: i32, most: u32) -> S3Result<u32> {
    match u32::try_from(value) {
        Ok(value @ 1..) if value <= most => Ok(value),
        Ok(1..) => Err(error(
            S3ErrorCode::InvalidArgument,
            "Default retention period is too large",
        )),
        _ => Err(custom(
            http::StatusCode::BAD_REQUEST,
            "InvalidRetentionPeriod",
            "Default retention period must be a positive integer value",
        )),
    }
}

const DAY_MS: u64 = 86_400_000;
const DAYS_OF_A_YEAR: u64 = 365;
const MOST_DAYS: u32 = 36_500;
const MOST_YEARS: u32 = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: u64 = 1_000_000;

    fn facts(mode: Mode, until_ms: u64) -> Facts {
        Facts {
            retention: Some(Retention { mode, until_ms }),
            ..Facts::default()
        }
    }

    #[test]
    fn who_may_remove_a_version() {
        use Mode::{Compliance, Governance};
        let held = Facts {
            legal_hold: Some(true),
            ..Facts::default()
        };
        let cases = [
            (Facts::default(), false, true),
            (held.clone(), false, false),
            (held, true, false),
            (facts(Governance, NOW + 1), false, false),
            (facts(Governance, NOW + 1), true, true),
            (facts(Governance, NOW), false, true),
            (facts(Compliance, NOW + 1), true, false),
            (facts(Compliance, NOW), true, true),
        ];
        for (facts, bypass, allowed) in cases {
            assert_eq!(
                may_remove(&facts, NOW, bypass).is_ok(),
                allowed,
                "{facts:?} bypass {bypass}"
            );
        }
    }

    #[test]
    fn a_retention_may_only_grow() {
        use Mode::{Compliance, Governance};
        let old = NOW + 100;
        let to = |mode, until_ms| Some(Retention { mode, until_ms });
        let cases = [
            (Governance, to(Governance, old), false, true),
            (Governance, to(Governance, old + 1), false, true),
            (Governance, to(Governance, old - 1), false, false),
            (Governance, to(Governance, old - 1), true, true),
            (Governance, to(Compliance, old + 1), false, false),
            (Governance, to(Compliance, old + 1), true, true),
            (Governance, None, false, false),
            (Governance, None, true, true),
            (Compliance, to(Compliance, old + 1), false, true),
            (Compliance, to(Compliance, old - 1), true, false),
            (Compliance, to(Governance, old + 1), true, false),
            (Compliance, None, true, false),
        ];
        for (mode, new, bypass, allowed) in cases {
            assert_eq!(
                may_change(&facts(mode, old), new, NOW, bypass).is_ok(),
                allowed,
                "{mode:?} -> {new:?} bypass {bypass}"
            );
        }
        // What has run out binds nobody.
        assert!(may_change(&facts(Compliance, NOW), None, NOW, false).is_ok());
    }

    #[test]
    fn headers_win_over_the_default_of_the_bucket() {
        let config = LockConfig {
            default: Some(DefaultLock {
                mode: Mode::Compliance,
                period: Period::Years(1),
            }),
        };
        let mut facts = Facts::default();
        LockHeaders::default()
            .apply(Some(config), NOW, &mut facts)
            .unwrap();
        assert_eq!(
            facts.retention,
            Some(Retention {
                mode: Mode::Compliance,
                until_ms: NOW + 365 * DAY_MS
            })
        );
        let headers = || LockHeaders {
            mode: Some(ObjectLockMode::from_static("GOVERNANCE")),
            until: Some(Facts::timestamp(NOW + 5)),
            hold: Some(ObjectLockLegalHoldStatus::from_static("ON")),
        };
        headers().apply(Some(config), NOW, &mut facts).unwrap();
        assert_eq!(
            facts.retention,
            Some(Retention {
                mode: Mode::Governance,
                until_ms: NOW + 5
            })
        );
        assert_eq!(facts.legal_hold, Some(true));
        let refused = headers().apply(None, NOW, &mut facts).unwrap_err();
        assert_eq!(refused.code().as_str(), "InvalidRequest");
        let late = headers().apply(Some(config), NOW + 5, &mut facts);
        assert_eq!(late.unwrap_err().code().as_str(), "InvalidArgument");
        let torn = LockHeaders {
            until: None,
            ..headers()
        };
        assert!(torn.apply(Some(config), NOW, &mut facts).is_err());
    }

    #[test]
    fn configurations_are_read_strictly_and_come_back() {
        let document = |days, years, mode: &'static str, enabled: &'static str| {
            Some(ObjectLockConfiguration {
                object_lock_enabled: Some(ObjectLockEnabled::from_static(enabled)),
                rule: Some(ObjectLockRule {
                    default_retention: Some(DefaultRetention {
                        days,
                        years,
                        mode: Some(ObjectLockRetentionMode::from_static(mode)),
                    }),
                }),
            })
        };
        let good = document(Some(3), None, "GOVERNANCE", "Enabled");
        let config = LockConfig::from_document(good.clone()).unwrap();
        assert_eq!(Some(config.to_document()), good);
        let cases = [
            (
                document(Some(1), Some(1), "GOVERNANCE", "Enabled"),
                "MalformedXML",
            ),
            (
                document(None, None, "GOVERNANCE", "Enabled"),
                "MalformedXML",
            ),
            (document(Some(1), None, "abc", "Enabled"), "MalformedXML"),
            (
                document(Some(1), None, "GOVERNANCE", "Disabled"),
                "MalformedXML",
            ),
            (
                document(Some(0), None, "GOVERNANCE", "Enabled"),
                "InvalidRetentionPeriod",
            ),
            (
                document(None, Some(-1), "GOVERNANCE", "Enabled"),
                "InvalidRetentionPeriod",
            ),
            (
                document(None, Some(101), "GOVERNANCE", "Enabled"),
                "InvalidArgument",
            ),
            (None, "MalformedXML"),
        ];
        for (document, code) in cases {
            let refused = LockConfig::from_document(document).unwrap_err();
            assert_eq!(refused.code().as_str(), code);
        }
    }
}

//! One event, and its line.

use std::time::{Duration, SystemTime};

use super::json::{Object, timestamp};
use crate::id::{BucketId, InstanceId, RootId};

/// Event names. Where an operation has a name in the trails S3 users already read, it is that one.
pub mod name {
    /// A bucket key was made and wrapped under every root it belongs to.
    pub const CREATE_KEY: &str = "CreateKey";
    /// An HSM unwrapped a bucket key.
    pub const DECRYPT: &str = "Decrypt";
    /// An HSM wrapped a bucket key.
    pub const ENCRYPT: &str = "Encrypt";
    /// An HSM moved a bucket key to another version of its master key.
    pub const RE_ENCRYPT: &str = "ReEncrypt";
    /// An HSM gave random bytes.
    pub const GENERATE_RANDOM: &str = "GenerateRandom";
    /// A bucket key, or a root, may be used again.
    pub const ENABLE_KEY: &str = "EnableKey";
    /// A bucket key only opens from now on.
    pub const RESTRICT_KEY: &str = "RestrictKey";
    /// A bucket key, or a root, may not be used until it is enabled.
    pub const DISABLE_KEY: &str = "DisableKey";
    /// A root may not be used, and is to be destroyed.
    pub const SCHEDULE_KEY_DELETION: &str = "ScheduleKeyDeletion";
    /// A bucket key's wraps were destroyed.
    pub const SHRED_KEY: &str = "ShredKey";
    /// A root was probed with a known answer.
    pub const PROBE_KEY: &str = "ProbeKey";
    /// A principal's first use of a bucket key since it was loaded.
    pub const USE_KEY: &str = "UseKey";
    /// A bucket key's state has no valid tag, or differs from the catalog's.
    pub const KEY_STATE_ALARM: &str = "KeyStateAlarm";
    /// A trail was opened after a crash that cut its last line.
    pub const TRAIL_RECOVERED: &str = "TrailRecovered";
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// Not; a short code such as `AccessDenied` or `TimedOut`.
    Failure(&'static str),
}

/// One thing that was done with keys. Build it with [`Event::new`] and set what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it ended, by the wall clock.
    pub time: SystemTime,
    /// What it was: a constant of [`name`], or the caller's own.
    pub name: &'static str,
    /// For whom, in the caller's words; empty if not known.
    pub principal: String,
    /// The bucket whose key it was.
    pub bucket: Option<BucketId>,
    /// Which generation of that key.
    pub generation: Option<u32>,
    /// The object instance, where one is concerned.
    pub instance: Option<InstanceId>,
    /// The root that was asked.
    pub root: Option<RootId>,
    /// The version of that root's master key.
    pub version: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Option<Duration>,
    /// Anything else, as names and values. Never key bytes.
    pub details: Vec<(&'static str, String)>,
}

impl Event {
    /// A successful event of now, with nothing else known.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            time: SystemTime::now(),
            name,
            principal: String::new(),
            bucket: None,
            generation: None,
            instance: None,
            root: None,
            version: None,
            outcome: Outcome::Success,
            duration: None,
            details: Vec::new(),
        }
    }

    /// The event's line in a trail, without the newline: `seq` and `prev` first, then the fields.
    pub(super) fn line(&self, seq: u64, prev: &[u8; 32]) -> String {
        let mut line = Object::new();
        line.number("seq", u128::from(seq));
        line.string("prev", &super::json::hex(prev));
        line.string("eventVersion", "1.0");
        line.string("eventTime", &timestamp(self.time));
        line.string("eventSource", "strongroom");
        line.string("eventName", self.name);
        if !self.principal.is_empty() {
            line.object("userIdentity", |user| {
                user.string("principalId", &self.principal);
            });
        }
        line.object("resources", |key| {
            if let Some(bucket) = self.bucket {
                key.string("bucketId", &bucket.to_string());
            }
            if let Some(generation) = self.generation {
                key.number("generation", u128::from(generation));
            }
            if let Some(instance) = self.instance {
                key.string("instanceId", &instance.to_string());
            }
            if let Some(root) = self.root {
                key.string("rootId", &root.to_string());
            }
            if let Some(version) = self.version {
                key.number("masterVersion", u128::from(version));
            }
        });
        if let Outcome::Failure(code) = self.outcome {
            line.string("errorCode", code);
        }
        if let Some(duration) = self.duration {
            line.number("durationMicros", duration.as_micros());
        }
        if !self.details.is_empty() {
            line.object("additionalEventData", |details| {
                for (name, value) in &self.details {
                    details.string(name, value);
                }
            });
        }
        line.finish()
    }
}

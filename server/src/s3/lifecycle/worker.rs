//! Carries lifecycle rules out, again and again: one daemon at a time, a page of versions at a time.
//! Each change holds against what it was judged on, and no object, upload or bucket that fails keeps another.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use strongroom::id::VersionId;
use strongroom::store::{Bucket, Which};
use strongroom::vault::{
    Judged, ListedObject, ListedVersion, UploadItem, UploadsRequest, Vault, VaultError,
    VersionEntry, VersionItem, VersionsRequest,
};

use super::calendar::Calendar;
use super::config::Lifecycle;
use super::rules::{self, Place, Verdict, Version};
use crate::daemon::Stop;
use crate::s3::AppState;
use crate::s3::facts::{Facts, now_ms};
use crate::s3::objects::archive;
use crate::s3::objects::lock;
use crate::s3::objects::restore::is_archive;

/// Works until the daemon stops.
pub(crate) async fn run(state: Arc<AppState>, mut stopped: Stop) {
    let interval = Duration::from_secs(state.lifecycle.interval_seconds);
    if interval.is_zero() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stopped.asked() => return,
        }
        let state = Arc::clone(&state);
        let passed = tokio::task::spawn_blocking(move || pass(&state, now_ms())).await;
        match passed {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::warn!(error = %cause, "a lifecycle pass ended early"),
            Err(cause) => tracing::error!(error = %cause, "a lifecycle pass failed"),
        }
    }
}

/// Looks at every version of every bucket once.
fn pass(state: &AppState, now_ms: u64) -> Result<(), VaultError> {
    let vault = &state.vault;
    let ttl = Duration::from_secs(state.lifecycle.interval_seconds) + LEASE;
    if !vault.task(TASK, ttl)? {
        return Ok(()); // another daemon is at it
    }
    if state.multipart.expire_days > 0 {
        let age = u64::from(state.multipart.expire_days)
            .saturating_mul(state.lifecycle.day_seconds)
            .saturating_mul(1000);
        if let Err(cause) = expire_uploads(vault, now_ms.saturating_sub(age)) {
            tracing::warn!(error = %cause, "not all old uploads were looked at, tried again later");
        }
    }
    let mut after = None;
    loop {
        let page = vault.buckets(after.as_deref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for bucket in &page {
            let rules = match state.documents.read::<Lifecycle>(bucket) {
                Ok(rules) => rules,
                // What the rules are is not known: nothing is done.
                Err(_) => continue,
            };
            let pass = Pass {
                state,
                vault,
                bucket,
                lifecycle: rules,
                calendar: super::calendar(state),
                now_ms,
            };
            match pass.versions().and_then(|()| pass.uploads()) {
                Ok(()) | Err(VaultError::NoSuchBucket(_)) => {}
                Err(cause) => {
                    let bucket = &bucket.name;
                    tracing::warn!(bucket, error = %cause, "lifecycle: not all of it was looked at, tried again later");
                }
            }
        }
    }
}

/// Gives up what was begun before a time and never completed, in all buckets.
fn expire_uploads(vault: &Vault, before_ms: u64) -> Result<(), VaultError> {
    let mut after = None;
    loop {
        let page = vault.expire_uploads(before_ms, after, PAGE)?;
        for (key, upload, cause) in &page.failed {
            let key = String::from_utf8_lossy(key);
            tracing::warn!(%key, %upload, error = %cause, "an upload did not expire, tried again later");
        }
        if page.next.is_none() {
            return Ok(());
        }
        after = page.next;
    }
}

/// One look at one bucket.
struct Pass<'a> {
    state: &'a AppState,
    vault: &'a Arc<Vault>,
    bucket: &'a Bucket,
    lifecycle: Option<Arc<Lifecycle>>,
    calendar: Calendar,
    now_ms: u64,
}

impl Pass<'_> {
    fn versions(&self) -> Result<(), VaultError> {
        let mut at: Option<(Vec<u8>, Which)> = None;
        // Noncurrent versions seen of the key so far.
        let mut newer: (Vec<u8>, u32) = (Vec::new(), 0);
        loop {
            let page = self.vault.list_versions(&VersionsRequest {
                bucket: self.bucket.into(),
                prefix: b"",
                from: at
                    .as_ref()
                    .map_or(Bound::Unbounded, |(key, _)| Bound::Included(key.as_slice())),
                after: at.as_ref().map(|(_, which)| *which),
                delimiter: None,
                // One more than is judged now: it tells whether the last one is alone.
                limit: PAGE + 1,
            })?;
            let listed: Vec<ListedVersion> = page
                .items
                .into_iter()
                .filter_map(|item| match item {
                    VersionItem::Version(version) => Some(version),
                    VersionItem::Prefix(_) => None,
                })
                .collect();
            let judged = if page.more {
                &listed[..listed.len().min(PAGE)]
            } else {
                &listed[..]
            };
            for (index, version) in judged.iter().enumerate() {
                let key = version.key();
                let place = match version.noncurrent_since_ms {
                    None => {
                        newer = (key.to_vec(), 0);
                        let next = listed.get(index + 1);
                        Place::Current {
                            alone: next.is_none_or(|next| next.key() != key),
                        }
                    }
                    Some(since_ms) => {
                        if newer.0 != key {
                            newer = (key.to_vec(), 0);
                        }
                        let place = Place::Noncurrent {
                            since_ms,
                            newer: newer.1,
                        };
                        newer.1 = newer.1.saturating_add(1);
                        place
                    }
                };
                if let Err(cause) = self.judge(version, place) {
                    self.failed(key, &cause);
                }
            }
            match (page.more, judged.last()) {
                (true, Some(last)) => at = Some((last.key().to_vec(), last.which)),
                _ => return Ok(()),
            }
        }
    }

    fn judge(&self, version: &ListedVersion, place: Place) -> Result<(), VaultError> {
        let key = String::from_utf8_lossy(version.key()).into_owned();
        let verdict = |candidate| {
            let verdict = match &self.lifecycle {
                Some(lifecycle) => rules::judge(
                    &lifecycle.rules,
                    lifecycle.small_objects,
                    self.calendar,
                    self.now_ms,
                    candidate,
                ),
                None => Verdict::Keep,
            };
            if verdict != Verdict::Keep {
                self.check_rules()?;
            }
            Ok::<_, VaultError>(verdict)
        };
        match &version.entry {
            VersionEntry::Marker(marker) => {
                let candidate = Version {
                    key: &key,
                    length: 0,
                    tags: &[],
                    class: None,
                    marker: true,
                    modified_ms: marker.modified_ms,
                    place,
                };
                if let Verdict::Remove { rule } = verdict(candidate)? {
                    self.done(&key, rule, "delete marker removed");
                    self.remove(version, marker.version, &[])?;
                }
                Ok(())
            }
            VersionEntry::Object(object) => {
                let Ok(facts) = Facts::read(&object.facts) else {
                    return Ok(()); // perhaps a lock is among them
                };
                let candidate = Version {
                    key: &key,
                    length: object.length,
                    tags: &facts.tags.0,
                    class: facts.class.as_deref(),
                    marker: false,
                    modified_ms: object.modified_ms,
                    place,
                };
                match verdict(candidate)? {
                    Verdict::Keep => self.settle(version, object, &facts),
                    Verdict::Expire { rule } => {
                        self.done(&key, rule, "expired");
                        // Its page may be old: perhaps it has other tags since.
                        let judged = Judged {
                            version: object.version,
                            facts: &object.facts,
                        };
                        self.vault
                            .delete_judged(self.bucket, &object.key, judged)
                            .map(|_| ())
                    }
                    Verdict::Remove { rule } => {
                        if lock::may_remove(&facts, self.now_ms, false).is_err() {
                            return Ok(());
                        }
                        self.done(&key, rule, "noncurrent version removed");
                        self.remove(version, object.version, &object.facts)
                    }
                    Verdict::Transition { class, rule } => {
                        self.done(&key, rule, class);
                        self.transition(version, object, facts, class)
                    }
                }
            }
        }
    }

    /// A pass takes its time: rules that were replaced or deleted since it began are no reason any more.
    fn check_rules(&self) -> Result<(), VaultError> {
        let now = self.state.documents.read::<Lifecycle>(self.bucket);
        let now = now.ok().flatten();
        match (&self.lifecycle, &now) {
            (Some(then), Some(now)) if then == now => Ok(()),
            _ => Err(VaultError::PreconditionFailed),
        }
    }

    fn remove(
        &self,
        listed: &ListedVersion,
        version: VersionId,
        facts: &[u8],
    ) -> Result<(), VaultError> {
        let judged = Judged { version, facts };
        self.vault
            .delete_version(self.bucket, listed.key(), listed.which, Some(judged))
            .map(|_| ())
    }

    /// The class first: whoever reads it from then on is told so. Then the bytes, as they are.
    fn transition(
        &self,
        version: &ListedVersion,
        object: &ListedObject,
        mut facts: Facts,
        class: &str,
    ) -> Result<(), VaultError> {
        facts.class = Some(class.to_owned());
        self.vault.set_facts(
            self.bucket,
            &object.key,
            version.which,
            object.instance,
            &object.facts,
            &facts.encode(),
        )?;
        self.settle(version, object, &facts)
    }

    /// Brings the bytes to where the facts say, if they are not there.
    fn settle(
        &self,
        version: &ListedVersion,
        object: &ListedObject,
        facts: &Facts,
    ) -> Result<(), VaultError> {
        if !is_archive(facts.class.as_deref()) {
            return Ok(());
        }
        archive::settle(
            self.vault,
            self.calendar,
            self.bucket,
            &object.key,
            version.which,
        )
    }

    fn uploads(&self) -> Result<(), VaultError> {
        let Some(lifecycle) = &self.lifecycle else {
            return Ok(());
        };
        let mut at = None;
        loop {
            let page = self.vault.list_uploads(&UploadsRequest {
                bucket: self.bucket.into(),
                prefix: b"",
                from: at
                    .as_ref()
                    .map_or(Bound::Unbounded, |(key, _): &(Vec<u8>, _)| {
                        Bound::Included(key.as_slice())
                    }),
                after: at.as_ref().map(|(_, after)| *after),
                delimiter: None,
                limit: PAGE,
            })?;
            for item in &page.items {
                let UploadItem::Upload(upload) = item else {
                    continue;
                };
                at = Some((upload.key.clone(), (upload.created_ms, upload.id)));
                let key = String::from_utf8_lossy(&upload.key);
                let due = rules::abort(&lifecycle.rules, self.calendar, &key, upload.created_ms);
                if let Some((due, rule)) = due
                    && due <= self.now_ms
                    && self.check_rules().is_ok()
                {
                    self.done(&key, rule, "upload aborted");
                    match self.vault.abort_upload(self.bucket, &upload.key, upload.id) {
                        Ok(()) | Err(VaultError::NoSuchUpload { .. }) => {}
                        Err(cause) => self.failed(&upload.key, &cause),
                    }
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    fn done(&self, key: &str, rule: &str, what: &str) {
        tracing::info!(bucket = self.bucket.name, key, rule, what, "lifecycle");
    }

    fn failed(&self, key: &[u8], cause: &VaultError) {
        // Somebody else changed it meanwhile: the next pass sees what it is then.
        if !matches!(
            cause,
            VaultError::PreconditionFailed
                | VaultError::NoSuchKey { .. }
                | VaultError::NoSuchVersion { .. }
                | VaultError::Changed
        ) {
            let key = String::from_utf8_lossy(key);
            tracing::warn!(bucket = self.bucket.name, %key, error = %cause, "lifecycle: not done, tried again later");
        }
    }
}

const TASK: &str = "lifecycle";
/// A pass that takes longer than this beyond its interval may meet another one; no harm is done.
const LEASE: Duration = Duration::from_secs(60);
const PAGE: usize = 1000;

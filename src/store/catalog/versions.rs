//! Versions of a key: how one is named, what is there, and the listing of all.

use std::ops::Bound;

use super::listing::first_key;
use super::{Garbage, ListedObject, ObjectView};
use crate::id::{BucketId, VersionId};
use crate::store::StoreError;

/// A version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest one.
    Current,
    /// The null version: what was written while the bucket's versioning was not enabled.
    Null,
    /// The one of this label. Never the null version, which has no label to the outside.
    Label(VersionId),
}

impl Which {
    pub(in crate::store) fn of(version: VersionId, null: bool) -> Self {
        if null {
            Self::Null
        } else {
            Self::Label(version)
        }
    }
}

/// One version of a key, from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// Whether it is the newest of its key.
    pub is_current: bool,
    /// What it is.
    pub version: Version,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// An object.
    Object(Box<ObjectView>),
    /// A mark that the key was deleted then.
    Marker(Marker),
}

/// A delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The key.
    pub key: Vec<u8>,
    /// Its label.
    pub version: VersionId,
    /// Whether it is the null version of its key.
    pub null: bool,
    /// When it was made.
    pub modified_ms: u64,
}

impl Marker {
    /// What it is found as among the versions of its key.
    #[must_use]
    pub fn which(&self) -> Which {
        Which::of(self.version, self.null)
    }
}

/// What a removal or a deletion was judged on: whether it may go, and whether it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged<'a> {
    /// Its label. The null version has one too, and another one after each write in its place; it stays when the
    /// version gets another instance.
    pub version: VersionId,
    /// Its facts. A delete marker has none.
    pub facts: &'a [u8],
}

impl Judged<'_> {
    /// Whether the current object, if there is one, is still this version.
    pub(in crate::store) fn check_current(
        &self,
        current: Option<(VersionId, &[u8])>,
    ) -> Result<(), StoreError> {
        let (version, facts) = current
            .ok_or_else(|| StoreError::Stale(format!("version {} is not current", self.version)))?;
        self.check(version, Some(facts))
    }

    /// Whether the version is still this one.
    pub(in crate::store) fn check(
        &self,
        version: VersionId,
        facts: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if self.version == version && facts.is_none_or(|facts| facts == self.facts) {
            return Ok(());
        }
        Err(StoreError::Stale(format!(
            "version {version}, or its facts, since {} was judged",
            self.version
        )))
    }
}

/// What a deletion did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// What is garbage from now on.
    pub garbage: Option<Garbage>,
    /// The delete marker that was put on top, or that was the version to be deleted.
    pub marker: Option<Marker>,
}

/// Which versions to list.
#[derive(Debug, Clone, Copy)]
pub struct VersionsQuery<'a> {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on.
    pub from: Bound<&'a [u8]>,
    /// Within the key that `from` includes, only versions older than this one; all of them if it is gone, because
    /// then nobody knows where it stood. [`Which::Current`] is as good as `None`.
    pub after: Option<Which>,
    /// As in [`ListQuery`](super::ListQuery).
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

impl VersionsQuery<'_> {
    /// The smallest key it may show.
    pub(in crate::store) fn start(&self) -> Vec<u8> {
        first_key(self.prefix, self.from)
    }
}

/// An item of a listing of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionItem {
    /// A version.
    Version(ListedVersion),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

/// A version as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Since when it is no longer the newest of its key: when the next newer one was made. `None` for the newest.
    pub noncurrent_since_ms: Option<u64>,
    /// What it is.
    pub entry: VersionEntry,
}

impl ListedVersion {
    /// Whether it is the newest of its key.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.noncurrent_since_ms.is_none()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match &self.entry {
            VersionEntry::Object(object) => &object.key,
            VersionEntry::Marker(marker) => &marker.key,
        }
    }

    /// What it is found as among the versions of its key.
    #[must_use]
    pub fn which(&self) -> Which {
        match &self.entry {
            VersionEntry::Object(object) => object.which(),
            VersionEntry::Marker(marker) => marker.which(),
        }
    }
}

/// What a listed version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionEntry {
    /// An object.
    Object(ListedObject),
    /// A delete marker.
    Marker(Marker),
}

impl VersionEntry {
    pub(in crate::store) fn modified_ms(&self) -> u64 {
        match self {
            Self::Object(object) => object.modified_ms,
            Self::Marker(marker) => marker.modified_ms,
        }
    }
}

/// A page of versions: keys in byte order, the versions of a key from the newest to the oldest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionsPage {
    /// The items.
    pub items: Vec<VersionItem>,
    /// Whether there is more. The next page is asked for behind the last item: its key and what it is found as, or
    /// for a common prefix [`after_prefix`](super::after_prefix).
    pub more: bool,
    /// How many rows were looked at to make the page.
    pub rows_visited: u64,
}

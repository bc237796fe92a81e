//! Listing and looking at objects. A page costs at most one use of each generation of one bucket key.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use super::kms::root_of;
use super::types::Stat;
use super::{InBucket, Vault, VaultError, check_key};
use crate::format::NamedList;
use crate::id::{InstanceId, VersionId};
use crate::keys::{BucketKey, Mode};
use crate::store::{self, Bucket, ListItem, ListQuery, Marker, Place, VersionsQuery, Which};

/// What to list.
#[derive(Debug, Clone)]
pub struct ListRequest<'a> {
    /// The bucket.
    pub bucket: InBucket<'a>,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on.
    pub from: Bound<&'a [u8]>,
    /// Keys that share what stands before and with its first occurrence after the prefix are shown as one item.
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

/// A page of a listing, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The items.
    pub items: Vec<ListedItem>,
    /// The key the next page begins with, inclusive; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// An item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedItem {
    /// An object.
    Object(ListedObject),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The object key.
    pub key: Vec<u8>,
    /// The instance.
    pub instance: InstanceId,
    /// Label of the version.
    pub version: VersionId,
    /// Whether it is the null version of its key.
    pub null: bool,
    /// How it is protected.
    pub mode: Mode,
    /// Plaintext length in bytes.
    pub length: u64,
    /// When it became visible, Unix milliseconds.
    pub modified_ms: u64,
    /// Where its bytes are.
    pub place: Place,
    /// As in [`Stat`]; also `None` for an object under a root of its own, so that a listing needs no key but the
    /// bucket's.
    pub attrs: Option<NamedList>,
    /// Facts that may change.
    pub facts: Vec<u8>,
}

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct VersionsRequest<'a> {
    /// The bucket.
    pub bucket: InBucket<'a>,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on.
    pub from: Bound<&'a [u8]>,
    /// Within the key that `from` includes, only versions older than this one; all of them if it is gone.
    pub after: Option<Which>,
    /// As in [`ListRequest`].
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

/// A page of versions: keys in byte order, the versions of a key from the newest to the oldest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionListing {
    /// The items.
    pub items: Vec<VersionItem>,
    /// Whether there is more. The next page is asked for behind the last item: from its key, after what it is found as;
    /// or behind a common prefix ([`after_prefix`](crate::store::after_prefix)).
    pub more: bool,
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
    /// What it is found as among the versions of its key.
    pub which: Which,
    /// Since when it is no longer the newest of its key, Unix milliseconds; `None` for the newest.
    pub noncurrent_since_ms: Option<u64>,
    /// What it is.
    pub entry: VersionEntry,
}

impl ListedVersion {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match &self.entry {
            VersionEntry::Object(object) => &object.key,
            VersionEntry::Marker(marker) => &marker.key,
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

impl Vault {
    /// A page of the objects of a bucket, in byte order of their keys.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::Unavailable`]. Attributes that do not open fail nothing.
    pub fn list(&self, request: &ListRequest<'_>) -> Result<Listing, VaultError> {
        let bucket = self.in_bucket(&request.bucket)?;
        let page = self.stores.catalog.list(&ListQuery {
            bucket: bucket.id,
            prefix: request.prefix,
            from: request.from,
            delimiter: request.delimiter,
            limit: request.limit,
        })?;
        let mut keys = AttributeKeys::new(self, &bucket);
        let items = page.items.into_iter().map(|item| match item {
            ListItem::Prefix(prefix) => ListedItem::Prefix(prefix),
            ListItem::Object(object) => ListedItem::Object(keys.listed(object)),
        });
        Ok(Listing {
            items: items.collect(),
            next: page.next,
        })
    }

    /// A page of all versions and delete markers of a bucket.
    ///
    /// # Errors
    /// As [`Vault::list`].
    pub fn list_versions(
        &self,
        request: &VersionsRequest<'_>,
    ) -> Result<VersionListing, VaultError> {
        let bucket = self.in_bucket(&request.bucket)?;
        let page = self.stores.catalog.list_versions(&VersionsQuery {
            bucket: bucket.id,
            prefix: request.prefix,
            from: request.from,
            after: request.after,
            delimiter: request.delimiter,
            limit: request.limit,
        })?;
        let mut keys = AttributeKeys::new(self, &bucket);
        let items = page.items.into_iter().map(|item| match item {
            store::VersionItem::Prefix(prefix) => VersionItem::Prefix(prefix),
            store::VersionItem::Version(version) => VersionItem::Version(ListedVersion {
                which: version.which(),
                noncurrent_since_ms: version.noncurrent_since_ms,
                entry: match version.entry {
                    store::VersionEntry::Marker(marker) => VersionEntry::Marker(marker),
                    store::VersionEntry::Object(object) => {
                        VersionEntry::Object(keys.listed(object))
                    }
                },
            }),
        });
        Ok(VersionListing {
            items: items.collect(),
            more: page.more,
        })
    }

    /// What the catalog says of an object, without opening it.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchKey`], [`VaultError::NoSuchVersion`],
    /// [`VaultError::DeleteMarker`], [`VaultError::Unavailable`].
    pub fn stat<'b>(
        &self,
        bucket: impl Into<InBucket<'b>>,
        key: &[u8],
        which: Which,
    ) -> Result<Stat, VaultError> {
        check_key(key)?;
        let found = self.look_up(&bucket.into(), key, which)?;
        let Some(mode) = Mode::from_code(found.view.row.mode) else {
            return Err(self.damaged(&found, "its mode is none that exists".to_owned()));
        };
        let row = found.view.row;
        let mut keys = AttributeKeys::new(self, &found.bucket);
        Ok(Stat {
            attrs: keys.open(mode, row.generation, row.instance, &row.attrs),
            instance: row.instance,
            version: row.version,
            null: row.null,
            kms_root: root_of(&row.kms_key_id),
            place: row.place(),
            length: row.length,
            modified_ms: row.modified_ms,
            mode,
            facts: row.facts,
        })
    }
}

/// The bucket key of each generation that a page names, asked for once.
pub(super) struct AttributeKeys<'a> {
    vault: &'a Vault,
    bucket: &'a Bucket,
    keys: HashMap<u32, Option<Arc<BucketKey>>>,
}

impl<'a> AttributeKeys<'a> {
    pub(super) fn new(vault: &'a Vault, bucket: &'a Bucket) -> Self {
        Self {
            vault,
            bucket,
            keys: HashMap::new(),
        }
    }

    fn listed(&mut self, object: store::ListedObject) -> ListedObject {
        // A mode that does not exist shows when the object is opened: a listing goes on.
        let mode = Mode::from_code(object.mode).unwrap_or(Mode::Managed);
        let attrs = match mode {
            Mode::Kms => None,
            _ => self.open(mode, object.generation, object.instance, &object.attrs),
        };
        ListedObject {
            attrs,
            key: object.key,
            instance: object.instance,
            version: object.version,
            null: object.null,
            mode,
            length: object.length,
            modified_ms: object.modified_ms,
            place: object.place,
            facts: object.facts,
        }
    }

    fn open(
        &mut self,
        mode: Mode,
        generation: u32,
        instance: InstanceId,
        attrs: &[u8],
    ) -> Option<NamedList> {
        if mode == Mode::Customer {
            return None;
        }
        self.open_part(generation, (instance, 0), attrs)
    }

    /// Attributes of a part that is not under a customer's key.
    pub(super) fn open_part(
        &mut self,
        generation: u32,
        (instance, part): (InstanceId, u32),
        attrs: &[u8],
    ) -> Option<NamedList> {
        let key = self
            .keys
            .entry(generation)
            .or_insert_with(|| self.vault.key_for_attributes(self.bucket, generation).ok());
        let list = key.as_ref()?.open_attrs(instance, part, attrs).ok()?;
        NamedList::decode_attrs(&list).ok()
    }
}

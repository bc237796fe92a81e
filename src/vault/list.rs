//! Listing and looking at objects. A page costs at most one use of each generation of one bucket key.

use std::collections::HashMap;
use std::sync::Arc;

use super::read::Found;
use super::types::{ListRequest, ListedItem, ListedObject, Listing, Stat};
use super::{Vault, VaultError, check_key};
use crate::format::NamedList;
use crate::id::InstanceId;
use crate::keys::{BucketKey, Mode};
use crate::store::{Bucket, ListItem, ListQuery};

impl Vault {
    /// A page of the objects of a bucket, in byte order of their keys.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::Unavailable`]. Attributes that do not open fail nothing.
    pub fn list(&self, request: &ListRequest<'_>) -> Result<Listing, VaultError> {
        let bucket = self.bucket(request.bucket)?;
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
            ListItem::Object(object) => {
                // One that does not exist shows when the object is opened: a listing goes on.
                let mode = Mode::from_code(object.mode).unwrap_or(Mode::Managed);
                ListedItem::Object(ListedObject {
                    attrs: keys.open(mode, object.generation, object.instance, &object.attrs),
                    key: object.key,
                    instance: object.instance,
                    mode,
                    length: object.length,
                    modified_ms: object.modified_ms,
                    facts: object.facts,
                })
            }
        });
        Ok(Listing {
            items: items.collect(),
            next: page.next,
        })
    }

    /// What the catalog says of an object, without opening it.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::NoSuchKey`], [`VaultError::Unavailable`].
    pub fn stat(&self, bucket: &str, key: &[u8]) -> Result<Stat, VaultError> {
        check_key(key)?;
        let bucket = self.bucket(bucket)?;
        let Some(view) = self.stores.catalog.object(bucket.id, key)? else {
            return Err(VaultError::NoSuchKey {
                bucket: bucket.name,
                key: key.to_vec(),
            });
        };
        let found = Found { bucket, view };
        let Some(mode) = Mode::from_code(found.view.row.mode) else {
            return Err(self.damaged(&found, "its mode is none that exists".to_owned()));
        };
        let Found { bucket, view } = found;
        let row = view.row;
        let mut keys = AttributeKeys::new(self, &bucket);
        Ok(Stat {
            attrs: keys.open(mode, row.generation, row.instance, &row.attrs),
            instance: row.instance,
            length: row.length,
            modified_ms: row.modified_ms,
            mode,
            facts: row.facts,
        })
    }
}

/// The bucket key of each generation that a page names, asked for once.
struct AttributeKeys<'a> {
    vault: &'a Vault,
    bucket: &'a Bucket,
    keys: HashMap<u32, Option<Arc<BucketKey>>>,
}

impl<'a> AttributeKeys<'a> {
    fn new(vault: &'a Vault, bucket: &'a Bucket) -> Self {
        Self {
            vault,
            bucket,
            keys: HashMap::new(),
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
        let key = self
            .keys
            .entry(generation)
            .or_insert_with(|| self.vault.key_for_attributes(self.bucket, generation).ok());
        let list = key.as_ref()?.open_attrs(instance, 0, attrs).ok()?;
        NamedList::decode_attrs(&list).ok()
    }
}

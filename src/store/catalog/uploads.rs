//! Multipart uploads: objects in the making, whose instance exists from the first moment.

use std::ops::Bound;

use super::listing::first_key;
use crate::id::{BucketId, InstanceId};
use crate::store::{BlobRef, Locator, StoreError};

/// A multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The bucket.
    pub bucket: BucketId,
    /// The key of the object to be.
    pub key: Vec<u8>,
    /// The instance the object will be; it names the upload.
    pub instance: InstanceId,
    /// Incarnation of the writer that began it.
    pub incarnation: u64,
    /// How its data key is protected.
    pub mode: u8,
    /// The suite its parts are sealed with.
    pub suite: u8,
    /// The bucket key generation its key record was made under.
    pub generation: u32,
    /// Part of the context its key is bound to.
    pub kms_key_id: Vec<u8>,
    /// Part of the context its key is bound to.
    pub encryption_context: Vec<u8>,
    /// The head of the object to be.
    pub head: Vec<u8>,
    /// Facts of the object to be.
    pub facts: Vec<u8>,
    /// What completing it needs to know, opaque.
    pub attrs: Vec<u8>,
    /// When it began.
    pub created_ms: u64,
    /// Who began it, as the caller says.
    pub principal: String,
}

/// A part of a multipart upload. Its bytes are never in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    /// The upload.
    pub instance: InstanceId,
    /// Number of the part.
    pub part: u32,
    /// Its blob.
    pub blob: BlobRef,
    /// Plaintext length in bytes.
    pub length: u64,
    /// The salt its blob is sealed with.
    pub salt: [u8; 32],
    /// Its attributes, sealed.
    pub attrs: Vec<u8>,
    /// When it was complete.
    pub modified_ms: u64,
}

impl PartRow {
    /// Whether its blob can be that of a part of this number.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        if self.blob.locator == Locator::Inline || self.blob.part != self.part {
            return Err(StoreError::Unsupported(format!(
                "part {} of upload {} with a blob that is inline or of part {}",
                self.part, self.instance, self.blob.part
            )));
        }
        Ok(())
    }
}

/// Which uploads to list.
#[derive(Debug, Clone, Copy)]
pub struct UploadsQuery<'a> {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on.
    pub from: Bound<&'a [u8]>,
    /// Within the key that `from` includes, only uploads behind this date and instance.
    pub after: Option<(u64, InstanceId)>,
    /// As in [`ListQuery`](super::ListQuery).
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

impl UploadsQuery<'_> {
    /// The smallest key it may show, and what goes before its first upload.
    pub(in crate::store) fn start(&self) -> (Vec<u8>, Option<(u64, InstanceId)>) {
        let start = first_key(self.prefix, self.from);
        let after = self
            .after
            .filter(|_| self.from == Bound::Included(&start[..]));
        (start, after)
    }
}

/// An item of a listing of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadItem {
    /// An upload.
    Upload(Box<Upload>),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

/// A page of uploads: by key in byte order, then by date, then by instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadsPage {
    /// The items.
    pub items: Vec<UploadItem>,
    /// Whether there is more. The next page is asked for behind the last item.
    pub more: bool,
    /// How many rows were looked at to make the page.
    pub rows_visited: u64,
}

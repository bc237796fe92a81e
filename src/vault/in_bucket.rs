//! The bucket of a request: by name, or as it was looked up before.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Vault, VaultError};
use crate::store::Bucket;

/// The bucket that a request is about.
///
/// Who decided something about a bucket, say whether somebody may read it, asks for that bucket and not for its name:
/// between the two, it may have been deleted, and another have its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InBucket<'a> {
    /// Whichever has this name now.
    Named(Cow<'a, str>),
    /// This one. It is not looked up again to be read from; where it is gone, so is everything in it.
    Known(Cow<'a, Bucket>),
}

impl Vault {
    /// The bucket, as far as reading and deleting need it.
    pub(super) fn in_bucket(&self, bucket: &InBucket<'_>) -> Result<Bucket, VaultError> {
        match bucket {
            InBucket::Named(name) => self.bucket(name),
            InBucket::Known(bucket) => Ok(Bucket::clone(bucket)),
        }
    }

    /// The bucket with the generation that new keys are wrapped by.
    pub(super) fn in_bucket_now(&self, bucket: &InBucket<'_>) -> Result<Bucket, VaultError> {
        match bucket {
            InBucket::Named(name) => self.bucket(name),
            InBucket::Known(bucket) => self.same_bucket(bucket),
        }
    }
}

impl<'a> From<&'a str> for InBucket<'a> {
    fn from(name: &'a str) -> Self {
        Self::Named(Cow::Borrowed(name))
    }
}

impl<'a> From<&'a String> for InBucket<'a> {
    fn from(name: &'a String) -> Self {
        Self::Named(Cow::Borrowed(name))
    }
}

impl From<String> for InBucket<'_> {
    fn from(name: String) -> Self {
        Self::Named(Cow::Owned(name))
    }
}

impl<'a> From<&'a Bucket> for InBucket<'a> {
    fn from(bucket: &'a Bucket) -> Self {
        Self::Known(Cow::Borrowed(bucket))
    }
}

impl<'a> From<&'a Arc<Bucket>> for InBucket<'a> {
    fn from(bucket: &'a Arc<Bucket>) -> Self {
        Self::Known(Cow::Borrowed(bucket))
    }
}

impl From<Bucket> for InBucket<'_> {
    fn from(bucket: Bucket) -> Self {
        Self::Known(Cow::Owned(bucket))
    }
}

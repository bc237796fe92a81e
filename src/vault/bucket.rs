//! Buckets, their keys and their documents.

use super::find::nothing;
use super::put::check_facts;
use super::{InBucket, Vault, VaultError, now_ms};
use crate::id::{BucketId, InstanceId};
use crate::keys::KeyState;
use crate::store::{Bucket, DeleteBucketError, GenerationState, StoreError, Versioning, Which};

impl Vault {
    /// Makes a bucket and its key: one HSM operation for each root.
    ///
    /// # Errors
    /// [`VaultError::BucketExists`] with the bucket that has the name; [`VaultError::Invalid`] for an empty name or one
    /// of more than 255 bytes; [`VaultError::Unavailable`] without the HSM.
    pub fn create_bucket(&self, name: &str, owner: &str) -> Result<Bucket, VaultError> {
        self.check_writable()?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(VaultError::Invalid(
                "a bucket name has 1 to 255 bytes".to_owned(),
            ));
        }
        if let Some(bucket) = self.stores.catalog.bucket(name)? {
            return Err(VaultError::BucketExists(Box::new(bucket)));
        }
        let id = new_bucket_id(self.incarnation())?;
        let record = self
            .keyring
            .create_bucket_key(id, FIRST_GENERATION, owner)
            .map_err(|error| self.bucket_key_error(name, error))?;
        self.stores
            .keys
            .insert_bucket_key(id, FIRST_GENERATION, &record)?;
        let bucket = Bucket {
            id,
            name: name.to_owned(),
            owner: owner.to_owned(),
            created_ms: now_ms(),
            generation: FIRST_GENERATION,
            versioning: Versioning::Off,
        };
        match self
            .stores
            .catalog
            .create_bucket(bucket.clone(), FIRST_STATE)
        {
            Ok(()) => Ok(bucket),
            Err(StoreError::Exists(_)) => {
                // Somebody else has the name, or a sweeper took us for dead; the key that was made protects nothing.
                let _ = self.stores.keys.shred_bucket(id);
                match self.stores.catalog.bucket(name)? {
                    Some(bucket) => Err(VaultError::BucketExists(Box::new(bucket))),
                    None => Err(VaultError::LeaseLost),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A bucket by name.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`].
    pub fn bucket(&self, name: &str) -> Result<Bucket, VaultError> {
        let bucket = self.stores.catalog.bucket(name)?;
        bucket.ok_or_else(|| VaultError::NoSuchBucket(name.to_owned()))
    }

    /// Up to `limit` buckets after a name, by name.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub fn buckets(&self, after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, VaultError> {
        Ok(self.stores.catalog.buckets(after, limit)?)
    }

    /// Deletes an empty bucket and its documents, and shreds its key.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::BucketNotEmpty`], [`VaultError::ReadOnly`]; with
    /// [`VaultError::OutcomeUnknown`] it may be deleted and its key not shredded yet, which the background work does.
    pub fn delete_bucket<'b>(&self, bucket: impl Into<InBucket<'b>>) -> Result<(), VaultError> {
        self.check_writable()?;
        let catalog = &self.stores.catalog;
        let (name, deleted) = match self.in_bucket(&bucket.into()) {
            Ok(Bucket { id, name, .. }) => {
                (name, catalog.delete_bucket(id, now_ms()).map(|()| vec![id]))
            }
            Err(VaultError::NoSuchBucket(name)) => (name, Err(DeleteBucketError::NotFound)),
            Err(error) => return Err(error),
        };
        let (deleted, answer) = match deleted {
            Ok(deleted) => (deleted, Ok(())),
            // Deleted by another request, perhaps, which is not done with its key.
            Err(DeleteBucketError::NotFound) => (
                catalog.deleted_buckets()?,
                Err(VaultError::NoSuchBucket(name)),
            ),
            Err(DeleteBucketError::NotEmpty) => return Err(VaultError::BucketNotEmpty(name)),
            Err(DeleteBucketError::Store(error)) => return Err(error.into()),
        };
        for id in deleted {
            self.shred_deleted_bucket(id).map_err(|error| {
                VaultError::OutcomeUnknown(format!(
                    "the bucket is deleted, its key is not shredded yet: {error}"
                ))
            })?;
        }
        answer
    }

    pub(super) fn shred_deleted_bucket(&self, id: BucketId) -> Result<(), StoreError> {
        self.stores.keys.shred_bucket(id)?;
        self.stores.catalog.bucket_done(id)
    }

    /// A named document of a bucket, or of the vault, with its revision. The vault does not know what documents mean.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub fn document(
        &self,
        bucket: Option<&Bucket>,
        name: &str,
    ) -> Result<Option<(u64, Vec<u8>)>, VaultError> {
        Ok(self
            .stores
            .catalog
            .document(bucket.map(|bucket| bucket.id), name)?)
    }

    /// Puts a document in the place of revision `expected` (`None`: of none), or with `bytes` `None` deletes it. Returns
    /// the new revision.
    ///
    /// # Errors
    /// [`VaultError::PreconditionFailed`] if the revision is another one; [`VaultError::NoSuchBucket`].
    pub fn put_document(
        &self,
        bucket: Option<&Bucket>,
        name: &str,
        expected: Option<u64>,
        bytes: Option<&[u8]>,
    ) -> Result<u64, VaultError> {
        self.check_writable()?;
        let id = bucket.map(|bucket| bucket.id);
        let put = self.stores.catalog.put_document(id, name, expected, bytes);
        put.map_err(|error| match (error, bucket) {
            (StoreError::Stale(_), _) => VaultError::PreconditionFailed,
            (StoreError::NotFound(_), Some(bucket)) => {
                VaultError::NoSuchBucket(bucket.name.clone())
            }
            (error, _) => error.into(),
        })
    }

    /// Grows with every change of a bucket or a document: whoever holds a copy compares this.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub fn change_counter(&self) -> Result<u64, VaultError> {
        Ok(self.stores.catalog.change_counter()?)
    }

    /// Says what the bucket does from now on with what is overwritten and deleted. What is there stays as it is.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBucket`], [`VaultError::ReadOnly`]; [`VaultError::Invalid`] for a way back to
    /// [`Versioning::Off`].
    pub fn set_versioning(
        &self,
        bucket: &Bucket,
        versioning: Versioning,
    ) -> Result<(), VaultError> {
        self.check_writable()?;
        let set = self.stores.catalog.set_versioning(bucket.id, versioning);
        set.map_err(|error| match error {
            StoreError::NotFound(_) => VaultError::NoSuchBucket(bucket.name.clone()),
            StoreError::Unsupported(_) => VaultError::Invalid(
                "versioning can be suspended, and not be turned off again".to_owned(),
            ),
            error => error.into(),
        })
    }

    /// Puts `facts` in the place of `expected` on a version, if it is still of this instance.
    ///
    /// # Errors
    /// [`VaultError::NoSuchKey`] or [`VaultError::NoSuchVersion`] if it is of another instance, or not there,
    /// [`VaultError::PreconditionFailed`] if its facts are others.
    pub fn set_facts(
        &self,
        bucket: &Bucket,
        key: &[u8],
        which: Which,
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), VaultError> {
        self.check_writable()?;
        check_facts(facts)?;
        let catalog = &self.stores.catalog;
        let set = catalog.set_facts(bucket.id, key, which, instance, expected, facts);
        set.map_err(|error| match error {
            StoreError::Stale(_) => VaultError::PreconditionFailed,
            StoreError::NotFound(_) => nothing(bucket, key, which),
            error => error.into(),
        })
    }

    /// The bucket as it is now, if it is still the same one.
    pub(super) fn same_bucket(&self, bucket: &Bucket) -> Result<Bucket, VaultError> {
        let now = self.bucket(&bucket.name)?;
        if now.id == bucket.id {
            Ok(now)
        } else {
            Err(VaultError::NoSuchBucket(now.name))
        }
    }
}

/// Like a blob's, a bucket's id begins with the incarnation that made it: so the sweeper knows whose bucket keys without a
/// bucket are orphans, and whose are about to get one.
fn new_bucket_id(incarnation: u64) -> Result<BucketId, VaultError> {
    let mut id = BucketId::random()?;
    id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
    Ok(id)
}

const MAX_NAME: usize = 255;
const FIRST_GENERATION: u32 = 1;
const FIRST_STATE: GenerationState = GenerationState {
    generation: FIRST_GENERATION,
    rev: 1,
    state: KeyState::Active.code(),
};

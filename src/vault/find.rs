//! From a request to the version it names, and to the key record that vouches for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::types::OpenRequest;
use super::{InBucket, Vault, VaultError, check_key};
use crate::keys::{BucketKey, Context, DataKeyRecord, KeyError, Mode, Purpose};
use crate::store::{BlobRef, Bucket, ObjectView, Place, StoreError, Version, Which};

impl Vault {
    /// Looks the version up and tries; what turns out to be gone sends it back to the catalog, at most three times. If
    /// the catalog then still says the same, it is not gone but damaged.
    pub(super) fn find<T>(
        &self,
        request: &OpenRequest<'_>,
        attempt: impl Fn(&Arc<Found>) -> Result<T, Miss>,
    ) -> Result<T, VaultError> {
        check_key(request.key)?;
        let mut gone: Option<(Arc<Found>, String)> = None;
        for _ in 0..=RETURNS {
            let found = Arc::new(self.look_up(&request.bucket, request.key, request.version)?);
            let instance = found.view.row.instance;
            if request.instance.is_some_and(|wanted| wanted != instance) {
                return Err(VaultError::PreconditionFailed);
            }
            if let Some((before, what)) = gone {
                if before.is_still(&found.view) {
                    return Err(self.gone(&found, what));
                }
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
            }
            match attempt(&found) {
                Ok(done) => return Ok(done),
                Err(Miss::Gone(what)) => gone = Some((found, what)),
                Err(Miss::Damaged(what)) => return Err(self.damaged(&found, what)),
                Err(Miss::Other(error)) => return Err(error),
            }
        }
        Err(VaultError::Changed)
    }

    /// The object that a version of a key is.
    pub(super) fn look_up(
        &self,
        bucket: &InBucket<'_>,
        key: &[u8],
        which: Which,
    ) -> Result<Found, VaultError> {
        let bucket = self.in_bucket(bucket)?;
        if which == Which::Current
            && let Some(view) = self.stores.catalog.object(bucket.id, key)?
        {
            return Ok(Found { bucket, view });
        }
        let seen = self.stores.catalog.version(bucket.id, key, which)?;
        match seen.map(|seen| (seen.version, seen.is_current)) {
            Some((Version::Object(view), _)) => Ok(Found {
                bucket,
                view: *view,
            }),
            Some((Version::Marker(marker), is_current)) => Err(VaultError::DeleteMarker {
                bucket: bucket.name,
                is_current,
                marker: Box::new(marker),
            }),
            None => Err(nothing(&bucket, key, which)),
        }
    }

    /// The key record of what was found, as it is in the key store, and the bucket key that opens it.
    pub(super) fn record_of(
        &self,
        found: &Found,
        principal: &str,
    ) -> Result<(Arc<BucketKey>, Vec<u8>), Miss> {
        let mut keys = self.stores.keys.fetch(found.view.row.instance)?;
        let Some(record) = keys.record.take() else {
            return Err(Miss::Gone("its key record is missing".to_owned()));
        };
        let generation = DataKeyRecord::parse(&record)
            .map_err(|error| Miss::Damaged(format!("its key record is {error}")))?
            .info
            .generation;
        let state = if generation == found.view.row.generation {
            found.view.generation
        } else {
            self.stores
                .catalog
                .generation(found.bucket.id, generation)?
        };
        let key = self.bucket_key(&found.bucket, &keys, state, Purpose::Unwrap, principal)?;
        Ok((key, record))
    }

    /// A failure past the bucket key: of the customer's key, or of the record and what it is bound to.
    pub(super) fn record_miss(&self, found: &Found, error: KeyError) -> Miss {
        match error {
            KeyError::WrongCustomerKey => Miss::Other(VaultError::WrongCustomerKey),
            KeyError::Malformed(_) | KeyError::Unsupported(_) | KeyError::Unauthentic => {
                Miss::Damaged(format!("its key record or what it is bound to is {error}"))
            }
            error => Miss::Other(self.bucket_key_error(&found.bucket.name, error)),
        }
    }

    fn gone(&self, found: &Found, what: String) -> VaultError {
        if self.wrong_key_store().is_some() {
            let row = &found.view.row;
            return self.key_missing(format!("{what}: object instance {}", row.instance));
        }
        self.damaged(found, what)
    }

    pub(super) fn damaged(&self, found: &Found, what: String) -> VaultError {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        VaultError::Damaged {
            bucket: found.bucket.name.clone(),
            key: found.view.row.key.clone(),
            instance: found.view.row.instance,
            what,
        }
    }
}

/// What a request gets that names no version there is.
pub(super) fn nothing(bucket: &Bucket, key: &[u8], which: Which) -> VaultError {
    let (bucket, key) = (bucket.name.clone(), key.to_vec());
    match which {
        Which::Current => VaultError::NoSuchKey { bucket, key },
        Which::Null | Which::Label(_) => VaultError::NoSuchVersion { bucket, key },
    }
}

/// A bucket and the object of it that a request names.
pub(super) struct Found {
    pub(super) bucket: Bucket,
    pub(super) view: ObjectView,
}

impl Found {
    /// What the object's key record is bound to: from request and catalog, never from the record (F-51).
    pub(super) fn context(&self, mode: Mode) -> Context<'_> {
        let row = &self.view.row;
        Context {
            mode,
            bucket: self.bucket.id,
            instance: row.instance,
            object_key: &row.key,
            kms_key_id: &row.kms_key_id,
            encryption_context: &row.encryption_context,
        }
    }

    /// The copy that a request reads; `None` while it is in the archive only.
    pub(super) fn readable(&self) -> Option<Bytes> {
        match self.view.row.place() {
            Place { restored: true, .. } => Some(Bytes::Restored),
            Place { archived: true, .. } => None,
            _ => Some(Bytes::Own),
        }
    }

    /// The blobs of a copy.
    pub(super) fn blobs(&self, bytes: Bytes) -> &[BlobRef] {
        match bytes {
            Bytes::Own => &self.view.row.blobs,
            Bytes::Restored => &self.view.row.restored,
        }
    }

    /// Whether the catalog names the same key record and the same blobs.
    fn is_still(&self, now: &ObjectView) -> bool {
        let (before, now) = (&self.view.row, &now.row);
        before.instance == now.instance
            && before.blobs == now.blobs
            && before.restored == now.restored
    }
}

/// A copy of the bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    /// Its own, which may be in the archive.
    Own,
    /// The one that was restored from there.
    Restored,
}

/// Why an attempt to open did not succeed.
pub(super) enum Miss {
    /// Something is not there: replaced meanwhile, or damaged.
    Gone(String),
    /// Something is there and wrong.
    Damaged(String),
    /// Anything else.
    Other(VaultError),
}

impl From<VaultError> for Miss {
    fn from(error: VaultError) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Miss {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::Gone(error.to_string()),
            StoreError::Damaged(what) => Self::Damaged(what),
            error => Self::Other(error.into()),
        }
    }
}

/// How often a reader goes back to the catalog.
const RETURNS: usize = 3;

//! The settings of a bucket: one JSON document each in the catalog, read through a typed cache.
//!
//! A cached document is used only while the catalog's change counter stands where it stood before
//! the document was read, so a change by anybody holds for the next request. A request reads the
//! counter once, with its bucket; what is asked after that is as it was then, or newer. A document that
//! cannot be read is an error and never the default: settings fail closed.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3s::{S3ErrorCode, S3Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom::id::BucketId;
use strongroom::store::Bucket;
use strongroom::vault::{Vault, VaultError};

use crate::s3::body::blocking;
use crate::s3::errors::{error, from_vault};

/// A setting of a bucket. Its type denies unknown fields unless it has a reason not to.
pub(in crate::s3) trait Document:
    Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its name in the catalog.
    const NAME: &'static str;
}

/// The documents of all buckets; one per daemon, shared by all requests.
pub(crate) struct Documents {
    vault: Arc<Vault>,
    buckets: Mutex<HashMap<String, At>>,
    cache: Mutex<HashMap<(BucketId, &'static str), Cached>>,
}

/// A bucket at one count of the catalog's changes.
#[derive(Clone, Debug)]
pub(in crate::s3) struct At {
    pub(in crate::s3) bucket: Arc<Bucket>,
    /// The change counter before it was read.
    counter: u64,
}

struct Cached {
    /// The change counter before it was read.
    counter: u64,
    /// `None`: the bucket has no such document.
    found: Option<Found>,
}

#[derive(Clone)]
struct Found {
    revision: u64,
    document: Arc<dyn Any + Send + Sync>,
}

impl At {
    #[cfg(test)]
    pub(in crate::s3) fn of_test(bucket: Bucket) -> At {
        At {
            bucket: Arc::new(bucket),
            counter: 0,
        }
    }
}

impl Documents {
    pub(crate) fn new(vault: Arc<Vault>) -> Self {
        Self {
            vault,
            buckets: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// A document as it is now; `None` if the bucket has none.
    pub(in crate::s3) async fn get<D: Document>(
        self: &Arc<Self>,
        bucket: &Bucket,
    ) -> S3Result<Option<Arc<D>>> {
        let (this, bucket) = (Arc::clone(self), bucket.clone());
        blocking(move || this.read(&bucket)).await?
    }

    /// A bucket by name as it is now, on a thread that may block: while nothing changes, the
    /// catalog is asked for its change counter alone.
    pub(in crate::s3) fn bucket(&self, name: &str) -> S3Result<At> {
        let failed = |cause| from_vault(cause, name);
        let counter = self.vault.change_counter().map_err(failed)?;
        let known = lock(&self.buckets).get(name).cloned();
        if let Some(known) = known.filter(|known| known.counter >= counter) {
            return Ok(known);
        }
        let at = At {
            bucket: Arc::new(self.vault.bucket(name).map_err(failed)?),
            counter,
        };
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= MOST_CACHED {
            buckets.clear();
        }
        buckets.insert(name.to_owned(), at.clone());
        Ok(at)
    }

    /// A document as it was when its bucket was looked at, or later. What is in memory is given
    /// without leaving the thread.
    pub(in crate::s3) async fn of<D: Document>(
        self: &Arc<Self>,
        at: &At,
    ) -> S3Result<Option<Arc<D>>> {
        let known = self.known(at.bucket.id, D::NAME);
        if let Some(known) = known.filter(|known| known.counter >= at.counter) {
            return Ok(known.found.and_then(|found| found.document.downcast().ok()));
        }
        let (this, at) = (Arc::clone(self), at.clone());
        blocking(move || this.read_at(&at.bucket, at.counter)).await?
    }

    /// Whether an operator opened the bucket for plain objects, as [`of`](Self::of) has it. The
    /// vault asks again before it writes one.
    pub(in crate::s3) async fn plaintext(self: &Arc<Self>, at: &At) -> S3Result<bool> {
        let known = self.known(at.bucket.id, PLAINTEXT);
        if let Some(known) = known.filter(|known| known.counter >= at.counter) {
            return Ok(known.found.is_some());
        }
        let (this, at) = (Arc::clone(self), at.clone());
        blocking(move || {
            let allowed = this
                .vault
                .plaintext_allowed(&at.bucket)
                .map_err(|cause| from_vault(cause, &at.bucket.name))?;
            let found = allowed.then(|| Found {
                revision: 0,
                document: Arc::new(()),
            });
            this.keep(at.bucket.id, PLAINTEXT, at.counter, found);
            Ok(allowed)
        })
        .await?
    }

    /// The same as [`get`](Self::get), on a thread that may block: it asks the catalog.
    pub(in crate::s3) fn read<D: Document>(&self, bucket: &Bucket) -> S3Result<Option<Arc<D>>> {
        let counter = self
            .vault
            .change_counter()
            .map_err(|cause| from_vault(cause, &bucket.name))?;
        self.read_at(bucket, counter)
    }

    /// The same, where the change counter was read already.
    pub(in crate::s3) fn read_of<D: Document>(&self, at: &At) -> S3Result<Option<Arc<D>>> {
        self.read_at(&at.bucket, at.counter)
    }

    fn read_at<D: Document>(&self, bucket: &Bucket, counter: u64) -> S3Result<Option<Arc<D>>> {
        let failed = |cause| from_vault(cause, &bucket.name);
        let known = self.known(bucket.id, D::NAME);
        let found = match known {
            Some(Cached { counter: at, found }) if at >= counter => found,
            known => {
                let found = match self.vault.document(Some(bucket), D::NAME).map_err(failed)? {
                    Some((revision, bytes)) => {
                        // A revision never repeats: what was decoded of it holds.
                        let known = known
                            .and_then(|cached| cached.found)
                            .filter(|found| found.revision == revision);
                        Some(match known {
                            Some(found) => found,
                            None => Found {
                                revision,
                                document: Arc::new(decode::<D>(bucket, &bytes)?),
                            },
                        })
                    }
                    None => None,
                };
                self.keep(bucket.id, D::NAME, counter, found.clone());
                found
            }
        };
        Ok(found.and_then(|found| found.document.downcast().ok()))
    }

    /// Replaces a document by what `change` makes of the present one; `None` deletes it. Called
    /// again when somebody else was faster.
    pub(in crate::s3) async fn update<D: Document>(
        self: &Arc<Self>,
        bucket: &Bucket,
        change: impl FnMut(Option<&D>) -> S3Result<Option<D>> + Send + 'static,
    ) -> S3Result<()> {
        let (this, bucket) = (Arc::clone(self), bucket.clone());
        blocking(move || this.write(&bucket, change)).await?
    }

    /// Puts a document in the place of whatever there is.
    pub(in crate::s3) async fn put<D: Document + Clone>(
        self: &Arc<Self>,
        bucket: &Bucket,
        document: D,
    ) -> S3Result<()> {
        self.update(bucket, move |_| Ok(Some(document.clone())))
            .await
    }

    /// Deletes a document, if there is one.
    pub(in crate::s3) async fn delete<D: Document>(
        self: &Arc<Self>,
        bucket: &Bucket,
    ) -> S3Result<()> {
        self.update::<D>(bucket, |_| Ok(None)).await
    }

    /// [`update`](Self::update) on a thread that may block.
    pub(in crate::s3) fn write<D: Document>(
        &self,
        bucket: &Bucket,
        mut change: impl FnMut(Option<&D>) -> S3Result<Option<D>>,
    ) -> S3Result<()> {
        let failed = |cause| from_vault(cause, &bucket.name);
        for _ in 0..MOST_TRIES {
            let present = self.vault.document(Some(bucket), D::NAME).map_err(failed)?;
            let revision = present.as_ref().map(|(revision, _)| *revision);
            let document = present
                .map(|(_, bytes)| decode::<D>(bucket, &bytes))
                .transpose()?;
            let bytes = match change(document.as_ref())? {
                Some(changed) => Some(serde_json::to_vec(&changed).map_err(internal)?),
                None if revision.is_none() => return Ok(()),
                None => None,
            };
            match self
                .vault
                .put_document(Some(bucket), D::NAME, revision, bytes.as_deref())
            {
                Ok(_) => return Ok(()),
                Err(VaultError::PreconditionFailed) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Err(error(
            S3ErrorCode::OperationAborted,
            "A conflicting conditional operation is currently in progress against this resource. Please try again.",
        ))
    }

    fn known(&self, bucket: BucketId, name: &'static str) -> Option<Cached> {
        let cache = lock(&self.cache);
        cache.get(&(bucket, name)).map(|cached| Cached {
            counter: cached.counter,
            found: cached.found.clone(),
        })
    }

    fn keep(&self, bucket: BucketId, name: &'static str, counter: u64, found: Option<Found>) {
        let mut cache = lock(&self.cache);
        if cache.len() >= MOST_CACHED {
            // Buckets come and go; what is still in use is soon here again.
            cache.clear();
        }
        cache.insert((bucket, name), Cached { counter, found });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A document that is damaged, or of a later version, must not pass for the default.
fn decode<D: Document>(bucket: &Bucket, bytes: &[u8]) -> S3Result<D> {
    serde_json::from_slice(bytes).map_err(|cause| {
        tracing::error!(bucket = bucket.name, document = D::NAME, error = %cause, "a document of a bucket cannot be read");
        error(
            S3ErrorCode::InternalError,
            format!("The {} settings of this bucket cannot be read. Ask the operator.", D::NAME),
        )
    })
}

fn internal(cause: serde_json::Error) -> s3s::S3Error {
    s3s::S3Error::internal_error(cause)
}

/// Tries of one update against others; each lost try means that somebody else's went through.
const MOST_TRIES: usize = 64;
/// Documents in memory, and buckets.
const MOST_CACHED: usize = 65_536;
/// Name in the cache of what [`Vault::plaintext_allowed`] answers; no document here has it.
const PLAINTEXT: &str = "plaintext";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;
    use crate::s3::testing::vault;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Count {
        count: u64,
    }

    impl Document for Count {
        const NAME: &'static str = "count";
    }

    fn documents() -> (tempfile::TempDir, Documents, Bucket) {
        let (dir, vault) = vault();
        let bucket = vault.create_bucket("b", "owner").unwrap();
        (dir, Documents::new(vault), bucket)
    }

    fn set(documents: &Documents, bucket: &Bucket, count: u64) {
        documents
            .write(bucket, |_| Ok(Some(Count { count })))
            .unwrap();
    }

    #[test]
    fn a_change_holds_for_the_next_read() {
        let (_dir, documents, bucket) = documents();
        assert!(documents.read::<Count>(&bucket).unwrap().is_none());
        set(&documents, &bucket, 1);
        let first = documents.read::<Count>(&bucket).unwrap().unwrap();
        assert_eq!(first.count, 1);
        let again = documents.read::<Count>(&bucket).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again), "decoded once");
        // By another daemon, which has a cache of its own.
        let other = Documents::new(Arc::clone(&documents.vault));
        set(&other, &bucket, 2);
        assert_eq!(documents.read::<Count>(&bucket).unwrap().unwrap().count, 2);
        other.write::<Count>(&bucket, |_| Ok(None)).unwrap();
        assert!(documents.read::<Count>(&bucket).unwrap().is_none());
    }

    #[test]
    fn a_change_elsewhere_decodes_nothing_again() {
        let (_dir, documents, bucket) = documents();
        set(&documents, &bucket, 1);
        let first = documents.read::<Count>(&bucket).unwrap().unwrap();
        documents.vault.create_bucket("c", "owner").unwrap();
        let again = documents.read::<Count>(&bucket).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[tokio::test]
    async fn a_bucket_is_as_it_is_now_and_its_documents_are_no_older() {
        let (_dir, documents, bucket) = documents();
        let documents = Arc::new(documents);
        let first = documents.bucket("b").unwrap();
        assert!(Arc::ptr_eq(
            &first.bucket,
            &documents.bucket("b").unwrap().bucket
        ));
        assert!(documents.of::<Count>(&first).await.unwrap().is_none());
        assert!(!documents.plaintext(&first).await.unwrap());

        set(&documents, &bucket, 1);
        documents.vault.allow_plaintext(&bucket, true).unwrap();
        let versioning = strongroom::store::Versioning::Enabled;
        documents.vault.set_versioning(&bucket, versioning).unwrap();
        let second = documents.bucket("b").unwrap();
        assert_eq!(second.bucket.versioning, versioning);
        let count = documents.of::<Count>(&second).await.unwrap().unwrap();
        assert_eq!(count.count, 1);
        assert!(documents.plaintext(&second).await.unwrap());
        // What began before may see it too.
        assert!(documents.of::<Count>(&first).await.unwrap().is_some());

        documents.vault.delete_bucket("b").unwrap();
        assert!(documents.bucket("b").is_err());
        documents.vault.create_bucket("b", "another").unwrap();
        let third = documents.bucket("b").unwrap();
        assert_eq!(third.bucket.owner, "another");
        assert!(documents.of::<Count>(&third).await.unwrap().is_none());
        assert!(!documents.plaintext(&third).await.unwrap());
    }

    #[test]
    fn updates_at_once_all_count() {
        let (_dir, documents, bucket) = documents();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let add = |now: Option<&Count>| {
                            Ok(Some(Count {
                                count: now.map_or(0, |now| now.count) + 1,
                            }))
                        };
                        documents.write(&bucket, add).unwrap();
                    }
                });
            }
        });
        assert_eq!(documents.read::<Count>(&bucket).unwrap().unwrap().count, 64);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_the_default() {
        let (_dir, documents, bucket) = documents();
        for bytes in [b"{".as_slice(), br#"{"count":1,"more":2}"#] {
            let now = documents.vault.document(Some(&bucket), "count").unwrap();
            documents
                .vault
                .put_document(Some(&bucket), "count", now.map(|(rev, _)| rev), Some(bytes))
                .unwrap();
            assert!(documents.read::<Count>(&bucket).is_err());
        }
    }

    #[test]
    fn a_new_bucket_has_nothing_of_the_old_one() {
        let (_dir, documents, bucket) = documents();
        set(&documents, &bucket, 1);
        assert!(documents.read::<Count>(&bucket).unwrap().is_some());
        documents.vault.delete_bucket("b").unwrap();
        let again = documents.vault.create_bucket("b", "owner").unwrap();
        assert!(documents.read::<Count>(&again).unwrap().is_none());
    }
}

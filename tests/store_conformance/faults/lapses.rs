//! Catalogs that are wrong in one point of versions, uploads or places: each has to fail the suite.

use strongroom::id::{BlobId, BucketId, InstanceId, VersionId};
use strongroom::store::conformance::{Factory, catalog};
use strongroom::store::*;

use super::DEADLINE;
use crate::{memory_catalog, passed};

/// An enum of these, and all of them but `None` in a list.
macro_rules! lapses {
    ($($(#[$what:meta])* $lapse:ident,)*) => {
        /// What a catalog does wrong, always.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Lapse {
            /// Nothing: the double itself is sound.
            None,
            $($(#[$what])* $lapse,)*
        }

        const LAPSES: &[Lapse] = &[$(Lapse::$lapse),*];
    };
}

lapses! {
    /// A change of the versioning is acknowledged and not made.
    VersioningForgotten,
    /// The current version is given whatever label was asked for.
    WrongVersion,
    /// Every version is said to be current.
    AllCurrent,
    /// A new row is said to be labelled where it is the null version, and the other way round.
    WrongNull,
    /// A deletion is acknowledged and not made.
    MarkerForgotten,
    /// A deletion happens whatever its precondition says.
    MarkerUnconditional,
    /// A deletion happens whatever it was judged on.
    DeletedUnjudged,
    /// The removal of a version is acknowledged and not made.
    VersionStays,
    /// The facts that were expected are not looked at.
    FactsUnchecked,
    /// A version is removed although it is another one than was judged.
    LabelUnchecked,
    /// The same of a delete marker.
    MarkerUnchecked,
    /// Facts are set on the current version, whichever was meant.
    FactsOfCurrent,
    /// Attributes of parts are not kept.
    PartAttrsForgotten,
    /// A page of versions lacks its last item.
    VersionsShort,
    /// A page of versions is turned around.
    VersionsReversed,
    /// Delete markers are not listed.
    MarkersHidden,
    /// Every page of versions is the last.
    VersionsEnd,
    /// The next page of versions begins with its key again.
    VersionsAgain,
    /// Since when a version is not current is not said.
    SinceForgotten,
    /// A new upload is acknowledged and not kept.
    UploadForgotten,
    /// An upload is found under any key.
    UploadOfAnyKey,
    /// A part is acknowledged and not kept.
    PartForgotten,
    /// The salt of a part is lost.
    PartTorn,
    /// A part of an upload that ended is acknowledged.
    PartTooLate,
    /// What a part replaced is not told.
    PartGarbageUntold,
    /// A page of parts lacks its last one.
    PartsShort,
    /// An abort is acknowledged and not made.
    AbortForgotten,
    /// An upload may be completed again.
    CompletedTwice,
    /// A claim on an upload is acknowledged and forgotten.
    ClaimForgotten,
    /// The blobs of parts that were not chosen are forgotten.
    UnchosenForgotten,
    /// A page of uploads lacks its last one.
    UploadsShort,
    /// Every page of uploads is the last.
    UploadsEnd,
    /// The uploads of a date are given whether they began before it or not.
    DatesIgnored,
    /// Another instance is acknowledged and not set.
    ReplacementForgotten,
    /// Another instance is set whichever there was.
    ReplacementUnchecked,
    /// Another instance is set whatever the facts are.
    ReplacementOfAnyFacts,
    /// Another instance is set, and the facts stay as they were.
    ReplacementTorn,
    /// A relocation is acknowledged and not made.
    RelocationForgotten,
    /// A relocation leaves the facts as they were.
    RelocationTorn,
    /// What a relocation leaves behind is not told.
    RelocationUntold,
    /// A restored copy is not kept.
    CopyForgotten,
    /// A relocation to condemned blobs is acknowledged.
    CondemnedMoved,
    /// Objects in the archive are not listed as such.
    PlaceHidden,
}

fn lapsing(lapse: Lapse) -> Factory<dyn Catalog> {
    let inner = memory_catalog();
    Box::new(move || {
        let open = inner()?;
        Ok(Box::new(move || {
            let inner = open()?;
            Ok(Box::new(Lapsing { inner, lapse }))
        }))
    })
}

#[test]
fn every_lapse_of_a_catalog_fails_its_suite() {
    passed(&catalog(&lapsing(Lapse::None), DEADLINE));
    for lapse in LAPSES {
        let report = catalog(&lapsing(*lapse), DEADLINE);
        assert!(!report.failures().is_empty(), "{lapse:?} went unnoticed");
    }
}

struct Lapsing {
    inner: Box<dyn Catalog>,
    lapse: Lapse,
}

/// Garbage that nobody made.
fn ghost(bucket: BucketId, instance: Option<InstanceId>) -> Garbage {
    Garbage {
        id: 1,
        bucket,
        instance,
        blobs: Vec::new(),
        since_ms: 77,
    }
}

impl Catalog for Lapsing {
    fn set_versioning(&self, bucket: BucketId, versioning: Versioning) -> Result<(), StoreError> {
        if self.lapse == Lapse::VersioningForgotten {
            return Ok(());
        }
        self.inner.set_versioning(bucket, versioning)
    }

    fn version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
    ) -> Result<Option<VersionView>, StoreError> {
        let which = match which {
            Which::Label(_) if self.lapse == Lapse::WrongVersion => Which::Current,
            which => which,
        };
        let mut view = self.inner.version(bucket, key, which)?;
        if let Some(view) = &mut view {
            view.is_current |= self.lapse == Lapse::AllCurrent;
        }
        Ok(view)
    }

    fn commit(&self, mut commit: Commit) -> Result<Committed, CommitError> {
        if self.lapse == Lapse::PartAttrsForgotten {
            commit.part_attrs.clear();
        }
        let completes = commit.completes.is_some();
        let result = self.inner.commit(commit);
        if self.lapse == Lapse::CompletedTwice && result == Err(CommitError::NoSuchUpload) {
            return Ok(Committed {
                null: true,
                garbage: Vec::new(),
            });
        }
        let mut committed = result?;
        committed.null ^= self.lapse == Lapse::WrongNull;
        if self.lapse == Lapse::UnchosenForgotten && completes {
            committed.garbage.retain(|entry| entry.instance.is_some());
        }
        Ok(committed)
    }

    fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        precondition: Precondition,
        judged: Option<Judged<'_>>,
        marker: VersionId,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        let precondition = match self.lapse {
            Lapse::MarkerUnconditional => Precondition::None,
            _ => precondition,
        };
        let state = self.inner.bucket_by_id(bucket)?;
        let versioning = state.map(|bucket| bucket.versioning);
        if self.lapse == Lapse::MarkerForgotten && versioning == Some(Versioning::Enabled) {
            return Ok(Deleted {
                garbage: None,
                marker: Some(Marker {
                    key: key.to_vec(),
                    version: marker,
                    null: false,
                    modified_ms: now_ms,
                }),
            });
        }
        let judged = judged.filter(|_| self.lapse != Lapse::DeletedUnjudged);
        self.inner
            .delete(bucket, key, precondition, judged, marker, now_ms)
    }

    fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        judged: Option<Judged<'_>>,
        now_ms: u64,
    ) -> Result<Deleted, CommitError> {
        if self.lapse == Lapse::VersionStays {
            return Ok(Deleted::default());
        }
        let there = self.inner.version(bucket, key, which)?;
        let judged = match (judged, there.map(|there| there.version)) {
            (Some(mut judged), Some(Version::Object(there))) => {
                if self.lapse == Lapse::FactsUnchecked {
                    judged.facts = &there.row.facts;
                }
                if self.lapse == Lapse::LabelUnchecked {
                    judged.version = there.row.version;
                }
                return self
                    .inner
                    .delete_version(bucket, key, which, Some(judged), now_ms);
            }
            (_, Some(Version::Marker(_))) if self.lapse == Lapse::MarkerUnchecked => None,
            (judged, _) => judged,
        };
        self.inner
            .delete_version(bucket, key, which, judged, now_ms)
    }

    fn set_facts(
        &self,
        bucket: BucketId,
        key: &[u8],
        which: Which,
        instance: InstanceId,
        expected: &[u8],
        facts: &[u8],
    ) -> Result<(), StoreError> {
        let which = match self.lapse {
            Lapse::FactsOfCurrent => Which::Current,
            _ => which,
        };
        self.inner
            .set_facts(bucket, key, which, instance, expected, facts)
    }

    fn list(&self, query: &ListQuery<'_>) -> Result<ListPage, StoreError> {
        let mut page = self.inner.list(query)?;
        for item in &mut page.items {
            if let ListItem::Object(object) = item
                && self.lapse == Lapse::PlaceHidden
            {
                object.place = Place::default();
            }
        }
        Ok(page)
    }

    fn list_versions(&self, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError> {
        let after = query.after.filter(|_| self.lapse != Lapse::VersionsAgain);
        let mut page = self
            .inner
            .list_versions(&VersionsQuery { after, ..*query })?;
        match self.lapse {
            Lapse::VersionsShort => {
                page.items.pop();
            }
            Lapse::VersionsReversed => page.items.reverse(),
            Lapse::VersionsEnd => page.more = false,
            _ => {}
        }
        page.items.retain_mut(|item| {
            let VersionItem::Version(version) = item else {
                return true;
            };
            if self.lapse == Lapse::SinceForgotten && version.noncurrent_since_ms.is_some() {
                version.noncurrent_since_ms = Some(0);
            }
            let marker = matches!(version.entry, VersionEntry::Marker(_));
            !(marker && self.lapse == Lapse::MarkersHidden)
        });
        Ok(page)
    }

    fn create_upload(&self, upload: Upload) -> Result<(), CommitError> {
        if self.lapse == Lapse::UploadForgotten {
            return Ok(());
        }
        self.inner.create_upload(upload)
    }

    fn claim_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        claim: &[u8],
    ) -> Result<(), CommitError> {
        if self.lapse == Lapse::ClaimForgotten {
            return Ok(());
        }
        self.inner.claim_upload(bucket, key, instance, claim)
    }

    fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
    ) -> Result<Option<Upload>, StoreError> {
        if self.lapse == Lapse::UploadOfAnyKey {
            let all = self.inner.uploads_before(1_000, None, 1_000)?;
            return Ok(all.into_iter().find(|upload| upload.instance == instance));
        }
        self.inner.upload(bucket, key, instance)
    }

    fn put_part(&self, mut part: PartRow) -> Result<Option<Garbage>, CommitError> {
        match self.lapse {
            Lapse::PartForgotten => return Ok(None),
            Lapse::PartTorn => part.salt = [0; 32],
            _ => {}
        }
        let result = self.inner.put_part(part);
        if self.lapse == Lapse::PartTooLate && result == Err(CommitError::NoSuchUpload) {
            return Ok(None);
        }
        Ok(result?.filter(|_| self.lapse != Lapse::PartGarbageUntold))
    }

    fn parts(
        &self,
        instance: InstanceId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<PartRow>, StoreError> {
        let mut parts = self.inner.parts(instance, after, limit)?;
        if self.lapse == Lapse::PartsShort {
            parts.pop();
        }
        Ok(parts)
    }

    fn abort_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        instance: InstanceId,
        now_ms: u64,
    ) -> Result<Garbage, CommitError> {
        if self.lapse == Lapse::AbortForgotten && self.upload(bucket, key, instance)?.is_some() {
            let parts = self.parts(instance, 0, 1_000)?;
            return Ok(Garbage {
                blobs: parts.into_iter().map(|part| part.blob).collect(),
                ..ghost(bucket, Some(instance))
            });
        }
        self.inner.abort_upload(bucket, key, instance, now_ms)
    }

    fn list_uploads(&self, query: &UploadsQuery<'_>) -> Result<UploadsPage, StoreError> {
        let mut page = self.inner.list_uploads(query)?;
        if self.lapse == Lapse::UploadsShort {
            page.items.pop();
        }
        page.more &= self.lapse != Lapse::UploadsEnd;
        Ok(page)
    }

    fn uploads_before(
        &self,
        created_ms: u64,
        after: Option<(u64, InstanceId)>,
        limit: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        let created_ms = match self.lapse {
            Lapse::DatesIgnored => u64::MAX,
            _ => created_ms,
        };
        self.inner.uploads_before(created_ms, after, limit)
    }

    fn replace_instance(&self, mut change: Replacement) -> Result<Garbage, CommitError> {
        let (bucket, old) = (change.bucket, change.old);
        if self.lapse == Lapse::ReplacementForgotten {
            return Ok(ghost(bucket, Some(old)));
        }
        if self.lapse == Lapse::ReplacementUnchecked
            && let Some(view) = self.inner.version(bucket, &change.key, change.which)?
            && let Version::Object(object) = view.version
        {
            change.old = object.row.instance;
        }
        let there = self
            .inner
            .version(bucket, &change.key, change.which)?
            .map(|view| view.version);
        if let (Some(Version::Object(there)), Some((expected, facts))) = (there, &mut change.facts)
        {
            match self.lapse {
                Lapse::ReplacementOfAnyFacts => expected.clone_from(&there.row.facts),
                Lapse::ReplacementTorn => facts.clone_from(expected),
                _ => {}
            }
        }
        self.inner.replace_instance(change)
    }

    fn relocate(&self, mut change: Relocation) -> Result<Option<Garbage>, CommitError> {
        match self.lapse {
            Lapse::RelocationForgotten => return Ok(None),
            Lapse::RelocationTorn => change.facts.clone_from(&change.expected_facts),
            Lapse::CopyForgotten => change.restored = None,
            _ => {}
        }
        let result = self.inner.relocate(change);
        if self.lapse == Lapse::CondemnedMoved && result == Err(CommitError::Condemned) {
            return Ok(None);
        }
        Ok(result?.filter(|_| self.lapse != Lapse::RelocationUntold))
    }

    super::pass! {
        check() -> Result<(), StoreError>;
        identity() -> Result<StoreIdentity, StoreError>;
        key_store_seen(id: [u8; 16], epoch: u64) -> Result<KeyStoreSeen, StoreError>;
        register(name: &str, now_ms: u64, ttl_ms: u64) -> Result<u64, StoreError>;
        renew(incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<bool, StoreError>;
        release(incarnation: u64) -> Result<(), StoreError>;
        dead_incarnations(now_ms: u64) -> Result<Vec<u64>, StoreError>;
        standing(incarnation: u64, now_ms: u64) -> Result<Standing, StoreError>;
        close(incarnation: u64) -> Result<(), StoreError>;
        task_lease(task: &str, incarnation: u64, now_ms: u64, ttl_ms: u64) -> Result<Option<u64>, StoreError>;
        change_counter() -> Result<u64, StoreError>;
        create_bucket(bucket: Bucket, state: GenerationState) -> Result<(), StoreError>;
        bucket(name: &str) -> Result<Option<Bucket>, StoreError>;
        bucket_by_id(id: BucketId) -> Result<Option<Bucket>, StoreError>;
        buckets(after: Option<&str>, limit: usize) -> Result<Vec<Bucket>, StoreError>;
        delete_bucket(bucket: BucketId, now_ms: u64) -> Result<(), DeleteBucketError>;
        deleted_buckets() -> Result<Vec<BucketId>, StoreError>;
        bucket_done(bucket: BucketId) -> Result<(), StoreError>;
        generation(bucket: BucketId, generation: u32) -> Result<Option<GenerationState>, StoreError>;
        set_generation(bucket: BucketId, expected: Option<GenerationState>, new: GenerationState, make_active: bool) -> Result<(), StoreError>;
        document(bucket: Option<BucketId>, name: &str) -> Result<Option<(u64, Vec<u8>)>, StoreError>;
        put_document(bucket: Option<BucketId>, name: &str, expected: Option<u64>, bytes: Option<&[u8]>) -> Result<u64, StoreError>;
        object(bucket: BucketId, key: &[u8]) -> Result<Option<ObjectView>, StoreError>;
        part_attrs(instance: InstanceId) -> Result<Option<Vec<u8>>, StoreError>;
        garbage(after: u64, limit: usize) -> Result<Vec<Garbage>, StoreError>;
        garbage_done(ids: &[u64]) -> Result<(), StoreError>;
        condemn(blob: BlobId) -> Result<bool, StoreError>;
        condemn_instance(instance: InstanceId, incarnation: u64) -> Result<bool, StoreError>;
    }
}

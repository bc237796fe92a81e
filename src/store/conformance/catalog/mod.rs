//! The suite of catalogs.

mod buckets;
mod garbage;
mod leases;
mod listing;
mod objects;
mod places;
mod uploads;
mod versions;

use std::time::Duration;

use super::{Check, Factory, Opener, Report, Wrong, run};
use crate::id::{BlobId, BucketId, InstanceId, VersionId};
use crate::store::{
    BlobRef, Bucket, Catalog, Commit, GenerationState, Locator, ObjectRow, Precondition, Versioning,
};

/// Runs the suite of catalogs; each check has `deadline` to answer.
#[must_use]
pub fn catalog(factory: &Factory<dyn Catalog>, deadline: Duration) -> Report {
    const CHECKS: &[Check<dyn Catalog>] = &[
        (
            "a catalog keeps its identity and knows its key store",
            leases::identity,
        ),
        (
            "incarnations are new numbers, live, dead and closed in turn",
            leases::incarnations,
        ),
        (
            "a task has one holder, and its token grows with each",
            leases::tasks,
        ),
        (
            "buckets are found by name and by id, and listed by name",
            buckets::buckets,
        ),
        (
            "only an empty bucket is deleted, and remembered until it is done",
            buckets::bucket_deletion,
        ),
        (
            "generations change by compare-and-swap",
            buckets::generations,
        ),
        (
            "documents change by compare-and-swap, and no revision comes twice",
            buckets::documents,
        ),
        (
            "a committed instance reads back, also from the catalog opened again",
            objects::reads_back,
        ),
        (
            "an overwrite shows the new instance and makes garbage of the old",
            objects::overwritten,
        ),
        (
            "a deletion hides the object and makes garbage of it",
            objects::deleted,
        ),
        ("preconditions decide", objects::preconditions),
        (
            "of commits that race for an absent key one wins",
            objects::commit_race,
        ),
        (
            "an instance and a blob are committed once",
            objects::committed_once,
        ),
        (
            "facts change by compare-and-swap on the visible instance",
            objects::facts,
        ),
        (
            "garbage is listed once, in order, until it is done",
            garbage::garbage,
        ),
        (
            "what is named cannot be condemned, what is condemned cannot be committed",
            garbage::condemned,
        ),
        (
            "of a commit and a condemnation that race one wins",
            garbage::condemn_race,
        ),
        ("a closed incarnation commits nothing", garbage::closed),
        ("commits side by side are all kept", objects::together),
        (
            "a listing is in byte order, page by page, each once",
            listing::pages,
        ),
        (
            "a listing keeps to its prefix and its start",
            listing::bounds,
        ),
        (
            "a delimiter folds keys into common prefixes",
            listing::delimiters,
        ),
        (
            "a listing looks at three rows per item at most",
            listing::visits,
        ),
        (
            "versioning is enabled and suspended, never off again",
            versions::versioning,
        ),
        (
            "where versioning is enabled every version stays and is found by its label",
            versions::kept,
        ),
        (
            "a deletion puts a marker on top, whose removal brings the object back",
            versions::markers,
        ),
        (
            "where versioning is suspended a write replaces the null version wherever it is",
            versions::suspended,
        ),
        (
            "a version is removed for good, and the newest of the rest is current",
            versions::removed,
        ),
        (
            "facts of any version change by compare-and-swap",
            versions::facts,
        ),
        (
            "attributes of parts are kept beside the row and go with it",
            versions::part_attrs,
        ),
        (
            "versions are listed newest first, page by page, each once",
            versions::pages,
        ),
        (
            "a delimiter folds versions into common prefixes",
            versions::delimiters,
        ),
        (
            "a listing of versions looks at three rows per item at most",
            versions::visits,
        ),
        (
            "an upload takes parts out of order and again",
            uploads::begun,
        ),
        (
            "a completed upload is an object of the parts that were chosen",
            uploads::completed,
        ),
        (
            "a completed upload is a version like any other",
            uploads::completed_as_a_version,
        ),
        (
            "of completions of one upload only the last that claimed it commits",
            uploads::claimed,
        ),
        (
            "an aborted upload is garbage, and so are those of a deleted bucket",
            uploads::aborted,
        ),
        (
            "what is condemned is no part, and what is a part cannot be condemned",
            uploads::condemned,
        ),
        (
            "of a completion and an abort that race one wins, and no part is forgotten",
            uploads::races,
        ),
        (
            "of a part and a condemnation that race one wins",
            uploads::condemn_race,
        ),
        (
            "uploads are listed by key and date, page by page",
            uploads::pages,
        ),
        (
            "a version gets another instance and stays the same",
            places::replaced,
        ),
        (
            "an object moves to the archive and gets a restored copy",
            places::archived,
        ),
        ("older versions move too", places::old_versions),
        (
            "of moves, new instances and removals that race nothing is lost or told twice",
            places::races,
        ),
        (
            "of writes and deletions of a key that race each is kept or garbage",
            versions::races,
        ),
    ];
    run(CHECKS, factory, deadline)
}

type Open = Opener<dyn Catalog>;

const BUCKET: BucketId = BucketId([0xb0; 16]);
/// A label for delete markers where none is expected.
const MARKER: VersionId = VersionId([0xdd; 16]);
const LONG: u64 = 1_000_000;

/// Makes the bucket and registers a writer.
fn start(catalog: &dyn Catalog) -> Result<u64, Wrong> {
    let bucket = Bucket {
        id: BUCKET,
        ..bucket("bucket", 0)
    };
    catalog.create_bucket(bucket, state(1))?;
    Ok(catalog.register("node", 0, LONG)?)
}

/// An instance with an inline blob and a blob in a file.
fn commit(incarnation: u64, key: &[u8]) -> Result<Commit, Wrong> {
    let instance = InstanceId::random()?;
    let blob = |part, locator, sealed_len| -> Result<BlobRef, Wrong> {
        let mut id = BlobId::random()?;
        id.0[..8].copy_from_slice(&incarnation.to_le_bytes());
        Ok(BlobRef {
            part,
            id,
            locator,
            sealed_len,
        })
    };
    let blobs = vec![
        blob(1, Locator::Inline, 40)?,
        blob(2, Locator::File, 70_000)?,
    ];
    let inline = vec![(blobs[0].id, instance.0.repeat(3)[..40].to_vec())];
    let row = ObjectRow {
        key: key.to_vec(),
        instance,
        version: VersionId(instance.0),
        null: true,
        mode: 1,
        suite: 2,
        length: 65_000,
        modified_ms: 1_234,
        generation: 1,
        kms_key_id: b"kms".to_vec(),
        encryption_context: b"context".to_vec(),
        manifest: instance.0.repeat(9),
        head: instance.0.repeat(5),
        attrs: instance.0.repeat(4),
        facts: b"facts".to_vec(),
        blobs,
        restored: Vec::new(),
    };
    let precondition = Precondition::None;
    Ok(Commit {
        bucket: BUCKET,
        incarnation,
        row,
        inline,
        part_attrs: Vec::new(),
        completes: None,
        precondition,
        now_ms: 9,
    })
}

fn visible(catalog: &dyn Catalog, key: &[u8]) -> Result<Option<InstanceId>, Wrong> {
    Ok(catalog.object(BUCKET, key)?.map(|view| view.row.instance))
}

fn bucket(name: &str, number: u8) -> Bucket {
    Bucket {
        id: BucketId([number; 16]),
        name: name.to_owned(),
        owner: format!("owner of {name}"),
        created_ms: u64::from(number),
        generation: 1,
        versioning: Versioning::Off,
    }
}

fn state(generation: u32) -> GenerationState {
    GenerationState {
        generation,
        rev: 1,
        state: 1,
    }
}

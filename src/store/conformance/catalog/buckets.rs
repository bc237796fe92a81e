//! Buckets, generations and documents.

use super::{BUCKET, MARKER, Open, bucket, commit, start, state};
use crate::id::BucketId;
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{CommitError, DeleteBucketError, GenerationState, Precondition, StoreError};

pub(super) fn buckets(open: &Open) -> Verdict {
    let catalog = open()?;
    let names = ["b", "a", "c", "B"];
    for (name, number) in names.iter().zip(1..) {
        let before = catalog.change_counter()?;
        catalog.create_bucket(bucket(name, number), state(1))?;
        holds("a change", catalog.change_counter()? > before)?;
    }
    for taken in [bucket("a", 9), bucket("z", 1)] {
        let refused = catalog.create_bucket(taken, state(1));
        holds(
            "name and id are unique",
            matches!(refused, Err(StoreError::Exists(_))),
        )?;
    }
    drop(catalog);
    let catalog = open()?;
    same("by name", &catalog.bucket("a")?, &Some(bucket("a", 2)))?;
    same(
        "by id",
        &catalog.bucket_by_id(bucket("c", 3).id)?,
        &Some(bucket("c", 3)),
    )?;
    same(
        "not there",
        &(catalog.bucket("x")?, catalog.bucket_by_id(BUCKET)?),
        &(None, None),
    )?;
    let page = |after, limit| -> Result<Vec<String>, Wrong> {
        Ok(catalog
            .buckets(after, limit)?
            .into_iter()
            .map(|bucket| bucket.name)
            .collect())
    };
    same(
        "all",
        &page(None, 9)?,
        &vec!["B".into(), "a".into(), "b".into(), "c".into()],
    )?;
    same("a page", &page(Some("a"), 1)?, &vec!["b".to_owned()])?;
    same(
        "its first generation",
        &catalog.generation(bucket("a", 2).id, 1)?,
        &Some(state(1)),
    )
}

pub(super) fn bucket_deletion(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.commit(commit(writer, b"key")?)?;
    catalog.put_document(Some(BUCKET), "policy", None, Some(b"{}"))?;
    same(
        "not empty",
        &catalog.delete_bucket(BUCKET, 8),
        &Err(DeleteBucketError::NotEmpty),
    )?;
    same(
        "not there",
        &catalog.delete_bucket(BucketId([9; 16]), 8),
        &Err(DeleteBucketError::NotFound),
    )?;
    catalog.delete(BUCKET, b"key", Precondition::None, None, MARKER, 5)?;
    catalog.delete_bucket(BUCKET, 8)?;
    let late = catalog.commit(commit(writer, b"late")?);
    same("a late commit", &late, &Err(CommitError::NoSuchBucket))?;
    drop(catalog);
    let catalog = open()?;
    same(
        "gone",
        &(catalog.bucket("bucket")?, catalog.bucket_by_id(BUCKET)?),
        &(None, None),
    )?;
    same("its generation", &catalog.generation(BUCKET, 1)?, &None)?;
    same(
        "its document",
        &catalog.document(Some(BUCKET), "policy")?,
        &None,
    )?;
    same("its garbage stays", &catalog.garbage(0, 9)?.len(), &1)?;
    same("remembered", &catalog.deleted_buckets()?, &vec![BUCKET])?;
    catalog.create_bucket(bucket("bucket", 7), state(1))?;
    catalog.bucket_done(BUCKET)?;
    same("forgotten", &catalog.deleted_buckets()?, &Vec::new())?;
    same(
        "the new one",
        &catalog.bucket("bucket")?,
        &Some(bucket("bucket", 7)),
    )
}

pub(super) fn generations(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let second = GenerationState {
        generation: 2,
        rev: 1,
        state: 1,
    };
    let before = catalog.change_counter()?;
    catalog.set_generation(BUCKET, None, second, true)?;
    holds("a change", catalog.change_counter()? > before)?;
    let stale = catalog.set_generation(BUCKET, None, second, false);
    holds("there is one", matches!(stale, Err(StoreError::Stale(_))))?;
    let disabled = GenerationState {
        rev: 2,
        state: 3,
        ..state(1)
    };
    let stale = catalog.set_generation(BUCKET, Some(disabled), disabled, false);
    holds(
        "not the expected state",
        matches!(stale, Err(StoreError::Stale(_))),
    )?;
    catalog.set_generation(BUCKET, Some(state(1)), disabled, false)?;
    let missing = catalog.set_generation(BucketId([9; 16]), None, second, false);
    holds("no bucket", matches!(missing, Err(StoreError::NotFound(_))))?;
    drop(catalog);
    let catalog = open()?;
    same(
        "the first",
        &catalog.generation(BUCKET, 1)?,
        &Some(disabled),
    )?;
    same("the second", &catalog.generation(BUCKET, 2)?, &Some(second))?;
    same("a third", &catalog.generation(BUCKET, 3)?, &None)?;
    same(
        "the active one",
        &catalog.bucket("bucket")?.map(|bucket| bucket.generation),
        &Some(2),
    )
}

pub(super) fn documents(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let mut revisions = Vec::new();
    for bucket in [None, Some(BUCKET)] {
        let put = |expected, bytes| catalog.put_document(bucket, "doc", expected, bytes);
        same("at first", &catalog.document(bucket, "doc")?, &None)?;
        let first = put(None, Some(b"one"))?;
        same(
            "first",
            &catalog.document(bucket, "doc")?,
            &Some((first, b"one".to_vec())),
        )?;
        for expected in [None, Some(first + 1)] {
            let stale = put(expected, Some(b"two"));
            holds(
                "not the expected revision",
                matches!(stale, Err(StoreError::Stale(_))),
            )?;
        }
        let second = put(Some(first), Some(b"two"))?;
        let third = put(Some(second), None)?;
        same("deleted", &catalog.document(bucket, "doc")?, &None)?;
        let fourth = put(None, Some(b"four"))?;
        revisions.extend([first, second, third, fourth]);
    }
    let count = revisions.len();
    revisions.sort_unstable();
    revisions.dedup();
    same("revisions", &revisions.len(), &count)?;
    let missing = catalog.put_document(Some(BucketId([9; 16])), "doc", None, Some(b""));
    holds("no bucket", matches!(missing, Err(StoreError::NotFound(_))))?;
    drop(catalog);
    let kept = open()?
        .document(Some(BUCKET), "doc")?
        .map(|(_, bytes)| bytes);
    same("later", &kept, &Some(b"four".to_vec()))
}

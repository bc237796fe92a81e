//! Identity, incarnations and task leases.

use super::{LONG, Open};
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{KeyStoreSeen, Standing, StoreError};

pub(super) fn identity(open: &Open) -> Verdict {
    let catalog = open()?;
    let id = catalog.identity()?.id;
    same(
        "first sight",
        &catalog.key_store_seen([1; 16], 5)?,
        &KeyStoreSeen::Current,
    )?;
    same(
        "later epoch",
        &catalog.key_store_seen([1; 16], 7)?,
        &KeyStoreSeen::Current,
    )?;
    same(
        "another",
        &catalog.key_store_seen([2; 16], 9)?,
        &KeyStoreSeen::Other { id: [1; 16] },
    )?;
    let incarnation = catalog.register("node", 0, LONG)?;
    drop(catalog);
    let catalog = open()?;
    same(
        "older",
        &catalog.key_store_seen([1; 16], 6)?,
        &KeyStoreSeen::Older { seen: 7 },
    )?;
    same(
        "the same epoch",
        &catalog.key_store_seen([1; 16], 7)?,
        &KeyStoreSeen::Current,
    )?;
    let later = catalog.identity()?;
    same("identity", &(later.id, later.epoch), &(id, incarnation))
}

pub(super) fn incarnations(open: &Open) -> Verdict {
    let catalog = open()?;
    let first = catalog.register("node", 100, 50)?;
    let second = catalog.register("node", 100, 50)?;
    holds("above 0 and new", 0 < first && first < second)?;
    let standing = |incarnation, now_ms| catalog.standing(incarnation, now_ms);
    same("at first", &standing(first, 149)?, &Standing::Live)?;
    same(
        "when the lease is over",
        &standing(first, 150)?,
        &Standing::Dead,
    )?;
    same(
        "never registered",
        &standing(second + 1, 100)?,
        &Standing::Unknown,
    )?;
    same("renewal", &catalog.renew(first, 149, 50)?, &true)?;
    same("after the renewal", &standing(first, 198)?, &Standing::Live)?;
    same("renewal too late", &catalog.renew(second, 150, 50)?, &false)?;
    same("dead", &catalog.dead_incarnations(160)?, &vec![second])?;
    same(
        "dead later",
        &catalog.dead_incarnations(500)?,
        &vec![first, second],
    )?;
    catalog.release(first)?;
    same("released", &standing(first, 160)?, &Standing::Dead)?;
    same(
        "renewal after release",
        &catalog.renew(first, 160, 50)?,
        &false,
    )?;
    catalog.close(second)?;
    drop(catalog);
    let catalog = open()?;
    same("closed", &catalog.standing(second, 0)?, &Standing::Closed)?;
    same(
        "renewal of a closed one",
        &catalog.renew(second, 0, 50)?,
        &false,
    )?;
    same(
        "dead at last",
        &catalog.dead_incarnations(500)?,
        &vec![first],
    )?;
    holds("never again", catalog.register("node", 500, 50)? > second)?;
    let unknown = catalog.close(99);
    holds(
        "nothing to close",
        matches!(unknown, Err(StoreError::NotFound(_))),
    )
}

pub(super) fn tasks(open: &Open) -> Verdict {
    let catalog = open()?;
    let first = catalog.register("one", 0, LONG)?;
    let second = catalog.register("two", 0, LONG)?;
    let lease = |who, now_ms| catalog.task_lease("sweep", who, now_ms, 100);
    let token = lease(first, 0)?.ok_or_else(|| Wrong("the lease is free".to_owned()))?;
    same("the holder again", &lease(first, 50)?, &Some(token))?;
    same("another one", &lease(second, 100)?, &None)?;
    let next = lease(second, 150)?;
    holds("a larger token for the next", next > Some(token))?;
    same("the former holder", &lease(first, 160)?, &None)?;
    same(
        "another task",
        &catalog.task_lease("verify", first, 160, 100)?.is_some(),
        &true,
    )?;
    catalog.release(first)?;
    same(
        "who is not live",
        &catalog.task_lease("other", first, 160, 100)?,
        &None,
    )
}

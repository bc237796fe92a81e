//! Incarnations and the leases of background tasks.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{INCARNATIONS, count};
use crate::store::sqlite::row::{Table, int, text};
use crate::store::{Standing, StoreError};

pub(super) const NODES: Table = Table::new(
    "incarnations",
    1,
    &["incarnation", "node", "expires_ms", "closed"],
);
pub(super) const TASKS: Table = Table::new("tasks", 1, &["task", "holder", "expires_ms", "token"]);

struct Node {
    name: String,
    expires_ms: u64,
    closed: bool,
}

pub(super) fn register(
    db: &Connection,
    name: &str,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<u64, StoreError> {
    let incarnation = count(db, INCARNATIONS)?;
    let node = Node {
        name: name.to_owned(),
        expires_ms: end(now_ms, ttl_ms),
        closed: false,
    };
    put(db, incarnation, &node)?;
    Ok(incarnation)
}

pub(super) fn renew(
    db: &Connection,
    incarnation: u64,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<bool, StoreError> {
    let Some(mut node) =
        get(db, incarnation)?.filter(|node| node.standing(now_ms) == Standing::Live)
    else {
        return Ok(false);
    };
    node.expires_ms = end(now_ms, ttl_ms);
    put(db, incarnation, &node)?;
    Ok(true)
}

pub(super) fn release(db: &Connection, incarnation: u64) -> Result<(), StoreError> {
    let Some(mut node) = get(db, incarnation)? else {
        return Ok(());
    };
    node.expires_ms = 0;
    put(db, incarnation, &node)
}

pub(super) fn close(db: &Connection, incarnation: u64) -> Result<(), StoreError> {
    let mut node = get(db, incarnation)?
        .ok_or_else(|| StoreError::NotFound(format!("incarnation {incarnation}")))?;
    node.closed = true;
    put(db, incarnation, &node)
}

pub(super) fn dead(db: &Connection, now_ms: u64) -> Result<Vec<u64>, StoreError> {
    NODES.all(
        db,
        "WHERE closed = 0 AND expires_ms <= ?1 ORDER BY incarnation",
        [i64::try_from(now_ms).unwrap_or(i64::MAX)],
        |row| row.number(0),
    )
}

pub(super) fn standing(
    db: &Connection,
    incarnation: u64,
    now_ms: u64,
) -> Result<Standing, StoreError> {
    Ok(get(db, incarnation)?.map_or(Standing::Unknown, |node| node.standing(now_ms)))
}

/// Whether an incarnation may still commit: its lease may be over, but nobody closed it.
pub(super) fn may_commit(db: &Connection, incarnation: u64) -> Result<bool, StoreError> {
    Ok(get(db, incarnation)?.is_some_and(|node| !node.closed))
}

/// Whether an incarnation was registered once and is closed.
pub(super) fn is_closed(db: &Connection, incarnation: u64) -> Result<bool, StoreError> {
    Ok(get(db, incarnation)?.is_some_and(|node| node.closed))
}

pub(super) fn task(
    db: &Connection,
    task: &str,
    incarnation: u64,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<Option<u64>, StoreError> {
    if standing(db, incarnation, now_ms)? != Standing::Live {
        return Ok(None);
    }
    let held = TASKS.get(db, &[text(task)], |row| {
        Ok((
            row.number::<u64>(1)?,
            row.number::<u64>(2)?,
            row.number::<u64>(3)?,
        ))
    })?;
    let token = match held {
        Some((holder, expires_ms, token)) if expires_ms > now_ms => {
            if holder != incarnation {
                return Ok(None);
            }
            token
        }
        Some((.., token)) => token + 1,
        None => 1,
    };
    let values = [
        text(task),
        int(incarnation)?,
        int(end(now_ms, ttl_ms))?,
        int(token)?,
    ];
    TASKS.put(db, &values)?;
    Ok(Some(token))
}

impl Node {
    fn standing(&self, now_ms: u64) -> Standing {
        if self.closed {
            Standing::Closed
        } else if self.expires_ms > now_ms {
            Standing::Live
        } else {
            Standing::Dead
        }
    }
}

fn get(db: &Connection, incarnation: u64) -> Result<Option<Node>, StoreError> {
    let Ok(key) = int(incarnation) else {
        return Ok(None);
    };
    NODES.get(db, &[key], |row| {
        Ok(Node {
            name: row.text(1)?,
            expires_ms: row.number(2)?,
            closed: row.number::<i64>(3)? != 0,
        })
    })
}

fn put(db: &Connection, incarnation: u64, node: &Node) -> Result<(), StoreError> {
    let closed = ValueRef::Integer(i64::from(node.closed));
    NODES.put(
        db,
        &[
            int(incarnation)?,
            text(&node.name),
            int(node.expires_ms)?,
            closed,
        ],
    )
}

/// The end of a lease, as far as a column can say it.
fn end(now_ms: u64, ttl_ms: u64) -> u64 {
    now_ms.saturating_add(ttl_ms).min(i64::MAX.cast_unsigned())
}

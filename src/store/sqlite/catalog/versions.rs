//! Versions of a key: read, changed, removed and listed, wherever they stand.

use std::ops::Bound;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, params_from_iter};

use super::history::{self, Kept, VERSIONS};
use super::{buckets, objects};
use crate::id::{BucketId, InstanceId};
use crate::store::sqlite::row::{Cursor, Fields, blob};
use crate::store::{
    CommitError, Deleted, Judged, ListedVersion, StoreError, Version, VersionEntry, VersionItem,
    VersionView, VersionsPage, VersionsQuery, Which, after_prefix, common_prefix,
};

/// A version where it was found.
pub(super) struct Found {
    pub(super) kept: Kept,
    /// Its row is in `objects`.
    live: bool,
    /// Whether it is the newest of its key, as far as finding it told.
    is_current: Option<bool>,
}

impl Found {
    /// Whether it is the newest of its key.
    fn is_current(&self, db: &Connection, bucket: u64) -> Result<bool, StoreError> {
        if let Some(is_current) = self.is_current {
            return Ok(is_current);
        }
        let newest = history::newest(db, bucket, self.kept.key())?;
        Ok(newest.is_some_and(|newest| newest.number == self.kept.number))
    }
}

/// A version of a key, wherever it is.
pub(super) fn find(
    db: &Connection,
    bucket: u64,
    key: &[u8],
    which: Which,
) -> Result<Option<Found>, StoreError> {
    let current = objects::find(db, bucket, key)?;
    // A row in `objects` is newer than all history.
    let is_current = match which {
        _ if current.is_some() => Some(false),
        Which::Current => Some(true),
        Which::Null | Which::Label(_) => None,
    };
    if let Some((number, object)) = current
        && (which == Which::Current || which == object.which())
    {
        return Ok(Some(Found {
            kept: Kept {
                number,
                entry: VersionEntry::Object(object),
            },
            live: true,
            is_current: Some(true),
        }));
    }
    let kept = history::find(db, bucket, key, which)?;
    Ok(kept.map(|kept| Found {
        kept,
        live: false,
        is_current,
    }))
}

/// Writes a changed row where it was found.
pub(super) fn put(db: &Connection, bucket: u64, found: &Found) -> Result<(), StoreError> {
    match &found.kept.entry {
        VersionEntry::Object(object) if found.live => {
            objects::put(db, bucket, found.kept.number, object)
        }
        _ => history::put(db, bucket, &found.kept),
    }
}

pub(super) fn view(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    which: Which,
) -> Result<Option<VersionView>, StoreError> {
    let Some(bucket) = buckets::number(db, id)? else {
        return Ok(None);
    };
    let Some(found) = find(db, bucket, key, which)? else {
        return Ok(None);
    };
    let is_current = found.is_current(db, bucket)?;
    let version = match found.kept.entry {
        VersionEntry::Object(object) => Version::Object(Box::new(objects::complete(
            db,
            bucket,
            found.kept.number,
            &object,
        )?)),
        VersionEntry::Marker(marker) => Version::Marker(marker),
    };
    Ok(Some(VersionView {
        is_current,
        version,
    }))
}

pub(super) fn set_facts(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    which: Which,
    instance: InstanceId,
    expected: &[u8],
    facts: &[u8],
) -> Result<(), StoreError> {
    let missing = || StoreError::NotFound(format!("instance {instance} as {which:?} of its key"));
    let bucket = buckets::number(db, id)?.ok_or_else(missing)?;
    let mut found = find(db, bucket, key, which)?.ok_or_else(missing)?;
    let VersionEntry::Object(object) = &mut found.kept.entry else {
        return Err(missing());
    };
    if object.instance != instance {
        return Err(missing());
    }
    if object.facts != expected {
        return Err(StoreError::Stale(format!("facts of instance {instance}")));
    }
    object.facts = facts.to_vec();
    put(db, bucket, &found)
}

pub(super) fn delete(
    db: &Connection,
    id: BucketId,
    key: &[u8],
    which: Which,
    judged: Option<Judged<'_>>,
    now_ms: u64,
) -> Result<Deleted, CommitError> {
    let bucket = buckets::number(db, id)?.ok_or(CommitError::NoSuchBucket)?;
    let Some(found) = find(db, bucket, key, which)? else {
        return Ok(Deleted::default());
    };
    let is_current = found.is_current(db, bucket)?;
    let Found { kept, live, .. } = found;
    if let Some(judged) = judged {
        match &kept.entry {
            VersionEntry::Object(object) => judged.check(object.version, Some(&object.facts))?,
            VersionEntry::Marker(marker) => judged.check(marker.version, None)?,
        }
    }
    if live {
        objects::remove(db, bucket, key)?;
    } else {
        history::remove(db, bucket, &kept)?;
    }
    if is_current && let Some(next) = history::newest(db, bucket, key)? {
        promote(db, bucket, &next)?;
    }
    let garbage = objects::discard(db, id, kept.number, &kept.entry, now_ms)?;
    let marker = match kept.entry {
        VersionEntry::Object(_) => None,
        VersionEntry::Marker(marker) => Some(marker),
    };
    Ok(Deleted { garbage, marker })
}

/// Makes the newest of the history current: an object is listed again, a marker stays where it is.
fn promote(db: &Connection, bucket: u64, kept: &Kept) -> Result<(), StoreError> {
    let VersionEntry::Object(object) = &kept.entry else {
        return Ok(());
    };
    history::remove(db, bucket, kept)?;
    objects::put(db, bucket, kept.number, object)
}

pub(super) fn list(db: &Connection, query: &VersionsQuery<'_>) -> Result<VersionsPage, StoreError> {
    let mut page = VersionsPage {
        items: Vec::new(),
        more: false,
        rows_visited: 0,
    };
    let Some(bucket) = buckets::number(db, query.bucket)?.filter(|_| query.limit > 0) else {
        return Ok(page);
    };
    let end = after_prefix(query.prefix);
    let mut last = None;
    let mut start = Some(begin(db, bucket, query, &mut last)?);
    page.rows_visited += u64::from(last.is_some());
    let number = i64::try_from(bucket).unwrap_or(i64::MAX);
    let (live_sql, old_sql) = match end {
        Some(_) => (LIVE_UP_TO, OLD_UP_TO),
        None => (LIVE, OLD),
    };
    while let Some(from) = start.take() {
        let mut live = objects::ROWS.prepare(db, live_sql)?;
        let mut old = VERSIONS.prepare(db, old_sql)?;
        let begin = [ValueRef::Integer(number), blob(&from.live)];
        let live = objects::ROWS.rows(&mut live, params(&begin, end.as_deref()))?;
        let (key, age) = &from.old;
        let begin = [
            ValueRef::Integer(number),
            blob(key),
            ValueRef::Integer(*age),
        ];
        let old = VERSIONS.rows(&mut old, params(&begin, end.as_deref()))?;
        let mut both = Both {
            live: Side::new(live, |row| {
                let (number, object) = objects::decode(row)?;
                let entry = VersionEntry::Object(object);
                Ok(Kept { number, entry })
            }),
            old: Side::new(old, history::decode),
        };
        while let Some(kept) = both.next(&mut page.rows_visited)? {
            if page.items.len() == query.limit {
                page.more = true;
                break;
            }
            if let Some(common) = common_prefix(kept.key(), query.prefix, query.delimiter) {
                start = after_prefix(common).map(Start::at);
                page.items.push(VersionItem::Prefix(common.to_vec()));
                break;
            }
            let item = ListedVersion {
                noncurrent_since_ms: last
                    .as_ref()
                    .filter(|(key, _)| key == kept.key())
                    .map(|(_, modified_ms)| *modified_ms),
                entry: kept.entry,
            };
            last = Some((item.key().to_vec(), item.entry.modified_ms()));
            page.items.push(VersionItem::Version(item));
        }
    }
    Ok(page)
}

const LIVE: &str = "WHERE bucket = ?1 AND key >= ?2 ORDER BY key";
const LIVE_UP_TO: &str = "WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key";
const OLD: &str = "WHERE bucket = ?1 AND (key, age) > (?2, ?3) ORDER BY key, age";
const OLD_UP_TO: &str =
    "WHERE bucket = ?1 AND (key, age) > (?2, ?3) AND key < ?4 ORDER BY key, age";

fn params<'v>(begin: &[ValueRef<'v>], end: Option<&'v [u8]>) -> impl Params {
    let end = end.map(blob);
    let all: Vec<_> = begin.iter().copied().chain(end).collect();
    params_from_iter(all.into_iter().map(ToSqlOutput::Borrowed))
}

/// Key and date of the version that was shown last.
type Last = Option<(Vec<u8>, u64)>;

/// Where a listing begins.
struct Start {
    /// The first key in `objects`. Behind a version, a key has nothing but history: this is the key after it then.
    live: Vec<u8>,
    /// What goes before the first row in `versions`: a key and an age.
    old: (Vec<u8>, i64),
}

impl Start {
    fn at(key: Vec<u8>) -> Self {
        Self {
            live: key.clone(),
            old: (key, i64::MIN),
        }
    }
}

fn begin(
    db: &Connection,
    bucket: u64,
    query: &VersionsQuery<'_>,
    last: &mut Last,
) -> Result<Start, StoreError> {
    let mut start = Start::at(query.start());
    if let (Bound::Included(from), Some(which)) = (query.from, query.after)
        && *from == *start.live
        && which != Which::Current
        && let Some(found) = find(db, bucket, from, which)?
    {
        *last = Some((from.to_vec(), found.kept.entry.modified_ms()));
        start.live.push(0);
        start.old.1 = history::age(found.kept.number)?;
    }
    Ok(start)
}

/// The current objects and the history, merged: keys in order, the newest version of a key first.
struct Both<'s> {
    live: Side<'s>,
    old: Side<'s>,
}

/// One of them, with the row that comes next.
struct Side<'s> {
    rows: Cursor<'s>,
    decode: fn(&Fields<'_>) -> Result<Kept, StoreError>,
    head: Option<Kept>,
    ended: bool,
}

impl Both<'_> {
    fn next(&mut self, visited: &mut u64) -> Result<Option<Kept>, StoreError> {
        self.live.fill(visited)?;
        self.old.fill(visited)?;
        let old_first = match (&self.live.head, &self.old.head) {
            (Some(live), Some(old)) => old.key() < live.key(),
            (live, _) => live.is_none(),
        };
        let side = if old_first {
            &mut self.old
        } else {
            &mut self.live
        };
        Ok(side.head.take())
    }
}

impl<'s> Side<'s> {
    fn new(rows: Cursor<'s>, decode: fn(&Fields<'_>) -> Result<Kept, StoreError>) -> Self {
        Self {
            rows,
            decode,
            head: None,
            ended: false,
        }
    }

    fn fill(&mut self, visited: &mut u64) -> Result<(), StoreError> {
        if self.head.is_none() && !self.ended {
            self.head = self.rows.next(self.decode)?;
            self.ended = self.head.is_none();
            *visited += u64::from(self.head.is_some());
        }
        Ok(())
    }
}

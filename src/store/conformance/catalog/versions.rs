//! The part of the catalog's suite that is about versions.

use std::ops::Bound;
use std::thread;

use super::{BUCKET, Open, commit, start};
use crate::id::{BucketId, InstanceId, VersionId};
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{
    Catalog, Commit, CommitError, Deleted, Garbage, Judged, ListItem, ListQuery, ObjectRow,
    Precondition, StoreError, Version, VersionEntry, VersionItem, Versioning, VersionsQuery, Which,
};

pub(super) fn versioning(open: &Open) -> Verdict {
    let catalog = open()?;
    start(&*catalog)?;
    let state = |catalog: &dyn Catalog| -> Result<Option<Versioning>, Wrong> {
        Ok(catalog.bucket("bucket")?.map(|bucket| bucket.versioning))
    };
    same("at first", &state(&*catalog)?, &Some(Versioning::Off))?;
    let before = catalog.change_counter()?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    holds("a change", catalog.change_counter()? > before)?;
    same("enabled", &state(&*catalog)?, &Some(Versioning::Enabled))?;
    let back = catalog.set_versioning(BUCKET, Versioning::Off);
    holds(
        "it is never off again",
        matches!(back, Err(StoreError::Unsupported(_))),
    )?;
    let missing = catalog.set_versioning(BucketId([9; 16]), Versioning::Enabled);
    holds("no bucket", matches!(missing, Err(StoreError::NotFound(_))))?;
    catalog.set_versioning(BUCKET, Versioning::Suspended)?;
    drop(catalog);
    same("later", &state(&*open()?)?, &Some(Versioning::Suspended))
}

pub(super) fn kept(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let before = put(&*catalog, writer, b"key")?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let mut rows = vec![before];
    for _ in 0..3 {
        let commit = commit(writer, b"key")?;
        let committed = catalog.commit(commit.clone())?;
        same("nothing is garbage", &committed.garbage, &Vec::new())?;
        same("not the null version", &committed.null, &false)?;
        rows.push(ObjectRow {
            null: false,
            ..commit.row
        });
    }
    let again = commit(writer, b"key")?;
    let again = catalog.commit(Commit {
        row: ObjectRow {
            version: rows[2].version,
            ..again.row
        },
        ..again
    });
    holds(
        "a label of the key comes once",
        matches!(again, Err(CommitError::Store(StoreError::Exists(_)))),
    )?;
    drop(catalog);
    let catalog = open()?;
    catalog.check()?;
    for (row, at) in rows.iter().zip(0..) {
        let which = if at == 0 {
            Which::Null
        } else {
            Which::Label(row.version)
        };
        same("name", &row.which(), &which)?;
        let view = catalog.version(BUCKET, b"key", which)?;
        let view = view.ok_or_else(|| Wrong("a version is missing".to_owned()))?;
        same("is current", &view.is_current, &(at == 3))?;
        let Version::Object(object) = view.version else {
            return Err(Wrong("a marker that nobody made".to_owned()));
        };
        same("row", &object.row, row)?;
        same("inline bytes", &object.inline.len(), &1)?;
        holds(
            "inline bytes of its own",
            object.inline[0].1.starts_with(&row.instance.0),
        )?;
    }
    holds(
        "the null version has no label",
        catalog
            .version(BUCKET, b"key", Which::Label(rows[0].version))?
            .is_none(),
    )?;
    holds(
        "a label of another key",
        catalog
            .version(BUCKET, b"kez", Which::Label(rows[1].version))?
            .is_none(),
    )?;
    same(
        "the current one",
        &shown(&*catalog, b"key", Which::Current)?,
        &shown(&*catalog, b"key", rows[3].which())?,
    )
}

pub(super) fn markers(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let first = put(&*catalog, writer, b"key")?;
    let label = VersionId::random()?;
    let deleted = catalog.delete(BUCKET, b"key", Precondition::Present, None, label, 77)?;
    let Deleted {
        garbage: None,
        marker: Some(marker),
    } = deleted
    else {
        return Err(Wrong(format!("a deletion puts a marker: {deleted:?}")));
    };
    same(
        "marker",
        &(marker.version, marker.null, marker.modified_ms),
        &(label, false, 77),
    )?;
    drop(catalog);
    let catalog = open()?;
    same("no object", &catalog.object(BUCKET, b"key")?, &None)?;
    same("not listed", &listed(&*catalog)?, &Vec::new())?;
    let top = catalog.version(BUCKET, b"key", Which::Current)?;
    same(
        "on top",
        &top.map(|view| (view.is_current, view.version)),
        &Some((true, Version::Marker(marker.clone()))),
    )?;
    same(
        "below",
        &shown(&*catalog, b"key", first.which())?,
        &Some((Some(first.instance), false)),
    )?;
    let absent = catalog.delete(BUCKET, b"key", Precondition::Present, None, label, 78);
    same(
        "a marker counts as absent",
        &absent,
        &Err(CommitError::Precondition),
    )?;
    let second = VersionId::random()?;
    catalog.delete(BUCKET, b"key", Precondition::Absent, None, second, 79)?;
    let never = VersionId::random()?;
    catalog.delete(BUCKET, b"never there", Precondition::None, None, never, 80)?;
    holds(
        "a marker on nothing",
        catalog
            .version(BUCKET, b"never there", Which::Current)?
            .is_some(),
    )?;
    let removed = catalog.delete_version(BUCKET, b"key", Which::Label(second), None, 81)?;
    same("no garbage of a marker", &removed.garbage, &None)?;
    same(
        "the marker that was removed",
        &removed.marker.map(|marker| marker.version),
        &Some(second),
    )?;
    same("still no object", &catalog.object(BUCKET, b"key")?, &None)?;
    let judged = Judged {
        version: marker.version,
        facts: b"of no object",
    };
    catalog.delete_version(BUCKET, b"key", marker.which(), Some(judged), 82)?;
    same("undeleted", &listed(&*catalog)?, &vec![b"key".to_vec()])?;
    same(
        "the object again",
        &shown(&*catalog, b"key", Which::Current)?,
        &Some((Some(first.instance), true)),
    )
}

pub(super) fn suspended(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let null = put(&*catalog, writer, b"key")?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let labelled = put(&*catalog, writer, b"key")?;
    catalog.set_versioning(BUCKET, Versioning::Suspended)?;
    // The null version is below; the new one takes its place and comes on top.
    let over = commit(writer, b"key")?;
    let committed = catalog.commit(over.clone())?;
    same("the null version", &committed.null, &true)?;
    same(
        "garbage",
        &instances(&committed.garbage),
        &vec![Some(null.instance)],
    )?;
    same("blobs", &committed.garbage[0].blobs, &null.blobs)?;
    same(
        "on top",
        &shown(&*catalog, b"key", Which::Null)?,
        &Some((Some(over.row.instance), true)),
    )?;
    same(
        "the labelled one stays",
        &shown(&*catalog, b"key", labelled.which())?,
        &Some((Some(labelled.instance), false)),
    )?;
    let label = VersionId::random()?;
    let deleted = catalog.delete(BUCKET, b"key", Precondition::None, None, label, 5)?;
    same(
        "the null version is garbage",
        &deleted.garbage.and_then(|garbage| garbage.instance),
        &Some(over.row.instance),
    )?;
    same(
        "a null marker",
        &deleted.marker.map(|marker| marker.null),
        &Some(true),
    )?;
    same(
        "it is found as the null version",
        &shown(&*catalog, b"key", Which::Null)?,
        &Some((None, true)),
    )?;
    let again = catalog.delete(
        BUCKET,
        b"key",
        Precondition::None,
        None,
        VersionId([8; 16]),
        6,
    )?;
    same("a marker leaves no garbage", &again.garbage, &None)?;
    let last = catalog.commit(commit(writer, b"key")?)?;
    same("over a null marker", &last.garbage, &Vec::new())?;
    catalog.check()?;
    let versions = walk(&*catalog, &ALL)?;
    same("versions", &versions.len(), &2)?;
    same("the older one", &versions[1].1, &labelled.which())
}

pub(super) fn removed(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let rows = (0..4)
        .map(|_| put(&*catalog, writer, b"key"))
        .collect::<Result<Vec<_>, _>>()?;
    let remove = |which, judged: Option<Judged<'_>>| {
        catalog.delete_version(BUCKET, b"key", which, judged, 9)
    };
    let stale = |version, facts: &[u8]| {
        let removed = remove(rows[1].which(), Some(Judged { version, facts }));
        matches!(removed, Err(CommitError::Store(StoreError::Stale(_))))
    };
    holds(
        "other facts than were judged",
        stale(rows[1].version, b"other facts"),
    )?;
    holds(
        "another version than was judged",
        stale(rows[2].version, &rows[1].facts),
    )?;
    let hide = |of: Judged<'_>| {
        let label = VersionId([7; 16]);
        catalog.delete(BUCKET, b"key", Precondition::None, Some(of), label, 9)
    };
    let stays = |of| matches!(hide(of), Err(CommitError::Store(StoreError::Stale(_))));
    let others = Judged {
        facts: b"other facts",
        ..judged(&rows[3])
    };
    holds("a deletion of other facts than were judged", stays(others))?;
    holds(
        "a deletion of one that is not current",
        stays(judged(&rows[2])),
    )?;
    let hidden = hide(judged(&rows[3]))?.marker;
    holds("a deletion as judged", hidden.is_some())?;
    holds("a deletion of what is hidden", stays(judged(&rows[3])))?;
    remove(Which::Current, None)?;
    same(
        "nothing there",
        &remove(Which::Null, None)?,
        &Deleted::default(),
    )?;
    let nowhere = catalog.delete_version(BucketId([9; 16]), b"key", Which::Null, None, 9);
    same("no bucket", &nowhere, &Err(CommitError::NoSuchBucket))?;
    let gone = remove(rows[1].which(), Some(judged(&rows[1])))?;
    let gone = gone.garbage.ok_or_else(|| Wrong("no garbage".to_owned()))?;
    same(
        "garbage",
        &(gone.instance, &gone.blobs),
        &(Some(rows[1].instance), &rows[1].blobs),
    )?;
    same("gone", &shown(&*catalog, b"key", rows[1].which())?, &None)?;
    same(
        "the current one stays",
        &shown(&*catalog, b"key", Which::Current)?,
        &Some((Some(rows[3].instance), true)),
    )?;
    remove(Which::Current, Some(judged(&rows[3])))?;
    same(
        "the newest of the rest is current",
        &shown(&*catalog, b"key", rows[2].which())?,
        &Some((Some(rows[2].instance), true)),
    )?;
    same("and listed", &listed(&*catalog)?, &vec![b"key".to_vec()])?;
    catalog.check()?;
    let refused = catalog.delete_bucket(BUCKET, 8);
    holds("versions keep a bucket", refused.is_err())?;
    remove(rows[2].which(), None)?;
    remove(rows[0].which(), None)?;
    same("none left", &walk(&*catalog, &ALL)?, &Vec::new())?;
    catalog.delete(
        BUCKET,
        b"key",
        Precondition::None,
        None,
        VersionId([1; 16]),
        9,
    )?;
    let another = Judged {
        version: VersionId([2; 16]),
        facts: b"",
    };
    holds(
        "another marker than was judged",
        remove(Which::Current, Some(another)).is_err(),
    )?;
    holds(
        "a marker keeps a bucket",
        catalog.delete_bucket(BUCKET, 8).is_err(),
    )?;
    remove(Which::Current, None)?;
    same("deleted", &catalog.delete_bucket(BUCKET, 8), &Ok(()))
}

fn judged(row: &ObjectRow) -> Judged<'_> {
    Judged {
        version: row.version,
        facts: &row.facts,
    }
}

pub(super) fn facts(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let old = put(&*catalog, writer, b"key")?;
    let new = put(&*catalog, writer, b"key")?;
    let set = |which, instance, expected: &[u8], facts: &[u8]| {
        catalog.set_facts(BUCKET, b"key", which, instance, expected, facts)
    };
    set(old.which(), old.instance, &old.facts, b"old facts")?;
    holds(
        "compare-and-swap",
        matches!(
            set(old.which(), old.instance, &old.facts, b"x"),
            Err(StoreError::Stale(_))
        ),
    )?;
    holds(
        "not of that instance",
        matches!(
            set(old.which(), new.instance, b"old facts", b"x"),
            Err(StoreError::NotFound(_))
        ),
    )?;
    catalog.delete(
        BUCKET,
        b"key",
        Precondition::None,
        None,
        VersionId([1; 16]),
        9,
    )?;
    holds(
        "a marker has no facts",
        matches!(
            set(Which::Current, new.instance, &new.facts, b"x"),
            Err(StoreError::NotFound(_))
        ),
    )?;
    drop(catalog);
    let catalog = open()?;
    let facts = |which| -> Result<Option<Vec<u8>>, Wrong> {
        Ok(
            match catalog
                .version(BUCKET, b"key", which)?
                .map(|view| view.version)
            {
                Some(Version::Object(object)) => Some(object.row.facts),
                _ => None,
            },
        )
    };
    same("old", &facts(old.which())?, &Some(b"old facts".to_vec()))?;
    same("new", &facts(new.which())?, &Some(new.facts))
}

pub(super) fn part_attrs(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    let with = Commit {
        part_attrs: vec![7; 100_000],
        ..commit(writer, b"key")?
    };
    let instance = with.row.instance;
    catalog.commit(with.clone())?;
    let without = put(&*catalog, writer, b"key")?;
    drop(catalog);
    let catalog = open()?;
    same(
        "kept",
        &catalog.part_attrs(instance)?,
        &Some(with.part_attrs),
    )?;
    same("none", &catalog.part_attrs(without.instance)?, &None)?;
    catalog.delete_version(BUCKET, b"key", Which::Label(with.row.version), None, 9)?;
    same("gone", &catalog.part_attrs(instance)?, &None)
}

pub(super) fn pages(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    let mut wanted = fill(&*catalog, writer)?;
    drop(catalog);
    let catalog = open()?;
    for limit in [1, 2, 3, 7, 1000] {
        let seen = walk(&*catalog, &VersionsQuery { limit, ..ALL })?;
        same("all pages", &seen, &wanted)?;
    }
    for prefix in [&b"b"[..], b"b/", b"\xff", b"x"] {
        let wanted: Vec<_> = wanted
            .iter()
            .filter(|(key, ..)| key.starts_with(prefix))
            .cloned()
            .collect();
        let query = VersionsQuery {
            prefix,
            limit: 2,
            ..ALL
        };
        same("a prefix", &walk(&*catalog, &query)?, &wanted)?;
    }
    let none = VersionsQuery { limit: 0, ..ALL };
    same(
        "no items",
        &catalog.list_versions(&none)?.items,
        &Vec::new(),
    )?;
    // The versions of a page are deleted before the next is asked for: nothing is passed over.
    let (first, ..) = wanted
        .iter()
        .find(|(key, ..)| wanted.iter().filter(|(other, ..)| other == key).count() > 3)
        .ok_or_else(|| Wrong("no key has four versions".to_owned()))?
        .clone();
    let of_first = |(key, ..): &(Vec<u8>, Which, bool)| *key == first;
    let newest = wanted.iter().position(of_first).unwrap_or_default();
    let (_, gone, _) = wanted.remove(newest);
    catalog.delete_version(BUCKET, &first, gone, None, 9)?;
    wanted[newest].2 = true;
    let query = VersionsQuery {
        from: Bound::Included(&first),
        after: Some(gone),
        ..ALL
    };
    same(
        "behind a version that is gone",
        &walk(&*catalog, &query)?,
        &wanted[newest..].to_vec(),
    )
}

pub(super) fn delimiters(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    fill(&*catalog, writer)?;
    for limit in [1, 2, 1000] {
        let query = VersionsQuery {
            delimiter: Some(b"/"),
            limit,
            ..ALL
        };
        let mut names = Vec::new();
        let mut from = Some(Vec::new());
        let mut after = None;
        while let Some(key) = from.take() {
            let page = catalog.list_versions(&VersionsQuery {
                from: Bound::Included(&key),
                after,
                ..query
            })?;
            for item in &page.items {
                let name = match item {
                    VersionItem::Prefix(prefix) => prefix.clone(),
                    VersionItem::Version(version) => version.key().to_vec(),
                };
                names.push(name);
            }
            (from, after) = match page.items.last().filter(|_| page.more) {
                Some(VersionItem::Prefix(prefix)) => (crate::store::after_prefix(prefix), None),
                Some(VersionItem::Version(version)) => {
                    (Some(version.key().to_vec()), Some(version.which()))
                }
                None => (None, None),
            };
        }
        let wanted: &[&[u8]] = &[b"a", b"a", b"a", b"a", b"b/", b"c", b"c", b"\xff"];
        let wanted: Vec<_> = wanted.iter().map(|name| name.to_vec()).collect();
        same("names", &names, &wanted)?;
    }
    Ok(())
}

pub(super) fn visits(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    for number in 0..60u8 {
        let key = format!("{}/{number:03}", number / 20).into_bytes();
        put(&*catalog, writer, &key)?;
        let label = VersionId::random()?;
        catalog.delete(BUCKET, &key, Precondition::None, None, label, 9)?;
        if number % 2 == 0 {
            put(&*catalog, writer, &key)?;
        }
    }
    for (delimiter, limit) in [
        (Some(&b"/"[..]), 1000),
        (Some(b"/"), 2),
        (None, 50),
        (None, 1),
    ] {
        let page = catalog.list_versions(&VersionsQuery {
            delimiter,
            limit,
            ..ALL
        })?;
        let (rows, items) = (page.rows_visited, page.items.len() as u64);
        holds(
            &format!("{rows} rows for {items} items"),
            items <= rows && rows <= 3 * items,
        )?;
    }
    let page = catalog.list(&ListQuery {
        bucket: BUCKET,
        prefix: b"",
        from: Bound::Unbounded,
        delimiter: None,
        limit: 30,
    })?;
    same(
        "a listing of objects meets no history",
        &(page.items.len(), page.rows_visited),
        &(30, 30),
    )
}

/// Five writers and three deletions of one key, in each state of the bucket.
pub(super) fn races(open: &Open) -> Verdict {
    let catalog = open()?;
    let writer = start(&*catalog)?;
    for (state, round) in [
        Versioning::Off,
        Versioning::Enabled,
        Versioning::Suspended,
        Versioning::Enabled,
        Versioning::Suspended,
    ]
    .into_iter()
    .zip(0..)
    {
        catalog.set_versioning(BUCKET, state)?;
        let key = [round];
        let commits = (0..5)
            .map(|_| commit(writer, &key))
            .collect::<Result<Vec<_>, _>>()?;
        let labels = (0..3)
            .map(|_| VersionId::random())
            .collect::<Result<Vec<_>, _>>()?;
        let written: Vec<InstanceId> = commits.iter().map(|commit| commit.row.instance).collect();
        let before = catalog.garbage(0, 1000)?.len();
        race(&*catalog, &key, commits, &labels)?;
        let of_key = VersionsQuery {
            prefix: &key,
            ..ALL
        };
        let versions = walk(&*catalog, &of_key)?;
        let mut there = Vec::new();
        for (_, which, _) in &versions {
            there.extend(shown(&*catalog, &key, *which)?.and_then(|(instance, _)| instance));
        }
        let top = versions.first().map(|(_, which, _)| *which);
        let current = match top {
            Some(top) => shown(&*catalog, &key, top)?.and_then(|(instance, _)| instance),
            None => None,
        };
        let visible = catalog.object(BUCKET, &key)?;
        same(
            "the newest is visible",
            &visible.map(|view| view.row.instance),
            &current,
        )?;
        let most = if state == Versioning::Enabled { 8 } else { 1 };
        holds(
            &format!("{} versions in a bucket that is {state:?}", versions.len()),
            versions.len() <= most && (state == Versioning::Off || !versions.is_empty()),
        )?;
        let garbage = catalog.garbage(0, 1000)?;
        there.extend(garbage[before..].iter().filter_map(|entry| entry.instance));
        there.sort_unstable();
        let mut written = written;
        written.sort_unstable();
        same("each instance once, kept or garbage", &there, &written)?;
    }
    Ok(())
}

fn race(catalog: &dyn Catalog, key: &[u8], commits: Vec<Commit>, labels: &[VersionId]) -> Verdict {
    thread::scope(|scope| {
        let mut racers = Vec::new();
        for commit in commits {
            racers.push(scope.spawn(move || catalog.commit(commit).map(|_| ())));
        }
        for label in labels {
            let delete = move || {
                let none = Precondition::None;
                catalog
                    .delete(BUCKET, key, none, None, *label, 9)
                    .map(|_| ())
            };
            racers.push(scope.spawn(delete));
        }
        racers.into_iter().try_for_each(|racer| {
            let done = racer.join();
            let done = done.map_err(|_| Wrong("a thread panicked".to_owned()))?;
            done.map_err(Wrong::from)
        })
    })
}

const ALL: VersionsQuery<'static> = VersionsQuery {
    bucket: BUCKET,
    prefix: b"",
    from: Bound::Unbounded,
    after: None,
    delimiter: None,
    limit: 1000,
};

/// Key, name, and whether it is current, of every version there should be, in order.
type Versions = Vec<(Vec<u8>, Which, bool)>;

/// Keys with all kinds of histories.
fn fill(catalog: &dyn Catalog, writer: u64) -> Result<Versions, Wrong> {
    let mut all: Versions = Vec::new();
    let mut add = |key: &[u8], which| {
        let newest = all.iter().position(|(other, ..)| *other == key);
        if let Some(newest) = newest {
            let before: &mut (Vec<u8>, Which, bool) = &mut all[newest];
            before.2 = false;
        }
        let at = newest.unwrap_or_else(|| all.partition_point(|(other, ..)| **other < *key));
        all.insert(at, (key.to_vec(), which, true));
    };
    for key in [&b"a"[..], b"b/1", b"c"] {
        add(key, put(catalog, writer, key)?.which());
    }
    catalog.set_versioning(BUCKET, Versioning::Enabled)?;
    for key in [&b"a"[..], b"a", b"b/1", b"b/2", b"\xff"] {
        add(key, put(catalog, writer, key)?.which());
    }
    for key in [&b"c"[..], b"b/3", b"a"] {
        let label = VersionId::random()?;
        catalog.delete(BUCKET, key, Precondition::None, None, label, 9)?;
        add(key, Which::Label(label));
    }
    Ok(all)
}

/// All versions, page by page.
fn walk(catalog: &dyn Catalog, query: &VersionsQuery<'_>) -> Result<Versions, Wrong> {
    let mut seen: Versions = Vec::new();
    let mut behind: Option<(Vec<u8>, Which)> = None;
    let mut newer: Option<(Vec<u8>, u64)> = None;
    loop {
        let (from, after) = match &behind {
            Some((key, which)) => (Bound::Included(&key[..]), Some(*which)),
            None => (query.from, query.after),
        };
        let page = catalog.list_versions(&VersionsQuery {
            from,
            after,
            ..*query
        })?;
        holds(
            "a page is not longer than asked for",
            page.items.len() <= query.limit,
        )?;
        for item in page.items {
            let VersionItem::Version(version) = item else {
                return Err(Wrong("a common prefix without a delimiter".to_owned()));
            };
            let since = newer
                .take()
                .filter(|(key, _)| *key == version.key())
                .map(|(_, since)| since);
            same("since when", &version.noncurrent_since_ms, &since)?;
            let modified_ms = match &version.entry {
                VersionEntry::Object(object) => object.modified_ms,
                VersionEntry::Marker(marker) => marker.modified_ms,
            };
            newer = Some((version.key().to_vec(), modified_ms));
            behind = Some((version.key().to_vec(), version.which()));
            seen.push((
                version.key().to_vec(),
                version.which(),
                version.is_current(),
            ));
        }
        if !page.more {
            return Ok(seen);
        }
        holds("no endless listing", seen.len() < 1000)?;
    }
}

fn put(catalog: &dyn Catalog, writer: u64, key: &[u8]) -> Result<ObjectRow, Wrong> {
    let commit = commit(writer, key)?;
    let null = catalog.commit(commit.clone())?.null;
    Ok(ObjectRow { null, ..commit.row })
}

/// The instance of a version, `None` for a marker, and whether it is current.
fn shown(
    catalog: &dyn Catalog,
    key: &[u8],
    which: Which,
) -> Result<Option<(Option<InstanceId>, bool)>, Wrong> {
    Ok(catalog.version(BUCKET, key, which)?.map(|view| {
        let instance = match view.version {
            Version::Object(object) => Some(object.row.instance),
            Version::Marker(_) => None,
        };
        (instance, view.is_current)
    }))
}

fn listed(catalog: &dyn Catalog) -> Result<Vec<Vec<u8>>, Wrong> {
    let page = catalog.list(&ListQuery {
        bucket: BUCKET,
        prefix: b"",
        from: Bound::Unbounded,
        delimiter: None,
        limit: 1000,
    })?;
    let name = |item| match item {
        ListItem::Object(object) => object.key,
        ListItem::Prefix(prefix) => prefix,
    };
    Ok(page.items.into_iter().map(name).collect())
}

fn instances(garbage: &[Garbage]) -> Vec<Option<InstanceId>> {
    garbage.iter().map(|entry| entry.instance).collect()
}

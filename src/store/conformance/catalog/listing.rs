//! The part of the catalog's suite that is about listings.

use std::ops::Bound;

use super::{BUCKET, Open, commit, start};
use crate::id::BucketId;
use crate::store::conformance::{Verdict, Wrong, holds, same};
use crate::store::{Catalog, ListItem, ListQuery};

const ALL: ListQuery<'static> = ListQuery {
    bucket: BUCKET,
    prefix: b"",
    from: Bound::Unbounded,
    delimiter: None,
    limit: 1000,
};

pub(super) fn pages(open: &Open) -> Verdict {
    let catalog = open()?;
    let keys: &[&[u8]] = &[
        b"\0",
        b"A",
        b"a",
        b"a\0",
        b"a/",
        b"a/b",
        b"aa",
        b"b",
        "é".as_bytes(),
        b"\xff",
        b"\xff\xff",
    ];
    let kept = fill(&*catalog, keys)?;
    drop(catalog);
    let catalog = open()?;
    for limit in [1, 2, 3, keys.len(), 1000] {
        same(
            "all pages",
            &walk(&*catalog, &ListQuery { limit, ..ALL })?,
            &names(keys),
        )?;
    }
    same(
        "no items",
        &catalog.list(&ListQuery { limit: 0, ..ALL })?.items,
        &Vec::new(),
    )?;
    let nowhere = ListQuery {
        bucket: BucketId([9; 16]),
        ..ALL
    };
    same("no bucket", &catalog.list(&nowhere)?.items, &Vec::new())?;
    for (item, row) in catalog.list(&ALL)?.items.iter().zip(kept) {
        let ListItem::Object(shown) = item else {
            return Err(Wrong("a common prefix without a delimiter".to_owned()));
        };
        same("instance", &shown.instance, &row.instance)?;
        same(
            "attributes",
            &(&shown.attrs, &shown.facts),
            &(&row.attrs, &row.facts),
        )?;
        let numbers = (
            shown.mode,
            shown.suite,
            shown.length,
            shown.modified_ms,
            shown.generation,
        );
        let wanted = (
            row.mode,
            row.suite,
            row.length,
            row.modified_ms,
            row.generation,
        );
        same("numbers", &numbers, &wanted)?;
    }
    Ok(())
}

pub(super) fn bounds(open: &Open) -> Verdict {
    let catalog = open()?;
    let keys: &[&[u8]] = &[
        b"a",
        b"b",
        b"b\xff",
        b"b\xff\xff",
        b"ba",
        b"c",
        b"\xff",
        b"\xff\xffz",
    ];
    fill(&*catalog, keys)?;
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    for prefix in [&b""[..], b"b", b"b\xff", b"\xff", b"x"] {
        let bounds = [
            Bound::Unbounded,
            Bound::Included(&b"b"[..]),
            Bound::Excluded(b"b"),
            Bound::Excluded(b"bz"),
        ];
        for from in bounds {
            let after = |key: &[u8]| match from {
                Bound::Unbounded => true,
                Bound::Included(start) => key >= start,
                Bound::Excluded(start) => key > start,
            };
            let wanted: Vec<_> = sorted
                .iter()
                .copied()
                .filter(|key| key.starts_with(prefix) && after(key))
                .collect();
            let query = ListQuery {
                prefix,
                from,
                limit: 2,
                ..ALL
            };
            same("keys", &walk(&*catalog, &query)?, &names(&wanted))?;
        }
    }
    Ok(())
}

pub(super) fn delimiters(open: &Open) -> Verdict {
    let catalog = open()?;
    let keys: &[&[u8]] = &[
        b"a", b"b/", b"b/1", b"b/2/x", b"b/2/y", b"b0", b"c::d", b"c::e/f", b"\xff/1", b"\xff/2",
    ];
    fill(&*catalog, keys)?;
    let folded = |prefix, delimiter, wanted: &[&[u8]]| {
        [1, 2, 1000].into_iter().try_for_each(|limit| {
            let query = ListQuery {
                prefix,
                delimiter: Some(delimiter),
                limit,
                ..ALL
            };
            same("items", &walk(&*catalog, &query)?, &names(wanted))
        })
    };
    folded(
        b"",
        b"/",
        &[b"a", b"b/", b"b0", b"c::d", b"c::e/", b"\xff/"],
    )?;
    folded(b"b/", b"/", &[b"b/", b"b/1", b"b/2/"])?;
    folded(
        b"",
        b"::",
        &[
            b"a", b"b/", b"b/1", b"b/2/x", b"b/2/y", b"b0", b"c::", b"\xff/1", b"\xff/2",
        ],
    )?;
    folded(b"\xff", b"\xff", &[b"\xff/1", b"\xff/2"])?;
    let query = ListQuery {
        delimiter: Some(b"/"),
        from: Bound::Included(b"b/2/y"),
        ..ALL
    };
    let wanted: &[&[u8]] = &[b"b/", b"b0", b"c::d", b"c::e/", b"\xff/"];
    same(
        "from inside a prefix",
        &walk(&*catalog, &query)?,
        &names(wanted),
    )
}

pub(super) fn visits(open: &Open) -> Verdict {
    let catalog = open()?;
    let keys: Vec<Vec<u8>> = (0..300)
        .map(|number| format!("{}/{number:03}", number / 100).into_bytes())
        .collect();
    fill(
        &*catalog,
        &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    )?;
    for (delimiter, limit) in [(Some(&b"/"[..]), 1000), (Some(b"/"), 2), (None, 50)] {
        let page = catalog.list(&ListQuery {
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
    Ok(())
}

fn fill(catalog: &dyn Catalog, keys: &[&[u8]]) -> Result<Vec<crate::store::ObjectRow>, Wrong> {
    let writer = start(catalog)?;
    let mut rows = Vec::new();
    for (key, number) in keys.iter().zip(1..) {
        let mut commit = commit(writer, key)?;
        commit.row.length = number;
        rows.push(commit.row.clone());
        catalog.commit(commit)?;
    }
    rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(rows)
}

/// The names of all items, page by page.
fn walk(catalog: &dyn Catalog, query: &ListQuery<'_>) -> Result<Vec<Vec<u8>>, Wrong> {
    let mut seen = Vec::new();
    let mut next: Option<Vec<u8>> = None;
    loop {
        let from = next.as_deref().map_or(query.from, Bound::Included);
        let page = catalog.list(&ListQuery { from, ..*query })?;
        holds(
            "a page is not longer than asked for",
            page.items.len() <= query.limit,
        )?;
        seen.extend(page.items.into_iter().map(|item| match item {
            ListItem::Object(object) => object.key,
            ListItem::Prefix(prefix) => prefix,
        }));
        let Some(start) = page.next else {
            return Ok(seen);
        };
        holds(
            "the next page is further on",
            next.is_none_or(|before| start > before),
        )?;
        next = Some(start);
    }
}

fn names(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = keys.iter().map(|key| key.to_vec()).collect();
    names.sort_unstable();
    names
}

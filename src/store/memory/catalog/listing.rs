//! Listings, which look at every key of the bucket: nothing to get wrong.

use std::ops::Bound;

use super::State;
use super::history::{Kept, current, place};
use crate::store::{
    ListItem, ListPage, ListQuery, ListedObject, ListedVersion, VersionEntry, VersionItem,
    VersionsPage, VersionsQuery, Which, common_prefix,
};

impl State {
    pub(super) fn list(&self, query: &ListQuery<'_>) -> ListPage {
        let mut page = ListPage {
            items: Vec::new(),
            next: None,
            rows_visited: 0,
        };
        let start = query.start();
        for ((bucket, key), history) in &self.keys {
            let wanted = *bucket == query.bucket && key.starts_with(query.prefix) && *key >= start;
            let Some(object) = current(history).filter(|_| wanted && query.limit > 0) else {
                continue;
            };
            let item = match common_prefix(key, query.prefix, query.delimiter) {
                Some(common) => ListItem::Prefix(common.to_vec()),
                None => ListItem::Object(ListedObject::from(&object.row)),
            };
            if page.items.last() == Some(&item) {
                continue;
            }
            page.rows_visited += 1;
            if page.items.len() == query.limit {
                page.next = Some(key.clone());
                break;
            }
            page.items.push(item);
        }
        page
    }

    pub(super) fn list_versions(&self, query: &VersionsQuery<'_>) -> VersionsPage {
        let mut page = VersionsPage {
            items: Vec::new(),
            more: false,
            rows_visited: 0,
        };
        let start = query.start();
        for ((bucket, key), history) in &self.keys {
            let wanted = *bucket == query.bucket && key.starts_with(query.prefix) && *key >= start;
            if !wanted || query.limit == 0 {
                continue;
            }
            let from_here = query.from == Bound::Included(key);
            let after = query
                .after
                .filter(|which| from_here && *which != Which::Current);
            let first = after
                .and_then(|which| place(history, which))
                .map_or(0, |at| at + 1);
            for index in first..history.len() {
                let item = match common_prefix(key, query.prefix, query.delimiter) {
                    Some(common) => VersionItem::Prefix(common.to_vec()),
                    None => VersionItem::Version(listed(history, index)),
                };
                if page.items.last() == Some(&item) {
                    continue;
                }
                page.rows_visited += 1;
                if page.items.len() == query.limit {
                    page.more = true;
                    return page;
                }
                page.items.push(item);
            }
        }
        page
    }
}

fn listed(history: &[Kept], index: usize) -> ListedVersion {
    let newer = index.checked_sub(1).and_then(|index| history.get(index));
    ListedVersion {
        noncurrent_since_ms: newer.map(Kept::modified_ms),
        entry: match &history[index] {
            Kept::Object(object) => VersionEntry::Object(ListedObject::from(&object.row)),
            Kept::Marker(marker) => VersionEntry::Marker(marker.clone()),
        },
    }
}

//! A page of a listing costs what the page has, not what the bucket has. In a debug build the large buckets have a tenth.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used)]

use std::ops::Bound;
use std::time::{Duration, Instant};

use strongroom::id::BucketId;
use strongroom::store::{
    Bucket, Catalog as _, GenerationState, ListItem, ListQuery, Seed, SqliteCatalog, UploadsQuery,
    Versioning, VersionsQuery,
};
use tempfile::TempDir;

const PAGE: usize = 1000;
const SMALL: usize = 2_000;
const LARGE: usize = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};
const HUGE: usize = 10 * LARGE;
const RUNS: usize = if cfg!(debug_assertions) { 3 } else { 10 };

struct Scene {
    _dir: TempDir,
    catalog: SqliteCatalog,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&dir.path().join("catalog.db")).unwrap();
        Self { _dir: dir, catalog }
    }

    fn bucket(&self, name: u8, rows: impl Iterator<Item = Seed> + Send + 'static) -> BucketId {
        let id = BucketId([name; 16]);
        let bucket = Bucket {
            id,
            name: format!("bucket {name}"),
            owner: String::new(),
            created_ms: 0,
            generation: 1,
            versioning: Versioning::Off,
        };
        let state = GenerationState {
            generation: 1,
            rev: 1,
            state: 1,
        };
        self.catalog.create_bucket(bucket, state).unwrap();
        self.catalog
            .set_versioning(id, Versioning::Enabled)
            .unwrap();
        self.catalog.seed(id, rows).unwrap();
        id
    }

    /// Lists a page of objects, all of it, within three rows an item.
    fn list(&self, query: &ListQuery<'_>) -> Vec<ListItem> {
        let page = self.catalog.list(query).unwrap();
        assert_eq!(page.items.len(), PAGE);
        let rows = page.rows_visited;
        assert!(rows <= 3 * PAGE as u64, "{rows} rows for a page");
        page.items
    }

    fn list_versions(&self, query: &VersionsQuery<'_>) {
        let page = self.catalog.list_versions(query).unwrap();
        assert_eq!(page.items.len(), PAGE);
        let rows = page.rows_visited;
        assert!(rows <= 3 * PAGE as u64, "{rows} rows for a page");
    }

    fn list_uploads(&self, query: &UploadsQuery<'_>) {
        let page = self.catalog.list_uploads(query).unwrap();
        assert_eq!(page.items.len(), PAGE);
        let rows = page.rows_visited;
        assert!(rows <= 3 * PAGE as u64, "{rows} rows for a page");
    }
}

const ALL: ListQuery<'static> = ListQuery {
    bucket: BucketId([0; 16]),
    prefix: b"",
    from: Bound::Unbounded,
    delimiter: None,
    limit: PAGE,
};

const VERSIONS: VersionsQuery<'static> = VersionsQuery {
    bucket: BucketId([0; 16]),
    prefix: b"",
    from: Bound::Unbounded,
    after: None,
    delimiter: None,
    limit: PAGE,
};

const UPLOADS: UploadsQuery<'static> = UploadsQuery {
    bucket: BucketId([0; 16]),
    prefix: b"",
    from: Bound::Unbounded,
    after: None,
    delimiter: None,
    limit: PAGE,
};

/// Fails if `large` takes more than 1.5 times what `small` takes. The best of many runs each, in turns, so that neither
/// pays for what else the machine does; a machine that is busy gets more.
fn costs_no_more(what: &str, mut small: impl FnMut(), mut large: impl FnMut()) {
    let (mut best_small, mut best_large) = (Duration::MAX, Duration::MAX);
    for round in 1.. {
        for _ in 0..RUNS {
            best_small = best_small.min(time(&mut small));
            best_large = best_large.min(time(&mut large));
        }
        if best_large <= best_small * 3 / 2 {
            println!("{what}: {best_small:?} in a small bucket, {best_large:?} in a large one");
            return;
        }
        assert!(
            round < 10,
            "{what}: {best_small:?} in a small bucket, {best_large:?} in a large one"
        );
    }
}

fn time(work: &mut impl FnMut()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn keys(prefix: &'static str, count: usize) -> impl Iterator<Item = Vec<u8>> + Send {
    (0..count).map(move |number| format!("{prefix}{number:07}").into_bytes())
}

#[test]
fn a_page_of_a_large_bucket_costs_what_it_costs_in_a_small_one() {
    let scene = Scene::new();
    let small = scene.bucket(1, keys("k", SMALL).map(Seed::Object));
    let large = scene.bucket(2, keys("k", LARGE).map(Seed::Object));
    let list = |bucket| {
        scene.list(&ListQuery { bucket, ..ALL });
    };
    costs_no_more("keys", || list(small), || list(large));
    let list = |bucket| scene.list_versions(&VersionsQuery { bucket, ..VERSIONS });
    costs_no_more("versions", || list(small), || list(large));
}

#[test]
fn a_page_from_the_middle_of_a_huge_bucket_or_past_a_huge_prefix_costs_no_more() {
    let scene = Scene::new();
    let few = || (0..PAGE).map(|number| format!("{number:04}/key").into_bytes());
    let small = scene.bucket(1, few().chain(keys("x", PAGE)).map(Seed::Object));
    let huge = scene.bucket(2, few().chain(keys("0500/many", HUGE)).map(Seed::Object));
    let folded = |bucket| {
        let delimiter = Some(&b"/"[..]);
        let items = scene.list(&ListQuery {
            bucket,
            delimiter,
            ..ALL
        });
        assert_eq!(items.last(), Some(&ListItem::Prefix(b"0999/".to_vec())));
    };
    costs_no_more("common prefixes", || folded(small), || folded(huge));
    let folded = |bucket| {
        let delimiter = Some(&b"/"[..]);
        scene.list_versions(&VersionsQuery {
            bucket,
            delimiter,
            ..VERSIONS
        });
    };
    costs_no_more(
        "common prefixes of versions",
        || folded(small),
        || folded(huge),
    );
    let middle = format!("0500/many{:07}", HUGE / 2).into_bytes();
    let from = |bucket, key| {
        let from = Bound::Included(key);
        let items = scene.list(&ListQuery {
            bucket,
            from,
            ..ALL
        });
        let ListItem::Object(first) = &items[0] else {
            panic!("{items:?}");
        };
        assert_eq!(first.key, key);
    };
    costs_no_more(
        "keys from the middle",
        || from(small, b"x0000000"),
        || from(huge, &middle),
    );
    let from = |bucket, key| {
        let from = Bound::Included(key);
        scene.list_versions(&VersionsQuery {
            bucket,
            from,
            ..VERSIONS
        });
    };
    costs_no_more(
        "versions from the middle",
        || from(small, b"x0000000"),
        || from(huge, &middle),
    );
}

#[test]
fn delete_markers_and_older_versions_before_the_first_key_cost_a_listing_nothing() {
    let scene = Scene::new();
    let small = scene.bucket(1, keys("live", PAGE).map(Seed::Object));
    let older = |key: Vec<u8>| {
        [
            Seed::Older(key.clone()),
            Seed::Older(key.clone()),
            Seed::Object(key),
        ]
    };
    let large = scene.bucket(
        2,
        keys("dead", LARGE)
            .map(Seed::Marker)
            .chain(keys("live", PAGE).flat_map(older)),
    );
    let list = |bucket| {
        scene.list(&ListQuery { bucket, ..ALL });
    };
    costs_no_more("keys behind markers", || list(small), || list(large));
    let markers = scene.bucket(3, keys("dead", SMALL).map(Seed::Marker));
    let list = |bucket| scene.list_versions(&VersionsQuery { bucket, ..VERSIONS });
    costs_no_more("markers", || list(markers), || list(large));
}

#[test]
fn a_page_of_many_uploads_costs_what_it_costs_among_few() {
    let scene = Scene::new();
    let small = scene.bucket(1, keys("k", SMALL).map(Seed::Upload));
    let large = scene.bucket(2, keys("k", LARGE / 5).map(Seed::Upload));
    let list = |bucket| scene.list_uploads(&UploadsQuery { bucket, ..UPLOADS });
    costs_no_more("uploads", || list(small), || list(large));
}

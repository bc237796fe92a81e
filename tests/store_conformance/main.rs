//! The conformance suites: the embedded stores and the models pass them, and every planted fault fails them.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used)]

mod equivalence;
mod faults;

use std::time::Duration;

use strongroom::store::conformance::{Factory, Report, blob_store, catalog, key_store};
use strongroom::store::{
    BlobStore, Catalog, FileBlobs, KeyStore, MemoryBlobs, MemoryCatalog, MemoryKeys, SqliteCatalog,
    SqliteKeys,
};

/// Long enough for the slowest check on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn passed(report: &Report) {
    assert!(report.failures().is_empty(), "{report}");
    assert!(report.checks.len() > 10);
}

fn memory_blobs() -> Factory<dyn BlobStore> {
    Box::new(|| {
        let store = MemoryBlobs::default();
        Ok(Box::new(move || Ok(Box::new(store.clone()))))
    })
}

fn memory_keys() -> Factory<dyn KeyStore> {
    Box::new(|| {
        let store = MemoryKeys::new()?;
        Ok(Box::new(move || Ok(Box::new(store.clone()))))
    })
}

fn memory_catalog() -> Factory<dyn Catalog> {
    Box::new(|| {
        let store = MemoryCatalog::new()?;
        Ok(Box::new(move || Ok(Box::new(store.clone()))))
    })
}

#[test]
fn files_are_a_blob_store() {
    let factory: Factory<dyn BlobStore> = Box::new(|| {
        let dir = tempfile::tempdir().unwrap();
        Ok(Box::new(move || Ok(Box::new(FileBlobs::open(dir.path())?))))
    });
    passed(&blob_store(&factory, PATIENCE));
}

#[test]
fn sqlite_is_a_key_store() {
    let factory: Factory<dyn KeyStore> = Box::new(|| {
        let dir = tempfile::tempdir().unwrap();
        Ok(Box::new(move || {
            Ok(Box::new(SqliteKeys::open(&dir.path().join("keys.db"))?))
        }))
    });
    passed(&key_store(&factory, PATIENCE));
}

#[test]
fn sqlite_is_a_catalog() {
    let factory: Factory<dyn Catalog> = Box::new(|| {
        let dir = tempfile::tempdir().unwrap();
        Ok(Box::new(move || {
            Ok(Box::new(SqliteCatalog::open(
                &dir.path().join("catalog.db"),
            )?))
        }))
    });
    passed(&catalog(&factory, PATIENCE));
}

#[test]
fn the_models_pass_too() {
    passed(&blob_store(&memory_blobs(), PATIENCE));
    passed(&key_store(&memory_keys(), PATIENCE));
    passed(&catalog(&memory_catalog(), PATIENCE));
}

//! Where sealed blobs, wrapped keys and the catalog live. Layer 2.
//!
//! Three roles, three traits, and no operation needs two of them to change at one instant:
//!
//! - [`BlobStore`] holds sealed bytes under names nobody uses twice,
//! - [`KeyStore`] holds key records; it alone says what can be opened,
//! - [`Catalog`] holds buckets and objects; it alone says what exists.
//!
//! Everything here is sealed or opaque: this module names no cipher, no secret and no key.
//! Time is passed in (`now_ms`, Unix milliseconds), so that whoever calls owns the clock.

mod blob;
mod catalog;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dirs;
mod error;
mod files;
mod keys;
#[cfg(feature = "conformance")]
mod memory;
mod sqlite;
mod sync;

pub use blob::{BlobReader, BlobRef, BlobStore, BlobWriter, Locator, incarnation_of, shard_of};
pub use catalog::{
    Bucket, Catalog, Commit, CommitError, Committed, DeleteBucketError, Deleted, Garbage,
    GenerationState, Judged, KeyStoreSeen, ListItem, ListPage, ListQuery, ListedObject,
    ListedVersion, Marker, ObjectRow, ObjectView, PartRow, Place, Precondition, Relocation,
    Replacement, Standing, Upload, UploadItem, UploadsPage, UploadsQuery, Version, VersionEntry,
    VersionItem, VersionView, Versioning, VersionsPage, VersionsQuery, Which, after_prefix,
    common_prefix, maker_of,
};
pub use dirs::{StoreLock, make_dir};
pub use error::StoreError;
pub use files::FileBlobs;
pub use keys::{KeyRow, KeyStore, KeyView, MasterRow, NewKeyRecord, ScanBy, StoreIdentity};
#[cfg(feature = "conformance")]
pub use memory::{MemoryBlobs, MemoryCatalog, MemoryKeys};
#[cfg(feature = "conformance")]
pub use sqlite::Seed;
pub use sqlite::{SqliteCatalog, SqliteKeys, SqliteOptions};
pub use sync::SyncMeter;

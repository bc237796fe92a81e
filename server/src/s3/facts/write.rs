//! The facts a new object gets: from the headers of its write, and from its bucket.

use std::sync::Arc;

use s3s::S3Result;
use s3s::dto::StorageClass;

use crate::s3::AppState;
use crate::s3::buckets::documents::At;
use crate::s3::facts::{Facts, now_ms};
use crate::s3::objects::lock::LockHeaders;
use crate::s3::objects::retention;
use crate::s3::objects::tagging;

/// What a PUT, COPY or CreateMultipartUpload says of them.
pub(in crate::s3) struct FactHeaders {
    pub(in crate::s3) class: Option<StorageClass>,
    pub(in crate::s3) tagging: Option<String>,
    pub(in crate::s3) lock: LockHeaders,
}

/// Takes them out of an operation's input.
macro_rules! fact_headers {
    ($input:expr) => {
        $crate::s3::facts::write::FactHeaders {
            class: $input.storage_class.take(),
            tagging: $input.tagging.take(),
            lock: $crate::s3::objects::lock::LockHeaders {
                mode: $input.object_lock_mode.take(),
                until: $input.object_lock_retain_until_date.take(),
                hold: $input.object_lock_legal_hold_status.take(),
            },
        }
    };
}
pub(in crate::s3) use fact_headers;

impl FactHeaders {
    /// The facts of an object that is written to a bucket now.
    pub(in crate::s3) async fn facts(self, state: &Arc<AppState>, at: &At) -> S3Result<Facts> {
        let mut facts = Facts::with_class(self.class.as_ref().map(StorageClass::as_str))?;
        facts.tags = tagging::from_header(self.tagging.as_deref())?;
        let config = retention::of_bucket(state, at).await?;
        self.lock.apply(config, now_ms(), &mut facts)?;
        Ok(facts)
    }
}

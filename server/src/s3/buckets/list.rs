//! ListObjects, first and second form. A listing opens no data key and needs at most one bucket key.

use std::ops::Bound;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use strongroom::store::Bucket;
use strongroom::vault::{ListRequest, ListedItem};

use crate::s3::AppState;
use crate::s3::access;
use crate::s3::access::Principal;
use crate::s3::body::blocking;
use crate::s3::encryption::sse::{base64_decode, base64_encode};
use crate::s3::errors::{error, from_vault, invalid_argument};
use crate::s3::facts::{Facts, etag, strong};
use crate::s3::wire::ceph;

const MOST_KEYS: i32 = 1000;

pub(in crate::s3) async fn list_objects(
    state: &Arc<AppState>,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let principal = access::principal(&request)?;
    let S3Request { input, uri, .. } = request;
    let max_keys = max_keys(input.max_keys)?;
    let coding = Coding::of(input.encoding_type.as_ref())?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    ceph::refuse_unordered(state.settings.compat, &uri, delimiter.as_deref())?;
    let query = Query {
        bucket: principal.bucket()?,
        prefix: input.prefix.clone().unwrap_or_default(),
        start: Start::After(input.marker.clone().unwrap_or_default()),
        delimiter: delimiter.clone(),
        max_keys,
        owner: Some(principal),
    };
    let page = query.run(state, coding).await?;
    // Without a delimiter a client continues from the last key it was given.
    let next_marker = (page.truncated && delimiter.is_some())
        .then(|| coding.text(page.last.clone().unwrap_or_default()));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        // Not coded: clients in Python take it as it is.
        prefix: Some(input.prefix.unwrap_or_default()),
        marker: Some(coding.text(input.marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(page.truncated),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        delimiter: delimiter.map(|delimiter| coding.text(delimiter)),
        next_marker,
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

pub(in crate::s3) async fn list_objects_v2(
    state: &Arc<AppState>,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let principal = access::principal(&request)?;
    let S3Request { input, uri, .. } = request;
    let max_keys = max_keys(input.max_keys)?;
    let coding = Coding::of(input.encoding_type.as_ref())?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    ceph::refuse_unordered(state.settings.compat, &uri, delimiter.as_deref())?;
    let start = match &input.continuation_token {
        Some(token) => Start::At(base64_decode(token.as_bytes()).ok_or_else(|| {
            invalid_argument(
                "continuation-token",
                token,
                "The continuation token provided is incorrect",
            )
        })?),
        None => Start::After(input.start_after.clone().unwrap_or_default()),
    };
    let query = Query {
        bucket: principal.bucket()?,
        prefix: input.prefix.clone().unwrap_or_default(),
        start,
        delimiter: delimiter.clone(),
        max_keys,
        owner: (input.fetch_owner == Some(true)).then_some(principal),
    };
    let page = query.run(state, coding).await?;
    let key_count = i32::try_from(page.contents.len() + page.prefixes.len()).unwrap_or(MOST_KEYS);
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(coding.text(input.prefix.unwrap_or_default())),
        max_keys: Some(max_keys),
        key_count: Some(key_count),
        continuation_token: input.continuation_token,
        is_truncated: Some(page.truncated),
        next_continuation_token: page.next.map(|next| base64_encode(&next)),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        delimiter: delimiter.map(|delimiter| coding.text(delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|start| coding.text(start)),
        ..ListObjectsV2Output::default()
    }))
}

struct Query {
    bucket: Arc<Bucket>,
    prefix: String,
    start: Start,
    delimiter: Option<String>,
    max_keys: i32,
    owner: Option<Principal>,
}

enum Start {
    /// The first key of the page, from a continuation token.
    At(Vec<u8>),
    /// The key before it, as a client says it; empty: the beginning.
    After(String),
}

struct Page {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    truncated: bool,
    next: Option<Vec<u8>>,
    last: Option<String>,
}

impl Query {
    async fn run(self, state: &Arc<AppState>, coding: Coding) -> S3Result<Page> {
        let mut page = Page {
            contents: Vec::new(),
            prefixes: Vec::new(),
            truncated: false,
            next: None,
            last: None,
        };
        let limit = usize::try_from(self.max_keys).unwrap_or_default();
        if limit == 0 {
            return Ok(page);
        }
        let vault = Arc::clone(&state.vault);
        let owner = self.owner.clone();
        let resource = self.bucket.name.clone();
        let listing = blocking(move || {
            let from = self.from();
            vault.list(&ListRequest {
                bucket: (&self.bucket).into(),
                prefix: self.prefix.as_bytes(),
                from: match &from {
                    Bound::Included(key) => Bound::Included(key.as_slice()),
                    Bound::Excluded(key) => Bound::Excluded(key.as_slice()),
                    Bound::Unbounded => Bound::Unbounded,
                },
                delimiter: self.delimiter.as_deref().map(str::as_bytes),
                limit,
            })
        })
        .await?
        .map_err(|cause| from_vault(cause, &resource))?;
        page.truncated = listing.next.is_some();
        page.next = listing.next;
        for item in listing.items {
            match item {
                ListedItem::Prefix(prefix) => {
                    let prefix = String::from_utf8_lossy(&prefix).into_owned();
                    page.last = Some(prefix.clone());
                    page.prefixes.push(CommonPrefix {
                        prefix: Some(coding.text(prefix)),
                    });
                }
                ListedItem::Object(object) => {
                    let key = String::from_utf8_lossy(&object.key).into_owned();
                    page.last = Some(key.clone());
                    let facts = Facts::decode(&object.facts);
                    page.contents.push(Object {
                        key: Some(coding.text(key)),
                        size: i64::try_from(object.length).ok(),
                        e_tag: Some(strong(&etag(
                            object.mode,
                            object.version,
                            object.attrs.as_ref(),
                            &facts,
                        ))),
                        last_modified: Some(Facts::timestamp(object.modified_ms)),
                        owner: owner.as_ref().and_then(|asker| asker.object_owner(&facts)),
                        storage_class: Some(ObjectStorageClass::from(
                            facts.class.unwrap_or_else(|| "STANDARD".to_owned()),
                        )),
                        ..Object::default()
                    });
                }
            }
        }
        Ok(page)
    }

    /// Where the page starts. After a common prefix, past every key that begins with it.
    fn from(&self) -> Bound<Vec<u8>> {
        match &self.start {
            Start::At(key) => Bound::Included(key.clone()),
            Start::After(after) => after_marker(after, &self.prefix, self.delimiter.as_deref()),
        }
    }
}

/// Where a page starts that comes after `marker`. After a common prefix, past every key that begins
/// with it.
pub(in crate::s3) fn after_marker(
    marker: &str,
    prefix: &str,
    delimiter: Option<&str>,
) -> Bound<Vec<u8>> {
    if marker.is_empty() {
        return Bound::Unbounded;
    }
    let is_prefix = delimiter.is_some_and(|delimiter| {
        marker
            .strip_prefix(prefix)
            .and_then(|rest| {
                rest.find(delimiter)
                    .map(|at| at + delimiter.len() == rest.len())
            })
            .unwrap_or(false)
    });
    match after_all_with(marker.as_bytes()) {
        Some(next) if is_prefix => Bound::Included(next),
        _ => Bound::Excluded(marker.as_bytes().to_vec()),
    }
}

/// The smallest byte string above all that begin with `prefix`.
fn after_all_with(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=end].to_vec();
    next[end] += 1;
    Some(next)
}

/// How names are written into the XML.
#[derive(Clone, Copy)]
pub(in crate::s3) enum Coding {
    Plain,
    Url,
}

impl Coding {
    pub(in crate::s3) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(other) => Err(invalid_argument(
                "encoding-type",
                other,
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    pub(in crate::s3) fn text(self, text: String) -> String {
        match self {
            Self::Plain => text,
            Self::Url => text
                .bytes()
                .map(|byte| match byte {
                    b'A'..=b'Z'
                    | b'a'..=b'z'
                    | b'0'..=b'9'
                    | b'-'
                    | b'_'
                    | b'.'
                    | b'~'
                    | b'/'
                    | b'*' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect(),
        }
    }
}

pub(in crate::s3) fn max_keys(asked: Option<i32>) -> S3Result<i32> {
    match asked {
        None => Ok(MOST_KEYS),
        Some(negative) if negative < 0 => Err(error(
            S3ErrorCode::InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647",
        )),
        Some(asked) => Ok(asked.min(MOST_KEYS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_url_coded_without_touching_slashes() {
        assert_eq!(Coding::Url.text("a b/ä+".into()), "a%20b/%C3%A4%2B");
    }

    #[test]
    fn after_a_common_prefix_comes_what_does_not_begin_with_it() {
        let query = |after: &str| Query {
            bucket: Arc::new(crate::s3::testing::bucket("b", "owner")),
            prefix: String::new(),
            start: Start::After(after.into()),
            delimiter: Some("/".into()),
            max_keys: 1,
            owner: None,
        };
        assert_eq!(query("a/").from(), Bound::Included(b"a0".to_vec()));
        assert_eq!(query("a/b").from(), Bound::Excluded(b"a/b".to_vec()));
        assert_eq!(query("").from(), Bound::Unbounded);
        assert_eq!(after_all_with(&[0xff]), None);
        assert_eq!(after_all_with(&[1, 0xff]), Some(vec![2]));
    }
}

//! Listings: what is asked, what is shown, and the arithmetic of prefixes.

use std::ops::Bound;

use crate::id::{BucketId, InstanceId, VersionId};

use super::{ObjectRow, Which};

/// What to list.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys that begin so.
    pub prefix: &'a [u8],
    /// Only keys from here on. [`after_prefix`] helps to continue behind a common prefix.
    pub from: Bound<&'a [u8]>,
    /// Keys that share what stands before and with its first occurrence after the prefix are shown as one item.
    pub delimiter: Option<&'a [u8]>,
    /// Number of items at most.
    pub limit: usize,
}

impl ListQuery<'_> {
    /// The smallest key it may show.
    pub(in crate::store) fn start(&self) -> Vec<u8> {
        first_key(self.prefix, self.from)
    }
}

/// The smallest key of a prefix from a bound on.
pub(super) fn first_key(prefix: &[u8], from: Bound<&[u8]>) -> Vec<u8> {
    let from = match from {
        Bound::Included(key) => key.to_vec(),
        Bound::Excluded(key) => [key, &[0]].concat(),
        Bound::Unbounded => Vec::new(),
    };
    from.max(prefix.to_vec())
}

/// An item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListItem {
    /// An object.
    Object(ListedObject),
    /// A common prefix, the delimiter included.
    Prefix(Vec<u8>),
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: Vec<u8>,
    /// Its instance.
    pub instance: InstanceId,
    /// Label of the version.
    pub version: VersionId,
    /// Whether it is the null version of its key.
    pub null: bool,
    /// How its data key is protected.
    pub mode: u8,
    /// The suite it is sealed with.
    pub suite: u8,
    /// Plaintext length in bytes.
    pub length: u64,
    /// When it became visible.
    pub modified_ms: u64,
    /// The bucket key generation it was committed under.
    pub generation: u32,
    /// Its attributes, sealed.
    pub attrs: Vec<u8>,
    /// Facts that change after the write.
    pub facts: Vec<u8>,
    /// Where its bytes are.
    pub place: Place,
}

impl ListedObject {
    /// What it is found as among the versions of its key.
    #[must_use]
    pub fn which(&self) -> Which {
        Which::of(self.version, self.null)
    }
}

impl From<&ObjectRow> for ListedObject {
    fn from(row: &ObjectRow) -> Self {
        Self {
            key: row.key.clone(),
            instance: row.instance,
            version: row.version,
            null: row.null,
            mode: row.mode,
            suite: row.suite,
            length: row.length,
            modified_ms: row.modified_ms,
            generation: row.generation,
            attrs: row.attrs.clone(),
            facts: row.facts.clone(),
            place: row.place(),
        }
    }
}

/// Where the bytes of an object are, as far as a listing shows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// In the archive.
    pub archived: bool,
    /// In the archive, and in a restored copy.
    pub restored: bool,
}

/// A page of a listing, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The items.
    pub items: Vec<ListItem>,
    /// The key the next page begins with, inclusive; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// How many rows were looked at to make the page.
    pub rows_visited: u64,
}

/// The first key behind all keys that begin with `prefix`; `None` if there is no such key.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix.get(..=end)?.to_vec();
    *next.last_mut()? += 1;
    Some(next)
}

/// The common prefix a key falls under: up to the first delimiter after the prefix.
#[must_use]
pub fn common_prefix<'k>(
    key: &'k [u8],
    prefix: &[u8],
    delimiter: Option<&[u8]>,
) -> Option<&'k [u8]> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(prefix.len()..)?;
    let at = rest
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_a_prefix_is_the_smallest_one_past_it() {
        assert_eq!(after_prefix(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_after_the_prefix() {
        assert_eq!(
            common_prefix(b"a/b/c", b"a/", Some(b"/")),
            Some(&b"a/b/"[..])
        );
        assert_eq!(common_prefix(b"a/b", b"a/", Some(b"/")), None);
        assert_eq!(
            common_prefix(b"a::b::c", b"", Some(b"::")),
            Some(&b"a::"[..])
        );
        assert_eq!(common_prefix(b"a/b", b"", Some(b"")), None);
        assert_eq!(common_prefix(b"a/b", b"", None), None);
    }
}

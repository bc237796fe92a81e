//! Tag sets, as buckets and objects carry them: which ones S3 takes.

use s3s::dto::Tag;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};

use crate::s3::errors::{custom, error};

/// Tags in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::s3) struct Tags(pub(in crate::s3) Vec<(String, String)>);

/// Tags of one bucket.
pub(in crate::s3) const MOST_OF_BUCKET: usize = 50;
/// What S3 says of too many.
pub(in crate::s3) const TOO_MANY: &str = "Tag set cannot be greater than";
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

impl Tags {
    /// Takes a tag set of at most `most` tags.
    ///
    /// # Errors
    /// `InvalidTag` for a key or value that is too long, empty, doubled or of characters that S3
    /// does not take; `BadRequest` for too many.
    pub(in crate::s3) fn new(set: Vec<Tag>, most: usize) -> S3Result<Self> {
        if set.len() > most {
            return Err(custom(
                http::StatusCode::BAD_REQUEST,
                "BadRequest",
                format!("{TOO_MANY} {most}"),
            ));
        }
        let mut tags: Vec<(String, String)> = Vec::with_capacity(set.len());
        for tag in set {
            let key = tag.key.unwrap_or_default();
            let value = tag.value.unwrap_or_default();
            let length = key.chars().count();
            if length == 0 || length > LONGEST_KEY || !allowed(&key) {
                return Err(invalid("The TagKey you have provided is invalid"));
            }
            if value.chars().count() > LONGEST_VALUE || !allowed(&value) {
                return Err(invalid("The TagValue you have provided is invalid"));
            }
            if key.starts_with("aws:") {
                return Err(invalid("System tags cannot be added/updated by requester"));
            }
            if tags.iter().any(|(known, _)| *known == key) {
                return Err(invalid("Cannot provide multiple Tags with the same key"));
            }
            tags.push((key, value));
        }
        Ok(Self(tags))
    }

    /// True when there is none.
    pub(in crate::s3) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As replies carry them.
    pub(in crate::s3) fn to_set(&self) -> Vec<Tag> {
        self.0
            .iter()
            .map(|(key, value)| Tag {
                key: Some(key.clone()),
                value: Some(value.clone()),
            })
            .collect()
    }
}

fn invalid(message: &str) -> S3Error {
    error(S3ErrorCode::InvalidTag, message)
}

/// Letters, digits and spaces of any script, and `+ - = . _ : / @`.
fn allowed(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> S3Result<Tags> {
        let tag = |(key, value): &(&str, &str)| Tag {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        };
        Tags::new(pairs.iter().map(tag).collect(), 3)
    }

    #[test]
    fn what_s3_takes_comes_back_in_its_order() {
        let pairs = [("b", "1"), ("größe", ""), ("a:/@+-=._ x", "y")];
        let set = tags(&pairs).unwrap().to_set();
        let keys: Vec<_> = set.into_iter().map(|tag| tag.key.unwrap()).collect();
        assert_eq!(keys, ["b", "größe", "a:/@+-=._ x"]);
    }

    #[test]
    fn what_s3_does_not_take_is_refused() {
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
        for pairs in [
            vec![("", "v")],
            vec![(long_key.as_str(), "v")],
            vec![("k", long_value.as_str())],
            vec![("k", "{}")],
            vec![("k?", "v")],
            vec![("aws:k", "v")],
            vec![("k", "v"), ("k", "w")],
        ] {
            let refused = tags(&pairs).unwrap_err();
            assert_eq!(refused.code().as_str(), "InvalidTag", "{pairs:?}");
        }
        let four = [("a", ""), ("b", ""), ("c", ""), ("d", "")];
        assert_eq!(tags(&four).unwrap_err().code().as_str(), "BadRequest");
    }
}

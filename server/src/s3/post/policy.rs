//! The policy of a form: until when, and with which fields, whoever has the form may post it
//! (S3 API reference, "POST policy").

use std::borrow::Cow;
use std::fmt;

use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::form::Fields;
use crate::s3::encryption::sse::base64_decode;
use crate::s3::errors::error;

/// A policy document, whose signature is checked elsewhere.
#[derive(Debug)]
pub(super) struct Policy {
    expires: OffsetDateTime,
    conditions: Vec<Condition>,
    /// Size of the file, bytes, both ends included.
    pub(super) least: u64,
    pub(super) most: u64,
}

/// What one field must be.
#[derive(Debug)]
struct Condition {
    /// In lower case.
    field: String,
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    StartsWith,
}

impl Policy {
    /// Reads the field `policy`. What is not known is refused.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(super) fn read(encoded: &str) -> S3Result<Policy> {
        let text = base64_decode(encoded.as_bytes())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| invalid("Invalid Base64."))?;
        let document = serde_json::from_str(&plain_json(&text));
        let Ok(Value::Object(mut document)) = document else {
            return Err(invalid("Invalid JSON."));
        };
        let expires = match document.remove("expiration") {
            Some(Value::String(at)) => expiration(&at)?,
            Some(_) => return Err(invalid("Invalid 'expiration': it must be a string.")),
            None => return Err(invalid("Policy missing expiration.")),
        };
        let conditions = match document.remove("conditions") {
            Some(Value::Array(conditions)) => conditions,
            Some(_) => return Err(invalid("Invalid 'conditions': it must be a list.")),
            None => return Err(invalid("Policy missing conditions.")),
        };
        if let Some(name) = document.keys().next() {
            return Err(invalid(format!("Unexpected: '{name}'.")));
        }
        let mut policy = Policy {
            expires,
            conditions: Vec::with_capacity(conditions.len()),
            least: 0,
            most: u64::MAX,
        };
        for condition in conditions {
            match condition {
                Value::Object(simple) => policy.conditions.push(simple_condition(simple)?),
                Value::Array(list) => policy.add(&list)?,
                _ => return Err(invalid("A condition must be an object or a list.")),
            }
        }
        Ok(policy)
    }

    /// A condition that is a list: operator and two operands.
    fn add(&mut self, list: &[Value]) -> S3Result<()> {
        let [operator, first, second] = list else {
            return Err(invalid(
                "A condition that is a list must have an operator and two operands.",
            ));
        };
        let operator = operator.as_str().unwrap_or_default();
        if operator.eq_ignore_ascii_case("content-length-range") {
            let (least, most) = (bytes(first)?, bytes(second)?);
            self.least = self.least.max(least);
            self.most = self.most.min(most);
            return Ok(());
        }
        let operator = if operator.eq_ignore_ascii_case("eq") {
            Operator::Eq
        } else if operator.eq_ignore_ascii_case("starts-with") {
            Operator::StartsWith
        } else {
            return Err(invalid(format!("Unknown operator '{operator}'.")));
        };
        let field = first.as_str().and_then(|field| field.strip_prefix('$'));
        let (Some(field), Some(value)) = (field, second.as_str()) else {
            return Err(invalid(
                "A condition must name a field, as '$field', and have a text to compare it with.",
            ));
        };
        self.conditions.push(Condition {
            field: field.to_ascii_lowercase(),
            operator,
            value: value.to_owned(),
        });
        Ok(())
    }

    /// Whether the form may be posted to `bucket` now. `exempt` are fields that no condition need
    /// name, beside those of the signature.
    ///
    /// # Errors
    /// `AccessDenied`: it is over, a condition does not hold, or a field is in no condition.
    pub(super) fn permits(
        &self,
        fields: &Fields,
        bucket: &str,
        now: OffsetDateTime,
        exempt: impl Fn(&str) -> bool,
    ) -> S3Result<()> {
        if now >= self.expires {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            // The bucket is that of the address, whatever a field says.
            let value = match condition.field.as_str() {
                "bucket" => bucket,
                field => fields.get(field).unwrap_or_default(),
            };
            if !condition.holds(value) {
                return Err(denied(format!("Policy Condition failed: {condition}")));
            }
        }
        let names = fields.iter().map(|(name, _)| name);
        let extra: Vec<_> = ["bucket"]
            .into_iter()
            .chain(names.filter(|name| *name != "bucket"))
            .filter(|name| !is_of_signature(name) && !exempt(name))
            .filter(|name| !self.conditions.iter().any(|known| known.field == *name))
            .collect();
        if extra.is_empty() {
            Ok(())
        } else {
            Err(denied(format!("Extra input fields: {}", extra.join(", "))))
        }
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self.operator {
            Operator::Eq => value == self.value,
            // Of several types, each must be permitted.
            Operator::StartsWith if self.field == "content-type" => value
                .split(',')
                .all(|kind| kind.trim_start().starts_with(&self.value)),
            Operator::StartsWith => value.starts_with(&self.value),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Eq => "eq",
            Operator::StartsWith => "starts-with",
        };
        let field = Value::from(format!("${}", self.field));
        let value = Value::from(self.value.as_str());
        write!(f, "[\"{operator}\", {field}, {value}]")
    }
}

/// `{"acl": "private"}`.
fn simple_condition(simple: Map<String, Value>) -> S3Result<Condition> {
    let mut pairs = simple.into_iter();
    let (Some((field, value)), None) = (pairs.next(), pairs.next()) else {
        return Err(invalid(
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ));
    };
    let Value::String(value) = value else {
        return Err(invalid("Invalid Simple-Condition: value must be a string."));
    };
    Ok(Condition {
        field: field.to_ascii_lowercase(),
        operator: Operator::Eq,
        value,
    })
}

/// Universal time: `2030-01-02T03:04:05.678Z`.
fn expiration(text: &str) -> S3Result<OffsetDateTime> {
    let utc = text.get(10..11) == Some("T") && text.ends_with('Z');
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .filter(|_| utc)
        .ok_or_else(|| invalid(format!("Invalid 'expiration' value: '{text}'")))
}

/// An end of a range: a number, or the digits of one.
fn bytes(value: &Value) -> S3Result<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .ok_or_else(|| invalid("Invalid content-length-range: its ends must be whole numbers."))
}

/// Fields that make the signature, are under it whole, or that nobody reads.
fn is_of_signature(name: &str) -> bool {
    matches!(
        name,
        "policy" | "signature" | "x-amz-signature" | "awsaccesskeyid" | "file"
    ) || name.starts_with("x-ignore-")
}

/// The document in plain JSON: S3 has two escapes of its own, `\$` and `\v`.
fn plain_json(text: &str) -> Cow<'_, str> {
    if !text.contains("\\$") && !text.contains("\\v") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('$') => plain.push('$'),
            Some('v') => plain.push_str("\\u000b"),
            other => {
                plain.push('\\');
                plain.extend(other);
            }
        }
    }
    Cow::Owned(plain)
}

fn invalid(what: impl fmt::Display) -> S3Error {
    error(
        S3ErrorCode::InvalidPolicyDocument,
        format!("Invalid Policy: {what}"),
    )
}

fn denied(why: impl fmt::Display) -> S3Error {
    error(
        S3ErrorCode::AccessDenied,
        format!("Invalid according to Policy: {why}"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::s3::encryption::sse::base64_encode;

    const UNTIL: &str = "2030-01-02T03:04:05.000Z";

    fn read(document: &str) -> S3Result<Policy> {
        Policy::read(&base64_encode(document.as_bytes()))
    }

    fn with(conditions: &str) -> S3Result<Policy> {
        read(&format!(
            r#"{{"expiration": "{UNTIL}", "conditions": [{{"bucket": "b"}}, {conditions}]}}"#
        ))
    }

    fn asked(conditions: &str, fields: &[(&str, &str)]) -> Result<(), String> {
        let now = OffsetDateTime::UNIX_EPOCH;
        with(conditions)
            .unwrap()
            .permits(&Fields::of_test(fields), "b", now, |_| false)
            .map_err(|refused| {
                assert_eq!(refused.code().as_str(), "AccessDenied");
                refused.message().unwrap().to_owned()
            })
    }

    fn failed(condition: &str) -> Result<(), String> {
        Err(format!("Invalid according to Policy: {condition}"))
    }

    #[test]
    fn a_condition_holds_or_is_named() {
        let key = [("key", "user/a"), ("policy", "p"), ("x-ignore-x", "i")];
        for holds in [
            r#"{"key": "user/a"}"#,
            r#"{"KEY": "user/a"}"#,
            r#"["eq", "$key", "user/a"]"#,
            r#"["StArTs-WiTh", "$kEy", "user/"]"#,
            r#"["starts-with", "$key", ""]"#,
            r#"["starts-with", "$key", ""], ["starts-with", "$acl", ""], ["eq", "$tagging", ""]"#,
        ] {
            assert_eq!(asked(holds, &key), Ok(()), "{holds}");
        }
        for (fails, shown) in [
            (r#"{"key": "user/"}"#, r#"["eq", "$key", "user/"]"#),
            (r#"{"key": "User/a"}"#, r#"["eq", "$key", "User/a"]"#),
            (
                r#"["starts-with", "$Key", "b"]"#,
                r#"["starts-with", "$key", "b"]"#,
            ),
            (
                r#"{"key": "user/a"}, ["starts-with", "$acl", "p"]"#,
                r#"["starts-with", "$acl", "p"]"#,
            ),
        ] {
            let shown = format!("Policy Condition failed: {shown}");
            assert_eq!(asked(fails, &key), failed(&shown), "{fails}");
        }
    }

    #[test]
    fn every_type_of_several_must_be_permitted() {
        let images = r#"["starts-with", "$Content-Type", "image/"]"#;
        assert_eq!(
            asked(images, &[("content-type", "image/png, image/gif")]),
            Ok(())
        );
        assert!(asked(images, &[("content-type", "image/png, text/html")]).is_err());
        assert!(asked(images, &[]).is_err());
    }

    #[test]
    fn fields_that_the_policy_does_not_name_are_refused() {
        let key = r#"{"key": "k"}"#;
        for name in [
            "acl",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-meta-a",
            "x-amz-credential",
            "submit",
        ] {
            let said = asked(key, &[("key", "k"), (name, "v")]);
            assert_eq!(said, failed(&format!("Extra input fields: {name}")));
        }
        let document = format!(r#"{{"expiration": "{UNTIL}", "conditions": [{key}]}}"#);
        let fields = Fields::of_test(&[("key", "k"), ("bucket", "b")]);
        let now = OffsetDateTime::UNIX_EPOCH;
        let refused = read(&document)
            .unwrap()
            .permits(&fields, "b", now, |_| false);
        assert!(
            refused
                .unwrap_err()
                .message()
                .unwrap()
                .ends_with("fields: bucket")
        );
    }

    #[test]
    fn the_bucket_is_that_of_the_address() {
        let policy = with(r#"{"key": "k"}"#).unwrap();
        let fields = Fields::of_test(&[("key", "k"), ("bucket", "b")]);
        let now = OffsetDateTime::UNIX_EPOCH;
        assert!(policy.permits(&fields, "b", now, |_| false).is_ok());
        assert!(policy.permits(&fields, "another", now, |_| false).is_err());
    }

    #[test]
    fn a_policy_is_over_at_its_expiration() {
        let policy = with(r#"{"key": "k"}"#).unwrap();
        let at = OffsetDateTime::parse(UNTIL, &Rfc3339).unwrap();
        let fields = Fields::of_test(&[("key", "k")]);
        let asked = |now| policy.permits(&fields, "b", now, |_| false);
        assert!(asked(at - time::Duration::MILLISECOND).is_ok());
        let refused = asked(at).unwrap_err();
        assert_eq!(
            refused.message(),
            Some("Invalid according to Policy: Policy expired.")
        );
    }

    #[test]
    fn sizes_are_numbers_or_digits_and_all_of_them_count() {
        let policy = with(r#"["content-length-range", 1, "9"], ["content-length-range", 2, 99]"#);
        let policy = policy.unwrap();
        assert_eq!((policy.least, policy.most), (2, 9));
    }

    #[test]
    fn a_document_that_is_not_understood_whole_is_refused() {
        let until = format!(r#""expiration": "{UNTIL}""#);
        let documents = [
            "[]".to_owned(),
            "{".to_owned(),
            "{}".to_owned(),
            format!("{{{until}}}"),
            r#"{"conditions": []}"#.to_owned(),
            format!(r#"{{"EXPIRATION": "{UNTIL}", "conditions": []}}"#),
            format!(r#"{{{until}, "CONDITIONS": []}}"#),
            format!(r#"{{{until}, "conditions": [], "more": 1}}"#),
            r#"{"expiration": "2030-01-02 03:04:05.1+00:00", "conditions": []}"#.to_owned(),
            r#"{"expiration": "2030-01-02T03:04:05+00:00", "conditions": []}"#.to_owned(),
            r#"{"expiration": 1, "conditions": []}"#.to_owned(),
        ];
        let conditions = [
            "{}",
            r#"{"a": "b", "c": "d"}"#,
            r#"{"a": 1}"#,
            r#""a""#,
            r#"["eq", "$a"]"#,
            r#"["eq", "a", "b"]"#,
            r#"["ends-with", "$a", "b"]"#,
            r#"["content-length-range", 0]"#,
            r#"["content-length-range", -1, 0]"#,
            r#"["content-length-range", 0, 1.5]"#,
            r#"["content-length-range", 0, "x"]"#,
        ];
        let all = documents.iter().map(|document| read(document));
        for refused in all.chain(conditions.iter().map(|condition| with(condition))) {
            assert_eq!(
                refused.unwrap_err().code().as_str(),
                "InvalidPolicyDocument"
            );
        }
        assert!(Policy::read("no base64").is_err());
    }

    #[test]
    fn escapes_of_s3_are_read() {
        assert_eq!(
            asked(r#"["eq", "$key", "\$a\v"]"#, &[("key", "$a\u{b}")]),
            Ok(())
        );
        assert_eq!(
            asked(r#"["eq", "$key", "\\$a\\v"]"#, &[("key", "\\$a\\v")]),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn no_policy_breaks_the_reader(text in ".*", json in r#"[\[\]{}",:$a-z0-9 -]*"#) {
            let _ = Policy::read(&text);
            let _ = read(&json);
            let _ = with(&json);
        }
    }
}

//! The JSON of a policy: closed types, nothing unknown, nothing twice.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{LARGEST, PolicyError};

/// A whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(super) version: Version,
    /// A name of the document; means nothing.
    #[serde(default, rename = "Id", deserialize_with = "present")]
    _id: Option<String>,
    #[serde(deserialize_with = "statements")]
    pub(super) statement: Vec<StatementText>,
}

/// Version of the language. A document that names none is of the old one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Version {
    #[default]
    #[serde(rename = "2008-10-17")]
    Old,
    #[serde(rename = "2012-10-17")]
    New,
}

/// One statement as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct StatementText {
    #[serde(default, deserialize_with = "present")]
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    #[serde(default, deserialize_with = "present")]
    pub(super) principal: Option<PrincipalText>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_principal: Option<PrincipalText>,
    #[serde(default, deserialize_with = "present")]
    pub(super) action: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_action: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) resource: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_resource: Option<Strings>,
    #[serde(default)]
    pub(super) condition: Conditions,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// `"*"`, or names by kind.
#[derive(Debug)]
pub(super) enum PrincipalText {
    Everyone,
    Named(Vec<(String, Strings)>),
}

/// One text or a list of them, at least one.
#[derive(Debug)]
pub(super) struct Strings(pub(super) Vec<String>);

/// Operators, each with its keys, each with its values.
#[derive(Debug, Default)]
pub(super) struct Conditions(pub(super) Vec<(String, Keys)>);

/// Keys, each with its values.
pub(super) type Keys = Vec<(String, Vec<String>)>;

impl Document {
    /// # Errors
    /// Not JSON of this shape, or larger than [`LARGEST`].
    pub(super) fn parse(json: &[u8]) -> Result<Document, PolicyError> {
        if json.len() > LARGEST {
            return Err(PolicyError(format!(
                "Policy exceeds the maximum allowed document size of {LARGEST} bytes"
            )));
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|error| PolicyError(error.to_string()))?;
        if document.statement.is_empty() {
            return Err(PolicyError("the policy has no statement".to_owned()));
        }
        Ok(document)
    }
}

/// An element that is there has a value: `null` is none.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// One statement or a list; errors name the statement by its place.
fn statements<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<StatementText>, D::Error> {
    struct Statements;

    impl<'de> Visitor<'de> for Statements {
        type Value = Vec<StatementText>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a statement or a list of statements")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let statement = StatementText::deserialize(MapAccessDeserializer::new(map));
            Ok(vec![statement.map_err(|error| {
                de::Error::custom(format!("statement 0: {error}"))
            })?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            loop {
                let next = list.next_element().map_err(|error| {
                    de::Error::custom(format!("statement {}: {error}", all.len()))
                })?;
                match next {
                    Some(statement) => all.push(statement),
                    None => return Ok(all),
                }
            }
        }
    }

    from.deserialize_any(Statements)
}

impl<'de> Deserialize<'de> for PrincipalText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Principals;

        impl<'de> Visitor<'de> for Principals {
            type Value = PrincipalText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" or an object of principals")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "*" => Ok(PrincipalText::Everyone),
                    _ => Err(E::custom("Invalid principal in policy")),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let named: Vec<(String, Strings)> = unique(map, PhantomData)?;
                if named.is_empty() {
                    return Err(de::Error::custom("Invalid principal in policy"));
                }
                Ok(PrincipalText::Named(named))
            }
        }

        from.deserialize_any(Principals)
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Texts { scalars: false }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Operators;

        impl<'de> Visitor<'de> for Operators {
            type Value = Conditions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of condition operators")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                unique(map, KeysSeed).map(Conditions)
            }
        }

        from.deserialize_map(Operators)
    }
}

/// The keys below one operator.
#[derive(Clone, Copy)]
struct KeysSeed;

impl<'de> DeserializeSeed<'de> for KeysSeed {
    type Value = Keys;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KeysSeed {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of condition keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let keys = unique(map, Texts { scalars: true })?;
        if keys.is_empty() {
            return Err(de::Error::custom(
                "a condition operator without a condition key",
            ));
        }
        Ok(keys)
    }
}

/// One text or several; with `scalars` also numbers and booleans, as their text.
#[derive(Clone, Copy)]
struct Texts {
    scalars: bool,
}

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Texts {
    fn scalar<E: de::Error>(self, text: impl ToString) -> Result<Vec<String>, E> {
        if self.scalars {
            Ok(vec![text.to_string()])
        } else {
            Err(E::custom("expected a string or a list of strings"))
        }
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        /// One element: a list in the list is refused.
        struct One(Texts);

        impl<'de> DeserializeSeed<'de> for One {
            type Value = Vec<String>;

            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for One {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                self.0.visit_str(text)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
                self.0.visit_bool(value)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                self.0.visit_i64(value)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                self.0.visit_u64(value)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                self.0.visit_f64(value)
            }
        }

        let mut all = Vec::new();
        while let Some(text) = list.next_element_seed(One(self))? {
            all.extend(text);
        }
        if all.is_empty() {
            return Err(de::Error::custom("an empty list"));
        }
        Ok(all)
    }
}

/// The entries of an object, none of them twice.
fn unique<'de, A, S>(mut map: A, seed: S) -> Result<Vec<(String, S::Value)>, A::Error>
where
    A: MapAccess<'de>,
    S: DeserializeSeed<'de> + Copy,
{
    let mut all: Vec<(String, S::Value)> = Vec::new();
    while let Some(name) = map.next_key::<String>()? {
        if all.iter().any(|(known, _)| *known == name) {
            return Err(de::Error::custom(format!("`{name}` stands twice")));
        }
        all.push((name, map.next_value_seed(seed)?));
    }
    Ok(all)
}

//! Conditions: operators over the values of keys.

use std::net::IpAddr;

use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime};

use super::PolicyError;
use super::document::{Conditions, Effect};
use super::key::{Context, Key, Values};
use super::pattern::{Pattern, Syntax};

/// One operator on one key.
#[derive(Debug)]
pub(super) enum Clause {
    Known {
        key: Key,
        test: Test,
        negated: bool,
        if_exists: bool,
        over: Over,
    },
    /// In a stored document: an operator, key or value that this release does not know.
    Unknown,
}

/// How the values of a key that has several are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The key is expected to have one value.
    One,
    /// `ForAnyValue:`
    Any,
    /// `ForAllValues:`
    All,
}

/// What a value is compared to, all alternatives.
#[derive(Debug)]
pub(super) enum Test {
    Text { patterns: Vec<Pattern>, fold: bool },
    Number(Order, Vec<f64>),
    Time(Order, Vec<OffsetDateTime>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    Arn(Vec<[Pattern; 6]>),
    Null(Vec<bool>),
}

/// An order relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    pub(super) bits: u8,
}

/// What came of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    True,
    False,
    /// Cannot be told: counts against the caller.
    Unknown,
    /// Was told by an earlier request: counts for the caller.
    Settled,
}

impl Clause {
    /// All clauses of a statement.
    ///
    /// # Errors
    /// An operator, key, variable or value that does not exist.
    pub(super) fn strict(text: &Conditions, variables: bool) -> Result<Vec<Clause>, PolicyError> {
        pairs(text)
            .map(|(operator, key, values)| Clause::parse(operator, key, values, variables))
            .collect()
    }

    /// The same of a stored document.
    pub(super) fn tolerant(text: &Conditions, variables: bool) -> Vec<Clause> {
        pairs(text)
            .map(|(operator, key, values)| {
                Clause::parse(operator, key, values, variables).unwrap_or(Clause::Unknown)
            })
            .collect()
    }

    fn parse(
        operator: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Clause, PolicyError> {
        let unknown = || PolicyError(format!("unknown condition operator `{operator}`"));
        let (over, rest) = match operator.split_once(':') {
            None => (Over::One, operator),
            Some(("ForAnyValue", rest)) => (Over::Any, rest),
            Some(("ForAllValues", rest)) => (Over::All, rest),
            Some(_) => return Err(unknown()),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let parsed =
            Key::parse(key).ok_or_else(|| PolicyError(format!("unknown condition key `{key}`")))?;
        if name == "Null" && (if_exists || over != Over::One) {
            return Err(unknown());
        }
        let (test, negated) = Test::parse(name, values, variables)?.ok_or_else(unknown)?;
        Ok(Clause::Known {
            key: parsed,
            test,
            negated,
            if_exists,
            over,
        })
    }

    /// Whether it holds, as far as the effect of its statement is concerned: what cannot be told
    /// makes a `Deny` match and an `Allow` not.
    pub(super) fn holds(&self, effect: Effect, context: &dyn Context) -> bool {
        match (self.outcome(context), effect) {
            (Outcome::True, _) => true,
            (Outcome::False, _) => false,
            (Outcome::Unknown, effect) => effect == Effect::Deny,
            (Outcome::Settled, effect) => effect == Effect::Allow,
        }
    }

    fn outcome(&self, context: &dyn Context) -> Outcome {
        let Clause::Known {
            key,
            test,
            negated,
            if_exists,
            over,
        } = self
        else {
            return Outcome::Unknown;
        };
        let values = match context.values(key) {
            Values::Known(values) => values,
            Values::Settled => return Outcome::Settled,
        };
        if let Test::Null(wanted) = test {
            return Outcome::from(wanted.contains(&values.is_empty()));
        }
        if values.is_empty() {
            return Outcome::from(
                *if_exists || *over == Over::All || (*negated && *over == Over::One),
            );
        }
        let mut any = false;
        let mut all = true;
        for value in &values {
            let Some(matched) = test.matches(value, context) else {
                return Outcome::Unknown;
            };
            let held = matched != *negated;
            any |= held;
            all &= held;
        }
        Outcome::from(match over {
            // Of several values, which no key without a set operator should have, one that is
            // excluded is enough to fail, and one that is included enough to hold.
            Over::One if *negated => all,
            Over::One | Over::Any => any,
            Over::All => all,
        })
    }
}

impl From<bool> for Outcome {
    fn from(held: bool) -> Self {
        if held { Outcome::True } else { Outcome::False }
    }
}

fn pairs(text: &Conditions) -> impl Iterator<Item = (&str, &str, &[String])> {
    text.0.iter().flat_map(|(operator, keys)| {
        keys.iter()
            .map(move |(key, values)| (operator.as_str(), key.as_str(), values.as_slice()))
    })
}

impl Test {
    /// The test an operator names, and whether it is negated; `None` for no operator.
    fn parse(
        name: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Option<(Test, bool)>, PolicyError> {
        let text = |fold, wildcards| -> Result<Test, PolicyError> {
            let syntax = Syntax {
                wildcards,
                variables,
            };
            let patterns = values.iter().map(|value| Pattern::parse(value, syntax));
            Ok(Test::Text {
                patterns: patterns.collect::<Result<_, _>>()?,
                fold,
            })
        };
        let number = |order| each(values, number).map(|values| Test::Number(order, values));
        let time = |order| each(values, moment).map(|values| Test::Time(order, values));
        let arn = || {
            let syntax = Syntax {
                wildcards: true,
                variables,
            };
            let patterns = values.iter().map(|value| arn_pattern(value, syntax));
            Ok::<_, PolicyError>(Test::Arn(patterns.collect::<Result<_, _>>()?))
        };
        Ok(Some(match name {
            "StringEquals" | "BinaryEquals" => (text(false, false)?, false),
            "StringNotEquals" => (text(false, false)?, true),
            "StringEqualsIgnoreCase" => (text(true, false)?, false),
            "StringNotEqualsIgnoreCase" => (text(true, false)?, true),
            "StringLike" => (text(false, true)?, false),
            "StringNotLike" => (text(false, true)?, true),
            "NumericEquals" => (number(Order::Equal)?, false),
            "NumericNotEquals" => (number(Order::Equal)?, true),
            "NumericLessThan" => (number(Order::Less)?, false),
            "NumericLessThanEquals" => (number(Order::LessOrEqual)?, false),
            "NumericGreaterThan" => (number(Order::Greater)?, false),
            "NumericGreaterThanEquals" => (number(Order::GreaterOrEqual)?, false),
            "DateEquals" => (time(Order::Equal)?, false),
            "DateNotEquals" => (time(Order::Equal)?, true),
            "DateLessThan" => (time(Order::Less)?, false),
            "DateLessThanEquals" => (time(Order::LessOrEqual)?, false),
            "DateGreaterThan" => (time(Order::Greater)?, false),
            "DateGreaterThanEquals" => (time(Order::GreaterOrEqual)?, false),
            "Bool" => (Test::Bool(each(values, boolean)?), false),
            "IpAddress" => (Test::Address(each(values, Network::parse)?), false),
            "NotIpAddress" => (Test::Address(each(values, Network::parse)?), true),
            "ArnEquals" | "ArnLike" => (arn()?, false),
            "ArnNotEquals" | "ArnNotLike" => (arn()?, true),
            "Null" => (Test::Null(each(values, boolean)?), false),
            _ => return Ok(None),
        }))
    }

    /// Whether a value of a request is one of the alternatives; `None` where it is not of the kind
    /// that the operator compares.
    fn matches(&self, value: &str, context: &dyn Context) -> Option<bool> {
        Some(match self {
            Test::Text { patterns, fold } => {
                let mut patterns = patterns.iter();
                if *fold {
                    patterns.any(|one| one.matches_folded(value, context))
                } else {
                    patterns.any(|one| one.matches(value, context))
                }
            }
            Test::Number(order, wanted) => {
                let value = number(value)?;
                wanted.iter().any(|one| order.holds(&value, one))
            }
            Test::Time(order, wanted) => {
                let value = moment(value)?;
                wanted.iter().any(|one| order.holds(&value, one))
            }
            Test::Bool(wanted) => wanted.contains(&boolean(value)?),
            Test::Address(networks) => {
                let address: IpAddr = value.parse().ok()?;
                networks.iter().any(|one| one.contains(address))
            }
            Test::Arn(patterns) => {
                let parts = arn_parts(value)?;
                patterns.iter().any(|pattern| {
                    let mut both = pattern.iter().zip(parts);
                    both.all(|(pattern, part)| pattern.matches(part, context))
                })
            }
            // Told by the number of values alone.
            Test::Null(_) => return None,
        })
    }

    /// Whether the alternatives are a fixed set of values.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Test::Text { patterns, .. } => patterns.iter().all(Pattern::is_literal),
            Test::Arn(patterns) => patterns.iter().flatten().all(Pattern::is_literal),
            Test::Address(networks) => networks.iter().all(|network| !network.is_broad()),
            _ => false,
        }
    }
}

fn each<T>(values: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, PolicyError> {
    let parsed = values.iter().map(|value| {
        parse(value).ok_or_else(|| PolicyError(format!("`{value}` is no value for this operator")))
    });
    parsed.collect()
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, than: &T) -> bool {
        match self {
            Order::Equal => value == than,
            Order::Less => value < than,
            Order::LessOrEqual => value <= than,
            Order::Greater => value > than,
            Order::GreaterOrEqual => value >= than,
        }
    }
}

impl Network {
    /// `address` or `address/bits`.
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // No sign and no spaces, which the number's own parser would take.
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        (bits <= most).then_some(Network { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        // An IPv4 client of an IPv6 socket is still an IPv4 client.
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let bits = u32::from(if self.address.is_ipv4() {
                    self.bits
                } else {
                    self.bits.saturating_sub(96)
                });
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }

    /// Whether it holds so many addresses that it is no restriction.
    fn is_broad(self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.bits < 8,
            IpAddr::V6(_) => self.bits < 32,
        }
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse()
        .ok()
        .filter(|number: &f64| plain && number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A moment as ISO 8601 writes it, a day alone being its beginning, or seconds since 1970.
fn moment(text: &str) -> Option<OffsetDateTime> {
    if let Ok(seconds) = text.parse::<i64>() {
        return OffsetDateTime::from_unix_timestamp(seconds).ok();
    }
    OffsetDateTime::parse(text, &Iso8601::PARSING)
        .ok()
        .or_else(|| {
            let day = Date::parse(text, &Iso8601::DATE).ok()?;
            Some(day.midnight().assume_utc())
        })
}

/// The six parts of an ARN; the last keeps its colons.
fn arn_parts(text: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    <[&str; 6]>::try_from(parts)
        .ok()
        .filter(|parts| parts[0] == "arn")
}

fn arn_pattern(text: &str, syntax: Syntax) -> Result<[Pattern; 6], PolicyError> {
    let whole = if text == "*" { "arn:*:*:*:*:*" } else { text };
    let parts = arn_parts(whole).ok_or_else(|| PolicyError(format!("`{text}` is not an ARN")))?;
    let parts = parts.map(|part| Pattern::parse(part, syntax));
    let parsed: Result<Vec<Pattern>, _> = parts.into_iter().collect();
    <[Pattern; 6]>::try_from(parsed?).map_err(|_| PolicyError(format!("`{text}` is not an ARN")))
}

//! Patterns: text with `*`, `?` and policy variables.

use super::PolicyError;
use super::key::{Context, Key, Values};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    fixed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Char(char),
    /// `*`: any characters, also none, also `/`.
    Any,
    /// `?`: one character.
    One,
    /// `${key}` or `${key, 'default'}`: the value itself, in which `*` and `?` mean nothing.
    Variable(Key, Option<String>),
}

/// What of a text is special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${...}`: since version 2012-10-17 of the language.
    pub(super) variables: bool,
}

impl Pattern {
    /// # Errors
    /// A variable that is not closed, or whose key does not exist.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, PolicyError> {
        let mut steps = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if syntax.variables
                && let Some(inner) = rest.strip_prefix("${")
            {
                let end = inner
                    .find('}')
                    .ok_or_else(|| PolicyError(format!("the variable in `{text}` has no end")))?;
                steps.push(variable(&inner[..end])?);
                rest = &inner[end + 1..];
                continue;
            }
            steps.push(match c {
                '*' if syntax.wildcards => Step::Any,
                '?' if syntax.wildcards => Step::One,
                c => Step::Char(c),
            });
            rest = &rest[c.len_utf8()..];
        }
        let fixed = !steps.iter().any(|step| matches!(step, Step::Variable(..)));
        Ok(Self { steps, fixed })
    }

    /// Whether the text matches. A variable without a value matches nothing.
    pub(super) fn matches(&self, text: &str, context: &dyn Context) -> bool {
        if self.fixed {
            return glob(&self.steps, text);
        }
        self.expanded(context)
            .is_some_and(|steps| glob(&steps, text))
    }

    /// The same without regard to case.
    pub(super) fn matches_folded(&self, text: &str, context: &dyn Context) -> bool {
        let Some(steps) = self.expanded(context) else {
            return false;
        };
        let mut lower = Vec::with_capacity(steps.len());
        for step in steps {
            match step {
                Step::Char(c) => lower.extend(c.to_lowercase().map(Step::Char)),
                step => lower.push(step),
            }
        }
        glob(&lower, &text.to_lowercase())
    }

    /// With the values of variables in their places; `None` if one has none.
    fn expanded(&self, context: &dyn Context) -> Option<Vec<Step>> {
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            match step {
                Step::Variable(key, default) => {
                    let value = match context.values(key) {
                        Values::Known(values) => match <[String; 1]>::try_from(values) {
                            Ok([value]) => Some(value),
                            // A variable has one value or none.
                            Err(_) => None,
                        },
                        Values::Settled => None,
                    };
                    match value.as_ref().or(default.as_ref()) {
                        Some(value) => steps.extend(value.chars().map(Step::Char)),
                        None => return None,
                    }
                }
                step => steps.push(step.clone()),
            }
        }
        Some(steps)
    }

    /// Whether it can match no more than one text.
    pub(super) fn is_literal(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Char(_)))
    }

    /// Whether it can match some text that begins with `start` and then ends or goes on with `/`:
    /// the bucket of that name, or something in it.
    pub(super) fn may_be_in(&self, start: &str) -> bool {
        // The positions in the pattern that can be reached by the text so far.
        let mut reached = self.closed([0].into());
        for c in start.chars() {
            let next = reached.iter().flat_map(|&at| match self.steps.get(at) {
                Some(Step::Char(wanted)) if *wanted == c => vec![at + 1],
                Some(Step::One) => vec![at + 1],
                Some(Step::Any) => vec![at],
                // A variable may be anything.
                Some(Step::Variable(..)) => vec![at, at + 1],
                _ => Vec::new(),
            });
            reached = self.closed(next.collect());
        }
        reached.iter().any(|&at| match self.steps.get(at) {
            None | Some(Step::Char('/') | Step::Any | Step::One | Step::Variable(..)) => true,
            Some(Step::Char(_)) => false,
        })
    }

    /// Whether it can match a text with a `/`, and so an object.
    pub(super) fn may_be_object(&self) -> bool {
        self.steps.iter().any(|step| {
            matches!(
                step,
                Step::Char('/') | Step::Any | Step::One | Step::Variable(..)
            )
        })
    }

    /// Whether it can match a text without a `/`, and so a bucket.
    pub(super) fn may_be_bucket(&self) -> bool {
        !self.steps.contains(&Step::Char('/'))
    }

    fn closed(
        &self,
        mut at: std::collections::BTreeSet<usize>,
    ) -> std::collections::BTreeSet<usize> {
        let mut open: Vec<usize> = at.iter().copied().collect();
        while let Some(next) = open.pop() {
            let empty = matches!(self.steps.get(next), Some(Step::Any | Step::Variable(..)));
            if empty && at.insert(next + 1) {
                open.push(next + 1);
            }
        }
        at
    }
}

/// What stands between `${` and `}`.
fn variable(inner: &str) -> Result<Step, PolicyError> {
    match inner {
        "*" => return Ok(Step::Char('*')),
        "?" => return Ok(Step::Char('?')),
        "$" => return Ok(Step::Char('$')),
        _ => {}
    }
    let (name, default) = match inner.split_once(',') {
        None => (inner.trim(), None),
        Some((name, default)) => {
            let default = default.trim();
            let quoted = default
                .strip_prefix('\'')
                .and_then(|rest| rest.strip_suffix('\''));
            let quoted = quoted.ok_or_else(|| {
                PolicyError(format!(
                    "the default in `${{{inner}}}` must stand in single quotes"
                ))
            })?;
            (name.trim(), Some(quoted.to_owned()))
        }
    };
    let key = Key::parse(name)
        .ok_or_else(|| PolicyError(format!("unknown policy variable `${{{name}}}`")))?;
    Ok(Step::Variable(key, default))
}

/// Matching with one point to go back to, the last `*`: time is at most the product of both
/// lengths, memory the text's.
fn glob(steps: &[Step], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut read) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while read < text.len() {
        match steps.get(at) {
            Some(Step::Any) => {
                back = Some((at + 1, read));
                at += 1;
            }
            Some(Step::One) => {
                at += 1;
                read += 1;
            }
            Some(Step::Char(c)) if *c == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match back {
                Some((after, taken)) => {
                    back = Some((after, taken + 1));
                    at = after;
                    read = taken + 1;
                }
                None => return false,
            },
        }
    }
    steps[at..].iter().all(|step| *step == Step::Any)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::policy::tests::Facts;

    const FULL: Syntax = Syntax {
        wildcards: true,
        variables: true,
    };

    fn matches(pattern: &str, text: &str) -> bool {
        let facts = Facts::default().with("aws:username", &["an*a"]);
        Pattern::parse(pattern, FULL).unwrap().matches(text, &facts)
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "aäc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("bucket/*", "bucket", false),
            ("bucket/*", "bucket/", true),
            ("abc", "ABC", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn variables_stand_for_text_and_not_for_patterns() {
        assert!(matches("home/${aws:username}/*", "home/an*a/x"));
        assert!(!matches("home/${aws:username}/*", "home/anna/x"));
        assert!(!matches("home/${aws:userid}", "home/"));
        assert!(matches("home/${aws:userid, 'nobody'}", "home/nobody"));
        assert!(matches("${*}${?}${$}", "*?$"));
        assert!(!matches("${*}", "anything"));
        assert!(Pattern::parse("${aws:usrname}", FULL).is_err());
        assert!(Pattern::parse("${aws:username", FULL).is_err());
        let old = Syntax {
            variables: false,
            ..FULL
        };
        let literal = Pattern::parse("${aws:username}", old).unwrap();
        assert!(literal.matches("${aws:username}", &Facts::default()));
    }

    #[test]
    fn a_pattern_may_or_may_not_be_in_a_bucket() {
        let may = |text: &str| Pattern::parse(text, FULL).unwrap().may_be_in("papers");
        for text in [
            "papers",
            "papers/*",
            "*",
            "p*s/x",
            "pap*",
            "paper?",
            "*/x",
            "${aws:username}",
        ] {
            assert!(may(text), "{text}");
        }
        for text in ["paper", "papersx", "papersx/*", "other/papers", "q*"] {
            assert!(!may(text), "{text}");
        }
    }

    /// The definition, by recursion.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, t)| naive(pattern, t))
            }
            (Some((p, rest)), Some((t, more))) => (*p == '?' || p == t) && naive(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), naive(&p, &t));
        }

        #[test]
        fn a_match_in_a_bucket_was_foreseen(pattern in "[ab/*?]{0,8}", bucket in "[ab]{1,3}", key in "(/[ab/]{0,4})?") {
            if matches(&pattern, &format!("{bucket}{key}")) {
                prop_assert!(Pattern::parse(&pattern, FULL).unwrap().may_be_in(&bucket));
            }
        }
    }
}

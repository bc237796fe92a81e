//! Principals: who a statement is about.

use super::document::{PrincipalText, Strings};
use super::{Caller, Identity, PolicyError};

/// The principals of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principals {
    /// No `Principal`: the policy of a user, about that user.
    Holder,
    /// `Principal`.
    These(Vec<Principal>),
    /// `NotPrincipal`: all but these.
    AllBut(Vec<Principal>),
}

/// One name of a `Principal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principal {
    /// `*`, unsigned requests too.
    Everyone,
    /// An account by name, twelve digits or canonical id: each of its users.
    Account(String),
    /// A user by name, of any account or of this one.
    User {
        account: Option<String>,
        name: String,
    },
    /// A service, or a federated user: none of them ever asks here.
    Elsewhere,
}

/// How far a principal that matches reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// Through its account.
    Account,
    /// The caller itself, or everyone.
    Caller,
}

impl Principals {
    pub(super) fn of(text: &PrincipalText) -> Result<Vec<Principal>, PolicyError> {
        let named = match text {
            PrincipalText::Everyone => return Ok(vec![Principal::Everyone]),
            PrincipalText::Named(named) => named,
        };
        let mut all = Vec::new();
        for (kind, Strings(names)) in named {
            for name in names {
                all.push(Principal::parse(kind, name)?);
            }
        }
        Ok(all)
    }

    /// Whether the statement is about this caller, and how directly.
    pub(super) fn matches(&self, caller: &Caller) -> Option<Extent> {
        match self {
            Principals::Holder => Some(Extent::Caller),
            Principals::These(these) => these.iter().filter_map(|one| one.matches(caller)).max(),
            Principals::AllBut(these) => {
                let excepted = these.iter().any(|one| one.matches(caller).is_some());
                (!excepted).then_some(Extent::Caller)
            }
        }
    }

    /// Whether unsigned requests are meant.
    pub(super) fn is_everyone(&self) -> bool {
        match self {
            Principals::Holder => false,
            Principals::These(these) => these.contains(&Principal::Everyone),
            Principals::AllBut(_) => true,
        }
    }
}

impl Principal {
    fn parse(kind: &str, name: &str) -> Result<Principal, PolicyError> {
        let invalid = || PolicyError(format!("Invalid principal in policy: {kind:?}: {name:?}"));
        match kind {
            "AWS" if name == "*" => Ok(Principal::Everyone),
            "AWS" => Principal::aws(name).ok_or_else(invalid),
            "CanonicalUser" if plain(name) => Ok(Principal::Account(name.to_owned())),
            "Service" | "Federated" if !name.is_empty() => Ok(Principal::Elsewhere),
            _ => Err(invalid()),
        }
    }

    /// An ARN of IAM, an account's digits, or a user's name.
    fn aws(name: &str) -> Option<Principal> {
        let Some(arn) = name.strip_prefix("arn:") else {
            return plain(name).then(|| match is_account_id(name) {
                true => Principal::Account(name.to_owned()),
                false => Principal::User {
                    account: None,
                    name: name.to_owned(),
                },
            });
        };
        let mut parts = arn.splitn(5, ':');
        let (partition, service, region, account, who) = (
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
            parts.next()?,
        );
        if !partition.starts_with("aws") || service != "iam" || !region.is_empty() {
            return None;
        }
        let account = (!account.is_empty()).then(|| account.to_owned());
        if account.as_deref().is_some_and(|account| !plain(account)) {
            return None;
        }
        if who == "root" {
            return account.map(Principal::Account);
        }
        let name = who.strip_prefix("user/")?;
        // What stands before the last slash is a path, which users here do not have.
        let name = name.rsplit('/').next()?;
        plain(name).then(|| Principal::User {
            account,
            name: name.to_owned(),
        })
    }

    fn matches(&self, caller: &Caller) -> Option<Extent> {
        let user: &Identity = match (self, caller) {
            (Principal::Everyone, _) => return Some(Extent::Caller),
            (_, Caller::Anonymous) => return None,
            (_, Caller::User(user)) => user,
        };
        match self {
            Principal::Everyone => Some(Extent::Caller),
            Principal::Elsewhere => None,
            Principal::Account(account) => user.is_of_account(account).then_some({
                // The root is its account.
                if user.is_root() {
                    Extent::Caller
                } else {
                    Extent::Account
                }
            }),
            Principal::User { account, name } => {
                let there = account
                    .as_deref()
                    .is_none_or(|account| user.is_of_account(account));
                (there && *name == user.name).then_some(Extent::Caller)
            }
        }
    }
}

/// A name with nothing in it that is special elsewhere.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.@+=,$".contains(&byte))
}

fn is_account_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
}

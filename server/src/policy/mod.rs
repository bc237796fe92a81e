//! Who may do what: the policy language of S3, parsed closed and decided fail-closed.
//!
//! A policy comes as a JSON document, from a bucket's owner or from the users file. [`Policy`] is
//! its compiled form. Everything that the grammar does not know (an element, an operator, a
//! condition key, an action, a variable) is refused when a document is put. A stored document may
//! still hold such a thing, written by another release; then it counts against the caller: a
//! `Deny` with it matches, an `Allow` with it does not.
//!
//! Nothing here knows HTTP or the S3 protocol crate: a request is a [`Caller`], an [`Action`], a
//! [`Resource`] and a [`Context`] that answers for condition keys.
//!
//! The grammar is that of the AWS Identity and Access Management user guide, "Grammar of the IAM
//! JSON policy language" and "IAM JSON policy elements: Condition operators"; actions and
//! condition keys are those of the "Actions, resources, and condition keys for Amazon S3" page of
//! its service authorization reference.

mod action;
mod condition;
mod document;
mod key;
mod pattern;
mod principal;
mod public;
mod statement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::action::{Action, Level};
pub(crate) use self::key::{Context, Key, Values};
pub(crate) use self::statement::Resource;

use self::document::Document;
use self::principal::Extent;
use self::statement::Statement;

/// Largest policy document, in bytes.
pub(crate) const LARGEST: usize = 20 << 10;

/// A policy ready to decide.
#[derive(Debug)]
pub(crate) struct Policy {
    statements: Vec<Statement>,
}

/// Why a document is not a policy; the message names the statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PolicyError(pub(crate) String);

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A request without a signature.
    Anonymous,
    /// A user of the users file.
    User(Arc<Identity>),
}

/// What policies know of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Unique name.
    pub(crate) name: String,
    /// The account the user belongs to; its own name for a user who is an account's root.
    pub(crate) account: String,
    /// Twelve digits that name the account.
    pub(crate) account_id: String,
    /// Canonical id of the account, 64 hex digits: who owns buckets and objects, and whom ACLs name.
    pub(crate) canonical: String,
    /// Display name of the account in ACLs.
    pub(crate) display_name: String,
}

/// One question to a policy.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Who asks.
    pub(crate) caller: &'a Caller,
    /// For what.
    pub(crate) action: Action,
    /// On what.
    pub(crate) resource: Resource<'a>,
    /// The rest of the request.
    pub(crate) context: &'a dyn Context,
}

/// The answer of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A `Deny` matches: final. Named is the statement.
    Deny(String),
    /// An `Allow` for this very caller, or for everyone, matches.
    Allow(String),
    /// An `Allow` for the caller's account matches: what the account lets its user do with it is
    /// the account's affair.
    Delegated(String),
    /// No statement matches.
    None,
}

/// Whose document it is, which decides what its statements must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    /// Of a bucket: with principals, about this bucket only.
    Bucket(&'a str),
    /// Of a user: without principals.
    User,
}

impl Policy {
    /// Compiles a document that is put on a bucket.
    ///
    /// # Errors
    /// Anything the grammar does not know, a resource that is not of this bucket, an action that
    /// no resource of its statement fits.
    pub(crate) fn for_bucket(json: &[u8], bucket: &str) -> Result<Policy, PolicyError> {
        Policy::checked(json, Form::Bucket(bucket))
    }

    /// Compiles the policy of a user.
    ///
    /// # Errors
    /// As for a bucket; a statement with a principal.
    pub(crate) fn for_user(json: &[u8]) -> Result<Policy, PolicyError> {
        Policy::checked(json, Form::User)
    }

    /// Compiles a bucket's document that was stored earlier. What is not understood counts
    /// against the caller; a document that cannot be read at all denies everything.
    pub(crate) fn stored(json: &[u8]) -> Policy {
        let statements = match Document::parse(json) {
            Ok(document) => Statement::tolerant(&document),
            Err(_) => vec![Statement::deny_everything()],
        };
        Policy { statements }
    }

    fn checked(json: &[u8], form: Form<'_>) -> Result<Policy, PolicyError> {
        let document = Document::parse(json)?;
        Ok(Policy {
            statements: Statement::strict(&document, form)?,
        })
    }

    /// Decides. The order of statements does not matter: any matching `Deny` wins, then an
    /// `Allow`, then a delegated one.
    pub(crate) fn decide(&self, request: &Request<'_>) -> Verdict {
        let mut verdict = Verdict::None;
        for statement in &self.statements {
            match statement.matches(request) {
                None => {}
                Some(_) if statement.denies() => return Verdict::Deny(statement.name().to_owned()),
                Some(Extent::Caller) if !matches!(verdict, Verdict::Allow(_)) => {
                    verdict = Verdict::Allow(statement.name().to_owned());
                }
                Some(Extent::Account) if verdict == Verdict::None => {
                    verdict = Verdict::Delegated(statement.name().to_owned());
                }
                Some(_) => {}
            }
        }
        verdict
    }

    /// Whether a statement lets everyone in, without a condition that holds them to a fixed set
    /// (the AWS S3 user guide, "The meaning of public", for bucket policies).
    pub(crate) fn is_public(&self) -> bool {
        self.statements.iter().any(public::is_public)
    }
}

impl Identity {
    /// Whether the user is the root of its account.
    pub(crate) fn is_root(&self) -> bool {
        self.name == self.account
    }

    /// The ARN of the user; for the root of an account, of the account.
    pub(crate) fn arn(&self) -> String {
        if self.is_root() {
            format!("arn:aws:iam::{}:root", self.account_id)
        } else {
            format!("arn:aws:iam::{}:user/{}", self.account_id, self.name)
        }
    }

    /// Whether `name` (the account's name, its twelve digits or its canonical id) is this user's account.
    pub(crate) fn is_of_account(&self, name: &str) -> bool {
        name == self.account || name == self.account_id || name == self.canonical
    }
}

//! Statements, compiled.

use super::action::{Action, Actions, Level};
use super::condition::Clause;
use super::document::{Document, Effect, StatementText, Strings, Version};
use super::key::Context;
use super::pattern::{Pattern, Syntax};
use super::principal::{Extent, Principals};
use super::{Form, PolicyError, Request};

/// One statement of a policy.
#[derive(Debug)]
pub(super) struct Statement {
    name: String,
    effect: Effect,
    principals: Principals,
    actions: Actions,
    resources: Resources,
    clauses: Vec<Clause>,
}

/// What an action is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource<'a> {
    /// Every bucket.
    Service,
    /// A bucket.
    Bucket {
        /// Its name.
        bucket: &'a str,
        /// Names of the account that owns it: its own and its twelve digits.
        owner: [&'a str; 2],
    },
    /// An object.
    Object {
        /// Name of its bucket.
        bucket: &'a str,
        /// Its key.
        key: &'a str,
        /// As of a bucket.
        owner: [&'a str; 2],
    },
}

/// The resources a statement names.
#[derive(Debug)]
struct Resources {
    all_but: bool,
    patterns: Vec<ResourcePattern>,
}

#[derive(Debug)]
enum ResourcePattern {
    /// `*`.
    Everything,
    /// `arn:aws:s3:::NAME`.
    Arn { account: Pattern, name: Pattern },
}

impl Statement {
    /// The statements of a document that is put.
    ///
    /// # Errors
    /// What [`super::Policy::for_bucket`] says, with the statement.
    pub(super) fn strict(
        document: &Document,
        form: Form<'_>,
    ) -> Result<Vec<Statement>, PolicyError> {
        let variables = document.version == Version::New;
        let statements = document.statement.iter().enumerate();
        statements
            .map(|(index, text)| {
                let name = name(index, text);
                let build = || {
                    let mut statement = Statement::compile(text, form, variables)?;
                    statement.clauses = Clause::strict(&text.condition, variables)?;
                    statement.check(text, form)?;
                    Ok(statement)
                };
                let built = build().map_err(|error: PolicyError| {
                    PolicyError(format!("statement {name}: {}", error.0))
                })?;
                Ok(Statement { name, ..built })
            })
            .collect()
    }

    /// The statements of a stored document. One that cannot be compiled is as if it were a
    /// condition that cannot be told: a `Deny` of everything, or no `Allow`.
    pub(super) fn tolerant(document: &Document) -> Vec<Statement> {
        // The name matters only where a document is put.
        let form = Form::Bucket("");
        let variables = document.version == Version::New;
        let statements = document.statement.iter().enumerate();
        statements
            .filter_map(|(index, text)| {
                let compiled = match Statement::compile(text, form, variables) {
                    Ok(statement) => Statement {
                        clauses: Clause::tolerant(&text.condition, variables),
                        ..statement
                    },
                    Err(_) if text.effect == Effect::Deny => Statement::deny_everything(),
                    Err(_) => return None,
                };
                Some(Statement {
                    name: name(index, text),
                    ..compiled
                })
            })
            .collect()
    }

    pub(super) fn deny_everything() -> Statement {
        Statement {
            name: "the document cannot be read".to_owned(),
            effect: Effect::Deny,
            principals: Principals::Holder,
            actions: Actions::ALL,
            resources: Resources {
                all_but: false,
                patterns: vec![ResourcePattern::Everything],
            },
            clauses: Vec::new(),
        }
    }

    fn compile(
        text: &StatementText,
        form: Form<'_>,
        variables: bool,
    ) -> Result<Statement, PolicyError> {
        let fault = |what: &str| Err(PolicyError(what.to_owned()));
        let principals = match (form, &text.principal, &text.not_principal) {
            (Form::User, None, None) => Principals::Holder,
            (Form::User, ..) => {
                return fault(
                    "the policy of a user is about that user: no Principal belongs in it",
                );
            }
            (Form::Bucket(_), Some(these), None) => Principals::These(Principals::of(these)?),
            (Form::Bucket(_), None, Some(these)) => Principals::AllBut(Principals::of(these)?),
            (Form::Bucket(_), None, None) => return fault("Missing required field Principal"),
            (Form::Bucket(_), Some(_), Some(_)) => {
                return fault("Principal and NotPrincipal exclude each other");
            }
        };
        let actions = match (&text.action, &text.not_action) {
            (Some(Strings(names)), None) => named(names)?,
            (None, Some(Strings(names))) => {
                let not = named(names)?;
                Action::ALL
                    .iter()
                    .filter(|action| !not.contains(**action))
                    .fold(Actions::NONE, |set, action| set.with(*action))
            }
            (None, None) => return fault("Missing required field Action"),
            (Some(_), Some(_)) => return fault("Action and NotAction exclude each other"),
        };
        let (all_but, Strings(names)) = match (&text.resource, &text.not_resource) {
            (Some(names), None) => (false, names),
            (None, Some(names)) => (true, names),
            (None, None) => return fault("Missing required field Resource"),
            (Some(_), Some(_)) => return fault("Resource and NotResource exclude each other"),
        };
        let patterns = names
            .iter()
            .map(|name| ResourcePattern::parse(name, variables))
            .collect::<Result<_, _>>()?;
        Ok(Statement {
            name: String::new(),
            effect: text.effect,
            principals,
            actions,
            resources: Resources { all_but, patterns },
            clauses: Vec::new(),
        })
    }

    /// What would compile and yet can never do what it says.
    fn check(&self, text: &StatementText, form: Form<'_>) -> Result<(), PolicyError> {
        if self.effect == Effect::Allow && text.not_principal.is_some() {
            return Err(PolicyError(
                "Allow with NotPrincipal would let in everyone else: name whom to allow".to_owned(),
            ));
        }
        if self.resources.all_but {
            return Ok(());
        }
        if let (Form::Bucket(bucket), Some(Strings(names))) = (form, &text.resource) {
            for (pattern, name) in self.resources.patterns.iter().zip(names) {
                if !pattern.may_be_in(bucket) {
                    return Err(PolicyError(format!(
                        "Policy has invalid resource: `{name}` is not of bucket `{bucket}`"
                    )));
                }
            }
        }
        let Some(Strings(actions)) = &text.action else {
            return Ok(());
        };
        for name in actions {
            let named = Actions::named(name)?;
            let fits = self.resources.patterns.iter().any(|resource| {
                (named.any_on(Level::Bucket) && resource.may_be_bucket())
                    || (named.any_on(Level::Object) && resource.may_be_object())
                    || (named.any_on(Level::Service) && resource.may_be_bucket())
            });
            if !fits {
                return Err(PolicyError(format!(
                    "Action does not apply to any resource(s) in statement: `{name}`"
                )));
            }
        }
        Ok(())
    }

    /// Whether the statement is about the request, and how directly about its caller.
    pub(super) fn matches(&self, request: &Request<'_>) -> Option<Extent> {
        if !self.actions.contains(request.action) {
            return None;
        }
        let extent = self.principals.matches(request.caller)?;
        let about = self.resources.contain(request.resource, request.context)
            && self
                .clauses
                .iter()
                .all(|clause| clause.holds(self.effect, request.context));
        about.then_some(extent)
    }

    pub(super) fn denies(&self) -> bool {
        self.effect == Effect::Deny
    }

    /// Its Sid, or its place.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn principals(&self) -> &Principals {
        &self.principals
    }

    pub(super) fn clauses(&self) -> &[Clause] {
        &self.clauses
    }
}

fn name(index: usize, text: &StatementText) -> String {
    match &text.sid {
        Some(sid) if !sid.is_empty() => format!("{index} ({sid})"),
        _ => index.to_string(),
    }
}

fn named(names: &[String]) -> Result<Actions, PolicyError> {
    names.iter().try_fold(
        Actions::NONE,
        |all, name| Ok(all.and(Actions::named(name)?)),
    )
}

impl Resources {
    fn contain(&self, resource: Resource<'_>, context: &dyn Context) -> bool {
        let any = self
            .patterns
            .iter()
            .any(|pattern| pattern.matches(resource, context));
        any != self.all_but
    }
}

impl ResourcePattern {
    fn parse(text: &str, variables: bool) -> Result<ResourcePattern, PolicyError> {
        let invalid = || PolicyError(format!("Policy has invalid resource: `{text}`"));
        if text == "*" {
            return Ok(ResourcePattern::Everything);
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, name] =
            <[&str; 6]>::try_from(parts).map_err(|_| invalid())?;
        let known = arn == "arn"
            && ["aws", "aws-cn", "aws-us-gov", "*"].contains(&partition)
            && service == "s3"
            && ["", "*"].contains(&region);
        if !known || name.is_empty() {
            return Err(invalid());
        }
        let syntax = Syntax {
            wildcards: true,
            variables,
        };
        Ok(ResourcePattern::Arn {
            account: Pattern::parse(if account.is_empty() { "*" } else { account }, syntax)?,
            name: Pattern::parse(name, syntax)?,
        })
    }

    fn matches(&self, resource: Resource<'_>, context: &dyn Context) -> bool {
        let ResourcePattern::Arn { account, name } = self else {
            return true;
        };
        let is_of = |owner: [&str; 2]| owner.iter().any(|owner| account.matches(owner, context));
        match resource {
            Resource::Service => name.matches("*", context),
            Resource::Bucket { bucket, owner } => is_of(owner) && name.matches(bucket, context),
            Resource::Object { bucket, key, owner } => {
                is_of(owner) && name.matches(&format!("{bucket}/{key}"), context)
            }
        }
    }

    fn may_be_in(&self, bucket: &str) -> bool {
        match self {
            ResourcePattern::Everything => true,
            ResourcePattern::Arn { name, .. } => name.may_be_in(bucket),
        }
    }

    fn may_be_bucket(&self) -> bool {
        match self {
            ResourcePattern::Everything => true,
            ResourcePattern::Arn { name, .. } => name.may_be_bucket(),
        }
    }

    fn may_be_object(&self) -> bool {
        match self {
            ResourcePattern::Everything => true,
            ResourcePattern::Arn { name, .. } => name.may_be_object(),
        }
    }
}

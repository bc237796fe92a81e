//! The meaning of "public".

use super::condition::{Clause, Over};
use super::key::Key;
use super::statement::Statement;

/// Whether a statement lets everyone in: an `Allow` for everyone that no condition holds to a
/// fixed set of callers.
pub(super) fn is_public(statement: &Statement) -> bool {
    !statement.denies()
        && statement.principals().is_everyone()
        && !statement.clauses().iter().any(holds_to_a_fixed_set)
}

/// A condition that names addresses, users or accounts without wildcards, and that a request
/// without the key does not meet.
fn holds_to_a_fixed_set(clause: &Clause) -> bool {
    let Clause::Known {
        key,
        test,
        negated: false,
        if_exists: false,
        over: Over::One | Over::Any,
    } = clause
    else {
        return false;
    };
    let names_callers = matches!(
        key,
        Key::SourceIp
            | Key::Username
            | Key::Userid
            | Key::PrincipalArn
            | Key::PrincipalAccount
            | Key::Elsewhere
    );
    names_callers && test.is_fixed()
}

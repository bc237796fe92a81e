//! What every implementation of a store has to pass.
//!
//! Each suite takes a [`Factory`]: it makes a new, empty store and returns an [`Opener`], which opens that same
//! store, again after the handle before was dropped. Every check has a store of its own and a deadline, so that
//! a store that hangs fails. Nothing here panics: the [`Report`] says what failed.
//!
//! ```
//! use strongroom::store::conformance::{Factory, key_store};
//! use strongroom::store::MemoryKeys;
//!
//! let factory: Factory<dyn strongroom::store::KeyStore> = Box::new(|| {
//!     let store = MemoryKeys::new()?;
//!     Ok(Box::new(move || Ok(Box::new(store.clone()))))
//! });
//! let report = key_store(&factory, std::time::Duration::from_secs(10));
//! assert!(report.failures().is_empty(), "{report}");
//! ```

mod blobs;
mod catalog;
mod keys;

pub use blobs::blob_store;
pub use catalog::catalog;
pub use keys::key_store;

use std::fmt::{self, Debug};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::store::{CommitError, DeleteBucketError, StoreError};

/// Opens one and the same store each time it is called.
pub type Opener<S> = Box<dyn Fn() -> Result<Box<S>, StoreError> + Send + Sync>;
/// Makes a new, empty store.
pub type Factory<S> = Box<dyn Fn() -> Result<Opener<S>, StoreError> + Send + Sync>;

/// How a store did.
#[derive(Debug)]
pub struct Report {
    /// Each check by name, with what was wrong.
    pub checks: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    /// The checks that failed, with what was wrong.
    #[must_use]
    pub fn failures(&self) -> Vec<(&'static str, &str)> {
        self.checks
            .iter()
            .filter_map(|(name, result)| Some((*name, result.as_ref().err()?.as_str())))
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks
            .iter()
            .try_for_each(|(name, result)| match result {
                Ok(()) => writeln!(f, "pass  {name}"),
                Err(wrong) => writeln!(f, "FAIL  {name}: {wrong}"),
            })
    }
}

/// What was wrong.
struct Wrong(String);

type Verdict = Result<(), Wrong>;
type Check<S> = (&'static str, fn(&Opener<S>) -> Verdict);

impl From<StoreError> for Wrong {
    fn from(error: StoreError) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

impl From<CommitError> for Wrong {
    fn from(error: CommitError) -> Self {
        Self(format!("unexpected refusal: {error}"))
    }
}

impl From<DeleteBucketError> for Wrong {
    fn from(error: DeleteBucketError) -> Self {
        Self(format!("unexpected refusal: {error}"))
    }
}

impl From<getrandom::Error> for Wrong {
    fn from(error: getrandom::Error) -> Self {
        Self(error.to_string())
    }
}

fn same<T: PartialEq + Debug>(what: &str, seen: &T, wanted: &T) -> Verdict {
    if seen == wanted {
        return Ok(());
    }
    let shown = |value: &T| format!("{value:?}").chars().take(600).collect::<String>();
    Err(Wrong(format!(
        "{what}: {} instead of {}",
        shown(seen),
        shown(wanted)
    )))
}

fn holds(what: &str, condition: bool) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(Wrong(what.to_owned()))
    }
}

/// Runs every check on a store of its own, each in a thread that is left behind if it does not answer.
fn run<S: ?Sized + 'static>(
    checks: &[Check<S>],
    factory: &Factory<S>,
    deadline: Duration,
) -> Report {
    let one = |check: fn(&Opener<S>) -> Verdict| {
        let opener = factory().map_err(|error| format!("make the store: {error}"))?;
        let (tell, told) = channel();
        thread::spawn(move || {
            // Nobody listens any more after the deadline.
            let _ = tell.send(check(&opener).map_err(|wrong| wrong.0));
        });
        told.recv_timeout(deadline)
            .unwrap_or_else(|_| Err(format!("no answer within {deadline:?}, or a panic")))
    };
    Report {
        checks: checks
            .iter()
            .map(|(name, check)| (*name, one(*check)))
            .collect(),
    }
}

//! Works that take turns, and the fastest turn of each.

use std::time::{Duration, Instant};

/// How much time is spent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Once, on small data: whether everything still runs.
    Quick,
    /// For figures.
    Full,
}

impl Effort {
    /// The one or the other.
    pub(crate) fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// A work that can be done again and again.
pub(crate) type Work<'a> = Box<dyn FnMut() + 'a>;

/// Seconds that one call of each work takes at best. Works shorter than a slice are called often enough to fill one.
pub(crate) fn fastest(effort: Effort, rounds: u32, works: &mut [Work<'_>]) -> Vec<f64> {
    let rounds = effort.pick(1, rounds);
    let slice = effort.pick(Duration::ZERO, SLICE);
    let calls: Vec<u32> = works.iter_mut().map(|work| calls_in(slice, work)).collect();
    let mut best = vec![f64::INFINITY; works.len()];
    for _ in 0..rounds {
        for ((work, calls), best) in works.iter_mut().zip(&calls).zip(&mut best) {
            let start = Instant::now();
            (0..*calls).for_each(|_| work());
            *best = best.min(start.elapsed().as_secs_f64() / f64::from(*calls));
        }
    }
    best
}

/// Also warms caches, branch predictors and the clock up.
fn calls_in(slice: Duration, work: &mut Work<'_>) -> u32 {
    let start = Instant::now();
    work();
    let mut calls = 1;
    while start.elapsed() < slice {
        work();
        calls += 1;
    }
    calls
}

/// Long enough for the clock, short enough that on a busy machine some slices are not interrupted.
const SLICE: Duration = Duration::from_micros(500);

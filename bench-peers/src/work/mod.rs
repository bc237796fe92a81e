//! The works, in the order of the table.

mod files;
mod keys;
mod ranges;
mod segments;
mod small;
mod threads;

use crate::rounds::Effort;
use crate::rows::Row;

/// A group of works: the targets it is about, what it is, and what measures it.
type Group = (
    &'static [&'static str],
    &'static str,
    fn(Effort) -> Vec<Row>,
);

pub(crate) const ALL: &[Group] = &[
    (&["P1"], "64 KiB segments in cache", segments::in_cache),
    (&["P2"], "segments that fit no cache", segments::in_memory),
    (&["P3"], "without a tag", segments::bare),
    (&["P4"], "the portable path", segments::portable),
    (&["P5"], "objects of 1 KiB", small::objects),
    (&["P6"], "ranges", ranges::one_segment),
    (&["P7"], "two threads", threads::two),
    (&["P8", "P9"], "files", files::whole_process),
    (&["P13"], "data keys", keys::wrapped),
    (&["P15"], "memory", files::memory),
];

/// Bytes that no run of zeros can stand for.
pub(crate) fn paint(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// GB/s.
#[expect(clippy::cast_precision_loss, reason = "figures of a few digits")]
pub(crate) fn rate(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / seconds / 1e9
}

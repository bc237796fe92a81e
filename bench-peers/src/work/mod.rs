//! The works, in the order of the table.

mod files;
mod keys;
mod ranges;
mod segments;
mod small;
mod threads;

use crate::rounds::Effort;
use crate::rows::Row;

/// A group of works: what it is, and what measures it.
type Group = (&'static str, fn(Effort) -> Vec<Row>);

pub(crate) const ALL: &[Group] = &[
    ("64 KiB segments in cache", segments::in_cache),
    ("segments that fit no cache", segments::in_memory),
    ("without a tag", segments::bare),
    ("the portable path", segments::portable),
    ("objects of 1 KiB", small::objects),
    ("ranges", ranges::one_segment),
    ("two threads", threads::two),
    ("files", files::whole_process),
    ("data keys", keys::wrapped),
    ("memory", files::memory),
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

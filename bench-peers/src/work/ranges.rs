//! P6: one segment out of the middle of an object, keys ready.

use std::hint::black_box;

use strongroom::format::{SEGMENT_LEN, Suite};
use strongroom::keys::BucketKey;
use strongroom::object::{BlobOpener, BlobSealer};
use strongroom::secret::Secret;

use super::paint;
use crate::peers::{Aead, AwsLc, KEY};
use crate::rounds::{Effort, Work, fastest};
use crate::rows::{Row, Target};

pub(crate) fn one_segment(effort: Effort) -> Vec<Row> {
    let plain = paint(4 * SEGMENT_LEN);
    let key_file = Secret::take(&mut [9; 32]).expect("locked memory");
    let key = BucketKey::from_key_file(key_file)
        .new_data_key()
        .expect("a key");
    let mut blob = Vec::new();
    let sealer = BlobSealer::new(&key, Suite::Cbc64Gmac, 0).expect("built in");
    sealer.finish_with(&plain, &mut blob).expect("seals");
    let blob_len = blob.len() as u64;
    let mut opener = BlobOpener::new(&key, &blob, blob_len, None).expect("its own header");
    let last = usizes(opener.final_segment());
    opener.prove_length(&blob[last]).expect("whole");
    let (from, to) = (2 * SEGMENT_LEN, 3 * SEGMENT_LEN);
    let range = from as u64..to as u64;
    let mut out = vec![0; opener.plan(range.clone()).expect("inside").room()];
    let mut open = || {
        let plan = opener.plan(black_box(range.clone())).expect("inside");
        let sealed = &blob[usizes(plan.bytes())];
        let len = opener.open_into(&plan, sealed, black_box(&mut out));
        assert_eq!(len.ok(), Some(SEGMENT_LEN));
    };
    let peer = AwsLc::new(&KEY);
    let mut sealed = vec![0; SEGMENT_LEN + 16];
    peer.seal(2, &plain[from..to], &mut sealed);
    let mut opened = vec![0; SEGMENT_LEN];
    let mut works: [Work<'_>; 2] = [
        Box::new(&mut open),
        Box::new(|| peer.open(2, black_box(&sealed), black_box(&mut opened))),
    ];
    let times = fastest(effort, 500, &mut works);
    drop(works);
    assert!(opened == plain[from..to] && out[..SEGMENT_LEN] == plain[from..to]);
    let peer = ("aws-lc-rs AES-256-GCM", times[1] * 1e9);
    let work = "read a range of one segment, keys ready, ns";
    vec![Row::ratio(
        "P6",
        work,
        Target::AtMost(0.85),
        times[0] * 1e9,
        peer,
    )]
}

fn usizes(range: std::ops::Range<u64>) -> std::ops::Range<usize> {
    let at = |value: u64| usize::try_from(value).expect("a small object");
    at(range.start)..at(range.end)
}

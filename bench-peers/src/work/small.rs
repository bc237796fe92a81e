//! P5: one object of 1 KiB under a key that nothing was sealed with before.

use std::hint::black_box;

use strongroom::format::{HEADER_LEN, OpenKeys, Salt, SealKeys, Suite};
use strongroom::secret::Secret;

use crate::peers::{Aead, AwsLc};
use crate::rounds::{Effort, Work, fastest};
use crate::rows::{Row, Target};

/// Ours derives three keys, commits to the data key and wipes; the peer expands one key.
pub(crate) fn objects(effort: Effort) -> Vec<Row> {
    let plain = [0x5A; LEN];
    let dk = Secret::take(&mut [0x24; 32]).expect("locked memory");
    let mut blob = [0; HEADER_LEN + LEN + 32];
    let seal = |blob: &mut [u8]| {
        let (header, body) = blob.split_at_mut(HEADER_LEN);
        let (keys, made) =
            SealKeys::create(&dk, Suite::Cbc64Gmac, 0, Salt([2; 32])).expect("built in");
        header.copy_from_slice(&made);
        keys.seal_segment(0, true, black_box(&plain), body)
            .expect("seals")
    };
    let len = seal(&mut blob);
    let (header, body) = blob.split_first_chunk().expect("a header");
    let (keys, _) = OpenKeys::open(&dk, header).expect("its own header");
    let mut opened = [0; LEN + 16];
    let got = keys.open_segment(0, true, &body[..len], &mut opened);
    assert!(got.is_ok_and(|got| opened[..got] == plain));

    let mut sealed = [0; LEN + 16];
    let mut works: [Work<'_>; 3] = [
        Box::new(|| {
            seal(black_box(&mut blob));
        }),
        Box::new(|| {
            AwsLc::new(black_box(&[0x24; 32])).seal(0, black_box(&plain), black_box(&mut sealed));
        }),
        Box::new(|| getrandom::fill(black_box(&mut [0; 32])).expect("a random source")),
    ];
    let times = fastest(effort, 500, &mut works);
    let ns = |i: usize| times[i] * 1e9;
    let peer = ("aws-lc-rs AES-256-GCM with key set-up", ns(1));
    vec![
        Row::ratio(
            "P5",
            "seal 1 KiB under a fresh data key, ns",
            Target::AtMost(1.5),
            ns(0),
            peer,
        ),
        Row::value(
            "P5",
            "the kernel's random source, one call, ns",
            Target::Beside,
            ns(2),
        ),
    ]
}

const LEN: usize = 1024;

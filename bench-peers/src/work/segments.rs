//! P1 to P4: segments of 64 KiB, one thread.

use std::hint::black_box;
use std::time::Instant;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aws_lc_rs::cipher as aws;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use strongroom::cipher::Backend;
use strongroom::format::{SEALED_SEGMENT_LEN, SEGMENT_LEN};

use super::{paint, rate};
use crate::peers::{self, Aead, KEY, Ours};
use crate::rounds::{Effort, Work, fastest};
use crate::rows::{Row, Target};

/// P1.
pub(crate) fn in_cache(effort: Effort) -> Vec<Row> {
    let sides = sides();
    let plain = paint(SEGMENT_LEN);
    let sealed: Vec<Vec<u8>> = sides
        .iter()
        .map(|side| {
            let (mut sealed, mut opened) = (vec![0; SEALED_SEGMENT_LEN], vec![0; SEGMENT_LEN]);
            side.seal(7, &plain, &mut sealed);
            side.open(7, &sealed, &mut opened);
            assert!(opened == plain, "{}: opens to what was sealed", side.name());
            sealed
        })
        .collect();
    let mut out = vec![vec![0; SEALED_SEGMENT_LEN]; sides.len()];
    let mut seals: Vec<Work<'_>> = sides
        .iter()
        .zip(&mut out)
        .map(|(side, out)| -> Work<'_> {
            Box::new(|| side.seal(7, black_box(&plain), black_box(out)))
        })
        .collect();
    let seal = fastest(effort, 300, &mut seals);
    drop(seals);
    for ((side, out), sealed) in sides.iter().zip(&out).zip(&sealed) {
        assert!(out == sealed, "{}: seals to the same again", side.name());
    }
    let mut out = vec![vec![0; SEGMENT_LEN]; sides.len()];
    let mut opens: Vec<Work<'_>> = sides
        .iter()
        .zip(&mut out)
        .zip(&sealed)
        .map(|((side, out), sealed)| -> Work<'_> {
            Box::new(|| side.open(7, black_box(sealed), black_box(out)))
        })
        .collect();
    let open = fastest(effort, 300, &mut opens);
    drop(opens);
    assert!(out.iter().all(|out| *out == plain));
    let rows = |what: &str, times: &[f64]| {
        let work = format!("{what} 64 KiB segments in cache, one thread, GB/s");
        against_peers(
            "P1",
            &work,
            Target::AtLeast(1.2),
            SEGMENT_LEN,
            &sides,
            times,
        )
    };
    [rows("seal", &seal), rows("open", &open)].concat()
}

/// P2: from and into memory of which each byte is touched once a pass.
pub(crate) fn in_memory(effort: Effort) -> Vec<Row> {
    let segments: usize = effort.pick(4, 1 << 14);
    let sides = sides();
    let piece = paint(251 << 8);
    let mut plain = piece.repeat((segments * SEGMENT_LEN).div_ceil(piece.len()));
    plain.truncate(segments * SEGMENT_LEN);
    let mut sealed = vec![1; segments * SEALED_SEGMENT_LEN]; // not zero: its pages are there before the first side
    let (mut seal, mut open) = (
        vec![f64::INFINITY; sides.len()],
        vec![f64::INFINITY; sides.len()],
    );
    // One pair of buffers for all: each side seals everything and opens it again, side after side, round after round.
    for _ in 0..effort.pick(1, 3) {
        for (i, side) in sides.iter().enumerate() {
            let start = Instant::now();
            let pairs = plain
                .chunks_exact(SEGMENT_LEN)
                .zip(sealed.chunks_exact_mut(SEALED_SEGMENT_LEN));
            for (index, (plain, sealed)) in (0..).zip(pairs) {
                side.seal(index, plain, sealed);
            }
            seal[i] = seal[i].min(start.elapsed().as_secs_f64());
            plain.fill(0);
            let start = Instant::now();
            let pairs = plain
                .chunks_exact_mut(SEGMENT_LEN)
                .zip(sealed.chunks_exact(SEALED_SEGMENT_LEN));
            for (index, (plain, sealed)) in (0..).zip(pairs) {
                side.open(index, sealed, plain);
            }
            open[i] = open[i].min(start.elapsed().as_secs_f64());
            let same = plain
                .chunks(piece.len())
                .all(|part| *part == piece[..part.len()]);
            assert!(same, "{}: opens to what was sealed", side.name());
        }
    }
    let rows = |what: &str, times: &[f64]| {
        let size = effort.pick("256 KiB", "1 GiB");
        let work = format!("{what} {size} that fits no cache, one thread, GB/s");
        against_peers(
            "P2",
            &work,
            Target::AtLeast(1.15),
            plain.len(),
            &sides,
            times,
        )
    };
    [rows("seal", &seal), rows("open", &open)].concat()
}

/// P3: what suite 1 makes, tag and all, beside AES-256-CBC that authenticates nothing. One chain cannot be faster than
/// one block after another; 64 chains can.
pub(crate) fn bare(effort: Effort) -> Vec<Row> {
    let ours = Ours::new(Backend::detect());
    let plain = paint(SEGMENT_LEN);
    let mut sealed = vec![0; SEALED_SEGMENT_LEN];
    let key = aws::UnboundCipherKey::new(&aws::AES_256, &KEY).expect("a key of 32 bytes");
    let key = aws::EncryptingKey::cbc(key).expect("CBC");
    let mut in_place = plain.clone();
    let mut ctx = CipherCtx::new().expect("a context");
    ctx.encrypt_init(Some(Cipher::aes_256_cbc()), Some(&KEY), Some(&[0; 16]))
        .expect("a key");
    ctx.set_padding(false);
    let mut out = vec![0; SEGMENT_LEN + 16];
    // Both peers give the same bytes.
    let iv = || aws::EncryptionContext::Iv128([0; 16].into());
    key.less_safe_encrypt(&mut in_place, iv())
        .expect("encrypts");
    let len = ctx.cipher_update(&plain, Some(&mut out)).expect("encrypts");
    assert!(len == SEGMENT_LEN && out[..len] == in_place);
    let mut works: [Work<'_>; 3] = [
        Box::new(|| ours.seal(7, black_box(&plain), black_box(&mut sealed))),
        Box::new(|| {
            key.less_safe_encrypt(black_box(&mut in_place), iv())
                .expect("encrypts");
        }),
        Box::new(|| {
            ctx.encrypt_init(None, None, Some(&[0; 16])).expect("an IV");
            ctx.cipher_update(black_box(&plain), Some(&mut out))
                .expect("encrypts");
        }),
    ];
    let times = fastest(effort, 300, &mut works);
    let [ours, peers @ ..] = &times[..] else {
        return Vec::new();
    };
    let ours = rate(SEGMENT_LEN, *ours);
    peers
        .iter()
        .zip(["AWS-LC AES-256-CBC", "OpenSSL AES-256-CBC"])
        .map(|(time, name)| {
            let work = "suite 1 with its tag beside bare CBC encryption, one thread, GB/s";
            let peer = (name, rate(SEGMENT_LEN, *time));
            Row::ratio("P3", work, Target::AtLeast(25.0), ours, peer)
        })
        .collect()
}

/// P4: what every CPU runs, and the AES that it is made of.
pub(crate) fn portable(effort: Effort) -> Vec<Row> {
    let ours = Ours::new(Backend::PORTABLE);
    let plain = paint(SEGMENT_LEN);
    let (mut sealed, mut opened) = (vec![0; SEALED_SEGMENT_LEN], vec![0; SEGMENT_LEN]);
    ours.seal(7, &plain, &mut sealed);
    ours.open(7, &sealed, &mut opened);
    assert!(opened == plain);
    let cipher = aes::Aes256Enc::new(&KEY.into());
    let mut blocks = vec![aes::Block::default(); SEGMENT_LEN / 16];
    let again = sealed.clone();
    let mut works: [Work<'_>; 3] = [
        Box::new(|| ours.seal(7, black_box(&plain), black_box(&mut sealed))),
        Box::new(|| ours.open(7, black_box(&again), black_box(&mut opened))),
        Box::new(|| cipher.encrypt_blocks(black_box(&mut blocks))),
    ];
    let times = fastest(effort, 300, &mut works);
    let gb = |i: usize| rate(SEGMENT_LEN, times[i]);
    vec![
        Row::value(
            "P4",
            "seal, portable path, one thread, GB/s",
            Target::AtLeast(4.0),
            gb(0),
        ),
        Row::value(
            "P4",
            "open, portable path, one thread, GB/s",
            Target::AtLeast(4.0),
            gb(1),
        ),
        Row::ratio(
            "P4",
            "seal, portable path, GB/s",
            Target::Beside,
            gb(0),
            ("aes crate, raw encrypt_blocks", gb(2)),
        ),
    ]
}

/// Ours as it is chosen, and every peer.
fn sides() -> Vec<Box<dyn Aead>> {
    let mut sides: Vec<Box<dyn Aead>> = vec![Box::new(Ours::new(Backend::detect()))];
    sides.extend(peers::all());
    sides
}

fn against_peers(
    id: &'static str,
    work: &str,
    target: Target,
    bytes: usize,
    sides: &[Box<dyn Aead>],
    times: &[f64],
) -> Vec<Row> {
    let ours = rate(bytes, times[0]);
    sides
        .iter()
        .zip(times)
        .skip(1)
        .map(|(side, time)| Row::ratio(id, work, target, ours, (&side.name(), rate(bytes, *time))))
        .collect()
}

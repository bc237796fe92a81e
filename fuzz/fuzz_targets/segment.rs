//! A segment made of any bytes, opened by every backend: they agree, nothing that is not authentic comes out, and what is
//! sealed from the same bytes is the same under each and opens.
//!
//! A fuzzer cannot guess a tag, so the first bytes also choose how an honest segment is damaged.

use strongroom::{
    cipher::Backend,
    format::{FormatError, OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite},
    secret::Secret,
};

/// Panics where a backend breaks a promise. `data` is a choice, a segment's index, and the segment.
pub(crate) fn check(data: &[u8]) {
    let &[choice, index, ref bytes @ ..] = data else {
        return;
    };
    let suite = SUITES[usize::from(choice) % 3];
    let last = choice & 0x80 == 0;
    let mut sealed_by: Option<Vec<u8>> = None;
    let mut answered: Option<Result<Vec<u8>, FormatError>> = None;
    for &backend in Backend::available() {
        let dk = Secret::take(&mut [choice; 32]).expect("locked memory");
        let (seal, header) = SealKeys::create_on(backend, &dk, suite, 0, Salt([index; 32]))
            .expect("all suites are built in");
        let (open, _) = OpenKeys::open_on(backend, &dk, &header).expect("an honest header");

        // Any bytes.
        let mut out = vec![0xEE; SEGMENT_LEN];
        let answer = open.open_segment(index.into(), last, bytes, &mut out);
        if answer.is_err() {
            assert!(out.iter().all(|&byte| byte == 0), "{backend}: not wiped");
        }
        let answer = answer.map(|len| out[..len].to_vec());
        assert_eq!(
            *answered.get_or_insert_with(|| answer.clone()),
            answer,
            "{backend}"
        );

        // The same bytes as a plaintext: sealed, opened, damaged.
        let plain = &bytes[..bytes.len().min(SEGMENT_LEN - 1)];
        let mut sealed = vec![0; SEALED_SEGMENT_LEN];
        let len = seal
            .seal_segment(index.into(), true, plain, &mut sealed)
            .expect("a last segment");
        sealed.truncate(len);
        assert!(
            *sealed_by.get_or_insert_with(|| sealed.clone()) == sealed,
            "{backend}"
        );
        let len = open
            .open_segment(index.into(), true, &sealed, &mut out)
            .expect("what was sealed opens");
        assert!(out[..len] == *plain, "{backend}: another plaintext");
        let at = usize::from(index) * 257 % sealed.len();
        sealed[at] ^= 1 << (choice % 8);
        let damaged = open.open_segment(index.into(), true, &sealed, &mut out);
        assert_eq!(damaged, Err(FormatError::Unauthentic), "{backend}");
        assert!(out.iter().all(|&byte| byte == 0), "{backend}: not wiped");
    }
}

const SUITES: [Suite; 3] = [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm];

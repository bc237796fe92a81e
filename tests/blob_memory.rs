//! What is left of a blob's keys in this process once they are dropped: nothing.
//!
//! The keys to look for are derived in a process of its own, by independent means, and come back
//! masked: derived here, they would be found where the test itself left them.

#![allow(clippy::unwrap_used, unsafe_code)]

use std::{env, process::Command, slice, sync::mpsc, thread};

use aes::{
    Aes256, Aes256Dec, Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use cmac::{Cmac, Mac};
use ghash::GHash;
use strongroom::{
    cipher::Backend,
    format::{OpenKeys, SEALED_SEGMENT_LEN, SEGMENT_LEN, Salt, SealKeys, Suite},
    secret::Secret,
};

#[path = "support/memory.rs"]
mod memory;

use memory::{Hit, Needle, search_self, unmask};

const TEST: &str = "no_key_of_a_blob_is_left_when_it_is_dropped";
const DERIVE: &str = "STRONGROOM_TEST_DERIVE";
#[cfg(feature = "gcm")]
const SUITES: [Suite; 3] = [Suite::PlainGmac, Suite::Cbc64Gmac, Suite::Gcm];
#[cfg(not(feature = "gcm"))]
const SUITES: [Suite; 2] = [Suite::PlainGmac, Suite::Cbc64Gmac];

#[test]
fn no_key_of_a_blob_is_left_when_it_is_dropped() {
    if let Ok(masked) = env::var(DERIVE) {
        return print_needles(&masked);
    }
    let dk = Secret::random().unwrap();
    let needles = derived_elsewhere(&dk);
    let found = || search_self(&needles).unwrap();
    assert_only_the_data_key(&found(), "before");

    for (backend, suite) in everything() {
        let (seal, header) = SealKeys::create_on(backend, &dk, suite, 0, salt(suite)).unwrap();
        let (open, _) = OpenKeys::open_on(backend, &dk, &header).unwrap();
        let hits = found();
        assert!(hits.len() > 8, "control: live keys are found, not {hits:?}");
        drop((seal, open));
        assert_only_the_data_key(&found(), &format!("{backend}, after key set-up"));

        work(backend, &dk, suite);
        assert_only_the_data_key(&found(), &format!("{backend}, after work"));
    }

    // A thread that has done its work but still has its stack.
    let (done, wait) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        everything().for_each(|(backend, suite)| work(backend, &dk, suite));
        done.send(dk).unwrap();
        released.recv().unwrap_err();
    });
    let dk = wait.recv().unwrap();
    assert_only_the_data_key(&found(), "on another thread");
    drop(dk);
    let hits = found();
    assert!(hits.is_empty(), "left behind: {hits:?}");
    drop(release);
    worker.join().unwrap();
}

fn everything() -> impl Iterator<Item = (Backend, Suite)> {
    let backends = Backend::available().iter();
    backends.flat_map(|&backend| SUITES.map(|suite| (backend, suite)))
}

/// Seals and opens a full segment and a short last one, and fails to open a damaged one and a blob of another key.
fn work(backend: Backend, dk: &Secret<32>, suite: Suite) {
    let mut plain = vec![0x5A; SEGMENT_LEN];
    // Where the last segment's end is, too, which goes another way.
    for at in [0, 960, SEGMENT_LEN - 32] {
        plaintext(dk, &mut plain[at..at + 32]);
    }
    let mut sealed = vec![0; SEALED_SEGMENT_LEN];
    let mut opened = vec![0; SEGMENT_LEN];
    let (seal, header) = SealKeys::create_on(backend, dk, suite, 0, salt(suite)).unwrap();
    let (open, _) = OpenKeys::open_on(backend, dk, &header).unwrap();
    for (index, last, len) in [(0, false, SEGMENT_LEN), (1, true, 1000)] {
        let sealed_len = seal.seal_segment(index, last, &plain[..len], &mut sealed);
        let sealed = &mut sealed[..sealed_len.unwrap()];
        let opened_len = open.open_segment(index, last, sealed, &mut opened).unwrap();
        assert_eq!(opened[..opened_len], plain[..len]);
        sealed[0] ^= 1;
        open.open_segment(index, last, sealed, &mut opened)
            .unwrap_err();
    }
    drop((seal, open));
    // Sealed under suite 0 is plain too.
    for bytes in [&mut plain, &mut sealed, &mut opened] {
        wipe(bytes);
    }
    let (_, mut other) = SealKeys::create_on(backend, dk, suite, 0, salt(suite)).unwrap();
    other[79] ^= 1;
    OpenKeys::open_on(backend, dk, &other).unwrap_err();
}

/// Plaintext to look for: no other memory has it.
fn plaintext(dk: &Secret<32>, out: &mut [u8]) {
    for (byte, key) in out.iter_mut().zip(dk.expose()) {
        *byte = !key;
    }
}

/// What this test itself put where.
fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

/// The data key itself lives in its locked slot, and nowhere else.
fn assert_only_the_data_key(hits: &[Hit], when: &str) {
    assert!(
        matches!(hits, [Hit { needle: 0, .. }]),
        "{when}, beside the data key: {hits:?}"
    );
}

fn salt(suite: Suite) -> Salt {
    Salt([suite as u8; 32])
}

/// Runs this test once more, in a process that prints what to look for.
fn derived_elsewhere(dk: &Secret<32>) -> Vec<Needle> {
    let masked = hex(Needle::new(dk.expose()).masked());
    let output = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(DERIVE, masked)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("needle "))
        .map(|line| Needle::from_masked(unhex(line)))
        .collect()
}

/// The data key, also as SHA-256 loads it for the commitment; the plaintext; then for each suite the subkeys, the round keys of all schedules and the powers of
/// the GHASH key: as 16-byte strings, in masked form.
fn print_needles(masked: &str) {
    let dk: [u8; 32] = unmask(&unhex(masked)).try_into().unwrap();
    let print = |secret: &[u8]| println!("needle {}", hex(Needle::new(secret).masked()));
    println!();
    print(&dk);
    // As `plaintext` has it.
    dk.map(|byte| !byte).chunks(16).for_each(print);
    // Words in the other order of bytes, as they are hashed.
    let mut words = dk;
    words.chunks_mut(4).for_each(<[u8]>::reverse);
    words.chunks(16).for_each(print);
    // The first two round keys are the key itself, which is a needle already.
    schedule(&Aes256Enc::new(&dk.into()), 240)[2..]
        .iter()
        .for_each(|key| print(key));
    for suite in SUITES {
        let subkeys = subkeys(&dk, suite);
        for key in &subkeys {
            schedule(&Aes256Enc::new(&(*key).into()), 240)
                .iter()
                .for_each(|key| print(key));
        }
        schedule(&Aes256Dec::new(&subkeys[0].into()), 240)
            .iter()
            .for_each(|key| print(key));
        let mut h = [0; 16].into();
        Aes256Enc::new(&subkeys[2].into()).encrypt_block(&mut h);
        print(&h);
        schedule(&GHash::new(&h), 64)
            .iter()
            .filter(|key| key.iter().filter(|&&byte| byte == 0).count() < 4)
            .for_each(|key| print(key));
    }
}

/// `K_enc`, `K_iv`, `K_mac` by the `cmac` crate (F-13).
fn subkeys(dk: &[u8; 32], suite: Suite) -> [[u8; 32]; 3] {
    let lanes = if suite == Suite::Cbc64Gmac { 6 } else { 0 };
    let mut keys = [[0; 32]; 3];
    for (counter, half) in (1..).zip(keys.as_flattened_mut().chunks_mut(16)) {
        let mac = Cmac::<Aes256>::new(dk.into())
            .chain_update([counter])
            .chain_update(b"SRB1\0")
            .chain_update(salt(suite).0)
            .chain_update([1, suite as u8, 16, lanes, 0, 0, 0, 0])
            .chain_update(768_u16.to_be_bytes());
        half.copy_from_slice(&mac.finalize().into_bytes());
    }
    keys
}

/// The first `len` bytes of an expanded key as it lies in memory: the round keys come first.
fn schedule<T>(expanded: &T, len: usize) -> Vec<[u8; 16]> {
    assert!(len <= size_of::<T>());
    let start = std::ptr::from_ref(expanded).cast::<u8>();
    // SAFETY: the first 240 bytes of an AES schedule of any backend, and the first 64 of GHASH's,
    // are initialised key material inside `expanded`.
    let bytes = unsafe { slice::from_raw_parts(start, len) };
    bytes.as_chunks().0.to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

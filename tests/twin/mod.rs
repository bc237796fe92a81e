//! The toy twin: format 1 once more, written from `docs/FORMAT.md` alone, as slow and as plain as the page.
//!
//! It shares no code with the engine. Suite 1 runs lane by lane on the plain `cbc` crate, everything is one
//! `Vec`, nothing is wiped. It is the oracle of the tests and the shortest way to read the format; suite 2 is
//! left out. Whatever a writer would draw at random is an argument.
#![allow(unreachable_pub)]

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit};
use aes_kw::{KwAes256, KwpAes256};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt};
use ghash::{GHash, universal_hash::UniversalHash};
use hmac::Mac;
use sha2::{Digest, Sha256};

pub type Key = [u8; 32];
type Result<T> = std::result::Result<T, Refusal>;

/// The error classes of F-04, and the one failure under a key that has a name (F-51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    Unsupported,
    Unauthentic,
    WrongCustomerKey,
}

fn well_formed(holds: bool) -> Result<()> {
    holds.then_some(()).ok_or(Refusal::Malformed)
}

fn supported(holds: bool) -> Result<()> {
    holds.then_some(()).ok_or(Refusal::Unsupported)
}

fn authentic(holds: bool) -> Result<()> {
    holds.then_some(()).ok_or(Refusal::Unauthentic)
}

// ---- primitives ----

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The first N bytes from `at`.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

pub fn sha256(parts: &[&[u8]]) -> Key {
    Sha256::digest(parts.concat()).into()
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    let mut mac = <hmac::Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// F-08.
pub fn kdf(key: &[u8], label: &str, ctx: &[u8], n: u8) -> Vec<u8> {
    let bits = (8 * u32::from(n)).to_be_bytes();
    let tail = cat(&[label.as_bytes(), &[0], ctx, &bits]);
    let block = |i: u32| hmac(key, &cat(&[&i.to_be_bytes(), &tail]));
    (1..).flat_map(block).take(n.into()).collect()
}

fn aes(key: &Key, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    Aes256::new(&(*key).into()).encrypt_block(&mut block);
    block.into()
}

/// SP 800-38D with a 96-bit IV and no plaintext.
fn gmac(key: &Key, nonce: [u8; 12], data: &[u8]) -> [u8; 16] {
    let mut ghash = GHash::new(&aes(key, [0; 16]).into());
    ghash.update_padded(data);
    let lengths = u128::from(8 * data.len() as u64) << 64;
    ghash.update(&[lengths.to_be_bytes().into()]);
    let sum = ghash.finalize();
    let mask = aes(key, take(&cat(&[&nonce, &1_u32.to_be_bytes()]), 0));
    std::array::from_fn(|i| mask[i] ^ sum[i])
}

/// RFC 3394, or RFC 5649 if `padded`.
pub fn wrap(key: &Key, plain: &[u8], padded: bool) -> Vec<u8> {
    let mut out = vec![0; plain.len() + 8];
    let wrapped = match padded {
        true => KwpAes256::new(&(*key).into()).wrap_key(plain, &mut out),
        false => KwAes256::new(&(*key).into()).wrap_key(plain, &mut out),
    };
    wrapped.expect("whole semiblocks").to_vec()
}

pub fn unwrap(key: &Key, wrapped: &[u8], padded: bool) -> Result<Vec<u8>> {
    let mut out = vec![0; wrapped.len() - 8];
    let plain = match padded {
        true => KwpAes256::new(&(*key).into()).unwrap_key(wrapped, &mut out),
        false => KwAes256::new(&(*key).into()).unwrap_key(wrapped, &mut out),
    };
    Ok(plain.map_err(|_| Refusal::Unauthentic)?.to_vec())
}

// ---- sealed blob, F-10 to F-32 ----

/// Subkeys, F-13: K_enc, K_iv, K_mac.
fn subkeys(dk: &Key, salt: &[u8], fx: &[u8]) -> [Key; 3] {
    let block = |i: u8| {
        let mut mac = <cmac::Cmac<Aes256> as KeyInit>::new_from_slice(dk).expect("32 bytes");
        mac.update(&cat(&[&[i], b"SRB1\0", salt, fx, &768_u16.to_be_bytes()]));
        mac.finalize().into_bytes()
    };
    let keys: Vec<u8> = (1..=6).flat_map(block).collect();
    [0, 32, 64].map(|at| take(&keys, at))
}

/// F-17, F-19: each lane a CBC chain of its own, over whole blocks.
fn lanes(keys: &[Key; 3], i: u64, last: bool, data: &mut [u8], sealing: bool) {
    for j in 0..64_u8 {
        let (lane, last) = (u32::from(j).to_le_bytes(), u32::from(last).to_le_bytes());
        let iv = aes(&keys[1], take(&cat(&[&i.to_le_bytes(), &lane, &last]), 0));
        let mut encryptor = cbc::Encryptor::<Aes256>::new(&keys[0].into(), &iv.into());
        let mut decryptor = cbc::Decryptor::<Aes256>::new(&keys[0].into(), &iv.into());
        let blocks = data.chunks_exact_mut(16);
        for block in blocks.skip(j.into()).step_by(64) {
            let mut one = take::<16>(block, 0).into();
            match sealing {
                true => encryptor.encrypt_block(&mut one),
                false => decryptor.decrypt_block(&mut one),
            }
            block.copy_from_slice(&one);
        }
    }
}

/// F-20, F-21, F-23.
fn tag(keys: &[Key; 3], i: u64, last: bool, data: &[u8]) -> [u8; 16] {
    let nonce = cat(&[&u32::from(last).to_le_bytes(), &i.to_le_bytes()]);
    gmac(&keys[2], take(&nonce, 0), data)
}

pub fn seal(dk: &Key, suite: u8, part: u32, salt: &Key, plain: &[u8]) -> Vec<u8> {
    let fx = cat(&[&[1, suite, 16, 6 * suite], &part.to_le_bytes()]); // F-11, suites 0 and 1
    let keys = subkeys(dk, salt, &fx);
    let commit = sha256(&[dk, salt, &fx, b"SRC1"]);
    let mut out = cat(&[b"STRGROOM", &fx, salt, &commit]);
    let segments = plain.len() / 65_536 + 1; // F-15
    for i in 0..segments {
        let last = i + 1 == segments;
        let mut data = plain[i * 65_536..plain.len().min((i + 1) * 65_536)].to_vec();
        if suite == 1 {
            if last {
                let p = 16 - data.len() % 16; // F-18
                data.extend(std::iter::repeat_n(p.to_le_bytes()[0], p));
            }
            lanes(&keys, i as u64, last, &mut data, true);
        }
        out.extend_from_slice(&data);
        out.extend(tag(&keys, i as u64, last, &data));
    }
    out
}

/// F-26, its steps in order.
pub fn open(dk: &Key, blob: &[u8]) -> Result<Vec<u8>> {
    well_formed(blob.len() >= 80 && blob.starts_with(b"STRGROOM"))?;
    let (fx, salt) = (&blob[8..16], &blob[16..48]);
    let suite = fx[1];
    supported(fx[0] == 1 && suite <= 1)?;
    let part = u32::from_le_bytes(take(fx, 4));
    well_formed(fx[2] == 16 && fx[3] == 6 * suite && part <= 10_000)?;
    let segments: Vec<&[u8]> = blob[80..].chunks(65_552).collect();
    let last_len = segments.last().map_or(0, |last| last.len());
    well_formed(segments.len() <= 1 << 28)?;
    well_formed(match suite {
        1 => last_len >= 32 && last_len.is_multiple_of(16),
        _ => (16..=65_551).contains(&last_len),
    })?;
    authentic(blob[48..80] == sha256(&[dk, salt, fx, b"SRC1"]))?;
    let keys = subkeys(dk, salt, fx);
    let mut plain = Vec::new();
    for (i, sealed) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        let (data, stored) = sealed.split_at(sealed.len() - 16);
        authentic(tag(&keys, i as u64, last, data) == stored)?;
        plain.extend_from_slice(data);
        if suite == 1 {
            lanes(&keys, i as u64, last, &mut plain[i * 65_536..], false);
        }
    }
    if suite == 1 {
        let p = plain[plain.len() - 1];
        authentic((1..=16).contains(&p))?;
        let padding = plain.split_off(plain.len() - usize::from(p));
        authentic(padding.iter().all(|&byte| byte == p))?;
    }
    Ok(plain)
}

// ---- data key record, F-40 to F-56 ----

/// F-43. `extra`: object key, kms key id, encryption context.
pub fn context(mode: u8, bucket: &[u8], instance: &[u8], extra: [&[u8]; 3]) -> Vec<u8> {
    let lp = |x: &[u8]| cat(&[&u16::try_from(x.len()).expect("short").to_le_bytes(), x]);
    cat(&[&[mode], bucket, instance, &extra.map(lp).concat()])
}

/// F-47, then F-48 (label sr-wrap-1) or F-49 (sr-ssec-1).
fn two_keys(from: &Key, label: &str, salt: &[u8], ctx: &[u8]) -> (Key, Key) {
    let h = sha256(&[b"sr-context-1\0\0\0\0", salt, ctx]);
    let keys = kdf(from, label, &h, 64);
    (take(&keys, 0), take(&keys, 32))
}

/// F-48 to F-50. `prefix`: the 76 bytes of F-40; mode 2 takes the customer key.
pub fn record(kek: &Key, dk: &Key, ctx: &[u8], prefix: &[u8], customer: Option<&Key>) -> Vec<u8> {
    let salt = &prefix[12..44];
    let (wk, ck) = two_keys(kek, "sr-wrap-1", salt, ctx);
    let mut payload = dk.to_vec();
    if let Some(customer) = customer {
        let (iwk, verifier) = two_keys(customer, "sr-ssec-1", salt, ctx);
        payload = cat(&[&wrap(&iwk, dk, false), &verifier]);
    }
    let body = cat(&[prefix, &wrap(&wk, &payload, false)]);
    cat(&[&body, &hmac(&ck, &body)])
}

/// F-51; the caller has chosen the KEK by the record's generation.
pub fn open_record(kek: &Key, bytes: &[u8], ctx: &[u8], customer: Option<&Key>) -> Result<Key> {
    well_formed(matches!(bytes.len(), 148 | 188) && bytes.starts_with(b"SRDK"))?;
    let (mode, state, salt) = (bytes[5], bytes[6], &bytes[12..44]);
    supported(bytes[4] == 1 && (1..=5).contains(&mode))?;
    well_formed(bytes[7] == 0 && state <= 2)?;
    well_formed(state == 1 || bytes[44..76] == [0; 32])?;
    well_formed((bytes.len() == 188) == (mode == 2))?;
    authentic(ctx[0] == mode)?;
    let (wk, ck) = two_keys(kek, "sr-wrap-1", salt, ctx);
    let (body, commit) = bytes.split_at(bytes.len() - 32);
    authentic(hmac(&ck, body) == commit)?;
    let mut payload = unwrap(&wk, &body[76..], false)?;
    if mode == 2 {
        let customer = customer.ok_or(Refusal::WrongCustomerKey)?;
        let (iwk, verifier) = two_keys(customer, "sr-ssec-1", salt, ctx);
        let same = payload[40..] == verifier;
        same.then_some(()).ok_or(Refusal::WrongCustomerKey)?;
        payload = unwrap(&iwk, &payload[..40], false)?;
    }
    Ok(take(&payload, 0))
}

// ---- bucket key record, F-60 to F-73 ----

pub struct Root {
    pub mk_id: [u8; 16],
    pub version: u32,
    pub strategy: u8,
    pub key: Key,
}

/// F-60: KEK and check. `id`: bucket_id || le32 generation.
pub fn bucket_keys(secret: &Key, id: &[u8]) -> (Key, Key) {
    let keys = kdf(secret, "sr-bkt-1", id, 64);
    (take(&keys, 0), take(&keys, 32))
}

/// F-61, F-62. `body`: the first 34 bytes.
pub fn bucket_record(secret: &Key, body: &[u8], roots: &[Root]) -> Vec<u8> {
    let mut out = cat(&[body, &bucket_keys(secret, &body[5..25]).1]);
    out.push(roots.len().to_le_bytes()[0]);
    for root in roots {
        let blob = wrap(&root.key, secret, root.strategy == 2);
        let version = root.version.to_le_bytes();
        out.extend(cat(&[&root.mk_id, &version, &[root.strategy], &blob]));
    }
    out.extend(hmac(&kdf(secret, "sr-bst-1", &body[5..25], 32), body));
    out
}

/// F-67 up to step 7, with one root: the secret.
pub fn open_bucket_record(bytes: &[u8], root: &Root) -> Result<Key> {
    well_formed(bytes.len() >= 160 && bytes.starts_with(b"SRBK"))?;
    supported(bytes[4] == 1)?;
    let (state, n) = (bytes[33], usize::from(bytes[66]));
    well_formed((1..=8).contains(&n) && bytes.len() == 99 + 61 * n)?;
    well_formed((1..=4).contains(&state) && bytes[25..33] != [0; 8])?;
    let wraps: Vec<&[u8]> = bytes[67..67 + 61 * n].chunks(61).collect();
    well_formed(wraps.windows(2).all(|two| two[0][..16] < two[1][..16]))?;
    supported(wraps.iter().all(|wrap| matches!(wrap[20], 1 | 2)))?;
    let mine = |wrap: &&&[u8]| wrap[..16] == root.mk_id && wrap[20] == root.strategy;
    let found = wraps.iter().find(mine).ok_or(Refusal::Unauthentic)?;
    let secret = unwrap(&root.key, &found[21..], root.strategy == 2)?;
    let secret: Key = secret.try_into().map_err(|_| Refusal::Unauthentic)?;
    authentic(bytes[34..66] == bucket_keys(&secret, &bytes[5..25]).1)?;
    let tag = hmac(&kdf(&secret, "sr-bst-1", &bytes[5..25], 32), &bytes[..34]);
    authentic(bytes.ends_with(&tag))?;
    Ok(secret)
}

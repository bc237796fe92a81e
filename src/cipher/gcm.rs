//! Suite 2, `AES256-GCM`, by AWS-LC (F-22).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{OpenSegment, Position, SealSegment, TAG_LEN, Unauthentic};

/// An expanded key. AWS-LC wipes it when it frees it.
pub(crate) struct Gcm(LessSafeKey);

impl Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256");
        Self(LessSafeKey::new(key))
    }
}

impl SealSegment for Gcm {
    fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        let sealed =
            self.0
                .seal_out_of_place_scatter(nonce(at), Aad::empty(), plain, out, &[], &mut tag);
        sealed.expect("as long as the plaintext, and shorter than the 64 GiB of GCM");
        tag
    }
}

impl OpenSegment for Gcm {
    fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        self.0
            .open_separate_gather(nonce(at), Aad::empty(), sealed, tag, out)
            .map_err(|_| Unauthentic)
    }
}

fn nonce(at: Position) -> Nonce {
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&at.counter_block()[..12]);
    Nonce::assume_unique_for_key(nonce)
}

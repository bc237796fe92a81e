//! Suite 1, `AES256-CBC64-GMAC`, in safe code: one segment encrypted in 64 lanes, then authenticated
//! (F-17 to F-21).

use aes::{
    Aes256Dec, Aes256Enc,
    cipher::{KeyInit, KeySizeUser, consts::U32},
};

use super::{
    BLOCK_LEN, OpenSegment, Position, SealSegment, Subkeys, TAG_LEN, Unauthentic,
    gmac::Gmac,
    lanes,
    wiped::{Flat, Wiped},
};

/// The expanded keys of a blob, for one direction.
pub(super) struct Cbc64<Aes: Flat> {
    data: Wiped<Aes>,
    iv: Wiped<Aes256Enc>,
    mac: Gmac,
}

impl<Aes: Flat + KeyInit + KeySizeUser<KeySize = U32>> Cbc64<Aes> {
    pub(super) fn new(keys: Subkeys<'_>) -> Self {
        Self {
            data: Wiped::new(Aes::new(keys.enc.into())),
            iv: Wiped::new(Aes256Enc::new(keys.iv.into())),
            mac: Gmac::new(keys.mac),
        }
    }
}

impl SealSegment for Cbc64<Aes256Enc> {
    fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        lanes::encrypt(&self.data, &lanes::ivs(&self.iv, at), plain, out);
        self.mac.tag(at, out)
    }
}

impl OpenSegment for Cbc64<Aes256Dec> {
    fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), Unauthentic> {
        self.mac.verify(at, sealed, tag)?;
        lanes::decrypt(&self.data, &lanes::ivs(&self.iv, at), sealed, out);
        Ok(())
    }
}

/// The length without PKCS#7 padding; looked at only after the tag (F-26 step 7).
pub(crate) fn unpadded_len(plain: &[u8]) -> Result<usize, Unauthentic> {
    let &[.., last] = plain else {
        return Err(Unauthentic);
    };
    let padding = usize::from(last);
    if !(1..=BLOCK_LEN).contains(&padding) || padding > plain.len() {
        return Err(Unauthentic);
    }
    let (text, padded) = plain.split_at(plain.len() - padding);
    if padded.iter().all(|&byte| byte == last) {
        Ok(text.len())
    } else {
        Err(Unauthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-26 step 7.
    #[test]
    fn only_pkcs7_padding_has_a_length_without_it() {
        for (tail, len) in [
            (&[1][..], Some(31)),
            (&[2, 2], Some(30)),
            (&[16; 16], Some(16)),
            (&[0], None),
            (&[17; 17], None),
            (&[255; 32], None),
            (&[1, 2], None),
            (
                &[
                    15, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
                ],
                None,
            ),
        ] {
            let mut plain = [0xAA; 32];
            plain[32 - tail.len()..].copy_from_slice(tail);
            assert_eq!(unpadded_len(&plain).ok(), len, "{tail:?}");
        }
        assert!(unpadded_len(&[]).is_err());
        assert!(unpadded_len(&[5, 5]).is_err());
    }
}

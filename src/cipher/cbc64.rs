//! Suite 1, `AES256-CBC64-GMAC`: one segment encrypted in 64 lanes, then authenticated (F-17 to
//! F-21).

use aes::{
    Aes256Dec, Aes256Enc,
    cipher::{KeyInit, KeySizeUser, consts::U32},
};

use super::{
    BLOCK_LEN, Backend, Gmac, Position, TAG_LEN, Unauthentic, lanes,
    wiped::{Flat, Wiped},
};

/// The expanded keys of a blob, to seal with. The variant is the backend that expanded them, so a
/// segment is sealed without asking the CPU again.
pub(crate) enum Cbc64Sealer {
    Portable(Box<Keys<Aes256Enc>>),
}

impl Cbc64Sealer {
    pub(crate) fn new(backend: Backend, enc: &[u8; 32], iv: &[u8; 32], mac: &[u8; 32]) -> Self {
        match backend {
            Backend::Portable => Self::Portable(Keys::new(enc, iv, mac)),
        }
    }

    /// Writes the ciphertext of `plain` to `out` and returns its tag. `out` has the length of
    /// `plain` for a segment before the last and [`Cbc64Sealer::padded_len`] for the last.
    pub(crate) fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        match self {
            Self::Portable(keys) => keys.seal(at, plain, out),
        }
    }

    /// Ciphertext bytes of a last segment of `len` plaintext bytes (F-18).
    pub(crate) fn padded_len(len: usize) -> usize {
        lanes::padded_len(len)
    }
}

/// The expanded keys of a blob, to open with.
pub(crate) enum Cbc64Opener {
    Portable(Box<Keys<Aes256Dec>>),
}

impl Cbc64Opener {
    pub(crate) fn new(backend: Backend, enc: &[u8; 32], iv: &[u8; 32], mac: &[u8; 32]) -> Self {
        match backend {
            Backend::Portable => Self::Portable(Keys::new(enc, iv, mac)),
        }
    }

    /// Verifies the tag, then decrypts `sealed` (without the tag; a whole number of blocks, at least
    /// one) into `out` of the same length, then takes the padding off a last segment. Returns the
    /// plaintext length. On failure the caller wipes `out`.
    pub(crate) fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        match self {
            Self::Portable(keys) => keys.open(at, sealed, tag, out),
        }
    }
}

pub(crate) struct Keys<Aes: Flat> {
    data: Wiped<Aes>,
    iv: Wiped<Aes256Enc>,
    mac: Gmac,
}

impl<Aes: Flat + KeyInit + KeySizeUser<KeySize = U32>> Keys<Aes> {
    fn new(enc: &[u8; 32], iv: &[u8; 32], mac: &[u8; 32]) -> Box<Self> {
        Box::new(Self {
            data: Wiped::new(Aes::new(enc.into())),
            iv: Wiped::new(Aes256Enc::new(iv.into())),
            mac: Gmac::new(mac),
        })
    }
}

impl Keys<Aes256Enc> {
    fn seal(&self, at: Position, plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        lanes::encrypt(&self.data, &lanes::ivs(&self.iv, at), plain, out);
        self.mac.tag(at, out)
    }
}

impl Keys<Aes256Dec> {
    fn open(
        &self,
        at: Position,
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<usize, Unauthentic> {
        self.mac.verify(at, sealed, tag)?;
        lanes::decrypt(&self.data, &lanes::ivs(&self.iv, at), sealed, out);
        if at.last {
            unpadded_len(out)
        } else {
            Ok(out.len())
        }
    }
}

/// The length without PKCS#7 padding; looked at only after the tag (F-26 step 7).
fn unpadded_len(plain: &[u8]) -> Result<usize, Unauthentic> {
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    const AT: Position = Position {
        index: 4,
        last: true,
    };

    /// F-26 step 7: a padding no writer makes, under a valid tag, opens to nothing.
    #[test]
    fn a_padding_that_is_not_pkcs7_is_not_authentic() {
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
            let opened = open_padded(&plain);
            assert_eq!(opened.ok(), len, "{tail:?}");
        }
    }

    /// Seals what is padded already, then opens it.
    fn open_padded(padded: &[u8; 32]) -> Result<usize, Unauthentic> {
        let keys = Keys::<Aes256Enc>::new(&[1; 32], &[2; 32], &[3; 32]);
        let mut sealed = [0; 32];
        let tag = keys.seal(AT, padded, &mut sealed);
        let Cbc64Opener::Portable(opener) =
            Cbc64Opener::new(Backend::Portable, &[1; 32], &[2; 32], &[3; 32]);
        opener.open(AT, &sealed, &tag, &mut [0; 32])
    }
}

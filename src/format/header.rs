//! The header of a blob, its commitment to the data key, and the subkeys (F-10 to F-14).

use sha2::block_api::compress256;
use subtle::ConstantTimeEq;

use super::{FormatError, HEADER_LEN, MAX_PARTS, Salt, Suite};
use crate::{
    cipher::{Backend, Derived, sha256, wipe},
    secret::Secret,
};

/// What a blob says about itself. Structure only: authentic once a key opened it.
#[derive(PartialEq, Eq, Debug)]
pub struct Header {
    /// The suite.
    pub suite: Suite,
    /// 0: not multipart; else the part's number, 1 to 10,000.
    pub part: u32,
    /// The salt of the blob's subkeys.
    pub salt: Salt,
}

/// Steps 1 to 3 of the reading order (F-26): the first 80 bytes of a blob; more are not looked at.
///
/// # Errors
/// [`FormatError::Malformed`] or [`FormatError::Unsupported`], in the order of F-26.
pub fn parse_header(first: &[u8]) -> Result<Header, FormatError> {
    let Some(header) = first.first_chunk::<HEADER_LEN>() else {
        return Err(FormatError::Malformed("shorter than a header"));
    };
    let (magic, rest) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(FormatError::Malformed("magic"));
    }
    let &[format, suite, segment, lanes, p0, p1, p2, p3, ref rest @ ..] = rest else {
        return Err(FormatError::Malformed("shorter than a header"));
    };
    if format != FORMAT {
        return Err(FormatError::Unsupported("format other than 1"));
    }
    let suite = Suite::from_byte(suite)?.built_in()?;
    if segment != SEGMENT_BYTE {
        return Err(FormatError::Malformed("segment size"));
    }
    if lanes != suite.lanes_byte() {
        return Err(FormatError::Malformed("lanes"));
    }
    let part = u32::from_le_bytes([p0, p1, p2, p3]);
    if part > MAX_PARTS {
        return Err(FormatError::Malformed("part number"));
    }
    let Some(&salt) = rest.first_chunk() else {
        return Err(FormatError::Malformed("shorter than a header"));
    };
    Ok(Header {
        suite,
        part,
        salt: Salt(salt),
    })
}

impl Header {
    /// The 80 bytes, committed to `dk`.
    pub(super) fn encode(&self, dk: &Secret<32>) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&self.fx());
        header[16..48].copy_from_slice(&self.salt.0);
        header[48..].copy_from_slice(&self.commit(dk));
        header
    }

    /// Step 5 of F-26, in constant time (F-03); `header` is what `self` was parsed from.
    pub(super) fn verify(
        &self,
        dk: &Secret<32>,
        header: &[u8; HEADER_LEN],
    ) -> Result<(), FormatError> {
        if self.commit(dk).ct_eq(&header[48..]).into() {
            Ok(())
        } else {
            Err(FormatError::Unauthentic)
        }
    }

    /// `K_enc || K_iv || K_mac` (F-13).
    pub(super) fn subkeys(&self, backend: Backend, dk: &Secret<32>) -> Derived {
        let mut fixed = [0; 47];
        fixed[..4].copy_from_slice(b"SRB1");
        fixed[5..37].copy_from_slice(&self.salt.0);
        fixed[37..45].copy_from_slice(&self.fx());
        fixed[45..].copy_from_slice(&768_u16.to_be_bytes());
        backend.kbkdf(dk.expose(), &fixed)
    }

    /// F-11.
    fn fx(&self) -> [u8; 8] {
        let [p0, p1, p2, p3] = self.part.to_le_bytes();
        let (suite, lanes) = (self.suite as u8, self.suite.lanes_byte());
        [FORMAT, suite, SEGMENT_BYTE, lanes, p0, p1, p2, p3]
    }

    /// F-14. The message is two blocks of SHA-256, padding included (FIPS 180-4 section 5.1.1), and
    /// hashed as such: the buffering of a hasher takes as long as a block.
    fn commit(&self, dk: &Secret<32>) -> [u8; 32] {
        let mut message = [0; 128];
        message[..32].copy_from_slice(dk.expose());
        message[32..64].copy_from_slice(&self.salt.0);
        message[64..72].copy_from_slice(&self.fx());
        message[72..76].copy_from_slice(b"SRC1");
        message[76] = 0x80;
        message[120..].copy_from_slice(&(76 * 8_u64).to_be_bytes());
        let mut state = sha256::START;
        compress256(&mut state, message.as_chunks().0);
        wipe(&mut message);
        sha256::digest(&state)
    }
}

const MAGIC: &[u8; 8] = b"STRGROOM";
const FORMAT: u8 = 1;
/// `log2` of 65,536.
const SEGMENT_BYTE: u8 = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_commitment_is_the_sha_256_of_its_parts() {
        for mark in 0..=255 {
            let dk = Secret::take(&mut [mark; 32]).unwrap();
            let header = Header {
                suite: Suite::Cbc64Gmac,
                part: u32::from(mark),
                salt: Salt([!mark; 32]),
            };
            let expected = Sha256::new()
                .chain_update([mark; 32])
                .chain_update([!mark; 32])
                .chain_update(header.fx())
                .chain_update(b"SRC1")
                .finalize();
            assert_eq!(header.commit(&dk), expected[..]);
        }
    }
}

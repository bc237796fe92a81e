//! The header of a blob, its commitment to the data key, and the subkeys (F-10 to F-14).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{FormatError, HEADER_LEN, MAX_PARTS, Salt, Suite};
use crate::{cipher, secret::Secret};

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
    pub(super) fn subkeys(&self, dk: &Secret<32>) -> Zeroizing<[[u8; 16]; 6]> {
        let mut fixed = [0; 47];
        fixed[..4].copy_from_slice(b"SRB1");
        fixed[5..37].copy_from_slice(&self.salt.0);
        fixed[37..45].copy_from_slice(&self.fx());
        fixed[45..].copy_from_slice(&768_u16.to_be_bytes());
        cipher::kbkdf(dk.expose(), &fixed)
    }

    /// F-11.
    fn fx(&self) -> [u8; 8] {
        let [p0, p1, p2, p3] = self.part.to_le_bytes();
        let (suite, lanes) = (self.suite as u8, self.suite.lanes_byte());
        [FORMAT, suite, SEGMENT_BYTE, lanes, p0, p1, p2, p3]
    }

    /// F-14.
    fn commit(&self, dk: &Secret<32>) -> [u8; 32] {
        Sha256::new()
            .chain_update(dk.expose())
            .chain_update(self.salt.0)
            .chain_update(self.fx())
            .chain_update(b"SRC1")
            .finalize()
            .into()
    }
}

const MAGIC: &[u8; 8] = b"STRGROOM";
const FORMAT: u8 = 1;
/// `log2` of 65,536.
const SEGMENT_BYTE: u8 = 16;

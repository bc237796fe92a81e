//! How the lists inside a row are written. Integers are little-endian; the row's checksum covers them.

use crate::id::BlobId;
use crate::store::{BlobRef, Locator, StoreError};

pub(super) fn encode_blobs(blobs: &[BlobRef]) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    for blob in blobs {
        out.extend(blob.id.0);
        out.extend(blob.part.to_le_bytes());
        out.extend(blob.sealed_len.to_le_bytes());
        match &blob.locator {
            Locator::Inline => out.push(0),
            Locator::File => out.push(1),
            Locator::Remote(name) => {
                out.push(2);
                out.extend(length(name.len())?.to_le_bytes());
                out.extend(name.as_bytes());
            }
            Locator::Volume { volume, offset } => {
                out.push(3);
                out.extend(volume.to_le_bytes());
                out.extend(offset.to_le_bytes());
            }
            Locator::Archive => out.push(4),
        }
    }
    Ok(out)
}

pub(super) fn decode_blobs(bytes: &[u8]) -> Option<Vec<BlobRef>> {
    let mut rest = Rest(bytes);
    let mut blobs = Vec::new();
    while !rest.0.is_empty() {
        let id = BlobId(rest.array()?);
        let part = u32::from_le_bytes(rest.array()?);
        let sealed_len = u64::from_le_bytes(rest.array()?);
        let locator = match rest.array()? {
            [0] => Locator::Inline,
            [1] => Locator::File,
            [2] => Locator::Remote(String::from_utf8(rest.counted()?.to_vec()).ok()?),
            [3] => Locator::Volume {
                volume: u64::from_le_bytes(rest.array()?),
                offset: u64::from_le_bytes(rest.array()?),
            },
            [4] => Locator::Archive,
            _ => return None,
        };
        blobs.push(BlobRef {
            part,
            id,
            locator,
            sealed_len,
        });
    }
    Some(blobs)
}

pub(super) fn encode_inline(inline: &[(BlobId, Vec<u8>)]) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    for (id, bytes) in inline {
        out.extend(id.0);
        out.extend(length(bytes.len())?.to_le_bytes());
        out.extend(bytes);
    }
    Ok(out)
}

pub(super) fn decode_inline(bytes: &[u8]) -> Option<Vec<(BlobId, Vec<u8>)>> {
    let mut rest = Rest(bytes);
    let mut inline = Vec::new();
    while !rest.0.is_empty() {
        inline.push((BlobId(rest.array()?), rest.counted()?.to_vec()));
    }
    Some(inline)
}

fn length(length: usize) -> Result<u32, StoreError> {
    u32::try_from(length)
        .map_err(|_| StoreError::Unsupported("4 GiB or more in one field of a row".to_owned()))
}

struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn counted(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_read_back_as_written() {
        let locators = [
            Locator::Inline,
            Locator::File,
            Locator::Archive,
            Locator::Remote("bucket/näme".to_owned()),
            Locator::Volume {
                volume: 7,
                offset: u64::MAX,
            },
        ];
        let blobs: Vec<_> = (0..)
            .zip(locators)
            .map(|(part, locator)| BlobRef {
                part,
                id: BlobId([part.to_le_bytes()[0]; 16]),
                locator,
                sealed_len: 1 << (part * 15),
            })
            .collect();
        let bytes = encode_blobs(&blobs).unwrap();
        assert_eq!(decode_blobs(&bytes), Some(blobs));
        for end in [1, 28, bytes.len() - 1] {
            assert_eq!(decode_blobs(&bytes[..end]), None, "{end}");
        }
        let inline = vec![(BlobId([1; 16]), vec![]), (BlobId([2; 16]), vec![3; 300])];
        assert_eq!(
            decode_inline(&encode_inline(&inline).unwrap()),
            Some(inline)
        );
    }
}

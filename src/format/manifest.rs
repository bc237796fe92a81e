//! The manifest: which blobs make up an object, in order (F-80 to F-85).

use std::ops::Range;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{FormatError, MAX_PARTS, NamedList, Suite, sealed_len};

/// One blob of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartEntry {
    /// 0 for the one blob of a plain PUT, else the part's number, 1 to 10,000.
    pub part: u32,
    /// Plaintext bytes of the object before it.
    pub start: u64,
    /// Its plaintext bytes.
    pub length: u64,
    /// The salt of its header.
    pub salt: [u8; 32],
}

/// The blobs of an object and the digest of its head. Its own digest is in the data key record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The suite of all blobs.
    pub suite: Suite,
    /// Plaintext bytes of the object.
    pub total: u64,
    /// SHA-256 of the object head.
    pub head_digest: [u8; 32],
    /// The blobs, in order.
    pub entries: Vec<PartEntry>,
}

/// A manifest as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestBytes {
    /// The manifest itself: 56 bytes and 32 for each page.
    pub body: Vec<u8>,
    /// Its pages: 52 bytes for each entry, 128 entries but in the last.
    pub pages: Vec<Vec<u8>>,
}

impl ManifestBytes {
    /// `manifest_digest` of the data key record (F-84).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }
}

impl Manifest {
    /// The manifest of blobs given as (part, plaintext length, salt), in order.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]: the parts break F-82.
    pub fn new(
        suite: Suite,
        head: &[u8],
        blobs: impl IntoIterator<Item = (u32, u64, [u8; 32])>,
    ) -> Result<Self, FormatError> {
        let mut total = 0_u64;
        let mut entries = Vec::new();
        for (part, length, salt) in blobs {
            let start = total;
            total = total.checked_add(length).ok_or(TOO_LONG)?;
            entries.push(PartEntry {
                part,
                start,
                length,
                salt,
            });
        }
        let manifest = Self {
            suite,
            total,
            head_digest: Sha256::digest(head).into(),
            entries,
        };
        manifest.check().map(|()| manifest)
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// [`FormatError::Malformed`]: the entries break F-82.
    pub fn encode(&self) -> Result<ManifestBytes, FormatError> {
        self.check()?;
        let pages: Vec<Vec<u8>> = self.entries.chunks(PAGE_ENTRIES).map(encode_page).collect();
        let count = |n: usize| u32::try_from(n).map_err(|_| FormatError::Malformed("parts"));
        let mut body = Vec::with_capacity(FIXED_LEN + 32 * pages.len());
        body.extend(MAGIC);
        body.extend([VERSION, self.suite as u8, 0, 0]);
        body.extend(self.total.to_le_bytes());
        body.extend(self.head_digest);
        body.extend(count(self.entries.len())?.to_le_bytes());
        body.extend(count(pages.len())?.to_le_bytes());
        for page in &pages {
            body.extend(Sha256::digest(page));
        }
        Ok(ManifestBytes { body, pages })
    }

    /// `manifest_digest` of the data key record (F-84).
    ///
    /// # Errors
    /// As [`Manifest::encode`].
    pub fn digest(&self) -> Result<[u8; 32], FormatError> {
        self.encode().map(|bytes| bytes.digest())
    }

    /// Reads a manifest in the order of F-85, against the `digest` of an authentic record.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::Unsupported`], or [`FormatError::Unauthentic`] for
    /// every digest that differs.
    pub fn decode(
        body: &[u8],
        pages: &[impl AsRef<[u8]>],
        digest: &[u8; 32],
    ) -> Result<Self, FormatError> {
        let Some((fixed, page_digests)) = body.split_first_chunk::<FIXED_LEN>() else {
            return Err(FormatError::Malformed("manifest ends early"));
        };
        if !fixed.starts_with(MAGIC) {
            return Err(FormatError::Malformed("magic of a manifest"));
        }
        if fixed[4] != VERSION {
            return Err(FormatError::Unsupported("version of a manifest"));
        }
        let suite = Suite::from_byte(fixed[5])?;
        if fixed[6..8] != [0, 0] {
            return Err(FormatError::Malformed("reserved bytes of a manifest"));
        }
        let parts = le32(fixed, 48);
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(FormatError::Malformed("number of parts"));
        }
        let parts = parts as usize;
        let (page_digests, rest) = page_digests.as_chunks::<32>();
        if le32(fixed, 52) as usize != parts.div_ceil(PAGE_ENTRIES)
            || page_digests.len() != parts.div_ceil(PAGE_ENTRIES)
            || !rest.is_empty()
        {
            return Err(FormatError::Malformed("number of pages"));
        }
        let page_len = |i: usize| (parts - i * PAGE_ENTRIES).min(PAGE_ENTRIES) * ENTRY_LEN;
        if pages.len() != page_digests.len()
            || (0..pages.len()).any(|i| pages[i].as_ref().len() != page_len(i))
        {
            return Err(FormatError::Malformed("pages of a manifest"));
        }
        check_digest(body, digest)?;
        let mut entries = Vec::with_capacity(parts);
        for (page, digest) in pages.iter().zip(page_digests) {
            check_digest(page.as_ref(), digest)?;
            entries.extend(page.as_ref().as_chunks().0.iter().map(decode_entry));
        }
        let mut head_digest = [0; 32];
        head_digest.copy_from_slice(&fixed[16..48]);
        let manifest = Self {
            suite,
            total: le64(fixed, 8),
            head_digest,
            entries,
        };
        manifest.check().map(|()| manifest)
    }

    /// Checks the digest of the object head, then reads it.
    ///
    /// # Errors
    /// [`FormatError::Unauthentic`], or as [`NamedList::decode_head`].
    pub fn open_head(&self, head: &[u8]) -> Result<NamedList, FormatError> {
        check_digest(head, &self.head_digest)?;
        NamedList::decode_head(head)
    }

    /// The blobs that hold a range of the object's plaintext, each with the range of its own
    /// plaintext. What lies beyond the object is left out. Ranges are served from a manifest that
    /// [`Manifest::decode`] has verified against a verified record, never before (F-89).
    pub fn parts_for(&self, range: Range<u64>) -> impl Iterator<Item = (&PartEntry, Range<u64>)> {
        let first = self
            .entries
            .partition_point(|entry| entry.start + entry.length <= range.start);
        self.entries[first..]
            .iter()
            .take_while(move |entry| entry.start < range.end)
            .map(move |entry| {
                let from = range.start.max(entry.start) - entry.start;
                let to = range.end.min(entry.start + entry.length) - entry.start;
                (entry, from..to)
            })
            .filter(|(_, range)| !range.is_empty())
    }

    /// F-82, and that each blob can exist (F-25).
    fn check(&self) -> Result<(), FormatError> {
        let count = self.entries.len();
        if count == 0 || count > MAX_PARTS as usize {
            return Err(FormatError::Malformed("number of parts"));
        }
        let mut sum = 0_u64;
        let mut previous = None;
        for entry in &self.entries {
            let alone = entry.part == 0 && count == 1;
            if !alone && !(1..=MAX_PARTS).contains(&entry.part) {
                return Err(FormatError::Malformed("part number"));
            }
            if previous.is_some_and(|previous| previous >= entry.part) {
                return Err(FormatError::Malformed("parts twice or out of order"));
            }
            previous = Some(entry.part);
            if entry.start != sum {
                return Err(FormatError::Malformed("start of a part"));
            }
            sealed_len(self.suite, entry.length).ok_or(TOO_LONG)?;
            sum = sum.checked_add(entry.length).ok_or(TOO_LONG)?;
        }
        if sum == self.total {
            Ok(())
        } else {
            Err(FormatError::Malformed("total length"))
        }
    }
}

/// F-81.
fn encode_page(entries: &[PartEntry]) -> Vec<u8> {
    let mut page = Vec::with_capacity(entries.len() * ENTRY_LEN);
    for entry in entries {
        page.extend(entry.part.to_le_bytes());
        page.extend(entry.start.to_le_bytes());
        page.extend(entry.length.to_le_bytes());
        page.extend(entry.salt);
    }
    page
}

fn decode_entry(entry: &[u8; ENTRY_LEN]) -> PartEntry {
    let mut salt = [0; 32];
    salt.copy_from_slice(&entry[20..]);
    PartEntry {
        part: le32(entry, 0),
        start: le64(entry, 4),
        length: le64(entry, 12),
        salt,
    }
}

fn check_digest(bytes: &[u8], digest: &[u8; 32]) -> Result<(), FormatError> {
    if Sha256::digest(bytes).as_slice().ct_eq(digest).into() {
        Ok(())
    } else {
        Err(FormatError::Unauthentic)
    }
}

fn le32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn le64<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

const MAGIC: &[u8; 4] = b"SRMF";
const VERSION: u8 = 1;
/// Bytes before the page digests.
const FIXED_LEN: usize = 56;
const ENTRY_LEN: usize = 52;
const PAGE_ENTRIES: usize = 128;
const TOO_LONG: FormatError = FormatError::Malformed("length of a part");

#[cfg(test)]
mod tests;

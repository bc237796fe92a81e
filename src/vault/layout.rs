//! How an object's row, manifest and head belong together (F-80 and following): made here, and checked here.

use super::put::CREATED;
use crate::format::{FormatError, Manifest, NamedList, sealed_len};
use crate::keys::{DataKeyInfo, RecordState};
use crate::object::BlobSummary;
use crate::store::ObjectRow;

/// The manifest of a new object as it goes into the catalog, its pages behind it; and its digest, as it goes into the
/// key record.
pub(super) struct Layout {
    pub(super) manifest: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl Layout {
    pub(super) fn of_one_blob(head: &[u8], blob: &BlobSummary) -> Result<Self, FormatError> {
        let entry = (blob.part, blob.plain_len, blob.salt);
        let bytes = Manifest::new(blob.suite, head, [entry])?.encode()?;
        let digest = bytes.digest();
        let mut manifest = bytes.body;
        bytes.pages.iter().for_each(|page| manifest.extend(page));
        Ok(Self { manifest, digest })
    }
}

/// What a row says of its object, once it is known to be what the key record vouches for.
pub(super) struct Verified {
    pub(super) manifest: Manifest,
    pub(super) head: NamedList,
    pub(super) created_ms: u64,
}

impl Verified {
    /// `record` is authentic; the row is not known to be.
    pub(super) fn new(row: &ObjectRow, record: &DataKeyInfo) -> Result<Self, String> {
        if record.state != RecordState::Complete {
            return Err("its upload was never completed".to_owned());
        }
        let (body, pages) = split(&row.manifest).ok_or("its manifest ends early")?;
        let manifest = Manifest::decode(body, &pages, &record.manifest_digest)
            .map_err(|error| format!("its manifest is {error}"))?;
        if manifest.suite as u8 != row.suite || manifest.total != row.length {
            return Err("its row is not the one its key record was made with".to_owned());
        }
        let mut head = manifest
            .open_head(&row.head)
            .map_err(|error| format!("its head is {error}"))?;
        let blobs = manifest.entries.len() == row.blobs.len()
            && manifest
                .entries
                .iter()
                .zip(&row.blobs)
                .all(|(entry, blob)| {
                    entry.part == blob.part
                        && sealed_len(manifest.suite, entry.length) == Some(blob.sealed_len)
                });
        if !blobs {
            return Err("its blobs are not the ones its manifest names".to_owned());
        }
        let at = head.0.iter().position(|(name, _)| name == CREATED);
        let created_ms = at
            .map(|at| head.0.remove(at).1)
            .and_then(|value| value.try_into().ok())
            .map(u64::from_le_bytes)
            .ok_or("its head does not say when it was written")?;
        Ok(Self {
            manifest,
            head,
            created_ms,
        })
    }

    /// The part that holds the byte at `offset`, which is inside the object; where it starts and ends.
    pub(super) fn part_at(&self, offset: u64) -> (usize, u64, u64) {
        let entries = &self.manifest.entries;
        let index = entries.partition_point(|entry| entry.start + entry.length <= offset);
        let index = index.min(entries.len() - 1);
        let entry = &entries[index];
        (index, entry.start, entry.start + entry.length)
    }
}

/// Body and pages of a manifest that are stored as one (F-80, F-81). Their lengths are checked by who decodes them.
fn split(stored: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let count: [u8; 4] = stored.get(52..56)?.try_into().ok()?;
    let digests = usize::try_from(u32::from_le_bytes(count))
        .ok()?
        .checked_mul(32)?;
    let (body, pages) = stored.split_at_checked(digests.checked_add(56)?)?;
    Some((body, pages.chunks(PAGE_LEN).collect()))
}

/// 128 entries of 52 bytes.
const PAGE_LEN: usize = 128 * 52;

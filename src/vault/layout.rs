//! How an object's row, manifest and head belong together (F-80 and following): made here, and checked here.

use super::put::CREATED;
use std::sync::Arc;

use super::types::PartSpan;
use crate::format::{FormatError, Manifest, NamedList, Suite, sealed_len};
use crate::keys::{DataKeyInfo, Mode, RecordState};
use crate::object::BlobSummary;
use crate::store::{BlobRef, ObjectRow};

/// The manifest of a new object as it goes into the catalog, its pages behind it; and its digest, as it goes into the
/// key record.
pub(super) struct Layout {
    pub(super) manifest: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl Layout {
    pub(super) fn of_one_blob(head: &[u8], blob: &BlobSummary) -> Result<Self, FormatError> {
        Self::of_parts(blob.suite, head, [(blob.part, blob.plain_len, blob.salt)])
    }

    /// Of blobs given as (part, plaintext length, salt), in order.
    pub(super) fn of_parts(
        suite: Suite,
        head: &[u8],
        parts: impl IntoIterator<Item = (u32, u64, [u8; 32])>,
    ) -> Result<Self, FormatError> {
        let bytes = Manifest::new(suite, head, parts)?.encode()?;
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
        // F-43: suite 0 and the plain mode go together. The record vouches for both.
        if (row.mode == Mode::Plain.code()) != (manifest.suite == Suite::PlainGmac) {
            return Err("its suite is not one of its mode".to_owned());
        }
        let mut head = manifest
            .open_head(&row.head)
            .map_err(|error| format!("its head is {error}"))?;
        let named = |blobs: &[BlobRef]| {
            manifest.entries.len() == blobs.len()
                && manifest.entries.iter().zip(blobs).all(|(entry, blob)| {
                    entry.part == blob.part
                        && sealed_len(manifest.suite, entry.length) == Some(blob.sealed_len)
                })
        };
        if !named(&row.blobs) || !(row.restored.is_empty() || named(&row.restored)) {
            return Err("its blobs are not the ones its manifest names".to_owned());
        }
        let at = head.0.iter().position(|(name, _)| name == CREATED);
        let created_ms = at
            .map(|at| head.0.remove(at).1)
            .and_then(|value| value.try_into().ok())
            .map(u64::from_le_bytes)
            .ok_or("its head does not say when it was written")?;
        head.0.retain(|(name, _)| !name.starts_with(':')); // the vault's own
        Ok(Self {
            manifest,
            head,
            created_ms,
        })
    }

    /// Whether it was written in parts.
    pub(super) fn is_multipart(&self) -> bool {
        self.manifest.entries.iter().any(|entry| entry.part != 0)
    }

    /// The parts it was written in, if it was.
    pub(super) fn parts(&self) -> Arc<[PartSpan]> {
        let entries = self.manifest.entries.iter();
        let parts = entries.filter(|entry| entry.part != 0);
        parts
            .map(|entry| PartSpan {
                part: entry.part,
                start: entry.start,
                length: entry.length,
            })
            .collect()
    }

    /// The part that holds the byte at `offset`, which is inside the object; where it starts and ends.
    pub(super) fn part_at(&self, offset: u64) -> (usize, u64, u64) {
        let entries = &self.manifest.entries;
        // Parts may be empty; the byte is in none of those.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::id::{BlobId, InstanceId, VersionId};
    use crate::store::Locator;

    /// A row of one blob of `length` bytes and the record that vouches for it.
    fn object(length: u64) -> (ObjectRow, DataKeyInfo) {
        let head = NamedList(vec![(CREATED.to_owned(), 5_u64.to_le_bytes().to_vec())]);
        let head = head.encode_head().unwrap();
        let sealed_len = sealed_len(Suite::Cbc64Gmac, length).unwrap();
        let blob = BlobSummary {
            suite: Suite::Cbc64Gmac,
            part: 0,
            salt: [1; 32],
            plain_len: length,
            sealed_len,
        };
        let layout = Layout::of_one_blob(&head, &blob).unwrap();
        let row = ObjectRow {
            key: b"k".to_vec(),
            instance: InstanceId([2; 16]),
            version: VersionId([2; 16]),
            null: true,
            mode: 1,
            suite: 1,
            length,
            modified_ms: 0,
            generation: 1,
            kms_key_id: Vec::new(),
            encryption_context: Vec::new(),
            manifest: layout.manifest,
            head,
            attrs: Vec::new(),
            facts: Vec::new(),
            blobs: vec![BlobRef {
                part: 0,
                id: BlobId([3; 16]),
                locator: Locator::Inline,
                sealed_len,
            }],
            restored: Vec::new(),
        };
        let record = DataKeyInfo {
            state: RecordState::Complete,
            generation: 1,
            manifest_digest: layout.digest,
        };
        (row, record)
    }

    /// F-52.
    #[test]
    fn what_was_never_completed_is_not_served() {
        let (row, record) = object(5);
        assert!(Verified::new(&row, &record).is_ok());
        for state in [RecordState::Upload, RecordState::NoManifest] {
            let record = DataKeyInfo { state, ..record };
            assert!(Verified::new(&row, &record).is_err(), "{state:?}");
        }
    }

    /// F-89: parts and ranges come from a `Verified` only, and there is none for a row that differs in anything.
    #[test]
    fn a_row_that_its_record_does_not_vouch_for_is_not_served() {
        let (row, record) = object(5);
        let refused = |change: &dyn Fn(&mut ObjectRow)| {
            let mut row = row.clone();
            change(&mut row);
            Verified::new(&row, &record).is_err()
        };
        for at in 0..row.manifest.len() {
            assert!(refused(&|row| row.manifest[at] ^= 1), "manifest, byte {at}");
            assert!(refused(&|row| row.manifest.truncate(at)), "manifest, {at}");
        }
        for at in 0..row.head.len() {
            assert!(refused(&|row| row.head[at] ^= 1), "head, byte {at}");
        }
        assert!(refused(&|row| row.length += 1));
        assert!(refused(&|row| row.suite = 0));
        assert!(refused(&|row| row.blobs[0].part = 1));
        assert!(refused(&|row| row.blobs[0].sealed_len += 16));
        assert!(refused(&|row| row.blobs.clear()));
        let copy = |row: &mut ObjectRow| row.restored = row.blobs.clone();
        assert!(!refused(&copy));
        assert!(refused(&|row| {
            copy(row);
            row.restored[0].sealed_len += 16;
        }));
        assert!(refused(&|row| row.mode = Mode::Plain.code()));
        let (other, _) = object(6);
        assert!(Verified::new(&other, &record).is_err(), "another object's");
    }
}

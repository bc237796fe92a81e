//! Reading back everything there is, and saying what does not authenticate.

use std::ops::Bound;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::find::{Bytes, Found, Miss};
use super::layout::Verified;
use super::read::ObjectReader;
use super::types::{Finding, OpenRequest, VerifyReport};
use super::{Vault, VaultError};
use crate::format::{HEADER_LEN, parse_header};
use crate::keys::Mode;
use crate::store::{VersionEntry, VersionItem, VersionsQuery, Which};

impl Vault {
    /// Reads and authenticates every version of every object of one bucket, or of all, and reports what is wrong to
    /// `each`. Of an object in the archive both the archived and the restored copy are read. Versions that are replaced
    /// or deleted meanwhile are no findings.
    ///
    /// Of an object stored with a customer key, everything but the data is verified: record, manifest, head, layout and
    /// lengths. Its data opens only with that key.
    ///
    /// # Errors
    /// What keeps it from going on: [`VaultError::NoSuchBucket`], [`VaultError::Unavailable`] and the like. Findings are
    /// not errors.
    pub fn verify(
        self: &Arc<Self>,
        bucket: Option<&str>,
        each: &mut dyn FnMut(&Finding),
    ) -> Result<VerifyReport, VaultError> {
        let mut report = VerifyReport::default();
        if let Some(name) = bucket {
            self.verify_bucket(name, &mut report, each)?;
            return Ok(report);
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.buckets(after.as_deref(), PAGE)?;
            let Some(last) = page.last() else {
                return Ok(report);
            };
            after = Some(last.name.clone());
            for bucket in &page {
                match self.verify_bucket(&bucket.name, &mut report, each) {
                    Ok(()) | Err(VaultError::NoSuchBucket(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn verify_bucket(
        self: &Arc<Self>,
        name: &str,
        report: &mut VerifyReport,
        each: &mut dyn FnMut(&Finding),
    ) -> Result<(), VaultError> {
        let bucket = self.bucket(name)?;
        let mut last: Option<(Vec<u8>, Which)> = None;
        loop {
            let page = self.stores.catalog.list_versions(&VersionsQuery {
                bucket: bucket.id,
                prefix: &[],
                from: last
                    .as_ref()
                    .map_or(Bound::Unbounded, |(key, _)| Bound::Included(key.as_slice())),
                after: last.as_ref().map(|(_, which)| *which),
                delimiter: None,
                limit: PAGE,
            })?;
            for item in page.items {
                let VersionItem::Version(version) = item else {
                    continue;
                };
                last = Some((version.key().to_vec(), version.which()));
                let which = if version.is_current() {
                    Which::Current // also if it is replaced before it is read
                } else {
                    version.which()
                };
                let VersionEntry::Object(object) = version.entry else {
                    continue;
                };
                match self.verify_object(&request(name, &object.key, which), report) {
                    Ok(()) => {}
                    Err(VaultError::Damaged {
                        bucket,
                        key,
                        instance,
                        what,
                    }) => {
                        report.findings += 1;
                        each(&Finding {
                            bucket,
                            key,
                            instance,
                            what,
                        });
                    }
                    Err(
                        VaultError::NoSuchKey { .. }
                        | VaultError::NoSuchVersion { .. }
                        | VaultError::DeleteMarker { .. }
                        | VaultError::NoSuchBucket(_),
                    ) => report.changed += 1,
                    Err(error) => return Err(error),
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    fn verify_object(
        self: &Arc<Self>,
        request: &OpenRequest<'_>,
        report: &mut VerifyReport,
    ) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            let read = self.read_back(request);
            match read {
                Ok(bytes) => {
                    report.objects += 1;
                    report.bytes += bytes;
                    return Ok(());
                }
                Err(VaultError::CustomerKeyRequired) => {
                    match self.find(request, |found| self.verify_customer(found)) {
                        Err(VaultError::CustomerKeyNotApplicable) => {} // replaced by another kind meanwhile
                        result => {
                            report.customer_objects += u64::from(result.is_ok());
                            return result;
                        }
                    }
                }
                Err(VaultError::Changed) => {}
                Err(error) => return Err(error),
            }
            report.changed += 1;
        }
        Ok(()) // replaced faster than it is read: each of those writes verified what it made
    }

    /// Reads each copy of the bytes to its end; returns how many that were.
    fn read_back(self: &Arc<Self>, request: &OpenRequest<'_>) -> Result<u64, VaultError> {
        let first = self.open_bytes(request, |_| Ok(Bytes::Own))?;
        let read = self.read_to_the_end(first)?;
        let now = self.look_up(request.bucket, request.key, request.version)?;
        if now.view.row.restored.is_empty() {
            return Ok(read);
        }
        let restored =
            self.open_bytes(request, |found| match found.view.row.restored.as_slice() {
                [] => Err(VaultError::Changed.into()), // it was given up, just now
                _ => Ok(Bytes::Restored),
            })?;
        Ok(read + self.read_to_the_end(restored)?)
    }

    fn read_to_the_end(&self, mut reader: ObjectReader) -> Result<u64, VaultError> {
        let mut plain = Zeroizing::new(vec![0; self.config.batch]);
        let mut offset = 0;
        loop {
            match reader.read_at(offset, &mut plain)? {
                0 => break,
                read => offset += read as u64,
            }
        }
        if offset == reader.info().length {
            Ok(offset)
        } else {
            Err(reader.damaged("it ends too early"))
        }
    }

    /// All that can be verified without the customer's key.
    fn verify_customer(&self, found: &Arc<Found>) -> Result<(), Miss> {
        let row = &found.view.row;
        if row.mode != Mode::Customer.code() {
            return Err(VaultError::CustomerKeyNotApplicable.into());
        }
        let (key, record) = self.record_of(found, VERIFIER)?;
        let info = key
            .verify_record(&record, &found.context(Mode::Customer))
            .map_err(|error| self.record_miss(found, error))?;
        let verified = Verified::new(row, &info).map_err(Miss::Damaged)?;
        let copies = [&row.blobs, &row.restored].into_iter();
        for blobs in copies.filter(|blobs| !blobs.is_empty()) {
            for (entry, blob) in verified.manifest.entries.iter().zip(blobs) {
                let source = self.source(found, blob)?;
                let header = source.read(0..(HEADER_LEN as u64).min(source.len()))?;
                let header = parse_header(&header)
                    .map_err(|error| Miss::Damaged(format!("its blob is {error}")))?;
                let same = header.suite == verified.manifest.suite
                    && header.part == entry.part
                    && header.salt.0 == entry.salt
                    && source.len() == blob.sealed_len;
                if !same {
                    return Err(Miss::Damaged(
                        "its blob is not the one its manifest names".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn request<'a>(bucket: &'a str, key: &'a [u8], version: Which) -> OpenRequest<'a> {
    OpenRequest {
        bucket,
        key,
        version,
        customer: None,
        instance: None,
        principal: VERIFIER,
    }
}

const VERIFIER: &str = "verify";
const ATTEMPTS: usize = 3;
const PAGE: usize = 256;

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
use crate::id::InstanceId;
use crate::keys::Mode;
use crate::store::{Bucket, StoreError, VersionEntry, VersionItem, VersionsQuery, Which};

impl Vault {
    /// Reads and authenticates every version of every object of one bucket, or of all, and every part of the uploads
    /// under way; and reports what is wrong to `each`. Of an object in the archive both the archived and the restored copy
    /// are read. What is replaced or deleted meanwhile is no finding. Of all buckets, it looks first whether rows of the
    /// catalog are missing as a whole.
    ///
    /// Of what is stored with a customer key, everything but the data is verified: record, manifest, head, layout and
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
        let mut account = Account {
            report: VerifyReport::default(),
            each,
        };
        if let Some(name) = bucket {
            self.verify_bucket(&self.bucket(name)?, &mut account)?;
            return Ok(account.report);
        }
        account.page(self.stores.catalog.check())?;
        let mut after: Option<String> = None;
        loop {
            let page = self.stores.catalog.buckets(after.as_deref(), PAGE);
            let page = account.page(page)?.unwrap_or_default();
            let Some(last) = page.last() else {
                return Ok(account.report);
            };
            after = Some(last.name.clone());
            for bucket in &page {
                self.verify_bucket(bucket, &mut account)?;
            }
        }
    }

    /// Uploads first: one that is completed meanwhile is met again as an object.
    fn verify_bucket(
        self: &Arc<Self>,
        bucket: &Bucket,
        account: &mut Account<'_>,
    ) -> Result<(), VaultError> {
        self.verify_uploads(bucket, account)?;
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
            });
            let Some(page) = account.page(page)? else {
                return Ok(());
            };
            for item in page.items {
                let VersionItem::Version(version) = item else {
                    continue;
                };
                let which = version.which();
                last = Some((version.key().to_vec(), which));
                let VersionEntry::Object(object) = version.entry else {
                    continue;
                };
                let request = request(bucket, &object.key, which);
                let verified = self.verify_object(&request, &mut account.report);
                account.note((&bucket.name, &object.key, object.instance), verified)?;
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
        if !first.info().parts.is_empty() {
            first.part_attrs(0, usize::MAX)?;
        }
        let read = self.read_to_the_end(first)?;
        let now = self.look_up(&request.bucket, request.key, request.version)?;
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
        self.sealed_part_attrs(found, &verified)?;
        for blobs in [&row.blobs, &row.restored] {
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

/// What was found so far, and whom to tell.
pub(super) struct Account<'a> {
    pub(super) report: VerifyReport,
    each: &'a mut dyn FnMut(&Finding),
}

impl Account<'_> {
    /// A page of the catalog; `None` if it is damaged.
    pub(super) fn page<T>(&mut self, page: Result<T, StoreError>) -> Result<Option<T>, VaultError> {
        match page {
            Ok(page) => Ok(Some(page)),
            Err(StoreError::Damaged(what)) => {
                self.tell(&Finding::Catalog { what });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What came of an object, or of an upload: its bucket, its key, and the instance it was listed with.
    pub(super) fn note(
        &mut self,
        (bucket, key, instance): (&str, &[u8], InstanceId),
        verified: Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let (instance, what) = match verified {
            Ok(()) => return Ok(()),
            Err(VaultError::Damaged { instance, what, .. }) => (instance, what),
            Err(VaultError::StoreDamaged(what) | VaultError::ReadOnly(what)) => (instance, what),
            Err(VaultError::KeyMissing { what, why }) => (instance, format!("{what}: {why}")),
            Err(
                VaultError::NoSuchKey { .. }
                | VaultError::NoSuchVersion { .. }
                | VaultError::NoSuchUpload { .. }
                | VaultError::DeleteMarker { .. }
                | VaultError::NoSuchBucket(_),
            ) => {
                self.report.changed += 1;
                return Ok(());
            }
            Err(
                VaultError::Disabled(_)
                | VaultError::Shredded(_)
                | VaultError::RootDisabled(_)
                | VaultError::RootPendingDeletion(_)
                | VaultError::UnsupportedSuite(_),
            ) => {
                self.report.unopened += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.tell(&Finding::Object {
            bucket: bucket.to_owned(),
            key: key.to_vec(),
            instance,
            what,
        });
        Ok(())
    }

    fn tell(&mut self, finding: &Finding) {
        self.report.findings += 1;
        (self.each)(finding);
    }
}

fn request<'a>(bucket: &'a Bucket, key: &'a [u8], version: Which) -> OpenRequest<'a> {
    OpenRequest {
        bucket: bucket.into(),
        key,
        version,
        customer: None,
        instance: None,
        principal: VERIFIER,
    }
}

pub(super) const VERIFIER: &str = "verify";
const ATTEMPTS: usize = 3;
const PAGE: usize = 256;

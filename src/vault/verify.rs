//! Reading back everything there is, and saying what does not authenticate.

use std::ops::Bound;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::layout::Verified;
use super::read::{Found, Miss};
use super::types::{Finding, OpenRequest, VerifyReport};
use super::{Vault, VaultError};
use crate::format::{HEADER_LEN, parse_header};
use crate::keys::Mode;
use crate::store::{ListItem, ListQuery};

impl Vault {
    /// Reads and authenticates every object of one bucket, or of all, and reports what is wrong to `each`. Objects that
    /// are replaced or deleted meanwhile are no findings.
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
        let mut from: Option<Vec<u8>> = None;
        loop {
            let page = self.stores.catalog.list(&ListQuery {
                bucket: bucket.id,
                prefix: &[],
                from: from.as_deref().map_or(Bound::Unbounded, Bound::Included),
                delimiter: None,
                limit: PAGE,
            })?;
            for item in page.items {
                let ListItem::Object(object) = item else {
                    continue;
                };
                match self.verify_object(name, &object.key, report) {
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
                    Err(VaultError::NoSuchKey { .. } | VaultError::NoSuchBucket(_)) => {
                        report.changed += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(next) = page.next else {
                return Ok(());
            };
            from = Some(next);
        }
    }

    fn verify_object(
        self: &Arc<Self>,
        bucket: &str,
        key: &[u8],
        report: &mut VerifyReport,
    ) -> Result<(), VaultError> {
        for _ in 0..ATTEMPTS {
            match self.read_back(bucket, key) {
                Ok(bytes) => {
                    report.objects += 1;
                    report.bytes += bytes;
                    return Ok(());
                }
                Err(VaultError::CustomerKeyRequired) => {
                    match self.find(&request(bucket, key), |found| self.verify_customer(found)) {
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

    fn read_back(self: &Arc<Self>, bucket: &str, key: &[u8]) -> Result<u64, VaultError> {
        let mut reader = self.open(request(bucket, key))?;
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
    fn verify_customer(&self, found: &Found) -> Result<(), Miss> {
        let row = &found.view.row;
        if row.mode != Mode::Customer.code() {
            return Err(VaultError::CustomerKeyNotApplicable.into());
        }
        let (key, record) = self.record_of(found, VERIFIER)?;
        let info = key
            .verify_record(&record, &found.context(Mode::Customer))
            .map_err(|error| self.record_miss(found, error))?;
        let verified = Verified::new(row, &info).map_err(Miss::Damaged)?;
        for (entry, blob) in verified.manifest.entries.iter().zip(&row.blobs) {
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
        Ok(())
    }
}

fn request<'a>(bucket: &'a str, key: &'a [u8]) -> OpenRequest<'a> {
    OpenRequest {
        bucket,
        key,
        customer: None,
        instance: None,
        principal: VERIFIER,
    }
}

const VERIFIER: &str = "verify";
const ATTEMPTS: usize = 3;
const PAGE: usize = 256;

//! Reading back the parts of uploads under way: they were acknowledged, and are nowhere else.

use std::ops::Bound;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::draft::PATIENCE;
use super::find::Miss;
use super::source::Source;
use super::verify::{Account, VERIFIER};
use super::{Vault, VaultError};
use crate::format::{HEADER_LEN, Header, NamedList, SEGMENT_LEN, Suite, parse_header, sealed_len};
use crate::id::InstanceId;
use crate::keys::{BucketKey, DataKey, Mode, Purpose};
use crate::object::{BlobOpener, ObjectError};
use crate::store::{Bucket, PartRow, Upload, UploadItem, UploadsQuery};

impl Vault {
    pub(super) fn verify_uploads(
        &self,
        bucket: &Bucket,
        account: &mut Account<'_>,
    ) -> Result<(), VaultError> {
        let mut last: Option<(Vec<u8>, (u64, InstanceId))> = None;
        loop {
            let page = self.stores.catalog.list_uploads(&UploadsQuery {
                bucket: bucket.id,
                prefix: &[],
                from: last
                    .as_ref()
                    .map_or(Bound::Unbounded, |(key, _)| Bound::Included(key.as_slice())),
                after: last.as_ref().map(|(_, after)| *after),
                delimiter: None,
                limit: PAGE,
            });
            let Some(page) = account.page(page)? else {
                return Ok(());
            };
            for item in page.items {
                let UploadItem::Upload(upload) = item else {
                    continue;
                };
                let verified = self.verify_upload(bucket, &upload, account);
                account.note((&bucket.name, &upload.key, upload.instance), verified)?;
                last = Some((upload.key, (upload.created_ms, upload.instance)));
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Its record, and then each part by itself.
    fn verify_upload(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        account: &mut Account<'_>,
    ) -> Result<(), VaultError> {
        let keys = self.keys_of(bucket, upload)?;
        // Under a customer's key nothing is opened.
        let suite = Suite::from_byte(upload.suite).ok();
        if let Some(suite) = suite.filter(|suite| keys.1.is_some() && !suite.is_built_in()) {
            return Err(VaultError::UnsupportedSuite(suite));
        }
        let mut after = 0;
        loop {
            let page = self.stores.catalog.parts(upload.instance, after, PAGE);
            let Some(page) = account.page(page)? else {
                return Ok(());
            };
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.part;
            for row in &page {
                let verified = match self.verify_part(upload, &keys, row) {
                    Ok(bytes) => {
                        account.report.parts += 1;
                        account.report.bytes += bytes;
                        Ok(())
                    }
                    Err(Miss::Other(error)) => Err(error),
                    Err(Miss::Gone(what) | Miss::Damaged(what)) => {
                        match self.is_still(bucket, upload, row)? {
                            true => Err(self.damaged_upload(bucket, upload, &what)),
                            false => {
                                account.report.changed += 1;
                                Ok(())
                            }
                        }
                    }
                };
                account.note((&bucket.name, &upload.key, upload.instance), verified)?;
            }
        }
    }

    /// Its bucket key, and its data key unless that is under a customer's. The record is authentic then.
    fn keys_of(&self, bucket: &Bucket, upload: &Upload) -> Result<Keys, VaultError> {
        let binding = self.binding_of(bucket, upload)?;
        let key = self.fetch_key(bucket, upload.generation, Purpose::Unwrap, VERIFIER)?;
        let record = self.stores.keys.fetch(upload.instance)?.record;
        let record = record.ok_or_else(|| self.record_is_missing(bucket, upload))?;
        let context = binding.context(bucket.id, upload.instance, &upload.key);
        let data_key = match binding.mode {
            Mode::Customer => key.verify_record(&record, &context).map(|_| None),
            _ => key
                .unwrap_data_key(&record, &context, None)
                .map(|(data_key, _)| Some(data_key)),
        };
        let data_key = data_key.map_err(|error| self.upload_record_error(bucket, upload, error))?;
        Ok((key, data_key))
    }

    /// Returns how many bytes were read.
    fn verify_part(
        &self,
        upload: &Upload,
        (key, data_key): &Keys,
        row: &PartRow,
    ) -> Result<u64, Miss> {
        let number = row.part;
        let wrong = |what: &str| Miss::Damaged(format!("part {number} of the upload: {what}"));
        let of_part = |miss| match miss {
            Miss::Gone(what) | Miss::Damaged(what) => wrong(&what),
            miss => miss,
        };
        let source = self.source_of_blob(&row.blob).map_err(of_part)?;
        let first = source.read(0..(HEADER_LEN as u64).min(source.len()));
        let first = first.map_err(of_part)?;
        let is_as_named = |header: &Header| {
            header.suite as u8 == upload.suite
                && header.part == number
                && header.salt.0 == row.salt
                && sealed_len(header.suite, row.length) == Some(source.len())
        };
        let broken = |error: ObjectError| wrong(&error.to_string());
        let Some(data_key) = data_key else {
            return match parse_header(&first) {
                Ok(header) if is_as_named(&header) => Ok(0),
                _ => Err(wrong("its blob is not the one that is listed")),
            };
        };
        let opener = BlobOpener::new(data_key, &first, source.len(), Some(row.length));
        let opener = opener.map_err(broken)?;
        if !is_as_named(opener.header()) {
            return Err(wrong("its blob is not the one that is listed"));
        }
        let attrs = key.open_attrs(row.instance, number, &row.attrs).ok();
        if attrs.is_none_or(|attrs| NamedList::decode_attrs(&attrs).is_err()) {
            return Err(wrong("its attributes are not authentic"));
        }
        self.read_part(&opener, &source, row.length)
            .map_err(of_part)
    }

    fn read_part(&self, opener: &BlobOpener, source: &Source, length: u64) -> Result<u64, Miss> {
        let broken = |error: ObjectError| Miss::Damaged(error.to_string());
        let batch = self.config.batch.next_multiple_of(SEGMENT_LEN) as u64;
        let mut at = 0;
        loop {
            let to = (at + batch).min(length);
            let plan = opener.plan(at..to).map_err(broken)?;
            let work = self.work.take(plan.room() * 2, PATIENCE);
            let _work = work.ok_or(VaultError::Busy)?;
            let sealed = source.read(plan.bytes())?;
            let mut plain = Zeroizing::new(vec![0; plan.room()]);
            opener
                .open_into(&plan, &sealed, &mut plain)
                .map_err(broken)?;
            at = to;
            if at == length {
                return Ok(length);
            }
        }
    }

    /// Whether the upload still has this part.
    fn is_still(
        &self,
        bucket: &Bucket,
        upload: &Upload,
        row: &PartRow,
    ) -> Result<bool, VaultError> {
        let catalog = &self.stores.catalog;
        let now = catalog.parts(upload.instance, row.part.saturating_sub(1), 1)?;
        let there = catalog.upload(bucket.id, &upload.key, upload.instance)?;
        Ok(there.is_some() && now.first() == Some(row))
    }
}

type Keys = (Arc<BucketKey>, Option<DataKey>);

const PAGE: usize = 256;

//! Buckets that may hold plain objects: opened by an operator, one by one, and closed by default.

use super::{Bucket, Vault, VaultError};

impl Vault {
    /// Whether plain objects may be written to the bucket now. What is there stays readable either way.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`]; then nothing is known, and nothing plain is to be written.
    pub fn plaintext_allowed(&self, bucket: &Bucket) -> Result<bool, VaultError> {
        let document = self.document(Some(bucket), PLAINTEXT)?;
        Ok(document.is_some_and(|(_, bytes)| bytes == ALLOWED))
    }

    /// Opens a bucket for plain objects, or closes it.
    ///
    /// # Errors
    /// [`VaultError::PreconditionFailed`] if somebody else does the same now; [`VaultError::NoSuchBucket`],
    /// [`VaultError::ReadOnly`].
    pub fn allow_plaintext(&self, bucket: &Bucket, allowed: bool) -> Result<(), VaultError> {
        let revision = self.document(Some(bucket), PLAINTEXT)?.map(|(rev, _)| rev);
        if allowed || revision.is_some() {
            self.put_document(
                Some(bucket),
                PLAINTEXT,
                revision,
                allowed.then_some(ALLOWED),
            )?;
        }
        Ok(())
    }

    /// Refuses a plain write to a bucket that is not opened for it. Asked when a write begins and when it ends.
    pub(super) fn check_plaintext(&self, bucket: &Bucket) -> Result<(), VaultError> {
        if self.plaintext_allowed(bucket)? {
            Ok(())
        } else {
            Err(VaultError::PlaintextNotAllowed(bucket.name.clone()))
        }
    }
}

/// Name of the document that says so.
const PLAINTEXT: &str = "plaintext";
/// All that it can say. Anything else, also what a later release may write there, allows nothing.
const ALLOWED: &[u8] = br#"{"allowed":true}"#;

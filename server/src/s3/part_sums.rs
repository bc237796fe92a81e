//! How the checksums and entity tags of parts make those of the whole object.

use s3s::S3ErrorCode;
use s3s::S3Result;
use serde::{Deserialize, Serialize};

use super::checksums::{digest, known};
use super::errors::error;
use super::sse::{base64_decode, base64_encode};

/// The checksum an upload was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadSum {
    /// As in header names: `crc32`.
    pub(super) algorithm: String,
    pub(super) kind: Kind,
}

/// What the object's checksum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    /// Of the parts' checksums, `-N` behind it.
    Composite,
    /// Of the content, as if it had come in one PUT.
    FullObject,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }
}

impl UploadSum {
    /// Reads `x-amz-checksum-algorithm` and `x-amz-checksum-type` of a CreateMultipartUpload.
    pub(super) fn asked(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Option<Self>> {
        let Some(algorithm) = algorithm else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(error(
                    S3ErrorCode::InvalidRequest,
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
                )),
            };
        };
        let algorithm = known(algorithm)?;
        let combines = crc(algorithm).is_some();
        let kind = match kind {
            None if algorithm == "crc64nvme" => Kind::FullObject,
            None => Kind::Composite,
            Some("COMPOSITE") if algorithm != "crc64nvme" => Kind::Composite,
            Some("FULL_OBJECT") if combines => Kind::FullObject,
            Some(kind @ ("COMPOSITE" | "FULL_OBJECT")) => {
                return Err(error(
                    S3ErrorCode::InvalidRequest,
                    format!(
                        "The {kind} checksum type cannot be used with the {algorithm} checksum algorithm."
                    ),
                ));
            }
            Some(_) => {
                return Err(error(
                    S3ErrorCode::InvalidRequest,
                    "Value for x-amz-checksum-type header is invalid.",
                ));
            }
        };
        Ok(Some(Self {
            algorithm: algorithm.to_owned(),
            kind,
        }))
    }

    /// The object's checksum from those of its parts, each with its part's length, in order. `None` where a part has
    /// none.
    pub(super) fn of(&self, parts: &[(u64, Option<&str>)]) -> Option<String> {
        let digests = parts
            .iter()
            .map(|(length, sum)| Some((*length, base64_decode((*sum)?.as_bytes())?)))
            .collect::<Option<Vec<_>>>()?;
        match self.kind {
            Kind::Composite => {
                let joined: Vec<u8> = digests.iter().flat_map(|(_, sum)| sum.clone()).collect();
                let whole = digest(&self.algorithm, &joined)?;
                Some(format!("{whole}-{}", digests.len()))
            }
            Kind::FullObject => {
                let (algorithm, bytes) = crc(&self.algorithm)?;
                let whole = digests.iter().try_fold(None, |before, (length, sum)| {
                    let sum = number(sum, bytes)?;
                    Some(Some(before.map_or(sum, |before| {
                        crc_fast::checksum_combine(algorithm, before, sum, *length)
                    })))
                })??;
                Some(base64_encode(whole.to_be_bytes().get(8 - bytes..)?))
            }
        }
    }
}

/// What the entity tag of an object is made of: the MD5 of the MD5s of its parts.
pub(super) fn md5(parts: impl IntoIterator<Item = [u8; 16]>) -> [u8; 16] {
    use md5::{Digest, Md5};
    let mut whole = Md5::new();
    for md5 in parts {
        whole.update(md5);
    }
    whole.finalize().into()
}

/// The CRCs, which combine, and their sizes in bytes.
fn crc(algorithm: &str) -> Option<(crc_fast::CrcAlgorithm, usize)> {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    match algorithm {
        "crc32" => Some((Crc32IsoHdlc, 4)),
        "crc32c" => Some((Crc32Iscsi, 4)),
        "crc64nvme" => Some((Crc64Nvme, 8)),
        _ => None,
    }
}

fn number(digest: &[u8], bytes: usize) -> Option<u64> {
    (digest.len() == bytes).then(|| {
        digest
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PARTS: [&[u8]; 3] = [b"first part, ", b"second", b""];

    fn parts(algorithm: &str) -> Vec<(u64, String)> {
        PARTS
            .iter()
            .map(|part| (part.len() as u64, digest(algorithm, part).unwrap()))
            .collect()
    }

    fn combined(algorithm: &str, kind: &str) -> String {
        let sum = UploadSum::asked(Some(algorithm), Some(kind))
            .unwrap()
            .unwrap();
        let parts = parts(&sum.algorithm);
        let parts: Vec<_> = parts
            .iter()
            .map(|(length, sum)| (*length, Some(sum.as_str())))
            .collect();
        sum.of(&parts).unwrap()
    }

    #[test]
    fn crcs_of_parts_combine_to_that_of_the_whole() {
        for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
            let whole = digest(&algorithm.to_lowercase(), &PARTS.concat()).unwrap();
            assert_eq!(combined(algorithm, "FULL_OBJECT"), whole, "{algorithm}");
        }
    }

    #[test]
    fn a_composite_is_of_the_digests_and_counts_the_parts() {
        for algorithm in ["crc32", "crc32c", "sha1", "sha256", "sha512", "xxhash64"] {
            let joined: Vec<u8> = parts(algorithm)
                .iter()
                .flat_map(|(_, sum)| base64_decode(sum.as_bytes()).unwrap())
                .collect();
            let expected = format!("{}-3", digest(algorithm, &joined).unwrap());
            assert_eq!(combined(algorithm, "COMPOSITE"), expected, "{algorithm}");
        }
    }

    #[test]
    fn a_part_without_its_checksum_leaves_the_object_without() {
        let sum = UploadSum::asked(Some("SHA256"), None).unwrap().unwrap();
        assert_eq!(sum.kind, Kind::Composite);
        assert_eq!(sum.of(&[(1, None)]), None);
    }

    #[test]
    fn types_that_an_algorithm_does_not_have_are_refused() {
        for (algorithm, kind) in [
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("SHA256"), Some("FULL_OBJECT")),
            (Some("CRC32"), Some("HALF")),
            (Some("CRC33"), None),
            (None, Some("COMPOSITE")),
        ] {
            assert!(UploadSum::asked(algorithm, kind).is_err(), "{algorithm:?}");
        }
        let default = UploadSum::asked(Some("CRC64NVME"), None).unwrap().unwrap();
        assert_eq!(default.kind, Kind::FullObject);
        assert_eq!(UploadSum::asked(None, None).unwrap(), None);
    }
}

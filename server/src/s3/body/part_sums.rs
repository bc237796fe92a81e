//! How the checksums and entity tags of parts make those of the whole object.

use s3s::dto::{ChecksumMode, Range};
use s3s::{S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use strongroom::format::NamedList;
use strongroom::keys::Mode;
use strongroom::vault::ObjectInfo;

use super::checksums::{self, DEFAULT, digest, known};
use crate::s3::encryption::sse::{base64_decode, base64_encode};
use crate::s3::errors::error;
use crate::s3::facts::Facts;
use crate::s3::multipart::MOST_PARTS;

/// The checksum an upload was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::s3) struct UploadSum {
    /// As in header names: `crc32`.
    pub(in crate::s3) algorithm: String,
    pub(in crate::s3) kind: Kind,
}

/// What the object's checksum is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::s3) enum Kind {
    /// Of the parts' checksums, `-N` behind it.
    Composite,
    /// Of the content, as if it had come in one PUT.
    FullObject,
}

impl Kind {
    pub(in crate::s3) const fn as_str(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }
}

/// That of an upload for which none was asked.
impl Default for UploadSum {
    fn default() -> Self {
        Self {
            algorithm: DEFAULT.to_owned(),
            kind: Kind::FullObject,
        }
    }
}

impl UploadSum {
    /// Reads `x-amz-checksum-algorithm` and `x-amz-checksum-type` of a CreateMultipartUpload.
    pub(in crate::s3) fn asked(
        algorithm: Option<&str>,
        kind: Option<&str>,
    ) -> S3Result<Option<Self>> {
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
    pub(in crate::s3) fn of(&self, parts: &[(u64, Option<&str>)]) -> Option<String> {
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

/// Checksums to show, and what they are of.
#[derive(Default)]
pub(in crate::s3) struct Sums {
    /// (algorithm, base64)
    pub(in crate::s3) values: Vec<(&'static str, String)>,
    pub(in crate::s3) kind: Option<&'static str>,
}

/// Whose checksums a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::s3) enum Asked {
    Nobodys,
    Objects,
    /// Those of the part at this place, counted from 0.
    Part(usize),
}

impl Asked {
    /// A range of bytes has none.
    pub(in crate::s3) fn new(
        mode: Option<&ChecksumMode>,
        range: Option<&Range>,
        part: Option<i32>,
    ) -> Self {
        let enabled = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        match part.map(|number| usize::try_from(number.saturating_sub(1))) {
            _ if !enabled || range.is_some() => Self::Nobodys,
            None => Self::Objects,
            Some(Ok(at)) => Self::Part(at),
            Some(Err(_)) => Self::Nobodys,
        }
    }

    /// The parts whose attributes are needed to answer: above which number, and how many.
    pub(in crate::s3) fn parts(self, info: &ObjectInfo) -> Option<(u32, usize)> {
        match self {
            Self::Nobodys => None,
            Self::Objects => needs_parts(info).then_some((0, MOST_PARTS)),
            Self::Part(at) => Some((info.parts.get(at)?.part.checked_sub(1)?, 1)),
        }
    }

    /// The answer, from the attributes of those parts. What came in one PUT is one part.
    pub(in crate::s3) fn of(self, info: &ObjectInfo, parts: &[(u32, NamedList)]) -> Sums {
        match self {
            Self::Nobodys => Sums::default(),
            Self::Part(at) if !info.parts.is_empty() => {
                of_part(info, at, parts).unwrap_or_default()
            }
            Self::Part(_) | Self::Objects => of_object(info, parts),
        }
    }
}

/// Whether an object's checksum must be made of its parts': under a customer key nothing could be
/// sealed when it was completed.
pub(in crate::s3) fn needs_parts(info: &ObjectInfo) -> bool {
    info.mode == Mode::Customer && !info.parts.is_empty()
}

/// The checksums of an object; `parts` are the attributes of its parts, where they are needed.
pub(in crate::s3) fn of_object(info: &ObjectInfo, parts: &[(u32, NamedList)]) -> Sums {
    let mut values = checksums::stored(&info.attrs);
    if values.is_empty() && needs_parts(info) {
        let sum = Facts::decode(&info.facts).sum.unwrap_or_default();
        values.extend(combined(&sum, info, parts));
    }
    let kind = checksums::kind(&values);
    Sums { values, kind }
}

/// Those of one part, if the object was uploaded with checksums of its client's choice.
fn of_part(info: &ObjectInfo, at: usize, parts: &[(u32, NamedList)]) -> Option<Sums> {
    let sum = Facts::decode(&info.facts).sum?;
    let values = stored_of(parts, info.parts.get(at)?.part)?;
    Some(Sums {
        values,
        kind: Some(sum.kind.as_str()),
    })
}

/// Of the part of a number; parts are in order.
fn stored_of(parts: &[(u32, NamedList)], number: u32) -> Option<Vec<(&'static str, String)>> {
    let at = parts
        .binary_search_by_key(&number, |(part, _)| *part)
        .ok()?;
    Some(checksums::stored(&parts.get(at)?.1))
}

fn combined(
    sum: &UploadSum,
    info: &ObjectInfo,
    parts: &[(u32, NamedList)],
) -> Option<(&'static str, String)> {
    let algorithm = known(&sum.algorithm).ok()?;
    let stored = info
        .parts
        .iter()
        .map(|span| {
            let sums = stored_of(parts, span.part)?;
            let (_, value) = sums.into_iter().find(|(known, _)| *known == algorithm)?;
            Some((span.length, value))
        })
        .collect::<Option<Vec<_>>>()?;
    let stored: Vec<_> = stored
        .iter()
        .map(|(length, value)| (*length, Some(value.as_str())))
        .collect();
    Some((algorithm, sum.of(&stored)?))
}

/// What the entity tag of an object is made of: the MD5 of the MD5s of its parts.
pub(in crate::s3) fn md5(parts: impl IntoIterator<Item = [u8; 16]>) -> [u8; 16] {
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

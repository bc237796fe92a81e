//! Checksums of a body: what the client said, what arrived, and what is kept (sealed) to say again.

use http::{HeaderMap, StatusCode};
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, ChecksumType, CompletedPart};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};
use strongroom::format::NamedList;
use strongroom::keys::Mode;

use crate::s3::encryption::sse::{base64_decode, base64_encode, header};
use crate::s3::errors::{custom, error, with_detail};
use crate::s3::facts::{has_md5_etag, hex};
use crate::s3::wire::announced;

/// Sealed attribute: the MD5 of the content, 16 bytes.
pub(in crate::s3) const MD5_ATTRIBUTE: &str = "md5";

/// The additional checksums of S3: header suffix, and a way to reach the field of each.
const ALGORITHMS: [&str; 10] = [
    "crc32",
    "crc32c",
    "crc64nvme",
    "sha1",
    "sha256",
    "sha512",
    "md5",
    "xxhash64",
    "xxhash3",
    "xxhash128",
];
const HEADER_PREFIX: &str = "x-amz-checksum-";
/// Headers with that prefix that say something else.
const NO_CHECKSUMS: [&str; 3] = ["algorithm", "mode", "type"];
/// What an object has where the client names none, as in S3 since December 2024.
pub(in crate::s3) const DEFAULT: &str = "crc64nvme";

/// Computes what a PUT needs in one pass and compares it with what the client announced.
pub(in crate::s3) struct BodyChecks {
    /// Only where something needs it: it is the slowest of all.
    md5: Option<Md5>,
    hasher: ChecksumHasher,
    content_md5: Option<Vec<u8>>,
    /// Where a digest that is not the body's is told as it was given, and not in hex.
    tells_as_given: bool,
    /// (algorithm, value when it came in a header; `None`: it comes in the trailer)
    announced: Vec<(&'static str, Option<String>)>,
}

/// What a verified body is known by.
pub(in crate::s3) struct Verified {
    pub(in crate::s3) md5: Option<[u8; 16]>,
    pub(in crate::s3) checksums: Vec<(&'static str, String)>,
}

impl BodyChecks {
    /// Nothing announced, nothing computed yet.
    pub(in crate::s3) fn none() -> Self {
        Self {
            md5: None,
            hasher: ChecksumHasher::default(),
            content_md5: None,
            tells_as_given: false,
            announced: Vec::new(),
        }
    }

    /// Reads `Content-MD5` alone.
    pub(in crate::s3) fn of_md5(headers: &HeaderMap) -> S3Result<Self> {
        let content_md5 = content_md5(headers)?;
        Ok(Self {
            md5: content_md5.is_some().then(Md5::new),
            content_md5,
            ..Self::none()
        })
    }

    /// Reads `Content-MD5`, `x-amz-checksum-*`, `x-amz-trailer` and `x-amz-sdk-checksum-algorithm`.
    pub(in crate::s3) fn from_headers(headers: &HeaderMap) -> S3Result<Self> {
        let content_md5 = content_md5(headers)?;
        refuse_unknown(headers)?;
        let mut announced = Vec::new();
        for algorithm in ALGORITHMS {
            if let Some(value) = header(headers, &format!("{HEADER_PREFIX}{algorithm}")) {
                announced.push((algorithm, Some(value.to_owned())));
            }
        }
        let trailers = declared_trailers(headers)?;
        if announced.len() > 1 || trailers.len() > 1 {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        if let Some((algorithm, value)) = announced.first()
            && !value
                .as_ref()
                .is_some_and(|value: &String| is_sum(algorithm, value))
        {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                format!("Value for {HEADER_PREFIX}{algorithm} header is invalid."),
            ));
        }
        if !announced.is_empty() && !trailers.is_empty() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Expecting a single x-amz-checksum- header",
            ));
        }
        if !trailers.is_empty() && !announced::has_trailer(headers) {
            return Err(malformed_trailer());
        }
        announced.extend(trailers.into_iter().map(|algorithm| (algorithm, None)));
        if let Some(named) = header(headers, "x-amz-sdk-checksum-algorithm") {
            let named = known(named)?;
            match announced.first() {
                None => {
                    return Err(error(
                        S3ErrorCode::InvalidRequest,
                        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
                    ));
                }
                Some((algorithm, _)) if *algorithm != named => {
                    return Err(error(
                        S3ErrorCode::InvalidRequest,
                        "Value for x-amz-sdk-checksum-algorithm header is invalid.",
                    ));
                }
                Some(_) => {}
            }
        }
        let mut hasher = ChecksumHasher::default();
        for (algorithm, _) in &announced {
            enable(&mut hasher, algorithm);
        }
        let md5 = content_md5.is_some().then(Md5::new);
        Ok(Self {
            md5,
            hasher,
            content_md5,
            tells_as_given: false,
            announced,
        })
    }

    /// S3 tells a wrong `Content-MD5` of an object in hex, and that of every other body as it came.
    pub(in crate::s3) fn telling_as_given(self) -> Self {
        Self {
            tells_as_given: true,
            ..self
        }
    }

    /// Asks for the MD5 of the content: the ETag of managed objects.
    pub(in crate::s3) fn need_md5(&mut self) {
        self.md5.get_or_insert_with(Md5::new);
    }

    /// Asks for one more checksum to be computed (a copy that names an algorithm, or keeps its source's).
    pub(in crate::s3) fn also_compute(&mut self, algorithm: &str) -> S3Result<()> {
        let known = known(algorithm)?;
        if !self.announced.iter().any(|(already, _)| *already == known) {
            enable(&mut self.hasher, known);
            self.announced.push((known, None));
        }
        Ok(())
    }

    /// Asks for a checksum that the client need not send.
    pub(in crate::s3) fn compute(&mut self, algorithm: &str) {
        enable(&mut self.hasher, algorithm);
    }

    /// Asks for the checksum that an object has where nobody asked for any.
    pub(in crate::s3) fn need_one(&mut self) {
        if self.announced.is_empty() {
            self.compute(DEFAULT);
        }
    }

    /// A write that locks its object must say what it writes.
    pub(in crate::s3) fn required_by_locks(&self, headers: &HeaderMap) -> S3Result<()> {
        let locks = headers
            .keys()
            .any(|name| name.as_str().starts_with("x-amz-object-lock-"));
        if locks && self.content_md5.is_none() && self.announced.is_empty() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
            ));
        }
        Ok(())
    }

    /// Whether the client announced this one.
    pub(in crate::s3) fn announces(&self, algorithm: &str) -> bool {
        self.announced.iter().any(|(known, _)| *known == algorithm)
    }

    /// An algorithm the client announced that is not `expected`.
    pub(in crate::s3) fn other_than(&self, expected: &str) -> Option<&'static str> {
        self.announced
            .iter()
            .map(|(algorithm, _)| *algorithm)
            .find(|algorithm| *algorithm != expected)
    }

    /// Takes the next bytes of the body.
    pub(in crate::s3) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.hasher.update(bytes);
    }

    /// Compares with everything announced; a declared trailer that did not come is refused.
    pub(in crate::s3) fn verify(self, trailers: Option<&TrailingHeaders>) -> S3Result<Verified> {
        let trailers = trailers.and_then(TrailingHeaders::take).unwrap_or_default();
        let announced = self
            .announced
            .iter()
            .map(|(algorithm, in_header)| {
                let value = in_header
                    .clone()
                    .or_else(|| {
                        header(&trailers, &format!("{HEADER_PREFIX}{algorithm}")).map(str::to_owned)
                    })
                    .ok_or_else(malformed_trailer)?;
                if in_header.is_none() && !is_sum(algorithm, &value) {
                    return Err(error(
                        S3ErrorCode::InvalidRequest,
                        format!("Value for {HEADER_PREFIX}{algorithm} trailing header is invalid."),
                    ));
                }
                Ok((*algorithm, value))
            })
            .collect::<S3Result<Vec<_>>>()?;
        let computed = self.computed()?;
        for (algorithm, value) in &announced {
            if computed
                .checksums
                .iter()
                .any(|(known, sum)| known == algorithm && sum != value)
            {
                let name = algorithm.to_ascii_uppercase();
                return Err(error(
                    S3ErrorCode::BadDigest,
                    format!("The {name} you specified did not match the calculated checksum."),
                ));
            }
        }
        Ok(computed)
    }

    /// What was computed, with nothing to compare but `Content-MD5`.
    pub(in crate::s3) fn computed(self) -> S3Result<Verified> {
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        if let Some(announced) = self.content_md5
            && md5.is_none_or(|md5| announced != md5)
        {
            return Err(bad_md5(&announced, self.tells_as_given, md5));
        }
        Ok(Verified {
            md5,
            checksums: fields(&self.hasher.finalize()),
        })
    }
}

impl Verified {
    /// The sealed attributes to keep. The MD5 is among them where it makes the ETag.
    pub(in crate::s3) fn attributes(&self, mode: Mode) -> NamedList {
        let mut list: Vec<_> = self
            .md5
            .iter()
            .filter(|_| has_md5_etag(mode))
            .map(|md5| (MD5_ATTRIBUTE.to_owned(), md5.to_vec()))
            .collect();
        list.extend(self.checksums.iter().map(|(algorithm, value)| {
            (format!("checksum-{algorithm}"), value.clone().into_bytes())
        }));
        NamedList(list)
    }
}

/// An algorithm by its name in any case, as header names have it.
pub(in crate::s3) fn known(algorithm: &str) -> S3Result<&'static str> {
    let wanted = algorithm.to_ascii_lowercase();
    ALGORITHMS.into_iter().find(|known| *known == wanted).ok_or_else(|| {
        error(
            S3ErrorCode::InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// The digest in `Content-MD5`.
fn content_md5(headers: &HeaderMap) -> S3Result<Option<Vec<u8>>> {
    header(headers, "content-md5")
        .map(|value| {
            base64_decode(value.as_bytes())
                .filter(|md5| md5.len() == 16)
                .ok_or_else(|| {
                    error(
                        S3ErrorCode::InvalidDigest,
                        "The Content-MD5 you specified was invalid.",
                    )
                })
        })
        .transpose()
}

/// What stands behind a body is not what was declared.
pub(in crate::s3) fn malformed_trailer() -> S3Error {
    custom(
        StatusCode::BAD_REQUEST,
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )
}

/// A header of a checksum that does not exist.
fn refuse_unknown(headers: &HeaderMap) -> S3Result<()> {
    let mut named = headers
        .keys()
        .filter_map(|name| name.as_str().strip_prefix(HEADER_PREFIX));
    if named.any(|name| !ALGORITHMS.contains(&name) && !NO_CHECKSUMS.contains(&name)) {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            "The algorithm type you specified in x-amz-checksum- header is invalid.",
        ));
    }
    Ok(())
}

/// The algorithms in `x-amz-trailer`. Commas at its end separate nothing; every other name is that
/// of a checksum.
fn declared_trailers(headers: &HeaderMap) -> S3Result<Vec<&'static str>> {
    let declared = header(headers, announced::TRAILER).unwrap_or_default();
    let declared = declared.trim_end_matches(',');
    if declared.is_empty() {
        return Ok(Vec::new());
    }
    declared
        .split(',')
        .map(|name| {
            let name = name.trim().to_ascii_lowercase();
            ALGORITHMS
                .into_iter()
                .find(|known| name.strip_prefix(HEADER_PREFIX) == Some(known))
                .ok_or_else(|| {
                    error(
                        S3ErrorCode::InvalidRequest,
                        "The value specified in the x-amz-trailer header is not supported",
                    )
                })
        })
        .collect()
}

/// Whether a value has the form of a checksum.
fn is_sum(algorithm: &str, value: &str) -> bool {
    base64_decode(value.as_bytes()).is_some_and(|digest| digest.len() == digest_len(algorithm))
}

/// The checksum of some bytes, base64.
pub(in crate::s3) fn digest(algorithm: &str, bytes: &[u8]) -> Option<String> {
    let mut hasher = ChecksumHasher::default();
    enable(&mut hasher, algorithm);
    hasher.update(bytes);
    let (_, sum) = fields(&hasher.finalize()).pop()?;
    Some(sum)
}

/// The sealed attribute that makes the ETag.
pub(in crate::s3) fn md5_attribute(md5: [u8; 16]) -> (String, Vec<u8>) {
    (MD5_ATTRIBUTE.to_owned(), md5.to_vec())
}

/// The same, read back.
pub(in crate::s3) fn md5_of(attributes: &NamedList) -> Option<[u8; 16]> {
    let (_, md5) = attributes
        .0
        .iter()
        .find(|(name, _)| name == MD5_ATTRIBUTE)?;
    md5.as_slice().try_into().ok()
}

/// The sealed attribute of a checksum.
pub(in crate::s3) fn attribute(algorithm: &str, value: &str) -> (String, Vec<u8>) {
    (format!("checksum-{algorithm}"), value.as_bytes().to_vec())
}

/// The checksums in the headers of a request.
pub(in crate::s3) fn announced(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    ALGORITHMS
        .into_iter()
        .filter_map(|algorithm| {
            let value = header(headers, &format!("{HEADER_PREFIX}{algorithm}"))?;
            Some((algorithm, value.to_owned()))
        })
        .collect()
}

/// The checksums that a complete request has of a part.
pub(in crate::s3) fn of_part(part: &CompletedPart) -> Vec<(&'static str, String)> {
    [
        ("crc32", &part.checksum_crc32),
        ("crc32c", &part.checksum_crc32c),
        ("crc64nvme", &part.checksum_crc64nvme),
        ("sha1", &part.checksum_sha1),
        ("sha256", &part.checksum_sha256),
        ("sha512", &part.checksum_sha512),
        ("md5", &part.checksum_md5),
        ("xxhash64", &part.checksum_xxhash64),
        ("xxhash3", &part.checksum_xxhash3),
        ("xxhash128", &part.checksum_xxhash128),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.clone()?)))
    .collect()
}

/// The checksums kept with an object, as (algorithm, base64).
pub(in crate::s3) fn stored(attributes: &NamedList) -> Vec<(&'static str, String)> {
    attributes
        .0
        .iter()
        .filter_map(|(name, value)| {
            let suffix = name.strip_prefix("checksum-")?;
            let algorithm = ALGORITHMS.into_iter().find(|known| *known == suffix)?;
            Some((algorithm, String::from_utf8(value.clone()).ok()?))
        })
        .collect()
}

/// `COMPOSITE` for a checksum of the parts' checksums, `FULL_OBJECT` for one of the content.
pub(in crate::s3) fn kind(sums: &[(&'static str, String)]) -> Option<&'static str> {
    // No base64 has a hyphen.
    sums.first().map(|(_, sum)| {
        if sum.contains('-') {
            ChecksumType::COMPOSITE
        } else {
            ChecksumType::FULL_OBJECT
        }
    })
}

/// Sets the one field of an output that an algorithm belongs to.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {
        for (algorithm, value) in $checksums {
            let value = Some(value.clone());
            match *algorithm {
                "crc32" => $output.checksum_crc32 = value,
                "crc32c" => $output.checksum_crc32c = value,
                "crc64nvme" => $output.checksum_crc64nvme = value,
                "sha1" => $output.checksum_sha1 = value,
                "sha256" => $output.checksum_sha256 = value,
                "sha512" => $output.checksum_sha512 = value,
                "md5" => $output.checksum_md5 = value,
                "xxhash64" => $output.checksum_xxhash64 = value,
                "xxhash3" => $output.checksum_xxhash3 = value,
                _ => $output.checksum_xxhash128 = value,
            }
        }
    };
}
pub(in crate::s3) use set_checksums;

fn enable(hasher: &mut ChecksumHasher, algorithm: &str) {
    match algorithm {
        "crc32" => hasher.crc32 = Some(Default::default()),
        "crc32c" => hasher.crc32c = Some(Default::default()),
        "crc64nvme" => hasher.crc64nvme = Some(Default::default()),
        "sha1" => hasher.sha1 = Some(Default::default()),
        "sha256" => hasher.sha256 = Some(Default::default()),
        "sha512" => hasher.sha512 = Some(Default::default()),
        "md5" => hasher.md5 = Some(Default::default()),
        "xxhash64" => hasher.xxhash64 = Some(Default::default()),
        "xxhash3" => hasher.xxhash3 = Some(Default::default()),
        _ => hasher.xxhash128 = Some(Default::default()),
    }
}

fn digest_len(algorithm: &str) -> usize {
    match algorithm {
        "crc32" | "crc32c" => 4,
        "crc64nvme" | "xxhash64" | "xxhash3" => 8,
        "sha1" => 20,
        "sha256" => 32,
        "sha512" => 64,
        _ => 16,
    }
}

fn fields(sums: &Checksum) -> Vec<(&'static str, String)> {
    [
        ("crc32", &sums.checksum_crc32),
        ("crc32c", &sums.checksum_crc32c),
        ("crc64nvme", &sums.checksum_crc64nvme),
        ("sha1", &sums.checksum_sha1),
        ("sha256", &sums.checksum_sha256),
        ("sha512", &sums.checksum_sha512),
        ("md5", &sums.checksum_md5),
        ("xxhash64", &sums.checksum_xxhash64),
        ("xxhash3", &sums.checksum_xxhash3),
        ("xxhash128", &sums.checksum_xxhash128),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.clone()?)))
    .collect()
}

fn bad_md5(announced: &[u8], as_given: bool, md5: Option<[u8; 16]>) -> S3Error {
    let expected = if as_given {
        base64_encode(announced)
    } else {
        hex(announced)
    };
    let calculated = md5.map(|md5| base64_encode(&md5)).unwrap_or_default();
    with_detail(
        error(
            S3ErrorCode::BadDigest,
            "The Content-MD5 you specified did not match what we received.",
        ),
        &[
            ("ExpectedDigest", &expected),
            ("CalculatedDigest", &calculated),
        ],
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let refusal = BodyChecks::from_headers(&headers).err()?;
        Some(refusal.message().unwrap_or_default().to_owned())
    }

    #[test]
    fn one_checksum_is_announced_in_a_header_or_behind_the_body() {
        const CRC32: (&str, &str) = ("x-amz-checksum-crc32", "AAAAAA==");
        const FRAMED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let behind = |declared| refused(&[FRAMED, ("x-amz-trailer", declared)]);
        let unsupported = Some("The value specified in the x-amz-trailer header is not supported");
        for declared in [
            "x-amz-checksum-crc32",
            "x-amz-checksum-crc32,,",
            "X-Amz-Checksum-CRC32",
            "",
        ] {
            assert_eq!(behind(declared), None, "{declared}");
        }
        for declared in [
            ",x-amz-checksum-crc32",
            "x-amz-checksum-crc32, ,",
            "x-amz-checksum-bad",
            "x-amz-checksum-crc32, x-amz-foo",
            "content-md5",
        ] {
            assert_eq!(behind(declared).as_deref(), unsupported, "{declared}");
        }
        let several = Some(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        );
        let both = "x-amz-checksum-crc32, x-amz-checksum-crc32c";
        assert_eq!(behind(both).as_deref(), several);
        let second = ("x-amz-checksum-crc32c", "AAAAAA==");
        assert_eq!(refused(&[CRC32, second]).as_deref(), several);
        let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
        assert_eq!(
            refused(&[FRAMED, CRC32, trailer]).as_deref(),
            Some("Expecting a single x-amz-checksum- header")
        );
        // Behind a body without room for it.
        assert!(refused(&[trailer]).unwrap().contains("trailing data"));
    }

    #[test]
    fn a_checksum_that_does_not_exist_is_refused_and_what_is_none_is_not() {
        let bad = refused(&[("x-amz-checksum-bad", "AAAAAA==")]);
        assert!(bad.unwrap().contains("algorithm type"));
        for other in [
            "x-amz-checksum-algorithm",
            "x-amz-checksum-mode",
            "x-amz-checksum-type",
        ] {
            assert_eq!(refused(&[(other, "x")]), None);
        }
    }
}

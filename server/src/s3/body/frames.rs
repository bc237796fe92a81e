//! The frames of `aws-chunked`: chunks, each behind its size and perhaps its signature, and trailers
//! behind the last, which is empty. Read as strictly as the service reads them.

use bytes::Bytes;
use http::HeaderMap;

use crate::s3::encryption::sse::header;
use crate::s3::wire::announced::TRAILER;

/// Why a framed body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::s3) enum FrameError {
    /// It ends early, or is no sequence of chunks.
    #[error("the body is not what its frames say")]
    Malformed,
    /// It is whole, and of another length than was declared.
    #[error("the body has {provided} bytes where {expected} were declared")]
    Length { expected: u64, provided: u64 },
    /// What stands behind the body is not what was declared.
    #[error("the trailers behind the body are not those that were declared")]
    Trailers,
    /// The checksum behind the body is another one than the body's.
    #[error("the checksum behind the body is not that of the body")]
    Mismatch,
}

/// What comes of frames before the last.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::s3) enum Item {
    /// A chunk begins, of one byte at least; with its signature as it was given, if chunks are signed.
    Chunk {
        size: u64,
        signature: Option<String>,
    },
    /// Bytes of the body.
    Data(Bytes),
    /// A chunk is over.
    ChunkEnd,
}

/// The last chunk, and what stands behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::s3) struct Last {
    pub(in crate::s3) signature: Option<String>,
    /// Names in lower case.
    pub(in crate::s3) trailers: Vec<(String, String)>,
    pub(in crate::s3) trailer_signature: Option<String>,
}

/// A body as it is read.
pub(in crate::s3) struct Frames {
    input: Bytes,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    state: State,
    /// Bytes of the body as declared, and as passed so far.
    length: u64,
    passed: u64,
    signed: bool,
    /// The trailers are signed too, and must be there.
    signed_trailers: bool,
    declared: Vec<String>,
    last: Last,
}

enum State {
    /// Before the line with the size of a chunk.
    Size,
    /// In a chunk with so many bytes to come.
    Data(u64),
    /// Before the end of line behind a chunk.
    End,
    /// Behind the last chunk.
    Trailers,
    /// Behind an empty line: whatever follows is nothing.
    Done,
}

impl Frames {
    /// The frames that headers announce; `None` where nobody says how long the body in them is.
    pub(in crate::s3) fn announced(headers: &HeaderMap) -> Option<Self> {
        let payload = header(headers, "x-amz-content-sha256").unwrap_or_default();
        let signed = !payload.starts_with("STREAMING-UNSIGNED");
        let declared = header(headers, TRAILER).unwrap_or_default().split(',');
        Some(Self {
            input: Bytes::new(),
            line: Vec::new(),
            state: State::Size,
            length: header(headers, "x-amz-decoded-content-length")?
                .parse()
                .ok()?,
            passed: 0,
            signed,
            signed_trailers: signed && payload.ends_with("-TRAILER"),
            declared: declared
                .map(|name| name.trim().to_ascii_lowercase())
                .collect(),
            last: Last::default(),
        })
    }

    /// Bytes of the body that are still to come.
    pub(in crate::s3) fn left(&self) -> u64 {
        self.length - self.passed
    }

    /// Takes more input, all of the former being used up: [`Frames::next`] said so.
    pub(in crate::s3) fn feed(&mut self, input: Bytes) {
        self.input = input;
    }

    /// The next of what is there; `None` if there is not enough.
    ///
    /// # Errors
    /// These are no frames, or too much is in them.
    pub(in crate::s3) fn next(&mut self) -> Result<Option<Item>, FrameError> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    let (size, signature) = self.chunk(&line)?;
                    if size == 0 {
                        self.last.signature = signature;
                        self.state = State::Trailers;
                        continue;
                    }
                    self.state = State::Data(size);
                    return Ok(Some(Item::Chunk { size, signature }));
                }
                State::Data(size) => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    let here = usize::try_from(size)
                        .map_or(self.input.len(), |size| size.min(self.input.len()));
                    let data = self.input.split_to(here);
                    self.passed += here as u64;
                    self.state = match size - here as u64 {
                        0 => State::End,
                        left => State::Data(left),
                    };
                    return Ok(Some(Item::Data(data)));
                }
                State::End => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    if !line.is_empty() {
                        return Err(FrameError::Malformed);
                    }
                    self.state = State::Size;
                    return Ok(Some(Item::ChunkEnd));
                }
                State::Trailers => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    if line.is_empty() {
                        self.state = State::Done;
                    } else {
                        self.trailer(&line)?;
                    }
                }
                State::Done => {
                    self.input.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Judges the end of the body.
    ///
    /// # Errors
    /// It is not where the frames end, or not what was declared.
    pub(in crate::s3) fn finish(&mut self) -> Result<Last, FrameError> {
        // The empty line may be missing.
        let ended = matches!(self.state, State::Done | State::Trailers) && self.line.is_empty();
        let last = std::mem::take(&mut self.last);
        let unsigned = last.trailers.is_empty() || last.trailer_signature.is_none();
        if !ended || self.signed_trailers && unsigned {
            return Err(FrameError::Malformed);
        }
        if self.passed != self.length {
            return Err(self.other_length(self.passed));
        }
        let names = last.trailers.iter().map(|(name, _)| name);
        if names.into_iter().any(|name| !self.declared.contains(name)) {
            return Err(FrameError::Trailers);
        }
        Ok(last)
    }

    /// A whole line without its end.
    fn line(&mut self) -> Result<Option<String>, FrameError> {
        let end = self.input.iter().position(|byte| *byte == b'\n');
        let here = end.map_or(self.input.len(), |end| end + 1);
        if self.line.len() + here > LONGEST_LINE {
            return Err(FrameError::Malformed);
        }
        self.line.extend_from_slice(&self.input.split_to(here));
        if end.is_none() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").ok_or(FrameError::Malformed)?;
        let line = std::str::from_utf8(line).map_err(|_| FrameError::Malformed)?;
        Ok(Some(line.to_owned()))
    }

    /// Reads the line before a chunk.
    fn chunk(&self, line: &str) -> Result<(u64, Option<String>), FrameError> {
        let (digits, extension) = match line.split_once(';') {
            Some((digits, extension)) => (digits.trim(), Some(extension)),
            None => (line, None),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
        let size = size.ok_or(FrameError::Malformed)?;
        let whole = self.passed.checked_add(size).ok_or(FrameError::Malformed)?;
        if whole > self.length {
            return Err(self.other_length(whole));
        }
        if !self.signed {
            return Ok((size, None));
        }
        let (name, value) = extension
            .and_then(|extension| extension.split_once('='))
            .ok_or(FrameError::Malformed)?;
        let value = value.trim();
        // Whatever stands first is taken for the signature.
        if value.is_empty() || name.trim() == SIGNATURE && value.contains(';') {
            return Err(FrameError::Malformed);
        }
        Ok((size, Some(value.to_owned())))
    }

    fn trailer(&mut self, line: &str) -> Result<(), FrameError> {
        let (name, value) = line.split_once(':').ok_or(FrameError::Malformed)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        let trailers = &mut self.last.trailers;
        if name == "x-amz-trailer-signature" {
            self.last.trailer_signature = Some(value);
        } else if let Some((_, earlier)) = trailers
            .iter_mut()
            .find(|(known, _)| *known == name && !self.signed)
        {
            *earlier = value;
        } else if trailers.len() < MOST_TRAILERS {
            trailers.push((name, value));
        } else {
            return Err(FrameError::Malformed);
        }
        Ok(())
    }

    fn other_length(&self, provided: u64) -> FrameError {
        FrameError::Length {
            expected: self.length,
            provided,
        }
    }
}

/// What the signature of a chunk is called.
pub(in crate::s3) const SIGNATURE: &str = "chunk-signature";
const LONGEST_LINE: usize = 1024;
const MOST_TRAILERS: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// The body and what is behind it, from pieces of so many bytes.
    fn read(
        kind: &'static str,
        body: &str,
        length: u64,
        piece: usize,
    ) -> Result<(String, Last), FrameError> {
        let headers: HeaderMap = [
            ("x-amz-content-sha256", HeaderValue::from_static(kind)),
            ("x-amz-decoded-content-length", HeaderValue::from(length)),
            (TRAILER, HeaderValue::from_static("X-Amz-Checksum-CRC32,")),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value))
        .collect();
        let mut frames = Frames::announced(&headers).unwrap();
        let mut plain = Vec::new();
        for piece in body.as_bytes().chunks(piece) {
            frames.feed(Bytes::copy_from_slice(piece));
            while let Some(item) = frames.next()? {
                if let Item::Data(data) = item {
                    plain.extend_from_slice(&data);
                }
            }
        }
        let last = frames.finish()?;
        assert_eq!(frames.left(), 0);
        Ok((String::from_utf8(plain).unwrap(), last))
    }

    const UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
    const BODY: &str = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-amz-checksum-crc32: a\r\n";

    fn unsigned(body: &str) -> Result<Last, FrameError> {
        read(UNSIGNED, body, 5, 7).map(|(_, last)| last)
    }

    #[test]
    fn a_body_comes_out_of_pieces_of_any_size() {
        let trailers = vec![("x-amz-checksum-crc32".to_owned(), "a".to_owned())];
        for end in ["", "\r\n", "\r\n\r\n", "\r\n\u{ff}nothing"] {
            let body = format!("{BODY}{end}");
            for piece in 1..body.len() + 1 {
                let (plain, last) = read(UNSIGNED, &body, 5, piece).unwrap();
                assert_eq!(plain, "abcde");
                assert_eq!(last.trailers, trailers);
            }
        }
        let signed =
            "3 ; chunk-signature = 1 \r\nabc\r\n2;other=3;4\r\nde\r\n0;chunk-signature=2\r\n";
        let (plain, last) = read(SIGNED, signed, 5, 4).unwrap();
        assert_eq!(
            (plain.as_str(), last.signature.as_deref()),
            ("abcde", Some("2"))
        );
    }

    #[test]
    fn a_body_that_is_cut_or_other_is_malformed() {
        for cut in 0..BODY.len() {
            // Behind the line of the last chunk a body may end.
            let whole = BODY[..cut].ends_with("\r\n0\r\n");
            assert_eq!(unsigned(&BODY[..cut]).is_ok(), whole, "{cut}");
        }
        for (from, to) in [
            ("3\r\n", "\r\n"),
            ("3", "-3"),
            ("3", "+3"),
            ("3", "x"),
            ("c\r\n", "c\n"),
            ("a\r\n", "a\n"),
            ("crc32:", "crc32"),
        ] {
            let body = BODY.replacen(from, to, 1);
            assert_eq!(unsigned(&body), Err(FrameError::Malformed), "{from} {to}");
        }
        let endless = "1".repeat(2 * LONGEST_LINE);
        assert_eq!(unsigned(&endless), Err(FrameError::Malformed));
        for line in ["5", "5;chunk-signature=", "5;chunk-signature=1;x=y"] {
            let body = format!("{line}\r\nabcde\r\n0;chunk-signature=1\r\n\r\n");
            assert_eq!(
                read(SIGNED, &body, 5, 9),
                Err(FrameError::Malformed),
                "{line}"
            );
        }
    }

    #[test]
    fn a_body_of_another_length_than_declared_says_so() {
        for (length, provided) in [(4, 5), (6, 5), (2, 3)] {
            let wrong = FrameError::Length {
                expected: length,
                provided,
            };
            assert_eq!(read(UNSIGNED, BODY, length, 7), Err(wrong));
        }
        let early = "2\r\nab\r\n0\r\n3\r\ncde\r\n0\r\n\r\n";
        assert!(matches!(unsigned(early), Err(FrameError::Malformed)));
        let early = FrameError::Length {
            expected: 5,
            provided: 2,
        };
        assert_eq!(
            unsigned("2\r\nab\r\n0\r\n\r\n3\r\ncde\r\n0\r\n\r\n"),
            Err(early)
        );
    }

    #[test]
    fn what_stands_behind_a_body_was_declared() {
        let other = BODY.replace("crc32", "sha1");
        assert_eq!(unsigned(&other), Err(FrameError::Trailers));
        assert_eq!(
            unsigned(&format!("{BODY}bonus: 1\r\n")),
            Err(FrameError::Trailers)
        );
        // The last of a name counts, and nothing behind an empty line.
        let twice = unsigned(&format!(
            "{BODY}x-amz-checksum-crc32: b\r\n\r\nbonus: 1\r\n"
        ))
        .unwrap();
        assert_eq!(twice.trailers[0].1, "b");
    }

    #[test]
    fn signed_trailers_are_there_and_signed() {
        let body = |behind: &str| {
            format!("5;chunk-signature=1\r\nabcde\r\n0;chunk-signature=2\r\n{behind}")
        };
        let read = |behind: &str| read(SIGNED_TRAILER, &body(behind), 5, 8).map(|(_, last)| last);
        let (trailer, signature) = (
            "x-amz-checksum-crc32:a\r\n",
            "x-amz-trailer-signature:3\r\n",
        );
        let last = read(&format!("{trailer}{signature}\r\n")).unwrap();
        assert_eq!(last.trailer_signature.as_deref(), Some("3"));
        for behind in ["\r\n", trailer, signature] {
            assert_eq!(read(behind), Err(FrameError::Malformed), "{behind}");
        }
    }
}

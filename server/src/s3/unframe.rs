//! Takes the frames of `aws-chunked` off a body that nobody signed. The protocol crate does that
//! for signed bodies; clients frame unsigned ones alike, with a checksum behind the last chunk.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, S3Result, StdError};

use super::checksums::BodyChecks;

/// What such a body declares itself as.
const FRAMED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// Why a framed body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum UnframeError {
    /// It ends early, or is no sequence of chunks of the declared length.
    #[error("the body is not what its frames and its declared length say")]
    Malformed,
    /// The checksum that was declared is not behind the body.
    #[error("the declared checksum is missing behind the body")]
    Missing,
    /// It is there and another one than the body's.
    #[error("the checksum behind the body is not that of the body")]
    Mismatch,
}

/// Unframes the body of a request that has no signature and frames; leaves every other as it is.
pub(super) fn unframed(mut request: Request<Body>) -> S3Result<Request<Body>> {
    if !is_framed(&request) {
        return Ok(request);
    }
    let headers = request.headers();
    let length = text(headers, "x-amz-decoded-content-length").and_then(|text| text.parse().ok());
    // Without a length the request is refused as any other without one.
    let Some(length) = length else {
        return Ok(request);
    };
    let mut checks = BodyChecks::none();
    let trailer = text(headers, "x-amz-trailer").map(str::to_ascii_lowercase);
    if let Some(algorithm) = trailer
        .as_deref()
        .and_then(|name| name.strip_prefix(CHECKSUM))
    {
        checks.also_compute(&algorithm.to_ascii_uppercase())?;
    }
    let headers = request.headers_mut();
    for name in [
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "x-amz-sdk-checksum-algorithm",
    ] {
        headers.remove(name);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        "x-amz-content-sha256",
        HeaderValue::from_static("UNSIGNED-PAYLOAD"),
    );
    Ok(request.map(|inner| {
        Body::http_body(Unframed {
            inner,
            decoder: Decoder {
                input: BytesMut::new(),
                state: State::Size,
                left: length,
                trailer,
                found: None,
                checks: Some(checks),
            },
        })
    }))
}

fn is_framed(request: &Request<Body>) -> bool {
    let headers = request.headers();
    let query = request
        .uri()
        .query()
        .unwrap_or_default()
        .to_ascii_lowercase();
    text(headers, "x-amz-content-sha256") == Some(FRAMED)
        && !headers.contains_key(AUTHORIZATION)
        && !query.contains("signature=")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The decoded body.
struct Unframed {
    inner: Body,
    decoder: Decoder,
}

struct Decoder {
    input: BytesMut,
    state: State,
    /// Decoded bytes that are still to come.
    left: u64,
    /// Name of the trailer that was declared, in lower case.
    trailer: Option<String>,
    /// Its value.
    found: Option<String>,
    checks: Option<BodyChecks>,
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
    /// At the end.
    Done,
}

impl Decoder {
    /// The next decoded bytes of what is there; `None` if there is not enough.
    fn next(&mut self) -> Result<Option<Bytes>, UnframeError> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    // What stands behind a semicolon is a signature, which says nothing here.
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let size = u64::from_str_radix(digits, 16).ok().filter(|_| plain);
                    self.state = match size.ok_or(UnframeError::Malformed)? {
                        0 => State::Trailers,
                        size if size > self.left => return Err(UnframeError::Malformed),
                        size => State::Data(size),
                    };
                }
                State::Data(size) => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    let here = usize::try_from(size)
                        .map_or(self.input.len(), |size| size.min(self.input.len()));
                    let data = self.input.split_to(here).freeze();
                    let taken = data.len() as u64;
                    self.left -= taken;
                    self.state = if taken == size {
                        State::End
                    } else {
                        State::Data(size - taken)
                    };
                    if let Some(checks) = &mut self.checks {
                        checks.update(&data);
                    }
                    return Ok(Some(data));
                }
                State::End => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    if !line.is_empty() {
                        return Err(UnframeError::Malformed);
                    }
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = self.line()? else {
                        return Ok(None);
                    };
                    if line.is_empty() {
                        self.state = State::Done;
                        return Ok(None);
                    }
                    let (name, value) = line.split_once(':').ok_or(UnframeError::Malformed)?;
                    if self.trailer.as_deref() == Some(name.trim().to_ascii_lowercase().as_str()) {
                        self.found = Some(value.trim().to_owned());
                    }
                }
                // Nothing belongs there; clients send an end of line more or less.
                State::Done => {
                    self.input.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// A whole line without its end.
    fn line(&mut self) -> Result<Option<String>, UnframeError> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            return if self.input.len() > LONGEST_LINE {
                Err(UnframeError::Malformed)
            } else {
                Ok(None)
            };
        };
        let line = self.input.split_to(end);
        self.input.advance(1);
        let line = std::str::from_utf8(&line).map_err(|_| UnframeError::Malformed)?;
        Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }

    /// Judges the end of the body.
    fn finish(&mut self) -> Result<(), UnframeError> {
        // A client may leave out the empty line that ends the trailers.
        let ended = matches!(self.state, State::Done | State::Trailers) && self.input.is_empty();
        if !ended || self.left > 0 {
            return Err(UnframeError::Malformed);
        }
        let (Some(trailer), Some(checks)) = (&self.trailer, self.checks.take()) else {
            return Ok(());
        };
        let Some(algorithm) = trailer.strip_prefix(CHECKSUM) else {
            return Ok(());
        };
        let found = self.found.as_ref().ok_or(UnframeError::Missing)?;
        let computed = checks.computed().map_err(|_| UnframeError::Malformed)?;
        let mut sums = computed.checksums.iter();
        if sums.any(|(name, sum)| *name == algorithm && sum == found) {
            Ok(())
        } else {
            Err(UnframeError::Mismatch)
        }
    }
}

impl HttpBody for Unframed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        loop {
            match self.decoder.next() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.input.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    return Poll::Ready(match self.decoder.finish() {
                        Ok(()) => None,
                        Err(error) => Some(Err(error.into())),
                    });
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.decoder.left)
    }
}

const CHECKSUM: &str = "x-amz-checksum-";
const LONGEST_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const BODY: &str = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-amz-checksum-crc32:hYfYZQ==\r\n\r\n";

    fn request(body: &str, length: usize, piece: usize) -> Request<Body> {
        let pieces: Vec<Result<Frame<Bytes>, StdError>> = body
            .as_bytes()
            .chunks(piece)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        Request::put("/b/k")
            .header("x-amz-content-sha256", FRAMED)
            .header("x-amz-decoded-content-length", length)
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(Body::http_body(StreamBody::new(futures::stream::iter(
                pieces,
            ))))
            .unwrap()
    }

    fn decoded(body: &str, length: usize, piece: usize) -> Result<Bytes, String> {
        let request = unframed(request(body, length, piece)).unwrap();
        assert_eq!(request.headers()["content-length"], length.to_string());
        let collected = futures::executor::block_on(request.into_body().collect());
        collected
            .map(|body| body.to_bytes())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn frames_come_off_in_pieces_of_any_size() {
        for piece in 1..BODY.len() + 1 {
            assert_eq!(decoded(BODY, 5, piece).unwrap(), "abcde");
        }
        let without_last_line = BODY.strip_suffix("\r\n").unwrap();
        assert_eq!(decoded(without_last_line, 5, 9).unwrap(), "abcde");
    }

    #[test]
    fn what_is_cut_longer_shorter_or_other_is_an_error() {
        let error = |error: UnframeError| error.to_string();
        for cut in 0..BODY.len() - 2 {
            assert!(decoded(&BODY[..cut], 5, 7).is_err(), "{cut}");
        }
        assert_eq!(
            decoded(BODY, 4, 7).unwrap_err(),
            error(UnframeError::Malformed)
        );
        assert_eq!(
            decoded(BODY, 6, 7).unwrap_err(),
            error(UnframeError::Malformed)
        );
        let other = BODY.replace("abc", "abd");
        assert_eq!(
            decoded(&other, 5, 7).unwrap_err(),
            error(UnframeError::Mismatch)
        );
        let missing = BODY.replace("x-amz-checksum-crc32:", "x-amz-checksum-sha1:");
        assert_eq!(
            decoded(&missing, 5, 7).unwrap_err(),
            error(UnframeError::Missing)
        );
        for size in ["", "-3", "+3", "x", "ffffffffffffffffff"] {
            let odd = BODY.replacen('3', size, 1);
            assert_eq!(
                decoded(&odd, 5, 7).unwrap_err(),
                error(UnframeError::Malformed)
            );
        }
    }

    #[test]
    fn signed_bodies_are_left_to_the_protocol_crate() {
        let mut signed = request(BODY, 5, 7);
        signed.headers_mut().insert(
            AUTHORIZATION,
            HeaderValue::from_static("AWS4-HMAC-SHA256 x"),
        );
        let untouched = unframed(signed).unwrap();
        assert_eq!(untouched.headers()["x-amz-content-sha256"], FRAMED);
        assert!(untouched.headers().contains_key("x-amz-trailer"));
    }
}

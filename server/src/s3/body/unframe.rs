//! Framed bodies on their way in. Off a body that nobody signed the frames are taken here; clients
//! frame those too, with a checksum behind the last chunk. The protocol crate takes them off signed
//! bodies, and checks their signatures; what it gets is judged here first, and written anew.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, S3Result, StdError};

use super::checksums::BodyChecks;
use super::frames::{FrameError, Frames, Item, Last, SIGNATURE};
use crate::s3::encryption::sse::header;
use crate::s3::facts::without_framing;
use crate::s3::wire::announced::{CONTENT_SHA256, TRAILER, UNSIGNED_TRAILER, is_framed};
use crate::s3::wire::mismatch::Progress;
use crate::s3::wire::signing::V4;

/// Unframes the body of a request that has no signature, reframes that of one whose signature covers
/// the frames, and leaves every other as it is. `progress` is told what of the latter is read.
pub(in crate::s3) fn unframed(
    mut request: Request<Body>,
    progress: Option<&Progress>,
) -> S3Result<Request<Body>> {
    let headers = request.headers();
    if !is_framed(headers) {
        return Ok(request);
    }
    // Without a length the request is refused as any other without one.
    let Some(frames) = Frames::announced(headers) else {
        return Ok(request);
    };
    if header(headers, AUTHORIZATION.as_str()).is_some_and(|value| value.starts_with(V4)) {
        let progress = progress.cloned().unwrap_or_default();
        return Ok(request.map(|inner| {
            Body::http_body(Reframed {
                inner,
                frames,
                progress,
                ready: VecDeque::new(),
                ended: false,
            })
        }));
    }
    if is_signed(&request) || header(headers, CONTENT_SHA256) != Some(UNSIGNED_TRAILER) {
        return Ok(request);
    }
    let mut checks = BodyChecks::none();
    let trailer = header(headers, TRAILER).map(str::to_ascii_lowercase);
    let trailer = trailer.filter(|name| name.starts_with(CHECKSUM));
    if let Some(algorithm) = trailer
        .as_deref()
        .and_then(|name| name.strip_prefix(CHECKSUM))
    {
        checks.also_compute(algorithm)?;
    }
    as_if_plain(request.headers_mut(), frames.left());
    Ok(request.map(|inner| {
        Body::http_body(Unframed {
            inner,
            frames,
            trailer,
            checks: Some(checks),
        })
    }))
}

/// Whether a signature is somewhere.
fn is_signed(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.headers().contains_key(AUTHORIZATION)
        || query.to_ascii_lowercase().contains("signature=")
}

/// Has the headers say what is left when the frames are off.
fn as_if_plain(headers: &mut HeaderMap, length: u64) {
    for name in [
        TRAILER,
        "x-amz-decoded-content-length",
        "x-amz-sdk-checksum-algorithm",
    ] {
        headers.remove(name);
    }
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_SHA256, HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    if let Some(codings) = header(headers, CONTENT_ENCODING.as_str()).map(without_framing) {
        match codings.map(HeaderValue::try_from) {
            Some(Ok(value)) => headers.insert(CONTENT_ENCODING, value),
            Some(Err(_)) | None => headers.remove(CONTENT_ENCODING),
        };
    }
}

/// The body without its frames.
struct Unframed {
    inner: Body,
    frames: Frames,
    /// The trailer that was declared.
    trailer: Option<String>,
    checks: Option<BodyChecks>,
}

impl Unframed {
    fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        while let Some(item) = self.frames.next()? {
            if let Item::Data(data) = item {
                if let Some(checks) = &mut self.checks {
                    checks.update(&data);
                }
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Compares with the checksum behind the body.
    fn finish(&mut self) -> Result<(), FrameError> {
        let last = self.frames.finish()?;
        let (Some(trailer), Some(checks)) = (&self.trailer, self.checks.take()) else {
            return Ok(());
        };
        let mut found = last.trailers.iter().filter(|(name, _)| name == trailer);
        let (_, found) = found.next().ok_or(FrameError::Trailers)?;
        let computed = checks.computed().map_err(|_| FrameError::Malformed)?;
        if computed.checksums.iter().any(|(_, sum)| sum == found) {
            Ok(())
        } else {
            Err(FrameError::Mismatch)
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
            if let Some(data) = self.next()? {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)?) {
                Some(frame) => feed(&mut self.frames, frame),
                None => {
                    self.finish()?;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frames.left())
    }
}

/// The body in frames as the protocol crate reads them.
struct Reframed {
    inner: Body,
    frames: Frames,
    progress: Progress,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Reframed {
    fn write(&mut self, item: Item) {
        match item {
            Item::Chunk { size, signature } => {
                self.ready.push_back(chunk_line(size, signature.as_deref()));
                self.progress.chunk(signature);
            }
            Item::Data(data) => {
                self.progress.data(&data);
                self.ready.push_back(data);
            }
            Item::ChunkEnd => self.ready.push_back(Bytes::from_static(b"\r\n")),
        }
    }

    fn write_last(&mut self, last: Last) {
        self.ready
            .push_back(chunk_line(0, last.signature.as_deref()));
        let mut lines = String::new();
        let signature = last.trailer_signature.iter();
        let trailers = last
            .trailers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        for (name, value) in
            trailers.chain(signature.map(|value| ("x-amz-trailer-signature", value)))
        {
            lines.extend([name, ":", value, "\r\n"]);
        }
        self.ready.push_back(Bytes::from(lines + "\r\n"));
        self.progress.last(last);
    }
}

/// The line before a chunk. A signature that cannot be one is written as one that is none.
fn chunk_line(size: u64, signature: Option<&str>) -> Bytes {
    let line = match signature {
        None => format!("{size:x}\r\n"),
        Some(given) => {
            let is_digest = given.len() == 64
                && given
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let signature = if is_digest { given } else { NO_SIGNATURE };
            format!("{size:x};{SIGNATURE}={signature}\r\n")
        }
    };
    Bytes::from(line)
}

impl HttpBody for Reframed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(item) = self.frames.next()? {
                self.write(item);
                continue;
            }
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)?) {
                Some(frame) => feed(&mut self.frames, frame),
                None => {
                    self.ended = true;
                    let last = self.frames.finish()?;
                    self.write_last(last);
                }
            }
        }
    }
}

fn feed(frames: &mut Frames, frame: Frame<Bytes>) {
    // HTTP's own trailers say nothing of the body.
    if let Ok(data) = frame.into_data() {
        frames.feed(data);
    }
}

const CHECKSUM: &str = "x-amz-checksum-";
const NO_SIGNATURE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const BODY: &str = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-amz-checksum-crc32:hYfYZQ==\r\n\r\n";

    fn request(body: &str, length: usize) -> Request<Body> {
        let pieces: Vec<Result<Frame<Bytes>, StdError>> = body
            .as_bytes()
            .chunks(7)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        Request::put("/b/k")
            .header("x-amz-content-sha256", UNSIGNED_TRAILER)
            .header("x-amz-decoded-content-length", length)
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("content-encoding", "gzip, aws-chunked, br")
            .body(Body::http_body(StreamBody::new(futures::stream::iter(
                pieces,
            ))))
            .unwrap()
    }

    fn collected(request: Request<Body>) -> Result<Bytes, String> {
        futures::executor::block_on(request.into_body().collect())
            .map(|body| body.to_bytes())
            .map_err(|error| error.to_string())
    }

    fn decoded(body: &str) -> Result<Bytes, String> {
        let request = unframed(request(body, 5), None).unwrap();
        assert_eq!(request.headers()["content-length"], "5");
        assert_eq!(request.headers()["content-encoding"], "gzip, br");
        collected(request)
    }

    #[test]
    fn frames_come_off_and_the_checksum_behind_them_is_compared() {
        assert_eq!(decoded(BODY).unwrap(), "abcde");
        for (body, error) in [
            (BODY.replace("abc", "abd"), FrameError::Mismatch),
            (BODY.replace("crc32", "sha1"), FrameError::Trailers),
            (
                BODY.replace("x-amz-checksum-crc32:hYfYZQ==\r\n", ""),
                FrameError::Trailers,
            ),
            (BODY.replace("0\r\n", ""), FrameError::Malformed),
        ] {
            assert_eq!(decoded(&body).unwrap_err(), error.to_string());
        }
    }

    fn signed(body: &str, payload: &'static str) -> Request<Body> {
        let mut request = request(body, 5);
        let headers = request.headers_mut();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_static("AWS4-HMAC-SHA256 x"),
        );
        headers.insert("x-amz-content-sha256", HeaderValue::from_static(payload));
        unframed(request, None).unwrap()
    }

    #[test]
    fn signed_frames_are_judged_and_otherwise_left_to_the_protocol_crate() {
        let untouched = signed(BODY, UNSIGNED_TRAILER);
        assert_eq!(
            untouched.headers()["x-amz-content-sha256"],
            UNSIGNED_TRAILER
        );
        assert!(untouched.headers().contains_key("x-amz-trailer"));
        assert_eq!(collected(untouched).unwrap(), BODY.replace(";x=y", ""));
        let whole = BODY.replace("0\r\n", "");
        assert!(collected(signed(&whole, UNSIGNED_TRAILER)).is_err());
    }

    #[test]
    fn lines_with_signatures_are_written_in_one_way() {
        let digest = "1a".repeat(32);
        let body = format!("5 ; chunk-signature = {digest} \r\nabcde\r\n0;chunk-signature=odd\r\n");
        let signed = signed(&body, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        let written = format!(
            "5;chunk-signature={digest}\r\nabcde\r\n0;chunk-signature={NO_SIGNATURE}\r\n\r\n"
        );
        assert_eq!(collected(signed).unwrap(), written);
    }
}

//! Bodies between the network and the vault: a handle goes to the blocking pool with one batch at a
//! time, so that a slow client holds no thread and at most two batches of memory.
//!
//! Batches are small until a stream has shown that it is fast, and only so many may be large at a
//! time: thousands of clients that are fast at first and then stall do not add up to much memory.

pub(super) mod checksums;
pub(super) mod digest;
pub(super) mod frames;
pub(super) mod part_sums;
pub(super) mod unframe;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::dto::StreamingBlob;
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{BodySizeLimitExceeded, S3Error, S3ErrorCode, S3Result, StdError};
use strongroom::vault::{ObjectReader, PartStream, PutStream, VaultError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::checksums::{BodyChecks, malformed_trailer};
use self::frames::FrameError;
use super::errors::{custom, error, from_vault, with_detail};
use super::post::WrongSize;
use crate::listener::body::BodyError;
use crate::metrics::Metrics;

/// Plaintext that any stream may hold: one segment.
const SMALL_BATCH: usize = 64 << 10;
/// Plaintext that a stream may hold with a permit of [`LARGE_BATCHES`].
const LARGE_BATCH: usize = 1 << 20;
/// Large batches in memory at a time. Streams that find none left go on in small ones.
static LARGE_BATCHES: Semaphore = Semaphore::const_new(64);

/// Runs blocking work; a panic there becomes an internal error here.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> S3Result<T> {
    hop(work).await.map_err(S3Error::internal_error)
}

/// Every way of the S3 face onto a thread that may block.
fn hop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    metrics::counter!("strongroom_blocking_calls_total").increment(1);
    tokio::task::spawn_blocking(work)
}

/// What takes plaintext: the write of an object, or of a part.
pub(super) trait Sink: Send + 'static {
    fn write(&mut self, plain: &[u8]) -> Result<(), VaultError>;
}

impl Sink for PutStream {
    fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        PutStream::write(self, plain)
    }
}

impl Sink for PartStream {
    fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        PartStream::write(self, plain)
    }
}

/// A write under way: the vault's handle and the checks over what went into it.
pub(super) struct Upload<S> {
    pub(super) stream: S,
    pub(super) checks: BodyChecks,
    pub(super) length: u64,
    pub(super) metrics: Metrics,
}

impl<S: Sink> Upload<S> {
    /// Reads the whole body into the vault. The last batch comes back unwritten, so that a small
    /// object is written, verified and committed in one call.
    pub(super) async fn fill(
        self,
        body: Option<StreamingBlob>,
        expected: Option<u64>,
        resource: &str,
    ) -> S3Result<(Self, Zeroizing<Vec<u8>>)> {
        let room = expected
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(LARGE_BATCH)
            .min(LARGE_BATCH);
        let mut batch = Batch::default();
        let mut worker = Worker::Idle(Box::new(self));
        if let Some(mut body) = body {
            while let Some(next) = body.next().await {
                let mut bytes: &[u8] = &next.map_err(|cause| body_error(&*cause))?;
                while !bytes.is_empty() {
                    bytes = batch.take(bytes, room);
                    if batch.is_full() {
                        let full = std::mem::take(&mut batch);
                        worker = Worker::write(worker.idle(resource).await?, full);
                    }
                }
            }
        }
        let batch = batch.plain;
        Ok((*worker.idle(resource).await?, batch))
    }

    /// Writes the next plaintext and takes it into the checks.
    pub(super) fn write(&mut self, plain: &[u8]) -> Result<(), VaultError> {
        self.checks.update(plain);
        self.length += plain.len() as u64;
        let started = Instant::now();
        let written = self.stream.write(plain);
        self.metrics.sealed(started.elapsed(), plain.len() as u64);
        written
    }
}

/// Plaintext on its way to the vault. Memory is taken as bytes arrive, not as they are announced.
#[derive(Default)]
struct Batch {
    plain: Zeroizing<Vec<u8>>,
    large: Option<SemaphorePermit<'static>>,
}

impl Batch {
    /// Takes what fits and gives back the rest. A batch never needs to hold more than `room`.
    fn take<'a>(&mut self, bytes: &'a [u8], room: usize) -> &'a [u8] {
        let (now, later) = bytes.split_at(bytes.len().min(self.limit() - self.plain.len()));
        self.plain.extend_from_slice(now);
        if self.large.is_none() && self.plain.len() == SMALL_BATCH && room > SMALL_BATCH {
            self.large = LARGE_BATCHES.try_acquire().ok();
            if self.large.is_some() {
                // Moved by hand: growing in place would leave the old bytes behind.
                let mut larger = Zeroizing::new(Vec::with_capacity(room));
                larger.extend_from_slice(&self.plain);
                self.plain = larger;
            }
        }
        later
    }

    fn is_full(&self) -> bool {
        self.plain.len() == self.limit()
    }

    fn limit(&self) -> usize {
        match self.large {
            Some(_) => LARGE_BATCH,
            None => SMALL_BATCH,
        }
    }
}

enum Worker<S> {
    Idle(Box<Upload<S>>),
    Busy(JoinHandle<Result<Box<Upload<S>>, VaultError>>),
}

impl<S: Sink> Worker<S> {
    fn write(mut upload: Box<Upload<S>>, batch: Batch) -> Self {
        Self::Busy(hop(move || {
            upload.write(&batch.plain)?;
            Ok(upload)
        }))
    }

    async fn idle(self, resource: &str) -> S3Result<Box<Upload<S>>> {
        match self {
            Self::Idle(upload) => Ok(upload),
            Self::Busy(handle) => handle
                .await
                .map_err(S3Error::internal_error)?
                .map_err(|cause| from_vault(cause, resource)),
        }
    }
}

/// The body is not the one whose digest was signed.
pub(super) fn wrong_sha256() -> S3Error {
    custom(
        http::StatusCode::BAD_REQUEST,
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
}

/// The body's frames end before it does.
fn unexpected_end() -> S3Error {
    error(
        S3ErrorCode::IncompleteBody,
        "The request body terminated unexpectedly",
    )
}

/// The body is not as long as was said.
pub(super) fn other_length(expected: u64, provided: u64) -> S3Error {
    let refused = error(S3ErrorCode::IncompleteBody, OTHER_LENGTH);
    with_detail(
        refused,
        &[
            ("NumberBytesExpected", &expected.to_string()),
            ("NumberBytesProvided", &provided.to_string()),
        ],
    )
}

const OTHER_LENGTH: &str =
    "You did not provide the number of bytes specified by the Content-Length HTTP header";

/// What a broken request body means to its sender.
pub(super) fn body_error(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(cause) = source {
        if let Some(BodyError::Stalled(_)) = cause.downcast_ref() {
            return error(
                S3ErrorCode::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.",
            );
        }
        if cause.is::<BodySizeLimitExceeded>() {
            return error(
                S3ErrorCode::EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size",
            );
        }
        if let Some(size) = cause.downcast_ref::<WrongSize>() {
            return size.refusal();
        }
        match cause.downcast_ref() {
            Some(FrameError::Mismatch) => {
                return error(
                    S3ErrorCode::BadDigest,
                    "The checksum behind the body did not match the calculated checksum.",
                );
            }
            Some(FrameError::Trailers) => return malformed_trailer(),
            Some(FrameError::Malformed) => return unexpected_end(),
            Some(FrameError::Length { expected, provided }) => {
                return other_length(*expected, *provided);
            }
            None => {}
        }
        if let Some(UploadStreamError::Sha256Mismatch) = cause.downcast_ref() {
            return wrong_sha256();
        }
        if let Some(AwsChunkedStreamError::SignatureMismatch) = cause.downcast_ref() {
            return error(
                S3ErrorCode::SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            );
        }
        if let Some(AwsChunkedStreamError::FormatError | AwsChunkedStreamError::Incomplete) =
            cause.downcast_ref()
        {
            return unexpected_end();
        }
        if let Some(
            AwsChunkedStreamError::ChunkDataTooLarge(..)
            | AwsChunkedStreamError::ChunkMetaTooLarge(..),
        ) = cause.downcast_ref()
        {
            return error(
                S3ErrorCode::EntityTooLarge,
                "A chunk of the body is larger than this server accepts",
            );
        }
        source = cause.source();
    }
    error(S3ErrorCode::IncompleteBody, OTHER_LENGTH)
}

/// The body of a GET: authenticated plaintext, one batch at a time, read when the client asks for it.
pub(super) struct Download {
    state: State,
    offset: u64,
    end: u64,
    read: usize,
    resource: String,
    metrics: Metrics,
}

enum State {
    Ready(Box<ObjectReader>, Bytes),
    Reading(JoinHandle<Result<(Box<ObjectReader>, Bytes), VaultError>>),
    Done,
}

impl Download {
    /// Reads the first batch of `start..end` before any status line is sent, so that a damaged
    /// object is an error and not a broken body.
    pub(super) async fn start(
        reader: ObjectReader,
        start: u64,
        end: u64,
        resource: String,
        metrics: Metrics,
    ) -> S3Result<Self> {
        let mut this = Self {
            state: State::Done,
            offset: start,
            end,
            read: SMALL_BATCH,
            resource,
            metrics,
        };
        let (reader, first) = this
            .begin(Box::new(reader))
            .await
            .map_err(S3Error::internal_error)?
            .map_err(|cause| from_vault(cause, &this.resource))?;
        this.state = State::Ready(reader, first);
        Ok(this)
    }

    fn begin(
        &self,
        mut reader: Box<ObjectReader>,
    ) -> JoinHandle<Result<(Box<ObjectReader>, Bytes), VaultError>> {
        let large = (self.read > SMALL_BATCH)
            .then(|| LARGE_BATCHES.try_acquire().ok())
            .flatten();
        let most = if large.is_some() {
            self.read
        } else {
            SMALL_BATCH
        };
        let (offset, end) = (self.offset, self.end);
        let metrics = self.metrics.clone();
        hop(move || {
            let wanted = usize::try_from(end - offset).map_or(most, |left| left.min(most));
            let mut plain = Zeroizing::new(vec![0; wanted]);
            let mut done = 0;
            let started = Instant::now();
            while done < wanted {
                let read = reader.read_at(offset + done as u64, &mut plain[done..])?;
                if read == 0 {
                    return Err(VaultError::Ended);
                }
                done += read;
            }
            metrics.opened(started.elapsed(), done as u64);
            Ok((
                reader,
                Bytes::from_owner(Wiped {
                    plain,
                    _large: large,
                }),
            ))
        })
    }
}

/// Plaintext on its way to the socket, wiped when the last reference goes.
struct Wiped {
    plain: Zeroizing<Vec<u8>>,
    _large: Option<SemaphorePermit<'static>>,
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.plain
    }
}

impl Stream for Download {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Ready(reader, bytes) if !bytes.is_empty() => {
                    self.offset += bytes.len() as u64;
                    self.state = State::Ready(reader, Bytes::new());
                    return Poll::Ready(Some(Ok(bytes)));
                }
                State::Ready(_, _) if self.offset >= self.end => return Poll::Ready(None),
                State::Ready(reader, _) => {
                    self.read = (self.read * 2).min(LARGE_BATCH);
                    self.state = State::Reading(self.begin(reader));
                }
                State::Reading(mut handle) => match Pin::new(&mut handle).poll_join(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(handle);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((reader, bytes))) => self.state = State::Ready(reader, bytes),
                    Poll::Ready(Err(cause)) => {
                        tracing::error!(resource = self.resource, error = %cause, "download cut: the connection is aborted");
                        return Poll::Ready(Some(Err(cause)));
                    }
                },
            }
        }
    }
}

impl ByteStream for Download {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.end - self.offset)
            .map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}

trait PollJoin<T> {
    fn poll_join(self, cx: &mut Context<'_>) -> Poll<Result<T, StdError>>;
}

impl<T> PollJoin<T> for Pin<&mut JoinHandle<Result<T, VaultError>>> {
    fn poll_join(self, cx: &mut Context<'_>) -> Poll<Result<T, StdError>> {
        std::future::Future::poll(self, cx).map(|joined| match joined {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(cause.into()),
            Err(cause) => Err(cause.into()),
        })
    }
}

//! Bodies between the network and the vault: a handle goes to the blocking pool with one batch at a
//! time, so that a slow client holds no thread and at most two batches of memory.

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
use strongroom::vault::{ObjectReader, PutStream, VaultError};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::checksums::BodyChecks;
use super::errors::{error, from_vault};
use crate::metrics::Metrics;

/// Plaintext handed to the vault in one call.
const WRITE_BATCH: usize = 1 << 20;
/// The first read of a body; each next one doubles while the client keeps up.
const FIRST_READ: usize = 64 << 10;
const LARGEST_READ: usize = 1 << 20;

/// Runs blocking work; a panic there becomes an internal error here.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(S3Error::internal_error)
}

/// A write under way: the vault's handle and the checks over what went into it.
pub(super) struct Upload {
    pub(super) stream: PutStream,
    pub(super) checks: BodyChecks,
    pub(super) length: u64,
    pub(super) metrics: Metrics,
}

impl Upload {
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
            .unwrap_or(WRITE_BATCH)
            .min(WRITE_BATCH);
        let mut batch = Zeroizing::new(Vec::with_capacity(room));
        let mut worker = Worker::Idle(Box::new(self));
        if let Some(mut body) = body {
            while let Some(next) = body.next().await {
                let mut bytes: &[u8] = &next.map_err(|cause| body_error(&*cause))?;
                while !bytes.is_empty() {
                    let take = bytes.len().min(WRITE_BATCH - batch.len());
                    let (now, later) = bytes.split_at(take);
                    batch.extend_from_slice(now);
                    bytes = later;
                    if batch.len() == WRITE_BATCH {
                        let full = std::mem::replace(
                            &mut batch,
                            Zeroizing::new(Vec::with_capacity(WRITE_BATCH)),
                        );
                        worker = Worker::write(worker.idle(resource).await?, full);
                    }
                }
            }
        }
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

enum Worker {
    Idle(Box<Upload>),
    Busy(JoinHandle<Result<Box<Upload>, VaultError>>),
}

impl Worker {
    fn write(mut upload: Box<Upload>, batch: Zeroizing<Vec<u8>>) -> Self {
        Self::Busy(tokio::task::spawn_blocking(move || {
            upload.write(&batch)?;
            Ok(upload)
        }))
    }

    async fn idle(self, resource: &str) -> S3Result<Box<Upload>> {
        match self {
            Self::Idle(upload) => Ok(upload),
            Self::Busy(handle) => handle
                .await
                .map_err(S3Error::internal_error)?
                .map_err(|cause| from_vault(cause, resource)),
        }
    }
}

/// What a broken request body means to its sender.
fn body_error(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(cause) = source {
        if cause.is::<BodySizeLimitExceeded>() {
            return error(
                S3ErrorCode::EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size",
            );
        }
        if let Some(UploadStreamError::Sha256Mismatch) = cause.downcast_ref() {
            return super::errors::custom(
                http::StatusCode::BAD_REQUEST,
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            );
        }
        if let Some(AwsChunkedStreamError::SignatureMismatch) = cause.downcast_ref() {
            return error(
                S3ErrorCode::SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided.",
            );
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
    error(
        S3ErrorCode::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
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
            read: FIRST_READ,
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
        let (offset, end, most) = (self.offset, self.end, self.read as u64);
        let metrics = self.metrics.clone();
        tokio::task::spawn_blocking(move || {
            let wanted = usize::try_from((end - offset).min(most)).unwrap_or(LARGEST_READ);
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
            Ok((reader, Bytes::from_owner(Wiped(plain))))
        })
    }
}

/// Plaintext on its way to the socket, wiped when the last reference goes.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
                    self.read = (self.read * 2).min(LARGEST_READ);
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

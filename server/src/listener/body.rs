//! A request body that must make progress.
//!
//! In every window of waiting for the client the body must bring a minimum of bytes, or end;
//! else it fails with [`BodyStalled`]. Time in which nobody asks for bytes, because the disk or
//! the HSM is busy, is not held against the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// The least a body must bring: `bytes` in each `window` of waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) window: Duration,
    pub(crate) bytes: u64,
}

/// The client sent its body too slowly, or stopped.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request body did not arrive within the time allowed")]
pub(crate) struct BodyStalled;

/// Why reading a request body failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// See [`BodyStalled`].
    #[error(transparent)]
    Stalled(#[from] BodyStalled),
    /// The connection broke or the framing is wrong.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

pin_project_lite::pin_project! {
    /// Wraps the body of a request; counts its bytes by the way.
    pub(crate) struct Paced<B> {
        #[pin]
        inner: B,
        pace: Option<Pace>,
        timer: Option<Pin<Box<Sleep>>>,
        // Waited in this window before the current wait began.
        waited: Duration,
        since: Option<Instant>,
        in_window: u64,
        on_bytes: Box<dyn Fn(u64) + Send + Sync>,
        on_stall: Box<dyn Fn() + Send + Sync>,
    }
}

pin_project_lite::pin_project! {
    /// Hands the body back when its reader drops it before the end, so that the rest can be drained.
    pub(crate) struct Returned<B: Unpin> {
        inner: Option<B>,
        unread: Option<oneshot::Sender<B>>,
    }

    impl<B: Unpin> PinnedDrop for Returned<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(body), Some(unread)) = (this.inner.take(), this.unread.take()) {
                // Nobody waits for it when the connection is gone.
                let _ = unread.send(body);
            }
        }
    }
}

impl<B: Body + Unpin> Returned<B> {
    /// The body, and where it comes back to.
    pub(crate) fn new(body: B) -> (Self, oneshot::Receiver<B>) {
        let (unread, back) = oneshot::channel();
        let returned = Returned {
            inner: Some(body),
            unread: Some(unread),
        };
        (returned, back)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Returned<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Reads what is left of a body that was answered before it was read, within limits: a client that
/// still sends would otherwise find the connection closed and never see the answer.
pub(crate) async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = DRAINED_BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Past the time or the bytes the connection is closed, as it would have been at once.
    let _ = tokio::time::timeout(DRAINED_FOR, rest).await;
}

const DRAINED_BYTES: usize = 1 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(2);

impl<B> Paced<B> {
    /// No pace: any slowness is accepted.
    pub(crate) fn new(
        inner: B,
        pace: Option<Pace>,
        on_bytes: Box<dyn Fn(u64) + Send + Sync>,
        on_stall: Box<dyn Fn() + Send + Sync>,
    ) -> Paced<B> {
        Paced {
            inner,
            pace,
            timer: None,
            waited: Duration::ZERO,
            since: None,
            in_window: 0,
            on_bytes,
            on_stall,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Paced<B>
where
    BodyError: From<B::Error>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            if let Some(since) = this.since.take() {
                *this.waited += since.elapsed();
            }
            if let Some(Ok(data)) = frame
                .as_ref()
                .map(|frame| frame.as_ref().map(Frame::data_ref))
            {
                let bytes = data.map_or(0, |data| data.len() as u64);
                *this.in_window += bytes;
                (this.on_bytes)(bytes);
            }
            if let Some(pace) = this.pace
                && *this.in_window >= pace.bytes
            {
                *this.waited = Duration::ZERO;
                *this.in_window = 0;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let Some(pace) = *this.pace else {
            return Poll::Pending;
        };
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(pace.window)));
        if this.since.is_none() {
            let now = Instant::now();
            *this.since = Some(now);
            timer
                .as_mut()
                .reset(now + pace.window.saturating_sub(*this.waited));
        }
        ready!(timer.as_mut().poll(cx));
        (this.on_stall)();
        Poll::Ready(Some(Err(BodyStalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::StreamExt;
    use http_body_util::StreamBody;

    fn trickle(
        bytes: usize,
        every: Duration,
        frames: usize,
    ) -> impl Body<Data = Bytes, Error = BodyError> {
        let stream = futures::stream::iter(0..frames).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok(Frame::data(Bytes::from(vec![0; bytes])))
        });
        StreamBody::new(stream)
    }

    fn paced<B>(body: B) -> Pin<Box<Paced<B>>> {
        let pace = Pace {
            window: Duration::from_secs(10),
            bytes: 16 * 1024,
        };
        Box::pin(Paced::new(
            body,
            Some(pace),
            Box::new(|_| ()),
            Box::new(|| ()),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_a_second_is_cut_at_the_end_of_the_window() {
        let started = Instant::now();
        let error = paced(trickle(1, Duration::from_secs(1), 100))
            .collect()
            .await
            .err()
            .unwrap();
        assert!(matches!(error, BodyError::Stalled(_)));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_minimum_pace_arrives_whole() {
        let whole = paced(trickle(4096, Duration::from_millis(2400), 100))
            .collect()
            .await
            .unwrap();
        assert_eq!(whole.to_bytes().len(), 409_600);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asks_is_not_held_against_the_client() {
        let mut body = paced(trickle(1, Duration::from_secs(4), 3));
        for _ in 0..2 {
            body.frame().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        // 8 of 10 seconds are used up: the third byte comes 4 seconds later, too late.
        assert!(matches!(
            body.frame().await.unwrap(),
            Err(BodyError::Stalled(_))
        ));
    }

    #[tokio::test]
    async fn what_a_reader_leaves_comes_back_and_is_drained_to_its_bound() {
        let (mut body, mut back) = Returned::new(Box::pin(trickle(1000, Duration::ZERO, 3)));
        assert!(body.frame().await.is_some());
        drop(body);
        let mut rest = back.try_recv().unwrap();
        assert_eq!(
            rest.frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len(),
            1000
        );
        drain(rest).await;

        let (mut whole, mut back) = Returned::new(Box::pin(trickle(1000, Duration::ZERO, 1)));
        while whole.frame().await.is_some() {}
        drop(whole);
        assert!(back.try_recv().is_err());
    }
}

//! What stands between a connection and the S3 service: request ids, the access log, metrics,
//! the pace of bodies, and the rule that a connection which carried a customer key is closed.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::s3::Wire;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::config::Limits;
use crate::listener::ConnInfo;
use crate::listener::body::{Pace, Paced, Returned, drain};
use crate::metrics::{Cut, Metrics};

/// The S3 service with everything around it; one per daemon, cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    s3: Wire,
    metrics: Metrics,
    pace: Option<Pace>,
}

/// What is learned about a request on its way, for the access log: in the extensions of every
/// request, filled by the S3 layer.
pub(crate) struct Facts {
    id: String,
    operation: OnceLock<String>,
    principal: OnceLock<Arc<str>>,
    decision: Mutex<Option<Decision>>,
    received: AtomicU64,
}

/// What access to a request rested on.
struct Decision {
    denied: bool,
    what: String,
}

impl Facts {
    /// The request id, also sent as `x-amz-request-id`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Names the S3 operation.
    pub(crate) fn set_operation(&self, name: &str) {
        // A second name would be a second operation in one request; the first stands.
        let _ = self.operation.set(name.into());
    }

    /// Names the user who signed.
    pub(crate) fn set_principal(&self, name: Arc<str>) {
        let _ = self.principal.set(name);
    }

    /// Notes what the request was let in by, or refused by: the first that allowed, or the first
    /// that denied.
    pub(crate) fn set_decision(&self, denied: bool, what: String) {
        let mut decision = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = decision
            .as_ref()
            .is_some_and(|known| known.denied || !denied);
        if !stands {
            *decision = Some(Decision { denied, what });
        }
    }

    fn decision(&self) -> Option<String> {
        let decision = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        decision.as_ref().map(|decision| decision.what.clone())
    }
}

impl Front {
    /// Puts the front before an S3 service.
    pub(crate) fn new(s3: Wire, metrics: Metrics, limits: &Limits) -> Front {
        let pace = Limits::seconds(limits.body_seconds)
            .filter(|_| limits.body_bytes > 0)
            .map(|window| Pace {
                window,
                bytes: limits.body_bytes,
            });
        Front { s3, metrics, pace }
    }

    /// The service of one connection.
    pub(crate) fn on(&self, connection: ConnInfo) -> OnConnection {
        OnConnection {
            front: self.clone(),
            connection,
        }
    }

    async fn answer(self, connection: ConnInfo, request: Request<Incoming>) -> Response<Reply> {
        let started = Instant::now();
        let facts = Arc::new(Facts {
            id: request_id(),
            operation: OnceLock::new(),
            principal: OnceLock::new(),
            decision: Mutex::default(),
            received: AtomicU64::new(0),
        });
        let customer_key = carries_customer_key(&request);
        let target = format!("{} {}", request.method(), request.uri().path());
        let bodiless = request.method() == Method::HEAD;
        // A client that waits for leave to send its body sends nothing after an answer.
        let waits = request.headers().contains_key(EXPECT);
        let mut unread = None;
        let mut request = request.map(|body| {
            let (body, back) = Returned::new(body);
            unread = Some(back);
            let facts = Arc::clone(&facts);
            let count = move |bytes| {
                facts.received.fetch_add(bytes, Ordering::Relaxed);
            };
            let metrics = self.metrics.clone();
            let stalled = move || metrics.cut(Cut::Body);
            s3s::Body::http_body(Paced::new(
                body,
                self.pace,
                Box::new(count),
                Box::new(stalled),
            ))
        });
        request.extensions_mut().insert(connection);
        request.extensions_mut().insert(Arc::clone(&facts));
        let mut response = match self.s3.call(request).await {
            Ok(response) => response,
            // Not one the protocol layer could word. Its text may quote the request.
            Err(_) => {
                let mut response = Response::new(s3s::Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response.headers_mut().insert(CONNECTION, CLOSE);
                response
            }
        };
        if let Some(Ok(body)) = unread.map(|mut back| back.try_recv())
            && !(waits && facts.received.load(Ordering::Relaxed) == 0)
        {
            drain(body).await;
        }
        if customer_key {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        if let Ok(id) = HeaderValue::from_str(&facts.id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let ending = Ending {
            facts,
            target,
            connection,
            status: response.status(),
            started,
            length: if bodiless { Some(0) } else { length },
            sent: 0,
            ended: http_body::Body::is_end_stream(response.body()),
            metrics: self.metrics,
        };
        response.map(|inner| Reply { inner, ending })
    }
}

/// [`Front`] bound to a connection, as hyper calls it.
pub(crate) struct OnConnection {
    front: Front,
    connection: ConnInfo,
}

impl hyper::service::Service<Request<Incoming>> for OnConnection {
    type Response = Response<Reply>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (front, connection) = (self.front.clone(), self.connection);
        Box::pin(async move { Ok(front.answer(connection, request).await) })
    }
}

pin_project_lite::pin_project! {
    /// The body of a reply; when it ends, or is dropped unfinished, the request is logged.
    pub(crate) struct Reply {
        #[pin]
        inner: s3s::Body,
        ending: Ending,
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = <s3s::Body as http_body::Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.ending.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(None) => this.ending.ended = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Writes the access line and counts the request when the reply is over.
struct Ending {
    facts: Arc<Facts>,
    /// Method and path; the query may hold a signature.
    target: String,
    connection: ConnInfo,
    status: StatusCode,
    started: Instant,
    /// Of the reply, where its header tells it: who waits for no more does not ask for the end.
    length: Option<u64>,
    sent: u64,
    /// The end was reached.
    ended: bool,
    metrics: Metrics,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let operation = self.facts.operation.get().map_or("none", String::as_str);
        let received = self.facts.received.load(Ordering::Relaxed);
        self.metrics
            .request(operation, self.status.as_u16(), took, received, self.sent);
        tracing::info!(
            request = self.facts.id,
            op = operation,
            target = self.target,
            user = self.facts.principal.get().map(AsRef::as_ref),
            access = self.facts.decision(),
            peer = %self.connection.peer,
            status = self.status.as_u16(),
            received,
            sent = self.sent,
            // False: the client left, or the reply failed behind its header.
            whole = self.ended || self.length == Some(self.sent),
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// True when the request brought a customer key, in headers or, refused later, in its query.
fn carries_customer_key<B>(request: &Request<B>) -> bool {
    let headers = request.headers().keys().map(http::HeaderName::as_str);
    headers.into_iter().any(|name| name.contains(CUSTOMER_KEY))
        || request
            .uri()
            .query()
            .is_some_and(|query| query.to_ascii_lowercase().contains(CUSTOMER_KEY))
}

/// In the names of the key and key-MD5 headers of a request and of its copy source.
const CUSTOMER_KEY: &str = "server-side-encryption-customer-key";

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Sixteen characters: eight that tell processes apart, eight of a counter.
fn request_id() -> String {
    static PREFIX: OnceLock<u32> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let prefix = PREFIX.get_or_init(|| {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        started.map_or(0, |since| {
            since.subsec_nanos() ^ std::process::id().rotate_left(16)
        })
    });
    format!("{prefix:08X}{:08X}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(uri: &str, header: &'static str) -> Request<()> {
        Request::get(uri).header(header, "x").body(()).unwrap()
    }

    #[test]
    fn customer_keys_are_seen_in_every_place_a_client_may_put_them() {
        for header in [
            "x-amz-server-side-encryption-customer-key",
            "x-amz-server-side-encryption-customer-key-MD5",
            "x-amz-copy-source-server-side-encryption-customer-key",
        ] {
            assert!(carries_customer_key(&request("/b/k", header)), "{header}");
        }
        assert!(carries_customer_key(&request(
            "/b/k?X-Amz-Server-Side-Encryption-Customer-Key=eA",
            "host"
        )));
        assert!(!carries_customer_key(&request(
            "/b/k?x=1",
            "x-amz-server-side-encryption"
        )));
    }

    #[test]
    fn request_ids_differ() {
        assert_ne!(request_id(), request_id());
    }
}

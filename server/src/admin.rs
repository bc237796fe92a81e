//! The admin listener: health and metrics, on an address of its own and without authentication.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::daemon::Stop;
use crate::engine::Engine;
use crate::metrics::Metrics;

/// What the admin listener answers from.
pub(crate) struct Admin {
    pub(crate) metrics: Metrics,
    pub(crate) engine: Arc<Engine>,
    /// The last answer about health: probes must not become a load on the HSM.
    pub(crate) health: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// Answers until `stop` turns true.
pub(crate) async fn run(socket: TcpListener, admin: Arc<Admin>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.asked() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if connections.len() >= CONNECTIONS {
            continue;
        }
        let admin = Arc::clone(&admin);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(&request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(16 * 1024);
            // A broken admin connection concerns its client only.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Admin {
    async fn answer(self: &Arc<Self>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return reply(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "GET only\n".into(),
            );
        }
        match request.uri().path() {
            "/metrics" => {
                self.engine.count();
                reply(
                    StatusCode::OK,
                    "text/plain; version=0.0.4",
                    self.metrics.render(),
                )
            }
            "/healthz" => {
                let admin = Arc::clone(self);
                // The check asks HSM and stores.
                match tokio::task::spawn_blocking(move || admin.health()).await {
                    Ok(Ok(())) => reply(StatusCode::OK, "text/plain", "ok\n".into()),
                    Ok(Err(why)) => reply(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "text/plain",
                        format!("{why}\n"),
                    ),
                    Err(_) => reply(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "text/plain",
                        "the health check failed\n".into(),
                    ),
                }
            }
            _ => reply(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /metrics\n".into(),
            ),
        }
    }
}

impl Admin {
    fn health(&self) -> Result<(), String> {
        let mut last = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, answer)) if at.elapsed() < HEALTH_AGE => answer.clone(),
            _ => {
                let answer = self.engine.health();
                *last = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(kind),
    );
    response
}

/// Scrapers and probes; more than this is an accident.
const CONNECTIONS: usize = 32;

/// How old an answer about health may be.
const HEALTH_AGE: Duration = Duration::from_secs(1);

//! The S3 listener: accepts, limits, serves and drains connections.
//!
//! Every wait on a client has a deadline: the TLS handshake, a complete request header (which is
//! also the first byte and the idle time between requests), progress of a request body
//! ([`body`]), and progress of a reply ([`stall`]). Connections are counted in all and by
//! address ([`slots`]). Only HTTP/1.1 is spoken.

pub(crate) mod body;
mod slots;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::slots::{Refused, Slots};
use self::stall::Stalling;
use crate::config::Limits;
use crate::daemon::Stop;
use crate::metrics::{Cut, Metrics};
use crate::service::Front;

/// What is known about the connection a request came on; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnInfo {
    /// The request came over TLS, so it may carry a customer key.
    pub(crate) tls: bool,
    /// Its version, `1.2` or `1.3`; `None` without TLS.
    pub(crate) tls_version: Option<&'static str>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
}

/// The S3 listener, bound and not yet accepting.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    front: Front,
    limits: Arc<Limits>,
    metrics: Metrics,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every request in flight was answered.
    Complete,
    /// This many connections were cut at the end of the drain time.
    Cut(usize),
}

impl Listener {
    /// Takes over a bound socket.
    pub(crate) fn new(
        socket: TcpListener,
        tls: Option<TlsAcceptor>,
        front: Front,
        limits: Limits,
        metrics: Metrics,
    ) -> Listener {
        Listener {
            socket,
            tls,
            front,
            limits: Arc::new(limits),
            metrics,
        }
    }

    /// Accepts until `stop` turns true, then lets requests in flight end and returns.
    pub(crate) async fn run(self, mut stop: Stop) -> Drained {
        let slots = Slots::new(self.limits.connections, self.limits.connections_per_address);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.asked() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {
                    self.metrics.connections(connections.len());
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a connection that was gone before we looked.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let slot = match slots.take(peer.ip()) {
                Ok(slot) => slot,
                Err(refused) => {
                    self.metrics.cut(match refused {
                        Refused::Full => Cut::TooMany,
                        Refused::AddressFull => Cut::TooManyOfAddress,
                    });
                    continue;
                }
            };
            let connection = self.connection(peer, stop.clone());
            connections.spawn(async move {
                connection.serve(stream).await;
                drop(slot);
            });
            self.metrics.connections(connections.len());
        }
        drop(self.socket);
        let drain = Duration::from_secs(self.limits.drain_seconds);
        let all = async { while connections.join_next().await.is_some() {} };
        match timeout(drain, all).await {
            Ok(()) => Drained::Complete,
            Err(_) => {
                let left = connections.len();
                connections.shutdown().await;
                Drained::Cut(left)
            }
        }
    }

    fn connection(&self, peer: SocketAddr, stop: Stop) -> Connection {
        Connection {
            peer,
            stop,
            tls: self.tls.clone(),
            front: self.front.clone(),
            limits: Arc::clone(&self.limits),
            metrics: self.metrics.clone(),
        }
    }
}

/// One connection, from accept to close.
struct Connection {
    peer: SocketAddr,
    stop: Stop,
    tls: Option<TlsAcceptor>,
    front: Front,
    limits: Arc<Limits>,
    metrics: Metrics,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        // Small replies must not wait for the acknowledgement of earlier packets.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let stream = Stalling::new(stream, Limits::seconds(self.limits.write_stall_seconds));
        match self.tls.take() {
            None => self.speak(stream, None).await,
            Some(acceptor) => {
                let handshake = acceptor.accept_with(stream, |session| {
                    session.set_buffer_limit(Some(TLS_WRITE_BUFFER));
                });
                let deadline = Limits::seconds(self.limits.handshake_seconds);
                let accepted = tokio::select! {
                    accepted = within(deadline, handshake) => accepted,
                    () = self.stop.asked() => return,
                };
                match accepted {
                    Some(Ok(stream)) => {
                        let version = match stream.get_ref().1.protocol_version() {
                            Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
                            _ => "1.3",
                        };
                        self.speak(stream, Some(version)).await;
                    }
                    // Not TLS, or a client that does not trust us: nothing to answer.
                    Some(Err(_)) => {}
                    None => self.metrics.cut(Cut::Handshake),
                }
            }
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        mut self,
        stream: S,
        tls_version: Option<&'static str>,
    ) {
        let service = self.front.on(ConnInfo {
            tls: tls_version.is_some(),
            tls_version,
            peer: self.peer,
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Limits::seconds(self.limits.header_seconds))
            .max_buf_size(READ_BUFFER)
            .max_header_size(HEADER_LIMIT);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.asked() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            if error.is_timeout() {
                self.metrics.cut(Cut::Header);
            } else if stalled(&error) {
                self.metrics.cut(Cut::WriteStall);
            }
        }
    }
}

/// `None` when the deadline passed; no deadline waits for ever.
async fn within<T>(deadline: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn stalled(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

/// Bytes hyper may buffer of a connection in each direction.
const READ_BUFFER: usize = 64 * 1024;

/// Bytes of a request line and its headers. User metadata may take 2 KiB, a presigned URL 8.
const HEADER_LIMIT: usize = 32 * 1024;

/// Sealed TLS records that may wait for a slow client; with thousands of those it adds up.
const TLS_WRITE_BUFFER: usize = 32 * 1024;

/// Rest after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

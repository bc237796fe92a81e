//! The daemon: one runtime, its listeners, its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::cli::Failure;
use crate::config::{Config, Limits};
use crate::listener::{Drained, Listener};
use crate::metrics::Metrics;
use crate::s3::{self, AppState};
use crate::service::Front;
use crate::users::Users;
use crate::{process, tls};

/// Serves until SIGTERM or SIGINT, then drains. `ready` is called with the S3 address once
/// connections are accepted.
pub(crate) fn run(
    config: &Config,
    ready: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let metrics =
        Metrics::install().map_err(|error| Failure::other(format!("metrics: {error}")))?;
    let users = Arc::new(Users::load(&config.paths.users)?);
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    if tls.is_none() {
        tracing::warn!("no [tls]: requests travel in clear and customer keys are refused");
    }
    let limits = fitting(&config.limits, process::raise_open_files());
    let runtime = runtime(&limits)?;
    let state = Arc::new(AppState {
        users,
        settings: config.s3.clone(),
        metrics: metrics.clone(),
    });
    let front = Front::new(s3::service(state), metrics.clone(), &limits);
    let admin = Arc::new(Admin {
        metrics: metrics.clone(),
        health: Box::new(|| Ok(())),
    });
    runtime.block_on(async {
        let socket = bind(config.listen.s3).await?;
        let address = socket.local_addr().map_err(|error| Failure::other(error.to_string()))?;
        let (stop, stopped) = Stop::channel();
        if let Some(at) = config.listen.admin {
            let socket = bind(at).await?;
            if let Ok(at) = socket.local_addr() {
                tracing::info!(%at, "admin listener: /healthz, /metrics");
            }
            tokio::spawn(admin::run(socket, admin, stopped.clone()));
        }
        tokio::spawn(upkeep(metrics.clone()));
        let listener = Listener::new(socket, tls, front, limits, metrics);
        let listener = tokio::spawn(listener.run(stopped));
        ready(address)?;
        tracing::info!(%address, tls = config.tls.is_some(), "serving S3");
        let mut signals = Signals::install()?;
        signals.next().await;
        tracing::info!("stopping: requests in flight may end, a second signal cuts them");
        let _ = stop.send(true);
        tokio::select! {
            drained = listener => match drained {
                Ok(Drained::Complete) => tracing::info!("stopped"),
                Ok(Drained::Cut(connections)) => tracing::warn!(connections, "stopped at the end of the drain time: connections were cut"),
                Err(error) => tracing::error!(%error, "the listener failed"),
            },
            () = signals.next() => tracing::warn!("stopped at the second signal"),
        }
        Ok(())
    })
}

/// Few threads for the network, a bounded pool for disk and crypto: slow clients hold none.
fn runtime(limits: &Limits) -> Result<tokio::runtime::Runtime, Failure> {
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    let network = if limits.network_threads == 0 {
        cpus.clamp(1, 8)
    } else {
        limits.network_threads
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(network)
        .max_blocking_threads(limits.blocking_threads)
        .thread_keep_alive(Duration::from_secs(10))
        .thread_name("strongroom-io")
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start the runtime: {error}")))
}

/// A connection needs a socket and, while it streams, a file.
fn fitting(limits: &Limits, open_files: u64) -> Limits {
    let room = usize::try_from(open_files.saturating_sub(256) / 2)
        .unwrap_or(usize::MAX)
        .max(16);
    let mut limits = limits.clone();
    if limits.connections == 0 || limits.connections > room {
        tracing::warn!(
            open_files,
            connections = room,
            "the limit of open files allows fewer connections than configured"
        );
        limits.connections = room;
    }
    limits
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: stop it, or choose another address"
            }
            std::io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        Failure::other(format!("cannot listen on {address}: {error}{advice}"))
    })
}

async fn upkeep(metrics: Metrics) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        metrics.upkeep();
    }
}

/// Tells every task that the daemon is to stop.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    fn channel() -> (watch::Sender<bool>, Stop) {
        let (sender, receiver) = watch::channel(false);
        (sender, Stop(receiver))
    }

    /// Returns once the daemon was asked to stop.
    pub(crate) async fn asked(&mut self) {
        // An error means the sender is gone, which is an end as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn install() -> Result<Signals, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::other(format!("signals: {error}")));
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

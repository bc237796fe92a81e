//! The daemon: one runtime, its listeners, its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::{self, Admin};
use crate::cli::Failure;
use crate::config::{Config, Limits};
use crate::control::{self, Control};
use crate::engine::Trail;
use crate::listener::{Drained, Listener};
use crate::metrics::Metrics;
use crate::reload::{self, Seen, SettingsFile, Watched};
use crate::s3::{self, AppState, Documents, Kms};
use crate::service::Front;
use crate::users::UserFile;
use crate::{engine, process, tls};

/// Serves until SIGTERM or SIGINT, then drains. `ready` is called with the S3 address once
/// connections are accepted.
pub(crate) fn run(
    config: &Config,
    ready: impl FnOnce(SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let metrics =
        Metrics::install().map_err(|error| Failure::other(format!("metrics: {error}")))?;
    engine::check_locked_memory(config)?;
    let users = Arc::new(UserFile::open(&config.paths.users)?);
    reload::tell_of_nobody(config, &users.now());
    let seen = Seen::of(&config.file);
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    if tls.is_none() {
        tracing::warn!("no [tls]: requests travel in clear and customer keys are refused");
    }
    let limits = fitting(&config.limits, process::raise_open_files());
    let runtime = runtime(&limits)?;
    // Bound before anything is opened: a port that is taken is told at once.
    let sockets = runtime.block_on(Sockets::bind(config))?;
    let engine = Arc::new(engine::open_vault(config, Trail::Daemon)?);
    if let Some(reason) = engine.vault.read_only_reason() {
        tracing::error!(reason, "nothing is written: what can be read is served");
    }
    engine.vault.spawn_maintenance()?;
    let control = Arc::new(Control::new(
        Arc::clone(&engine.vault),
        Arc::clone(&engine.trail),
    ));
    let state = AppState {
        vault: Arc::clone(&engine.vault),
        documents: Arc::new(Documents::new(Arc::clone(&engine.vault))),
        kms: Kms::new(config),
        users: Arc::clone(&users),
        settings: config.s3.clone(),
        multipart: config.multipart.clone(),
        lifecycle: config.lifecycle.clone(),
        metrics: metrics.clone(),
    };
    let state = Arc::new(state);
    let settings = SettingsFile::new(&config.file, seen, Arc::clone(&state));
    let watched: Vec<Arc<dyn Watched>> = vec![users, Arc::new(settings)];
    let s3 = s3::service(Arc::clone(&state))
        .map_err(|error| Failure::usage(format!("[s3] domain: {error}")))?;
    let front = Front::new(s3, metrics.clone(), &limits);
    let listener = Listener::new(sockets.s3, tls, front, limits, metrics.clone());
    let admin = Admin {
        metrics: metrics.clone(),
        engine: Arc::clone(&engine),
        health: Mutex::default(),
    };
    let served = runtime.block_on(async {
        tokio::spawn(upkeep(metrics));
        tokio::spawn(reload::watch(watched));
        let (stop, stopped) = Stop::channel();
        tokio::spawn(s3::lifecycle(state, stopped.clone()));
        if let Some(socket) = sockets.admin {
            tokio::spawn(admin::run(socket, Arc::new(admin), stopped.clone()));
        }
        match control::bind(config) {
            Ok(socket) => {
                tokio::spawn(control::run(socket, control, stopped.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "no control socket: commands that write need the daemon stopped");
            }
        }
        let mut signals = Signals::install()?;
        let listening = tokio::spawn(listener.run(stopped));
        ready(sockets.address)?;
        tracing::info!(address = %sockets.address, tls = config.tls.is_some(), "serving S3");
        signals.next().await;
        tracing::info!("stopping: requests in flight may end, a second signal cuts them");
        // The receivers live as long as the tasks that must hear it.
        let _ = stop.send(true);
        tokio::select! {
            drained = listening => match drained {
                Ok(Drained::Complete) => tracing::info!("stopped"),
                Ok(Drained::Cut(connections)) => {
                    tracing::warn!(connections, "stopped at the end of the drain time: connections were cut");
                }
                Err(error) => return Err(Failure::other(format!("the listener failed: {error}"))),
            },
            () = second_signal() => tracing::warn!("stopped at the second signal"),
        }
        Ok(())
    });
    engine.vault.stop();
    // A call that hangs in a dead HSM or disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(5));
    served
}

/// The sockets of a daemon, bound.
struct Sockets {
    s3: TcpListener,
    address: SocketAddr,
    admin: Option<TcpListener>,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Sockets, Failure> {
        let s3 = bind(config.listen.s3)?;
        let address = s3
            .local_addr()
            .map_err(|error| Failure::other(error.to_string()))?;
        let admin = match config.listen.admin {
            Some(address) => Some(bind(address)?),
            None => None,
        };
        Ok(Sockets { s3, address, admin })
    }
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

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A restart must not wait for connections of the last run to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| {
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

/// Connections the kernel may hold for us; it takes less if it allows less. With a short queue a
/// burst of clients waits a second each for their next try.
const BACKLOG: u32 = 4096;

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

/// A signal that comes well after the first. Supervisors often send one to the process and the
/// same to its group: that is one wish, not two.
async fn second_signal() {
    tokio::time::sleep(Duration::from_millis(500)).await;
    match Signals::install() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
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

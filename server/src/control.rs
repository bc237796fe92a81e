//! Commands to a running daemon: a Unix socket beside the catalog, one JSON line each way.
//!
//! A command that writes either takes the stores' lock or asks the daemon that has it; there is no
//! third way. The socket is for the daemon's own user (and root): it can change what is protected.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strongroom::audit::{Event, Sink};
use strongroom::vault::Vault;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::cli::Failure;
use crate::config::Config;
use crate::daemon::Stop;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Request {
    /// Opens a bucket for plain objects, or closes it.
    Plaintext { bucket: String, allowed: bool },
}

/// What came of it, for a person to read.
pub(crate) type Answer = Result<String, String>;

/// What carries requests out: in the daemon, or in a command that has the stores for itself.
pub(crate) struct Control {
    vault: Arc<Vault>,
    trail: Arc<dyn Sink>,
}

impl Control {
    pub(crate) fn new(vault: Arc<Vault>, trail: Arc<dyn Sink>) -> Self {
        Self { vault, trail }
    }

    /// Does it, after it is on record who wanted it.
    pub(crate) fn carry_out(&self, request: &Request, who: &str) -> Answer {
        match request {
            Request::Plaintext { bucket, allowed } => self.plaintext(bucket, *allowed, who),
        }
    }

    fn plaintext(&self, name: &str, allowed: bool, who: &str) -> Answer {
        let bucket = self.vault.bucket(name).map_err(|error| error.to_string())?;
        let mut event = Event::new(if allowed { ALLOW } else { DENY });
        who.clone_into(&mut event.principal);
        event.bucket = Some(bucket.id);
        event.details.push(("bucketName", name.to_owned()));
        self.trail
            .record(event)
            .map_err(|error| format!("nothing was changed: {error}"))?;
        self.vault
            .allow_plaintext(&bucket, allowed)
            .map_err(|error| error.to_string())?;
        tracing::warn!(bucket = name, allowed, who, "plain objects in a bucket");
        Ok(if allowed {
            format!(
                "bucket {name} takes plain objects: what is written to it without encryption headers lies readable on the disk"
            )
        } else {
            format!(
                "bucket {name} takes no plain objects any more; those in it stay as they are until they are written anew"
            )
        })
    }
}

const ALLOW: &str = "AllowBucketPlaintext";
const DENY: &str = "DenyBucketPlaintext";

/// Binds the socket. The caller has the stores' lock, so one that is there is of a daemon that is gone.
pub(crate) fn bind(config: &Config) -> io::Result<UnixListener> {
    let path = socket(config);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the daemon stops.
pub(crate) async fn run(listener: UnixListener, control: Arc<Control>, mut stop: Stop) {
    loop {
        let accepted = tokio::select! {
            () = stop.asked() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            // Somebody who hangs up concerns nobody else.
            let _ = tokio::time::timeout(PATIENCE, serve(stream, control)).await;
        });
    }
}

async fn serve(mut stream: UnixStream, control: Arc<Control>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let mut line = String::new();
    let (read, mut write) = stream.split();
    tokio::io::BufReader::new(read.take(LONGEST_LINE))
        .read_line(&mut line)
        .await?;
    let own = rustix::process::geteuid().as_raw();
    let answer: Answer = if uid != own && uid != 0 {
        Err("only the user the daemon runs as may do that".to_owned())
    } else {
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => tokio::task::spawn_blocking(move || {
                control.carry_out(&request, &format!("uid {uid}"))
            })
            .await
            .unwrap_or_else(|_| Err("the daemon failed".to_owned())),
            Err(error) => Err(format!("the daemon does not understand: {error}")),
        }
    };
    let mut line = serde_json::to_string(&answer).map_err(io::Error::other)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}

/// Asks the daemon that serves these stores; `None` if there is none.
pub(crate) fn ask(config: &Config, request: &Request) -> Result<Option<Answer>, Failure> {
    let path = socket(config);
    let failed = |error: io::Error| {
        Failure::other(format!(
            "asking the daemon over {}: {error}",
            path.display()
        ))
    };
    let mut stream = match StdStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut line = serde_json::to_string(request).map_err(|error| failed(error.into()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST_LINE))
        .read_line(&mut answer)
        .map_err(failed)?;
    serde_json::from_str(&answer)
        .map(Some)
        .map_err(|error| failed(error.into()))
}

fn socket(config: &Config) -> PathBuf {
    config.paths.catalog.with_file_name("control.sock")
}

const LONGEST_LINE: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

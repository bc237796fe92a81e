//! What the daemon's tests share: a daemon of their own, and a small S3 client that can misbehave.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and a failed set-up is a failed test"
)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The command, ready for arguments.
pub fn strongroom() -> Command {
    Command::new(env!("CARGO_BIN_EXE_strongroom"))
}

/// Runs the command to its end.
pub fn run(arguments: &[&str]) -> Output {
    strongroom()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A development directory, and the daemon on it while it runs.
pub struct Daemon {
    pub dir: PathBuf,
    child: Option<Child>,
    _home: Option<TempDir>,
}

impl Daemon {
    /// A fresh directory, served at a free port.
    pub fn start() -> Daemon {
        Daemon::start_with("")
    }

    /// The same with more settings. They are appended to the settings file, so the directory is
    /// provisioned by a first, short run.
    pub fn start_with(settings: &str) -> Daemon {
        let home = tempfile::tempdir().unwrap();
        let mut daemon = Daemon {
            dir: home.path().join("dev"),
            child: None,
            _home: Some(home),
        };
        if !settings.is_empty() {
            daemon.spawn();
            daemon.stop();
            let file = daemon.dir.join("strongroom.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.split("[s3]").next().unwrap();
            let s3 = if settings.contains("[s3]") {
                ""
            } else {
                "[s3]\ncustomer_keys = true\n"
            };
            std::fs::write(&file, format!("{text}\n{s3}{settings}\n")).unwrap();
        }
        daemon.spawn();
        daemon
    }

    /// Starts (again) and waits until it serves.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none());
        let _ = std::fs::remove_file(self.dir.join("client.env"));
        std::fs::create_dir_all(&self.dir).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.with_extension("log"))
            .unwrap();
        let mut child = strongroom()
            .args(["dev", "--listen", "127.0.0.1:0", "--dir"])
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !self.dir.join("client.env").exists() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended:\n{}",
                self.log()
            );
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "not ready:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    /// Everything it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > Duration::from_secs(45) {
                child.kill().unwrap();
                panic!("it did not end:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0), "{}", self.log());
    }

    /// Stops it if it runs, and starts it.
    pub fn start_again(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.spawn();
    }

    /// What `client.env` says.
    pub fn env(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.dir.join("client.env")).unwrap();
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        text.lines().map(|line| pair(line).unwrap()).collect()
    }

    pub fn address(&self) -> SocketAddr {
        self.env()["AWS_ENDPOINT_URL"]
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A TLS connection that trusts the directory's CA.
    pub fn connect(&self) -> Connection {
        let mut roots = RootCertStore::empty();
        let ca = &self.env()["AWS_CA_BUNDLE"];
        roots
            .add(CertificateDer::from_pem_file(ca).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(self.address()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Connection { stream }
    }

    /// The head of a signed request; the body is not part of the signature.
    pub fn signed(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let env = self.env();
        sign(
            method,
            path,
            headers,
            &self.address().to_string(),
            &env["AWS_ACCESS_KEY_ID"],
            &env["AWS_SECRET_ACCESS_KEY"],
        )
    }

    /// One request on a connection of its own.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut connection = self.connect();
        connection.send(
            &self.signed(method, path, &with_length(headers, body)),
            body,
        );
        connection.reply()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.log());
        }
    }
}

/// One connection to a daemon.
pub struct Connection {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn send(&mut self, head: &str, body: &[u8]) {
        self.stream.write_all(head.as_bytes()).unwrap();
        self.stream.write_all(body).unwrap();
        self.stream.flush().unwrap();
    }

    /// Reads one answer, with the body its length announces.
    pub fn reply(&mut self) -> Reply {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Reply {
            status,
            headers,
            body,
        }
    }

    /// Waits until the other side closes and returns how long that took.
    pub fn closed_after(&mut self) -> Duration {
        closed_after(&mut self.stream)
    }
}

/// Reads to the end or an error, and returns how long that took.
pub fn closed_after(stream: &mut impl Read) -> Duration {
    let started = Instant::now();
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return started.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("still open after {:?}", started.elapsed())
            }
            Err(_) => return started.elapsed(),
        }
    }
}

/// The headers, and `content-length`.
pub fn with_length<'a>(headers: &[(&'a str, &'a str)], body: &[u8]) -> Vec<(&'a str, &'a str)> {
    let length: &str = Box::leak(body.len().to_string().into_boxed_str());
    let mut all = headers.to_vec();
    all.push(("content-length", length));
    all
}

/// AWS Signature Version 4 with an unsigned payload; `path` may have a query.
fn sign(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    host: &str,
    access: &str,
    secret: &str,
) -> String {
    let now = Command::new("date")
        .args(["-u", "+%Y%m%dT%H%M%SZ"])
        .output()
        .unwrap();
    let now = String::from_utf8(now.stdout).unwrap().trim().to_owned();
    let date = &now[..8];
    let mut all: BTreeMap<String, String> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned()))
        .collect();
    all.entry("host".into()).or_insert_with(|| host.into());
    all.insert("x-amz-date".into(), now.clone());
    all.insert("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into());
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            if pair.contains('=') {
                pair.to_owned()
            } else {
                format!("{pair}=")
            }
        })
        .collect();
    pairs.sort();
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    let names = names.join(";");
    let lines: String = all
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!(
        "{method}\n{path}\n{}\n{lines}\n{names}\nUNSIGNED-PAYLOAD",
        pairs.join("&")
    );
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in [date, "us-east-1", "s3", "aws4_request"] {
        key = mac(&key, step);
    }
    let signature = hex(&mac(&key, &to_sign));
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    let head: String = all
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "{method} {path}{query} HTTP/1.1\r\n{head}authorization: AWS4-HMAC-SHA256 Credential={access}/{scope}, \
         SignedHeaders={names}, Signature={signature}\r\n\r\n"
    )
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `needle` is anywhere in the file.
pub fn file_contains(path: &Path, needle: &[u8]) -> bool {
    std::fs::read(path)
        .unwrap()
        .windows(needle.len())
        .any(|window| window == needle)
}

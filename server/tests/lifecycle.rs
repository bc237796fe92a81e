//! Start, stop and start again: what `dev` makes, what `serve` refuses, how a daemon ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use common::{Daemon, run, stderr, with_length};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_store_of_another_catalog_is_told_at_the_start_and_not_written_to() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(daemon.request("PUT", "/bucket/a", &[], b"x").status, 200);
    daemon.stop();
    std::fs::remove_dir_all(daemon.dir.join("keys")).unwrap();
    daemon.spawn();
    let told = "the key store is not the one this catalog belongs to: check the configured paths";
    let log = daemon.log();
    assert!(log.contains(&format!("reason=\"{told}\"")), "{log}");
    assert_eq!(daemon.request("PUT", "/bucket/b", &[], b"x").status, 503);
}

#[test]
fn dev_makes_what_is_missing_and_goes_on_with_it() {
    let mut daemon = Daemon::start();
    let env = daemon.env();
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_CA_BUNDLE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ] {
        assert!(!env[name].is_empty(), "{name}");
    }
    assert!(env["AWS_ENDPOINT_URL"].starts_with("https://127.0.0.1:"));
    assert_eq!(mode(&daemon.dir), 0o700);
    for secret in [
        "client.env",
        "users.toml",
        "token/pin",
        "token/so-pin",
        "tls/ca.key",
        "tls/server.key",
    ] {
        assert_eq!(mode(&daemon.dir.join(secret)), 0o600, "{secret}");
    }
    assert!(daemon.log().contains("NOT an HSM"));
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(
        daemon
            .request("PUT", "/bucket/key", &[], b"plaintext")
            .status,
        200
    );
    daemon.stop();
    daemon.spawn();
    assert_eq!(
        daemon.env()["AWS_SECRET_ACCESS_KEY"],
        env["AWS_SECRET_ACCESS_KEY"]
    );
    let reply = daemon.request("GET", "/bucket/key", &[], b"");
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"plaintext".as_slice())
    );
}

#[test]
fn it_goes_on_after_kill_9() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(
        daemon
            .request("PUT", "/bucket/key", &[], b"plaintext")
            .status,
        200
    );
    daemon.signal("KILL");
    daemon.wait();
    daemon.spawn();
    assert_eq!(
        daemon.request("GET", "/bucket/key", &[], b"").body,
        b"plaintext"
    );
}

#[test]
fn a_taken_port_and_a_directory_in_use_are_told() {
    let daemon = Daemon::start();
    let dir = daemon.dir.display().to_string();
    let second = run(&["dev", "--dir", &dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("in use by another daemon"),
        "{}",
        stderr(&second)
    );

    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = home.path().join("other");
    let output = run(&["dev", "--dir", dir.to_str().unwrap(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("cannot listen on {address}")),
        "{}",
        stderr(&output)
    );
    assert!(!dir.join("client.env").exists());
}

#[test]
fn a_missing_softhsm_is_told_with_what_to_install() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("dev");
    let output = run(&[
        "dev",
        "--dir",
        dir.to_str().unwrap(),
        "--softhsm",
        "/nowhere/libsofthsm2.so",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("apt-get install softhsm2") && said.contains("/nowhere/libsofthsm2.so"),
        "{said}"
    );
}

#[test]
fn a_lost_token_is_not_replaced() {
    let mut daemon = Daemon::start();
    daemon.stop();
    std::fs::remove_dir_all(daemon.dir.join("token/tokens")).unwrap();
    let output = run(&[
        "dev",
        "--dir",
        daemon.dir.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the token with the master key is gone"),
        "{}",
        stderr(&output)
    );
    assert!(!daemon.dir.join("client.env").exists());
}

#[test]
fn requests_in_flight_end_after_sigterm() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    let body = vec![7; 1 << 20];
    let mut upload = daemon.connect();
    upload.send(
        &daemon.signed("PUT", "/bucket/slow", &with_length(&[], &body)),
        &body[..1000],
    );
    let mut idle = daemon.connect();
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal("TERM");
    assert!(
        idle.closed_after() < Duration::from_secs(5),
        "an idle connection is closed at once"
    );
    std::thread::sleep(Duration::from_millis(500));
    upload.stream.write_all(&body[1000..]).unwrap();
    assert_eq!(upload.reply().status, 200);
    assert_eq!(daemon.wait(), Some(0));
    daemon.spawn();
    assert_eq!(daemon.request("GET", "/bucket/slow", &[], b"").body, body);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    let mut upload = daemon.connect();
    upload.send(
        &daemon.signed("PUT", "/bucket/slow", &[("content-length", "1000")]),
        b"x",
    );
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal("INT");
    std::thread::sleep(Duration::from_millis(1500));
    let started = std::time::Instant::now();
    daemon.signal("INT");
    daemon.wait();
    assert!(started.elapsed() < Duration::from_secs(8));
}

/// A copy of a directory's settings with one change, and what `serve` says of it.
fn serve_refuses(daemon: &Daemon, from: &str, to: &str) -> (Option<i32>, String) {
    let file = daemon.dir.join("strongroom.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    let changed = daemon.dir.join("changed.toml");
    std::fs::write(&changed, text.replace(from, to)).unwrap();
    let output = run(&["serve", "--config", changed.to_str().unwrap()]);
    (output.status.code(), stderr(&output))
}

#[test]
fn serve_refuses_what_cannot_be_right_and_says_what_to_do() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let (code, said) = serve_refuses(&daemon, "[s3]", "[s3]\nregoin = \"x\"");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("changed.toml:") && said.contains("unknown key `regoin`"),
        "{said}"
    );
    let (code, said) = serve_refuses(&daemon, "[s3]", "[s3]\ndestroy_pin_file = \"x\"");
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = serve_refuses(&daemon, "tls/server.crt", "tls/missing.crt");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("tls/missing.crt"), "{said}");
    let (_, said) = serve_refuses(&daemon, "users.toml", "nobody.toml");
    assert!(said.contains("nobody.toml"), "{said}");
    let (code, said) = serve_refuses(&daemon, "\"token/pin\"", "\"token/missing-pin\"");
    assert!(
        code != Some(0) && said.contains("token/missing-pin"),
        "{said}"
    );
    let (code, said) = serve_refuses(&daemon, "strongroom-dev", "another-token");
    assert!(
        code != Some(0) && said.contains("another-token"),
        "no master key, no start: {said}"
    );
    let output = run(&["serve", "--config", "/nowhere/strongroom.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("/nowhere/strongroom.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn buckets_are_reached_by_host_name_where_a_domain_is_set() {
    let daemon = Daemon::start_with("[s3]\ndomain = \"s3.test\"\n");
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(
        daemon
            .request("PUT", "/bucket/key", &[], b"plaintext")
            .status,
        200
    );
    let host = [("host", "bucket.s3.test")];
    let reply = daemon.request("GET", "/key", &host, b"");
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"plaintext".as_slice())
    );
}

#[test]
fn a_small_locked_memory_limit_is_refused_with_what_to_set() {
    let mut daemon = Daemon::start();
    daemon.stop();
    let file = daemon.dir.join("strongroom.toml");
    let script = format!(
        "ulimit -l 64 && exec {} serve --config {}",
        env!("CARGO_BIN_EXE_strongroom"),
        file.display()
    );
    // Root's CAP_IPC_LOCK would make any limit void.
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = std::process::Command::new(if root { "setpriv" } else { "sh" });
    if root {
        command.args(["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "sh"]);
    }
    let output = command.args(["-c", &script]).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("allow_unlocked_memory"),
        "{}",
        stderr(&output)
    );
}

/// A daemon with an admin listener, and where that is.
fn with_admin(settings: &str) -> (Daemon, SocketAddr) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut daemon = Daemon::start_with(settings);
    daemon.stop();
    let file = daemon.dir.join("strongroom.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("[listen]", &format!("[listen]\nadmin = \"{port}\"")),
    )
    .unwrap();
    daemon.spawn();
    (daemon, port)
}

fn ask(admin: SocketAddr, path: &str) -> String {
    let mut socket = std::net::TcpStream::connect(admin).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    std::io::read_to_string(socket).unwrap()
}

#[test]
fn the_admin_listener_tells_health_and_numbers() {
    let (daemon, port) = with_admin("");
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(
        daemon
            .request("PUT", "/bucket/key", &[], b"plaintext")
            .status,
        200
    );
    assert_eq!(daemon.request("GET", "/bucket/key", &[], b"").status, 200);
    assert!(ask(port, "/healthz").starts_with("HTTP/1.1 200"));
    let metrics = ask(port, "/metrics");
    for line in [
        "strongroom_requests_total{op=\"PutObject\",status=\"200\"} 1",
        "strongroom_requests_total{op=\"GetObject\",status=\"200\"} 1",
        "strongroom_received_bytes_total 9",
        "strongroom_seal_seconds",
        "strongroom_open_seconds",
        "strongroom_hsm_calls_total{function=\"wrap\",outcome=\"ok\"}",
        "strongroom_bucket_key_cache_hits_total",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

/// What a small request costs besides its work: the ways to threads that may block, and the looks
/// at the catalog.
#[test]
fn a_small_put_and_get_cost_three_hops_and_few_looks_at_the_catalog() {
    // Nothing else is to read the catalog meanwhile.
    let (daemon, port) = with_admin("[lifecycle]\ninterval_seconds = 0\n");
    let counted = || {
        let text = ask(port, "/metrics");
        let value = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        (
            value("strongroom_blocking_calls_total "),
            value("strongroom_catalog_reads_total "),
        )
    };
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    let mut fewest = [(u64::MAX, u64::MAX); 2];
    // The first round fills the caches; in another, background work may have read too.
    for _ in 0..5 {
        for (cost, method, body) in [(0, "PUT", b"small".as_slice()), (1, "GET", b"")] {
            let before = counted();
            assert_eq!(daemon.request(method, "/bucket/key", &[], body).status, 200);
            let after = counted();
            let took = (after.0 - before.0, after.1 - before.1);
            fewest[cost] = fewest[cost].min(took);
        }
    }
    let [put, get] = fewest;
    assert_eq!((put, get), ((3, 5), (3, 2)), "(hops, looks) of PUT and GET");
}

#[test]
fn verify_works_while_the_daemon_serves_and_while_it_does_not() {
    let mut daemon = Daemon::start();
    let dir = daemon.dir.display().to_string();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    for key in ["a", "b", "c"] {
        assert_eq!(
            daemon
                .request("PUT", &format!("/bucket/{key}"), &[], &[9; 100_000])
                .status,
            200
        );
    }
    let verify = |arguments: &[&str]| {
        let output = run(&[&["verify", "--dir", &dir], arguments].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said, _) = verify(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("3 objects authenticated (300000 bytes)"),
        "{said}"
    );
    assert_eq!(verify(&["nobucket"]).0, Some(1));
    daemon.stop();
    let (code, said, _) = verify(&["bucket", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.lines().last().unwrap().contains("\"objects\":3"),
        "{said}"
    );
    // One flipped bit in one blob: one finding, and its own exit code.
    let blob = walk(&daemon.dir.join("data"))
        .into_iter()
        .find(|path| std::fs::metadata(path).unwrap().len() > 100_000)
        .unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    for _ in ["while it does not serve", "while it serves"] {
        let (code, said, errors) = verify(&[]);
        assert_eq!(code, Some(4), "{said}{errors}");
        assert!(
            said.contains("FINDING  bucket/") && said.contains(" 1 findings"),
            "{said}"
        );
        daemon.start_again();
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

#[test]
fn keys_status_shows_the_master_key_in_text_and_json() {
    let daemon = Daemon::start();
    let dir = daemon.dir.display().to_string();
    let output = run(&["keys", "status", "--dir", &dir]);
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
    assert!(
        said.contains("version 1  sound, active") && said.contains("not an HSM"),
        "{said}"
    );
    let output = run(&["--dir", &dir, "keys", "status", "--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["versions"][0]["sound"], true, "{said}");
    assert_eq!(status["token"]["software"], true, "{said}");
}

#[test]
fn the_log_tells_which_replies_went_out_whole() {
    let daemon = Daemon::start();
    let body = vec![7; 32 << 20];
    daemon.request("PUT", "/bucket", &[], b"");
    daemon.request("PUT", "/bucket/key", &[], &body);
    assert_eq!(daemon.request("GET", "/bucket/key", &[], b"").body, body);
    daemon.request("GET", "/bucket/none", &[], b"");
    let mut head = daemon.connect();
    head.send(&daemon.signed("HEAD", "/bucket/key", &[]), b"");
    let mut leaves = daemon.connect();
    leaves.send(&daemon.signed("GET", "/bucket/key", &[]), b"");
    leaves.stream.read_exact(&mut [0; 1000]).unwrap();
    drop(leaves);
    let lines = |what: &str| -> Vec<bool> {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains(what));
        lines.map(|line| line.contains("whole=true")).collect()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while lines("GET /bucket/key").len() < 2 || lines("HEAD /bucket/key").is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lines("GET /bucket/key"), [true, false]);
    assert_eq!(lines("GET /bucket/none"), [true]);
    assert_eq!(lines("PUT /bucket"), [true, true]);
    assert_eq!(lines("HEAD /bucket/key"), [true]);
}

//! Clients that are silent, slow, stalled or too many.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Daemon, closed_after};

/// Deadlines of two seconds, so that a test is short; the rules are the same at ten.
const SHORT: &str = "[limits]\nconnections_per_address = 8\nhandshake_seconds = 2\nheader_seconds = 2\n\
    body_seconds = 2\nbody_bytes = 16384\nwrite_stall_seconds = 2\n";

fn in_time(took: Duration) -> bool {
    took > Duration::from_millis(1500) && took < Duration::from_secs(6)
}

#[test]
fn silent_slow_and_stalled_clients_are_cut_and_others_are_served() {
    let daemon = Daemon::start_with(SHORT);
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    assert_eq!(
        daemon
            .request("PUT", "/bucket/large", &[], &vec![1; 48 << 20])
            .status,
        200
    );

    // No TLS handshake.
    let mut silent = TcpStream::connect(daemon.address()).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let took = closed_after(&mut silent);
    assert!(in_time(took), "no handshake: {took:?}");

    // A handshake and no request.
    let took = daemon.connect().closed_after();
    assert!(in_time(took), "no request: {took:?}");

    // A header that never ends, a byte at a time.
    let mut slow = daemon.connect();
    let started = Instant::now();
    let head = daemon.signed("GET", "/bucket", &[]);
    for byte in head.bytes() {
        if slow
            .stream
            .write_all(&[byte])
            .and_then(|()| slow.stream.flush())
            .is_err()
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a slow header is accepted for ever"
        );
    }
    assert!(
        in_time(started.elapsed()),
        "slow header: {:?}",
        started.elapsed()
    );

    // A body that comes at a trickle.
    let mut slow = daemon.connect();
    slow.send(
        &daemon.signed("PUT", "/bucket/slow", &[("content-length", "100000")]),
        b"x",
    );
    for _ in 0..8 {
        slow.send("", b"x");
        std::thread::sleep(Duration::from_millis(200));
    }
    let reply = slow.reply();
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(
        String::from_utf8_lossy(&reply.body).contains("RequestTimeout"),
        "{reply:?}"
    );
    slow.closed_after();
    assert_eq!(daemon.request("GET", "/bucket/slow", &[], b"").status, 404);

    // A reader that takes nothing: it gets what was under way, and never the whole.
    let mut stalled = daemon.connect();
    stalled.send(&daemon.signed("GET", "/bucket/large", &[]), b"");
    std::thread::sleep(Duration::from_secs(6));
    let mut got = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(more @ 1..) = stalled.stream.read(&mut buffer) {
        got += more;
    }
    assert!(
        got < 40 << 20,
        "{got} bytes went to a reader that had stopped"
    );

    // Everybody else.
    let reply = daemon.request("GET", "/bucket/large", &[], b"");
    assert_eq!((reply.status, reply.body.len()), (200, 48 << 20));
}

#[test]
fn one_address_gets_its_share_of_connections_and_no_more() {
    let daemon = Daemon::start_with(SHORT);
    let held: Vec<_> = (0..8).map(|_| daemon.connect()).collect();
    let mut ninth = TcpStream::connect(daemon.address()).unwrap();
    ninth
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert!(closed_after(&mut ninth) < Duration::from_secs(1));
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
}

#[test]
fn a_header_of_a_mebibyte_and_garbage_are_refused() {
    let daemon = Daemon::start();
    let mut connection = daemon.connect();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    // It may be refused before it is all sent.
    let _ = connection.stream.write_all(head.as_bytes());
    let mut answer = [0; 12];
    if connection.stream.read_exact(&mut answer).is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
    let mut plain = TcpStream::connect(daemon.address()).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    assert!(closed_after(&mut plain) < Duration::from_secs(2));
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
}

#[test]
fn a_connection_is_closed_after_a_customer_key_and_kept_otherwise() {
    use base64::Engine as _;
    use md5::Digest as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let daemon = Daemon::start();
    assert_eq!(daemon.request("PUT", "/bucket", &[], b"").status, 200);
    let key = [0x5a; 32];
    let (text, digest) = (base64.encode(key), base64.encode(md5::Md5::digest(key)));
    let customer = [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", text.as_str()),
        (
            "x-amz-server-side-encryption-customer-key-md5",
            digest.as_str(),
        ),
    ];
    let mut connection = daemon.connect();
    for _ in 0..2 {
        connection.send(
            &daemon.signed("PUT", "/bucket/plain", &[("content-length", "1")]),
            b"x",
        );
        let reply = connection.reply();
        assert_eq!(reply.status, 200);
        assert!(!reply.headers.contains_key("connection"), "{reply:?}");
    }
    let head = daemon.signed(
        "PUT",
        "/bucket/customer",
        &[&customer[..], &[("content-length", "1")]].concat(),
    );
    connection.send(&head, b"x");
    let reply = connection.reply();
    assert_eq!(
        (reply.status, reply.headers["connection"].as_str()),
        (200, "close"),
        "{reply:?}"
    );
    assert!(connection.closed_after() < Duration::from_secs(2));
    let log = daemon.log();
    assert!(
        !log.contains(&text)
            && !log.contains(&digest)
            && !log.to_lowercase().contains("authorization")
    );
    assert!(log.contains("PutObject"), "requests are logged");
}

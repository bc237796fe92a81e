//! What a trail promises.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::id::{BucketId, InstanceId, RootId};

fn event(principal: &str) -> Event {
    Event {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        principal: principal.to_owned(),
        bucket: Some(BucketId([0x80; 16])),
        generation: Some(3),
        instance: Some(InstanceId([0x90; 16])),
        root: Some(RootId([0x0a; 16])),
        version: Some(2),
        outcome: Outcome::Failure("TimedOut"),
        duration: Some(Duration::from_micros(1500)),
        details: vec![("rev", "4".into())],
        ..Event::new(name::DECRYPT)
    }
}

fn trail(dir: &Path, events: u32) -> PathBuf {
    let path = dir.join("audit.jsonl");
    let sink = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
    for i in 0..events {
        sink.record(event(&format!("user {i}"))).unwrap();
    }
    path
}

fn verify_file(path: &Path) -> Result<Summary, AuditError> {
    verify(fs::read(path).unwrap().as_slice())
}

#[test]
fn a_line_has_the_fields_s3_users_know() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 1);
    let zeros = "0".repeat(64);
    let (bucket, instance, root) = ("80".repeat(16), "90".repeat(16), "0a".repeat(16));
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        format!(
            "{{\"seq\":1,\"prev\":\"{zeros}\",\"eventVersion\":\"1.0\",\
             \"eventTime\":\"2023-11-14T22:13:20.123Z\",\"eventSource\":\"strongroom\",\
             \"eventName\":\"Decrypt\",\"userIdentity\":{{\"principalId\":\"user 0\"}},\
             \"resources\":{{\"bucketId\":\"{bucket}\",\"generation\":3,\
             \"instanceId\":\"{instance}\",\"rootId\":\"{root}\",\"masterVersion\":2}},\
             \"errorCode\":\"TimedOut\",\"durationMicros\":1500,\
             \"additionalEventData\":{{\"rev\":\"4\"}}}}\n"
        )
    );
}

#[test]
fn a_trail_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 3);
    let first = verify_file(&path).unwrap();
    assert_eq!(first.events, 3);
    let sink = FileSink::open(&path, SyncPolicy::AtLeastEvery(Duration::from_secs(60))).unwrap();
    assert_eq!(sink.head(), first.head);
    sink.record(event("four")).unwrap();
    sink.sync().unwrap();
    let second = verify_file(&path).unwrap();
    assert_eq!(second.events, 4);
    assert_eq!(second.head, sink.head());
}

#[test]
fn nobody_forges_a_line_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let sink = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
    sink.record(event("x\"}\n{\"seq\":2,\"prev\":\"")).unwrap();
    sink.record(event("next")).unwrap();
    assert_eq!(verify_file(&path).unwrap().events, 2);
}

/// Every change of one byte, save in the last line's own fields, which nothing follows: that is
/// what the head kept elsewhere is for.
#[test]
fn every_changed_byte_breaks_the_chain_or_changes_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 3);
    let good = fs::read(&path).unwrap();
    let head = verify_file(&path).unwrap().head;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let answer = verify(bad.as_slice());
        assert!(answer.is_err() || answer.unwrap().head != head, "{at}");
    }
}

#[test]
fn lines_dropped_moved_or_doubled_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 4);
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let verify_lines = |order: &[usize]| {
        let picked: String = order.iter().map(|&i| format!("{}\n", lines[i])).collect();
        verify(picked.as_bytes())
    };
    assert_eq!(verify_lines(&[0, 1, 2, 3]).unwrap().events, 4);
    for (order, at) in [
        (&[1, 2, 3][..], 1),
        (&[0, 2, 3], 2),
        (&[0, 1, 1, 2], 3),
        (&[0, 2, 1, 3], 2),
    ] {
        assert!(
            matches!(verify_lines(order), Err(AuditError::Broken { line, .. }) if line == at),
            "{order:?}"
        );
    }
    assert_eq!(
        verify_lines(&[0, 1]).unwrap().events,
        2,
        "a cut end verifies"
    );
    assert_ne!(
        verify_lines(&[0, 1]).unwrap().head,
        verify_lines(&[0, 1, 2, 3]).unwrap().head
    );
}

#[test]
fn a_line_torn_by_a_crash_is_removed_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 2);
    let whole = fs::read(&path).unwrap();
    let second = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for cut in [second, second + 1, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let sink = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
        sink.record(event("after")).unwrap();
        drop(sink);
        let text = fs::read_to_string(&path).unwrap();
        let recovered = text.contains(name::TRAIL_RECOVERED);
        assert_eq!(recovered, cut > second);
        let lines = if recovered { 3 } else { 2 };
        assert_eq!(verify_file(&path).unwrap().events, lines, "{cut}");
    }
}

#[test]
fn what_is_not_a_trail_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes");
    for text in [&b"hello\n"[..], &b"{\"seq\":x,\n"[..], &vec![b'x'; 3 << 20]] {
        fs::write(&path, text).unwrap();
        let answer = FileSink::open(&path, SyncPolicy::EachEvent);
        assert!(matches!(answer, Err(AuditError::Broken { .. })));
        assert_eq!(fs::read(&path).unwrap(), text, "left as it was");
    }
    assert!(matches!(
        FileSink::open(&dir.path().join("no/such"), SyncPolicy::EachEvent),
        Err(AuditError::Io { .. })
    ));
}

#[test]
fn a_trail_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 1);
    let first = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
    assert!(matches!(
        FileSink::open(&path, SyncPolicy::EachEvent),
        Err(AuditError::InUse { .. })
    ));
    drop(first);
    FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
}

#[test]
fn an_event_too_long_for_a_line_is_refused_and_the_trail_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let sink = FileSink::open(&path, SyncPolicy::EachEvent).unwrap();
    assert!(sink.record(event(&"x".repeat(1 << 20))).is_err());
    sink.record(event("short")).unwrap();
    assert_eq!(verify_file(&path).unwrap().events, 1);
}

#[test]
fn a_last_line_without_its_end_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    let path = trail(dir.path(), 1);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"seq\":2,").unwrap();
    assert!(matches!(
        verify_file(&path),
        Err(AuditError::Broken { line: 2, .. })
    ));
}

#[test]
fn threads_share_a_trail_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let policy = SyncPolicy::AtLeastEvery(Duration::from_secs(60));
    let sink = FileSink::open(&path, policy).unwrap();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let sink = &sink;
            scope.spawn(move || (0..100).for_each(|_| sink.record(event(&i.to_string())).unwrap()));
        }
    });
    assert_eq!(verify_file(&path).unwrap().events, 800);
    assert_eq!(verify_file(&path).unwrap().head, sink.head());
}

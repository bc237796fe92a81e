//! What the envelope door promises to a daemon with metadata of its own.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use super::*;
use crate::audit::{MemorySink, NullSink, Sink};
use crate::id::RootId;
use crate::keys::testing::SoftMasterKey;
use crate::keys::{KeyringConfig, MasterKey};

fn keyring(master: &Arc<SoftMasterKey>, sink: Arc<dyn Sink>) -> Arc<Keyring> {
    let roots: Vec<Arc<dyn MasterKey>> = vec![master.clone()];
    Arc::new(Keyring::new(roots, sink, KeyringConfig::default()).unwrap())
}

fn master() -> Arc<SoftMasterKey> {
    Arc::new(SoftMasterKey::new(RootId([3; 16])))
}

fn envelope() -> Envelope {
    Envelope::create(keyring(&master(), Arc::new(NullSink)), "test").unwrap()
}

fn records(envelope: &Envelope) -> Vec<Vec<u8>> {
    envelope.export().map(<[u8]>::to_vec).collect()
}

fn is_unauthentic<T>(result: Result<T, EnvelopeError>) -> bool {
    matches!(
        result,
        Err(EnvelopeError::Key(KeyError::Unauthentic)
            | EnvelopeError::Object(ObjectError::Format(FormatError::Unauthentic)))
    )
}

#[test]
fn what_was_sealed_opens_again_also_after_a_restart() {
    let master = master();
    let envelope = Envelope::create(keyring(&master, Arc::new(NullSink)), "test").unwrap();
    for len in [0, 1, 65_536, 300_000] {
        let plain = vec![0x5C; len];
        let (key, blob) = envelope.seal(b"an object", &plain).unwrap();
        assert_eq!(key.as_bytes().len(), 188);
        let later = keyring(&master, Arc::new(NullSink));
        let envelope = Envelope::import(later, "test", records(&envelope)).unwrap();
        let key = WrappedKey::from_bytes(key.as_bytes()).unwrap();
        assert!(envelope.open(b"an object", &key, &blob).unwrap() == plain);
    }
}

#[test]
fn another_context_key_blob_or_ring_opens_nothing() {
    let envelope = envelope();
    let (key, blob) = envelope.seal(b"one", b"content").unwrap();
    let (other_key, other_blob) = envelope.seal(b"one", b"content").unwrap();
    assert!(is_unauthentic(envelope.open(b"two", &key, &blob)));
    assert!(is_unauthentic(envelope.open(b"one", &other_key, &blob)));
    assert!(is_unauthentic(envelope.open(b"one", &key, &other_blob)));
    let stranger = self::envelope();
    assert!(matches!(
        stranger.open(b"one", &key, &blob),
        Err(EnvelopeError::OtherRing { generation: 1, .. })
    ));
}

#[test]
fn every_flipped_bit_of_a_wrapped_key_is_refused() {
    let envelope = envelope();
    let (key, blob) = envelope.seal(b"one", b"content").unwrap();
    let mut bytes = *key.as_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let opened =
                WrappedKey::from_bytes(&bytes).and_then(|key| envelope.open(b"one", &key, &blob));
            assert!(opened.is_err(), "byte {at} bit {bit}");
            bytes[at] ^= 1 << bit;
        }
    }
}

/// F-99.
#[test]
fn a_wrapped_key_of_another_length_is_malformed_and_of_another_version_unsupported() {
    let (key, _) = envelope().seal(b"one", b"content").unwrap();
    let mut bytes = key.as_bytes().to_vec();
    for len in 0..bytes.len() {
        assert!(WrappedKey::from_bytes(&bytes[..len]).is_err());
    }
    bytes.push(0);
    assert!(matches!(
        WrappedKey::from_bytes(&bytes),
        Err(EnvelopeError::Key(KeyError::Malformed(_)))
    ));
    bytes[7] = b'2';
    assert!(matches!(
        WrappedKey::from_bytes(&bytes),
        Err(EnvelopeError::Object(ObjectError::Format(
            FormatError::Unsupported(_)
        )))
    ));
}

#[test]
fn ranges_and_streams_give_what_the_whole_gives() {
    let envelope = envelope();
    let plain: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    let (key, mut writer) = envelope.writer(b"stream", Vec::new()).unwrap();
    writer.write_all(&plain).unwrap();
    let (blob, summary) = writer.finish().unwrap();
    assert_eq!(summary.plain_len, plain.len() as u64);
    assert!(envelope.open(b"stream", &key, &blob).unwrap() == plain);
    let mut opened = Vec::new();
    let mut reader = envelope.reader(b"stream", &key, &blob[..]).unwrap();
    reader.read_to_end(&mut opened).unwrap();
    assert!(opened == plain);
    let mut file = Cursor::new(&blob);
    for (start, end) in [(0, 0), (0, 1), (65_530, 65_540), (1_000_000, 1_600_000)] {
        let range = start as u64..end as u64;
        let opened = envelope
            .open_range(b"stream", &key, &mut file, range)
            .unwrap();
        assert!(opened == plain[start..end]);
    }
    let outside = envelope.open_range(b"stream", &key, &mut file, 0..1_600_001);
    assert!(matches!(
        outside,
        Err(EnvelopeError::Object(ObjectError::OutOfRange { .. }))
    ));
    // Cut at a segment boundary: every segment of the range is good, and still nothing comes out.
    let mut cut = Cursor::new(&blob[..80 + 3 * 65_552]);
    assert!(is_unauthentic(envelope.open_range(
        b"stream",
        &key,
        &mut cut,
        0..10
    )));
}

#[test]
fn a_rotated_ring_opens_what_was_sealed_before_and_rewraps_it() {
    let mut envelope = envelope();
    let (old, blob) = envelope.seal(b"one", b"content").unwrap();
    envelope.rotate().unwrap();
    assert_eq!(envelope.export().count(), 2);
    let (new, _) = envelope.seal(b"two", b"content").unwrap();
    assert_eq!((old.generation(), new.generation()), (1, 2));
    let rewrapped = envelope.rewrap(b"one", &old).unwrap();
    assert_eq!(rewrapped.generation(), 2);
    assert_eq!(rewrapped.instance(), old.instance());
    for key in [&old, &rewrapped] {
        assert_eq!(envelope.open(b"one", key, &blob).unwrap(), b"content");
    }
    assert!(is_unauthentic(envelope.rewrap(b"two", &old)));
    // Without the old generation's record only the rewrapped key opens.
    let newest = records(&envelope).pop().unwrap();
    let envelope = Envelope::import(envelope.keyring.clone(), "test", [newest]).unwrap();
    assert!(envelope.open(b"one", &rewrapped, &blob).is_ok());
    assert!(matches!(
        envelope.open(b"one", &old, &blob),
        Err(EnvelopeError::OtherRing { generation: 1, .. })
    ));
}

#[test]
fn a_ring_moves_to_a_new_master_version_and_no_wrapped_key_changes() {
    let master = master();
    let mut envelope = Envelope::create(keyring(&master, Arc::new(NullSink)), "test").unwrap();
    let (key, blob) = envelope.seal(b"one", b"content").unwrap();
    let before = records(&envelope);
    master.rotate();
    let later = keyring(&master, Arc::new(NullSink));
    envelope.keyring = later;
    assert_eq!(envelope.rewrap_ring().unwrap().len(), 1);
    assert_ne!(records(&envelope), before);
    master.lose(1);
    let fresh = keyring(&master, Arc::new(NullSink));
    let envelope = Envelope::import(fresh, "test", records(&envelope)).unwrap();
    assert_eq!(envelope.open(b"one", &key, &blob).unwrap(), b"content");
}

#[test]
fn only_the_records_of_one_ring_are_imported() {
    let keyring = keyring(&master(), Arc::new(NullSink));
    let ring = || Envelope::create(keyring.clone(), "test").unwrap();
    let two: Vec<_> = [ring(), ring()].iter().flat_map(records).collect();
    let import = |records| Envelope::import(keyring.clone(), "test", records);
    assert!(matches!(
        import(two.clone()),
        Err(EnvelopeError::NotOneRing)
    ));
    assert!(matches!(import(Vec::new()), Err(EnvelopeError::NotOneRing)));
    let twice = vec![two[0].clone(), two[0].clone()];
    assert!(matches!(import(twice), Err(EnvelopeError::NotOneRing)));
    assert!(import(vec![b"no record".to_vec()]).is_err());
}

/// The master key is asked once for a ring, not for each object.
#[test]
fn objects_cost_the_hsm_nothing_once_the_ring_is_loaded_and_the_audit_trail_says_who() {
    let (master, sink) = (master(), Arc::new(MemorySink::default()));
    let envelope = Envelope::create(keyring(&master, sink.clone()), "photo daemon").unwrap();
    let (key, blob) = envelope.seal(b"one", b"content").unwrap();
    let calls = master.calls();
    for _ in 0..100 {
        envelope.seal(b"two", b"content").unwrap();
        envelope.open(b"one", &key, &blob).unwrap();
    }
    assert_eq!(master.calls(), calls);
    assert!(format!("{:?}", sink.events()).contains("photo daemon"));
}

#[test]
fn a_wrapped_key_prints_what_it_belongs_to_and_not_itself() {
    let (key, _) = envelope().seal(b"one", b"content").unwrap();
    let printed = format!("{key:?}");
    assert!(printed.contains(&key.bucket().to_string()));
    assert!(!printed.contains("bytes"));
}

//! The engine's keyring answers the vectors of records and sealed attributes. It never sees a bare KEK: each
//! vector's secret is put into a bucket key record under a root of known bytes first.

use std::sync::Arc;

use strongroom::audit::NullSink;
use strongroom::id::{BucketId, InstanceId};
use strongroom::keys::{
    BucketKey, BucketKeyRecord, Context, DataKeyRecord, KeyError, KeyState, Keyring, KeyringConfig,
    MasterKey, Mode, Purpose, Request,
};

use crate::roots::KnownRoot;
use crate::roots_of;
use crate::through_engine::{Answer, secret};
use crate::twin::{self, Root};
use crate::vectors::Vector;

pub(crate) fn class_of(error: KeyError) -> &'static str {
    match error {
        KeyError::Malformed(_) => "malformed",
        KeyError::Unsupported(_) => "unsupported",
        KeyError::Unauthentic => "unauthentic",
        KeyError::WrongCustomerKey => "wrong-customer-key",
        KeyError::Disabled => "disabled",
        KeyError::Shredded => "shredded",
        other => panic!("not an answer to bytes: {other}"),
    }
}

pub(crate) fn keyring(roots: Vec<Root>) -> Keyring {
    let masters = roots
        .into_iter()
        .map(|root| Arc::new(KnownRoot(root)) as Arc<dyn MasterKey>);
    Keyring::new(
        masters.collect(),
        Arc::new(NullSink),
        KeyringConfig::default(),
    )
    .unwrap()
}

/// A bucket key and the keyring that holds its bytes.
struct HeldKey {
    key: Arc<BucketKey>,
    _ring: Option<Keyring>,
}

impl std::ops::Deref for HeldKey {
    type Target = BucketKey;

    fn deref(&self) -> &BucketKey {
        &self.key
    }
}

pub(crate) fn test_root() -> Root {
    Root {
        mk_id: [7; 16],
        version: 1,
        strategy: 1,
        key: [8; 32],
    }
}

/// An active bucket key record of a known secret, under that root.
pub(crate) fn record_of(secret: &[u8; 32], id: [u8; 16], generation: u32) -> Vec<u8> {
    let numbers = [&generation.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
    let body = twin::cat(&[b"SRBK\x01", &id, &numbers, &[1]]);
    twin::bucket_record(secret, &body, &[test_root()])
}

/// The key of a secret: a bucket's, or with generation 0 an instance's.
fn key_of(secret: &[u8; 32], id: [u8; 16], generation: u32) -> HeldKey {
    let record = record_of(secret, id, generation);
    let ring = keyring(vec![test_root()]);
    let request = Request::new(Purpose::Wrap);
    let key = match generation {
        0 => ring.direct_key(&record, InstanceId(id), &request),
        _ => ring.bucket_key_for(&record, &request),
    };
    HeldKey {
        key: key.unwrap(),
        _ring: Some(ring),
    }
}

/// The key a reader of the vector has.
fn key_of_vector(v: &Vector) -> HeldKey {
    if v.text("kek").is_some() {
        let key = BucketKey::from_key_file(secret(v.array("kek")));
        return HeldKey {
            key: Arc::new(key),
            _ring: None,
        };
    }
    let generation = v.number("kek-generation");
    key_of(&v.array("secret"), v.array("kek-id"), generation)
}

pub(crate) fn record(v: &Vector) -> Answer {
    let extra = ["object-key", "kms-key-id", "encryption-context"].map(|key| v.bytes(key));
    let ctx = Context {
        mode: Mode::from_code(v.number("mode")).unwrap(),
        bucket: BucketId(v.array("bucket")),
        instance: InstanceId(v.array("instance")),
        object_key: &extra[0],
        kms_key_id: &extra[1],
        encryption_context: &extra[2],
    };
    let customer = v
        .text("customer-key")
        .map(|_| secret(v.array("customer-key")));
    let (key, bytes) = (key_of_vector(v), v.bytes("record"));
    let verified = key.verify_record(&bytes, &ctx);
    let (_dk, info) = key
        .unwrap_data_key(&bytes, &ctx, customer.as_ref())
        .map_err(class_of)?;
    assert_eq!(verified.unwrap(), info, "{}", v.name);
    assert_eq!(info.state.code(), v.number("state"), "{}", v.name);
    assert_eq!(info.generation, v.number("generation"), "{}", v.name);
    assert_eq!(info.manifest_digest, v.array("digest"), "{}", v.name);
    assert_eq!(DataKeyRecord::parse(&bytes).unwrap().info, info);
    if v.text("from-record").is_some() {
        let from = key_of(
            &v.array("from-secret"),
            v.array("kek-id"),
            v.number("from-generation"),
        );
        let rewrapped = from.rewrap_data_key(&v.bytes("from-record"), &ctx, &key);
        assert_eq!(rewrapped.unwrap(), bytes, "{}: F-53", v.name);
    }
    if v.text("upload-record").is_some() {
        let completed = key.complete(&v.bytes("upload-record"), &ctx, v.array("digest"));
        assert_eq!(completed.unwrap(), bytes, "{}: F-88", v.name);
    }
    #[cfg(feature = "conformance")]
    {
        use strongroom::keys::testing::{data_key_bytes, wrap_data_key_with_salt};
        assert_eq!(data_key_bytes(&_dk), v.array("data-key"), "{}", v.name);
        let (state, digest, salt) = (info.state, info.manifest_digest, v.array("salt"));
        let again =
            wrap_data_key_with_salt(&key, &_dk, &ctx, customer.as_ref(), state, digest, &salt);
        assert_eq!(again.unwrap(), bytes, "{}", v.name);
    }
    Ok(())
}

pub(crate) fn bucket_record(v: &Vector) -> Answer {
    let bytes = v.bytes("record");
    let parsed = BucketKeyRecord::parse(&bytes).map_err(class_of)?;
    assert_eq!(parsed.encode(), bytes, "{}", v.name);
    let count = roots_of(v).len();
    // Each root alone opens the record, and so do all of them.
    for only in (0..count).map(Some).chain([None]) {
        let mut roots = roots_of(v);
        if let Some(only) = only {
            roots = vec![roots.swap_remove(only)];
        }
        open_bucket_record(v, &keyring(roots), &bytes, &parsed)?;
    }
    assert_eq!(parsed.bucket.0, v.array("bucket"), "{}", v.name);
    assert_eq!(parsed.generation, v.number("generation"), "{}", v.name);
    assert_eq!(parsed.rev, v.number::<u64>("rev"), "{}", v.name);
    assert_eq!(parsed.state.code(), v.number("state"), "{}", v.name);
    Ok(())
}

fn open_bucket_record(
    v: &Vector,
    ring: &Keyring,
    bytes: &[u8],
    parsed: &BucketKeyRecord,
) -> Answer {
    let request = Request::new(Purpose::Unwrap);
    let is_ring = parsed.bucket == BucketId([0xff; 16]);
    let opened = if is_ring {
        ring.control_ring(bytes, &request).map(|_| None)
    } else if parsed.generation == 0 {
        let instance = InstanceId(parsed.bucket.0);
        ring.direct_key(bytes, instance, &request).map(Some)
    } else {
        ring.bucket_key(bytes, None, Purpose::Unwrap).map(Some)
    };
    let closed = parsed.state >= KeyState::Disabled && v.want("expect") == "ok";
    match opened {
        Ok(Some(key)) => assert_kek(v, &key, parsed),
        Ok(None) => {}
        // The states themselves are right, and keep the keyring from handing out the key.
        Err(KeyError::Disabled) if closed && parsed.state == KeyState::Disabled => {}
        Err(KeyError::Shredded) if closed && parsed.state == KeyState::Shredded => {}
        Err(error) => return Err(class_of(error)),
    }
    Ok(())
}

/// The key handed out is the one of F-60: it opens a record that the twin wrapped under that.
fn assert_kek(v: &Vector, key: &BucketKey, parsed: &BucketKeyRecord) {
    let direct = parsed.generation == 0;
    let (bucket, instance) = match direct {
        true => ([1; 16], parsed.bucket.0),
        false => (parsed.bucket.0, [2; 16]),
    };
    let ctx = Context {
        mode: Mode::Managed,
        bucket: BucketId(bucket),
        instance: InstanceId(instance),
        object_key: b"k",
        kms_key_id: b"",
        encryption_context: b"",
    };
    let generation = parsed.generation.to_le_bytes();
    let prefix = twin::cat(&[b"SRDK\x01\x01\x02\0", &generation, &[3; 32], &[0; 32]]);
    let bytes = twin::context(1, &bucket, &instance, [b"k", b"", b""]);
    let record = twin::record(&v.array("kek"), &[4; 32], &bytes, &prefix, None);
    assert!(key.verify_record(&record, &ctx).is_ok(), "{}", v.name);
}

pub(crate) fn master_state(v: &Vector) -> Answer {
    let root = test_root();
    let generation: u32 = v.number("generation");
    let record = record_of(&v.array("secret"), [0xff; 16], generation);
    let ring = keyring(vec![root]);
    let control = ring.control_ring(&record, &Request::new(Purpose::Wrap));
    let control = control.unwrap();
    let row = v.bytes("row");
    let state = control.open_state(&row).map_err(class_of)?;
    assert_eq!(state.root.0, v.array("mk-id"), "{}", v.name);
    assert_eq!(state.version, v.number("version"), "{}", v.name);
    assert_eq!(state.rev, v.number::<u64>("rev"), "{}", v.name);
    assert_eq!(state.state.code(), v.number("state"), "{}", v.name);
    assert_eq!(control.seal_state(&state).unwrap(), row, "{}", v.name);
    Ok(())
}

pub(crate) fn sealed_attrs(v: &Vector) -> Answer {
    let (sealed, part) = (v.bytes("sealed"), v.number("part"));
    let instance = InstanceId(v.array("instance"));
    if v.text("data-key").is_some() {
        #[cfg(feature = "conformance")]
        {
            let dk = strongroom::keys::testing::data_key(v.array("data-key")).unwrap();
            let attrs = dk.open_attrs(instance, part, &sealed).map_err(class_of)?;
            assert_eq!(attrs, v.bytes("attrs"), "{}", v.name);
            let again = dk.seal_attrs(instance, part, &attrs);
            assert_eq!(again.unwrap(), sealed, "{}", v.name);
        }
        return Ok(());
    }
    let key = key_of(
        &v.array("secret"),
        v.array("bucket"),
        v.number("generation"),
    );
    let attrs = key.open_attrs(instance, part, &sealed).map_err(class_of)?;
    assert_eq!(attrs, v.bytes("attrs"), "{}", v.name);
    let again = key.seal_attrs(instance, part, &attrs);
    assert_eq!(again.unwrap(), sealed, "{}", v.name);
    Ok(())
}

/// R5 and R6 on records: nothing but a wrap list's versions may change unnoticed, and those open nothing.
#[test]
fn no_damage_to_a_data_key_record_goes_unnoticed() {
    for v in Vector::all() {
        if v.want("kind") == "record" && v.want("expect") == "ok" && v.text("from-record").is_some()
        {
            let extra = ["object-key", "kms-key-id", "encryption-context"].map(|key| v.bytes(key));
            let ctx = Context {
                mode: Mode::from_code(v.number("mode")).unwrap(),
                bucket: BucketId(v.array("bucket")),
                instance: InstanceId(v.array("instance")),
                object_key: &extra[0],
                kms_key_id: &extra[1],
                encryption_context: &extra[2],
            };
            let key = key_of_vector(&v);
            crate::through_engine::assert_refused_when_damaged(
                &v.name,
                &v.bytes("record"),
                &|bytes| key.verify_record(bytes, &ctx).map(drop).map_err(class_of),
            );
        }
    }
}

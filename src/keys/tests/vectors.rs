//! The vector files of format 1 that hold keys: what is inside them, and that a writer with the same
//! inputs makes the same bytes. What a reader answers to each is `tests/format_vectors`.

#[path = "../../../tests/vectors/mod.rs"]
#[allow(dead_code)]
mod files;

use files::{Vector, unhex};

use super::*;
use crate::keys::held::Keys;
use crate::keys::prf::Prf;
use crate::keys::testing::{bucket_key, data_key, data_key_bytes, wrap_data_key_with_salt};
use crate::secret::Secret;

fn sound(kind: &str, at_least: usize) -> Vec<Vector> {
    let vectors: Vec<_> = Vector::all()
        .into_iter()
        .filter(|v| v.want("kind") == kind && v.want("expect") == "ok")
        .collect();
    assert!(vectors.len() >= at_least, "{}", vectors.len());
    vectors
}

/// F-40 to F-53, and F-69 for data keys.
#[test]
fn data_key_records_are_those_of_the_format() {
    for v in sound("record", 20) {
        let secret = |bytes| Secret::take(&mut { bytes }).unwrap();
        let key = match v.text("kek") {
            Some(_) => BucketKey::from_key_file(secret(v.array("kek"))),
            None => bucket_key(
                v.array("secret"),
                BucketId(v.array("kek-id")),
                v.number("kek-generation"),
            )
            .unwrap(),
        };
        let (object_key, kms_key_id, encryption_context) = (
            v.bytes("object-key"),
            v.bytes("kms-key-id"),
            v.bytes("encryption-context"),
        );
        let ctx = Context {
            mode: Mode::from_code(v.number("mode")).unwrap(),
            bucket: BucketId(v.array("bucket")),
            instance: InstanceId(v.array("instance")),
            object_key: &object_key,
            kms_key_id: &kms_key_id,
            encryption_context: &encryption_context,
        };
        let customer = v
            .text("customer-key")
            .map(|_| secret(v.array("customer-key")));
        let record = v.bytes("record");

        let (dk, info) = key
            .unwrap_data_key(&record, &ctx, customer.as_ref())
            .unwrap();
        let digest: [u8; 32] = v.array("digest");
        assert_eq!(data_key_bytes(&dk), v.array("data-key"), "{}", v.name);

        let made = wrap_data_key_with_salt(
            &key,
            &data_key(v.array("data-key")).unwrap(),
            &ctx,
            customer.as_ref(),
            info.state,
            digest,
            &v.array("salt"),
        );
        assert_eq!(made.unwrap(), record, "{}", v.name);
    }
}

/// F-60 to F-67, and F-69 and F-73 for bucket keys.
#[test]
fn bucket_key_records_are_those_of_the_format() {
    for v in sound("bucket-record", 10) {
        let record = v.bytes("record");
        let roots: Vec<_> = v.texts("root").map(root).collect();
        let secret = Secret::take(&mut v.array("secret")).unwrap();
        let (bucket, generation) = (BucketId(v.array("bucket")), v.number("generation"));
        let (keys, check) = Keys::derive(&secret, bucket, generation).unwrap();
        let message: [&[u8]; 1] = [b"any"];
        let expected = Prf::new(&v.array("kek")).mac(&message);
        assert_eq!(keys.kek.prf().mac(&message), expected, "{}", v.name);
        let mut made = BucketKeyRecord {
            bucket,
            generation,
            rev: v.number("rev"),
            state: KeyState::from_code(v.number("state")).unwrap(),
            check,
            wraps: roots
                .iter()
                .map(|root| Wrap {
                    root: root.root(),
                    version: root.active_version(),
                    strategy: root.strategy(),
                    blob: root.wrap(root.active_version(), &secret).unwrap(),
                })
                .collect(),
            tag: [0; 32],
        };
        made.tag = keys.tag(&made.body()).unwrap();
        assert_eq!(made.encode(), record, "{}", v.name);
        assert_eq!(BucketKeyRecord::parse(&record).unwrap(), made);
    }
}

/// F-90 to F-92.
#[test]
fn sealed_attributes_are_those_of_the_format() {
    for v in sound("sealed-attrs", 5) {
        let (instance, part) = (InstanceId(v.array("instance")), v.number("part"));
        let (list, sealed) = (v.bytes("attrs"), v.bytes("sealed"));
        let made = if v.text("data-key").is_some() {
            let key = data_key(v.array("data-key")).unwrap();
            key.seal_attrs(instance, part, &list)
        } else {
            let bucket = BucketId(v.array("bucket"));
            let key = bucket_key(v.array("secret"), bucket, v.number("generation")).unwrap();
            key.seal_attrs(instance, part, &list)
        };
        assert_eq!(made.unwrap(), sealed, "{}", v.name);
    }
}

/// The double of a root as a vector states it: mk_id, version, strategy, CKA_ID, master key.
fn root(text: &str) -> Arc<SoftMasterKey> {
    let fields: Vec<_> = text.split(' ').collect();
    Arc::new(SoftMasterKey::with_version(
        RootId(unhex(fields[0]).try_into().unwrap()),
        Strategy::from_code(fields[2].parse().unwrap()).unwrap(),
        fields[1].parse().unwrap(),
        unhex(fields[4]).try_into().unwrap(),
    ))
}

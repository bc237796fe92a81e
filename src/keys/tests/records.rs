//! Data key and bucket key records under every bit flip, cut and swap.

use proptest::prelude::*;

use super::*;
use crate::keys::testing::bucket_key;
use crate::secret::Secret;

const SECRET: [u8; 32] = [0x40; 32];

fn key() -> BucketKey {
    bucket_key(SECRET, BUCKET, 1).unwrap()
}

fn customer_key(byte: u8) -> Secret<32> {
    Secret::take(&mut [byte; 32]).unwrap()
}

/// The customer key a context takes.
fn customer_of(ctx: &Context<'_>) -> Option<Secret<32>> {
    (ctx.mode == Mode::Customer).then(|| customer_key(0x60))
}

fn record_of(key: &BucketKey, ctx: &Context<'_>, state: RecordState) -> Vec<u8> {
    let digest = [u8::from(state == RecordState::Complete); 32];
    let dk = key.new_data_key().unwrap();
    key.wrap_data_key(&dk, ctx, customer_of(ctx).as_ref(), state, digest)
        .unwrap()
}

/// F-40, F-48 to F-51.
#[test]
fn what_was_wrapped_opens_in_every_mode_and_state() {
    for ctx in contexts() {
        for state in [
            RecordState::Upload,
            RecordState::Complete,
            RecordState::NoManifest,
        ] {
            let key = key();
            let dk = key.new_data_key().unwrap();
            let customer = customer_of(&ctx);
            let digest = [u8::from(state == RecordState::Complete); 32];
            let record = key
                .wrap_data_key(&dk, &ctx, customer.as_ref(), state, digest)
                .unwrap();
            let expected = if customer.is_some() { 188 } else { 148 };
            assert_eq!(record.len(), expected);
            let (opened, info) = key
                .unwrap_data_key(&record, &ctx, customer.as_ref())
                .unwrap();
            assert_eq!(opened.secret().expose(), dk.secret().expose());
            assert_eq!((info.state, info.manifest_digest), (state, digest));
        }
    }
}

/// F-51: what a public field's flip says, and that every other flip says nothing.
/// Each answer is the one that the request alone gets, at every length around those that run side by side.
#[test]
fn several_at_once_get_the_answers_that_each_gets_alone() {
    let (key, contexts) = (key(), contexts());
    for count in [0, 1, 2, 7, 8, 9, 31, 32, 33, 70] {
        let keys: Vec<_> = (0..count).map(|_| key.new_data_key().unwrap()).collect();
        let customers: Vec<_> = (0..count).map(|i| customer_of(&contexts[i % 4])).collect();
        // One in five asks for what is not to be had.
        let wraps: Vec<_> = (0..count)
            .map(|i| WrapRequest {
                key: &keys[i],
                ctx: Context {
                    bucket: if i % 5 == 4 {
                        BucketId([9; 16])
                    } else {
                        BUCKET
                    },
                    ..contexts[i % 4]
                },
                customer: customers[i].as_ref(),
                state: RecordState::Complete,
                manifest_digest: [7; 32],
            })
            .collect();
        let records = key.wrap_data_keys(&wraps);
        assert_eq!(records.len(), count);
        for (i, record) in records.iter().enumerate() {
            if i % 5 == 4 {
                assert!(matches!(record, Err(KeyError::Malformed(_))), "{i}");
                continue;
            }
            let record = record.as_ref().unwrap();
            let ctx = &contexts[i % 4];
            let (opened, info) = key
                .unwrap_data_key(record, ctx, customers[i].as_ref())
                .unwrap();
            assert_eq!(opened.secret().expose(), keys[i].secret().expose());
            assert_eq!(info.manifest_digest, [7; 32]);
        }

        // Whole, they open together too.
        let good: Vec<_> = (0..count).filter(|i| i % 5 != 4).collect();
        let requests: Vec<_> = good
            .iter()
            .map(|&i| UnwrapRequest {
                record: records[i].as_ref().unwrap(),
                ctx: contexts[i % 4],
                customer: customers[i].as_ref(),
            })
            .collect();
        let opened = key.unwrap_data_keys(&requests);
        assert_eq!(opened.len(), good.len());
        for (i, opened) in good.into_iter().zip(opened) {
            let (opened, info) = opened.unwrap();
            assert_eq!(opened.secret().expose(), keys[i].secret().expose(), "{i}");
            assert_eq!(info.manifest_digest, [7; 32]);
        }

        // One in three is damaged, and one in seven comes with the wrong customer key or one too many.
        let records: Vec<Vec<u8>> = records
            .into_iter()
            .enumerate()
            .map(|(i, record)| {
                let mut record = record.unwrap_or_default();
                if i % 3 == 2 && !record.is_empty() {
                    let at = (i * 11) % record.len();
                    record[at] ^= 1;
                }
                record
            })
            .collect();
        let wrong = customer_key(0xEE);
        let unwraps: Vec<_> = (0..count)
            .map(|i| UnwrapRequest {
                record: &records[i],
                ctx: contexts[i % 4],
                customer: if i % 7 == 6 {
                    Some(&wrong)
                } else {
                    customers[i].as_ref()
                },
            })
            .collect();
        let opened = key.unwrap_data_keys(&unwraps);
        assert_eq!(opened.len(), count);
        for (request, opened) in unwraps.iter().zip(opened) {
            match key.unwrap_data_key(request.record, &request.ctx, request.customer) {
                Ok((dk, info)) => {
                    let (opened, told) = opened.unwrap();
                    assert_eq!(opened.secret().expose(), dk.secret().expose());
                    assert_eq!(told, info);
                }
                Err(error) => {
                    let told = opened.map(|(_, info)| info).unwrap_err();
                    assert_eq!(told.to_string(), error.to_string());
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_data_key_record_is_refused_by_its_class() {
    let key = key();
    for ctx in contexts() {
        let customer = customer_of(&ctx);
        let record = record_of(&key, &ctx, RecordState::Complete);
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let answer = key
                .unwrap_data_key(&bad, &ctx, customer.as_ref())
                .map(drop)
                .unwrap_err();
            let as_expected = match bit / 8 {
                0..=3 | 7 => matches!(answer, KeyError::Malformed(_)),
                4 => matches!(answer, KeyError::Unsupported(_)),
                // Another mode has another length, or another context, or is none.
                5 => match Mode::from_code(bad[5]) {
                    None => matches!(answer, KeyError::Unsupported(_)),
                    Some(Mode::Customer) => matches!(answer, KeyError::Malformed(_)),
                    Some(_) if ctx.mode == Mode::Customer => {
                        matches!(answer, KeyError::Malformed(_))
                    }
                    Some(_) => matches!(answer, KeyError::Unauthentic),
                },
                // From state 1 a flip leads to 0 or to none, and 0 has no digest.
                6 => matches!(answer, KeyError::Malformed(_)),
                _ => matches!(answer, KeyError::Unauthentic),
            };
            assert!(as_expected, "{:?} bit {bit}: {answer}", ctx.mode);
            assert!(key.verify_record(&bad, &ctx).is_err());
        }
    }
}

#[test]
fn a_record_cut_anywhere_or_too_long_is_malformed() {
    let key = key();
    for ctx in contexts() {
        let record = record_of(&key, &ctx, RecordState::Complete);
        let customer = customer_of(&ctx);
        let longer = [&record[..], &[0]].concat();
        for len in 0..record.len() {
            let answer = key.unwrap_data_key(&record[..len], &ctx, customer.as_ref());
            assert!(matches!(answer, Err(KeyError::Malformed(_))), "{len}");
        }
        let answer = key.unwrap_data_key(&longer, &ctx, customer.as_ref());
        assert!(matches!(answer, Err(KeyError::Malformed(_))));
    }
}

/// F-43: each field of the context is bound, and none can give bytes to its neighbour.
#[test]
fn a_record_opens_in_its_own_context_only() {
    let key = key();
    let own = Context {
        object_key: b"ab",
        encryption_context: b"",
        ..managed()
    };
    let record = record_of(&key, &own, RecordState::Complete);
    let others = [
        Context {
            instance: InstanceId([0x91; 16]),
            ..own
        },
        Context {
            bucket: BucketId([0x81; 16]),
            ..own
        },
        Context {
            object_key: b"aB",
            ..own
        },
        Context {
            object_key: b"a",
            encryption_context: b"b",
            ..own
        },
        Context {
            object_key: b"ab\0\0",
            ..own
        },
        Context {
            mode: Mode::Plain,
            ..own
        },
        Context {
            mode: Mode::Kms,
            kms_key_id: b"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            ..own
        },
        Context {
            mode: Mode::KeyFile,
            ..own
        },
    ];
    key.unwrap_data_key(&record, &own, None).unwrap();
    for other in others {
        let answer = key.unwrap_data_key(&record, &other, None);
        assert!(matches!(answer, Err(KeyError::Unauthentic)), "{other:?}");
    }
}

#[test]
fn a_record_opens_under_its_own_key_only() {
    let record = record_of(&key(), &managed(), RecordState::Complete);
    for (secret, bucket, generation) in [
        ([0x41; 32], BUCKET, 1),
        (SECRET, BUCKET, 2),
        (SECRET, BucketId([0x81; 16]), 1),
        (SECRET, BucketId(INSTANCE.0), 0),
    ] {
        let other = bucket_key(secret, bucket, generation).unwrap();
        let answer = other.unwrap_data_key(&record, &managed(), None);
        assert!(matches!(answer, Err(KeyError::Unauthentic)));
    }
}

/// F-51 steps 6 to 9: only a whole record can say that the customer's key is wrong.
#[test]
fn a_wrong_customer_key_has_a_name_and_damage_has_none() {
    let key = key();
    let ctx = contexts()[1];
    let record = record_of(&key, &ctx, RecordState::Complete);
    let (right, wrong) = (customer_key(0x60), customer_key(0x61));
    let answer = |record: &[u8], customer| key.unwrap_data_key(record, &ctx, Some(customer));
    assert!(answer(&record, &right).is_ok());
    assert!(matches!(
        answer(&record, &wrong),
        Err(KeyError::WrongCustomerKey)
    ));
    for byte in 8..record.len() {
        let mut bad = record.clone();
        bad[byte] ^= 0x10;
        for customer in [&right, &wrong] {
            assert!(
                matches!(answer(&bad, customer), Err(KeyError::Unauthentic)),
                "{byte}"
            );
        }
    }
}

/// F-49: the customer's key is a second lock, not another name for the first.
#[test]
fn a_customer_key_is_given_in_its_mode_and_in_no_other() {
    let key = key();
    let [managed, customer, ..] = contexts();
    let customer_key = customer_key(0x60);
    let dk = key.new_data_key().unwrap();
    for (ctx, given) in [(managed, Some(&customer_key)), (customer, None)] {
        let made = key.wrap_data_key(&dk, &ctx, given, RecordState::NoManifest, [0; 32]);
        assert!(matches!(made, Err(KeyError::Malformed(_))));
        let record = record_of(&key, &ctx, RecordState::NoManifest);
        let opened = key.unwrap_data_key(&record, &ctx, given);
        assert!(matches!(opened, Err(KeyError::Malformed(_))));
    }
}

/// F-88: completing needs no customer key and keeps salt and wrap; where it came to nothing, it happens again.
#[test]
fn an_upload_is_completed_without_the_customer_key() {
    let key = key();
    let ctx = contexts()[1];
    let upload = record_of(&key, &ctx, RecordState::Upload);
    let complete = key.complete(&upload, &ctx, [7; 32]).unwrap();
    assert_eq!(complete[12..44], upload[12..44], "salt");
    assert_eq!(complete[76..156], upload[76..156], "wrap");
    let (_, info) = key
        .unwrap_data_key(&complete, &ctx, customer_of(&ctx).as_ref())
        .unwrap();
    assert_eq!(info.manifest_digest, [7; 32]);
    assert_eq!(info.state, RecordState::Complete);
    let again = key.complete(&complete, &ctx, [8; 32]).unwrap();
    assert_eq!(
        key.verify_record(&again, &ctx).unwrap().manifest_digest,
        [8; 32]
    );
    let file = record_of(&key, &ctx, RecordState::NoManifest);
    let answer = key.complete(&file, &ctx, [7; 32]);
    assert!(matches!(answer, Err(KeyError::Malformed(_))));
    let mut bad = upload;
    bad[150] ^= 1;
    let answer = key.complete(&bad, &ctx, [7; 32]);
    assert!(matches!(answer, Err(KeyError::Unauthentic)));
}

/// F-53: the salt stays, no customer key is needed, and the old key opens it no more.
#[test]
fn a_rewrap_keeps_salt_and_data_key() {
    let (from, to) = (key(), bucket_key([0x50; 32], BUCKET, 2).unwrap());
    for ctx in contexts() {
        let customer = customer_of(&ctx);
        let old = record_of(&from, &ctx, RecordState::Complete);
        let new = from.rewrap_data_key(&old, &ctx, &to).unwrap();
        assert_eq!(new[12..76], old[12..76], "salt and digest");
        let (before, _) = from.unwrap_data_key(&old, &ctx, customer.as_ref()).unwrap();
        let (after, info) = to.unwrap_data_key(&new, &ctx, customer.as_ref()).unwrap();
        assert_eq!(before.secret().expose(), after.secret().expose());
        assert_eq!(info.generation, 2);
        let answer = from.unwrap_data_key(&new, &ctx, customer.as_ref());
        assert!(matches!(answer, Err(KeyError::Unauthentic)));
    }
}

/// F-07: the same key in the same context never makes the same record twice.
#[test]
fn every_wrap_has_a_salt_of_its_own() {
    let key = key();
    let dk = key.new_data_key().unwrap();
    let salts: std::collections::HashSet<Vec<u8>> = (0..1000)
        .map(|_| {
            key.wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32])
                .unwrap()[12..44]
                .to_vec()
        })
        .collect();
    assert_eq!(salts.len(), 1000);
}

/// F-97: a key file's key and a bucket's key never open each other's records.
#[test]
fn a_key_file_serves_its_own_mode_only() {
    let key_file = || BucketKey::from_key_file(customer_key(0xc0));
    let ctx = Context {
        mode: Mode::KeyFile,
        bucket: BucketId([0; 16]),
        object_key: b"",
        ..managed()
    };
    let record = record_of(&key_file(), &ctx, RecordState::NoManifest);
    assert!(key_file().unwrap_data_key(&record, &ctx, None).is_ok());
    let answer = key().unwrap_data_key(&record, &ctx, None);
    assert!(matches!(answer, Err(KeyError::Unauthentic)));
    let dk = key_file().new_data_key().unwrap();
    let made = key_file().wrap_data_key(&dk, &managed(), None, RecordState::NoManifest, [0; 32]);
    assert!(matches!(made, Err(KeyError::Malformed(_))));
    let attrs = key_file().seal_attrs(INSTANCE, 0, b"SRAT");
    assert!(matches!(attrs, Err(KeyError::NotPermitted)));
}

/// F-45, F-46, F-02: what cannot be encoded is refused by the writer.
#[test]
fn a_context_that_breaks_its_rules_wraps_nothing() {
    let key = key();
    let long = vec![b'x'; 65_536];
    let kms = contexts()[2];
    let broken = [
        Context {
            object_key: &long,
            ..managed()
        },
        Context {
            encryption_context: &long,
            ..managed()
        },
        Context {
            kms_key_id: b"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            ..managed()
        },
        Context {
            kms_key_id: b"",
            ..kms
        },
        Context {
            kms_key_id: b"0A0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            ..kms
        },
        Context {
            kms_key_id: b"alias/photos",
            ..kms
        },
    ];
    let dk = key.new_data_key().unwrap();
    for ctx in broken {
        let made = key.wrap_data_key(&dk, &ctx, None, RecordState::NoManifest, [0; 32]);
        assert!(matches!(made, Err(KeyError::Malformed(_))));
    }
}

/// F-46.
#[test]
fn the_order_of_an_encryption_context_does_not_matter() {
    let encode = encode_encryption_context;
    let bytes = encode(&[("b", "2"), ("a", "1")]).unwrap();
    assert_eq!(
        bytes, b"\x02\0\x01\0a\x01\x001\x01\0b\x01\x002",
        "sorted and prefixed"
    );
    assert_eq!(encode(&[("a", "1"), ("b", "2")]).unwrap(), bytes);
    assert_eq!(encode(&[]).unwrap(), b"");
    assert!(encode(&[("a", "1"), ("a", "2")]).is_err());
    assert!(encode(&[("a", &"x".repeat(65_529))]).is_err());
    assert!(encode(&[("a", &"x".repeat(65_528))]).is_ok());
}

/// F-91: bound to instance, part and generation; a listing needs no data key.
#[test]
fn sealed_attributes_open_where_they_were_sealed() {
    let key = key();
    let list = b"SRAT\x01\0\0";
    let sealed = key.seal_attrs(INSTANCE, 3, list).unwrap();
    assert_eq!(key.open_attrs(INSTANCE, 3, &sealed).unwrap(), list);
    let other = InstanceId([0x91; 16]);
    assert!(key.open_attrs(INSTANCE, 4, &sealed).is_err());
    assert!(key.open_attrs(other, 3, &sealed).is_err());
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let answer = key.open_attrs(INSTANCE, 3, &bad);
        assert!(matches!(answer, Err(KeyError::Unauthentic)), "{bit}");
    }
    for len in 0..sealed.len() {
        let answer = key.open_attrs(INSTANCE, 3, &sealed[..len]);
        assert!(matches!(answer, Err(KeyError::Unauthentic)), "{len}");
    }
}

/// F-61, F-67: structure is named, the rest is opaque, and a bad state tag counts as disabled.
#[test]
fn every_flipped_bit_of_a_bucket_key_record_is_refused_by_its_class() {
    let rig = Rig::new(1);
    let record = rig.record();
    assert_eq!(record.len(), 160);
    for bit in 0..record.len() * 8 {
        let mut bad = record.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let answer = rig
            .ring
            .bucket_key(&bad, None, Purpose::Unwrap)
            .map(drop)
            .unwrap_err();
        let as_expected = match bit / 8 {
            0..=3 | 66 => matches!(answer, KeyError::Malformed(_)),
            4 => matches!(answer, KeyError::Unsupported(_)),
            5..=24 => matches!(answer, KeyError::Unauthentic) || bad[21..25] == [0; 4],
            25..=32 => matches!(answer, KeyError::Disabled) || bad[25..33] == [0; 8],
            33 => match KeyState::from_code(bad[33]) {
                Some(KeyState::Disabled) => matches!(answer, KeyError::Disabled),
                _ => matches!(answer, KeyError::Malformed(_)),
            },
            34..=65 | 88..=127 => matches!(answer, KeyError::Unauthentic),
            67..=82 => matches!(answer, KeyError::NoRoot { .. }),
            83..=86 => matches!(answer, KeyError::Hsm(MasterKeyError::KeyMissing { .. })),
            87 => matches!(answer, KeyError::Unsupported(_)),
            _ => matches!(answer, KeyError::Disabled),
        };
        assert!(as_expected, "byte {} bit {bit}: {answer}", bit / 8);
    }
    for len in 0..record.len() {
        assert!(matches!(
            BucketKeyRecord::parse(&record[..len]),
            Err(KeyError::Malformed(_))
        ));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = BucketKeyRecord::parse(&bytes);
        let _ = DataKeyRecord::parse(&bytes);
    }

    /// F-05: what parses is encoded as it was, whatever its fields hold.
    #[test]
    fn a_bucket_key_record_has_one_encoding(
        fields in proptest::collection::vec(any::<u8>(), 99 + 8 * 61),
        wraps in 1..=8u8,
    ) {
        let mut bytes = fields;
        bytes.truncate(99 + usize::from(wraps) * 61);
        bytes[..5].copy_from_slice(b"SRBK\x01");
        bytes[33] = 1 + bytes[33] % 4;
        bytes[66] = wraps;
        for wrap in 0..usize::from(wraps) {
            bytes[67 + wrap * 61] = wrap as u8;
            bytes[67 + wrap * 61 + 20] = 1 + bytes[67 + wrap * 61 + 20] % 2;
        }
        prop_assert_eq!(BucketKeyRecord::parse(&bytes).unwrap().encode(), bytes);
    }
}

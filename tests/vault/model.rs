//! Random sequences of operations against a map.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::prelude::*;
use strongroom::vault::{
    CommitRequest, ListRequest, ListedItem, Precondition, Protection, Vault, VaultError, Which,
};

use crate::support::*;

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: u8,
        size: usize,
        condition: Condition,
        customer: bool,
    },
    Abort {
        key: u8,
        size: usize,
    },
    Delete {
        key: u8,
        condition: Condition,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Get {
        key: u8,
    },
    List {
        prefix: u8,
        limit: usize,
    },
    Reopen,
    Maintain,
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    None,
    Absent,
    Present,
    Current,
    Outdated,
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, strongroom::id::InstanceId, bool)>;

fn key_of(number: u8) -> Vec<u8> {
    let mut key = vec![b"ab/"[usize::from(number % 3)]];
    key.extend_from_slice(&[number % 5, 0xff, b'/'][..usize::from(number / 6)]);
    key
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..24_u8;
    let size = prop_oneof![
        4 => 0..5_000_usize,
        2 => 15_000..20_000_usize,
        1 => 60_000..200_000_usize,
    ];
    let condition = prop_oneof![
        4 => Just(Condition::None),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        1 => Just(Condition::Current),
        1 => Just(Condition::Outdated),
    ];
    let step = prop_oneof![
        8 => (key.clone(), size.clone(), condition.clone(), any::<bool>())
            .prop_map(|(key, size, condition, customer)| Step::Put { key, size, condition, customer }),
        1 => (key.clone(), size).prop_map(|(key, size)| Step::Abort { key, size }),
        3 => (key.clone(), condition).prop_map(|(key, condition)| Step::Delete { key, condition }),
        2 => (key.clone(), key.clone()).prop_map(|(from, to)| Step::Copy { from, to }),
        5 => key.prop_map(|key| Step::Get { key }),
        3 => (0..3_u8, 1..9_usize).prop_map(|(prefix, limit)| Step::List { prefix, limit }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..40)
}

const KEY: [u8; 32] = [9; 32];

fn precondition(model: &Model, key: &[u8], condition: Condition) -> (Precondition, bool) {
    let current = model.get(key).map(|(_, instance, _)| *instance);
    match condition {
        Condition::None => (Precondition::None, true),
        Condition::Absent => (Precondition::Absent, current.is_none()),
        Condition::Present => (Precondition::Present, current.is_some()),
        Condition::Current => match current {
            Some(instance) => (Precondition::Is(instance), true),
            None => (Precondition::Absent, true),
        },
        Condition::Outdated => (Precondition::Is(strongroom::id::InstanceId([1; 16])), false),
    }
}

fn begin(dir: &std::path::Path) -> Arc<Vault> {
    Vault::start(stores(dir), keyring(), config()).unwrap()
}

fn protection(customer: bool) -> Protection {
    if customer {
        Protection::Customer(secret(KEY))
    } else {
        Protection::Managed
    }
}

fn request<'a>(key: &'a [u8], customer: bool) -> strongroom::vault::OpenRequest<'a> {
    if customer {
        open_with("b", key, KEY)
    } else {
        open("b", key)
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = begin(dir.path());
    vault.create_bucket("b", "owner").unwrap();
    let mut model: Model = BTreeMap::new();
    for (turn, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put {
                key,
                size,
                condition,
                customer,
            } => {
                let key = key_of(key);
                let body = bytes(size, turn as u64);
                let (precondition, holds) = precondition(&model, &key, condition);
                let mut stream = vault
                    .put(put_request("b", &key, protection(customer)))
                    .unwrap();
                stream.write(&body).unwrap();
                let attrs = list(&[("etag", &etag(&body))]);
                match stream.commit(CommitRequest {
                    precondition,
                    attrs,
                    ..Default::default()
                }) {
                    Ok(committed) => {
                        assert!(holds);
                        let before = model.insert(key, (body, committed.instance, customer));
                        assert_eq!(committed.replaced, before.map(|(_, instance, _)| instance));
                    }
                    Err(VaultError::PreconditionFailed) => assert!(!holds),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Abort { key, size } => {
                let mut stream = vault
                    .put(put_request("b", &key_of(key), Protection::Managed))
                    .unwrap();
                stream.write(&bytes(size, 1)).unwrap();
            }
            Step::Delete { key, condition } => {
                let key = key_of(key);
                let (precondition, holds) = precondition(&model, &key, condition);
                match vault.delete("b", &key, precondition) {
                    Ok(gone) => {
                        assert!(holds);
                        assert_eq!(
                            gone.instance,
                            model.remove(&key).map(|(_, instance, _)| instance)
                        );
                    }
                    Err(VaultError::PreconditionFailed) => assert!(!holds),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Copy { from, to } => {
                let (from, to) = (key_of(from), key_of(to));
                let source = model.get(&from).cloned();
                let customer = source.as_ref().is_some_and(|(.., customer)| *customer);
                let attrs = source
                    .as_ref()
                    .map(|(body, ..)| list(&[("etag", &etag(body))]));
                let copied = vault.copy(
                    request(&from, customer),
                    put_request("b", &to, Protection::Managed),
                    CommitRequest {
                        attrs: attrs.unwrap_or_default(),
                        ..Default::default()
                    },
                );
                match (copied, source) {
                    (Ok(copied), Some((body, ..))) => {
                        model.insert(to, (body, copied.instance, false));
                    }
                    (Err(VaultError::NoSuchKey { .. }), None) => {}
                    (copied, source) => panic!("{copied:?} of {source:?}"),
                }
            }
            Step::Get { key } => look(&vault, &model, &key_of(key)),
            Step::List { prefix, limit } => {
                let prefix = [b"ab/"[usize::from(prefix)]];
                assert_eq!(listed(&vault, &prefix, limit), expected(&model, &prefix));
            }
            Step::Reopen => {
                drop(vault);
                vault = begin(dir.path());
            }
            Step::Maintain => {
                vault.maintain().unwrap();
            }
        }
    }
    drop(vault);
    let vault = begin(dir.path());
    for key in (0..24).map(key_of) {
        look(&vault, &model, &key);
    }
    assert_eq!(listed(&vault, b"", 1000), expected(&model, b""));
}

fn look(vault: &Arc<Vault>, model: &Model, key: &[u8]) {
    match model.get(key) {
        Some((body, instance, customer)) => {
            assert!(read(vault, request(key, *customer)).unwrap() == *body);
            assert_eq!(
                vault.stat("b", key, Which::Current).unwrap().instance,
                *instance
            );
        }
        None => assert!(matches!(
            get(vault, "b", key),
            Err(VaultError::NoSuchKey { .. })
        )),
    }
}

fn expected(model: &Model, prefix: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let under = model.iter().filter(|(key, _)| key.starts_with(prefix));
    under
        .map(|(key, (body, ..))| (key.clone(), body.len() as u64))
        .collect()
}

fn listed(vault: &Vault, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let mut start: Option<Vec<u8>> = None;
    loop {
        let from = start.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let request = ListRequest {
            bucket: "b".into(),
            prefix,
            from,
            delimiter: None,
            limit,
        };
        let page = vault.list(&request).unwrap();
        assert!(page.items.len() <= limit);
        found.extend(page.items.into_iter().map(|item| match item {
            ListedItem::Object(object) => (object.key, object.length),
            ListedItem::Prefix(_) => panic!("no delimiter was asked for"),
        }));
        match page.next {
            Some(next) => start = Some(next),
            None => return found,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_does_what_a_map_does(steps in steps()) {
        run(steps);
    }
}

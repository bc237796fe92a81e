//! Random sequences of writes, deletions and uploads in a bucket with versions, against a model of its history.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::prelude::*;
use strongroom::id::{InstanceId, VersionId};
use strongroom::vault::{
    OpenRequest, PartInfo, Precondition, Protection, Vault, VaultError, VersionEntry, VersionItem,
    Versioning, VersionsRequest, Which,
};

use crate::support::*;
use crate::uploads::{begin, complete, put_part};

#[derive(Debug, Clone)]
enum Step {
    Versioning(bool),
    Put {
        key: u8,
        size: usize,
    },
    Delete {
        key: u8,
    },
    DeleteVersion {
        key: u8,
        nth: usize,
    },
    Begin {
        key: u8,
    },
    Part {
        upload: usize,
        part: u32,
        size: usize,
    },
    Complete {
        upload: usize,
        leave_out: usize,
    },
    Abort {
        upload: usize,
    },
    Reopen,
    Maintain,
}

/// A version: what it is found as, and its body; none for a delete marker.
type Entry = (Which, Option<Vec<u8>>);

#[derive(Default)]
struct Model {
    versioning: Option<bool>,
    /// The newest first.
    keys: BTreeMap<u8, Vec<Entry>>,
    uploads: Vec<Upload>,
}

struct Upload {
    id: InstanceId,
    key: u8,
    parts: BTreeMap<u32, (PartInfo, Vec<u8>)>,
}

impl Model {
    fn write(&mut self, key: u8, label: VersionId, body: Option<Vec<u8>>) {
        let history = self.keys.entry(key).or_default();
        if self.versioning == Some(true) {
            history.insert(0, (Which::Label(label), body));
            return;
        }
        history.retain(|(which, _)| *which != Which::Null);
        let is_marker = body.is_none();
        if !(is_marker && self.versioning.is_none()) {
            history.insert(0, (Which::Null, body));
        }
    }

    fn check(&self, vault: &Arc<Vault>) {
        for key in 0..KEYS {
            let expected = self.keys.get(&key).cloned().unwrap_or_default();
            assert_eq!(history(vault, key), expected, "key {key}");
            let current = get(vault, "b", &[key]);
            match expected.first() {
                None => assert!(matches!(current, Err(VaultError::NoSuchKey { .. }))),
                Some((_, None)) => {
                    assert!(matches!(current, Err(VaultError::DeleteMarker { .. })));
                }
                Some((_, Some(body))) => assert!(current.unwrap() == *body),
            }
        }
        for upload in &self.uploads {
            let listed = vault.list_parts("b", &[upload.key], upload.id, 0, 100);
            let expected: Vec<_> = upload
                .parts
                .values()
                .map(|(info, _)| info.clone())
                .collect();
            assert_eq!(listed.unwrap(), expected);
        }
    }
}

fn history(vault: &Arc<Vault>, key: u8) -> Vec<Entry> {
    let page = vault.list_versions(&VersionsRequest {
        bucket: "b".into(),
        prefix: &[key],
        from: Bound::Unbounded,
        after: None,
        delimiter: None,
        limit: 1000,
    });
    let versions = page.unwrap().items.into_iter().map(|item| {
        let VersionItem::Version(version) = item else {
            panic!("a prefix without a delimiter");
        };
        let body = match version.entry {
            VersionEntry::Marker(_) => None,
            VersionEntry::Object(_) => {
                let name = [key];
                let request = OpenRequest {
                    version: version.which,
                    ..open("b", &name)
                };
                Some(read(vault, request).unwrap())
            }
        };
        (version.which, body)
    });
    versions.collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS;
    let size = prop_oneof![3 => 0..3_000_usize, 1 => 60_000..140_000_usize];
    let upload = 0..4_usize;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(Step::Versioning),
        5 => (key.clone(), size.clone()).prop_map(|(key, size)| Step::Put { key, size }),
        3 => key.clone().prop_map(|key| Step::Delete { key }),
        3 => (key.clone(), 0..5_usize).prop_map(|(key, nth)| Step::DeleteVersion { key, nth }),
        3 => key.prop_map(|key| Step::Begin { key }),
        6 => (upload.clone(), 1..4_u32, size)
            .prop_map(|(upload, part, size)| Step::Part { upload, part, size }),
        3 => (upload.clone(), 0..4_usize)
            .prop_map(|(upload, leave_out)| Step::Complete { upload, leave_out }),
        1 => upload.prop_map(|upload| Step::Abort { upload }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..40)
}

fn start(dir: &std::path::Path) -> Arc<Vault> {
    Vault::start(stores(dir), keyring(), config()).unwrap()
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = start(dir.path());
    vault.create_bucket("b", "owner").unwrap();
    let mut model = Model::default();
    for (turn, step) in steps.into_iter().enumerate() {
        let seed = turn as u64 + 1;
        match step {
            Step::Versioning(enabled) => {
                let bucket = vault.bucket("b").unwrap();
                let state = match enabled {
                    true => Versioning::Enabled,
                    false => Versioning::Suspended,
                };
                vault.set_versioning(&bucket, state).unwrap();
                model.versioning = Some(enabled);
            }
            Step::Put { key, size } => {
                let body = bytes(size, seed);
                let done = put(&vault, "b", &[key], &body).unwrap();
                assert_eq!(done.null, model.versioning != Some(true));
                model.write(key, done.version, Some(body));
            }
            Step::Delete { key } => {
                let done = vault.delete("b", &[key], Precondition::None).unwrap();
                let label = done.marker.map(|marker| marker.version);
                assert_eq!(label.is_some(), model.versioning.is_some());
                model.write(key, label.unwrap_or(VersionId([0; 16])), None);
            }
            Step::DeleteVersion { key, nth } => {
                let history = model.keys.entry(key).or_default();
                if nth < history.len() {
                    let (which, body) = history.remove(nth);
                    let done = vault.delete_version("b", &[key], which, None).unwrap();
                    assert_eq!(done.instance.is_some(), body.is_some());
                }
            }
            Step::Begin { key } => model.uploads.push(Upload {
                id: begin(&vault, &[key], Protection::Managed),
                key,
                parts: BTreeMap::new(),
            }),
            Step::Part { upload, part, size } => {
                if let Some(upload) = model.uploads.get_mut(upload) {
                    let body = bytes(size, seed);
                    let info = put_part(&vault, &[upload.key], upload.id, part, &body).unwrap();
                    upload.parts.insert(part, (info, body));
                }
            }
            Step::Complete { upload, leave_out } => {
                if model
                    .uploads
                    .get(upload)
                    .is_none_or(|upload| upload.parts.is_empty())
                {
                    continue;
                }
                let upload = model.uploads.remove(upload);
                let mut chosen: Vec<_> = upload.parts.values().collect();
                if chosen.len() > 1 && leave_out < chosen.len() {
                    chosen.remove(leave_out);
                }
                let infos: Vec<_> = chosen.iter().map(|(info, _)| info).collect();
                let done = complete(&vault, &[upload.key], upload.id, &infos).unwrap();
                let body = chosen.iter().flat_map(|(_, body)| body.clone()).collect();
                model.write(upload.key, done.version, Some(body));
            }
            Step::Abort { upload } => {
                if upload < model.uploads.len() {
                    let upload = model.uploads.remove(upload);
                    vault.abort_upload("b", &[upload.key], upload.id).unwrap();
                }
            }
            Step::Reopen => {
                drop(vault);
                vault = start(dir.path());
            }
            Step::Maintain => {
                vault.maintain().unwrap();
            }
        }
        // Now and then: it reads every version of every key.
        if turn % 5 == 4 {
            model.check(&vault);
        }
    }
    drop(vault);
    let vault = start(dir.path());
    vault.maintain().unwrap();
    model.check(&vault);
    let bodies = model
        .keys
        .values()
        .flatten()
        .filter(|(_, body)| body.is_some());
    let report = vault.verify(None, &mut |finding| panic!("{finding:?}"));
    assert_eq!(report.unwrap().objects, bodies.count() as u64);
}

const KEYS: u8 = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_a_bucket_is_what_a_model_says(steps in steps()) {
        run(steps);
    }
}

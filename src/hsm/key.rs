//! Master keys in a token: their names, their attributes, how they are found.

use std::collections::BTreeMap;

use cryptoki_sys as ck;
use sha2::{Digest, Sha256};

use super::config::HsmConfig;
use super::error::{CallError, HsmError, Place};
use super::module::{Attribute, Module, Object, Session};
use crate::id::RootId;

/// `CKA_ID` of version `version` of a root's master key:
/// `SHA-256("sr-mk-1" || mk_id || le32 version)[..16]` (F-65).
#[must_use]
pub fn key_id(root: RootId, version: u32) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(b"sr-mk-1")
        .chain_update(root.0)
        .chain_update(version.to_le_bytes())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

/// One attribute of a master key, as it is and as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeCheck {
    /// Its name in the standard, as `CKA_SENSITIVE`.
    pub attribute: &'static str,
    /// What the token says; `None` where it does not say.
    pub value: Option<bool>,
    /// What it must be; `None` where another attribute makes up for it.
    pub wanted: Option<bool>,
}

impl AttributeCheck {
    /// Whether it is as it must be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.wanted.is_none() || self.value == self.wanted
    }
}

/// A key that carries the `CKA_ID` of a version.
pub(super) struct Found {
    pub(super) object: Object,
    pub(super) label: String,
}

/// All keys of the root by version. Exactly one key carries each `CKA_ID`, and no second key in the
/// token carries the label of a version that is there.
pub(super) fn find(
    module: &Module,
    session: Session,
    config: &HsmConfig,
    place: &Place,
) -> Result<BTreeMap<u32, Found>, HsmError> {
    let ids: BTreeMap<[u8; 16], u32> = (1..=MAX_VERSION)
        .map(|version| (key_id(config.root, version), version))
        .collect();
    let template = [
        Attribute::Number(ck::CKA_CLASS, ck::CKO_SECRET_KEY),
        Attribute::Flag(ck::CKA_TOKEN, true),
    ];
    let objects = module
        .find(session, &template)
        .map_err(|error| error.at(place))?;
    let mut labels: BTreeMap<String, usize> = BTreeMap::new();
    let mut versions: BTreeMap<u32, Vec<Found>> = BTreeMap::new();
    for object in objects {
        let label =
            text(module, session, object, ck::CKA_LABEL).map_err(|error| error.at(place))?;
        *labels.entry(label.clone()).or_default() += 1;
        let mut id = [0; 16];
        // An identifier of another length is no identifier of ours.
        let same_length = module.attribute(session, object, ck::CKA_ID, &mut id) == Ok(id.len());
        if let Some(version) = ids.get(&id).filter(|_| same_length) {
            versions
                .entry(*version)
                .or_default()
                .push(Found { object, label });
        }
    }
    let mut found = BTreeMap::new();
    for (version, mut keys) in versions {
        let label = config.label(version);
        let named = labels.get(&label).copied().unwrap_or_default();
        let duplicate = |name, count| HsmError::KeyDuplicate {
            place: place.clone(),
            name,
            count,
        };
        if keys.len() > 1 {
            return Err(duplicate(
                format!("the CKA_ID {}", id_text(config.root, version)),
                keys.len(),
            ));
        }
        let Some(key) = keys.pop() else { continue };
        if named > usize::from(key.label == label) {
            return Err(duplicate(
                format!(
                    "the label \"{label}\", or one of them in place of the key with the CKA_ID {}",
                    id_text(config.root, version)
                ),
                named,
            ));
        }
        found.insert(version, key);
    }
    Ok(found)
}

/// Reads the attributes that decide whether a key can be read out or misused.
#[expect(clippy::host_endian_bytes, reason = "the module runs in this process")]
pub(super) fn checks(
    module: &Module,
    session: Session,
    object: Object,
) -> Result<Vec<AttributeCheck>, CallError> {
    let flag = |kind| flag(module, session, object, kind);
    let extractable = flag(ck::CKA_EXTRACTABLE)?;
    let trusted_only = flag(ck::CKA_WRAP_WITH_TRUSTED)? == Some(true);
    let local = flag(ck::CKA_LOCAL)? == Some(true);
    // Extractable under a trusted key alone is how some tokens back keys up.
    let backed_up = extractable == Some(true) && trusted_only;
    let mut checks = vec![AttributeCheck {
        attribute: "CKA_EXTRACTABLE",
        value: extractable,
        wanted: (!backed_up).then_some(false),
    }];
    for (kind, attribute, wanted) in WANTED {
        checks.push(AttributeCheck {
            attribute,
            value: flag(kind)?,
            wanted: Some(wanted),
        });
    }
    if local {
        checks.push(AttributeCheck {
            attribute: "CKA_ALWAYS_SENSITIVE",
            value: flag(ck::CKA_ALWAYS_SENSITIVE)?,
            wanted: Some(true),
        });
        checks.push(AttributeCheck {
            attribute: "CKA_NEVER_EXTRACTABLE",
            value: flag(ck::CKA_NEVER_EXTRACTABLE)?,
            wanted: (!backed_up).then_some(true),
        });
    }
    let mut number = [0; size_of::<ck::CK_ULONG>()];
    let mut is =
        |kind, wanted: ck::CK_ULONG| match module.attribute(session, object, kind, &mut number) {
            Ok(len) if len == number.len() => {
                Ok(Some(ck::CK_ULONG::from_ne_bytes(number) == wanted))
            }
            Ok(_) => Ok(None),
            Err(error) if unsaid(error.code) => Ok(None),
            Err(error) => Err(error),
        };
    for (kind, wanted, attribute) in [
        (ck::CKA_KEY_TYPE, ck::CKK_AES, "CKA_KEY_TYPE is CKK_AES"),
        (ck::CKA_VALUE_LEN, 32, "CKA_VALUE_LEN is 32"),
    ] {
        checks.push(AttributeCheck {
            attribute,
            value: is(kind, wanted)?,
            wanted: Some(true),
        });
    }
    Ok(checks)
}

/// # Errors
/// [`HsmError::KeyPosture`], with every attribute that is wrong.
pub(super) fn require_posture(
    checks: &[AttributeCheck],
    config: &HsmConfig,
    version: u32,
    place: &Place,
) -> Result<(), HsmError> {
    let wrong: Vec<String> = checks
        .iter()
        .filter(|check| !check.holds())
        .map(describe)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(HsmError::KeyPosture {
        place: place.clone(),
        key: name(config, version),
        wrong,
    })
}

/// The attributes of a new master key: every one is written out, because tokens differ in what they
/// assume where nothing is written.
pub(super) fn template<'a>(
    label: &'a str,
    id: &'a [u8; 16],
    mechanism: &'a [ck::CK_MECHANISM_TYPE; 1],
) -> [Attribute<'a>; 19] {
    use Attribute::{Bytes, Flag, Number, Numbers};
    [
        Number(ck::CKA_CLASS, ck::CKO_SECRET_KEY),
        Number(ck::CKA_KEY_TYPE, ck::CKK_AES),
        Number(ck::CKA_VALUE_LEN, 32),
        Bytes(ck::CKA_LABEL, label.as_bytes()),
        Bytes(ck::CKA_ID, id),
        Flag(ck::CKA_TOKEN, true),
        Flag(ck::CKA_PRIVATE, true),
        Flag(ck::CKA_SENSITIVE, true),
        Flag(ck::CKA_EXTRACTABLE, false),
        Flag(ck::CKA_WRAP, true),
        Flag(ck::CKA_UNWRAP, true),
        Flag(ck::CKA_ENCRYPT, false),
        Flag(ck::CKA_DECRYPT, false),
        Flag(ck::CKA_SIGN, false),
        Flag(ck::CKA_VERIFY, false),
        Flag(ck::CKA_DERIVE, false),
        Flag(ck::CKA_MODIFIABLE, false),
        Flag(ck::CKA_DESTROYABLE, true),
        Numbers(ck::CKA_ALLOWED_MECHANISMS, mechanism),
    ]
}

/// How messages name a key: its label and `CKA_ID`.
pub(super) fn name(config: &HsmConfig, version: u32) -> String {
    format!(
        "\"{}\" (CKA_ID {})",
        config.label(version),
        id_text(config.root, version)
    )
}

fn id_text(root: RootId, version: u32) -> String {
    key_id(root, version)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn describe(check: &AttributeCheck) -> String {
    let word = |value: Option<bool>| match value {
        Some(true) => "true",
        Some(false) => "false",
        None => "not told",
    };
    format!(
        "{} is {} and must be {}",
        check.attribute,
        word(check.value),
        word(check.wanted)
    )
}

fn flag(
    module: &Module,
    session: Session,
    object: Object,
    kind: ck::CK_ATTRIBUTE_TYPE,
) -> Result<Option<bool>, CallError> {
    let mut value = [0];
    match module.attribute(session, object, kind, &mut value) {
        Ok(1) => Ok(Some(value[0] != ck::CK_FALSE)),
        Ok(_) => Ok(None),
        Err(error) if unsaid(error.code) => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(
    module: &Module,
    session: Session,
    object: Object,
    kind: ck::CK_ATTRIBUTE_TYPE,
) -> Result<String, CallError> {
    let mut bytes = [0; 256];
    match module.attribute(session, object, kind, &mut bytes) {
        Ok(len) => Ok(String::from_utf8_lossy(&bytes[..len]).into_owned()),
        Err(error) if unsaid(error.code) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The token has no such attribute for this object, or none of a length we know.
const fn unsaid(code: ck::CK_RV) -> bool {
    matches!(
        code,
        ck::CKR_ATTRIBUTE_TYPE_INVALID | ck::CKR_ATTRIBUTE_SENSITIVE | ck::CKR_BUFFER_TOO_SMALL
    )
}

const WANTED: [(ck::CK_ATTRIBUTE_TYPE, &str, bool); 8] = [
    (ck::CKA_PRIVATE, "CKA_PRIVATE", true),
    (ck::CKA_SENSITIVE, "CKA_SENSITIVE", true),
    (ck::CKA_WRAP, "CKA_WRAP", true),
    (ck::CKA_UNWRAP, "CKA_UNWRAP", true),
    // A key that unwraps and decrypts hands every wrapped key out, block by block.
    (ck::CKA_ENCRYPT, "CKA_ENCRYPT", false),
    (ck::CKA_DECRYPT, "CKA_DECRYPT", false),
    (ck::CKA_SIGN, "CKA_SIGN", false),
    (ck::CKA_DERIVE, "CKA_DERIVE", false),
];

/// Versions are looked for up to here.
pub(super) const MAX_VERSION: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_the_formats() {
        // printf 'sr-mk-1' + 16 x 11 + 01000000 | sha256sum
        let id = key_id(RootId([0x11; 16]), 1);
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "25d683eeec3283911534404fb59773af");
        assert_ne!(id, key_id(RootId([0x11; 16]), 2));
    }
}

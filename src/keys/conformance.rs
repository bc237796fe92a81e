//! What every [`MasterKey`] must do, as a test that an implementation calls. Behind the
//! `conformance` feature.

use subtle::ConstantTimeEq;

use super::master::{MasterKey, MasterKeyError, WrappedSecret};
use crate::secret::Secret;

/// Tests a healthy master key of at least two versions that nobody else changes meanwhile.
///
/// # Panics
/// At the first promise that does not hold, with a message that names it.
pub fn master_key(master: &dyn MasterKey) {
    versions_are_told(master);
    secrets_come_back(master);
    versions_are_apart(master);
    damage_is_rejected(master);
    missing_versions_are_named(master);
    rewrapping_is_wrapping_anew(master);
    random_is_not_constant(master);
    callers_do_not_mix(master);
    ok(master.health(), "health after all of this");
}

fn versions_are_told(master: &dyn MasterKey) {
    ok(master.health(), "health");
    let versions = master.versions();
    assert!(
        versions.len() >= 2,
        "the suite needs two versions, not {versions:?}"
    );
    assert!(
        versions.is_sorted_by(|a, b| a < b),
        "versions ascend: {versions:?}"
    );
    assert!(
        versions.contains(&master.active_version()),
        "the active version is present"
    );
    assert_eq!(master.root(), master.root(), "a root keeps its id");
    assert_eq!(
        master.strategy(),
        master.strategy(),
        "a root keeps its strategy"
    );
}

fn secrets_come_back(master: &dyn MasterKey) {
    for version in master.versions() {
        let mut blobs = Vec::new();
        for bytes in [[0; 32], [0xff; 32], painted(1), painted(2)] {
            let blob = wrap(master, version, bytes);
            assert!(
                holds(master, version, &blob, bytes),
                "unwrap gives what was wrapped"
            );
            assert_eq!(
                blob,
                wrap(master, version, bytes),
                "key wrap is deterministic"
            );
            assert!(!blobs.contains(&blob), "two secrets have two blobs");
            blobs.push(blob);
        }
    }
}

fn versions_are_apart(master: &dyn MasterKey) {
    for one in master.versions() {
        let blob = wrap(master, one, painted(3));
        for other in master.versions().into_iter().filter(|other| *other != one) {
            assert_ne!(
                blob,
                wrap(master, other, painted(3)),
                "each version wraps with its own key"
            );
            rejected(master.unwrap(other, &blob), "the blob of another version");
        }
    }
}

fn damage_is_rejected(master: &dyn MasterKey) {
    let version = master.active_version();
    let blob = wrap(master, version, painted(4));
    for bit in 0..320 {
        let mut damaged = blob;
        damaged[bit / 8] ^= 1 << (bit % 8);
        rejected(
            master.unwrap(version, &damaged),
            "a blob with one bit changed",
        );
    }
    for constant in [[0; 40], [0xff; 40]] {
        rejected(
            master.unwrap(version, &constant),
            "a blob that nobody wrapped",
        );
    }
    assert!(
        holds(master, version, &blob, painted(4)),
        "good blobs open beside bad ones"
    );
}

fn missing_versions_are_named(master: &dyn MasterKey) {
    let there = master.active_version();
    let gone = master.versions().last().copied().unwrap_or_default() + 7;
    let blob = wrap(master, there, painted(5));
    let named = |error: Option<MasterKeyError>, call: &str| {
        let named =
            matches!(error, Some(MasterKeyError::KeyMissing { version }) if version == gone);
        assert!(named, "{call} names the version that is missing: {error:?}");
    };
    named(master.wrap(gone, &secret(painted(5))).err(), "wrap");
    named(master.unwrap(gone, &blob).err(), "unwrap");
    named(master.rewrap(gone, there, &blob).err(), "rewrap from it");
    named(master.rewrap(there, gone, &blob).err(), "rewrap to it");
}

fn rewrapping_is_wrapping_anew(master: &dyn MasterKey) {
    for from in master.versions() {
        let blob = wrap(master, from, painted(6));
        for to in master.versions() {
            let moved = ok(master.rewrap(from, to, &blob), "rewrap");
            assert_eq!(
                moved,
                wrap(master, to, painted(6)),
                "rewrap gives what wrap would"
            );
            let mut damaged = blob;
            damaged[0] ^= 1;
            rejected(
                master.rewrap(from, to, &damaged),
                "rewrap of a damaged blob",
            );
        }
    }
}

fn random_is_not_constant(master: &dyn MasterKey) {
    let one = ok(master.random(), "random");
    let two = ok(master.random(), "random");
    assert!(!bool::from(one.ct_eq(&two)), "random bytes differ");
    assert!(
        !bool::from(one.ct_eq(&secret([0; 32]))),
        "random bytes are not zero"
    );
}

fn callers_do_not_mix(master: &dyn MasterKey) {
    std::thread::scope(|scope| {
        for caller in 0..4_u8 {
            scope.spawn(move || {
                for round in 0..25_u8 {
                    let bytes = painted(10 + caller * 25 + round);
                    let version = master.active_version();
                    let blob = wrap(master, version, bytes);
                    assert!(
                        holds(master, version, &blob, bytes),
                        "each caller gets its own answer"
                    );
                }
            });
        }
    });
}

fn wrap(master: &dyn MasterKey, version: u32, bytes: [u8; 32]) -> WrappedSecret {
    ok(master.wrap(version, &secret(bytes)), "wrap")
}

fn holds(master: &dyn MasterKey, version: u32, blob: &WrappedSecret, bytes: [u8; 32]) -> bool {
    ok(master.unwrap(version, blob), "unwrap")
        .ct_eq(&secret(bytes))
        .into()
}

fn rejected<T>(result: Result<T, MasterKeyError>, what: &str) {
    match result {
        Err(MasterKeyError::Rejected) => {}
        Err(other) => panic!("{what} is rejected, not: {other:?}"),
        Ok(_) => panic!("{what} is rejected"),
    }
}

fn ok<T>(result: Result<T, MasterKeyError>, call: &str) -> T {
    result.unwrap_or_else(|error| panic!("{call} succeeds: {error:?}"))
}

fn secret(mut bytes: [u8; 32]) -> Secret<32> {
    Secret::take(&mut bytes).expect("a test may lock a page")
}

/// Bytes that tell secrets and positions apart.
fn painted(seed: u8) -> [u8; 32] {
    std::array::from_fn(|at| {
        let at = u8::try_from(at).expect("32 positions");
        seed.wrapping_mul(37).wrapping_add(at)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fault, SoftMasterKey};
    use super::*;
    use crate::id::RootId;

    fn double() -> SoftMasterKey {
        let double = SoftMasterKey::new(RootId([7; 16]));
        double.rotate();
        double
    }

    #[test]
    fn the_double_in_memory_passes() {
        master_key(&double());
    }

    #[test]
    #[should_panic(expected = "unwrap gives what was wrapped")]
    fn wrong_bytes_do_not_pass() {
        let double = double();
        double.set_fault(Fault::WrongBytes);
        master_key(&double);
    }
}

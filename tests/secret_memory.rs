//! What the kernel and a search of the whole process say about secrets.

#![allow(clippy::unwrap_used)]

use std::fs;

use strongroom::secret::{Secret, SecretBytes};

#[path = "support/memory.rs"]
mod memory;

use memory::{Needle, search_self};

#[test]
fn a_live_secret_is_found_once_and_a_dropped_one_nowhere() {
    let secret = Secret::<32>::random().unwrap();
    let needle = [Needle::new(secret.expose())];
    let hits = search_self(&needle).unwrap();
    assert_eq!(hits.len(), 1, "in its slot only: {hits:?}");
    assert_eq!(hits[0].address, secret.expose().as_ptr() as u64);
    drop(secret);
    let hits = search_self(&needle).unwrap();
    assert!(hits.is_empty(), "left behind: {hits:?}");
}

#[test]
fn a_moved_secret_leaves_no_copy() {
    fn pass_on(secret: Secret<32>) -> Box<Secret<32>> {
        Box::new(secret)
    }
    let secret = pass_on(Secret::random().unwrap());
    let needle = [Needle::new(secret.expose())];
    assert_eq!(search_self(&needle).unwrap().len(), 1);
}

#[test]
fn the_source_of_a_taken_secret_is_gone() {
    let mut pin = vec![0; 48];
    pin.reserve(1000);
    getrandom_into(&mut pin);
    let needle = [Needle::new(&pin)];
    assert_eq!(search_self(&needle).unwrap().len(), 1, "control");
    let secret = SecretBytes::take(pin).unwrap();
    let hits = search_self(&needle).unwrap();
    assert_eq!(hits.len(), 1, "{hits:?}");
    assert_eq!(hits[0].address, secret.expose().as_ptr() as u64);
}

#[test]
fn secrets_are_locked_and_not_in_core_dumps() {
    let secret = Secret::<32>::random().unwrap();
    let address = secret.expose().as_ptr() as usize;
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    let flags = smaps
        .lines()
        .find_map(|line| {
            let range = line.split(' ').next()?.split_once('-').and_then(|(a, b)| {
                Some(usize::from_str_radix(a, 16).ok()?..usize::from_str_radix(b, 16).ok()?)
            });
            if let Some(range) = range {
                inside = range.contains(&address);
            }
            line.strip_prefix("VmFlags:").filter(|_| inside)
        })
        .unwrap();
    for flag in ["lo", "dd"] {
        assert!(flags.split(' ').any(|f| f == flag), "no {flag} in {flags}");
    }
}

fn getrandom_into(bytes: &mut [u8]) {
    use std::io::Read;
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(bytes)
        .unwrap();
}

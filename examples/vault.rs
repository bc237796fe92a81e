//! Objects in buckets through the vault door, over stores in a directory.
//! `cargo run --example vault -- MODULE TOKEN PIN_FILE ROOT DIR`: PKCS#11 module, label of the token, file with the PIN,
//! the root's 32 hex digits, and where the stores lie. `hsm-config/provision.sh` makes such a token with SoftHSM.

use std::{error::Error, ops::Bound, path::Path, sync::Arc};

use strongroom::audit::{FileSink, SyncPolicy};
use strongroom::format::NamedList;
use strongroom::hsm::{HsmConfig, HsmMasterKey, PinSource};
use strongroom::id::RootId;
use strongroom::keys::{Keyring, KeyringConfig};
use strongroom::vault::{
    CommitRequest, ListRequest, OpenRequest, Precondition, Protection, PutRequest, StorePaths,
    Stores, Vault, VaultConfig, VaultError, Which,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [module, token, pin_file, root, dir] => run(
            module.as_ref(),
            token,
            pin_file.as_ref(),
            root,
            dir.as_ref(),
        ),
        _ => Err(
            "usage: vault MODULE TOKEN PIN_FILE ROOT DIR (hsm-config/provision.sh makes a token)"
                .into(),
        ),
    }
}

pub(crate) fn run(
    module: &Path,
    token: &str,
    pin_file: &Path,
    root: &str,
    dir: &Path,
) -> Result<(), Box<dyn Error>> {
    let root = RootId(u128::from_str_radix(root, 16)?.to_be_bytes());
    let pin = PinSource::File(pin_file.to_owned());
    let master = HsmMasterKey::open(HsmConfig::new(module, token, pin, root))?;
    let stores = Stores::open(&StorePaths::below(dir))?; // or three paths on three disks
    let trail = FileSink::open(&dir.join("audit.log"), SyncPolicy::EachEvent)?;
    let keyring = Keyring::new(
        vec![Arc::new(master)],
        Arc::new(trail),
        KeyringConfig::default(),
    )?;
    let vault = Vault::start(stores, keyring, VaultConfig::default())?;
    vault.spawn_maintenance()?; // leases, garbage, orphans, expired keys

    match vault.create_bucket("photos", "ann") {
        Ok(_) | Err(VaultError::BucketExists(_)) => {}
        Err(error) => return Err(error.into()),
    }

    // Writing: batch by batch as the bytes come. Visible, durable and sealed when `commit` returns, and not before.
    let mut stream = vault.put(PutRequest {
        bucket: "photos".into(),
        key: b"2026/cat.jpg".to_vec(),
        protection: Protection::Managed,
        head: NamedList(vec![("content-type".to_owned(), b"image/jpeg".to_vec())]),
        facts: Vec::new(),
        suite: None,
        principal: "ann".to_owned(),
    })?;
    for _ in 0..300 {
        stream.write(&[0xc4; 1000])?;
    }
    let written = stream.commit(CommitRequest::default())?;

    // Reading: any range, every byte of it authenticated.
    let request = || OpenRequest {
        bucket: "photos".into(),
        key: b"2026/cat.jpg",
        version: Which::Current,
        customer: None,
        instance: None,
        principal: "bob",
    };
    let mut reader = vault.open(request())?;
    assert_eq!(reader.info().length, 300_000);
    let mut range = [0; 1000];
    assert_eq!(reader.read_at(131_000, &mut range)?, 1000);
    assert_eq!(range, [0xc4; 1000]);

    let page = vault.list(&ListRequest {
        bucket: "photos".into(),
        prefix: b"2026/",
        from: Bound::Unbounded,
        delimiter: None,
        limit: 100,
    })?;
    assert_eq!(page.items.len(), 1);

    // Deleting: its key is shredded when this returns; the sealed bytes follow.
    vault.delete(
        "photos",
        b"2026/cat.jpg",
        Precondition::Is(written.instance),
    )?;
    assert!(matches!(
        vault.open(request()),
        Err(VaultError::NoSuchKey { .. })
    ));
    vault.stop();
    println!(
        "sealed, listed, read and shredded 300,000 bytes below {}",
        dir.display()
    );
    Ok(())
}

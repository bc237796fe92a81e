//! A storage daemon with metadata of its own, here a `HashMap`, that seals its objects through the envelope door.
//! `cargo run --example embed -- MODULE TOKEN PIN_FILE ROOT`: PKCS#11 module, label of the token, file with the PIN, the
//! root's 32 hex digits. `hsm-config/provision.sh` makes such a token with SoftHSM.

use std::{collections::HashMap, error::Error, io::Cursor, path::Path, sync::Arc};

use strongroom::audit::MemorySink;
use strongroom::envelope::{Envelope, WrappedKey};
use strongroom::hsm::{HsmConfig, HsmMasterKey, PinSource};
use strongroom::id::RootId;
use strongroom::keys::{Keyring, KeyringConfig};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [module, token, pin_file, root] => run(Path::new(module), token, pin_file.as_ref(), root),
        _ => Err("usage: embed MODULE TOKEN PIN_FILE ROOT".into()),
    }
}

pub(crate) fn run(module: &Path, token: &str, pin_file: &Path, root: &str) -> Outcome {
    let root = RootId(u128::from_str_radix(root, 16)?.to_be_bytes());
    let pin = PinSource::File(pin_file.to_owned());
    let master = HsmMasterKey::open(HsmConfig::new(module, token, pin, root))?;
    let sink = Arc::new(MemorySink::default()); // a daemon writes its audit trail to a file
    let keyring = Keyring::new(vec![Arc::new(master)], sink, KeyringConfig::default())?;
    let keyring = Arc::new(keyring);

    // Once in the daemon's life; the ring's records go into its configuration.
    let envelope = Envelope::create(keyring.clone(), "photo daemon")?;
    let ring: Vec<Vec<u8>> = envelope.export().map(<[u8]>::to_vec).collect();

    // Writing. The name is the context: the blob opens as this object only. 188 bytes are kept beside it.
    let mut objects = HashMap::new();
    for (name, content) in [("cat.jpg", vec![1; 200_000]), ("dog.jpg", vec![2; 3])] {
        let (key, blob) = envelope.seal(name.as_bytes(), &content)?;
        objects.insert(name, (key.as_bytes().to_vec(), blob));
    }

    // Reading after a restart: whole, and a range.
    let mut envelope = Envelope::import(keyring, "photo daemon", ring)?;
    let (key, blob) = &objects["cat.jpg"];
    let key = WrappedKey::from_bytes(key)?;
    assert_eq!(envelope.open(b"cat.jpg", &key, blob)?, vec![1; 200_000]);
    let some = envelope.open_range(b"cat.jpg", &key, &mut Cursor::new(blob), 70_000..70_010)?;
    assert_eq!(some, [1; 10]);
    assert!(envelope.open(b"dog.jpg", &key, blob).is_err());

    // A new generation of the ring: wrapped keys move to it, blobs stay as they are.
    envelope.rotate()?;
    for (name, (key, _)) in &mut objects {
        let moved = envelope.rewrap(name.as_bytes(), &WrappedKey::from_bytes(key)?)?;
        *key = moved.as_bytes().to_vec();
    }
    println!("{} objects sealed, opened and rewrapped", objects.len());
    Ok(())
}

//! Makes a token and a master key: what a key ceremony does, in the least lines.
//!
//! ```text
//! provision MODULE TOKEN ROOT PIN_FILE SO_PIN_FILE [VERSION]
//! ```
//!
//! MODULE is the absolute path of the PKCS#11 module, ROOT 32 hex digits, VERSION 1 unless given.
//! What exists is left as it is. A hardware token is made with its vendor's tool before this runs.

use std::error::Error;
use std::path::Path;

use strongroom::hsm::{HsmAdmin, HsmConfig, PinSource};
use strongroom::id::RootId;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (module, token, root, pin, so_pin, version) = match &arguments[..] {
        [module, token, root, pin, so_pin] => (module, token, root, pin, so_pin, 1),
        [module, token, root, pin, so_pin, version] => {
            (module, token, root, pin, so_pin, version.parse()?)
        }
        _ => {
            return Err("usage: provision MODULE TOKEN ROOT PIN_FILE SO_PIN_FILE [VERSION]".into());
        }
    };
    let root = RootId(u128::from_str_radix(root, 16)?.to_be_bytes());
    let user = PinSource::File(pin.into());
    let officer = PinSource::File(so_pin.into());
    let config = HsmConfig::new(Path::new(module), token, user.clone(), root);

    let admin = HsmAdmin::open(&config.module)?;
    if admin.tokens()?.contains(token) {
        println!("token \"{token}\" is there");
    } else {
        admin.init_token(token, &officer.fetch()?, &user.fetch()?)?;
        println!("token \"{token}\" made");
    }
    let there = admin
        .status(&config)?
        .versions
        .into_iter()
        .find(|key| key.version == version);
    let (key, done) = match there {
        Some(key) => (key, "is there"),
        None => (
            admin.generate(&config, version, &user)?,
            "generated in the token",
        ),
    };
    println!("master key \"{}\" {done}", key.label);
    for check in &key.checks {
        let value = check
            .value
            .map_or("not told".to_owned(), |value| value.to_string());
        println!(
            "  {:<24} {value}{}",
            check.attribute,
            if check.holds() { "" } else { "  WRONG" }
        );
    }
    if key.is_sound() {
        Ok(())
    } else {
        Err("no daemon will start with this key: make the next version".into())
    }
}

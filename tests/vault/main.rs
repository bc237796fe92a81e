//! The vault over real files and SQLite, with a master key double in the place of an HSM.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, unreachable_pub)]

#[path = "../support/vault.rs"]
mod support;

mod archive;
mod contended;
mod damage;
mod gone;
mod group;
mod held;
mod history;
mod kms;
mod model;
mod objects;
mod plain;
mod races;
mod rights;
mod upkeep;
mod uploads;
mod verify;
mod versions;

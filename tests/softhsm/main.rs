//! Master keys in a real token: SoftHSM, and SoftHSM behind a module that fails on demand.

#![allow(unsafe_code, clippy::unwrap_used, clippy::undocumented_unsafe_blocks)]
#![allow(clippy::multiple_unsafe_ops_per_block)]

mod admin;
mod doors;
mod faults;
mod keys;
mod kit;
#[path = "../support/memory.rs"]
mod memory;
mod refusals;

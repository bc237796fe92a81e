//! The Strongroom daemon and command line.
fn main() {}

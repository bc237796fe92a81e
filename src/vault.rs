//! The vault door: a thin storage API over the stores. Layer 4.

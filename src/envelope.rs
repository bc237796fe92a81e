//! The envelope door: seal and open for a caller with metadata of its own. Layer 3.

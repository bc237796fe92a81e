//! Format 1: header, layout, derivation, segments, manifests. Bytes in, bytes out, no I/O. Layer 1.

//! Where sealed blobs, wrapped keys and the catalog live. What it holds is sealed or opaque. Layer 2.

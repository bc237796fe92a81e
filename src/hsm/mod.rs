//! Master keys behind PKCS#11. Layer 2.

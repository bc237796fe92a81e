//! Key records, wrapping, the encryption context, the keyring and its one joint to an HSM. Layer 1.

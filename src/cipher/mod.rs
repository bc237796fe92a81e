//! AES-256 in interleaved lanes, GMAC and CMAC, and the choice of backend. Layer 0.

//! Sealers and openers of streams, files, ranges and batches. Layer 2.

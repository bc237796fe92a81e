//! The audit trail: a hash chain of events, its sinks and its verification. Layer 1.

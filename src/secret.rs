//! Secrets as types: locked, wiped on drop, never printed, never cloned, compared in constant time.

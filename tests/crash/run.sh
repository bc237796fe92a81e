#!/usr/bin/env bash
# Kills and fails the system calls of the vault's write path: all of them, or with --share as many as the gate has time for.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The gate has built it already, with the features of everything else.
binary=${CRASH_OPS:-}
if [ -z "$binary" ]; then
    cargo build --release --example crash_ops --features conformance
    binary=${CARGO_TARGET_DIR:-target}/release/examples/crash_ops
fi
if [ "${1:-}" = --share ]; then
    exec python3 tests/crash/run.py "$binary" --share 16 --double 26
fi
exec python3 tests/crash/run.py "$binary" --double 2000 --objects 100000 "$@"

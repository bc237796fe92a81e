# Strongroom: what a person types. Each target is thin; the work is done by cargo and the scripts it names.

# The daemon's protocol crate declares Rust 1.96 and builds on 1.95; cargo has a flag for that and no setting.
RUSTC_MINOR := $(shell rustc --version | sed -E 's/rustc 1\.([0-9]+).*/\1/')
CARGO_SERVER_FLAGS := $(if $(filter $(shell test $(RUSTC_MINOR) -ge 96 && echo new),new),,--ignore-rust-version)
TARGET := $(or $(CARGO_TARGET_DIR),target)
STRONGROOM := $(TARGET)/release/strongroom
ADDR ?= 127.0.0.1:9000
DIR ?= dev

export CARGO_SERVER_FLAGS STRONGROOM
# The test clients live in environments of their own.
export PATH := $(CURDIR)/target/venv/bin:$(PATH)
export NODE_PATH := $(CURDIR)/target/clients/node_modules

.PHONY: help setup build serve test lint docs tests clients bench bench-peers bench-s3 bench-smoke constant-time constant-time-short fuzz big-file tour using crash two-of-three clean-dev

help:
	@echo "make serve         set up and serve S3 on $(ADDR), directory $(DIR)"
	@echo "make test          set up and check everything, as CI does"
	@echo "make clients       a round trip of every client we know: aws, s3cmd, rclone, s5cmd, minio-py, curl, JavaScript"
	@echo "make bench         measure the library"
	@echo "make constant-time look for times that depend on secrets"
	@echo "make fuzz          five minutes of made-up segments (needs a nightly compiler)"
	@echo "make big-file      20 GiB through seal and open, and the memory they take"
	@echo "make bench-peers   measure beside other libraries and cp, and print the table of targets"
	@echo "make bench-s3      measure the S3 face with encryption beside the same daemon with plain objects"
	@echo "make tour          run the README's tour and compare what it prints"
	@echo "make using         the same with docs/USING.md: every client, every mode"
	@echo "make crash         kill and fail every system call of the write path, in full"
	@echo "make two-of-three  show that any two of data, keys and token open nothing"
	@echo "make setup         install what is missing, build target/release/strongroom"

setup:
	.ci/setup serve
	$(MAKE) --no-print-directory build

build:
	cargo build --release --package strongroom-server $(CARGO_SERVER_FLAGS)

serve: setup
	$(STRONGROOM) dev --dir $(DIR) --listen $(ADDR)

# One release build serves tests, doctests, benchmarks and the scripts: the same packages and features each time.
ALL := --release --workspace --all-features $(CARGO_SERVER_FLAGS)

test:
	.ci/setup test
	$(MAKE) --no-print-directory lint docs tests bench-smoke
	$(MAKE) --no-print-directory constant-time-short
	tests/two_of_three.py
	tests/big_file.py 1
	tests/tour.py README.md
	tests/tour.py docs/USING.md
	CRASH_OPS=$(TARGET)/release/examples/crash_ops tests/crash/run.sh --share

# The library alone with no feature, its own, and all; then the workspace.
lint:
	cargo fmt --all --check
	cargo clippy --all-targets --no-default-features -- -D warnings
	cargo clippy --all-targets -- -D warnings
	cargo clippy --workspace --all-targets --all-features $(CARGO_SERVER_FLAGS) -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features

# The last line: what a library without suite 2 says of it.
tests:
	cargo nextest run $(ALL)
	cargo nextest run --release --lib --no-default-features -E 'test(/^format/)'
	cargo test --doc $(ALL)

# Part of `make tests` too.
clients:
	.ci/setup test
	cargo nextest run $(ALL) -E 'package(strongroom-server) & binary(clients)'

# Times that depend on secrets: at length, and as CI does it.
constant-time constant-time-short:
	cargo build $(ALL) --example constant_time
	$(TARGET)/release/examples/constant_time timing $(if $(findstring short,$@),20000,1000000)
	valgrind --quiet --log-file=$(TARGET)/release/taint.log $(TARGET)/release/examples/constant_time taint

# What it asks is also asked by a test, of a thousand inputs. The seed is as long as a choice, an index and a whole segment:
# inputs would not grow to that length in five minutes.
fuzz:
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
	mkdir -p fuzz/corpus/open_segment && head -c 65556 /dev/zero >fuzz/corpus/open_segment/whole
	cargo +nightly fuzz run open_segment --fuzz-dir fuzz -- -max_len=70000 -max_total_time=300

# A sparse file of 20 GiB through both programs, and the memory they take.
big-file: build
	tests/big_file.py 20

bench:
	cargo bench --all-features

bench-peers: build
	cargo run --release --package bench-peers

bench-s3: build
	.ci/setup test
	bench-peers/s3.py

bench-smoke:
	cargo bench --workspace --all-features $(CARGO_SERVER_FLAGS) --bench '*' -- --test

tour: build
	tests/tour.py README.md

using: build
	.ci/setup test
	tests/tour.py docs/USING.md

crash: build
	tests/crash/run.sh

two-of-three: build
	tests/two_of_three.py

clean-dev:
	rm -rf $(DIR)

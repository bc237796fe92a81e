//! A scripted round trip of every client people use, unmodified, with a development daemon over TLS:
//! each Python module of `tests/clients/` drives one of them. `make clients` runs these alone.

mod python;

#[test]
fn aws_command_line() {
    run("test_aws");
}

#[test]
fn s3cmd() {
    run("test_s3cmd");
}

#[test]
fn rclone() {
    run("test_rclone");
}

#[test]
fn s5cmd() {
    run("test_s5cmd");
}

#[test]
fn minio_py() {
    run("test_minio");
}

#[test]
fn curl() {
    run("test_curl");
}

#[test]
fn javascript_sdk() {
    run("test_javascript");
}

fn run(module: &str) {
    python::run("clients", module);
}

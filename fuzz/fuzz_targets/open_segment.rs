//! A segment made of any bytes, opened by every backend. What is asked is in `segment.rs`.

#![no_main]

mod segment;

libfuzzer_sys::fuzz_target!(|data: &[u8]| segment::check(data));

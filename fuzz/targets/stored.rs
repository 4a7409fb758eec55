//! Bytes at rest: read as attributes and as objects.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keygate_kmip::samples::read_stored(bytes));

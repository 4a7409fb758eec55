//! Bytes of a client: read as messages in every way the product reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| keygate_kmip::samples::read_message(bytes));

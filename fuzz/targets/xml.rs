//! Texts of a client in the XML encoding: what is read is a message.
#![no_main]

use keygate_kmip::event::TtlvSink;
use keygate_kmip::ttlv::Frame;
use keygate_kmip::xml;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut sink = TtlvSink::new();
    if xml::read(text, &mut sink, xml::Limits::default()).is_ok() {
        let bytes = sink.into_bytes();
        Frame::parse(&bytes, &keygate_kmip::ttlv::Limits::default()).expect("what is read is well formed");
    }
});

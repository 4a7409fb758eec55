//! Texts of a client in the XML encoding: what is read is a well-formed item.
#![no_main]

use keygate_kmip::Tag;
use keygate_kmip::event::{Sink, TtlvSink};
use keygate_kmip::ttlv::{Frame, Limits};
use keygate_kmip::xml;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut sink = TtlvSink::new();
    // A simple item by itself is no message, but it is a field of one.
    sink.start_structure(Tag::REQUEST_MESSAGE);
    let read = xml::read(text, &mut sink, xml::Limits::default());
    sink.end_structure();
    if read.is_ok() {
        let deeper = Limits { depth_max: xml::Limits::default().depth_max + 1, ..Limits::default() };
        Frame::parse(&sink.into_bytes(), &deeper).expect("what is read is well formed");
    }
});

//! Texts of a client in the JSON encoding: what is read is a well-formed item, and is the same after it is written again.
#![no_main]

use keygate_kmip::Tag;
use keygate_kmip::event::{Sink, TtlvSink};
use keygate_kmip::json;
use keygate_kmip::ttlv::{Frame, Limits};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut sink = TtlvSink::new();
    // A simple item by itself is no message, but it is a field of one.
    sink.start_structure(Tag::REQUEST_MESSAGE);
    let read = json::read(text, &mut sink, json::Limits::default());
    sink.end_structure();
    if read.is_err() {
        return;
    }
    let deeper = Limits { depth_max: json::Limits::default().depth_max + 1, ..Limits::default() };
    let bytes = sink.into_bytes();
    Frame::parse(&bytes, &deeper).expect("what is read is well formed");
    let again = json::write(&bytes, &deeper).expect("well formed");
    let mut sink = TtlvSink::new();
    let limits = json::Limits { text_bytes_max: again.len(), ..json::Limits::of(&deeper) };
    json::read(&again, &mut sink, limits).expect("what is written is read");
    assert_eq!(*sink.into_bytes(), *bytes);
});

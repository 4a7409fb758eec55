//! `keys.json` of an export, as an import reads it: it ends, with keys or a reason, and what was read is written and read as the same.
#![no_main]

#[path = "../../gateway/src/export/exported_key.rs"]
mod exported_key;
/// What the reader needs of the gateway, where it looks for it.
mod export {
    pub(crate) use crate::exported_key::{ExportedKey, FORMAT, FORMAT_VERSION};
}
#[path = "../../gateway/src/import/document.rs"]
mod document;

use document::{DocumentError, read_document};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut keys = Vec::new();
    let read = read_document(octets, &mut |key| {
        keys.push(serde_json::to_string(&key).expect("a key can be written"));
        keys.len() < 1000
    });
    if let Err(error) = read {
        assert!(error.to_string().len() < 100, "nothing of the document is repeated");
        return;
    }
    let document = format!("{{\"format\":\"keygate-keys\",\"version\":1,\"keys\":[{}]}}", keys.join(","));
    let mut again = Vec::new();
    let read = read_document(document.as_bytes(), &mut |key| {
        again.push(serde_json::to_string(&key).expect("a key can be written"));
        true
    });
    assert!(read == Ok::<(), DocumentError>(()) && again == keys, "what was written is read as something else");
});

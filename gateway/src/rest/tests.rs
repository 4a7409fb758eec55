//! The document that is checked in.

use super::document;

/// `docs/openapi-rest.json` is what the code says. `KEYGATE_WRITE_OPENAPI=1` writes it.
#[test]
fn the_document_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi-rest.json");
    let document = serde_json::to_value(document()).expect("a document");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    if std::env::var_os("KEYGATE_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/openapi-rest.json is stale: run this test with KEYGATE_WRITE_OPENAPI=1");
}

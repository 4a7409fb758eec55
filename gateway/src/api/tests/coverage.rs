//! Every path has its permission, and the checked-in document is that of the code.

use serde_json::Value;

use super::fixture::{World, reader, writer};
use crate::api::document;

/// Method, path with something in place of its parameters, and the role its description names.
fn operations() -> Vec<(String, String, String)> {
    let document = serde_json::to_value(document()).expect("a document");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let role = operation["security"][0]["administrator"][0].as_str();
            let role = role.unwrap_or_else(|| panic!("{method} {path} names no role"));
            // No serial number, id or name is this one.
            let path = path.replace("{id}", "00").replace("{name}", "00").replace("{serial}", "00");
            assert!(!path.contains('{'), "{path}");
            operations.push((method.to_uppercase(), path, role.to_owned()));
        }
    }
    operations
}

/// Goal: no endpoint lacks its permission. Method: each one that the document knows (it is made from the same list as the routes)
/// is called by nobody, by a reader and by a writer. A handler without a permission answers nobody with something else than 403.
#[tokio::test]
async fn every_endpoint_has_its_permission() {
    let world = World::new().await;
    let operations = operations();
    assert!(operations.len() >= 30, "{}", operations.len());
    for (method, path, role) in operations {
        let what = format!("{method} {path}");
        let ask = |caller| world.ask(caller, &method, &path, None, None);
        let nobody = ask(None).await;
        assert_eq!((nobody.status, nobody.body["code"].as_str()), (403, Some("no-administrator")), "{what}");
        let by_reader = ask(Some(reader())).await;
        if method == "GET" {
            assert_eq!(role, "security:read", "{what}");
            assert_ne!(by_reader.status, 403, "{what}");
        } else {
            assert_eq!(role, "security:write", "{what}");
            assert_eq!((by_reader.status, by_reader.body["code"].as_str()), (403, Some("role")), "{what}");
        }
        assert_ne!(ask(Some(writer())).await.status, 403, "{what}");
    }
}

/// `docs/openapi.json` is what the code says. `KEYGATE_WRITE_OPENAPI=1` writes it.
#[test]
fn the_document_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document: Value = serde_json::to_value(document()).expect("a document");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"));
    let text = serde_json::to_string_pretty(&document).expect("JSON") + "\n";
    if std::env::var_os("KEYGATE_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/openapi.json is stale: run this test with KEYGATE_WRITE_OPENAPI=1");
}

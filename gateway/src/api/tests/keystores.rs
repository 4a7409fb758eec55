//! Keystores over the API: whose business they are, versions, and that a secret goes in and never out.

use serde_json::json;

use super::fixture::{World, of, reader, writer};
use crate::store::OrganisationId;

const PIN: &str = "only-in-the-store";

/// A draft with a secret: seen without it by those who see, changed for the version that was seen, removed as it was never used.
#[tokio::test]
async fn a_secret_goes_in_and_never_out() {
    let world = World::new().await;
    let settings = json!({ "module": "/usr/lib/p11.so", "token-label": "t" });
    let made = world.post("/v1/keystores", json!({ "name": "hsm", "kind": "pkcs11", "settings": settings, "secret": PIN })).await;
    let tag = made.etag();
    let made = made.of(201);
    assert_eq!((made["state"].as_str(), made["secret"].as_bool()), (Some("draft"), Some(true)));
    let taken = world.post("/v1/keystores", json!({ "name": "hsm", "kind": "local" })).await.code(409);
    assert_eq!(taken, "name-taken");
    // The secret does not follow other settings: it is given with them, or they are refused.
    let unasked = world.patch("/v1/keystores/hsm", json!({ "settings": { "token-label": "u" } })).await;
    assert_eq!(unasked.code(409), "secret-needed");
    let change = json!({ "settings": { "workers": 2, "token-label": "u" }, "secret": PIN }).to_string();
    let changed = world.ask(Some(writer()), "PATCH", "/v1/keystores/hsm", Some(&tag), Some(change.clone())).await.of(200);
    assert_eq!(changed["settings"], json!({ "module": "/usr/lib/p11.so", "token-label": "u", "workers": 2 }));
    assert_eq!(world.ask(Some(writer()), "PATCH", "/v1/keystores/hsm", Some(&tag), Some(change)).await.code(412), "changed");
    // No setting has the server read a file with a secret, whether or not there is one already.
    let two = world.patch("/v1/keystores/hsm", json!({ "settings": { "pin-file": "/p" }, "secret": PIN })).await;
    assert!(two.status == 422 && two.body.to_string().contains("pin-file"), "{}", two.body);
    let pin_file = json!({ "module": "/usr/lib/p11.so", "token-label": "t", "pin-file": "/p" });
    let one = world.post("/v1/keystores", json!({ "name": "two", "kind": "pkcs11", "settings": pin_file })).await;
    assert!(one.status == 422 && one.body.to_string().contains("pin-file"), "{}", one.body);
    let mut told = world.get("/v1/keystores/hsm").await.of(200).to_string();
    told += &world.get("/v1/keystores").await.of(200).to_string();
    told += &world.get("/v1/keystores/hsm/status").await.of(200).to_string();
    told += &world.get("/v1/audit").await.of(200).to_string();
    assert!(told.contains("KeystoreAdded") && !told.contains(PIN), "{told}");
    assert!(told.contains("settings token-label, workers; secret"), "which settings is on record: {told}");
    assert_eq!(world.post("/v1/keystores/hsm/drain", json!({})).await.code(409), "state");
    assert_eq!(world.post("/v1/keystores/hsm/activate", json!({ "confirm": "hsm" })).await.code(409), "not-serving");
    assert_eq!(world.post("/v1/keystores/hsm/remove", json!({})).await.status, 204);
    assert_eq!(world.get("/v1/keystores/hsm").await.code(404), "not-found");
}

/// Keystores serve every organisation: an administrator of one of them neither sees nor changes them. What is no keystore changes
/// nothing.
#[tokio::test]
async fn keystores_are_no_organisations_business() {
    let world = World::new().await;
    let own = of(OrganisationId::generate());
    let new = json!({ "name": "x", "kind": "local" }).to_string();
    let requests = [
        ("GET", "/v1/keystores", None),
        ("POST", "/v1/keystores", Some(new.clone())),
        ("GET", "/v1/rehome", None),
        ("POST", "/v1/rehome", Some(json!({ "from": "a", "to": "b", "acknowledged": true }).to_string())),
    ];
    for (method, path, body) in requests {
        assert_eq!(world.ask(Some(own.clone()), method, path, None, body).await.code(403), "organisation", "{method} {path}");
    }
    assert_eq!(world.ask(Some(reader()), "POST", "/v1/keystores", None, Some(new)).await.code(403), "role");
    let refused = [
        (json!({ "name": "x" }), 400),
        (json!({ "name": "x", "kind": "local", "secret": 7 }), 400),
        (json!({ "name": "x", "kind": "local", "pin": PIN }), 400),
        (json!({ "name": "x y", "kind": "local" }), 422),
        (json!({ "name": "x", "kind": "local", "secret": "" }), 422),
        (json!({ "name": "x", "kind": "local", "settings": { "a": null } }), 422),
        (json!({ "name": "x", "kind": "pkcs11", "settings": { "pin": PIN } }), 422),
    ];
    for (body, status) in refused {
        let answer = world.post("/v1/keystores", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(!answer.body.to_string().contains(PIN), "{}", answer.body);
    }
    assert!(world.get("/v1/keystores").await.of(200)["items"].as_array().expect("items").is_empty());
    assert_eq!(world.post("/v1/rehome", json!({ "from": "a", "to": "b" })).await.code(422), "acknowledgement-required");
}

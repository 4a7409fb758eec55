//! What is refused, with which status and code.

use axum::{
    body::Body,
    http::{Request, header},
};
use serde_json::json;

use super::{
    fixture::{World, of, reader, writer},
    resources::credential,
};
use crate::{
    audit::{Action, Actor, Details, Event},
    store::OrganisationId,
};

/// Bodies and queries that cannot be read are refused with the place, never with the value: it may be a key.
#[tokio::test]
async fn unreadable_requests_are_refused_without_repeating_them() {
    let world = World::enabled().await;
    let path = "/v1/authorities/import";
    let secret = "PRIVATE-abc";
    for body in [
        format!("{{\"tier\":\"root\",\"certificate\":\"x\",\"key\":[\"{secret}\"]}}"),
        format!("{{\"tier\":\"root\",\"certificate\":\"x\",\"key\":\"{secret}"),
        format!("\"{secret}\""),
        format!("{{\"tier\":\"{secret}\",\"certificate\":\"x\",\"key\":\"x\"}}"),
    ] {
        let answer = world.ask(Some(writer()), "POST", path, None, Some(body)).await;
        assert!(matches!(answer.status, 400 | 422), "{}", answer.body);
        assert!(!answer.body.to_string().contains(secret), "{}", answer.body);
    }
    let unknown = world.post("/v1/provisioning-keys", json!({ "name": "a", "colour": 1 })).await;
    assert!(unknown.of(400)["detail"].as_str().expect("a text").contains("colour"));
    let missing = world.post("/v1/provisioning-keys", json!({})).await;
    assert!(missing.of(400)["detail"].as_str().expect("a text").contains("name"));
    assert_eq!(world.get("/v1/certificates?limti=1").await.code(400), "unreadable");
    assert_eq!(world.get("/v1/certificates?limit=x").await.code(400), "unreadable");
    for path in ["/v1/certificates?limit=0", "/v1/certificates?after=x", "/v1/certificates?state=odd", "/v1/audit?since=today", "/v1/audit?action=Odd", "/v1/audit?after=1"] {
        assert_eq!(world.get(path).await.code(422), "invalid", "{path}");
    }
    let mut text = Request::builder().method("POST").uri("/v1/provisioning-keys").header(header::CONTENT_TYPE, "text/plain");
    text = text.extension(writer());
    let answer = world.send(text.body(Body::from("{\"name\":\"a\"}")).expect("a request")).await;
    assert_eq!(answer.code(415), "unsupported-media-type");
}

/// Reasons and acknowledgements, names and states, each with its own code.
#[tokio::test]
async fn refusals_of_the_domain_have_their_codes() {
    let world = World::enabled().await;
    let key = world.key("a").await;
    let at = |act: &str| format!("/v1/provisioning-keys/{}/{act}", key["id"].as_str().expect("an id"));
    assert_eq!(world.post(&at("suspend"), json!({ "reason": "x" })).await.code(422), "acknowledgement-required");
    assert_eq!(world.post(&at("suspend"), json!({ "reason": " ", "acknowledged": true })).await.code(422), "invalid");
    assert_eq!(world.post(&at("reactivate"), json!({ "reason": "x", "acknowledged": true })).await.code(409), "state");
    assert_eq!(world.post(&at("revoke"), json!({ "reason": "x", "acknowledged": true, "told": "boredom" })).await.code(422), "invalid");
    assert_eq!(world.post("/v1/provisioning-keys", json!({ "name": "A" })).await.code(409), "name-taken");
    assert_eq!(world.get("/v1/provisioning-keys/none").await.code(404), "not-found");
    assert_eq!(world.post("/v1/provisioning-keys", json!({ "name": "b", "algorithm": "rot13" })).await.code(422), "invalid");
    assert_eq!(world.post("/v1/provisioning-keys", json!({ "name": "b", "keystore": "none" })).await.code(422), "invalid");
    world.key("b").await;
    world.key("c").await;
    let fourth = world.post("/v1/provisioning-keys", json!({ "name": "d" })).await.of(409);
    assert!(fourth["detail"].as_str().expect("a text").contains('3'), "{fourth}");
    assert_eq!(world.post("/v1/service/disable", json!({ "reason": "x" })).await.code(422), "acknowledgement-required");
}

/// A change is made to what its author has seen, or not at all.
#[tokio::test]
async fn a_change_is_for_the_version_that_was_seen() {
    let world = World::enabled().await;
    let key = world.key("a").await;
    let path = format!("/v1/provisioning-keys/{}", key["id"].as_str().expect("an id"));
    let (shown, body) = (world.get(&path).await, || Some(json!({ "name": "b" }).to_string()));
    let tag = shown.etag();
    let change = |tag| world.ask(Some(writer()), "PATCH", &path, Some(tag), body());
    for stale in ["\"0\"", "\"other\"", "W/\"1\""] {
        assert_eq!(change(stale).await.code(412), "changed", "{stale}");
    }
    for malformed in ["1", "\"1\", \"2\"", "\"1"] {
        assert_eq!(change(malformed).await.code(400), "unreadable", "{malformed}");
    }
    let changed = change(&tag).await;
    assert_ne!(changed.etag(), tag);
    assert_eq!(changed.of(200)["name"], "b");
    assert_eq!(change(&tag).await.code(412), "changed");
    change("*").await.of(200);
    let ca = key["authorities"][0].as_str().expect("a CA");
    let renew = format!("/v1/authorities/{ca}/renew");
    assert_eq!(world.ask(Some(writer()), "POST", &renew, Some("\"0\""), None).await.code(412), "changed");
    let serial = world.enrol(&key, "door").await;
    let revoke = format!("/v1/certificates/{serial}/revoke");
    let wish = || Some(json!({ "reason": "x", "acknowledged": true }).to_string());
    assert_eq!(world.ask(Some(writer()), "POST", &revoke, Some("\"0\""), wish()).await.code(412), "changed");
    let tag = world.get(&format!("/v1/certificates/{serial}")).await.etag();
    world.ask(Some(writer()), "POST", &revoke, Some(&tag), wish()).await.of(200);
    let tag = world.get("/v1/service").await.etag();
    let disable = |tag| world.ask(Some(writer()), "POST", "/v1/service/disable", Some(tag), wish());
    assert_eq!(disable("\"0\"").await.code(412), "changed");
    disable(&tag).await.of(200);
}

/// An administrator of one organisation sees and changes nothing of another, nor what is everybody's.
#[tokio::test]
async fn organisations_do_not_see_each_other() {
    let world = World::enabled().await;
    let key = world.key("ours").await;
    world.post("/v1/organisations", json!({ "name": "acme" })).await.of(201);
    let acme = world.api.provisioning.organisation("acme").expect("an organisation");
    let ask = |method, path: String, body: serde_json::Value| {
        let world = &world;
        async move { world.ask(Some(of(acme)), method, &path, None, Some(body.to_string())).await }
    };
    let nothing = || json!({});
    assert_eq!(ask("GET", "/v1/service".into(), nothing()).await.of(200)["organisation"], "acme");
    for path in ["/v1/service?organisation=default", "/v1/provisioning-keys?organisation=none", "/v1/admins?organisation=default", "/v1/audit?organisation=default"] {
        assert_eq!(ask("GET", path.into(), nothing()).await.code(404), "not-found", "{path}");
    }
    let id = key["id"].as_str().expect("an id");
    assert_eq!(ask("GET", format!("/v1/provisioning-keys/{id}"), nothing()).await.code(404), "not-found");
    let serial = world.enrol(&key, "door").await;
    assert_eq!(ask("GET", format!("/v1/certificates/{serial}"), nothing()).await.code(404), "not-found");
    assert_eq!(ask("POST", format!("/v1/authorities/{}/renew", key["authorities"][0].as_str().expect("a CA")), nothing()).await.code(404), "not-found");
    let listed = ask("GET", "/v1/organisations".into(), nothing()).await.of(200);
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
    assert_eq!(ask("POST", "/v1/organisations".into(), json!({ "name": "evil" })).await.code(403), "organisation");
    // The root is everybody's.
    ask("POST", "/v1/service/enable".into(), json!({ "acknowledged": true })).await.of(200);
    let cas = ask("GET", "/v1/authorities".into(), nothing()).await.of(200);
    let root = cas["items"][0].clone();
    assert_eq!(root["tier"], "root");
    let root = root["id"].as_str().expect("an id").to_owned();
    for act in ["renew", "rekey", "publish"] {
        assert_eq!(ask("POST", format!("/v1/authorities/{root}/{act}"), nothing()).await.code(403), "organisation", "{act}");
    }
    let import = json!({ "tier": "root", "certificate": "x", "key": "x" });
    assert_eq!(ask("POST", "/v1/authorities/import".into(), import).await.code(403), "organisation");
    let events = ask("GET", "/v1/audit".into(), nothing()).await.of(200);
    let events = events["items"].as_array().expect("items");
    assert!(!events.is_empty() && events.iter().all(|event| event["organisation"] == "acme"));
    // One of the default organisation names another.
    let seen = world.ask(Some(reader()), "GET", "/v1/service?organisation=acme", None, None).await;
    assert_eq!(seen.of(200)["state"], "enabled");
}

/// Who lacks a permission is recorded with it: actor, source, organisation; and so is an act that its caller may do and that was
/// refused, with the reason. What is not there, and looking, are not.
#[tokio::test]
async fn denied_requests_are_recorded() {
    let world = World::enabled().await;
    let key = world.key("a").await;
    world.post("/v1/organisations", json!({ "name": "acme" })).await.of(201);
    let acme = of(world.api.provisioning.organisation("acme").expect("an organisation"));
    let denied = || -> Vec<_> {
        let events = world.api.refusals.rest(std::time::Instant::now(), 0);
        let reason = |event: &Event| match &event.details {
            Details::Counted { reason, count: 1 } => reason.clone(),
            other => panic!("{other:?}"),
        };
        events.iter().map(|event| (event.action, event.actor.clone(), event.source, event.organisation, reason(event))).collect()
    };
    let (path, id) = ("/v1/provisioning-keys", key["id"].as_str().expect("an id"));
    world.ask(Some(reader()), "POST", &format!("{path}/{id}/suspend"), None, None).await.of(403);
    let local = Actor::LocalUser(1000);
    let home = Some(OrganisationId::DEFAULT);
    assert_eq!(denied(), [(Action::AdminRefused, local.clone(), None, home, "security:write".into())]);
    let (admin, source, theirs) = (acme.deciding.actor.clone(), acme.deciding.source, acme.organisation);
    let body = Some(json!({ "name": "b" }).to_string());
    world.ask(Some(acme.clone()), "POST", "/v1/organisations", None, body).await.of(403);
    assert_eq!(denied(), [(Action::AdminRefused, admin.clone(), source, theirs, "all organisations".into())]);
    world.ask(Some(acme), "GET", "/v1/service?organisation=default", None, None).await.of(404);
    assert_eq!(denied(), [(Action::AdminRefused, admin, source, theirs, "another organisation".into())]);
    world.ask(None, "GET", path, None, None).await.of(403);
    assert_eq!(denied(), [(Action::AdminRefused, Actor::Unidentified, None, home, "administrator".into())]);
    let wish = json!({ "name": "alone", "role": "security:write", "credential": credential() });
    world.post("/v1/admins", wish).await.of(201);
    world.patch("/v1/admins/alone", json!({ "disabled": true })).await.of(409);
    assert_eq!(denied(), [(Action::AdminRefused, local, None, home, "last administrator".into())]);
    let suspend = format!("{path}/{id}/suspend");
    world.post(&suspend, json!({ "reason": "x" })).await.of(422);
    let unacknowledged = denied();
    assert_eq!(unacknowledged.len(), 1);
    let (action, .., reason) = &unacknowledged[0];
    assert!(*action == Action::AdminRefused && reason.starts_with(&format!("POST {suspend}: ")), "{reason}");
    world.post("/v1/keystores", json!({ "name": "x", "kind": "local" })).await.of(201);
    world.post("/v1/keystores", json!({ "name": "x", "kind": "local" })).await.of(409);
    assert!(denied().iter().any(|(.., reason)| reason == "POST /v1/keystores: there is a keystore \"x\" already"));
    world.get("/v1/service?organisation=none").await.of(404);
    world.post("/v1/keystores/none/drain", json!({})).await.of(404);
    world.post("/v1/keystores", json!({ "name": "y", "kind": "cloud" })).await.of(422);
    assert_eq!(denied(), []);
}

//! What each resource shows and does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{Certificate, PrivateKey, SignatureAlgorithm, Signer as _};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};

use super::fixture::World;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

pub(super) fn credential() -> Value {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    json!({ "public_key": STANDARD.encode(key.public_key().spki_der()) })
}

/// A key's secret is shown to its creator and never again; states, limits and counts are.
#[tokio::test]
async fn a_keys_secret_is_shown_once() {
    let world = World::enabled().await;
    let wish = json!({ "name": "Front", "uses": 5, "days": 3, "from": "192.0.2.0/24", "names": "*", "expires": "2099-01-01T00:00:00Z" });
    let made = world.post("/v1/provisioning-keys", wish).await;
    assert_eq!(made.headers["cache-control"], "no-store");
    let path = made.headers["location"].to_str().expect("a path").to_owned();
    let made = made.of(201);
    let (id, secret) = text(&made, "secret").split_once('.').expect("a pair");
    assert_eq!(id, text(&made, "id"));
    world.enrol(&made, "door").await;
    let shown = world.get(&path).await.of(200);
    assert_eq!((&shown["state"], &shown["uses"], &shown["clients"], &shown["valid_certificates"]), (&json!("active"), &json!(1), &json!(1), &json!(1)));
    let limits = json!({ "uses": 5, "days": 3, "from": "192.0.2.0/24", "names": "*", "expires": "2099-01-01T00:00:00Z" });
    assert_eq!(shown["limits"], limits);
    for answer in [shown, world.get("/v1/provisioning-keys").await.of(200), world.get("/v1/audit").await.of(200)] {
        let shown = answer.to_string();
        assert!(!shown.contains(secret) && !shown.contains("hash"), "{shown}");
    }
    world.post("/v1/service/disable", json!({ "reason": "x", "acknowledged": true })).await.of(200);
    let shown = world.get(&path).await.of(200);
    assert_eq!((text(&shown, "state"), text(&shown, "effective_state")), ("active", "disabled"));
    assert_eq!(world.get("/v1/service").await.of(200)["keys"]["disabled"], 1);
}

/// A successor is shown by its public id, and taken away again.
#[tokio::test]
async fn a_key_has_a_successor() {
    let world = World::enabled().await;
    let (old, new) = (world.key("old").await, world.key("new").await);
    let path = format!("/v1/provisioning-keys/{}", text(&old, "id"));
    let set = world.patch(&path, json!({ "successor": "new" })).await.of(200);
    assert_eq!(text(&set, "successor"), text(&new, "id"));
    let circle = world.patch(&format!("/v1/provisioning-keys/{}", text(&new, "id")), json!({ "successor": "old" })).await;
    assert_eq!(circle.code(422), "invalid");
    let none = world.patch(&path, json!({ "successor": "" })).await.of(200);
    assert!(none.get("successor").is_none());
}

/// Pages go through all certificates once, newest first, by the link of each.
#[tokio::test]
async fn certificates_are_listed_a_page_at_a_time() {
    let world = World::enabled().await;
    let (key, other) = (world.key("a").await, world.key("b").await);
    let mut wanted = Vec::new();
    for number in 0..7 {
        wanted.insert(0, world.enrol(&key, &format!("door-{number}")).await);
    }
    world.enrol(&other, "gate").await;
    let mut path = format!("/v1/certificates?limit=3&name=door&key={}", text(&key, "id"));
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = world.get(&path).await;
        let link = page.headers.get("link").map(|link| link.to_str().expect("text").to_owned());
        let page = page.of(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.iter().all(|item| item.get("pem").is_none()));
        sizes.push(items.len());
        found.extend(items.iter().map(|item| text(item, "serial").to_owned()));
        assert_eq!(link.is_some(), page.get("next").is_some());
        let Some(link) = link else { break };
        path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link").to_owned();
    }
    assert_eq!((found, sizes), (wanted.clone(), vec![3, 3, 1]));
    let one = format!("/v1/certificates/{}", wanted[0]);
    world.post(&format!("{one}/revoke"), json!({ "reason": "lost", "acknowledged": true, "told": "keyCompromise" })).await.of(200);
    let shown = world.get(&one).await.of(200);
    assert_eq!((text(&shown, "state"), text(&shown["revoked"], "reason")), ("revoked", "keyCompromise"));
    assert!(text(&shown, "pem").contains("BEGIN CERTIFICATE"));
    let revoked = world.get("/v1/certificates?state=revoked").await.of(200);
    assert_eq!(revoked["items"].as_array().map(Vec::len), Some(1));
}

/// A CA goes through its generations; what is shown follows.
#[tokio::test]
async fn a_ca_is_rotated() {
    let world = World::enabled().await;
    let key = world.key("a").await;
    let old = key["authorities"][0].as_str().expect("a CA").to_owned();
    let act = |id: &str, act: &str| format!("/v1/authorities/{id}/{act}");
    assert_eq!(world.post(&act(&old, "renew"), json!({})).await.of(200)["certificates"].as_array().map(Vec::len), Some(2));
    let next = world.post(&act(&old, "rekey"), json!({ "algorithm": "ed25519" })).await.of(201);
    assert_eq!((text(&next, "stage"), text(&next, "algorithm"), &next["generation"]), ("initialised", "ed25519", &json!(2)));
    assert_eq!(text(&next, "provisioning_key"), text(&key, "id"));
    let next = text(&next, "id").to_owned();
    assert_eq!(world.post(&act(&next, "activate"), json!({})).await.code(409), "state");
    assert_eq!(text(&world.post(&act(&next, "publish"), json!({})).await.of(200), "stage"), "published");
    assert_eq!(world.post(&act(&next, "activate"), json!({})).await.code(409), "state");
    let at_once = json!({ "at_once": { "reason": "x", "acknowledged": true } });
    assert_eq!(text(&world.post(&act(&next, "activate"), at_once).await.of(200), "stage"), "active");
    assert_eq!(text(&world.get(&format!("/v1/authorities/{old}")).await.of(200), "stage"), "retired");
    let told = json!({ "reason": "old", "acknowledged": true, "told": "superseded" });
    let revoked = world.post(&act(&old, "revoke"), told).await.of(200);
    assert_eq!(text(&revoked["revoked"], "reason"), "superseded");
    let asked = world.post("/v1/authorities/request", json!({})).await.of(201);
    assert!(text(&asked, "request").starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    assert_eq!(text(&asked["authority"], "tier"), "organisation");
    assert_eq!(world.post(&act(text(&asked["authority"], "id"), "complete"), json!({ "certificate": "x" })).await.code(422), "invalid");
    let waiting = format!("/v1/authorities/{}", text(&asked["authority"], "id"));
    let again = world.get(&format!("{waiting}/request")).await.of(200);
    let key_of = |answer: &Value| {
        let request = keygate_pki::CertificateRequest::from_pem_or_der(text(answer, "request").as_bytes()).expect("a request");
        request.public_key().spki_der().to_vec()
    };
    assert_eq!(key_of(&again), key_of(&asked), "the same key");
    assert_eq!(world.get(&format!("/v1/authorities/{next}/request")).await.code(409), "state");
    let remove = |path: String| {
        let world = &world;
        async move { world.ask(Some(super::fixture::writer()), "DELETE", &path, None, None).await }
    };
    // What relying parties know is not forgotten.
    assert_eq!(remove(format!("/v1/authorities/{next}")).await.code(409), "state");
    assert_eq!(text(&remove(waiting.clone()).await.of(200), "stage"), "initialised");
    assert_eq!(world.get(&waiting).await.code(404), "not-found");
    assert_eq!(remove(waiting).await.code(404), "not-found");
    let removed = world.get("/v1/audit?action=IssuerRemoved").await.of(200);
    assert_eq!(removed["items"][0]["details"]["id"].as_str().map(|id| id.replace('-', "")).as_deref(), asked["authority"]["id"].as_str());
    let third = world.post(&act(&next, "rekey"), json!({})).await.of(201);
    remove(format!("/v1/authorities/{}", text(&third, "id"))).await.of(200);
    world.post(&act(&next, "rekey"), json!({})).await.of(201);
    let listed = world.get("/v1/authorities").await.of(200).to_string();
    assert!(!listed.contains("PRIVATE") && !listed.contains("BEGIN"), "{listed}");
}

/// An administrator gets a certificate that names it; the last one that acts can be neither disabled nor made a reader.
#[tokio::test]
async fn administrators_come_and_go_but_one_stays() {
    let world = World::new().await;
    let added = world.post("/v1/admins", json!({ "name": "alice", "role": "security:write", "credential": credential() })).await.of(201);
    assert_eq!((text(&added, "role"), text(&added, "organisation")), ("security:write", "default"));
    let leaf = Certificate::from_pem_or_der(text(&added["credential"], "chain").as_bytes()).expect("a certificate");
    let chain = [CertificateDer::from(leaf.der().to_vec())];
    let admitted = || world.api.directory.load().identify_admin(&chain, UnixTime::now());
    assert_eq!(&*admitted().expect("let in").0.name, "alice");
    assert!(text(&added["credential"], "ca").contains("BEGIN CERTIFICATE"));
    for wish in [json!({ "disabled": true }), json!({ "role": "security:read" })] {
        assert_eq!(world.patch("/v1/admins/alice", wish).await.code(409), "state");
    }
    assert_eq!(world.post("/v1/admins", json!({ "name": "Alice", "role": "security:read", "credential": credential() })).await.code(409), "name-taken");
    for (role, given) in [("god", credential()), ("security:read", json!({})), ("security:read", json!({ "public_key": "x", "request": "y" })), ("security:read", json!({ "public_key": "!" }))] {
        assert_eq!(world.post("/v1/admins", json!({ "name": "bob", "role": role, "credential": given })).await.code(422), "invalid");
    }
    world.post("/v1/admins", json!({ "name": "bob", "role": "security:write", "credential": credential() })).await.of(201);
    let tag = world.get("/v1/admins/alice").await.etag();
    assert_eq!(world.patch("/v1/admins/alice", json!({ "disabled": true })).await.of(200)["disabled"], true);
    assert!(admitted().is_err());
    let stale = world.ask(Some(super::fixture::writer()), "PATCH", "/v1/admins/alice", Some(&tag), Some("{\"disabled\":false}".into())).await;
    assert_eq!(stale.code(412), "changed");
    world.patch("/v1/admins/alice", json!({ "disabled": false, "role": "security:read" })).await.of(200);
    let renewed = world.patch("/v1/admins/alice", json!({ "credential": credential() })).await.of(200);
    assert_eq!(renewed["certificates"].as_array().map(Vec::len), Some(2));
    let taken = json!({ "credential": { "certificate": text(&added["credential"], "chain") } });
    assert_eq!(world.patch("/v1/admins/bob", taken).await.code(422), "invalid");
    assert_eq!(world.get("/v1/admins").await.of(200)["items"].as_array().map(Vec::len), Some(2));
    let found = world.get("/v1/audit?object=alice").await.of(200);
    let events = found["items"].as_array().expect("items");
    let actions: Vec<_> = events.iter().map(|event| text(event, "action")).collect();
    assert_eq!(actions, ["AdminCertificateAdded", "AdminEnabled", "AdminRoleChanged", "AdminDisabled", "AdminAdded"]);
    assert_eq!(text(&events[2]["details"], "role"), "security:read");
}

/// Who did what to what, when and why is found by each of them, and by pages that together hold everything once.
#[tokio::test]
async fn the_record_is_searched() {
    let world = World::enabled().await;
    let key = world.key("Front").await;
    let (id, serial) = (text(&key, "id").to_owned(), world.enrol(&key, "door").await);
    let because = json!({ "reason": "secret was mailed", "acknowledged": true });
    world.post(&format!("/v1/provisioning-keys/{id}/suspend"), because.clone()).await.of(200);
    world.post(&format!("/v1/certificates/{serial}/revoke"), because).await.of(200);
    let events = |query: String| {
        let world = &world;
        async move {
            let page = world.get(&format!("/v1/audit?{query}")).await.of(200);
            let actions: Vec<String> = page["items"].as_array().expect("items").iter().map(|event| text(event, "action").to_owned()).collect();
            (actions, page)
        }
    };
    let (actions, page) = events(format!("object={id}")).await;
    assert_eq!(actions, ["CertificateRevoked", "ProvisioningKeySuspended", "CertificateIssued", "ProvisioningKeyCreated"]);
    let suspended = &page["items"][1];
    assert_eq!((text(&suspended["actor"], "kind"), text(&suspended["actor"], "id")), ("local", "1000"));
    assert_eq!(text(&suspended["details"], "reason"), "secret was mailed");
    assert_eq!(events(format!("object={serial}")).await.0, ["CertificateRevoked", "CertificateIssued"]);
    assert_eq!(events("object=front&action=ProvisioningKeySuspended".into()).await.0, ["ProvisioningKeySuspended"]);
    assert_eq!(events("actor=Front".into()).await.0, ["CertificateIssued"]);
    let ca = key["authorities"][0].as_str().expect("a CA");
    assert_eq!(events(format!("object={ca}")).await.0, ["IssuerCreated"]);
    let (all, _) = events("limit=1000".into()).await;
    assert_eq!(events("until=2020-01-01T00:00:00Z".into()).await.0.len(), 0);
    assert_eq!(events("since=2099-01-01T00:00:00Z".into()).await.0.len(), 0);
    assert_eq!(events("since=2020-01-01T00:00:00Z&until=2099-01-01T00:00:00Z&limit=1000".into()).await.0, all);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (actions, page) = events(format!("limit=2{after}")).await;
        assert!(actions.len() <= 2);
        paged.extend(actions);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, all);
    assert!(all.len() > 8);
}

//! Goal: authorities whose keys live in a token issue, sign lists and answers there; its absence is an error that passes; a
//! revoked key's CA key is destroyed in it.
//! Method: a throw-away SoftHSM token beside the running gateway; its files are moved away and back.

use std::time::{Duration, Instant};

use keygate_tests::gateway::Setup;
use keygate_tests::provisioning::Service;
use keygate_tests::request;
use keygate_tests::softhsm::Token;

const LABEL: &str = "keygate-test";

fn service(algorithm: &str) -> (Service, Token) {
    let made = std::cell::RefCell::new(None);
    let service = Service::start_disabled_with(&Setup::new(), &|gateway| {
        let token = Token::make(&gateway.scratch().join("hsm"), LABEL).expect("a token; is softhsm2 installed?");
        token.join(gateway, "hsm", 2);
        *made.borrow_mut() = Some(token);
    });
    service.ok(&["service", "enable", "--algorithm", algorithm, "--keystore", "hsm", "--yes"]);
    (service, made.into_inner().expect("a token"))
}

/// A hierarchy of each kind the token has: enrolled clients speak KMIP, and nothing of a CA is outside the token.
#[test]
fn authorities_live_in_a_token() {
    for algorithm in ["p256", "p384", "rsa-3072", "ed25519"] {
        let (service, token) = service(algorithm);
        let before = token.keys().expect("a list");
        let create = ["provisioning-key", "create", "front", "--algorithm", algorithm, "--keystore", "hsm"];
        let key = service.created(&create);
        assert!(token.keys().expect("a list").len() > before.len(), "the issuing CA's key is in the token");
        let device = service.enrol(&key, "door-1");
        let mut kmip = service.kmip(&device).expect("connected");
        request::outcome(&kmip.request(&request::create_aes((1, 4), 256, None)).expect("an answer")).expect("served");
        service.change("revoke", &key);
        assert!(service.try_enrol(&key, "door-2").is_err());
        assert_eq!(token.keys().expect("a list"), before, "and destroyed there when the key is revoked");
    }
}

/// Kinds of keys that tokens are not asked for are refused as such, by name, and nothing is left behind there or in the list.
#[test]
fn other_kinds_of_keys_are_refused() {
    let (service, token) = service("p256");
    let before = token.keys().expect("a list");
    let create = ["provisioning-key", "create", "front", "--algorithm", "ml-dsa-65", "--keystore", "hsm"];
    let output = service.gateway.keygate(&create).expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("ml-dsa-65"), "{text}");
    assert_eq!(token.keys().expect("a list"), before);
    assert_eq!(service.json(&["provisioning-key", "list"])["items"].as_array().map(Vec::len), Some(0));
}

/// The token goes away: 503 and nothing half issued; it comes back: served again without a restart.
#[test]
fn a_token_goes_away() {
    let (service, _token) = service("p256");
    let key = service.created(&["provisioning-key", "create", "front", "--algorithm", "p256", "--keystore", "hsm"]);
    let _first = service.enrol(&key, "door-1");
    let (here, away) = (service.gateway.scratch().join("hsm/tokens"), service.gateway.scratch().join("hsm/away"));
    std::fs::rename(&here, &away).expect("moved away");
    let began = Instant::now();
    let refused = loop {
        let answer = service.enrol_answer(&key.account, &service.request("door-2").csr);
        if answer.status != 200 {
            break answer;
        }
        // SoftHSM serves from what it has loaded until it looks at its files again.
        assert!(began.elapsed() < Duration::from_secs(30), "the token's absence is noticed");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.retry_after().is_some());
    let issued = service.json(&["cert", "list", "--name", "door-2"]);
    let count = issued["items"].as_array().map_or(0, Vec::len);
    std::fs::rename(&away, &here).expect("moved back");
    let began = Instant::now();
    while service.try_enrol(&key, "door-3").is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "the token is used again once it is back");
    }
    let issued = service.json(&["cert", "list", "--name", "door-2"]);
    assert_eq!(issued["items"].as_array().map_or(0, Vec::len), count, "nothing came of the refused request");
}

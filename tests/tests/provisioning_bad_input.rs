//! Goal: what a device or an administrator may not do is refused with a reason, and leaves nothing behind.
//! Method: one running gateway per story; requests made by OpenSSL, or wrong on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_tests::est::curl::{Shown, call};
use keygate_tests::est::{Account, csr};
use keygate_tests::provisioning::{Key, Service, json};

const SIMPLEENROLL: &str = "/.well-known/est/simpleenroll";

/// Three keys may be active or suspended; a fourth is refused, a revoked one makes room.
#[test]
fn a_fourth_key_is_refused() {
    let service = Service::start();
    let keys = ["one", "two", "three"].map(|name| service.create(name));
    service.change("suspend", &keys[0]);
    let refused = service.try_create("four").expect_err("three are there");
    assert!(refused.contains('3') || refused.contains("three"), "{refused}");
    service.change("revoke", &keys[1]);
    let _ = service.create("four");
    assert!(service.try_create("five").is_err());
}

/// Two creations race for the third place: exactly one gets it.
#[test]
fn two_creations_race_for_the_third_place() {
    let service = Service::start();
    let mut kept = vec![service.create("first"), service.create("second")];
    for round in 0..5 {
        let names = ["left", "right"].map(|side| format!("{side} {round}"));
        let made: Vec<Result<Key, String>> = std::thread::scope(|scope| {
            let racers = names.each_ref().map(|name| scope.spawn(|| service.try_create(name)));
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
        });
        let won: Vec<Key> = made.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        won.iter().for_each(|key| service.change("revoke", key));
        kept.extend(won);
    }
    let listed = service.json(&["provisioning-key", "list"]).to_string();
    assert!(kept.iter().all(|key| listed.contains(&key.id)));
}

/// Each rule of a name, when a key is made and when it is renamed; what follows the rules is taken.
#[test]
fn names_that_break_a_rule_are_refused() {
    let service = Service::start();
    let long = "n".repeat(65);
    let key = service.create("Plant North");
    let bad = ["", "7 seas", "-dash", " ", "under_score", "dot.ted", "naïve", "tab\tbed", "new\nline", long.as_str()];
    // The rule is told; a leading dash may be taken for an option before anybody looks at the rule.
    let refused = |name: &str, answer: Result<String, String>| {
        let complaint = answer.expect_err(&format!("{name:?} was taken")).to_lowercase();
        let told = ["name", "called", "exists", "unexpected argument"].iter().any(|word| complaint.contains(word));
        assert!(told && !complaint.contains("panicked"), "{name:?}: {complaint}");
    };
    for name in bad.into_iter().chain(["plant north", "PLANT NORTH"]) {
        refused(name, service.command(&["provisioning-key", "create", name, "--json"]));
    }
    let other = service.create(&"n".repeat(64));
    for name in bad.into_iter().chain(["plant NORTH"]) {
        refused(name, service.command(&["provisioning-key", "rename", &other.id, name]));
    }
    let _ = service.ok(&["provisioning-key", "rename", &key.id, "Plant-South 2"]);
    let _ = service.ok(&["provisioning-key", "rename", &key.id, "plant-south 2"]);
    assert_eq!(service.json(&["provisioning-key", "show", &key.id])["name"], "plant-south 2");
    // The name that was given up is free.
    let _ = service.create("Plant North");
}

/// Changes of state need a reason and the acknowledgement; without, nothing changes.
#[test]
fn changes_of_state_need_a_reason_and_an_acknowledgement() {
    let service = Service::start();
    let key = service.create("key");
    for what in ["suspend", "revoke"] {
        assert!(service.command(&["provisioning-key", what, &key.id, "--yes"]).is_err());
        assert!(service.command(&["provisioning-key", what, &key.id, "--reason", "", "--yes"]).is_err());
        assert!(service.command(&["provisioning-key", what, &key.id, "--reason", "why"]).is_err());
    }
    assert!(service.command(&["provisioning-key", "reactivate", &key.id, "--reason", "why", "--yes"]).is_err());
    assert_eq!(service.state(&key), "active");
    for id in ["0000000000000000", "nothing", ""] {
        assert!(service.command(&["provisioning-key", "suspend", id, "--reason", "why", "--yes"]).is_err(), "{id:?}");
    }
}

/// The secret is shown once: no command and no log line has it afterwards.
#[test]
fn the_secret_is_shown_once() {
    let service = Service::start();
    let key = service.create("once");
    let _ = service.enrol(&key, "device");
    for arguments in [&["provisioning-key", "list", "--json"][..], &["provisioning-key", "show", &key.id, "--json"]] {
        assert!(!service.ok(arguments).contains(&key.account.secret));
    }
    assert!(!service.gateway.log().contains(&key.account.secret));
}

/// Secrets that are wrong, truncated, of another key or of none are all answered alike, whatever the state of the key; the state
/// is told only to who shows the right one.
#[test]
fn wrong_secrets_learn_nothing() {
    let service = Service::start();
    let (key, other) = (service.create("key"), service.create("other"));
    service.change("suspend", &key);
    let csr = service.request("device").csr;
    let secret = &key.account.secret;
    let account = |id: &str, secret: &str| Account { id: id.to_owned(), secret: secret.to_owned() };
    let mut bodies = Vec::new();
    for wrong in [
        account(&key.id, &other.account.secret),
        account(&key.id, &secret[..secret.len() - 1]),
        account(&key.id, ""),
        account("0123456789abcdef", secret),
        account("", secret),
        account(&key.id, &format!("{secret}A")),
    ] {
        let answer = service.enrol_answer(&wrong, &csr);
        // Throttled attempts may be told to wait, which says nothing of the key.
        assert!(matches!(answer.status, 401 | 429), "{} {}", answer.status, answer.text());
        assert!(!answer.text().to_lowercase().contains("suspend"), "{}", answer.text());
        let bearer = json::enrol(&service, &wrong, &csr, None).expect("an answer");
        assert!(matches!(bearer.status, 401 | 429), "{} {}", bearer.status, bearer.text());
        if bearer.status == 401 {
            let challenges = bearer.headers.iter().filter(|(name, _)| name == "www-authenticate");
            let schemes: Vec<_> = challenges.filter_map(|(_, value)| value.split_once(' ')).map(|(scheme, _)| scheme).collect();
            assert_eq!(schemes, ["Bearer", "Basic"]);
        }
        if answer.status == 401 {
            assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic realm=")));
            bodies.push(answer.text());
        }
    }
    assert!(!bodies.is_empty());
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let nothing =
        call(&service.est(), &service.folder(), SIMPLEENROLL, Shown::Nothing, Some(("application/pkcs10", b"")));
    assert!(matches!(nothing.expect("an answer").status, 401 | 429));
}

/// Each request of the list is refused with 400 or 413 and a reason; a good one is served afterwards.
#[test]
fn bad_requests_are_refused_each_for_its_reason() {
    let service = Service::start();
    let key = service.create("key");
    let device = service.enrol(&key, "device");
    let folder = || service.folder();
    let made = |made: std::io::Result<Vec<u8>>| made.expect("a request");
    let own_key = service.request("device");
    let taken = service.enrol_answer(&key.account, &own_key.csr);
    assert_eq!(taken.status, 200);
    let extensions = |lines: &str| made(csr::with_extensions(&folder(), lines));
    let mut requests = vec![
        ("a bad signature", made(csr::bad_signature(&folder()))),
        ("RSA of 1024 bits", made(csr::of_key(&folder(), &["-newkey", "rsa:1024"]))),
        ("P-192", made(csr::of_key(&folder(), &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime192v1"]))),
        ("a CA's public key", made(csr::for_key_of(&folder(), &device.issuer().expect("an issuer")))),
        ("10,000 names", made(csr::with_names(&folder(), 10_000))),
        ("an extension twice", made(csr::with_duplicate_extension(&folder()))),
        ("an unknown critical extension", extensions("1.3.6.1.4.1.32473.1 = critical,DER:0500")),
        ("a CA", extensions("basicConstraints = critical,CA:TRUE")),
        ("nothing", Vec::new()),
        ("rubbish", b"certificate, please".to_vec()),
        ("a certificate", device.leaf().expect("a leaf")),
    ];
    for weak in ["fermat", "roca", "exponent-3", "exponent-even", "factor", "small", "p192", "secp256k1"] {
        requests.push((weak, made(csr::fixture(weak))));
    }
    for (what, csr) in requests {
        let answer = service.enrol_answer(&key.account, &csr);
        assert!(matches!(answer.status, 400 | 413 | 422), "{what}: {} {}", answer.status, answer.text());
        assert!(!answer.text().trim().is_empty(), "{what}: no reason");
        if !csr.is_empty() {
            let answer = json::enrol(&service, &key.account, &csr, None).expect("an answer");
            assert!(matches!(answer.status, 400 | 413 | 422), "{what}: {} {}", answer.status, answer.text());
        }
    }
    let _ = service.enrol(&key, "afterwards");
}

/// A key that is certified for one client is not certified for another.
#[test]
fn a_key_of_another_client_is_refused() {
    let service = Service::start();
    let (key, other) = (service.create("key"), service.create("other"));
    let request = service.request("device");
    assert_eq!(service.enrol_answer(&key.account, &request.csr).status, 200);
    let again = service.enrol_answer(&other.account, &request.csr);
    assert!(matches!(again.status, 400 | 409 | 422), "{} {}", again.status, again.text());
}

/// Bodies: a megabyte, another content type, base64 with and without line breaks, other methods.
#[test]
fn bodies_are_read_leniently_and_bounded() {
    let service = Service::start();
    let key = service.create("key");
    let post = |kind: &str, body: &[u8]| {
        let shown = Shown::Account(&key.account);
        call(&service.est(), &service.folder(), SIMPLEENROLL, shown, Some((kind, body)))
    };
    // A server may answer before it has read a body of this size, and curl then fails to send: both are refusals.
    let large = post("application/pkcs10", &vec![b'A'; 1 << 20]);
    assert!(large.as_ref().map_or(true, |answer| answer.status == 413), "{large:?}");
    let text = STANDARD.encode(service.request("plain").csr);
    assert_eq!(post("application/pkcs10", text.as_bytes()).expect("an answer").status, 200);
    let broken = STANDARD.encode(service.request("broken").csr);
    let broken = broken.as_bytes().chunks(64).collect::<Vec<_>>().join(&b"\r\n"[..]);
    assert_eq!(post("application/pkcs10", &broken).expect("an answer").status, 200);
    let other = STANDARD.encode(service.request("other").csr);
    assert_eq!(post("text/html", other.as_bytes()).expect("an answer").status, 415);
    let got = call(&service.est(), &service.folder(), SIMPLEENROLL, Shown::Account(&key.account), None);
    assert_eq!(got.expect("an answer").status, 405);
    let bad = b"{\"csr\": 7}";
    let bearer = call(
        &service.est(),
        &service.folder(),
        "/v1/enrol",
        Shown::Account(&key.account),
        Some(("application/json", bad)),
    );
    assert!(matches!(bearer.expect("an answer").status, 400 | 401 | 422));
}

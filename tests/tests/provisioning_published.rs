//! Goal: what the public listener serves can be cached, read by anyone, and stands up to a linter.
//! Method: curl with and without `If-None-Match`; pkilint over everything a walk through the states leaves behind.

use std::fs;
use std::path::PathBuf;

use keygate_tests::est::Server;
use keygate_tests::est::curl::{Answer, Shown, call_with};
use keygate_tests::pkilint::{ACCEPTED, Kind, lint, unaccepted};
use keygate_tests::provisioning::Service;
use keygate_tests::provisioning::source::GatewaySource;
use keygate_tests::relying::addresses::{addresses, crls_of_chain};
use keygate_tests::relying::ocsp;
use keygate_tests::relying::source::StateSource as _;
use keygate_tests::relying::{Device, Trust, parties};
use keygate_tests::{pem, tools};

fn get(service: &Service, path: &str, headers: &[&str]) -> Answer {
    // Plain HTTP: no CA is looked at.
    let server = Server { url: service.public(""), ca: service.gateway.client_folder("a").join("ca.pem") };
    call_with(&server, &service.folder(), path, Shown::Nothing, None, headers).expect("an answer")
}

/// The bundle holds the CA of each good key and its ETag changes with the states and with nothing else.
#[test]
fn the_trust_bundle_follows_the_states() {
    let service = Service::start();
    let (kept, lost) = (service.create("kept"), service.create("lost"));
    let [kept_ca, lost_ca] = [&kept, &lost].map(|key| service.enrol(key, "device").issuer().expect("an issuer"));
    let bundle = || {
        let answer = get(&service, "/trust/default.pem", &[]);
        assert_eq!(answer.status, 200);
        let tag = answer.header("etag").expect("an ETag").to_owned();
        let list = pem::certificates(&answer.text()).expect("PEM");
        (tag, [&kept_ca, &lost_ca].map(|ca| list.iter().any(|certificate| certificate.as_ref() == ca.as_slice())))
    };
    let (first, holds) = bundle();
    assert_eq!(holds, [true, true]);
    let condition = |tag: &str| format!("If-None-Match: {}", tag.replace('"', "\\\""));
    assert_eq!(get(&service, "/trust/default.pem", &[&condition(&first)]).status, 304);
    service.change("revoke", &lost);
    let (second, holds) = bundle();
    assert_eq!(holds, [true, false]);
    assert_ne!(first, second);
    assert_eq!(get(&service, "/trust/default.pem", &[&condition(&first)]).status, 200);
    let _ = service.ok(&["service", "disable", "--yes"]);
    assert_eq!(bundle().1, [false, false]);
    let _ = service.ok(&["service", "enable", "--yes"]);
    assert_eq!(bundle().1, [true, false]);
    let json: serde_json::Value =
        serde_json::from_slice(&get(&service, "/trust/default.json", &[]).body).expect("a JSON document");
    assert!(json.is_object());
}

/// Types and caching of what relying parties fetch; what is not there is 404 and not a listing.
#[test]
fn lists_and_certificates_are_served_as_relying_parties_expect() {
    let service = Service::start();
    let key = service.create("types");
    let device = service.enrol(&key, "device");
    for certificate in pem::certificates(&device.chain).expect("PEM") {
        let found = addresses(&certificate).expect("a certificate");
        // RFC 2585 §4.
        for (url, kind) in [(found.crl, "application/pkix-crl"), (found.issuer, "application/pkix-cert")] {
            let url = url.expect("an address");
            let path = url.strip_prefix(&service.public("")).expect("on the public listener").to_owned();
            let answer = get(&service, &path, &[]);
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
            assert!(answer.header("etag").is_some() && answer.header("cache-control").is_some(), "{path}");
        }
    }
    for path in
        ["/", "/crl/", "/crl/nothing.crl", "/ca/nothing.cer", "/trust/nobody.pem", "/crl/../store.db", "/v1/keys"]
    {
        assert_eq!(get(&service, path, &[]).status, 404, "{path}");
    }
}

/// Everything that is published, in each state, is free of findings.
#[test]
fn pkilint_accepts_what_the_gateway_publishes() {
    if tools::skipped("pkilint") {
        return;
    }
    let service = Service::start();
    let (key, folder) = (service.create("linted"), service.folder());
    let device = service.enrol(&key, "device");
    let source = GatewaySource { service: &service, key: &key };
    let mut files: Vec<(Kind, PathBuf)> = Vec::new();
    let mut add = |kind, name: String, der: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, der).expect("written");
        files.push((kind, path));
    };
    let certificates = service.cas().expect("CAs").into_iter().chain([device.leaf().expect("a leaf")]);
    certificates.enumerate().for_each(|(number, der)| add(Kind::Cert, format!("{number}.cer"), &der));
    let lists = |what: &str, add: &mut dyn FnMut(Kind, String, &[u8])| {
        let trust = source.trust().expect("lists");
        let lists = trust.crls.clone() + &crls_of_chain(&service.folder(), &device.chain).expect("lists");
        for (number, der) in pem::crls(&lists).expect("PEM").iter().enumerate() {
            add(Kind::Crl, format!("{what}-{number}.crl"), der);
        }
        let folder = service.folder();
        ocsp::get(&folder, &trust, &device).expect("an answer");
        add(Kind::Ocsp, format!("{what}.ocsp"), &fs::read(folder.join("ocsp.rsp")).expect("the answer"));
    };
    lists("active", &mut add);
    let _ = service.ok(&["service", "disable", "--yes"]);
    lists("disabled", &mut add);
    let _ = service.ok(&["service", "enable", "--yes"]);
    service.revoke_device(&device);
    lists("device", &mut add);
    service.change("revoke", &key);
    lists("revoked", &mut add);
    let found = unaccepted(&lint(&files).expect("pkilint runs"), ACCEPTED);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The root rolls over, new and old certify each other: every party that loads the two published files accepts machines of before
/// and after, at each step, and so does one that trusts the old root alone.
#[test]
fn the_root_rolls_over_for_everybody() {
    let service = Service::start();
    let key = service.create("key");
    let before = service.enrol(&key, "before");
    let text = |path: &str| String::from_utf8(service.fetch(path).expect("fetched")).expect("text");
    let files = || Trust { anchors: text("/ca/default.pem"), crls: text("/crl/default.pem") };
    let accepted = |step: &str, trust: &Trust, device: &Device| {
        for party in parties() {
            let verdict = party.judge(&service.folder(), trust, device).expect("an answer");
            assert!(verdict.accepted(), "{step}: {}: {verdict:?}", party.name());
        }
    };
    let old_anchor = GatewaySource { service: &service, key: &key }.trust().expect("trust").anchors;
    let root = service.json(&["ca", "list"])["items"].as_array().and_then(|all| {
        all.iter().find(|authority| authority["tier"] == "root").and_then(|root| root["id"].as_str().map(str::to_owned))
    });
    let root = root.expect("a root");
    let next = service.json(&["ca", "rekey", &root])["id"].as_str().expect("an id").to_owned();
    let steps: [&[&str]; 4] = [
        &["ca", "publish", &next],
        &["ca", "cross-sign", &next, "--by", &root],
        &["ca", "cross-sign", &root, "--by", &next],
        &["ca", "activate", &next, "--at-once", "--reason", "a test", "--yes"],
    ];
    for step in steps {
        let _ = service.ok(step);
        accepted(&step.join(" "), &files(), &before);
    }
    let after = service.enrol(&key, "after");
    accepted("a new machine", &files(), &after);
    let crls = files().crls;
    let cross = pem::certificates(&files().anchors).expect("certificates");
    let chain = cross.iter().fold(after.chain.clone(), |chain, der| chain + &pem::encode(pem::CERTIFICATE, der));
    let with_cross = Device { chain, key: after.key.clone() };
    for party in parties().iter().filter(|party| party.name() == "openssl") {
        let trust = Trust { anchors: old_anchor.clone(), crls: crls.clone() };
        let verdict = party.judge(&service.folder(), &trust, &with_cross).expect("an answer");
        assert!(verdict.accepted(), "the old root alone: {verdict:?}");
    }
}

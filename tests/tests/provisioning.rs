//! Goal: what an administrator does to a provisioning key takes effect for devices, for our own listeners and for third parties.
//! Method: the running gateway, its commands, EST clients and KMIP over sockets; relying parties fed from the public listener.

use std::time::{Duration, Instant};

use keygate_kmip::Operation;
use keygate_pki::SignatureAlgorithm;
use keygate_tests::client::TlsKmipClient;
use keygate_tests::est::{Account, strongswan};
use keygate_tests::gateway::Setup;
use keygate_tests::provisioning::source::GatewaySource;
use keygate_tests::provisioning::{Key, Service, json};
use keygate_tests::relying::Device;
use keygate_tests::relying::own::OwnPki;
use keygate_tests::relying::source::StateSource as _;
use keygate_tests::relying::walk::walk;
use keygate_tests::{request, tools};
use rustls::HandshakeKind;
use serde_json::json;

const V1_4: (i32, i32) = (1, 4);
/// How long a change may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(1);

fn discover(client: &mut TlsKmipClient) -> bool {
    client.request(&request::message(V1_4, vec![(Operation::DiscoverVersions, Vec::new())])).is_ok()
}

/// Whether a new connection with the device's certificate is served.
fn served(service: &Service, device: &Device) -> bool {
    service.kmip(device).is_ok_and(|mut client| discover(&mut client))
}

/// The live connections end within a second of `since`.
fn closed_in_time(connections: &mut [TlsKmipClient], since: Instant) {
    for connection in connections {
        assert!(connection.is_closed());
        assert!(since.elapsed() < IN_FORCE, "closed after {:?}", since.elapsed());
    }
}

fn live(service: &Service, device: &Device) -> TlsKmipClient {
    let mut client = service.kmip(device).expect("a socket");
    assert!(discover(&mut client), "an enrolled device is served");
    client
}

/// A device enrols with id and secret, and keeps a key with its certificate: what the README shows.
#[test]
fn a_device_enrols_and_speaks_kmip() {
    let service = Service::start();
    let key = service.create("Building 7");
    assert_eq!(service.state(&key), "active");
    let device = service.enrol(&key, "pump-1");
    let mut client = service.kmip(&device).expect("a socket");
    let created = client.request(&request::create_aes(V1_4, 256, None)).expect("an answer");
    let identifier = request::identifier(&request::outcome(&created).expect("Create"));
    let got = client.request(&request::on(V1_4, Operation::Get, &identifier)).expect("an answer");
    request::outcome(&got).expect("Get");
    // Another device of the same key is another client.
    let other = service.enrol(&key, "pump-2");
    let refused = service.kmip(&other).expect("a socket").request(&request::on(V1_4, Operation::Get, &identifier));
    assert!(request::outcome(&refused.expect("an answer")).is_err());
}

/// strongSwan's `pki` enrols and renews; `keygate`'s JSON API does too, with names of its own.
#[test]
fn strongswan_and_the_json_api_enrol_and_renew() {
    let service = Service::start();
    let key = service.create("clients");
    let (cas, made) = (service.cas().expect("CAs"), service.request("json"));
    let answer =
        json::enrol(&service, &key.account, &made.csr, Some("IP: 192.0.2.9, DNS: other.example")).expect("an answer");
    let device = made.device(&json::certificate(&answer).expect("a certificate"), &cas).expect("a chain");
    assert!(served(&service, &device));
    let renewed = json::by_certificate(&service, "renew", &device, &json!({})).expect("an answer");
    assert_ne!(json::certificate(&renewed).expect("a certificate"), device.leaf().expect("a leaf"));
    let next = service.request("json");
    let body = json!({ "csr": keygate_tests::pem::encode(json::CSR, &next.csr) });
    let rekeyed = json::by_certificate(&service, "rekey", &device, &body).expect("an answer");
    let rekeyed = next.device(&json::certificate(&rekeyed).expect("a certificate"), &cas).expect("a chain");
    assert!(served(&service, &rekeyed));
    let gone = json::by_certificate(&service, "revoke", &rekeyed, &json!({ "reason": "cessationOfOperation" }));
    assert!(matches!(gone.expect("an answer").status, 200 | 204));
    assert!(!served(&service, &rekeyed), "a device may revoke its own certificate");
    if tools::skipped("strongswan") {
        return;
    }
    let (server, folder) = (service.est(), service.folder());
    assert!(strongswan::cacerts(&server, &folder).expect("CAs").len() >= 3);
    let made = service.request("swan");
    let issued = strongswan::enrol(&server, &folder, &cas, &key.account, &made.csr, 1).expect("a certificate");
    let device = made.device(&issued, &cas).expect("a chain");
    assert!(served(&service, &device));
    strongswan::renew(&server, &folder, &cas, &device, &service.request("swan").csr).expect("a certificate");
}

/// Suspended: no enrolment, no renewal, told when to come back; connections, new and old, go on. Reactivated: all as before.
#[test]
fn a_suspended_key_stops_enrolment_and_nothing_else() {
    let service = Service::start();
    let key = service.create("suspended");
    let device = service.enrol(&key, "device");
    let mut connection = live(&service, &device);
    service.change("suspend", &key);
    assert_eq!(service.state(&key), "suspended");
    let answer = service.enrol_answer(&key.account, &service.request("late").csr);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.retry_after().is_some());
    let renewal = service.renew_answer(&device, &service.request("device").csr).expect("an answer");
    assert_eq!(renewal.status, 202, "{}", renewal.text());
    assert!(discover(&mut connection) && served(&service, &device));
    service.change("reactivate", &key);
    assert_eq!(service.state(&key), "active");
    assert!(served(&service, &service.enrol(&key, "late")));
    let renewal = service.renew_answer(&device, &service.request("device").csr).expect("an answer");
    assert_eq!(renewal.certificates(&service.folder()).expect("a certificate").len(), 1);
}

/// Revoked: enrolment, renewal, new connections, resumed sessions refused and live ones closed, within a second; final. Others
/// are not touched.
#[test]
fn a_revoked_key_cuts_its_devices_off_within_a_second() {
    let service = Service::start();
    let (key, other) = (service.create("lost"), service.create("kept"));
    let (device, safe) = (service.enrol(&key, "lost"), service.enrol(&other, "kept"));
    let config = service.credentials(&device).tls().expect("a configuration");
    let resume = || TlsKmipClient::connect_with(service.gateway.address("kmip"), "localhost", config.clone());
    let mut connections = vec![live(&service, &device), resume().expect("a socket")];
    assert!(discover(&mut connections[1]));
    let mut resumed = resume().expect("a socket");
    assert!(discover(&mut resumed));
    let kind = resumed.into_stream().conn.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Resumed), "the control: sessions of living keys resume");
    let (mut kept, mut by_hand) = (live(&service, &safe), service.gateway.connect("a"));
    service.change("revoke", &key);
    closed_in_time(&mut connections, Instant::now());
    assert!(!resume().is_ok_and(|mut client| discover(&mut client)), "a resumed session is refused");
    assert!(!served(&service, &device));
    assert_eq!(service.enrol_answer(&key.account, &service.request("late").csr).status, 401);
    let renewal = service.renew_answer(&device, &service.request("lost").csr);
    assert!(renewal.is_err() || renewal.is_ok_and(|answer| matches!(answer.status, 401 | 403)));
    assert!(discover(&mut kept) && discover(&mut by_hand) && served(&service, &safe));
    for what in ["reactivate", "suspend"] {
        let refused = service.command(&["provisioning-key", what, &key.id, "--reason", "back", "--yes"]);
        assert!(refused.expect_err("final").to_lowercase().contains("revoked"));
    }
}

/// Disabled: every enrolled device is refused at once and no request is taken; clients added by hand go on. Enabled: each key
/// has the state it had.
#[test]
fn a_disabled_service_refuses_what_it_enrolled_until_it_is_enabled() {
    let service = Service::start();
    let (active, suspended) = (service.create("active"), service.create("suspended"));
    let devices = [service.enrol(&active, "one"), service.enrol(&suspended, "two")];
    service.change("suspend", &suspended);
    let mut connections: Vec<_> = devices.iter().map(|device| live(&service, device)).collect();
    let config = service.credentials(&devices[0]).tls().expect("a configuration");
    let resume = || TlsKmipClient::connect_with(service.gateway.address("kmip"), "localhost", config.clone());
    assert!((0..2).all(|_| resume().is_ok_and(|mut client| discover(&mut client))));
    let mut by_hand = service.gateway.connect("a");
    let refused = service.command(&["service", "disable"]);
    assert!(refused.expect_err("not acknowledged").contains("--yes"));
    let _ = service.ok(&["service", "disable", "--yes"]);
    closed_in_time(&mut connections, Instant::now());
    assert!(!devices.iter().any(|device| served(&service, device)));
    assert!(!resume().is_ok_and(|mut client| discover(&mut client)), "a resumed session is refused");
    let answer = service.enrol_answer(&active.account, &service.request("late").csr);
    assert_eq!((answer.status, answer.retry_after().is_some()), (503, true), "{}", answer.text());
    assert!(discover(&mut by_hand));
    let _ = service.ok(&["service", "enable", "--yes"]);
    assert!(devices.iter().all(|device| served(&service, device)));
    assert_eq!((service.state(&active), service.state(&suspended)), ("active".into(), "suspended".into()));
    assert_eq!(service.enrol_answer(&suspended.account, &service.request("late").csr).status, 202);
    assert!(served(&service, &service.enrol(&active, "late")));
}

/// Off until it is enabled; who shows no right secret is not told so.
#[test]
fn the_service_is_off_until_it_is_enabled() {
    let service = Service::start_disabled(&Setup::new());
    assert!(service.ok(&["service", "status"]).to_lowercase().contains("disabled"));
    let stranger = Account { id: "0123456789abcdef".to_owned(), secret: "A".repeat(43) };
    assert_eq!(service.enrol_answer(&stranger, &service.request("early").csr).status, 401);
    let _ = service.ok(&["service", "enable", "--yes"]);
    assert!(service.ok(&["service", "status"]).to_lowercase().contains("enabled"));
    assert!(served(&service, &service.enrol(&service.create("key"), "device")));
}

/// One certificate revoked: that device is cut off and its lineage does not renew; others of the key go on.
#[test]
fn one_revoked_certificate_is_cut_off_alone() {
    let service = Service::start();
    let key = service.create("devices");
    let (lost, kept) = (service.enrol(&key, "lost"), service.enrol(&key, "kept"));
    // A renewed certificate is of the same lineage as the one that will be revoked.
    let next = service.request("lost");
    let answer = service.renew_answer(&lost, &next.csr).expect("an answer");
    let renewed = answer.certificates(&service.folder()).expect("a certificate");
    let renewed = next.device(&renewed[0], &service.cas().expect("CAs")).expect("a chain");
    let (mut closing, mut staying) = ([live(&service, &lost)], live(&service, &kept));
    service.revoke_device(&lost);
    closed_in_time(&mut closing, Instant::now());
    assert!(!served(&service, &lost));
    for device in [&lost, &renewed] {
        let refused = service.renew_answer(device, &service.request("lost").csr);
        assert!(refused.is_err() || refused.is_ok_and(|answer| matches!(answer.status, 401 | 403)));
    }
    assert!(discover(&mut staying) && served(&service, &kept));
}

/// Renewal is for certificates that a provisioning key enrolled: a client added by hand and a stranger are refused.
#[test]
fn only_enrolled_certificates_renew() {
    let service = Service::start();
    let key = service.create("key");
    let _ = service.enrol(&key, "device");
    let folder = service.gateway.client_folder("a");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect("a file");
    let by_hand = Device { chain: read("cert.pem"), key: read("key.pem") };
    let mut elsewhere = OwnPki::start(SignatureAlgorithm::EcdsaP256Sha256).expect("a PKI");
    let stranger = elsewhere.enrol("device").expect("enrolled");
    for device in [&by_hand, &stranger] {
        let refused = service.renew_answer(device, &service.request("device").csr);
        assert!(refused.is_err() || refused.is_ok_and(|answer| matches!(answer.status, 401 | 403)));
    }
    assert!(!served(&service, &stranger));
}

/// Enrolments while the key is being revoked: each is refused or whole, and nothing that was issued is let in afterwards.
#[test]
fn a_revocation_comes_before_or_after_an_enrolment_and_never_half_way() {
    let service = Service::start();
    let key = service.create("racing");
    let enrolled: Vec<Option<Device>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (service, key): (&Service, &Key) = (&service, &key);
                scope.spawn(move || {
                    let request = service.request(&format!("racer-{number}"));
                    let answer = service.enrol_answer(&key.account, &request.csr);
                    assert!(matches!(answer.status, 200 | 401 | 429), "{} {}", answer.status, answer.text());
                    let issued = answer.certificates(&service.folder()).ok()?;
                    Some((request, issued[0].clone()))
                })
            })
            .collect();
        let cas = service.cas().expect("CAs");
        service.change("revoke", &key);
        let devices = racers.into_iter().map(|racer| racer.join().expect("no panic"));
        devices.map(|made| made.and_then(|(request, leaf)| request.device(&leaf, &cas).ok())).collect()
    });
    assert!(enrolled.into_iter().flatten().all(|device| !served(&service, &device)));
    let late = service.enrol_answer(&key.account, &service.request("late").csr);
    // Refused attempts before it may have made this one wait.
    assert!(matches!(late.status, 401 | 429));
}

/// OpenSSL, GnuTLS, nginx and HAProxy follow each state by what the public listener serves.
#[test]
fn relying_parties_follow_the_gateway() {
    let service = Service::start();
    let key = service.create("walk");
    let folder = service.folder();
    if let Err(error) = walk(&mut GatewaySource { service: &service, key: &key }, &folder) {
        panic!("{error}");
    }
}

/// The two lines of the README enrol a device, whose credential speaks KMIP.
#[test]
fn the_readme_enrols_a_device() {
    let service = Service::start_disabled(&Setup::new());
    let readme = include_str!("../../README.md");
    let block = readme.split("## A device in two lines").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("a block");
    let lines: Vec<&str> = block.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 2, "{block}");
    let folder = service.folder();
    let server = format!("https://localhost:{}", service.gateway.address("clients").port());
    let data = service.gateway.data().display().to_string();
    let program = service.gateway.keygate_command(&[]).expect("a command").get_program().to_owned();
    let bin = std::path::Path::new(&program).parent().expect("a folder").to_owned();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").expect("PATH"))));
    for line in lines {
        // The first client of these tests is called differently.
        let line = line.replace("keygate-data/clients/first", &service.gateway.client_folder("a").display().to_string());
        let line = line.replace("keygate-data", &data).replace("https://localhost:8443", &server);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &line]).current_dir(&folder).env("PATH", path.as_ref().expect("a path"));
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let read = |file: &str| std::fs::read_to_string(folder.join("door-1").join(file)).expect("a file");
    let device = Device { chain: read("cert.pem"), key: read("key.pem") };
    assert!(served(&service, &device));
}

/// `keygate enrol` that knows no more of the server than its root's fingerprint; with a wrong one nothing is sent.
#[test]
fn a_machine_enrols_by_the_fingerprint_of_the_root() {
    let service = Service::start();
    let key = service.create("by fingerprint");
    let folder = service.folder();
    tools::write_secret(&folder.join("key"), &format!("{}.{}", key.account.id, key.account.secret)).expect("a file");
    let pem = std::fs::read(service.gateway.client_folder("a").join("ca.pem")).expect("a file");
    let root = keygate_pki::Certificate::from_pem_or_der(&pem).expect("a certificate").fingerprint().to_string();
    let server = format!("https://localhost:{}", service.gateway.address("clients").port());
    let wrong = "0".repeat(64);
    for (fingerprint, works) in [(root.as_str(), true), (wrong.as_str(), false)] {
        let mut command = keygate_tests::gateway::keygate().expect("a command");
        command.current_dir(&folder).args(["enrol", "--server", &server, "--ca-sha256", fingerprint]);
        command.args(["--key-file", "key", "--name", "door", "--out", if works { "door" } else { "none" }]);
        let output = command.output().expect("a run");
        assert_eq!(output.status.success(), works, "{}", String::from_utf8_lossy(&output.stderr));
    }
    let read = |file: &str| std::fs::read_to_string(folder.join("door").join(file)).expect("a file");
    assert!(served(&service, &Device { chain: read("cert.pem"), key: read("key.pem") }));
    assert!(!folder.join("none/cert.pem").exists());
}

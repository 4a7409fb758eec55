//! A client machine's life: it enrols, waits, renews, meets wrong servers and proxies, and is switched off in between.
//!
//! Method: the gateway's own HTTPS listener with a small EST server behind it, over real sockets; the clock is the test's.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod server;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use axum::{http::StatusCode, response::IntoResponse as _};
use keygate_pki::{DistinguishedName, Fingerprint, OffsetDateTime, Signer as _, SubjectAltName};

use self::server::EstServer;
use super::{Clock, Credential, Done, EnrolError, Enrolment, EstClientError, Event, Folder, FolderError, ProvisioningKey, Trust, due_at};
use crate::{
    http::Problem,
    http_client::{HttpClientError, Route},
};

/// A clock that passes only where somebody sleeps.
struct TestClock {
    now: Mutex<OffsetDateTime>,
    slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    fn new() -> Self {
        Self { now: Mutex::new(OffsetDateTime::now_utc()), slept: Mutex::default() }
    }

    fn pass(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration;
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
        self.pass(duration);
    }
}

fn enrolment(server: &EstServer, folder: &Path, trust: Trust) -> Enrolment {
    Enrolment {
        server: server.url().parse().unwrap(),
        route: Route::direct(),
        trust,
        folder: Folder::open(folder).unwrap(),
        name: Some(DistinguishedName::new(None, "machine 7").unwrap()),
        names: Some(SubjectAltName::parse_list("IP: 192.0.2.7, DNS: m7.example").unwrap()),
        host: DistinguishedName::new(None, "host").unwrap(),
        key_type: None,
        keep_key: false,
        force: false,
        provisioning_key: Some(ProvisioningKey::new(server.pair().as_bytes()).unwrap()),
        wait: Duration::from_secs(300),
    }
}

fn these(server: &EstServer) -> Trust {
    Trust::These(vec![server.root().clone()])
}

fn seen(server: &EstServer) -> Vec<(&'static str, bool, bool)> {
    server.seen().into_iter().map(|seen| (seen.path, seen.has_authorization, seen.has_certificate)).collect()
}

/// The blocking client beside the server, each on a thread of its own.
fn story(story: impl FnOnce(&EstServer, &Path)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(async { EstServer::start() });
    let folder = tempfile::tempdir().unwrap();
    story(&server, &folder.path().join("credential"));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_machine_enrols_and_renews_when_it_is_due() {
    story(|server, path| {
        let clock = TestClock::new();
        let mut enrolment = enrolment(server, path, these(server));
        let Done::Enrolled(first) = enrolment.run(&clock).unwrap() else { panic!("not enrolled") };
        assert!(enrolment.provisioning_key.is_none());
        // The server is verified before the key is sent, and the key is sent once.
        assert_eq!(seen(server), [("cacerts", false, false), ("simpleenroll", true, false)]);
        assert_eq!(Some(first.subject_alt_names()), enrolment.names);
        let stored = enrolment.folder.load().unwrap().unwrap();
        assert_eq!(stored.chain, [first.clone(), server.issuer().clone()]);
        assert_eq!(stored.roots, [server.root().clone()]);
        for (file, mode_wanted) in [("key.pem", 0o600), ("cert.pem", 0o600), ("ca.pem", 0o600), ("", 0o700)] {
            assert_eq!(mode(&path.join(file)), mode_wanted, "{file}");
        }

        assert_eq!(enrolment.run(&clock).unwrap(), Done::NotDue(first.clone()));
        assert_eq!(seen(server), []);
        clock.pass(Duration::from_secs(7 * 86_400 * 3 / 4));
        let Done::Renewed(second) = enrolment.run(&clock).unwrap() else { panic!("not renewed") };
        assert_eq!(seen(server), [("cacerts", false, true), ("simplereenroll", false, true)]);
        assert_ne!(second.spki_hash(), first.spki_hash());
        assert_eq!((second.subject(), second.subject_alt_names()), (first.subject(), first.subject_alt_names()));

        clock.pass(Duration::from_secs(3600));
        enrolment.keep_key = true;
        enrolment.trust = Trust::Unstated;
        let before = enrolment.folder.load().unwrap().unwrap();
        // The test's certificates are made by the machine's clock: to that of the test the second one is due as well.
        let Done::Renewed(third) = enrolment.run(&clock).unwrap() else { panic!("not renewed") };
        assert_eq!(third.spki_hash(), before.key.public_key().spki_hash());
        assert_eq!(fs::read_dir(path).unwrap().filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count(), 2);
    });
}

/// Who enrols anew without saying a name stays who it was; who says one gets that and no names of the one before.
#[test]
fn names_stay_unless_others_are_given() {
    story(|server, path| {
        let again = |name: Option<&str>, names: Option<&str>| {
            let mut enrolment = enrolment(server, path, these(server));
            enrolment.force = true;
            enrolment.name = name.map(|name| DistinguishedName::new(None, name).unwrap());
            enrolment.names = names.map(|names| SubjectAltName::parse_list(names).unwrap());
            let done = enrolment.run(&TestClock::new()).unwrap();
            let names: Vec<_> = done.certificate().subject_alt_names().iter().map(ToString::to_string).collect();
            (done.certificate().common_name().unwrap(), names.join(", "))
        };
        let said = |name: &str, names: &str| (name.to_owned(), names.to_owned());
        assert_eq!(again(None, None), said("host", ""));
        assert_eq!(again(Some("door"), Some("DNS: a.example")), said("door", "DNS: a.example"));
        assert_eq!(again(None, None), said("door", "DNS: a.example"));
        assert_eq!(again(None, Some("DNS: b.example")), said("door", "DNS: b.example"));
        assert_eq!(again(Some("gate"), None), said("gate", ""));
    });
}

#[test]
fn every_kind_of_key_is_enrolled() {
    use keygate_pki::SignatureAlgorithm::{EcdsaP384Sha384, Ed25519, RsaPkcs1Sha256};

    story(|server, path| {
        for kind in [EcdsaP384Sha384, Ed25519, RsaPkcs1Sha256] {
            let mut enrolment = enrolment(server, path, these(server));
            (enrolment.key_type, enrolment.force) = (Some(kind), true);
            assert!(matches!(enrolment.run(&TestClock::new()), Ok(Done::Enrolled(_))));
            assert_eq!(enrolment.folder.load().unwrap().unwrap().key.algorithm(), kind);
        }
    });
}

/// 202 is waited for as long as it may take, then given up; nothing is left behind.
#[test]
fn a_pending_request_is_repeated() {
    story(|server, path| {
        let pending = |seconds: &'static str| (StatusCode::ACCEPTED, [("retry-after", seconds)]).into_response();
        server.answer_next(pending("40"));
        server.answer_next(pending("50"));
        let clock = TestClock::new();
        let mut enrolment = enrolment(server, path, these(server));
        assert!(matches!(enrolment.run(&clock), Ok(Done::Enrolled(_))));
        assert_eq!(*clock.slept.lock().unwrap(), [Duration::from_secs(40), Duration::from_secs(50)]);
        assert_eq!(seen(server).len(), 4);

        let patient = path.with_file_name("patient");
        let mut enrolment = self::enrolment(server, &patient, these(server));
        server.answer_next(pending("200"));
        server.answer_next(pending("200"));
        let error = enrolment.run(&clock).unwrap_err();
        assert!(matches!(error, EnrolError::Pending { after } if after == Duration::from_secs(200)) && error.is_transient());
        assert!(enrolment.folder.load().unwrap().is_none());
    });
}

#[test]
fn refusals_are_told_apart_and_in_the_servers_words() {
    story(|server, path| {
        let mut enrolment = enrolment(server, path, these(server));
        enrolment.provisioning_key = Some(ProvisioningKey::new(EstServer::other_pair().as_bytes()).unwrap());
        let error = enrolment.run(&TestClock::new()).unwrap_err();
        assert!(error.to_string().contains("unknown provisioning key") && !error.is_transient(), "{error}");
        assert!(matches!(error, EnrolError::Est(EstClientError::Refused { status: 401, .. })));

        let suspended = Problem::new(StatusCode::FORBIDDEN, "suspended", "forbidden", "the key\u{1b}[31m is suspended").into_response();
        let disabled = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disabled", "unavailable", "x").retry_after(Duration::from_secs(900));
        server.answer_next(suspended);
        server.answer_next(disabled.into_response());
        server.answer_next((StatusCode::BAD_REQUEST, "weak key").into_response());
        for (status, words) in [(403, "the key [31m is suspended"), (503, "x"), (400, "weak key")] {
            enrolment.provisioning_key = Some(ProvisioningKey::new(server.pair().as_bytes()).unwrap());
            let error = enrolment.run(&TestClock::new()).unwrap_err();
            assert!(error.to_string().contains(&format!("({status}): {words}")), "{error}");
            assert_eq!(error.is_transient(), status == 503);
            assert_eq!(error.retry_after(), (status == 503).then_some(Duration::from_secs(900)));
        }
        enrolment.provisioning_key = None;
        assert!(matches!(enrolment.run(&TestClock::new()), Err(EnrolError::NoKey(_))));
    });
}

/// The fingerprint of the root is enough at first contact; a wrong one, or a server below another root, never sees the key.
#[test]
fn a_wrong_server_never_sees_the_key() {
    story(|server, path| {
        let wrong = [Trust::Fingerprint(Fingerprint([7; 32])), Trust::Fingerprint(server.issuer().fingerprint())];
        for trust in wrong.into_iter().chain([Trust::These(vec![server.issuer().clone()])]) {
            let mut enrolment = enrolment(server, path, trust);
            let error = enrolment.run(&TestClock::new()).unwrap_err();
            let fits = matches!(error, EnrolError::Fingerprint { .. } | EnrolError::Est(EstClientError::Http(HttpClientError::Tls { .. })));
            assert!(fits, "{error:?}");
            assert!(enrolment.folder.load().unwrap().is_none());
        }
        let seen = server.seen();
        assert!(!seen.is_empty() && seen.iter().all(|seen| !seen.has_authorization && seen.path == "cacerts"), "{seen:?}");

        let mut enrolment = enrolment(server, path, Trust::Fingerprint(server.root().fingerprint()));
        assert!(matches!(enrolment.run(&TestClock::new()), Ok(Done::Enrolled(_))));
        assert_eq!(enrolment.folder.load().unwrap().unwrap().roots, [server.root().clone()]);
    });
}

/// Through a proxy, which sees a host and a port.
#[test]
fn a_proxy_is_asked_to_connect() {
    story(|server, path| {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, target) = (proxy.local_addr().unwrap(), server.address());
        let asked = std::thread::spawn(move || {
            let (mut client, _) = proxy.accept().unwrap();
            let (mut head, mut octet) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut octet).unwrap();
                head.push(octet[0]);
            }
            let mut server = TcpStream::connect(target).unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                // The client has ended: so does its connection to the server.
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            // Either side may end first.
            let _ = std::io::copy(&mut server, &mut client);
            String::from_utf8(head).unwrap()
        });
        let mut enrolment = enrolment(server, path, these(server));
        enrolment.route = Route::through(&format!("http://{address}")).unwrap();
        assert!(matches!(enrolment.run(&TestClock::new()), Ok(Done::Enrolled(_))));
        drop(enrolment);
        let head = asked.join().unwrap();
        assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", target.port())), "{head}");
        assert!(!head.to_ascii_lowercase().contains("\r\nauthorization"), "{head}");
    });
}

#[test]
fn an_unreachable_server_may_be_there_later() {
    story(|server, path| {
        let mut enrolment = enrolment(server, path, these(server));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        enrolment.server = format!("https://localhost:{}", free.port()).parse().unwrap();
        let error = enrolment.run(&TestClock::new()).unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        for wrong in ["http://localhost", "localhost:8443", "https://u@localhost", "https://localhost/x", "https://"] {
            assert!(matches!(wrong.parse::<crate::http_client::ServerUrl>(), Err(HttpClientError::Url(_))), "{wrong}");
        }
    });
}

/// It stays: a failed renewal is tried again, and what cannot be mended ends it.
#[test]
fn a_machine_that_stays_renews_until_its_certificate_is_gone() {
    story(|server, path| {
        let mut enrolment = enrolment(server, path, these(server));
        // Until the first certificate is due; then a refusal, which may be lifted, and an outage; then nothing but refusals.
        let clock = TestClock::new();
        let mut said = Vec::new();
        let refused = || Problem::new(StatusCode::FORBIDDEN, "suspended", "forbidden", "suspended").into_response();
        let failure = enrolment.stay(&clock, &mut |event| match event {
            Event::Done(done) => {
                said.push(match done {
                    Done::Enrolled(_) => "enrolled",
                    Done::Renewed(_) => "renewed",
                    Done::NotDue(_) => "not due",
                });
                for _ in 0..200 {
                    server.answer_next(refused());
                }
            }
            Event::Failed(error, wait) => {
                assert!(error.to_string().contains("suspended") && wait >= Duration::from_secs(30) && wait <= Duration::from_secs(4600));
                if said.last() != Some(&"failed") {
                    said.push("failed");
                }
            }
        });
        assert_eq!(said, ["enrolled", "failed"]);
        assert!(matches!(failure, EnrolError::Expired(_)), "{failure:?}");
    });
}

/// Whatever a crash leaves behind, the folder holds a key with its own certificate, and the next run goes on from there.
#[test]
fn a_crash_between_files_leaves_a_pair() {
    story(|server, path| {
        let mut enrolment = enrolment(server, path, these(server));
        let Done::Enrolled(first) = enrolment.run(&TestClock::new()).unwrap() else { panic!("not enrolled") };
        // A key without its certificate, half a link, and a folder that nothing points to.
        let half = path.join("credential-9");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("key.pem"), "half").unwrap();
        symlink("credential-9", path.join(".link")).unwrap();
        fs::remove_file(path.join("cert.pem")).unwrap();
        let loaded = enrolment.folder.load().unwrap().unwrap();
        assert_eq!(loaded.leaf(), Some(&first));
        enrolment.folder.store(&loaded).unwrap();
        assert!(!half.exists());
        assert_eq!(fs::read_link(path.join("current")).unwrap(), Path::new("credential-10"));
        for file in ["key.pem", "cert.pem", "ca.pem"] {
            assert_eq!(fs::read(path.join(file)).unwrap(), fs::read(path.join("credential-10").join(file)).unwrap());
        }
        assert!(matches!(Folder::open(path), Err(FolderError::InUse(_))));
    });
}

/// A folder as `keygate client add` leaves it: renewed in place, and readers find a pair at every step.
#[test]
fn plain_files_are_taken_over() {
    story(|server, path| {
        let mut first = enrolment(server, &path.with_file_name("other"), these(server));
        first.run(&TestClock::new()).unwrap();
        let Credential { key, chain, roots, .. } = first.folder.load().unwrap().unwrap();
        let folder = Folder::open(path).unwrap();
        for (file, content) in [("key.pem", key.expose_pem().unwrap().to_string()), ("cert.pem", chain[0].to_pem().unwrap() + &chain[1].to_pem().unwrap()), ("ca.pem", roots[0].to_pem().unwrap())] {
            crate::data_dir::write_secret(&path.join(file), content.as_bytes()).unwrap();
        }
        drop(folder);
        let clock = TestClock::new();
        clock.pass((due_at(&chain[0]) - clock.now()).unsigned_abs() + Duration::from_secs(1));
        let mut enrolment = enrolment(server, path, Trust::Unstated);
        assert!(matches!(enrolment.run(&clock), Ok(Done::Renewed(_))));
        assert_eq!(fs::read(path.join("credential-1/cert.pem")).unwrap(), fs::read(path.with_file_name("other").join("cert.pem")).unwrap());
        assert!(fs::symlink_metadata(path.join("key.pem")).unwrap().is_symlink());
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        drop(enrolment);
        assert!(matches!(Folder::open(path), Err(FolderError::DataDir(_))));
    });
}

/// A certificate that the server does not let in: the handshake ends, nothing is asked, and the folder is as it was.
#[test]
fn a_refused_certificate_leaves_the_folder_as_it_was() {
    story(|server, path| {
        let clock = TestClock::new();
        enrolment(server, path, these(server)).run(&clock).unwrap();
        clock.pass(Duration::from_secs(7 * 86_400 * 3 / 4));
        story(|other, _| {
            let mut enrolment = enrolment(other, path, these(other));
            let before = enrolment.folder.load().unwrap().unwrap().chain;
            let error = enrolment.run(&clock).unwrap_err();
            assert!(matches!(error, EnrolError::Est(EstClientError::Http(_))), "{error:?}");
            assert_eq!(seen(other), []);
            assert_eq!(enrolment.folder.load().unwrap().unwrap().chain, before);
        });
    });
}

/// A revoked certificate is told from one that is let in, due or not, and from a server that is away. Waiting does not mend it.
#[test]
fn a_revoked_certificate_is_told() {
    story(|server, path| {
        let clock = TestClock::new();
        let mut enrolment = enrolment(server, path, these(server));
        enrolment.check().unwrap();
        let Done::Enrolled(first) = enrolment.run(&clock).unwrap() else { panic!("not enrolled") };
        enrolment.check().unwrap();
        server.revoke();
        assert_eq!(enrolment.run(&clock).unwrap(), Done::NotDue(first.clone()));
        assert!(matches!(enrolment.check(), Err(EnrolError::Revoked(_))));
        clock.pass(Duration::from_secs(7 * 86_400 * 3 / 4));
        assert!(matches!(enrolment.run(&clock), Err(EnrolError::Revoked(_))));
        assert!(matches!(enrolment.stay(&clock, &mut |_| panic!("nothing is done")), EnrolError::Revoked(_)));
        assert_eq!(enrolment.folder.load().unwrap().unwrap().leaf(), Some(&first));
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        enrolment.server = format!("https://localhost:{}", free.port()).parse().unwrap();
        enrolment.check().unwrap();
    });
}

#[test]
fn a_provisioning_key_is_of_one_form() {
    for wrong in ["", "id", "0123456789abcdef.short", "secret"] {
        assert!(ProvisioningKey::new(wrong.as_bytes()).is_err());
    }
}

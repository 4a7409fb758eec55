//! What several test programs share: a clock, and OpenSSL where it is installed.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    cell::Cell,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use keygate_pki::{
    BlockList, Certificate, CertificateRequest, CheckedRequest, DistinguishedName, Draft, Issuer, Locations,
    NewRequest, OffsetDateTime, PrivateKey, RequestPolicy, SignatureAlgorithm, Signer, SubjectAltName, SystemSerials,
    Tier, Window,
};

/// The moment all tests live in.
pub(crate) const NOW: i64 = 1_800_000_000;

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(NOW) };
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(CLOCK.get()).unwrap()
}

/// From here on this test lives today: for tools whose clock cannot be set.
pub(crate) fn live_today() {
    CLOCK.set(OffsetDateTime::now_utc().unix_timestamp());
}

/// A folder of its own for a test, emptied first.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a foreign tool in `folder`. A missing one fails the test, unless `KEYGATE_TEST_SKIP` names it.
pub(crate) fn tool(name: &str, folder: &std::path::Path, arguments: &[&str]) -> Option<Output> {
    let skipped = std::env::var("KEYGATE_TEST_SKIP").unwrap_or_default();
    if skipped.split(',').any(|skipped| skipped == name) {
        eprintln!("left out: {name}");
        return None;
    }
    let output = Command::new(name).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    Some(output.unwrap_or_else(|error| panic!("{name} does not run ({error}); `make test` installs it")))
}

/// What a tool printed, both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
}

impl Ca {
    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer::new(&self.certificate, &self.key).unwrap()
    }
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).unwrap()
}

pub(crate) fn name(text: &str) -> DistinguishedName {
    DistinguishedName::new(Some("Example"), text).unwrap()
}

pub(crate) fn days(days: u32) -> Window {
    Window::days(now(), days).unwrap()
}

pub(crate) fn locations(what: &str) -> Locations {
    let url = |kind: &str| Some(format!("http://pki.example/{kind}/{what}").parse().unwrap());
    Locations { crl: url("crl"), ocsp: url("ocsp"), issuer: url("ca") }
}

pub(crate) fn root(text: &str) -> Ca {
    let key = key();
    let certificate = Issuer::root(&name(text), &key, days(Tier::Root.days()), &mut SystemSerials).unwrap();
    Ca { certificate, key }
}

pub(crate) fn below(parent: &Ca, tier: Tier, subject: &DistinguishedName) -> Ca {
    let key = key();
    let locations = locations("parent");
    let draft = Draft::ca(tier, subject, key.public_key(), days(tier.days()), &locations);
    let certificate = parent.issuer().certify(&draft, &mut SystemSerials).unwrap();
    Ca { certificate, key }
}

/// Root, organisation issuer, and the issuing CA of a provisioning key.
pub(crate) fn hierarchy() -> [Ca; 3] {
    let root = root("Root");
    let name = DistinguishedName::of_organisation_issuer("Example", 1).unwrap();
    let organisation = below(&root, Tier::Organisation, &name);
    let key = below(&organisation, Tier::Key, &DistinguishedName::of_key_issuer("Example", "k7f3", 1).unwrap());
    [root, organisation, key]
}

pub(crate) fn checked(key: &PrivateKey, names: &str) -> CheckedRequest {
    let names = SubjectAltName::parse_list(names).unwrap();
    let der = NewRequest::client(&name("device"), &names).sign(key).unwrap();
    let nothing = BlockList::default();
    let policy = RequestPolicy { blocked: &nothing, is_ca_key: &|_| false, is_key_of_another: &|_| false, names: None };
    CertificateRequest::from_pem_or_der(&der).unwrap().check(&policy).unwrap()
}

/// A client's certificate whose CRL is the shard 7.
pub(crate) fn leaf(issuer: &Ca, window: Window) -> Certificate {
    let request = checked(&key(), "IP: 192.0.2.1, DNS: example.com, IP: 2001:db8::1");
    let (subject, locations) = (name("device"), locations("shard-7"));
    issuer.issuer().certify(&Draft::client(&subject, &request, window, &locations), &mut SystemSerials).unwrap()
}

/// Writes certificates as PEM.
pub(crate) fn write(folder: &std::path::Path, file: &str, certificates: &[&Certificate]) {
    let pems: String = certificates.iter().map(|certificate| certificate.to_pem().unwrap()).collect();
    std::fs::write(folder.join(file), pems).unwrap();
}

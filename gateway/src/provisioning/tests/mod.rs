//! Stories of provisioning over a real store, with a clock that can be turned.

mod authorities;
mod clocks;
mod enrolment;
mod states;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use keygate_pki::provisioning::PresentedSecret;
use keygate_pki::{
    BlockList, Certificate, DistinguishedName, NewRequest, OcspRequest, OffsetDateTime, PrivateKey, SignatureAlgorithm,
    SubjectAltName,
};
use tempfile::TempDir;

use super::*;
use crate::seal::{NewSlot, Openers, Seal};
use crate::store::{Store, StoreOptions};

pub(super) const ORGANISATION: OrganisationId = OrganisationId::DEFAULT;
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A gateway's provisioning in a data directory of its own.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) provisioning: Arc<Provisioning>,
    shift: Arc<AtomicI64>,
}

pub(super) fn admin() -> Deciding {
    Deciding { actor: Actor::LocalUser(0), source: None }
}

pub(super) fn because(reason: &str) -> Reasoned {
    Reasoned { reason: reason.into(), acknowledged: true }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_quotas(CertificateQuotas::default()).await
    }

    pub(super) async fn with_quotas(quotas: CertificateQuotas) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("a new seal");
        let options = StoreOptions { reserve_bytes: 64 << 10, ..StoreOptions::default() };
        let store = Store::create(dir.path(), seal.store_id(), Arc::new(root), options).await.expect("a store");
        Self::over(dir, store, Arc::default(), quotas)
    }

    /// With the service enabled.
    pub(super) async fn enabled() -> Self {
        let world = Self::new().await;
        world.enable(KeyChoice::default()).await;
        world
    }

    pub(super) async fn enable(&self, choice: KeyChoice) {
        let wish = because("we begin");
        self.provisioning.enable_service(&admin(), ORGANISATION, &wish, choice, None).await.expect("enabled");
    }

    pub(super) fn over(dir: TempDir, store: Store, shift: Arc<AtomicI64>, quotas: CertificateQuotas) -> Self {
        let turned = shift.clone();
        let clock = move || OffsetDateTime::now_utc() + time::Duration::seconds(turned.load(Ordering::Relaxed));
        let parts = Parts {
            directory: Arc::new(DirectoryHandle::new(DirectoryContent::from_store(&store))),
            store,
            public_url: "http://pki.example:8080".parse().expect("a URL"),
            other_cas: Vec::new(),
            blocked: BlockList::default(),
            refusals: Arc::default(),
            quotas,
            clock: Arc::new(clock),
        };
        let provisioning = Arc::new(Provisioning::new(parts).expect("provisioning"));
        Self { dir, provisioning, shift }
    }

    /// Closes the store and opens it again, as a restart does.
    pub(super) async fn restarted(self) -> Self {
        match self.provisioning.store.close().await {
            Ok(()) | Err(crate::store::CommitError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
        let Self { dir, shift, .. } = self;
        let store = open(dir.path(), false).await.expect("a store");
        assert!(store.damage().is_empty());
        let world = Self::over(dir, store, shift, CertificateQuotas::default());
        world.provisioning.maintain().await;
        world
    }

    pub(super) fn turn_clock(&self, by: time::Duration) {
        self.shift.fetch_add(by.whole_seconds(), Ordering::Relaxed);
        self.provisioning.put_in_force();
    }

    pub(super) async fn key(&self, name: &str) -> (Arc<Key>, PresentedSecret) {
        let wish = NewKeyRequest { name: name.into(), ..NewKeyRequest::default() };
        self.key_like(wish).await
    }

    pub(super) async fn key_like(&self, wish: NewKeyRequest) -> (Arc<Key>, PresentedSecret) {
        let made = self.provisioning.create_key(&admin(), ORGANISATION, &wish).await.expect("created");
        (made.key, PresentedSecret::from_pair(&made.secret).expect("a pair"))
    }

    pub(super) async fn enrol(&self, secret: &PresentedSecret, request: &[u8]) -> Result<Enrolled, EnrolRefusal> {
        let asked = EnrolRequest { secret, organisation: None, source: HERE, request, names: &[], make_key: false };
        self.provisioning.enrol(&asked).await
    }

    pub(super) async fn renew(&self, present: &Certificate, request: &[u8]) -> Result<Enrolled, EnrolRefusal> {
        let asked = Renewing { certificate: present.der(), organisation: None, source: HERE, request: Some(request), keep_names: false, same_key: None };
        self.provisioning.renew(&asked).await
    }

    /// Whether our own listeners let the certificate in now.
    pub(super) fn connects(&self, certificate: &Certificate) -> bool {
        let now = self.provisioning.now().unix_timestamp().unsigned_abs();
        let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let der = rustls_pki_types::CertificateDer::from(certificate.der().to_vec());
        self.provisioning.directory.load().identify(&[der], now).is_ok()
    }

    /// The whole CRL of the authority that signed `certificate`, and of the one above: serial numbers and reasons.
    pub(super) fn listed(&self, authority: EntryId, shard: Option<u32>) -> Vec<(Vec<u8>, Option<u8>)> {
        let published = self.provisioning.published();
        let file = published.lists.get(&(authority, shard)).expect("a list");
        serials(&file.body)
    }

    /// What OCSP says of a certificate.
    pub(super) async fn ocsp(&self, issuer: &Certificate, certificate: &Certificate) -> Said {
        let request = ocsp_request(issuer, certificate);
        let answer = self.provisioning.ocsp(&OcspRequest::from_der(&request).expect("a request")).await;
        said(&answer, certificate.serial())
    }
}

/// Opens the store of a data directory; `accept`: as it is found.
pub(super) async fn open(dir: &std::path::Path, accept: bool) -> Result<Store, crate::store::OpenError> {
    let seal = Seal::load(dir).expect("a seal");
    let root = Arc::new(seal.unlock(&Openers::default()).expect("unlocked"));
    let options = StoreOptions { reserve_bytes: 64 << 10, accept, ..StoreOptions::default() };
    Store::open(dir, seal.store_id(), root, options).await
}

/// Serial numbers and reasons of a CRL.
pub(super) fn serials(der: &[u8]) -> Vec<(Vec<u8>, Option<u8>)> {
    use der::Decode;
    use x509_cert::crl::CertificateList;
    let list: CertificateList = CertificateList::from_der(der).expect("a CRL");
    let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    let reason = |entry: &x509_cert::crl::RevokedCert| {
        let extensions = entry.crl_entry_extensions.as_ref()?;
        extensions.first().and_then(|extension| extension.extn_value.as_bytes().last().copied())
    };
    entries.iter().map(|entry| (entry.serial_number.as_bytes().to_vec(), reason(entry))).collect()
}

/// RFC 6960 §4.1.1, by hand: one certificate by SHA-1 of its issuer.
fn ocsp_request(issuer: &Certificate, certificate: &Certificate) -> Vec<u8> {
    let ids = keygate_pki::IssuerIds::of(issuer).expect("ids");
    let (name, key) = ids.sha1();
    let der = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u8::try_from(body.len()).expect("short");
        let length = if length < 128 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &length, &body].concat()
    };
    let sha1 = der(0x30, &[&[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00]]);
    let id = der(0x30, &[&sha1, &der(4, &[name]), &der(4, &[key]), &der(2, &[certificate.serial()])]);
    der(0x30, &[&der(0x30, &[&der(0x30, &[&der(0x30, &[&id])])])])
}

/// What an OCSP answer says of its one certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Good,
    Revoked,
    Unknown,
    Failure(u8),
}

/// The status stands behind the CertID, which ends with the serial number: [0] good, [1] revoked, [2] unknown.
fn said(answer: &[u8], serial: &[u8]) -> Said {
    if answer.len() == 5 {
        return Said::Failure(answer[4]);
    }
    let at = answer.windows(serial.len()).position(|octets| octets == serial).expect("the serial number");
    match answer[at + serial.len()] {
        0x80 => Said::Good,
        0xa1 => Said::Revoked,
        0x82 => Said::Unknown,
        other => panic!("status {other:#x}"),
    }
}

/// A key and a request for `name`.
pub(super) fn request(name: &str) -> (PrivateKey, Vec<u8>) {
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let request = request_of(&key, name, &[]);
    (key, request)
}

pub(super) fn request_of(key: &PrivateKey, name: &str, names: &[SubjectAltName]) -> Vec<u8> {
    let subject = DistinguishedName::new(None, name).expect("a name");
    NewRequest::client(&subject, names).sign(key).expect("a request")
}

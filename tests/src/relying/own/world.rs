//! The certificates and lists of a test's own PKI, and the answers of the server that publishes them.

use std::collections::HashMap;
use std::sync::Arc;

use keygate_pki::{
    BlockList, Certificate, CertificateRequest, CrlScope, CrlTimes, DistinguishedName, Draft, HttpUrl, Issuer,
    Locations, NewCrl, NewRequest, OcspFailure, OcspRequest, OcspResponder, OcspTimes, OffsetDateTime, PkiError,
    PrivateKey, Reason, RequestPolicy, RevokedList, SignatureAlgorithm, Signer as _, Status, SubjectAltName,
    SystemSerials, Tier, Window,
};
use time::Duration;

use crate::relying::Device;
use crate::web::{Request, Response};

/// A CA and its key.
pub struct Ca {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: Arc<PrivateKey>,
}

impl Ca {
    /// For signing.
    ///
    /// # Errors
    /// Never in practice: the two belong together.
    pub fn issuer(&self) -> Result<Issuer<'_>, PkiError> {
        Issuer::new(&self.certificate, &*self.key)
    }
}

/// What is made and what is known of it.
pub struct World {
    /// Top of the hierarchy.
    pub root: Ca,
    /// The organisation's issuer, which lists the key's CA certificates.
    pub organisation: Ca,
    /// The provisioning key's CA with its newest certificate.
    pub key: Ca,
    /// Every certificate of the provisioning key's CA.
    pub key_certificates: Vec<Certificate>,
    /// The delegated responder for clients' certificates.
    pub responder: Ca,
    pub(super) listed_keys: Vec<(Certificate, Reason)>,
    pub(super) listed_clients: Vec<(Certificate, Reason)>,
    number: u64,
    base: HttpUrl,
    pub(super) published: HashMap<String, Vec<u8>>,
}

impl World {
    pub(super) fn make(algorithm: SignatureAlgorithm, base: HttpUrl) -> Result<Self, PkiError> {
        let now = OffsetDateTime::now_utc();
        let key = || PrivateKey::generate(algorithm);
        let root_key = key()?;
        let window = |tier: Tier| Window::days(now, tier.days());
        let root_name = DistinguishedName::new(Some("Example"), "Root")?;
        let certificate = Issuer::root(&root_name, &root_key, window(Tier::Root)?, &mut SystemSerials)?;
        let root = Ca { certificate, key: root_key.into() };
        let below =
            |parent: &Ca, tier: Tier, name: &DistinguishedName, list: &str, issuer: &str| -> Result<Ca, PkiError> {
                let (key, locations) = (key()?, locations(&base, list, issuer));
                let draft = Draft::ca(tier, name, key.public_key(), window(tier)?, &locations);
                let certificate = parent.issuer()?.certify(&draft, &mut SystemSerials)?;
                Ok(Ca { certificate, key: key.into() })
            };
        let name = DistinguishedName::of_organisation_issuer("Example", 1)?;
        let organisation = below(&root, Tier::Organisation, &name, "root", "root")?;
        let name = DistinguishedName::of_key_issuer("Example", "0123456789abcdef", 1)?;
        let key_ca = below(&organisation, Tier::Key, &name, "organisation", "organisation")?;
        let responder_key = key()?;
        let subject = DistinguishedName::new(Some("Example"), "OCSP")?;
        let draft = Draft::ocsp_responder(&subject, responder_key.public_key(), Window::days(now, 30)?);
        let certificate = key_ca.issuer()?.certify(&draft, &mut SystemSerials)?;
        let mut world = Self {
            root,
            organisation,
            key_certificates: vec![key_ca.certificate.clone()],
            key: key_ca,
            responder: Ca { certificate, key: responder_key.into() },
            listed_keys: Vec::new(),
            listed_clients: Vec::new(),
            number: 0,
            base,
            published: HashMap::new(),
        };
        world.publish()?;
        Ok(world)
    }

    /// The addresses of a client's certificate.
    #[must_use]
    pub fn client_locations(&self) -> Locations {
        locations(&self.base, "shard", "key")
    }

    /// Lists the CA certificates at these places, and no others, as revoked: the trap that
    /// `Act::RevokeKey` does not fall into.
    ///
    /// # Errors
    /// If a list cannot be signed.
    pub fn revoke_only(&mut self, places: &[usize]) -> Result<(), PkiError> {
        let chosen = places.iter().filter_map(|place| self.key_certificates.get(*place));
        self.listed_keys = chosen.map(|certificate| (certificate.clone(), Reason::CaCompromise)).collect();
        self.publish()
    }

    /// Issues for a request: what an enrolment protocol does behind its messages.
    ///
    /// # Errors
    /// If the request is refused.
    pub fn issue(&self, csr: &[u8]) -> Result<Certificate, String> {
        let nothing = BlockList::default();
        let policy =
            RequestPolicy { blocked: &nothing, is_ca_key: &|_| false, is_key_of_another: &|_| false, names: None };
        let request = CertificateRequest::from_pem_or_der(csr).and_then(|request| request.check(&policy));
        let request = request.map_err(|error| causes(&error))?;
        let subject = DistinguishedName::new(Some("Example"), request.common_name().unwrap_or("device"));
        let window = Window::days(OffsetDateTime::now_utc(), 7);
        let locations = self.client_locations();
        let certify = |subject: DistinguishedName, window: Window| {
            self.key.issuer()?.certify(&Draft::client(&subject, &request, window, &locations), &mut SystemSerials)
        };
        subject.and_then(|subject| certify(subject, window?)).map_err(|error| error.to_string())
    }

    pub(super) fn enrol(&self, name: &str) -> Result<Device, PkiError> {
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
        let names = [SubjectAltName::parse("192.0.2.1")?, SubjectAltName::parse("device.example")?];
        let csr = NewRequest::client(&DistinguishedName::new(Some("Example"), name)?, &names).sign(&key)?;
        let issued = self.issue(&csr).map_err(|_| PkiError::Issuer("it refused its own request"))?;
        let chain = [&issued, &self.key.certificate, &self.organisation.certificate];
        let chain = chain.iter().map(|certificate| certificate.to_pem()).collect::<Result<_, _>>()?;
        Ok(Device { chain, key: key.expose_pem()?.to_string() })
    }

    pub(super) fn renew_key_ca(&mut self) -> Result<(), PkiError> {
        let window = Window::days(OffsetDateTime::now_utc(), Tier::Key.days() + 1)?;
        let locations = locations(&self.base, "organisation", "organisation");
        let renewed =
            self.organisation.issuer()?.renew(&self.key.certificate, window, &locations, &mut SystemSerials)?;
        self.key_certificates.push(renewed.clone());
        self.key.certificate = renewed;
        Ok(())
    }

    /// Signs every list anew.
    pub(super) fn publish(&mut self) -> Result<(), PkiError> {
        self.number += 1;
        let now = OffsetDateTime::now_utc();
        let times = CrlTimes::new(now, now + Duration::DAY)?;
        let shard = self.base.join("crl/shard.crl").map_err(|_| PkiError::Issuer("no address for the shard"))?;
        let listed = |certificates: &[(Certificate, Reason)]| -> Result<RevokedList, PkiError> {
            let mut list = RevokedList::default();
            for (certificate, reason) in certificates {
                list.push(certificate.serial(), now, *reason)?;
            }
            Ok(list)
        };
        let (nothing, keys, clients) =
            (RevokedList::default(), listed(&self.listed_keys)?, listed(&self.listed_clients)?);
        for (path, ca, scope, revoked) in [
            ("/crl/root.crl", &self.root, CrlScope::All, &nothing),
            ("/crl/organisation.crl", &self.organisation, CrlScope::All, &keys),
            ("/crl/key.crl", &self.key, CrlScope::All, &clients),
            ("/crl/shard.crl", &self.key, CrlScope::Shard(&shard), &clients),
        ] {
            let list = ca.issuer()?.crl(&NewCrl { scope, number: self.number, times, revoked })?;
            self.published.insert(path.to_owned(), list.into_der());
        }
        for (path, ca) in
            [("/ca/root.cer", &self.root), ("/ca/organisation.cer", &self.organisation), ("/ca/key.cer", &self.key)]
        {
            self.published.insert(path.to_owned(), ca.certificate.der().to_vec());
        }
        Ok(())
    }

    pub(super) fn answer(&self, request: &Request) -> Response {
        if let Some(path) = request.path.strip_prefix("/ocsp") {
            let asked = match request.method.as_str() {
                "POST" => OcspRequest::from_der(&request.body),
                _ => OcspRequest::from_get_path(path.trim_start_matches('/')),
            };
            let answer = match asked {
                Ok(asked) => self.respond(&asked).unwrap_or_else(|_| OcspFailure::InternalError.response()),
                Err(error) => error.failure().response(),
            };
            return Response::ok("application/ocsp-response", answer);
        }
        let kind = if request.path.ends_with(".crl") { "application/pkix-crl" } else { "application/pkix-cert" };
        self.published.get(&request.path).map_or(Response::status(404), |der| Response::ok(kind, der.clone()))
    }

    /// The answer to an OCSP request, from the same state as the lists.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn respond(&self, request: &OcspRequest) -> Result<Vec<u8>, PkiError> {
        let at = OffsetDateTime::now_utc();
        let times = OcspTimes::new(at, at, at + Duration::HOUR)?;
        let responder =
            OcspResponder::delegated(&self.key.certificate, self.responder.certificate.clone(), self.responder.key.clone())?;
        responder.respond(request, times, |serial| {
            let client = self.listed_clients.iter().find(|(listed, _)| listed.serial() == serial);
            match client.or(self.listed_keys.first()) {
                Some((_, reason)) => Status::Revoked { at, reason: *reason },
                None => Status::Good,
            }
        })
    }
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", causes(source)));
    format!("{error}{}", source.unwrap_or_default())
}

fn locations(base: &HttpUrl, list: &str, issuer: &str) -> Locations {
    let url = |path: String| base.join(&path).ok();
    Locations {
        crl: url(format!("crl/{list}.crl")),
        ocsp: url("ocsp".to_owned()),
        issuer: url(format!("ca/{issuer}.cer")),
    }
}

//! `keygate enrol`: a client machine gets a certificate with a provisioning key, and renews it in time.
//!
//! EST (RFC 7030) over one HTTPS server: the key pair is made here and never leaves; the provisioning key is sent once, after the
//! server is verified, and wiped; renewals are asked for over mutual TLS with the certificate at hand. Leaves to others: what the
//! arguments are called ([`crate::cli`]), HTTP ([`crate::http_client`]).
//!
//! Clock and waits are passed in.

mod due;
mod est;
mod folder;
#[cfg(test)]
mod tests;
mod trust;

use std::{path::PathBuf, time::Duration};

use der::Decode as _;
use keygate_pki::{
    Certificate, DistinguishedName, Fingerprint, NewRequest, OffsetDateTime, PkiError, PrivateKey, SignatureAlgorithm, Signer as _,
    SubjectAltName,
};

use self::est::{ANSWER_BYTES_MAX, EstClient, Outcome};
use crate::http_client::{HttpClient, HttpClientParts, Route, ServerUrl};

pub use due::{due_at, retry_in};
pub use est::{EstClientError, ProvisioningKey};
pub(crate) use folder::certificates;
pub use folder::{Credential, Folder, FolderError};
pub use trust::Trust;

/// Most certificates of a chain that is put together.
const CHAIN_MAX: usize = 8;
/// Longest sleep of [`Enrolment::stay`] at a time: a machine that was suspended, or whose clock was set, notices soon.
const NAP: Duration = Duration::from_secs(600);

/// What is to be enrolled, and where.
pub struct Enrolment {
    /// The server.
    pub server: ServerUrl,
    /// How it is reached.
    pub route: Route,
    /// How it is verified.
    pub trust: Trust,
    /// Where the credential is kept.
    pub folder: Folder,
    /// Common name asked for; without one, that of the certificate at hand.
    pub name: Option<DistinguishedName>,
    /// DNS names and addresses asked for; without them and without a name, those of the certificate at hand.
    pub names: Option<Vec<SubjectAltName>>,
    /// Common name asked for where nothing else says one: this machine's.
    pub host: DistinguishedName,
    /// Kind of a new key; without one, P-256, or at a renewal that of the key before.
    pub key_type: Option<SignatureAlgorithm>,
    /// Whether a renewal keeps its key.
    pub keep_key: bool,
    /// Whether to enrol where there is a certificate already.
    pub force: bool,
    /// The provisioning key, until it was used.
    pub provisioning_key: Option<ProvisioningKey>,
    /// How long to wait in all for a server that wants to be asked again (202).
    pub wait: Duration,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A first certificate, or one that does not follow from the one before.
    Enrolled(Certificate),
    /// The next certificate of the same machine.
    Renewed(Certificate),
    /// The certificate at hand is not due yet.
    NotDue(Certificate),
}

impl Done {
    /// The certificate in place now.
    pub fn certificate(&self) -> &Certificate {
        match self {
            Self::Enrolled(certificate) | Self::Renewed(certificate) | Self::NotDue(certificate) => certificate,
        }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The server, or the way to it.
    #[error(transparent)]
    Est(#[from] EstClientError),
    /// The server does not have the root it was said to have.
    #[error("{server} has no CA certificate with SHA-256 {wanted}: nothing was sent to it\nhint: compare the fingerprint with the administrator's")]
    Fingerprint {
        /// The server.
        server: ServerUrl,
        /// What it was to have.
        wanted: Fingerprint,
    },
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A request cannot be made.
    #[error("the request cannot be made")]
    Request(#[source] PkiError),
    /// The server answered with certificates of others, or of no use.
    #[error("the server's answer is of no use: {0}")]
    Answer(&'static str),
    /// Somebody has to agree, and has not in time.
    #[error("the server has not decided yet; it wants to be asked again in {} s\nhint: run the command again then, or let it wait longer with --wait", after.as_secs())]
    Pending {
        /// When it wants to be asked again.
        after: Duration,
    },
    /// A first enrolment without a provisioning key.
    #[error("{0} has no certificate, and no provisioning key is given\nhint: --key-file, --key-stdin, or the variable KEYGATE_PROVISIONING_KEY")]
    NoKey(PathBuf),
    /// The server does not let the certificate at hand in any more: it, or its provisioning key, was revoked.
    #[error("the certificate in {0} is revoked, and is not renewed\nhint: enrol anew with --force and a provisioning key")]
    Revoked(PathBuf),
    /// Too late to renew.
    #[error("the certificate in {0} has expired and cannot be renewed\nhint: enrol again with a provisioning key")]
    Expired(PathBuf),
}

impl EnrolError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Est(error) => error.is_transient(),
            Self::Pending { .. } => true,
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Est(EstClientError::Unavailable { after, .. }) => *after,
            Self::Pending { after } => Some(*after),
            _ => None,
        }
    }
}

/// The time, and waiting for it to pass.
pub trait Clock {
    /// The time.
    fn now(&self) -> OffsetDateTime;
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// What happened to an [`Enrolment`] that stays.
pub enum Event<'a> {
    /// Something was done.
    Done(&'a Done),
    /// An attempt failed; the next one follows after the wait.
    Failed(&'a EnrolError, Duration),
}

impl Enrolment {
    /// Enrols, or renews where the certificate at hand is due.
    ///
    /// # Errors
    /// Why there is no new certificate; the one at hand, if any, is untouched.
    pub fn run(&mut self, clock: &dyn Clock) -> Result<Done, EnrolError> {
        let stored = match self.folder.load() {
            // What is to be replaced need not be whole.
            Err(_) if self.force => None,
            loaded => loaded?,
        };
        let now = clock.now();
        let done = match stored.as_ref().and_then(|stored| Some((stored, stored.leaf()?))) {
            Some((stored, leaf)) if !self.force && now <= leaf.not_after() => {
                if now < due_at(leaf) {
                    Done::NotDue(leaf.clone())
                } else {
                    Done::Renewed(self.renew(stored, leaf, clock)?)
                }
            }
            Some(_) if !self.force && self.provisioning_key.is_none() => return Err(EnrolError::Expired(self.folder.path().to_owned())),
            _ => Done::Enrolled(self.enrol(stored.as_ref(), clock)?),
        };
        // Used, or not needed: dropping wipes it. A further --force would need it again, and is not meant to happen by itself.
        self.provisioning_key = None;
        self.force = false;
        Ok(done)
    }

    /// Enrols, and then renews in time for as long as the process lives. Returns only what no waiting can mend: a first enrolment
    /// that is refused, or a certificate that has expired before it could be renewed.
    pub fn stay(&mut self, clock: &dyn Clock, report: &mut dyn FnMut(Event<'_>)) -> EnrolError {
        let mut failures = 0;
        let mut reported: Option<Fingerprint> = None;
        loop {
            match self.run(clock) {
                Ok(done) => {
                    failures = 0;
                    let certificate = done.certificate();
                    if reported.replace(certificate.fingerprint()) != Some(certificate.fingerprint()) {
                        report(Event::Done(&done));
                    }
                    let left = (due_at(certificate) - clock.now()).unsigned_abs();
                    clock.sleep(left.clamp(Duration::from_secs(1), NAP));
                }
                // While a certificate is good, even a refusal may be lifted: a suspended key is one that comes back.
                Err(error) if error.is_transient() || (self.has_valid(clock.now()) && matches!(error, EnrolError::Est(_))) => {
                    failures += 1;
                    let spread = self.folder.path().as_os_str().len() as u8 ^ (clock.now().nanosecond() >> 8) as u8;
                    let wait = retry_in(failures, spread, error.retry_after());
                    report(Event::Failed(&error, wait));
                    clock.sleep(wait);
                }
                Err(error) => return error,
            }
        }
    }

    /// Asks the server whether it still lets the certificate at hand in. One that cannot be asked has said nothing against it.
    ///
    /// # Errors
    /// [`EnrolError::Revoked`], and what keeps the folder from being read.
    pub fn check(&self) -> Result<(), EnrolError> {
        let Some(stored) = self.folder.load()? else { return Ok(()) };
        match self.connect(Some(&stored), Some(&stored)).and_then(|(est, _)| Ok(est.ca_certificates()?)) {
            Err(error) => match self.told(error) {
                revoked @ EnrolError::Revoked(_) => Err(revoked),
                _ => Ok(()),
            },
            Ok(_) => Ok(()),
        }
    }

    /// RFC 8446 §6.2: certificate_revoked, "A certificate was revoked by its signer", is said of nothing but our own certificate.
    fn told(&self, error: EnrolError) -> EnrolError {
        match error {
            EnrolError::Est(EstClientError::Http(error)) if error.is_revoked() => EnrolError::Revoked(self.folder.path().to_owned()),
            other => other,
        }
    }

    fn has_valid(&self, now: OffsetDateTime) -> bool {
        let stored = self.folder.load().ok().flatten();
        stored.is_some_and(|stored| stored.leaf().is_some_and(|leaf| leaf.is_valid_at(now)))
    }

    fn enrol(&self, stored: Option<&Credential>, clock: &dyn Clock) -> Result<Certificate, EnrolError> {
        let key = self.provisioning_key.as_ref().ok_or_else(|| EnrolError::NoKey(self.folder.path().to_owned()))?;
        let pair = PrivateKey::generate(self.key_type.unwrap_or(SignatureAlgorithm::EcdsaP256Sha256)).map_err(EnrolError::Request)?;
        let present = stored.and_then(Credential::leaf);
        let kept = present.and_then(|leaf| DistinguishedName::new(None, &leaf.common_name()?).ok());
        let name = self.name.as_ref().or(kept.as_ref()).unwrap_or(&self.host);
        let names = match (&self.names, &self.name, present) {
            (Some(names), ..) => names.clone(),
            (None, None, Some(leaf)) => leaf.subject_alt_names(),
            (None, ..) => Vec::new(),
        };
        let request = NewRequest::client(name, &names).sign(&pair).map_err(EnrolError::Request)?;
        self.obtain(pair, None, stored, clock, |est| est.enrol(&request, key))
    }

    /// RFC 7030 §4.2.2: the subject and the alternative names "MUST be identical to the corresponding fields in the certificate being
    /// renewed/rekeyed".
    fn renew(&self, stored: &Credential, leaf: &Certificate, clock: &dyn Clock) -> Result<Certificate, EnrolError> {
        let kind = self.key_type.unwrap_or_else(|| stored.key.algorithm());
        let pair = if self.keep_key { PrivateKey::from_pkcs8(stored.key.expose_pkcs8()) } else { PrivateKey::generate(kind) };
        let pair = pair.map_err(EnrolError::Request)?;
        let parsed = x509_cert::Certificate::from_der(leaf.der());
        let parsed = parsed.map_err(|source| EnrolError::Request(PkiError::Der { what: "certificate", source }))?;
        let subject = DistinguishedName::from(parsed.tbs_certificate().subject().clone());
        let names = leaf.subject_alt_names();
        let request = NewRequest::client(&subject, &names).sign(&pair).map_err(EnrolError::Request)?;
        self.obtain(pair, Some(stored), Some(stored), clock, |est| est.renew(&request))
    }

    /// Connects as `identity`, asks until there is an answer, and stores what it brings.
    fn obtain(
        &self,
        pair: PrivateKey,
        identity: Option<&Credential>,
        stored: Option<&Credential>,
        clock: &dyn Clock,
        ask: impl Fn(&EstClient) -> Result<Outcome, EstClientError>,
    ) -> Result<Certificate, EnrolError> {
        let (est, trusted) = self.connect(identity, stored)?;
        // Over the verified connection, and first: nothing secret was sent where this fails.
        let authorities = est.ca_certificates().map_err(|error| self.told(error.into()))?;
        let issued = self.wait_for(clock, || ask(&est)).map_err(|error| self.told(error))?;
        let chain = chain(&pair, &issued, &authorities, clock.now())?;
        let system_trust = trusted.is_empty();
        let roots = if system_trust { self_signed(&authorities) } else { trusted };
        let leaf = chain.first().cloned().ok_or(EnrolError::Answer("it has no certificate for our key"))?;
        self.folder.store(&Credential { key: pair, chain, roots, system_trust })?;
        Ok(leaf)
    }

    /// A client that shows `identity`, and the certificates that the server is verified by; none: the system's.
    fn connect(&self, identity: Option<&Credential>, stored: Option<&Credential>) -> Result<(EstClient, Vec<Certificate>), EnrolError> {
        let settled = self.trust.settle(&self.server, &self.route, stored)?;
        let client = HttpClient::new(HttpClientParts {
            server: self.server.clone(),
            roots: settled.roots,
            identity: identity.map(|credential| (credential.chain.as_slice(), &credential.key)),
            route: self.route.clone(),
            answer_bytes_max: ANSWER_BYTES_MAX,
        })?;
        Ok((EstClient(client), settled.certificates))
    }

    fn wait_for(&self, clock: &dyn Clock, ask: impl Fn() -> Result<Outcome, EstClientError>) -> Result<Vec<Certificate>, EnrolError> {
        let mut left = self.wait;
        loop {
            match ask()? {
                Outcome::Issued(certificates) => return Ok(certificates),
                Outcome::Pending(after) if after <= left => {
                    clock.sleep(after);
                    left -= after;
                }
                Outcome::Pending(after) => return Err(EnrolError::Pending { after }),
            }
        }
    }
}

/// The certificate of our key and what leads up to, but not including, a root. The answer is a set: its order says nothing
/// (RFC 5652 §10.2.3), and the intermediates may be among the server's CA certificates only.
fn chain(key: &PrivateKey, issued: &[Certificate], authorities: &[Certificate], now: OffsetDateTime) -> Result<Vec<Certificate>, EnrolError> {
    let public = key.public_key().spki_hash();
    let leaf = issued.iter().find(|certificate| certificate.spki_hash() == public && !certificate.is_ca());
    let leaf = leaf.ok_or(EnrolError::Answer("it has no certificate for our key"))?;
    if leaf.not_after() <= now {
        return Err(EnrolError::Answer("its certificate has expired already"));
    }
    let mut chain = vec![leaf.clone()];
    while let Some(last) = chain.last().filter(|_| chain.len() < CHAIN_MAX) {
        let above = issued.iter().chain(authorities).find(|above| {
            above.is_ca() && above.subject() != above.issuer() && !chain.contains(above) && last.verify_issued_by(above).is_ok()
        });
        match above {
            Some(above) => chain.push(above.clone()),
            None => break,
        }
    }
    Ok(chain)
}

/// RFC 7030 §4.1.1: CA certificates received over a verified connection become the explicit trust anchors.
fn self_signed(authorities: &[Certificate]) -> Vec<Certificate> {
    authorities.iter().filter(|certificate| certificate.is_ca() && certificate.subject() == certificate.issuer()).cloned().collect()
}

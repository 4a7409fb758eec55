//! Issuing: a client with the secret of a provisioning key gets its first certificate, a client with a certificate the next one.
//!
//! The path of every protocol: who asks is checked here, once; EST, the JSON API and those to come bring bytes and take bytes.

use std::{net::IpAddr, sync::Arc, time::Instant};

use keygate_pki::{
    COMMON_NAME_CHARS_MAX, Certificate, CertificateRequest, CheckedRequest, DistinguishedName, Draft,
    PrivateKey, RequestError, RequestPolicy, SHARD_SERIALS_MAX, SignatureAlgorithm, SpkiHash, SubjectAltName,
    Window,
    provisioning::{EffectiveState, PresentedSecret, SecretHash},
};

use super::{
    Deciding, EnrolRefusal, Key, Provisioning, ProvisioningError, authority::LoadedAuthority, expect, snapshot::Snapshot,
};
use crate::{
    audit::{Action, Actor, Details},
    store::{
        Blob, Change, ClientId, Commit, CommitError, EntryId, EntryKind, IssuedCertificate, IssuedFacts, OrganisationId, Serial,
        StoredTier,
    },
};

/// When a suspended or disabled client may ask again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(300);
/// Attempts at a commit that loses against changes of states.
const ATTEMPTS: usize = 4;

/// A client asks for its first certificate.
pub struct EnrolRequest<'a> {
    /// Id and secret of a provisioning key.
    pub secret: &'a PresentedSecret,
    /// The organisation that is addressed, where one is: a key of another one is not accepted.
    pub organisation: Option<OrganisationId>,
    /// From where.
    pub source: IpAddr,
    /// PKCS#10, PEM or DER.
    pub request: &'a [u8],
    /// Names beside those in the request.
    pub names: &'a [SubjectAltName],
    /// Make the key here (RFC 7030 §4.4): the request only carries names.
    pub make_key: bool,
}

/// A client asks for its next certificate, over a connection that it authenticated with the present one.
pub struct Renewing<'a> {
    /// The present certificate, DER.
    pub certificate: &'a [u8],
    /// The organisation that is addressed, where one is: a certificate of another one is not accepted.
    pub organisation: Option<OrganisationId>,
    /// From where.
    pub source: IpAddr,
    /// PKCS#10, PEM or DER; `None`: the same key and names again, whose possession the connection proved.
    pub request: Option<&'a [u8]>,
    /// Names that the request leaves out are those of the present certificate.
    pub keep_names: bool,
    /// Whether the key must be the present one (`Some(true)`), must be another (`Some(false)`), or may be either.
    pub same_key: Option<bool>,
}

/// A certificate that was issued.
pub struct Enrolled {
    /// The client.
    pub client: ClientId,
    /// Its certificate.
    pub certificate: Certificate,
    /// The CAs above it, without the root.
    pub chain: Arc<[Certificate]>,
    /// The key, where it was made here.
    pub key: Option<PrivateKey>,
}

/// What is to be issued for whom.
struct Issue<'a> {
    key: Arc<Key>,
    /// Other keys whose states it was decided by: of a renewal, the line of successors.
    decided_by: &'a [Arc<Key>],
    request: &'a CheckedRequest,
    client: ClientId,
    /// The certificate it renews: row id, serial number, version.
    renews: Option<(EntryId, Serial, u64)>,
    by: Deciding,
}

impl Provisioning {
    /// Issues a client's first certificate.
    pub async fn enrol(&self, asked: &EnrolRequest<'_>) -> Result<Enrolled, EnrolRefusal> {
        let key = self.authenticate(asked.secret, asked.source)?;
        let id = key.row.id;
        if asked.organisation.is_some_and(|addressed| addressed != key.row.organisation) {
            self.note_refusal(&EnrolRefusal::Unauthorised, Some(id), asked.source);
            return Err(EnrolRefusal::Unauthorised);
        }
        let done = self.enrol_with(key, asked).await;
        if let Err(refusal) = &done {
            self.note_refusal(refusal, Some(id), asked.source);
        }
        done
    }

    /// Issues a client's next certificate.
    pub async fn renew(&self, asked: &Renewing<'_>) -> Result<Enrolled, EnrolRefusal> {
        let done = self.renew_from(asked).await;
        if let Err(refusal) = &done {
            self.note_refusal(refusal, None, asked.source);
        }
        done
    }

    /// Checks id and secret. The answer takes as long for an id that does not exist.
    pub fn authenticate(&self, secret: &PresentedSecret, source: IpAddr) -> Result<Arc<Key>, EnrolRefusal> {
        let now = Instant::now();
        if let Some(retry_after) = self.throttle.wait(source, secret.id(), now) {
            self.refusals.note_as(Action::CertificateRefused, "throttled", None, source);
            return Err(EnrolRefusal::Throttled { retry_after });
        }
        let snapshot = self.snapshot();
        let key = snapshot.key_by_public_id(secret.id());
        let is_right = secret.is(key.map_or(&SecretHash::ABSENT, |key| &key.hash));
        match key.filter(|key| is_right && key.state.takes_a_place()) {
            Some(key) => {
                self.throttle.right(source, secret.id());
                Ok(key.clone())
            }
            None => {
                // The right secret of a revoked key is no guess.
                if !is_right {
                    self.throttle.count(source, secret.id(), now);
                }
                self.refusals.note_as(Action::CertificateRefused, "not accepted", None, source);
                Err(EnrolRefusal::Unauthorised)
            }
        }
    }

    async fn enrol_with(&self, key: Arc<Key>, asked: &EnrolRequest<'_>) -> Result<Enrolled, EnrolRefusal> {
        check_state(key.effective)?;
        // Before any work: asked again with what is true when it is issued.
        key.limits.admit(self.now(), self.uses(&key), asked.source)?;
        let request = CertificateRequest::from_pem_or_der(asked.request)?.with_names(asked.names)?;
        let again = if asked.make_key { None } else { self.same_client(&key, &request).await? };
        // A request for a key made here carries names only; its own key is thrown away.
        let key_counts = !asked.make_key && again.is_none();
        let checked = self.check(&key, request, |hash| {
            key_counts && self.store.with_issued(|index| index.other_client(&hash.0, None).is_some())
        })?;
        let (checked, made) = if asked.make_key {
            let made = generate(&checked).await?;
            (checked.with_generated_key(&made), Some(made))
        } else {
            (checked, None)
        };
        let by = Deciding { actor: Actor::ProvisioningKey(key.row.id), source: Some(asked.source) };
        let client = again.unwrap_or_else(ClientId::generate);
        let mut issue = Issue { key, decided_by: &[], request: &checked, client, renews: None, by };
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot();
            // Revoked meanwhile, or changed: what is true now decides.
            issue.key = snapshot.keys.get(&issue.key.row.id).cloned().ok_or(EnrolRefusal::Unauthorised)?;
            check_state(issue.key.effective)?;
            issue.key.limits.admit(self.now(), self.uses(&issue.key), asked.source)?;
            if let Some(done) = self.issue(&snapshot, &issue).await? {
                return Ok(Enrolled { key: made, ..done });
            }
        }
        Err(EnrolRefusal::unavailable(ProvisioningError::Changed))
    }

    /// How many clients enrolled with a key, those whose rows were cleared away among them.
    pub fn uses(&self, key: &Key) -> u64 {
        key.row.uses_cleared + self.store.with_issued(|index| index.enrolled(key.row.id))
    }

    async fn renew_from(&self, asked: &Renewing<'_>) -> Result<Enrolled, EnrolRefusal> {
        let present = Certificate::from_der(asked.certificate).map_err(|_| EnrolRefusal::Unauthorised)?;
        let serial = Serial::new(present.serial()).ok_or(EnrolRefusal::Unauthorised)?;
        let sha256 = present.fingerprint().0;
        // Who asks comes first: a stranger learns nothing of what would be wrong with the request.
        self.renewable(&serial, &sha256, asked.organisation)?;
        let mut request = match asked.request {
            Some(request) => CertificateRequest::from_pem_or_der(request)?,
            None => CertificateRequest::of_certificate(&present)?,
        };
        if asked.keep_names {
            request = request.with_names(&present.subject_alt_names())?;
        }
        check_same_names(&present, &request)?;
        let is_same = request.public_key().spki_hash() == present.spki_hash();
        match asked.same_key {
            Some(true) if !is_same => {
                return Err(EnrolRefusal::Asked("renewing keeps the key: the request is for another one".into()));
            }
            Some(false) if is_same => {
                return Err(EnrolRefusal::Asked("rekeying needs a new key: the request is for the present one".into()));
            }
            _ => {}
        }
        let mut checked = None;
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot();
            let (facts, key) = self.renewable(&serial, &sha256, asked.organisation)?;
            let line = self.renewing_keys(&snapshot, key)?;
            let key = line.last().cloned().ok_or(EnrolRefusal::Unauthorised)?;
            let request = match &checked {
                Some(checked) => checked,
                None => checked.insert(self.check(&key, request.clone(), |hash| {
                    self.store.with_issued(|index| index.other_client(&hash.0, Some(facts.client)).is_some())
                })?),
            };
            let issue = Issue {
                key,
                decided_by: &line,
                request,
                client: facts.client,
                renews: Some((facts.id, serial, facts.version)),
                by: Deciding { actor: Actor::Client(facts.client), source: Some(asked.source) },
            };
            if let Some(done) = self.issue(&snapshot, &issue).await? {
                return Ok(done);
            }
        }
        Err(EnrolRefusal::unavailable(ProvisioningError::Changed))
    }

    /// The certificate that is to be renewed, and its provisioning key: one of ours, of the organisation that is addressed, neither
    /// revoked nor expired.
    fn renewable(
        &self,
        serial: &Serial,
        sha256: &[u8; 32],
        organisation: Option<OrganisationId>,
    ) -> Result<(IssuedFacts, EntryId), EnrolRefusal> {
        let found = self.store.with_issued(|index| {
            let facts = index.by_serial(serial).filter(|facts| facts.sha256 == *sha256)?;
            let (of, key, _) = index.issuer(facts);
            organisation.is_none_or(|addressed| addressed == of).then(|| (facts.clone(), key))
        });
        let (facts, key) = found.ok_or(EnrolRefusal::Unauthorised)?;
        let now = self.now().unix_timestamp();
        if facts.revoked.is_some() || now < facts.not_before || facts.not_after < now {
            return Err(EnrolRefusal::Unauthorised);
        }
        Ok((facts, key))
    }

    /// The keys from the one that issued to the one that renews: itself, or the successor at the end of the line.
    fn renewing_keys(&self, snapshot: &Snapshot, key: EntryId) -> Result<Vec<Arc<Key>>, EnrolRefusal> {
        let first = snapshot.keys.get(&key).ok_or(EnrolRefusal::Unauthorised)?;
        check_state(first.effective)?;
        let mut line = vec![first.clone()];
        // The store sees to it that there is no circle; a line is no longer than all keys in any case.
        while let Some(next) = line.last().and_then(|key| key.row.successor).and_then(|next| snapshot.keys.get(&next)) {
            // A successor that was revoked takes nothing over.
            if !next.state.takes_a_place() || line.len() > snapshot.keys.len() {
                break;
            }
            check_state(next.effective)?;
            line.push(next.clone());
        }
        Ok(line)
    }

    fn check(
        &self,
        key: &Key,
        request: CertificateRequest,
        is_key_of_another: impl Fn(&SpkiHash) -> bool + Sync,
    ) -> Result<CheckedRequest, EnrolRefusal> {
        let snapshot = self.snapshot();
        let policy = RequestPolicy {
            blocked: &self.blocked,
            is_ca_key: &|hash| snapshot.is_ca_key(hash),
            is_key_of_another: &is_key_of_another,
            names: key.limits.names.as_ref(),
        };
        Ok(request.check(&policy)?)
    }

    /// The client that has this public key already, under the same provisioning key and the same names: a machine that enrols
    /// again with the key it kept. Any other client's key is refused by [`Self::check`].
    async fn same_client(&self, key: &Key, request: &CertificateRequest) -> Result<Option<ClientId>, EnrolRefusal> {
        let hash = request.public_key().spki_hash();
        let Some(serial) = self.store.with_issued(|index| index.by_public_key(&hash.0).map(|facts| facts.serial)) else {
            return Ok(None);
        };
        let found = self.store.issued(&serial).await.map_err(EnrolRefusal::unavailable)?;
        let Some(found) = found.filter(|found| found.key == key.row.id && found.revoked.is_none()) else {
            return Ok(None);
        };
        let present = Certificate::from_der(&found.der.0).map_err(EnrolRefusal::unavailable)?;
        Ok(check_same_names(&present, request).is_ok().then_some(found.client))
    }

    /// Signs and records. `None`: a state changed meanwhile; look again.
    async fn issue(&self, snapshot: &Snapshot, issue: &Issue<'_>) -> Result<Option<Enrolled>, EnrolRefusal> {
        // Commits wait a moment for requests that are under way, so that they share one.
        let underway = self.store.underway();
        let (key, organisation) = (&issue.key, issue.key.row.organisation);
        let authority = snapshot.active(StoredTier::Key, organisation, Some(key.row.id));
        let authority = authority.ok_or_else(|| EnrolRefusal::unavailable(ProvisioningError::Damaged("issuing CA")))?;
        let (quotas, now) = (self.quotas, self.now().unix_timestamp());
        self.store.check_certificate_room(&quotas, organisation, issue.client, now).map_err(refused)?;
        let (certificate, shard) = self.sign_client(snapshot, authority, issue).await.map_err(away)?;
        let row = IssuedCertificate {
            id: EntryId::generate(),
            organisation,
            client: issue.client,
            key: key.row.id,
            authority: authority.row.id,
            shard,
            serial: Serial::new(certificate.serial()).ok_or_else(|| away(ProvisioningError::Damaged("serial number")))?,
            sha256: certificate.fingerprint().0,
            public_key_sha256: issue.request.public_key().spki_hash().0,
            not_before: certificate.not_before().unix_timestamp(),
            not_after: certificate.not_after().unix_timestamp(),
            renews: issue.renews.map(|(id, _, _)| id),
            source: issue.by.source,
            revoked: None,
            der: Blob::from(certificate.der()),
        };
        let action = if row.renews.is_some() { Action::CertificateRenewed } else { Action::CertificateIssued };
        let details = Details::Certificate {
            key: row.key,
            client: Some(row.client),
            serial: row.serial.to_string(),
            reason: String::new(),
        };
        let events = vec![self.event(&issue.by, organisation, action, details)];
        let (service, key_row) = (snapshot.service(organisation), &key.row);
        let service = service.map(|row| expect(EntryKind::Service, row.id, row.version));
        let uses_max = key.row.uses_max.filter(|_| issue.renews.is_none());
        let others = issue.decided_by.iter().filter(|other| other.row.id != key_row.id);
        let others = others.map(|other| expect(EntryKind::ProvisioningKey, other.row.id, other.row.version));
        let changes = service
            .into_iter()
            .chain(others)
            .chain([
                expect(EntryKind::ProvisioningKey, key_row.id, key_row.version),
                expect(EntryKind::Authority, authority.row.id, authority.row.version),
                Change::AddIssued {
                    certificate: Box::new(row),
                    uses_max: uses_max.map(|max| max.saturating_sub(key.row.uses_cleared)),
                    renewed: issue.renews.map(|(_, serial, version)| (serial, version)),
                    quotas,
                    now,
                },
            ])
            .collect();
        drop(underway);
        match self.store.commit(Commit { changes, events, erases: false }).await {
            Ok(_) => {
                let chain = snapshot.chain_above(authority);
                Ok(Some(Enrolled { client: issue.client, certificate, chain, key: None }))
            }
            Err(CommitError::Stale { .. }) => Ok(None),
            Err(CommitError::ClientRevoked) => Err(EnrolRefusal::Unauthorised),
            Err(CommitError::KeyOfAnother) => Err(RequestError::KeyOfAnother.into()),
            Err(CommitError::UsedUp { .. }) => {
                let max = key.row.uses_max.unwrap_or_default();
                Err(keygate_pki::provisioning::LimitError::UsedUp { max }.into())
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn sign_client(
        &self,
        snapshot: &Snapshot,
        authority: &LoadedAuthority,
        issue: &Issue<'_>,
    ) -> Result<(Certificate, u32), ProvisioningError> {
        let organisation = self.organisation_name(snapshot, issue.key.row.organisation)?;
        let asked = issue.request.common_name().map(str::to_owned);
        let fits = |name: &String| name.chars().count() <= COMMON_NAME_CHARS_MAX;
        let first_name = || issue.request.names().first().map(SubjectAltName::value).filter(fits);
        let name = asked.or_else(first_name).unwrap_or_else(|| issue.client.to_string());
        let subject = DistinguishedName::new(Some(organisation), &name)?;
        let issued = self.store.with_issued(|index| index.issued_by(authority.row.id));
        let shard = u32::try_from(issued / SHARD_SERIALS_MAX as u64).unwrap_or(u32::MAX);
        let locations = authority.client_locations(shard, || self.client_locations(authority.row.id, shard))?;
        let window = Window::days(self.now(), issue.key.row.days)?;
        let draft = Draft::client(&subject, issue.request, window, &locations);
        Ok((self.certify(authority, &draft).await?, shard))
    }

    fn note_refusal(&self, refusal: &EnrolRefusal, key: Option<EntryId>, source: IpAddr) {
        if let EnrolRefusal::Unavailable { cause } = refusal {
            tracing::warn!(cause = crate::admin::chain(cause), "a client got no certificate");
        }
        self.refusals.note_as(Action::CertificateRefused, refusal.reason(), key, source);
    }
}

/// What a state answers, to who proved to know the key.
fn check_state(state: EffectiveState) -> Result<(), EnrolRefusal> {
    match state {
        EffectiveState::Active => Ok(()),
        EffectiveState::Suspended => Err(EnrolRefusal::Suspended { retry_after: RETRY_AFTER }),
        EffectiveState::Disabled { .. } => Err(EnrolRefusal::Disabled { retry_after: RETRY_AFTER }),
        EffectiveState::Revoked { .. } => Err(EnrolRefusal::Unauthorised),
    }
}

/// RFC 7030 §4.2.2: "the Subject field and SubjectAltName extension in the CSR MUST be identical to the corresponding fields
/// in the certificate being renewed/rekeyed." The organisation in the subject is ours to say: the common name is compared.
fn check_same_names(present: &Certificate, request: &CertificateRequest) -> Result<(), EnrolRefusal> {
    let values = |names: &[SubjectAltName]| {
        let mut values: Vec<String> = names.iter().map(SubjectAltName::value).collect();
        values.sort();
        values
    };
    let same_name = request.common_name().is_none_or(|name| present.common_name().as_deref() == Some(name));
    if same_name && values(&present.subject_alt_names()) == values(request.names()) {
        return Ok(());
    }
    Err(EnrolRefusal::Asked("subject and alternative names must be those of the certificate that is renewed".into()))
}

/// A key for a client that cannot make its own: of the kind its request shows.
async fn generate(checked: &CheckedRequest) -> Result<PrivateKey, EnrolRefusal> {
    let wanted = checked.public_key().key_type();
    let algorithm = SignatureAlgorithm::ALL.into_iter().find(|algorithm| algorithm.key_type() == wanted);
    let algorithm = algorithm.unwrap_or(SignatureAlgorithm::EcdsaP256Sha256);
    let made = super::hierarchy::blocking(move || Ok(PrivateKey::generate(algorithm)?)).await;
    made.map_err(|cause| EnrolRefusal::Unavailable { cause })
}

/// Why a commit with a new certificate was refused.
fn refused(error: CommitError) -> EnrolRefusal {
    match error {
        CommitError::Quota { what, max } => EnrolRefusal::Quota { what, max },
        error => EnrolRefusal::unavailable(error),
    }
}

fn away(cause: ProvisioningError) -> EnrolRefusal {
    EnrolRefusal::Unavailable { cause }
}

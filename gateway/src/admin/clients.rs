//! Clients and their certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{COMMON_NAME_CHARS_MAX, Certificate, CertificateRequest, OffsetDateTime, Profile, PublicKey};
use time::format_description::well_known::Rfc3339;

use super::{
    Admin, AdminError, AdminReply,
    lookup::check_name,
    reply::{CertificateView, ClientView, IssuedView, chain},
    request::NewCredential,
};
use crate::{
    audit::{Action, Details, Event},
    authority,
    store::{CertificateOrigin, Change, Client, ClientCertificate, ClientId, Directory, Entry, EntryId, OrganisationId},
};

/// Longest validity that is issued: ten years.
const DAYS_MAX: u32 = 3653;

/// A chain made or taken for a client.
struct Made {
    chain: Vec<Certificate>,
    origin: CertificateOrigin,
}

impl Admin<'_> {
    pub(super) async fn client_add(&self, name: &str, credential: NewCredential, keystore: Option<&str>) -> Result<AdminReply, AdminError> {
        check_name("a client's name", name)?;
        if self.client(name).is_ok() {
            return Err(AdminError::name(format!("there is a client \"{name}\" already")));
        }
        let client = Client {
            id: ClientId::generate(),
            organisation: OrganisationId::DEFAULT,
            name: name.into(),
            disabled: false,
            admin: false,
            keystore: keystore.map(|name| self.keystore(name)).transpose()?,
            created_ms: self.app.now_ms(),
        };
        let made = self.make(&client, credential)?;
        let (entry, view) = self.recorded(&client, &made, None)?;
        let details = Details::Entry { id: client.id.into(), name: name.into() };
        let events = vec![self.event(Action::ClientAdded, details), self.certificate_event(Action::CertificateAdded, &entry)];
        self.commit(vec![Change::AddEntry(Entry::Client(client)), Change::AddEntry(Entry::Certificate(entry))], events).await?;
        Ok(AdminReply::Issued(view))
    }

    pub(super) async fn client_renew(&self, name: &str, credential: NewCredential) -> Result<AdminReply, AdminError> {
        let client = self.client(name)?;
        let directory = self.app.store.directory();
        let newest = certificates_of(&directory, client.id).max_by_key(|certificate| certificate.not_after).map(|certificate| certificate.id);
        let made = self.make(&client, credential)?;
        let (entry, view) = self.recorded(&client, &made, newest)?;
        let event = self.certificate_event(Action::CertificateRenewed, &entry);
        self.commit(vec![Change::AddEntry(Entry::Certificate(entry))], vec![event]).await?;
        Ok(AdminReply::Issued(view))
    }

    pub(super) async fn client_enable(&self, name: &str, enabled: bool) -> Result<AdminReply, AdminError> {
        let client = self.client(name)?;
        if client.disabled != enabled {
            return Ok(AdminReply::Done);
        }
        let action = if enabled { Action::ClientEnabled } else { Action::ClientDisabled };
        self.update_client(Client { disabled: !enabled, ..Client::clone(&client) }, action).await
    }

    pub(super) async fn client_keystore(&self, name: &str, keystore: Option<&str>) -> Result<AdminReply, AdminError> {
        let client = self.client(name)?;
        let keystore = keystore.map(|name| self.keystore(name)).transpose()?;
        self.update_client(Client { keystore, ..Client::clone(&client) }, Action::ClientChanged).await
    }

    async fn update_client(&self, client: Client, action: Action) -> Result<AdminReply, AdminError> {
        let event = self.event(action, Details::Entry { id: client.id.into(), name: client.name.clone() });
        self.commit(vec![Change::UpdateEntry(Entry::Client(client))], vec![event]).await
    }

    pub(super) fn client_list(&self) -> AdminReply {
        let directory = self.app.store.directory();
        let now = self.app.now();
        let mut clients: Vec<ClientView> = directory.clients.values().map(|client| view(&directory, client, now)).collect();
        clients.sort_by(|left, right| left.name.cmp(&right.name));
        AdminReply::Clients(clients)
    }

    /// Issues or takes a certificate; nothing is stored yet.
    fn make(&self, client: &Client, credential: NewCredential) -> Result<Made, AdminError> {
        let directory = self.app.store.directory();
        // A label in the certificate; the record in the store says whose it is.
        let label: String = client.name.chars().take(COMMON_NAME_CHARS_MAX).collect();
        let issue = |key: &PublicKey, names: &[_], days: Option<u32>| {
            if days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
                return Err(AdminError::usage(format!("days must be 1 to {DAYS_MAX}")));
            }
            Ok(authority::issue_leaf(&directory, Profile::ClientCertificate, &label, key, names, days, self.app.now())?)
        };
        match credential {
            NewCredential::Issue { public_key, days } => {
                let der = STANDARD.decode(public_key).map_err(|_| AdminError::usage("public key is not base64"))?;
                let key = PublicKey::from_spki_der(&der).map_err(AdminError::failed)?;
                Ok(Made { chain: issue(&key, &[], days)?, origin: CertificateOrigin::Issued })
            }
            NewCredential::Request { request, days } => {
                let request = CertificateRequest::from_pem_or_der(&pem_or_base64(&request))
                    .map_err(|error| AdminError::usage(chain(&error)))?;
                let chain = issue(request.public_key(), request.names(), days)?;
                Ok(Made { chain, origin: CertificateOrigin::Requested })
            }
            NewCredential::Pin { certificate } => {
                let certificate = Certificate::from_pem_or_der(&pem_or_base64(&certificate))
                    .map_err(|error| AdminError::usage(chain(&error)))?;
                if certificate.not_after() < self.app.now() {
                    return Err(AdminError::usage(format!("the certificate expired on {}", rfc3339(certificate.not_after()))));
                }
                Ok(Made { chain: vec![certificate], origin: CertificateOrigin::Pinned })
            }
        }
    }

    fn recorded(&self, client: &Client, made: &Made, renews: Option<EntryId>) -> Result<(ClientCertificate, IssuedView), AdminError> {
        let directory = self.app.store.directory();
        let leaf = made.chain.first().ok_or_else(|| AdminError::usage("no certificate"))?;
        let sha256 = leaf.fingerprint().0;
        if directory.certificates.iter().any(|known| known.sha256 == sha256) {
            return Err(AdminError::name("this certificate belongs to a client already"));
        }
        let issuer = authority::certificate(&directory, Profile::ClientIssuer)?;
        let entry = ClientCertificate {
            id: EntryId::generate(),
            organisation: client.organisation,
            client: client.id,
            sha256,
            issuer_key_sha256: (made.origin != CertificateOrigin::Pinned).then(|| issuer.spki_hash().0),
            serial: leaf.serial().to_vec(),
            origin: made.origin,
            not_before: leaf.not_before().unix_timestamp(),
            not_after: leaf.not_after().unix_timestamp(),
            renews,
            revoked: false,
        };
        let pems: Result<String, _> = made.chain.iter().map(Certificate::to_pem).collect();
        let ca = authority::certificate(&directory, Profile::RootCa)?.to_pem();
        let view = IssuedView {
            client: client.id.to_string(),
            name: client.name.clone(),
            chain: pems.map_err(AdminError::failed)?,
            ca: ca.map_err(AdminError::failed)?,
            not_after: rfc3339(leaf.not_after()),
        };
        Ok((entry, view))
    }

    fn certificate_event(&self, action: Action, certificate: &ClientCertificate) -> Event {
        self.event(action, Details::Entry { id: certificate.id, name: hex::encode(certificate.sha256) })
    }
}

fn certificates_of(directory: &Directory, client: ClientId) -> impl Iterator<Item = &ClientCertificate> {
    directory.certificates.iter().map(AsRef::as_ref).filter(move |certificate: &&ClientCertificate| certificate.client == client)
}

fn view(directory: &Directory, client: &Client, now: OffsetDateTime) -> ClientView {
    let keystore = client.keystore.and_then(|id| directory.keystores.iter().find(|keystore| keystore.id == id));
    ClientView {
        id: client.id.to_string(),
        name: client.name.clone(),
        enabled: !client.disabled,
        keystore: keystore.map(|keystore| keystore.name.clone()),
        certificates: certificates_of(directory, client.id).map(|certificate| certificate_view(certificate, now)).collect(),
    }
}

fn certificate_view(certificate: &ClientCertificate, now: OffsetDateTime) -> CertificateView {
    let origin = match certificate.origin {
        CertificateOrigin::Issued => "issued",
        CertificateOrigin::Requested => "requested",
        CertificateOrigin::Pinned => "pinned",
    };
    CertificateView {
        origin: origin.into(),
        serial: hex::encode(&certificate.serial),
        sha256: hex::encode(certificate.sha256),
        not_after: OffsetDateTime::from_unix_timestamp(certificate.not_after).map(rfc3339).unwrap_or_default(),
        expired: certificate.not_after < now.unix_timestamp(),
        revoked: certificate.revoked,
    }
}

/// PEM goes as text; DER goes as base64.
fn pem_or_base64(text: &str) -> Vec<u8> {
    if text.contains("-----BEGIN") { text.as_bytes().to_vec() } else { STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec()) }
}

fn rfc3339(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

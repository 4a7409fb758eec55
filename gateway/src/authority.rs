//! The gateway's own certificate authorities and server certificate, kept as sealed settings in the store.
//!
//! Names: `ca.root`, `ca.server`, `ca.client`, `ca.admin`, `ca.kmip-certify` (where `kmip.certify` asks for it), `tls.server`. Private keys are in the heap for the moment they sign,
//! otherwise in secret pages, and on disk only inside sealed rows. Left to others: what a certificate says (pki), who is told (admin).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_pki::{
    Certificate, CheckedRequest, Days, DistinguishedName, Draft, Issuer, OffsetDateTime, Order, PkiError, PrivateKey, Profile, PublicKey,
    SignatureAlgorithm, Signer, SubjectAltName, SystemSerials, Window,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    audit::{Action, Actor, Details, Event, Outcome},
    seal::SecretText,
    store::{Change, Commit, CommitError, Directory, Entry, EntryId, OrganisationId, Setting, Store},
};

/// Why an authority cannot do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store holds no such authority: the data directory is not initialised to its end.
    #[error("the store has no {0}")]
    Missing(&'static str),
    /// A stored authority cannot be read.
    #[error("the stored {0} cannot be read")]
    Damaged(&'static str),
    /// The certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// There is no memory page for it.
    #[error("no memory page for a private key")]
    Memory(#[source] std::io::Error),
    /// It could not be stored.
    #[error("cannot store the certificate")]
    Store(#[from] CommitError),
}

/// A private key and the chain that belongs to it, leaf first, without the root.
pub struct Credential {
    /// The key.
    pub key: PrivateKey,
    /// The chain.
    pub chain: Vec<Certificate>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    chain: Vec<String>,
    key: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The authorities in the order in which they are made: signers first.
const AUTHORITIES: [(Profile, &str); 4] = [
    (Profile::RootCa, "Keygate Root CA"),
    (Profile::ServerCa, "Keygate Server CA"),
    (Profile::ClientIssuer, "Keygate Client Issuer"),
    (Profile::AdminCa, "Keygate Admin CA"),
];

fn setting_name(profile: Profile) -> &'static str {
    match profile {
        Profile::AdminCa | Profile::AdminCertificate => "ca.admin",
        Profile::ClientCertificate | Profile::ClientIssuer => "ca.client",
        Profile::KmipCertifyCa => "ca.kmip-certify",
        Profile::RootCa => "ca.root",
        Profile::ServerCa => "ca.server",
        Profile::ServerCertificate => "tls.server",
    }
}

/// Makes the authorities that are missing. Running it again changes nothing.
pub async fn create_missing(store: &Store, now: OffsetDateTime, actor: &Actor) -> Result<(), AuthorityError> {
    for (profile, name) in AUTHORITIES {
        let directory = store.directory();
        if find(&directory, profile).is_some() {
            continue;
        }
        let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
        let subject = DistinguishedName::new(None, name)?;
        let certificate = if profile.signed_by() == profile {
            Issuer::self_signed(profile, &subject, &key, now, &mut SystemSerials)?
        } else {
            let order = Order { profile, subject: &subject, public_key: key.public_key(), names: &[], days: None };
            issue(&directory, &order, now)?
        };
        save(store, profile, &Credential { key, chain: vec![certificate] }, now, actor).await?;
    }
    Ok(())
}

/// Makes the CA of KMIP's Certify if it is missing: a root of its own. No listener takes what it signs for a caller, because none
/// knows it; it signs nothing but what clients ask to be certified.
pub async fn create_certify_ca(store: &Store, now: OffsetDateTime, actor: &Actor) -> Result<(), AuthorityError> {
    let profile = Profile::KmipCertifyCa;
    if find(&store.directory(), profile).is_some() {
        return Ok(());
    }
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
    let subject = DistinguishedName::new(None, "Keygate KMIP Certify CA")?;
    let certificate = Issuer::self_signed(profile, &subject, &key, now, &mut SystemSerials)?;
    save(store, profile, &Credential { key, chain: vec![certificate] }, now, actor).await
}

/// Certifies what a KMIP client asks for, under the name it asks for, for so many days.
pub fn certify(
    directory: &Directory,
    subject: &DistinguishedName,
    request: &CheckedRequest,
    days: Days,
    now: OffsetDateTime,
) -> Result<Certificate, AuthorityError> {
    let signer = credential(directory, Profile::KmipCertifyCa)?;
    let own = signer.chain.first().ok_or(AuthorityError::Damaged(setting_name(Profile::KmipCertifyCa)))?;
    let draft = Draft::requested(subject, request, Window::days(now, days)?);
    Ok(Issuer::new(own, &signer.key)?.certify(&draft, &mut SystemSerials)?)
}

/// The certificate of an authority.
pub fn certificate(directory: &Directory, profile: Profile) -> Result<Certificate, AuthorityError> {
    let name = setting_name(profile);
    let stored = read(directory, profile)?;
    let pem = stored.chain.first().ok_or(AuthorityError::Damaged(name))?;
    Ok(Certificate::from_pem_or_der(pem.as_bytes())?)
}

/// Issues a client's or administrator's certificate. Returns the chain: leaf, then intermediates.
pub fn issue_leaf(
    directory: &Directory,
    profile: Profile,
    name: &str,
    public_key: &PublicKey,
    names: &[SubjectAltName],
    days: Option<Days>,
    now: OffsetDateTime,
) -> Result<Vec<Certificate>, AuthorityError> {
    let subject = DistinguishedName::new(None, name)?;
    let leaf = issue(directory, &Order { profile, subject: &subject, public_key, names, days }, now)?;
    let issuer = certificate(directory, profile.signed_by())?;
    // A self-signed issuer is an anchor of whoever verifies: it is not sent.
    Ok(if profile.signed_by() == Profile::AdminCa { vec![leaf] } else { vec![leaf, issuer] })
}

/// The server's credential for `hosts`: the stored one, or a new one where it is missing, for other hosts, or in the last
/// third of its validity. Says whether it is new.
pub async fn server_credential(
    store: &Store,
    hosts: &[SubjectAltName],
    now: OffsetDateTime,
) -> Result<(Credential, bool), AuthorityError> {
    let directory = store.directory();
    if let Ok(current) = credential(&directory, Profile::ServerCertificate)
        && current.chain.first().is_some_and(|leaf| is_fresh(leaf, now) && leaf.subject_alt_names() == hosts)
    {
        return Ok((current, false));
    }
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
    let chain = issue_leaf(&directory, Profile::ServerCertificate, "Keygate server", key.public_key(), hosts, None, now)?;
    let fresh = Credential { key, chain };
    save(store, Profile::ServerCertificate, &fresh, now, &Actor::System).await?;
    Ok((fresh, true))
}

fn is_fresh(leaf: &Certificate, now: OffsetDateTime) -> bool {
    let whole = leaf.not_after() - leaf.not_before();
    leaf.not_before() <= now && now + whole / 3 < leaf.not_after()
}

fn issue(directory: &Directory, order: &Order<'_>, now: OffsetDateTime) -> Result<Certificate, AuthorityError> {
    let signer = credential(directory, order.profile.signed_by())?;
    let name = setting_name(order.profile.signed_by());
    let own = signer.chain.first().ok_or(AuthorityError::Damaged(name))?;
    Ok(Issuer::new(own, &signer.key)?.issue(order, now, &mut SystemSerials)?)
}

fn credential(directory: &Directory, profile: Profile) -> Result<Credential, AuthorityError> {
    let name = setting_name(profile);
    let stored = read(directory, profile)?;
    let key = Zeroizing::new(STANDARD.decode(stored.key.as_bytes()).map_err(|_| AuthorityError::Damaged(name))?);
    let chain = stored.chain.iter().map(|pem| Certificate::from_pem_or_der(pem.as_bytes())).collect::<Result<_, _>>()?;
    Ok(Credential { key: PrivateKey::from_pkcs8(&key)?, chain })
}

fn find(directory: &Directory, profile: Profile) -> Option<&Setting> {
    let key = (OrganisationId::DEFAULT, setting_name(profile).to_owned());
    directory.settings.get(&key).map(AsRef::as_ref)
}

fn read(directory: &Directory, profile: Profile) -> Result<Stored, AuthorityError> {
    let name = setting_name(profile);
    let setting = find(directory, profile).ok_or(AuthorityError::Missing(name))?;
    serde_json::from_str(&setting.value.expose()).map_err(|_| AuthorityError::Damaged(name))
}

async fn save(store: &Store, profile: Profile, credential: &Credential, now: OffsetDateTime, actor: &Actor) -> Result<(), AuthorityError> {
    let name = setting_name(profile);
    let chain = credential.chain.iter().map(Certificate::to_pem).collect::<Result<_, _>>()?;
    let stored = Stored { chain, key: STANDARD.encode(credential.key.expose_pkcs8()) };
    let text = Zeroizing::new(serde_json::to_string(&stored).map_err(|_| AuthorityError::Damaged(name))?);
    let value = SecretText::new(&text).map_err(AuthorityError::Memory)?;
    let directory = store.directory();
    let existing = find(&directory, profile).map(|setting| setting.id);
    let id = existing.unwrap_or_else(EntryId::generate);
    let entry = Entry::Setting(Setting { id, organisation: OrganisationId::DEFAULT, name: name.into(), value });
    let event = Event {
        at_ms: i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
        actor: actor.clone(),
        source: None,
        organisation: Some(OrganisationId::DEFAULT),
        action: Action::SettingChanged,
        object: None,
        outcome: Outcome::Done,
        details: Details::Entry { id, name: name.into() },
    };
    let change = if existing.is_some() { Change::UpdateEntry(entry) } else { Change::AddEntry(entry) };
    store.commit(Commit { changes: vec![change], events: vec![event], erases: false }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use keygate_pki::OffsetDateTime;

    use super::*;
    use crate::seal::{NewSlot, Seal};
    use crate::store::StoreOptions;

    const DAY: i64 = 86_400;

    /// The server certificate stays for two thirds of its life, and is made anew for other hosts.
    #[tokio::test]
    async fn the_server_certificate_renews_itself() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("a new seal");
        let store = Store::create(dir.path(), seal.store_id(), std::sync::Arc::new(root), StoreOptions::default()).await.expect("a store");
        let start = OffsetDateTime::now_utc();
        create_missing(&store, start, &Actor::System).await.expect("authorities");
        let hosts = [SubjectAltName::parse("localhost").expect("a name")];
        let (first, is_new) = server_credential(&store, &hosts, start).await.expect("a credential");
        assert!(is_new);
        let life = (first.chain[0].not_after() - first.chain[0].not_before()).whole_days();

        let at = |days: i64| OffsetDateTime::from_unix_timestamp(start.unix_timestamp() + days * DAY).expect("a time");
        let (same, is_new) = server_credential(&store, &hosts, at(life * 2 / 3 - 2)).await.expect("a credential");
        assert!(!is_new && same.chain[0].der() == first.chain[0].der());
        let (renewed, is_new) = server_credential(&store, &hosts, at(life * 2 / 3 + 2)).await.expect("a credential");
        assert!(is_new && renewed.chain[0].der() != first.chain[0].der());
        let other = [SubjectAltName::parse("kms.example.com").expect("a name")];
        let (moved, is_new) = server_credential(&store, &other, at(life * 2 / 3 + 2)).await.expect("a credential");
        assert!(is_new && moved.chain[0].subject_alt_names() == other);
    }
}

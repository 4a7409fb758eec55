//! Making authorities: the root, an organisation's issuer, the issuing CA of a provisioning key.

use keygate_backends::KeyId;
use keygate_pki::{
    Certificate, DistinguishedName, Draft, HttpUrl, Issuer, Locations, PrivateKey, PublicKey, SignatureAlgorithm, Signer,
    SystemSerials, Tier, Window, provisioning::KeyId as PublicKeyId,
};

use super::{
    Provisioning,
    authority::{self, LoadedAuthority, algorithm_name, blob, path_name},
    error::ProvisioningError,
    keystore_signer,
    snapshot::Snapshot,
};
use crate::store::{
    Authority, AuthorityCertificate, AuthorityKey, Change, Commit, Entry, EntryId, EntryKind, Intent, IntentAction,
    KeystoreId, OrganisationId, StoredGeneration, StoredTier,
};

/// Where the key of a new authority is made, and of which kind.
#[derive(Debug, Clone, Copy)]
pub struct KeyChoice {
    /// Its algorithm.
    pub algorithm: SignatureAlgorithm,
    /// The keystore that keeps it; `None`: sealed in the store.
    pub keystore: Option<KeystoreId>,
}

impl Default for KeyChoice {
    fn default() -> Self {
        Self { algorithm: SignatureAlgorithm::EcdsaP256Sha256, keystore: None }
    }
}

/// A key made for an authority, and what must happen to its intent.
pub(super) struct NewKey {
    pub(super) stored: AuthorityKey,
    pub(super) public: PublicKey,
    local: Option<PrivateKey>,
    intent: Option<EntryId>,
}

impl NewKey {
    /// What goes into the commit that records the key.
    pub(super) fn change(&self) -> Option<Change> {
        self.intent.map(|id| Change::RemoveEntry(EntryKind::Intent, id))
    }
}

/// Which authority is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) organisation: OrganisationId,
    pub(super) tier: StoredTier,
    pub(super) key: Option<EntryId>,
    /// The id that clients of the key present.
    pub(super) public_id: Option<PublicKeyId>,
}

impl Provisioning {
    /// Makes a key. One in a keystore is recorded as an intent first: a crash leaves no key that nobody knows.
    pub(super) async fn new_key(
        &self,
        organisation: OrganisationId,
        choice: KeyChoice,
    ) -> Result<NewKey, ProvisioningError> {
        let Some(keystore_id) = choice.keystore else {
            let algorithm = choice.algorithm;
            // RSA takes a second.
            let key = tokio::task::spawn_blocking(move || PrivateKey::generate(algorithm)).await;
            let key = key.map_err(|error| ProvisioningError::Invalid(error.to_string()))??;
            let stored = AuthorityKey::Local(authority::stored_key(&key)?);
            return Ok(NewKey { stored, public: key.public_key().clone(), local: Some(key), intent: None });
        };
        let away = |error: &dyn std::fmt::Display| ProvisioningError::KeyAway(error.to_string());
        let keystores = self.keystores().ok_or_else(|| away(&"the keystores are not open"))?;
        let keystore = keystores.for_new_keys(keystore_id).map_err(|error| away(&error))?;
        let id = KeyId::random().map_err(|error| away(&error))?;
        let intent = Intent {
            id: EntryId::generate(),
            organisation,
            keystore: keystore_id,
            action: IntentAction::Create,
            objects: Vec::new(),
            locators: vec![id.0.to_vec()],
            at_ms: self.now_ms(),
        };
        let intent_id = intent.id;
        let changes = vec![Change::AddEntry(Entry::Intent(intent))];
        self.store.commit(Commit { changes, ..Commit::default() }).await?;
        let made = keystore_signer::generate(keystore_id, &keystore, id, choice.algorithm).await;
        if let Err(ProvisioningError::Invalid(_)) = &made {
            // It makes no such keys: there is nothing to look for.
            let changes = vec![Change::RemoveEntry(EntryKind::Intent, intent_id)];
            self.store.commit(Commit { changes, ..Commit::default() }).await?;
        }
        let (stored, public) = made?;
        Ok(NewKey { stored, public, local: None, intent: Some(intent_id) })
    }

    /// Makes the authority of `place`, certified by `parent`, which is not stored yet: the caller commits the row. `parents`
    /// that are not stored either are taken from `made`.
    pub(super) async fn new_authority(
        &self,
        snapshot: &Snapshot,
        place: Place,
        key: &NewKey,
        stage: StoredGeneration,
        parent: Option<&LoadedAuthority>,
    ) -> Result<Authority, ProvisioningError> {
        let generation = snapshot
            .authorities
            .values()
            .filter(|authority| {
                let row = &authority.row;
                (row.organisation, row.tier, row.provisioning_key) == (place.organisation, place.tier, place.key)
            })
            .map(|authority| authority.row.generation)
            .max()
            .unwrap_or_default()
            + 1;
        let subject = self.subject(snapshot, place, generation)?;
        let tier = authority::tier(place.tier);
        let window = Window::days(self.now(), tier.days())?;
        let certificate = match parent {
            Some(parent) => {
                let locations = self.locations(parent.row.id)?;
                let draft = Draft::ca(tier, &subject, &key.public, window, &locations);
                self.certify(parent, &draft).await?
            }
            None => self.self_signed(&subject, key, window).await?,
        };
        let id = EntryId::generate();
        Ok(Authority {
            id,
            organisation: place.organisation,
            tier: place.tier,
            provisioning_key: place.key,
            generation,
            algorithm: algorithm_name_of(&key.public).into(),
            stage,
            key: key.stored.clone(),
            certificates: vec![AuthorityCertificate {
                der: blob(&certificate),
                issuer: Some(parent.map_or(id, |parent| parent.row.id)),
            }],
            public_url: self.public_url().as_str().into(),
            earlier_urls: Vec::new(),
            imported: false,
            revoked: None,
            last_responder: None,
            created_ms: self.now_ms(),
        })
    }

    async fn self_signed(
        &self,
        subject: &DistinguishedName,
        key: &NewKey,
        window: Window,
    ) -> Result<Certificate, ProvisioningError> {
        if let Some(local) = &key.local {
            return Ok(Issuer::root(subject, local, window, &mut SystemSerials)?);
        }
        let row = self.loose(key);
        let signer = LoadedAuthority::load(&row, &self.keys())?;
        let subject = subject.clone();
        blocking(move || Ok(Issuer::root(&subject, signer.signer()?, window, &mut SystemSerials)?)).await
    }

    /// A row around a key that belongs to no authority yet.
    fn loose(&self, key: &NewKey) -> crate::store::Versioned<Authority> {
        let entry = Authority {
            id: EntryId::generate(),
            organisation: OrganisationId::DEFAULT,
            tier: StoredTier::Root,
            provisioning_key: None,
            generation: 0,
            algorithm: String::new(),
            stage: StoredGeneration::Initialised,
            key: key.stored.clone(),
            certificates: Vec::new(),
            public_url: String::new(),
            earlier_urls: Vec::new(),
            imported: false,
            revoked: None,
            last_responder: None,
            created_ms: 0,
        };
        crate::store::Versioned { version: 0, entry: entry.into() }
    }

    fn subject(&self, snapshot: &Snapshot, place: Place, generation: u32) -> Result<DistinguishedName, ProvisioningError> {
        let organisation = snapshot.organisations.get(&place.organisation).map_or("", String::as_str);
        Ok(match place.tier {
            StoredTier::Root => DistinguishedName::new(Some("Keygate"), &format!("Provisioning Root G{generation}"))?,
            StoredTier::Organisation => DistinguishedName::of_organisation_issuer(organisation, generation)?,
            StoredTier::Key => {
                let id = place.public_id.map(|id| id.to_string()).unwrap_or_default();
                DistinguishedName::of_key_issuer(organisation, &id, generation)?
            }
        })
    }

    /// Where relying parties find the status of what `issuer` signs, and its certificate. A client's CRL is its shard's.
    pub(super) fn locations(&self, issuer: EntryId) -> Result<Locations, ProvisioningError> {
        let name = path_name(issuer);
        Ok(Locations {
            crl: Some(self.url(&format!("crl/{name}.crl"))?),
            ocsp: Some(self.url("ocsp")?),
            issuer: Some(self.url(&format!("ca/{name}.cer"))?),
        })
    }

    /// As [`Self::locations`], for a client's certificate in a shard.
    pub(super) fn client_locations(&self, issuer: EntryId, shard: u32) -> Result<Locations, ProvisioningError> {
        Ok(Locations { crl: Some(self.shard_url(issuer, shard)?), ..self.locations(issuer)? })
    }

    pub(super) fn shard_url(&self, issuer: EntryId, shard: u32) -> Result<HttpUrl, ProvisioningError> {
        super::addresses::shard_url(&self.public_url(), issuer, shard)
    }

    fn url(&self, path: &str) -> Result<HttpUrl, ProvisioningError> {
        self.public_url().join(path).map_err(|error| ProvisioningError::Invalid(error.to_string()))
    }

    /// Signs a certificate as `authority`, on a thread that may block where its key is in a device.
    pub(super) async fn certify(
        &self,
        authority: &LoadedAuthority,
        draft: &Draft<'_>,
    ) -> Result<Certificate, ProvisioningError> {
        let issuer = authority.issuer()?;
        let unsigned = issuer.draft(draft, &mut SystemSerials)?;
        let signature = self.sign(authority, unsigned.tbs()).await?;
        Ok(unsigned.assemble(&signature)?)
    }

    /// Signs as `authority`.
    pub(super) async fn sign(&self, authority: &LoadedAuthority, tbs: &[u8]) -> Result<Vec<u8>, ProvisioningError> {
        let away = |error: keygate_pki::SignerError| ProvisioningError::KeyAway(error.to_string());
        match &authority.signer {
            authority::AuthoritySigner::Keystore(signer) => {
                let (signer, tbs) = (signer.clone(), tbs.to_vec());
                blocking(move || signer.sign(&tbs).map_err(away)).await
            }
            _ => authority.signer()?.sign(tbs).map_err(away),
        }
    }
}

/// Runs what blocks where blocking is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProvisioningError> + Send + 'static,
) -> Result<T, ProvisioningError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ProvisioningError::KeyAway(error.to_string()))?
}

fn algorithm_name_of(key: &PublicKey) -> &'static str {
    let found = SignatureAlgorithm::ALL.into_iter().find(|algorithm| algorithm.key_type() == key.key_type());
    found.map_or("", algorithm_name)
}

/// The longest validity of a client's certificate.
pub const CLIENT_DAYS_MAX: u32 = 825;

/// The tier below another one.
pub(super) fn below(tier: StoredTier) -> Option<StoredTier> {
    match authority::tier(tier) {
        Tier::Root => Some(StoredTier::Organisation),
        Tier::Organisation => Some(StoredTier::Key),
        Tier::Key => None,
    }
}

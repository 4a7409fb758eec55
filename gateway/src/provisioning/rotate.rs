//! Rotation of authorities by administrators: renew, re-key, publish, activate, cross-sign, import, revoke.

use std::sync::Arc;

use keygate_pki::{
    Certificate, ImportedIssuer, Issuer, OffsetDateTime, PrivateKey, Reason, Signer, SystemSerials, Window,
    provisioning::Decision,
    rotation::{Generation, Initialised},
};
use time::Duration;

use super::{
    Deciding, Provisioning, ProvisioningError, Reasoned,
    authority::{LoadedAuthority, algorithm, blob, path_name, stored_generation, stored_key, tier},
    expect,
    hierarchy::{KeyChoice, NewKey, Place, below},
    publish::{CRL_LIFE, File},
    snapshot::Snapshot,
};
use crate::{
    audit::{Action, Details, Event},
    store::{
        Authority, AuthorityCertificate, AuthorityKey, Change, Entry, EntryId, EntryKind, OrganisationId, Revocation,
        StoredGeneration, StoredTier,
    },
};

/// A generation signs so long after it was published at the earliest: what relying parties have cached has then ended.
const OVERLAP: Duration = CRL_LIFE.saturating_add(Duration::hours(1));

/// An issuer from elsewhere.
pub struct ImportRequest<'a> {
    /// Of which tier: an organisation's issuer, or the root.
    pub tier: StoredTier,
    /// Its certificate, PEM or DER.
    pub certificate: &'a [u8],
    /// Its private key, PKCS#8 in PEM or DER.
    pub key: &'a [u8],
}

/// An authority as it is shown.
pub struct AuthorityView {
    /// The authority.
    pub authority: Arc<LoadedAuthority>,
    /// When and why relying parties refuse what it signed.
    pub revoked: Option<(OffsetDateTime, Reason)>,
}

impl AuthorityView {
    /// Whether clients should know of it: it signs, signed, or will sign, and is not revoked.
    pub fn is_in_use(&self) -> bool {
        let held = self.revoked.is_none_or(|(_, reason)| reason == Reason::CertificateHold);
        self.authority.generation.is_published() && held
    }

    /// Its certificates, oldest first.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.authority.certificates.iter().map(|held| &held.certificate)
    }
}

impl Provisioning {
    /// The newest certificate of an authority, as it is fetched.
    pub fn authority_certificate(&self, id: EntryId) -> Option<File> {
        let snapshot = self.snapshot();
        let newest = snapshot.authorities.get(&id)?.newest().ok()?;
        Some(File::new(newest.der().to_vec(), newest.not_before(), newest.not_after()))
    }

    /// All authorities an organisation's clients depend on, the root first.
    pub fn authorities(&self, organisation: OrganisationId) -> Vec<AuthorityView> {
        let snapshot = self.snapshot();
        let mine = snapshot.authorities.values().filter(|authority| is_of(authority, organisation));
        let view = |authority: &Arc<LoadedAuthority>| AuthorityView {
            revoked: snapshot.revocation_of(authority),
            authority: authority.clone(),
        };
        let mut views: Vec<AuthorityView> = mine.map(view).collect();
        views.sort_by_key(|view| tier(view.authority.row.tier));
        views
    }

    /// One authority by its id.
    pub fn authority(&self, organisation: OrganisationId, id: &str) -> Result<AuthorityView, ProvisioningError> {
        let found = self.authorities(organisation).into_iter().find(|view| {
            let row = &view.authority.row;
            path_name(row.id) == id || row.id.to_string() == id
        });
        found.ok_or_else(|| ProvisioningError::NotFound { what: "authority", id: id.chars().take(80).collect() })
    }

    /// The authority to be changed, as its changer has seen it.
    pub(super) fn seen(&self, organisation: OrganisationId, id: &str, seen: Option<u64>) -> Result<Arc<LoadedAuthority>, ProvisioningError> {
        let authority = self.authority(organisation, id)?.authority;
        if seen.is_some_and(|seen| seen != authority.row.version) {
            return Err(ProvisioningError::Changed);
        }
        Ok(authority)
    }

    /// Renews the certificate of an authority: same key, another serial number and validity.
    pub async fn renew_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        self.renew_one(by, &authority).await?;
        self.publish_change().await
    }

    async fn renew_one(&self, by: &Deciding, authority: &Arc<LoadedAuthority>) -> Result<(), ProvisioningError> {
        let snapshot = self.snapshot();
        if snapshot.revocation_of(authority).is_some_and(|(_, reason)| reason != Reason::CertificateHold) {
            return Err(ProvisioningError::State("the authority is revoked: it is not renewed".into()));
        }
        if authority.row.tier != StoredTier::Root && authority.certificates.last().is_some_and(|held| held.issuer.is_none()) {
            let hint = "its certificate is signed elsewhere: ask that CA, or make a generation of our own by re-keying";
            return Err(ProvisioningError::State(hint.into()));
        }
        let (issuer, certificate) = self.renewed(&snapshot, authority).await?;
        let row = self.with_certificate(&authority.row, &certificate, issuer);
        let event = self.issuer_event(by, Action::IssuerRenewed, &row);
        self.update(authority, row, Vec::new(), vec![event]).await
    }

    async fn renewed(
        &self,
        snapshot: &Snapshot,
        authority: &Arc<LoadedAuthority>,
    ) -> Result<(EntryId, Certificate), ProvisioningError> {
        let window = Window::days(self.now(), tier(authority.row.tier).days())?;
        let Some(parent) = snapshot.parent_of(authority).cloned() else {
            // The signer may block: it may be in a device.
            let own = authority.clone();
            let renewed = move || Ok(Issuer::renew_root(own.newest()?, own.signer()?, window, &mut SystemSerials)?);
            return Ok((authority.row.id, super::hierarchy::blocking(renewed).await?));
        };
        Ok((parent.row.id, self.certified_again(&parent, authority, window).await?))
    }

    /// Another certificate for the key of `authority`, by `issuer`, which may never have certified it before.
    async fn certified_again(
        &self,
        issuer: &Arc<LoadedAuthority>,
        authority: &Arc<LoadedAuthority>,
        window: Window,
    ) -> Result<Certificate, ProvisioningError> {
        let locations = self.locations(issuer.row.id)?;
        let (issuer, authority) = (issuer.clone(), authority.clone());
        super::hierarchy::blocking(move || {
            let by = issuer.issuer()?;
            Ok(by.cross_sign(authority.newest()?, window, &locations, &mut SystemSerials)?)
        })
        .await
    }

    /// Makes the next generation of an authority: a new key, certified, and known to nobody yet.
    pub async fn rekey_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        choice: Option<KeyChoice>,
        seen: Option<u64>,
    ) -> Result<AuthorityView, ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        let snapshot = self.snapshot();
        let row = &authority.row;
        if !authority.generation.signs_certificates() {
            return Err(ProvisioningError::State("only an active authority is re-keyed".into()));
        }
        let pending = snapshot.authorities.values().any(|other| {
            let is_next = matches!(other.generation, Generation::Initialised(_) | Generation::Published(_));
            same_place(&other.row, row) && is_next && other.row.revoked.is_none()
        });
        if pending {
            return Err(ProvisioningError::State("a next generation exists already: publish and activate it".into()));
        }
        let key = row.provisioning_key.and_then(|key| snapshot.keys.get(&key));
        if key.is_some_and(|key| !key.state.takes_a_place()) {
            return Err(ProvisioningError::State("the provisioning key is revoked".into()));
        }
        let choice = match choice {
            Some(choice) => choice,
            None => KeyChoice { algorithm: algorithm(&row.algorithm)?, keystore: keystore_of(&row.key) },
        };
        let place = Place {
            organisation: row.organisation,
            tier: row.tier,
            key: row.provisioning_key,
            public_id: key.map(|key| key.public_id),
        };
        let pair = self.new_key(row.organisation, choice).await?;
        let parent = snapshot.parent_of(&authority).map(AsRef::as_ref);
        let stage = StoredGeneration::Initialised;
        let next = self.new_authority(&snapshot, place, &pair, stage, parent).await?;
        let id = next.id;
        self.add(&authority, by, Action::IssuerRekeyed, next, pair).await?;
        self.authority(organisation, &path_name(id))
    }

    async fn add(
        &self,
        beside: &LoadedAuthority,
        by: &Deciding,
        action: Action,
        row: Authority,
        key: NewKey,
    ) -> Result<(), ProvisioningError> {
        let event = self.issuer_event(by, action, &row);
        let mut changes = vec![
            expect(EntryKind::Authority, beside.row.id, beside.row.version),
            Change::AddEntry(Entry::Authority(row)),
        ];
        changes.extend(key.change());
        self.commit(changes, vec![event]).await.map(drop)
    }

    /// Publishes a new generation's certificate: relying parties begin to fetch it.
    pub async fn publish_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        let Generation::Initialised(state) = authority.generation else {
            return Err(ProvisioningError::State("it is published already".into()));
        };
        not_revoked(&authority)?;
        if authority.certificates.is_empty() {
            return Err(ProvisioningError::State("it waits for its certificate, which is signed elsewhere".into()));
        }
        let state = Generation::Published(state.publish(self.now()));
        let row = Authority { stage: stored_generation(state), ..Authority::clone(&authority.row) };
        let event = self.issuer_event(by, Action::IssuerPublished, &row);
        self.update(&authority, row, Vec::new(), vec![event]).await?;
        self.publish_change().await
    }

    /// Lets a published generation sign from now on; the one before it signs lists only. `at_once`: without the overlap, which
    /// must be acknowledged.
    pub async fn activate_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        at_once: Option<&Reasoned>,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        let Generation::Published(state) = authority.generation else {
            return Err(ProvisioningError::State("only a published generation can be activated".into()));
        };
        not_revoked(&authority)?;
        let now = self.now();
        let (state, reason) = match at_once {
            Some(wish) => {
                let decision = Decision::new(now, &wish.reason, wish.acknowledged)?;
                (state.activate_without_overlap(now), decision.reason().to_owned())
            }
            None => (state.activate(now, OVERLAP).map_err(|(_, error)| error)?, String::new()),
        };
        let snapshot = self.snapshot();
        let row = Authority { stage: stored_generation(Generation::Active(state)), ..Authority::clone(&authority.row) };
        let details = Details::Decision { id: row.id, name: authority.newest()?.subject(), reason };
        let mut events = vec![self.event(by, row.organisation, Action::IssuerActivated, details)];
        let mut changes = Vec::new();
        let retiring = snapshot.authorities.values().filter(|other| {
            same_place(&other.row, &row) && other.row.id != row.id && other.generation.signs_certificates()
        });
        for old in retiring {
            self.retire(&snapshot, old, &mut changes)?;
        }
        self.adopt(&snapshot, by, &authority, &mut changes, &mut events).await?;
        self.update(&authority, row, changes, events).await?;
        self.publish_change().await
    }

    fn retire(
        &self,
        snapshot: &Snapshot,
        old: &LoadedAuthority,
        changes: &mut Vec<Change>,
    ) -> Result<(), ProvisioningError> {
        let Generation::Active(state) = old.generation else { return Ok(()) };
        let id = old.row.id;
        let until = self.in_use_until(snapshot, id).unwrap_or_else(|| self.now());
        let stage = stored_generation(Generation::Retired(state.retire(self.now(), until)));
        let row = Authority { stage, ..Authority::clone(&old.row) };
        changes.push(expect(EntryKind::Authority, id, old.row.version));
        changes.push(Change::UpdateEntry(Entry::Authority(row)));
        Ok(())
    }

    /// Certifies what stands below: each authority of the tier below gets a certificate of the new one.
    async fn adopt(
        &self,
        snapshot: &Snapshot,
        by: &Deciding,
        new: &Arc<LoadedAuthority>,
        changes: &mut Vec<Change>,
        events: &mut Vec<Event>,
    ) -> Result<(), ProvisioningError> {
        let Some(tier_below) = below(new.row.tier) else { return Ok(()) };
        let window = Window::days(self.now(), tier(tier_below).days())?;
        let children = snapshot.authorities.values().filter(|child| {
            let mine = new.row.tier == StoredTier::Root || child.row.organisation == new.row.organisation;
            let revoked = snapshot.revocation_of(child).is_some_and(|(_, reason)| reason != Reason::CertificateHold);
            let lives = !matches!(child.generation, Generation::Retired(_)) && !child.certificates.is_empty();
            child.row.tier == tier_below && mine && !revoked && lives
        });
        for child in children {
            let certificate = self.certified_again(new, child, window).await?;
            let row = self.with_certificate(&child.row, &certificate, new.row.id);
            events.push(self.issuer_event(by, Action::IssuerCrossSigned, &row));
            changes.push(expect(EntryKind::Authority, child.row.id, child.row.version));
            changes.push(Change::UpdateEntry(Entry::Authority(row)));
        }
        Ok(())
    }

    /// Certifies the key of one authority by another of the tier above, or of a root by the root before or after it.
    pub async fn cross_sign_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        signed_by: &str,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        let issuer = self.authority(organisation, signed_by)?.authority;
        let both_roots = authority.row.tier == StoredTier::Root && issuer.row.tier == StoredTier::Root;
        if below(issuer.row.tier) != Some(authority.row.tier) && !both_roots {
            return Err(ProvisioningError::Invalid("an authority is certified by the tier above it, a root by another root".into()));
        }
        if self.snapshot().revocation_of(&authority).is_some() {
            return Err(ProvisioningError::State("a revoked or held authority is not certified again".into()));
        }
        not_revoked(&issuer)?;
        if matches!(issuer.generation, Generation::Initialised(_) | Generation::Retired(_)) && !both_roots {
            return Err(ProvisioningError::State("the signing authority is not active: nobody would know its lists".into()));
        }
        let window = Window::days(self.now(), tier(authority.row.tier).days())?;
        let certificate = self.certified_again(&issuer, &authority, window).await?;
        let mut row = Authority::clone(&authority.row);
        let at = row.certificates.len().saturating_sub(usize::from(both_roots));
        // A root goes on by its own certificate: the cross-certificate is for those who trust the other one.
        row.certificates.insert(at, AuthorityCertificate { der: blob(&certificate), issuer: Some(issuer.row.id) });
        let event = self.issuer_event(by, Action::IssuerCrossSigned, &row);
        self.update(&authority, row, Vec::new(), vec![event]).await?;
        self.publish_change().await
    }

    /// Takes over an existing CA, with its key, as the next generation; it is published and activated like any other.
    pub async fn import_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        import: &ImportRequest<'_>,
    ) -> Result<AuthorityView, ProvisioningError> {
        if import.tier == StoredTier::Key {
            return Err(ProvisioningError::Invalid("issuing CAs of provisioning keys are made here".into()));
        }
        let invalid = |error: keygate_pki::PkiError| ProvisioningError::Invalid(crate::admin::chain(&error));
        let key = PrivateKey::from_pem_or_der(import.key).map_err(invalid)?;
        let certificate = Certificate::from_pem_or_der(import.certificate).map_err(invalid)?;
        let needed = self.now() + Duration::days(30);
        let tier = tier(import.tier);
        let imported = ImportedIssuer::check(certificate, key.public_key(), tier, self.now(), needed)?;
        let stored = AuthorityKey::Local(stored_key(&key)?);
        let owner = if import.tier == StoredTier::Root { OrganisationId::DEFAULT } else { organisation };
        let row = self.outside_row(owner, import.tier, key.algorithm(), stored, Some(imported.certificate()));
        let id = row.id;
        let event = self.issuer_event(by, Action::IssuerImported, &row);
        self.commit(vec![Change::AddEntry(Entry::Authority(row))], vec![event]).await?;
        self.authority(organisation, &path_name(id))
    }

    /// Makes the next generation of an organisation's issuer for a CA elsewhere to sign: returns it and the PKCS#10 request, DER.
    pub async fn request_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        choice: KeyChoice,
    ) -> Result<(AuthorityView, Vec<u8>), ProvisioningError> {
        let snapshot = self.snapshot();
        let name = self.organisation_name(&snapshot, organisation)?.to_owned();
        let pair = self.new_key(organisation, choice).await?;
        let row = self.outside_row(organisation, StoredTier::Organisation, choice.algorithm, pair.stored.clone(), None);
        let request = self.signed_request(&name, row.clone()).await?;
        let id = row.id;
        let event = self.event(by, organisation, Action::IssuerRekeyed, Details::Entry { id, name });
        let mut changes = vec![Change::AddEntry(Entry::Authority(row))];
        changes.extend(pair.change());
        self.commit(changes, vec![event]).await?;
        Ok((self.authority(organisation, &path_name(id))?, request))
    }

    /// Takes the certificate that a CA elsewhere has made for [`Self::request_authority`].
    pub async fn complete_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        certificate: &[u8],
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        if !authority.certificates.is_empty() {
            return Err(ProvisioningError::State("it has its certificate already".into()));
        }
        let invalid = |error: keygate_pki::PkiError| ProvisioningError::Invalid(crate::admin::chain(&error));
        let certificate = Certificate::from_pem_or_der(certificate).map_err(invalid)?;
        let needed = self.now() + Duration::days(30);
        let key = authority.signer()?.public_key().clone();
        let imported = ImportedIssuer::check(certificate, &key, tier(authority.row.tier), self.now(), needed)?;
        let mut row = Authority::clone(&authority.row);
        row.certificates.push(AuthorityCertificate { der: blob(imported.certificate()), issuer: None });
        let event = self.issuer_event(by, Action::IssuerImported, &row);
        self.update(&authority, row, Vec::new(), vec![event]).await
    }

    fn outside_row(
        &self,
        organisation: OrganisationId,
        tier: StoredTier,
        algorithm: keygate_pki::SignatureAlgorithm,
        key: AuthorityKey,
        certificate: Option<&Certificate>,
    ) -> Authority {
        let snapshot = self.snapshot();
        let same = snapshot.authorities.values().filter(|other| (other.row.organisation, other.row.tier) == (organisation, tier));
        let generation = same.map(|other| other.row.generation).max().unwrap_or_default() + 1;
        let id = EntryId::generate();
        let held = |certificate: &Certificate| {
            // A root signs itself; any other issuer's parent is not ours.
            let issuer = (tier == StoredTier::Root).then_some(id);
            AuthorityCertificate { der: blob(certificate), issuer }
        };
        Authority {
            id,
            organisation,
            tier,
            provisioning_key: None,
            generation,
            algorithm: super::algorithm_name(algorithm).into(),
            stage: stored_generation(Generation::Initialised(Initialised)),
            key,
            certificates: certificate.map(held).into_iter().collect(),
            public_url: self.public_url().as_str().into(),
            earlier_urls: Vec::new(),
            imported: true,
            revoked: None,
            last_responder: None,
            created_ms: self.now_ms(),
        }
    }

    /// Revokes a generation that signs no more certificates: whatever it signed is refused by everybody.
    pub async fn revoke_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        wish: &Reasoned,
        told: Reason,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let decision = Decision::new(self.now(), &wish.reason, wish.acknowledged)?;
        let authority = self.seen(organisation, id, seen)?;
        if authority.row.tier == StoredTier::Root {
            return Err(ProvisioningError::State("nothing is above a root to revoke it: relying parties remove it".into()));
        }
        not_revoked(&authority)?;
        if told == Reason::CertificateHold {
            return Err(ProvisioningError::Invalid("an authority is revoked for good: certificateHold is no reason".into()));
        }
        if authority.generation.signs_certificates() {
            let hint = "it signs at present: re-key it and activate the next generation, or revoke the provisioning key";
            return Err(ProvisioningError::State(hint.into()));
        }
        let revoked = Some(Revocation { at: decision.at().unix_timestamp(), reason: told.for_ca().code() });
        let mut row = Authority { revoked, ..Authority::clone(&authority.row) };
        // One that never signed ends at once: its key is destroyed with the next maintenance.
        if let Generation::Initialised(_) | Generation::Published(_) = authority.generation {
            let now = decision.at().unix_timestamp();
            row.stage = StoredGeneration::Retired { since: now, until: now };
        }
        let name = authority.newest().map(Certificate::subject).unwrap_or_default();
        let details = Details::Decision { id: row.id, name, reason: decision.reason().into() };
        let event = self.event(by, row.organisation, Action::IssuerRevoked, details);
        self.update(&authority, row, Vec::new(), vec![event]).await?;
        self.publish_change().await
    }

    async fn update(
        &self,
        authority: &LoadedAuthority,
        row: Authority,
        mut changes: Vec<Change>,
        events: Vec<Event>,
    ) -> Result<(), ProvisioningError> {
        changes.push(expect(EntryKind::Authority, authority.row.id, authority.row.version));
        changes.push(Change::UpdateEntry(Entry::Authority(row)));
        self.commit(changes, events).await.map(drop)
    }

    /// Renews what is in the last third of its life, or names another public address than ours.
    pub(super) async fn renew_due(&self) -> Result<(), ProvisioningError> {
        let by = Deciding { actor: crate::audit::Actor::System, source: None };
        let mut failure = None;
        // Parents first: a certificate does not outlive its issuer's.
        for tier in [StoredTier::Root, StoredTier::Organisation, StoredTier::Key] {
            let snapshot = self.snapshot();
            let all = snapshot.authorities.values().filter(|authority| authority.row.tier == tier);
            for authority in all.filter(|authority| self.is_due(&snapshot, authority)) {
                // One whose key is away keeps none of the others.
                if let Err(error) = self.renew_one(&by, authority).await {
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn is_due(&self, snapshot: &Snapshot, authority: &LoadedAuthority) -> bool {
        let Ok(newest) = authority.newest() else { return false };
        let signed_here = authority.row.tier == StoredTier::Root || authority.certificates.last().is_some_and(|held| held.issuer.is_some());
        let revoked = snapshot.revocation_of(authority).is_some_and(|(_, reason)| reason != Reason::CertificateHold);
        if !authority.generation.signs_certificates() || !authority.has_key() || revoked || !signed_here {
            return false;
        }
        let whole = newest.not_after() - newest.not_before();
        let names_addresses = authority.row.tier != StoredTier::Root;
        let end = snapshot.parent_of(authority).and_then(|parent| parent.not_after());
        // Renewing gains nothing where the parent ends with it.
        let gains = end.is_none_or(|end| end > newest.not_after());
        // Made while its parent was being replaced: it has no certificate of the new one.
        let parent = snapshot.parent_of(authority).map(|parent| parent.row.id);
        if parent.is_some() && !authority.certificates.iter().any(|held| held.issuer == parent) {
            return true;
        }
        let moved = names_addresses && authority.row.public_url != self.public_url().as_str();
        moved || (self.now() + whole / 3 >= newest.not_after() && gains)
    }
}

fn not_revoked(authority: &LoadedAuthority) -> Result<(), ProvisioningError> {
    match authority.row.revoked {
        Some(_) => Err(ProvisioningError::State("this generation is revoked: nothing of it is used again".into())),
        None => Ok(()),
    }
}

fn is_of(authority: &LoadedAuthority, organisation: OrganisationId) -> bool {
    authority.row.tier == StoredTier::Root || authority.row.organisation == organisation
}

fn same_place(left: &Authority, right: &Authority) -> bool {
    (left.organisation, left.tier, left.provisioning_key) == (right.organisation, right.tier, right.provisioning_key)
}

fn keystore_of(key: &AuthorityKey) -> Option<crate::store::KeystoreId> {
    match key {
        AuthorityKey::Keystore { keystore, .. } => Some(*keystore),
        _ => None,
    }
}

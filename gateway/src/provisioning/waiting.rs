//! Authorities that nobody knows yet: the request of one that waits for its certificate, and giving one up.

use keygate_pki::{Certificate, DistinguishedName, NewRequest, Tier, rotation::Generation};

use super::{Deciding, Provisioning, ProvisioningError, expect};
use crate::{
    audit::{Action, Details},
    store::{Authority, Change, EntryKind, OrganisationId, StoredTier},
};

impl Provisioning {
    /// The PKCS#10 request, DER, of an authority that waits for a CA elsewhere to certify it. It is signed anew each time; key and
    /// names are the same.
    ///
    /// # Errors
    /// [`ProvisioningError::State`]: it has a certificate. [`ProvisioningError::KeyAway`]: its key does not answer.
    pub async fn authority_request(
        &self,
        organisation: OrganisationId,
        id: &str,
    ) -> Result<Vec<u8>, ProvisioningError> {
        let authority = self.authority(organisation, id)?.authority;
        let waits =
            authority.certificates.is_empty() && authority.row.tier == StoredTier::Organisation && authority.has_key();
        if !waits {
            return Err(ProvisioningError::State("it waits for no certificate: there is no request".into()));
        }
        let snapshot = self.snapshot();
        let name = self.organisation_name(&snapshot, authority.row.organisation)?.to_owned();
        self.signed_request(&name, Authority::clone(&authority.row)).await
    }

    /// A PKCS#10 request, DER, for the issuer of the organisation called `name`.
    pub(super) async fn signed_request(&self, name: &str, row: Authority) -> Result<Vec<u8>, ProvisioningError> {
        let subject = DistinguishedName::of_organisation_issuer(name, row.generation)?;
        let signer = self.load(row)?;
        // The signer may block: it may be in a device.
        super::hierarchy::blocking(move || Ok(NewRequest::issuer(&subject, Tier::Organisation).sign(signer.signer()?)?))
            .await
    }

    /// Gives an authority up that was never published: its row goes, and its key is destroyed where it lives.
    ///
    /// # Errors
    /// [`ProvisioningError::State`]: others know it, or a certificate of it.
    pub async fn remove_authority(
        &self,
        by: &Deciding,
        organisation: OrganisationId,
        id: &str,
        seen: Option<u64>,
    ) -> Result<(), ProvisioningError> {
        let authority = self.seen(organisation, id, seen)?;
        if !matches!(authority.generation, Generation::Initialised(_)) {
            return Err(ProvisioningError::State(
                "it was published, so others know it: it can be revoked, not removed".into(),
            ));
        }
        let (row, snapshot) = (&authority.row, self.snapshot());
        let mut held =
            snapshot.authorities.values().filter(|other| other.row.id != row.id).flat_map(|other| &other.certificates);
        if held.any(|held| held.issuer == Some(row.id)) {
            return Err(ProvisioningError::State(
                "it has certified another authority: it can be revoked, not removed".into(),
            ));
        }
        let name = authority.newest().map(Certificate::subject).unwrap_or_default();
        let event = self.event(by, row.organisation, Action::IssuerRemoved, Details::Entry { id: row.id, name });
        let changes =
            vec![expect(EntryKind::Authority, row.id, row.version), Change::RemoveEntry(EntryKind::Authority, row.id)];
        self.commit_and_destroy(row.organisation, row.key.clone(), changes, vec![event]).await
    }
}

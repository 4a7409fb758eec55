//! Issuing, renewing and cross-signing over an [`Issuer`].

use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING};

use super::{Locations, Tier, Window};
use crate::{
    certificate::Certificate,
    error::PkiError,
    extension::Powers,
    issue::{Issuer, SerialSource, Template, Unsigned},
    name::{DistinguishedName, SubjectAltName},
    public_key::PublicKey,
    request::CheckedRequest,
    signer::Signer,
};

/// A certificate of the provisioning hierarchy as it is wished for. A client's can only be made from a checked request.
pub struct Draft<'a> {
    subject: &'a DistinguishedName,
    key: &'a PublicKey,
    powers: Powers,
    names: &'a [SubjectAltName],
    window: Window,
    locations: &'a Locations,
}

impl<'a> Draft<'a> {
    /// A CA of `tier` for `key`.
    pub fn ca(
        tier: Tier,
        subject: &'a DistinguishedName,
        key: &'a PublicKey,
        window: Window,
        locations: &'a Locations,
    ) -> Self {
        Self { subject, key, powers: tier.powers(), names: &[], window, locations }
    }

    /// A client. `locations.crl` is the shard that its serial number would be listed in.
    pub fn client(
        subject: &'a DistinguishedName,
        request: &'a CheckedRequest,
        window: Window,
        locations: &'a Locations,
    ) -> Self {
        let powers = Powers::leaf(vec![ID_KP_CLIENT_AUTH]);
        Self { subject, key: request.public_key(), powers, names: request.names(), window, locations }
    }

    /// What a KMIP client asks to be certified, under the name it asks for. The purposes of the key are left open: whoever trusts the
    /// CA of these certificates knows what for.
    pub fn requested(subject: &'a DistinguishedName, request: &'a CheckedRequest, window: Window) -> Self {
        let (key, names) = (request.public_key(), request.names());
        Self { subject, key, powers: Powers::leaf(Vec::new()), names, window, locations: &Locations::NONE }
    }

    /// A delegated OCSP responder of the issuer that signs it (RFC 6960 §4.2.2.2).
    ///
    /// It carries id-pkix-ocsp-nocheck (§4.2.2.2.1), hence no addresses of its own: relying parties trust it for as long as
    /// `window` lasts. Keep it short while the issuer's key lives; as long as the issuer when that key is destroyed.
    pub fn ocsp_responder(subject: &'a DistinguishedName, key: &'a PublicKey, window: Window) -> Self {
        let powers = Powers { ocsp_nocheck: true, ..Powers::leaf(vec![ID_KP_OCSP_SIGNING]) };
        Self { subject, key, powers, names: &[], window, locations: &Locations::NONE }
    }

    fn template(&self, window: Window) -> Template<'_> {
        Template {
            powers: &self.powers,
            subject: self.subject.as_name(),
            spki: self.key.spki(),
            subject_key: self.key.key_identifier(),
            names: self.names,
            locations: self.locations,
            window,
        }
    }
}

impl Issuer<'_> {
    /// Makes and signs the certificate of `draft`. Its validity ends with the issuer's at the latest.
    pub fn certify(&self, draft: &Draft<'_>, serials: &mut impl SerialSource) -> Result<Certificate, PkiError> {
        self.draft(draft, serials)?.sign(self.signer())
    }

    /// Makes the certificate of `draft` up to its signature.
    pub fn draft(&self, draft: &Draft<'_>, serials: &mut impl SerialSource) -> Result<Unsigned, PkiError> {
        let own = self.certificate();
        self.prepare_template(&draft.template(draft.window.within(own.not_before(), own.not_after())?), serials)
    }

    /// Makes a self-signed root for `signer`.
    pub fn root(
        subject: &DistinguishedName,
        signer: &dyn Signer,
        window: Window,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        let draft = Draft::ca(Tier::Root, subject, signer.public_key(), window, &Locations::NONE);
        Template::self_signed(draft.template(window), signer, serials)?.sign(signer)
    }

    /// Renews a CA certificate of this issuer: same subject, key and powers, another serial number and validity.
    ///
    /// Both certificates stay acceptable: whoever revokes the key lists both.
    pub fn renew(
        &self,
        current: &Certificate,
        window: Window,
        locations: &Locations,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        current.verify_issued_by(self.certificate())?;
        self.certify_again(current, window, locations, serials)
    }

    /// Certifies the key and name of a CA that another issuer certified before (RFC 5280 §3.2, cross-certificates).
    ///
    /// Relying parties that trust this issuer then accept everything below `subject`: whoever revokes that key lists this
    /// certificate too, on this issuer's CRL.
    pub fn cross_sign(
        &self,
        subject: &Certificate,
        window: Window,
        locations: &Locations,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        if subject.spki_hash() == self.certificate().spki_hash() {
            return Err(PkiError::Issuer("it is to be cross-signed by its own key"));
        }
        self.certify_again(subject, window, locations, serials)
    }

    /// Renews a root: same subject and key, signed by that key.
    pub fn renew_root(
        current: &Certificate,
        signer: &dyn Signer,
        window: Window,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        let own = Issuer::new(current, signer)?;
        current.verify_issued_by(current)?;
        let powers = own.powers_of(current, false)?;
        Template::self_signed(again(current, &powers, window, &Locations::NONE), signer, serials)?.sign(signer)
    }

    fn certify_again(
        &self,
        current: &Certificate,
        window: Window,
        locations: &Locations,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        let own = self.certificate();
        let powers = self.powers_of(current, true)?;
        // The key is read again: what was imported long ago must satisfy today's checks.
        current.public_key()?;
        let template = again(current, &powers, window.within(own.not_before(), own.not_after())?, locations);
        self.prepare_template(&template, serials)?.sign(self.signer())
    }

    /// The powers `current` has, with a path length that this issuer has room for.
    fn powers_of(&self, current: &Certificate, below: bool) -> Result<Powers, PkiError> {
        let Some(path_len) = current.ca_path_len() else {
            return Err(PkiError::Issuer("the certificate to sign again is not a CA certificate"));
        };
        let room =
            self.certificate().ca_path_len().flatten().map(|own| if below { own.saturating_sub(1) } else { own });
        let path_len = match (path_len, room) {
            (Some(asked), Some(room)) => Some(asked.min(room)),
            (asked, room) => asked.or(room),
        };
        Ok(Powers::ca(path_len, current.extended_key_usage().unwrap_or_default()))
    }
}

fn again<'a>(current: &'a Certificate, powers: &'a Powers, window: Window, locations: &'a Locations) -> Template<'a> {
    Template {
        powers,
        subject: current.subject_name(),
        spki: current.spki(),
        // RFC 5280 §4.2.1.2: the subject key identifier of the certificates of one key should be one, for chain building.
        subject_key: current.subject_key_identifier_or_derived(),
        names: &[],
        locations,
        window,
    }
}

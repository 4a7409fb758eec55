//! Assembles and signs certificates (RFC 5280 §4.1). Signing is a step of its own, so that a key in a device can do it.

use der::{Decode, Encode, Sequence, asn1::BitString};
use time::OffsetDateTime;
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo, Version, ext::Extension, name::Name, serial_number::SerialNumber,
    time::Validity,
};

use crate::{
    certificate::Certificate,
    error::PkiError,
    extension::{Powers, Stated},
    hierarchy::{Locations, Window},
    name::{DistinguishedName, SubjectAltName},
    profile::{Days, Profile},
    public_key::PublicKey,
    signer::Signer,
};

/// Where serial numbers come from.
pub trait SerialSource {
    /// Fills `octets` with unpredictable bits.
    fn fill(&mut self, octets: &mut [u8]) -> Result<(), PkiError>;
}

/// Serial numbers from the random source of the cryptographic library.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemSerials;

impl SerialSource for SystemSerials {
    fn fill(&mut self, octets: &mut [u8]) -> Result<(), PkiError> {
        aws_lc_rs::rand::fill(octets).map_err(|_| PkiError::Random)
    }
}

/// RFC 5280 §4.1: `TBSCertificate`, without the unique identifiers, which "MUST NOT" be made by conforming CAs (§4.1.2.8).
#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", default = "Default::default")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifier,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct SignedCertificate {
    tbs_certificate: der::Any,
    signature_algorithm: AlgorithmIdentifier,
    signature: BitString,
}

/// A certificate that waits for its signature: redeemed once, by [`Unsigned::sign`] or [`Unsigned::assemble`].
pub struct Unsigned {
    serial: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: AlgorithmIdentifier,
}

impl Unsigned {
    /// The bytes to be signed.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// The serial number it will have, as octets: to be recorded before the key is asked to sign.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Signs with `signer`, which must be the key the certificate was prepared for.
    pub fn sign(self, signer: &dyn Signer) -> Result<Certificate, PkiError> {
        let signature = signer.sign(&self.tbs)?;
        self.assemble(&signature)
    }

    /// Puts the signature made elsewhere under the certificate.
    pub fn assemble(self, signature: &[u8]) -> Result<Certificate, PkiError> {
        let signed = SignedCertificate {
            tbs_certificate: der::Any::from_der(&self.tbs).map_err(PkiError::Encode)?,
            signature_algorithm: self.algorithm,
            signature: BitString::from_bytes(signature).map_err(PkiError::Encode)?,
        };
        Certificate::from_der(&signed.to_der().map_err(PkiError::Encode)?)
    }
}

/// A CA certificate with the key that belongs to it.
pub struct Issuer<'a> {
    certificate: &'a Certificate,
    signer: &'a dyn Signer,
}

impl<'a> Issuer<'a> {
    /// Checks that `certificate` is a CA's and that `signer` is its key.
    pub fn new(certificate: &'a Certificate, signer: &'a dyn Signer) -> Result<Self, PkiError> {
        if !certificate.is_ca() {
            return Err(PkiError::Issuer("its certificate is not a CA certificate"));
        }
        // RFC 5280 §4.2.1.3: "The keyCertSign bit is asserted when the subject public key is used for verifying signatures
        // on public key certificates."
        if !certificate.may_sign_certificates() {
            return Err(PkiError::Issuer("its certificate does not allow to sign certificates"));
        }
        if certificate.spki_hash() != signer.public_key().spki_hash() {
            return Err(PkiError::Issuer("its key does not belong to its certificate"));
        }
        Ok(Self { certificate, signer })
    }

    /// Makes a self-signed CA certificate of `profile`.
    pub fn self_signed(
        profile: Profile,
        subject: &DistinguishedName,
        signer: &dyn Signer,
        now: OffsetDateTime,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        let powers = profile.powers();
        let window = Window::days(now, profile.days())?;
        let template = template(&powers, subject, signer.public_key(), &[], window);
        Template::self_signed(template, signer, serials)?.sign(signer)
    }

    /// Makes and signs a certificate of `profile`. `notAfter` never exceeds the issuer's own.
    pub fn issue(
        &self,
        order: &Order<'_>,
        now: OffsetDateTime,
        serials: &mut impl SerialSource,
    ) -> Result<Certificate, PkiError> {
        self.prepare(order, now, serials)?.sign(self.signer)
    }

    /// Makes a certificate of `profile` up to its signature.
    pub fn prepare(
        &self,
        order: &Order<'_>,
        now: OffsetDateTime,
        serials: &mut impl SerialSource,
    ) -> Result<Unsigned, PkiError> {
        let days = order.days.unwrap_or(order.profile.days());
        let window =
            Window::days(now, days)?.ending_by(self.certificate.not_after()).ok_or(PkiError::Validity { days })?;
        let powers = order.profile.powers();
        self.prepare_template(&template(&powers, order.subject, order.public_key, order.names, window), serials)
    }

    pub(crate) fn prepare_template(
        &self,
        template: &Template<'_>,
        serials: &mut impl SerialSource,
    ) -> Result<Unsigned, PkiError> {
        self.check_room(template.powers)?;
        template.unsigned(self.certificate.subject_name(), self.key_identifier(), self.signer, serials)
    }

    /// RFC 5280 §4.2.1.1: "derived from ... the subject key identifier of the issuer's certificate".
    pub(crate) fn key_identifier(&self) -> Vec<u8> {
        self.certificate.subject_key_identifier().unwrap_or_else(|| self.signer.public_key().key_identifier())
    }

    /// The issuer's certificate.
    pub fn certificate(&self) -> &Certificate {
        self.certificate
    }

    pub(crate) fn signer(&self) -> &'a dyn Signer {
        self.signer
    }

    /// RFC 5280 §4.2.1.9: the path length "gives the maximum number of non-self-issued intermediate certificates that may
    /// follow this certificate in a valid certification path".
    fn check_room(&self, powers: &Powers) -> Result<(), PkiError> {
        let (Some(below), Some(own)) = (powers.ca, self.certificate.ca_path_len().flatten()) else { return Ok(()) };
        if own == 0 || below.is_none_or(|below| below >= own) {
            return Err(PkiError::Issuer("its path length leaves no room for this CA"));
        }
        Ok(())
    }
}

/// What is asked of an [`Issuer`].
pub struct Order<'a> {
    /// The kind of certificate.
    pub profile: Profile,
    /// The subject's name.
    pub subject: &'a DistinguishedName,
    /// The subject's key.
    pub public_key: &'a PublicKey,
    /// The subject's DNS names and addresses.
    pub names: &'a [SubjectAltName],
    /// Days of validity; the profile's default where `None`.
    pub days: Option<Days>,
}

/// A certificate without its issuer.
pub(crate) struct Template<'a> {
    pub(crate) powers: &'a Powers,
    pub(crate) subject: &'a Name,
    pub(crate) spki: &'a SubjectPublicKeyInfo,
    pub(crate) subject_key: Vec<u8>,
    pub(crate) names: &'a [SubjectAltName],
    pub(crate) locations: &'a Locations,
    pub(crate) window: Window,
}

impl Template<'_> {
    pub(crate) fn self_signed(
        template: Self,
        signer: &dyn Signer,
        serials: &mut impl SerialSource,
    ) -> Result<Unsigned, PkiError> {
        template.unsigned(template.subject, template.subject_key.clone(), signer, serials)
    }

    fn unsigned(
        &self,
        issuer: &Name,
        authority_key: Vec<u8>,
        signer: &dyn Signer,
        serials: &mut impl SerialSource,
    ) -> Result<Unsigned, PkiError> {
        let algorithm = signer.algorithm().identifier();
        let stated = Stated {
            powers: self.powers,
            subject_key: self.subject_key.clone(),
            authority_key,
            names: self.names,
            locations: self.locations,
        };
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: serial_number(serials)?,
            signature: algorithm.clone(),
            issuer: issuer.clone(),
            validity: self.window.validity()?,
            subject: self.subject.clone(),
            subject_public_key_info: self.spki.clone(),
            extensions: Some(stated.extensions()?),
        };
        let serial = tbs.serial_number.as_bytes().to_vec();
        Ok(Unsigned { serial, tbs: tbs.to_der().map_err(PkiError::Encode)?, algorithm })
    }
}

fn template<'a>(
    powers: &'a Powers,
    subject: &'a DistinguishedName,
    key: &'a PublicKey,
    names: &'a [SubjectAltName],
    window: Window,
) -> Template<'a> {
    let subject_key = key.key_identifier();
    Template {
        powers,
        subject: subject.as_name(),
        spki: key.spki(),
        subject_key,
        names,
        locations: &Locations::NONE,
        window,
    }
}

/// RFC 5280 §4.1.2.2: "a positive integer ... Conforming CAs MUST NOT use serialNumber values longer than 20 octets".
/// 17 octets, the first of them 0x40 to 0x7f: never zero-led, never negative, 134 random bits.
fn serial_number(serials: &mut impl SerialSource) -> Result<SerialNumber, PkiError> {
    let mut octets = [0; 17];
    serials.fill(&mut octets)?;
    octets[0] = (octets[0] & 0x3f) | 0x40;
    SerialNumber::new(&octets).map_err(PkiError::Encode)
}

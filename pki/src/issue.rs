//! Assembles and signs certificates (RFC 5280 §4.1). Signing is a step of its own, so that a key in a device can do it.

use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::{
    Decode, Encode, Sequence,
    asn1::{BitString, OctetString},
    flagset::FlagSet,
};
use time::{Duration, OffsetDateTime};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo, Version,
    ext::{
        Extension,
        pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier},
    },
    name::Name,
    serial_number::SerialNumber,
    time::{Time, Validity},
};

use crate::{
    certificate::Certificate,
    error::PkiError,
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
    tbs: Vec<u8>,
    algorithm: AlgorithmIdentifier,
}

impl Unsigned {
    /// The bytes to be signed.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
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
        let key = signer.public_key();
        let validity = validity(now, profile.days(), None)?;
        let authority = key.key_identifier();
        let content = Content { profile, subject: subject.as_name(), key, names: &[], authority };
        tbs(&content, subject.as_name(), signer, validity, serials)?.sign(signer)
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
        let validity = validity(now, days, Some(self.certificate.not_after()))?;
        // RFC 5280 §4.2.1.1: "derived from ... the subject key identifier of the issuer's certificate".
        let authority = match self.certificate.subject_key_identifier() {
            Some(identifier) => identifier,
            None => self.signer.public_key().key_identifier(),
        };
        let content = Content {
            profile: order.profile,
            subject: order.subject.as_name(),
            key: order.public_key,
            names: order.names,
            authority,
        };
        tbs(&content, self.certificate.subject_name(), self.signer, validity, serials)
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

struct Content<'a> {
    profile: Profile,
    subject: &'a Name,
    key: &'a PublicKey,
    names: &'a [SubjectAltName],
    authority: Vec<u8>,
}

fn tbs(
    content: &Content<'_>,
    issuer: &Name,
    signer: &dyn Signer,
    validity: Validity,
    serials: &mut impl SerialSource,
) -> Result<Unsigned, PkiError> {
    let algorithm = signer.algorithm().identifier();
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: serial_number(serials)?,
        signature: algorithm.clone(),
        issuer: issuer.clone(),
        validity,
        subject: content.subject.clone(),
        subject_public_key_info: content.key.spki().clone(),
        extensions: Some(extensions(content)?),
    };
    Ok(Unsigned { tbs: tbs.to_der().map_err(PkiError::Encode)?, algorithm })
}

/// RFC 5280 §4.1.2.2: "a positive integer ... Conforming CAs MUST NOT use serialNumber values longer than 20 octets".
/// 17 octets, the first of them 0x40 to 0x7f: never zero-led, never negative, 134 random bits.
fn serial_number(serials: &mut impl SerialSource) -> Result<SerialNumber, PkiError> {
    let mut octets = [0; 17];
    serials.fill(&mut octets)?;
    octets[0] = (octets[0] & 0x3f) | 0x40;
    SerialNumber::new(&octets).map_err(PkiError::Encode)
}

/// From five minutes ago (clocks differ) for `days`, but not beyond the issuer's end.
fn validity(now: OffsetDateTime, days: Days, issuer_end: Option<OffsetDateTime>) -> Result<Validity, PkiError> {
    let impossible = || PkiError::Validity { days };
    let not_before = now.checked_sub(Duration::minutes(5)).ok_or_else(impossible)?;
    let wished = now.checked_add(Duration::days(i64::from(days))).ok_or_else(impossible)?;
    let not_after = issuer_end.map_or(wished, |end| wished.min(end));
    if days == 0 || not_after <= now {
        return Err(impossible());
    }
    let time = |moment: OffsetDateTime| {
        u64::try_from(moment.unix_timestamp())
            .ok()
            .and_then(|seconds| der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok())
            .map(Time::from)
            .ok_or_else(impossible)
    };
    Ok(Validity::new(time(not_before)?, time(not_after)?))
}

fn extensions(content: &Content<'_>) -> Result<Vec<Extension>, PkiError> {
    let profile = content.profile;
    let key_identifier = |bytes: Vec<u8>| OctetString::new(bytes).map_err(PkiError::Encode);
    let mut list = Vec::with_capacity(6);
    // RFC 5280 §4.2.1.9: "Conforming CAs MUST include this extension in all CA certificates ... and MUST mark the
    // extension as critical in such certificates."
    if let Some(path_len) = profile.path_len() {
        let constraints = BasicConstraints { ca: true, path_len_constraint: Some(path_len) };
        list.push(extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)?);
    }
    // RFC 5280 §4.2.1.3: "When present, conforming CAs SHOULD mark this extension as critical."
    let usages = profile.key_usages().iter().fold(FlagSet::default(), |set, usage| set | *usage);
    list.push(extension(ID_CE_KEY_USAGE, true, &KeyUsage(usages))?);
    if let Some(purpose) = profile.extended_key_usage() {
        list.push(extension(ID_CE_EXT_KEY_USAGE, false, &ExtendedKeyUsage(vec![purpose]))?);
    }
    let subject = SubjectKeyIdentifier(key_identifier(content.key.key_identifier())?);
    list.push(extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &subject)?);
    let authority = AuthorityKeyIdentifier {
        key_identifier: Some(key_identifier(content.authority.clone())?),
        ..AuthorityKeyIdentifier::default()
    };
    list.push(extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &authority)?);
    if !content.names.is_empty() {
        let names = content.names.iter().map(SubjectAltName::general_name).collect::<Result<Vec<_>, _>>()?;
        list.push(extension(ID_CE_SUBJECT_ALT_NAME, false, &names)?);
    }
    Ok(list)
}

fn extension(oid: const_oid::ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension, PkiError> {
    let der = value.to_der().map_err(PkiError::Encode)?;
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(der).map_err(PkiError::Encode)? })
}

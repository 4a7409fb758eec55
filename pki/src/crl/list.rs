//! A CRL around its entries: prepared, signed, published.

use const_oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_ISSUING_DISTRIBUTION_POINT};
use der::{
    Decode, Encode, Header, Length, Sequence, Tag, TagNumber,
    asn1::{BitStringRef, Uint},
};
use time::OffsetDateTime;
use x509_cert::{
    AlgorithmIdentifier,
    ext::{Extension, pkix::crl::IssuingDistributionPoint},
    time::Time,
};

use super::RevokedList;
use crate::{
    certificate::Certificate,
    error::PkiError,
    extension::{authority_key_identifier, extension, full_name},
    hierarchy::{HttpUrl, asn1_time},
    issue::Issuer,
    signer::Signer,
};

/// What a CRL covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlScope<'a> {
    /// Every certificate of the issuer: the list of a parent.
    All,
    /// The certificates whose CRL distribution point is this URL.
    Shard(&'a HttpUrl),
    /// As [`Self::Shard`], where some certificates have an earlier address as their CRL distribution point.
    MovedShard {
        /// The address of today.
        url: &'a HttpUrl,
        /// Those that living certificates name, too.
        earlier: &'a [HttpUrl],
    },
}

/// When a CRL is made, and when the next one comes at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlTimes {
    this: OffsetDateTime,
    next: OffsetDateTime,
}

impl CrlTimes {
    /// A list made at `this`, replaced by `next`.
    pub fn new(this: OffsetDateTime, next: OffsetDateTime) -> Result<Self, PkiError> {
        if next <= this { Err(PkiError::Times { this, next }) } else { Ok(Self { this, next }) }
    }

    /// The last list of a key that is destroyed afterwards: good until the last of all certificates of that key ends, since
    /// no relying party can get a newer one. `certificates`: every certificate ever issued for the key, cross-signed ones too.
    pub fn last(this: OffsetDateTime, certificates: &[Certificate]) -> Result<Self, PkiError> {
        let next = certificates.iter().map(Certificate::not_after).max();
        Self::new(this, next.ok_or(PkiError::Issuer("a final CRL needs the certificates of its key"))?)
    }

    /// nextUpdate.
    pub fn next(&self) -> OffsetDateTime {
        self.next
    }
}

/// A CRL as it is wished for.
#[derive(Debug, Clone, Copy)]
pub struct NewCrl<'a> {
    /// What it covers.
    pub scope: CrlScope<'a>,
    /// RFC 5280 §5.2.3: "monotonically increasing sequence number for a given CRL scope and CRL issuer". Persisted before.
    pub number: u64,
    /// When.
    pub times: CrlTimes,
    /// What is revoked.
    pub revoked: &'a RevokedList,
}

/// A CRL that waits for its signature: redeemed once.
pub struct UnsignedCrl {
    tbs: Vec<u8>,
    algorithm: AlgorithmIdentifier,
    number: u64,
    times: CrlTimes,
}

/// A signed CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    number: u64,
    times: CrlTimes,
}

impl Issuer<'_> {
    /// Makes and signs a CRL.
    pub fn crl(&self, wish: &NewCrl<'_>) -> Result<Crl, PkiError> {
        self.prepare_crl(wish)?.sign(self.signer())
    }

    /// Makes a CRL up to its signature.
    pub fn prepare_crl(&self, wish: &NewCrl<'_>) -> Result<UnsignedCrl, PkiError> {
        // RFC 5280 §4.2.1.3: "The cRLSign bit is asserted when the subject public key is used for verifying signatures on
        // certificate revocation lists".
        if !self.certificate().may_sign_crls() {
            return Err(PkiError::Issuer("its certificate does not allow to sign CRLs"));
        }
        let algorithm = self.signer().algorithm().identifier();
        let tbs = tbs(self, wish, &algorithm)?;
        Ok(UnsignedCrl { tbs, algorithm, number: wish.number, times: wish.times })
    }
}

impl UnsignedCrl {
    /// The bytes to be signed.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// Signs with `signer`, which must be the key the list was prepared for.
    pub fn sign(self, signer: &dyn Signer) -> Result<Crl, PkiError> {
        let signature = signer.sign(&self.tbs)?;
        self.assemble(&signature)
    }

    /// Puts the signature made elsewhere under the list.
    pub fn assemble(self, signature: &[u8]) -> Result<Crl, PkiError> {
        let algorithm = self.algorithm.to_der().map_err(PkiError::Encode)?;
        let signature = BitStringRef::from_bytes(signature).and_then(|bits| bits.to_der()).map_err(PkiError::Encode)?;
        let der = wrap(Tag::Sequence, &[&self.tbs, &algorithm, &signature]).map_err(PkiError::Encode)?;
        Ok(Crl { der, number: self.number, times: self.times })
    }
}

impl Crl {
    /// The list in DER, as it is published (RFC 2585: `application/pkix-crl`).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The list in DER, to be kept.
    pub fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// The list in PEM.
    pub fn to_pem(&self) -> Result<String, PkiError> {
        der::pem::encode_string("X509 CRL", der::pem::LineEnding::LF, &self.der)
            .map_err(|error| PkiError::Encode(error.into()))
    }

    /// Its CRL number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// When it was made.
    pub fn this_update(&self) -> OffsetDateTime {
        self.times.this
    }

    /// When the next one comes at the latest.
    pub fn next_update(&self) -> OffsetDateTime {
        self.times.next
    }
}

/// What of TBSCertList stands before the entries (RFC 5280 §5.1).
#[derive(Sequence)]
struct Head {
    version: x509_cert::Version,
    signature: AlgorithmIdentifier,
    issuer: x509_cert::name::Name,
    this_update: Time,
    next_update: Time,
}

fn tbs(issuer: &Issuer<'_>, wish: &NewCrl<'_>, algorithm: &AlgorithmIdentifier) -> Result<Vec<u8>, PkiError> {
    let head = Head {
        // RFC 5280 §5.1.2.1: "When extensions are used ... this field MUST be present and MUST specify version 2".
        version: x509_cert::Version::V2,
        signature: algorithm.clone(),
        issuer: issuer.certificate().subject_name().clone(),
        this_update: asn1_time(wish.times.this)?,
        // RFC 5280 §5.1.2.5: "Conforming CRL issuers MUST include the nextUpdate field in all CRLs."
        next_update: asn1_time(wish.times.next)?,
    };
    let head = head.to_der().map_err(PkiError::Encode)?;
    let head = contents(&head).map_err(PkiError::Encode)?;
    // RFC 5280 §5.1.2.6: "When there are no revoked certificates, the revoked certificates list MUST be absent."
    let entries = if wish.revoked.is_empty() {
        Vec::new()
    } else {
        header(Tag::Sequence, wish.revoked.entries().len()).map_err(PkiError::Encode)?
    };
    let extensions = extensions(issuer, wish)?.to_der().map_err(PkiError::Encode)?;
    let zero = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let extensions = wrap(zero, &[&extensions]).map_err(PkiError::Encode)?;
    wrap(Tag::Sequence, &[head, &entries, wish.revoked.entries(), &extensions]).map_err(PkiError::Encode)
}

fn extensions(issuer: &Issuer<'_>, wish: &NewCrl<'_>) -> Result<Vec<Extension>, PkiError> {
    let number = Uint::new(&wish.number.to_be_bytes()).map_err(PkiError::Encode)?;
    let mut list = vec![
        authority_key_identifier(&issuer.key_identifier())?,
        // RFC 5280 §5.2.3: "CRL issuers ... MUST include this extension in all CRLs", not critical.
        extension(ID_CE_CRL_NUMBER, false, &number)?,
    ];
    let names = match wish.scope {
        CrlScope::All => None,
        CrlScope::Shard(url) => Some((url, &[][..])),
        CrlScope::MovedShard { url, earlier } => Some((url, earlier)),
    };
    if let Some((url, earlier)) = names {
        let point = IssuingDistributionPoint {
            // RFC 5280 §6.3.3 (b)(2)(i) has relying parties "verify that one of the names in the IDP matches one of the names in
            // the DP" of the certificate.
            distribution_point: Some(full_name(std::iter::once(url).chain(earlier))?),
            only_contains_user_certs: false,
            only_contains_ca_certs: false,
            only_some_reasons: None,
            indirect_crl: false,
            only_contains_attribute_certs: false,
        };
        // RFC 5280 §5.2.5: "The issuing distribution point is a critical CRL extension".
        list.push(extension(ID_CE_ISSUING_DISTRIBUTION_POINT, true, &point)?);
    }
    Ok(list)
}

/// The contents of the outermost value.
fn contents(der: &[u8]) -> der::Result<&[u8]> {
    let whole = der::asn1::AnyRef::from_der(der)?;
    Ok(whole.value())
}

fn header(tag: Tag, contents: usize) -> der::Result<Vec<u8>> {
    Header::new(tag, Length::try_from(contents)?).to_der()
}

/// A constructed value of `parts`, copied once.
fn wrap(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut whole = header(tag, length)?;
    whole.reserve_exact(length);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(whole)
}

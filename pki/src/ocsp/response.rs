//! Builds and signs OCSP responses (RFC 6960 §4.2).

use std::sync::Arc;

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::{rfc5280::ID_KP_OCSP_SIGNING, rfc6960::ID_PKIX_OCSP_BASIC},
};
use der::{
    Any, Choice, Decode, Encode, Enumerated, Sequence,
    asn1::{BitString, GeneralizedTime, Null, OctetString},
};
use time::OffsetDateTime;
use x509_cert::{
    AlgorithmIdentifier,
    ext::{Extension, pkix::CrlReason},
};

use super::{CertId, IssuerIds, OcspRequest};
use crate::{
    certificate::Certificate, crl::Reason, error::PkiError, hierarchy::date_time, signer::Signer,
};

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Issued and not revoked.
    Good,
    /// Revoked or on hold.
    Revoked {
        /// Since when.
        at: OffsetDateTime,
        /// Why.
        reason: Reason,
    },
    /// Never issued here.
    Unknown,
}

/// When a response is made and how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspTimes {
    produced: OffsetDateTime,
    this: OffsetDateTime,
    next: OffsetDateTime,
}

impl OcspTimes {
    /// A response signed at `produced`, of a status known to be right at `this`, with newer information by `next`.
    pub fn new(produced: OffsetDateTime, this: OffsetDateTime, next: OffsetDateTime) -> Result<Self, PkiError> {
        // RFC 6960 §4.2.2.1: "Responses whose nextUpdate value is earlier than the local system time value SHOULD be
        // considered unreliable."
        if next <= this || produced < this {
            Err(PkiError::Times { this, next })
        } else {
            Ok(Self { produced, this, next })
        }
    }
}

/// An answer without a status (RFC 6960 §4.2.1, OCSPResponseStatus). Not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspFailure {
    /// The request cannot be read.
    MalformedRequest,
    /// Something here is broken.
    InternalError,
    /// The issuer's key is away for now.
    TryLater,
    /// No certificate asked about is of an issuer that is answered for (RFC 5019 §2.2.3).
    Unauthorized,
}

impl OcspFailure {
    /// The response in DER.
    pub fn response(self) -> Vec<u8> {
        let status = match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        };
        // SEQUENCE { ENUMERATED status }; §4.2.1: "If the value of responseStatus is one of the error conditions, the
        // responseBytes field is not set."
        vec![0x30, 0x03, 0x0a, 0x01, status]
    }
}

/// Answers for the certificates of one issuer.
pub struct OcspResponder {
    issuer: IssuerIds,
    certificate: Certificate,
    signer: Arc<dyn Signer>,
}

impl OcspResponder {
    /// A responder to which `issuer` delegated (RFC 6960 §4.2.2.2): `certificate` was issued by `issuer` itself for that
    /// purpose, and `signer` is its key.
    pub fn delegated(
        issuer: &Certificate,
        certificate: Certificate,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, PkiError> {
        // "The CA SHOULD use the same issuing key to issue a delegation certificate as that used to sign the certificate
        // being checked for revocation."
        certificate.verify_issued_by(issuer)?;
        // "OCSP signing delegation SHALL be designated by the inclusion of id-kp-OCSPSigning in an extended key usage".
        if !certificate.extended_key_usage().unwrap_or_default().contains(&ID_KP_OCSP_SIGNING) {
            return Err(PkiError::Issuer("the responder's certificate is not for OCSP signing"));
        }
        if certificate.spki_hash() != signer.public_key().spki_hash() {
            return Err(PkiError::Issuer("the responder's key does not belong to its certificate"));
        }
        Ok(Self { issuer: IssuerIds::of(issuer)?, certificate, signer })
    }

    /// The responder's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The issuer it answers for.
    pub fn issuer_ids(&self) -> &IssuerIds {
        &self.issuer
    }

    /// The signed response in DER. `status` is asked once for each certificate of this issuer, by serial number; others are
    /// unknown, and where all are others' the answer is `unauthorized`.
    pub fn respond(
        &self,
        request: &OcspRequest,
        times: OcspTimes,
        mut status: impl FnMut(&[u8]) -> Status,
    ) -> Result<Vec<u8>, PkiError> {
        if !request.certificates().iter().any(|id| id.is_of(&self.issuer)) {
            return Ok(OcspFailure::Unauthorized.response());
        }
        let responses = request
            .certificates()
            .iter()
            .map(|id| single(id, if id.is_of(&self.issuer) { status(id.serial()) } else { Status::Unknown }, times))
            .collect::<Result<Vec<_>, _>>()?;
        let data = ResponseData {
            responder_id: ResponderId::ByKey(self.key_hash()?),
            produced_at: generalized(times.produced)?,
            responses,
            // RFC 9654 §2.1: "in responses it would be included as one of the responseExtensions".
            response_extensions: request.nonce().map(|nonce| vec![Extension { critical: false, ..nonce.clone() }]),
        };
        let tbs = data.to_der().map_err(PkiError::Encode)?;
        let signature = self.signer.sign(&tbs)?;
        self.assemble(&tbs, &signature).map_err(PkiError::Encode)
    }

    fn assemble(&self, tbs: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
        let certificate = Any::from_der(self.certificate.der())?;
        let basic = BasicOcspResponse {
            tbs_response_data: Any::from_der(tbs)?,
            signature_algorithm: self.signer.algorithm().identifier(),
            signature: BitString::from_bytes(signature)?,
            certs: Some(vec![certificate]),
        };
        let bytes = ResponseBytes { response_type: ID_PKIX_OCSP_BASIC, response: OctetString::new(basic.to_der()?)? };
        OcspResponse { response_status: ResponseStatus::Successful, response_bytes: Some(bytes) }.to_der()
    }

    /// RFC 6960 §4.2.1: "KeyHash ::= OCTET STRING -- SHA-1 hash of responder's public key (i.e., the SHA-1 hash of the value
    /// of the BIT STRING subjectPublicKey [excluding the tag, length, and number of unused bits])".
    fn key_hash(&self) -> Result<OctetString, PkiError> {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, self.signer.public_key().raw());
        OctetString::new(hash.as_ref()).map_err(PkiError::Encode)
    }
}

fn single(id: &CertId, status: Status, times: OcspTimes) -> Result<SingleResponse, PkiError> {
    let cert_status = match status {
        Status::Good => CertStatus::Good(Null),
        Status::Revoked { at, reason } => CertStatus::Revoked(RevokedInfo {
            revocation_time: generalized(at)?,
            revocation_reason: Some(crl_reason(reason)).filter(|_| reason != Reason::Unspecified),
        }),
        Status::Unknown => CertStatus::Unknown(Null),
    };
    Ok(SingleResponse {
        cert_id: id.clone(),
        cert_status,
        this_update: generalized(times.this)?,
        next_update: Some(generalized(times.next)?),
        single_extensions: None,
    })
}

fn crl_reason(reason: Reason) -> CrlReason {
    match reason {
        Reason::Unspecified => CrlReason::Unspecified,
        Reason::KeyCompromise => CrlReason::KeyCompromise,
        Reason::CaCompromise => CrlReason::CaCompromise,
        Reason::AffiliationChanged => CrlReason::AffiliationChanged,
        Reason::Superseded => CrlReason::Superseded,
        Reason::CessationOfOperation => CrlReason::CessationOfOperation,
        Reason::CertificateHold => CrlReason::CertificateHold,
        Reason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
    }
}

fn generalized(moment: OffsetDateTime) -> Result<GeneralizedTime, PkiError> {
    date_time(moment).map(GeneralizedTime::from_date_time)
}

// RFC 6960 appendix B.1, "DEFINITIONS EXPLICIT TAGS".

#[derive(Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u32)]
enum ResponseStatus {
    Successful = 0,
}

#[derive(Sequence)]
struct OcspResponse {
    response_status: ResponseStatus,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    response_bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    response_type: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct BasicOcspResponse {
    tbs_response_data: Any,
    signature_algorithm: AlgorithmIdentifier,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certs: Option<Vec<Any>>,
}

#[derive(Sequence)]
struct ResponseData {
    // version [0] has the value of its default, v1: DER leaves it out.
    responder_id: ResponderId,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    response_extensions: Option<Vec<Extension>>,
}

#[derive(Choice)]
enum ResponderId {
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", constructed = "true")]
    ByKey(OctetString),
}

#[derive(Sequence)]
struct SingleResponse {
    cert_id: CertId,
    cert_status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    single_extensions: Option<Vec<Extension>>,
}

#[derive(Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedInfo {
    revocation_time: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    revocation_reason: Option<CrlReason>,
}

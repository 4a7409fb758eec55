//! Reads OCSP requests: POST bodies, and the path of a GET.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use der::{Any, Decode, Sequence, asn1::OctetStringRef};
use x509_cert::ext::Extension;

use super::{CertId, OcspFailure};

/// Largest request that is read. One certificate takes about 120 bytes.
pub const OCSP_REQUEST_BYTES_MAX: usize = 4096;

/// Most certificates in a request. RFC 5019 §2.1.1: requests "MUST include only one Request in the
/// OCSPRequest.RequestList structure"; RFC 6960 has no bound.
pub const OCSP_CERTS_MAX: usize = 16;

/// RFC 9654 §2.1: a nonce of no octets, or of more than 128, is answered with malformedRequest.
const NONCE_BYTES_MAX: usize = 128;

/// A request: one to [`OCSP_CERTS_MAX`] certificates, perhaps a nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest {
    certificates: Vec<CertId>,
    nonce: Option<Extension>,
}

/// Why a request cannot be read. The client is at fault in all of them; the answer is `malformedRequest`.
#[derive(Debug, thiserror::Error)]
pub enum OcspRequestError {
    /// Larger than [`OCSP_REQUEST_BYTES_MAX`].
    #[error("OCSP request of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Size given.
        bytes: usize,
        /// Size allowed.
        max: usize,
    },
    /// Not an OCSPRequest in DER.
    #[error("not an OCSP request")]
    Malformed(#[source] der::Error),
    /// The path of a GET is not URL-encoded base64.
    #[error("the path is not the URL-encoded base64 of an OCSP request")]
    Path,
    /// A version other than 1.
    #[error("OCSP request of an unknown version")]
    Version,
    /// No certificate, or too many.
    #[error("OCSP request asks about {certs} certificates, not 1 to {max}")]
    Certs {
        /// Certificates asked about.
        certs: usize,
        /// Certificates allowed.
        max: usize,
    },
    /// A nonce of no octets or of too many.
    #[error("nonce of {bytes} octets is not of 1 to {max}")]
    Nonce {
        /// Octets given.
        bytes: usize,
        /// Octets allowed.
        max: usize,
    },
    /// A critical extension that is not known here.
    #[error("OCSP request has the critical extension {0}, which is not known here")]
    CriticalExtension(const_oid::ObjectIdentifier),
}

impl OcspRequestError {
    /// The response to send.
    pub fn failure(&self) -> OcspFailure {
        OcspFailure::MalformedRequest
    }
}

/// RFC 6960 §4.1.1.
#[derive(Sequence)]
struct OcspRequestAsn1 {
    tbs_request: TbsRequest,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    optional_signature: Option<Any>,
}

#[derive(Sequence)]
struct TbsRequest {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    requestor_name: Option<Any>,
    request_list: Vec<SingleRequest>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    request_extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct SingleRequest {
    req_cert: CertId,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    single_request_extensions: Option<Vec<Extension>>,
}

impl OcspRequest {
    /// Reads the body of a POST.
    pub fn from_der(der: &[u8]) -> Result<Self, OcspRequestError> {
        if der.len() > OCSP_REQUEST_BYTES_MAX {
            return Err(OcspRequestError::TooLarge { bytes: der.len(), max: OCSP_REQUEST_BYTES_MAX });
        }
        let request = OcspRequestAsn1::from_der(der).map_err(OcspRequestError::Malformed)?.tbs_request;
        if request.version.unwrap_or(0) != 0 {
            return Err(OcspRequestError::Version);
        }
        let certs = request.request_list.len();
        if !(1..=OCSP_CERTS_MAX).contains(&certs) {
            return Err(OcspRequestError::Certs { certs, max: OCSP_CERTS_MAX });
        }
        let extensions = request.request_extensions.unwrap_or_default();
        let single =
            request.request_list.iter().filter_map(|single| single.single_request_extensions.as_deref()).flatten();
        // RFC 6960 §4.1.2: "Unrecognized extensions MUST be ignored (unless they have the critical flag set and are not
        // understood)."
        let unknown = |extension: &&Extension| extension.critical && extension.extn_id != ID_PKIX_OCSP_NONCE;
        if let Some(extension) = extensions.iter().chain(single).find(unknown) {
            return Err(OcspRequestError::CriticalExtension(extension.extn_id));
        }
        let nonce = extensions.into_iter().find(|extension| extension.extn_id == ID_PKIX_OCSP_NONCE);
        if let Some(nonce) = &nonce {
            check_nonce(nonce.extn_value.as_bytes())?;
        }
        let certificates = request.request_list.into_iter().map(|single| single.req_cert).collect();
        Ok(Self { certificates, nonce })
    }

    /// Reads the path of a GET after the responder's own path and slash. RFC 6960 appendix A.1: "GET {url}/{url-encoding of
    /// base-64 encoding of the DER encoding of the OCSPRequest}". Clients that leave `/`, `+` or `=` as they are, or leave
    /// out the padding, are understood too.
    pub fn from_get_path(path: &str) -> Result<Self, OcspRequestError> {
        // Three octets of a percent escape and four of base64 for three of DER.
        let max = OCSP_REQUEST_BYTES_MAX * 4;
        if path.len() > max {
            return Err(OcspRequestError::TooLarge { bytes: path.len(), max });
        }
        let text = percent_decoded(path.as_bytes()).ok_or(OcspRequestError::Path)?;
        Self::from_der(&LENIENT.decode(text).map_err(|_| OcspRequestError::Path)?)
    }

    /// The certificates asked about, one at least.
    pub fn certificates(&self) -> &[CertId] {
        &self.certificates
    }

    /// Whether the answer must carry the client's nonce, hence cannot be one made before.
    pub fn has_nonce(&self) -> bool {
        self.nonce.is_some()
    }

    pub(super) fn nonce(&self) -> Option<&Extension> {
        self.nonce.as_ref()
    }
}

/// RFC 9654 §2.1: the value of the extension is an OCTET STRING of its own. Some older clients put the octets there bare.
fn check_nonce(value: &[u8]) -> Result<(), OcspRequestError> {
    let bytes = <&OctetStringRef>::from_der(value).map_or(value.len(), |nonce| nonce.as_bytes().len());
    if (1..=NONCE_BYTES_MAX).contains(&bytes) {
        Ok(())
    } else {
        Err(OcspRequestError::Nonce { bytes, max: NONCE_BYTES_MAX })
    }
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let mut octet = [0];
            hex::decode_to_slice(after.get(..2)?, &mut octet).ok()?;
            decoded.extend(octet);
            rest = after.get(2..)?;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    Some(decoded)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

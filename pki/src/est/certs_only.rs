//! The degenerate CMS SignedData that carries certificates and no signature (RFC 5652 §5, RFC 7030 §4.1.3).

use const_oid::{
    ObjectIdentifier,
    db::rfc5911::{ID_DATA, ID_SIGNED_DATA},
};
use der::{
    Any, Decode, Encode, Reader, Sequence, SliceReader, Tag, TagNumber, Tagged,
    asn1::{AnyRef, SetOfVec},
};
use x509_cert::AlgorithmIdentifier;

use super::EstError;
use crate::{certificate::Certificate, error::PkiError};

/// Most certificates that are read from a message.
pub const CERTS_ONLY_MAX: usize = 64;

#[derive(Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedData,
}

#[derive(Sequence)]
struct SignedData {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifier>,
    encap_content_info: EncapsulatedContentInfo,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    signer_infos: SetOfVec<Any>,
}

#[derive(Sequence)]
struct EncapsulatedContentInfo {
    e_content_type: ObjectIdentifier,
}

/// The message in DER. DER sorts a SET: receivers find their own certificate by its key.
pub fn certs_only(certificates: &[&Certificate]) -> Result<Vec<u8>, PkiError> {
    let encode = || {
        let list = certificates.iter().map(|certificate| Any::from_der(certificate.der()));
        let content = SignedData {
            // RFC 5652 §5.1: version 1 where there are only X.509 certificates, no signer and content of type id-data.
            version: 1,
            digest_algorithms: SetOfVec::new(),
            // §5.2: in the degenerate case "the content type within the EncapsulatedContentInfo value ... MUST be id-data
            // ..., and the content field of the EncapsulatedContentInfo value MUST be omitted."
            encap_content_info: EncapsulatedContentInfo { e_content_type: ID_DATA },
            certificates: Some(SetOfVec::try_from(list.collect::<der::Result<Vec<_>>>()?)?),
            signer_infos: SetOfVec::new(),
        };
        ContentInfo { content_type: ID_SIGNED_DATA, content }.to_der()
    };
    encode().map_err(PkiError::Encode)
}

/// RFC 5652 §3, its content unread.
#[derive(Sequence)]
struct UnreadContentInfo<'a> {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

/// The certificates of a message, in its order. Signatures, if any, are not looked at; servers that do not sort the set
/// are understood.
pub fn parse_certs_only(der: &[u8]) -> Result<Vec<Certificate>, EstError> {
    let malformed = |source| EstError::Malformed { what: "CMS SignedData", source };
    let outer = UnreadContentInfo::from_der(der).map_err(malformed)?;
    if outer.content_type != ID_SIGNED_DATA || outer.content.tag() != Tag::Sequence {
        return Err(EstError::NotCertsOnly("its content is not SignedData"));
    }
    let mut fields = SliceReader::new(outer.content.value()).map_err(malformed)?;
    // version, digestAlgorithms, encapContentInfo
    for tag in [Tag::Integer, Tag::Set, Tag::Sequence] {
        AnyRef::decode(&mut fields).and_then(|field| field.tag().assert_eq(tag)).map_err(malformed)?;
    }
    let zero = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let field = AnyRef::decode(&mut fields).map_err(malformed)?;
    if field.tag() != zero {
        return Err(EstError::NotCertsOnly("it has no certificates"));
    }
    let mut set = SliceReader::new(field.value()).map_err(malformed)?;
    let mut certificates = Vec::new();
    while !set.is_finished() {
        if certificates.len() == CERTS_ONLY_MAX {
            return Err(EstError::NotCertsOnly("it has more than 64 certificates"));
        }
        let bytes = set.tlv_bytes().map_err(malformed)?;
        let certificate = Certificate::from_der(bytes).map_err(|error| match error {
            PkiError::Der { source, .. } | PkiError::Encode(source) => {
                EstError::Malformed { what: "certificate", source }
            }
            _ => EstError::NotCertsOnly("it has something else than certificates"),
        })?;
        certificates.push(certificate);
    }
    Ok(certificates)
}

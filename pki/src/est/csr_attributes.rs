//! What a server wants to see in requests: `CsrAttrs` (RFC 7030 §4.5.2, corrected by RFC 8951 and RFC 9908).

use const_oid::{
    ObjectIdentifier,
    db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION},
};
use der::{Any, Choice, Decode, Encode, Sequence, asn1::SetOfVec};

use super::EstError;
use crate::error::PkiError;

/// One hint. Clients may ignore it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsrAttribute {
    /// An EC key on this curve.
    EcKey(ObjectIdentifier),
    /// An RSA key of this many bits.
    RsaKey(u32),
    /// An attribute to include (challengePassword), or an algorithm to sign with.
    Oid(ObjectIdentifier),
    /// An attribute with values that are not understood here, by its type.
    Other(ObjectIdentifier),
}

/// `AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }`.
#[derive(Choice)]
enum AttributeOrOid {
    Oid(ObjectIdentifier),
    Attribute(CsrAttributeAsn1),
}

#[derive(Sequence)]
struct CsrAttributeAsn1 {
    oid: ObjectIdentifier,
    values: SetOfVec<Any>,
}

/// The attributes in DER. None at all is said by an empty list, or by HTTP 204.
pub fn csr_attributes(attributes: &[CsrAttribute]) -> Result<Vec<u8>, PkiError> {
    let encode = || attributes.iter().map(encoded).collect::<der::Result<Vec<_>>>()?.to_der();
    encode().map_err(PkiError::Encode)
}

/// Reads the attributes a server sent.
pub fn parse_csr_attributes(der: &[u8]) -> Result<Vec<CsrAttribute>, EstError> {
    let list = Vec::<AttributeOrOid>::from_der(der);
    let list = list.map_err(|source| EstError::Malformed { what: "CsrAttrs", source })?;
    Ok(list.into_iter().map(decoded).collect())
}

fn encoded(attribute: &CsrAttribute) -> der::Result<AttributeOrOid> {
    let with = |oid, value| -> der::Result<_> {
        Ok(AttributeOrOid::Attribute(CsrAttributeAsn1 { oid, values: SetOfVec::try_from(vec![value])? }))
    };
    match attribute {
        // RFC 7030 §4.5.2: the type of key as an attribute, its curve or size as the value.
        CsrAttribute::EcKey(curve) => with(ID_EC_PUBLIC_KEY, Any::from(*curve)),
        CsrAttribute::RsaKey(bits) => with(RSA_ENCRYPTION, Any::encode_from(bits)?),
        CsrAttribute::Oid(oid) | CsrAttribute::Other(oid) => Ok(AttributeOrOid::Oid(*oid)),
    }
}

fn decoded(item: AttributeOrOid) -> CsrAttribute {
    match item {
        AttributeOrOid::Oid(oid) => CsrAttribute::Oid(oid),
        AttributeOrOid::Attribute(attribute) => {
            let value = attribute.values.get(0);
            let other = CsrAttribute::Other(attribute.oid);
            match attribute.oid {
                ID_EC_PUBLIC_KEY => value.and_then(|value| value.decode_as().ok()).map_or(other, CsrAttribute::EcKey),
                RSA_ENCRYPTION => value.and_then(|value| value.decode_as().ok()).map_or(other, CsrAttribute::RsaKey),
                _ => other,
            }
        }
    }
}

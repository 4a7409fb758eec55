//! PKCS#10 requests that we make: for an issuer that is signed outside, and for a client machine (RFC 2986).

use const_oid::db::{
    rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME},
    rfc5912::ID_EXTENSION_REQ,
};
use der::{
    Any, Encode,
    asn1::{BitString, SetOfVec},
};
use x509_cert::{
    attr::Attribute,
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsages},
    },
    request::{CertReq, CertReqInfo, Version},
};

use super::Tier;
use crate::{
    error::PkiError,
    extension::{extension, key_usage},
    name::{DistinguishedName, SubjectAltName},
    signer::Signer,
};

/// A request to be signed by the key it is for.
pub struct NewRequest<'a> {
    subject: &'a DistinguishedName,
    names: &'a [SubjectAltName],
    tier: Option<Tier>,
}

impl<'a> NewRequest<'a> {
    /// For a CA of `tier` whose certificate another CA signs.
    pub fn issuer(subject: &'a DistinguishedName, tier: Tier) -> Self {
        Self { subject, names: &[], tier: Some(tier) }
    }

    /// For a client with `names`.
    pub fn client(subject: &'a DistinguishedName, names: &'a [SubjectAltName]) -> Self {
        Self { subject, names, tier: None }
    }

    /// The request in DER, signed with `signer`: the proof that its key is possessed.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, PkiError> {
        let info = CertReqInfo {
            version: Version::V1,
            subject: self.subject.as_name().clone(),
            public_key: signer.public_key().spki().clone(),
            attributes: attributes(self.extensions()?).map_err(PkiError::Encode)?,
        };
        let signature = signer.sign(&info.to_der().map_err(PkiError::Encode)?)?;
        let request = CertReq {
            info,
            algorithm: signer.algorithm().identifier(),
            signature: BitString::from_bytes(&signature).map_err(PkiError::Encode)?,
        };
        request.to_der().map_err(PkiError::Encode)
    }

    fn extensions(&self) -> Result<Vec<Extension>, PkiError> {
        let mut list = Vec::new();
        if let Some(tier) = self.tier {
            let constraints = BasicConstraints { ca: true, path_len_constraint: Some(tier.path_len()) };
            list.push(extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)?);
            let usage = key_usage(&[KeyUsages::KeyCertSign, KeyUsages::CRLSign]);
            list.push(extension(ID_CE_KEY_USAGE, true, &usage)?);
        }
        if !self.names.is_empty() {
            let names = self.names.iter().map(SubjectAltName::general_name).collect::<Result<Vec<_>, _>>()?;
            list.push(extension(ID_CE_SUBJECT_ALT_NAME, false, &names)?);
        }
        Ok(list)
    }
}

fn attributes(extensions: Vec<Extension>) -> der::Result<SetOfVec<Attribute>> {
    let mut attributes = SetOfVec::new();
    if !extensions.is_empty() {
        let values = SetOfVec::try_from(vec![Any::encode_from(&extensions)?])?;
        attributes.insert(Attribute { oid: ID_EXTENSION_REQ, values })?;
    }
    Ok(attributes)
}

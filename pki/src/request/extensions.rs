//! The extensions a request asks for: read with care, and of them only the names are taken over.

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
            ID_CE_SUBJECT_KEY_IDENTIFIER,
        },
        rfc5912::ID_EXTENSION_REQ,
    },
};
use der::{Decode, asn1::SetOfVec};
use x509_cert::{
    attr::Attribute,
    ext::{
        Extension,
        pkix::{BasicConstraints, SubjectAltName as SubjectAltNames},
    },
};

use crate::{error::RequestError, name::SubjectAltName};

/// Most subject alternative names of a request.
pub const REQUEST_NAMES_MAX: usize = 100;

/// The subject alternative names asked for.
pub(super) fn names(attributes: &SetOfVec<Attribute>) -> Result<Vec<SubjectAltName>, RequestError> {
    let mut list = Vec::new();
    for extension in asked(attributes)?.iter().filter(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME) {
        let names = SubjectAltNames::from_der(extension.extn_value.as_bytes()).map_err(RequestError::Malformed)?;
        if names.0.len() > REQUEST_NAMES_MAX {
            return Err(RequestError::TooManyNames { names: names.0.len(), max: REQUEST_NAMES_MAX });
        }
        for name in &names.0 {
            list.push(SubjectAltName::from_general_name(name).map_err(RequestError::SubjectAltName)?);
        }
    }
    Ok(list)
}

/// Whether the request asks for a CA certificate.
pub(super) fn asks_to_be_ca(attributes: &SetOfVec<Attribute>) -> Result<bool, RequestError> {
    let asked = asked(attributes)?;
    let constraints = asked.iter().find(|extension| extension.extn_id == ID_CE_BASIC_CONSTRAINTS);
    let read = |extension: &Extension| BasicConstraints::from_der(extension.extn_value.as_bytes());
    let constraints = constraints.map(read).transpose().map_err(RequestError::Malformed)?;
    Ok(constraints.is_some_and(|constraints| constraints.ca))
}

fn asked(attributes: &SetOfVec<Attribute>) -> Result<Vec<Extension>, RequestError> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == ID_EXTENSION_REQ);
    let Some(attribute) = found.next() else { return Ok(Vec::new()) };
    // RFC 2985 §5.4.2: extensionRequest is "SINGLE VALUE TRUE".
    let (1, None) = (attribute.values.len(), found.next()) else { return Err(RequestError::RepeatedAttribute) };
    let value = attribute.values.get(0).ok_or(RequestError::RepeatedAttribute)?;
    let extensions: Vec<Extension> = value.decode_as().map_err(RequestError::Malformed)?;
    for (index, extension) in extensions.iter().enumerate() {
        // RFC 5280 §4.2: "A certificate MUST NOT include more than one instance of a particular extension."
        if extensions[..index].iter().any(|earlier| earlier.extn_id == extension.extn_id) {
            return Err(RequestError::DuplicateExtension(extension.extn_id));
        }
        // Whoever asks for it as critical wants no certificate without it, and gets none.
        if extension.critical && !UNDERSTOOD.contains(&extension.extn_id) {
            return Err(RequestError::UnknownCriticalExtension(extension.extn_id));
        }
    }
    Ok(extensions)
}

/// Extensions that the profile decides on itself.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
];

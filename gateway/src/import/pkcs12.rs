//! PKCS#12 (RFC 7292): private keys, certificates, and the secret keys that Java keeps in such files. RC2 and 3DES of old programs
//! are read too.

use der::Decode as _;
use keygate_kmip::{CryptographicAlgorithm, KeyFormatType};
use p12_keystore::{Pkcs12Archive, error::Error, secret::SecretKeyType};
use zeroize::Zeroizing;

use super::read::{ImportError, Kind, Put, certificate, private, symmetric};

/// Whether DER is a PFX: RFC 7292 §4, `PFX ::= SEQUENCE { version INTEGER {v3(3)}, authSafe ContentInfo, ...`.
pub(super) fn is_pkcs12(octets: &[u8]) -> bool {
    let Ok(mut reader) = der::SliceReader::new(octets) else { return false };
    let Ok(header) = der::Header::decode(&mut reader) else { return false };
    header.tag() == der::Tag::Sequence && u8::decode(&mut reader).is_ok_and(|version| version == 3)
}

pub(super) fn bags(octets: &[u8], password: &Zeroizing<String>, kind: &Kind, put: Put<'_>) -> Result<(), ImportError> {
    let archive = Pkcs12Archive::from_pkcs12(octets, password).map_err(refused)?;
    for bag in &archive.keys {
        put(private(bag.key.as_der(), KeyFormatType::Pkcs8, bag.friendly_name.as_deref(), kind)?)?;
    }
    // A certificate often has the name of its key; names are unique, so it goes without.
    let nameless = Kind { name: None, ..kind.clone() };
    for bag in &archive.certs {
        put(certificate(bag.cert.as_der(), None, &nameless)?)?;
    }
    for bag in &archive.secrets {
        let algorithm = algorithm(&bag.key.key_type())
            .ok_or_else(|| ImportError::Content(format!("a secret key of {:?} is not taken in", bag.key.key_type())))?;
        put(symmetric(bag.key.key(), algorithm, bag.friendly_name.as_deref(), kind)?)?;
    }
    Ok(())
}

fn algorithm(kind: &SecretKeyType) -> Option<CryptographicAlgorithm> {
    use CryptographicAlgorithm as A;
    Some(match kind {
        SecretKeyType::Aes | SecretKeyType::Aes128Cbc | SecretKeyType::Aes192Cbc | SecretKeyType::Aes256Cbc => A::Aes,
        SecretKeyType::DesEde3Cbc => A::Des3,
        SecretKeyType::HmacSha1 => A::HmacSha1,
        SecretKeyType::HmacSha224 => A::HmacSha224,
        SecretKeyType::HmacSha256 => A::HmacSha256,
        SecretKeyType::HmacSha384 => A::HmacSha384,
        SecretKeyType::HmacSha512 => A::HmacSha512,
        _ => return None,
    })
}

fn refused(error: Error) -> ImportError {
    match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => ImportError::WrongPassword,
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            ImportError::Content("the PKCS#12 file is encrypted in a way that is not read".into())
        }
        _ => ImportError::Content("the PKCS#12 file cannot be read".into()),
    }
}

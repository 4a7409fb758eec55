//! PEM and DER: PKCS#8 (RFC 5958), encrypted too (PBES2, RFC 8018), PKCS#1 (RFC 8017), SEC 1 (RFC 5915), SubjectPublicKeyInfo and
//! certificates (RFC 5280), under the labels of RFC 7468.

use keygate_kmip::KeyFormatType;
use pkcs8::der::{Decode as _, SecretDocument};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::ImportItem;
use super::read::{ImportError, Kind, Put, certificate, private, public};

/// Most blocks of a file.
const BLOCKS_MAX: usize = 1000;

/// Reads every block of a PEM file; text around them is passed over.
pub(super) fn blocks(
    octets: &[u8],
    password: Option<&Zeroizing<String>>,
    kind: &Kind,
    put: Put<'_>,
) -> Result<(), ImportError> {
    let text = std::str::from_utf8(octets).map_err(|_| ImportError::Content("the PEM file is not text".into()))?;
    let mut rest = text;
    let mut count = 0;
    while let Some(start) = rest.find("-----BEGIN ") {
        count += 1;
        if count > BLOCKS_MAX {
            return Err(ImportError::Content(format!("the file has more than {BLOCKS_MAX} PEM blocks")));
        }
        let from = &rest[start..];
        let label = from["-----BEGIN ".len()..].split_once("-----").map(|(label, _)| label).unwrap_or_default();
        let end = format!("-----END {label}-----");
        let stop =
            from.find(&end).ok_or_else(|| ImportError::Content(format!("PEM block {count} has no end")))? + end.len();
        block(label, &from[..stop], password, kind, put)?;
        rest = &from[stop..];
    }
    Ok(())
}

fn block(
    label: &str,
    text: &str,
    password: Option<&Zeroizing<String>>,
    kind: &Kind,
    put: Put<'_>,
) -> Result<(), ImportError> {
    // RFC 1421 headers: the encryption of old OpenSSL, one round of MD5.
    if text.contains("Proc-Type:") {
        return Err(ImportError::Content(
            "a key in OpenSSL's old encryption is not read\nhint: openssl pkcs8 -topk8 -in OLD -out NEW writes it in the standard one".into(),
        ));
    }
    let der = || {
        let decoded = der::pem::decode_vec(text.as_bytes()).map(|(_, der)| Zeroizing::new(der));
        decoded.map_err(|_| ImportError::Content(format!("the PEM block {label} cannot be read")))
    };
    match label {
        "PRIVATE KEY" => put(private(&der()?, KeyFormatType::Pkcs8, None, kind)?),
        "ENCRYPTED PRIVATE KEY" => put(decrypted(&der()?, password, kind)?),
        "RSA PRIVATE KEY" => put(private(&der()?, KeyFormatType::Pkcs1, None, kind)?),
        "EC PRIVATE KEY" => put(private(&der()?, KeyFormatType::EcPrivateKey, None, kind)?),
        "PUBLIC KEY" => put(public(&der()?, KeyFormatType::X509, kind)?),
        "RSA PUBLIC KEY" => put(public(&der()?, KeyFormatType::Pkcs1, kind)?),
        "CERTIFICATE" => put(certificate(&der()?, None, kind)?),
        // Stands in front of an EC key that names its curve itself.
        "EC PARAMETERS" => Ok(()),
        other => Err(ImportError::Content(format!(
            "PEM blocks of {:?} are not taken in",
            other.chars().take(60).collect::<String>()
        ))),
    }
}

/// One DER structure, told by what parses.
pub(super) fn der(octets: &[u8], password: Option<&Zeroizing<String>>, kind: &Kind) -> Result<ImportItem, ImportError> {
    if EncryptedPrivateKeyInfoRef::from_der(octets).is_ok() {
        return decrypted(octets, password, kind);
    }
    if PrivateKeyInfoRef::from_der(octets).is_ok() {
        return private(octets, KeyFormatType::Pkcs8, None, kind);
    }
    if x509_cert::Certificate::from_der(octets).is_ok() {
        return certificate(octets, None, kind);
    }
    let formats = [KeyFormatType::EcPrivateKey, KeyFormatType::Pkcs1];
    let item = formats.into_iter().find_map(|format| private(octets, format, None, kind).ok());
    let item = item.or_else(|| public(octets, KeyFormatType::X509, kind).ok());
    item.or_else(|| public(octets, KeyFormatType::Pkcs1, kind).ok()).ok_or(ImportError::Unknown)
}

fn decrypted(octets: &[u8], password: Option<&Zeroizing<String>>, kind: &Kind) -> Result<ImportItem, ImportError> {
    let password = password.ok_or(ImportError::NoPassword)?;
    let info = EncryptedPrivateKeyInfoRef::from_der(octets);
    let info =
        info.map_err(|_| ImportError::Content("the encrypted key is in a form that is not read (PBES2 is)".into()))?;
    check_work(&info)?;
    let key: SecretDocument = info.decrypt(password.as_bytes()).map_err(|_| ImportError::WrongPassword)?;
    private(key.as_bytes(), KeyFormatType::Pkcs8, None, kind)
}

/// The file says how much work its password is: more than anybody asks for is refused.
fn check_work(info: &EncryptedPrivateKeyInfoRef<'_>) -> Result<(), ImportError> {
    const ITERATIONS_MAX: u64 = 10_000_000;
    const SCRYPT_MAX: u64 = 1 << 22;
    let too_much = || ImportError::Content("the file asks for too much work to check its password".into());
    let Some(parameters) = info.encryption_algorithm.pbes2() else { return Ok(()) };
    let pbkdf2 = parameters.kdf.pbkdf2().map_or(0, |parameters| u64::from(parameters.iteration_count));
    let scrypt = parameters.kdf.scrypt().map_or(0, |parameters| {
        parameters
            .cost_parameter
            .saturating_mul(u64::from(parameters.block_size))
            .saturating_mul(u64::from(parameters.parallelization))
            / 8
    });
    if pbkdf2 > ITERATIONS_MAX || scrypt > SCRYPT_MAX { Err(too_much()) } else { Ok(()) }
}

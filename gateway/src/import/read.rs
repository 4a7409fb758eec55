//! Files of any known form, recognised by their first octets, as keys to be sent.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, Certificate, CertificateType, CryptographicAlgorithm,
    CryptographicUsageMask, DateTime, Key, KeyBlock, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, Name,
    NameType, Secret,
};
use zeroize::Zeroizing;

use super::{ImportItem, ours, pem, pkcs12};
use crate::admin::Password;
use crate::age_file::{AgeError, Opener};
use crate::export::xml::XmlError;
use crate::object::{AttributeSet, key_block};

/// Largest file that is read as a whole: everything but our own exports.
pub(super) const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// What opens a file.
#[derive(Default)]
pub struct Credentials {
    /// Of a ZIP, PKCS#12, encrypted PKCS#8.
    pub password: Option<Zeroizing<String>>,
    /// Of an age file.
    pub opener: Option<Opener>,
}

/// What the user says of the file.
#[derive(Clone, Debug, Default)]
pub struct Kind {
    /// Algorithm of a raw symmetric key: the file is one.
    pub raw: Option<(CryptographicAlgorithm, Encoding)>,
    /// Name of the key, where the file has none.
    pub name: Option<String>,
    /// Keys that tell no state become Active at once; seconds since 1970.
    pub active_since: Option<i64>,
}

/// How a raw key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// The octets themselves.
    Binary,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the file is.
    pub format: &'static str,
    /// How many keys and other objects.
    pub items: u64,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Too large.
    #[error("the file has {0} octets, at most {WHOLE_BYTES_MAX} of this kind are read")]
    TooLarge(u64),
    /// Not recognised.
    #[error("the file is of no known form\nhint: a raw symmetric key needs --algorithm")]
    Unknown,
    /// It needs a password.
    #[error("the file is encrypted: give --password-file")]
    NoPassword,
    /// It needs an identity.
    #[error("the file is an age file: give --identity or --password-file")]
    NoIdentity,
    /// The password.
    #[error("the password does not open the file, or it was altered")]
    WrongPassword,
    /// Something in it.
    #[error("{0}")]
    Content(String),
    /// age.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// One of the XML files.
    #[error("{name}")]
    Xml {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: XmlError,
    },
}

/// Takes keys as they are found.
pub(super) type Put<'a> = &'a mut dyn FnMut(ImportItem) -> Result<(), ImportError>;

/// Reads a file; each key goes to `put`. Whether the file is whole is known when this returns: callers that must not act on half
/// a file read it twice.
///
/// # Errors
/// What is wrong with it.
pub fn read(
    path: &Path,
    kind: &Kind,
    credentials: &Credentials,
    put: &mut dyn FnMut(ImportItem) -> Result<(), ImportError>,
) -> Result<Found, ImportError> {
    let mut items = 0;
    let mut counted = |item| {
        items += 1;
        put(item)
    };
    let format = read_any(path, kind, credentials, &mut counted)?;
    Ok(Found { format, items })
}

fn read_any(path: &Path, kind: &Kind, credentials: &Credentials, put: Put<'_>) -> Result<&'static str, ImportError> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(32).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    if let Some((algorithm, encoding)) = kind.raw {
        put(raw(&whole(file)?, algorithm, encoding, kind)?)?;
        return Ok("raw");
    }
    if start.starts_with(b"age-encryption.org/") {
        let opener = credentials.opener.as_ref().ok_or(ImportError::NoIdentity)?;
        ours::document(BufReader::new(opener.open(BufReader::new(file))?), put)?;
        return Ok("age");
    }
    if start.starts_with(b"PK\x03\x04") {
        return ours::archive(file, credentials.password.as_ref(), put);
    }
    if start.trim_ascii_start().starts_with(b"{") {
        ours::document(BufReader::new(file), put)?;
        return Ok("json");
    }
    let octets = whole(file)?;
    let password = credentials.password.as_ref();
    if octets.windows(11).any(|window| window == b"-----BEGIN ") {
        pem::blocks(&octets, password, kind, put)?;
        return Ok("pem");
    }
    if start.first() != Some(&0x30) {
        return Err(ImportError::Unknown);
    }
    if pkcs12::is_pkcs12(&octets) {
        pkcs12::bags(&octets, password.ok_or(ImportError::NoPassword)?, kind, put)?;
        return Ok("pkcs12");
    }
    put(pem::der(&octets, password, kind)?)?;
    Ok("der")
}

fn whole(file: File) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let length = file.metadata()?.len();
    if length > WHOLE_BYTES_MAX {
        return Err(ImportError::TooLarge(length));
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(WHOLE_BYTES_MAX).read_to_end(&mut octets)?;
    Ok(octets)
}

fn raw(
    octets: &[u8],
    algorithm: CryptographicAlgorithm,
    encoding: Encoding,
    kind: &Kind,
) -> Result<ImportItem, ImportError> {
    let content = |what: &str| ImportError::Content(format!("the file is not {what}"));
    let text = || {
        std::str::from_utf8(octets).map(|text| text.split_ascii_whitespace().collect::<String>()).map(Zeroizing::new)
    };
    let key = match encoding {
        Encoding::Binary => Zeroizing::new(octets.to_vec()),
        Encoding::Hex => {
            let text = text().map_err(|_| content("hexadecimal"))?;
            Zeroizing::new(hex::decode(text.as_bytes()).map_err(|_| content("hexadecimal"))?)
        }
        Encoding::Base64 => {
            let text = text().map_err(|_| content("base64"))?;
            Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| content("base64"))?)
        }
    };
    symmetric(&key, algorithm, None, kind)
}

/// A symmetric key.
pub(super) fn symmetric(
    octets: &[u8],
    algorithm: CryptographicAlgorithm,
    name: Option<&str>,
    kind: &Kind,
) -> Result<ImportItem, ImportError> {
    use CryptographicAlgorithm as A;
    let macs = [A::HmacSha1, A::HmacSha224, A::HmacSha256, A::HmacSha384, A::HmacSha512];
    let mask = if macs.contains(&algorithm) {
        CryptographicUsageMask::MAC_GENERATE | CryptographicUsageMask::MAC_VERIFY
    } else {
        CryptographicUsageMask::ENCRYPT | CryptographicUsageMask::DECRYPT
    };
    let mut block = key_block(KeyFormatType::Raw, octets);
    block.cryptographic_algorithm = Some(algorithm);
    block.cryptographic_length = i32::try_from(octets.len() * 8).ok();
    checked(ManagedObject::SymmetricKey(Key { key_block: block }), Some(mask), name, kind)
}

/// A private key in one of the formats that name their algorithm.
pub(super) fn private(
    octets: &[u8],
    format: KeyFormatType,
    name: Option<&str>,
    kind: &Kind,
) -> Result<ImportItem, ImportError> {
    let mask = CryptographicUsageMask::SIGN | CryptographicUsageMask::DECRYPT;
    checked(ManagedObject::PrivateKey(Key { key_block: key_block(format, octets) }), Some(mask), name, kind)
}

/// A public key.
pub(super) fn public(octets: &[u8], format: KeyFormatType, kind: &Kind) -> Result<ImportItem, ImportError> {
    let mask = CryptographicUsageMask::VERIFY | CryptographicUsageMask::ENCRYPT;
    checked(ManagedObject::PublicKey(Key { key_block: key_block(format, octets) }), Some(mask), None, kind)
}

/// A certificate.
pub(super) fn certificate(octets: &[u8], name: Option<&str>, kind: &Kind) -> Result<ImportItem, ImportError> {
    let object = Certificate { certificate_type: CertificateType::X509, value: octets.to_vec() };
    item(&ManagedObject::Certificate(object), None, name, kind)
}

fn key_block(format: KeyFormatType, octets: &[u8]) -> KeyBlock {
    let material = KeyMaterial::Bytes(Secret::new(octets.to_vec()));
    KeyBlock {
        key_format_type: format,
        key_compression_type: None,
        key_value: Some(KeyValue::Plain { material, attributes: Attributes::default() }),
        cryptographic_algorithm: None,
        cryptographic_length: None,
        key_wrapping_data: None,
    }
}

/// A key that parses: what is wrong with it is told here, with the file at hand.
fn checked(
    object: ManagedObject,
    mask: Option<CryptographicUsageMask>,
    name: Option<&str>,
    kind: &Kind,
) -> Result<ImportItem, ImportError> {
    let parsed = key_block::material_of(&object, &AttributeSet::default());
    parsed.map_err(|error| ImportError::Content(format!("the key cannot be used: {error}")))?;
    item(&object, mask, name, kind)
}

fn item(
    object: &ManagedObject,
    mask: Option<CryptographicUsageMask>,
    name: Option<&str>,
    kind: &Kind,
) -> Result<ImportItem, ImportError> {
    let name = kind.name.as_deref().or(name);
    let mut list: Vec<AttributeInstance> = Vec::new();
    if let Some(name) = name {
        let name = Name { value: name.to_owned(), name_type: NameType::UninterpretedTextString };
        list.push(Attribute::Name(name).into());
    }
    list.extend(mask.map(|mask| Attribute::CryptographicUsageMask(mask).into()));
    list.extend(kind.active_since.filter(|_| mask.is_some()).map(|at| Attribute::ActivationDate(DateTime(at)).into()));
    let object_type = object.object_type().to_string();
    Ok(ImportItem {
        label: name.map_or(object_type, str::to_owned),
        id: String::new(),
        links: Vec::new(),
        owner: String::new(),
        object: Password(STANDARD.encode(&*object.to_stored_bytes())),
        attributes: STANDARD.encode(Attributes { list, templates: Vec::new() }.to_stored_bytes()),
        compromised: false,
    })
}

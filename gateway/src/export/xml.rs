//! One key in one XML file, encrypted under a passphrase.
//!
//! ```text
//! <EncryptedKey xmlns="urn:keygate:encrypted-key:1" Id="UNIQUE-IDENTIFIER">
//!   <Argon2id Memory="65536" Passes="3" Lanes="4" Salt="BASE64"/>     KiB; RFC 9106, version 0x13, 32 octets
//!   <AES-256-GCM Nonce="BASE64"/>                                      12 octets
//!   <Value>BASE64</Value>                                              ciphertext and tag
//! </EncryptedKey>
//! ```
//! The file's key is HKDF-SHA-256 (RFC 5869) of Argon2id's output, salt absent, info `keygate-encrypted-key-1` and the Id. The
//! additional data are `keygate-encrypted-key-1`, Id, Memory, Passes, Lanes and Salt as they are written, each behind a line
//! feed. The content is an [`super::ExportedKey`] as JSON. All files of an export share their salt: one passphrase is one Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quick_xml::events::{BytesStart, Event};
use zeroize::Zeroizing;

const NAMESPACE: &str = "urn:keygate:encrypted-key:1";
const LABEL: &str = "keygate-encrypted-key-1";
/// Largest file that is read.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// Highest cost that is computed for a file: 1 GiB, 16 passes, 16 lanes.
const COST_MAX: Cost = Cost { memory_kib: 1 << 20, passes: 16, lanes: 16 };

/// Cost of Argon2id.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why a file is not written or read.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Not this format.
    #[error("the file is no EncryptedKey of a known form: {0}")]
    Form(&'static str),
    /// A cost nobody asks for.
    #[error("the file asks for too much work to check its passphrase")]
    ExcessiveWork,
    /// Another salt than the other files.
    #[error("the file is of another export: one at a time is read")]
    OtherSalt,
    /// Does not open.
    #[error("the passphrase does not open the file, or it was altered")]
    NotAuthentic,
    /// Argon2id refuses.
    #[error("Argon2id: {0}")]
    Argon2(String),
    /// No randomness.
    #[error("the random source failed")]
    Random,
}

/// The key of an export's files.
pub struct XmlKey {
    cost: Cost,
    salt: String,
    secret: Zeroizing<[u8; 32]>,
}

impl XmlKey {
    /// A new one: a tenth of a second and 64 MiB.
    ///
    /// # Errors
    /// Argon2id or the random generator.
    pub fn new(passphrase: &str) -> Result<Self, XmlError> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| XmlError::Random)?;
        Self::derive(passphrase, &STANDARD.encode(salt), Cost { memory_kib: 64 * 1024, passes: 3, lanes: 4 })
    }

    fn derive(passphrase: &str, salt: &str, cost: Cost) -> Result<Self, XmlError> {
        let octets = STANDARD.decode(salt).map_err(|_| XmlError::Form("Salt"))?;
        if octets.len() < 16 || octets.len() > 64 {
            return Err(XmlError::Form("Salt"));
        }
        let refused = |error: argon2::Error| XmlError::Argon2(error.to_string());
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(refused)?;
        let mut secret = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), &octets, secret.as_mut_slice()).map_err(refused)?;
        Ok(Self { cost, salt: salt.to_owned(), secret })
    }

    /// The file of `content`.
    ///
    /// # Errors
    /// The random generator.
    pub fn encrypt(&self, id: &str, content: &[u8]) -> Result<String, XmlError> {
        let mut nonce = [0; 12];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| XmlError::Random)?;
        let mut octets = Zeroizing::new(Vec::with_capacity(content.len() + 16));
        octets.extend_from_slice(content);
        let sealed =
            self.key_of(id)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(id), &mut *octets);
        sealed.map_err(|_| XmlError::Random)?;
        let Cost { memory_kib, passes, lanes } = self.cost;
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<EncryptedKey xmlns=\"{NAMESPACE}\" Id=\"{}\">\n  \
             <Argon2id Memory=\"{memory_kib}\" Passes=\"{passes}\" Lanes=\"{lanes}\" Salt=\"{}\"/>\n  \
             <AES-256-GCM Nonce=\"{}\"/>\n  <Value>{}</Value>\n</EncryptedKey>\n",
            quick_xml::escape::escape(id),
            self.salt,
            STANDARD.encode(nonce),
            STANDARD.encode(&*octets),
        ))
    }

    fn key_of(&self, id: &str) -> Result<LessSafeKey, XmlError> {
        let mut key = Zeroizing::new([0; 32]);
        let prk = Salt::new(HKDF_SHA256, &[]).extract(self.secret.as_slice());
        let info = [LABEL.as_bytes(), id.as_bytes()];
        let okm = prk.expand(&info, HKDF_SHA256).map_err(|_| XmlError::Random)?;
        okm.fill(key.as_mut_slice()).map_err(|_| XmlError::Random)?;
        UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| XmlError::Random)
    }

    fn aad(&self, id: &str) -> Aad<String> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        Aad::from(format!("{LABEL}\n{id}\n{memory_kib}\n{passes}\n{lanes}\n{}", self.salt))
    }
}

/// Opens files of one export with one passphrase; Argon2id is computed once.
pub struct XmlOpener {
    passphrase: Zeroizing<String>,
    key: Option<XmlKey>,
}

impl XmlOpener {
    /// With a passphrase.
    pub fn new(passphrase: Zeroizing<String>) -> Self {
        Self { passphrase, key: None }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&mut self, text: &str) -> Result<Zeroizing<Vec<u8>>, XmlError> {
        let file = Parsed::read(text)?;
        let too_much = file.cost.memory_kib > COST_MAX.memory_kib || file.cost.passes > COST_MAX.passes;
        if too_much || file.cost.lanes > COST_MAX.lanes {
            return Err(XmlError::ExcessiveWork);
        }
        if self.key.is_none() {
            self.key = Some(XmlKey::derive(&self.passphrase, &file.salt, file.cost)?);
        }
        let key = self
            .key
            .as_ref()
            .filter(|key| key.salt == file.salt && key.cost == file.cost)
            .ok_or(XmlError::OtherSalt)?;
        let nonce = STANDARD.decode(&file.nonce).ok().and_then(|nonce| <[u8; 12]>::try_from(nonce).ok());
        let nonce = nonce.ok_or(XmlError::Form("Nonce"))?;
        let mut octets = Zeroizing::new(STANDARD.decode(&file.value).map_err(|_| XmlError::Form("Value"))?);
        let opened =
            key.key_of(&file.id)?.open_in_place(Nonce::assume_unique_for_key(nonce), key.aad(&file.id), &mut octets);
        let length = opened.map_err(|_| XmlError::NotAuthentic)?.len();
        octets.truncate(length);
        Ok(octets)
    }
}

struct Parsed {
    id: String,
    cost: Cost,
    salt: String,
    nonce: String,
    value: String,
}

impl Parsed {
    fn read(text: &str) -> Result<Self, XmlError> {
        let mut reader = quick_xml::Reader::from_str(text);
        let (mut id, mut cost, mut salt, mut nonce, mut value) = (None, None, None, None, None);
        let mut in_value = false;
        loop {
            match reader.read_event().map_err(|_| XmlError::Form("it is not XML"))? {
                Event::Start(start) | Event::Empty(start) => match start.name().as_ref() {
                    "EncryptedKey" if attribute(&start, "xmlns")? == NAMESPACE => id = Some(attribute(&start, "Id")?),
                    "Argon2id" => {
                        let number =
                            |name| attribute(&start, name)?.parse::<u32>().map_err(|_| XmlError::Form("Argon2id"));
                        cost = Some(Cost {
                            memory_kib: number("Memory")?,
                            passes: number("Passes")?,
                            lanes: number("Lanes")?,
                        });
                        salt = Some(attribute(&start, "Salt")?);
                    }
                    "AES-256-GCM" => nonce = Some(attribute(&start, "Nonce")?),
                    "Value" => in_value = true,
                    _ => return Err(XmlError::Form("an element that is not known")),
                },
                Event::Text(part) if in_value && value.is_none() => {
                    value = Some(part.trim().to_owned());
                }
                Event::End(end) if end.name().as_ref() == "Value" => in_value = false,
                Event::DocType(_) => return Err(XmlError::Form("it has a document type")),
                Event::Eof => break,
                _ => {}
            }
        }
        Ok(Self {
            id: id.ok_or(XmlError::Form("no EncryptedKey"))?,
            cost: cost.ok_or(XmlError::Form("no Argon2id"))?,
            salt: salt.ok_or(XmlError::Form("no Argon2id"))?,
            nonce: nonce.ok_or(XmlError::Form("no AES-256-GCM"))?,
            value: value.ok_or(XmlError::Form("no Value"))?,
        })
    }
}

fn attribute(start: &BytesStart<'_>, name: &'static str) -> Result<String, XmlError> {
    let found = start.try_get_attribute(name).ok().flatten().ok_or(XmlError::Form(name))?;
    Ok(found.value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opener(passphrase: &str) -> XmlOpener {
        XmlOpener::new(Zeroizing::new(passphrase.into()))
    }

    /// What was encrypted opens with its passphrase; not with another, not under another name, not with another cost.
    #[test]
    fn files_open_as_they_were_made() {
        let key = XmlKey::new("seven words").expect("a key");
        let file = key.encrypt("id-1", b"content").expect("a file");
        assert_eq!(*opener("seven words").open(&file).expect("opens"), b"content");
        let refused = |text: &str, passphrase: &str| opener(passphrase).open(text).err();
        assert!(matches!(refused(&file, "other"), Some(XmlError::NotAuthentic)));
        assert!(matches!(refused(&file.replace("id-1", "id-2"), "seven words"), Some(XmlError::NotAuthentic)));
        assert!(matches!(
            refused(&file.replace("Passes=\"3\"", "Passes=\"1\""), "seven words"),
            Some(XmlError::NotAuthentic)
        ));
    }

    /// A cost that would keep the reader busy, files of two exports and other XML are refused before any work.
    #[test]
    fn bad_files_are_refused() {
        let file = XmlKey::new("seven words").expect("a key").encrypt("id", b"content").expect("a file");
        let costly = file.replace("Memory=\"65536\"", "Memory=\"4294967295\"");
        assert!(matches!(opener("x").open(&costly), Err(XmlError::ExcessiveWork)));
        let other = XmlKey::new("seven words").expect("a key").encrypt("id", b"content").expect("a file");
        let mut one = opener("seven words");
        let _ = one.open(&file).expect("the first");
        assert!(matches!(one.open(&other), Err(XmlError::OtherSalt)));
        for text in [
            "",
            "text",
            "<a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><EncryptedKey/>",
            "<EncryptedKey xmlns=\"urn:keygate:encrypted-key:1\"/>",
        ] {
            assert!(matches!(opener("x").open(text), Err(XmlError::Form(_))), "{text}");
        }
    }
}

//! PKCS#12 (RFC 7292): private keys, certificates, and the secret keys that Java keeps in such files. Read are PBES2 and the RC2 and
//! 3DES of old programs, with the MAC of RFC 7292 Appendix B or without one; not PBMAC1 (RFC 9579).
//!
//! A file says itself how much work its password is. What it asks for in clear is added up before any of it is done; what it asks
//! for inside its encrypted parts is cut off by time.

use std::{sync::mpsc, thread, time::Duration};

use der::{Decode as _, Reader as _};
use keygate_kmip::{CryptographicAlgorithm, KeyFormatType};
use p12_keystore::{Pkcs12Archive, error::Error, secret::SecretKeyType};
use zeroize::Zeroizing;

use super::FileLink;
use super::read::{ImportError, Kind, Put, certificate, private, symmetric};

/// Most rounds of one derivation, as the library has it.
const ROUNDS_MAX: u64 = 1_000_000;
/// Most rounds of a file.
const ROUNDS_IN_ALL_MAX: u64 = 10_000_000;
/// Structures in structures.
const DEPTH_MAX: u32 = 16;
/// Longest work on a file.
const WORK_MAX: Duration = Duration::from_secs(60);
/// KMIP Link Type of a key to its certificate.
const CERTIFICATE_LINK: u32 = keygate_kmip::LinkType::CertificateLink.code();

/// Whether DER is a PFX: RFC 7292 §4, `PFX ::= SEQUENCE { version INTEGER {v3(3)}, authSafe ContentInfo, ...`.
pub(super) fn is_pkcs12(octets: &[u8]) -> bool {
    let Ok(mut reader) = der::SliceReader::new(octets) else { return false };
    let Ok(header) = der::Header::decode(&mut reader) else { return false };
    header.tag() == der::Tag::Sequence && u8::decode(&mut reader).is_ok_and(|version| version == 3)
}

pub(super) fn bags(octets: &[u8], password: &Zeroizing<String>, kind: &Kind, put: Put<'_>) -> Result<(), ImportError> {
    let archive = decrypted(octets, password)?;
    // RFC 7292 §4.2: the localKeyId attribute is the same for a key and its certificate.
    let id_of = |local: &[u8], what: &str| format!("{what} {}", hex::encode(&local[..local.len().min(64)]));
    for bag in &archive.keys {
        let mut item = private(bag.key.as_der(), KeyFormatType::Pkcs8, bag.friendly_name.as_deref(), kind)?;
        let local = bag.local_key_id.as_ref().map(AsRef::<[u8]>::as_ref);
        let own = local
            .filter(|local| archive.certs.iter().any(|certificate| certificate.local_key_id.as_deref() == Some(local)));
        if let Some(local) = own {
            item.id = id_of(local, "key");
            item.links = vec![FileLink { link_type: CERTIFICATE_LINK, to: id_of(local, "certificate") }];
        }
        put(item)?;
    }
    // A certificate often has the name of its key; names are unique, so it goes without.
    let nameless = Kind { name: None, ..kind.clone() };
    for bag in &archive.certs {
        let mut item = certificate(bag.cert.as_der(), None, &nameless)?;
        item.id = bag.local_key_id.as_deref().map(|local| id_of(local, "certificate")).unwrap_or_default();
        put(item)?;
    }
    for bag in &archive.secrets {
        let algorithm = algorithm(&bag.key.key_type())
            .ok_or_else(|| ImportError::Content(format!("a secret key of {:?} is not taken in", bag.key.key_type())))?;
        put(symmetric(bag.key.key(), algorithm, bag.friendly_name.as_deref(), kind)?)?;
    }
    Ok(())
}

/// On a thread of its own: what takes too long is left behind, and ends with the command.
fn decrypted(octets: &[u8], password: &Zeroizing<String>) -> Result<Pkcs12Archive, ImportError> {
    let mut asked = Rounds::default();
    asked.of(octets, DEPTH_MAX);
    if asked.most > ROUNDS_MAX || asked.in_all > ROUNDS_IN_ALL_MAX {
        return Err(ImportError::Content(format!(
            "the file asks for too much work to check its password: {} rounds at once and {} in all, at most {ROUNDS_MAX} and \
             {ROUNDS_IN_ALL_MAX} are done",
            asked.most, asked.in_all
        )));
    }
    let (sender, receiver) = mpsc::channel();
    let (octets, password) = (Zeroizing::new(octets.to_vec()), password.clone());
    thread::spawn(move || sender.send(Pkcs12Archive::from_pkcs12(&octets, &password)));
    let archive = receiver.recv_timeout(WORK_MAX).map_err(|_| {
        ImportError::Content(format!("the file asks for too much work: it was not open after {} s", WORK_MAX.as_secs()))
    })?;
    archive.map_err(refused)
}

/// Rounds of key derivation that a file asks for.
#[derive(Default)]
struct Rounds {
    most: u64,
    in_all: u64,
}

impl Rounds {
    /// Adds up what stands in clear. In every such structure, PBKDF2-params and PBE-params of RFC 8018, scrypt-params of RFC 7914 and
    /// MacData of RFC 7292, the number of rounds is the INTEGER after the salt's OCTET STRING.
    fn of(&mut self, octets: &[u8], depth: u32) {
        let Ok(mut reader) = der::SliceReader::new(octets) else { return };
        let mut after_salt = false;
        while !reader.is_finished() {
            let Ok(header) = der::Header::decode(&mut reader) else { return };
            let Ok(content) = reader.read_slice(header.length()) else { return };
            if after_salt && header.tag() == der::Tag::Integer {
                let leading = content.iter().skip_while(|octet| **octet == 0);
                let rounds = if leading.clone().count() > 8 {
                    u64::MAX
                } else {
                    leading.fold(0, |sum, octet| sum << 8 | u64::from(*octet))
                };
                self.most = self.most.max(rounds);
                self.in_all = self.in_all.saturating_add(rounds);
            }
            after_salt = header.tag() == der::Tag::OctetString;
            // Contents are OCTET STRINGs that hold structures.
            if (header.tag().is_constructed() || after_salt) && depth > 0 {
                self.of(content, depth - 1);
            }
        }
    }
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
        Error::InvalidParameters => ImportError::Content(format!(
            "the PKCS#12 file is damaged, or asks for more than {ROUNDS_MAX} rounds inside"
        )),
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            ImportError::Content("the PKCS#12 file is encrypted in a way that is not read".into())
        }
        _ => ImportError::Content("the PKCS#12 file cannot be read".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut octets = vec![tag, 0x82, (content.len() >> 8) as u8, content.len() as u8];
        if content.len() < 128 {
            octets = vec![tag, content.len() as u8];
        }
        octets.extend_from_slice(content);
        octets
    }

    /// Rounds are found in structures, in structures inside octets, and beyond what a number holds; other integers are none.
    #[test]
    fn rounds_are_added_up() {
        let parameters = |rounds: &[u8]| tlv(0x30, &[tlv(0x04, b"salt"), tlv(0x02, rounds)].concat());
        let inside = tlv(0x30, &tlv(0x04, &parameters(&[0x0F, 0x42, 0x40])));
        let file = tlv(0x30, &[tlv(0x02, &[3]), inside, parameters(&[0x08, 0x00])].concat());
        let mut rounds = Rounds::default();
        rounds.of(&file, DEPTH_MAX);
        assert_eq!((rounds.most, rounds.in_all), (1_000_000, 1_002_048));
        rounds.of(&parameters(&[0x7F; 12]), DEPTH_MAX);
        assert_eq!((rounds.most, rounds.in_all), (u64::MAX, u64::MAX));
    }

    /// However deep a file is nested or however it breaks off, looking at it ends.
    #[test]
    fn looking_at_a_file_is_bounded() {
        let mut nested = Vec::new();
        for _ in 0..1000 {
            nested = tlv(0x30, &nested);
        }
        for file in [&nested[..], &nested[..nested.len() - 3], &[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], &[0x30]] {
            let mut rounds = Rounds::default();
            rounds.of(file, DEPTH_MAX);
            assert_eq!(rounds.in_all, 0);
        }
    }
}

//! The keys of a mock and what can be done with them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_backends::local::{self, KeyMaterial, PreparedKey};
use keygate_backends::{
    BlockPadding, DecryptOp, EncryptOp, EncryptionScheme, Iv, KeySpec, KsError, MacScheme, PairSpec, SecretBytes,
    SignInput, SignatureScheme,
};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, RecommendedCurve};
use serde_json::Value;

/// Why something was not done: a status and, in the spelling of the ESKM style, a reason.
pub(super) type Refusal = (u16, &'static str);

pub(super) const NO_KEY: Refusal = (404, "ITEM_NOT_FOUND");
pub(super) const BAD_FIELD: Refusal = (400, "INVALID_FIELD");

#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<String, MockKey>);

pub(super) struct MockKey {
    pub(super) algorithm: String,
    pub(super) group: String,
    pub(super) is_exportable: bool,
    pub(super) is_retired: bool,
    material: KeyMaterial,
    public: Option<KeyMaterial>,
}

impl std::fmt::Debug for MockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MockKey({})", self.algorithm)
    }
}

/// What a key is to be.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) bits: u32,
    pub(super) curve: Option<RecommendedCurve>,
    pub(super) material: Option<Vec<u8>>,
    pub(super) group: &'a str,
    pub(super) is_exportable: bool,
}

impl Keys {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&self, name: &str) -> Result<&MockKey, Refusal> {
        self.0.get(name).ok_or(NO_KEY)
    }

    pub(super) fn of_group(&self, group: &str) -> impl Iterator<Item = (&String, &MockKey)> {
        self.0.iter().filter(move |(_, key)| key.group == group)
    }

    pub(super) fn retire(&mut self, name: &str) -> Result<(), Refusal> {
        self.0.get_mut(name).ok_or(NO_KEY)?.is_retired = true;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), Refusal> {
        self.0.remove(name).map(drop).ok_or(NO_KEY)
    }

    /// Makes a key, or takes its material in. A name that is taken is refused.
    pub(super) fn make(&mut self, wanted: Wanted<'_>) -> Result<&MockKey, Refusal> {
        if self.0.contains_key(wanted.name) {
            return Err((409, "PERMISSION_DENIED"));
        }
        let symmetric = match wanted.algorithm {
            "AES" => Some(A::Aes),
            "HMAC-SHA256" => Some(A::HmacSha256),
            "HMAC-SHA384" => Some(A::HmacSha384),
            "HMAC-SHA512" => Some(A::HmacSha512),
            _ => None,
        };
        let (material, public) = match (symmetric, wanted.material) {
            (Some(algorithm), Some(bytes)) => {
                (KeyMaterial::symmetric(algorithm, SecretBytes::new(bytes)).map_err(refusal)?, None)
            }
            (Some(algorithm), None) => {
                (local::generate(&KeySpec { algorithm, bits: wanted.bits }).map_err(refusal)?, None)
            }
            (None, Some(der)) => {
                let private = KeyMaterial::from_pkcs8(&der).map_err(refusal)?;
                let public = private.public_half().map_err(refusal)?;
                (private, Some(public))
            }
            (None, None) => {
                let spec = match (wanted.algorithm, wanted.curve) {
                    ("RSA", _) => PairSpec::Rsa { bits: wanted.bits },
                    ("EC", Some(curve)) => PairSpec::Ec { curve },
                    _ => return Err(BAD_FIELD),
                };
                let (private, public) = local::generate_pair(&spec).map_err(refusal)?;
                (private, Some(public))
            }
        };
        let key = MockKey {
            algorithm: wanted.algorithm.to_owned(),
            group: wanted.group.to_owned(),
            is_exportable: wanted.is_exportable,
            is_retired: false,
            material,
            public,
        };
        Ok(self.0.entry(wanted.name.to_owned()).or_insert(key))
    }
}

impl MockKey {
    pub(super) fn value(&self) -> Value {
        encode(self.material.expose_canonical())
    }

    /// SubjectPublicKeyInfo of a pair's public half.
    pub(super) fn public(&self) -> Value {
        self.public.as_ref().map_or(Value::Null, |public| encode(public.expose_canonical()))
    }

    fn prepared(&self) -> Result<PreparedKey, Refusal> {
        PreparedKey::new(&self.material).map_err(refusal)
    }

    /// Text and tag.
    pub(super) fn encrypt(
        &self,
        scheme: &EncryptionScheme,
        iv: &[u8],
        aad: &[u8],
        data: &[u8],
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
        let op = EncryptOp { scheme, iv: Iv::Given(iv), aad, data, legacy: false };
        let sealed = local::encrypt(&self.prepared()?, &op).map_err(refusal)?;
        Ok((sealed.data, sealed.tag))
    }

    pub(super) fn decrypt(
        &self,
        scheme: &EncryptionScheme,
        iv: &[u8],
        aad: &[u8],
        data: &[u8],
        tag: Option<&[u8]>,
    ) -> Result<Vec<u8>, Refusal> {
        let op = DecryptOp { scheme, iv, aad, data, tag };
        Ok(local::decrypt(&self.prepared()?, &op).map_err(refusal)?.into_exposed())
    }

    pub(super) fn sign(&self, scheme: SignatureScheme, input: SignInput<'_>) -> Result<Vec<u8>, Refusal> {
        local::sign(&self.prepared()?, scheme, input).map_err(refusal)
    }

    pub(super) fn mac(&self, hash: H, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        local::mac(&self.prepared()?, MacScheme::Hmac(hash), b"", data).map_err(refusal)
    }
}

pub(super) fn refusal(error: KsError) -> Refusal {
    use keygate_backends::{Class, Fault};
    match error.class() {
        Class::BadInput(Fault::Integrity) => (422, "CRYPTOGRAPHIC_FAILURE"),
        Class::BadInput(Fault::Data) => (400, "INVALID_DATA"),
        Class::Unsupported => (400, "FEATURE_NOT_SUPPORTED"),
        _ => (400, "BAD_CRYPTOGRAPHIC_PARAMETERS"),
    }
}

/// A way to encrypt by any of the styles' spellings. The client pads.
pub(super) fn scheme(
    mode: &str,
    tag_bits: Option<u64>,
    hashes: (Option<H>, Option<H>),
) -> Result<EncryptionScheme, Refusal> {
    Ok(match mode {
        "ECB" | "ecb" => EncryptionScheme::Ecb(BlockPadding::None),
        "CBC" | "cbc" | "AES_CBC_NO_PADDING" => EncryptionScheme::Cbc(BlockPadding::None),
        "CTR" => EncryptionScheme::Ctr,
        "GCM" | "gcm" | "AES_GCM" => {
            EncryptionScheme::Gcm { tag_len: usize::try_from(tag_bits.unwrap_or(128)).map_err(|_| BAD_FIELD)? / 8 }
        }
        "RSA-PKCS1" => EncryptionScheme::RsaPkcs1,
        "RSA-OAEP" => {
            let (hash, mgf_hash) = (hashes.0.ok_or(BAD_FIELD)?, hashes.1.ok_or(BAD_FIELD)?);
            EncryptionScheme::RsaOaep { hash, mgf_hash, label: Vec::new() }
        }
        _ => return Err((400, "FEATURE_NOT_SUPPORTED")),
    })
}

pub(super) fn hash(text: &str) -> Option<H> {
    Some(match text.replace('-', "").as_str() {
        "SHA1" => H::Sha1,
        "SHA256" => H::Sha256,
        "SHA384" => H::Sha384,
        "SHA512" => H::Sha512,
        _ => return None,
    })
}

pub(super) fn encode(bytes: &[u8]) -> Value {
    Value::from(STANDARD.encode(bytes))
}

pub(super) fn decode(value: &Value) -> Result<Vec<u8>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        value => STANDARD.decode(value.as_str().ok_or(BAD_FIELD)?).map_err(|_| BAD_FIELD),
    }
}

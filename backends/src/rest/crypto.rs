//! Using keys in the server, or, where that is configured and the server cannot, with fetched material.
//!
//! Block padding and hashing happen here, as for tokens: the server encrypts whole blocks and signs digests, where its
//! profile says that it takes them.

use super::keystore::RestKeystore;
use super::profile::Op;
use super::template::{self, Values};
use crate::error::{Class, KsError, Result};
use crate::key::KeyRef;
use crate::keystore::OpCx;
use crate::local::{self, KeyKind, KeyMaterial, PreparedKey};
use crate::operation::{
    CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, MacScheme, SignInput,
    SignatureScheme,
};
use crate::remote::Effect;
use crate::secret::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm};
use serde_json::Value;

const BLOCK: usize = 16;

impl RestKeystore {
    pub(super) async fn apply(&self, key: &KeyRef, op: CryptoOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let done = match op {
            CryptoOp::Encrypt(op) => self.encrypt(key, op, cx).await,
            CryptoOp::Decrypt(op) => self.decrypt(key, op, cx).await,
            CryptoOp::Sign(scheme, input) => self.sign(key, scheme, input, cx).await,
            CryptoOp::Mac { scheme, data, .. } => self.mac(key, scheme, data, cx).await,
            CryptoOp::Verify(..) => {
                return Err(KsError::unsupported("signatures are verified with the public half, in software"));
            }
            CryptoOp::Encapsulate | CryptoOp::Decapsulate(_) => {
                return Err(KsError::unsupported("no key encapsulation behind REST"));
            }
        };
        match done {
            Err(error) if error.class() == Class::Unsupported && self.fetches() => {
                local::apply(&PreparedKey::new(&self.fetch_key(key, cx).await?)?, op)
            }
            done => done,
        }
    }

    /// The key's value. Only called where the configuration lets it leave the server.
    pub(super) async fn fetch_key(&self, key: &KeyRef, cx: OpCx) -> Result<KeyMaterial> {
        let name = self.name(key.id);
        let values = named(&name);
        let answer = self.client.call(Op::Export, &values, Effect::Read, cx).await?;
        answer.check_name(&name)?;
        let bytes = answer.bytes("material")?;
        let parsed = match key.class {
            crate::KeyClass::Private => KeyMaterial::from_pkcs8(bytes.expose()),
            // REST profiles export octets; an AES key is one that has the length of one.
            crate::KeyClass::Secret if matches!(bytes.len(), 16 | 24 | 32) => {
                KeyMaterial::symmetric(CryptographicAlgorithm::Aes, bytes)
            }
            crate::KeyClass::Secret => KeyMaterial::symmetric(CryptographicAlgorithm::HmacSha256, bytes),
        };
        let material = parsed.map_err(|error| error.into_class(Class::Corrupt))?;
        if key.check != crate::KeyCheck::None && crate::remote::check_of(&material)? != key.check {
            return Err(KsError::new(
                Class::Corrupt,
                format!("key {} in the key server is not the one that was made", key.id),
            ));
        }
        Ok(material)
    }

    pub(super) async fn encrypt(&self, key: &KeyRef, op: EncryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let usual = local::iv_len(KeyKind::Symmetric(CryptographicAlgorithm::Aes), op.scheme);
        let drawn = match op.iv {
            Iv::Random { len } if usual > 0 => Some(local::random(len.unwrap_or(usual).min(128))?.into_exposed()),
            _ => None,
        };
        let iv = match (op.iv, &drawn) {
            (Iv::Given(iv), _) => iv,
            (Iv::Random { .. }, drawn) => drawn.as_deref().unwrap_or_default(),
        };
        if matches!(op.scheme, EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw)
        {
            return Err(KsError::unsupported("RSA encrypts with the public half, in software"));
        }
        let mut values = self.cipher_values(key, op.scheme, iv, op.aad)?;
        let mut plain = Vec::with_capacity(op.data.len() + BLOCK);
        plain.extend_from_slice(op.data);
        if let EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) = op.scheme {
            plain.extend(local::padding::suffix(*padding, op.data.len(), BLOCK)?);
        }
        let plain = SecretBytes::new(plain);
        values.insert("data".into(), base64(plain.expose()));
        let answer = self.client.call(Op::Encrypt, &values, Effect::Read, cx).await?;
        answer.check_name(&self.name(key.id))?;
        let mut data = answer.bytes("data")?.into_exposed();
        let mut tag = answer.optional_bytes("tag")?.filter(|_| op.scheme.is_aead());
        if let (Some(len), None) = (op.scheme.tag_len(), &tag) {
            // Some servers append the tag to the text.
            tag = data.len().checked_sub(len).filter(|at| *at == plain.len()).map(|at| data.split_off(at));
        }
        let told = answer.optional_bytes("iv")?.filter(|told| usual > 0 && !told.is_empty());
        if tag.as_ref().map(Vec::len) != op.scheme.tag_len() || (told.is_some() && told.as_deref() != Some(iv)) {
            return Err(KsError::new(
                Class::Corrupt,
                "the key server's cipher text has not the tag or IV that was asked for",
            ));
        }
        Ok(CryptoOut::Encrypted(Encrypted { data, iv: drawn, tag }))
    }

    async fn decrypt(&self, key: &KeyRef, op: DecryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let mut values = self.cipher_values(key, op.scheme, op.iv, op.aad)?;
        let padding = local::padding::before_decrypt(&op, BLOCK)?;
        values.insert("data".into(), base64(op.data));
        values.insert("tag".into(), op.tag.map_or(Value::Null, base64));
        let answer = self.client.call(Op::Decrypt, &values, Effect::Read, cx).await?;
        answer.check_name(&self.name(key.id))?;
        let plain = answer.bytes("data")?;
        local::padding::after_decrypt(padding, plain, BLOCK).map(CryptoOut::Decrypted)
    }

    fn cipher_values(&self, key: &KeyRef, scheme: &EncryptionScheme, iv: &[u8], aad: &[u8]) -> Result<Values> {
        if !aad.is_empty() && !scheme.is_aead() {
            return Err(KsError::parameters("additional authenticated data goes with AEAD modes only"));
        }
        let fits = match scheme {
            EncryptionScheme::Cbc(_) | EncryptionScheme::Ctr => iv.len() == BLOCK,
            EncryptionScheme::Gcm { .. } => (1..=128).contains(&iv.len()),
            _ => true,
        };
        if !fits {
            return Err(KsError::parameters(format!("the mode does not take an IV of {} octets", iv.len())));
        }
        let mut values = named(&self.name(key.id));
        let name = match scheme {
            EncryptionScheme::Ecb(_) => "aes-ecb",
            EncryptionScheme::Cbc(_) => "aes-cbc",
            EncryptionScheme::Ctr => "aes-ctr",
            EncryptionScheme::Gcm { .. } => "aes-gcm",
            EncryptionScheme::KeyWrap => "aes-key-wrap",
            EncryptionScheme::RsaPkcs1 => "rsa-pkcs1",
            EncryptionScheme::RsaOaep { hash, mgf_hash, label } if label.is_empty() => {
                values.insert("hash".into(), self.hash(*hash)?);
                values.insert("mgf-hash".into(), self.hash(*mgf_hash)?);
                "rsa-oaep"
            }
            _ => "",
        };
        let described = self.client.profile.encryption.get(name).ok_or_else(|| self.lacks("this way of encrypting"))?;
        if scheme.tag_len().is_some_and(|len| len != 16) && !self.client.profile.mentions(Op::Encrypt, "tag-bits") {
            return Err(self.lacks("this length of a tag"));
        }
        values.insert("iv".into(), if iv.is_empty() { Value::Null } else { base64(iv) });
        values.insert("aad".into(), if aad.is_empty() { Value::Null } else { base64(aad) });
        values.insert("tag-bits".into(), scheme.tag_len().map_or(Value::Null, |len| Value::from(len * 8)));
        describe(&mut values, described)?;
        Ok(values)
    }

    pub(super) async fn sign(
        &self,
        key: &KeyRef,
        scheme: SignatureScheme,
        input: SignInput<'_>,
        cx: OpCx,
    ) -> Result<CryptoOut> {
        let digest = local::digest_of(scheme, input)?;
        let mut values = named(&self.name(key.id));
        let name = match scheme {
            SignatureScheme::RsaPkcs1(_) => "rsa-pkcs1",
            SignatureScheme::RsaPss { mgf_hash, salt_len, hash } => {
                values.insert("mgf-hash".into(), self.hash(mgf_hash)?);
                values.insert("salt".into(), Value::from(salt_len.unwrap_or(digest.len())));
                let says = |variable| self.client.profile.mentions(Op::Sign, variable);
                if (hash != mgf_hash && !says("mgf-hash"))
                    || (salt_len.is_some_and(|len| len != digest.len()) && !says("salt"))
                {
                    return Err(self.lacks("these parameters of PSS"));
                }
                "rsa-pss"
            }
            SignatureScheme::Ecdsa(_) => "ecdsa",
            SignatureScheme::Ed25519 => "ed25519",
            SignatureScheme::RsaPkcs1Bare | SignatureScheme::MlDsa => "",
        };
        let described = self.client.profile.signature.get(name).ok_or_else(|| self.lacks("this way of signing"))?;
        if let Some(hash) = scheme.hash() {
            values.insert("hash".into(), self.hash(hash)?);
        }
        if self.client.profile.mentions(Op::Sign, "digest") {
            values.insert("digest".into(), base64(&digest));
        } else {
            let SignInput::Message(message) = input else { return Err(self.lacks("signing a digest")) };
            values.insert("message".into(), base64(message));
        }
        describe(&mut values, described)?;
        let answer = self.client.call(Op::Sign, &values, Effect::Read, cx).await?;
        answer.check_name(&self.name(key.id))?;
        Ok(CryptoOut::Signature(answer.bytes("signature")?.into_exposed()))
    }

    async fn mac(&self, key: &KeyRef, scheme: MacScheme, data: &[u8], cx: OpCx) -> Result<CryptoOut> {
        let mut values = named(&self.name(key.id));
        let name = match scheme {
            MacScheme::Hmac(hash) => {
                values.insert("hash".into(), self.hash(hash)?);
                "hmac"
            }
            MacScheme::Cmac => "cmac",
            MacScheme::Gmac { .. } => "",
        };
        let described = self.client.profile.mac.get(name).ok_or_else(|| self.lacks("this MAC"))?;
        values.insert("data".into(), base64(data));
        describe(&mut values, described)?;
        let answer = self.client.call(Op::Mac, &values, Effect::Read, cx).await?;
        answer.check_name(&self.name(key.id))?;
        Ok(CryptoOut::Mac(answer.bytes("mac")?.into_exposed()))
    }

    fn hash(&self, hash: HashingAlgorithm) -> Result<Value> {
        let name = match hash {
            HashingAlgorithm::Sha1 => "sha1",
            HashingAlgorithm::Sha224 => "sha224",
            HashingAlgorithm::Sha256 => "sha256",
            HashingAlgorithm::Sha384 => "sha384",
            HashingAlgorithm::Sha512 => "sha512",
            _ => "",
        };
        self.client.profile.hash.get(name).map(|text| Value::from(text.as_str())).ok_or_else(|| self.lacks("this hash"))
    }

    pub(super) fn lacks(&self, what: &str) -> KsError {
        KsError::unsupported(format!("the {} does not have {what}", self.client.profile.device))
    }
}

pub(super) fn named(name: &str) -> Values {
    Values::from([("name".to_owned(), Value::from(name))])
}

/// Adds the variables of a table of the profile, whose values may use those that are there.
pub(super) fn describe(values: &mut Values, described: &Values) -> Result<()> {
    for (name, value) in described {
        let filled = template::fill(value, values)?;
        values.insert(name.clone(), filled);
    }
    Ok(())
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    Value::from(STANDARD.encode(bytes))
}

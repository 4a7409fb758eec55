//! The keystore on a token: InBackend custody.
//!
//! Hashing, block padding, DigestInfo and DER signatures are made here, outside the token. What needs only the public half (verification, RSA
//! encryption) is the caller's, in software.

use super::mechanism::{self, Mechanisms};
use super::message::{CipherMechanism, KeyName, PublicNumbers, Request, Response, SecretKind, SignMechanism};
use super::token::Token;
use super::curve;
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Health, KeyInfo, Keystore, OpCx};
use crate::local::{self, EcPublic, KeyKind, KeyMaterial, PairKind, RsaPublic};
use crate::operation::{BlockPadding, CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme, Iv, MacScheme, SignInput, SignatureScheme};
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm};
use std::sync::{Arc, PoisonError, RwLock};

/// A keystore on a PKCS#11 token.
pub struct Pkcs11Keystore {
    id: KeystoreId,
    token: Arc<Token>,
    probed: RwLock<Option<Arc<Probed>>>,
}

struct Probed {
    mechanisms: Mechanisms,
    device: String,
}

impl Pkcs11Keystore {
    /// The keystore under its configured name. Its keys are labelled `keygate:NAME:ID` on the token.
    pub fn new(id: KeystoreId, token: Arc<Token>) -> Self {
        Self { id, token, probed: RwLock::new(None) }
    }

    fn label(&self, id: KeyId) -> String {
        format!("{}{id}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("keygate:{}:", self.id)
    }

    fn last_probe(&self) -> Option<Arc<Probed>> {
        self.probed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn probe_now(&self, cx: OpCx) -> Result<Arc<Probed>> {
        let Response::Probed { mechanisms, device } = self.token.call(Request::Probe, cx).await? else { return Err(mismatch()) };
        let probed = Arc::new(Probed { mechanisms, device });
        *self.probed.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&probed));
        Ok(probed)
    }

    /// Refuses what the token's mechanism table does not have.
    async fn require(&self, kind: ck::CK_MECHANISM_TYPE, uses: ck::CK_FLAGS, cx: OpCx) -> Result<()> {
        let probed = match self.last_probe() {
            Some(probed) => probed,
            None => self.probe_now(cx).await?,
        };
        if probed.mechanisms.has(kind, uses) {
            return Ok(());
        }
        Err(KsError::unsupported(format!("the token has no mechanism 0x{kind:x} for this use")))
    }

    fn describe(&self, probed: Option<&Probed>) -> Descriptor {
        Descriptor {
            id: self.id.clone(),
            kind: "pkcs11",
            custody: Custody::InBackend,
            can: probed.map_or_else(Capabilities::default, |probed| probed.mechanisms.capabilities()),
            device: probed.map(|probed| probed.device.clone()).unwrap_or_default(),
        }
    }

    fn name(&self, key: Key<'_>) -> Result<KeyName> {
        match key {
            Key::Reference(key) if key.keystore == self.id => Ok(KeyName { id: key.id, class: key.class }),
            Key::Reference(key) => Err(KsError::not_found(format!("key {} is in keystore {}, not in {}", key.id, key.keystore, self.id))),
            Key::Material(_) => Err(KsError::unsupported(format!("keystore {} uses keys that are on its token", self.id))),
        }
    }

    fn reference(&self, id: KeyId, class: KeyClass, check: KeyCheck) -> KeyRef {
        KeyRef { keystore: self.id.clone(), id, class, check }
    }

    fn secret_held(&self, id: KeyId, response: Response) -> Result<Held> {
        let Response::SecretKey { kcv } = response else { return Err(mismatch()) };
        Ok(Held::Reference(self.reference(id, KeyClass::Secret, kcv.map_or(KeyCheck::None, KeyCheck::Kcv))))
    }

    fn private_held(&self, id: KeyId, public: &KeyMaterial) -> Result<Held> {
        Ok(Held::Reference(self.reference(id, KeyClass::Private, public_check(public)?)))
    }

    async fn make(&self, id: KeyId, spec: KeySpec, cx: OpCx) -> Result<Held> {
        let octets = local::symmetric_octets(&spec)?;
        let kind = secret_kind(spec.algorithm, octets)?;
        let mechanism = match kind {
            SecretKind::Aes => ck::CKM_AES_KEY_GEN,
            SecretKind::Generic => ck::CKM_GENERIC_SECRET_KEY_GEN,
        };
        self.require(mechanism, ck::CKF_GENERATE, cx).await?;
        let response = self.token.call(Request::GenerateSecret { id, label: self.label(id), kind, octets }, cx).await?;
        self.secret_held(id, response)
    }

    async fn make_pair(&self, id: KeyId, spec: PairSpec, cx: OpCx) -> Result<HeldPair> {
        let label = self.label(id);
        let request = match spec {
            PairSpec::Rsa { bits } => {
                local::check_rsa_bits(bits)?;
                self.require(ck::CKM_RSA_PKCS_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                Request::GenerateRsa { id, label, bits }
            }
            PairSpec::Ec { curve } => {
                let parameters = curve::parameters(curve)?;
                self.require(ck::CKM_EC_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                Request::GenerateEc { id, label, parameters }
            }
            PairSpec::Ed25519 | PairSpec::X25519 => return Err(KsError::unsupported("no Curve25519 keys in tokens")),
        };
        let public = match (self.token.call(request, cx).await?, spec) {
            (Response::PublicKey(PublicNumbers::Rsa { n, e }), _) => RsaPublic { modulus: n, public_exponent: e }.to_material()?,
            (Response::PublicKey(PublicNumbers::Ec { point }), PairSpec::Ec { curve }) => {
                EcPublic { curve, q: curve::point(curve, &point)?.to_vec() }.to_material(CryptographicAlgorithm::Ec)?
            }
            _ => return Err(mismatch()),
        };
        Ok(HeldPair { private: self.private_held(id, &public)?, public })
    }

    async fn take_in(&self, id: KeyId, material: &KeyMaterial, cx: OpCx) -> Result<Held> {
        let label = self.label(id);
        match material.kind() {
            KeyKind::Symmetric(algorithm) => {
                let value = SecretBytes::copy_of(material.expose_canonical());
                let kind = secret_kind(algorithm, value.len())?;
                let response = self.token.call(Request::ImportSecret { id, label, kind, value }, cx).await?;
                return self.secret_held(id, response);
            }
            KeyKind::Private(PairKind::Rsa) => {
                let numbers = material.rsa_private()?;
                self.token.call(Request::ImportRsa { id, label, numbers }, cx).await?;
            }
            KeyKind::Private(PairKind::Ec(curve)) => {
                let (parameters, d) = (curve::parameters(curve)?, material.ec_private()?.d);
                self.token.call(Request::ImportEc { id, label, parameters, d }, cx).await?;
            }
            KeyKind::Private(other) => return Err(KsError::unsupported(format!("no {other} keys in tokens"))),
            KeyKind::Public(_) => return Err(KsError::parameters("a public key needs no keystore")),
        }
        self.private_held(id, &material.public_half()?)
    }

    async fn sign(&self, key: KeyName, scheme: SignatureScheme, input: SignInput<'_>, cx: OpCx) -> Result<CryptoOut> {
        let digest = local::digest_of(scheme, input)?;
        let (kind, mechanism, data) = match scheme {
            SignatureScheme::Ecdsa(_) => (ck::CKM_ECDSA, SignMechanism::Ecdsa, digest.into_owned()),
            SignatureScheme::RsaPkcs1(hash) => (ck::CKM_RSA_PKCS, SignMechanism::RsaPkcs1, digest_info(hash, &digest)?),
            SignatureScheme::RsaPkcs1Bare => (ck::CKM_RSA_PKCS, SignMechanism::RsaPkcs1, digest.into_owned()),
            SignatureScheme::RsaPss { hash, mgf_hash, salt_len } => {
                let salt_len = salt_len.unwrap_or(digest.len());
                let ((hash, _), (_, mgf)) = (mechanism::hash(hash)?, mechanism::hash(mgf_hash)?);
                (ck::CKM_RSA_PKCS_PSS, SignMechanism::RsaPss { hash, mgf, salt_len }, digest.into_owned())
            }
            SignatureScheme::Ed25519 => return Err(KsError::unsupported("no Ed25519 in tokens")),
        };
        self.require(kind, ck::CKF_SIGN, cx).await?;
        let Response::Bytes(signature) = self.token.call(Request::Sign { key, mechanism, data }, cx).await? else { return Err(mismatch()) };
        match scheme {
            SignatureScheme::Ecdsa(_) => curve::der_signature(&signature).map(CryptoOut::Signature),
            _ => Ok(CryptoOut::Signature(signature)),
        }
    }

    async fn mac(&self, key: KeyName, scheme: MacScheme, data: &[u8], cx: OpCx) -> Result<CryptoOut> {
        let kind = mechanism::mac(scheme)?;
        self.require(kind, ck::CKF_SIGN, cx).await?;
        let request = Request::Sign { key, mechanism: SignMechanism::Mac(kind), data: data.to_vec() };
        let Response::Bytes(mac) = self.token.call(request, cx).await? else { return Err(mismatch()) };
        Ok(CryptoOut::Mac(mac))
    }

    async fn encrypt(&self, key: KeyName, op: EncryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let usual = local::iv_len(KeyKind::Symmetric(CryptographicAlgorithm::Aes), op.scheme);
        let drawn = match op.iv {
            Iv::Random { len } if usual > 0 => Some(local::random(len.unwrap_or(usual).min(IV_MAX))?.into_exposed()),
            _ => None,
        };
        let iv = match (op.iv, &drawn) {
            (Iv::Given(iv), _) => iv,
            (Iv::Random { .. }, drawn) => drawn.as_deref().unwrap_or_default(),
        };
        let (kind, mechanism) = cipher(op.scheme, iv, op.aad, true)?;
        self.require(kind, ck::CKF_ENCRYPT, cx).await?;
        let mut plain = Vec::with_capacity(op.data.len() + 16);
        plain.extend_from_slice(op.data);
        if let EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) = op.scheme {
            plain.extend(local::padding::suffix(*padding, op.data.len(), BLOCK)?);
        }
        let request = Request::Encrypt { key, mechanism, data: SecretBytes::new(plain) };
        let Response::Bytes(mut data) = self.token.call(request, cx).await? else { return Err(mismatch()) };
        let tag = match op.scheme.tag_len() {
            Some(len) if data.len() >= len => Some(data.split_off(data.len() - len)),
            Some(_) => return Err(KsError::new(Class::Corrupt, "the token's cipher text is shorter than its tag")),
            None => None,
        };
        Ok(CryptoOut::Encrypted(Encrypted { data, iv: drawn, tag }))
    }

    async fn decrypt(&self, key: KeyName, op: DecryptOp<'_>, cx: OpCx) -> Result<CryptoOut> {
        let (kind, mechanism) = cipher(op.scheme, op.iv, op.aad, false)?;
        if op.tag.map(<[u8]>::len) != op.scheme.tag_len() {
            return Err(KsError::parameters("the authentication tag has not the length that the scheme has"));
        }
        let padding = match op.scheme {
            EncryptionScheme::Ecb(padding) | EncryptionScheme::Cbc(padding) => Some(*padding),
            _ => None,
        };
        let needs_block = padding.is_some_and(|padding| !matches!(padding, BlockPadding::None | BlockPadding::Zeros));
        if padding.is_some() && (!op.data.len().is_multiple_of(BLOCK) || (needs_block && op.data.is_empty())) {
            return Err(KsError::data(format!("cipher text of {} octets is not whole blocks of {BLOCK}", op.data.len())));
        }
        self.require(kind, ck::CKF_DECRYPT, cx).await?;
        let data = [op.data, op.tag.unwrap_or_default()].concat();
        let Response::Secret(mut plain) = self.token.call(Request::Decrypt { key, mechanism, data }, cx).await? else {
            return Err(mismatch());
        };
        if let (Some(padding), Some(last)) = (padding, plain.len().checked_sub(BLOCK)) {
            let keep = local::padding::message_len(padding, &plain.expose()[last..])?;
            plain.truncate(last + keep);
        }
        Ok(CryptoOut::Decrypted(plain))
    }
}

impl Keystore for Pkcs11Keystore {
    fn descriptor(&self) -> Descriptor {
        self.describe(self.last_probe().as_deref())
    }

    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(async move { Ok(self.describe(Some(&*self.probe_now(cx).await?))) })
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.make(id, *spec, cx))
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(self.make_pair(id, *spec, cx))
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.take_in(id, material, cx))
    }

    fn export<'a>(&'a self, key: Key<'a>, _cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move {
            self.name(key)?;
            Err(KsError::new(Class::Denied, "the key does not leave its token"))
        })
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(async move {
            let name = self.name(key)?;
            match op {
                CryptoOp::Sign(scheme, input) => self.sign(name, scheme, input, cx).await,
                CryptoOp::Encrypt(op) => self.encrypt(name, op, cx).await,
                CryptoOp::Decrypt(op) => self.decrypt(name, op, cx).await,
                CryptoOp::Mac { scheme, data, .. } => self.mac(name, scheme, data, cx).await,
                CryptoOp::Verify(..) => Err(KsError::unsupported("signatures are verified with the public half, in software")),
            }
        })
    }

    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(async move {
            match self.token.call(Request::Random { len }, cx).await? {
                Response::Secret(bytes) => Ok(bytes),
                _ => Err(mismatch()),
            }
        })
    }

    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(async move {
            let name = self.name(Key::Reference(key))?;
            let Response::Inspected(found) = self.token.call(Request::Inspect { key: name }, cx).await? else { return Err(mismatch()) };
            let same = match (key.check, found.kcv, found.rsa) {
                (KeyCheck::Kcv(expected), Some(kcv), _) => expected == kcv,
                (KeyCheck::Public(_), _, Some((n, e))) => {
                    public_check(&RsaPublic { modulus: n, public_exponent: e }.to_material()?)? == key.check
                }
                // The token shows nothing to compare: an EC private key has no public attribute.
                _ => true,
            };
            if same { Ok(found.info) } else { Err(KsError::new(Class::Corrupt, format!("key {} on the token is not the one that was made", key.id))) }
        })
    }

    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.token.call(Request::Destroy { id }, cx).await.map(|_| ()) })
    }

    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(async move {
            match self.token.call(Request::List { prefix: self.prefix() }, cx).await? {
                Response::Keys(keys) => Ok(keys),
                _ => Err(mismatch()),
            }
        })
    }

    fn health(&self) -> Health {
        self.token.health()
    }
}

const BLOCK: usize = 16;
const IV_MAX: usize = 128;

fn secret_kind(algorithm: CryptographicAlgorithm, octets: usize) -> Result<SecretKind> {
    match algorithm {
        CryptographicAlgorithm::Aes if octets <= 32 => Ok(SecretKind::Aes),
        CryptographicAlgorithm::Aes => Err(KsError::unsupported("no XTS keys in tokens")),
        other if crate::resolve::hmac_hash(other).is_some() => Ok(SecretKind::Generic),
        other => Err(KsError::unsupported(format!("no {} keys in tokens", crate::names::algorithm(other)))),
    }
}

fn public_check(public: &KeyMaterial) -> Result<KeyCheck> {
    let digest = local::hash(HashingAlgorithm::Sha256, public.expose_canonical())?;
    let digest = digest.try_into().map_err(|_| KsError::new(Class::Corrupt, "SHA-256 is not of 32 octets"))?;
    Ok(KeyCheck::Public(digest))
}

/// The mechanism of a scheme, its parameters checked as the local keystore checks them.
fn cipher(scheme: &EncryptionScheme, iv: &[u8], aad: &[u8], encrypt: bool) -> Result<(ck::CK_MECHANISM_TYPE, CipherMechanism)> {
    let iv_is = |legal: bool, what: &str| match legal {
        true => Ok(()),
        false => Err(KsError::parameters(format!("the mode takes {what}, {} octets given", iv.len()))),
    };
    if !aad.is_empty() && !scheme.is_aead() {
        return Err(KsError::parameters("additional authenticated data goes with AEAD modes only"));
    }
    match scheme {
        EncryptionScheme::Cbc(_) | EncryptionScheme::Ctr => iv_is(iv.len() == BLOCK, "an IV of 16 octets")?,
        EncryptionScheme::Gcm { .. } => iv_is((1..=IV_MAX).contains(&iv.len()), "an IV of 1 to 128 octets")?,
        _ => {}
    }
    let rsa_public = encrypt && matches!(scheme, EncryptionScheme::RsaPkcs1 | EncryptionScheme::RsaOaep { .. } | EncryptionScheme::RsaRaw);
    if rsa_public {
        return Err(KsError::unsupported("RSA encrypts with the public half, in software"));
    }
    Ok(match scheme {
        EncryptionScheme::Ecb(_) => (ck::CKM_AES_ECB, CipherMechanism::AesEcb),
        EncryptionScheme::Cbc(_) => (ck::CKM_AES_CBC, CipherMechanism::AesCbc { iv: iv.to_vec() }),
        EncryptionScheme::Ctr => {
            let mut counter = [0u8; BLOCK];
            counter.copy_from_slice(iv);
            (ck::CKM_AES_CTR, CipherMechanism::AesCtr { iv: counter })
        }
        EncryptionScheme::Gcm { tag_len } => {
            (ck::CKM_AES_GCM, CipherMechanism::AesGcm { iv: iv.to_vec(), aad: aad.to_vec(), tag_len: *tag_len })
        }
        EncryptionScheme::KeyWrap => (ck::CKM_AES_KEY_WRAP, CipherMechanism::AesKeyWrap),
        EncryptionScheme::RsaPkcs1 => (ck::CKM_RSA_PKCS, CipherMechanism::RsaPkcs1),
        EncryptionScheme::RsaRaw => (ck::CKM_RSA_X_509, CipherMechanism::RsaRaw),
        EncryptionScheme::RsaOaep { hash, mgf_hash, label } => {
            let ((hash, _), (_, mgf)) = (mechanism::hash(*hash)?, mechanism::hash(*mgf_hash)?);
            (ck::CKM_RSA_PKCS_OAEP, CipherMechanism::RsaOaep { hash, mgf, label: label.clone() })
        }
        _ => return Err(KsError::unsupported("the mode is not offered by tokens")),
    })
}

/// DER of DigestInfo (RFC 8017 §9.2): the prefix of note 1, then the digest.
fn digest_info(hash: HashingAlgorithm, digest: &[u8]) -> Result<Vec<u8>> {
    let oid: &[u8] = match hash {
        HashingAlgorithm::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
        HashingAlgorithm::Sha224 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04],
        HashingAlgorithm::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        HashingAlgorithm::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        HashingAlgorithm::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        HashingAlgorithm::Sha3_256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
        HashingAlgorithm::Sha3_384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
        HashingAlgorithm::Sha3_512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a],
        other => return Err(KsError::unsupported(format!("no PKCS#1 signature with hash {} in tokens", crate::names::hash(other)))),
    };
    // Every length here is below 128.
    let algorithm = [&[0x30, oid.len() as u8 + 4, 0x06, oid.len() as u8], oid, &[0x05, 0x00]].concat();
    let body = [&algorithm[..], &[0x04, digest.len() as u8], digest].concat();
    Ok([&[0x30, body.len() as u8], &body[..]].concat())
}

fn mismatch() -> KsError {
    KsError::new(Class::Corrupt, "the worker's answer is not one to the request")
}

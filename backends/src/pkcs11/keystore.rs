//! The keystore on a token: InBackend custody.
//!
//! Making, taking in and finding keys; `crypto.rs` beside this uses them, `prove.rs` checks keys that were taken in. What needs only the public half
//! (verification, RSA encryption) is the caller's, in software.

use super::curve;
use super::mechanism::Mechanisms;
use super::message::{KeyName, Lattice, PublicNumbers, Request, Response, SecretKind};
use super::token::Token;
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Figures, Health, KeyInfo, Keystore, OpCx};
use crate::local::{self, EcPublic, KeyKind, KeyMaterial, LatticePrivate, PairKind, PreparedKey, RsaPublic};
use crate::operation::{CryptoOp, CryptoOut, SignInput, SignatureScheme};
use crate::secret::SecretBytes;
use cryptoki_sys as ck;
use keygate_kmip::{CryptographicAlgorithm, HashingAlgorithm, RecommendedCurve};
use std::sync::{Arc, PoisonError, RwLock};

/// A keystore on a PKCS#11 token.
pub struct Pkcs11Keystore {
    id: KeystoreId,
    pub(super) token: Arc<Token>,
    probed: RwLock<Option<Arc<Probed>>>,
    /// Set for a member of a group: its keys may leave it wrapped; `true`: under trusted keys alone.
    leaving: RwLock<Option<bool>>,
}

struct Probed {
    mechanisms: Mechanisms,
    device: String,
}

impl Pkcs11Keystore {
    /// The keystore under its configured name. Its keys are labelled `keygate:NAME:ID` on the token.
    pub fn new(id: KeystoreId, token: Arc<Token>) -> Self {
        Self { id, token, probed: RwLock::new(None), leaving: RwLock::new(None) }
    }

    pub(super) fn set_leaving(&self, trusted: bool) {
        *self.leaving.write().unwrap_or_else(PoisonError::into_inner) = Some(trusted);
    }

    /// Asks the token. Keys of a group's member are made so that they may leave.
    pub(super) async fn call(&self, request: Request, cx: OpCx) -> Result<Response> {
        let leaving = *self.leaving.read().unwrap_or_else(PoisonError::into_inner);
        match leaving {
            Some(trusted) if request.makes().is_some() => {
                self.token.call(Request::Replicable { trusted, request: Box::new(request) }, cx).await
            }
            _ => self.token.call(request, cx).await,
        }
    }

    /// Whether the token has the mechanism, as last probed.
    pub(super) fn probed_has(&self, kind: ck::CK_MECHANISM_TYPE, uses: ck::CK_FLAGS) -> bool {
        self.last_probe().is_some_and(|probed| probed.mechanisms.has(kind, uses))
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
        let Response::Probed(mechanisms) = self.token.call(Request::Probe, cx).await? else {
            return Err(mismatch());
        };
        let probed = Arc::new(Probed { mechanisms, device: self.token.device() });
        *self.probed.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&probed));
        Ok(probed)
    }

    /// Refuses what the token's mechanism table does not have.
    pub(super) async fn require(&self, kind: ck::CK_MECHANISM_TYPE, uses: ck::CK_FLAGS, cx: OpCx) -> Result<()> {
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
            Key::Reference(key) => {
                Err(KsError::not_found(format!("key {} is in keystore {}, not in {}", key.id, key.keystore, self.id)))
            }
            Key::Material(_) => {
                Err(KsError::unsupported(format!("keystore {} uses keys that are on its token", self.id)))
            }
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
            SecretKind::Aes | SecretKind::Kek => ck::CKM_AES_KEY_GEN,
            SecretKind::Generic => ck::CKM_GENERIC_SECRET_KEY_GEN,
        };
        self.require(mechanism, ck::CKF_GENERATE, cx).await?;
        let response = self.call(Request::GenerateSecret { id, label: self.label(id), kind, octets }, cx).await?;
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
                Request::GenerateEc { id, label, parameters: parameters.to_vec() }
            }
            PairSpec::Ed25519 => {
                self.require(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                Request::GenerateEdwards { id, label }
            }
            PairSpec::X25519 => return Err(KsError::unsupported("no X25519 keys in tokens")),
            PairSpec::MlDsa(set) => {
                self.require(ck::CKM_ML_DSA_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                Request::GenerateLattice { id, label, kind: Lattice::Dsa(set) }
            }
            PairSpec::MlKem(set) => {
                self.require(ck::CKM_ML_KEM_KEY_PAIR_GEN, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                Request::GenerateLattice { id, label, kind: Lattice::Kem(set) }
            }
        };
        let public = match (self.call(request, cx).await?, spec) {
            (Response::PublicKey(PublicNumbers::Rsa { n, e }), _) => {
                RsaPublic { modulus: n, public_exponent: e }.to_material()?
            }
            (Response::PublicKey(PublicNumbers::Ec { point }), PairSpec::Ec { curve }) => {
                EcPublic { curve, q: curve::point(curve, &point)?.to_vec() }.to_material(CryptographicAlgorithm::Ec)?
            }
            (Response::PublicKey(PublicNumbers::Ec { point }), PairSpec::Ed25519) => {
                let public = EcPublic { curve: RecommendedCurve::Curve25519, q: curve::edwards_point(&point)?.to_vec() };
                public.to_material(CryptographicAlgorithm::Ed25519)?
            }
            (Response::PublicKey(PublicNumbers::Lattice { value }), PairSpec::MlDsa(set)) => {
                KeyMaterial::from_lattice_public(PairKind::MlDsa(set), &value)?
            }
            (Response::PublicKey(PublicNumbers::Lattice { value }), PairSpec::MlKem(set)) => {
                KeyMaterial::from_lattice_public(PairKind::MlKem(set), &value)?
            }
            _ => return Err(mismatch()),
        };
        self.prove(id, &public, cx).await?;
        Ok(HeldPair { private: self.private_held(id, &public)?, public })
    }

    /// Uses the private half once and compares with the public half: the token holds the private half that it says it holds. A
    /// key that fails does not stay.
    async fn prove(&self, id: KeyId, public: &KeyMaterial, cx: OpCx) -> Result<()> {
        let name = KeyName { id, class: KeyClass::Private };
        let fits = match public.kind() {
            KeyKind::Public(PairKind::MlKem(_)) => self.decapsulates(name, public, cx).await,
            _ => self.signs(name, public, cx).await,
        };
        let proof = match fits {
            Ok(true) => Ok(()),
            Ok(false) => Err(KsError::new(Class::Corrupt, "the token's private key does not fit its public half")),
            Err(e) => Err(e),
        };
        self.keep(id, proof, cx).await
    }

    async fn decapsulates(&self, name: KeyName, public: &KeyMaterial, cx: OpCx) -> Result<bool> {
        let sent = local::encapsulate(&PreparedKey::new(public)?)?;
        match self.decapsulate(name, &sent.ciphertext, cx).await? {
            CryptoOut::Decapsulated(secret) => Ok(secret == sent.secret),
            _ => Err(mismatch()),
        }
    }

    async fn signs(&self, name: KeyName, public: &KeyMaterial, cx: OpCx) -> Result<bool> {
        let scheme = match public.kind() {
            KeyKind::Public(PairKind::Rsa) => SignatureScheme::RsaPkcs1(HashingAlgorithm::Sha256),
            KeyKind::Public(PairKind::Ed25519) => SignatureScheme::Ed25519,
            KeyKind::Public(PairKind::MlDsa(_)) => SignatureScheme::MlDsa,
            _ => SignatureScheme::Ecdsa(HashingAlgorithm::Sha256),
        };
        let message = SignInput::Message(&name.id.0);
        match self.sign(name, scheme, message, cx).await? {
            CryptoOut::Signature(signature) => local::verify(&PreparedKey::new(public)?, scheme, message, &signature),
            _ => Err(mismatch()),
        }
    }

    async fn take_in(&self, id: KeyId, material: &KeyMaterial, cx: OpCx) -> Result<Held> {
        let label = self.label(id);
        match material.kind() {
            KeyKind::Symmetric(algorithm) => {
                let value = SecretBytes::copy_of(material.expose_canonical());
                let kind = secret_kind(algorithm, value.len())?;
                let response = self.call(Request::ImportSecret { id, label, kind, value }, cx).await?;
                let held = self.secret_held(id, response)?;
                self.prove_secret(&held, material, cx).await?;
                return Ok(held);
            }
            KeyKind::Private(PairKind::Rsa) => {
                let numbers = material.rsa_private()?;
                self.call(Request::ImportRsa { id, label, numbers }, cx).await?;
            }
            KeyKind::Private(PairKind::Ec(curve)) => {
                let (parameters, d) = (curve::parameters(curve)?.to_vec(), material.ec_private()?.d);
                self.call(Request::ImportEc { id, label, parameters, d }, cx).await?;
            }
            KeyKind::Private(pair @ (PairKind::MlDsa(_) | PairKind::MlKem(_))) => {
                let (kind, generation) = match pair {
                    PairKind::MlKem(set) => (Lattice::Kem(set), ck::CKM_ML_KEM_KEY_PAIR_GEN),
                    PairKind::MlDsa(set) => (Lattice::Dsa(set), ck::CKM_ML_DSA_KEY_PAIR_GEN),
                    other => return Err(KsError::unsupported(format!("no {other} keys in tokens"))),
                };
                // A token that knows the keys knows how to make them.
                self.require(generation, ck::CKF_GENERATE_KEY_PAIR, cx).await?;
                let LatticePrivate { seed, expanded } = material.lattice_private()?;
                self.token.call(Request::ImportLattice { id, label, kind, seed, expanded }, cx).await?;
            }
            KeyKind::Private(other) => return Err(KsError::unsupported(format!("no {other} keys in tokens"))),
            KeyKind::Public(_) => return Err(KsError::parameters("a public key needs no keystore")),
        }
        let public = material.public_half()?;
        self.prove(id, &public, cx).await?;
        self.private_held(id, &public)
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
                CryptoOp::Decapsulate(ciphertext) => self.decapsulate(name, ciphertext, cx).await,
                CryptoOp::Encapsulate => {
                    Err(KsError::unsupported("secrets are encapsulated with the public half, in software"))
                }
                CryptoOp::Verify(..) => {
                    Err(KsError::unsupported("signatures are verified with the public half, in software"))
                }
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
            let Response::Inspected(found) = self.token.call(Request::Inspect { key: name }, cx).await? else {
                return Err(mismatch());
            };
            let same = match (key.check, found.kcv, found.rsa) {
                (KeyCheck::Kcv(expected), Some(kcv), _) => expected == kcv,
                (KeyCheck::Public(_), _, Some((n, e))) => {
                    public_check(&RsaPublic { modulus: n, public_exponent: e }.to_material()?)? == key.check
                }
                // The token shows nothing to compare: an EC private key has no public attribute.
                _ => true,
            };
            if same {
                Ok(found.info)
            } else {
                Err(KsError::new(Class::Corrupt, format!("key {} on the token is not the one that was made", key.id)))
            }
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

    fn retry(&self, secret: Option<SecretBytes>) {
        self.token.retry(secret);
    }

    fn figures(&self) -> Figures {
        self.token.figures()
    }

    fn serial(&self) -> Option<String> {
        self.token.serial()
    }
}

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

pub(super) fn mismatch() -> KsError {
    KsError::new(Class::Corrupt, "the worker's answer is not one to the request")
}

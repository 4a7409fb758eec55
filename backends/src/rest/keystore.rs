//! The keystore in a server with a JSON interface: InBackend custody.

use super::client::Client;
use super::crypto::{base64, describe, named};
use super::profile::{Op, Profile};
use super::template::Values;
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Figures, Health, KeyInfo, Keystore, OpCx};
use crate::local::{self, KeyKind, KeyMaterial, PairKind};
use crate::operation::{BlockPadding, CryptoOp, CryptoOut, EncryptOp, EncryptionScheme, Iv};
use crate::remote::{Effect, RemoteConfig, UserPassword, check_of};
use crate::secret::SecretBytes;
use keygate_kmip::{CryptographicAlgorithm as A, RecommendedCurve};
use serde_json::Value;

/// Keys per page of a listing, and pages: a server that never ends one is not believed.
const PAGE: usize = 200;
const PAGES_MAX: usize = 5_000;
/// Octets of one call for random octets.
const RANDOM_MAX: usize = 64 * 1024;

/// A REST key server behind us.
pub struct RestConfig {
    /// Where it is.
    pub remote: RemoteConfig,
    /// Who we are.
    pub user: Option<UserPassword>,
    /// Whether keys may be fetched: handed out by `export`, and used here where the server does not do the operation.
    pub fetch: bool,
    /// How it speaks.
    pub profile: Profile,
}

/// A keystore in a REST key server.
pub struct RestKeystore {
    id: KeystoreId,
    pub(super) client: Client,
    fetch: bool,
}

impl RestKeystore {
    /// The keystore under its configured name. The server may be away; it is looked for.
    ///
    /// # Errors
    /// `BadInput(Parameters)` without an address or user, or for a name that makes the server's names too long.
    pub fn new(id: KeystoreId, config: RestConfig) -> Result<Self> {
        let keystore =
            Self { client: Client::new(config.remote, config.profile, config.user)?, fetch: config.fetch, id };
        let (len, max) = (keystore.name(KeyId([0; 16])).len(), keystore.client.profile.name_bytes_max);
        if len > max {
            return Err(KsError::parameters(format!(
                "keystore name {} makes names of {len} octets, the key server takes {max}: choose a shorter one",
                keystore.id
            )));
        }
        Ok(keystore)
    }

    /// The name of a key in the server.
    pub(super) fn name(&self, id: KeyId) -> String {
        format!("{}.{id}", self.group())
    }

    fn group(&self) -> String {
        format!("keygate.{}", self.id)
    }

    /// Whether keys may be, and can be, fetched.
    pub(super) fn fetches(&self) -> bool {
        self.fetch && self.client.profile.has(Op::Export)
    }

    fn reference<'a>(&self, key: Key<'a>) -> Result<&'a KeyRef> {
        match key {
            Key::Reference(key) if key.keystore == self.id => Ok(key),
            Key::Reference(key) => {
                Err(KsError::not_found(format!("key {} is in keystore {}, not in {}", key.id, key.keystore, self.id)))
            }
            Key::Material(_) => {
                Err(KsError::unsupported(format!("keystore {} uses keys that are in its key server", self.id)))
            }
        }
    }

    fn held(&self, id: KeyId, class: KeyClass, check: KeyCheck) -> Held {
        Held::Reference(KeyRef { keystore: self.id.clone(), id, class, check })
    }

    /// What is said of a key that is made or taken in.
    fn making(&self, id: KeyId, kind: &str, bits: u32) -> Result<Values> {
        let described = self.client.profile.key.get(kind).ok_or_else(|| self.lacks("keys of this kind"))?;
        let mut values = named(&self.name(id));
        values.insert("group".into(), Value::from(self.group()));
        values.insert("bits".into(), Value::from(bits));
        values.insert("exportable".into(), Value::from(self.fetch));
        describe(&mut values, described)?;
        Ok(values)
    }

    /// Makes a key. If the answer was lost it is looked for by its name: found, it was made; not found, it may still come.
    /// Answers with the public half, if the server sent it along.
    async fn make(&self, op: Op, id: KeyId, values: &Values, cx: OpCx) -> Result<Option<Vec<u8>>> {
        let name = self.name(id);
        match self.client.call(op, values, Effect::Change, cx).await {
            Ok(answer) => {
                answer.check_name(&name).map_err(|error| error.into_class(Class::OutcomeUnknown))?;
                Ok(answer.public_key("public").ok())
            }
            Err(error) if error.class() == Class::OutcomeUnknown => {
                self.client.cluster.settle(cx).await;
                match self.find(&name, cx).await {
                    Ok(()) => Ok(None),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self, name: &str, cx: OpCx) -> Result<()> {
        self.client.call(Op::Find, &named(name), Effect::Read, cx).await?.check_name(name)
    }

    async fn make_symmetric(&self, id: KeyId, spec: KeySpec, cx: OpCx) -> Result<Held> {
        local::symmetric_octets(&spec)?;
        let values = self.making(id, symmetric_kind(spec.algorithm), spec.bits)?;
        self.make(Op::Create, id, &values, cx).await?;
        let key = KeyRef { keystore: self.id.clone(), id, class: KeyClass::Secret, check: KeyCheck::None };
        let check = if spec.algorithm == A::Aes { self.check_value(&key, cx).await? } else { KeyCheck::None };
        Ok(self.held(id, KeyClass::Secret, check))
    }

    async fn make_pair(&self, id: KeyId, spec: PairSpec, cx: OpCx) -> Result<HeldPair> {
        let (kind, bits) = match spec {
            PairSpec::Rsa { bits } => {
                local::check_rsa_bits(bits)?;
                ("rsa", bits)
            }
            PairSpec::Ec { curve } => (curve_kind(curve), 0),
            PairSpec::Ed25519 => ("ed25519", 256),
            PairSpec::X25519 | PairSpec::MlDsa(_) | PairSpec::MlKem(_) => ("", 0),
        };
        let mut values = self.making(id, kind, bits)?;
        if bits == 0 {
            values.insert("bits".into(), Value::Null);
        }
        let told = self.make(Op::CreatePair, id, &values, cx).await?;
        let public = match told {
            Some(der) => KeyMaterial::from_spki(&der).map_err(|error| error.into_class(Class::OutcomeUnknown))?,
            None => self.public_half(id, cx).await?,
        };
        Ok(HeldPair { private: self.held(id, KeyClass::Private, check_of(&public)?), public })
    }

    async fn public_half(&self, id: KeyId, cx: OpCx) -> Result<KeyMaterial> {
        let name = self.name(id);
        let answer = self.client.call(Op::Public, &named(&name), Effect::Read, cx).await?;
        answer.check_name(&name)?;
        KeyMaterial::from_spki(&answer.public_key("public")?).map_err(|error| error.into_class(Class::Corrupt))
    }

    async fn take_in(&self, id: KeyId, key: &KeyMaterial, cx: OpCx) -> Result<Held> {
        let (op, class, kind) = match key.kind() {
            KeyKind::Symmetric(algorithm) => (Op::Import, KeyClass::Secret, symmetric_kind(algorithm)),
            KeyKind::Private(PairKind::Rsa) => (Op::ImportPrivate, KeyClass::Private, "rsa"),
            KeyKind::Private(PairKind::Ec(curve)) => (Op::ImportPrivate, KeyClass::Private, curve_kind(curve)),
            KeyKind::Private(_) => return Err(self.lacks("keys of this kind")),
            KeyKind::Public(_) => return Err(KsError::parameters("a public key needs no keystore")),
        };
        let check = check_of(key)?;
        let mut values = self.making(id, kind, key.bits()?)?;
        values.insert("material".into(), base64(key.expose_canonical()));
        self.make(op, id, &values, cx).await?;
        Ok(self.held(id, class, check))
    }

    /// The first three octets of an all-zero block under the key, where the server encrypts so.
    async fn check_value(&self, key: &KeyRef, cx: OpCx) -> Result<KeyCheck> {
        let scheme = EncryptionScheme::Ecb(BlockPadding::None);
        let op = EncryptOp { scheme: &scheme, iv: Iv::Given(b""), aad: b"", data: &[0; 16], legacy: false };
        match self.encrypt(key, op, cx).await {
            Ok(CryptoOut::Encrypted(encrypted)) => match encrypted.data.as_slice() {
                [a, b, c, ..] => Ok(KeyCheck::Kcv([*a, *b, *c])),
                _ => Ok(KeyCheck::None),
            },
            Ok(_) => Ok(KeyCheck::None),
            Err(error) if matches!(error.class(), Class::Unsupported | Class::BadInput(_) | Class::Denied) => {
                Ok(KeyCheck::None)
            }
            Err(error) => Err(error),
        }
    }

    async fn look_up(&self, key: &KeyRef, cx: OpCx) -> Result<KeyInfo> {
        let name = self.name(key.id);
        self.find(&name, cx).await?;
        let found = match key.check {
            KeyCheck::None => KeyCheck::None,
            KeyCheck::Kcv(_) => self.check_value(key, cx).await?,
            KeyCheck::Public(_) if self.client.profile.has(Op::Public) => {
                check_of(&self.public_half(key.id, cx).await?)?
            }
            KeyCheck::Public(_) => KeyCheck::None,
        };
        if found != KeyCheck::None && found != key.check {
            return Err(KsError::new(
                Class::Corrupt,
                format!("key {} in the key server is not the one that was made", key.id),
            ));
        }
        Ok(KeyInfo { id: key.id, class: key.class, label: name })
    }

    async fn remove(&self, id: KeyId, cx: OpCx) -> Result<()> {
        let values = named(&self.name(id));
        if self.client.profile.has(Op::Retire) {
            match self.client.call(Op::Retire, &values, Effect::Change, cx).await {
                // Perhaps it is retired already; whether it can be destroyed is for the next call to say.
                Ok(_) => {}
                Err(error) if matches!(error.class(), Class::Denied | Class::BadInput(_) | Class::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.client.call(Op::Destroy, &values, Effect::Change, cx).await.map(drop)
    }

    async fn list_all(&self, cx: OpCx) -> Result<Vec<KeyInfo>> {
        let mut keys = Vec::new();
        let prefix = format!("{}.", self.group());
        for page in 0..PAGES_MAX {
            let values = Values::from([
                ("group".to_owned(), Value::from(self.group())),
                ("offset".to_owned(), Value::from(page * PAGE)),
                ("limit".to_owned(), Value::from(PAGE)),
            ]);
            let answer = self.client.call(Op::List, &values, Effect::Read, cx).await?;
            for (name, algorithm) in answer.items()? {
                let id =
                    name.strip_prefix(&prefix).and_then(|id| hex::decode(id).ok()).and_then(|id| id.try_into().ok());
                if let (Some(id), Some(class)) = (id, self.class_of(&algorithm)) {
                    keys.push(KeyInfo { id: KeyId(id), class, label: name });
                }
            }
            if answer.item_count() < PAGE {
                break;
            }
        }
        Ok(keys)
    }

    /// The class of keys whose algorithm the server spells so.
    fn class_of(&self, algorithm: &str) -> Option<KeyClass> {
        let is_it = |values: &Values| values.get("algorithm").and_then(Value::as_str) == Some(algorithm);
        let kind = self.client.profile.key.iter().find(|(_, values)| is_it(values)).map(|(kind, _)| kind.as_str())?;
        let is_pair = kind == "rsa" || kind == "ed25519" || kind.starts_with("ec-");
        Some(if is_pair { KeyClass::Private } else { KeyClass::Secret })
    }

    async fn draw(&self, len: usize, cx: OpCx) -> Result<SecretBytes> {
        if !self.client.profile.has(Op::Random) {
            return Err(self.lacks("random octets"));
        }
        if len > RANDOM_MAX {
            return Err(KsError::parameters(format!("{len} random octets are over the limit of {RANDOM_MAX}")));
        }
        if len == 0 {
            return Ok(SecretBytes::new(Vec::new()));
        }
        let values = Values::from([("length".to_owned(), Value::from(len))]);
        let bytes = self.client.call(Op::Random, &values, Effect::Read, cx).await?.bytes("data")?;
        if bytes.len() != len {
            return Err(KsError::new(Class::Corrupt, "the key server gave another number of random octets"));
        }
        Ok(bytes)
    }

    /// What the profile has. REST servers do not tell what they can do.
    fn capabilities(&self) -> Capabilities {
        let profile = &self.client.profile;
        let create = |kind: &str| profile.has(Op::Create) && profile.key.contains_key(kind);
        let pair = |kind: &str| profile.has(Op::CreatePair) && profile.key.contains_key(kind);
        let fetch = self.fetches();
        let encrypt = |way: &str| fetch || profile.has(Op::Encrypt) && profile.encryption.contains_key(way);
        let decrypt = |way: &str| fetch || profile.has(Op::Decrypt) && profile.encryption.contains_key(way);
        let digests = fetch || profile.mentions(Op::Sign, "digest");
        let sign = |way: &str| digests && (fetch || profile.signature.contains_key(way));
        let mac = |way: &str| fetch || profile.has(Op::Mac) && profile.mac.contains_key(way);
        Capabilities {
            generate_aes: create("aes"),
            generate_des3: create("des3"),
            generate_hmac: create("hmac-sha256") && create("hmac-sha512"),
            generate_chacha20: false,
            generate_rsa: pair("rsa"),
            generate_ec: pair("ec-p256") && pair("ec-p384") && pair("ec-p521"),
            generate_ed25519: pair("ed25519"),
            generate_ml_dsa: false,
            generate_ml_kem: false,
            import: profile.has(Op::Import) && profile.has(Op::ImportPrivate),
            export: fetch,
            sign_ecdsa: sign("ecdsa"),
            sign_rsa_pkcs1: sign("rsa-pkcs1"),
            sign_rsa_pss: sign("rsa-pss"),
            sign_ed25519: sign("ed25519"),
            sign_ml_dsa: false,
            decapsulate_ml_kem: false,
            decrypt_rsa_pkcs1: decrypt("rsa-pkcs1"),
            decrypt_rsa_oaep: decrypt("rsa-oaep"),
            aes_ecb: encrypt("aes-ecb"),
            aes_cbc: encrypt("aes-cbc"),
            aes_ctr: encrypt("aes-ctr"),
            aes_gcm: encrypt("aes-gcm"),
            aes_key_wrap: encrypt("aes-key-wrap"),
            hmac: mac("hmac"),
            cmac: mac("cmac"),
            random: profile.has(Op::Random),
        }
    }
}

impl Keystore for RestKeystore {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            id: self.id.clone(),
            kind: "rest",
            custody: Custody::InBackend,
            can: self.capabilities(),
            device: self.client.profile.device.clone(),
        }
    }

    /// Asks for a key that does not exist: a server that says so is there and accepts our credentials. Credentials that
    /// were refused are tried again: probing is an operator's act.
    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(async move {
            self.client.cluster.resume();
            match self.find(&self.name(KeyId::random()?), cx).await {
                Ok(()) => Err(KsError::new(Class::Corrupt, "the key server has a key that nobody made")),
                Err(error) if error.class() == Class::NotFound => Ok(self.descriptor()),
                Err(error) => Err(error),
            }
        })
    }

    fn generate<'a>(&'a self, id: KeyId, spec: &'a KeySpec, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.make_symmetric(id, *spec, cx))
    }

    fn generate_pair<'a>(&'a self, id: KeyId, spec: &'a PairSpec, cx: OpCx) -> BoxFuture<'a, Result<HeldPair>> {
        Box::pin(self.make_pair(id, *spec, cx))
    }

    fn import<'a>(&'a self, id: KeyId, material: &'a KeyMaterial, cx: OpCx) -> BoxFuture<'a, Result<Held>> {
        Box::pin(self.take_in(id, material, cx))
    }

    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move {
            let key = self.reference(key)?;
            if !self.fetches() {
                return Err(KsError::new(Class::Denied, "the key is not fetched from its key server"));
            }
            self.fetch_key(key, cx).await
        })
    }

    fn crypto<'a>(&'a self, key: Key<'a>, op: CryptoOp<'a>, cx: OpCx) -> BoxFuture<'a, Result<CryptoOut>> {
        Box::pin(async move { self.apply(self.reference(key)?, op, cx).await })
    }

    fn random(&self, len: usize, cx: OpCx) -> BoxFuture<'_, Result<SecretBytes>> {
        Box::pin(self.draw(len, cx))
    }

    fn info<'a>(&'a self, key: &'a KeyRef, cx: OpCx) -> BoxFuture<'a, Result<KeyInfo>> {
        Box::pin(async move { self.look_up(self.reference(Key::Reference(key))?, cx).await })
    }

    fn destroy<'a>(&'a self, id: KeyId, cx: OpCx) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.remove(id, cx))
    }

    fn list(&self, cx: OpCx) -> BoxFuture<'_, Result<Vec<KeyInfo>>> {
        Box::pin(self.list_all(cx))
    }

    fn health(&self) -> Health {
        self.client.cluster.health()
    }

    /// Offered by [`Keystore::probe`], by one request alone.
    fn retry(&self, secret: Option<SecretBytes>) {
        if let Some(password) = secret {
            self.client.user.replace(password);
        }
    }

    fn figures(&self) -> Figures {
        self.client.cluster.figures()
    }
}

/// The kind of a symmetric key in a profile; empty for those that no profile has.
fn symmetric_kind(algorithm: A) -> &'static str {
    match algorithm {
        A::Aes => "aes",
        A::Des3 => "des3",
        A::HmacSha256 => "hmac-sha256",
        A::HmacSha384 => "hmac-sha384",
        A::HmacSha512 => "hmac-sha512",
        _ => "",
    }
}

fn curve_kind(curve: RecommendedCurve) -> &'static str {
    match curve {
        RecommendedCurve::P256 => "ec-p256",
        RecommendedCurve::P384 => "ec-p384",
        RecommendedCurve::P521 => "ec-p521",
        _ => "",
    }
}

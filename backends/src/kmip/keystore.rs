//! The keystore in a KMIP server: InBackend custody.

use super::client::{Client, mismatch};
use crate::error::{Class, KsError, Result};
use crate::key::{Held, HeldPair, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, KeystoreId, PairSpec};
use crate::keystore::{BoxFuture, Capabilities, Custody, Descriptor, Figures, Health, KeyInfo, Keystore, OpCx};
use crate::local::{self, KeyKind, KeyMaterial};
use crate::operation::{CryptoOp, CryptoOut};
use crate::remote::{Effect, RemoteConfig, UserPassword, check_of};
use crate::secret::SecretBytes;
use keygate_kmip::{
    Attribute, AttributeName, CryptographicAlgorithm, GetAttributesRequest, Operation, RequestPayload, ResponsePayload,
    RngRetrieveRequest, State, Tag, UniqueIdentifier,
};
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Unique Identifiers remembered; others are located again.
const LOCATED_MAX: usize = 10_000;
/// Octets of one call for random octets.
const RANDOM_MAX: usize = 64 * 1024;

/// A KMIP key server behind us.
pub struct KmipConfig {
    /// Where it is.
    pub remote: RemoteConfig,
    /// Who we are besides our certificate: sent with every message (KMIP 2.1 §9.4).
    pub user: Option<UserPassword>,
    /// Whether keys may be fetched: handed out by `export`, and used here where the server does not do the operation.
    pub fetch: bool,
}

/// Where a key was found.
#[derive(Clone)]
pub(super) struct Located {
    pub(super) uid: Arc<str>,
    /// Some servers want it in Cryptographic Parameters, although it is the key's (PyKMIP 0.11).
    pub(super) algorithm: Option<CryptographicAlgorithm>,
}

impl Located {
    pub(super) fn unique_identifier(&self) -> Option<UniqueIdentifier> {
        Some(UniqueIdentifier::Text(self.uid.to_string()))
    }
}

/// A keystore in another KMIP server.
pub struct KmipKeystore {
    pub(super) id: KeystoreId,
    pub(super) client: Client,
    pub(super) fetch: bool,
    located: Cache<KeyId, Located>,
}

impl KmipKeystore {
    /// The keystore under its configured name. The server may be away; it is looked for.
    ///
    /// # Errors
    /// `BadInput(Parameters)` without an address.
    pub fn new(id: KeystoreId, config: KmipConfig) -> Result<Self> {
        let client = Client::new(config.remote, config.user)?;
        Ok(Self { id, client, fetch: config.fetch, located: Cache::new(LOCATED_MAX) })
    }

    pub(super) fn remember(&self, id: KeyId, located: &Located) {
        self.located.insert(id, located.clone());
    }

    pub(super) fn forget(&self, id: KeyId) {
        self.located.remove(&id);
    }

    /// Sends a read of one key, which gets its Unique Identifier from us; answers with that and the answer. An identifier
    /// that is remembered and not known to the server any more is looked for again, once.
    pub(super) async fn ask_about(
        &self,
        key: &KeyRef,
        request: impl Fn(&Located) -> RequestPayload + Send + Sync,
        cx: OpCx,
    ) -> Result<(Arc<str>, ResponsePayload)> {
        if let Some(located) = self.located.get(&key.id) {
            match self.client.send_one(request(&located), Effect::Read, cx).await {
                Err(error) if error.class() == Class::NotFound => self.forget(key.id),
                other => return other.map(|answer| (located.uid, answer)),
            }
        }
        let missing = || KsError::not_found(format!("keystore {} holds no key {}", self.id, key.id));
        let uid = self.locate(&self.name(key.id), cx).await?.ok_or_else(missing)?;
        let algorithm = self.attribute(&uid, Tag::CRYPTOGRAPHIC_ALGORITHM, cx).await?.and_then(|found| match found {
            Attribute::CryptographicAlgorithm(algorithm) => Some(algorithm),
            _ => None,
        });
        let located = Located { uid, algorithm };
        let answer = self.client.send_one(request(&located), Effect::Read, cx).await?;
        self.remember(key.id, &located);
        Ok((located.uid, answer))
    }

    /// One attribute of an object, if it has it.
    async fn attribute(&self, uid: &str, tag: Tag, cx: OpCx) -> Result<Option<Attribute>> {
        let ask = RequestPayload::GetAttributes(GetAttributesRequest {
            unique_identifier: Some(UniqueIdentifier::Text(uid.to_owned())),
            names: vec![AttributeName::Standard(tag)],
        });
        match self.client.send_one(ask, Effect::Read, cx).await? {
            ResponsePayload::GetAttributes(answer) => {
                Ok(answer.attributes.find(|attribute| (attribute.tag() == Some(tag)).then(|| attribute.clone())))
            }
            _ => Err(mismatch()),
        }
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

    fn describe(&self) -> Descriptor {
        let peer = self.client.last_peer();
        Descriptor {
            id: self.id.clone(),
            kind: "kmip",
            custody: Custody::InBackend,
            can: peer.as_ref().map_or_else(Capabilities::default, |peer| peer.capabilities(self.fetch)),
            device: peer.map(|peer| peer.device.clone()).unwrap_or_default(),
        }
    }

    /// Refuses what the server does not list.
    async fn require(&self, operation: Operation, cx: OpCx) -> Result<()> {
        if self.client.peer(cx).await?.does(operation) {
            return Ok(());
        }
        Err(KsError::unsupported(format!("the key server does not do {operation}")))
    }

    async fn make(&self, id: KeyId, spec: KeySpec, cx: OpCx) -> Result<Held> {
        local::symmetric_octets(&spec)?;
        self.require(Operation::Create, cx).await?;
        let check = self.create(id, spec, cx).await?;
        Ok(self.held(id, KeyClass::Secret, check))
    }

    async fn make_pair(&self, id: KeyId, spec: PairSpec, cx: OpCx) -> Result<HeldPair> {
        if let PairSpec::Rsa { bits } = spec {
            local::check_rsa_bits(bits)?;
        }
        self.require(Operation::CreateKeyPair, cx).await?;
        let public = self.create_pair(id, spec, cx).await?;
        let private = self.held(id, KeyClass::Private, check_of(&public)?);
        Ok(HeldPair { private, public })
    }

    async fn take_in(&self, id: KeyId, key: &KeyMaterial, cx: OpCx) -> Result<Held> {
        let class = match key.kind() {
            KeyKind::Symmetric(_) => KeyClass::Secret,
            KeyKind::Private(_) => KeyClass::Private,
            KeyKind::Public(_) => return Err(KsError::parameters("a public key needs no keystore")),
        };
        self.require(Operation::Register, cx).await?;
        let check = check_of(key)?;
        self.register(id, key, cx).await?;
        Ok(self.held(id, class, check))
    }

    async fn look_up(&self, key: &KeyRef, cx: OpCx) -> Result<KeyInfo> {
        let missing = || KsError::not_found(format!("keystore {} holds no key {}", self.id, key.id));
        let uid = self.locate(&self.name(key.id), cx).await?.ok_or_else(missing)?;
        let state = self.attribute(&uid, Tag::STATE, cx).await?;
        if matches!(state, Some(Attribute::State(State::Destroyed | State::DestroyedCompromised))) {
            return Err(missing());
        }
        let found = match key.check {
            KeyCheck::None => KeyCheck::None,
            KeyCheck::Kcv(_) => self.check_value(&uid, cx).await?,
            // An imported private key has no public half there to compare.
            KeyCheck::Public(_) => match self.public_half(key.id, None, cx).await {
                Ok(public) => check_of(&public)?,
                Err(error) if error.class() == Class::Corrupt => KeyCheck::None,
                Err(error) => return Err(error),
            },
        };
        if found != KeyCheck::None && found != key.check {
            return Err(KsError::new(
                Class::Corrupt,
                format!("key {} in the key server is not the one that was made", key.id),
            ));
        }
        Ok(KeyInfo { id: key.id, class: key.class, label: self.name(key.id) })
    }

    async fn draw(&self, len: usize, cx: OpCx) -> Result<SecretBytes> {
        if len > RANDOM_MAX {
            return Err(KsError::parameters(format!("{len} random octets are over the limit of {RANDOM_MAX}")));
        }
        self.require(Operation::RngRetrieve, cx).await?;
        if len == 0 {
            return Ok(SecretBytes::new(Vec::new()));
        }
        let data_length = i32::try_from(len).map_err(|_| mismatch())?;
        let ask = RequestPayload::RngRetrieve(RngRetrieveRequest { data_length });
        match self.client.send_one(ask, Effect::Read, cx).await? {
            ResponsePayload::RngRetrieve(answer) if answer.data.expose_bytes().len() == len => {
                Ok(SecretBytes::copy_of(answer.data.expose_bytes()))
            }
            // KMIP 2.1 §6.1.51: the server may answer with fewer.
            ResponsePayload::RngRetrieve(_) => {
                Err(KsError::new(Class::RetryOther, "the key server gave fewer random octets than asked for"))
            }
            _ => Err(mismatch()),
        }
    }
}

impl Keystore for KmipKeystore {
    fn descriptor(&self) -> Descriptor {
        self.describe()
    }

    /// Also tries credentials again that were refused: probing is an operator's act.
    fn probe(&self, cx: OpCx) -> BoxFuture<'_, Result<Descriptor>> {
        Box::pin(async move {
            self.client.cluster.resume();
            self.client.ask_peer(cx).await?;
            Ok(self.describe())
        })
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

    fn export<'a>(&'a self, key: Key<'a>, cx: OpCx) -> BoxFuture<'a, Result<KeyMaterial>> {
        Box::pin(async move {
            let key = self.reference(key)?;
            if !self.fetch {
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
        Box::pin(self.destroy_all(id, cx))
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

//! Stories of callers and their keys. Each test has its own store; one keystore keeps keys in the store, one is a device.

mod adjustments;
mod certificates;
mod cryptography;
mod derivation;
mod device;
mod devices;
mod groups;
mod lives;
mod pkcs11;
mod quotas;
mod rehome;
mod split_keys;
mod tickets;
mod transfers;
mod turned;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use keygate_backends::local::LocalKeystore;
use keygate_kmip::{
    AnyValue, Attribute, Attributes, CreateRequest, CryptographicAlgorithm, CryptographicUsageMask, CustomAttribute, DateTime,
    DestroyRequest, GetRequest, Key, KeyBlock, KeyFormatType, KeyMaterial, KeyValue, ManagedObject, ObjectType, ProtocolVersion,
    RegisterRequest, RequestPayload, ResponsePayload, Secret, UniqueIdentifier,
};
use tempfile::TempDir;

use super::*;
use crate::identity::Caller;
use crate::seal::{NewSlot, Openers, Seal};
use crate::store::{ClientId, KeystoreId, OrganisationId, Store, StoreOptions};
use device::Device;

/// When these stories happen.
const NOW: i64 = 1_700_000_000;

pub(super) struct World {
    dir: TempDir,
    gateway: Gateway,
    device: Arc<Device>,
    device_id: KeystoreId,
    alice: Caller,
    bob: Caller,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub(super) async fn with(options: StoreOptions) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (seal, root) = Seal::create(dir.path(), NewSlot::default()).expect("a new seal");
        let store = Store::create(dir.path(), seal.store_id(), Arc::new(root), options).await.expect("a new store");
        let (device, device_id) = (Arc::new(Device::new()), KeystoreId::generate());
        let gateway = gateway(store, &device, device_id, KeystoreId::generate());
        Self { dir, gateway, device, device_id, alice: caller("alice"), bob: caller("bob") }
    }

    /// Closes the store and opens it again, as after a crash: what was in memory is gone.
    pub(super) async fn restart(&mut self) {
        self.gateway.store.close().await.expect("the store closes");
        let seal = Seal::load(self.dir.path()).expect("the seal is readable");
        let root = seal.unlock(&Openers::default()).expect("the key file opens it");
        let store = Store::open(self.dir.path(), seal.store_id(), Arc::new(root), StoreOptions::default()).await.expect("it opens");
        let local = self.gateway.keystores.default_id();
        self.gateway = gateway(store, &self.device, self.device_id, local);
    }

    pub(super) fn exchange<'a>(&'a self, caller: &'a Caller) -> Exchange<'a> {
        let mut exchange = Exchange::new(&self.gateway, caller, IpAddr::V4(Ipv4Addr::LOCALHOST), ProtocolVersion::V2_1, NOW);
        exchange.begin_item();
        exchange
    }

    /// One request in a message of its own.
    pub(super) async fn ask(&self, caller: &Caller, request: RequestPayload) -> Result<ResponsePayload, OperationError> {
        let mut exchange = self.exchange(caller);
        match perform(&mut exchange, request).await {
            Ok(response) => {
                exchange.item_done(None);
                exchange.finish().await?;
                Ok(response)
            }
            Err(error) => {
                exchange.item_failed(None, 1);
                exchange.finish().await?;
                Err(error)
            }
        }
    }

    /// Alice registers an active symmetric key and gets its identifier.
    pub(super) async fn registered(&self, algorithm: CryptographicAlgorithm, key: &[u8], more: Vec<Attribute>) -> String {
        let mut attributes = active(EVERY_USE);
        attributes.retain(|usual| !more.iter().any(|own| own.name() == usual.name()));
        attributes.extend(more);
        let request = RegisterRequest {
            object_type: ObjectType::SymmetricKey,
            attributes: attributes.into_iter().collect(),
            object: symmetric(algorithm, key),
            protection_storage_masks: None,
        };
        match self.ask(&self.alice, RequestPayload::Register(request)).await {
            Ok(ResponsePayload::Register(response)) => text(&response.unique_identifier),
            other => panic!("registered: {:?}", other.map(|_| "another answer")),
        }
    }

    pub(super) async fn get(&self, caller: &Caller, id: &str) -> Result<ManagedObject, OperationError> {
        let request = GetRequest { unique_identifier: Some(named(id)), ..GetRequest::default() };
        match self.ask(caller, RequestPayload::Get(request)).await? {
            ResponsePayload::Get(response) => Ok(response.object),
            _ => panic!("Get is answered by Get"),
        }
    }
}

/// Every use of a symmetric key.
pub(super) const EVERY_USE: CryptographicUsageMask = CryptographicUsageMask(
    CryptographicUsageMask::ENCRYPT.0
        | CryptographicUsageMask::DECRYPT.0
        | CryptographicUsageMask::WRAP_KEY.0
        | CryptographicUsageMask::MAC_GENERATE.0
        | CryptographicUsageMask::MAC_VERIFY.0,
);

pub(super) fn active(mask: CryptographicUsageMask) -> Vec<Attribute> {
    vec![Attribute::CryptographicUsageMask(mask), Attribute::ActivationDate(DateTime(NOW - 60))]
}

pub(super) fn create_aes(more: Vec<Attribute>) -> RequestPayload {
    let mut attributes = active(EVERY_USE);
    attributes.push(Attribute::CryptographicAlgorithm(CryptographicAlgorithm::Aes));
    attributes.push(Attribute::CryptographicLength(256));
    attributes.extend(more);
    RequestPayload::Create(CreateRequest {
        object_type: ObjectType::SymmetricKey,
        attributes: attributes.into_iter().collect(),
        protection_storage_masks: None,
    })
}

/// The attribute by which a request chooses the device.
pub(super) fn in_device() -> Attribute {
    Attribute::Custom(CustomAttribute { vendor: "keygate".to_owned(), name: "keystore".to_owned(), value: AnyValue::text("device") })
}

pub(super) fn destroy_request(id: &str) -> RequestPayload {
    RequestPayload::Destroy(DestroyRequest { unique_identifier: Some(named(id)) })
}

pub(super) fn named(id: &str) -> UniqueIdentifier {
    UniqueIdentifier::Text(id.to_owned())
}

pub(super) fn text(identifier: &UniqueIdentifier) -> String {
    identifier.as_text().expect("answers name objects by text").to_owned()
}

pub(super) fn symmetric(algorithm: CryptographicAlgorithm, key: &[u8]) -> ManagedObject {
    let material = KeyMaterial::Bytes(Secret::new(key.to_vec()));
    ManagedObject::SymmetricKey(Key {
        key_block: KeyBlock {
            key_format_type: KeyFormatType::Raw,
            key_compression_type: None,
            key_value: Some(KeyValue::Plain { material, attributes: Attributes::default() }),
            cryptographic_algorithm: Some(algorithm),
            cryptographic_length: Some(i32::try_from(key.len() * 8).expect("a short key")),
            key_wrapping_data: None,
        },
    })
}

fn gateway(store: Store, device: &Arc<Device>, device_id: KeystoreId, local_id: KeystoreId) -> Gateway {
    let local = LocalKeystore::new(keygate_backends::KeystoreId::new("local").expect("a legal name"));
    let keystores = Keystores::new(local_id, "local", Arc::new(local));
    keystores.add(device_id, "device", Arc::clone(device) as Arc<dyn keygate_backends::Keystore>);
    let keyring = Arc::clone(store.keyring());
    Gateway::new(store, keyring, keystores, Policy::default())
}

fn caller(name: &str) -> Caller {
    Caller {
        client: ClientId::generate(),
        organisation: OrganisationId::DEFAULT,
        name: name.into(),
        user: None,
        users_required: false,
        groups: Box::default(),
        keystore_default: None,
        ticket: None,
    }
}

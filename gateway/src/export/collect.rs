//! The keys of an organisation, page by page, newest first: those that may leave, and why others may not.

use std::sync::Arc;
use std::time::Duration;

use keygate_backends::{Class, Key as BackendKey, KeyRef, OpCx};
use keygate_kmip::{CryptographicAlgorithm, Key, ManagedObject, ObjectType, Tag};
use serde::Serialize;

use super::ExportedKey;
use crate::admin::AdminError;
use crate::object::{Material, Object, key_block};
use crate::operation::Gateway;
use crate::store::{Custody, LocateQuery, ObjectId, ObjectRow, OrganisationId};

/// Objects of one look into the store.
const PAGE: u32 = 200;
/// How long a device may take to hand a key out.
const DEVICE_DEADLINE: Duration = Duration::from_secs(30);

/// An object that does not leave.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// Unique Identifier.
    pub id: String,
    /// Object Type.
    pub object_type: String,
    /// Why.
    pub reason: String,
}

/// What became of one object.
pub enum Collected {
    /// It leaves.
    Key(Box<ExportedKey>),
    /// It does not.
    LeftOut(LeftOut),
}

/// Walks the objects of an organisation.
pub struct Collector {
    gateway: Arc<Gateway>,
    organisation: OrganisationId,
    after: Option<ObjectId>,
    is_at_end: bool,
}

impl Collector {
    /// A walk that begins.
    pub fn new(gateway: Arc<Gateway>, organisation: OrganisationId) -> Self {
        Self { gateway, organisation, after: None, is_at_end: false }
    }

    /// How many objects there are, destroyed ones included.
    ///
    /// # Errors
    /// The database.
    pub async fn count(&self) -> Result<u64, AdminError> {
        self.gateway.store.count(&self.query()).await.map_err(AdminError::failed)
    }

    fn query(&self) -> LocateQuery {
        LocateQuery {
            organisation: self.organisation,
            owners: None,
            objects: Vec::new(),
            states: Vec::new(),
            object_types: Vec::new(),
            tokens: Vec::new(),
            after: self.after,
            limit: PAGE,
        }
    }

    /// The next page; `None` at the end. Destroyed objects are passed over.
    ///
    /// # Errors
    /// The database.
    pub async fn next(&mut self) -> Result<Option<Vec<Collected>>, AdminError> {
        if self.is_at_end {
            return Ok(None);
        }
        let page = self.gateway.store.locate(&self.query()).await.map_err(AdminError::failed)?;
        (self.after, self.is_at_end) = (page.next, page.next.is_none());
        let mut found: Vec<Collected> =
            page.refused.iter().map(|id| left_out(*id, "", "its row was altered")).collect();
        for row in &page.rows {
            found.extend(self.collect(row).await);
        }
        Ok(Some(found))
    }

    async fn collect(&self, row: &ObjectRow) -> Option<Collected> {
        let refuse = |object_type: &str, reason: String| Some(left_out(row.id, object_type, &reason));
        let Ok((object, record)) = Object::open(row, &self.gateway.keyring, crate::operation::now_ms() / 1000) else {
            return refuse("", "its row was altered, or cannot be read".into());
        };
        let object_type = object.object_type.to_string();
        if object.lifecycle.is_destroyed() {
            return None;
        }
        if let Err(reason) = may_leave(&object) {
            return refuse(&object_type, reason.into());
        }
        let held = match record.material() {
            Ok(Material::Held(held)) => *held,
            Ok(Material::Referenced(key)) => match self.fetch(&object, &key).await {
                Ok(held) => held,
                Err(reason) => return refuse(&object_type, reason),
            },
            Ok(Material::None) => return refuse(&object_type, "its value is kept elsewhere".into()),
            Err(_) => return refuse(&object_type, "its record cannot be read".into()),
        };
        Some(Collected::Key(Box::new(ExportedKey::new(&object, &held, self.owner_of(&object)))))
    }

    /// A key that lives in a keystore of its own is fetched from it, where that hands keys out.
    async fn fetch(&self, object: &Object, key: &KeyRef) -> Result<ManagedObject, String> {
        let keystore =
            self.gateway.keystores.get(object.keystore).map_err(|_| "its keystore is not configured".to_owned())?;
        if !keystore.descriptor().can.export {
            return Err("it stays in its device: the keystore hands no keys out".into());
        }
        let exported = keystore.export(BackendKey::Reference(key), OpCx::within(DEVICE_DEADLINE)).await;
        let material = exported.map_err(|error| match error.class() {
            Class::Denied => "its keystore does not let it leave".to_owned(),
            _ => "its keystore does not answer: export again when it is back".to_owned(),
        })?;
        let algorithm = object.attributes.cryptographic_algorithm().unwrap_or(CryptographicAlgorithm::Aes);
        let length = object.attributes.cryptographic_length().unwrap_or_default();
        let block = key_block::key_block_of(&material, None, object.object_type, algorithm, length);
        let key_block = block.map_err(|_| "its keystore hands it out in a form that is not known".to_owned())?;
        match object.object_type {
            ObjectType::SymmetricKey => Ok(ManagedObject::SymmetricKey(Key { key_block })),
            ObjectType::PrivateKey => Ok(ManagedObject::PrivateKey(Key { key_block })),
            _ => Err("it is no key".into()),
        }
    }

    fn owner_of(&self, object: &Object) -> String {
        let directory = self.gateway.store.directory();
        let client = directory.clients.get(&object.owner).map(|client| client.name.clone());
        let user = || directory.users.iter().find(|user| user.id.0 == object.owner.0).map(|user| user.name.clone());
        client.or_else(user).unwrap_or_else(|| object.owner.to_string())
    }
}

/// KMIP 2.1 §4.22: a key that is not Extractable does not leave. §4.54: one that is Sensitive leaves wrapped only, and here it
/// would not be.
fn may_leave(object: &Object) -> Result<(), &'static str> {
    let public =
        matches!(object.object_type, ObjectType::Certificate | ObjectType::CertificateRequest | ObjectType::PublicKey);
    if public {
        return Ok(());
    }
    if !object.attributes.is_extractable() {
        return Err(if object.custody == Custody::InBackend { "it stays in its device" } else { "it is not extractable" });
    }
    if object.attributes.flag(Tag::SENSITIVE) {
        return Err(if object.custody == Custody::InBackend { "it stays in its device" } else { "it is sensitive" });
    }
    Ok(())
}

fn left_out(id: ObjectId, object_type: &str, reason: &str) -> Collected {
    Collected::LeftOut(LeftOut { id: id.to_string(), object_type: object_type.to_owned(), reason: reason.to_owned() })
}

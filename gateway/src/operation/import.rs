//! Import: an administrator brings keys for a client. The same as the client's own Register, so with its rules and quotas, but
//! recorded as what it is; a key that is there already is not taken twice.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use keygate_kmip::{
    Attribute, Attributes, CustomAttribute, ManagedObject, ProtocolVersion, RegisterRequest, RevocationReason,
    RevocationReasonCode, RevokeRequest, UniqueIdentifier,
};

use super::{Exchange, Gateway, OperationError, now_ms, register, revoke};
use crate::audit::{Action, Actor};
use crate::identity::Caller;
use crate::object::{self, Object, check_initial};
use crate::store::{LocateQuery, ObjectId, OrganisationId};

/// How often an import is tried again because another request was faster.
const ATTEMPTS_MAX: u32 = 4;
/// Objects of one look into the store.
const PAGE: u32 = 1000;

/// A key to take in.
pub struct ImportedObject {
    /// The object.
    pub object: ManagedObject,
    /// What is known of it; attributes that a server sets are passed over.
    pub attributes: Attributes,
    /// It is known to somebody it should not be.
    pub is_compromised: bool,
}

/// SHA-256 of values, and whose they are: what is in an organisation already.
#[derive(Default)]
pub struct Fingerprints(HashMap<Vec<u8>, ObjectId>);

/// What became of a key.
pub enum Imported {
    /// Taken in, or it would have been.
    Taken(Option<ObjectId>),
    /// There already.
    Duplicate(ObjectId),
}

impl Gateway {
    /// The fingerprints of an organisation's objects, destroyed ones left out.
    ///
    /// # Errors
    /// The database.
    pub async fn fingerprints(&self, organisation: OrganisationId) -> Result<Fingerprints, OperationError> {
        let mut found = Fingerprints::default();
        let mut query = LocateQuery {
            organisation,
            owners: None,
            objects: Vec::new(),
            states: Vec::new(),
            object_types: Vec::new(),
            tokens: Vec::new(),
            after: None,
            limit: PAGE,
        };
        loop {
            let page = self.store.locate(&query).await?;
            for row in &page.rows {
                let Ok((object, _)) = Object::open(row, &self.keyring, now_ms() / 1000) else { continue };
                let digest = object.attributes.find(|attribute| match attribute {
                    Attribute::Digest(digest) => digest.digest_value.clone(),
                    _ => None,
                });
                if let Some(digest) = digest.filter(|_| !object.lifecycle.is_destroyed()) {
                    found.0.insert(digest, row.id);
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Takes a key in for `owner`, on behalf of `actor`. With `dry_run` nothing is kept.
    ///
    /// # Errors
    /// What Register says.
    pub async fn import_object(
        &self,
        known: &mut Fingerprints,
        owner: &Caller,
        actor: &Actor,
        item: &ImportedObject,
        dry_run: bool,
    ) -> Result<Imported, OperationError> {
        let fingerprint = register::value_bytes(&item.object)
            .map(|value| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &value).as_ref().to_vec());
        if let Some(id) = fingerprint.as_ref().and_then(|fingerprint| known.0.get(fingerprint)) {
            return Ok(Imported::Duplicate(*id));
        }
        if dry_run {
            object::facts(&item.object)?;
            known.0.extend(fingerprint.map(|fingerprint| (fingerprint, ObjectId::generate())));
            return Ok(Imported::Taken(None));
        }
        for _ in 1..ATTEMPTS_MAX {
            match self.register_for(owner, actor, item).await {
                Err(OperationError::Conflict) => {}
                taken => {
                    let id = taken?;
                    known.0.extend(fingerprint.map(|fingerprint| (fingerprint, id)));
                    return Ok(Imported::Taken(Some(id)));
                }
            }
        }
        Err(OperationError::Conflict)
    }

    async fn register_for(
        &self,
        owner: &Caller,
        actor: &Actor,
        item: &ImportedObject,
    ) -> Result<ObjectId, OperationError> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut exchange = Exchange::new(self, owner, local, ProtocolVersion::V2_1, now_ms() / 1000);
        exchange.act_as(actor.clone());
        exchange.check_names();
        exchange.begin_item();
        let request = RegisterRequest {
            object_type: item.object.object_type(),
            attributes: given(&item.object, &item.attributes),
            object: item.object.clone(),
            protection_storage_masks: None,
        };
        register::register(&mut exchange, request).await?;
        let id = exchange.resolve(None)?;
        if item.is_compromised {
            let request = RevokeRequest {
                unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
                revocation_reason: RevocationReason { code: RevocationReasonCode::KeyCompromise, message: None },
                compromise_occurrence_date: None,
            };
            revoke::revoke(&mut exchange, request).await?;
        }
        exchange.check_names_of_item().await?;
        exchange.check_quotas_of_item()?;
        exchange.item_done(Some(Action::Register));
        exchange.finish().await?;
        Ok(id)
    }
}

/// The attributes that whoever registers an object may give it. Links name objects of the store it came from; so does the choice
/// of a keystore.
fn given(object: &ManagedObject, attributes: &Attributes) -> Attributes {
    let may = |attribute: &Attribute| match attribute {
        Attribute::Link(_) | Attribute::ObjectType(_) => false,
        Attribute::Custom(CustomAttribute { name, .. }) if name == "keygate-keystore" || name == "keystore" => false,
        other => check_initial(other, object.object_type(), ProtocolVersion::V2_1).is_ok(),
    };
    let list = attributes.list.iter().filter(|instance| may(&instance.attribute)).cloned().collect();
    Attributes { list, templates: Vec::new() }
}

//! Import: an administrator brings keys for a client. The same as the client's own Register, so with its rules and quotas, but
//! recorded as what it is; a key that is there already is not taken twice. A key keeps its Unique Identifier where that is free.
//!
//! Links name objects, which may come later than what names them: they are a second step ([`Gateway::restore_links`]).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use keygate_kmip::{
    Attribute, Attributes, CustomAttribute, LinkType, ManagedObject, Operation, ProtocolVersion, RegisterRequest,
    RevocationReason, RevocationReasonCode, RevokeRequest, UniqueIdentifier,
};

use super::{Exchange, Gateway, OperationError, new_object, now_ms, register, revoke};
use crate::audit::Action;
use crate::identity::Caller;
use crate::object::{self, Object, check_initial};
use crate::provisioning::Deciding;
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
    /// Its identifier where it comes from; it is kept if no object here has or had it.
    pub id: Option<ObjectId>,
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

    /// Takes a key in for `owner`, as `by` decides. With `dry_run` nothing is kept.
    ///
    /// # Errors
    /// What Register says.
    pub async fn import_object(
        &self,
        known: &mut Fingerprints,
        owner: &Caller,
        by: &Deciding,
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
            match self.register_for(owner, by, item).await {
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
        by: &Deciding,
        item: &ImportedObject,
    ) -> Result<ObjectId, OperationError> {
        let mut exchange = self.exchange_for(owner, by);
        exchange.check_names();
        exchange.begin_item();
        if let Some(id) = item.id.filter(|id| id.is_of_the_past(now_ms()))
            && matches!(self.store.object(id).await, Ok(None))
        {
            exchange.name_next(id);
        }
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

    fn exchange_for<'a>(&'a self, owner: &'a Caller, by: &Deciding) -> Exchange<'a> {
        let source = by.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut exchange = Exchange::new(self, owner, source, ProtocolVersion::V2_1, now_ms() / 1000);
        exchange.act_as(by.actor.clone());
        exchange
    }

    /// Links an object of `organisation` to others of it. A link that it has is left, and so is one to an object that is not there,
    /// or of a kind that says one thing only and says another here. How many were made.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] if the object is not there; the store.
    pub async fn restore_links(
        &self,
        organisation: OrganisationId,
        by: &Deciding,
        object: ObjectId,
        links: &[(LinkType, ObjectId)],
    ) -> Result<usize, OperationError> {
        for _ in 1..ATTEMPTS_MAX {
            match self.link(organisation, by, object, links).await {
                Err(OperationError::Conflict) => {}
                linked => return linked,
            }
        }
        Err(OperationError::Conflict)
    }

    async fn link(
        &self,
        organisation: OrganisationId,
        by: &Deciding,
        object: ObjectId,
        links: &[(LinkType, ObjectId)],
    ) -> Result<usize, OperationError> {
        let row = self.store.object(object).await?.filter(|row| row.organisation == organisation);
        let row = row.ok_or(OperationError::NotFound)?;
        let owner = Caller {
            client: row.owner,
            organisation,
            name: "".into(),
            user: None,
            users_required: false,
            groups: Box::default(),
            keystore_default: None,
            ticket: None,
        };
        let mut exchange = self.exchange_for(&owner, by);
        exchange.begin_item();
        let permit = exchange.permit_id(object, Operation::AddAttribute).await?;
        let mut missing = Vec::new();
        for (link_type, to) in links {
            let is_there = matches!(self.store.object(*to).await, Ok(Some(row)) if row.organisation == organisation);
            if is_there && !missing.contains(&(*link_type, *to)) && may_link(exchange.object(&permit), *link_type, *to) {
                missing.push((*link_type, *to));
            }
        }
        if missing.is_empty() {
            return Ok(0);
        }
        let changed = exchange.change(&permit);
        for (link_type, to) in &missing {
            new_object::link(changed, *link_type, *to);
        }
        exchange.item_done(Some(Action::AddAttribute));
        exchange.finish().await?;
        Ok(missing.len())
    }
}

/// KMIP 2.1 §4.35: of Derived Key Links, Parent and Child Links an object may have several.
fn may_link(object: &Object, link_type: LinkType, to: ObjectId) -> bool {
    let several = matches!(link_type, LinkType::DerivedKeyLink | LinkType::ParentLink | LinkType::ChildLink);
    let to = UniqueIdentifier::Text(to.to_string());
    !object.attributes.iter().any(|instance| match &instance.attribute {
        Attribute::Link(link) => link.link_type == link_type && (!several || link.linked_object_identifier == to),
        _ => false,
    })
}

/// The attributes that whoever registers an object may give it. Links follow when all objects are there; the choice of a keystore
/// was that of the store it came from.
fn given(object: &ManagedObject, attributes: &Attributes) -> Attributes {
    let may = |attribute: &Attribute| match attribute {
        Attribute::Link(_) | Attribute::ObjectType(_) => false,
        Attribute::Custom(CustomAttribute { name, .. }) if name == "keygate-keystore" || name == "keystore" => false,
        other => check_initial(other, object.object_type(), ProtocolVersion::V2_1).is_ok(),
    };
    let list = attributes.list.iter().filter(|instance| may(&instance.attribute)).cloned().collect();
    Attributes { list, templates: Vec::new() }
}

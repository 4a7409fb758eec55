//! Managed objects: attributes, lifecycle, material, and how they become rows of the store and back.
//!
//! Leaves to others: who may do what ([`crate::authorize`]), what operations mean ([`crate::operation`]), sealing and
//! durability ([`crate::store`], [`crate::seal`]).

mod attributes;
mod certificate;
mod facts;
pub mod key_block;
mod material;
mod rules;
#[cfg(test)]
mod rules_by_table;
mod state;
mod transparent;

use keygate_kmip::{Attribute, AttributeInstance, DateTime, ObjectClass, ObjectType, Tag, UniqueIdentifier};

pub use attributes::AttributeSet;
pub use facts::facts;
pub use material::{Material, MaterialError, OpenedRecord};
pub use rules::{Change as AttributeChange, check_change, check_imported, check_initial};
pub use state::{Lifecycle, WrongState};

use crate::operation::OperationError;
use crate::seal::{IndexKey, IndexToken, Keyring, NameToken};
use crate::store::{ClientId, Custody, KeystoreId, ObjectColumns, ObjectId, ObjectRow, OrganisationId, Version};

/// A managed object without its material.
#[derive(Clone, Debug)]
pub struct Object {
    /// Unique Identifier.
    pub id: ObjectId,
    /// Tenant.
    pub organisation: OrganisationId,
    /// Owner.
    pub owner: ClientId,
    /// Object Type.
    pub object_type: ObjectType,
    /// Where its key material is kept.
    pub keystore: KeystoreId,
    /// How its key material is kept.
    pub custody: Custody,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Its attributes.
    pub attributes: AttributeSet,
}

/// A row that was altered, or that this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("object {object} cannot be read: {what}")]
pub struct Unreadable {
    /// Which object.
    pub object: ObjectId,
    /// What is wrong.
    pub what: String,
}

impl Object {
    /// Opens a row, which proves that nothing of it was altered, and brings the state up to date: "dates drive states".
    ///
    /// # Errors
    /// [`Unreadable`] if the record does not open, or holds what no build wrote.
    pub fn open(row: &ObjectRow, keyring: &Keyring, now: i64) -> Result<(Self, OpenedRecord), Unreadable> {
        let unreadable = |what: String| Unreadable { object: row.id, what };
        let record = row.open(keyring).map_err(|error| unreadable(format!("its sealed record: {error}")))?;
        let record = OpenedRecord::new(record).map_err(|error| unreadable(error.to_string()))?;
        let object_type = ObjectType::from_code(row.object_type)
            .ok_or_else(|| unreadable(format!("object type {}", row.object_type)))?;
        let lifecycle =
            Lifecycle::from_code(row.state).ok_or_else(|| unreadable(format!("state {}", row.state)))?;
        let attributes = keygate_kmip::Attributes::from_stored_bytes(record.attributes().unwrap_or(&row.attributes))
            .map_err(|error| unreadable(error.to_string()))?;
        let mut object = Self {
            id: row.id,
            organisation: row.organisation,
            owner: row.owner,
            object_type,
            keystore: row.keystore,
            custody: row.custody,
            created_ms: row.created_ms,
            lifecycle,
            attributes: AttributeSet::from_stored(attributes),
        };
        object.advance(now);
        Ok((object, record))
    }

    /// Its row at a version, sealed; its names are not claimed where they need not be unique.
    #[must_use]
    pub fn seal(&self, version: Version, keyring: &Keyring, unique_names: bool, material: &Material) -> ObjectRow {
        let record = material.to_record(&self.attributes.to_stored_bytes());
        ObjectRow::seal(keyring, self.to_columns(version, keyring.index(), unique_names), &record)
    }

    fn to_columns(&self, version: Version, index: &IndexKey, unique_names: bool) -> ObjectColumns {
        ObjectColumns {
            id: self.id,
            organisation: self.organisation,
            owner: self.owner,
            version,
            state: self.lifecycle.to_kmip().code(),
            object_type: self.object_type.code(),
            keystore: self.keystore,
            custody: self.custody,
            created_ms: self.created_ms,
            attributes: Vec::new(),
            index: self.index_tokens(index),
            names: if unique_names { self.name_tokens(index) } else { Vec::new() },
        }
    }

    /// Applies the transitions whose dates are reached. KMIP 2.1 §4.1: "the date and time when the Managed Object MAY
    /// begin to be used"; §4.18 Deactivation Date.
    pub fn advance(&mut self, now: i64) {
        let reached = |attributes: &AttributeSet, tag| attributes.date(tag).is_some_and(|date| date.0 <= now);
        if reached(&self.attributes, Tag::ACTIVATION_DATE) {
            self.lifecycle = self.lifecycle.activate().unwrap_or(self.lifecycle);
        }
        if reached(&self.attributes, Tag::DEACTIVATION_DATE) {
            self.lifecycle = self.lifecycle.deactivate().unwrap_or(self.lifecycle);
        }
    }

    /// Whether it is archived. KMIP 2.1 §4.5: an object with an Archive Date is in archival storage.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.attributes.has_tag(Tag::ARCHIVE_DATE)
    }

    /// Refuses an object that is there in name only.
    ///
    /// # Errors
    /// [`OperationError::Destroyed`], [`OperationError::Archived`].
    pub fn check_present(&self) -> Result<(), OperationError> {
        if self.lifecycle.is_destroyed() {
            return Err(OperationError::Destroyed);
        }
        if self.is_archived() {
            return Err(OperationError::Archived);
        }
        Ok(())
    }

    /// Refuses an object that has no State.
    ///
    /// # Errors
    /// [`OperationError::InvalidField`].
    pub fn check_has_state(&self) -> Result<(), OperationError> {
        let none = || OperationError::InvalidField(format!("a {} has no state", self.object_type));
        self.has_state().then_some(()).ok_or_else(none)
    }

    /// Whether it has a State: templates have none (KMIP 1.4 §3.22 applies to cryptographic objects).
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.object_type != ObjectType::Template
    }

    /// Every attribute, those kept as columns included.
    pub fn all_attributes(&self) -> impl Iterator<Item = AttributeInstance> + '_ {
        let first = |attribute| AttributeInstance { index: Some(0), attribute };
        let columns = [
            Some(Attribute::UniqueIdentifier(UniqueIdentifier::Text(self.id.to_string()))),
            Some(Attribute::ObjectType(self.object_type)),
            self.has_state().then(|| Attribute::State(self.lifecycle.to_kmip())),
            // Of KMIP 3.0: objects that clients made, as all of ours are.
            Some(Attribute::ObjectClass(ObjectClass::User)),
            // KMIP 2.1 §4.56: "a compact representation"; the random half of the identifier.
            Some(Attribute::ShortUniqueIdentifier(self.id.as_bytes()[8..].to_vec())),
        ];
        columns.into_iter().flatten().map(first).chain(self.attributes.iter().cloned())
    }

    /// Notes a change. KMIP 2.1 §4.29: Last Change Date "contains the date and time of the last change".
    pub fn touch(&mut self, now: i64) {
        self.attributes.set(Attribute::LastChangeDate(DateTime(now)));
    }

    fn index_tokens(&self, index: &IndexKey) -> Vec<IndexToken> {
        let tokens = self.attributes.iter().filter_map(|i| index_token(index, self.organisation, &i.attribute));
        tokens.collect()
    }

    /// Names of a destroyed object are free again.
    fn name_tokens(&self, index: &IndexKey) -> Vec<NameToken> {
        if self.lifecycle.is_destroyed() {
            return Vec::new();
        }
        let names = self.attributes.iter().filter(|instance| matches!(instance.attribute, Attribute::Name(_)));
        names
            .map(|name| index.name(&self.organisation.0, &self.owner.0, &name.attribute.value_bytes()))
            .collect()
    }
}

/// The index token of an attribute; `None` for attributes that many objects share or that change by themselves.
#[must_use]
pub fn index_token(index: &IndexKey, organisation: OrganisationId, attribute: &Attribute) -> Option<IndexToken> {
    let indexed = matches!(
        attribute,
        Attribute::Name(_)
            | Attribute::ObjectGroup(_)
            | Attribute::Link(_)
            | Attribute::ApplicationSpecificInformation(_)
            | Attribute::AlternativeName(_)
            | Attribute::ContactInformation(_)
            | Attribute::X509CertificateIdentifier(_)
            | Attribute::X509CertificateSubject(_)
            | Attribute::Custom(_)
    );
    indexed.then(|| index.token(&organisation.0, &attribute.name().to_text(), &attribute.value_bytes()))
}

//! The attributes that an object has: instances by name and index.
//!
//! Unique Identifier, Object Type and State are not among them: they are columns of the object and are answered from
//! there ([`super::Object::all_attributes`]).

use keygate_kmip::{
    Attribute, AttributeInstance, AttributeName, Attributes, CryptographicAlgorithm, CryptographicParameters,
    CryptographicUsageMask, DateTime, RecommendedCurve, Tag,
};

/// Attributes of one object. Every instance has an index; those of one name have different ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSet {
    list: Vec<AttributeInstance>,
}

impl AttributeSet {
    pub(super) fn from_stored(attributes: Attributes) -> Self {
        Self { list: attributes.list }
    }

    /// KMIP TTLV of the attributes: for the sealed record, and for exports.
    #[must_use]
    pub fn to_stored_bytes(&self) -> Vec<u8> {
        Attributes { templates: Vec::new(), list: self.list.clone() }.to_stored_bytes()
    }

    /// Every instance, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = &AttributeInstance> {
        self.list.iter()
    }

    /// The instances of one name, lowest index first.
    pub fn of(&self, name: &AttributeName) -> impl Iterator<Item = &AttributeInstance> {
        self.list.iter().filter(move |instance| name.is_of(&instance.attribute))
    }

    /// Whether there is an instance of this name.
    pub fn has(&self, name: &AttributeName) -> bool {
        self.of(name).next().is_some()
    }

    /// Whether there is an instance with this tag.
    pub fn has_tag(&self, tag: Tag) -> bool {
        self.list.iter().any(|instance| instance.attribute.tag() == Some(tag))
    }

    /// The first value that `pick` accepts.
    pub fn find<'a, T>(&'a self, pick: impl Fn(&'a Attribute) -> Option<T>) -> Option<T> {
        self.list.iter().find_map(|instance| pick(&instance.attribute))
    }

    /// Adds an instance with the next free index of its name, which it returns.
    pub fn add(&mut self, attribute: Attribute) -> i32 {
        let name = attribute.name();
        let index = self.of(&name).filter_map(|instance| instance.index).max().map_or(0, |highest| highest + 1);
        self.list.push(AttributeInstance { index: Some(index), attribute });
        index
    }

    /// Sets the only instance of a single-valued attribute.
    pub fn set(&mut self, attribute: Attribute) {
        let name = attribute.name();
        match self.list.iter_mut().find(|instance| instance.attribute.name() == name) {
            Some(instance) => instance.attribute = attribute,
            None => self.list.push(AttributeInstance { index: Some(0), attribute }),
        }
    }

    /// Sets it unless there is one.
    pub fn set_default(&mut self, attribute: Attribute) {
        if !self.has(&attribute.name()) {
            self.set(attribute);
        }
    }

    /// Replaces the value of the instance with this name and index; false if there is none.
    pub fn replace(&mut self, index: i32, attribute: Attribute) -> bool {
        let name = attribute.name();
        let found = self.list.iter_mut().find(|i| i.index == Some(index) && i.attribute.name() == name);
        found.map(|instance| instance.attribute = attribute).is_some()
    }

    /// Removes the instance with this name and index and returns it.
    pub fn remove(&mut self, name: &AttributeName, index: i32) -> Option<AttributeInstance> {
        let at = self.list.iter().position(|i| i.index == Some(index) && name.is_of(&i.attribute))?;
        Some(self.list.remove(at))
    }

    /// Removes every instance of a standard attribute.
    pub fn remove_tag(&mut self, tag: Tag) {
        self.list.retain(|instance| instance.attribute.tag() != Some(tag));
    }

    /// Whether the value may leave: what says nothing of it may (KMIP 2.1 §4.22).
    pub fn is_extractable(&self) -> bool {
        !self.has_tag(Tag::EXTRACTABLE) || self.flag(Tag::EXTRACTABLE)
    }

    /// Cryptographic Algorithm.
    pub fn cryptographic_algorithm(&self) -> Option<CryptographicAlgorithm> {
        self.find(|attribute| match attribute {
            Attribute::CryptographicAlgorithm(algorithm) => Some(*algorithm),
            _ => None,
        })
    }

    /// Cryptographic Length, bits.
    pub fn cryptographic_length(&self) -> Option<i32> {
        self.find(|attribute| match attribute {
            Attribute::CryptographicLength(length) => Some(*length),
            _ => None,
        })
    }

    /// Cryptographic Usage Mask; none set allows nothing.
    pub fn cryptographic_usage_mask(&self) -> CryptographicUsageMask {
        let mask = self.find(|attribute| match attribute {
            Attribute::CryptographicUsageMask(mask) => Some(*mask),
            _ => None,
        });
        mask.unwrap_or_default()
    }

    /// Cryptographic Parameters with the lowest index.
    pub fn cryptographic_parameters(&self) -> Option<&CryptographicParameters> {
        self.find(|attribute| match attribute {
            Attribute::CryptographicParameters(parameters) => Some(parameters),
            _ => None,
        })
    }

    /// Recommended Curve of the Cryptographic Domain Parameters.
    pub fn recommended_curve(&self) -> Option<RecommendedCurve> {
        self.find(|attribute| match attribute {
            Attribute::CryptographicDomainParameters(parameters) => parameters.recommended_curve,
            _ => None,
        })
    }

    /// The date with this tag.
    pub fn date(&self, tag: Tag) -> Option<DateTime> {
        self.find(|attribute| match attribute {
            Attribute::ActivationDate(date) if tag == Tag::ACTIVATION_DATE => Some(*date),
            Attribute::DeactivationDate(date) if tag == Tag::DEACTIVATION_DATE => Some(*date),
            Attribute::ProcessStartDate(date) if tag == Tag::PROCESS_START_DATE => Some(*date),
            Attribute::ProtectStopDate(date) if tag == Tag::PROTECT_STOP_DATE => Some(*date),
            Attribute::ArchiveDate(date) if tag == Tag::ARCHIVE_DATE => Some(*date),
            Attribute::DestroyDate(date) if tag == Tag::DESTROY_DATE => Some(*date),
            Attribute::LastChangeDate(date) if tag == Tag::LAST_CHANGE_DATE => Some(*date),
            Attribute::InitialDate(date) if tag == Tag::INITIAL_DATE => Some(*date),
            _ => None,
        })
    }

    /// A Boolean attribute; absent is false.
    pub fn flag(&self, tag: Tag) -> bool {
        let value = self.find(|attribute| match attribute {
            Attribute::Sensitive(value) if tag == Tag::SENSITIVE => Some(*value),
            Attribute::Extractable(value) if tag == Tag::EXTRACTABLE => Some(*value),
            Attribute::Fresh(value) if tag == Tag::FRESH => Some(*value),
            _ => None,
        });
        value.unwrap_or(false)
    }
}

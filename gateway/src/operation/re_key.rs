//! Re-key: a new key in the place of an existing one. KMIP 2.1 §6.1.47, KMIP 1.4 §4.4.

use keygate_kmip::{
    Attribute, AttributeInstance, DateTime, Interval, LinkType, ObjectType, Operation, ReKeyRequest, ReKeyResponse, Tag,
};

use super::{Exchange, OperationError, create, new_object};
use crate::audit::Details;
use crate::authorize::Permit;
use crate::object::Object;
use crate::store::{Custody, ObjectId};

/// Makes the new key; the existing one stays as it is but for its names, which move, and its link to the new one.
///
/// # Errors
/// [`OperationError::InvalidField`] unless it is a symmetric key; whatever Create refuses.
pub(super) async fn re_key(exchange: &mut Exchange<'_>, request: ReKeyRequest) -> Result<ReKeyResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::ReKey).await?;
    let existing = exchange.object(&permit);
    if existing.object_type != ObjectType::SymmetricKey {
        return Err(OperationError::InvalidField(format!("Re-key replaces symmetric keys, not a {}", existing.object_type)));
    }
    existing.check_present()?;
    let existing = existing.clone();
    let given = new_object::expand(exchange, request.attributes.unwrap_or_default()).await?;
    let release = Release::given(&given);
    let mut replacement = new_object::build(exchange, ObjectType::SymmetricKey, given, (existing.keystore, Custody::Envelope))?;
    inherit(&mut replacement, &existing);
    release.inherit(&mut replacement, &existing);
    set_dates(&mut replacement, &existing, request.offset, exchange.now);
    let material = create::symmetric_key(exchange, &mut replacement).await?;
    replacement.advance(exchange.now);
    new_object::link(&mut replacement, LinkType::ReplacedObjectLink, existing.id);

    let id = replacement.id;
    hand_over(exchange, &permit, &existing, id);
    exchange.insert(replacement, material);
    exchange.note(Details::With { object: permit.object() });
    exchange.set_placeholder(Some(id));
    Ok(ReKeyResponse { unique_identifier: id.to_string().into(), attributes: None })
}

/// What changes of a key that is replaced: its names have moved, and it points to the new one.
pub(super) fn hand_over(exchange: &mut Exchange<'_>, permit: &Permit, existing: &Object, replacement: ObjectId) {
    let old = exchange.change(permit);
    // "The Name attribute is moved from the existing key to the new key".
    old.attributes.remove_tag(Tag::NAME);
    old.attributes.remove_tag(Tag::LINK);
    for instance in existing.attributes.iter() {
        match &instance.attribute {
            Attribute::Link(link) if link.link_type != LinkType::ReplacementObjectLink => {
                old.attributes.add(instance.attribute.clone());
            }
            _ => {}
        }
    }
    new_object::link(old, LinkType::ReplacementObjectLink, replacement);
}

/// "the new key has the same attributes as the existing key", but for those that belong to one key alone.
pub(super) fn inherit(replacement: &mut Object, existing: &Object) {
    let own = [
        Tag::INITIAL_DATE, Tag::LAST_CHANGE_DATE, Tag::ORIGINAL_CREATION_DATE, Tag::DESTROY_DATE, Tag::COMPROMISE_DATE,
        Tag::COMPROMISE_OCCURRENCE_DATE, Tag::REVOCATION_REASON, Tag::ARCHIVE_DATE, Tag::DIGEST, Tag::LINK, Tag::FRESH,
        Tag::ACTIVATION_DATE, Tag::PROCESS_START_DATE, Tag::PROTECT_STOP_DATE, Tag::DEACTIVATION_DATE, Tag::USAGE_LIMITS,
        Tag::RANDOM_NUMBER_GENERATOR,
    ];
    // Names: those that move from the existing key come before the new ones.
    let is_name = |instance: &&AttributeInstance| matches!(instance.attribute, Attribute::Name(_));
    let given: Vec<Attribute> = replacement.attributes.iter().filter(is_name).map(|i| i.attribute.clone()).collect();
    replacement.attributes.remove_tag(Tag::NAME);
    for instance in existing.attributes.iter().filter(is_name) {
        replacement.attributes.add(instance.attribute.clone());
    }
    for name in given {
        replacement.attributes.add(name);
    }
    for AttributeInstance { attribute, .. } in existing.attributes.iter() {
        let name = attribute.name();
        let is_own = attribute.tag().is_some_and(|tag| own.contains(&tag) || tag == Tag::NAME);
        if !is_own && (attribute.tag().is_none() || !replacement.attributes.has(&name)) {
            replacement.attributes.add(attribute.clone());
        }
    }
}

/// Which of Sensitive and Extractable a request gives. What it does not give is the existing key's: a key that must not leave is not
/// replaced by one that may.
#[derive(Clone, Copy)]
pub(super) struct Release {
    sensitive: bool,
    extractable: bool,
}

impl Release {
    /// What a request gives.
    pub(super) fn given(list: &[AttributeInstance]) -> Self {
        let has = |tag| list.iter().any(|instance| instance.attribute.tag() == Some(tag));
        Self { sensitive: has(Tag::SENSITIVE), extractable: has(Tag::EXTRACTABLE) }
    }

    /// Sets the others, which a new object has defaults of.
    pub(super) fn inherit(self, replacement: &mut Object, existing: &Object) {
        if !self.sensitive && existing.attributes.has_tag(Tag::SENSITIVE) {
            let sensitive = existing.attributes.flag(Tag::SENSITIVE);
            replacement.attributes.set(Attribute::Sensitive(sensitive));
            replacement.attributes.set(Attribute::AlwaysSensitive(sensitive));
        }
        if !self.extractable && existing.attributes.has_tag(Tag::EXTRACTABLE) {
            let extractable = existing.attributes.flag(Tag::EXTRACTABLE);
            replacement.attributes.set(Attribute::Extractable(extractable));
            replacement.attributes.set(Attribute::NeverExtractable(!extractable));
        }
    }
}

/// KMIP 1.4 §4.4, tables of dates: with an Offset the activation date is so much after the initial date and the others
/// keep their distance to it; without one they are copied.
pub(super) fn set_dates(replacement: &mut Object, existing: &Object, offset: Option<Interval>, now: i64) {
    let old_activation = existing.attributes.date(Tag::ACTIVATION_DATE);
    let shift = match (offset, old_activation) {
        (Some(Interval(seconds)), Some(old)) => now + i64::from(seconds) - old.0,
        _ => 0,
    };
    if let (Some(Interval(seconds)), None) = (offset, old_activation) {
        replacement.attributes.set_default(Attribute::ActivationDate(DateTime(now + i64::from(seconds))));
    }
    for AttributeInstance { attribute, .. } in existing.attributes.iter() {
        let shifted = |date: &DateTime| DateTime(date.0 + shift);
        let moved = match attribute {
            Attribute::ActivationDate(date) => Attribute::ActivationDate(shifted(date)),
            Attribute::ProcessStartDate(date) => Attribute::ProcessStartDate(shifted(date)),
            Attribute::ProtectStopDate(date) => Attribute::ProtectStopDate(shifted(date)),
            Attribute::DeactivationDate(date) => Attribute::DeactivationDate(shifted(date)),
            _ => continue,
        };
        replacement.attributes.set_default(moved);
    }
}

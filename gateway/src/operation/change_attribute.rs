//! Add, Modify, Set and Delete Attribute. KMIP 2.1 §6.1.2, §6.1.32, §6.1.55, §6.1.12; KMIP 1.4 §4.14 to §4.16.

use keygate_kmip::{
    AddAttributeRequest, AddAttributeResponse, Attribute, AttributeEntry, AttributeInstance, AttributeName,
    DeleteAttributeRequest, DeleteAttributeResponse, ModifyAttributeRequest, ModifyAttributeResponse, Operation,
    SetAttributeRequest, SetAttributeResponse,
};

use super::get_attributes::told_index;
use super::{Exchange, OperationError, new_object};
use crate::audit::Details;
use crate::authorize::Permit;
use crate::object::{AttributeChange, check_change};

/// Adds an instance of an attribute.
///
/// # Errors
/// The rule that forbids it.
pub(super) async fn add_attribute(exchange: &mut Exchange<'_>, request: AddAttributeRequest) -> Result<AddAttributeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::AddAttribute).await?;
    let attribute = new_object::complete(request.attribute.attribute)?;
    let name = attribute.name_in(exchange.version);
    checked(exchange, &permit, AttributeChange::Add, &name)?;
    new_object::check_limits(exchange, &attribute)?;
    // KMIP 1.4 §4.14: "the Attribute Index SHALL NOT be specified".
    if request.attribute.index.is_some_and(|index| index != 0) {
        return Err(OperationError::InvalidField("Add Attribute takes no Attribute Index".to_owned()));
    }
    let index = exchange.change(&permit).attributes.add(attribute.clone());
    Ok(AddAttributeResponse { unique_identifier: settled(exchange, &permit, name), attribute: Some(instance(exchange, index, attribute)) })
}

/// Gives an instance of an attribute another value.
///
/// # Errors
/// The rule that forbids it; [`OperationError::AttributeNotFound`] if there is none.
pub(super) async fn modify_attribute(exchange: &mut Exchange<'_>, request: ModifyAttributeRequest) -> Result<ModifyAttributeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::ModifyAttribute).await?;
    let attribute = new_object::complete(request.attribute.attribute)?;
    let name = attribute.name_in(exchange.version);
    let index = match &request.current {
        Some(current) => instance_with_value(exchange, &permit, &current.attribute)?,
        None => instance_at(exchange, &permit, &name, request.attribute.index)?,
    };
    checked(exchange, &permit, AttributeChange::Modify, &name)?;
    new_object::check_limits(exchange, &attribute)?;
    if !exchange.change(&permit).attributes.replace(index, attribute.clone()) {
        return Err(OperationError::AttributeInstanceNotFound(format!("{} has no instance {index}", name.to_text())));
    }
    Ok(ModifyAttributeResponse { unique_identifier: settled(exchange, &permit, name), attribute: Some(instance(exchange, index, attribute)) })
}

/// Sets the value of a single-valued attribute, whether it has one or not.
///
/// # Errors
/// [`OperationError::MultiValuedAttribute`]; the rule that forbids it.
pub(super) async fn set_attribute(exchange: &mut Exchange<'_>, request: SetAttributeRequest) -> Result<SetAttributeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::SetAttribute).await?;
    let attribute = new_object::complete(request.attribute.attribute)?;
    let name = attribute.name_in(exchange.version);
    let rule = attribute.tag().and_then(AttributeEntry::by_tag).and_then(|entry| entry.rule(exchange.version));
    let several = exchange.object(&permit).attributes.of(&name).count() > 1;
    if several || rule.is_some_and(|rule| rule.multiple) {
        return Err(OperationError::MultiValuedAttribute(format!("{} takes several values: use Add or Modify Attribute", name.to_text())));
    }
    let change = if exchange.object(&permit).attributes.has(&name) { AttributeChange::Modify } else { AttributeChange::Add };
    checked(exchange, &permit, change, &name)?;
    new_object::check_limits(exchange, &attribute)?;
    exchange.change(&permit).attributes.set(attribute);
    Ok(SetAttributeResponse { unique_identifier: settled(exchange, &permit, name) })
}

/// Deletes an instance of an attribute; in 2.x, all of them if the request names no value.
///
/// # Errors
/// The rule that forbids it; [`OperationError::AttributeNotFound`] if there is none.
pub(super) async fn delete_attribute(exchange: &mut Exchange<'_>, request: DeleteAttributeRequest) -> Result<DeleteAttributeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::DeleteAttribute).await?;
    let name = match (&request.current, request.name) {
        (Some(current), _) => current.attribute.name_in(exchange.version),
        (None, Some(name)) => name,
        (None, None) => return Err(OperationError::InvalidMessage("neither Current Attribute nor Attribute Reference".to_owned())),
    };
    let indexes = match &request.current {
        Some(current) => vec![instance_with_value(exchange, &permit, &current.attribute)?],
        None if exchange.version.has_attributes_by_tag() => all_instances(exchange, &permit, &name)?,
        None => vec![instance_at(exchange, &permit, &name, request.index)?],
    };
    checked(exchange, &permit, AttributeChange::Delete, &name)?;
    let mut deleted = None;
    for index in indexes {
        deleted = exchange.change(&permit).attributes.remove(&name, index);
    }
    let deleted = deleted.map(|gone| instance(exchange, gone.index.unwrap_or(0), gone.attribute));
    Ok(DeleteAttributeResponse { unique_identifier: settled(exchange, &permit, name), attribute: deleted })
}

/// Whether the caller's kind of change is allowed now.
pub(super) fn checked(exchange: &Exchange<'_>, permit: &Permit, change: AttributeChange, name: &AttributeName) -> Result<(), OperationError> {
    check_change(change, name, exchange.object(permit), exchange.version, exchange.now)
}

/// What follows from a change: dates drive states, and sensitivity is remembered.
pub(super) fn settled(exchange: &mut Exchange<'_>, permit: &Permit, name: AttributeName) -> keygate_kmip::UniqueIdentifier {
    use keygate_kmip::Tag;
    let now = exchange.now;
    let object = exchange.change(permit);
    object.advance(now);
    match name {
        // KMIP 2.1 §4.3, §4.33: once it was not sensitive, or was extractable, that is remembered.
        AttributeName::Standard(Tag::SENSITIVE) if !object.attributes.flag(Tag::SENSITIVE) => {
            object.attributes.set(Attribute::AlwaysSensitive(false));
        }
        AttributeName::Standard(Tag::EXTRACTABLE) if object.attributes.flag(Tag::EXTRACTABLE) => {
            object.attributes.set(Attribute::NeverExtractable(false));
        }
        _ => {}
    }
    exchange.note(Details::Attribute { name: name.to_text() });
    exchange.set_placeholder(Some(permit.object()));
    permit.object().to_string().into()
}

fn instance(exchange: &Exchange<'_>, index: i32, attribute: Attribute) -> AttributeInstance {
    AttributeInstance { index: told_index(Some(index), exchange.version), attribute }
}

/// The index that a 1.x request names, or of the only instance.
fn instance_at(exchange: &Exchange<'_>, permit: &Permit, name: &AttributeName, index: Option<i32>) -> Result<i32, OperationError> {
    let object = exchange.object(permit);
    if is_column(name) {
        return Err(OperationError::read_only(name, "clients may not change it"));
    }
    let mut instances = object.attributes.of(name).filter_map(|instance| instance.index);
    let Some(first) = instances.next() else {
        return Err(OperationError::AttributeNotFound(format!("the object has no {}", name.to_text())));
    };
    let wanted = match index {
        Some(index) => index,
        None if exchange.version.has_attributes_by_tag() && instances.next().is_some() => {
            return Err(OperationError::MultiValuedAttribute(format!("{} has several values and no Current Attribute says which", name.to_text())));
        }
        None if exchange.version.has_attributes_by_tag() => first,
        None => 0,
    };
    let there = object.attributes.of(name).any(|instance| instance.index == Some(wanted));
    there.then_some(wanted).ok_or_else(|| OperationError::AttributeInstanceNotFound(format!("{} has no instance {wanted}", name.to_text())))
}

fn instance_with_value(exchange: &Exchange<'_>, permit: &Permit, value: &Attribute) -> Result<i32, OperationError> {
    let name = value.name_in(exchange.version);
    let object = exchange.object(permit);
    if !object.attributes.has(&name) {
        return Err(OperationError::AttributeNotFound(format!("the object has no {}", name.to_text())));
    }
    let found = object.attributes.of(&name).find(|instance| instance.attribute == *value).and_then(|instance| instance.index);
    found.ok_or_else(|| OperationError::AttributeInstanceNotFound(format!("no {} has this value", name.to_text())))
}

fn all_instances(exchange: &Exchange<'_>, permit: &Permit, name: &AttributeName) -> Result<Vec<i32>, OperationError> {
    if is_column(name) {
        return Err(OperationError::read_only(name, "clients may not delete it"));
    }
    let indexes: Vec<i32> = exchange.object(permit).attributes.of(name).filter_map(|instance| instance.index).collect();
    if indexes.is_empty() {
        return Err(OperationError::AttributeNotFound(format!("the object has no {}", name.to_text())));
    }
    Ok(indexes)
}

fn is_column(name: &AttributeName) -> bool {
    use keygate_kmip::Tag;
    matches!(name, AttributeName::Standard(Tag::UNIQUE_IDENTIFIER | Tag::OBJECT_TYPE | Tag::STATE))
}

//! Adjust Attribute: a number, date, interval or Boolean, moved without its being read first. KMIP 2.1 §6.1.3, §11.1.

use keygate_kmip::{
    AdjustAttributeRequest, AdjustAttributeResponse, AnyValue, AttributeName, NotAdjusted, Operation, ProtocolVersion, ZERO_TYPES,
};

use super::change_attribute::{checked, settled};
use super::{Exchange, OperationError, new_object};
use crate::object::AttributeChange;

/// Adjusts the only value of an attribute.
///
/// # Errors
/// [`OperationError::MultiValuedAttribute`]; the rule that forbids the change; [`OperationError::InvalidDataType`] and
/// [`OperationError::NumericRange`] where the value cannot be adjusted like this.
pub(super) async fn adjust_attribute(exchange: &mut Exchange<'_>, request: AdjustAttributeRequest) -> Result<AdjustAttributeResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::AdjustAttribute).await?;
    let name = request.name;
    let object = exchange.object(&permit);
    object.check_present()?;
    // "If the object had exactly one instance, then it is modified. If it has more than one instance an error is raised."
    let several = object.attributes.of(&name).count() > 1;
    let current = object.attributes.of(&name).next().map(|instance| instance.attribute.clone());
    if several {
        return Err(OperationError::MultiValuedAttribute(format!("{} has several values", name.to_text())));
    }
    // "Read-Only attributes SHALL NOT be added or modified using this operation."
    let change = if current.is_some() { AttributeChange::Modify } else { AttributeChange::Add };
    checked(exchange, &permit, change, &name)?;
    let by = request.adjustment_value.as_ref();
    let value = match current {
        Some(current) => current.value(),
        None => zero(&name, by, exchange.version),
    };
    let value = value.ok_or_else(|| OperationError::AttributeNotFound(format!("the object has no {}, and none to begin with", name.to_text())))?;
    let adjusted = value.adjusted(request.adjustment_type, by).map_err(|error| not_adjusted(&name, error))?;
    let attribute = name.with_value(&adjusted, exchange.version).map_err(|error| OperationError::InvalidField(format!("{}: {error}", name.to_text())))?;
    new_object::check_limits(exchange, &attribute)?;
    exchange.change(&permit).attributes.set(attribute);
    Ok(AdjustAttributeResponse { unique_identifier: settled(exchange, &permit, name) })
}

/// What an attribute without a value begins at; of a custom one, 0 in the type of the Adjustment Value.
fn zero(name: &AttributeName, by: Option<&AnyValue>, version: ProtocolVersion) -> Option<AnyValue> {
    match name {
        AttributeName::Standard(_) => {
            let zeros = ZERO_TYPES.into_iter().filter_map(AnyValue::zero);
            zeros.into_iter().find(|zero| name.with_value(zero, version).is_ok())
        }
        AttributeName::Link(_) => None,
        AttributeName::Custom { .. } | AttributeName::Unknown(_) => AnyValue::zero(by?.item_type()),
    }
}

fn not_adjusted(name: &AttributeName, error: NotAdjusted) -> OperationError {
    let text = format!("{}: {error}", name.to_text());
    match error {
        NotAdjusted::Type | NotAdjusted::ValueType => OperationError::InvalidDataType(text),
        NotAdjusted::NeedlessValue => OperationError::InvalidField(text),
        NotAdjusted::Range => OperationError::NumericRange(text),
    }
}

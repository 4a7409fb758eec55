//! Get Usage Allocation: a client sets aside a part of a key's usage limits. KMIP 2.1 §6.1.23, KMIP 1.4 §4.18.

use keygate_kmip::{AttributeName, GetUsageAllocationRequest, GetUsageAllocationResponse, Operation, Tag};

use super::{Exchange, OperationError, key};

/// Takes the amount off the key's limits; the client may then protect as much without asking.
///
/// # Errors
/// A key without limits, in a state that does not protect, or with less left than asked for.
pub(super) async fn get_usage_allocation(
    exchange: &mut Exchange<'_>,
    request: GetUsageAllocationRequest,
) -> Result<GetUsageAllocationResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::GetUsageAllocation).await?;
    let object = exchange.object(&permit);
    object.check_present()?;
    if request.usage_limits_count <= 0 {
        return Err(OperationError::InvalidField("Usage Limits Count is not positive".to_owned()));
    }
    let none = || OperationError::AttributeNotFound(format!("the object has no {}", AttributeName::Standard(Tag::USAGE_LIMITS).to_text()));
    let limits = key::usage_limits(exchange, &permit).ok_or_else(none)?;
    key::check_protects(exchange, &permit)?;
    key::take(exchange, &permit, limits, request.usage_limits_count)?;
    exchange.set_placeholder(Some(permit.object()));
    Ok(GetUsageAllocationResponse { unique_identifier: permit.object().to_string().into() })
}

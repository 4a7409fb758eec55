//! Check: may the object be used like this? KMIP 2.1 §6.1.7, KMIP 1.4 §4.10.

use keygate_kmip::{Attribute, CheckRequest, CheckResponse, Interval, Operation};

use super::{Exchange, OperationError, new_object};

/// Answers with the object if everything asked can be had.
///
/// # Errors
/// What cannot be had.
pub(super) async fn check(exchange: &mut Exchange<'_>, request: CheckRequest) -> Result<CheckResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Check).await?;
    let object = exchange.object(&permit);
    object.check_present()?;
    if let Some(wanted) = request.cryptographic_usage_mask
        && !object.attributes.cryptographic_usage_mask().contains(wanted)
    {
        return Err(OperationError::UsageNotAllowed("the usage mask does not hold every bit asked for".to_owned()));
    }
    if let Some(wanted) = request.usage_limits_count {
        let left = object.attributes.find(|attribute| match attribute {
            Attribute::UsageLimits(limits) => limits.count,
            _ => None,
        });
        if left.is_some_and(|left| left < wanted) {
            return Err(OperationError::UsageLimitExceeded);
        }
    }
    if request.lease_time.is_some_and(|Interval(seconds)| seconds > new_object::LEASE_SECONDS) {
        return Err(OperationError::PermissionDenied(format!("leases last {} s at most", new_object::LEASE_SECONDS)));
    }
    let id = permit.object();
    exchange.set_placeholder(Some(id));
    Ok(CheckResponse { unique_identifier: id.to_string().into(), usage_limits_count: None, cryptographic_usage_mask: None, lease_time: None })
}

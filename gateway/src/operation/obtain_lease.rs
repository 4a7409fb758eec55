//! Obtain Lease. KMIP 2.1 §6.1.33, KMIP 1.4 §4.17.

use keygate_kmip::{DateTime, Interval, ObtainLeaseRequest, ObtainLeaseResponse, Operation, Tag};

use super::{Exchange, OperationError, new_object};

/// Grants a lease; it bounds how long the client may keep its copy, and needs no record here.
///
/// # Errors
/// [`OperationError::Destroyed`], [`OperationError::Archived`].
pub(super) async fn obtain_lease(exchange: &mut Exchange<'_>, request: ObtainLeaseRequest) -> Result<ObtainLeaseResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::ObtainLease).await?;
    let object = exchange.object(&permit);
    object.check_present()?;
    let last_change_date = object.attributes.date(Tag::LAST_CHANGE_DATE).unwrap_or(DateTime(exchange.now));
    Ok(ObtainLeaseResponse {
        unique_identifier: permit.object().to_string().into(),
        lease_time: Interval(new_object::LEASE_SECONDS),
        last_change_date,
    })
}

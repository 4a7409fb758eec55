//! Archive and Recover. KMIP 2.1 §6.1.4, §6.1.43.
//!
//! Archival storage is a mark: an archived object is refused for use until it is recovered. Its record stays where it is.

use keygate_kmip::{ArchiveRequest, ArchiveResponse, Attribute, DateTime, Operation, RecoverRequest, RecoverResponse, Tag};

use super::{Exchange, OperationError};

/// Moves an object to archival storage.
///
/// # Errors
/// [`OperationError::Archived`] if it is there, [`OperationError::Destroyed`].
pub(super) async fn archive(exchange: &mut Exchange<'_>, request: ArchiveRequest) -> Result<ArchiveResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Archive).await?;
    let object = exchange.object(&permit);
    object.check_present()?;
    let now = DateTime(exchange.now);
    exchange.change(&permit).attributes.set(Attribute::ArchiveDate(now));
    Ok(ArchiveResponse { unique_identifier: permit.object().to_string().into() })
}

/// Brings an object back from archival storage; one that is not there stays where it is.
///
/// # Errors
/// [`OperationError::NotFound`].
pub(super) async fn recover(exchange: &mut Exchange<'_>, request: RecoverRequest) -> Result<RecoverResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Recover).await?;
    if exchange.object(&permit).is_archived() {
        exchange.change(&permit).attributes.remove_tag(Tag::ARCHIVE_DATE);
    }
    Ok(RecoverResponse { unique_identifier: permit.object().to_string().into() })
}

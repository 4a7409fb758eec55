//! Export: an object with every attribute it has, for another server to import. KMIP 2.1 §6.1.19, KMIP 1.4 §4.42.

use keygate_kmip::{Attributes, ExportRequest, ExportResponse, GetRequest, Operation};

use super::{Exchange, OperationError, get, get_attributes};

/// Hands an object out, as Get would, with its attributes. It is served by Get only (KMIP 2.1 §4.24): Fresh stays as it is.
///
/// # Errors
/// Those of Get.
pub(super) async fn export(exchange: &mut Exchange<'_>, request: ExportRequest) -> Result<ExportResponse, OperationError> {
    let ExportRequest { unique_identifier, key_format_type, key_wrap_type, key_compression_type, key_wrapping_specification } = request;
    let permit = exchange.permit(unique_identifier.as_ref(), Operation::Export).await?;
    let asked = GetRequest { unique_identifier, key_format_type, key_wrap_type, key_compression_type, key_wrapping_specification };
    let object = get::hand_out(exchange, &permit, asked).await?;
    let attributes = Attributes { templates: Vec::new(), list: get_attributes::visible(exchange, &permit) };
    let id = permit.object();
    exchange.set_placeholder(Some(id));
    Ok(ExportResponse { object_type: object.object_type(), unique_identifier: id.to_string().into(), attributes, object })
}

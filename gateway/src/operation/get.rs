//! temporary
use keygate_kmip::*;
use super::{Exchange, OperationError};
use crate::object::{Material, key_block};
/// g
pub(super) async fn get(exchange: &mut Exchange<'_>, request: GetRequest) -> Result<GetResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::Get).await?;
    let Material::Held(object) = exchange.material(&permit)? else { return Err(OperationError::NotExtractable) };
    let mut object = *object;
    if let Some(f) = request.key_format_type { object = key_block::convert(object, f, &exchange.object(&permit).attributes)?; }
    exchange.release_material();
    exchange.set_placeholder(Some(permit.object()));
    Ok(GetResponse { object_type: object.object_type(), unique_identifier: permit.object().to_string().into(), object })
}

//! Get Attributes and Get Attribute List. KMIP 2.1 §6.1.21, §6.1.22; KMIP 1.4 §4.12, §4.13.

use keygate_kmip::{
    AttributeInstance, AttributeName, Attributes, GetAttributeListRequest, GetAttributeListResponse, GetAttributesRequest,
    GetAttributesResponse, Operation, ProtocolVersion,
};

use super::{Exchange, OperationError};
use crate::authorize::Permit;
use crate::object::Object;

/// The attributes that are asked for, or all.
///
/// # Errors
/// [`OperationError::InvalidMessage`] if a name comes twice.
pub(super) async fn get_attributes(exchange: &mut Exchange<'_>, request: GetAttributesRequest) -> Result<GetAttributesResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::GetAttributes).await?;
    // KMIP 1.4 §4.12: "If an attribute name is specified more than once, the server SHALL return an error" in effect.
    for (at, name) in request.names.iter().enumerate() {
        if request.names[..at].contains(name) {
            return Err(OperationError::InvalidMessage(format!("attribute name specified more than once: {}", name.to_text())));
        }
    }
    let all = visible(exchange, &permit);
    let list = if request.names.is_empty() {
        all
    } else {
        let named = request.names.iter().flat_map(|name| all.iter().filter(move |i| name.is_of(&i.attribute)));
        named.cloned().collect()
    };
    let id = permit.object();
    exchange.set_placeholder(Some(id));
    Ok(GetAttributesResponse { unique_identifier: id.to_string().into(), attributes: Attributes { templates: Vec::new(), list } })
}

/// The names of the attributes there are.
///
/// # Errors
/// [`OperationError::NotFound`].
pub(super) async fn get_attribute_list(
    exchange: &mut Exchange<'_>,
    request: GetAttributeListRequest,
) -> Result<GetAttributeListResponse, OperationError> {
    let permit = exchange.permit(request.unique_identifier.as_ref(), Operation::GetAttributeList).await?;
    let mut names: Vec<AttributeName> = Vec::new();
    for instance in visible(exchange, &permit) {
        let name = instance.attribute.name_in(exchange.version);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let id = permit.object();
    exchange.set_placeholder(Some(id));
    Ok(GetAttributeListResponse { unique_identifier: id.to_string().into(), names })
}

/// Attributes that the version of the request can say.
pub(super) fn visible(exchange: &Exchange<'_>, permit: &Permit) -> Vec<AttributeInstance> {
    sayable(exchange.object(permit), exchange.version).collect()
}

/// Attributes of an object that a version can say, as an answer or a message of ours tells them.
pub(super) fn sayable(object: &Object, version: ProtocolVersion) -> impl Iterator<Item = AttributeInstance> {
    let all = object.all_attributes().filter(move |instance| instance.attribute.is_in(version));
    all.map(move |AttributeInstance { index, attribute }| AttributeInstance { index: told_index(index, version), attribute })
}

/// The Attribute Index of an answer. In 1.0 an index of 0 goes without saying; later clients of 1.x look for it.
pub(super) fn told_index(index: Option<i32>, version: ProtocolVersion) -> Option<i32> {
    index.filter(|index| *index != 0 || version >= ProtocolVersion::V1_1)
}

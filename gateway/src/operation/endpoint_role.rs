//! Set Endpoint Role: a client turns its connection round. KMIP 2.1 §6.1.54.

use keygate_kmip::{EndpointRole, SetEndpointRoleRequest, SetEndpointRoleResponse};

use super::{Exchange, OperationError};

/// Accepts the role that this server is to take. The connection is turned once the answer is sent (`kmip`).
///
/// # Errors
/// [`OperationError::OperationNotSupported`] where the setting does not allow it, [`OperationError::FeatureNotSupported`] for a
/// connection or a message that cannot be turned.
pub(super) fn set_endpoint_role(
    exchange: &Exchange<'_>,
    request: SetEndpointRoleRequest,
) -> Result<SetEndpointRoleResponse, OperationError> {
    if !exchange.gateway.policy.endpoint_role {
        return Err(OperationError::OperationNotSupported(
            "the Set Endpoint Role operation is off (kmip.endpoint_role)".to_owned(),
        ));
    }
    match request.endpoint_role {
        EndpointRole::Server => {}
        EndpointRole::Client if exchange.may_turn() => {}
        EndpointRole::Client => {
            let why = "a connection is turned round over TLS alone, by a message that asks nothing else";
            return Err(OperationError::FeatureNotSupported(why.to_owned()));
        }
        other => {
            return Err(OperationError::InvalidField(format!("Endpoint Role {other} is neither Client nor Server")));
        }
    }
    Ok(SetEndpointRoleResponse { endpoint_role: request.endpoint_role })
}

//! `POST /keys/{key}/export`: the material of a key that may leave, in clear or wrapped by another key.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keygate_kmip::{
    BlockCipherMode, CryptographicParameters, EncodingOption, GetRequest, KeyFormatType, KeyIdentifier, KeyInformation, KeyMaterial, KeyValue,
    KeyWrappingSpecification, ManagedObject, ObjectType, Operation, RequestPayload, ResponsePayload, UniqueIdentifier, WrappingMethod,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Rest,
    answer::{Failure, Refused, done},
    body::Body,
    caller::{KeysExport, May},
    keys::Named,
    names::KeyName,
    run::{Task, Work, mixed_up},
    view::name_of,
};
use crate::operation::OperationError;

/// How the material is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ExportWish {
    /// `RAW`: the octets of a symmetric key, PKCS#8 of a private, SubjectPublicKeyInfo of a public one. `WRAPPED`: the same,
    /// wrapped by AES key wrap (RFC 3394). Without it: RAW.
    #[serde(default)]
    format: Format,
    /// With WRAPPED: UUID or name of the wrapping key.
    #[serde(default)]
    wrapping_key: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Format {
    #[default]
    Raw,
    Wrapped,
}

/// Key material on its way out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exported {
    /// Whose.
    uuid: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// RAW or WRAPPED.
    format: Format,
    /// Base64.
    material: String,
}

impl Drop for Exported {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

/// Hands out the material of a key that is exportable.
#[utoipa::path(post, path = "/api/key/v1/keys/{key}/export", tag = "keys", params(Named), request_body = ExportWish,
    security(("basic" = ["keys:export"])),
    responses((status = 200, description = "The material.", body = Exported), (status = 403, description = "It must not leave, or not in clear.", body = Failure),
        (status = 410, description = "It was destroyed.", body = Failure)))]
pub(super) async fn export(
    may: May<KeysExport>,
    State(rest): State<Rest>,
    Path(key): Path<String>,
    Body(wish): Body<ExportWish>,
) -> Result<Response, Refused> {
    let wrapping = match (wish.format, wish.wrapping_key) {
        (Format::Raw, None) => None,
        (Format::Wrapped, Some(name)) => Some(KeyName::parse(&name)?),
        (Format::Wrapped, None) => return Err(Refused::invalid("format WRAPPED needs wrappingKey")),
        (Format::Raw, Some(_)) => return Err(Refused::invalid("wrappingKey needs format WRAPPED")),
    };
    let exported = rest.run(&may, Export { key: KeyName::parse(&key)?, wrapping }).await?;
    Ok(done(StatusCode::OK, &exported))
}

struct Export {
    key: KeyName,
    wrapping: Option<KeyName>,
}

impl Task for Export {
    type Answer = Exported;

    fn operation(&self) -> Operation {
        Operation::Get
    }

    async fn perform(&self, work: &mut Work<'_, '_>) -> Result<Exported, OperationError> {
        let id = self.key.resolve(work).await?;
        let wrapped_by = match &self.wrapping {
            None => None,
            Some(name) => Some(name.resolve(work).await.map_err(|error| match error {
                OperationError::NotFound => OperationError::WrappingKeyNotFound,
                other => other,
            })?),
        };
        let permit = work.exchange.permit_id(id, Operation::Get).await?;
        let object = work.exchange.object(&permit);
        let name = name_of(object);
        let key_format_type = match object.object_type {
            ObjectType::PrivateKey => Some(KeyFormatType::Pkcs8),
            ObjectType::PublicKey => Some(KeyFormatType::X509),
            ObjectType::SymmetricKey => Some(KeyFormatType::Raw),
            _ => None,
        };
        let specification = wrapped_by.map(|key| KeyWrappingSpecification {
            wrapping_method: WrappingMethod::Encrypt,
            encryption_key_information: Some(KeyInformation {
                unique_identifier: KeyIdentifier(key.to_string()),
                cryptographic_parameters: Some(CryptographicParameters {
                    block_cipher_mode: Some(BlockCipherMode::NistKeyWrap),
                    ..CryptographicParameters::default()
                }),
            }),
            mac_signature_key_information: None,
            attribute_names: Vec::new(),
            // KMIP 2.1 §11.19: the octets of the key alone are wrapped, not a structure around them.
            encoding_option: Some(EncodingOption::NoEncoding),
        });
        let get = GetRequest {
            unique_identifier: Some(UniqueIdentifier::Text(id.to_string())),
            key_format_type,
            key_wrapping_specification: specification,
            ..GetRequest::default()
        };
        let got = match work.item(RequestPayload::Get(get)).await? {
            ResponsePayload::Get(got) => got,
            other => return Err(mixed_up(&other)),
        };
        let format = if wrapped_by.is_some() { Format::Wrapped } else { Format::Raw };
        Ok(Exported { uuid: id.to_string(), name, format, material: material(&got.object)? })
    }
}

/// The octets of a key, in base64.
pub(super) fn material(object: &ManagedObject) -> Result<String, OperationError> {
    let other = || OperationError::KeyFormatNotSupported(format!("a {} is not exported over REST", object.object_type()));
    let block = object.key_block().ok_or_else(other)?;
    let octets = match block.key_value.as_ref().ok_or(OperationError::KeyValueNotPresent)? {
        KeyValue::Wrapped(octets) | KeyValue::Plain { material: KeyMaterial::Bytes(octets), .. } => octets,
        KeyValue::Plain { .. } => return Err(other()),
    };
    let mut text = Zeroizing::new(STANDARD.encode(octets.expose_bytes()));
    Ok(std::mem::take(&mut *text))
}

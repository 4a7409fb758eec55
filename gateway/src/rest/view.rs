//! A key as the contract shows it.

use std::collections::BTreeMap;

use keygate_kmip::{
    Attribute, CryptographicUsageMask, CustomAttribute, GetRequest, KeyFormatType, LinkType, ObjectType, Operation, RequestPayload, ResponsePayload,
    UniqueIdentifier,
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{
    export,
    names::{linked, versions},
    run::{Work, mixed_up},
    wishes::{DELETABLE, RESERVED, USAGES},
};
use crate::{
    object::{Lifecycle, Object},
    operation::OperationError,
    store::ObjectId,
};

/// A key, without its material. Absent fields do not apply or are not known.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView {
    /// Its unique identifier, the same over KMIP.
    uuid: String,
    /// Its name; older versions have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Counts from 1; each rotation adds 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<usize>,
    /// PRE_ACTIVE, ACTIVE, DEACTIVATED, COMPROMISED, DESTROYED or DESTROYED_COMPROMISED.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// SymmetricKey, PrivateKey, PublicKey...
    object_type: &'static str,
    /// AES, RSA, EC...
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// Bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<i32>,
    /// What it may be used for.
    usage_mask: Vec<&'static str>,
    /// Whether its material may leave.
    exportable: bool,
    /// Whether it may be destroyed over REST.
    deletable: bool,
    /// Name of the client it belongs to.
    owner: String,
    /// Its group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Name of the keystore that it is kept in.
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore: Option<String>,
    /// When it was made, RFC 3339.
    created: String,
    /// UUID of the public half of a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// That half itself, SubjectPublicKeyInfo in base64; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_value: Option<String>,
    /// The version that replaced it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    /// The client's own attributes.
    attributes: BTreeMap<String, String>,
}

impl KeyView {
    /// With the value of a pair's public half, where the caller may get it.
    pub(super) async fn with_public_value(work: &mut Work<'_, '_>, id: ObjectId) -> Result<Self, OperationError> {
        let mut view = Self::of(work, id, &mut 0).await?;
        let Some(public) = view.public_key.as_deref().and_then(|id| id.parse().ok()) else { return Ok(view) };
        let Ok(permit) = work.exchange.permit_id(public, Operation::Get).await else { return Ok(view) };
        if work.exchange.object(&permit).lifecycle.is_destroyed() || work.exchange.object(&permit).is_archived() {
            return Ok(view);
        }
        let get = GetRequest {
            unique_identifier: Some(UniqueIdentifier::Text(public.to_string())),
            key_format_type: Some(KeyFormatType::X509),
            ..GetRequest::default()
        };
        match work.item(RequestPayload::Get(get)).await? {
            ResponsePayload::Get(got) => view.public_key_value = Some(export::material(&got.object)?),
            other => return Err(mixed_up(&other)),
        }
        Ok(view)
    }

    /// Of an object that the caller may see; `walked` counts replaced versions over the whole request.
    pub(super) async fn of(work: &mut Work<'_, '_>, id: ObjectId, walked: &mut u32) -> Result<Self, OperationError> {
        let version = versions(work.exchange, id, walked).await?.map(|all| all.len());
        let permit = work.exchange.permit_id(id, Operation::GetAttributes).await?;
        let exchange = &*work.exchange;
        let object = exchange.object(&permit);
        let directory = exchange.gateway.store.directory();
        let owner = directory.clients.get(&object.owner).map_or_else(|| object.owner.to_string(), |client| client.name.clone());
        let algorithm = object.attributes.cryptographic_algorithm();
        Ok(Self {
            uuid: id.to_string(),
            name: name_of(object),
            version,
            state: object.has_state().then(|| state(object.lifecycle)),
            object_type: object.object_type.xml_name().unwrap_or("Unknown"),
            algorithm: algorithm.and_then(|algorithm| algorithm.xml_name()).map(|name| name.replace('_', "-")),
            length: object.attributes.cryptographic_length(),
            usage_mask: usages(object.attributes.cryptographic_usage_mask()),
            exportable: object.attributes.is_extractable(),
            deletable: is_deletable(object),
            owner,
            group: text(object, |attribute| match attribute {
                Attribute::ObjectGroup(group) => Some(group),
                _ => None,
            }),
            keystore: exchange.gateway.keystores.name(object.keystore).map(|name| name.to_string()),
            created: rfc3339(object.created_ms),
            public_key: linked(object, LinkType::PublicKeyLink).filter(|_| object.object_type == ObjectType::PrivateKey).map(|id| id.to_string()),
            public_key_value: None,
            replaced_by: linked(object, LinkType::ReplacementObjectLink).map(|id| id.to_string()),
            attributes: customs(object).filter(|(name, _)| !name.starts_with(RESERVED)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }
}

/// Its name; older versions and public halves have none.
pub(super) fn name_of(object: &Object) -> Option<String> {
    text(object, |attribute| match attribute {
        Attribute::Name(name) => Some(&name.value),
        _ => None,
    })
}

/// Whether the one who made it let it be destroyed.
pub(super) fn is_deletable(object: &Object) -> bool {
    !customs(object).any(|(name, value)| name == DELETABLE && value == "false")
}

/// RFC 3339, of milliseconds since 1970.
pub(super) fn rfc3339(milliseconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

fn text(object: &Object, pick: impl Fn(&Attribute) -> Option<&String>) -> Option<String> {
    object.attributes.iter().find_map(|instance| pick(&instance.attribute).cloned())
}

/// Custom attributes that clients set and that are texts.
fn customs(object: &Object) -> impl Iterator<Item = (&str, &str)> {
    object.attributes.iter().filter_map(|instance| match &instance.attribute {
        Attribute::Custom(CustomAttribute { vendor, name, value }) if vendor == "x" => Some((name.as_str(), value.as_text()?)),
        _ => None,
    })
}

fn usages(mask: CryptographicUsageMask) -> Vec<&'static str> {
    USAGES.iter().filter(|(_, bit)| mask.contains(*bit)).map(|(name, _)| *name).collect()
}

fn state(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::PreActive => "PRE_ACTIVE",
        Lifecycle::Active => "ACTIVE",
        Lifecycle::Deactivated => "DEACTIVATED",
        Lifecycle::Compromised => "COMPROMISED",
        Lifecycle::Destroyed => "DESTROYED",
        Lifecycle::DestroyedCompromised => "DESTROYED_COMPROMISED",
    }
}

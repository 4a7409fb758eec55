//! The attribute rule tables applied: who may set, change and delete which attribute, and when.
//!
//! The tables are KMIP 1.x §3 and 2.x §4, one per attribute and version ([`keygate_kmip::AttributeEntry`]).

use keygate_kmip::{
    AppliesTo, Attribute, AttributeEntry, AttributeName, AttributeRule, ClientChange, ObjectType, ProtocolVersion, Tag,
};

use super::{Lifecycle, Object};
use crate::operation::OperationError;

/// How a client changes an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Add Attribute: one more instance.
    Add,
    /// Modify Attribute, Set Attribute: another value.
    Modify,
    /// Delete Attribute.
    Delete,
}

/// Whether a client may give this attribute to a new object of this type.
///
/// # Errors
/// The rule that forbids it.
pub fn check_initial(attribute: &Attribute, object_type: ObjectType, version: ProtocolVersion) -> Result<(), OperationError> {
    let name = attribute.name();
    if matches!(name, AttributeName::Custom { .. }) {
        return custom_is_the_clients(&name);
    }
    let rule = rule_of(&name, version)?;
    if !rule.client_sets && !echoes_the_object(attribute, object_type) {
        return Err(OperationError::read_only(&name, "it is set by the server"));
    }
    applies(rule, &name, object_type)
}

/// Whether an imported object of this type may have this attribute, whoever sets it otherwise.
///
/// # Errors
/// An attribute that the version does not know, or that is not of this type of object.
pub fn check_imported(attribute: &Attribute, object_type: ObjectType, version: ProtocolVersion) -> Result<(), OperationError> {
    let name = attribute.name();
    if matches!(name, AttributeName::Custom { .. }) {
        return Ok(());
    }
    applies(rule_of(&name, version)?, &name, object_type)
}

/// Whether a client may change this attribute of this object now.
///
/// # Errors
/// The rule that forbids it.
pub fn check_change(
    change: Change,
    name: &AttributeName,
    object: &Object,
    version: ProtocolVersion,
    now: i64,
) -> Result<(), OperationError> {
    if matches!(name, AttributeName::Custom { .. }) {
        return custom_is_the_clients(name);
    }
    let rule = rule_of(name, version)?;
    applies(rule, name, object.object_type)?;
    match change {
        Change::Add => {
            // KMIP 2.1 §6.1.2: for non-multi-instance attributes Add Attribute creates the attribute if it has no value.
            if !rule.client_sets && rule.client_modifies == ClientChange::No {
                return Err(OperationError::read_only(name, "it is set by the server"));
            }
            if !rule.multiple && object.attributes.has(name) {
                return Err(OperationError::single_valued(name));
            }
            match rule.client_modifies {
                ClientChange::PreActive | ClientChange::PreActiveOrActive | ClientChange::PreActiveOrActiveUntilReached => {
                    allowed(rule.client_modifies, name, object, now)
                }
                _ => Ok(()),
            }
        }
        Change::Modify => allowed(rule.client_modifies, name, object, now),
        Change::Delete => allowed(rule.client_deletes, name, object, now),
    }
}

fn rule_of(name: &AttributeName, version: ProtocolVersion) -> Result<&'static AttributeRule, OperationError> {
    let entry = match name {
        AttributeName::Link(_) => AttributeEntry::by_tag(Tag::LINK),
        AttributeName::Standard(tag) => AttributeEntry::by_tag(*tag).or_else(|| AttributeEntry::by_name("Certificate Attributes")),
        AttributeName::Custom { .. } | AttributeName::Unknown(_) => None,
    };
    entry.and_then(|entry| entry.rule(version)).ok_or_else(|| OperationError::unsupported_attribute(name))
}

/// Object Type and, for keys, what the key block says may be repeated among the attributes of a new object.
fn echoes_the_object(attribute: &Attribute, object_type: ObjectType) -> bool {
    match attribute {
        Attribute::ObjectType(given) => *given == object_type,
        Attribute::KeyFormatType(_) | Attribute::CertificateType(_) | Attribute::CertificateLength(_) => true,
        // KMIP 1.x §3.4, §3.5: "initially set by: Server" for objects whose value tells it, and clients still send both.
        Attribute::CryptographicAlgorithm(_) | Attribute::CryptographicLength(_) => true,
        Attribute::OpaqueDataType(_) => true,
        _ => false,
    }
}

fn custom_is_the_clients(name: &AttributeName) -> Result<(), OperationError> {
    match name {
        // KMIP 1.4 §3.39: "the names of vendor-defined or server-defined attributes SHALL start with y-".
        AttributeName::Custom { vendor, .. } if vendor == "y" => {
            Err(OperationError::read_only(name, "attributes of vendor y are set by the server"))
        }
        _ => Ok(()),
    }
}

fn allowed(when: ClientChange, name: &AttributeName, object: &Object, now: i64) -> Result<(), OperationError> {
    let state = object.lifecycle;
    match when {
        ClientChange::Yes | ClientChange::ClientCreated => Ok(()),
        ClientChange::No => Err(OperationError::read_only(name, "clients may not change it")),
        ClientChange::PreActive if state == Lifecycle::PreActive => Ok(()),
        ClientChange::PreActiveOrActive if is_young(state) => Ok(()),
        ClientChange::PreActiveOrActiveUntilReached if is_young(state) && !is_reached(name, object, now) => Ok(()),
        ClientChange::UntilUsageAllocated if !usage_is_allocated(object) => Ok(()),
        ClientChange::UntilUsageAllocated => Err(OperationError::read_only(name, "usage has been allocated")),
        ClientChange::PreActive | ClientChange::PreActiveOrActive | ClientChange::PreActiveOrActiveUntilReached => {
            Err(OperationError::WrongState(format!("{} cannot be changed while the object is {state:?}", name.to_text())))
        }
    }
}

fn is_young(state: Lifecycle) -> bool {
    matches!(state, Lifecycle::PreActive | Lifecycle::Active)
}

fn is_reached(name: &AttributeName, object: &Object, now: i64) -> bool {
    match name {
        AttributeName::Standard(tag) => object.attributes.date(*tag).is_some_and(|date| date.0 <= now),
        _ => false,
    }
}

fn usage_is_allocated(object: &Object) -> bool {
    let limits = object.attributes.find(|attribute| match attribute {
        Attribute::UsageLimits(limits) => Some(limits),
        _ => None,
    });
    limits.is_some_and(|limits| limits.count.is_some_and(|count| count != limits.total))
}

fn applies(rule: &AttributeRule, name: &AttributeName, object_type: ObjectType) -> Result<(), OperationError> {
    use ObjectType as T;
    let keys = matches!(object_type, T::SymmetricKey | T::PublicKey | T::PrivateKey | T::SplitKey);
    let asymmetric = matches!(object_type, T::PublicKey | T::PrivateKey);
    let certificate = object_type == T::Certificate;
    let template = object_type == T::Template;
    let cryptographic = keys || certificate || matches!(object_type, T::SecretData | T::PgpKey | T::CertificateRequest);
    let fits = match rule.applies_to {
        AppliesTo::AllObjects => true,
        AppliesTo::AsymmetricKeys => asymmetric,
        AppliesTo::AsymmetricKeysAndTemplates => asymmetric || template,
        AppliesTo::Certificates => certificate,
        AppliesTo::CertificatesAndPgpKeys => certificate || object_type == T::PgpKey,
        AppliesTo::CryptographicAndOpaqueObjects => cryptographic || object_type == T::OpaqueObject,
        // Clients give usage masks and dates to opaque objects too (KMIP 2.1 OMOS cases); harmless, so kept.
        AppliesTo::CryptographicObjects => cryptographic || object_type == T::OpaqueObject,
        AppliesTo::CryptographicObjectsAndTemplates => cryptographic || template || object_type == T::OpaqueObject,
        AppliesTo::KeysAndTemplates => keys || template,
        // Secret Data with an algorithm and a length is common (KMIP 1.x clients send both).
        AppliesTo::KeysCertificatesAndTemplates => cryptographic || template,
        AppliesTo::OpaqueObjects => object_type == T::OpaqueObject,
        AppliesTo::SecretObjects => matches!(object_type, T::SymmetricKey | T::PrivateKey | T::SplitKey | T::SecretData),
        AppliesTo::SymmetricKeysAndTemplates => matches!(object_type, T::SymmetricKey | T::SplitKey | T::SecretData) || template,
    };
    if fits { Ok(()) } else { Err(OperationError::InvalidField(format!("{} does not apply to {object_type}", name.to_text()))) }
}


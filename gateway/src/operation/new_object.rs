//! What Create, Create Key Pair, Register and Re-key have in common: a new object from the attributes a client gives
//! and those the server sets.

use keygate_kmip::{
    Attribute, AttributeInstance, Attributes, CustomAttribute, DateTime, Digest, HashingAlgorithm, Interval, KeyFormatType,
    Link, LinkType, ManagedObject, Name, ObjectType, Operation, ProtectionStorageMask, ProtocolVersion, Tag, UniqueIdentifier,
};

use super::{Exchange, OperationError};
use crate::object::{AttributeSet, Lifecycle, Material, Object, check_initial, index_token};
use crate::store::{Custody, KeystoreId, LocateQuery, ObjectId};

/// Seconds of a lease, and the Lease Time attribute of every new object.
pub(super) const LEASE_SECONDS: u32 = 3600;

/// Names by which a request chooses a keystore: `x-keygate-keystore` in 1.x, attribute `keystore` of vendor `keygate`.
const KEYSTORE_ATTRIBUTES: [(&str, &str); 2] = [("x", "keygate-keystore"), ("keygate", "keystore")];

/// The attributes of a request, those of the templates it names included. KMIP 1.4 §2.1.8: attributes given with a
/// template take precedence over the template's.
///
/// # Errors
/// [`OperationError::NotFound`] if a template is not there for the caller.
pub(super) async fn expand(exchange: &mut Exchange<'_>, given: Attributes) -> Result<Vec<AttributeInstance>, OperationError> {
    let mut list = given.list;
    for name in given.templates {
        let template = template_attributes(exchange, &name).await?;
        for instance in template {
            if !list.iter().any(|own| own.attribute.name() == instance.attribute.name()) {
                list.push(AttributeInstance { index: None, attribute: instance.attribute });
            }
        }
    }
    Ok(list)
}

async fn template_attributes(exchange: &mut Exchange<'_>, name: &Name) -> Result<Vec<AttributeInstance>, OperationError> {
    let attribute = Attribute::Name(name.clone());
    let in_message = exchange.changed_objects().find(|object| {
        object.object_type == ObjectType::Template && object.attributes.iter().any(|own| own.attribute == attribute)
    });
    let id = match in_message {
        Some(object) => object.id,
        None => stored_template(exchange, &attribute).await?,
    };
    let permit = exchange.permit_id(id, Operation::Get).await?;
    match exchange.material(&permit)? {
        Material::Held(object) => match *object {
            ManagedObject::Template(template) => Ok(template.attributes.list),
            _ => Err(OperationError::NotFound),
        },
        Material::Referenced(_) | Material::None => Err(OperationError::NotFound),
    }
}

async fn stored_template(exchange: &Exchange<'_>, name: &Attribute) -> Result<ObjectId, OperationError> {
    let visible = exchange.grants().visible(exchange.caller);
    let token = index_token(exchange.gateway.keyring.index(), exchange.caller.organisation, name);
    let query = LocateQuery {
        organisation: exchange.caller.organisation,
        owners: Some(visible.owners),
        objects: visible.objects,
        states: Vec::new(),
        object_types: vec![ObjectType::Template.code()],
        tokens: token.into_iter().collect(),
        after: None,
        limit: 1,
    };
    let page = exchange.gateway.store.locate(&query).await?;
    page.rows.first().map(|row| row.id).ok_or(OperationError::NotFound)
}

/// Which keystore a new key goes to: as the request says, else the client's default, else the server's.
///
/// # Errors
/// [`OperationError::InvalidField`] for a keystore that does not exist, or takes no new keys.
pub(super) fn keystore_of(exchange: &Exchange<'_>, given: &[AttributeInstance]) -> Result<KeystoreId, OperationError> {
    let keystores = &exchange.gateway.keystores;
    let asked = given.iter().find_map(|instance| match &instance.attribute {
        Attribute::Custom(CustomAttribute { vendor, name, value })
            if KEYSTORE_ATTRIBUTES.contains(&(vendor.as_str(), name.as_str())) => value.as_text(),
        _ => None,
    });
    let id = match asked {
        Some(name) => keystores.id_named(name).ok_or_else(|| OperationError::InvalidField(format!("there is no keystore {name:?}")))?,
        None => exchange.caller.keystore_default.unwrap_or_else(|| keystores.default_id()),
    };
    keystores.for_new_keys(id).map(|_| id)
}

/// A new object with the attributes a client gives, checked by their rules, and the server's own.
///
/// # Errors
/// The first attribute that may not be given, or not like this.
pub(super) fn build(
    exchange: &Exchange<'_>,
    object_type: ObjectType,
    given: Vec<AttributeInstance>,
    (keystore, custody): (KeystoreId, Custody),
) -> Result<Object, OperationError> {
    let mut attributes = AttributeSet::default();
    for AttributeInstance { attribute, .. } in given {
        check_given(exchange, &attribute, object_type)?;
        // Columns of the object; equal to what was checked.
        if matches!(attribute, Attribute::ObjectType(_)) {
            continue;
        }
        let name = attribute.name();
        if attributes.has(&name) && !is_multiple(&attribute, exchange.version) {
            return Err(OperationError::single_valued(&name));
        }
        attributes.add(complete(attribute)?);
    }
    let now = DateTime(exchange.now);
    let mut object = Object {
        id: exchange.next_id().unwrap_or_else(ObjectId::generate),
        organisation: exchange.caller.organisation,
        owner: exchange.caller.principal(),
        object_type,
        keystore,
        custody,
        created_ms: exchange.now * 1000,
        lifecycle: Lifecycle::PreActive,
        attributes,
    };
    let set = &mut object.attributes;
    set.set(Attribute::InitialDate(now));
    set.set(Attribute::LastChangeDate(now));
    set.set(Attribute::LeaseTime(Interval(LEASE_SECONDS)));
    set.set_default(Attribute::OperationPolicyName("default".to_owned()));
    set.set(Attribute::ProtectionStorageMask(ProtectionStorageMask::SOFTWARE));
    if object_type != ObjectType::Template {
        set.set_default(Attribute::Fresh(true));
        let sensitive = set.flag(Tag::SENSITIVE);
        set.set(Attribute::Sensitive(sensitive));
        set.set(Attribute::AlwaysSensitive(sensitive));
        set.set_default(Attribute::Extractable(true));
        let extractable = set.flag(Tag::EXTRACTABLE);
        set.set(Attribute::NeverExtractable(!extractable));
    }
    object.advance(exchange.now);
    Ok(object)
}

/// Links an object to another.
pub(super) fn link(from: &mut Object, link_type: LinkType, to: ObjectId) {
    let linked_object_identifier = UniqueIdentifier::Text(to.to_string());
    from.attributes.add(Attribute::Link(Link { link_type, linked_object_identifier }));
}

/// KMIP 2.1 §4.21: the server computes a digest of the value.
pub(super) fn set_digest(object: &mut Object, value: &[u8]) {
    let key_format_type = object.attributes.find(|attribute| match attribute {
        Attribute::KeyFormatType(format) => Some(*format),
        _ => None,
    });
    object.attributes.remove_tag(Tag::DIGEST);
    object.attributes.set(digest_of(value, key_format_type));
}

/// The digest of a value in a format.
pub(super) fn digest_of(value: &[u8], key_format_type: Option<KeyFormatType>) -> Attribute {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value);
    Attribute::Digest(Digest { hashing_algorithm: HashingAlgorithm::Sha256, digest_value: Some(digest.as_ref().to_vec()), key_format_type })
}

/// The rules that hold wherever a client gives an attribute: it may, and the value is within the limits.
fn check_given(exchange: &Exchange<'_>, attribute: &Attribute, object_type: ObjectType) -> Result<(), OperationError> {
    check_initial(attribute, object_type, exchange.version)?;
    check_limits(exchange, attribute)
}

/// Whether a value is within the server's limits.
///
/// # Errors
/// [`OperationError::InvalidField`], naming the limit.
pub(super) fn check_limits(exchange: &Exchange<'_>, attribute: &Attribute) -> Result<(), OperationError> {
    let policy = &exchange.gateway.policy;
    let too_long = |what: &str, limit: usize| Err(OperationError::InvalidField(format!("{what} is longer than {limit} bytes")));
    match attribute {
        Attribute::Name(name) if name.value.len() > policy.name_bytes_max => too_long("Name", policy.name_bytes_max),
        Attribute::Name(name) if name.value.is_empty() => Err(OperationError::InvalidField("Name is empty".to_owned())),
        Attribute::Custom(custom) if custom.value.bytes().len() > policy.attribute_bytes_max => {
            too_long("custom attribute value", policy.attribute_bytes_max)
        }
        Attribute::Custom(custom) if custom.name.len() + custom.vendor.len() > policy.name_bytes_max => {
            too_long("custom attribute name", policy.name_bytes_max)
        }
        Attribute::CryptographicLength(length) if *length < 0 => {
            Err(OperationError::InvalidField("Cryptographic Length is negative".to_owned()))
        }
        attribute if attribute.value_bytes().len() > policy.attribute_bytes_max => too_long("attribute value", policy.attribute_bytes_max),
        _ => Ok(()),
    }
}

/// Fills in what the server adds to a client's value.
pub(super) fn complete(attribute: Attribute) -> Result<Attribute, OperationError> {
    match attribute {
        // KMIP 2.1 §7.40: the count starts at the total.
        Attribute::UsageLimits(mut limits) => {
            if limits.total <= 0 {
                return Err(OperationError::InvalidField("Usage Limits Total is not positive".to_owned()));
            }
            limits.count = Some(limits.total);
            Ok(Attribute::UsageLimits(limits))
        }
        // KMIP 1.4 §3.36: the server may make up Application Data for a namespace it supports; we support none.
        Attribute::ApplicationSpecificInformation(information) if information.data.is_none() => {
            Err(OperationError::ApplicationNamespaceNotSupported)
        }
        other => Ok(other),
    }
}

pub(super) fn is_multiple(attribute: &Attribute, version: ProtocolVersion) -> bool {
    let Some(tag) = attribute.tag() else {
        // KMIP 1.4 §3.39: custom attributes may have several instances.
        return true;
    };
    keygate_kmip::AttributeEntry::by_tag(tag).and_then(|entry| entry.rule(version)).is_some_and(|rule| rule.multiple)
}


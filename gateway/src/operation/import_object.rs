//! Import: an object with every attribute it has elsewhere. KMIP 2.1 §6.1.28, KMIP 1.4 §4.41.
//!
//! What an administrator imports for a client is another thing: [`super::import`].

use keygate_kmip::{
    Attribute, AttributeInstance, ImportRequest, ImportResponse, KeyWrapType, ManagedObject, ObjectType, Operation, Tag,
};

use super::{Exchange, OperationError, generate, get, new_object, register, wrap};
use crate::authorize::Permit;
use crate::object::{Lifecycle, Object, check_imported};
use crate::store::{Custody, ObjectId};

/// Takes an object in as it was.
///
/// The identifier is kept where it is one that this server could have given and none has; else the server gives another one. An
/// object of somebody else is as absent here as everywhere: it is neither replaced nor told of, and cannot have its identifier twice.
///
/// # Errors
/// [`OperationError::ObjectExists`] where the caller's own object is not to be replaced; what Register says; a state that an
/// object with a value is not in.
pub(super) async fn import_object(exchange: &mut Exchange<'_>, request: ImportRequest) -> Result<ImportResponse, OperationError> {
    let object_type = request.object.object_type();
    if request.object_type.is_some_and(|said| said != object_type) {
        return Err(OperationError::InvalidField(format!("Object Type is {}, the object is a {object_type}", request.object_type.unwrap_or(object_type))));
    }
    register::check_given(exchange, &request.object)?;
    let Some(text) = request.unique_identifier.as_text() else {
        return Err(OperationError::InvalidField("Import names an object by its own identifier".to_owned()));
    };
    let asked: Option<ObjectId> = text.parse().ok();
    let replaced = match asked {
        Some(id) => existing(exchange, id).await?,
        None => None,
    };
    if replaced.is_some() && request.replace_existing != Some(true) {
        return Err(OperationError::ObjectExists);
    }
    let is_free = |id: &ObjectId| id.is_of_the_past(exchange.now.saturating_mul(1000).saturating_add(999)) && !exchange.has_met(*id);
    let id = match &replaced {
        Some(permit) => permit.object(),
        None => asked.filter(is_free).unwrap_or_else(ObjectId::generate),
    };
    let object = as_kept(exchange, id, request.object, request.key_wrap_type).await?;
    let mut record = build(exchange, id, object_type, request.attributes.list)?;
    if let Some(before) = replaced.as_ref().map(|permit| exchange.object(permit)) {
        (record.owner, record.organisation, record.created_ms) = (before.owner, before.organisation, before.created_ms);
    }
    let supplied = digests(&record);
    let (mut record, material) = register::keep(exchange, record, object).await?;
    if !supplied.is_empty() {
        record.attributes.remove_tag(Tag::DIGEST);
        for digest in supplied {
            record.attributes.add(digest);
        }
    }
    match replaced {
        Some(permit) => {
            if !exchange.object(&permit).lifecycle.is_destroyed() {
                generate::destroy(exchange, &permit).await?;
            }
            exchange.replace(&permit, record, material);
        }
        None => exchange.insert(record, material),
    }
    exchange.set_placeholder(Some(id));
    Ok(ImportResponse { unique_identifier: id.to_string().into() })
}

/// The object with this identifier, if the caller may replace it.
async fn existing(exchange: &mut Exchange<'_>, id: ObjectId) -> Result<Option<Permit>, OperationError> {
    match exchange.permit_id(id, Operation::Import).await {
        Ok(permit) => Ok(Some(permit)),
        Err(OperationError::NotFound | OperationError::PermissionDenied(_) | OperationError::NotAuthorised) => Ok(None),
        Err(error) => Err(error),
    }
}

/// KMIP 2.1 §6.1.28, Key Wrap Type: "If Not Wrapped then the server SHALL unwrap the object before storing it, and return an error if
/// the wrapping key is not available. Otherwise the server SHALL store the object as provided".
async fn as_kept(exchange: &mut Exchange<'_>, id: ObjectId, object: ManagedObject, wrap_type: Option<KeyWrapType>) -> Result<ManagedObject, OperationError> {
    if wrap_type == Some(KeyWrapType::NotWrapped) && get::is_wrapped(&object) {
        return wrap::unwrap_registered(exchange, id, object).await;
    }
    Ok(object)
}

/// The record, with the attributes as they are supplied. KMIP 2.1 §6.1.28: "all attributes MUST be set to the supplied values rather
/// than any server generated values"; what is not supplied is as the server sets it.
fn build(exchange: &Exchange<'_>, id: ObjectId, object_type: ObjectType, supplied: Vec<AttributeInstance>) -> Result<Object, OperationError> {
    let keystore = new_object::keystore_of(exchange, &supplied)?;
    let mut record = new_object::build(exchange, object_type, Vec::new(), (keystore, Custody::Envelope))?;
    record.id = id;
    let mut own = Vec::new();
    for AttributeInstance { attribute, .. } in supplied {
        match attribute {
            // Columns of the object.
            Attribute::UniqueIdentifier(_) | Attribute::ShortUniqueIdentifier(_) => {}
            Attribute::ObjectType(said) if said == object_type => {}
            Attribute::ObjectType(said) => {
                return Err(OperationError::InvalidField(format!("Object Type is {said}, the object is a {object_type}")));
            }
            Attribute::State(state) => {
                let state = Lifecycle::from_code(state.code()).filter(|state| !state.is_destroyed());
                let gone = || OperationError::InvalidField("State is none that an object with a value is in".to_owned());
                record.lifecycle = state.ok_or_else(gone)?;
            }
            attribute => {
                check_imported(&attribute, object_type, exchange.version)?;
                new_object::check_limits(exchange, &attribute)?;
                let name = attribute.name();
                if own.contains(&name) && !new_object::is_multiple(&attribute, exchange.version) {
                    return Err(OperationError::single_valued(&name));
                }
                // The server's defaults give way to the first of what is supplied.
                if !own.contains(&name)
                    && let Some(tag) = attribute.tag()
                {
                    record.attributes.remove_tag(tag);
                }
                own.push(name);
                record.attributes.add(check_count(attribute)?);
            }
        }
    }
    record.advance(exchange.now);
    Ok(record)
}

/// Usage Limits keep what is left of them; without a count nothing was used.
fn check_count(attribute: Attribute) -> Result<Attribute, OperationError> {
    match attribute {
        Attribute::UsageLimits(limits) if limits.count.is_some_and(|count| count < 0 || count > limits.total) => {
            Err(OperationError::InvalidField("Usage Limits Count is not between 0 and the total".to_owned()))
        }
        Attribute::UsageLimits(limits) if limits.count.is_some() => Ok(Attribute::UsageLimits(limits)),
        other => new_object::complete(other),
    }
}

/// What the server computes by itself while it takes a value in, and puts back as it was supplied.
fn digests(record: &Object) -> Vec<Attribute> {
    let all = record.attributes.iter().map(|instance| &instance.attribute);
    all.filter(|attribute| matches!(attribute, Attribute::Digest(_))).cloned().collect()
}

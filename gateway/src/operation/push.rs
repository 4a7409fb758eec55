//! What clients are sent of the server's own accord: what a commit has to tell, and the messages that tell it. KMIP 1.4 §5.1
//! Notify, §5.2 Put; KMIP 2.1 §6.2.2, §6.2.3.

use std::collections::HashSet;

use keygate_kmip::{
    Attribute, AttributeName, Attributes, GetRequest, LinkType, NotifyRequest, ObjectType, ProtocolVersion, PutFunction, PutRequest,
    RequestPayload, Tag,
};

use super::{Gateway, OperationError, get, get_attributes};
use crate::notify::{Notice, What};
use crate::object::{Material, Object, OpenedRecord};
use crate::store::{ObjectId, ObjectRow};

/// What a commit has to tell of an object: that it is new, or which attributes are not what they were in its row. `None`: nothing.
pub(super) fn notice(before: Option<&ObjectRow>, object: &Object, gateway: &Gateway) -> Option<Notice> {
    let what = match before {
        None => What::New { replaced: replaced(object) },
        Some(row) => {
            // As it was stored: transitions that a date has brought about since are news as well.
            let (before, _) = Object::open(row, &gateway.keyring, i64::MIN).ok()?;
            What::Changed(changed(&before, object))
        }
    };
    if matches!(&what, What::Changed(names) if names.is_empty()) {
        return None;
    }
    Some(Notice { object: object.id, organisation: object.organisation, what })
}

/// The object in whose place this one was made.
fn replaced(object: &Object) -> Option<ObjectId> {
    object.attributes.find(|attribute| match attribute {
        Attribute::Link(link) if link.link_type == LinkType::ReplacedObjectLink => {
            link.linked_object_identifier.as_text()?.parse().ok()
        }
        _ => None,
    })
}

/// "a list of the attributes whose changed values have triggered the notification". The dates that a transition sets to the time of
/// the change follow from State and Last Change Date, which are told.
fn changed(before: &Object, after: &Object) -> HashSet<AttributeName> {
    let all = |object: &Object| object.all_attributes().collect::<Vec<_>>();
    let (old, new) = (all(before), all(after));
    let mut names: HashSet<AttributeName> = HashSet::new();
    for (these, others) in [(&old, &new), (&new, &old)] {
        names.extend(
            these.iter().filter(|instance| !others.contains(instance)).map(|instance| instance.attribute.name()),
        );
    }
    // Told with every change, also with the second one in a second.
    if !names.is_empty() {
        names.insert(AttributeName::Standard(Tag::LAST_CHANGE_DATE));
    }
    if names.contains(&AttributeName::Standard(Tag::STATE)) {
        let now = after.attributes.date(Tag::LAST_CHANGE_DATE);
        let follows = |tag: &Tag| TRANSITION_DATES.contains(tag) && after.attributes.date(*tag) == now;
        names.retain(|name| !matches!(name, AttributeName::Standard(tag) if follows(tag)));
    }
    names
}

/// Dates that Activate, Revoke and Destroy set.
const TRANSITION_DATES: [Tag; 4] =
    [Tag::ACTIVATION_DATE, Tag::COMPROMISE_DATE, Tag::DEACTIVATION_DATE, Tag::DESTROY_DATE];

/// The message that tells a notice, made of what the object is now. `None`: there is nothing to say, or it may not be said.
///
/// # Errors
/// [`OperationError::Internal`] where the object cannot be read.
pub(crate) async fn message(
    gateway: &Gateway,
    notice: &Notice,
    version: ProtocolVersion,
    now: i64,
) -> Result<Option<RequestPayload>, OperationError> {
    let Some(row) = gateway.store.object(notice.object).await? else { return Ok(None) };
    let opened = Object::open(&row, &gateway.keyring, now);
    let (object, record) = opened.map_err(|error| OperationError::internal("stored object is refused", error))?;
    Ok(match &notice.what {
        What::New { replaced } => put(&object, &record, *replaced, version)?.map(RequestPayload::Put),
        What::Changed(names) => notify(&object, names, version).map(RequestPayload::Notify),
    })
}

fn notify(object: &Object, names: &HashSet<AttributeName>, version: ProtocolVersion) -> Option<NotifyRequest> {
    let list: Vec<_> =
        get_attributes::sayable(object, version).filter(|instance| names.contains(&instance.attribute.name())).collect();
    let has = |name: &AttributeName| object.all_attributes().any(|instance| instance.attribute.name() == *name);
    let mut gone: Vec<AttributeName> =
        names.iter().filter(|name| version.has_attributes_by_tag() && !has(name)).cloned().collect();
    gone.sort_by_key(AttributeName::to_text);
    if list.is_empty() && gone.is_empty() {
        return None;
    }
    let attributes = Attributes { templates: Vec::new(), list };
    Some(NotifyRequest { unique_identifier: object.id.to_string().into(), attributes, gone })
}

/// What may not leave in the clear is not pushed: a client that may have it wrapped asks for it.
fn put(
    object: &Object,
    record: &OpenedRecord,
    replaced: Option<ObjectId>,
    version: ProtocolVersion,
) -> Result<Option<PutRequest>, OperationError> {
    let held = match record.material().map_err(|error| OperationError::internal("stored object", error))? {
        Material::Held(held) => *held,
        // A key in a device stays there; what was destroyed meanwhile is gone.
        Material::Referenced(_) | Material::None => return Ok(None),
    };
    let can_say = object.object_type.first() <= version
        && (object.object_type != ObjectType::Template || version < ProtocolVersion::V2_0);
    if object.check_present().is_err() || get::check_release(object, &held, &GetRequest::default()).is_err() || !can_say {
        return Ok(None);
    }
    Ok(Some(PutRequest {
        unique_identifier: object.id.to_string().into(),
        put_function: if replaced.is_some() { PutFunction::Replace } else { PutFunction::New },
        replaced_unique_identifier: replaced.map(|id| id.to_string()),
        object: held,
        attributes: Attributes { templates: Vec::new(), list: get_attributes::sayable(object, version).collect() },
    }))
}

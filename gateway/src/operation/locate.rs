//! Locate. KMIP 2.1 §6.1.30, KMIP 1.4 §4.9.
//!
//! What the caller may not see is no part of the search: results, counts and offsets are of visible objects alone.
//! Objects come newest first, or as the setting `kmip.locate_order` says. The index narrows the search where a filter is indexed; every filter is then checked
//! against the object itself.

use keygate_kmip::{
    Attribute, LocateRequest, LocateResponse, ObjectGroupMember, ObjectType, ProtocolVersion, StorageStatusMask, Tag,
    UniqueIdentifier,
};

use super::{Exchange, GroupDefault, OperationError, groups};
use crate::object::{Object, index_token};
use crate::store::{LocateOrder, LocateQuery, ObjectId};

/// Rows read from the store at a time.
const PAGE_ROWS: u32 = 512;

/// Finds the objects that have the attributes asked for.
///
/// # Errors
/// A negative maximum or offset.
pub(super) async fn locate(exchange: &mut Exchange<'_>, request: LocateRequest) -> Result<LocateResponse, OperationError> {
    let filter = Filter::new(&request);
    let page = Page::new(exchange, &request)?;
    let mut found = Found { page, matches: 0, ids: Vec::new() };
    if !filter.can_match(exchange.version) {
        return Ok(found.response(exchange));
    }
    match filter.default_of {
        Some(group) => find_default(exchange, &filter, group, &mut found).await?,
        None => search(exchange, &filter, filter.order(exchange), None, &mut found).await?,
    }
    // KMIP 1.4 §4.9: "If the Locate operation matches more than one object [...] the ID Placeholder is not set".
    exchange.set_placeholder(if let [only] = found.ids[..] { Some(only) } else { None });
    Ok(found.response(exchange))
}

/// Adds what matches beyond `after` in the order, until the page is full.
async fn search(
    exchange: &Exchange<'_>,
    filter: &Filter<'_>,
    order: LocateOrder,
    after: Option<ObjectId>,
    found: &mut Found,
) -> Result<(), OperationError> {
    let is_beyond = |id: ObjectId| after.is_none_or(|after| if order == LocateOrder::OldestFirst { id > after } else { id < after });
    let own = exchange.changed_objects().filter(|object| is_beyond(object.id) && is_visible(exchange, object) && filter.matches(object));
    // Objects made or changed in this message count as newer than any row of theirs in the store.
    let mut own: Vec<ObjectId> = own.map(|object| object.id).collect();
    own.sort_unstable();
    if order == LocateOrder::NewestFirst {
        own.drain(..).rev().for_each(|id| found.take(id));
    }
    let mut query = filter.query(exchange);
    query.after = after;
    while !found.is_complete() {
        let rows = exchange.gateway.store.locate_in(order, &query).await?;
        for row in rows.rows {
            if exchange.has_changed(row.id) {
                continue;
            }
            match Object::open(&row, &exchange.gateway.keyring, exchange.now) {
                Ok((object, _)) if filter.matches(&object) => found.take(row.id),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "located object is refused"),
            }
        }
        match rows.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    own.into_iter().for_each(|id| found.take(id));
    Ok(())
}

/// The one default member of a group: the newest, or the one after the member that was handed out last, and after the last member
/// the first again.
async fn find_default(exchange: &Exchange<'_>, filter: &Filter<'_>, group: &str, found: &mut Found) -> Result<(), OperationError> {
    found.page = Page { offset: found.page.offset, maximum: found.page.maximum.min(1), ..found.page };
    let last = match exchange.gateway.policy.group_default {
        GroupDefault::Newest => return first(exchange, filter, LocateOrder::NewestFirst, None, found).await,
        GroupDefault::RoundRobin => exchange.gateway.group_turns.last(exchange.caller.organisation, group),
    };
    first(exchange, filter, LocateOrder::OldestFirst, last, found).await?;
    if found.matches == 0 && last.is_some() {
        first(exchange, filter, LocateOrder::OldestFirst, None, found).await?;
    }
    Ok(())
}

/// Adds the first match beyond `after`, if there is one.
async fn first(
    exchange: &Exchange<'_>,
    filter: &Filter<'_>,
    order: LocateOrder,
    after: Option<ObjectId>,
    found: &mut Found,
) -> Result<(), OperationError> {
    let mut one = Found { page: Page { offset: 0, maximum: 1, counts: false }, matches: 0, ids: Vec::new() };
    search(exchange, filter, order, after, &mut one).await?;
    one.ids.into_iter().for_each(|id| found.take(id));
    Ok(())
}

fn is_visible(exchange: &Exchange<'_>, object: &Object) -> bool {
    exchange.grants().permit(exchange.caller, keygate_kmip::Operation::Locate, object).is_some()
}

/// Which part of the matches is wanted.
#[derive(Clone, Copy)]
struct Page {
    offset: usize,
    maximum: usize,
    counts: bool,
}

impl Page {
    fn new(exchange: &Exchange<'_>, request: &LocateRequest) -> Result<Self, OperationError> {
        let positive = |value: Option<i32>, what: &str| match value.map(usize::try_from) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(OperationError::InvalidField(format!("{what} is negative"))),
        };
        let limit = exchange.gateway.policy.locate_page_max;
        Ok(Self {
            offset: positive(request.offset_items, "Offset Items")?.unwrap_or(0),
            maximum: positive(request.maximum_items, "Maximum Items")?.unwrap_or(limit).min(limit),
            // KMIP 1.4 §4.9: Located Items tells those who page how far to go; counting everything costs, so others are not told.
            counts: request.offset_items.is_some() && exchange.version >= ProtocolVersion::V1_3,
        })
    }
}

struct Found {
    page: Page,
    matches: usize,
    ids: Vec<ObjectId>,
}

impl Found {
    fn take(&mut self, id: ObjectId) {
        if self.matches >= self.page.offset && self.ids.len() < self.page.maximum {
            self.ids.push(id);
        }
        self.matches += 1;
    }

    fn is_complete(&self) -> bool {
        !self.page.counts && self.ids.len() == self.page.maximum
    }

    fn response(&self, exchange: &Exchange<'_>) -> LocateResponse {
        let counts = self.page.counts && exchange.version >= ProtocolVersion::V1_3;
        LocateResponse {
            located_items: counts.then(|| i32::try_from(self.matches).unwrap_or(i32::MAX)),
            unique_identifiers: self.ids.iter().map(|id| UniqueIdentifier::Text(id.to_string())).collect(),
        }
    }
}

/// What objects must have.
struct Filter<'a> {
    attributes: Vec<&'a Attribute>,
    /// Date attributes given twice: a range, both ends included.
    ranges: Vec<(Tag, i64, i64)>,
    storage: StorageStatusMask,
    group_member: Option<ObjectGroupMember>,
    /// The group whose default member is asked for.
    default_of: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn new(request: &'a LocateRequest) -> Self {
        let given: Vec<&Attribute> = request.attributes.list.iter().map(|instance| &instance.attribute).collect();
        let mut attributes = Vec::new();
        let mut ranges: Vec<(Tag, i64, i64)> = Vec::new();
        for attribute in &given {
            let Some((tag, date)) = date_of(attribute) else {
                attributes.push(*attribute);
                continue;
            };
            // "the range of dates is specified by two occurrences of the same attribute".
            match ranges.iter_mut().find(|(known, _, _)| *known == tag) {
                Some((_, low, high)) => (*low, *high) = ((*low).min(date), (*high).max(date)),
                None => ranges.push((tag, date, date)),
            }
        }
        let default = request.object_group_member == Some(ObjectGroupMember::GroupMemberDefault);
        let default_of = attributes.iter().find_map(|attribute| groups::group(attribute)).filter(|_| default);
        Self {
            attributes,
            ranges,
            default_of,
            // "If omitted, then only on-line objects SHALL be returned".
            storage: request.storage_status_mask.unwrap_or(StorageStatusMask::ON_LINE_STORAGE),
            group_member: request.object_group_member,
        }
    }

    /// Fresh members are handed out in the order in which they were made.
    fn order(&self, exchange: &Exchange<'_>) -> LocateOrder {
        let oldest_first = self.group_member == Some(ObjectGroupMember::GroupMemberFresh) || exchange.gateway.policy.locate_oldest_first;
        if oldest_first { LocateOrder::OldestFirst } else { LocateOrder::NewestFirst }
    }

    /// An attribute that this version does not know matches nothing; it never widens the search.
    fn can_match(&self, version: ProtocolVersion) -> bool {
        self.attributes.iter().all(|attribute| !matches!(attribute, Attribute::Unknown { .. }) && attribute.is_in(version))
    }

    fn query(&self, exchange: &Exchange<'_>) -> LocateQuery {
        let visible = exchange.grants().visible(exchange.caller);
        let organisation = exchange.caller.organisation;
        let index = exchange.gateway.keyring.index();
        let object_types = self.attributes.iter().filter_map(|attribute| match attribute {
            Attribute::ObjectType(object_type) => Some(object_type.code()),
            _ => None,
        });
        LocateQuery {
            organisation,
            owners: Some(visible.owners),
            objects: visible.objects,
            states: Vec::new(),
            object_types: object_types.take(1).collect(),
            tokens: self.attributes.iter().filter_map(|attribute| index_token(index, organisation, attribute)).collect(),
            after: None,
            limit: PAGE_ROWS,
        }
    }

    fn matches(&self, object: &Object) -> bool {
        self.is_stored_where_asked(object)
            && self.is_member_as_asked(object)
            && self.attributes.iter().all(|wanted| has(object, wanted))
            && self.ranges.iter().all(|(tag, low, high)| {
                let date = object.attributes.iter().find_map(|i| date_of(&i.attribute).filter(|(known, _)| known == tag));
                date.is_some_and(|(_, date)| (*low..=*high).contains(&date))
            })
    }

    fn is_stored_where_asked(&self, object: &Object) -> bool {
        let place = if object.lifecycle.is_destroyed() {
            StorageStatusMask::DESTROYED_STORAGE
        } else if object.is_archived() {
            StorageStatusMask::ARCHIVAL_STORAGE
        } else {
            StorageStatusMask::ON_LINE_STORAGE
        };
        self.storage.contains(place)
    }

    /// KMIP 1.4 §4.9: Group Member Fresh finds members that were not handed out yet. Group Member Default without a group finds the
    /// members of every group.
    fn is_member_as_asked(&self, object: &Object) -> bool {
        match self.group_member {
            None | Some(ObjectGroupMember::Extension(_)) => true,
            Some(ObjectGroupMember::GroupMemberDefault) => object.attributes.has_tag(Tag::OBJECT_GROUP),
            Some(ObjectGroupMember::GroupMemberFresh) => object.attributes.has_tag(Tag::OBJECT_GROUP) && object.attributes.flag(Tag::FRESH),
        }
    }
}

fn has(object: &Object, wanted: &Attribute) -> bool {
    match wanted {
        Attribute::UniqueIdentifier(identifier) => identifier.as_text() == Some(object.id.to_string().as_str()),
        Attribute::ObjectType(object_type) => *object_type == object.object_type,
        Attribute::State(state) => object.object_type != ObjectType::Template && *state == object.lifecycle.to_kmip(),
        // "the object matches if it has all the bits asked for".
        Attribute::CryptographicUsageMask(mask) => object.attributes.cryptographic_usage_mask().contains(*mask),
        exact => object.attributes.iter().any(|instance| instance.attribute == *exact),
    }
}

fn date_of(attribute: &Attribute) -> Option<(Tag, i64)> {
    let date = match attribute {
        Attribute::ActivationDate(date)
        | Attribute::ArchiveDate(date)
        | Attribute::CompromiseDate(date)
        | Attribute::CompromiseOccurrenceDate(date)
        | Attribute::DeactivationDate(date)
        | Attribute::DestroyDate(date)
        | Attribute::InitialDate(date)
        | Attribute::LastChangeDate(date)
        | Attribute::OriginalCreationDate(date)
        | Attribute::ProcessStartDate(date)
        | Attribute::ProtectStopDate(date)
        | Attribute::RotateDate(date) => date,
        _ => return None,
    };
    attribute.tag().map(|tag| (tag, date.0))
}

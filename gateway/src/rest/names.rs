//! How a path or body names a key: by its UUID, by its name, or by `name#version`. Versions count from 1 along the links that Re-key
//! leaves: the newest has the name, each replaced the one before.

use keygate_kmip::{Attribute, Link, LinkType, Name, Operation, UniqueIdentifier};

use super::run::Work;
use crate::{
    object::{Object, index_token},
    operation::{Exchange, OperationError},
    store::{LocateQuery, ObjectId},
};

/// Longest name that is looked for, in octets: keys made over KMIP may have longer names than those made here.
const NAME_BYTES_MAX: usize = 255;
/// Replaced versions that are walked through for one request.
const VERSIONS_MAX: u32 = 1000;

/// What names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyName {
    /// Its UUID.
    Id(ObjectId),
    /// Its name, perhaps with a version.
    Name(String),
}

impl KeyName {
    /// Reads it.
    ///
    /// # Errors
    /// A text that can be neither.
    pub(super) fn parse(text: &str) -> Result<Self, OperationError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(OperationError::InvalidField(format!("a key is named by its UUID or by a name of 1 to {NAME_BYTES_MAX} octets")));
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// The object that it names for the caller.
    ///
    /// # Errors
    /// [`OperationError::NotFound`], or as `kmip.forbidden` says; [`OperationError::InvalidField`] for a name that several of the
    /// caller's keys have.
    pub(super) async fn resolve(&self, work: &mut Work<'_, '_>) -> Result<ObjectId, OperationError> {
        let name = match self {
            Self::Id(id) => return Ok(*id),
            Self::Name(name) => name,
        };
        if let Some(id) = named(work.exchange, name).await? {
            return Ok(id);
        }
        let versioned = name.rsplit_once('#').and_then(|(name, version)| Some((name, version.parse::<u32>().ok()?)));
        let forbidden = work.exchange.gateway.policy.forbidden();
        let Some((name, version)) = versioned else { return Err(forbidden) };
        let Some(newest) = named(work.exchange, name).await? else { return Err(forbidden) };
        let all = versions(work.exchange, newest, &mut 0).await?.ok_or_else(|| {
            OperationError::LimitExceeded(format!("a key with more than {VERSIONS_MAX} versions: name the version by its UUID"))
        })?;
        let place = all.len().checked_sub(version as usize).filter(|place| *place < all.len());
        place.and_then(|place| all.get(place).copied()).ok_or(forbidden)
    }
}

/// The caller's own key of this name. Names are the client's: what another client has let it use is named by its UUID, or a key made
/// there under a name that is known here would be taken for ours.
async fn named(exchange: &mut Exchange<'_>, name: &str) -> Result<Option<ObjectId>, OperationError> {
    let wanted = Attribute::Name(Name::text(name));
    let (organisation, owner) = (exchange.caller.organisation, exchange.caller.principal());
    let tokens = index_token(exchange.gateway.keyring.index(), organisation, &wanted).into_iter().collect();
    let mut query = LocateQuery { tokens, ..LocateQuery::owned_by(organisation, owner) };
    let mut own = Vec::new();
    loop {
        let page = exchange.gateway.store.locate(&query).await?;
        for row in page.rows {
            // No event of its own: it is a part of what names the key.
            let Ok(permit) = exchange.permit_id(row.id, Operation::Locate).await else { continue };
            let object = exchange.object(&permit);
            let has_name = object.attributes.iter().any(|instance| instance.attribute == wanted);
            if object.owner == owner && has_name && !object.lifecycle.is_destroyed() && !object.is_archived() {
                own.push(row.id);
            }
        }
        if own.len() > 1 {
            return Err(OperationError::InvalidField("several keys have this name: name the key by its UUID".to_owned()));
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(own.first().copied()),
        }
    }
}

/// An object and those it replaced, newest first; `None` beyond the bound. `walked` counts over a whole request.
pub(super) async fn versions(exchange: &mut Exchange<'_>, newest: ObjectId, walked: &mut u32) -> Result<Option<Vec<ObjectId>>, OperationError> {
    let mut all = vec![newest];
    let mut at = newest;
    loop {
        let permit = match exchange.permit_id(at, Operation::GetAttributes).await {
            Ok(permit) => permit,
            // One that was made before the caller was let in, or is gone: what is known is counted.
            Err(_) if at != newest => break,
            Err(error) => return Err(error),
        };
        let Some(before) = linked(exchange.object(&permit), LinkType::ReplacedObjectLink).filter(|before| !all.contains(before)) else { break };
        *walked += 1;
        if *walked > VERSIONS_MAX {
            return Ok(None);
        }
        all.push(before);
        at = before;
    }
    Ok(Some(all))
}

/// The object at the other end of a link.
pub(super) fn linked(object: &Object, wanted: LinkType) -> Option<ObjectId> {
    object.attributes.iter().find_map(|instance| match &instance.attribute {
        Attribute::Link(Link { link_type, linked_object_identifier: UniqueIdentifier::Text(id) }) if *link_type == wanted => id.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UUID is one in its own spelling only; control characters and lengths are refused before anything is looked up.
    #[test]
    fn a_key_is_named_by_uuid_or_name() {
        let id = ObjectId::generate();
        assert_eq!(KeyName::parse(&id.to_string()).expect("a UUID"), KeyName::Id(id));
        assert_eq!(KeyName::parse("share-7#2").expect("a name"), KeyName::Name("share-7#2".into()));
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(matches!(KeyName::parse(bad), Err(OperationError::InvalidField(_))), "{bad:?}");
        }
    }
}

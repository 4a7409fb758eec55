//! The default member of an object group. KMIP 1.4 §4.9 leaves to the server which member it is; the setting `kmip.group_default`
//! says it: the newest, or each in turn.
//!
//! Whose turn it is lives in memory: after a restart it is the oldest member's, of every group.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keygate_kmip::Attribute;

use super::{Exchange, GroupDefault};
use crate::authorize::Permit;
use crate::store::{ObjectId, OrganisationId};

/// Groups whose turns are remembered; the next one makes room by forgetting all.
const GROUPS_MAX: usize = 10_000;

/// The member of each group that was handed out last.
#[derive(Debug, Default)]
pub(super) struct GroupTurns(Mutex<HashMap<(OrganisationId, String), ObjectId>>);

impl GroupTurns {
    /// The member that was handed out last.
    pub(super) fn last(&self, organisation: OrganisationId, group: &str) -> Option<ObjectId> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(&(organisation, group.to_owned())).copied()
    }

    fn note(&self, organisation: OrganisationId, group: String, member: ObjectId) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (organisation, group);
        if turns.len() >= GROUPS_MAX && !turns.contains_key(&key) {
            turns.clear();
        }
        turns.insert(key, member);
    }
}

/// A member was handed out: once that is certain, it is the next one's turn.
pub(super) fn served(exchange: &mut Exchange<'_>, permit: &Permit) {
    if exchange.gateway.policy.group_default != GroupDefault::RoundRobin {
        return;
    }
    let object = exchange.object(permit);
    let (id, organisation) = (object.id, object.organisation);
    let groups: Vec<String> =
        object.attributes.iter().filter_map(|instance| group(&instance.attribute)).map(str::to_owned).collect();
    let turns = exchange.gateway.group_turns.clone();
    if !groups.is_empty() {
        exchange
            .after_commit(Box::new(move || groups.into_iter().for_each(|group| turns.note(organisation, group, id))));
    }
}

/// The group that an attribute names.
pub(super) fn group(attribute: &Attribute) -> Option<&str> {
    match attribute {
        Attribute::ObjectGroup(group) => Some(group),
        _ => None,
    }
}

//! What commits have to tell, and the queues it goes to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use keygate_kmip::AttributeName;

use super::queue::Queue;
use crate::store::{ClientId, Directory, ObjectId, OrganisationId};

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The object.
    pub(crate) object: ObjectId,
    /// Its organisation.
    pub(crate) organisation: OrganisationId,
    /// What happened.
    pub(crate) what: What,
}

/// What happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was made, perhaps in the place of another.
    New {
        /// The object that it replaces.
        replaced: Option<ObjectId>,
    },
    /// These attributes were changed.
    Changed(HashSet<AttributeName>),
}

/// The queues of all clients that are told anything.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    queues: RwLock<Vec<Arc<Queue>>>,
    any: AtomicBool,
}

impl Notices {
    /// Whether anybody is told anything: most servers have nobody to tell, and their commits pay one load for it.
    pub(crate) fn are_wanted(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Hands notices to the queues of the clients that own the objects.
    pub(crate) fn tell(&self, directory: &Directory, notices: Vec<(ClientId, Notice)>) {
        for (owner, notice) in notices {
            let Some(client) = client_of(directory, owner) else { continue };
            for queue in self.read().iter().filter(|queue| *queue.client == *client) {
                queue.add(notice.clone());
            }
        }
    }

    /// From here on a queue is told.
    pub(super) fn open(&self, queue: Arc<Queue>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.push(queue);
        self.any.store(true, Ordering::Relaxed);
    }

    /// From here on it is not.
    pub(super) fn close(&self, queue: &Arc<Queue>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|other| !Arc::ptr_eq(other, queue));
        self.any.store(!queues.is_empty(), Ordering::Relaxed);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Queue>>> {
        // A panic while it is held leaves the list itself whole.
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the client that an owner is, or is a user of.
fn client_of(directory: &Directory, owner: ClientId) -> Option<String> {
    let user = || directory.users.iter().find(|user| user.id.0 == owner.0).map(|user| user.client);
    let client = directory.clients.get(&owner).map(|client| client.id).or_else(user)?;
    directory.clients.get(&client).map(|client| client.name.clone())
}

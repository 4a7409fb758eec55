//! The verified party behind a request.

use crate::store::{ClientId, EntryId, KeystoreId, OrganisationId};
use crate::ticket::ByTicket;

/// A verified party: a client, or a user of a client that has users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The client whose certificate was verified.
    pub client: ClientId,
    /// The client's organisation. No object of another one is ever reached.
    pub organisation: OrganisationId,
    /// The client's name: a label for logs and audit.
    pub name: Box<str>,
    /// The user: of KMIP, where the client has users and the request named one, or of the REST key server.
    pub user: Option<CallerUser>,
    /// Whether the client has users, so that a request without a credential is not enough.
    pub users_required: bool,
    /// Groups the client belongs to.
    pub groups: Box<[EntryId]>,
    /// Keystore of the client's new keys, where the client has one of its own.
    pub keystore_default: Option<KeystoreId>,
    /// The ticket that the request showed: nothing beyond it is permitted.
    pub ticket: Option<ByTicket>,
}

/// A user of a client: of KMIP, or of the REST key server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallerUser {
    /// Its entry in the store.
    pub id: EntryId,
    /// Its name.
    pub name: Box<str>,
    /// Whether what it makes is its own, as of KMIP users; what a REST user makes is its client's.
    pub owns: bool,
}

impl Caller {
    /// Whether it may begin an operation at all: the ticket that it acts with, if any, decides.
    pub fn may_begin(&self, operation: keygate_kmip::Operation) -> bool {
        self.ticket.as_ref().is_none_or(|by| by.ticket.allows(operation))
    }

    /// `client` or `client/user`, for logs and audit.
    pub fn label(&self) -> String {
        match &self.user {
            Some(user) => format!("{}/{}", self.name, user.name),
            None => self.name.to_string(),
        }
    }
}

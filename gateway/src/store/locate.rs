//! What Locate asks of the store.

use std::sync::Arc;

use super::{ClientId, KeystoreId, ObjectId, ObjectRow, OrganisationId};
use crate::seal::{IndexToken, Term};

/// A search. Authorisation comes first: `owners` and `objects` say what the caller may see at all.
#[derive(Clone, Debug)]
pub struct LocateQuery {
    /// Tenant.
    pub organisation: OrganisationId,
    /// Owners whose objects are visible; `None`: everybody's in the organisation.
    pub owners: Option<Vec<ClientId>>,
    /// Objects visible besides (grants on single objects). Ignored when `owners` is `None`.
    pub objects: Vec<ObjectId>,
    /// KMIP states; empty: any.
    pub states: Vec<u32>,
    /// KMIP object types; empty: any.
    pub object_types: Vec<u32>,
    /// Index tokens an object must have, all of them.
    pub tokens: Vec<IndexToken>,
    /// Only objects that come after this one in the order asked for.
    pub after: Option<ObjectId>,
    /// At most so many rows.
    pub limit: u32,
}

impl LocateQuery {
    /// Everything `owner` owns, a page of 256.
    pub fn owned_by(organisation: OrganisationId, owner: ClientId) -> Self {
        Self {
            organisation,
            owners: Some(vec![owner]),
            objects: Vec::new(),
            states: Vec::new(),
            object_types: Vec::new(),
            tokens: Vec::new(),
            after: None,
            limit: 256,
        }
    }
}

/// The order of a search. Identifiers grow with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateOrder {
    /// The newest object first.
    NewestFirst,
    /// The oldest object first.
    OldestFirst,
}

/// Which objects are to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToMove {
    /// Those of a keystore, destroyed ones not counted.
    Keystore(KeystoreId),
    /// Those whose record is not under this term.
    NotUnder(Term),
}

/// One page, in the order asked for.
#[derive(Clone, Debug, Default)]
pub struct LocatePage {
    /// The rows. Open each before trusting its clear columns.
    pub rows: Vec<Arc<ObjectRow>>,
    /// Rows that matched and were refused: altered, or not the newest version.
    pub refused: Vec<ObjectId>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<ObjectId>,
}

//! The operations, one file each, in no protocol's terms. This file is their table of contents: what they work with, and
//! the single dispatch.
//!
//! Requests and answers are the version-neutral payloads of the KMIP crate: its nouns are the domain's. Protocol fronts
//! translate to them and back.

mod error;
mod exchange;
mod keystores;
mod policy;

pub use error::OperationError;
pub use exchange::Exchange;
pub use keystores::Keystores;
pub use policy::Policy;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::authorize::Grants;
use crate::seal::Keyring;
use crate::store::Store;

/// What operations work with.
pub struct Gateway {
    /// Objects, directory, audit.
    pub store: Store,
    /// Opens and seals records.
    pub keyring: Arc<Keyring>,
    /// Where keys are made, used and kept.
    pub keystores: Keystores,
    /// Settings that operations obey.
    pub policy: Policy,
    grants: ArcSwap<Grants>,
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub fn new(store: Store, keyring: Arc<Keyring>, keystores: Keystores, policy: Policy) -> Self {
        let grants = ArcSwap::from_pointee(Grants::from_directory(&store.directory()));
        Self { store, keyring, keystores, policy, grants }
    }

    /// The grants in force: read anew when the directory has changed.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        let directory = self.store.directory();
        let known = self.grants.load_full();
        if known.changed_at() == directory.changed_at {
            return known;
        }
        let fresh = Arc::new(Grants::from_directory(&directory));
        self.grants.store(Arc::clone(&fresh));
        fresh
    }
}

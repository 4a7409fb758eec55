//! The keystores in use, by id and by name.

use std::collections::HashMap;
use std::sync::Arc;

use keygate_backends::Keystore;

use super::OperationError;
use crate::store::KeystoreId;

/// Every keystore the gateway serves from.
#[derive(Clone)]
pub struct Keystores {
    by_id: HashMap<KeystoreId, Entry>,
    default: KeystoreId,
}

#[derive(Clone)]
struct Entry {
    name: String,
    keystore: Arc<dyn Keystore>,
}

impl Keystores {
    /// A set with its default, where new keys go unless client or request say otherwise.
    #[must_use]
    pub fn new(default: KeystoreId, name: &str, keystore: Arc<dyn Keystore>) -> Self {
        let mut set = Self { by_id: HashMap::new(), default };
        set.add(default, name, keystore);
        set
    }

    /// Adds a keystore.
    pub fn add(&mut self, id: KeystoreId, name: &str, keystore: Arc<dyn Keystore>) {
        self.by_id.insert(id, Entry { name: name.to_owned(), keystore });
    }

    /// Makes a keystore the default.
    pub fn set_default(&mut self, id: KeystoreId) {
        self.default = id;
    }

    /// The default's id.
    #[must_use]
    pub fn default_id(&self) -> KeystoreId {
        self.default
    }

    /// The keystore with this id.
    ///
    /// # Errors
    /// [`OperationError::Unavailable`] if it is not configured any more.
    pub fn get(&self, id: KeystoreId) -> Result<&Arc<dyn Keystore>, OperationError> {
        let missing = || OperationError::Unavailable("the object's keystore is not configured".to_owned());
        self.by_id.get(&id).map(|entry| &entry.keystore).ok_or_else(missing)
    }

    /// The id of the keystore with this name.
    #[must_use]
    pub fn id_named(&self, name: &str) -> Option<KeystoreId> {
        self.by_id.iter().find(|(_, entry)| entry.name == name).map(|(id, _)| *id)
    }

    /// The name of the keystore with this id.
    #[must_use]
    pub fn name(&self, id: KeystoreId) -> Option<&str> {
        self.by_id.get(&id).map(|entry| entry.name.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (KeystoreId, &str, &Arc<dyn Keystore>)> {
        self.by_id.iter().map(|(id, entry)| (*id, entry.name.as_str(), &entry.keystore))
    }
}

//! The keystores in use, by id and by name. They can be added, drained and taken away while requests are served: each request
//! takes what is there when it asks, no lock is held while a device works.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use keygate_backends::Keystore;

use super::OperationError;
use crate::store::KeystoreId;

/// Every keystore the gateway serves from.
pub struct Keystores(ArcSwap<Set>);

#[derive(Clone)]
struct Set {
    by_id: HashMap<KeystoreId, Entry>,
    default: KeystoreId,
}

#[derive(Clone)]
struct Entry {
    name: Arc<str>,
    keystore: Arc<dyn Keystore>,
    takes_new: bool,
}

/// A keystore in use.
#[derive(Clone)]
pub struct InUse {
    /// Its id.
    pub id: KeystoreId,
    /// Its name.
    pub name: Arc<str>,
    /// The keystore.
    pub keystore: Arc<dyn Keystore>,
    /// Whether new keys may go there.
    pub takes_new: bool,
}

impl Keystores {
    /// A set with its default, where new keys go unless client or request say otherwise.
    #[must_use]
    pub fn new(default: KeystoreId, name: &str, keystore: Arc<dyn Keystore>) -> Self {
        let set = Self(ArcSwap::from_pointee(Set { by_id: HashMap::new(), default }));
        set.add(default, name, keystore);
        set
    }

    /// Adds a keystore that takes new keys, or replaces it.
    pub fn add(&self, id: KeystoreId, name: &str, keystore: Arc<dyn Keystore>) {
        self.put(InUse { id, name: name.into(), keystore, takes_new: true });
    }

    /// Adds a keystore, or replaces it.
    pub fn put(&self, added: InUse) {
        let InUse { id, name, keystore, takes_new } = added;
        let entry = Entry { name, keystore, takes_new };
        self.change(|set| drop(set.by_id.insert(id, entry.clone())));
    }

    /// Takes a keystore away. Requests that have it finish with it.
    pub fn remove(&self, id: KeystoreId) {
        self.change(|set| drop(set.by_id.remove(&id)));
    }

    /// Lets new keys in, or not any more.
    pub fn set_takes_new(&self, id: KeystoreId, takes_new: bool) {
        self.change(|set| {
            if let Some(entry) = set.by_id.get_mut(&id) {
                entry.takes_new = takes_new;
            }
        });
    }

    /// Makes a keystore the default.
    pub fn set_default(&self, id: KeystoreId) {
        self.change(|set| set.default = id);
    }

    /// The default's id.
    #[must_use]
    pub fn default_id(&self) -> KeystoreId {
        self.0.load().default
    }

    /// The keystore with this id.
    ///
    /// # Errors
    /// [`OperationError::Unavailable`] if it is not configured any more.
    pub fn get(&self, id: KeystoreId) -> Result<Arc<dyn Keystore>, OperationError> {
        self.0.load().by_id.get(&id).map(|entry| Arc::clone(&entry.keystore)).ok_or_else(missing)
    }

    /// The keystore with this id, for a key that is to be made or taken in.
    ///
    /// # Errors
    /// [`OperationError::InvalidField`] while it is being drained; otherwise as [`Self::get`].
    pub fn for_new_keys(&self, id: KeystoreId) -> Result<Arc<dyn Keystore>, OperationError> {
        let set = self.0.load();
        let entry = set.by_id.get(&id).ok_or_else(missing)?;
        if entry.takes_new { Ok(Arc::clone(&entry.keystore)) } else { Err(drained(&entry.name)) }
    }

    /// The id of the keystore with this name.
    #[must_use]
    pub fn id_named(&self, name: &str) -> Option<KeystoreId> {
        self.0.load().by_id.iter().find(|(_, entry)| &*entry.name == name).map(|(id, _)| *id)
    }

    /// The name of the keystore with this id.
    #[must_use]
    pub fn name(&self, id: KeystoreId) -> Option<Arc<str>> {
        self.0.load().by_id.get(&id).map(|entry| Arc::clone(&entry.name))
    }

    /// All of them, as they are now.
    #[must_use]
    pub fn all(&self) -> Vec<InUse> {
        let view = |(id, entry): (&KeystoreId, &Entry)| {
            let Entry { name, keystore, takes_new } = entry.clone();
            InUse { id: *id, name, keystore, takes_new }
        };
        self.0.load().by_id.iter().map(view).collect()
    }

    fn change(&self, change: impl Fn(&mut Set)) {
        self.0.rcu(|set| {
            let mut changed = Set::clone(set);
            change(&mut changed);
            changed
        });
    }
}

fn missing() -> OperationError {
    OperationError::Unavailable("the object's keystore is not configured".to_owned())
}

fn drained(name: &str) -> OperationError {
    OperationError::InvalidField(format!("keystore {name:?} takes no new keys: it is being drained"))
}

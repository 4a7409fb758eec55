//! Keys in devices and the store's commits, kept in step.
//!
//! A device is outside our transactions. To make a key, an [`Intent`] is committed first, the device acts next, and the
//! commit that brings the object takes the intent away; to destroy one, the intent comes with the commit that destroys the
//! object, and goes when the device has followed. So whatever is left after a crash is an intent whose keys no object
//! uses: [`reconcile`] destroys them. An orphan cannot arise without an intent, so no token is ever searched.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keygate_backends::{Class, KeyId, Keystore, KsError, OpCx};

use super::{Exchange, Gateway, OperationError};
use crate::store::{
    Change, Commit, CommitError, CommitReceipt, Entry, EntryId, EntryKind, Intent, IntentAction, KeystoreId, ObjectId, OrganisationId,
    Store,
};

/// How long a device may take to make or destroy a key.
pub(crate) const DEVICE_DEADLINE: Duration = Duration::from_secs(30);

/// Intents that a running message stands for: not to be reconciled.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<HashSet<EntryId>>);

impl InFlight {
    fn add(&self, id: EntryId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn remove(&self, id: EntryId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn has(&self, id: EntryId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

/// What a message does in a device. It belongs to the message's commit: [`with_commit`].
pub(super) enum DeviceAct {
    /// A key was made; dropping this undoes it.
    Made(NewKey),
    /// A key will be destroyed.
    Destroy(Pending),
}

/// An intent, and all it takes to carry it out or take it back.
pub(crate) struct Pending {
    store: Store,
    in_flight: Arc<InFlight>,
    keystore: Arc<dyn Keystore>,
    intent: Intent,
    key: KeyId,
}

/// A key in a device that no committed object uses yet. Dropped before the commit, it is destroyed in the background.
pub(crate) struct NewKey(Option<Pending>);

/// Where a device acts, and for whom.
pub(crate) struct Place {
    /// The tenant.
    pub(crate) organisation: OrganisationId,
    /// The keystore's id.
    pub(crate) id: KeystoreId,
    /// The keystore.
    pub(crate) keystore: Arc<dyn Keystore>,
}

impl NewKey {
    /// Commits the intent to make a key.
    pub(crate) async fn begin(gateway: &Gateway, place: Place, key: KeyId) -> Result<Self, CommitError> {
        let pending = Pending::new(gateway, place, key, IntentAction::Create, Vec::new());
        let commit = Commit { changes: vec![Change::AddEntry(Entry::Intent(pending.intent.clone()))], ..Commit::default() };
        pending.in_flight.add(pending.intent.id);
        // From here on dropping takes the intent back, also if the wait for the commit is given up.
        let begun = Self(Some(pending));
        gateway.store.commit(commit).await?;
        Ok(begun)
    }

    /// Destroys the key, whatever became of it, and forgets the intent.
    ///
    /// # Errors
    /// What keeps the key from being destroyed; it is tried again later.
    pub(crate) async fn take_back(mut self) -> Result<(), NotYet> {
        let Some(pending) = self.0.take() else { return Ok(()) };
        let done = carry_out(&pending.store, &pending.keystore, &pending.intent).await;
        pending.in_flight.remove(pending.intent.id);
        done
    }
}

/// A key that will be destroyed once the commit that takes it from its object is durable, a while after: requests that have it
/// already finish with it.
pub(crate) struct OldKey(Pending);

impl OldKey {
    /// Of an object that gets its key elsewhere.
    pub(crate) fn new(gateway: &Gateway, place: Place, key: KeyId, object: ObjectId) -> Self {
        let pending = Pending::new(gateway, place, key, IntentAction::Destroy, vec![object]);
        pending.in_flight.add(pending.intent.id);
        Self(pending)
    }

    /// Nothing was committed.
    pub(crate) fn stays(self) {
        self.0.in_flight.remove(self.0.intent.id);
    }
}

impl Place {
    /// Of a request.
    pub(super) fn of(exchange: &Exchange<'_>, id: KeystoreId) -> Result<Self, OperationError> {
        let keystore = exchange.gateway.keystores.get(id)?;
        Ok(Self { organisation: exchange.caller.organisation, id, keystore })
    }
}

impl Drop for NewKey {
    fn drop(&mut self) {
        let Some(pending) = self.0.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(pending.carry_out())),
            Err(_) => tracing::warn!(key.id = %pending.key, "no runtime to take back a new key: the next start does"),
        }
    }
}

impl DeviceAct {
    /// A key to be destroyed once the commit that destroys its object is durable.
    pub(super) fn destroy(exchange: &Exchange<'_>, keystore: KeystoreId, key: KeyId, object: ObjectId) -> Result<Self, OperationError> {
        let place = Place::of(exchange, keystore)?;
        let pending = Pending::new(exchange.gateway, place, key, IntentAction::Destroy, vec![object]);
        pending.in_flight.add(pending.intent.id);
        Ok(Self::Destroy(pending))
    }

    /// What it adds to the message's commit.
    pub(super) fn change(&self) -> Option<Change> {
        match self {
            Self::Made(NewKey(key)) => key.as_ref().map(|pending| Change::RemoveEntry(EntryKind::Intent, pending.intent.id)),
            Self::Destroy(pending) => Some(Change::AddEntry(Entry::Intent(pending.intent.clone()))),
        }
    }
}

/// Waits for the commit that the acts belong to, then lets the devices follow.
pub(super) async fn with_commit(
    acts: Vec<DeviceAct>,
    commit: impl Future<Output = Result<CommitReceipt, CommitError>>,
) -> Result<(), CommitError> {
    // A commit that has been queued is not taken back by giving up the wait for it: until its result is known, dropping
    // must not undo anything. What happens to it then is for the next start to see.
    let (mut made, mut destroys) = (Vec::new(), Vec::new());
    for act in acts {
        match act {
            DeviceAct::Made(mut key) => made.extend(key.0.take()),
            DeviceAct::Destroy(pending) => destroys.push(pending),
        }
    }
    match commit.await {
        Ok(_) => {
            made.iter().for_each(|pending| pending.in_flight.remove(pending.intent.id));
            for pending in destroys {
                pending.carry_out().await;
            }
            Ok(())
        }
        // Perhaps it is on disk, perhaps not.
        Err(error @ CommitError::Broken(_)) => Err(error),
        Err(error) => {
            made.into_iter().map(|pending| NewKey(Some(pending))).for_each(drop);
            destroys.iter().for_each(|pending| pending.in_flight.remove(pending.intent.id));
            Err(error)
        }
    }
}

/// Commits moves of keys between devices: the intents of new keys go with it, those of old ones come with it.
pub(crate) async fn with_moves(
    store: &Store,
    acts: Vec<(Option<NewKey>, Option<OldKey>)>,
    mut commit: Commit,
    grace: Duration,
) -> Result<(), CommitError> {
    let (mut made, mut left) = (Vec::new(), Vec::new());
    for (new, old) in acts {
        made.extend(new.and_then(|mut new| new.0.take()));
        left.extend(old);
    }
    commit.changes.extend(made.iter().map(|pending| Change::RemoveEntry(EntryKind::Intent, pending.intent.id)));
    commit.changes.extend(left.iter().map(|OldKey(pending)| Change::AddEntry(Entry::Intent(pending.intent.clone()))));
    match store.commit(commit).await {
        Ok(_) => {
            made.iter().for_each(|pending| pending.in_flight.remove(pending.intent.id));
            for OldKey(pending) in left {
                tokio::spawn(async move {
                    tokio::time::sleep(grace).await;
                    pending.carry_out().await;
                });
            }
            Ok(())
        }
        // Perhaps it is on disk, perhaps not: the next start sees.
        Err(error @ CommitError::Broken(_)) => Err(error),
        Err(error) => {
            made.into_iter().map(|pending| NewKey(Some(pending))).for_each(drop);
            left.into_iter().for_each(OldKey::stays);
            Err(error)
        }
    }
}

impl Pending {
    fn new(gateway: &Gateway, place: Place, key: KeyId, action: IntentAction, objects: Vec<ObjectId>) -> Self {
        Self {
            store: gateway.store.clone(),
            in_flight: Arc::clone(&gateway.in_flight),
            keystore: place.keystore,
            intent: Intent {
                id: EntryId::generate(),
                organisation: place.organisation,
                keystore: place.id,
                action,
                objects,
                locators: vec![key.0.to_vec()],
                at_ms: super::now_ms(),
            },
            key,
        }
    }

    /// Destroys the key, whose object is gone or never came, and forgets the intent. What fails is left to [`reconcile`].
    async fn carry_out(self) {
        if let Err(error) = carry_out(&self.store, &self.keystore, &self.intent).await {
            tracing::warn!(keystore = %self.keystore.descriptor().id, key.id = %self.key, cause = %error, "a key that no object uses could not be destroyed yet");
        }
        self.in_flight.remove(self.intent.id);
    }
}

/// Why an intent could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotYet {
    #[error("the keystore did not destroy the key")]
    Keystore(#[source] KsError),
    #[error("the intent could not be removed")]
    Store(#[source] CommitError),
    #[error("the intent's key id has {0} octets, not 16")]
    KeyId(usize),
}

async fn carry_out(store: &Store, keystore: &Arc<dyn Keystore>, intent: &Intent) -> Result<(), NotYet> {
    for locator in &intent.locators {
        let id: [u8; 16] = locator.as_slice().try_into().map_err(|_| NotYet::KeyId(locator.len()))?;
        match keystore.destroy(KeyId(id), OpCx::within(DEVICE_DEADLINE)).await {
            Ok(()) => {}
            Err(error) if error.class() == Class::NotFound => {}
            Err(error) => return Err(NotYet::Keystore(error)),
        }
    }
    let commit = Commit { changes: vec![Change::RemoveEntry(EntryKind::Intent, intent.id)], ..Commit::default() };
    match store.commit(commit).await {
        // The commit that was to add it failed, or another reconciliation was faster.
        Ok(_) | Err(CommitError::EntryMissing { .. }) => Ok(()),
        Err(error) => Err(NotYet::Store(error)),
    }
}

/// Whether nobody works on an intent any more, asked at the very moment its keys are to be destroyed. A list of intents is old after
/// the first slow device: a message of that list may have ended well since, and its key has been acknowledged. Its commit takes the
/// intent away before the message is no longer in flight, so what is neither in flight nor gone, in this order, is left over.
fn is_left(gateway: &Gateway, intent: &Intent) -> bool {
    !gateway.in_flight.has(intent.id) && gateway.store.intents().iter().any(|now| now.id == intent.id)
}

/// Destroys the keys that interrupted acts left in a keystore that is open but not in use. What fails is left for another time.
pub(crate) async fn sweep(gateway: &Gateway, id: KeystoreId, keystore: &Arc<dyn Keystore>) {
    let intents = gateway.store.intents();
    for intent in intents.iter().filter(|intent| intent.keystore == id && is_left(gateway, intent)) {
        if let Err(error) = carry_out(&gateway.store, keystore, intent).await {
            tracing::warn!(keystore = %id, cause = %error, "an interrupted device action could not be reconciled yet");
        }
    }
}

/// What [`reconcile`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Intents carried out: their keys are gone from the devices.
    pub resolved: usize,
    /// Intents left: the device is away, or not configured. Try again later.
    pub left: usize,
}

/// Destroys the keys that interrupted messages left in devices. At start, and again now and then while intents are left.
pub async fn reconcile(gateway: &Gateway) -> Reconciled {
    let mut done = Reconciled::default();
    let intents = gateway.store.intents();
    for intent in intents.iter().filter(|intent| is_left(gateway, intent)) {
        let outcome = match gateway.keystores.get(intent.keystore) {
            Ok(keystore) => carry_out(&gateway.store, &keystore, intent).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => done.resolved += 1,
            Err(cause) => {
                done.left += 1;
                tracing::warn!(keystore = %intent.keystore, action = ?intent.action, cause, "an interrupted device action could not be reconciled yet");
            }
        }
    }
    done
}

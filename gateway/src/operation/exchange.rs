//! One request message as one unit of work.
//!
//! Batch items read and write through a working set over the store. All effects and audit events of the message are
//! committed at once, before the answer ([`Exchange::finish`]); undoing a batch is dropping the working set. Objects carry
//! the version they were read at: if another request was faster, the commit refuses and the message is executed again.

use std::collections::HashMap;
use std::sync::Arc;

use keygate_kmip::{Attribute, Operation, ProtocolVersion, UniqueIdentifier};

use super::intent::{self, DeviceAct};
use super::{Gateway, OperationError, push};
use crate::audit::{Action, Actor, Details, Event, Outcome};
use crate::authorize::{Grants, Permit};
use crate::identity::Caller;
use crate::notify::{Notice, What};
use crate::object::{Lifecycle, Material, Object, OpenedRecord, Unreadable, index_token};
use crate::store::{Change, ClientId, Commit, CommitError, LocateQuery, ObjectId, ObjectRow, Version, Underway};
use crate::ticket::{Amounts, Spent};

/// A request message while it is executed.
pub struct Exchange<'a> {
    /// What the operations work with.
    pub gateway: &'a Gateway,
    /// Who asks.
    pub caller: &'a Caller,
    /// From where.
    pub source: std::net::IpAddr,
    /// In which version.
    pub version: ProtocolVersion,
    /// When, seconds since 1970.
    pub now: i64,
    grants: Arc<Grants>,
    working: HashMap<ObjectId, Slot>,
    /// Slots as they were before the current batch item touched them, to take the item back.
    before_item: Vec<(ObjectId, Option<Slot>)>,
    placeholder: Placeholder,
    /// The objects that each batch item so far was about.
    items: Vec<Option<ObjectId>>,
    events: Vec<Event>,
    subject: Option<ObjectId>,
    details: Details,
    material_released: bool,
    erases: bool,
    after_commit: Vec<AfterCommit>,
    /// What is done in devices, which goes with the commit.
    acts: Vec<DeviceAct>,
    /// How many of them there were when the current batch item began.
    acts_before_item: usize,
    /// What was taken off the caller's ticket, given back unless the message succeeds.
    spent: Vec<Spent>,
    spent_before_item: usize,
    checks_names: bool,
    /// Whether the connection may be turned round.
    may_turn: bool,
    /// Whom the record names instead of the caller.
    actor: Option<Actor>,
    /// The identifier of the next object that is made.
    next_id: Option<ObjectId>,
    /// Until it waits for its commit.
    underway: Option<Underway>,
}

/// The ID placeholder. KMIP 2.1 §6.1 (Operations): it is empty at the start of a batch.
#[derive(Clone, Copy)]
enum Placeholder {
    Unset,
    /// Locate found none, or more than one.
    Empty,
    Object(ObjectId),
}

/// An object in the working set.
#[derive(Clone)]
struct Slot {
    object: Object,
    row: Option<Arc<ObjectRow>>,
    /// The row's record, opened.
    record: Option<Arc<OpenedRecord>>,
    /// What replaces its value.
    material: Option<Material>,
    changed: bool,
    /// It was served for the first time; if nothing else changed, the change may be lost.
    served: bool,
    /// It is to leave the store altogether.
    gone: bool,
}

/// What is done once the commit is durable.
pub(crate) type AfterCommit = Box<dyn FnOnce() + Send + Sync>;

impl<'a> Exchange<'a> {
    /// A message that begins.
    #[must_use]
    pub fn new(gateway: &'a Gateway, caller: &'a Caller, source: std::net::IpAddr, version: ProtocolVersion, now: i64) -> Self {
        Self {
            gateway,
            caller,
            source,
            version,
            now,
            grants: gateway.grants(),
            working: HashMap::new(),
            before_item: Vec::new(),
            placeholder: Placeholder::Unset,
            items: Vec::new(),
            events: Vec::new(),
            subject: None,
            details: Details::None,
            material_released: false,
            erases: false,
            after_commit: Vec::new(),
            acts: Vec::new(),
            acts_before_item: 0,
            spent: Vec::new(),
            spent_before_item: 0,
            checks_names: false,
            may_turn: false,
            actor: None,
            next_id: None,
            underway: Some(gateway.store.underway()),
        }
    }

    /// Looks each name up before it is given. Commits refuse taken names anyway, but then it is not known which batch item
    /// is at fault: this is for the second try.
    pub fn check_names(&mut self) {
        self.checks_names = true;
    }

    /// The message came over a connection that can be turned round, and asks nothing else.
    pub fn let_turn(&mut self) {
        self.may_turn = true;
    }

    /// Whether the connection may be turned round.
    #[must_use]
    pub(super) fn may_turn(&self) -> bool {
        self.may_turn
    }

    /// An administrator acts in the caller's place: the audit record names it.
    pub fn act_as(&mut self, actor: Actor) {
        self.actor = Some(actor);
    }

    /// The next new object keeps the identifier it had elsewhere. The commit refuses one that is taken meanwhile.
    pub(super) fn name_next(&mut self, id: ObjectId) {
        self.next_id = Some(id);
    }

    /// The identifier of the next new object, where it is to keep one.
    pub(super) fn next_id(&self) -> Option<ObjectId> {
        self.next_id.filter(|id| !self.working.contains_key(id))
    }

    /// The grants in force when the message began.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The object that a request names; the ID placeholder if it names none.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] for text that is no identifier of ours; [`OperationError::InvalidMessage`] if there
    /// is no placeholder.
    pub fn resolve(&self, identifier: Option<&UniqueIdentifier>) -> Result<ObjectId, OperationError> {
        let nothing = || OperationError::InvalidMessage("no unique identifier, and no earlier item left an ID placeholder".to_owned());
        match identifier {
            Some(UniqueIdentifier::Text(text)) => text.parse().map_err(|_| OperationError::NotFound),
            // KMIP 2.1 §11.58: values beside ID Placeholder name the result of the most recent operation of that kind.
            None | Some(UniqueIdentifier::Placeholder(_)) => match self.placeholder {
                Placeholder::Object(id) => Ok(id),
                Placeholder::Empty => Err(OperationError::NotFound),
                Placeholder::Unset => Err(nothing()),
            },
            Some(UniqueIdentifier::Item(number)) => self.item(*number).ok_or_else(nothing),
        }
    }

    /// KMIP 2.1 §4.58: an Integer is the zero-based number of a batch item, negative counts back from the current one.
    fn item(&self, number: i32) -> Option<ObjectId> {
        let count = i32::try_from(self.items.len()).ok()?;
        let at = if number < 0 { count.checked_add(number)? } else { number };
        self.items.get(usize::try_from(at).ok()?).copied().flatten()
    }

    /// A permit for an operation on the object that a request names.
    ///
    /// # Errors
    /// Absent and forbidden alike, as the setting `kmip.forbidden` says.
    pub async fn permit(&mut self, identifier: Option<&UniqueIdentifier>, operation: Operation) -> Result<Permit, OperationError> {
        let id = match self.resolve(identifier) {
            Err(OperationError::NotFound) => return Err(self.gateway.policy.forbidden()),
            resolved => resolved?,
        };
        self.permit_id(id, operation).await
    }

    /// The same for an object by id.
    ///
    /// # Errors
    /// Absent and forbidden alike, as the setting `kmip.forbidden` says.
    pub async fn permit_id(&mut self, id: ObjectId, operation: Operation) -> Result<Permit, OperationError> {
        if !self.load(id).await? {
            return Err(self.gateway.policy.forbidden());
        }
        let slot = &self.working[&id];
        if slot.gone {
            return Err(self.gateway.policy.forbidden());
        }
        // Whoever holds a ticket knows what it is for: the answer tells nothing of the object.
        if self.caller.ticket.as_ref().is_some_and(|by| !by.ticket.allows_on(operation, &slot.object)) {
            return Err(OperationError::NotAuthorised);
        }
        let permit = self.grants.permit(self.caller, operation, &slot.object);
        let permit = permit.ok_or_else(|| self.gateway.policy.forbidden())?;
        self.subject.get_or_insert(id);
        Ok(permit)
    }

    /// Brings an object into the working set; false if there is none.
    async fn load(&mut self, id: ObjectId) -> Result<bool, OperationError> {
        if self.working.contains_key(&id) {
            return Ok(true);
        }
        let Some(row) = self.gateway.store.object(id).await? else { return Ok(false) };
        let refused = |error: Unreadable| OperationError::internal("stored object is refused", error);
        let (object, record) = Object::open(&row, &self.gateway.keyring, self.now).map_err(refused)?;
        self.working.insert(id, Slot { object, row: Some(row), record: Some(Arc::new(record)), material: None, changed: false, served: false, gone: false });
        Ok(true)
    }

    /// The object a permit is for.
    #[must_use]
    pub fn object(&self, permit: &Permit) -> &Object {
        // A permit is made from an object of this working set, and objects leave it only with the batch item.
        &self.working[&permit.object()].object
    }

    /// The object a permit is for, to change. Its Last Change Date becomes now.
    pub fn change(&mut self, permit: &Permit) -> &mut Object {
        let id = permit.object();
        self.remember(id);
        let now = self.now;
        let slot = self.working.get_mut(&id).expect("a permit is made from an object of this working set");
        slot.changed = true;
        slot.object.touch(now);
        &mut slot.object
    }

    /// The material of the object a permit is for; also proves that its row was not altered.
    ///
    /// # Errors
    /// [`OperationError::Destroyed`], or an internal error if the record does not open.
    pub fn material(&self, permit: &Permit) -> Result<Material, OperationError> {
        let slot = &self.working[&permit.object()];
        if slot.object.lifecycle.is_destroyed() {
            return Err(OperationError::Destroyed);
        }
        slot.material()
    }

    /// The stored row of the object a permit is for; `None` if it is new or changed in this message.
    #[must_use]
    pub(super) fn stored_row(&self, permit: &Permit) -> Option<&Arc<ObjectRow>> {
        let slot = &self.working[&permit.object()];
        if slot.changed { None } else { slot.row.as_ref() }
    }

    /// The object has been served: it is not Fresh any more. Alone this is no reason to fail: [`Self::finish`] does without
    /// it if the store takes no changes.
    pub(super) fn mark_served(&mut self, permit: &Permit) {
        let id = permit.object();
        self.remember(id);
        let slot = self.working.get_mut(&id).expect("a permit is made from an object of this working set");
        slot.object.attributes.set(Attribute::Fresh(false));
        slot.served = true;
    }

    /// Replaces the material of the object a permit is for.
    pub fn set_material(&mut self, permit: &Permit, material: Material) {
        self.change(permit);
        if let Some(slot) = self.working.get_mut(&permit.object()) {
            self.erases |= matches!(material, Material::None);
            slot.material = Some(material);
        }
    }

    /// Takes the object that a permit is for out of the store, and out of the rest of the message.
    pub(super) fn remove(&mut self, permit: Permit) {
        let id = permit.object();
        self.remember(id);
        let slot = self.working.get_mut(&id).expect("a permit is made from an object of this working set");
        (slot.changed, slot.gone) = (true, true);
        self.erases = true;
        }
    /// Replaces the object that a permit is for, its value included, by another with its identifier.
    pub(super) fn replace(&mut self, permit: &Permit, object: Object, material: Material) {
        self.change(permit);
        if let Some(slot) = self.working.get_mut(&permit.object()) {
            (slot.object, slot.material) = (object, Some(material));
            self.erases = true;
        }
    }

    /// Whether an object with this identifier has been looked at in this message: it exists, whoever it belongs to.
    pub(super) fn has_met(&self, id: ObjectId) -> bool {
        self.working.contains_key(&id)
    }

    /// Adds a new object, which becomes the subject of the audit event.
    pub fn insert(&mut self, object: Object, material: Material) {
        let id = object.id;
        self.remember(id);
        self.working.insert(id, Slot { object, row: None, record: None, material: Some(material), changed: true, served: false, gone: false });
        self.subject = Some(id);
    }

    /// Sets the ID placeholder for the following items; `None` if an operation ended with no object for it.
    pub fn set_placeholder(&mut self, id: Option<ObjectId>) {
        self.placeholder = id.map_or(Placeholder::Empty, Placeholder::Object);
    }

    /// Takes what a use of a key needs off the ticket that the caller acts with.
    ///
    /// # Errors
    /// [`OperationError::TicketUsedUp`].
    pub(super) fn spend(&mut self, permit: &Permit, amounts: Amounts) -> Result<(), OperationError> {
        if let Some(by) = &self.caller.ticket {
            let object = &self.working[&permit.object()].object;
            let spent = by.ticket.spend(permit.operation(), object, amounts);
            self.spent.push(spent.ok_or(OperationError::TicketUsedUp)?);
        }
        Ok(())
    }

    /// Says more about the operation in its audit event.
    pub fn note(&mut self, details: Details) {
        self.details = details;
    }

    /// Key material goes into the answer: with `audit.reads = wait` the answer waits for the audit record.
    pub fn release_material(&mut self) {
        self.material_released = true;
    }

    /// Something to do once the commit is durable, such as destroying a key in its device.
    pub fn after_commit(&mut self, action: AfterCommit) {
        self.after_commit.push(action);
    }

    /// Something done in a device that goes with the commit.
    pub(super) fn act_in_device(&mut self, act: DeviceAct) {
        self.acts.push(act);
    }

    /// The objects of the working set that are new or changed in this message.
    pub fn changed_objects(&self) -> impl Iterator<Item = &Object> {
        self.working.values().filter(|slot| slot.changed && !slot.gone).map(|slot| &slot.object)
    }

    /// Whether this message changed the object, so that its stored row is out of date.
    #[must_use]
    pub fn has_changed(&self, id: ObjectId) -> bool {
        self.working.get(&id).is_some_and(|slot| slot.changed)
    }

    fn remember(&mut self, id: ObjectId) {
        if !self.before_item.iter().any(|(known, _)| *known == id) {
            self.before_item.push((id, self.working.get(&id).cloned()));
        }
    }

    /// Begins a batch item.
    pub fn begin_item(&mut self) {
        self.before_item.clear();
        self.acts_before_item = self.acts.len();
        self.spent_before_item = self.spent.len();
        self.subject = None;
        self.details = Details::None;
    }

    /// Whether a name that this batch item gives is taken, if names are looked up.
    ///
    /// # Errors
    /// [`OperationError::NameTaken`].
    pub async fn check_names_of_item(&self) -> Result<(), OperationError> {
        if !self.checks_names {
            return Ok(());
        }
        let index = self.gateway.keyring.index();
        for (id, _) in &self.before_item {
            let Some(object) = self.working.get(id).map(|slot| &slot.object) else { continue };
            for instance in object.attributes.iter().filter(|instance| matches!(instance.attribute, Attribute::Name(_))) {
                let own = self.working.values().filter(|slot| slot.changed && slot.object.id != *id);
                let mut own = own.filter(|slot| slot.object.owner == object.owner && !slot.object.lifecycle.is_destroyed());
                if own.any(|slot| slot.object.attributes.iter().any(|other| other.attribute == instance.attribute)) {
                    return Err(OperationError::NameTaken);
                }
                let mut query = LocateQuery::owned_by(object.organisation, object.owner);
                query.tokens = index_token(index, object.organisation, &instance.attribute).into_iter().collect();
                let page = self.gateway.store.locate(&query).await?;
                let alive = |row: &ObjectRow| Lifecycle::from_code(row.state).is_some_and(|state| !state.is_destroyed());
                if page.rows.iter().any(|row| row.id != *id && !self.has_changed(row.id) && alive(row)) {
                    return Err(OperationError::NameTaken);
                }
            }
        }
        Ok(())
    }

    /// Whether the objects that this batch item makes are within their owner's quota. Commits decide anyway; this tells which
    /// batch item is at fault.
    ///
    /// # Errors
    /// [`OperationError::LimitExceeded`].
    pub fn check_quotas_of_item(&self) -> Result<(), OperationError> {
        let is_new = |(id, slot): &(ObjectId, Option<Slot>)| slot.is_none() && self.working.get(id).is_some_and(|slot| slot.row.is_none());
        if !self.gateway.store.has_object_quotas() || !self.before_item.iter().any(is_new) {
            return Ok(());
        }
        let counts = |state: u32| Lifecycle::from_code(state).is_none_or(|state| !state.is_destroyed());
        for (id, _) in self.before_item.iter().filter(|entry| is_new(entry)) {
            let Some(object) = self.working.get(id).map(|slot| &slot.object) else { continue };
            let of_owner = self.working.values().filter(|slot| slot.changed && slot.object.owner == object.owner);
            let more = of_owner.map(|slot| {
                let before = slot.row.as_ref().is_some_and(|row| counts(row.state));
                i64::from(!slot.object.lifecycle.is_destroyed()) - i64::from(before)
            });
            self.gateway.store.check_object_room(object.organisation, object.owner, more.sum())?;
        }
        Ok(())
    }

    /// Ends a batch item that succeeded.
    pub fn item_done(&mut self, action: Option<Action>) {
        self.items.push(self.subject);
        self.record(action, Outcome::Done);
    }

    /// Ends a batch item that failed: takes back what it did.
    pub fn item_failed(&mut self, action: Option<Action>, reason: u32) {
        for (id, slot) in std::mem::take(&mut self.before_item) {
            match slot {
                Some(slot) => self.working.insert(id, slot),
                None => self.working.remove(&id),
            };
        }
        self.acts.truncate(self.acts_before_item);
        self.spent.truncate(self.spent_before_item);
        self.items.push(None);
        self.record(action, Outcome::Refused(reason));
    }

    fn record(&mut self, action: Option<Action>, outcome: Outcome) {
        let Some(action) = action else { return };
        if let (Details::None, Some(shown_by)) = (&self.details, self.caller.ticket.as_ref().and_then(|by| by.shown_by)) {
            self.details = Details::Ticket { shown_by };
        }
        let actor = match (&self.actor, &self.caller.user) {
            (Some(actor), _) => actor.clone(),
            (None, Some(user)) => Actor::ClientUser(self.caller.client, user.id),
            (None, None) => Actor::Client(self.caller.client),
        };
        self.events.push(Event {
            at_ms: self.now * 1000,
            actor,
            source: Some(self.source),
            organisation: Some(self.caller.organisation),
            action,
            object: self.subject,
            outcome,
            details: std::mem::take(&mut self.details),
        });
    }

    /// Undoes the whole batch: nothing of it is kept but the record that it was undone.
    pub fn undo(&mut self) {
        self.working.clear();
        self.after_commit.clear();
        self.acts.clear();
        self.spent.clear();
        self.erases = false;
        for event in &mut self.events {
            if event.outcome == Outcome::Done {
                event.outcome = Outcome::Undone;
            }
        }
    }

    /// Commits the effects and events of the message; returns when they are as durable as they must be.
    ///
    /// # Errors
    /// [`OperationError::Conflict`] if the message must be executed again; else why nothing was committed.
    pub async fn finish(mut self) -> Result<(), OperationError> {
        let gateway = self.gateway;
        drop(self.underway.take());
        let mut changes = Vec::new();
        let mut changed = Vec::new();
        let mut only_served = true;
        let notices = self.notices();
        for slot in std::mem::take(&mut self.working).into_values().filter(|slot| slot.changed || slot.served) {
            only_served &= !slot.changed;
            changed.push(slot.object.id);
            changes.extend(slot.into_change(gateway)?);
        }
        let events = std::mem::take(&mut self.events);
        changes.extend(self.acts.iter().filter_map(DeviceAct::change));
        if changes.is_empty() {
            self.append_reads(&events).await?;
        } else {
            let reads = only_served.then(|| events.clone());
            let commit = Commit { changes, events, erases: self.erases };
            match (intent::with_commit(&gateway.store, std::mem::take(&mut self.acts), commit).await, reads) {
                // Having served an object is noted if it can be, and is no reason not to serve it.
                (Err(CommitError::Conflict { .. } | CommitError::DiskFull | CommitError::ReadOnlyLowDisk { .. }), Some(reads)) => {
                    self.append_reads(&reads).await?;
                }
                (outcome, _) => outcome?,
            }
            changed.into_iter().for_each(|object| gateway.prepared_keys.forget(object));
        }
        self.spent.into_iter().for_each(Spent::keep);
        for action in self.after_commit {
            action();
        }
        if !notices.is_empty() {
            gateway.notices.tell(&gateway.store.directory(), notices);
        }
        Ok(())
    }

    /// What clients are to be told once this is committed, new objects first.
    fn notices(&self) -> Vec<(ClientId, Notice)> {
        if !self.gateway.notices.are_wanted() {
            return Vec::new();
        }
        let changed = self.working.values().filter(|slot| slot.changed);
        let notice = |slot: &Slot| Some((slot.object.owner, push::notice(slot.row.as_deref(), &slot.object, self.gateway)?));
        let mut notices: Vec<(ClientId, Notice)> = changed.filter_map(notice).collect();
        notices.sort_by_key(|(_, notice)| (matches!(notice.what, What::Changed(_)), notice.object));
        notices
    }

    async fn append_reads(&self, events: &[Event]) -> Result<(), OperationError> {
        if !events.is_empty() {
            let durable = self.material_released && self.gateway.policy.reads_wait;
            self.gateway.store.append_reads(events, durable).await?;
        }
        Ok(())
    }
}

impl Slot {
    fn material(&self) -> Result<Material, OperationError> {
        match (&self.material, &self.record) {
            (Some(material), _) => Ok(material.clone()),
            (None, Some(record)) => record.material().map_err(|error| OperationError::internal("stored object", error)),
            (None, None) => Ok(Material::None),
        }
    }

    /// `None` for what was made and removed in one message.
    fn into_change(self, gateway: &Gateway) -> Result<Option<Change>, OperationError> {
        if self.gone {
            return Ok(self.row.map(|before| Change::DeleteObject { before }));
        }
        let version = self.row.as_ref().map_or(Version::FIRST, |row| row.version.next());
        let after = self.object.seal(version, &gateway.keyring, gateway.policy.unique_names, &self.material()?);
        Ok(Some(match self.row {
            Some(before) => Change::UpdateObject { before, after },
            None => Change::InsertObject(after),
        }))
    }
}

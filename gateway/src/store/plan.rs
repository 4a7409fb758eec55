//! Planning a group: which queued units of work go into one transaction, and which contradict what is stored.
//!
//! Versions and entries are checked in memory, names against one SELECT, before anything is written: a unit of work that cannot
//! be done fails alone and costs its neighbours nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entry::UniqueKey;
use super::issued::{IssuedCertificate, IssuedIndex, Serial};
use super::keystore_counts::{KeystoreCounts, KeystoreDeltas};
use super::quota::{ObjectCounts, ObjectDeltas, StagedCertificates};
use super::set_hash::Element;
use super::sqlite::{EntryRow, GroupWrite};
use super::invariants;
use super::{Change, ClientId, CommitError, Entry, EntryId, EntryKind, KeystoreId, ObjectId, ObjectRow};
use crate::seal::{Binding, Keyring, NameToken, RecordKind, SealedRecord};

/// Entries as committed: content, version, and what is unique.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) rows: HashMap<EntryKey, (u64, Entry)>,
    pub(crate) unique: HashMap<UniqueKey, EntryId>,
    /// Versions the set holds of entries whose rows were found damaged; their content is not used.
    pub(crate) damaged: HashMap<EntryKey, u64>,
}

pub(crate) type EntryKey = (EntryKind, EntryId);

/// Changes to [`Entries`] not committed yet; `None` means removed.
#[derive(Default)]
struct Layer {
    rows: HashMap<EntryKey, Option<Entry>>,
    unique: HashMap<UniqueKey, Option<EntryId>>,
}

/// What committed state a plan is checked against.
pub(crate) struct Committed<'a> {
    pub(crate) version: &'a (dyn Fn(ObjectId) -> Option<u64> + Sync),
    pub(crate) entries: &'a Entries,
    pub(crate) issued: &'a IssuedIndex,
    /// Where a quota of objects is set.
    pub(crate) counts: Option<&'a ObjectCounts>,
    pub(crate) keystores: &'a KeystoreCounts,
    /// Names of this group's additions that exist in the database.
    pub(crate) names: HashMap<[u8; 16], ObjectId>,
    pub(crate) keyring: &'a Keyring,
}

/// The accepted part of a group.
#[derive(Default)]
pub(crate) struct Plan {
    objects: Vec<Accepted>,
    touched: HashSet<ObjectId>,
    names: HashMap<[u8; 16], Option<ObjectId>>,
    entries: Layer,
    issued: HashMap<Serial, Option<Box<IssuedCertificate>>>,
    /// Public keys and uses that the certificates above add.
    certified: HashMap<[u8; 32], ClientId>,
    uses: HashMap<EntryId, u64>,
    certificates: StagedCertificates,
    deltas: ObjectDeltas,
    keystores: KeystoreDeltas,
}

/// An object change.
#[derive(Clone)]
pub(crate) struct Accepted {
    pub(crate) id: ObjectId,
    pub(crate) before: Option<Arc<ObjectRow>>,
    pub(crate) after: Option<Arc<ObjectRow>>,
}

/// What the transaction writes, and what is true once it has.
pub(crate) struct Prepared {
    pub(crate) write: GroupWrite,
    pub(crate) objects: Vec<Accepted>,
    pub(crate) entries: Vec<(EntryKey, Option<Entry>)>,
    /// Certificates as they are now; `None`: removed.
    pub(crate) issued: Vec<(Serial, Option<Box<IssuedCertificate>>)>,
    /// Set elements that go and come.
    pub(crate) removed: Vec<Element>,
    pub(crate) added: Vec<Element>,
}

/// A unit of work as queued: rows shared, so that it can be tried again.
pub(crate) struct Work {
    objects: Vec<Accepted>,
    entries: Vec<Change>,
}

impl Work {
    pub(crate) fn new(changes: Vec<Change>) -> Self {
        let mut work = Self { objects: Vec::new(), entries: Vec::new() };
        for change in changes {
            let (id, before, after) = match change {
                Change::InsertObject(row) => (row.id, None, Some(Arc::new(row))),
                Change::UpdateObject { before, after } => (after.id, Some(before), Some(Arc::new(after))),
                Change::DeleteObject { before } => (before.id, Some(before), None),
                change => {
                    work.entries.push(change);
                    continue;
                }
            };
            work.objects.push(Accepted { id, before, after });
        }
        work
    }

    /// How many changes.
    pub(crate) fn len(&self) -> usize {
        self.objects.len() + self.entries.len()
    }

    /// Names it would add, to be looked up for a whole group in one go.
    pub(crate) fn names_added(&self) -> impl Iterator<Item = [u8; 16]> {
        self.objects.iter().flat_map(|object| come(object, |row| &row.names).map(|name| name.0))
    }
}

impl Plan {
    /// Checks one unit of work and takes it in, or says why not and stays as it was.
    pub(crate) fn accept(&mut self, work: &Work, committed: &Committed<'_>) -> Result<(), CommitError> {
        let mut entries = Layer::default();
        for change in &work.entries {
            self.stage_entry(&mut entries, change, committed)?;
        }
        self.check_issued(&work.entries, committed)?;
        let objects = &work.objects;
        self.check_versions(objects, committed)?;
        let names = self.stage_names(objects, committed)?;
        let keystores = self.stage_keystores(&entries, objects, committed)?;
        let deltas = committed.counts.map(|counts| counts.stage(&self.deltas, objects)).transpose()?;
        self.deltas.merge(deltas.unwrap_or_default());
        self.keystores.merge(&keystores);
        self.touched.extend(objects.iter().map(|object| object.id));
        self.objects.extend_from_slice(objects);
        self.names.extend(names);
        self.entries.rows.extend(entries.rows);
        self.entries.unique.extend(entries.unique);
        self.take_issued(&work.entries);
        Ok(())
    }

    fn check_versions(&self, objects: &[Accepted], committed: &Committed<'_>) -> Result<(), CommitError> {
        let mut own = HashSet::new();
        for Accepted { id, before, after } in objects {
            let skips = match (before, after) {
                (Some(before), Some(after)) => after.version <= before.version || before.id != *id,
                (None, Some(after)) => after.version.0 == 0,
                _ => false,
            };
            if skips || !own.insert(*id) {
                return Err(CommitError::Malformed(id.to_string()));
            }
            // Sealed under a term that was dropped meanwhile: nobody could open it again.
            let dropped =
                |row: &Arc<ObjectRow>| !row.sealed().term().is_ok_and(|term| committed.keyring.has_term(term));
            if after.as_ref().is_some_and(dropped) {
                return Err(CommitError::Conflict { object: *id });
            }
            // Whoever sits in the same group was not visible to this caller yet.
            let expected = before.as_ref().map(|row| row.version.0);
            if self.touched.contains(id) || (committed.version)(*id) != expected {
                return Err(CommitError::Conflict { object: *id });
            }
        }
        Ok(())
    }

    /// A keystore goes only when nothing refers to it, and nothing comes to one that has gone.
    fn stage_keystores(&self, own: &Layer, objects: &[Accepted], committed: &Committed<'_>) -> Result<KeystoreDeltas, CommitError> {
        let deltas = KeystoreDeltas::of(objects);
        let is_gone = |keystore: KeystoreId| {
            let key = (EntryKind::Keystore, keystore.into());
            let staged = own.rows.get(&key).or_else(|| self.entries.rows.get(&key));
            staged.map_or_else(|| committed.keystores.is_removed(keystore), Option::is_none)
        };
        let intents = own.rows.values().filter_map(|entry| match entry {
            Some(Entry::Intent(intent)) => Some(intent.keystore),
            _ => None,
        });
        if let Some(keystore) = deltas.gaining().chain(intents).find(|keystore| is_gone(*keystore)) {
            return Err(CommitError::EntryMissing { kind: EntryKind::Keystore, id: keystore.into() });
        }
        for (kind, id) in own.rows.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| *key) {
            if kind == EntryKind::Keystore {
                self.check_unused(own, KeystoreId(id.0), &deltas, committed)?;
            }
        }
        Ok(deltas)
    }

    fn check_unused(&self, own: &Layer, keystore: KeystoreId, more: &KeystoreDeltas, committed: &Committed<'_>) -> Result<(), CommitError> {
        let staged = self.keystores.get(keystore) + more.get(keystore);
        let objects = committed.keystores.of(keystore).ok_or(CommitError::Uncounted)?.saturating_add_signed(staged);
        let refer = |kind| self.all(own, kind, committed).into_iter().filter(|entry| invariants::refers_to(entry, keystore)).count() as u64;
        let (authorities, clients) = (refer(EntryKind::Authority), refer(EntryKind::Client));
        let (intents, moves) = (refer(EntryKind::Intent), refer(EntryKind::Rehoming));
        if objects + authorities + clients + intents + moves == 0 {
            return Ok(());
        }
        Err(CommitError::KeystoreInUse { objects, authorities, clients, intents, moves })
    }

    fn stage_names(
        &self,
        objects: &[Accepted],
        committed: &Committed<'_>,
    ) -> Result<HashMap<[u8; 16], Option<ObjectId>>, CommitError> {
        let mut staged = HashMap::new();
        for object in objects {
            for token in gone(object, |row| &row.names) {
                staged.insert(token.0, None);
            }
        }
        for object in objects {
            for NameToken(token) in come(object, |row| &row.names) {
                let holder = match (staged.get(&token), self.names.get(&token)) {
                    (Some(holder), _) | (None, Some(holder)) => *holder,
                    (None, None) => committed.names.get(&token).copied(),
                };
                if let Some(object) = holder {
                    return Err(CommitError::NameTaken { object });
                }
                staged.insert(token, Some(object.id));
            }
        }
        Ok(staged)
    }

    fn stage_entry(&self, own: &mut Layer, change: &Change, committed: &Committed<'_>) -> Result<(), CommitError> {
        let (key, after) = match change {
            Change::AddEntry(entry) | Change::UpdateEntry(entry) => ((entry.kind(), entry.id()), Some(entry)),
            Change::RemoveEntry(kind, id) => ((*kind, *id), None),
            Change::Expect { kind, id, version } => return self.expect(own, (*kind, *id), *version, committed),
            // `check_issued` and `Work::new` see to these.
            Change::AddIssued { .. } | Change::UpdateIssued { .. } | Change::RemoveIssued { .. } => return Ok(()),
            Change::InsertObject(_) | Change::UpdateObject { .. } | Change::DeleteObject { .. } => return Ok(()),
        };
        let before = self.entry(own, key, committed);
        match (&before, change) {
            (Some(_), Change::AddEntry(_)) => return Err(CommitError::EntryTaken { kind: key.0, holder: key.1 }),
            (None, Change::UpdateEntry(_) | Change::RemoveEntry(..)) => {
                return Err(CommitError::EntryMissing { kind: key.0, id: key.1 });
            }
            _ => {}
        }
        let old: Vec<UniqueKey> = before.iter().flat_map(Entry::unique_keys).collect();
        let new: Vec<UniqueKey> = after.into_iter().flat_map(Entry::unique_keys).collect();
        for key in new.iter().filter(|key| !old.contains(key)) {
            if let Some(holder) = self.unique_holder(own, key, committed) {
                return Err(CommitError::EntryTaken { kind: key.0, holder });
            }
        }
        own.unique.extend(old.into_iter().map(|old| (old, None)));
        own.unique.extend(new.into_iter().map(|new| (new, Some(key.1))));
        own.rows.insert(key, after.cloned());
        invariants::check(before.as_ref(), after, || self.all(own, key.0, committed))
    }

    /// The entry must be the one that was read, and no other unit of the group may have changed it.
    fn expect(
        &self,
        own: &Layer,
        key: EntryKey,
        version: u64,
        committed: &Committed<'_>,
    ) -> Result<(), CommitError> {
        let found = committed.entries.rows.get(&key).map_or(0, |(version, _)| *version);
        if found != version || self.entries.rows.contains_key(&key) || own.rows.contains_key(&key) {
            return Err(CommitError::Stale { kind: key.0, id: key.1 });
        }
        Ok(())
    }

    /// All entries of a kind, as they are with this group's changes and `own` ones.
    fn all<'a>(&'a self, own: &'a Layer, kind: EntryKind, committed: &Committed<'a>) -> Vec<&'a Entry> {
        let staged = |key: &EntryKey| own.rows.get(key).or_else(|| self.entries.rows.get(key));
        let entries = committed.entries;
        let old = entries.rows.iter().filter(|(key, _)| key.0 == kind && staged(key).is_none());
        let mine = own.rows.iter().filter(|(key, _)| key.0 == kind);
        let group = self.entries.rows.iter().filter(|(key, _)| key.0 == kind && !own.rows.contains_key(*key));
        let new = mine.chain(group).filter_map(|(_, entry)| entry.as_ref());
        old.map(|(_, (_, entry))| entry).chain(new).collect()
    }

    fn check_issued(&self, changes: &[Change], committed: &Committed<'_>) -> Result<(), CommitError> {
        let mut own = HashSet::new();
        for change in changes {
            let serial = match change {
                Change::AddIssued { certificate, uses_max, renewed, .. } => {
                    self.check_new_certificate(certificate, *uses_max, committed)?;
                    if let Some((serial, version)) = renewed {
                        let found = committed.issued.by_serial(serial);
                        if found.is_none_or(|found| found.version != *version) || self.issued.contains_key(serial) {
                            return Err(CommitError::Stale { kind: EntryKind::Issued, id: certificate.id });
                        }
                    }
                    certificate.serial
                }
                Change::UpdateIssued { certificate, version } => {
                    let found = committed.issued.by_serial(&certificate.serial);
                    let stale = found.is_none_or(|found| found.version != *version || found.id != certificate.id);
                    if stale || self.issued.contains_key(&certificate.serial) {
                        return Err(CommitError::Stale { kind: EntryKind::Issued, id: certificate.id });
                    }
                    certificate.serial
                }
                Change::RemoveIssued { id, serial } => {
                    let found = committed.issued.by_serial(serial).filter(|found| found.id == *id);
                    if found.is_none() || self.issued.contains_key(serial) {
                        return Err(CommitError::EntryMissing { kind: EntryKind::Issued, id: *id });
                    }
                    *serial
                }
                _ => continue,
            };
            if !own.insert(serial) {
                return Err(CommitError::Malformed(serial.to_string()));
            }
        }
        self.certificates.check(changes, committed.issued)
    }

    fn check_new_certificate(
        &self,
        certificate: &IssuedCertificate,
        uses_max: Option<u64>,
        committed: &Committed<'_>,
    ) -> Result<(), CommitError> {
        let IssuedCertificate { serial, client, key, public_key_sha256, .. } = certificate;
        let (kind, holder) = (EntryKind::Issued, certificate.id);
        if committed.issued.by_serial(serial).is_some() || self.issued.contains_key(serial) {
            return Err(CommitError::EntryTaken { kind, holder });
        }
        let staged = self.certified.get(public_key_sha256).filter(|holder| *holder != client);
        if staged.is_some() || committed.issued.other_client(public_key_sha256, Some(*client)).is_some() {
            return Err(CommitError::KeyOfAnother);
        }
        let revoked_now = self.issued.values().flatten().any(|staged| staged.client == *client && staged.revoked.is_some());
        if revoked_now || committed.issued.is_client_revoked(*client) {
            return Err(CommitError::ClientRevoked);
        }
        let uses = committed.issued.enrolled(*key) + self.uses.get(key).copied().unwrap_or_default();
        match uses_max {
            Some(max) if uses >= max => Err(CommitError::UsedUp { max }),
            _ => Ok(()),
        }
    }

    fn take_issued(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::AddIssued { certificate, .. } => {
                    self.certified.insert(certificate.public_key_sha256, certificate.client);
                    self.certificates.add((certificate.organisation, certificate.client));
                    if certificate.renews.is_none() {
                        *self.uses.entry(certificate.key).or_default() += 1;
                    }
                    self.issued.insert(certificate.serial, Some(certificate.clone()));
                }
                Change::UpdateIssued { certificate, .. } => {
                    self.issued.insert(certificate.serial, Some(certificate.clone()));
                }
                Change::RemoveIssued { serial, .. } => drop(self.issued.insert(*serial, None)),
                _ => {}
            }
        }
    }

    fn entry(&self, own: &Layer, key: EntryKey, committed: &Committed<'_>) -> Option<Entry> {
        match own.rows.get(&key).or_else(|| self.entries.rows.get(&key)) {
            Some(staged) => staged.clone(),
            None => committed.entries.rows.get(&key).map(|(_, entry)| entry.clone()),
        }
    }

    fn unique_holder(&self, own: &Layer, key: &UniqueKey, committed: &Committed<'_>) -> Option<EntryId> {
        match own.unique.get(key).or_else(|| self.entries.unique.get(key)) {
            Some(staged) => *staged,
            None => committed.entries.unique.get(key).copied(),
        }
    }

    /// Turns the plan into rows. `commit` is the sequence number it will have.
    pub(crate) fn prepare(self, keyring: &Keyring, entries: &Entries, issued: &IssuedIndex, commit: u64) -> Prepared {
        let mut prepared = Prepared {
            write: GroupWrite::default(),
            objects: Vec::new(),
            entries: self.entries.rows.into_iter().collect(),
            issued: self.issued.into_iter().collect(),
            removed: Vec::new(),
            added: Vec::new(),
        };
        for object in &self.objects {
            prepared.object(object);
        }
        prepared.objects = self.objects;
        for index in 0..prepared.entries.len() {
            prepared.entry(index, keyring, entries, commit);
        }
        for (serial, certificate) in std::mem::take(&mut prepared.issued) {
            let certificate = prepared.certificate(&serial, certificate, keyring, issued, commit);
            prepared.issued.push((serial, certificate));
        }
        prepared
    }
}

impl Prepared {
    fn object(&mut self, object: &Accepted) {
        let id = object.id;
        let write = &mut self.write;
        match (&object.before, &object.after) {
            (None, Some(after)) => write.inserts.push(after.clone()),
            (Some(before), Some(after)) => write.updates.push((before.version.0, after.clone())),
            (Some(before), None) => write.deletes.push((id, before.version.0)),
            (None, None) => {}
        }
        write.index_removed.extend(gone(object, |row| &row.index).map(|token| (token.0, id)));
        write.index_added.extend(come(object, |row| &row.index).map(|token| (token.0, id)));
        write.names_removed.extend(gone(object, |row| &row.names).map(|token| token.0));
        write.names_added.extend(come(object, |row| &row.names).map(|token| (token.0, id)));
        let element = |row: &Arc<ObjectRow>| Element { kind: 0, id: *id.as_bytes(), version: row.version.0 };
        self.removed.extend(object.before.as_ref().map(element));
        self.added.extend(object.after.as_ref().map(element));
        self.log(0, id.as_bytes(), object.after.as_ref().map_or(0, |row| row.version.0));
    }

    fn entry(&mut self, index: usize, keyring: &Keyring, entries: &Entries, commit: u64) {
        let ((kind, id), entry) = &self.entries[index];
        let (kind, id) = (*kind, *id);
        let element = |version| Element { kind: kind as u8, id: *id.as_bytes(), version };
        let old = entries.rows.get(&(kind, id)).map(|(version, _)| *version);
        let old = old.or_else(|| entries.damaged.get(&(kind, id)).copied());
        match entry {
            Some(entry) => {
                self.write.entries.push(seal_entry(keyring, entry, commit));
                self.added.push(element(commit));
                self.removed.extend(old.map(element));
                self.log(kind as u8, id.as_bytes(), commit);
            }
            // Added and removed within one group: nothing to do, and nothing was there.
            None if old.is_none() => {}
            None => {
                self.write.entries_removed.push((kind, id));
                self.removed.extend(old.map(element));
                self.log(kind as u8, id.as_bytes(), 0);
            }
        }
    }

    /// Returns the certificate as it was given: it is sealed as an entry.
    fn certificate(
        &mut self,
        serial: &Serial,
        certificate: Option<Box<IssuedCertificate>>,
        keyring: &Keyring,
        issued: &IssuedIndex,
        commit: u64,
    ) -> Option<Box<IssuedCertificate>> {
        let kind = EntryKind::Issued;
        let element = |id: EntryId, version| Element { kind: kind as u8, id: *id.as_bytes(), version };
        let old = issued.by_serial(serial).map(|facts| (facts.id, facts.version));
        self.removed.extend(old.map(|(id, version)| element(id, version)));
        let Some(certificate) = certificate else {
            if let Some((id, _)) = old {
                self.write.entries_removed.push((kind, id));
                self.log(kind as u8, id.as_bytes(), 0);
            }
            return None;
        };
        let (id, entry) = (certificate.id, Entry::Issued(*certificate));
        self.write.entries.push(seal_entry(keyring, &entry, commit));
        self.added.push(element(id, commit));
        self.log(kind as u8, id.as_bytes(), commit);
        match entry {
            Entry::Issued(certificate) => Some(Box::new(certificate)),
            _ => None,
        }
    }

    fn log(&mut self, kind: u8, id: &[u8; 16], version: u64) {
        let log = &mut self.write.change_log;
        log.push(kind);
        log.extend_from_slice(id);
        log.extend_from_slice(&version.to_be_bytes());
    }
}

/// What `after` has and `before` has not.
fn come<'a, T: Copy + PartialEq + 'a>(
    object: &'a Accepted,
    of: impl Fn(&'a ObjectRow) -> &'a Vec<T>,
) -> impl Iterator<Item = T> + 'a {
    minus(object.after.as_deref().map(&of), object.before.as_deref().map(&of))
}

/// What `before` has and `after` has not.
fn gone<'a, T: Copy + PartialEq + 'a>(
    object: &'a Accepted,
    of: impl Fn(&'a ObjectRow) -> &'a Vec<T>,
) -> impl Iterator<Item = T> + 'a {
    minus(object.before.as_deref().map(&of), object.after.as_deref().map(&of))
}

fn minus<'a, T: Copy + PartialEq>(
    all: Option<&'a Vec<T>>,
    without: Option<&'a Vec<T>>,
) -> impl Iterator<Item = T> + 'a {
    let all = all.into_iter().flatten().copied();
    all.filter(move |item| !without.is_some_and(|without| without.contains(item)))
}

pub(crate) fn seal_entry(keyring: &Keyring, entry: &Entry, version: u64) -> EntryRow {
    let organisation = entry.organisation();
    let binding = entry_binding(entry.kind(), entry.id(), version, organisation);
    // Room for any usual entry, so that no reallocation leaves a copy of a secret setting behind.
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(16 * 1024));
    // Entries are plain structures of strings, numbers and ids: serialising them cannot fail; were it to, the entry would not
    // open again and be named as damaged.
    let _ = serde_json::to_writer(&mut *text, entry);
    EntryRow { kind: entry.kind(), id: entry.id(), organisation, version, sealed: keyring.seal(&binding, &text) }
}

/// Opens a stored entry; `None` when it is not the one that was written there.
pub(crate) fn open_entry(keyring: &Keyring, row: &EntryRow) -> Option<Entry> {
    let binding = entry_binding(row.kind, row.id, row.version, row.organisation);
    let sealed: &SealedRecord = &row.sealed;
    let text = keyring.open_record(&binding, sealed).ok()?;
    serde_json::from_slice(text.expose()).ok()
}

fn entry_binding(kind: EntryKind, id: EntryId, version: u64, organisation: super::OrganisationId) -> Binding {
    let mut digest = [0; 32];
    digest[0] = kind as u8;
    digest[16..].copy_from_slice(organisation.as_bytes());
    Binding { kind: RecordKind::Entry, id: *id.as_bytes(), version, digest }
}

//! Stories of the store. Each test has its own data directory and its own seal.

mod audit;
mod commits;
mod copy;
mod crash;
mod directory;
mod disk;
mod issued;
mod keystores;
mod quotas;
mod rotation;
mod tamper;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::audit::{Action, Actor, Details, Outcome};
use crate::seal::{NewSlot, Openers, Seal, SecretBytes, SecretText};

pub(super) const ORGANISATION: OrganisationId = OrganisationId::DEFAULT;

/// A data directory with a seal; opens stores in it as a server would.
pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) owner: ClientId,
    keystore: KeystoreId,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Seal::create(dir.path(), NewSlot::default()).expect("a new seal");
        Self { dir, owner: ClientId::generate(), keystore: KeystoreId::generate() }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn root(&self) -> (Uuid, Arc<RootKey>) {
        unlock(self.path())
    }

    pub(super) async fn create(&self) -> Store {
        let (id, root) = self.root();
        // A small reserve: tests read whole directories.
        let options = StoreOptions { reserve_bytes: 64 << 10, ..StoreOptions::default() };
        Store::create(self.path(), id, root, options).await.expect("a new store")
    }

    pub(super) async fn try_open(&self, options: StoreOptions) -> Result<Store, OpenError> {
        let (id, root) = self.root();
        Store::open(self.path(), id, root, options).await
    }

    pub(super) async fn open(&self) -> Store {
        self.try_open(StoreOptions::default()).await.expect("the store opens")
    }

    /// Columns of a new object.
    pub(super) fn columns(&self) -> ObjectColumns {
        ObjectColumns {
            id: ObjectId::generate(),
            organisation: ORGANISATION,
            owner: self.owner,
            version: Version::FIRST,
            state: 1,
            object_type: 2,
            keystore: self.keystore,
            custody: Custody::Envelope,
            created_ms: 1_700_000_000_000,
            attributes: b"attributes".to_vec(),
            index: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn named(&self, store: &Store, name: &str) -> ObjectColumns {
        let keys = store.keyring().index();
        let index = vec![keys.token(&ORGANISATION.0, "Name", name.as_bytes())];
        let names = vec![keys.name(&ORGANISATION.0, &self.owner.0, name.as_bytes())];
        ObjectColumns { index, names, ..self.columns() }
    }
}

pub(super) fn unlock(dir: &Path) -> (Uuid, Arc<RootKey>) {
    let seal = Seal::load(dir).expect("the seal is readable");
    let root = seal.unlock(&Openers::default()).expect("the key file opens it");
    (seal.store_id(), Arc::new(root))
}

pub(super) fn event(action: Action, object: Option<ObjectId>) -> Event {
    Event {
        at_ms: 1_700_000_000_000,
        actor: Actor::System,
        source: None,
        organisation: Some(ORGANISATION),
        action,
        object,
        outcome: Outcome::Done,
        details: Details::None,
    }
}

pub(super) fn insert(store: &Store, columns: ObjectColumns, material: &[u8]) -> Commit {
    let id = columns.id;
    let row = ObjectRow::seal(store.keyring(), columns, material);
    Commit { changes: vec![Change::InsertObject(row)], events: vec![event(Action::Create, Some(id))], erases: false }
}

/// The next version of a row with another state and material.
pub(super) fn update(store: &Store, before: &Arc<ObjectRow>, state: u32, material: &[u8]) -> Commit {
    let columns = ObjectColumns { state, version: before.version.next(), ..before.columns().clone() };
    let after = ObjectRow::seal(store.keyring(), columns, material);
    let changes = vec![Change::UpdateObject { before: before.clone(), after }];
    Commit { changes, events: vec![event(Action::Activate, Some(before.id))], erases: false }
}

pub(super) async fn fetch(store: &Store, id: ObjectId) -> Arc<ObjectRow> {
    store.object(id).await.expect("readable").expect("present")
}

/// Runs SQL on the database as somebody with write access to the file would.
pub(super) async fn tamper(dir: &Path, statement: impl sqlx::SqlSafeStr) -> u64 {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sqlite::path(dir));
    let mut connection = options.connect().await.expect("the database opens");
    sqlx::query(statement).execute(&mut connection).await.expect("the statement runs").rows_affected()
}

/// `x'..'`, an SQL blob literal.
pub(super) fn literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex::encode(bytes))
}

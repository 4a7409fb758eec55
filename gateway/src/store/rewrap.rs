//! Rotation's second half: what lies under an older term is sealed again under the newest, then the older term is dropped.
//!
//! Crash-safe by order: a row names the term it is under, and a term goes only when a look at all rows finds none under it.

use sqlx::SqlitePool;
use uuid::Uuid;

use super::writer::Job;
use super::{Change, Commit, CommitError, ObjectColumns, ObjectId, ObjectRow, ReadError, Store, sqlite};
use crate::audit::{Action, Details, Event};
use crate::seal::Term;
use crate::store::writer::now_ms;

/// What one call of [`Store::rewrap`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrapProgress {
    /// Objects sealed again.
    pub objects: u32,
    /// Objects that changed under our hands and are left for the next call.
    pub busy: u32,
    /// Objects that do not open; they stay as they are and keep their term alive.
    pub refused: u32,
    /// Nothing is under an older term and older terms are dropped.
    pub done: bool,
}

pub(crate) async fn rewrap(store: &Store, batch: u32) -> Result<RewrapProgress, CommitError> {
    let newest = store.keyring().newest_term();
    rewrap_entries(store, newest).await?;
    let start = ObjectId(Uuid::nil());
    let ids = sqlite::rows_not_under(&store.readers, newest, start, batch).await.map_err(|error| broken(&error))?;
    let mut progress = RewrapProgress::default();
    for id in &ids {
        match rewrap_object(store, *id).await {
            Ok(true) => progress.objects += 1,
            Ok(false) | Err(CommitError::Conflict { .. }) => progress.busy += 1,
            Err(CommitError::Malformed(_)) => progress.refused += 1,
            Err(error) => return Err(error),
        }
    }
    if ids.is_empty() {
        progress.done = drop_old_terms(store, newest).await?;
    }
    Ok(progress)
}

async fn rewrap_object(store: &Store, id: ObjectId) -> Result<bool, CommitError> {
    let before = match store.object(id).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(false),
        Err(ReadError::Refused { object }) => return Err(CommitError::Malformed(object.to_string())),
        Err(ReadError::Broken(error)) => return Err(CommitError::Broken(error)),
    };
    let keyring = store.keyring();
    let material = before.open(keyring).map_err(|_| CommitError::Malformed(id.to_string()))?;
    let columns = ObjectColumns { version: before.version.next(), ..before.columns().clone() };
    // The material is only passed on to be sealed again.
    let after = ObjectRow::seal(keyring, columns, material.expose());
    let changes = vec![Change::UpdateObject { before, after }];
    store.commit(Commit { changes, events: Vec::new(), erases: true }).await.map(|_| true)
}

async fn rewrap_entries(store: &Store, newest: Term) -> Result<(), CommitError> {
    let old = entries_not_under(&store.readers, newest).await.map_err(|error| broken(&error))?;
    let job = |reply| Job::Reseal(old, reply);
    store.ask(job).await
}

async fn entries_not_under(pool: &SqlitePool, newest: Term) -> Result<Vec<super::plan::EntryKey>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let rows = sqlite::entries(&mut connection).await?;
    let old = rows.iter().filter(|row| row.sealed.term().is_ok_and(|term| term != newest));
    Ok(old.map(|row| (row.kind, row.id)).collect())
}

async fn drop_old_terms(store: &Store, newest: Term) -> Result<bool, CommitError> {
    let mut all = true;
    for term in store.keyring().terms().into_iter().filter(|term| *term < newest) {
        if !store.ask(|reply| Job::DropTerm(term, reply)).await? {
            all = false;
            continue;
        }
        let event = Event::system(now_ms(), Action::TermDropped, Details::Seal { id: term.0.to_string() });
        store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    }
    Ok(all)
}

fn broken(error: &sqlx::Error) -> CommitError {
    CommitError::Broken(error.to_string())
}

//! Rotation's second half: what lies under an older term is sealed again under the newest, then the older term is dropped.
//!
//! Crash-safe by order: a row names the term it is under, and a term goes only when a look at all rows finds none under it.
//! Whatever is left after a crash is found by the next call.

use std::time::Duration;

use sqlx::SqlitePool;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::plan::open_entry;
use super::writer::Job;
use super::{
    Change, Commit, CommitError, Entry, EntryId, ObjectColumns, ObjectId, ObjectRow, ReadError, Store, sqlite,
};
use crate::audit::{Action, Details, Event};
use crate::seal::Term;
use crate::store::writer::now_ms;

/// Objects of one look into the database; as many are sealed again at a time, so that they share transactions.
const PAGE: u32 = 64;
/// Walks over all rows: objects that clients change under our hands are met again in the next one.
const WALKS_MAX: u32 = 16;

/// Requests under way may hold rows under a term that was dropped; its key stays in memory so long.
const RETIRED_KEPT: Duration = Duration::from_secs(60);

/// What a call of [`Store::rewrap`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Objects sealed again.
    pub objects: u64,
    /// Objects that do not open; they stay as they are and keep their term alive.
    pub refused: Vec<ObjectId>,
    /// Nothing is under an older term, and older terms are dropped.
    pub done: bool,
}

/// What became of one object.
enum Outcome {
    Sealed,
    /// Changed or destroyed under our hands.
    Busy,
    Refused(ObjectId),
}

pub(crate) async fn rewrap(store: &Store) -> Result<Rewrapped, CommitError> {
    let newest = store.keyring().newest_term();
    let mut result = Rewrapped::default();
    for _ in 0..WALKS_MAX {
        rewrap_entries(store, newest).await?;
        let busy_certificates = rewrap_issued(store, newest).await?;
        let (sealed, busy, refused) = walk(store, newest).await?;
        let busy = busy || busy_certificates;
        result.objects += sealed;
        result.refused = refused;
        if !busy {
            break;
        }
    }
    result.done = drop_old_terms(store, newest).await?;
    // The dropped term's sealed copy leaves the write-ahead log too.
    store.erase_now().await?;
    let keyring = store.keyring().clone();
    tokio::spawn(async move {
        tokio::time::sleep(RETIRED_KEPT).await;
        keyring.forget_retired(RETIRED_KEPT);
    });
    Ok(result)
}

/// One walk over all objects: how many were sealed again, whether any was busy, and those refused.
async fn walk(store: &Store, newest: Term) -> Result<(u64, bool, Vec<ObjectId>), CommitError> {
    let (mut sealed, mut busy, mut refused) = (0, false, Vec::new());
    let mut after = ObjectId(Uuid::nil());
    loop {
        let ids = sqlite::rows_not_under(&store.readers, newest, after, PAGE).await.map_err(|error| broken(&error))?;
        let Some(last) = ids.last() else { return Ok((sealed, busy, refused)) };
        after = *last;
        let mut page = JoinSet::new();
        for id in ids {
            let store = store.clone();
            page.spawn(async move { rewrap_object(&store, id).await });
        }
        while let Some(outcome) = page.join_next().await {
            match outcome.map_err(|error| CommitError::Broken(error.to_string()))?? {
                Outcome::Sealed => sealed += 1,
                Outcome::Busy => busy = true,
                Outcome::Refused(id) => refused.push(id),
            }
        }
    }
}

async fn rewrap_object(store: &Store, id: ObjectId) -> Result<Outcome, CommitError> {
    let before = match store.object(id).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Outcome::Busy),
        Err(ReadError::Refused { object }) => return Ok(Outcome::Refused(object)),
        Err(ReadError::Broken(error)) => return Err(CommitError::Broken(error)),
    };
    let keyring = store.keyring();
    let Ok(material) = before.open(keyring) else { return Ok(Outcome::Refused(id)) };
    let columns = ObjectColumns { version: before.version.next(), ..before.columns().clone() };
    // The material is only passed on to be sealed again.
    let after = ObjectRow::seal(keyring, columns, material.expose());
    let changes = vec![Change::UpdateObject { before, after }];
    match store.commit(Commit { changes, events: Vec::new(), erases: true }).await {
        Ok(_) => Ok(Outcome::Sealed),
        Err(CommitError::Conflict { .. }) => Ok(Outcome::Busy),
        Err(error) => Err(error),
    }
}

async fn rewrap_entries(store: &Store, newest: Term) -> Result<(), CommitError> {
    let old = entries_not_under(&store.readers, newest).await.map_err(|error| broken(&error))?;
    let job = |reply| Job::Reseal(old, reply);
    store.ask(job).await
}

/// Issued certificates, page by page; says whether any changed under our hands.
async fn rewrap_issued(store: &Store, newest: Term) -> Result<bool, CommitError> {
    let mut busy = false;
    let mut after = EntryId(Uuid::nil());
    loop {
        let mut connection = store.readers.acquire().await.map_err(|error| broken(&error))?;
        let rows = sqlite::issued_entries(&mut connection, after, PAGE).await.map_err(|error| broken(&error))?;
        drop(connection);
        let Some(last) = rows.last() else { return Ok(busy) };
        after = last.id;
        let old = rows.iter().filter(|row| row.sealed.term().is_ok_and(|term| term != newest));
        let changes = old.filter_map(|row| match open_entry(store.keyring(), row) {
            Some(Entry::Issued(certificate)) => {
                Some(Change::UpdateIssued { certificate: Box::new(certificate), version: row.version })
            }
            _ => None,
        });
        for change in changes {
            match store.commit(Commit { changes: vec![change], ..Commit::default() }).await {
                Ok(_) => {}
                Err(CommitError::Stale { .. }) => busy = true,
                Err(error) => return Err(error),
            }
        }
    }
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

//! Making a backup of a running store.

use std::io::Write as _;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file::{Frame, Head, Writer};
use crate::{
    admin::{AdminError, DataSink, Progress},
    age_file::Lock,
    app::App,
    audit::{Action, Actor, Details, Event, Outcome},
    store::{Commit, CopyTrailer, Snapshot},
};

/// What a backup holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupSummary {
    /// The store's epoch and newest commit in it.
    pub epoch: u64,
    /// The newest commit.
    pub commit: u64,
    /// Managed objects.
    pub objects: u64,
    /// Directory entries.
    pub entries: u64,
    /// Segments of the audit record.
    pub segments: u64,
    /// Rows that did not open and are not in it.
    pub lost: u64,
    /// Audit segments that were not intact already.
    pub broken_links: u64,
    /// SHA-256 of the file, hexadecimal: what `restore --sha256` takes.
    pub sha256: String,
}

/// Writes a backup, encrypted, to `out`. Memory: a page of rows and some chunks of the file. The event is committed before the
/// snapshot is taken, so that each backup tells of itself.
///
/// # Errors
/// Recipients that are none, an altered database, whoever reads `out` being gone.
pub async fn make(app: &App, actor: &Actor, lock: Lock, out: DataSink) -> Result<BackupSummary, AdminError> {
    let label = lock.label();
    let encryptor = tokio::task::spawn_blocking(move || lock.encryptor()).await.map_err(AdminError::failed)?;
    let encryptor = encryptor.map_err(|error| AdminError::usage(error.to_string()))?;
    let event = Event {
        at_ms: app.now_ms(),
        actor: actor.clone(),
        source: None,
        organisation: None,
        action: Action::BackupMade,
        object: None,
        outcome: Outcome::Done,
        details: Details::Transfer {
            format: "backup".into(),
            count: app.store.object_count() as u64,
            recipients: label,
        },
    };
    app.store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    let snapshot = app.store.snapshot().await.map_err(AdminError::failed)?;
    let head =
        Head { made_by: env!("CARGO_PKG_VERSION").into(), made_ms: app.now_ms(), store: snapshot.header().clone() };
    let settings = std::fs::read(app.dir.config()).map_err(AdminError::failed)?;
    let runtime = tokio::runtime::Handle::current();
    let written = tokio::task::spawn_blocking(move || write(&runtime, encryptor, &head, &settings, snapshot, out));
    written.await.map_err(AdminError::failed)?
}

fn write(
    runtime: &tokio::runtime::Handle,
    encryptor: age::Encryptor,
    head: &Head,
    settings: &[u8],
    mut snapshot: Snapshot,
    out: DataSink,
) -> Result<BackupSummary, AdminError> {
    let progress = out.progress();
    let total: u64 = head.store.totals.iter().sum();
    let mut file = Writer::begin(encryptor.wrap_output(out)?)?;
    file.put(&Frame::Head(head.clone()))?;
    file.put(&Frame::RootKey(Zeroizing::new(snapshot.expose_root().expose().to_vec())))?;
    for term in snapshot.terms() {
        file.put(&Frame::Term(term.clone()))?;
    }
    file.put(&Frame::Settings(settings.to_vec()))?;
    let mut done = 0;
    loop {
        let records = runtime.block_on(snapshot.next()).map_err(AdminError::failed)?;
        if records.is_empty() {
            break;
        }
        done += records.len() as u64;
        for record in records {
            file.put(&Frame::Row(record))?;
        }
        progress.tell(Progress { done, total });
    }
    let trailer = snapshot.trailer().clone();
    file.put(&Frame::End(trailer.clone()))?;
    let mut out = file.into_inner().finish()?;
    out.flush()?;
    Ok(summary(head, &trailer, out.sha256()))
}

fn summary(head: &Head, trailer: &CopyTrailer, sha256: String) -> BackupSummary {
    let [objects, entries, segments] = trailer.counts;
    BackupSummary {
        epoch: head.store.epoch,
        commit: head.store.commit,
        objects,
        entries,
        segments,
        lost: trailer.lost,
        broken_links: trailer.broken_links,
        sha256,
    }
}

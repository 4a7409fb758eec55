//! Restoring: a backup becomes a new data directory, or nothing.
//!
//! Everything is written below a name of its own beside the target and renamed at the end. Whatever stops it before leaves that
//! folder, sealed like any other, to be removed; the next attempt does so.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::file::{Frame, FrameError, Head, Reader};
use crate::{
    admin::NewSealSlot,
    age_file::{AgeError, Opener},
    audit::{Action, Actor, Details, Event, Outcome},
    data_dir::{DataDir, DataDirError, make_dir, write_secret},
    seal::{RootKey, Seal, SealError, SealedTerm},
    store::{Commit, CommitError, CopyError, CopyTrailer, Known, OpenError, ReadError, Restoring, Store, StoreOptions},
};

/// What is to be restored, and where.
pub struct RestoreOrder<'a> {
    /// The backup.
    pub from: &'a Path,
    /// What opens it.
    pub opener: Opener,
    /// The data directory to make; it must not exist.
    pub target: &'a Path,
    /// What opens the new seal.
    pub slot: NewSealSlot,
    /// SHA-256 that the file must have.
    pub sha256: Option<[u8; 32]>,
    /// The anchor file of the data directory that was lost.
    pub anchor: Option<&'a Path>,
    /// The newest commit that is known to have been made.
    pub not_older_than: Option<u64>,
    /// Take an older state than is known.
    pub accept_older: bool,
    /// Who restores.
    pub actor: Actor,
    /// Told of rows as they are written: so many, of so many.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

/// What was restored.
#[derive(Debug, Clone, Serialize)]
pub struct Restored {
    /// The store's id.
    pub store: String,
    /// The newest commit in the backup.
    pub commit: u64,
    /// When it was made, milliseconds since 1970.
    pub made_ms: i64,
    /// The new epoch.
    pub epoch: u64,
    /// Objects, entries, audit segments.
    pub counts: [u64; 3],
    /// Rows that did not open when the backup was made.
    pub lost: u64,
    /// Audit segments that were not intact when the backup was made.
    pub broken_links: u64,
    /// Keys that were being made, destroyed or moved in devices when the backup was made: these actions are not gone on with.
    pub unfinished: u64,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something.
    #[error("{} exists: a backup is restored to a new directory", .0.display())]
    Exists(PathBuf),
    /// The age file.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// Another file.
    #[error("{} has the SHA-256 {found}, not the one that was given", .path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
    },
    /// The content.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The anchor given is not this store's.
    #[error("{} is not an anchor of store {store}: the backup is of another store, or made by somebody else", .path.display())]
    OtherStore {
        /// The anchor.
        path: PathBuf,
        /// The backup's store.
        store: String,
    },
    /// The backup is older than what is known.
    #[error(
        "the backup ends at commit {found}, commit {known} is known to have been made\n\
         hint: restore a newer backup, or accept the loss with --accept-older"
    )]
    Older {
        /// The backup's.
        found: u64,
        /// Known.
        known: u64,
    },
    /// The new seal.
    #[error("the new seal cannot be made")]
    Seal(#[from] SealError),
    /// The new directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The restored store does not open.
    #[error("the restored store does not open")]
    Open(#[from] OpenError),
    /// The event of the restore.
    #[error("the restored store takes no commit")]
    Commit(#[from] CommitError),
    /// The audit record of the restored store.
    #[error("the audit record of the restored store cannot be read")]
    Audit(#[source] ReadError),
    /// The restored audit record has more wrong with it than the backup says.
    #[error("the audit record of the restored store is not intact: {0}")]
    NotIntact(String),
    /// The file system.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Restores.
///
/// # Errors
/// What is wrong; the target does not exist then.
pub async fn restore(order: RestoreOrder<'_>) -> Result<Restored, RestoreError> {
    let target = order.target.to_owned();
    if target.symlink_metadata().is_ok() {
        return Err(RestoreError::Exists(target));
    }
    check_sha256(order.from, order.sha256)?;
    let part = beside(&target);
    remove_unfinished(&part)?;
    make_dir(&part)?;
    let restored = fill(order, &part).await;
    let placed = restored.and_then(|restored| put_in_place(&part, &target).map(|()| restored));
    if placed.is_err() {
        // What is left is sealed; the next attempt removes it too.
        let _ = fs::remove_dir_all(&part);
    }
    placed
}

async fn fill(order: RestoreOrder<'_>, part: &Path) -> Result<Restored, RestoreError> {
    let RestoreOrder { from, opener, slot, anchor, not_older_than, accept_older, actor, progress, .. } = order;
    let file = File::open(from).map_err(io_of(from))?;
    let mut reader = Reader::begin(opener.open(BufReader::with_capacity(1 << 16, file))?)?;
    let (head, copy_root, copy_terms, settings, first) = beginning(&mut reader)?;
    let store = head.store.store;
    let dir = part.to_owned();
    // Argon2id and tokens block, and a token's calls may not be made on the runtime.
    let made = tokio::task::spawn_blocking(move || slot.make(|new| Seal::create_for(&dir, store, new))).await;
    let (seal, root) = made.map_err(|error| io_of(part)(io::Error::other(error)))??.value;
    let root = Arc::new(root);
    let mut restoring = Restoring::begin(part, &head.store, &copy_root, &copy_terms, &root).await?;
    let known = known(&restoring, &head, anchor, not_older_than, accept_older)?;
    let total: u64 = head.store.totals.iter().sum();
    let mut done = 0;
    let mut frame = first;
    let trailer = loop {
        match frame {
            Frame::Row(record) => restoring.put(record).await?,
            Frame::End(trailer) => break trailer,
            _ => return Err(FrameError::Damaged("its parts are in the wrong order").into()),
        }
        done += 1;
        if done % 1000 == 0 {
            progress(done, total);
        }
        frame = reader.next()?;
    };
    let unfinished = restoring.unfinished();
    let epoch = restoring.finish(&trailer, known).await?;
    verify(part, &seal, root, &trailer, actor).await?;
    progress(total, total);
    // Last: it says that the directory is complete.
    write_secret(&part.join("keygate.toml"), &settings)?;
    DataDir::open(part)?;
    Ok(Restored {
        store: store.to_string(),
        commit: head.store.commit,
        made_ms: head.made_ms,
        epoch,
        counts: trailer.counts,
        lost: trailer.lost,
        broken_links: trailer.broken_links,
        unfinished,
    })
}

type Beginning = (Head, RootKey, Vec<SealedTerm>, Vec<u8>, Frame);

/// Everything in front of the rows, and the first frame after it.
fn beginning(reader: &mut Reader<impl Read>) -> Result<Beginning, RestoreError> {
    let missing = |what| RestoreError::from(FrameError::Damaged(what));
    let Frame::Head(head) = reader.next()? else { return Err(missing("it has no head")) };
    let (mut root, mut terms, mut settings) = (None, Vec::new(), None);
    loop {
        match reader.next()? {
            Frame::RootKey(secret) => {
                root = Some(RootKey::from_backup(&secret).map_err(|_| missing("its key is not of 32 octets"))?);
            }
            // Two are written.
            Frame::Term(term) if terms.len() < 16 => terms.push(term),
            Frame::Settings(text) => settings = Some(text),
            frame @ (Frame::Row(_) | Frame::End(_)) => {
                let root = root.ok_or_else(|| missing("it has no key"))?;
                let settings = settings.ok_or_else(|| missing("it has no settings"))?;
                return Ok((head, root, terms, settings, frame));
            }
            Frame::Head(_) | Frame::Term(_) => return Err(missing("its parts are in the wrong order")),
        }
    }
}

/// What is known of the store beside the backup; refuses a backup that is older.
fn known(
    restoring: &Restoring,
    head: &Head,
    anchor: Option<&Path>,
    not_older_than: Option<u64>,
    accept_older: bool,
) -> Result<Option<Known>, RestoreError> {
    let found = (head.store.epoch, head.store.commit);
    let anchored =
        match anchor {
            None => None,
            Some(path) => Some(restoring.anchored(path).ok_or_else(|| RestoreError::OtherStore {
                path: path.to_owned(),
                store: head.store.store.to_string(),
            })?),
        };
    let told = not_older_than.map(|commit| Known { epoch: head.store.epoch, commit });
    for known in anchored.iter().chain(&told) {
        if found < (known.epoch, known.commit) && !accept_older {
            return Err(RestoreError::Older { found: found.1, known: known.commit });
        }
    }
    // A commit that somebody remembers may not be the newest one: only the anchor knows that.
    Ok(anchored)
}

/// Opens the restored store as a start does, notes the restore in it, and walks its audit record.
async fn verify(
    part: &Path,
    seal: &Seal,
    root: Arc<RootKey>,
    trailer: &CopyTrailer,
    actor: Actor,
) -> Result<(), RestoreError> {
    let store = Store::open(part, seal.store_id(), root, StoreOptions::default()).await?;
    let details = Details::Transfer { format: "backup".into(), count: trailer.counts[0], recipients: Vec::new() };
    let event = Event {
        at_ms: crate::operation::now_ms(),
        actor,
        source: None,
        organisation: None,
        action: Action::StoreRestored,
        object: None,
        outcome: Outcome::Done,
        details,
    };
    store.commit(Commit { events: vec![event], ..Commit::default() }).await?;
    let report = store.verify_audit().await.map_err(RestoreError::Audit)?;
    let damaged = store.damage().first().cloned();
    store.close().await?;
    if let Some(row) = damaged {
        return Err(CopyError::Record(row).into());
    }
    if let (Some(finding), 0) = (report.findings.first(), trailer.broken_links) {
        return Err(RestoreError::NotIntact(finding.to_string()));
    }
    Ok(())
}

fn check_sha256(path: &Path, expected: Option<[u8; 32]>) -> Result<(), RestoreError> {
    let Some(expected) = expected else { return Ok(()) };
    let mut file = File::open(path).map_err(io_of(path))?;
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io_of(path))? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    let found = digest.finish();
    if found.as_ref() == expected {
        return Ok(());
    }
    Err(RestoreError::OtherFile { path: path.to_owned(), found: hex::encode(found) })
}

/// `TARGET.restoring`: on the same file system, so that it can be renamed.
fn beside(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".restoring");
    name.into()
}

fn remove_unfinished(part: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_of(part)(error)),
        _ => Ok(()),
    }
}

fn put_in_place(part: &Path, target: &Path) -> Result<(), RestoreError> {
    // Fails when somebody has made the target meanwhile, unless it is an empty directory.
    fs::rename(part, target).map_err(io_of(target))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(io_of(parent))
}

fn io_of(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<'_> {
    move |source| RestoreError::Io { path: path.to_owned(), source }
}

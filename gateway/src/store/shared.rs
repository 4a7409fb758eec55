//! What readers and the writer share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::issued::{IssuedCertificate, IssuedIndex, Serial};
use super::keystore_counts::KeystoreCounts;
use super::plan::{Accepted, Entries};
use super::quota::{ObjectCounts, QuotaRefusals};
use super::reads::Reads;
use super::{Directory, Entry, Intent, ObjectId, ObjectRow, Rehoming};
use crate::seal::Keyring;

pub(crate) struct Shared {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) reads: Reads,
    /// Taken for writing around COMMIT and the change of `versions`; for reading to tell a race from a damaged row.
    pub(crate) publishing: tokio::sync::RwLock<()>,
    versions: RwLock<HashMap<ObjectId, u64>>,
    cache: Cache<ObjectId, Arc<ObjectRow>, ByBytes>,
    /// Certificates issued with provisioning keys.
    pub(crate) issued: RwLock<IssuedIndex>,
    /// Objects of every owner, where a quota is set.
    pub(crate) counts: Option<ObjectCounts>,
    pub(crate) quota_refusals: QuotaRefusals,
    /// Objects of every keystore.
    pub(crate) keystore_counts: KeystoreCounts,
    directory: ArcSwap<Directory>,
    intents: ArcSwap<Vec<Intent>>,
    rehomings: ArcSwap<Vec<Rehoming>>,
    /// Requests that are executed and wait for no commit yet.
    underway: AtomicUsize,
    /// Commit sequence of the directory's newest change.
    pub(crate) directory_changed: watch::Sender<u64>,
}

/// A request that is being executed. Drop it before waiting for a commit: the writer may hold one back a moment for those
/// that are still underway.
pub struct Underway(Arc<Shared>);

impl Underway {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.underway.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.underway.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<ObjectId, Arc<ObjectRow>> for ByBytes {
    fn weight(&self, _: &ObjectId, row: &Arc<ObjectRow>) -> u64 {
        row.weight()
    }
}

impl Shared {
    pub(crate) fn new(
        keyring: Arc<Keyring>,
        versions: HashMap<ObjectId, u64>,
        issued: IssuedIndex,
        counts: Option<ObjectCounts>,
        cache_bytes: u64,
    ) -> Self {
        Self {
            keyring,
            reads: Reads::default(),
            publishing: tokio::sync::RwLock::new(()),
            versions: RwLock::new(versions),
            cache: Cache::with_weighter((cache_bytes / 1024) as usize, cache_bytes, ByBytes),
            issued: RwLock::new(issued),
            counts,
            quota_refusals: QuotaRefusals::default(),
            keystore_counts: KeystoreCounts::default(),
            directory: ArcSwap::default(),
            intents: ArcSwap::default(),
            rehomings: ArcSwap::default(),
            underway: AtomicUsize::new(0),
            directory_changed: watch::Sender::new(0),
        }
    }

    /// How many requests are executed and wait for no commit yet.
    pub(crate) fn underway(&self) -> usize {
        self.underway.load(Ordering::Relaxed)
    }

    /// The newest version of an object, `None` when there is no such object.
    pub(crate) fn version(&self, id: ObjectId) -> Option<u64> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    pub(crate) fn object_count(&self) -> usize {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The row from the cache, if it is the newest version.
    pub(crate) fn cached(&self, id: ObjectId, version: u64) -> Option<Arc<ObjectRow>> {
        self.cache.get(&id).filter(|row| row.version.0 == version)
    }

    pub(crate) fn remember(&self, row: &Arc<ObjectRow>) {
        self.cache.insert(row.id, row.clone());
    }

    pub(crate) fn flush_cache(&self) {
        self.cache.clear();
    }

    pub(crate) fn publish_objects(&self, commit: u64, objects: Vec<Accepted>) {
        if objects.is_empty() {
            return;
        }
        self.keystore_counts.publish(commit, &objects);
        if let Some(counts) = &self.counts {
            counts.publish(&objects);
        }
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        for object in objects {
            match object.after {
                Some(row) => {
                    versions.insert(object.id, row.version.0);
                    self.cache.insert(object.id, row);
                }
                None => {
                    versions.remove(&object.id);
                    self.cache.remove(&object.id);
                }
            }
        }
    }

    pub(crate) fn publish_issued(&self, commit: u64, changed: Vec<(Serial, Option<Box<IssuedCertificate>>)>) {
        if changed.is_empty() {
            return;
        }
        let mut index = self.issued.write().unwrap_or_else(PoisonError::into_inner);
        for (serial, certificate) in changed {
            match certificate {
                Some(certificate) => index.put(&certificate, commit),
                None => index.remove(&serial),
            }
        }
    }

    pub(crate) fn publish_entries(&self, commit: u64, entries: &Entries, directory: bool) {
        let all = || entries.rows.values().map(|(version, entry)| (*version, entry));
        let intents = all().filter_map(|(_, entry)| match entry {
            Entry::Intent(intent) => Some(intent.clone()),
            _ => None,
        });
        self.intents.store(Arc::new(intents.collect()));
        let rehomings = all().filter_map(|(_, entry)| match entry {
            Entry::Rehoming(rehoming) => Some(rehoming.clone()),
            _ => None,
        });
        self.rehomings.store(Arc::new(rehomings.collect()));
        if directory {
            self.directory.store(Arc::new(Directory::collect(commit, all())));
            self.directory_changed.send_replace(commit);
        }
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    pub(crate) fn rehomings(&self) -> Arc<Vec<Rehoming>> {
        self.rehomings.load_full()
    }

    pub(crate) fn intents(&self) -> Arc<Vec<Intent>> {
        self.intents.load_full()
    }
}

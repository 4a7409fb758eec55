//! The current [`Directory`], and what a change of it sets off.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::directory::{Directory, DirectoryContent};

/// Called after each swap, with the new snapshot: flush TLS tickets, close connections.
pub trait OnChange: Send + Sync {
    /// The directory has changed.
    fn directory_changed(&self, directory: &Directory);
}

/// Hands out the current snapshot. Reading takes no lock.
pub struct DirectoryHandle {
    current: ArcSwap<Directory>,
    version: AtomicU64,
    listeners: Mutex<Vec<Arc<dyn OnChange>>>,
}

impl std::fmt::Debug for DirectoryHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectoryHandle").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl DirectoryHandle {
    /// Starts with a first snapshot.
    pub fn new(content: DirectoryContent) -> Self {
        Self {
            current: ArcSwap::from_pointee(Directory::new(1, content)),
            version: AtomicU64::new(1),
            listeners: Mutex::new(Vec::new()),
        }
    }

    /// Adds one that is told of each change.
    pub fn subscribe(&self, listener: Arc<dyn OnChange>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// The current snapshot.
    pub fn load(&self) -> Arc<Directory> {
        self.current.load_full()
    }

    /// The current snapshot's version: one atomic read, made for each request.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Puts a new snapshot in force and sets off its consequences before it returns.
    ///
    /// `content` reads what is to be in force. It is called with all other changes held back, so that of two changes at
    /// once the older one cannot win.
    pub fn replace_with(&self, content: impl FnOnce() -> DirectoryContent) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version() + 1;
        let directory = Arc::new(Directory::new(version, content()));
        self.current.store(directory.clone());
        self.version.store(version, Ordering::Release);
        for listener in listeners.iter() {
            listener.directory_changed(&directory);
        }
    }
}

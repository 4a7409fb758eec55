//! A page of memory that a worker shares with the gateway: which request it has begun, and which it has done; and from the
//! gateway, that keys were destroyed, so that no worker goes on using one that it holds ready.
//!
//! Answers are sent several at a time, so a worker that hangs or dies leaves answers unsent; the page tells exactly which
//! request was under way. It is a file without a name, handed over as a descriptor.

use crate::error::{Class, KsError, Result};
use crate::keystore::Locked;
use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// The mapped page.
pub(super) struct Page(NonNull<c_void>);

/// What is in it.
#[repr(C)]
struct Progress {
    /// Number of the request begun last; requests are numbered from 1.
    begun: AtomicU64,
    /// Number of the request done last.
    done: AtomicU64,
    /// Searches for keys, and microseconds of one, the newest ones counting most.
    finds: AtomicU64,
    find_us: AtomicU64,
    /// A [`Locked`], or 0 before that is known.
    locked: AtomicU64,
    /// How often the gateway has destroyed a key on the token, by whichever worker.
    destroyed: AtomicU64,
}

const LEN: usize = 4096;

// SAFETY: the page holds atomics alone and stays mapped as long as this value.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A new page, and the descriptor to hand to the worker.
    pub(super) fn create() -> Result<(Self, OwnedFd)> {
        let file = memfd_create("keygate-pkcs11-progress", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        let file = file.map_err(|e| no_page(&e))?;
        ftruncate(&file, LEN as u64).map_err(|e| no_page(&e))?;
        // The other side cannot cut the file off under the mapping, which would be a SIGBUS here.
        let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(|e| no_page(&e))?;
        Ok((Self::map(&file)?, file))
    }

    /// The page behind a descriptor that was handed over.
    pub(super) fn map(file: impl AsFd) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choosing; the file is of this length, sealed.
        let page = unsafe {
            mmap(ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)
        };
        let page = page.map_err(|e| no_page(&e))?;
        NonNull::new(page).map(Self).ok_or_else(|| no_page(&rustix::io::Errno::NOMEM))
    }

    fn progress(&self) -> &Progress {
        // SAFETY: mapped, aligned to a page, zeroed by the kernel at first, and all fields take any value.
        unsafe { self.0.cast::<Progress>().as_ref() }
    }

    /// The worker begins a request.
    pub(super) fn begin(&self, seq: u64) {
        self.progress().begun.store(seq, Ordering::Release);
    }

    /// The worker has its result.
    pub(super) fn done(&self, seq: u64) {
        self.progress().done.store(seq, Ordering::Release);
    }

    /// The worker tells of its searches.
    pub(super) fn found(&self, finds: u64, find_us: u64) {
        self.progress().finds.store(finds, Ordering::Relaxed);
        self.progress().find_us.store(find_us, Ordering::Relaxed);
    }

    /// Number of searches, and microseconds of one.
    pub(super) fn finds(&self) -> (u64, u64) {
        (self.progress().finds.load(Ordering::Relaxed), self.progress().find_us.load(Ordering::Relaxed))
    }

    /// The worker tells how much of its memory is locked.
    pub(super) fn lock(&self, locked: Locked) {
        let code = match locked {
            Locked::Nothing => 1,
            Locked::AtLogin => 2,
            Locked::Everything => 3,
        };
        self.progress().locked.store(code, Ordering::Relaxed);
    }

    /// As the worker has told.
    pub(super) fn locked(&self) -> Option<Locked> {
        match self.progress().locked.load(Ordering::Relaxed) {
            1 => Some(Locked::Nothing),
            2 => Some(Locked::AtLogin),
            3 => Some(Locked::Everything),
            _ => None,
        }
    }

    /// The last request begun, and whether it is still under way.
    pub(super) fn begun(&self) -> (u64, bool) {
        let done = self.progress().done.load(Ordering::Acquire);
        let begun = self.progress().begun.load(Ordering::Acquire);
        (begun, begun != done)
    }
}

impl Page {
    /// A key was destroyed. Called before anybody is told that it is gone.
    pub(super) fn note_destroyed(&self) {
        self.progress().destroyed.fetch_add(1, Ordering::AcqRel);
    }

    /// How often a key was destroyed.
    pub(super) fn destroyed(&self) -> u64 {
        self.progress().destroyed.load(Ordering::Acquire)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; nobody holds a reference any more. A failure leaves a page behind, no more.
        let _ = unsafe { munmap(self.0.as_ptr(), LEN) };
    }
}

fn no_page(error: &rustix::io::Errno) -> KsError {
    KsError::new(Class::RetryOther, format!("no memory to share with a token's worker: {error}"))
}

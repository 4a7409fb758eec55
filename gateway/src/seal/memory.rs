//! Memory that neither swap nor a core dump shows, and the process-wide switches that belong to it.
//!
//! The only module of this crate with `unsafe`: each block maps, fills or unmaps one private page.

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroize;

/// How well a [`SecretPage`] is kept from prying eyes; shown by `seal status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageProtection {
    /// `memfd_secret`: not even the kernel maps it, another process with ptrace rights cannot read it.
    MemfdSecret,
    /// Locked in RAM and left out of core dumps.
    Locked,
    /// Left out of core dumps, but the system refused to lock it: it can reach swap.
    NotLocked,
}

/// One page of secret memory holding up to [`SecretPage::LEN`] bytes; wiped before it is given back.
pub struct SecretPage {
    start: *mut u8,
    protection: PageProtection,
}

// SAFETY: the page is owned by this value alone and only read through `&self` after construction.
unsafe impl Send for SecretPage {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for SecretPage {}

impl SecretPage {
    /// Usable bytes. One page on every platform we run on is at least this long.
    pub const LEN: usize = 4096;

    /// A zeroed page filled by `fill`.
    pub fn new(fill: impl FnOnce(&mut [u8])) -> std::io::Result<Self> {
        let (start, protection) = match map_secret() {
            Some(start) => (start, PageProtection::MemfdSecret),
            None => map_locked()?,
        };
        let page = Self { start, protection };
        // SAFETY: `start` is a fresh private mapping of LEN bytes, readable and writable, aliased by nothing else.
        fill(unsafe { std::slice::from_raw_parts_mut(start, Self::LEN) });
        Ok(page)
    }

    /// The bytes of the page.
    pub fn expose(&self) -> &[u8] {
        // SAFETY: the mapping lives as long as `self` and nobody writes to it after `new`.
        unsafe { std::slice::from_raw_parts(self.start, Self::LEN) }
    }

    /// What the kernel granted.
    pub fn protection(&self) -> PageProtection {
        self.protection
    }
}

impl Drop for SecretPage {
    fn drop(&mut self) {
        // SAFETY: we own the mapping and nobody can hold a reference to it any more.
        unsafe {
            std::slice::from_raw_parts_mut(self.start, Self::LEN).zeroize();
            // A failure leaves one wiped page mapped, nothing worse.
            let _ = munmap(self.start.cast(), Self::LEN);
        }
    }
}

fn map_secret() -> Option<*mut u8> {
    // SAFETY: memfd_secret takes one flag word and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just returned this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::fs::ftruncate(&fd, SecretPage::LEN as u64).ok()?;
    // SAFETY: a new mapping at an address the kernel chooses replaces nothing.
    let start = unsafe {
        mmap(std::ptr::null_mut(), SecretPage::LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)
    };
    start.ok().map(|start| start.cast())
}

fn map_locked() -> std::io::Result<(*mut u8, PageProtection)> {
    // SAFETY: a new anonymous mapping at an address the kernel chooses replaces nothing.
    let start = unsafe {
        mmap_anonymous(std::ptr::null_mut(), SecretPage::LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
    };
    // SAFETY: both calls name exactly the mapping made above; neither changes its contents.
    let locked = unsafe {
        // Advice only: a kernel without it leaves the page dumpable, and core dumps are off for the process anyway.
        let _ = madvise(start, SecretPage::LEN, Advice::LinuxDontDump);
        let _ = madvise(start, SecretPage::LEN, Advice::LinuxWipeOnFork);
        mlock(start, SecretPage::LEN).is_ok()
    };
    let protection = if locked { PageProtection::Locked } else { PageProtection::NotLocked };
    Ok((start.cast(), protection))
}

/// Which of the process-wide protections took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardenReport {
    /// `PR_SET_DUMPABLE` is off: no core dump, no ptrace by the same user.
    pub not_dumpable: bool,
    /// `RLIMIT_CORE` is zero.
    pub no_core: bool,
}

/// Turns core dumps off for this process. Call once, before the first secret is read.
pub fn harden_process() -> HardenReport {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    HardenReport {
        not_dumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
        no_core: setrlimit(Resource::Core, none).is_ok(),
    }
}

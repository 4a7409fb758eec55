//! Free space: writes are refused early, so that reads can go on being audited; a reserve file carries them a while longer.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How often the kernel is asked.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Watches the file system of the data directory.
pub(crate) struct Disk {
    dir: PathBuf,
    percent: u8,
    reserve_bytes: u64,
    checked: Option<Instant>,
    low: bool,
}

impl Disk {
    pub(crate) fn new(dir: &Path, percent: u8, reserve_bytes: u64) -> Self {
        Self { dir: dir.to_owned(), percent, reserve_bytes, checked: None, low: false }
    }

    pub(crate) fn percent(&self) -> u8 {
        self.percent
    }

    /// Whether free space is below the limit. When it is not, the reserve is (re)made.
    pub(crate) fn is_low(&mut self) -> bool {
        if self.checked.is_some_and(|at| at.elapsed() < CHECK_EVERY) {
            return self.low;
        }
        self.checked = Some(Instant::now());
        let was = self.low;
        // A file system that cannot be asked is taken as having space; a full one still says so at the next write.
        self.low = statvfs(&self.dir).is_ok_and(|fs| fs.f_bavail * 100 < fs.f_blocks * u64::from(self.percent));
        match (was, self.low) {
            (false, true) => tracing::error!(percent = self.percent, "free disk space is low: writes are refused"),
            (true, false) => tracing::info!("free disk space is back: writes are accepted"),
            _ => {}
        }
        if !self.low {
            self.make_reserve();
        }
        self.low
    }

    /// Asks the kernel again at the next check.
    pub(crate) fn recheck(&mut self) {
        self.checked = None;
    }

    /// Gives the reserve back to the file system; false when it was spent already.
    pub(crate) fn release_reserve(&self) -> bool {
        std::fs::remove_file(self.reserve()).is_ok()
    }

    fn make_reserve(&self) {
        let path = self.reserve();
        let Ok(fs) = statvfs(&self.dir) else { return };
        // Never more than an eighth of what is free: a small disk is not filled by its own reserve.
        let bytes = self.reserve_bytes.min(fs.f_bavail * fs.f_frsize / 8);
        if path.exists() || bytes == 0 {
            return;
        }
        let make = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join("audit"))?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
            std::io::Result::Ok(())
        };
        if let Err(error) = make() {
            tracing::warn!(error = &error as &dyn std::error::Error, "no audit reserve could be made");
        }
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("audit").join("reserve")
    }
}

//! The data directory D: where everything is, who may read it, and that only one process has it open.
//!
//! ```text
//! D/keygate.toml        settings; written last by init        D/lock            exclusive lock
//! D/seal.json           seal slots                            D/run/admin.sock  admin commands
//! D/store.db            the store (see store)                 D/run/listeners.json
//! D/anchor, D/audit/    rollback anchor, audit heads          D/admin/, D/clients/NAME/  credentials made by init
//! ```
//! D is 0700 and secrets are 0600. Wider rights are refused, not repaired: someone may have read them.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no initialised data directory.
    #[error("{} is not an initialised data directory\nhint: `keygate init --data-dir DIR` makes one", .0.display())]
    NotInitialised(PathBuf),
    /// Others may read what only the owner should.
    #[error("{} has mode {mode:04o}, others may use it\nhint: check who had access, then `chmod {}{}`", .path.display(), if *.is_dir { "700 " } else { "600 " }, .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// It belongs to another user.
    #[error("{} belongs to user {uid}, this process runs as user {own}", .path.display())]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Ours.
        own: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by another keygate process", .0.display())]
    InUse(PathBuf),
}

/// A data directory whose rights were checked.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// Exclusive use of a data directory; ends when dropped.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// Makes the directory where it is missing, with 0700.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        make_dir(path)?;
        Self::check(path)
    }

    /// Takes an initialised directory.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        if !path.join("keygate.toml").exists() {
            return Err(DataDirError::NotInitialised(path.to_owned()));
        }
        let dir = Self::check(path)?;
        for secret in ["keygate.toml", "seal.json", "seal.key", "store.db", "anchor", "admin/key.pem"] {
            let secret = dir.path.join(secret);
            if secret.exists() {
                check_rights(&secret)?;
            }
        }
        Ok(dir)
    }

    fn check(path: &Path) -> Result<Self, DataDirError> {
        // Absolute, so that it stays right whatever the working directory becomes.
        let path = path.canonicalize().map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
        check_rights(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings file.
    pub fn config(&self) -> PathBuf {
        self.path.join("keygate.toml")
    }

    /// Whether `init` has come to its end here.
    pub fn is_initialised(&self) -> bool {
        self.config().exists()
    }

    /// Where admin commands are taken while the server runs.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("run/admin.sock")
    }

    /// Where the bound addresses are written.
    pub fn listeners(&self) -> PathBuf {
        self.path.join("run/listeners.json")
    }

    /// Makes `D/run`.
    pub fn make_run(&self) -> Result<(), DataDirError> {
        make_dir(&self.path.join("run"))
    }

    /// Takes exclusive use. Fails at once if another process has it.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        let path = self.path.join("lock");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open().map_err(|source| DataDirError::Io { path: path.clone(), source })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(self.path.clone())),
            Err(errno) => Err(DataDirError::Io { path, source: errno.into() }),
        }
    }
}

/// Makes a directory of mode 0700, its parents too.
pub fn make_dir(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| DataDirError::Io { path: path.to_owned(), source })
}

/// Writes a file of mode 0600: whole or not at all, on disk when this returns.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<(), DataDirError> {
    replace_file(path, content).map_err(|source| DataDirError::Io { path: path.to_owned(), source })
}

/// Replaces a file by writing a new one beside it: 0600, synced, renamed, directory synced.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // One that a crash has left. What somebody else puts there now is neither followed nor written into.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Refuses a file or directory that others than its owner, who must be us, may use.
pub fn check_rights(path: &Path) -> Result<(), DataDirError> {
    let metadata = std::fs::metadata(path).map_err(|source| DataDirError::Io { path: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::TooOpen { path: path.to_owned(), mode, is_dir: metadata.is_dir() });
    }
    let (uid, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if uid != own && own != 0 {
        return Err(DataDirError::OtherOwner { path: path.to_owned(), uid, own });
    }
    Ok(())
}

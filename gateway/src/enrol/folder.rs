//! The folder of a client machine's credential: `key.pem`, `cert.pem` (leaf and intermediates), `ca.pem` (what verifies the
//! server), replaced together or not at all.
//!
//! A credential lies in a folder of its own, `DIR/credential-N`, written whole and synchronised before anything points to it. The
//! link `DIR/current` names it, and `DIR/key.pem`, `DIR/cert.pem` and `DIR/ca.pem` are links through `DIR/current`: replacing that
//! one link by a rename changes all three at once, so that a crash at any moment leaves a key with its own certificate. The
//! credential before is kept for one renewal, for readers that are between two files; a reader that must not mix two resolves
//! `DIR/current` once.
//!
//! A folder with plain files, as `keygate client add` writes it, is taken over without changing what a reader finds.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use keygate_pki::{Certificate, PrivateKey};
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::data_dir::{DataDirError, check_rights, make_dir, write_secret};

const CURRENT: &str = "current";
const PREFIX: &str = "credential-";
const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];
/// In a credential's folder: the server was verified by the system's roots, not by `ca.pem`.
const SYSTEM_TRUST: &str = "system-trust";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why a folder is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process works on it.
    #[error("another process is enrolling into {0}")]
    InUse(PathBuf),
    /// The folder or a file in it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Reading or writing.
    #[error("{path}")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Not a certificate or key.
    #[error("{path} cannot be read")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: keygate_pki::PkiError,
    },
    /// The key and the certificate are not of one another.
    #[error("{0}: cert.pem is not of key.pem\nhint: --force enrols anew")]
    Mismatch(PathBuf),
}

/// A credential as it lies in a folder.
pub struct Credential {
    /// The key.
    pub key: PrivateKey,
    /// Leaf first, then intermediates.
    pub chain: Vec<Certificate>,
    /// What verifies the server.
    pub roots: Vec<Certificate>,
    /// Whether the system's roots verify the server rather than `roots`.
    pub system_trust: bool,
}

impl Credential {
    /// The certificate. A credential has one.
    pub fn leaf(&self) -> Option<&Certificate> {
        self.chain.first()
    }
}

/// A folder that this process alone works on.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens, or makes, a folder of mode 0700.
    ///
    /// # Errors
    /// If others may read it, or another process works on it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        make_dir(path)?;
        check_rights(path)?;
        let lock = path.join(".lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(at(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse(path.to_owned())),
            Err(errno) => Err(at(&lock)(errno.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credential, if there is one.
    ///
    /// # Errors
    /// If it is there and cannot be read, or is not whole.
    pub fn load(&self) -> Result<Option<Credential>, FolderError> {
        let folder = if self.path.join(CURRENT).exists() { self.path.join(CURRENT) } else { self.path.clone() };
        let [ca, cert, key] = FILES.map(|file| folder.join(file));
        if !cert.exists() && !key.exists() {
            return Ok(None);
        }
        check_rights(&key)?;
        let content = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Content { path, source }
        };
        let key_pem = Zeroizing::new(read(&key)?);
        let key = PrivateKey::from_pem_or_der(&key_pem).map_err(content(&key))?;
        let chain = certificates(&read(&cert)?).map_err(content(&cert))?;
        let roots = if ca.exists() { certificates(&read(&ca)?).map_err(content(&ca))? } else { Vec::new() };
        let credential = Credential { key, chain, roots, system_trust: folder.join(SYSTEM_TRUST).exists() };
        let public = keygate_pki::Signer::public_key(&credential.key).spki_hash();
        if credential.leaf().is_none_or(|leaf| leaf.spki_hash() != public) {
            return Err(FolderError::Mismatch(self.path.clone()));
        }
        Ok(Some(credential))
    }

    /// Puts a credential in place of the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is then untouched.
    pub fn store(&self, credential: &Credential) -> Result<(), FolderError> {
        self.take_over_plain_files()?;
        let before = fs::read_link(self.path.join(CURRENT)).ok();
        let fresh = self.write_fresh(credential)?;
        self.point(&self.path.join(CURRENT), Path::new(&fresh))?;
        self.make_links()?;
        self.remove_all_but(&fresh, before.as_deref());
        Ok(())
    }

    fn write_fresh(&self, credential: &Credential) -> Result<String, FolderError> {
        let pem = |list: &[Certificate]| list.iter().map(Certificate::to_pem).collect::<Result<String, _>>();
        let content = |source| FolderError::Content { path: self.path.clone(), source };
        let (chain, roots) = (pem(&credential.chain).map_err(content)?, pem(&credential.roots).map_err(content)?);
        let key = credential.key.expose_pem().map_err(content)?;
        let name = format!("{PREFIX}{}", self.next_number()?);
        let folder = self.path.join(&name);
        make_dir(&folder)?;
        write_secret(&folder.join("key.pem"), key.as_bytes())?;
        write_secret(&folder.join("cert.pem"), chain.as_bytes())?;
        write_secret(&folder.join("ca.pem"), roots.as_bytes())?;
        if credential.system_trust {
            write_secret(&folder.join(SYSTEM_TRUST), b"")?;
        }
        self.synchronise()?;
        Ok(name)
    }

    /// What a crash left behind has a number too, and is not written into.
    fn next_number(&self) -> Result<u64, FolderError> {
        let mut last = 0;
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let name = entry.map_err(at(&self.path))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last + 1)
    }

    /// Plain files become links to copies of themselves, one by one: a reader finds the same content at every moment.
    fn take_over_plain_files(&self) -> Result<(), FolderError> {
        if self.path.join(CURRENT).exists() || !self.path.join("key.pem").is_file() {
            return Ok(());
        }
        let name = format!("{PREFIX}{}", self.next_number()?);
        let folder = self.path.join(&name);
        make_dir(&folder)?;
        for file in FILES.iter().filter(|file| self.path.join(file).is_file()) {
            let octets = Zeroizing::new(read(&self.path.join(file))?);
            write_secret(&folder.join(file), &octets)?;
        }
        self.synchronise()?;
        self.point(&self.path.join(CURRENT), Path::new(&name))?;
        self.make_links()
    }

    fn make_links(&self) -> Result<(), FolderError> {
        for file in FILES {
            let (link, target) = (self.path.join(file), Path::new(CURRENT).join(file));
            if fs::read_link(&link).ok().as_deref() != Some(&target) {
                self.point(&link, &target)?;
            }
        }
        Ok(())
    }

    /// Makes or replaces a link, in one step, on disk when this returns.
    fn point(&self, link: &Path, target: &Path) -> Result<(), FolderError> {
        let fresh = self.path.join(".link");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&fresh)(error)),
            _ => {}
        }
        symlink(target, &fresh).map_err(at(&fresh))?;
        fs::rename(&fresh, link).map_err(at(link))?;
        self.synchronise()
    }

    fn synchronise(&self) -> Result<(), FolderError> {
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(at(&self.path))
    }

    /// What cannot be removed does no harm; the next renewal tries again.
    fn remove_all_but(&self, fresh: &str, before: Option<&Path>) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_old = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name != fresh);
            if is_old && before != Some(Path::new(&name)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The certificates of a PEM file, or the one of a DER file.
pub(crate) fn certificates(octets: &[u8]) -> Result<Vec<Certificate>, keygate_pki::PkiError> {
    const END: &str = "-----END CERTIFICATE-----";
    let Some(text) = std::str::from_utf8(octets).ok().filter(|text| text.contains(END)) else {
        return Certificate::from_pem_or_der(octets).map(|certificate| vec![certificate]);
    };
    text.split_inclusive(END).filter(|block| block.contains(END)).map(|block| Certificate::from_pem_or_der(block.as_bytes())).collect()
}

/// Reads a file of bounded size.
fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    let length = fs::metadata(path).map_err(at(path))?.len();
    if length > FILE_BYTES_MAX {
        return Err(at(path)(io::Error::other(format!("it has {length} octets, at most {FILE_BYTES_MAX} are read"))));
    }
    fs::read(path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path, source }
}

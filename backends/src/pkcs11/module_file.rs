//! The file of a module, before it is loaded: its code runs as our user and sees the PIN, so nobody else may be able to put
//! another one in its place.
//!
//! Looked at with each opening, by the worker that is about to load it. Whether the code itself can be trusted is the
//! operator's to know.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Links that are followed, as Linux has it (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// Longest file that is looked through.
const MODULE_OCTETS_MAX: u64 = 1 << 30;
/// PKCS#11 v3.1 §5.4.4: C_GetFunctionList "is the only Cryptoki function which an application may call before calling
/// C_Initialize", so every module has it by this name.
const ENTRY: &[u8] = b"C_GetFunctionList";

/// Why a file is not loaded as a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFault {
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for ModuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, self.hint)
    }
}

/// Checks that a module is named by its whole path, and that only root and this user can change the file, the links to it, and the
/// directories in which these are.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check_module_file(module: &Path) -> Result<(), ModuleFault> {
    if !module.is_absolute() {
        return Err(fault(module, "is not an absolute path", "name the module by its whole path"));
    }
    let mut path = module.to_owned();
    for _ in 0..LINKS_MAX {
        check_directories(&path)?;
        let found = std::fs::symlink_metadata(&path).map_err(|error| missing(module, &error))?;
        if !found.is_symlink() {
            return check_file(&path, &found);
        }
        check_owner(&path, &found)?;
        let target = std::fs::read_link(&path).map_err(|error| missing(module, &error))?;
        // A target that is absolute replaces the whole path.
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(fault(module, "is a link to a link, and so on without end", "name the library itself"))
}

/// Checks that the file looks like a PKCS#11 module, without loading it.
///
/// # Errors
/// That it does not, or cannot be read.
pub fn check_module_kind(module: &Path) -> Result<(), ModuleFault> {
    let unreadable = |error: std::io::Error| missing(module, &error);
    let mut file = BufReader::new(File::open(module).map_err(unreadable)?.take(MODULE_OCTETS_MAX));
    let (mut chunk, mut kept) = (vec![0; 64 << 10], Vec::new());
    loop {
        let read = file.read(&mut chunk).map_err(unreadable)?;
        if read == 0 {
            return Err(fault(
                module,
                "is no PKCS#11 module (it has no C_GetFunctionList)",
                "mend `module`: name the vendor's PKCS#11 library",
            ));
        }
        // The name may begin in one piece and end in the next.
        kept.extend_from_slice(&chunk[..read]);
        if kept.windows(ENTRY.len()).any(|window| window == ENTRY) {
            return Ok(());
        }
        kept.drain(..kept.len().saturating_sub(ENTRY.len()));
    }
}

/// The directories of a path as it is written, and as it is without links in it.
fn check_directories(path: &Path) -> Result<(), ModuleFault> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let real = parent.canonicalize().map_err(|error| missing(path, &error))?;
    let both = parent.ancestors().chain(real.ancestors());
    let directories: std::collections::BTreeSet<PathBuf> = both.map(Path::to_owned).collect();
    for directory in directories.iter().filter(|directory| !directory.as_os_str().is_empty()) {
        let found = std::fs::metadata(directory).map_err(|error| missing(directory, &error))?;
        check_owner(directory, &found)?;
        // In a sticky directory, such as /tmp, only the owner of a file renames or removes it (inode(7)).
        if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
            return Err(writable(directory, &found));
        }
    }
    Ok(())
}

fn check_file(path: &Path, found: &Metadata) -> Result<(), ModuleFault> {
    if !found.is_file() {
        return Err(fault(path, "is not a file", "name the library itself"));
    }
    check_owner(path, found)?;
    if found.mode() & 0o022 != 0 { Err(writable(path, found)) } else { Ok(()) }
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), ModuleFault> {
    if found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let what = format!("belongs to user {}, who may change it", found.uid());
    Err(fault(path, &what, "it must belong to root or to the user of the gateway"))
}

fn writable(path: &Path, found: &Metadata) -> ModuleFault {
    let what = format!("may be changed by others (mode {:o})", found.mode() & 0o7777);
    fault(path, &what, "take the rights away: chmod go-w")
}

fn missing(path: &Path, error: &std::io::Error) -> ModuleFault {
    ModuleFault {
        text: format!("{}: {error}", path.display()),
        hint: "install the vendor's PKCS#11 library, or mend `module`",
    }
}

fn fault(path: &Path, what: &str, hint: &'static str) -> ModuleFault {
    ModuleFault { text: format!("{} {what}", path.display()), hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("rights");
    }

    /// A module whose file, directory or link others can change is refused; one that only its owner can change is not.
    #[test]
    fn a_module_that_others_can_change_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        mode(scratch.path(), 0o755);
        let folder = scratch.path().join("lib");
        let module = folder.join("p11.so");
        std::fs::create_dir(&folder).expect("a directory");
        std::fs::write(&module, "C_GetFunctionList").expect("a file");
        mode(&folder, 0o755);
        mode(&module, 0o644);
        check_module_file(&module).expect("only its owner can change it");
        let link = scratch.path().join("link.so");
        symlink("lib/p11.so", &link).expect("a link");
        check_module_file(&link).expect("so is the link");

        let refused = |path: &Path, word: &str| {
            let error = check_module_file(path).expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
        };
        mode(&module, 0o664);
        refused(&module, "p11.so may be changed by others (mode 664)");
        mode(&module, 0o644);
        mode(&folder, 0o777);
        refused(&module, "lib may be changed by others");
        refused(&link, "lib may be changed by others");
        mode(&folder, 0o1777);
        check_module_file(&module).expect("a sticky directory");
        refused(Path::new("p11.so"), "absolute");
        refused(&folder, "is not a file");
        refused(&folder.join("gone.so"), "mend `module`");
        let round = scratch.path().join("round.so");
        symlink("round.so", &round).expect("a link");
        refused(&round, "without end");
    }

    /// A file without the one function that every module has is no module, wherever in it the name would be.
    #[test]
    fn what_is_no_module_is_told_without_loading_it() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("p11.so");
        for (text, is_one) in [
            (b"nothing of the kind".to_vec(), false),
            ([&vec![b'x'; (64 << 10) - 5], ENTRY].concat(), true),
            ([&vec![b'C'; 200_000], &ENTRY[..16]].concat(), false),
        ] {
            std::fs::write(&file, &text).expect("a file");
            assert_eq!(check_module_kind(&file).is_ok(), is_one, "{} octets", text.len());
        }
    }
}

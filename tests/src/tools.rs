//! Clients and tools from outside that tests need, and the one way to leave one out.
//!
//! A missing tool fails the test. `KEYGATE_TEST_SKIP=name,name` leaves tests out by name; what was left out is printed and
//! written to `target/skipped`, which `make test` lists at its end.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::gateway::workspace;

/// Whether the person running the tests asked to leave this one out; says so if.
#[must_use]
pub fn skipped(name: &str) -> bool {
    let skip = std::env::var("KEYGATE_TEST_SKIP").unwrap_or_default();
    let skipped = skip.split(',').any(|word| word.trim() == name);
    if skipped {
        note_skipped(name, "KEYGATE_TEST_SKIP");
    }
    skipped
}

/// Writes down that a test was left out.
pub fn note_skipped(name: &str, why: &str) {
    eprintln!("skipped: {name} ({why})");
    let list = File::options().create(true).append(true).open(target().join("skipped"));
    if let Ok(mut list) = list {
        // The list is a convenience; the line above is the notice.
        let _ = writeln!(list, "{name} ({why})");
    }
}

/// The target folder.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The virtual Python environment that `tests/setup.sh` makes.
///
/// # Panics
/// If it has not been made.
#[must_use]
pub fn python() -> PathBuf {
    let python = target().join("python/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh, or set KEYGATE_TEST_SKIP=pykmip", python.display());
    python
}

/// The virtual Python environment with other makers' KMIP clients that `tests/setup.sh` makes.
///
/// # Panics
/// If it has not been made.
#[must_use]
pub fn clients_python() -> PathBuf {
    let python = target().join("kmip-clients/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh, or set KEYGATE_TEST_SKIP=kmip-clients", python.display());
    python
}

/// The virtual Python environment with pkilint that `tests/setup.sh` makes.
///
/// # Panics
/// If it has not been made.
#[must_use]
pub fn pkilint_python() -> PathBuf {
    let python = target().join("pkilint/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup.sh, or set KEYGATE_TEST_SKIP=pkilint", python.display());
    python
}

/// A foreign program: from the path, or from the folders of servers, which not every user's path has.
///
/// # Errors
/// If it is not installed.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let text = format!("{name} is not installed: run tests/setup.sh, or name it in KEYGATE_TEST_SKIP");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// If it cannot be written.
pub fn write_secret(path: &Path, content: &str) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

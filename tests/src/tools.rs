//! Clients and tools from outside that tests need, and the one way to leave one out.
//!
//! A missing tool fails the test. `KEYGATE_TEST_SKIP=name,name` leaves tests out by name; what was left out is printed and
//! written to `target/skipped`, which `make test` lists at its end.

use std::io::Write as _;
use std::path::PathBuf;

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
    let list = std::fs::File::options().create(true).append(true).open(target().join("skipped"));
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

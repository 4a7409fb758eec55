//! What several test programs share: a clock, and OpenSSL where it is installed.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use keygate_pki::OffsetDateTime;

/// The moment all tests live in.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap()
}

/// A folder of its own for a test, emptied first.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a foreign tool in `folder`; `None`, with a word on standard error, where it is not installed.
pub(crate) fn tool(name: &str, folder: &std::path::Path, arguments: &[&str]) -> Option<Output> {
    match Command::new(name).args(arguments).current_dir(folder).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("skipped: {name} is not installed");
            None
        }
    }
}

/// What a tool printed, both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

//! `D/audit/heads`: the chain's newest link, noted outside the database every minute and at shutdown.
//!
//! One line each: `seq events at_ms mac line_mac`, the MACs in hexadecimal. A database that lacks a noted segment was cut short.
//! Known limit: whoever can also cut this file, `D/anchor` and the log can hide a truncation; ship the log elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::ChainHead;
use crate::seal::MacKey;

/// Why the heads file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The system refused.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What the heads file says.
#[derive(Default)]
pub(crate) struct Heads {
    /// Lines whose MAC is right, in file order.
    pub(crate) heads: Vec<ChainHead>,
    /// Numbers of lines that are not ours, or were edited. A torn last line after a crash counts too.
    pub(crate) bad_lines: Vec<usize>,
}

/// Appends the head and syncs the file.
pub(crate) fn append_head(
    dir: &Path,
    key: &MacKey,
    store: Uuid,
    head: &ChainHead,
    at_ms: i64,
) -> Result<(), HeadsError> {
    let path = file(dir);
    let append = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join("audit"))?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let text = format!("{} {} {at_ms} {}", head.seq, head.events, hex::encode(head.mac));
        let mac = hex::encode(key.mac(&[b"head", store.as_bytes(), text.as_bytes()]));
        // Starts on a new line of its own even after a torn one; empty lines are skipped by the reader.
        file.write_all(format!("\n{text} {mac}").as_bytes())?;
        file.sync_data()
    };
    append().map_err(|source| HeadsError::Io { path: path.clone(), source })
}

/// Reads and checks the file; an absent one has no heads.
pub(crate) fn read_heads(dir: &Path, key: &MacKey, store: Uuid) -> Result<Heads, HeadsError> {
    let path = file(dir);
    let mut heads = Heads::default();
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(heads),
        other => other.map_err(|source| HeadsError::Io { path: path.clone(), source })?,
    };
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(|source| HeadsError::Io { path: path.clone(), source })?;
        match parse(&line, key, store) {
            Some(head) => heads.heads.push(head),
            None if line.is_empty() => {}
            None => heads.bad_lines.push(number),
        }
    }
    Ok(heads)
}

fn parse(line: &[u8], key: &MacKey, store: Uuid) -> Option<ChainHead> {
    let (text, mac) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
    if !key.verify(&[b"head", store.as_bytes(), text.as_bytes()], &hex::decode(mac).ok()?) {
        return None;
    }
    let mut fields = text.split(' ');
    let seq = fields.next()?.parse().ok()?;
    let events = fields.next()?.parse().ok()?;
    let mac = hex::decode(fields.nth(1)?).ok()?.try_into().ok()?;
    Some(ChainHead { seq, events, mac })
}

fn file(dir: &Path) -> PathBuf {
    dir.join("audit").join("heads")
}

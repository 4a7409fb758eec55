//! Where the store stands: the row `store_state`, and its copy outside the database, `D/anchor`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use uuid::Uuid;

use super::set_hash::SetHash;
use crate::audit::ChainHead;
use crate::seal::MacKey;

/// How the store was last left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Run {
    /// Closed in order.
    Closed = 0,
    /// Running; every read is audited before it is answered.
    Waiting = 1,
    /// Running; audited reads may be answered first.
    Deferring = 2,
}

impl Run {
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Closed, Self::Waiting, Self::Deferring].into_iter().find(|run| *run as i64 == code)
    }
}

/// The row `store_state` without its MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) store: Uuid,
    pub(crate) epoch: u64,
    pub(crate) commit: u64,
    pub(crate) head: ChainHead,
    pub(crate) run: Run,
    pub(crate) at_ms: i64,
}

impl State {
    pub(crate) fn new(store: Uuid) -> Self {
        Self { store, epoch: 1, commit: 0, head: ChainHead::default(), run: Run::Closed, at_ms: 0 }
    }

    /// The row's MAC; `total` is in it and nowhere else.
    pub(crate) fn mac(&self, key: &MacKey, total: SetHash) -> [u8; 32] {
        key.mac(&[b"state", &self.position(), &[self.run as u8], &self.at_ms.to_be_bytes(), &total.to_bytes()])
    }

    fn position(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[..16].copy_from_slice(self.store.as_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.commit.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.head.seq.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.head.events.to_be_bytes());
        bytes[48..].copy_from_slice(&self.head.mac);
        bytes
    }
}

/// What `D/anchor` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchored {
    pub(crate) store: Uuid,
    pub(crate) epoch: u64,
    pub(crate) commit: u64,
    pub(crate) head: ChainHead,
}

/// The file `D/anchor`: two slots written in turn, so a torn write leaves the other one.
///
/// Each group commit writes it after its own fsync and does not wait for the disk, so on disk the anchor is never ahead of the
/// database; it outlives `kill -9`, and after a power cut it may be up to a minute old.
pub(crate) struct Anchor {
    file: File,
    key: MacKey,
    writes: u64,
}

const MAGIC: &[u8; 4] = b"KGA1";
const SLOT_LEN: usize = 4 + 80 + 32;
/// Slots lie in different sectors.
const SLOT_STRIDE: u64 = 4096;

impl Anchor {
    /// Opens the file, or makes it; says what it knows, `None` when neither slot is ours.
    pub(crate) fn open(dir: &Path, key: &MacKey) -> io::Result<(Self, Option<Anchored>)> {
        let path = dir.join("anchor");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let known =
            [0, 1].into_iter().filter_map(|slot| read_slot(&file, key, slot)).max_by_key(|a| (a.epoch, a.commit));
        let writes = known.map_or(0, |known| known.commit + 1);
        Ok((Self { file, key: key.clone(), writes }, known))
    }

    /// Notes `state`.
    pub(crate) fn write(&mut self, state: &State) -> io::Result<()> {
        let mut slot = [0; SLOT_LEN];
        slot[..4].copy_from_slice(MAGIC);
        slot[4..84].copy_from_slice(&state.position());
        let mac = self.key.mac(&[&slot[..84]]);
        slot[84..].copy_from_slice(&mac);
        self.writes += 1;
        self.file.write_all_at(&slot, (self.writes % 2) * SLOT_STRIDE)
    }

    /// Waits for the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads the anchor without making one.
pub(crate) fn read_anchor(dir: &Path, key: &MacKey) -> Option<Anchored> {
    read_anchor_file(&dir.join("anchor"), key)
}

/// The same for a file elsewhere.
pub(crate) fn read_anchor_file(path: &Path, key: &MacKey) -> Option<Anchored> {
    let file = File::open(path).ok()?;
    [0, 1].into_iter().filter_map(|slot| read_slot(&file, key, slot)).max_by_key(|a| (a.epoch, a.commit))
}

fn read_slot(file: &File, key: &MacKey, slot: u64) -> Option<Anchored> {
    let mut bytes = [0; SLOT_LEN];
    file.read_exact_at(&mut bytes, slot * SLOT_STRIDE).ok()?;
    if bytes[..4] != MAGIC[..] || !key.verify(&[&bytes[..84]], &bytes[84..]) {
        return None;
    }
    let number = |at: usize| bytes[at..].first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk));
    let head = ChainHead { seq: number(36), events: number(44), mac: *bytes[52..].first_chunk()? };
    Some(Anchored { store: Uuid::from_slice(&bytes[4..20]).ok()?, epoch: number(20), commit: number(28), head })
}

//! Why the seal cannot be read, opened or changed.

use std::{
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{SlotFailure, share_text::SHARES_MAX, slot_file::SLOTS_MAX};

/// Why the seal cannot be read, opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is a seal already.
    #[error("{} exists: this data directory is sealed already", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("{} does not exist\nhint: is this a data directory? `keygate init` makes one", .0.display())]
    Missing(PathBuf),
    /// The file is not ours, or damaged.
    #[error("{} is not a seal file of a known format", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The file is not as keygate wrote it last.
    #[error("{} was changed by something else than keygate: it is not changed further\nhint: restore it from a backup", .0.display())]
    Altered(PathBuf),
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read a secret file.
    #[error("{} is readable by others than its owner\nhint: chmod 600 it, and consider its contents known", .0.display())]
    WideRights(PathBuf),
    /// No slot opened.
    #[error("no seal slot opens: {}\nhint: {}", list(.0), hint(.0))]
    NoSlotOpens(Vec<SlotFailure>),
    /// One slot opened, and the policy demands two.
    #[error("one seal slot opens, and two are needed: {}\nhint: {}", list(.0), hint(.0))]
    OneSlotOpens(Vec<SlotFailure>),
    /// The slot to be made did not work.
    #[error("cannot make the seal slot: {0}")]
    NewSlot(SlotFailure),
    /// No such slot.
    #[error("there is no seal slot {0}")]
    UnknownSlot(Uuid),
    /// A slot has this key file already.
    #[error("a seal slot uses {} already\nhint: name another key file", .0.display())]
    SameKeyFile(PathBuf),
    /// It is the last slot.
    #[error("seal slot {0} is the last one; add another before removing it")]
    LastSlot(Uuid),
    /// There are as many slots as there can be.
    #[error("there are {SLOTS_MAX} seal slots, the most there can be; remove one before adding another")]
    TooManySlots,
    /// A number of needed slots that there is no policy for.
    #[error("{0} slots needed: it must be 1 or 2")]
    Needed(u8),
    /// With two slots needed, nobody might get in any more.
    #[error(
        "two slots needed: at least two slots of different kinds, or two of passphrases or shares, must be left that have opened since the start or were made since; {}\nhint: `keygate seal status` lists them; add a slot, or start with another one, so that it opens",
        left(.0)
    )]
    TwoMustOpen(Vec<(Uuid, super::SlotKind)>),
    /// A slot of format 1 holds the root key itself and could not be made anew.
    #[error("seal slot {id} holds the root key alone, as earlier versions made slots, and does not open to be changed: {failure}\nhint: {}, or remove it and add it again", .failure.hint())]
    HoldsRoot {
        /// The slot.
        id: Uuid,
        /// Why it does not open.
        failure: SlotFailure,
    },
    /// k of n that cannot be.
    #[error("{threshold} of {count} shares: it must be 2 <= threshold <= shares <= {SHARES_MAX}")]
    Sharing {
        /// Shares that open.
        threshold: u8,
        /// Shares there are.
        count: usize,
    },
    /// No recipient of age.
    #[error("{0:?} is no age recipient (age1...)\nhint: `age-keygen` prints an officer's public key")]
    Officer(String),
    /// One officer, two shares.
    #[error("{0} is named twice: each officer gets one share")]
    OfficerTwice(String),
    /// The age library failed.
    #[error("cannot encrypt a share: {0}")]
    Encrypt(String),
}

pub(super) fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SealError + 'a {
    move |source| SealError::Io { action, path: path.to_owned(), source }
}

fn list(failures: &[SlotFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn hint(failures: &[SlotFailure]) -> &'static str {
    failures.first().map_or("the seal file has no slots; restore it from a backup", SlotFailure::hint)
}

fn left(opened: &[(Uuid, super::SlotKind)]) -> String {
    if opened.is_empty() {
        return "there would be none".into();
    }
    let slots: Vec<String> = opened.iter().map(|(id, kind)| format!("{kind} {id}")).collect();
    format!("there would be {}", slots.join(", "))
}

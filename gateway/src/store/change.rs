//! What callers ask the store to do, and how it can go wrong.

use std::sync::Arc;

use super::issued::{IssuedCertificate, Serial};
use super::quota::{CertificateQuotas, Quota};
use super::{Entry, EntryId, EntryKind, ObjectId, ObjectRow};
use crate::audit::Event;

/// One mutation.
#[derive(Clone, Debug)]
pub enum Change {
    /// Inserts a new object.
    InsertObject(ObjectRow),
    /// Replaces an object row by its next version.
    UpdateObject {
        /// The row as the caller read it: its version is the expected one.
        before: Arc<ObjectRow>,
        /// The row as it shall be; its version is one more.
        after: ObjectRow,
    },
    /// Removes an object row altogether (Destroy keeps the row; this is for rows nobody shall see again).
    DeleteObject {
        /// The row as the caller read it.
        before: Arc<ObjectRow>,
    },
    /// Adds an entry; its id and its unique name must be free.
    AddEntry(Entry),
    /// Replaces an entry that exists.
    UpdateEntry(Entry),
    /// Removes an entry that exists.
    RemoveEntry(EntryKind, EntryId),
    /// Changes nothing: the unit of work fails with [`CommitError::Stale`] unless the entry is the one its caller has read.
    Expect {
        /// Which kind.
        kind: EntryKind,
        /// Which one.
        id: EntryId,
        /// The version that was read; 0 where there was none.
        version: u64,
    },
    /// Adds an issued certificate: its serial number must be free, its key certified for no other client, the provisioning key
    /// must have been used less than `uses_max` times, and the quotas must leave room.
    AddIssued {
        /// The certificate.
        certificate: Box<IssuedCertificate>,
        /// Uses of its provisioning key, if they are limited.
        uses_max: Option<u64>,
        /// The certificate it renews, as it was read: it must not have been revoked since.
        renewed: Option<(Serial, u64)>,
        /// How many there may be.
        quotas: CertificateQuotas,
        /// When those of the client that are valid are counted, seconds since 1970.
        now: i64,
    },
    /// Replaces an issued certificate's row: it was revoked.
    UpdateIssued {
        /// The row as it shall be.
        certificate: Box<IssuedCertificate>,
        /// The version that was read.
        version: u64,
    },
    /// Removes an issued certificate's row: it expired long ago.
    RemoveIssued {
        /// Its id.
        id: EntryId,
        /// Its serial number.
        serial: Serial,
    },
}

/// One unit of work: all of it or none of it.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Mutations; each object or entry at most once.
    pub changes: Vec<Change>,
    /// Audit events, written in the same transaction.
    pub events: Vec<Event>,
    /// Something was destroyed: old sealed copies shall leave the files soon after.
    pub erases: bool,
}

/// Proof that a commit is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// Commit sequence number of the store; grows, and several units of work may share one.
    pub seq: u64,
}

/// Why nothing of a unit of work was done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The object changed, appeared or went since the caller read it: read again and redo.
    #[error("object {object} was changed by another request")]
    Conflict {
        /// Which one.
        object: ObjectId,
    },
    /// The Name belongs to another object of the owner.
    #[error("the name is taken by object {object}")]
    NameTaken {
        /// Who has it.
        object: ObjectId,
    },
    /// The id, or what must be unique in an entry, exists already.
    #[error("there is a {kind:?} of this name already")]
    EntryTaken {
        /// Which kind.
        kind: EntryKind,
        /// Who has it.
        holder: EntryId,
    },
    /// The entry to change or remove does not exist.
    #[error("there is no {kind:?} {id}")]
    EntryMissing {
        /// Which kind.
        kind: EntryKind,
        /// Which one.
        id: EntryId,
    },
    /// An entry is not the one the caller has read: read again and redo.
    #[error("{kind:?} {id} was changed by another request")]
    Stale {
        /// Which kind.
        kind: EntryKind,
        /// Which one.
        id: EntryId,
    },
    /// Every place for a provisioning key is taken.
    #[error(transparent)]
    NoRoom(#[from] keygate_pki::provisioning::NoRoom),
    /// The provisioning key was used as often as it may be.
    #[error("the provisioning key was used {max} times, which is all it may be")]
    UsedUp {
        /// Uses allowed.
        max: u64,
    },
    /// A quota leaves no room.
    #[error("the quota of {max} {what} is used up")]
    Quota {
        /// Which one.
        what: Quota,
        /// How many there may be.
        max: u64,
    },
    /// The public key is certified for another client.
    #[error("the key is certified for another client already")]
    KeyOfAnother,
    /// The client was revoked.
    #[error("the client was revoked")]
    ClientRevoked,
    /// A provisioning key would be renewed by itself, over others.
    #[error("a provisioning key cannot be its own successor, not in a circle either")]
    SuccessorCircle,
    /// Nobody could administer the gateway any more.
    #[error("this is the last administrator with security:write")]
    LastAdmin,
    /// A keystore that something refers to would be removed.
    #[error(
        "the keystore is in use: {objects} objects, {authorities} keys of authorities, {clients} clients whose new keys go there, \
         {intents} device actions under way, {moves} moves of keys"
    )]
    KeystoreInUse {
        /// Objects, destroyed ones not counted.
        objects: u64,
        /// Keys of authorities.
        authorities: u64,
        /// Clients that name it for their new keys.
        clients: u64,
        /// Keys being made or destroyed.
        intents: u64,
        /// Moves of keys from it or to it.
        moves: u64,
    },
    /// A keystore would be removed whose objects have not been counted: ask for [`super::Store::keystore_objects`] first.
    #[error("the objects of the keystore have not been counted yet")]
    Uncounted,
    /// The unit of work contradicts itself: our caller's fault.
    #[error("the unit of work names {0} twice, or skips a version")]
    Malformed(String),
    /// The disk is full; rolled back. Works again when there is space.
    #[error("the disk is full")]
    DiskFull,
    /// Free space is below the limit: writes are refused so that reads can still be audited.
    #[error("free disk space is below {percent} %: writes are refused")]
    ReadOnlyLowDisk {
        /// The limit.
        percent: u8,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The database failed; rolled back as far as this process can tell.
    #[error("the database failed: {0}")]
    Broken(String),
}

/// Why a read failed. Absence is never an error: it is `None`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The row is not the one the store wrote last: edited, replaced by an older one, or removed behind its back.
    #[error("object {object} is refused: its row was altered or is not the newest one")]
    Refused {
        /// Which one.
        object: ObjectId,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Broken(String),
}

//! What must hold over all entries of a kind, whatever order changes come in. Asked inside the transaction.

use keygate_pki::OffsetDateTime;
use keygate_pki::provisioning::{CONCURRENT_KEYS_MAX, NoRoom};

use super::pki_rows::{Admin, AuthorityKey, ProvisioningKey};
use super::{CommitError, Entry, EntryId, KeystoreId, OrganisationId, RehomingState};

/// Checks the change of one entry from `before` to `after`. `all`: every entry of its kind, with the change.
pub(crate) fn check<'a>(
    before: Option<&Entry>,
    after: Option<&Entry>,
    all: impl FnOnce() -> Vec<&'a Entry>,
) -> Result<(), CommitError> {
    match (before, after) {
        (before, Some(Entry::ProvisioningKey(key))) => {
            let takes = |entry: &ProvisioningKey| entry.state.name != "revoked";
            let had = matches!(before, Some(Entry::ProvisioningKey(before)) if takes(before));
            let moved = !matches!(before, Some(Entry::ProvisioningKey(before)) if before.successor == key.successor);
            let (comes, follows) = (takes(key) && !had, moved && key.successor.is_some());
            if !comes && !follows {
                return Ok(());
            }
            let all = all();
            if comes {
                check_room(key, &all)?;
            }
            check_successors(key, &all)
        }
        (Some(Entry::Admin(before)), after) => {
            let acts = matches!(after, Some(Entry::Admin(after)) if after.acts());
            if before.acts() && !acts { check_admins(before.organisation, &all()) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Whether an entry needs the keystore: an authority's key is there, a client's new keys go there, a device has something to do, or
/// keys are being moved.
pub(crate) fn refers_to(entry: &Entry, keystore: KeystoreId) -> bool {
    match entry {
        Entry::Authority(authority) => matches!(&authority.key, AuthorityKey::Keystore { keystore: own, .. } if *own == keystore),
        Entry::Client(client) => client.keystore == Some(keystore),
        Entry::Intent(intent) => intent.keystore == keystore,
        Entry::Rehoming(moving) => {
            moving.state == RehomingState::Running && (moving.from == keystore || moving.to == keystore)
        }
        _ => false,
    }
}

/// At most so many keys of an organisation are active or suspended, the new one among them.
fn check_room(new: &ProvisioningKey, all: &[&Entry]) -> Result<(), CommitError> {
    let taken = all.iter().filter(|entry| match entry {
        Entry::ProvisioningKey(key) => key.organisation == new.organisation && key.state.name != "revoked",
        _ => false,
    });
    if taken.count() > CONCURRENT_KEYS_MAX { Err(NoRoom { max: CONCURRENT_KEYS_MAX }.into()) } else { Ok(()) }
}

/// The line of successors ends, and not at the key itself: a renewal follows it.
fn check_successors(key: &ProvisioningKey, all: &[&Entry]) -> Result<(), CommitError> {
    let successor_of = |id: EntryId| {
        let mut keys = all.iter().filter_map(|entry| match entry {
            Entry::ProvisioningKey(key) => Some(key),
            _ => None,
        });
        keys.find(|key| key.id == id).and_then(|key| key.successor)
    };
    let mut next = key.successor;
    for _ in 0..=all.len() {
        match next {
            None => return Ok(()),
            Some(id) if id == key.id => break,
            Some(id) => next = successor_of(id),
        }
    }
    Err(CommitError::SuccessorCircle)
}

/// Somebody of the organisation can still act; an expired certificate does not count. Administrators of the default organisation
/// act for all.
fn check_admins(organisation: OrganisationId, all: &[&Entry]) -> Result<(), CommitError> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let is_for = |admin: &Admin| admin.organisation == organisation || admin.organisation == OrganisationId::DEFAULT;
    let can = |admin: &Admin| is_for(admin) && admin.acts() && admin.certificates.iter().any(|certificate| certificate.not_after > now);
    let left = all.iter().any(|entry| matches!(entry, Entry::Admin(admin) if can(admin)));
    if left { Ok(()) } else { Err(CommitError::LastAdmin) }
}

//! Stores passwords of REST users that were hashed anew: their hash was of a cost that new ones are not of.

use super::App;
use crate::{
    identity::DirectoryContent,
    store::{Change, Commit, Entry, EntryKind, RestUser},
};

/// Stores what has come since the last time. A password that was changed meanwhile stays as it is.
pub(super) async fn save(app: &App) {
    for renewed in app.rest_users.take_renewed() {
        // By the old hash, whose salt is nobody else's.
        let old = renewed.old.as_stored();
        let Some(user) = app.store.directory().rest_users.values().find(|user| user.password_hash == old).cloned()
        else {
            continue;
        };
        let row = RestUser { password_hash: renewed.new.as_stored().to_owned(), ..RestUser::clone(&user) };
        let expected = Change::Expect { kind: EntryKind::RestUser, id: user.id, version: user.version };
        let commit = Commit { changes: vec![expected, Change::UpdateEntry(Entry::RestUser(row))], ..Commit::default() };
        match app.store.commit(commit).await {
            Ok(_) => app.directory.replace_with(|| DirectoryContent::from_store(&app.store)),
            // It is right as it is, and is hashed anew when it is seen next.
            Err(error) => tracing::debug!(error = crate::admin::chain(&error), "a password's new hash was not stored"),
        }
    }
}

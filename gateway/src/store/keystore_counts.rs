//! How many objects each keystore has: what decides whether a keystore may go.
//!
//! Counted by a reader when somebody first asks, while commits go on: what they change meanwhile is noted by commit number and
//! added to what the reader saw. From then on the writer keeps the numbers. Destroyed objects do not count: of those only the
//! record is left.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::SqlitePool;

use super::plan::Accepted;
use super::quota::counts;
use super::{KeystoreId, ObjectRow, sqlite};

/// Objects of every keystore, and keystores that are gone.
#[derive(Default)]
pub(crate) struct KeystoreCounts(Mutex<Counting>);

#[derive(Default)]
struct Counting {
    stage: Stage,
    /// Removed since the store was opened: nothing new may refer to them.
    removed: HashSet<KeystoreId>,
}

#[derive(Default)]
enum Stage {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// A reader counts; what commits change since, with their numbers.
    Noting(Vec<(u64, KeystoreDeltas)>),
    Known(HashMap<KeystoreId, u64>),
}

/// How many objects come to a keystore, or go.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeystoreDeltas(HashMap<KeystoreId, i64>);

impl KeystoreDeltas {
    pub(crate) fn of(objects: &[Accepted]) -> Self {
        let mut deltas = Self::default();
        for object in objects {
            object.before.iter().for_each(|row| deltas.add(row, -1));
            object.after.iter().for_each(|row| deltas.add(row, 1));
        }
        deltas
    }

    fn add(&mut self, row: &ObjectRow, by: i64) {
        if counts(row.state) {
            *self.0.entry(row.keystore).or_default() += by;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (keystore, by) in &other.0 {
            *self.0.entry(*keystore).or_default() += by;
        }
    }

    pub(crate) fn get(&self, keystore: KeystoreId) -> i64 {
        self.0.get(&keystore).copied().unwrap_or_default()
    }

    /// Keystores that get objects.
    pub(crate) fn gaining(&self) -> impl Iterator<Item = KeystoreId> + '_ {
        self.0.iter().filter(|(_, by)| **by > 0).map(|(keystore, _)| *keystore)
    }
}

impl KeystoreCounts {
    /// All counts, counted first if they are not known yet.
    pub(crate) async fn all(&self, readers: &SqlitePool) -> Result<HashMap<KeystoreId, u64>, sqlx::Error> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        {
            let mut counting = self.lock();
            if matches!(counting.stage, Stage::Unknown) {
                counting.stage = Stage::Noting(Vec::new());
            }
        }
        // What was committed before the reader's look is in it, what comes later is noted.
        let (seen, base) = sqlite::objects_of_keystores(readers).await?;
        let mut counting = self.lock();
        if let Stage::Noting(noted) = &counting.stage {
            let mut known = base;
            for (_, deltas) in noted.iter().filter(|(commit, _)| *commit > seen) {
                apply(&mut known, deltas);
            }
            counting.stage = Stage::Known(known);
        }
        match &counting.stage {
            Stage::Known(known) => Ok(known.clone()),
            Stage::Unknown | Stage::Noting(_) => Ok(HashMap::new()),
        }
    }

    /// All counts, if they are known.
    pub(crate) fn known(&self) -> Option<HashMap<KeystoreId, u64>> {
        match &self.lock().stage {
            Stage::Known(known) => Some(known.clone()),
            Stage::Unknown | Stage::Noting(_) => None,
        }
    }

    /// The count of one keystore, if it is known.
    pub(crate) fn of(&self, keystore: KeystoreId) -> Option<u64> {
        match &self.lock().stage {
            Stage::Known(known) => Some(known.get(&keystore).copied().unwrap_or_default()),
            Stage::Unknown | Stage::Noting(_) => None,
        }
    }

    /// Makes true what was committed.
    pub(crate) fn publish(&self, commit: u64, objects: &[Accepted]) {
        let mut counting = self.lock();
        match &mut counting.stage {
            Stage::Unknown => {}
            Stage::Noting(noted) => noted.push((commit, KeystoreDeltas::of(objects))),
            Stage::Known(known) => apply(known, &KeystoreDeltas::of(objects)),
        }
    }

    /// The keystore's row was removed.
    pub(crate) fn remove(&self, keystore: KeystoreId) {
        self.lock().removed.insert(keystore);
    }

    /// Whether the keystore's row was removed while the store is open.
    pub(crate) fn is_removed(&self, keystore: KeystoreId) -> bool {
        self.lock().removed.contains(&keystore)
    }

    fn lock(&self) -> MutexGuard<'_, Counting> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(known: &mut HashMap<KeystoreId, u64>, deltas: &KeystoreDeltas) {
    for (keystore, by) in &deltas.0 {
        let count = known.entry(*keystore).or_default();
        *count = count.saturating_add_signed(*by);
    }
}

//! What clients and injector share while a soak runs: whether to stop, what went wrong, how far each keystore is, how long local
//! requests took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::place::PLACES;

/// Longest list of what went wrong, and of what begins alike: the first ones tell the cause.
const WRONG_MAX: usize = 60;
const WRONG_ALIKE_MAX: usize = 6;
/// What begins alike.
const BEGINNING: usize = 12;
/// Longest list of different refusals of a keystore.
const REASONS_MAX: usize = 400;

/// How often something was asked, by what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
}

#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    stop: AtomicBool,
    /// Odd while the gateway itself has a fault: what it answers then says nothing about keystores.
    own: AtomicU64,
    done: [AtomicU64; PLACES.len()],
    refused: [AtomicU64; PLACES.len()],
    wrong: Mutex<Vec<(Duration, String)>>,
    counts: Mutex<BTreeMap<(usize, &'static str), Count>>,
    reasons: Mutex<BTreeMap<(usize, String), u64>>,
    /// Microseconds of each local request that no fault of the gateway itself touched.
    local: Mutex<Vec<u32>>,
}

/// A request under way.
pub(super) struct Asked {
    own: u64,
}

impl Watch {
    pub(super) fn since(begun: Instant) -> Self {
        Self {
            begun,
            stop: AtomicBool::new(false),
            own: AtomicU64::new(0),
            done: Default::default(),
            refused: Default::default(),
            wrong: Mutex::default(),
            counts: Mutex::default(),
            reasons: Mutex::default(),
            local: Mutex::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// A fault of the gateway itself begins or ends.
    pub(super) fn own_fault(&self, begins: bool) {
        let before = self.own.fetch_add(1, Ordering::SeqCst);
        debug_assert_eq!(before.is_multiple_of(2), begins);
    }

    /// A request goes out.
    pub(super) fn ask(&self) -> Asked {
        Asked { own: self.own.load(Ordering::SeqCst) }
    }

    /// Whether the gateway had a fault of its own since.
    pub(super) fn was_disturbed(&self, asked: &Asked) -> bool {
        asked.own % 2 == 1 || self.own.load(Ordering::SeqCst) != asked.own
    }

    pub(super) fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        let mut list = lock(&self.wrong);
        let alike = list.iter().filter(|(_, other)| other.chars().zip(what.chars()).take(BEGINNING).all(|(a, b)| a == b)).count();
        if list.len() < WRONG_MAX && alike < WRONG_ALIKE_MAX {
            list.push((self.begun.elapsed(), what));
        }
    }

    pub(super) fn done(&self, place: usize, operation: &'static str) {
        self.done[place].fetch_add(1, Ordering::Relaxed);
        lock(&self.counts).entry((place, operation)).or_default().done += 1;
    }

    pub(super) fn refused(&self, place: usize, operation: &'static str, reason: &str) {
        self.refused[place].fetch_add(1, Ordering::Relaxed);
        lock(&self.counts).entry((place, operation)).or_default().refused += 1;
        let mut reasons = lock(&self.reasons);
        if reasons.len() < REASONS_MAX {
            *reasons.entry((place, format!("{operation}: {reason}"))).or_default() += 1;
        }
    }

    pub(super) fn unanswered(&self, place: usize, operation: &'static str) {
        lock(&self.counts).entry((place, operation)).or_default().unanswered += 1;
    }

    /// Requests done and refused of a keystore, or of all.
    pub(super) fn progress(&self, place: Option<usize>) -> (u64, u64) {
        let sum = |counts: &[AtomicU64]| match place {
            Some(place) => counts[place].load(Ordering::Relaxed),
            None => counts.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
        };
        (sum(&self.done), sum(&self.refused))
    }

    pub(super) fn local_took(&self, time: Duration) {
        lock(&self.local).push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Count, p50, p99 and longest of the local requests.
    pub(super) fn local_waits(&self) -> (usize, [Duration; 3]) {
        let mut all = lock(&self.local).clone();
        all.sort_unstable();
        let at = |part: usize| Duration::from_micros(u64::from(all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied().unwrap_or_default()));
        (all.len(), [at(50), at(99), at(100)])
    }

    pub(super) fn all_wrong(&self) -> Vec<String> {
        lock(&self.wrong).iter().map(|(at, what)| format!("{:.1} s: {what}", at.as_secs_f64())).collect()
    }

    pub(super) fn counts(&self) -> BTreeMap<(usize, &'static str), Count> {
        lock(&self.counts).clone()
    }

    pub(super) fn reasons(&self) -> BTreeMap<(usize, String), u64> {
        lock(&self.reasons).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

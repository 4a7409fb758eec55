//! How many certificates are valid, without looking at each: ends of validity in order, and how many of them have passed.
//!
//! One entry for each second in which some certificate ends, some 20 octets. Time is passed in.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Ends of validity of the certificates of one provisioning key that are not revoked.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// notAfter, seconds since 1970, and how many end then.
    ends: BTreeMap<i64, u32>,
    count: u64,
    passed: Mutex<Passed>,
}

/// What was counted the last time somebody asked.
#[derive(Debug, Clone, Copy)]
struct Passed {
    /// Ends before this moment are counted.
    before: i64,
    count: u64,
}

impl Default for Passed {
    fn default() -> Self {
        Self { before: i64::MIN, count: 0 }
    }
}

impl Lives {
    /// A certificate is there that ends at `not_after`.
    pub(super) fn add(&mut self, not_after: i64) {
        *self.ends.entry(not_after).or_default() += 1;
        self.count += 1;
        let passed = self.passed.get_mut().unwrap_or_else(PoisonError::into_inner);
        if not_after < passed.before {
            passed.count += 1;
        }
    }

    /// A certificate that was added is revoked, or gone.
    pub(super) fn take(&mut self, not_after: i64) {
        let Some(there) = self.ends.get_mut(&not_after) else { return };
        *there -= 1;
        if *there == 0 {
            self.ends.remove(&not_after);
        }
        self.count -= 1;
        let passed = self.passed.get_mut().unwrap_or_else(PoisonError::into_inner);
        if not_after < passed.before {
            passed.count -= 1;
        }
    }

    /// How many are valid at `now`, seconds since 1970: the last second counts. Looks at the ends between the last question and
    /// this one alone; a clock that was put back is followed.
    pub(super) fn valid(&self, now: i64) -> u64 {
        // A panic while it is held leaves it whole: it is replaced at once.
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let between = |from, to| self.ends.range(from..to).map(|(_, count)| u64::from(*count)).sum::<u64>();
        let count = match now >= passed.before {
            true => passed.count + between(passed.before, now),
            false => passed.count - between(now, passed.before),
        };
        *passed = Passed { before: now, count };
        self.count - count
    }
}

//! What a soak has found, as a table.

use std::fmt;
use std::time::Duration;

use super::check::Checked;
use super::faults::{FAULTS, Injected};
use super::ledger::Ledger;
use super::place::PLACES;
use super::watch::Watch;
use super::{LOCAL_WAIT_MAX, Plan};

/// The end of a soak.
#[derive(Debug)]
pub struct Report {
    /// Everything that must not be. Empty: the soak passed.
    pub wrong: Vec<String>,
    text: String,
}

impl Report {
    pub(super) fn of(plan: &Plan, watch: &Watch, ledger: &Ledger, injected: Injected, checked: Checked, took: Duration) -> Self {
        use fmt::Write as _;
        let mut text = String::new();
        let mut line = |line: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        };
        line(format!("seed {}, {} connections, {:.0?}", plan.seed, plan.clients, took));
        line(format!("{:<10}{:<16}{:>10}{:>10}{:>12}", "keystore", "operation", "done", "refused", "unanswered"));
        for ((place, operation), count) in watch.counts() {
            line(format!("{:<10}{operation:<16}{:>10}{:>10}{:>12}", PLACES[place].name, count.done, count.refused, count.unanswered));
        }
        line(format!("{:<16}{:>8}{:>12}{:>20}", "fault", "times", "held", "longest recovery"));
        for fault in FAULTS {
            if let Some(record) = injected.faults.get(&fault) {
                line(format!("{:<16}{:>8}{:>12.1?}{:>20.1?}", fault.name(), record.times, record.held, record.longest_recovery));
            }
        }
        let (count, [half, most, longest]) = watch.local_waits();
        let mut wrong = watch.all_wrong();
        line(format!("local requests without a fault of the gateway itself: {count}; p50 {half:.1?}, p99 {most:.1?}, longest {longest:.1?}"));
        if longest > LOCAL_WAIT_MAX {
            wrong.push(format!("a request of the local keystore took {longest:.1?}: it waited for another keystore"));
        }
        if most > plan.local_p99_max {
            wrong.push(format!("p99 of the local keystore is {most:.1?}, more than {:.1?}", plan.local_p99_max));
        }
        line(format!(
            "at the end: {} live keys right, {} destroyed ones gone, {} undecided; {} refused ones not there, {} unanswered ones there; {} REST keys, \
             {} certificates; ready after {:.1?}; memory {} MiB, at most {} MiB",
            checked.live,
            checked.gone,
            checked.undecided,
            checked.refused,
            checked.found_unanswered,
            ledger.rest.len(),
            checked.certificates,
            checked.ready_after,
            checked.memory >> 20,
            injected.memory_max >> 20,
        ));
        for ((place, reason), count) in watch.reasons() {
            line(format!("refused {count:>6} {:<10} {reason}", PLACES[place].name));
        }
        for what in &wrong {
            line(format!("WRONG: {what}"));
        }
        Self { wrong, text }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

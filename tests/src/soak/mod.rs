//! A soak: many clients on all kinds of keystores at once, faults at random, and at the end every acknowledged key is looked at.
//!
//! - [`site`](self) is put together of the real things: a gateway with keystores `local`, `vault` (sealed in its store too, added by
//!   commands), two SoftHSM tokens behind the shim, a second Keygate by KMIP and by its REST front, PyKMIP, and a mock of a REST server.
//! - Clients work in threads of their own and keep a ledger: what was acknowledged, what was refused, what got no answer.
//! - The injector picks faults by a seeded generator, holds them a while and takes them back.
//! - The end: no fault is left, everything has to serve within a stated time, and the ledgers are compared with what there is.
//!
//! What this leaves to others: faults one by one, with their exact outcome, are `tests/tests/pkcs11_faults.rs` and its like.

mod certificates;
mod check;
mod faults;
mod kmip;
mod ledger;
mod place;
mod report;
mod rest;
mod site;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use report::Report;

use faults::Injector;
use kmip::Worker;
use ledger::Ledger;
use place::PLACES;
use site::Site;
use watch::Watch;

/// How to soak.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the generator: the same seed gives the same schedule of faults.
    pub seed: u64,
    /// KMIP connections.
    pub clients: usize,
    /// How long, and which faults.
    pub course: Course,
    /// Only faults of these names, to find out about one; empty: all.
    pub only: Vec<String>,
    /// Longest p99 of requests that only the local keystore serves, while other keystores have faults.
    pub local_p99_max: Duration,
}

/// Which faults, and for how long.
#[derive(Clone, Debug)]
pub enum Course {
    /// Up to three at a time, picked at random, until the time is over.
    Random(Duration),
    /// Each once and alone, in a fixed order; each lasts until clients have noticed.
    EachOnce,
}

/// Longest wait of a request that only the local keystore serves. Calls into keystores end after 10 s (uses) or 30 s (changes); a request
/// that waits behind one of another keystore would wait that long. Half of the shorter one tells the two apart on a busy machine.
pub const LOCAL_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long everything may take to serve again after the last fault: a worker's longest start is 30 s, a server is looked for every
/// second or so, and a token that hung until the end is given up after 31 s.
pub const READY_MAX: Duration = Duration::from_secs(90);

/// Soaks. What went wrong with keys is in the report; `say` gets a line for what is done.
///
/// # Errors
/// If the servers cannot be set up, or one does not start again.
pub fn run(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> io::Result<Report> {
    let begun = Instant::now();
    let mut site = Site::build(say)?;
    let watch = Arc::new(Watch::since(begun));
    let mut injector = Injector::new(plan, &watch, say);
    say(&format!("seed {}, {} connections, ready after {:.1?}", plan.seed, plan.clients, begun.elapsed()));
    let (ledger, injected) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.clients)
            .map(|number| {
                let worker = Worker::new(number, plan.seed, &site, Arc::clone(&watch));
                std::thread::Builder::new().name(format!("client-{number}")).spawn_scoped(scope, move || worker.run())
            })
            .collect();
        let rest = rest::start(scope, &site, &watch);
        let certificates = certificates::start(scope, &site, &watch);
        let injected = injector.run(&mut site);
        watch.stop();
        let mut ledger = Ledger::default();
        for thread in threads {
            let joined = thread?.join().map_err(|_| io::Error::other("a client's thread failed: see above"))?;
            ledger.merge(joined);
        }
        for thread in rest {
            ledger.rest.extend(thread.join().map_err(|_| io::Error::other("a REST user's thread failed"))?);
        }
        ledger.certificates = certificates.join().map_err(|_| io::Error::other("the enroller's thread failed"))?;
        injected.map(|()| (ledger, injector.finish()))
    })?;
    say(&format!("faults are over: {} keys on record; checking", ledger.keys.len()));
    let checked = check::check(&mut site, &watch, &ledger, say)?;
    Ok(Report::of(plan, &watch, &ledger, injected, checked, begun.elapsed()))
}

/// Index of a keystore in [`PLACES`].
fn place_of(client: usize) -> usize {
    client % PLACES.len()
}

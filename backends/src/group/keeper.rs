//! The thread that watches a group's members: it lets them join, tests them, and lets them catch up, a key at a time.
//!
//! It has a runtime of its own, so a group can be opened and dropped anywhere, and a busy gateway does not keep it from
//! noticing.

use super::book::Phase;
use super::keystore::Inner;
use crate::error::{Class, KsError, Result};
use crate::keystore::Health;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often members are looked at; no device is asked for that.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long after an attempt to join, or a failed test, the next one is made.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Keys in a row, before the things that one could not be helped with are left for a while.
const FAILURES_MAX: usize = 8;
/// For how long.
const PAUSE: Duration = Duration::from_secs(2);

/// What the keeper remembers of a member.
struct Watched {
    busy: Arc<AtomicBool>,
    last: Option<Instant>,
}

/// Starts the keeper.
pub(super) fn start(inner: &Arc<Inner>) -> Result<()> {
    let failed = |e: std::io::Error| KsError::new(Class::RetryOther, format!("cannot start a thread: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let weak = Arc::downgrade(inner);
    let thread = std::thread::Builder::new().name("group-keeper".into());
    thread.spawn(move || runtime.block_on(keep(weak))).map(drop).map_err(failed)
}

async fn keep(weak: Weak<Inner>) {
    let Some(count) = weak.upgrade().map(|inner| inner.members.len()) else { return };
    let mut watched: Vec<Watched> = (0..count).map(|_| Watched { busy: Arc::default(), last: None }).collect();
    let catching_up = Arc::new(AtomicBool::new(false));
    loop {
        let Some(inner) = weak.upgrade() else { return };
        if inner.dropped.load(Ordering::Acquire) {
            return;
        }
        for (member, watched) in watched.iter_mut().enumerate() {
            look(&inner, member, watched);
        }
        if inner.book().has_work() && !catching_up.swap(true, Ordering::AcqRel) {
            let (inner, catching_up) = (Arc::clone(&inner), Arc::clone(&catching_up));
            tokio::spawn(async move {
                catch_up(&inner).await;
                catching_up.store(false, Ordering::Release);
            });
        }
        let woken = Arc::clone(&inner);
        drop(inner);
        // Woken or not: there is another look.
        let _ = tokio::time::timeout(LOOK_EVERY, woken.wake.notified()).await;
    }
}

/// What a member needs now.
enum Need {
    Nothing,
    Join,
    Test,
}

fn look(inner: &Arc<Inner>, member: usize, watched: &mut Watched) {
    if watched.busy.load(Ordering::Acquire) {
        return;
    }
    let rested = |since: Duration| watched.last.is_none_or(|at| at.elapsed() >= since);
    let need = {
        let mut book = inner.book();
        let phase = book.phase(member).clone();
        match (phase, inner.replica(member).health()) {
            (Phase::Away(_), Health::Up) if rested(AGAIN_AFTER) => Need::Join,
            (Phase::Serving { .. } | Phase::Refused(_), Health::Down(reason) | Health::NeedsOperator(reason)) => {
                book.left(member, Phase::Away(reason));
                Need::Nothing
            }
            (Phase::Serving { suspect: true }, Health::Up) if rested(AGAIN_AFTER) => Need::Test,
            (Phase::Serving { .. }, Health::Up) if rested(inner.settings.test_every) => Need::Test,
            _ => Need::Nothing,
        }
    };
    if matches!(need, Need::Nothing) {
        return;
    }
    watched.last = Some(Instant::now());
    watched.busy.store(true, Ordering::Release);
    let (inner, busy) = (Arc::clone(inner), Arc::clone(&watched.busy));
    tokio::spawn(async move {
        match need {
            Need::Join => inner.join(member).await,
            Need::Test => inner.test(member).await,
            Need::Nothing => {}
        }
        busy.store(false, Ordering::Release);
        inner.wake.notify_one();
    });
}

/// Sees to the keys that are not right everywhere, one after the other, until there is none or members fail.
async fn catch_up(inner: &Inner) {
    let mut failures = 0;
    loop {
        let next = inner.book().next();
        let Some(name) = next else { return };
        if inner.dropped.load(Ordering::Acquire) {
            return;
        }
        match inner.bring_up(name).await {
            Ok(()) => failures = 0,
            Err(e) => {
                tracing::warn!(group = %inner.id, key.id = %name.0, cause = %e, "a key could not be brought to every member yet");
                // A member that is away lists its keys when it is back; what else went wrong is tried again.
                if !matches!(e.class(), Class::Denied | Class::Unsupported | Class::Corrupt) {
                    inner.book().enqueue(name);
                }
                failures += 1;
                if failures >= FAILURES_MAX || !inner.book().has_more_than(failures) {
                    tokio::time::sleep(PAUSE).await;
                    failures = 0;
                }
            }
        }
    }
}

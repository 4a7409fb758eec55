//! Looks for endpoints that are away, so that calls need not.

use super::cluster::{Cluster, Protocol};
use super::endpoint::State;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Wait before the first and the later rounds of looking.
const WAITS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3)];
/// Longest try to connect.
const TRY: Duration = Duration::from_secs(5);

/// Starts looking, if nobody is and there is something to look for. Ends when every endpoint serves or the cluster is gone.
pub(super) fn look<P: Protocol>(cluster: &Arc<Cluster<P>>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !is_missing(cluster) || cluster.is_looking.swap(true, Ordering::AcqRel) {
        return;
    }
    runtime.spawn(run(Arc::downgrade(cluster)));
}

async fn run<P: Protocol>(cluster: Weak<Cluster<P>>) {
    for round in 0usize.. {
        {
            let Some(cluster) = cluster.upgrade() else { return };
            for endpoint in &cluster.endpoints {
                if endpoint.state() == State::Up {
                    continue;
                }
                match endpoint.connect(&cluster.protocol, &cluster.tls, Instant::now() + TRY).await {
                    Ok(connection) => {
                        endpoint.note(State::Up);
                        endpoint.keep(connection);
                        cluster.found.notify_waiters();
                    }
                    Err(broken) => {
                        let why = format!("{}: {}", endpoint.address, broken.into_text());
                        endpoint.note(State::Down(why));
                    }
                }
            }
            if !is_missing(&cluster) {
                cluster.is_looking.store(false, Ordering::Release);
                // An endpoint that went away in between has found the flag set.
                if !is_missing(&cluster) || cluster.is_looking.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
        tokio::time::sleep(WAITS[round.min(WAITS.len() - 1)]).await;
    }
}

fn is_missing<P: Protocol>(cluster: &Cluster<P>) -> bool {
    cluster.endpoints.iter().any(|endpoint| endpoint.state() != State::Up)
}

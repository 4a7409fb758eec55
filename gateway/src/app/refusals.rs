//! Writes the audit events of refusals, and what else waits to be written now and then.

use std::{sync::Arc, time::{Duration, Instant}};

use super::App;
use crate::{audit::Event, store::Commit};

/// How often it is looked whether any is due.
const EVERY: Duration = Duration::from_secs(1);

/// Writes what is due, until the task is dropped.
pub(super) async fn write_refusals(app: Arc<App>) {
    let mut interval = tokio::time::interval(EVERY);
    loop {
        interval.tick().await;
        write(&app, app.refusals.due(Instant::now(), app.now_ms())).await;
        super::renewal::save(&app).await;
    }
}

/// Writes what was counted since, at the end.
pub(super) async fn write_rest(app: &App) {
    write(app, app.refusals.rest(Instant::now(), app.now_ms())).await;
}

async fn write(app: &App, events: Vec<Event>) {
    if events.is_empty() {
        return;
    }
    if let Err(error) = app.store.commit(Commit { events, ..Commit::default() }).await {
        tracing::error!(error = crate::admin::chain(&error), "cannot record refused handshakes");
    }
}

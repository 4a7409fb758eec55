//! Watches the token whose seal slot opened the store, alone or with another slot: readiness and the audit record tell when it goes
//! and returns, and with `seal.on_loss = stop` the server ends when it stays away.
//!
//! A module's own word is not enough (a soft token answers from memory after its files are gone), so the slot itself is tried:
//! the token must unwrap what it unwrapped at the start.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{App, TokenSlotKey};
use crate::{
    audit::{Action, Details, Event},
    config::OnLoss,
    seal::{Seal, SlotKeyError, TokenSlot},
    store::Commit,
    telemetry::ComponentState,
};

/// The part of readiness.
const COMPONENT: &str = "seal token";
/// Longest pause between two tries.
const EVERY_MAX: Duration = Duration::from_secs(5);

/// The token stayed away.
pub(super) struct Lost {
    /// For how long.
    pub(super) away: Duration,
    /// What it says.
    pub(super) reason: String,
}

/// Watches until the slot is removed, or the token stayed away longer than it may. Does nothing where no token opened the seal.
pub(super) async fn watch(app: Arc<App>, lose: oneshot::Sender<Lost>) {
    let Some((id, slot)) = slot_of(&app) else { return };
    // Several tries before the server stops: one that is slow shall not end it.
    let mut interval = tokio::time::interval((app.config.seal_loss / 4).min(EVERY_MAX));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut key = None;
    let mut away_since: Option<Instant> = None;
    loop {
        interval.tick().await;
        let begun = Instant::now();
        let tried = try_slot(slot.clone(), key.take()).await;
        key = tried.key;
        let Err(error) = tried.result else {
            app.readiness.set(COMPONENT, ComponentState::Up);
            if away_since.take().is_some() {
                record(&app, id, Action::SealTokenBack).await;
            }
            continue;
        };
        if slot_of(&app).is_none_or(|(now, _)| now != id) {
            return app.readiness.forget(COMPONENT);
        }
        let reason = error.to_string();
        app.readiness.set(COMPONENT, ComponentState::Down { reason: reason.clone() });
        if away_since.is_none() {
            record(&app, id, Action::SealTokenLost).await;
        }
        let away = away_since.get_or_insert(begun).elapsed();
        if app.config.seal_on_loss == OnLoss::Stop && away >= app.config.seal_loss {
            // The receiver is gone only when the server stops already.
            let _ = lose.send(Lost { away, reason });
            return;
        }
    }
}

/// The first token's slot among those that opened the seal, if it was not removed since.
fn slot_of(app: &App) -> Option<(Uuid, TokenSlot)> {
    match Seal::load(app.dir.path()) {
        Ok(seal) => app.unsealed.slots.iter().find_map(|id| Some((*id, seal.token_slot(*id)?))),
        Err(error) => {
            tracing::error!(error = crate::admin::chain(&error), "the seal cannot be read");
            None
        }
    }
}

struct Tried {
    /// Kept for the next try: it finds a token that returns without reading the PIN again.
    key: Option<TokenSlotKey>,
    result: Result<(), SlotKeyError>,
}

/// A token's calls block. The key is looked for first where there is none: keystores on the same token then share its sessions.
async fn try_slot(slot: TokenSlot, key: Option<TokenSlotKey>) -> Tried {
    let tried = tokio::task::spawn_blocking(move || {
        let key = match key.map_or_else(|| TokenSlotKey::find(&slot.locator), Ok) {
            Ok(key) => key,
            Err(error) => return Tried { key: None, result: Err(error) },
        };
        let result = slot.check(&key);
        Tried { key: Some(key), result }
    });
    let ended = |_| Tried { key: None, result: Err(SlotKeyError::Absent("the attempt was interrupted".into())) };
    tried.await.unwrap_or_else(ended)
}

async fn record(app: &App, slot: Uuid, action: Action) {
    let event = Event::system(app.now_ms(), action, Details::Seal { id: slot.to_string() });
    if let Err(error) = app.store.commit(Commit { events: vec![event], ..Commit::default() }).await {
        tracing::error!(error = crate::admin::chain(&error), "cannot record that the seal's token went or returned");
    }
}

//! Which parts of the gateway work at present.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;

/// State of one part: the store, a keystore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ComponentState {
    /// Works.
    Up,
    /// Works, and has lost something that it can do without for a while.
    Degraded {
        /// What is missing, and what to do.
        reason: String,
    },
    /// Does not work.
    Down {
        /// Why, and what to do.
        reason: String,
    },
}

impl ComponentState {
    /// Whether the part does its work.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self, Self::Up | Self::Degraded { .. })
    }
}

/// The states of all parts. Changed rarely, read by the status listener.
#[derive(Debug, Default)]
pub struct Readiness {
    components: Mutex<BTreeMap<String, ComponentState>>,
    stopping: AtomicBool,
}

impl Readiness {
    /// Sets the state of a part, and logs it where it changed. Says whether it did.
    pub fn set(&self, component: &str, state: ComponentState) -> bool {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        let before = components.insert(component.to_owned(), state.clone());
        if before.as_ref() == Some(&state) {
            return false;
        }
        match &state {
            ComponentState::Up if before.is_some() => tracing::info!(component, "works again"),
            ComponentState::Up => {}
            ComponentState::Degraded { reason } => tracing::warn!(component, reason, "works, and something is missing"),
            ComponentState::Down { reason } => tracing::warn!(component, reason, "does not work"),
        }
        true
    }

    /// A part that is no longer looked at.
    pub fn forget(&self, component: &str) {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).remove(component);
    }

    /// The server begins to stop: it is not ready any more, and nothing is wrong.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the server has begun to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// All parts.
    pub fn snapshot(&self) -> BTreeMap<String, ComponentState> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

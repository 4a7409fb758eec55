//! How keystores do, and what an operator has to do: for `keystore status`, the API, and the metrics.

use std::sync::{Arc, Weak};

use keygate_backends::{Figures, Health};

use super::advice::about_secret;
use super::{Found, KeystoreService, Noted, lock};
use crate::operation::now_ms;
use crate::store::{KeystoreState, StepOutcome};
use crate::telemetry::{MetricsSource, Sample};

/// A secret older than this is to be changed.
const SECRET_DAYS_MAX: i64 = 365;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How a keystore does.
pub struct Status {
    /// The keystore.
    pub found: Found,
    /// `None`: it is not open.
    pub health: Option<Health>,
    /// Its insides.
    pub figures: Figures,
    /// Its calls since the gateway was started.
    pub noted: Noted,
    /// How often it came back since the gateway was started.
    pub returns: u64,
    /// Objects it has, destroyed ones not counted; `None` where they have not been counted.
    pub objects: Option<u64>,
    /// What an operator has to do.
    pub todo: Vec<String>,
}

impl KeystoreService {
    /// How a keystore does. Touches no device.
    pub fn status(&self, found: Found) -> Status {
        let id = found.row.id;
        let open = self.gateway.get().and_then(|gateway| gateway.keystores.get(id).ok());
        let health = open.as_ref().map(|keystore| keystore.health());
        let objects = self.store.known_keystore_objects().map(|all| all.get(&id).copied().unwrap_or_default());
        Status {
            todo: todo(&found, health.as_ref(), objects, self.gateway.get().is_some()),
            figures: open.map(|keystore| keystore.figures()).unwrap_or_default(),
            noted: lock(&self.notes).get(&id).map(|notes| notes.read()).unwrap_or_default(),
            returns: lock(&self.returns).get(&id).copied().unwrap_or_default(),
            found,
            health,
            objects,
        }
    }

    /// Counts the objects of all keystores, if that has not been done.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn count(&self) -> Result<(), crate::store::ReadError> {
        self.store.keystore_objects().await.map(drop)
    }
}

/// Days since a secret was given.
pub fn secret_days(since_ms: i64) -> i64 {
    (now_ms() - since_ms).max(0) / DAY_MS
}

/// What an operator has to do, the most urgent first.
fn todo(found: &Found, health: Option<&Health>, objects: Option<u64>, serving: bool) -> Vec<String> {
    let mut list = Vec::new();
    let name = &found.row.name;
    match health {
        Some(Health::NeedsOperator(reason)) => {
            list.push(format!("{reason}: {}", about_secret(name, found.row.managed.is_some())));
        }
        Some(Health::Down(reason)) => list.push(format!("bring the device back, it is looked for: {reason}")),
        Some(Health::Up) | None => {}
    }
    let Some(managed) = &found.row.managed else {
        if !found.of_the_file {
            list.push(format!("keygate.toml names it no more: put it back, or `keygate keystore remove {name}` when nothing refers to it"));
        } else if health.is_none() && serving {
            list.push("it could not be opened: see the log, mend keygate.toml, and start the gateway again".to_owned());
        }
        return list;
    };
    if health.is_none() && serving && managed.state.is_in_use() {
        list.push("it cannot be opened, which is tried every few seconds: see readiness and log".to_owned());
    }
    match (&managed.test, managed.state) {
        (Some(test), _) if !test.passed => {
            let failed = test.steps.iter().find(|step| step.outcome == StepOutcome::Failed);
            list.extend(failed.map(|step| format!("its last test failed at \"{}\": {}", step.name, step.hint)));
        }
        (None, KeystoreState::Draft { .. }) => list.push(format!("test it: `keygate keystore test {name}`")),
        (_, KeystoreState::Tested { .. }) => list.push(format!("let new keys in: `keygate keystore activate {name}`")),
        (None, _) => list.push(format!("it was changed since its last test: `keygate keystore test {name}`")),
        _ => {}
    }
    match (managed.state, objects) {
        (KeystoreState::Draining { .. }, Some(0)) => list.push(format!("no object is there any more: `keygate keystore remove {name}`")),
        (KeystoreState::Draining { .. }, Some(left)) => {
            list.push(format!("{left} objects are left: `keygate keys rehome --from {name} --to KEYSTORE`"));
        }
        _ => {}
    }
    let days = secret_days(managed.secret_since_ms);
    if managed.secret.is_some() && days > SECRET_DAYS_MAX {
        list.push(format!("its secret is {days} days old: change it in the device, then `keygate keystore set {name} --secret-file FILE`"));
    }
    list
}

/// The figures of all keystores for Prometheus.
pub struct KeystoreMetrics(Weak<KeystoreService>);

impl KeystoreMetrics {
    /// Of a service that goes before this, or after.
    pub fn new(service: &Arc<KeystoreService>) -> Self {
        Self(Arc::downgrade(service))
    }
}

impl MetricsSource for KeystoreMetrics {
    fn samples(&self) -> Vec<Sample> {
        let Some(service) = self.0.upgrade() else { return Vec::new() };
        let all: Vec<Status> = service.list().into_iter().map(|found| service.status(found)).collect();
        let mut samples = Vec::new();
        let mut add = |name, help, of: &dyn Fn(&Status) -> Option<f64>| {
            for status in &all {
                let label = Some(("keystore", status.found.row.name.clone()));
                samples.extend(of(status).map(|value| Sample { name, help, label, value }));
            }
        };
        let seconds = |micros: u64| micros as f64 / 1e6;
        add("keystore_up", "Whether a keystore in use serves.", &|status| {
            status.health.as_ref().map(|health| f64::from(u8::from(*health == Health::Up)))
        });
        add("keystore_needs_operator", "Things an operator has to do about a keystore: see keystore status.", &|status| {
            Some(status.todo.len() as f64)
        });
        add("keystore_calls_total", "Calls that a keystore answered.", &|status| Some(status.noted.calls as f64));
        add("keystore_calls_under_way", "Calls that wait for a keystore.", &|status| Some(status.noted.under_way as f64));
        add("keystore_seconds_total", "Time that calls of a keystore took together.", &|status| Some(seconds(status.noted.micros)));
        add("keystore_seconds_max", "Time that the longest call of a keystore took.", &|status| Some(seconds(status.noted.micros_max)));
        add("keystore_failures_total", "Calls that failed by a keystore's fault: see keystore status for the classes.", &|status| {
            Some(status.noted.failures.values().sum::<u64>() as f64)
        });
        add("keystore_sessions", "Sessions or connections with a keystore's device.", &|status| status.figures.sessions.map(f64::from));
        add("keystore_queued", "Calls that wait for a session of a keystore.", &|status| status.figures.queued.map(f64::from));
        add("keystore_generation", "How often a keystore's device was opened.", &|status| {
            Some(status.figures.generation.unwrap_or(status.returns + 1) as f64)
        });
        add("keystore_objects", "Objects of a keystore, once they have been counted.", &|status| status.objects.map(|count| count as f64));
        add("keystore_find_seconds", "Time that looking up a key took in a keystore's last test.", &|status| {
            status.found.row.managed.as_ref().and_then(|managed| managed.test.as_ref()?.find_us).map(seconds)
        });
        add("keystore_tested_timestamp_seconds", "When a keystore was last tested.", &|status| {
            status.found.row.managed.as_ref().and_then(|managed| managed.test.as_ref()).map(|test| test.at_ms as f64 / 1e3)
        });
        add("keystore_secret_age_seconds", "Age of a keystore's sealed secret.", &|status| {
            let managed = status.found.row.managed.as_ref().filter(|managed| managed.secret.is_some())?;
            Some((now_ms() - managed.secret_since_ms).max(0) as f64 / 1e3)
        });
        samples
    }
}

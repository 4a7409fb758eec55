//! The endpoints of the settings: what waits in their queues is sent, tried again with growing waits, and at last given up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keygate_kmip::{RequestPayload, ResultReason};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::queue::Queue;
use super::wire::{self, CallError};
use super::{Notice, What};
use crate::admin::chain;
use crate::audit::{Action, Details, Event, Outcome};
use crate::config::{EndpointConfig, NotifyConfig};
use crate::keystores::files;
use crate::operation::{Gateway, now_ms, push};
use crate::telemetry::{MetricsSource, Sample};

/// Longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The endpoints of the settings.
#[derive(Debug, Default)]
pub struct Endpoints {
    list: Vec<Arc<Endpoint>>,
}

/// Where one client listens, and how that goes.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    attempts_max: u32,
    retry: Duration,
    timeout: Duration,
    queue: Arc<Queue>,
    sent: AtomicU64,
    failed: AtomicU64,
    /// Why the last try did not do.
    trouble: Mutex<Option<String>>,
}

impl Endpoints {
    /// Those of the settings.
    #[must_use]
    pub fn new(config: &NotifyConfig) -> Self {
        let endpoint = |endpoint: &EndpointConfig| {
            let queue = Queue::new(&endpoint.client, endpoint.put, endpoint.notify, config.queue_max);
            Arc::new(Endpoint {
                config: endpoint.clone(),
                attempts_max: config.attempts_max,
                retry: config.retry,
                timeout: config.timeout,
                queue: Arc::new(queue),
                sent: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                trouble: Mutex::default(),
            })
        };
        Self { list: config.endpoints.iter().map(endpoint).collect() }
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    /// That of a client.
    #[must_use]
    pub fn of(&self, client: &str) -> Option<&Arc<Endpoint>> {
        self.list.iter().find(|endpoint| endpoint.config.client == client)
    }

    /// Begins to tell clients what happens.
    pub(crate) fn start(&self, gateway: &Arc<Gateway>, tasks: &mut JoinSet<()>) {
        for endpoint in self.list.iter().filter(|endpoint| endpoint.config.put || endpoint.config.notify) {
            gateway.notices.open(endpoint.queue.clone());
            tasks.spawn(deliver(endpoint.clone(), gateway.clone()));
        }
    }
}

impl Endpoint {
    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Messages that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Messages that the client has taken.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Messages that were refused, given up, or found no room.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed) + self.queue.dropped()
    }

    /// Why the last try did not do, if it did not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the client something, over a connection of its own: the bytes of its Response Message.
    ///
    /// # Errors
    /// Why there is no answer, or what the client refuses.
    pub async fn ask(&self, payload: RequestPayload) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let mut stream = self.connect().await?;
        wire::call(&mut stream, self.config.version, payload, self.timeout).await
    }

    /// Files are read each time, so that a renewed certificate is shown without a restart.
    async fn connect(&self) -> Result<TlsStream<TcpStream>, CallError> {
        let EndpointConfig { trust, identity, server_name, address, .. } = &self.config;
        let away = |error: &dyn std::error::Error| CallError::Away(chain(error));
        let client = files::client(trust, identity.as_ref(), server_name.as_deref()).map_err(|error| away(&error))?;
        client.connect(address, self.timeout).await.map_err(|error| away(&error))
    }

    fn note(&self, trouble: Option<String>) {
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &trouble) {
            (None, Some(why)) => {
                tracing::warn!(client = %self.config.client, address = %self.config.address, cause = %why, "a client's endpoint does not answer")
            }
            (Some(_), None) => {
                tracing::info!(client = %self.config.client, address = %self.config.address, "a client's endpoint answers again")
            }
            _ => {}
        }
        *last = trouble;
    }
}

/// Sends what waits, until the task is dropped. The connection is kept while there is more to send.
async fn deliver(endpoint: Arc<Endpoint>, gateway: Arc<Gateway>) {
    let mut connection = None;
    loop {
        let notice = endpoint.queue.next().await;
        deliver_one(&endpoint, &gateway, &notice, &mut connection).await;
        if endpoint.queue.len() == 0 {
            connection = None;
        }
    }
}

async fn deliver_one(
    endpoint: &Endpoint,
    gateway: &Gateway,
    notice: &Notice,
    connection: &mut Option<TlsStream<TcpStream>>,
) {
    for attempt in 1..=endpoint.attempts_max {
        match try_once(endpoint, gateway, notice, connection).await {
            Ok(sent) => {
                endpoint.sent.fetch_add(u64::from(sent), Ordering::Relaxed);
                return endpoint.note(None);
            }
            Err(CallError::Refused { reason, message }) => {
                tracing::warn!(client = %endpoint.config.client, object.id = %notice.object, reason = %reason, message, "a client refuses what it was sent");
                endpoint.failed.fetch_add(1, Ordering::Relaxed);
                endpoint.note(None);
                return record(gateway, notice, Outcome::Refused(reason.code()), "refused by the client").await;
            }
            Err(CallError::Away(why)) => {
                *connection = None;
                endpoint.note(Some(why));
                if attempt < endpoint.attempts_max {
                    tokio::time::sleep(wait_after(attempt, endpoint.retry)).await;
                }
            }
        }
    }
    endpoint.failed.fetch_add(1, Ordering::Relaxed);
    record(gateway, notice, Outcome::Refused(ResultReason::GeneralFailure.code()), "given up").await;
}

/// How long to wait after so many tries.
fn wait_after(attempt: u32, first: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX)).min(WAIT_MAX)
}

/// Whether something was sent: what is gone meanwhile, or may not leave, is not.
async fn try_once(
    endpoint: &Endpoint,
    gateway: &Gateway,
    notice: &Notice,
    connection: &mut Option<TlsStream<TcpStream>>,
) -> Result<bool, CallError> {
    let version = endpoint.config.version;
    let Some(message) = message(gateway, notice, version).await? else { return Ok(false) };
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(endpoint.connect().await?),
    };
    released(gateway, notice).await?;
    wire::call(stream, version, message, endpoint.timeout).await?;
    told(gateway, notice).await;
    Ok(true)
}

/// What a notice has to say now.
pub(super) async fn message(
    gateway: &Gateway,
    notice: &Notice,
    version: keygate_kmip::ProtocolVersion,
) -> Result<Option<RequestPayload>, CallError> {
    push::message(gateway, notice, version, now_ms() / 1000).await.map_err(|error| CallError::Away(error.to_string()))
}

/// Key material leaves: its record comes first, as for Get.
pub(super) async fn released(gateway: &Gateway, notice: &Notice) -> Result<(), CallError> {
    if !matches!(notice.what, What::New { .. }) {
        return Ok(());
    }
    let event = event(notice, Outcome::Done, "sent to the client's endpoint");
    let written = gateway.store.append_reads(&[event], gateway.policy.reads_wait).await;
    written.map_err(|error| CallError::Away(format!("the audit record cannot be written: {error}")))
}

/// A client was told of changed attributes.
pub(super) async fn told(gateway: &Gateway, notice: &Notice) {
    if matches!(notice.what, What::Changed(_)) {
        record(gateway, notice, Outcome::Done, "sent to the client's endpoint").await;
    }
}

async fn record(gateway: &Gateway, notice: &Notice, outcome: Outcome, what: &str) {
    if let Err(error) = gateway.store.append_reads(&[event(notice, outcome, what)], false).await {
        tracing::error!(%error, object.id = %notice.object, "what a client was sent cannot be recorded");
    }
}

fn event(notice: &Notice, outcome: Outcome, what: &str) -> Event {
    let action = match notice.what {
        What::New { .. } => Action::Put,
        What::Changed(_) => Action::Notify,
    };
    let mut event = Event::system(now_ms(), action, Details::Reason(what.to_owned()));
    event.organisation = Some(notice.organisation);
    event.object = Some(notice.object);
    event.outcome = outcome;
    event
}

impl MetricsSource for Endpoints {
    fn samples(&self) -> Vec<Sample> {
        let all = |name, help, value: fn(&Endpoint) -> f64| {
            let label = |endpoint: &Endpoint| Some(("client", endpoint.config.client.clone()));
            self.list.iter().map(move |endpoint| Sample { name, help, label: label(endpoint), value: value(endpoint) })
        };
        all("notify_waiting", "Messages that wait for a client's endpoint.", |endpoint| endpoint.waiting() as f64)
            .chain(all("notify_sent_total", "Messages that a client's endpoint has taken.", |endpoint| {
                endpoint.sent() as f64
            }))
            .chain(all("notify_failed_total", "Messages that were refused, given up, or found no room.", |endpoint| {
                endpoint.failed() as f64
            }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_have_an_end() {
        let waits: Vec<u64> = [1, 2, 3, 9, 10, 40, 1_000]
            .into_iter()
            .map(|attempt| wait_after(attempt, Duration::from_secs(1)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300]);
    }
}

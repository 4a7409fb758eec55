//! Several endpoints of one service: which one is asked, and what a failure means.
//!
//! Reads go to the next endpoint at once. A change goes to the next endpoint only as long as nothing was sent; otherwise
//! its outcome is unknown. A refused credential opens a breaker (`guard.rs`): nothing is sent any more until an operator acts,
//! so that no account is locked by our insisting.

use super::endpoint::{Endpoint, State};
use super::finder;
use super::guard::{Guard, Pass};
use super::{Address, RemoteConfig, TlsClient};
use crate::error::{Class, KsError, Result};
use crate::keystore::{Figures, Health, OpCx};
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

/// Longest wait for an endpoint to be found again, before what became of a lost answer is looked up.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// What is said over a connection.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// A connection, ready for a request.
    type Connection: Send + 'static;
    /// A request, sent as often as endpoints are asked.
    type Request: Sync + ?Sized;
    /// An answer.
    type Response: Send;

    /// Makes a connection of a TLS stream.
    fn open(
        &self,
        stream: TlsStream<TcpStream>,
        address: &Address,
    ) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Whether an idle connection still stands, as far as one sees without sending.
    fn is_open(&self, connection: &mut Self::Connection) -> bool;

    /// One request and its answer. The caller drops the connection on any error.
    fn exchange(
        &self,
        connection: &mut Self::Connection,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Broken>> + Send;
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The server has done nothing: the request did not reach it.
    Unsent(String),
    /// Whether the server has done it is not known.
    Unanswered(String),
}

impl Broken {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Unsent(text) | Self::Unanswered(text) => text,
        }
    }
}

/// Whether a request changes something at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It does: never sent twice.
    Change,
    /// It does not: sent to another endpoint if one fails.
    Read,
}

/// The endpoints of a service.
pub(crate) struct Cluster<P: Protocol> {
    pub(super) protocol: P,
    pub(super) tls: TlsClient,
    pub(super) endpoints: Vec<Endpoint<P::Connection>>,
    pub(super) is_looking: AtomicBool,
    /// Told when an endpoint is found again.
    pub(super) found: Notify,
    call_timeout: Duration,
    guard: Guard,
}

/// Why an endpoint gave no answer.
enum Failed {
    Broken(Broken),
    /// The credentials were refused while this request waited for a connection.
    Stopped(KsError),
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl<P: Protocol> Cluster<P> {
    /// The service. Inside a runtime it is looked for at once; outside, from the first call on. `counted`: whether requests
    /// carry credentials that a server counts when they are wrong.
    ///
    /// # Errors
    /// `BadInput(Parameters)` without an address.
    pub(crate) fn new(protocol: P, config: RemoteConfig, counted: bool) -> Result<Arc<Self>> {
        if config.addresses.is_empty() {
            return Err(KsError::parameters("a remote keystore needs an address"));
        }
        let endpoint = |address| Endpoint::new(address, config.connections, config.connect_timeout);
        let cluster = Arc::new(Self {
            protocol,
            tls: config.tls,
            endpoints: config.addresses.into_iter().map(endpoint).collect(),
            is_looking: AtomicBool::new(false),
            found: Notify::new(),
            call_timeout: config.call_timeout,
            guard: Guard::new(counted),
        });
        finder::look(&cluster);
        Ok(cluster)
    }

    /// Sends a request and waits for its answer until the deadline. The caller reads the answer while it holds the pass, and
    /// then says that the credentials were accepted, calls [`Cluster::stop`], or lets the pass go where the answer shows neither.
    pub(crate) async fn call(
        self: &Arc<Self>,
        request: &P::Request,
        effect: Effect,
        cx: OpCx,
    ) -> Result<(P::Response, Pass<'_>)> {
        let pass = self.guard.pass(cx.deadline).await?;
        if cx.remaining().is_zero() {
            return Err(KsError::new(Class::Busy, "the deadline passed before the call"));
        }
        let candidates: Vec<_> =
            self.endpoints.iter().filter(|endpoint| !matches!(endpoint.state(), State::Down(_))).collect();
        let mut last = None;
        for (index, endpoint) in candidates.iter().enumerate() {
            let is_last = index + 1 == candidates.len();
            let deadline = match effect {
                Effect::Read if !is_last => cx.deadline.min(Instant::now() + self.call_timeout),
                _ => cx.deadline,
            };
            let begun = Instant::now();
            let failure = match self.attempt(endpoint, request, effect, deadline).await {
                Ok(Some(response)) => {
                    endpoint.note(State::Up);
                    return Ok((response, pass));
                }
                // All its connections are in use: another one may be free, but that is no fault of this one.
                Ok(None) => continue,
                Err(Failed::Stopped(refused)) => return Err(refused),
                Err(Failed::Broken(broken)) => broken,
            };
            let is_unknown = effect == Effect::Change && matches!(failure, Broken::Unanswered(_));
            let text = format!("{}: {}", endpoint.address, failure.into_text());
            // A caller of little patience says nothing of the endpoint.
            let is_impatience = Instant::now() >= deadline && begun.elapsed() < self.call_timeout;
            if !is_impatience {
                endpoint.note(State::Down(text.clone()));
                finder::look(self);
            }
            if is_unknown {
                return Err(KsError::new(Class::OutcomeUnknown, text));
            }
            last = Some(text);
        }
        Err(self.no_answer(last, effect, cx))
    }

    /// Waits a little for an endpoint that is not away: after a lost answer, whose connection is gone.
    pub(crate) async fn settle(&self, cx: OpCx) {
        let until = cx.deadline.min(Instant::now() + SETTLE_MAX);
        loop {
            let mut found = std::pin::pin!(self.found.notified());
            // Registered before the states are looked at, so that no news is missed.
            found.as_mut().enable();
            if self.endpoints.iter().any(|endpoint| !matches!(endpoint.state(), State::Down(_))) {
                return;
            }
            if tokio::time::timeout_at(until.into(), found).await.is_err() {
                return;
            }
        }
    }

    /// Answers nothing but [`Class::AuthStop`] from now on.
    pub(crate) fn stop(&self, why: String) -> KsError {
        if self.guard.refuse(why.clone()) {
            tracing::error!(cause = why, "a remote keystore refuses our credentials: nothing more is sent to it");
        }
        KsError::new(Class::AuthStop, why)
    }

    /// Lets refused credentials be tried again, by one request: an operator asked for it.
    pub(crate) fn resume(&self) {
        self.guard.resume();
    }

    /// Connections, callers that wait for one, endpoints found so far.
    pub(crate) fn figures(&self) -> Figures {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Figures {
            sessions: Some(count(self.endpoints.iter().map(Endpoint::connections).sum())),
            queued: Some(count(self.endpoints.iter().map(Endpoint::waiting).sum())),
            generation: Some(self.endpoints.iter().map(Endpoint::found).sum()),
            ..Figures::default()
        }
    }

    /// How the service is, as last seen.
    pub(crate) fn health(&self) -> Health {
        if let Some(why) = self.guard.refusal() {
            return Health::NeedsOperator(why);
        }
        if self.endpoints.iter().any(|endpoint| endpoint.state() == State::Up) {
            return Health::Up;
        }
        Health::Down(self.down_text())
    }

    fn down_text(&self) -> String {
        let states = self.endpoints.iter().map(|endpoint| match endpoint.state() {
            State::Unknown => format!("{}: not contacted yet", endpoint.address),
            State::Up => format!("{}: serves", endpoint.address),
            State::Down(why) => why,
        });
        states.collect::<Vec<_>>().join("; ")
    }

    fn no_answer(&self, last: Option<String>, effect: Effect, cx: OpCx) -> KsError {
        let is_late = cx.remaining().is_zero();
        match (last, effect) {
            (None, _) if is_late => KsError::new(Class::Busy, "every connection was in use until the deadline"),
            (Some(text), Effect::Read) if is_late => KsError::new(Class::RetryOther, text),
            (Some(text), Effect::Change) if is_late => KsError::new(Class::Busy, text),
            _ => KsError::new(Class::TokenLost, format!("no endpoint serves: {}", self.down_text())),
        }
    }

    /// One endpoint. A read whose pooled connection turns out to be dead is sent again on a new one.
    async fn attempt(
        &self,
        endpoint: &Endpoint<P::Connection>,
        request: &P::Request,
        effect: Effect,
        deadline: Instant,
    ) -> Result<Option<P::Response>, Failed> {
        let mut fresh = false;
        loop {
            let Some(mut lease) = endpoint.lease(&self.protocol, &self.tls, deadline, fresh).await? else {
                return Ok(None);
            };
            // What was sent while this waited for its connection may have been refused.
            if let Err(refused) = self.guard.is_accepted() {
                endpoint.give_back(lease);
                return Err(Failed::Stopped(refused));
            }
            let exchange = self.protocol.exchange(&mut lease.connection, request);
            let broken = match tokio::time::timeout_at(deadline.into(), exchange).await {
                Ok(Ok(response)) => {
                    endpoint.give_back(lease);
                    return Ok(Some(response));
                }
                Ok(Err(broken)) => broken,
                Err(_) => return Err(Broken::Unanswered("no answer in time".to_owned()).into()),
            };
            let again = lease.used && (effect == Effect::Read || matches!(broken, Broken::Unsent(_)));
            if !again {
                return Err(broken.into());
            }
            fresh = true;
        }
    }
}

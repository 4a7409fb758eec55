//! What is counted about each HTTP listener, for Prometheus.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    audit::Refusals,
    listen::{ConnectionCounts, Reason, Registry},
    telemetry::{HandshakeFailure, MetricsSource, Sample},
};

/// Reason of the audit event about a peer whose address is not allowed.
const UNWELCOME: &str = "address not allowed";

/// Counters of one listener.
pub(super) struct HttpCounts {
    accepted: AtomicU64,
    refused: AtomicU64,
    unwelcome: AtomicU64,
    closed: AtomicU64,
    handshakes_failed: AtomicU64,
    requests: AtomicU64,
    refusals: Arc<Refusals>,
}

impl HttpCounts {
    pub(super) fn new(refusals: Arc<Refusals>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            accepted: zero(),
            refused: zero(),
            unwelcome: zero(),
            closed: zero(),
            handshakes_failed: zero(),
            requests: zero(),
            refusals,
        })
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }
}

impl ConnectionCounts for HttpCounts {
    fn connection_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    fn connection_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn connection_unwelcome(&self, address: SocketAddr) {
        self.unwelcome.fetch_add(1, Relaxed);
        self.refusals.note(UNWELCOME, address.ip());
    }

    fn connection_closed(&self, _: Reason) {
        self.closed.fetch_add(1, Relaxed);
    }

    fn handshake_failed(&self, _: HandshakeFailure) {
        self.handshakes_failed.fetch_add(1, Relaxed);
    }
}

/// The figures of all HTTP listeners, each with the listener's name as a label.
pub struct HttpMetrics(pub(super) Vec<(&'static str, Arc<Registry>, Arc<HttpCounts>)>);

impl MetricsSource for HttpMetrics {
    fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut add = |name, help, value: &dyn Fn(&Registry, &HttpCounts) -> u64| {
            samples.extend(self.0.iter().map(|(listener, registry, counts)| Sample {
                name,
                help,
                label: Some(("listener", (*listener).to_owned())),
                value: value(registry, counts) as f64,
            }));
        };
        add("http_connections", "HTTP connections at present.", &|registry, _| registry.count() as u64);
        add("http_connections_accepted_total", "HTTP connections accepted.", &|_, counts| counts.accepted.load(Relaxed));
        add("http_connections_refused_total", "HTTP connections refused at the bound.", &|_, counts| counts.refused.load(Relaxed));
        add("http_connections_unwelcome_total", "HTTP connections from addresses that are not allowed.", &|_, counts| counts.unwelcome.load(Relaxed));
        add("http_connections_closed_total", "HTTP connections ended by the gateway.", &|_, counts| counts.closed.load(Relaxed));
        add("http_handshakes_failed_total", "TLS handshakes of HTTP listeners that failed.", &|_, counts| counts.handshakes_failed.load(Relaxed));
        add("http_requests_total", "HTTP requests begun.", &|_, counts| counts.requests.load(Relaxed));
        samples
    }
}
